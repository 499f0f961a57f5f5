//! Calls to Notion's API, one method per call, and their results.
//!
//! The version header and the shapes follow Notion's reference of 2026-03-11, in which pages belong
//! to a data source and a database is a container of these.

use super::classify::{self, Effect};
use super::request::Request;
use super::settings::{NotionAccess, NotionId};
use crate::config::InstanceName;
use crate::destinations::{DeliveryContext, Rate};
use crate::domain::delivery::Outcome;
use crate::http_client::{self, ClientError};
use chrono::{DateTime, Utc};
use reqwest::header::{HeaderValue, RETRY_AFTER};
use reqwest::{RequestBuilder, Response};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;
use url::Url;

const VERSION: &str = "2026-03-11";

/// Notion gives up on a request after about 55 s; giving up earlier would leave writes in doubt.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(65);

/// How long to make no calls if Notion throttles without `Retry-After`.
pub const THROTTLE_WAIT: Duration = Duration::from_secs(10);

/// The largest answer that is accepted.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The longest part of an error message that is kept.
const MESSAGE_CHARACTERS_MAX: usize = 500;

/// Talks to Notion with one token.
#[derive(Debug, Clone)]
pub struct Client {
    instance: InstanceName,
    http: reqwest::Client,
    base: Url,
    token: HeaderValue,
    rate: Rate,
    /// The token's own user, once it has been read.
    bot: OnceCell<Option<Arc<str>>>,
    /// The time at Notion according to its last answer, and when that arrived.
    clock: Arc<Mutex<Option<Told>>>,
}

/// A time from an answer, and when the answer arrived.
type Told = (DateTime<Utc>, Instant);

/// A client within one delivery: every call takes a slot of the token's rate first.
#[derive(Clone, Copy)]
pub struct Calls<'a> {
    client: &'a Client,
    context: &'a dyn DeliveryContext,
    /// After this, the client sends no write that would do harm if it landed late.
    write_until: Instant,
}

/// The parts of a page that are used.
#[derive(Debug, Clone, Deserialize)]
pub struct PageRef {
    /// Its id.
    pub id: String,
    /// The link to it.
    pub url: Option<String>,
    /// When it was created, in whole minutes.
    pub created_time: Option<DateTime<Utc>>,
    /// Who created it.
    pub created_by: Option<UserRef>,
    /// Who edited it last.
    pub last_edited_by: Option<UserRef>,
    /// Its parent.
    pub parent: Option<ParentRef>,
    /// The contents of its columns, by name.
    #[serde(default)]
    pub properties: Map<String, Value>,
}

impl PageRef {
    /// The text in the column of this id, if there is such a column.
    pub fn text(&self, column_id: &str) -> Option<String> {
        let is_it = |property: &&Value| property.get("id").and_then(Value::as_str) == Some(column_id);
        let property = self.properties.values().find(is_it)?;
        let parts = property.get(property.get("type")?.as_str()?)?.as_array()?;
        Some(parts.iter().filter_map(|part| part.get("plain_text")?.as_str()).collect())
    }
}

/// One result page of the pages that match a filter.
#[derive(Debug, Deserialize)]
pub struct Found {
    /// The pages.
    pub results: Vec<PageRef>,
    /// The cursor of the next ones, if there are more.
    pub next_cursor: Option<String>,
}

/// The parent of a page.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ParentRef {
    /// The data source, if the parent is one.
    pub data_source_id: Option<String>,
}

/// The parts of a user that are used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UserRef {
    /// The id.
    pub id: String,
}

/// A database: a container of data sources.
#[derive(Debug, Deserialize)]
pub struct Database {
    /// The data sources within.
    pub data_sources: Vec<DataSourceRef>,
}

/// One of a database's data sources.
#[derive(Debug, Deserialize)]
pub struct DataSourceRef {
    /// Its id.
    pub id: String,
    /// Its name; empty if it has none.
    #[serde(default)]
    pub name: String,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// The rate allows no call for this long: nothing was sent.
    NoSlot(Duration),
    /// The try is too old for a write, or its lease may be lost: nothing was sent.
    TooLate,
    /// No connection was established: nothing was sent.
    NotSent(String),
    /// The connection broke, or the timeout expired, before the answer was complete.
    NoAnswer {
        /// What happened.
        message: String,
        /// How long ago the request was sent.
        sent: Duration,
    },
    /// Notion answered with an error.
    Refused(Box<Refusal>),
}

/// Notion's error answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Notion's code, such as `validation_error`; `http_<status>` if the answer has none.
    pub code: String,
    /// Whether Notion itself answered. A proxy, or the edge of its network, sends no such codes.
    pub is_notions_own: bool,
    /// Notion's message, shortened; it can quote what we sent.
    pub message: String,
    /// Notion's id of the request.
    pub request_id: Option<String>,
    /// How long Notion asks us to wait.
    pub retry_after: Option<Duration>,
    /// The page that was written despite the error.
    pub committed_page: Option<String>,
    /// The reason of a rate limit.
    pub rate_limit_reason: Option<String>,
    /// How long ago the request was sent.
    pub sent: Duration,
}

