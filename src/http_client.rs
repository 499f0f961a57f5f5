//! The HTTP client for outgoing calls, shared by destinations, alerts and commands.
//!
//! A client accepts plain HTTP only for loopback addresses. It follows no redirect, because a redirect
//! would receive the token. It uses no proxy for loopback, and it brings its own root certificates, so
//! that it works in an image that has none.

use reqwest::redirect::Policy;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;
use url::{Host, Url};

/// The longest time in which a connection must be established.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address uses plain HTTP and belongs to another machine.
    #[error("{0} must be reached by https: plain http is only allowed for this machine")]
    NotEncrypted(String),
    /// The TLS library rejects its settings.
    #[error("the TLS library cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP library rejects its settings.
    #[error("the HTTP client cannot be set up: {0}")]
    Http(#[from] reqwest::Error),
}

/// Builds a client for the host of `base`. Each request takes at most `timeout`.
pub fn client(base: &Url, timeout: Duration) -> Result<reqwest::Client, ClientError> {
    let loopback = is_loopback(base);
    if base.scheme() != "https" && !loopback {
        return Err(ClientError::NotEncrypted(base.host_str().unwrap_or("the address").to_owned()));
    }
    build(timeout, loopback)
}

/// Builds a client for an address of this service. It sends no secret, so plain HTTP is allowed.
pub fn local_client(timeout: Duration) -> Result<reqwest::Client, ClientError> {
    build(timeout, true)
}

/// With `is_local`, the client uses no proxy and accepts plain HTTP.
fn build(timeout: Duration, is_local: bool) -> Result<reqwest::Client, ClientError> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("eventbridge/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls()?)
        .https_only(!is_local)
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout);
    Ok(if is_local { builder.no_proxy() } else { builder }.build()?)
}

/// Whether an address belongs to this machine.
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

    fn is_accepted(url: &str) -> bool {
        client(&url.parse().expect("a URL"), Duration::from_secs(1)).is_ok()
    }

    #[test]
    fn plain_http_is_accepted_only_for_loopback() {
        for url in ["https://api.example.com", "http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"] {
            assert!(is_accepted(url), "{url}");
        }
        for url in ["http://api.example.com", "http://10.0.0.1", "http://localhost.example.com"] {
            assert!(!is_accepted(url), "{url}");
        }
    }
}
