//! Sends requests to Stripe's API.
//!
//! At most [`CONCURRENCY_MAX`] requests of one client run at once; a request that waits for its next try takes
//! no place. An answer is read up to [`ANSWER_BYTES_MAX`]. Dropping the future cancels a request. Logs of a request
//! have its path, status and class, and never its key or its answer.

use super::error::{ApiError, Refusal};
use super::keys::NamedKey;
use super::retry::{FailedTry, RetryPolicy};
use super::settings::ApiSettings;
use crate::http_client::{self, ClientError};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Semaphore;
use url::Url;
use uuid::Uuid;

/// The version of Stripe's API whose shapes this program reads.
pub const VERSION: &str = "2026-10-28.endive";

/// How many requests of one client run at once. Stripe allows 25 a second in test mode.
const CONCURRENCY_MAX: usize = 8;

/// The timeout of one try.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);

/// The largest answer that is read, in bytes.
pub(super) const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Whose data a request is about.
#[derive(Debug, Clone, Copy)]
pub struct Account<'a> {
    /// The key.
    pub key: &'a NamedKey,
    /// The account on whose behalf the key's account asks, as an event's `context` names it.
    pub context: Option<&'a str>,
}

impl<'a> Account<'a> {
    /// The key's own account.
    pub const fn of(key: &'a NamedKey) -> Self {
        Self { key, context: None }
    }
}

/// A request. Each is safe to send again: it reads, or carries an idempotency key.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    /// The path, which begins with `/v1/` or `/v2/`, and the query.
    path_and_query: String,
    body: Option<(&'static str, String)>,
    idempotency_key: Option<Uuid>,
}

impl Request {
    /// Reads this path, such as `/v1/events?limit=1`.
    pub fn get(path_and_query: impl Into<String>) -> Self {
        Self { method: Method::GET, path_and_query: path_and_query.into(), body: None, idempotency_key: None }
    }

    /// Writes with the parameters that `/v1/` takes.
    pub fn post_form(path: impl Into<String>, parameters: &[(&str, &str)]) -> Self {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        Self::post(path, "application/x-www-form-urlencoded", form)
    }

    /// Writes with the JSON that `/v2/` takes.
    pub fn post_json(path: impl Into<String>, body: &serde_json::Value) -> Self {
        Self::post(path, "application/json", body.to_string())
    }

    /// The same with this idempotency key. For a day, Stripe repeats its first answer to a request with the same key.
    #[must_use]
    pub fn identified_by(self, key: Uuid) -> Self {
        Self { idempotency_key: Some(key), ..self }
    }

    fn post(path: impl Into<String>, content_type: &'static str, body: String) -> Self {
        Self {
            method: Method::POST,
            path_and_query: path.into(),
            body: Some((content_type, body)),
            idempotency_key: Some(Uuid::new_v4()),
        }
    }

    fn path(&self) -> &str {
        self.path_and_query.split('?').next().unwrap_or_default()
    }
}

/// An answer to a request that succeeded.
#[derive(Clone)]
pub struct Answer {
    /// The body.
    pub body: Bytes,
    /// A time at Stripe that is not later than the state in the body: that of the answer, less the time that the
    /// request took. Without a date in the answer, our own clock before the request.
    pub asked_at: DateTime<Utc>,
    /// Stripe's id of the request.
    pub request_id: Option<String>,
    /// The path that was asked, for messages.
    path: String,
}

impl Answer {
    /// The error that this answer lacks what Stripe documents.
    pub fn unreadable(&self) -> ApiError {
        ApiError { request_id: self.request_id.clone(), ..ApiError::unreadable(&self.path) }
    }

    /// The body as this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.body).map_err(|_| self.unreadable())
    }

    /// The path that was asked.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Debug for Answer {
    /// Without the body, which may name people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("path", &self.path)
            .field("bytes", &self.body.len())
            .field("asked_at", &self.asked_at)
            .field("request_id", &self.request_id)
            .finish()
    }
}

/// Sends requests to Stripe. Cheap to clone; clones share the limit of concurrent requests.
#[derive(Debug, Clone)]
pub struct Client {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    http: reqwest::Client,
    base: Url,
    /// The setting of the keys, for messages.
    setting: String,
    slots: Semaphore,
    retries: RetryPolicy,
    /// The time at Stripe by its last answer, and when that arrived.
    clock: Mutex<Option<(DateTime<Utc>, Instant)>>,
}

/// A try that failed, and its error.
struct Failure {
    failed: FailedTry,
    error: ApiError,
}

impl Client {
    /// A client for this address.
    pub fn new(settings: &ApiSettings) -> Result<Self, ClientError> {
        Self::with_retries(settings, RetryPolicy::default())
    }

    /// The same with another policy of retries.
    pub fn with_retries(settings: &ApiSettings, retries: RetryPolicy) -> Result<Self, ClientError> {
        let parts = Parts {
            http: http_client::client(&settings.base, REQUEST_TIMEOUT)?,
            base: settings.base.clone(),
            setting: settings.keys.setting().to_owned(),
            slots: Semaphore::new(CONCURRENCY_MAX),
            retries,
            clock: Mutex::default(),
        };
        Ok(Self { parts: Arc::new(parts) })
    }

    /// Reads a path of Stripe's API, such as `/v1/invoices/in_1`.
    pub async fn get(&self, account: &Account<'_>, path_and_query: &str) -> Result<Answer, ApiError> {
        self.send(account, &Request::get(path_and_query)).await
    }