impl Refusal {
    /// Whether Notion rejects a property. It has one code for all problems of properties.
    pub fn is_about_a_property(&self) -> bool {
        self.status == 400 && self.code == "validation_error"
    }

    /// Whether Notion asks for fewer calls.
    pub fn is_throttling(&self) -> bool {
        matches!(self.status, 429 | 529)
    }
}

/// An answer with Notion's id of the request.
#[derive(Debug)]
pub struct Answer<T> {
    /// The requested object.
    pub value: T,
    /// The HTTP status.
    pub status: u16,
    /// Notion's id of the request.
    pub request_id: Option<String>,
}

impl Client {
    /// A client for the instance's address and token.
    pub fn new(access: &NotionAccess) -> Result<Self, NotionClientError> {
        let mut token = HeaderValue::from_str(&format!("Bearer {}", access.token.expose_secret()))
            .map_err(|_| NotionClientError::Token)?;
        token.set_sensitive(true);
        let http = http_client::client(&access.base, REQUEST_TIMEOUT)?;
        Ok(Self {
            instance: access.instance.clone(),
            http,
            base: access.base.clone(),
            token,
            rate: access.rate.clone(),
            bot: OnceCell::new(),
            clock: Arc::default(),
        })
    }

    /// The client for one delivery.
    pub fn with<'a>(&'a self, context: &'a dyn DeliveryContext, write_until: Instant) -> Calls<'a> {
        Calls { client: self, context, write_until }
    }

    /// The time at Notion according to its last answer, and when that arrived; nothing before the first one.
    pub fn clock(&self) -> Option<Told> {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear_the_time(&self, response: &Response) {
        let told = header(response, "date").and_then(|text| DateTime::parse_from_rfc2822(&text).ok());
        if let Some(at) = told {
            *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some((at.to_utc(), Instant::now()));
        }
    }

    /// The address of a request, as it is sent.
    pub fn url(&self, request: &Request) -> Url {
        request.url(&self.base)
    }

    fn builder(&self, request: &Request) -> RequestBuilder {
        let builder = self
            .http
            .request(request.method.clone(), self.url(request))
            .header("Authorization", self.token.clone())
            .header("Notion-Version", VERSION);
        match &request.body {
            Some(body) => builder.json(body),
            None => builder,
        }
    }
}

impl Calls<'_> {
    /// The outcome of a delivery whose call failed.
    pub(super) fn outcome(&self, effect: Effect, error: CallError) -> Outcome {
        classify::outcome(&self.client.instance, effect, error)
    }

    /// Reads a database: its data sources.
    pub async fn database(&self, id: &NotionId) -> Result<Answer<Database>, CallError> {
        self.call(&Request::database(id.as_str())).await
    }

    /// Reads a data source: its properties.
    pub async fn data_source(&self, id: &str) -> Result<Answer<Value>, CallError> {
        self.call(&Request::data_source(id)).await
    }

    /// The id of the bot that the token belongs to; nothing if it belongs to a person. It is read once.
    pub async fn bot(&self) -> Result<Option<Arc<str>>, CallError> {
        #[derive(Deserialize)]
        struct Me {
            id: String,
            #[serde(rename = "type")]
            kind: String,
        }
        let ask = async || {
            let me: Answer<Me> = self.call(&Request::me()).await?;
            Ok((me.value.kind == "bot").then(|| me.value.id.into()))
        };
        self.client.bot.get_or_try_init(ask).await.cloned()
    }

    /// Finds the pages that match a filter, oldest first: the first ones, or those from a cursor on.
    pub async fn find_pages(
        &self,
        data_source: &str,
        filter: &Value,
        from: Option<&str>,
    ) -> Result<Answer<Found>, CallError> {
        self.call(&Request::find_pages(data_source, filter, from)).await
    }

    /// Creates a page, unless the try is too old or the lease may be lost.
    pub async fn create_page(
        &self,
        data_source: &str,
        properties: &Map<String, Value>,
    ) -> Result<Answer<PageRef>, CallError> {
        self.call_in_time(&Request::create_page(data_source, properties)).await
    }

    /// Writes a newer state over an older one as [`update_page`](Self::update_page) does, unless the try
    /// is too old or the lease may be lost.
    pub async fn overwrite_page(
        &self,
        page: &str,
        properties: &Map<String, Value>,
    ) -> Result<Answer<PageRef>, CallError> {
        self.call_in_time(&Request::update_page(page, properties)).await
    }

    /// Writes properties of a page; the others remain unchanged.
    pub async fn update_page(
        &self,
        page: &str,
        properties: &Map<String, Value>,
    ) -> Result<Answer<PageRef>, CallError> {
        self.call(&Request::update_page(page, properties)).await
    }

