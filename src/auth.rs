//! Authentication of the API: keys with scopes in production, only this machine in `dev`.

use crate::config::{Access, ApiKey, Scope};
use crate::domain::audit::Caller;
use crate::domain::local::{is_address, is_at, is_local};
use crate::domain::source::is_below_webhooks;
use crate::problem::{Problem, ProblemCode};
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::ExposeSecret;
use std::net::IpAddr;
use std::sync::Arc;
use subtle::{Choice, ConstantTimeEq};

const BEARER: &str = "Bearer realm=\"eventbridge\"";
const BASIC: &str = "Basic realm=\"eventbridge: any user name, an API key as password\", charset=\"UTF-8\"";

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The address at the other end of a request's connection: a client, or the proxy in front of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

/// The page that sent a request, according to its browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// A page of this origin.
    SameOrigin,
    /// A page of another origin.
    CrossOrigin,
    /// Unknown: the request comes from a program.
    Unknown,
}

/// The page that sent the request with these headers.
pub fn page(headers: &HeaderMap) -> Page {
    match headers.get(FETCH_SITE) {
        Some(site) if site == "same-origin" => return Page::SameOrigin,
        // The user typed the address.
        Some(site) if site == "none" => return Page::Unknown,
        Some(_) => return Page::CrossOrigin,
        None => {}
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Page::Unknown };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let is_host = authority.is_some_and(|(_, authority)| {
        text(headers, &header::HOST).is_some_and(|host| host.eq_ignore_ascii_case(authority))
    });
    if is_host { Page::SameOrigin } else { Page::CrossOrigin }
}

/// Accepts a request if its key allows it: GET and HEAD require the scope read, other methods write. The
/// [`Caller`] is stored in the request's extensions.
///
/// If no key is required, requests of cross-origin pages may change nothing: a browser sends them for any
/// page that is open in it.
pub async fn require_key(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let needed = match *request.method() {
        Method::GET | Method::HEAD => Scope::Read,
        _ => Scope::Write,
    };
    let requires_key = matches!(*access, Access::Keys(_));
    if needed == Scope::Write && !requires_key && page(request.headers()) == Page::CrossOrigin {
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

/// Like [`require_key`], for pages that a browser opens: it may also send the key as a Basic password.
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

/// Paths that answer at any host if no key is required, beside the webhooks, which are signed: probes, which tell
/// nothing.
const OPEN_PROBES: [&str; 2] = ["/livez", "/readyz"];

/// Accepts or rejects a request by its Host and Origin.
///
/// Without keys, a foreign page can reach the service through a host name that resolves to it (DNS rebinding).
/// `AUTH=off` answers only at the host of `PUBLIC_URL`, at localhost and at IP addresses. `dev` also rejects
/// requests that a foreign page made a browser send. A tunnel's host, which an operator has named, may send
/// webhooks: these are signed.
pub fn check_origin(access: &Access, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    // The URI may contain the host, as in requests to proxies; then it takes precedence.
    let host = request.uri().authority().map(Authority::as_str).or_else(|| text(headers, &header::HOST));
    let path = request.uri().path();
    match access {
        Access::Keys(_) => Ok(()),
        Access::Open { public_host } => {
            let is_public = public_host.as_deref().is_some_and(|public| is_at(public, host, None));
            let is_webhook = request.method() == Method::POST && is_below_webhooks(path);
            let is_open = OPEN_PROBES.contains(&path) || is_webhook;
            let is_allowed = is_public || is_local(host, None) || host.is_some_and(is_address) || is_open;
            if is_allowed { Ok(()) } else { Err(wrong_host()) }
        }
        Access::LocalOnly { public_host, is_exposed } => {
            // An origin that is not valid text belongs to no host.
            let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
            let is_public = || public_host.as_deref().is_some_and(|public| is_at(public, host, origin));
            let may_be_public = *is_exposed || is_below_webhooks(path);
            if is_local(host, origin) || (may_be_public && is_public()) { Ok(()) } else { Err(not_local()) }
        }
    }
}

fn wrong_host() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        ProblemCode::WrongHost,
        "Not at this host name",
        "Without keys (AUTH=off) the service answers only at the host of PUBLIC_URL, at localhost and at IP \
         addresses, because a foreign page could reach it through another name. Set PUBLIC_URL to the address that \
         you use, and let a proxy pass the Host header on.",
    )
}

fn not_local() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        ProblemCode::NotLocal,
        "Only for this machine",
        "In dev the service answers only requests whose Host and Origin are localhost or a loopback address. To \
         receive webhooks through a tunnel, set PUBLIC_URL to the tunnel's address; with DEV_EXPOSE=on too, anyone \
         who knows that address can use everything without a key.",
    )
}

fn foreign_page() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        ProblemCode::ForeignPage,
        "Not from another page",
        "If no key is required, pages of other origins may not change anything.",
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
    match find_key(keys, given) {
        None => Err(Problem::unauthorized("This key is not one of API_KEYS.", challenge)),
        Some(key) if key.scope < needed => Err(Problem::new(
            StatusCode::FORBIDDEN,
            ProblemCode::Forbidden,
            "This key may only read",
            "Use a key with the scope write.",
        )),
        Some(key) => Ok(Caller::with_key(&key.name, key.scope >= Scope::Write)),
    }
}

/// Finds the given key. It is compared with all keys, so that the time reveals nothing about similar ones.
pub fn find_key<'a>(keys: &'a [ApiKey], given: &str) -> Option<&'a ApiKey> {
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
    fn the_page_is_known_for_browsers_and_unknown_for_programs() {
        for (headers, expected) in [
            (headers(&[("sec-fetch-site", "same-origin")]), Page::SameOrigin),
            (
                headers(&[("sec-fetch-site", "same-site"), ("host", "a"), ("origin", "https://a")]),
                Page::CrossOrigin,
            ),
            (headers(&[("sec-fetch-site", "cross-site")]), Page::CrossOrigin),
            (headers(&[("sec-fetch-site", "none"), ("host", "a")]), Page::Unknown),
            (headers(&[("host", "a:8000"), ("origin", "http://a:8000")]), Page::SameOrigin),
            (headers(&[("host", "a:8000"), ("origin", "http://a")]), Page::CrossOrigin),
            (headers(&[("host", "a"), ("origin", "null")]), Page::CrossOrigin),
            (headers(&[("host", "a")]), Page::Unknown),
        ] {
            assert_eq!(page(&headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn a_read_key_may_not_write_and_an_unknown_key_is_rejected() {
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
