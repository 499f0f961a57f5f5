//! Calls to Notion's API, one method per call.
//!
//! The version header and the shapes follow Notion's reference of 2026-03-11, in which pages belong
//! to a data source and a database is a container of these.

use super::answer::{Answer, Database, Found, PageRef};
use super::call_error::{CallError, Refusal, THROTTLE_WAIT, refusal, wait_of};
use super::classify::{self, Effect};
use super::request::{Request, Rows};
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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;
use url::Url;

const VERSION: &str = "2026-03-11";

/// Notion gives up on a request after about 55 s; giving up earlier would leave writes in doubt.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(65);

/// The largest answer that is accepted.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

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
    clock: Arc<Mutex<Option<ServerTime>>>,
    /// Whether Notion refused to limit answers to columns that exist.
    shows_all: Arc<AtomicBool>,
}

/// A time from an answer, and when the answer arrived.
type ServerTime = (DateTime<Utc>, Instant);

/// A client within one delivery: every call takes a slot of the token's rate first.
#[derive(Clone, Copy)]
pub struct Calls<'a> {
    client: &'a Client,
    context: &'a dyn DeliveryContext,
    /// After this, the client sends no write that would do harm if it landed late.
    write_until: Instant,
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
            shows_all: Arc::default(),
        })
    }

    /// The client for one delivery.
    pub fn with<'a>(&'a self, context: &'a dyn DeliveryContext, write_until: Instant) -> Calls<'a> {
        Calls { client: self, context, write_until }
    }

    /// The time at Notion according to its last answer, and when that arrived; nothing before the first one.
    pub fn clock(&self) -> Option<ServerTime> {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record_server_time(&self, response: &Response) {
        let date = header(response, "date").and_then(|text| DateTime::parse_from_rfc2822(&text).ok());
        if let Some(at) = date {
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

    /// Finds one page, if there is one.
    pub(super) async fn find_one(&self, data_source: &str, rows: Rows) -> Result<Answer<Found>, CallError> {
        self.read(&Request::find_one(data_source, rows)).await
    }

    /// Creates a page, unless the try is too old or the lease may be lost. As with every write of a page, an error
    /// after which Notion names the page is a success.
    pub async fn create_page(
        &self,
        data_source: &str,
        properties: &Map<String, Value>,
    ) -> Result<Answer<PageRef>, CallError> {
        carried_out(self.call_in_time(&Request::create_page(data_source, properties)).await)
    }

    /// Writes a newer state over an older one as [`update_page`](Self::update_page) does, unless the try
    /// is too old or the lease may be lost.
    pub async fn overwrite_page(
        &self,
        page: &str,
        properties: &Map<String, Value>,
    ) -> Result<Answer<PageRef>, CallError> {
        carried_out(self.call_in_time(&Request::update_page(page, properties)).await)
    }

    /// Writes properties of a page; the others remain unchanged.
    pub async fn update_page(
        &self,
        page: &str,
        properties: &Map<String, Value>,
    ) -> Result<Answer<PageRef>, CallError> {
        carried_out(self.call(&Request::update_page(page, properties)).await)
    }

    /// Moves a page to the trash, from which a person can restore it, unless the lease may be lost.
    pub async fn trash_page(&self, page: &str) -> Result<Answer<PageRef>, CallError> {
        self.slot().await?;
        if !self.context.lease_holds() {
            return Err(CallError::TooLate);
        }
        carried_out(self.send(&Request::trash_page(page)).await)
    }

    /// Sends a request that reads. If Notion refuses the ids of the columns that its answer should show, it is
    /// repeated for all columns; if that works, the ids were right, and no answer is limited from then on.
    pub(super) async fn read<T: DeserializeOwned>(&self, request: &Request) -> Result<Answer<T>, CallError> {
        let shows_all = &self.client.shows_all;
        if !shows_all.load(Ordering::Relaxed) {
            match self.call(request).await {
                Err(CallError::Refused(refusal)) if refusal.is_about_shown_columns() => {}
                answer => return answer,
            }
        }
        let answer = self.call(&request.showing_all()).await;
        if answer.is_ok() {
            shows_all.store(true, Ordering::Relaxed);
        }
        answer
    }

    pub(super) async fn call<T: DeserializeOwned>(&self, request: &Request) -> Result<Answer<T>, CallError> {
        self.slot().await?;
        self.send(request).await
    }

    /// Checks the clock and the lease last, after the wait for a slot.
    /// Only making a connection can follow this check; it takes at most 10 s, which the settle time covers.
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
        self.client.record_server_time(&response);
        let status = response.status();
        let request_id =
            header(&response, "x-notion-request-id").or_else(|| header(&response, "x-request-id"));
        let retry_after = retry_after(&response);
        let body = body(response).await.map_err(no_answer)?;
        if status.is_success() {
            let value = serde_json::from_slice(&body).map_err(|_| {
                no_answer("the answer does not have the form that Notion documents".to_owned())
            })?;
            let request_id = request_id.or_else(|| id_in_body(&body));
            return Ok(Answer { value, status: status.as_u16(), request_id });
        }
        let refusal =
            Refusal { sent: began.elapsed(), ..refusal(status.as_u16(), request_id, retry_after, &body) };
        if refusal.is_throttling() {
            self.context.block(&self.client.rate, refusal.retry_after.unwrap_or(THROTTLE_WAIT)).await;
        }
        Err(CallError::Refused(Box::new(refusal)))
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

/// The answer to a write of a page. An error can come after the write was carried out.
fn carried_out(answer: Result<Answer<PageRef>, CallError>) -> Result<Answer<PageRef>, CallError> {
    answer.or_else(|error| match &error {
        CallError::Refused(refusal) => Answer::in_spite_of(refusal).ok_or(error),
        _ => Err(error),
    })
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

/// `Retry-After` in whole seconds, as Notion sends it.
fn retry_after(response: &Response) -> Option<Duration> {
    Some(wait_of(response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?))
}

/// Notion's id of the request, which each of its answers contains.
fn id_in_body(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Identified {
        request_id: Option<String>,
    }
    serde_json::from_slice::<Identified>(body).ok()?.request_id
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}
