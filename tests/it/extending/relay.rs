//! Posts each event to an address. The receiver recognizes a repeated request by its `Idempotency-Key`, the
//! event's id, so a request without an answer is simply sent again.

use async_trait::async_trait;
use eventbridge::config::{InstanceName, Reader};
use eventbridge::destinations::{Delivery, Destination, Kind};
use eventbridge::domain::delivery::{Failure, Outcome};
use eventbridge::http_client;
use reqwest::{Client, Response, Url};
use std::sync::Arc;
use std::time::Duration;

/// An instance that is called `relay` posts to `RELAY_URL`.
pub const KIND: Kind = Kind::new("relay", configure);

struct Relay {
    client: Client,
    url: Url,
    setting: String,
}

fn configure(reader: &mut Reader<'_>, name: &InstanceName) -> Option<Arc<dyn Destination>> {
    let setting = name.setting("URL");
    if reader.text(&setting).is_none() {
        reader.first_problem(&setting, "is missing: the address to which events are posted");
    }
    let url = reader.parsed(&setting, None, |text| Url::parse(text).map(Some))?;
    match http_client::client(&url, Duration::from_secs(30)) {
        Ok(client) => Some(Arc::new(Relay { client, url, setting })),
        Err(error) => {
            reader.problem(&setting, error);
            None
        }
    }
}

#[async_trait]
impl Destination for Relay {
    async fn deliver(&self, delivery: Delivery<'_>) -> Outcome {
        let event_id = delivery.event_id;
        let request = self.client.post(self.url.clone()).header("content-type", "application/json");
        let request = request.header("idempotency-key", event_id).body(delivery.body.clone());
        if !delivery.context.lease_holds() {
            let failure = Failure::local("lease_lost", "another process has this delivery now");
            return Outcome::Throttled { failure, wait: None };
        }
        match request.send().await {
            Ok(response) => self.outcome(&response),
            // The error is not quoted: it contains the address, which can be a secret.
            Err(_) => {
                Outcome::Transient { failure: Failure::local("no_answer", "no answer came"), wait: None }
            }
        }
    }
}

impl Relay {
    fn outcome(&self, response: &Response) -> Outcome {
        let (status, header) = (response.status(), response.headers().get("retry-after"));
        let code = Some(status.as_u16());
        let wait = header.and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        let failure =
            |class: &str| Failure { code, ..Failure::local(class, format!("it answered {status}")) };
        let misdirected = |class: &str, why: &str| {
            failure(class).with_remedy(format!("correct {} and restart: {why}", self.setting))
        };
        match status.as_u16() {
            200..=299 => Outcome::delivered(None, code),
            401 | 403 => Outcome::NeedsOperator(misdirected("unauthorized", "the receiver refuses us")),
            410 => Outcome::Permanent(misdirected("gone", "the receiver is gone")),
            429 => Outcome::Throttled { failure: failure("rate_limited"), wait },
            408 | 500.. => Outcome::Transient { failure: failure("unavailable"), wait },
            _ => Outcome::Permanent(failure("refused")),
        }
    }
}
