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

/// How to connect to the server of a URL.
pub(super) fn options(url: &SecretString) -> Result<PgConnectOptions, sqlx::Error> {
    let mut options: PgConnectOptions = url.expose_secret().parse()?;
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
