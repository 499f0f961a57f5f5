//! What contains the pages is in Notion's trash: the operator restores it. No page counts as removed by a person,
//! and none is created a second time. Pages that a person archived or moved stay as they are.

use crate::harness::{NOW, Service, ServiceBuilder, within};
use notion_sandbox::{Author, DATA_SOURCE_ID, DATABASE_ID, LoggedRequest, Template};
use serde_json::{Value, json};
use uuid::Uuid;

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

/// The state of a charge of which so many cents were captured.
fn charge(object: &str, event: &str, created: i64, captured: i64) -> String {
    json!({"id": event, "object": "event", "type": "charge.updated", "created": created, "livemode": false,
           "data": {"object": {"id": object, "object": "charge", "amount": 900, "amount_captured": captured,
           "captured": true, "currency": "eur", "status": "succeeded"}}})
    .to_string()
}

fn in_object_mode(removed_pages: &str) -> ServiceBuilder {
    Service::builder()
        .set("NOTION_MODE", "object")
        .set("NOTION_REMOVED_PAGES", removed_pages)
        .template(Template::Full)
}

/// Another table with the same columns. One of them has another id, as every column of another table may have.
fn another_table(service: &Service) -> Uuid {
    let (_, elsewhere) = service.sandbox.add_database(Template::Full).unwrap();
    service.sandbox.remove_column(elsewhere, "Currency").unwrap();
    service.sandbox.add_column(elsewhere, "Currency", "select").unwrap();
    elsewhere
}

fn is_left_alone(execution: &Value, why: &str) {
    assert_eq!(execution["status"], "skipped", "{execution}");
    assert!(execution["reason"].as_str().unwrap().contains(why), "{execution}");
}

#[tokio::test]
async fn rows_moved_to_a_table_with_other_types_cost_the_pages_of_their_own_table_no_value() {
    let service = in_object_mode("skip").start().await;
    for (number, object) in ["ch_1", "ch_2"].into_iter().enumerate() {
        service.post_event(&charge(object, &format!("evt_{object}"), NOW, 100)).await;
        service.until_finished(number + 1).await;
    }
    let elsewhere = another_table(&service);
    service.sandbox.retype_column(elsewhere, "Collected", "rich_text").unwrap();
    for page in service.sandbox.pages() {
        service.sandbox.move_page(page.id, elsewhere).unwrap();
    }
    for (number, (object, captured)) in [("ch_1", 200), ("ch_2", 300), ("ch_3", 400)].into_iter().enumerate()
    {
        service.post_event(&charge(object, &format!("evt_next_{object}"), NOW + 1, captured)).await;
        service.until_finished(number + 3).await;
    }
    let executions = service.executions().await;
    is_left_alone(&executions[2], "moved to another table");
    is_left_alone(&executions[3], "moved to another table");
    assert_eq!((&executions[4]["status"], &executions[4]["reason"]), (&json!("success"), &Value::Null));
    let pages = service.sandbox.pages();
    let own: Vec<_> = pages.iter().filter(|page| page.data_source_id == DATA_SOURCE_ID).collect();
    assert_eq!((own.len(), own[0].text("Collected")), (1, Some("4")));
}

#[tokio::test]
async fn an_object_whose_row_was_moved_to_a_table_with_the_same_columns_gets_no_second_page() {
    for removed_pages in ["skip", "recreate"] {
        let service = in_object_mode(removed_pages).start().await;
        service.post_event(&charge("ch_1", "evt_0", NOW, 100)).await;
        service.until_finished(1).await;
        service.sandbox.move_page(service.sandbox.pages()[0].id, another_table(&service)).unwrap();
        for number in 1..4 {
            service.post_event(&charge("ch_1", &format!("evt_{number}"), NOW + number, 100 * number)).await;
            let number = usize::try_from(number).unwrap();
            is_left_alone(&service.until_finished(number + 1).await[number], "moved to another table");
        }
        assert_eq!((service.sandbox.pages().len(), creations(&service)), (1, 1), "{removed_pages}");
    }
}

#[tokio::test]
async fn an_event_whose_row_was_moved_to_a_table_with_the_same_columns_gets_no_second_page() {
    let service = Service::builder().template(Template::Full).start().await;
    let execution = deliver(&service).await;
    service.sandbox.move_page(service.sandbox.pages()[0].id, another_table(&service)).unwrap();
    for _ in 0..2 {
        assert_eq!(retry(&service, &execution).await, 202);
        is_left_alone(&service.until_finished(1).await[0], "moved to another table");
    }
    assert_eq!((service.sandbox.pages().len(), creations(&service)), (1, 1));
}

#[tokio::test]
async fn an_archived_page_of_an_object_is_neither_written_nor_created_again_until_it_is_restored() {
    for removed_pages in ["skip", "recreate"] {
        for is_cached in [true, false] {
            let mut service = in_object_mode(removed_pages).start().await;
            // The look-up for this page finds no archived rows, which the process relies on for a while.
            service.post_event(&charge("ch_1", "evt_0", NOW, 100)).await;
            service.until_finished(1).await;
            let page = service.sandbox.pages()[0].id;
            service.sandbox.archive(page).unwrap();
            if !is_cached {
                let next = service.replica();
                let next = next.set("NOTION_MODE", "object").set("NOTION_REMOVED_PAGES", removed_pages);
                service.stop().await;
                service = next.start().await;
            }
            for number in 1..3 {
                service.post_event(&charge("ch_1", &format!("evt_{number}"), NOW + number, 200)).await;
                let number = usize::try_from(number).unwrap();
                is_left_alone(&service.until_finished(number + 1).await[number], "its page is archived");
            }
            assert_eq!(service.sandbox.pages().len(), 1, "{removed_pages}, cached: {is_cached}");
            service.sandbox.set_archived(page, false).unwrap();
            service.post_event(&charge("ch_1", "evt_3", NOW + 3, 300)).await;
            assert_eq!(service.until_finished(4).await[3]["status"], "success");
            assert_eq!(service.sandbox.pages()[0].text("Collected"), Some("3"));
        }
    }
}

#[tokio::test]
async fn a_successor_that_was_archived_is_not_created_again() {
    let service = in_object_mode("recreate").start().await;
    service.post_event(&charge("ch_1", "evt_0", NOW, 100)).await;
    service.until_finished(1).await;
    // The first page is removed. Another page of the object exists and is archived.
    service.sandbox.trash(service.sandbox.pages()[0].id).unwrap();
    let key = json!({"ObjectId": {"rich_text": [{"text": {"content": "ch_1"}}]}});
    let other = service.sandbox.add_page(DATA_SOURCE_ID, &key, Author::Bot).unwrap();
    service.sandbox.archive(other["id"].as_str().unwrap().parse().unwrap()).unwrap();
    let next = service.replica().set("NOTION_MODE", "object").set("NOTION_REMOVED_PAGES", "recreate");
    service.stop().await;
    let service = next.start().await;
    service.post_event(&charge("ch_1", "evt_1", NOW + 1, 200)).await;
    is_left_alone(&service.until_finished(2).await[1], "its page is archived");
    assert_eq!(service.sandbox.pages().len(), 2);
}

#[tokio::test]
async fn an_archived_page_of_an_event_is_left_alone() {
    let service = Service::start().await;
    let execution = deliver(&service).await;
    service.sandbox.archive(service.sandbox.pages()[0].id).unwrap();
    assert_eq!(retry(&service, &execution).await, 202);
    is_left_alone(&service.until_finished(1).await[0], "its page is archived");
    assert_eq!((service.sandbox.pages().len(), creations(&service)), (1, 1));
}
