//! Sends messages to their receiver. Redirects are not followed, and addresses are not logged.

use super::message::{Message, State, Written};
use super::settings::{Address, AlertSettings, Receiver};
use crate::health::Urgency;
use chrono::{DateTime, Utc};
use reqwest::{Method, RequestBuilder, StatusCode};

/// Why a message was not delivered. It contains only the host of the address.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    /// No receiver is configured.
    #[error("ALERT_URL is not set")]
    NoReceiver,
    /// The receiver gave no answer.
    #[error("{host} gave no answer: {cause}")]
    NoAnswer {
        /// The receiver's host.
        host: String,
        /// What happened.
        cause: reqwest::Error,
    },
    /// The receiver refused it.
    #[error("{host} answered {status}")]
    Refused {
        /// The receiver's host.
        host: String,
        /// Its answer.
        status: StatusCode,
    },
}

/// Sends a test message with the time `now`. Returns the host that accepted it.
pub async fn send_test_alert(settings: &AlertSettings, now: DateTime<Utc>) -> Result<String, AlertError> {
    let receiver = settings.receiver.as_ref().ok_or(AlertError::NoReceiver)?;
    let message = Message {
        state: State::Test,
        key: "test".to_owned(),
        kind: None,
        urgency: Urgency::Morning,
        summary: "A test.".to_owned(),
        remedy: "No action is needed.".to_owned(),
        since: now,
        zone: settings.zone,
        link: settings.public_url.clone(),
    };
    send(receiver, message.write(receiver.format)).await?;
    Ok(receiver.address.host().to_owned())
}

/// Sends a message to its receiver.
pub(super) async fn send(receiver: &Receiver, written: Written) -> Result<(), AlertError> {
    let Address { url, http } = &receiver.address;
    let mut request = http.request(Method::POST, url.clone()).body(written.body);
    for (name, text) in written.headers {
        request = request.header(name, text);
    }
    accepted(&receiver.address, request).await
}

/// Sends a heartbeat.
pub(super) async fn send_heartbeat(address: &Address) -> Result<(), AlertError> {
    accepted(address, address.http.get(address.url.clone())).await
}

async fn accepted(address: &Address, request: RequestBuilder) -> Result<(), AlertError> {
    let host = address.host().to_owned();
    match request.send().await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(AlertError::Refused { host, status: answer.status() }),
        Err(error) => Err(AlertError::NoAnswer { host, cause: error.without_url() }),
    }
}
