//! The address of the database, and whether its server must prove its identity.
//!
//! By default the driver asks for TLS, continues without it if the server has none, and checks no
//! certificate. On one machine or in a private network that is sufficient. On the way to any other server an
//! attacker could answer in its place, so there a certificate for its name is required, unless the address
//! has an `sslmode`.

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use std::io::ErrorKind;
use std::net::IpAddr;
use url::Url;

/// Host suffixes that resolve only in a private network.
const PRIVATE_SUFFIXES: &[&str] =
    &[".localhost", ".local", ".internal", ".intranet", ".private", ".lan", ".home.arpa", ".svc", ".flycast"];

/// The parameters that name a file, as the driver spells them, the one with the authorities first.
const FILES: &[&[&str]] =
    &[&["sslrootcert", "ssl-root-cert", "ssl-ca"], &["sslcert", "ssl-cert"], &["sslkey", "ssl-key"]];

/// In place of a file: the authorities that are known anyway.
const KNOWN_AUTHORITIES: &str = "system";

/// How a certificate or a key in a file begins.
const PEM: &[u8] = b"-----BEGIN ";

/// Why an address cannot be used. Waiting would not help.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It cannot be parsed.
    #[error("it is not the address of a database: {0}")]
    Invalid(#[from] sqlx::Error),
    /// It names a file that does not exist or that this user may not read.
    #[error("its {parameter} {path:?} cannot be read: {error}")]
    Unreadable {
        /// The parameter of the address.
        parameter: String,
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// It names a file without a certificate or a key.
    #[error("its {parameter} {path:?} is not a PEM file")]
    NotPem {
        /// The parameter of the address.
        parameter: String,
        /// The file.
        path: String,
    },
}

/// How to connect to the server of a URL.
pub(super) fn options(url: &SecretString) -> Result<PgConnectOptions, AddressError> {
    let mut options: PgConnectOptions = url.expose_secret().parse()?;
    if trusts_known_authorities(url)? {
        // Without certificates of its own, the driver trusts the public authorities that are built in. The
        // parameter demands a certificate for the server's name.
        options = options.ssl_root_cert_from_pem(Vec::new()).ssl_mode(PgSslMode::VerifyFull);
    }
    // The driver keeps the brackets of an IPv6 address, and would look it up as a name.
    if let Some(address) = options.get_host().strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let address = address.to_owned();
        options = options.host(&address);
    }
    let is_left_open = matches!(options.get_ssl_mode(), PgSslMode::Prefer) && !says_how(url);
    if is_left_open && options.get_socket().is_none() && !is_private(options.get_host()) {
        return Ok(options.ssl_mode(PgSslMode::VerifyFull));
    }
    Ok(options)
}

/// Checks the files that a URL names, and returns whether it names the known authorities instead of a file.
fn trusts_known_authorities(url: &SecretString) -> Result<bool, AddressError> {
    let Ok(url) = Url::parse(url.expose_secret()) else { return Ok(false) };
    let mut trusts = false;
    for (parameter, path) in url.query_pairs() {
        let Some(place) = FILES.iter().position(|names| names.contains(&&*parameter)) else { continue };
        if place == 0 && path == KNOWN_AUTHORITIES {
            trusts = true;
            continue;
        }
        let (parameter, path) = (parameter.into_owned(), path.into_owned());
        match std::fs::read(&path) {
            Ok(bytes) if bytes.windows(PEM.len()).any(|part| part == PEM) => {}
            Ok(_) => return Err(AddressError::NotPem { parameter, path }),
            Err(error) => return Err(AddressError::Unreadable { parameter, path, error }),
        }
    }
    Ok(trusts)
}

/// Whether a connection failed because the server could not prove its identity.
pub(super) fn is_unproven(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        // rustls reports a bad certificate as an I/O error of the stream.
        sqlx::Error::Io(cause) => cause.kind() == ErrorKind::InvalidData,
        _ => false,
    }
}

fn says_how(url: &SecretString) -> bool {
    Url::parse(url.expose_secret())
        .is_ok_and(|url| url.query_pairs().any(|(name, _)| name == "sslmode" || name == "ssl-mode"))
}

/// Whether a host is this machine or in a private network.
fn is_private(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_private() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        // A socket directory, or a name without a domain, as Docker gives to containers.
        Err(_) if host.starts_with('/') || !host.contains('.') => true,
        Err(_) => {
            let host = host.to_ascii_lowercase();
            PRIVATE_SUFFIXES.iter().any(|suffix| host.ends_with(suffix))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_verified(url: &str) -> bool {
        let options = options(&SecretString::from(url)).expect("a URL");
        matches!(options.get_ssl_mode(), PgSslMode::VerifyFull)
    }

    #[test]
    fn a_server_elsewhere_must_show_who_it_is() {
        for url in [
            "postgres://u:p@db.example.com/events",
            "postgres://u:p@203.0.113.7/events",
            "postgres://u:p@[2001:db8::7]/events",
            "postgres://u:p@db.internal.example.com/events",
            "postgres://u:p@db.example.com/events?sslmode=verify-full",
        ] {
            assert!(is_verified(url), "{url}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.display().to_string()
        };
        let pem = file("ca.pem", "-----BEGIN CERTIFICATE-----");
        let of = |query: &str| {
            let url = format!("postgres://u:secret@db.example.com/events?{query}");
            options(&SecretString::from(url)).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(of(&format!("sslrootcert={pem}&ssl-key={pem}")), Ok(()));
        for parameter in ["sslrootcert", "ssl-ca", "sslcert", "sslkey"] {
            let error = of(&format!("sslmode=verify-full&{parameter}=/nowhere/ca.pem")).expect_err(parameter);
            assert!(error.starts_with(&format!("its {parameter} \"/nowhere/ca.pem\" cannot be")), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let empty = file("empty.pem", "");
        assert!(of(&format!("sslrootcert={empty}")).expect_err("empty").contains("is not a PEM file"));
    }

    #[test]
    fn the_systems_authorities_are_no_file_and_verify_the_name() {
        for url in [
            "postgres://u:p@localhost/events?sslrootcert=system",
            "postgres://u:p@db.example.com/events?sslmode=require&sslrootcert=system",
        ] {
            assert!(is_verified(url), "{url}");
        }
    }

    #[test]
    fn an_ipv6_address_is_used_without_its_brackets() {
        for url in ["postgres://u:p@[::1]:5433/events", "postgres://u:p@db.example.com/events?host=[::1]"] {
            let options = options(&SecretString::from(url)).expect("a URL");
            assert_eq!(options.get_host(), "::1", "{url}");
        }
    }

    #[test]
    fn one_on_a_private_network_need_not_and_the_address_has_the_last_word() {
        for url in [
            "postgres://u:p@localhost/events",
            "postgres://u:p@127.0.0.1/events",
            "postgres://u:p@[::1]/events",
            "postgres://u:p@postgres/events",
            "postgres://u:p@10.1.2.3/events",
            "postgres://u:p@[fd12::7]/events",
            "postgres://u:p@events.flycast/events",
            "postgres://u:p@db.default.svc/events",
            "postgres://u:p@db.example.com/events?host=%2Frun%2Fpostgresql",
            "postgres://u:p@db.example.com/events?sslmode=require",
            "postgres://u:p@db.example.com/events?sslmode=prefer",
        ] {
            assert!(!is_verified(url), "{url}");
        }
    }
}
