//! What every answer tells a browser: to guess no types, to frame nothing, to keep nothing, to send
//! no addresses on. Whoever knows better sets the header, and it stays.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

/// For answers that are no page: nothing that came in may run in them.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// For pages that bring no policy of their own, as those of Swagger UI, which need styles in line and
/// pictures that stand in these.
const PAGE_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                           frame-ancestors 'none'; object-src 'none'; base-uri 'none'";

/// Half a year, for this host alone: whether its neighbours speak HTTPS is not ours to say.
const HTTPS_ONLY: &str = "max-age=15768000";

const DEFAULTS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Whether people reach the service by HTTPS, as far as the settings say.
#[derive(Debug, Clone, Copy)]
pub struct PublicByHttps(pub bool);

/// Adds to an answer what it lacks. A browser heeds `Strict-Transport-Security` only where it came by HTTPS,
/// so it does no harm to believe a header that anybody can write.
pub async fn with_safe_headers(
    State(PublicByHttps(by_https)): State<PublicByHttps>,
    request: Request,
    next: Next,
) -> Response {
    let by_https = by_https || came_by_https(request.headers());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in DEFAULTS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    let policy = if is_page(headers) { PAGE_POLICY } else { DATA_POLICY };
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(policy));
    if by_https {
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(HeaderValue::from_static(HTTPS_ONLY));
    }
    response
}

fn came_by_https(headers: &HeaderMap) -> bool {
    let first = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok()?.split(',').next());
    first.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
}

fn is_page(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}
