//! Authentication and authorisation of the dashboard.
//!
//! If API keys are configured, every page except the login requires a session. A request that changes
//! something must come from a page of the dashboard: the browser reports the sending page, and with a
//! session the form also has its token. One middleware checks all of this for every route. A key with the
//! scope `read` sees no buttons, and its changes are rejected. A session also opens `/docs`. The API accepts
//! no cookie, so requests from Swagger UI need a key (*Authorize*).

use super::Ui;
use super::error_page::ErrorPage;
use super::query::reject_nul;
use super::session::{COOKIE, Session};
use crate::auth::{self, Page};
use crate::config::{Access, ApiKey, Scope};
use crate::domain::audit::Caller;
use crate::store::StoreError;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use std::time::Duration;
use tokio::time::timeout;
use url::form_urlencoded;

/// The largest form in bytes.
pub(super) const FORM_BYTES_MAX: usize = 16 * 1024;

/// How long a page waits for the database to say whether its session was ended.
const LOOKUP_MAX: Duration = Duration::from_secs(3);

/// How long a page may take. A lost connection to the database shows only by a timeout, and a page reads several
/// times.
const PAGE_MAX: Duration = Duration::from_secs(10);

/// The form field of the token.
pub(super) const TOKEN: &str = "token";

/// The only form that a key of the scope read may send.
pub(super) const LOGOUT: &str = "/logout";

/// The user of a page.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    /// The caller, for the audit.
    pub who: Caller,
    /// The scope of the key; `None` if no key is required.
    pub scope: Option<Scope>,
    /// The session; `None` if no key is required.
    pub session: Option<Session>,
    /// The token of this page's forms.
    pub token: String,
    /// The number of unacknowledged failure groups, if it could be read.
    pub open_failures: Option<i64>,
}

impl Visitor {
    /// Whether buttons that change something are shown and allowed.
    pub const fn may_write(&self) -> bool {
        self.who.may_write()
    }
}

impl FromRequestParts<Ui> for Visitor {
    type Rejection = ErrorPage;

    async fn from_request_parts(parts: &mut Parts, ui: &Ui) -> Result<Self, ErrorPage> {
        // Every route behind the middleware has one.
        let mut visitor = parts.extensions.get::<Self>().cloned().ok_or_else(ErrorPage::internal)?;
        if parts.method == Method::GET {
            visitor.open_failures = ui.badge.read(&ui.store.failure_groups).await;
        }
        Ok(visitor)
    }
}

/// Accepts a request with its visitor, or redirects it to the login.
pub(super) async fn require_session(State(ui): State<Ui>, mut request: Request, next: Next) -> Response {
    let reads = is_read(request.method());
    let found = match &*ui.access {
        Access::Open { .. } | Access::LocalOnly { .. } => None,
        Access::Keys(keys) => match session(&ui, keys, request.headers(), reads).await {
            Ok(Some(found)) => Some(found),
            Ok(None) if reads => return to_login(&request),
            Ok(None) => return ErrorPage::signed_out().into_response(),
            Err(error) => return error.into_response(),
        },
    };
    if !reads {
        if !is_from_our_page(request.headers()) {
            return ErrorPage::foreign().into_response();
        }
        let form;
        (request, form) = match read_form(request).await {
            Ok(read) => read,
            Err(error) => return error.into_response(),
        };
        if let Some((session, key)) = &found {
            if !session.owns_form(key, &token_of(&form)) {
                return ErrorPage::stale_form().into_response();
            }
            if session.scope < Scope::Write && request.uri().path() != LOGOUT {
                return ErrorPage::read_only().into_response();
            }
        }
    }
    let visitor = match found {
        None => Visitor {
            who: Caller::without_key(),
            scope: None,
            session: None,
            token: String::new(),
            open_failures: None,
        },
        Some((session, key)) => Visitor {
            token: session.form_token(&key),
            scope: Some(session.scope),
            who: Caller::with_key(session.holder.as_str(), session.scope >= Scope::Write),
            session: Some(session),
            open_failures: None,
        },
    };
    request.extensions_mut().insert(visitor);
    if !reads {
        return next.run(request).await;
    }
    match timeout(PAGE_MAX, next.run(request)).await {
        Ok(page) => page,
        Err(_elapsed) => ErrorPage::from(StoreError::TimedOut).into_response(),
    }
}

