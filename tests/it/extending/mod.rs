//! The worked examples of `docs/extending.md`: kinds of sources and destinations that are not part of the
//! program.

mod from_github;
mod github;
mod relay;

use crate::harness::{Service, ServiceBuilder};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use eventbridge::app::DEFAULT_KINDS;
use eventbridge::config::{Reader, Vars};
use eventbridge::destinations::{self, Kind};
use eventbridge::domain::subscription::TypeVocabulary;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

const KINDS: &[Kind] = &[relay::KIND];

/// A received request: the key and the body.
type Received = Arc<Mutex<Vec<(String, String)>>>;

/// A status and headers.
type Answer = (StatusCode, &'static [(&'static str, &'static str)]);

#[derive(Clone, Default)]
struct Receiver {
    received: Received,
    /// The responses, one after the other; after them 200.
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    receiver.received.lock().unwrap().push((key, String::from_utf8(body.to_vec()).unwrap()));
    let answer = receiver.answers.lock().unwrap().pop_front();
    let (status, headers) = answer.unwrap_or_default();
    let headers: Vec<_> = headers.to_vec();
    (status, axum::response::AppendHeaders(headers)).into_response()
}

/// Starts a receiver with these first responses. Returns its address and what it receives.
async fn start_receiver(answers: &[Answer]) -> (String, Received) {
    let state = Receiver::default();
    state.answers.lock().unwrap().extend(answers);
    let received = state.received.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    let router = Router::new().route("/events", post(receive)).with_state(state);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, received)
}

/// A receiver with these first responses, and a service that posts to it.
async fn start(answers: &[Answer]) -> (Service, Received) {
    let (url, received) = start_receiver(answers).await;
    let builder: ServiceBuilder = Service::builder().kinds(KINDS);
    (builder.set("DESTINATIONS", "relay").set("RELAY_URL", &url).start().await, received)
}

const EVENT: &str = r#"{ "id": "evt_1", "type": "invoice.paid" }"#;

async fn delivered(answers: &[Answer]) -> (Value, Received) {
    let (service, received) = start(answers).await;
    service.post_event(EVENT).await;
    (service.until_finished(1).await.remove(0), received)
}

#[tokio::test]
async fn an_event_is_posted_unchanged_with_its_id_as_the_key() {
    let (execution, received) = delivered(&[]).await;
    assert_eq!((&execution["status"], &execution["destination"]), (&json!("success"), &json!("relay")));
    assert_eq!(*received.lock().unwrap(), [("evt_1".to_owned(), EVENT.to_owned())]);
}

#[tokio::test]
async fn a_transient_error_is_retried_with_the_same_key() {
    let wait: &[_] = &[("retry-after", "0")];
    let (execution, received) =
        delivered(&[(StatusCode::BAD_GATEWAY, &[]), (StatusCode::TOO_MANY_REQUESTS, wait)]).await;
    assert_eq!(execution["status"], "success", "{execution}");
    let keys: Vec<_> = received.lock().unwrap().iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(keys, ["evt_1"; 3]);
}

#[tokio::test]
async fn a_permanent_error_fails_and_an_operator_error_pauses() {
    let (service, _came) = start(&[(StatusCode::GONE, &[])]).await;
    service.post_event(EVENT).await;
    let execution = service.until_finished(1).await.remove(0);
    assert_eq!((&execution["status"], &execution["response_code"]), (&json!("failed"), &json!(410)));
    let failures = service.get("/api/v1/failures").await.json();
    assert_eq!(failures["data"][0]["remedy"], "correct RELAY_URL and restart: the receiver is gone");

    let (service, received) = start(&[(StatusCode::FORBIDDEN, &[])]).await;
    service.post_event(EVENT).await;
    // Paused, tried with this one, and then resumed.
    service.until_finished(1).await;
    assert_eq!(received.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_kind_without_a_preview_reports_that_and_sends_nothing() {
    let (service, received) = start(&[]).await;
    service.post_event(EVENT).await;
    let execution = service.until_finished(1).await.remove(0);
    let id = execution["id"].as_i64().unwrap();
    let preview = service.get(&format!("/api/v1/executions/{id}/preview")).await.json();
    assert_eq!((&preview["effect"], &preview["requests"]), (&json!("nothing"), &json!([])), "{preview}");
    assert!(preview["notes"][0].as_str().unwrap().contains("no preview"), "{preview}");
    assert_eq!(received.lock().unwrap().len(), 1);
}

#[test]
fn invalid_settings_are_reported_at_startup() {
    for (url, expected) in [
        ("", "is missing"),
        ("no address", "relative URL without a base"),
        ("http://example.com", "example.com must be reached by https"),
    ] {
        let vars: Vars = [("DESTINATIONS", "relay"), ("RELAY_URL", url)].into_iter().collect();
        let mut reader = Reader::new(&vars);
        let names = eventbridge::config::instances(&mut reader, DEFAULT_KINDS);
        let instances = destinations::configure_kinds(KINDS, &mut reader, &names, &TypeVocabulary::default());
        let problems = reader.finish(instances).map(|found| found.len()).unwrap_err().problems;
        assert!(
            problems[0].setting == "RELAY_URL" && problems[0].message.starts_with(expected),
            "{problems:?}"
        );
    }
}

#[test]
fn a_minimal_kind_takes_less_than_80_lines() {
    assert!(include_str!("relay.rs").lines().count() < 80);
}

#[test]
fn the_document_contains_the_example_verbatim() {
    let root = PathBuf::from(env!("EVENTBRIDGE_CHECKOUT"));
    let document = fs::read_to_string(root.join("docs/extending.md")).unwrap();
    let example = include_str!("relay.rs");
    assert!(
        document.contains(&format!("```rust\n{example}```\n")),
        "docs/extending.md does not hold tests/it/extending/relay.rs as it is"
    );
}
