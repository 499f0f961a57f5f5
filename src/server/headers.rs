//! The security headers of every response: no type sniffing, no framing, no caching, no referrer. A
//! header that a handler has set is kept.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// For responses that are no page: nothing in them may execute.
const DATA_POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// For pages without their own policy, such as Swagger UI, which needs inline styles and `data:` images.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     frame-ancestors 'none'; object-src 'none'; base-uri 'none'",
);

/// Half a year, only for this host: its subdomains may not support HTTPS.
const HTTPS_ONLY: HeaderValue = HeaderValue::from_static("max-age=15768000");

const DEFAULTS: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Whether the service's public address is HTTPS, according to the settings.
#[derive(Debug, Clone, Copy)]
pub struct PublicByHttps(pub bool);

/// Adds the missing headers to a response. A browser accepts `Strict-Transport-Security` only over HTTPS,
/// so it is harmless to trust a request header that anyone can set.
pub(super) fn add_security_headers(headers: &mut HeaderMap, by_https: bool) {
    for (name, value) in DEFAULTS {
        headers.entry(name).or_insert(value);
    }
    let policy = if is_page(headers) { PAGE_POLICY } else { DATA_POLICY };
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
    if by_https {
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(HTTPS_ONLY);
    }
}

/// Whether a proxy reports that it received this request over HTTPS.
pub(super) fn came_by_https(headers: &HeaderMap) -> bool {
    let first = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok()?.split(',').next());
    first.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
}

fn is_page(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}