/// Whether a request has a session. Use it only for reading: other pages can make a browser send the
/// cookie.
pub(super) async fn is_logged_in(ui: &Ui, headers: &HeaderMap) -> bool {
    match &*ui.access {
        Access::Open { .. } | Access::LocalOnly { .. } => false,
        Access::Keys(keys) => session(ui, keys, headers, true).await.is_ok_and(|session| session.is_some()),
    }
}

/// Whether a browser reports that a page of this origin sent the request. Programs, which report nothing,
/// use the API.
pub(super) fn is_from_our_page(headers: &HeaderMap) -> bool {
    auth::page(headers) == Page::SameOrigin
}

/// The session of a request and its key; none if it has no valid session, or if its user logged out.
async fn session(
    ui: &Ui,
    keys: &[ApiKey],
    headers: &HeaderMap,
    is_read: bool,
) -> Result<Option<(Session, ApiKey)>, ErrorPage> {
    let Some(session) = cookie(headers).and_then(|cookie| Session::read(cookie, keys, (ui.clock)())) else {
        return Ok(None);
    };
    let Some(key) = keys.iter().find(|key| key.name == session.holder) else { return Ok(None) };
    let looked_up = timeout(LOOKUP_MAX, ui.store.revoked_sessions.is_revoked(session.id())).await;
    match looked_up.unwrap_or(Err(StoreError::TimedOut)) {
        Ok(true) => Ok(None),
        Ok(false) => Ok(Some((session, key.clone()))),
        // A page says what is wrong; without the database it shows nothing. It changes nothing, as only a lookup
        // shows that its user did not log out.
        Err(StoreError::Unavailable(_)) if is_read => Ok(Some((session, key.clone()))),
        Err(error) => Err(error.into()),
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let pairs = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    pairs
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

/// Redirects to the login, which leads back to the requested page.
fn to_login(request: &Request) -> Response {
    let accepts_pages = text(request.headers(), &header::ACCEPT)
        .is_none_or(|accept| accept.contains("text/html") || accept.contains("*/*"));
    if !accepts_pages {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let wanted = request.uri().path_and_query().map_or("/", |wanted| wanted.as_str());
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", wanted).finish();
    Redirect::to(&format!("/login?{query}")).into_response()
}

async fn read_form(request: Request) -> Result<(Request, Bytes), ErrorPage> {
    let (parts, body) = request.into_parts();
    let form = axum::body::to_bytes(body, FORM_BYTES_MAX).await.map_err(|_| ErrorPage::form_too_large())?;
    reject_nul(&String::from_utf8_lossy(&form))?;
    Ok((Request::from_parts(parts, Body::from(form.clone())), form))
}

fn token_of(form: &[u8]) -> String {
    form_urlencoded::parse(form)
        .find_map(|(name, value)| (name == TOKEN).then(|| value.into_owned()))
        .unwrap_or_default()
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| ((*name).parse().expect("a name"), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn only_a_page_of_this_origin_may_send_forms() {
        assert!(is_from_our_page(&headers(&[("sec-fetch-site", "same-origin")])));
        assert!(!is_from_our_page(&headers(&[("sec-fetch-site", "cross-site")])));
        assert!(!is_from_our_page(&headers(&[("host", "a")])), "a program has the API");
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let value = cookie(&headers(&[("cookie", "a=b; __Host-eventbridge=x=y; c=d")])).map(str::to_owned);
        assert_eq!(value.as_deref(), Some("x=y"));
        assert_eq!(cookie(&headers(&[("cookie", "eventbridge=x")])), None);
    }
}
