//! Who may use the API: keys and scopes in production, this machine alone in `dev`.

use crate::config::{Access, ApiKey, Scope};
use crate::domain::audit::Caller;
use crate::domain::local::is_local;
use crate::problem::Problem;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::ExposeSecret;
use std::sync::Arc;
use subtle::{Choice, ConstantTimeEq};

const BEARER: &str = "Bearer realm=\"eventbridge\"";
const BASIC: &str = "Basic realm=\"eventbridge: any user name, an API key as password\", charset=\"UTF-8\"";

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Which page sent a request, as far as its browser says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// One of this very origin.
    Ours,
    /// One of another origin.
    Foreign,
    /// Nothing is said of a page, as programs do.
    Unsaid,
}

/// Which page sent the request with these headers.
pub fn page(headers: &HeaderMap) -> Page {
    match headers.get(FETCH_SITE) {
        Some(site) if site == "same-origin" => return Page::Ours,
        // A person typed the address.
        Some(site) if site == "none" => return Page::Unsaid,
        Some(_) => return Page::Foreign,
        None => {}
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Page::Unsaid };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let is_host = authority.is_some_and(|(_, authority)| {
        text(headers, &header::HOST).is_some_and(|host| host.eq_ignore_ascii_case(authority))
    });
    if is_host { Page::Ours } else { Page::Foreign }
}

/// Lets a request pass when its key allows it: reading for GET and HEAD, writing for all else. Who
/// asks goes with the request, as a [`Caller`] among its extensions.
///
/// Where no key is asked for, nothing that changes something is taken from a foreign page: a browser
/// would send it for anybody whose page is open in it.
pub async fn require_key(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let needed = match *request.method() {
        Method::GET | Method::HEAD => Scope::Read,
        _ => Scope::Write,
    };
    let asks_for_keys = matches!(*access, Access::Keys(_));
    if needed == Scope::Write && !asks_for_keys && page(request.headers()) == Page::Foreign {
        return foreign_page().into_response();
    }
    match check(&access, bearer(request.headers()), needed, BEARER) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// As [`require_key`], for pages that a browser opens: it may send the key as a Basic password.
pub async fn require_key_of_browser(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let key = bearer(headers).map(str::to_owned).or_else(|| basic_password(headers));
    match check(&access, key.as_deref(), Scope::Read, BASIC) {
        Ok(_) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Whether a request may come at all. In `dev` none may that a foreign web page or a rebound name made
/// a browser send.
pub fn is_allowed_here(access: &Access, request: &Request) -> bool {
    !matches!(access, Access::LocalOnly) || is_from_here(request.uri(), request.headers())
}

/// The answer to one that may not.
pub fn not_local() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "not_local",
        "Only for this machine",
        "In dev the service answers only requests whose Host and Origin are localhost or a loopback address.",
    )
}

fn foreign_page() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "foreign_page",
        "Not from another page",
        "Where no key is asked for, a page of another origin may change nothing.",
    )
}

fn check(
    access: &Access,
    given: Option<&str>,
    needed: Scope,
    challenge: &'static str,
) -> Result<Caller, Problem> {
    let Access::Keys(keys) = access else { return Ok(Caller::without_key()) };
    let Some(given) = given else {
        return Err(Problem::unauthorized(
            "Send a key of API_KEYS as Authorization: Bearer <key>.",
            challenge,
        ));
    };
    match holder(keys, given) {
        None => Err(Problem::unauthorized("This key is not one of API_KEYS.", challenge)),
        Some(key) if key.scope < needed => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "This key may only read",
            "Use a key with the scope write.",
        )),
        Some(key) => Ok(Caller::with_key(&key.name, key.scope >= Scope::Write)),
    }
}

/// The key of ours that was given. It compares with every one, so that the time tells nothing of
/// which came close.
pub fn holder<'a>(keys: &'a [ApiKey], given: &str) -> Option<&'a ApiKey> {
    let mut found = None;
    for key in keys {
        let same: Choice = key.key.expose_secret().as_bytes().ct_eq(given.as_bytes());
        if bool::from(same) {
            found = Some(key);
        }
    }
    found
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}

fn basic_password(headers: &HeaderMap) -> Option<String> {
    let (scheme, encoded) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

fn is_from_here(uri: &Uri, headers: &HeaderMap) -> bool {
    // An address may bear the host as well, as proxies are asked; then it is that which counts.
    let called = uri.authority().map(Authority::as_str).or_else(|| text(headers, &header::HOST));
    match headers.get(header::ORIGIN) {
        None => is_local(called, None),
        // An origin that is no text is nobody's on this machine.
        Some(origin) => is_local(called, Some(origin.to_str().unwrap_or_default())),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use secrecy::SecretString;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(header).collect()
    }

    #[test]
    fn a_browser_says_which_page_sends_a_request_and_a_program_says_nothing() {
        for (said, expected) in [
            (headers(&[("sec-fetch-site", "same-origin")]), Page::Ours),
            (
                headers(&[("sec-fetch-site", "same-site"), ("host", "a"), ("origin", "https://a")]),
                Page::Foreign,
            ),
            (headers(&[("sec-fetch-site", "cross-site")]), Page::Foreign),
            (headers(&[("sec-fetch-site", "none"), ("host", "a")]), Page::Unsaid),
            (headers(&[("host", "a:8000"), ("origin", "http://a:8000")]), Page::Ours),
            (headers(&[("host", "a:8000"), ("origin", "http://a")]), Page::Foreign),
            (headers(&[("host", "a"), ("origin", "null")]), Page::Foreign),
            (headers(&[("host", "a")]), Page::Unsaid),
        ] {
            assert_eq!(page(&said), expected, "{said:?}");
        }
    }

    #[test]
    fn a_read_key_may_not_write_and_an_unknown_one_nothing() {
        let key = |name: &str, scope, key: &str| ApiKey {
            name: name.to_owned(),
            scope,
            key: SecretString::from(key),
        };
        let access = Access::Keys(vec![key("r", Scope::Read, "reader"), key("w", Scope::Write, "writer")]);
        let status = |given, needed| {
            check(&access, given, needed, BEARER)
                .map(|caller| caller.may_write())
                .map_err(|problem| problem.status)
        };
        assert_eq!(status(Some("reader"), Scope::Read), Ok(false));
        assert_eq!(status(Some("reader"), Scope::Write), Err(403));
        assert_eq!(status(Some("writer"), Scope::Write), Ok(true));
        assert_eq!(status(Some("other"), Scope::Read), Err(401));
        assert_eq!(status(None, Scope::Read), Err(401));
    }
}
