//! What contains the pages is in Notion's trash: the operator restores it. No page counts as removed by a person,
//! and none is created a second time.

use crate::harness::{NOW, Service, within};
use notion_sandbox::{DATA_SOURCE_ID, DATABASE_ID, LoggedRequest, Template};
use serde_json::{Value, json};

fn payment(object: &str, event: &str, created: i64, amount: i64) -> String {
    json!({"id": event, "object": "event", "type": "payment_intent.processing", "created": created,
           "livemode": false, "data": {"object": {"id": object, "object": "payment_intent", "amount": amount,
           "currency": "eur", "status": "processing"}}})
    .to_string()
}

/// Sends one payment and waits until its execution has finished.
async fn deliver(service: &Service) -> Value {
    assert_eq!(service.post_event(&payment("pi_1", "evt_0", NOW, 100)).await.status, 200);
    service.until_finished(1).await.remove(0)
}

async fn retry(service: &Service, execution: &Value) -> u16 {
    service.post(&format!("/api/v1/executions/{}/retry", execution["id"])).await.status.as_u16()
}

/// Waits until this execution, by its place, is paused because of the trash.
async fn until_paused(service: &Service, place: usize) -> Value {
    let is_paused =
        |executions: &[Value]| executions.get(place).is_some_and(|it| it["error_class"] == "in_trash");
    let execution = service.until("it is paused", is_paused).await.remove(place);
    assert_eq!(execution["status"], "pending", "{execution}");
    execution
}

/// The requests that create pages.
fn creations(service: &Service) -> usize {
    let is_creation = |request: &&LoggedRequest| request.method == "POST" && request.path == "/v1/pages";
    service.sandbox.requests().iter().filter(is_creation).count()
}

/// Waits until the paused instance was probed so many times.
async fn until_probed(service: &Service, times: usize) {
    let probes = |requests: &[LoggedRequest]| {
        let is_probe = |request: &&LoggedRequest| {
            request.method == "GET" && request.path.starts_with("/v1/data_sources/")
        };
        requests.iter().filter(is_probe).count()
    };
    let before = probes(&service.sandbox.requests());
    within("it is probed", service.sandbox.until(|sandbox| probes(&sandbox.requests()) >= before + times))
        .await;
}

/// What contains the pages is moved to the trash, or restored.
fn put(service: &Service, container: &str, in_trash: bool) {
    match container {
        "data source" => service.sandbox.trash_data_source(DATA_SOURCE_ID, in_trash).unwrap(),
        "database" => service.sandbox.trash_database(DATABASE_ID, in_trash).unwrap(),
        _ => service.sandbox.trash_parent_page(in_trash),
    }
}

#[tokio::test]
async fn a_page_in_the_trash_with_its_table_waits_for_the_operator() {
    for container in ["data source", "database", "page"] {
        let service = Service::start().await;
        let execution = deliver(&service).await;
        put(&service, container, true);
        assert_eq!(retry(&service, &execution).await, 202);
        let is_paused = |executions: &[Value]| executions[0]["error_class"] == "in_trash";
        let execution = service.until("it is paused", is_paused).await.remove(0);
        assert_eq!(execution["status"], "pending", "{execution}");
        let reason = execution["reason"].as_str().unwrap();
        assert!(reason.contains(container) && reason.contains("restore"), "{reason}");
        put(&service, container, false);
        assert_eq!(service.until_finished(1).await[0]["status"], "success", "{container}");
        assert_eq!(service.sandbox.pages().len(), 1, "{container}");
    }
}

