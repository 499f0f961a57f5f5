//! Which names stand for this machine alone.
//!
//! A browser on this machine can be made to call a service on it by a foreign page, or by a name
//! that a stranger lets point here. The host that was called and the page that called tell.

use std::net::IpAddr;

/// Whether a request was sent to this machine by its own name, and by nobody else's page.
///
/// `host` is the authority that was called, `origin` what the browser says of the calling page.
pub fn is_local(host: Option<&str>, origin: Option<&str>) -> bool {
    let from_here = match origin {
        None => true,
        Some(origin) => origin.split_once("://").is_some_and(|(_, authority)| is_loopback(authority)),
    };
    host.is_some_and(is_loopback) && from_here
}

/// Whether an authority such as `localhost:8000` or `[::1]` is a name of the loopback.
fn is_loopback(authority: &str) -> bool {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
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
}