    /// Sends a request, again after failures that may pass.
    pub async fn send(&self, account: &Account<'_>, request: &Request) -> Result<Answer, ApiError> {
        let url = self.url(&request.path_and_query)?;
        let headers = headers(account, request)?;
        let mut number = 0;
        loop {
            let Failure { failed, error } = match self.try_once(account, request, &url, &headers).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let Some(wait) = self.parts.retries.wait(number, failed, rand::random()) else {
                return Err(error);
            };
            number += 1;
            tokio::time::sleep(wait).await;
        }
    }

    /// The time at Stripe according to its last answer, and when that arrived; nothing before the first one.
    pub fn clock(&self) -> Option<(DateTime<Utc>, Instant)> {
        *self.parts.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn try_once(
        &self,
        account: &Account<'_>,
        request: &Request,
        url: &Url,
        headers: &HeaderMap,
    ) -> Result<Answer, Failure> {
        let _slot = self.parts.slots.acquire().await.map_err(|_| broken("the client has ended"))?;
        let (began, our_time) = (Instant::now(), DateTime::<Utc>::from(SystemTime::now()));
        let mut builder =
            self.parts.http.request(request.method.clone(), url.clone()).headers(headers.clone());
        if let Some((_, body)) = &request.body {
            builder = builder.body(body.clone());
        }
        let response = builder.send().await.map_err(|error| broken(&what_broke(&error)))?;
        let took = TimeDelta::from_std(began.elapsed()).unwrap_or_default();
        let date = text(&response, "date").and_then(|text| DateTime::parse_from_rfc2822(text).ok());
        if let Some(date) = date {
            let mut clock = self.parts.clock.lock().unwrap_or_else(PoisonError::into_inner);
            *clock = Some((date.to_utc(), Instant::now()));
        }
        let asked_at = date.map_or(our_time, |date| date.to_utc() - took);
        let request_id = text(&response, "request-id").map(str::to_owned);
        let status = response.status();
        let mut failed = FailedTry {
            status: Some(status.as_u16()),
            should_retry: text(&response, "stripe-should-retry").and_then(|text| text.parse().ok()),
            is_lock_timeout: false,
            retry_after: retry_after(&response),
        };
        let path = request.path();
        let body = match body(response).await {
            Ok(Some(body)) => body,
            Ok(None) => {
                let failed = FailedTry { should_retry: Some(false), ..failed };
                return Err(Failure { failed, error: ApiError { request_id, ..ApiError::too_large(path) } });
            }
            Err(what) => return Err(broken(&what)),
        };
        if status.is_success() {
            return Ok(Answer { body, asked_at, request_id, path: path.to_owned() });
        }
        let refusal = Refusal::of(&body);
        failed.is_lock_timeout = refusal.is_lock_timeout();
        let error =
            refusal.into_error(status.as_u16(), request_id, failed, path, account, &self.parts.setting);
        Err(Failure { failed, error })
    }

    /// The address of a path. The key goes nowhere else, whatever the path contains.
    fn url(&self, path_and_query: &str) -> Result<Url, ApiError> {
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-.".contains(&byte);
        let is_path = (path.starts_with("/v1/") || path.starts_with("/v2/"))
            && path.bytes().all(is_plain)
            && !path.split('/').any(|segment| segment == "." || segment == "..");
        if !is_path {
            return Err(ApiError::unexpected(
                "an object has an address that is not one of Stripe's API".to_owned(),
            ));
        }
        let mut url = self.parts.base.clone();
        url.set_path(&format!("{}{path}", self.parts.base.path().trim_end_matches('/')));
        url.set_query(query);
        Ok(url)
    }
}

fn headers(account: &Account<'_>, request: &Request) -> Result<HeaderMap, ApiError> {
    let unusable =
        || ApiError::unexpected("the key or the context has characters that cannot be sent".to_owned());
    let mut headers = HeaderMap::new();
    let mut key = HeaderValue::from_str(&format!("Bearer {}", account.key.key.expose_secret()))
        .map_err(|_| unusable())?;
    key.set_sensitive(true);
    headers.insert("authorization", key);
    headers.insert("stripe-version", HeaderValue::from_static(VERSION));
    if let Some(context) = account.context {
        headers.insert("stripe-context", HeaderValue::from_str(context).map_err(|_| unusable())?);
    }
    if let Some((content_type, _)) = &request.body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    if let Some(key) = &request.idempotency_key {
        let key = HeaderValue::from_str(&key.to_string()).map_err(|_| unusable())?;
        headers.insert("idempotency-key", key);
    }
    Ok(headers)
}

fn broken(what: &str) -> Failure {
    Failure { failed: FailedTry::default(), error: ApiError::unavailable(what.to_owned()) }
}

/// The body; nothing if it is too large. Fails with what broke.
async fn body(mut response: Response) -> Result<Option<Bytes>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| what_broke(&error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body.into()))
}

/// What happened to a request without a complete answer. The library's own text names the address, so only the
/// innermost cause is kept.
fn what_broke(error: &reqwest::Error) -> String {
    if error.is_timeout() && !error.is_connect() {
        return "Stripe did not answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let what = if error.is_connect() { "Stripe cannot be reached" } else { "the connection to Stripe broke" };
    format!("{what}: {cause}")
}

/// `Retry-After` in whole seconds, as Stripe sends it; a day at most.
fn retry_after(response: &Response) -> Option<Duration> {
    const SECONDS_MAX: u64 = 86_400;
    let seconds: u64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(SECONDS_MAX)))
}

fn text<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

#[cfg(test)]
pub(super) mod tests;
