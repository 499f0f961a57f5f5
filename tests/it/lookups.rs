//! Look-ups of pages: what their answers show, and that a slow one delays no other delivery.

use crate::harness::{NOW, Service, within};
use notion_sandbox::{DATA_SOURCE_ID, Fault, FaultRule, LoggedRequest, Route, Template};
use serde_json::{Value, json};

fn payment(object: &str, event: &str) -> String {
    json!({"id": event, "object": "event", "type": "payment_intent.processing", "created": NOW,
           "livemode": false, "data": {"object": {"id": object, "object": "payment_intent", "amount": 100,
           "currency": "eur", "status": "processing"}}})
    .to_string()
}

async fn in_object_mode() -> Service {
    Service::builder().set("NOTION_MODE", "object").template(Template::Full).start().await
}

fn looks(service: &Service) -> Vec<LoggedRequest> {
    let requests = service.sandbox.requests().into_iter();
    requests.filter(|request| request.path.ends_with("/query")).collect()
}

#[tokio::test]
async fn a_slow_question_for_archived_rows_delays_no_other_object() {
    let service = in_object_mode().await;
    let slow = FaultRule::once(Fault::Slow { delay_ms: 4000 }).on(Route::Query);
    service.sandbox.fault(slow.containing("{\"is_archived\":true,\"page_size\":1}")).unwrap();
    for number in 0..3 {
        service.post_event(&payment(&format!("pi_{number}"), &format!("evt_{number}"))).await;
    }
    within("two pages exist", service.sandbox.until(|sandbox| sandbox.page_count() == 2)).await;
    let waiting = looks(&service).into_iter().filter(|request| request.status.is_none()).count();
    assert_eq!(waiting, 1, "one delivery still asks");
    let executions = service.until_finished(3).await;
    assert!(executions.iter().all(|it| it["status"] == "success"), "{executions:?}");
    assert_eq!(service.sandbox.pages().len(), 3);
}

#[tokio::test]
async fn a_look_for_a_page_shows_its_key_alone() {
    let service = in_object_mode().await;
    service.post_event(&payment("pi_1", "evt_1")).await;
    service.until_finished(1).await;
    let looks = looks(&service);
    assert_eq!(looks.len(), 2, "for the page, and whether there are archived rows: {looks:?}");
    for look in looks {
        assert_eq!(look.status, Some(200), "{look:?}");
        assert_eq!(look.query.matches("filter_properties=").count(), 1, "{look:?}");
    }
}

#[tokio::test]
async fn if_notion_refuses_to_limit_the_columns_of_an_answer_all_are_read() {
    let service = in_object_mode().await;
    let message = "a%3Ab is not a property that exists.".to_owned();
    let refuse = FaultRule::once(Fault::Invalid { message }).on(Route::Query);
    service.sandbox.fault(refuse).unwrap();
    for number in 0..2 {
        service.post_event(&payment(&format!("pi_{number}"), &format!("evt_{number}"))).await;
        service.until_finished(number + 1).await;
    }
    let executions = service.executions().await;
    assert!(executions.iter().all(|it| it["status"] == "success"), "{executions:?}");
    let limited: Vec<_> = looks(&service).iter().map(|look| !look.query.is_empty()).collect();
    assert_eq!(limited, [true, false, false, false]);
}

#[tokio::test]
async fn a_key_column_that_was_made_again_is_still_searched() {
    let service = in_object_mode().await;
    service.post_event(&payment("pi_1", "evt_1")).await;
    service.until_finished(1).await;
    service.sandbox.remove_column(DATA_SOURCE_ID, "ObjectId").unwrap();
    service.sandbox.add_column(DATA_SOURCE_ID, "ObjectId", "rich_text").unwrap();
    service.post_event(&payment("pi_2", "evt_2")).await;
    let executions: Vec<Value> = service.until_finished(2).await;
    assert_eq!(executions[1]["status"], "success", "{executions:?}");
}