    /// Moves a page to the trash, from which a person can restore it, unless the lease may be lost.
    pub async fn trash_page(&self, page: &str) -> Result<Answer<PageRef>, CallError> {
        self.slot().await?;
        if !self.context.lease_holds() {
            return Err(CallError::TooLate);
        }
        self.send(&Request::trash_page(page)).await
    }

    pub(super) async fn call<T: DeserializeOwned>(&self, request: &Request) -> Result<Answer<T>, CallError> {
        self.slot().await?;
        self.send(request).await
    }

    /// Checks the clock and the lease last, after the wait for a slot.
    async fn call_in_time<T: DeserializeOwned>(&self, request: &Request) -> Result<Answer<T>, CallError> {
        self.slot().await?;
        if Instant::now() > self.write_until || !self.context.lease_holds() {
            return Err(CallError::TooLate);
        }
        self.send(request).await
    }

    async fn slot(&self) -> Result<(), CallError> {
        self.context.slot(&self.client.rate).await.map_err(CallError::NoSlot)
    }

    async fn send<T: DeserializeOwned>(&self, request: &Request) -> Result<Answer<T>, CallError> {
        let began = Instant::now();
        let no_answer = |message: String| CallError::NoAnswer { message, sent: began.elapsed() };
        let response = self.client.builder(request).send().await.map_err(|error| match unsent(&error) {
            Some(message) => CallError::NotSent(message),
            None => no_answer(broken(&error)),
        })?;
        self.client.hear_the_time(&response);
        let status = response.status();
        let request_id = header(&response, "x-request-id");
        let retry_after = retry_after(&response);
        let body = body(response).await.map_err(no_answer)?;
        if status.is_success() {
            let value = serde_json::from_slice(&body).map_err(|_| {
                no_answer("the answer does not have the form that Notion documents".to_owned())
            })?;
            return Ok(Answer { value, status: status.as_u16(), request_id });
        }
        let told =
            Refusal { sent: began.elapsed(), ..refusal(status.as_u16(), request_id, retry_after, &body) };
        if told.is_throttling() {
            self.context.block(&self.client.rate, told.retry_after.unwrap_or(THROTTLE_WAIT)).await;
        }
        Err(CallError::Refused(Box::new(told)))
    }
}

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum NotionClientError {
    /// The token has characters that a header cannot contain.
    #[error("the token contains characters that cannot be sent")]
    Token,
    /// The HTTP client cannot be built.
    #[error(transparent)]
    Http(#[from] ClientError),
}

/// The link to the page with this id.
pub fn page_url(id: &str) -> String {
    format!("https://www.notion.so/{}", id.replace('-', ""))
}

async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err("the answer is too large to be Notion's".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What happened, if the request was not sent.
fn unsent(error: &reqwest::Error) -> Option<String> {
    (error.is_connect() || error.is_builder())
        .then(|| format!("Notion cannot be reached: {}", innermost(error)))
}

fn broken(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        "Notion did not answer in time".to_owned()
    } else {
        format!("the connection to Notion broke: {}", innermost(error))
    }
}

fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Reads an error answer. The edge of Notion's network can send HTML.
fn refusal(status: u16, request_id: Option<String>, retry_after: Option<Duration>, body: &[u8]) -> Refusal {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Body {
        code: Option<String>,
        message: Option<String>,
        request_id: Option<String>,
        additional_data: Option<Value>,
    }
    let Body { code, message, request_id: told, additional_data } =
        serde_json::from_slice(body).unwrap_or_default();
    let is_notions_own = code.is_some();
    let additional = |name: &str| Some(additional_data.as_ref()?.get(name)?.as_str()?.to_owned());
    Refusal {
        status,
        is_notions_own,
        code: code.unwrap_or_else(|| format!("http_{status}")),
        message: message.map_or_else(
            || format!("status {status} without a message; a proxy may have sent it"),
            |message| message.chars().take(MESSAGE_CHARACTERS_MAX).collect(),
        ),
        request_id: told.or(request_id),
        retry_after,
        committed_page: additional("committed_resource_id"),
        rate_limit_reason: additional("rate_limit_reason"),
        sent: Duration::ZERO,
    }
}

/// `Retry-After` in whole seconds, as Notion sends it.
fn retry_after(response: &Response) -> Option<Duration> {
    const WAIT_MAX_SECONDS: u64 = 3600;
    let seconds: u64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(WAIT_MAX_SECONDS)))
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_text_of_a_column_is_read_by_its_id_and_whole() {
        let page: PageRef = serde_json::from_value(json!({"id": "page", "properties": {
            "Key": {"id": "k%3D", "type": "rich_text", "rich_text": [{"plain_text": "in_"}, {"plain_text": "1"}]},
            "Amount": {"id": "a", "type": "number", "number": 1},
        }}))
        .expect("a page");
        assert_eq!(page.text("k%3D").as_deref(), Some("in_1"));
        assert_eq!((page.text("a"), page.text("Key")), (None, None));
    }
}
