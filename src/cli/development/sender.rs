//! Sends signed sample events to a service, as Stripe would.

use crate::http_client;
use crate::sources::stripe;
use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use std::time::{Duration, SystemTime};
use stripe_samples::Sample;
use url::Url;
use utoipa::ToSchema;

/// The name of the samples of one invoice, from draft to paid.
pub(super) const INVOICE_LIFE: &str = "invoice:life";

const TIMEOUT: Duration = Duration::from_secs(20);

/// Posts samples to a webhook, signed with one secret.
#[derive(Clone)]
pub(super) struct Sender {
    http: reqwest::Client,
    url: Url,
    secret: SecretString,
}

/// The answer to one sample.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SampleDelivery {
    /// The event's id.
    pub event_id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The answer's body.
    #[schema(value_type = Object)]
    pub answer: serde_json::Value,
}

impl SampleDelivery {
    /// Whether the service accepted it.
    pub(super) fn is_accepted(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Sender {
    pub(super) fn new(url: Url, secret: SecretString) -> anyhow::Result<Self> {
        let http = http_client::client(&url, TIMEOUT)?;
        Ok(Self { http, url, secret })
    }

    /// Signs a sample with the present time, posts it and returns the answer.
    pub(super) async fn send(&self, sample: Sample) -> anyhow::Result<SampleDelivery> {
        let signature = stripe::sign(self.secret.expose_secret(), sample.body.as_bytes(), now().timestamp());
        let response = self
            .http
            .post(self.url.clone())
            .header("Content-Type", "application/json; charset=utf-8")
            .header("User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
            .header("Stripe-Signature", signature)
            .body(sample.body)
            .send()
            .await
            .with_context(|| {
                format!("no answer from {}: start the service, or give another address with --url", self.url)
            })?;
        let status = response.status().as_u16();
        let text = response.text().await.context("the answer ended early")?;
        let answer = serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text));
        Ok(SampleDelivery { event_id: sample.event_id, event_type: sample.event_type, status, answer })
    }
}

/// The samples of a name: one event, or the whole life of an invoice.
pub(super) fn samples_of(name: &str, seed: u64) -> anyhow::Result<Vec<Sample>> {
    if name == INVOICE_LIFE {
        // The last one is of now: nothing is dated in the future.
        return Ok(stripe_samples::invoice_life(seed, now() - stripe_samples::INVOICE_LIFE_LASTS));
    }
    match stripe_samples::make(name, seed, now()) {
        Some(sample) => Ok(vec![sample]),
        None => bail!(
            "no sample is named {name:?}; the samples are:\n  {}",
            names().collect::<Vec<_>>().join("\n  ")
        ),
    }
}

/// Every name that [`samples_of`] knows.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    stripe_samples::names().chain([INVOICE_LIFE])
}

/// The time for signatures, from this machine's clock.
pub(super) fn now() -> DateTime<Utc> {
    SystemTime::now().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn no_sample_is_dated_in_the_future() {
        for name in names() {
            for sample in samples_of(name, 1).expect("a sample") {
                let event: Value = serde_json::from_str(&sample.body).expect("JSON");
                let now = now().timestamp();
                // Thin events have a text.
                assert!(event["created"].as_i64().unwrap_or_default() <= now, "{name}: {}", event["created"]);
            }
        }
    }
}
