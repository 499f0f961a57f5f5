//! Events of a source kind that is not part of the program, end to end.

use super::github;
use crate::harness::{Answer, Service, ServiceBuilder};
use axum::body::Body;
use axum::http::Request;
use eventbridge::sources::{Kind, stripe};
use hmac::{Hmac, KeyInit, Mac};
use notion_sandbox::Template;
use serde_json::{Value, json};
use sha2::Sha256;

/// The program's own kind and one more: this line alone registers it.
const KINDS: &[Kind] = &[stripe::KIND, github::KIND];

const SECRET: &str = "secret of the repository";

fn builder() -> ServiceBuilder {
    Service::builder()
        .source_kinds(KINDS)
        .set("SOURCES", "stripe,tea:github")
        .set("TEA_WEBHOOK_SECRET", SECRET)
        .template(Template::Full)
}

fn issue(action: &str, updated_at: &str, state: &str) -> String {
    json!({
        "action": action,
        "issue": {
            "node_id": "I_1", "title": "The tea is cold", "state": state, "updated_at": updated_at,
            "user": {"login": "jane"}, "html_url": "https://github.com/acme/tea/issues/1",
        },
        "repository": {"full_name": "acme/tea"},
    })
    .to_string()
}

async fn post(service: &Service, id: &str, secret: &str, body: &str) -> Answer {
    let key = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    let signature = hex::encode(key.chain_update(body).finalize().into_bytes());
    let request = Request::post("/api/v1/webhooks/tea")
        .header("host", "localhost")
        .header("x-github-event", "issues")
        .header("x-github-delivery", id)
        .header("x-hub-signature-256", format!("sha256={signature}"))
        .body(Body::from(body.to_owned()))
        .unwrap();
    service.call(request).await
}

fn statuses(executions: &[Value]) -> Vec<&str> {
    executions.iter().map(|execution| execution["status"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_event_of_a_new_source_has_a_page_next_to_stripes() {
    let service = builder().start().await;
    let answer = post(&service, "d-1", SECRET, &issue("opened", "2026-11-23T10:00:00Z", "open")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["accepted"]), (200, &json!(true)), "{answer:?}");
    service.post_event(r#"{"id": "evt_1", "type": "invoice.paid"}"#).await;
    service.until_finished(2).await;
    let pages = service.sandbox.pages();
    let page = pages.iter().find(|page| page.text("EventId") == Some("d-1")).expect("a page");
    for (column, expected) in [
        ("Source", "tea"),
        ("EventType", "issues.opened"),
        ("ObjectId", "I_1"),
        ("ObjectStatus", "open"),
        ("CustomerName", "jane"),
        ("DashboardUrl", "https://github.com/acme/tea/issues/1"),
    ] {
        assert_eq!(page.text(column), Some(expected), "{column}");
    }
    assert!(pages.iter().any(|page| page.text("Source") == Some("stripe")));
}

#[tokio::test]
async fn in_object_mode_the_last_update_is_shown() {
    let service = builder().set("NOTION_MODE", "object").start().await;
    post(&service, "d-2", SECRET, &issue("closed", "2026-11-23T11:00:00Z", "closed")).await;
    service.until_finished(1).await;
    post(&service, "d-1", SECRET, &issue("opened", "2026-11-23T10:00:00Z", "open")).await;
    assert_eq!(statuses(&service.until_finished(2).await), ["success", "superseded"]);
    post(&service, "d-3", SECRET, &issue("reopened", "2026-11-23T12:00:00Z", "open")).await;
    service.until_finished(3).await;
    let pages = service.sandbox.pages();
    assert_eq!(pages.len(), 1);
    assert_eq!(pages[0].text("ObjectStatus"), Some("open"));
    assert_eq!(pages[0].text("LastEventId"), Some("d-3"));
}

/// Neither kind is part of the program, and neither knows the other.
#[tokio::test]
async fn an_event_of_a_new_source_is_delivered_to_a_new_destination() {
    let (url, received) = super::start_receiver(&[]).await;
    let service =
        builder().kinds(super::KINDS).set("DESTINATIONS", "relay").set("RELAY_URL", &url).start().await;
    let body = issue("opened", "2026-11-23T10:00:00Z", "open");
    assert_eq!(post(&service, "d-1", SECRET, &body).await.status.as_u16(), 200);
    let execution = service.until_finished(1).await.remove(0);
    for (name, expected) in
        [("source", "tea"), ("type", "issues.opened"), ("destination", "relay"), ("status", "success")]
    {
        assert_eq!(execution[name], expected, "{execution}");
    }
    assert_eq!(*received.lock().unwrap(), [("d-1".to_owned(), body)]);
    assert!(service.sandbox.pages().is_empty());
}

#[tokio::test]
async fn an_event_with_a_wrong_signature_is_rejected_and_listed() {
    let service = builder().start().await;
    let body = issue("opened", "2026-11-23T10:00:00Z", "open");
    assert_eq!(post(&service, "d-1", "another secret", &body).await.problem(400), "signature_no_match");
    assert_eq!(post(&service, "", SECRET, &body).await.problem(400), "event_id_invalid");
    assert!(service.executions().await.is_empty());
}

#[tokio::test]
async fn an_event_of_a_removed_source_is_delivered_from_its_stored_columns() {
    let first = builder().set("DESTINATIONS", "").start().await;
    post(&first, "d-1", SECRET, &issue("opened", "2026-11-23T10:00:00Z", "open")).await;
    let service = first.replica().start().await;
    let replayed = service.post("/api/v1/events/replay?all=true&note=moved").await;
    assert_eq!(replayed.status.as_u16(), 202, "{replayed:?}");
    service.until_task_ended(replayed.headers["location"].to_str().unwrap()).await;
    service.until_finished(1).await;
    let pages = service.sandbox.pages();
    assert_eq!(pages[0].text("EventId"), Some("d-1"));
    assert_eq!((pages[0].text("EventType"), pages[0].text("ObjectStatus")), (Some("issues.opened"), None));
}
