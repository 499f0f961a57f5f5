//! What every answer tells a browser: to guess no types, to frame nothing, to keep nothing, to send
//! no addresses on. Whoever knows better sets the header, and it stays.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// For answers that are no page: nothing that came in may run in them.
const DATA_POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// For pages that bring no policy of their own, as those of Swagger UI, which need styles in line and
/// pictures that stand in these.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     frame-ancestors 'none'; object-src 'none'; base-uri 'none'",
);

/// Half a year, for this host alone: whether its neighbours speak HTTPS is not ours to say.
const HTTPS_ONLY: HeaderValue = HeaderValue::from_static("max-age=15768000");

const DEFAULTS: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Whether people reach the service by HTTPS, as far as the settings say.
#[derive(Debug, Clone, Copy)]
pub struct PublicByHttps(pub bool);

/// Adds to an answer what it lacks. A browser heeds `Strict-Transport-Security` only where it came by HTTPS,
/// so it does no harm to believe a header that anybody can write.
pub(super) fn make_safe(headers: &mut HeaderMap, by_https: bool) {
    for (name, value) in DEFAULTS {
        headers.entry(name).or_insert(value);
    }
    let policy = if is_page(headers) { PAGE_POLICY } else { DATA_POLICY };
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
    if by_https {
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(HTTPS_ONLY);
    }
}

/// Whether a proxy says that this request came to it by HTTPS.
pub(super) fn came_by_https(headers: &HeaderMap) -> bool {
    let first = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok()?.split(',').next());
    first.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
}

fn is_page(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}
