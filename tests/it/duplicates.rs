//! A second page of one key: the oldest stays, our own goes to the trash, and a user's page is left
//! alone.

use crate::harness::rows::Set;
use crate::harness::{NOW, Service, ServiceBuilder, rows, within};
use notion_sandbox::{Author, DATA_SOURCE_ID, Fault, FaultRule, Route, SandboxHandle, SandboxPage, Template};
use serde_json::{Value, json};
use uuid::Uuid;

const MODES: [&str; 2] = ["event", "object"];

fn in_mode(mode: &str) -> ServiceBuilder {
    Service::builder().set("NOTION_MODE", mode).template(Template::Full)
}

/// A state of a payment, identified by its amount.
fn payment(event: &str, created: i64, amount: i64) -> String {
    json!({"id": event, "object": "event", "type": "payment_intent.amount_capturable_updated", "created": created,
           "livemode": false, "data": {"object": {"id": "pi_1", "object": "payment_intent", "amount": amount,
           "currency": "eur", "status": "requires_capture"}}})
    .to_string()
}

/// A page with the key of `payment`, created outside this service.
fn add_page(service: &Service, mode: &str, author: Author) -> Uuid {
    let (column, key) = if mode == "event" { ("EventId", "evt_1") } else { ("ObjectId", "pi_1") };
    let properties = json!({ column: { "rich_text": [{ "text": { "content": key } }] } });
    let page = service.sandbox.add_page(DATA_SOURCE_ID, &properties, author).unwrap();
    page["id"].as_str().unwrap().parse().unwrap()
}

/// The pages outside the trash.
fn untrashed(service: &Service) -> Vec<SandboxPage> {
    service.sandbox.pages().into_iter().filter(|page| !page.in_trash).collect()
}

/// The page to keep: Notion's times have whole minutes, so the id decides within one.
fn oldest(service: &Service) -> Uuid {
    let pages = service.sandbox.pages();
    let age = |page: &&SandboxPage| (page.json["created_time"].as_str().unwrap().to_owned(), page.id);
    pages.iter().min_by_key(age).unwrap().id
}

/// In event mode there is no lookup before the first write, so that write is lost.
fn force_lookup(service: &Service, mode: &str) {
    if mode == "event" {
        service.sandbox.fault(FaultRule::once(Fault::Drop).on(Route::Create)).unwrap();
    }
}

#[tokio::test]
async fn of_duplicate_pages_the_oldest_stays_and_only_our_own_are_trashed() {
    for mode in MODES {
        let service = in_mode(mode).start().await;
        let ours = [(); 3].map(|()| add_page(&service, mode, Author::Bot));
        let theirs = add_page(&service, mode, Author::Person);
        let edited = add_page(&service, mode, Author::Bot);
        let note = json!({ "Description": { "rich_text": [{ "text": { "content": "call them" } }] } });
        service.sandbox.edit_page(edited, &note).unwrap();
        let oldest = oldest(&service);
        force_lookup(&service, mode);
        service.post_event(&payment("evt_1", NOW, 100)).await;
        let execution = service.until_finished(1).await.remove(0);
        assert_eq!(execution["status"], "success", "{mode}");
        assert_eq!(execution["remote_id"], oldest.to_string(), "{mode}");
        for page in service.sandbox.pages() {
            let is_trashed = page.id != oldest && ours.contains(&page.id);
            assert_eq!(page.in_trash, is_trashed, "{mode}: {}", page.json);
        }
        assert!(untrashed(&service).iter().any(|page| page.id == theirs), "{mode}");
    }
}

#[tokio::test]
async fn a_duplicate_page_that_cannot_be_trashed_does_not_fail_the_delivery() {
    for route in [Route::Update, Route::Me] {
        let service = in_mode("event").start().await;
        for _ in 0..2 {
            add_page(&service, "event", Author::Bot);
        }
        service.sandbox.fault(FaultRule::always(Fault::Error { status: 500 }).on(route)).unwrap();
        force_lookup(&service, "event");
        service.post_event(&payment("evt_1", NOW, 100)).await;
        let execution = service.until_finished(1).await.remove(0);
        assert_eq!(execution["status"], "success", "{route:?}");
        assert_eq!(untrashed(&service).len(), 2, "{route:?}");
    }
}

#[tokio::test]
async fn a_late_first_page_and_a_second_one_are_merged_into_the_newest_state() {
    for first in [
        vec![Fault::DropThenWrite { delay_ms: 1300 }],
        vec![Fault::DropAfterWrite, Fault::QueryLag { delay_ms: 1300 }],
    ] {
        for mode in MODES {
            let service = in_mode(mode).set("NOTION_SETTLE_SECONDS", "1").start().await;
            for fault in &first {
                service.sandbox.fault(FaultRule::once(fault.clone()).on(Route::Create)).unwrap();
            }
            service.post_event(&payment("evt_1", NOW, 100)).await;
            let is_sent = |sandbox: &SandboxHandle| sandbox.faults().is_empty();
            within("the first write is in doubt", service.sandbox.until(is_sent)).await;
            // The response to the second write is late: the first write lands meanwhile.
            service.sandbox.fault(FaultRule::once(Fault::Slow { delay_ms: 900 }).on(Route::Create)).unwrap();
            let events = if mode == "event" { 1 } else { 2 };
            if mode == "object" {
                service.post_event(&payment("evt_2", NOW + 1, 200)).await;
            }
            let executions = service.until_finished(events).await;
            let newest: &Value = executions.last().unwrap();
            assert_eq!(newest["status"], "success", "{mode}, {first:?}");
            assert_eq!(service.sandbox.pages().len(), 2, "{mode}, {first:?}: both pages exist");
            let left = untrashed(&service);
            assert_eq!(left.len(), 1, "{mode}, {first:?}");
            assert_eq!(newest["remote_id"], left[0].id.to_string(), "{mode}, {first:?}");
            assert_eq!(left[0].id, oldest(&service), "{mode}, {first:?}");
            assert_eq!(left[0].text("Amount"), Some(events.to_string().as_str()), "{mode}, {first:?}");
        }
    }
}

#[tokio::test]
async fn a_page_with_another_key_is_neither_used_nor_trashed() {
    for mode in MODES {
        let service = in_mode(mode).start().await;
        let other = payment("evt_0", NOW, 900).replace("pi_1", "pi_0");
        service.post_event(&other).await;
        service.until_finished(1).await;
        // The record of its page is lost.
        let forgotten = rows::executions().set(&[Set::NoPage, Set::NoLane]);
        service.database.change(forgotten).await;
        service.sandbox.fault(FaultRule::always(Fault::Unfiltered).on(Route::Query)).unwrap();
        force_lookup(&service, mode);
        service.post_event(&payment("evt_1", NOW, 100)).await;
        let executions = service.until_finished(2).await;
        assert_eq!(executions[1]["status"], "success", "{mode}");
        let mut amounts: Vec<_> =
            untrashed(&service).iter().map(|page| page.text("Amount").unwrap().to_owned()).collect();
        amounts.sort();
        assert_eq!(amounts, ["1", "9"], "{mode}");
    }
}
