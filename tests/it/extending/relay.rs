//! Posts each event, as it came, to an address of one's own.
//!
//! A request bears the event's id as its `Idempotency-Key`, by which the receiver knows a second one.
//! So a request that got no answer is sent again, and nothing needs to be looked for first.

use async_trait::async_trait;
use eventbridge::config::{InstanceName, Reader};
use eventbridge::destinations::check::{CheckReport, Finding};
use eventbridge::destinations::{Delivery, DeliveryContext, Destination, Probe};
use eventbridge::domain::delivery::{Failure, Outcome, Remote, Trouble};
use eventbridge::domain::preview::{Effect, Preview, PreviewRequest, When};
use eventbridge::http_client;
use reqwest::{Client, Response, StatusCode, header};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// How long the receiver may take. It stays below the time that a try has in all.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Reads `RELAY_URL`, for an instance that is called `relay`.
pub fn configure(reader: &mut Reader<'_>, name: &InstanceName) -> Option<Arc<dyn Destination>> {
    let setting = name.setting("URL");
    let made = match reader.text(&setting) {
        Some(text) => Relay::to(text),
        None => Err("is missing: the address to which events are posted".to_owned()),
    };
    match made {
        Ok(relay) => Some(Arc::new(relay)),
        Err(problem) => {
            reader.problem(&setting, problem);
            None
        }
    }
}

struct Relay {
    client: Client,
    url: Url,
}

impl Relay {
    fn to(text: &str) -> Result<Self, String> {
        let url: Url = text.parse().map_err(|error| format!("is no address: {error}"))?;
        // Refuses plain http, but on loopback, and follows no redirect.
        let client = http_client::client(&url, ANSWER_WITHIN).map_err(|error| error.to_string())?;
        Ok(Self { client, url })
    }
}

#[async_trait]
impl Destination for Relay {
    async fn deliver(&self, delivery: Delivery<'_>) -> Outcome {
        let event = delivery.event;
        let request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", &event.event_id)
            .body(event.payload.clone());
        // A process that stood still may have lost its lease, and another one may be at it.
        if !delivery.context.lease_holds() {
            let failure = Failure::local("lease_lost", "this process stood still; another one goes on");
            return Outcome::Throttled { failure, wait: None };
        }
        let Ok(response) = request.send().await else {
            // Words of our own: those of the error can hold the address, and what is secret in it.
            let failure = Failure::local("no_answer", "the receiver gave no answer");
            return Outcome::Transient { failure, wait: None };
        };
        judge(&event.event_id, &response)
    }

    async fn preview(&self, delivery: Delivery<'_>) -> Result<Preview, Outcome> {
        let request = PreviewRequest {
            method: "POST".to_owned(),
            url: self.url.to_string(),
            body: serde_json::from_slice(&delivery.event.payload).ok(),
            when: When::Always,
        };
        Ok(Preview {
            effect: Effect::Create,
            requests: vec![request],
            columns: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// Reading tells nothing of whether it takes events, so a single one is tried.
    async fn probe(&self, _context: &dyn DeliveryContext, _held_class: &str) -> Probe {
        Probe::TryOne
    }

    async fn check(&self, _context: &dyn DeliveryContext) -> CheckReport {
        let host = self.url.host_str().unwrap_or_default();
        let findings =
            vec![Finding::note(format!("events are posted to {host}; only one of them shows more"))];
        CheckReport { findings, target: Some(self.url.to_string()), ..CheckReport::default() }
    }

    async fn provision(&self, _context: &dyn DeliveryContext) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    async fn dry_run(&self, _context: &dyn DeliveryContext) -> Vec<Finding> {
        vec![Finding::note("nothing is posted to try it out: it could not be taken back")]
    }

    async fn remove(&self, _remote: &Remote, _context: &dyn DeliveryContext) -> Result<(), Failure> {
        Err(Failure::local("not_ours", "what was posted can only be removed where it was posted to"))
    }
}

/// What an answer means. Only the type of the outcome decides what becomes of the execution.
fn judge(event_id: &str, response: &Response) -> Outcome {
    let status = response.status();
    let text = |name| response.headers().get(name)?.to_str().ok().map(str::to_owned);
    let request_id = text("x-request-id");
    let wait = text("retry-after").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    let failure = |class: &str| Failure {
        class: class.to_owned(),
        message: format!("the receiver answered {status}"),
        status: Some(status.as_u16()),
        request_id: request_id.clone(),
    };
    match status {
        status if status.is_success() => Outcome::Delivered {
            remote: Remote { id: event_id.to_owned(), url: None, place: None },
            status: Some(status.as_u16()),
            request_id,
            written: None,
        },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Outcome::NeedsOperator(Trouble {
            failure: failure("unauthorized"),
            remedy: "the receiver lets us in no more: look at the address in the settings".to_owned(),
        }),
        StatusCode::TOO_MANY_REQUESTS => Outcome::Throttled { failure: failure("rate_limited"), wait },
        status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
            Outcome::Transient { failure: failure("unavailable"), wait }
        }
        _ => Outcome::Permanent(failure("refused")),
    }
}
