//! The HTTP client for calls to the outside.
//!
//! It goes to the host it was made for by https (plain http on loopback alone), follows no redirect
//! with a token in hand, uses no proxy for loopback, and carries its own root certificates, so that
//! it works in an image without any.

use reqwest::redirect::Policy;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;
use url::{Host, Url};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is plain http to another machine.
    #[error("{0} must be reached by https: plain http is for this machine alone")]
    NotEncrypted(String),
    /// The TLS library refuses its settings.
    #[error("the TLS library cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP library refuses its settings.
    #[error("the HTTP client cannot be set up: {0}")]
    Http(#[from] reqwest::Error),
}

/// A client for the host of `base`, each of whose requests takes at most `timeout`.
pub fn client(base: &Url, timeout: Duration) -> Result<reqwest::Client, ClientError> {
    let loopback = is_loopback(base);
    if base.scheme() != "https" && !loopback {
        return Err(ClientError::NotEncrypted(base.host_str().unwrap_or("the address").to_owned()));
    }
    made(timeout, loopback)
}

/// A client for an address of this very service, to which no secret is sent: plain http will do.
pub fn client_of_ourselves(timeout: Duration) -> Result<reqwest::Client, ClientError> {
    made(timeout, true)
}

/// `is_own` where it stays within what is this service's own: no proxy is asked, plain http is allowed.
fn made(timeout: Duration, is_own: bool) -> Result<reqwest::Client, ClientError> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("eventbridge/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls()?)
        .https_only(!is_own)
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout);
    Ok(if is_own { builder.no_proxy() } else { builder }.build()?)
}

/// Whether an address is this machine's own.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn tls() -> Result<ClientConfig, rustls::Error> {
    let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_made(url: &str) -> bool {
        client(&url.parse().expect("a URL"), Duration::from_secs(1)).is_ok()
    }

    #[test]
    fn plain_http_is_for_loopback_alone() {
        for url in ["https://api.example.com", "http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"] {
            assert!(is_made(url), "{url}");
        }
        for url in ["http://api.example.com", "http://10.0.0.1", "http://localhost.example.com"] {
            assert!(!is_made(url), "{url}");
        }
    }
}
