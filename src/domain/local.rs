//! Recognizes requests from this machine, by Host and Origin.
//!
//! A foreign page, or a foreign host name that resolves to this machine, can make a browser here call a
//! local service. The called host and the origin of the calling page reveal that.

use std::net::IpAddr;

/// Whether a request was sent to this machine by its own name, and not from a foreign page.
///
/// `host` is the called authority; `origin` is the origin of the calling page, as the browser reports it.
pub fn is_local(host: Option<&str>, origin: Option<&str>) -> bool {
    let from_here = match origin {
        None => true,
        Some(origin) => origin.split_once("://").is_some_and(|(_, authority)| is_loopback(authority)),
    };
    host.is_some_and(is_loopback) && from_here
}

/// Whether a request was sent to this host, and not from another one's page.
pub fn is_at(public_host: &str, host: Option<&str>, origin: Option<&str>) -> bool {
    let is_it = |authority: &str| name_of(authority).eq_ignore_ascii_case(public_host);
    let from_there =
        origin.is_none_or(|origin| origin.split_once("://").is_some_and(|(_, authority)| is_it(authority)));
    host.is_some_and(is_it) && from_there
}

/// Whether an authority is an IP address and no name, which could be made to lead elsewhere.
pub fn is_address(authority: &str) -> bool {
    address_of(authority).is_some()
}

/// Whether an authority such as `localhost:8000` or `[::1]` names the loopback interface.
fn is_loopback(authority: &str) -> bool {
    name_of(authority).eq_ignore_ascii_case("localhost")
        || address_of(authority).is_some_and(|address| address.is_loopback())
}

fn address_of(authority: &str) -> Option<IpAddr> {
    let name = name_of(authority);
    name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name).parse().ok()
}

/// An authority without its port.
fn name_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_and_origins_are_local_and_others_are_not() {
        for host in ["localhost:8000", "127.0.0.1", "[::1]:8000", "[::1]", "LOCALHOST"] {
            assert!(is_local(Some(host), None), "{host}");
            assert!(is_local(Some(host), Some("http://localhost:3000")), "{host}");
            assert!(!is_local(Some(host), Some("https://evil.example")), "{host}");
            assert!(!is_local(Some(host), Some("null")), "{host}");
        }
        for host in [
            "evil.example:8000",
            "localhost.evil.example",
            "127.0.0.1.nip.example",
            "localhost:8000@evil.example",
            "evil.example#localhost",
            "",
        ] {
            assert!(!is_local(Some(host), None), "{host}");
        }
        assert!(!is_local(None, None));
    }

    #[test]
    fn an_address_is_no_name() {
        for host in ["10.0.0.7:8000", "[2001:db8::1]:8000", "192.0.2.1"] {
            assert!(is_address(host), "{host}");
        }
        for host in ["localhost", "10.0.0.7.evil.example", "eventbridge:8000", ""] {
            assert!(!is_address(host), "{host}");
        }
    }

    #[test]
    fn a_request_is_at_a_public_host_if_its_host_and_its_page_are() {
        let is_at = |host, origin| is_at("a.tunnel.example", host, origin);
        assert!(is_at(Some("a.tunnel.example"), None) && is_at(Some("A.tunnel.example:443"), None));
        assert!(is_at(Some("a.tunnel.example"), Some("https://a.tunnel.example")));
        assert!(!is_at(Some("a.tunnel.example"), Some("https://evil.example")));
        assert!(!is_at(Some("b.tunnel.example"), None) && !is_at(None, None));
    }
}
