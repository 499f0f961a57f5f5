//! Pages of events and pages of objects in one table: neither is used as the other.

use crate::harness::{NOW, Service, rows};
use notion_sandbox::{DATA_SOURCE_ID, DATABASE_ID, Fault, FaultRule, Route, SandboxPage, TOKEN, Template};
use serde_json::json;

/// An instance in event mode and one in object mode, on one table.
async fn on_one_table(template: Template) -> Service {
    let service = Service::builder().template(template).set("DESTINATIONS", "").start().await;
    if template == Template::Original {
        service.sandbox.add_column(DATA_SOURCE_ID, "ObjectId", "rich_text").unwrap();
    }
    let replica = service.replica();
    let url = replica.sandbox_url();
    let both = replica
        .set("DESTINATIONS", "notion,objects:notion")
        .set("OBJECTS_MODE", "object")
        .set("OBJECTS_API_URL", &url)
        .set("OBJECTS_API_KEY", TOKEN)
        .set("OBJECTS_DATABASE_ID", &DATABASE_ID.to_string())
        .set("OBJECTS_SETTLE_SECONDS", "0")
        .set("OBJECTS_RATE_PER_MINUTE", "0");
    service.stop().await;
    both.start().await
}

fn payment(event: &str, created: i64, amount: i64) -> String {
    json!({"id": event, "object": "event", "type": "payment_intent.amount_capturable_updated", "created": created,
           "livemode": false, "data": {"object": {"id": "pi_1", "object": "payment_intent", "amount": amount,
           "currency": "eur", "status": "requires_capture"}}})
    .to_string()
}

fn showing<'a>(pages: &'a [SandboxPage], amount: &str) -> Vec<&'a SandboxPage> {
    pages.iter().filter(|page| !page.in_trash && page.text("Amount") == Some(amount)).collect()
}

#[tokio::test]
async fn event_pages_and_object_pages_are_never_confused() {
    for template in [Template::Full, Template::Original] {
        let service = on_one_table(template).await;
        service.post_event(&payment("evt_1", NOW, 100)).await;
        service.until_finished(2).await;
        assert_eq!(
            showing(&service.sandbox.pages(), "1").len(),
            2,
            "{template:?}: the event's and the object's"
        );
        // The record of the object's page is lost: it is found among those of the events.
        service.database.change(rows::forget_remote_objects()).await;
        // The event's write is in doubt, so its page is searched for.
        service.sandbox.fault(FaultRule::once(Fault::Drop).on(Route::Create)).unwrap();
        service.post_event(&payment("evt_2", NOW + 1, 200)).await;
        let executions = service.until_finished(4).await;
        assert!(executions.iter().all(|execution| execution["status"] == "success"), "{executions:?}");
        let pages = service.sandbox.pages();
        assert!(pages.iter().all(|page| !page.in_trash), "{template:?}");
        assert_eq!((showing(&pages, "1").len(), showing(&pages, "2").len()), (1, 2), "{template:?}");
        assert_eq!(pages.len(), 3, "{template:?}");
    }
}

#[tokio::test]
async fn an_execution_of_the_other_mode_without_its_column_fails_alone() {
    let service = Service::builder().template(Template::Full).set("RETRY_ATTEMPTS_MAX", "1").start().await;
    service.sandbox.fault(FaultRule::once(Fault::Conflict).on(Route::Create)).unwrap();
    service.post_event(&payment("evt_1", NOW, 100)).await;
    let old = service.until_finished(1).await.remove(0);
    let next = service.replica().set("NOTION_MODE", "object");
    service.stop().await;
    let next = next.start().await;
    next.sandbox.remove_column(DATA_SOURCE_ID, "EventId").unwrap();
    next.post(&format!("/api/v1/executions/{}/retry", old["id"])).await;
    let executions = next.until_finished(1).await;
    assert_eq!(
        (&executions[0]["status"], &executions[0]["error_class"]),
        (&json!("failed"), &json!("columns"))
    );
    assert!(executions[0]["reason"].as_str().unwrap().contains("EventId"), "{executions:?}");
    let groups = next.get("/api/v1/failures").await.json();
    let remedy = groups["data"][0]["remedy"].as_str().unwrap();
    assert!(remedy.starts_with("add a text column EventId"), "{groups}");
    assert_eq!(next.database.count(rows::paused()).await, 0);
    next.post_event(&payment("evt_2", NOW + 1, 200)).await;
    assert_eq!(next.until_finished(2).await[1]["status"], "success");
}
