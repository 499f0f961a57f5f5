//! The settings name another Notion database: existing pages stay in the old one, and later writes go to
//! the new one.

use crate::harness::{NOW, Service};
use notion_sandbox::{DATA_SOURCE_ID, DATABASE_ID, SandboxPage, Template};
use serde_json::json;
use uuid::Uuid;

fn payment(event: &str, created: i64, amount: i64) -> String {
    json!({"id": event, "object": "event", "type": "payment_intent.amount_capturable_updated", "created": created,
           "livemode": false, "data": {"object": {"id": "pi_1", "object": "payment_intent", "amount": amount,
           "currency": "eur", "status": "requires_capture"}}})
    .to_string()
}

/// The amounts shown in the pages of a data source.
fn amounts(service: &Service, data_source: Uuid) -> Vec<String> {
    let pages: Vec<SandboxPage> = service.sandbox.pages();
    let of_source = pages.iter().filter(|page| page.data_source_id == data_source);
    of_source.map(|page| page.text("Amount").unwrap_or_default().to_owned()).collect()
}

/// The same service with its settings pointing to another database.
async fn moved(service: Service, mode: &str, database: Uuid) -> Service {
    let next = service.replica().set("NOTION_MODE", mode).set("NOTION_DATABASE_ID", &database.to_string());
    service.stop().await;
    next.start().await
}

async fn in_mode(mode: &str) -> Service {
    Service::builder().set("NOTION_MODE", mode).template(Template::Full).start().await
}

#[tokio::test]
async fn an_object_has_a_page_in_each_database_and_finds_it_again() {
    let service = in_mode("object").await;
    let (other_database, other) = service.sandbox.add_database(Template::Full).unwrap();
    service.post_event(&payment("evt_1", NOW, 100)).await;
    service.until_finished(1).await;
    let service = moved(service, "object", other_database).await;
    for (event, created, amount) in [("evt_2", 1, 200), ("evt_3", 2, 300)] {
        service.post_event(&payment(event, NOW + created, amount)).await;
        service.until_finished(usize::try_from(created).unwrap() + 1).await;
    }
    assert_eq!(
        (amounts(&service, DATA_SOURCE_ID), amounts(&service, other)),
        (vec!["1".into()], vec!["3".into()])
    );
    let service = moved(service, "object", DATABASE_ID).await;
    service.post_event(&payment("evt_4", NOW + 3, 400)).await;
    service.until_finished(4).await;
    assert_eq!(
        (amounts(&service, DATA_SOURCE_ID), amounts(&service, other)),
        (vec!["4".into()], vec!["3".into()])
    );
}

#[tokio::test]
async fn a_retried_event_has_at_most_one_page_in_each_database() {
    let service = in_mode("event").await;
    let (other_database, other) = service.sandbox.add_database(Template::Full).unwrap();
    service.post_event(&payment("evt_1", NOW, 100)).await;
    let execution = service.until_finished(1).await.remove(0);
    let retry = format!("/api/v1/executions/{}/retry", execution["id"]);
    let mut service = service;
    for database in [other_database, DATABASE_ID, other_database] {
        service = moved(service, "event", database).await;
        for _ in 0..2 {
            assert_eq!(service.post(&retry).await.status, 202);
            let execution = service.until_finished(1).await.remove(0);
            assert_eq!(execution["status"], "success", "{execution}");
            let source = if database == other_database { other } else { DATA_SOURCE_ID };
            let pages = service.sandbox.pages();
            let page = pages.iter().find(|page| execution["remote_id"] == page.id.to_string()).unwrap();
            assert_eq!(page.data_source_id, source);
        }
        assert_eq!((amounts(&service, DATA_SOURCE_ID).len(), amounts(&service, other).len()), (1, 1));
    }
}
