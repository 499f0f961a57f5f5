//! `/login` and `/logout`: a key of `API_KEYS` is exchanged for a session.
//!
//! A wrong key is answered after a second, and the number of waiting ones is limited, so that guessing is
//! slow. A correct key never waits. Keys are compared in constant time.

use super::auth::{Visitor, is_from_our_page};
use super::error_page::ErrorPage;
use super::query::Query;
use super::session::{COOKIE, Session};
use super::{Ui, document};
use crate::auth::find_key;
use crate::config::Access;
use crate::domain::local::is_local;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;
use std::time::Duration;
use tracing::{info, warn};

/// The delay of the response to a wrong key.
const WRONG_KEY_DELAY: Duration = Duration::from_secs(1);

/// The largest number of wrong keys that wait in one process; more get 503.
pub(super) const WRONG_KEYS_MAX: usize = 16;

/// The query of the login page.
#[derive(Debug, Deserialize)]
pub(super) struct LoginQuery {
    next: Option<String>,
}

/// The form of the login page.
#[derive(Deserialize)]
pub(super) struct LoginForm {
    key: String,
    #[serde(default)]
    next: String,
}

/// The login page.
pub(super) async fn form(State(ui): State<Ui>, Query(query): Query<LoginQuery>) -> Response {
    if !matches!(*ui.access, Access::Keys(_)) {
        return Redirect::to("/").into_response();
    }
    page(StatusCode::OK, query.next.as_deref().unwrap_or("/"), None)
}

/// Starts a session if the key is valid.
pub(super) async fn login(
    State(ui): State<Ui>,
    headers: HeaderMap,
    Form(form): Form<LoginForm>,
) -> Result<Response, ErrorPage> {
    let Access::Keys(keys) = &*ui.access else { return Ok(Redirect::to("/").into_response()) };
    if !is_from_our_page(&headers) {
        return Err(ErrorPage::foreign());
    }
    if is_remote_over_http(&headers) {
        return Err(ErrorPage::bad_request(
            "This page was loaded over plain HTTP. Browsers keep the session only over HTTPS or on localhost: open it with https://.",
        ));
    }
    let Some(key) = find_key(keys, &form.key) else {
        let Ok(_waiting) = ui.wrong_keys.try_acquire() else {
            return Err(ErrorPage::busy("Too many wrong keys at once: try again in a few seconds."));
        };
        warn!("login rejected: unknown key");
        tokio::time::sleep(WRONG_KEY_DELAY).await;
        return Ok(page(StatusCode::UNAUTHORIZED, &form.next, Some("This key is not one of API_KEYS.")));
    };
    info!(who = key.name, "logged in");
    let session = Session::start(key, (ui.clock)());
    Ok(with_cookie(Redirect::to(local_path(&form.next)), &session.cookie(key), ""))
}

/// Ends the session, at all replicas and in this browser. If the database is not available, the session stays, and
/// the user can try again.
pub(super) async fn logout(State(ui): State<Ui>, visitor: Visitor) -> Result<Response, ErrorPage> {
    if let Some((session, expires_at)) =
        visitor.session.as_ref().and_then(|one| Some((one, one.expires_at()?)))
    {
        ui.store.revoked_sessions.revoke(session.id(), expires_at).await?;
    }
    info!(who = visitor.who.name(), "logged out");
    Ok(with_cookie(Redirect::to("/login"), "", "; Max-Age=0"))
}

fn page(status: StatusCode, next: &str, error: Option<&str>) -> Response {
    let body = html! {
        main.narrow id="main" {
            h1 { "Log in" }
            p.lead { "With a key of " code { "API_KEYS" } ". A key of the scope read sees everything and changes nothing." }
            form.card.stack method="post" action="/login" {
                input type="hidden" name="next" value=(next);
                label for="key" { "API key" }
                input id="key" type="password" name="key" required autofocus autocomplete="current-password"
                    spellcheck="false" aria-describedby=[error.map(|_| "error")] aria-invalid=[error.map(|_| "true")];
                @if let Some(error) = error { p.error id="error" role="alert" { (error) } }
                button.primary type="submit" { "Log in" }
            }
        }
    };
    (status, document::bare("Log in", document::Script::Still, &body)).into_response()
}

fn with_cookie(redirect: Redirect, value: &str, more: &str) -> Response {
    let cookie = format!("{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{more}");
    let mut response = redirect.into_response();
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// Whether a browser reports that it sent the form over plain HTTP to another machine: it would silently
/// drop the cookie.
fn is_remote_over_http(headers: &HeaderMap) -> bool {
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default();
    origin.strip_prefix("http://").is_some_and(|host| !is_local(Some(host), None))
}

/// The page to redirect to: only a local path is allowed.
fn local_path(next: &str) -> &str {
    let second = next.as_bytes().get(1);
    let is_local_path = next.starts_with('/')
        && !matches!(second, Some(b'/' | b'\\'))
        && next.bytes().all(|byte| byte.is_ascii_graphic())
        && !next.starts_with("/login");
    if is_local_path { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::local_path;

    #[test]
    fn the_login_redirects_only_to_local_paths() {
        for path in ["/events?type=invoice.paid", "/executions/42", "/"] {
            assert_eq!(local_path(path), path);
        }
        for path in
            ["", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb", "/login?next=/"]
        {
            assert_eq!(local_path(path), "/", "{path:?}");
        }
    }
}
