//! The layout of the sandbox's HTML pages.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandbox_http::Escaped;
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

/// A whole document around a body; with `refresh_seconds` it reloads itself.
pub fn document(status: StatusCode, title: &str, body: &str, refresh_seconds: Option<u32>) -> Response {
    let refresh = refresh_seconds
        .map(|seconds| format!("<meta http-equiv=refresh content=\"{seconds}\">"))
        .unwrap_or_default();
    let html = format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">{refresh}\
         <title>{title} · Notion sandbox</title><style>{STYLE}</style></head>\
         <body>{body}</body></html>",
        title = Escaped(title)
    );
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// How many rows are shown of how many.
pub fn shown_count(total: usize, shown_max: usize) -> String {
    match total {
        1 => "1 page".to_owned(),
        _ if total <= shown_max => format!("{total} pages"),
        _ => format!("The newest {shown_max} of {total} pages"),
    }
}

const STYLE: &str = include_str!("style.css");

/// Allows only the one style sheet, by its hash.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_says_what_is_left_out() {
        assert_eq!(shown_count(1, 200), "1 page");
        assert_eq!(shown_count(200, 200), "200 pages");
        assert_eq!(shown_count(201, 200), "The newest 200 of 201 pages");
    }
}
