//! Serving below a path. If `PUBLIC_URL` has one, a proxy passes on only what is below it, with or without that
//! path. Requests work either way, and links lead below it.
//!
//! Pages, redirects and the API's description refer to each other by absolute paths, so these are changed in
//! the responses. Without such a path nothing here runs.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use std::sync::Arc;
use tower::ServiceExt;
use tracing::error;
use url::Url;

/// How an absolute path follows in HTML, which escapes quotes everywhere else, and in the script with which
/// Swagger UI begins.
const IN_PAGES: &[&str] = &[" href=\"/", " src=\"/", " action=\"/", " data-live=\"/"];
const IN_SCRIPTS: &[&str] = &["\"/openapi.json"];

/// A path below which the service is reached, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BasePath(Arc<str>);

impl BasePath {
    /// The path of this address, if it has one.
    pub(super) fn of(public_url: &Url) -> Option<Self> {
        let path = public_url.path().trim_end_matches('/');
        (!path.is_empty()).then(|| Self(path.into()))
    }

    /// The path, without a slash at its end.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The routes, reached below this path too, with links that lead below it.
    pub(super) fn around(self, routes: Router) -> Router {
        Router::new().fallback(move |request: Request| self.answer(routes, request))
    }

    async fn answer(self, routes: Router, mut request: Request) -> Response {
        if let Some(within) = self.within(request.uri()) {
            *request.uri_mut() = within;
        }
        // What is compressed cannot be changed.
        request.headers_mut().remove(header::ACCEPT_ENCODING);
        let Ok(response) = routes.oneshot(request).await;
        let (mut parts, body) = response.into_parts();
        if let Some(place) = self.redirected(&parts.headers) {
            parts.headers.insert(header::LOCATION, place);
        }
        let places = match parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes) {
            Some(kind) if kind.starts_with(b"text/html") => IN_PAGES,
            Some(b"text/javascript" | b"application/javascript") => IN_SCRIPTS,
            _ => return Response::from_parts(parts, body),
        };
        if parts.headers.contains_key(header::CONTENT_ENCODING) {
            return Response::from_parts(parts, body);
        }
        parts.headers.remove(header::CONTENT_LENGTH);
        match body.collect().await {
            Ok(whole) => {
                let text = String::from_utf8_lossy(&whole.to_bytes()).into_owned();
                Response::from_parts(parts, Body::from(self.with_links(text, places)))
            }
            Err(cause) => {
                error!(error = %cause, "a page could not be made");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }

    /// An address without this path at its beginning.
    fn within(&self, uri: &Uri) -> Option<Uri> {
        let rest = uri.path().strip_prefix(self.as_str())?;
        let path = match rest {
            "" => "/",
            rest if rest.starts_with('/') => rest,
            _ => return None,
        };
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(format!("{path}{query}")).ok()?);
        Uri::from_parts(parts).ok()
    }

    /// Where a redirect to a path of ours leads.
    fn redirected(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let place = headers.get(header::LOCATION)?.to_str().ok()?;
        let is_ours = place.starts_with('/') && !place.starts_with("//");
        is_ours.then(|| HeaderValue::try_from(format!("{}{place}", self.0)).ok())?
    }

    fn with_links(&self, text: String, places: &[&str]) -> String {
        places.iter().fold(text, |text, place| {
            let (before, path) = place.split_at(place.rfind('/').unwrap_or_default());
            text.replace(place, &format!("{before}{}{path}", self.0))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(url: &str) -> Option<BasePath> {
        BasePath::of(&url.parse().expect("a URL"))
    }

    #[test]
    fn an_address_has_a_base_path_or_none() {
        assert_eq!(base("https://example.com"), None);
        assert_eq!(base("https://example.com/"), None);
        assert_eq!(base("https://example.com/a/b/").expect("a path").as_str(), "/a/b");
    }

    #[test]
    fn only_the_whole_path_is_taken_off() {
        let base = base("https://example.com/app").expect("a path");
        for (uri, expected) in [
            ("/app", Some("/")),
            ("/app/", Some("/")),
            ("/app?q=1", Some("/?q=1")),
            ("/app/events?type=a%2Fb", Some("/events?type=a%2Fb")),
            ("/apple", None),
            ("/events", None),
        ] {
            let within = base.within(&uri.parse().expect("a URI")).map(|uri| uri.to_string());
            assert_eq!(within.as_deref(), expected, "{uri}");
        }
    }

    #[test]
    fn links_lead_below_it_and_texts_stay() {
        let base = base("https://example.com/app").expect("a path");
        let page = r#"<a href="/events">x</a><a href="https://s.example/">&quot; href=&quot;/x</a><form action="/login">"#;
        assert_eq!(
            base.with_links(page.to_owned(), IN_PAGES),
            r#"<a href="/app/events">x</a><a href="https://s.example/">&quot; href=&quot;/x</a><form action="/app/login">"#
        );
        assert_eq!(
            base.with_links(r#"url: "/openapi.json","#.to_owned(), IN_SCRIPTS),
            r#"url: "/app/openapi.json","#
        );
        let redirect = |place| {
            let headers = HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_static(place))]);
            base.redirected(&headers)
        };
        assert_eq!(redirect("/login?next=%2F").expect("ours"), "/app/login?next=%2F");
        assert_eq!(redirect("https://elsewhere.example/"), None);
        assert_eq!(redirect("//elsewhere.example/"), None);
    }
}
