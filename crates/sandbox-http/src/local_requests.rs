//! Recognises requests that come from this machine.
//!
//! A foreign page can make a browser on this machine call a service on it, directly or by a foreign name
//! that resolves to the loopback address. The headers `Host` and `Origin` show both.

use axum::extract::Request;
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;

/// Middleware: answers 403 to requests that come from another machine or from a foreign page.
pub async fn reject_foreign_requests(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if is_local(text(header::HOST), text(header::ORIGIN)) {
        next.run(request).await
    } else {
        let message = "The sandbox answers only requests to localhost or a loopback address.\n";
        (StatusCode::FORBIDDEN, message).into_response()
    }
}

/// Whether a request names this machine as its host and comes from no foreign page.
///
/// `host` and `origin` are the values of the headers.
fn is_local(host: Option<&str>, origin: Option<&str>) -> bool {
    let is_own_page = match origin {
        None => true,
        Some(origin) => origin.split_once("://").is_some_and(|(_, authority)| is_loopback(authority)),
    };
    host.is_some_and(is_loopback) && is_own_page
}

/// Whether an authority such as `localhost:8000` or `[::1]` names a loopback address.
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