#[tokio::test]
async fn a_new_page_waits_while_its_table_is_in_the_trash() {
    for container in ["data source", "database"] {
        let service = Service::start().await;
        deliver(&service).await;
        put(&service, container, true);
        service.post_event(r#"{"id":"evt_next"}"#).await;
        let is_paused = |executions: &[Value]| executions[1]["error_class"] == "in_trash";
        let executions = service.until("it is paused", is_paused).await;
        assert!(executions[1]["reason"].as_str().unwrap().contains("restore"), "{executions:?}");
        put(&service, container, false);
        assert_eq!(service.until_finished(2).await[1]["status"], "success", "{container}");
        assert_eq!(service.sandbox.pages().len(), 2, "{container}");
    }
}

#[tokio::test]
async fn after_a_page_was_created_in_the_trash_the_next_one_waits() {
    let service = Service::start().await;
    deliver(&service).await;
    put(&service, "page", true);
    service.post_event(r#"{"id":"evt_1"}"#).await;
    assert_eq!(service.until_finished(2).await[1]["status"], "success", "it is restored with the page above");
    service.post_event(r#"{"id":"evt_2"}"#).await;
    let is_paused = |executions: &[Value]| executions[2]["error_class"] == "in_trash";
    service.until("it is paused", is_paused).await;
    put(&service, "page", false);
    assert_eq!(service.until_finished(3).await[2]["status"], "success");
    assert_eq!(service.sandbox.page_count(), 3);
}

#[tokio::test]
async fn a_page_in_the_trash_with_a_page_above_that_cannot_be_read_waits_for_the_operator() {
    let service = Service::start().await;
    let execution = deliver(&service).await;
    service.sandbox.hide_parent_page(true);
    put(&service, "page", true);
    assert_eq!(retry(&service, &execution).await, 202);
    let execution = until_paused(&service, 0).await;
    let reason = execution["reason"].as_str().unwrap();
    assert!(reason.contains("cannot read") && reason.contains("restore"), "{reason}");
    until_probed(&service, 3).await;
    put(&service, "page", false);
    assert_eq!(service.until_finished(1).await[0]["status"], "success");
    assert_eq!(service.sandbox.pages().len(), 1);
}

#[tokio::test]
async fn an_object_gets_no_second_page_while_a_page_above_that_cannot_be_read_is_in_the_trash() {
    let service = Service::builder()
        .set("NOTION_MODE", "object")
        .set("NOTION_REMOVED_PAGES", "recreate")
        .template(Template::Full)
        .start()
        .await;
    deliver(&service).await;
    service.sandbox.hide_parent_page(true);
    put(&service, "page", true);
    for number in 1..4 {
        service.post_event(&payment("pi_1", &format!("evt_{number}"), NOW + number, 100 * number)).await;
    }
    let is_paused = |executions: &[Value]| executions.iter().any(|it| it["error_class"] == "in_trash");
    service.until("it is paused", is_paused).await;
    until_probed(&service, 3).await;
    assert_eq!((service.sandbox.pages().len(), creations(&service)), (1, 1));
    put(&service, "page", false);
    service.until_finished(4).await;
    let pages = service.sandbox.pages();
    assert_eq!((pages.len(), pages[0].text("Amount")), (1, Some("3")));
}

#[tokio::test]
async fn one_page_created_in_the_trash_proves_that_a_page_above_is_there_and_no_more_are_created() {
    let service = Service::start().await;
    service.sandbox.hide_parent_page(true);
    put(&service, "page", true);
    let first = deliver(&service).await;
    assert_eq!(first["status"], "success", "it is restored with the page above");
    for number in 1..6 {
        service.post_event(&payment("pi_1", &format!("evt_{number}"), NOW, 100)).await;
    }
    let is_paused = |executions: &[Value]| executions.iter().any(|it| it["error_class"] == "in_trash");
    service.until("it is paused", is_paused).await;
    until_probed(&service, 3).await;
    assert_eq!(creations(&service), 1);
    put(&service, "page", false);
    let executions = service.until_finished(6).await;
    assert!(executions.iter().all(|it| it["status"] == "success"), "{executions:?}");
    assert_eq!(service.sandbox.page_count(), 6);
}

#[tokio::test]
async fn a_person_may_remove_pages_below_a_page_that_cannot_be_read() {
    let service = Service::start().await;
    service.sandbox.hide_parent_page(true);
    let execution = deliver(&service).await;
    service.sandbox.trash(service.sandbox.pages()[0].id).unwrap();
    assert_eq!(retry(&service, &execution).await, 202);
    assert_eq!(service.until_finished(1).await[0]["status"], "skipped");
    service.post_event(&payment("pi_1", "evt_1", NOW, 100)).await;
    assert_eq!(service.until_finished(2).await[1]["status"], "success");
}

#[tokio::test]
async fn a_page_that_was_moved_to_a_table_in_the_trash_is_left_alone() {
    let service = Service::start().await;
    let execution = deliver(&service).await;
    let (database, elsewhere) = service.sandbox.add_database(Template::Plain).unwrap();
    service.sandbox.move_page(service.sandbox.pages()[0].id, elsewhere).unwrap();
    service.sandbox.trash_database(database, true).unwrap();
    assert_eq!(retry(&service, &execution).await, 202);
    let execution = service.until_finished(1).await.remove(0);
    assert_eq!(execution["status"], "skipped", "{execution}");
    service.post_event(&payment("pi_1", "evt_1", NOW, 100)).await;
    assert_eq!(service.until_finished(2).await[1]["status"], "success");
}
