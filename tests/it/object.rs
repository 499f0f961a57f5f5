//! Object mode: one page for each object, which finally shows its newest state.

use crate::harness::{NOW, Service, rows, within};
use notion_sandbox::{DATA_SOURCE_ID, DATABASE_ID, Fault, FaultRule, Route, SandboxPage, Template};
use serde_json::{Value, json};
use std::time::Duration;
use stripe_samples::Sample;

async fn in_object_mode() -> Service {
    Service::builder().set("NOTION_MODE", "object").template(Template::Full).start().await
}

fn invoice_life(seed: u64) -> Vec<Sample> {
    stripe_samples::invoice_life(seed, chrono::DateTime::from_timestamp(NOW, 0).unwrap())
}

/// A state of a payment, identified by its amount.
fn payment(object: &str, event: &str, created: i64, amount: i64) -> String {
    json!({"id": event, "object": "event", "type": "payment_intent.amount_capturable_updated", "created": created,
           "livemode": false, "data": {"object": {"id": object, "object": "payment_intent", "amount": amount,
           "currency": "eur", "status": "requires_capture"}}})
    .to_string()
}

fn page_of<'a>(pages: &'a [SandboxPage], object: &str) -> &'a SandboxPage {
    let of_object: Vec<_> = pages.iter().filter(|page| page.text("ObjectId") == Some(object)).collect();
    assert_eq!(of_object.len(), 1, "{object} has {} pages", of_object.len());
    of_object[0]
}

fn statuses(executions: &[Value]) -> Vec<&str> {
    executions.iter().map(|execution| execution["status"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_invoice_has_one_page_through_its_life() {
    let service = in_object_mode().await;
    for (number, event) in invoice_life(7).iter().enumerate() {
        service.post_event(&event.body).await;
        service.until_finished(number + 1).await;
    }
    let pages = service.sandbox.pages();
    assert_eq!(pages.len(), 1);
    for (column, expected) in
        [("Outcome", "Paid"), ("EventType", "invoice.paid"), ("Amount", "17.45"), ("ObjectStatus", "paid")]
    {
        assert_eq!(pages[0].text(column), Some(expected), "{column}");
    }
    assert_eq!(statuses(&service.executions().await), ["success"; 4]);
}

#[tokio::test]
async fn of_pending_states_only_the_newest_is_written() {
    let service = in_object_mode().await;
    service.sandbox.fault(FaultRule::once(Fault::Slow { delay_ms: 300 }).on(Route::Create)).unwrap();
    service.post_event(&payment("pi_1", "evt_0", NOW, 100)).await;
    within("the first write is under way", service.sandbox.until(|sandbox| sandbox.page_count() == 1)).await;
    // They arrive out of order: the newest is neither the first nor the last.
    for (event, created, amount) in
        [("evt_2", 2, 300), ("evt_4", 4, 500), ("evt_1", 1, 200), ("evt_3", 3, 400)]
    {
        service.post_event(&payment("pi_1", event, NOW + created, amount)).await;
    }
    let executions = service.until_finished(5).await;
    assert_eq!(statuses(&executions), ["success", "superseded", "success", "superseded", "superseded"]);
    let newest = executions[2]["id"].to_string();
    for execution in executions.iter().filter(|execution| execution["status"] == "superseded") {
        assert!(execution["reason"].as_str().unwrap().ends_with(&newest), "{execution}");
    }
    assert_eq!(page_of(&service.sandbox.pages(), "pi_1").text("Amount"), Some("5"));
    let writes =
        service.sandbox.requests().iter().filter(|request| request.path.starts_with("/v1/pages")).count();
    assert_eq!(writes, 2);
}

#[tokio::test]
async fn a_late_arrival_never_overwrites_a_newer_state() {
    let service = in_object_mode().await;
    let mut life = invoice_life(7);
    let paid = life.pop().unwrap();
    service.post_event(&paid.body).await;
    service.until_finished(1).await;
    for event in &life {
        service.post_event(&event.body).await;
    }
    let executions = service.until_finished(4).await;
    assert_eq!(statuses(&executions), ["success", "superseded", "superseded", "superseded"]);
    assert_eq!(service.sandbox.pages()[0].text("Outcome"), Some("Paid"));
}

/// A charge whose description has changed.
fn step(event: &str, step: u8, created: i64) -> String {
    let previous = (step > 1).then(|| json!({"description": format!("step {}", step - 1)}));
    json!({"id": event, "object": "event", "type": "charge.updated", "created": created, "livemode": false,
           "data": {"object": {"id": "ch_1", "object": "charge", "amount": 100, "currency": "eur",
                               "status": "succeeded", "description": format!("step {step}")},
                    "previous_attributes": previous}})
    .to_string()
}

#[tokio::test]
async fn an_event_dated_centuries_ahead_neither_freezes_its_page_nor_disturbs_the_order() {
    let service = in_object_mode().await;
    let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()).timestamp();
    // The true ones happen in one second, after the other one arrived.
    let states =
        [("evt_0", 9, 9_999_999_999), ("evt_z", 1, now + 60), ("evt_a", 3, now + 60), ("evt_m", 2, now + 60)];
    for (number, (event, number_of_step, created)) in states.into_iter().enumerate() {
        service.post_event(&step(event, number_of_step, created)).await;
        service.until_finished(number + 1).await;
    }
    assert_eq!(page_of(&service.sandbox.pages(), "ch_1").text("Description"), Some("step 3"));
}

#[tokio::test]
async fn states_of_one_second_converge_in_any_order() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let service = in_object_mode().await;
        let state = |event: &str, status: &str, previous: Option<&str>| {
            json!({"id": event, "object": "event", "type": "payment_intent.processing", "created": NOW, "livemode": false,
                   "data": {"object": {"id": "pi_1", "object": "payment_intent", "amount": 100, "currency": "eur", "status": status},
                            "previous_attributes": previous.map(|previous| json!({"status": previous}))}})
            .to_string()
        };
        let events = [
            state("evt_z", "requires_confirmation", None),
            state("evt_y", "processing", Some("requires_confirmation")),
            state("evt_x", "succeeded", Some("processing")),
        ];
        for (number, place) in order.into_iter().enumerate() {
            service.post_event(&events[place]).await;
            service.until_finished(number + 1).await;
        }
        assert_eq!(
            page_of(&service.sandbox.pages(), "pi_1").text("ObjectStatus"),
            Some("succeeded"),
            "{order:?}"
        );
    }
}

#[tokio::test]
async fn a_late_event_that_orders_one_second_restores_a_superseded_state() {
    let service = in_object_mode().await;
    // Without the second step only the ids order the first and the third, and they mislead.
    for (number, body) in
        [step("evt_z", 1, NOW), step("evt_a", 3, NOW), step("evt_m", 2, NOW)].iter().enumerate()
    {
        service.post_event(body).await;
        service.until_finished(number + 1).await;
    }
    assert_eq!(page_of(&service.sandbox.pages(), "ch_1").text("Description"), Some("step 3"));
    assert_eq!(statuses(&service.executions().await), ["success", "success", "superseded"]);
}

#[tokio::test]
async fn an_event_without_an_object_state_is_skipped() {
    let service = in_object_mode().await;
    let thin = stripe_samples::make("v1.invoice.paid", 7, chrono::DateTime::from_timestamp(NOW, 0).unwrap())
        .unwrap();
    service.post_event(&thin.body).await;
    service
        .post_event(
            r#"{"id":"evt_upcoming","type":"invoice.upcoming","data":{"object":{"object":"invoice"}}}"#,
        )
        .await;
    let executions = service.until_finished(2).await;
    assert_eq!(statuses(&executions), ["skipped", "skipped"]);
    assert!(executions[0]["reason"].as_str().unwrap().contains("state"), "{executions:?}");
    assert!(executions[1]["reason"].as_str().unwrap().contains("no id"), "{executions:?}");
    assert_eq!(service.sandbox.page_count(), 0);
}

#[tokio::test]
async fn an_update_changes_only_the_changed_columns() {
    let service = in_object_mode().await;
    service.sandbox.add_column(DATA_SOURCE_ID, "Notes", "rich_text").unwrap();
    service.post_event(&payment("pi_1", "evt_1", NOW, 100)).await;
    service.until_finished(1).await;
    let page = service.sandbox.pages()[0].id;
    let notes = json!({"Notes": {"rich_text": [{"text": {"content": "call them"}}]}});
    service.sandbox.edit_page(page, &notes).unwrap();
    service
        .sandbox
        .edit_page(page, &json!({"Customer": {"rich_text": [{"text": {"content": "by hand"}}]}}))
        .unwrap();
    service.post_event(&payment("pi_1", "evt_2", NOW + 1, 200)).await;
    service.until_finished(2).await;
    let pages = service.sandbox.pages();
    let page = page_of(&pages, "pi_1");
    for (column, expected) in
        [("Notes", "call them"), ("Customer", "by hand"), ("Amount", "2"), ("LastEventId", "evt_2")]
    {
        assert_eq!(page.text(column), Some(expected), "{column}");
    }
    let requests = service.sandbox.requests();
    let update = requests.iter().rfind(|request| request.method == "PATCH").unwrap();
    let changed = update.body["properties"].as_object().unwrap().len();
    assert!(changed < 8, "only what differs: {}", update.body);
}

#[tokio::test]
async fn after_an_update_that_the_error_names_a_state_still_changes_only_what_differs() {
    let service = in_object_mode().await;
    service.post_event(&payment("pi_1", "evt_1", NOW, 100)).await;
    service.until_finished(1).await;
    service.sandbox.fault(FaultRule::once(Fault::Committed).on(Route::Update)).unwrap();
    service.post_event(&payment("pi_1", "evt_2", NOW + 1, 200)).await;
    service.until_finished(2).await;
    service.post_event(&payment("pi_1", "evt_3", NOW + 2, 300)).await;
    assert_eq!(statuses(&service.until_finished(3).await), ["success"; 3]);
    assert_eq!(page_of(&service.sandbox.pages(), "pi_1").text("Amount"), Some("3"));
    let requests = service.sandbox.requests();
    let update = requests.iter().rfind(|request| request.method == "PATCH").unwrap();
    let changed = update.body["properties"].as_object().unwrap().len();
    assert!(changed < 8, "only what differs: {}", update.body);
}

#[tokio::test]
async fn after_a_column_was_renamed_a_state_still_changes_only_what_differs() {
    let service = in_object_mode().await;
    service.post_event(&payment("pi_1", "evt_1", NOW, 100)).await;
    service.until_finished(1).await;
    let page = service.sandbox.pages()[0].id;
    service.sandbox.rename_column(DATA_SOURCE_ID, "Amount", "Betrag").unwrap();
    service.sandbox.rename_column(DATA_SOURCE_ID, "Currency", "Währung").unwrap();
    service.sandbox.edit_page(page, &json!({"Währung": {"select": {"name": "by hand"}}})).unwrap();
    service.post_event(&payment("pi_1", "evt_2", NOW + 1, 200)).await;
    service.until_finished(2).await;
    let pages = service.sandbox.pages();
    let page = page_of(&pages, "pi_1");
    assert_eq!((page.text("Betrag"), page.text("Währung")), (Some("2"), Some("by hand")));
}

#[tokio::test]
async fn a_refused_value_is_left_out_of_an_objects_page_and_cleared_if_it_is_outdated() {
    let service = in_object_mode().await;
    service.post_event(&payment("pi_1", "evt_1", NOW, 100)).await;
    service.until_finished(1).await;
    let message = "Amount is expected to be number.".to_owned();
    let refuse = FaultRule::always(Fault::Invalid { message }).on(Route::Update).containing("{\"number\":2}");
    service.sandbox.fault(refuse).unwrap();
    service.post_event(&payment("pi_1", "evt_2", NOW + 1, 200)).await;
    let executions = service.until_finished(2).await;
    assert_eq!(statuses(&executions), ["success", "success"], "{executions:?}");
    assert!(
        executions[1]["reason"].as_str().unwrap().contains("\"Amount\": Notion refuses"),
        "{executions:?}"
    );
    assert_eq!(page_of(&service.sandbox.pages(), "pi_1").text("Amount"), None);
    service.post_event(&payment("pi_1", "evt_3", NOW + 2, 300)).await;
    let executions = service.until_finished(3).await;
    assert_eq!(executions[2]["reason"], Value::Null, "{executions:?}");
    assert_eq!(page_of(&service.sandbox.pages(), "pi_1").text("Amount"), Some("3"));
}

#[tokio::test]
async fn an_existing_page_is_used_and_not_duplicated() {
    let service = in_object_mode().await;
    service.post_event(&payment("pi_1", "evt_1", NOW, 100)).await;
    service.until_finished(1).await;
    service.database.change(rows::forget_remote_objects()).await;
    service.post_event(&payment("pi_1", "evt_2", NOW + 1, 200)).await;
    service.until_finished(2).await;
    assert_eq!(page_of(&service.sandbox.pages(), "pi_1").text("Amount"), Some("2"));
}

#[tokio::test]
async fn a_removed_page_is_skipped_or_created_again_as_configured() {
    for (setting, status, pages) in [("skip", "skipped", 1), ("recreate", "success", 2)] {
        let service = Service::builder()
            .set("NOTION_MODE", "object")
            .set("NOTION_REMOVED_PAGES", setting)
            .template(Template::Full)
            .start()
            .await;
        service.post_event(&payment("pi_1", "evt_1", NOW, 100)).await;
        service.until_finished(1).await;
        service.sandbox.trash(service.sandbox.pages()[0].id).unwrap();
        service.post_event(&payment("pi_1", "evt_2", NOW + 1, 200)).await;
        let executions = service.until_finished(2).await;
        assert_eq!(executions[1]["status"], status, "{executions:?}");
        assert_eq!(service.sandbox.pages().len(), pages);
    }
}

#[tokio::test]
async fn new_objects_of_a_table_without_archived_rows_cost_two_calls_each() {
    let service = in_object_mode().await;
    for number in 0..5 {
        service.post_event(&payment(&format!("pi_{number}"), &format!("evt_{number}"), NOW, 100)).await;
        service.until_finished(number + 1).await;
    }
    // The database, its columns, and whether it has archived rows.
    assert_eq!(service.sandbox.request_count(), 3 + 2 * 5);
}

#[tokio::test]
async fn in_a_full_workspace_new_pages_wait_and_known_ones_are_updated() {
    let service = in_object_mode().await;
    service.post_event(&payment("pi_1", "evt_1", NOW, 100)).await;
    service.until_finished(1).await;
    service.sandbox.set_block_limit(Some(1));
    for object in ["pi_2", "pi_3"] {
        service.post_event(&payment(object, &format!("evt_{object}"), NOW, 100)).await;
    }
    let are_blocked = |executions: &[Value]| {
        executions.len() == 3 && executions[1..].iter().all(|one| one["error_class"] == "block_limit")
    };
    let executions = service.until("both are blocked", are_blocked).await;
    for execution in &executions[1..] {
        assert_eq!((&execution["status"], &execution["attempt_count"]), (&json!("pending"), &json!(0)));
        assert!(
            execution["reason"].as_str().unwrap().contains("upgrade the Notion workspace"),
            "{execution}"
        );
    }
    service.post_event(&payment("pi_1", "evt_2", NOW + 1, 200)).await;
    let is_updated = |executions: &[Value]| executions[3]["status"] == "success";
    service.until("the known page is updated", is_updated).await;
    assert_eq!(page_of(&service.sandbox.pages(), "pi_1").text("Amount"), Some("2"));
    let is_only_finding = |health: &Value| {
        let kinds: Vec<_> = health["findings"].as_array().unwrap().iter().map(|one| &one["kind"]).collect();
        kinds == [&json!("block_limit")]
    };
    service.until_health("the limit is reported, and no pause", is_only_finding).await;
}

#[tokio::test]
async fn an_archived_page_gets_no_second_one() {
    let service = in_object_mode().await;
    service.post_event(&payment("pi_1", "evt_1", NOW, 100)).await;
    service.until_finished(1).await;
    service.sandbox.archive(service.sandbox.pages()[0].id).unwrap();
    service.database.change(rows::forget_remote_objects()).await;
    // The first process knows for a minute that the table has no archived rows.
    let next = service.replica().set("NOTION_MODE", "object");
    service.stop().await;
    let service = next.start().await;
    service.post_event(&payment("pi_1", "evt_2", NOW + 1, 200)).await;
    let executions = service.until_finished(2).await;
    assert_eq!(statuses(&executions), ["success", "skipped"], "{executions:?}");
    assert_eq!(service.sandbox.pages().len(), 1);
}

#[tokio::test]
async fn the_page_of_an_object_is_not_removed_if_its_database_is() {
    let service = in_object_mode().await;
    service.post_event(&payment("pi_1", "evt_1", NOW, 100)).await;
    service.until_finished(1).await;
    service.sandbox.trash_database(DATABASE_ID, true).unwrap();
    service.post_event(&payment("pi_1", "evt_2", NOW + 1, 200)).await;
    let is_paused = |executions: &[Value]| executions[1]["error_class"] == "in_trash";
    service.until("it is paused", is_paused).await;
    service.sandbox.trash_database(DATABASE_ID, false).unwrap();
    assert_eq!(statuses(&service.until_finished(2).await), ["success", "success"]);
    assert_eq!(page_of(&service.sandbox.pages(), "pi_1").text("Amount"), Some("2"));
}

#[tokio::test]
async fn writes_of_one_object_are_sequential_and_of_many_concurrent() {
    let one = in_object_mode().await;
    let other = one.replica().set("NOTION_MODE", "object").start().await;
    one.sandbox.fault(FaultRule::always(Fault::Slow { delay_ms: 60 })).unwrap();
    for created in 0..6 {
        for object in ["pi_a", "pi_b", "pi_c"] {
            let service = if created % 2 == 0 { &one } else { &other };
            service
                .post_event(&payment(
                    object,
                    &format!("evt_{object}_{created}"),
                    NOW + created,
                    created * 100,
                ))
                .await;
        }
    }

    within("all are shown", async {
        while one
            .executions()
            .await
            .iter()
            .any(|execution| matches!(execution["status"].as_str(), Some("pending" | "running")))
        {
            assert_eq!(one.database.lanes_that_run_twice().await, 0);
        }
    })
    .await;
    for object in ["pi_a", "pi_b", "pi_c"] {
        assert_eq!(page_of(&one.sandbox.pages(), object).text("Amount"), Some("5"));
    }
    assert!(one.sandbox.peak_concurrency() >= 2);
}

#[tokio::test]
async fn a_lane_that_waits_for_a_retry_keeps_its_order_and_blocks_no_other() {
    let service = Service::builder()
        .set("NOTION_MODE", "object")
        .retry_base(Duration::from_hours(1))
        .template(Template::Full)
        .start()
        .await;
    service.sandbox.fault(FaultRule::once(Fault::Conflict).on(Route::Create)).unwrap();
    service.post_event(&payment("pi_slow", "evt_1", NOW, 100)).await;
    let is_retried = |executions: &[Value]| executions[0]["attempt_count"] == 1;
    service.until("the first has failed", is_retried).await;
    service.post_event(&payment("pi_slow", "evt_2", NOW + 1, 200)).await;
    service.post_event(&payment("pi_quick", "evt_3", NOW, 300)).await;
    let quick_is_done = |executions: &[Value]| executions[2]["status"] == "success";
    let executions = service.until("the other lane is done", quick_is_done).await;
    assert_eq!(statuses(&executions), ["pending", "pending", "success"]);
}

#[tokio::test]
async fn a_permanent_failure_of_the_newest_state_does_not_stop_the_others() {
    let service = in_object_mode().await;
    service.sandbox.fault(FaultRule::once(Fault::Slow { delay_ms: 300 }).on(Route::Create)).unwrap();
    service.post_event(&payment("pi_1", "evt_0", NOW, 100)).await;
    within("the first write is under way", service.sandbox.until(|sandbox| sandbox.page_count() == 1)).await;
    let refused = Fault::Invalid { message: "Not this one.".into() };
    service.sandbox.fault(FaultRule::once(refused).on(Route::Update)).unwrap();
    service.post_event(&payment("pi_1", "evt_1", NOW + 1, 200)).await;
    service.post_event(&payment("pi_1", "evt_2", NOW + 2, 300)).await;
    let executions = service.until_finished(3).await;
    assert_eq!(statuses(&executions), ["success", "success", "failed"]);
    assert!(executions[2]["reason"].as_str().unwrap().contains("Not this one."), "{executions:?}");
    assert_eq!(page_of(&service.sandbox.pages(), "pi_1").text("Amount"), Some("2"));
}

#[tokio::test]
async fn a_late_update_does_not_undo_a_newer_one() {
    let service = Service::builder()
        .set("NOTION_MODE", "object")
        .set("NOTION_SETTLE_SECONDS", "1")
        .template(Template::Full)
        .start()
        .await;
    service.post_event(&payment("pi_1", "evt_1", NOW, 100)).await;
    service.until_finished(1).await;
    service.sandbox.fault(FaultRule::once(Fault::DropThenWrite { delay_ms: 400 }).on(Route::Update)).unwrap();
    service.post_event(&payment("pi_1", "evt_2", NOW + 1, 200)).await;
    within(
        "the update is lost",
        service.sandbox.until(|sandbox| sandbox.requests().iter().any(|request| request.method == "PATCH")),
    )
    .await;
    service.post_event(&payment("pi_1", "evt_3", NOW + 2, 300)).await;
    let executions = service.until_finished(3).await;
    assert_eq!(statuses(&executions), ["success", "superseded", "success"]);
    assert_eq!(page_of(&service.sandbox.pages(), "pi_1").text("Amount"), Some("3"));
}

#[tokio::test]
async fn a_thin_event_does_not_hide_a_written_state() {
    let service = in_object_mode().await;
    service.post_event(&payment("pi_1", "evt_new", NOW + 5, 500)).await;
    service.until_finished(1).await;
    let thin = json!({"id": "evt_thin", "object": "v2.core.event", "type": "v1.payment_intent.succeeded",
                      "livemode": false, "created": "2027-06-01T00:00:00Z",
                      "related_object": {"id": "pi_1", "type": "payment_intent"}});
    let (thin, old) = (thin.to_string(), payment("pi_1", "evt_old", NOW, 100));
    tokio::join!(service.post_event(&old), service.post_event(&thin));
    let executions = service.until_finished(3).await;
    assert!(executions.iter().any(|execution| execution["status"] == "superseded"), "{executions:?}");
    assert_eq!(page_of(&service.sandbox.pages(), "pi_1").text("Amount"), Some("5"));
}

#[tokio::test]
async fn a_lost_last_attempt_does_not_fail_a_newer_state() {
    let service = Service::builder()
        .set("NOTION_MODE", "object")
        .set("RETRY_ATTEMPTS_MAX", "1")
        .template(Template::Full)
        .start()
        .await;
    service.sandbox.fault(FaultRule::once(Fault::DropAfterWrite).on(Route::Create)).unwrap();
    for (event, created) in [("evt_1", 0), ("evt_2", 1), ("evt_3", 2)] {
        service.post_event(&payment("pi_1", event, NOW + created, 100 * (created + 1))).await;
    }
    let executions = service.until_finished(3).await;
    assert!(executions.iter().all(|execution| execution["status"] != "failed"), "{executions:?}");
    assert_eq!(page_of(&service.sandbox.pages(), "pi_1").text("Amount"), Some("3"));
}

#[tokio::test]
async fn a_manual_retry_of_any_event_writes_the_whole_newest_state() {
    for asked_of in [0, 1] {
        let service = in_object_mode().await;
        service.sandbox.add_column(DATA_SOURCE_ID, "Notes", "rich_text").unwrap();
        for (event, created) in [("evt_1", 0), ("evt_2", 1)] {
            service.post_event(&payment("pi_1", event, NOW + created, 100 * (created + 1))).await;
            service.until_finished(usize::try_from(created).unwrap() + 1).await;
        }
        let page = service.sandbox.pages()[0].id;
        let text = |content: &str| json!({"rich_text": [{"text": {"content": content}}]});
        let by_hand = json!({"Amount": {"number": 9}, "ObjectType": {"select": null}, "Notes": text("mine")});
        service.sandbox.edit_page(page, &by_hand).unwrap();
        let execution = service.executions().await.remove(asked_of);
        // A failed attempt does not lose the requested retry.
        service.sandbox.fault(FaultRule::once(Fault::Conflict).on(Route::Update)).unwrap();
        let answer = service.post(&format!("/api/v1/executions/{}/retry", execution["id"])).await;
        assert_eq!(answer.status, 202);
        let executions = service.until_finished(2).await;
        let expected = [["superseded", "success"], ["success", "success"]][asked_of];
        assert_eq!(statuses(&executions), expected);
        let pages = service.sandbox.pages();
        for (column, expected) in [("Amount", "2"), ("ObjectType", "payment_intent"), ("Notes", "mine")] {
            assert_eq!(page_of(&pages, "pi_1").text(column), Some(expected), "{column}");
        }
    }
}

#[tokio::test]
async fn a_manual_retry_of_a_removed_page_reports_it_or_creates_it_again() {
    for (setting, status, pages) in [("skip", "skipped", 1), ("recreate", "success", 2)] {
        let service = Service::builder()
            .set("NOTION_MODE", "object")
            .set("NOTION_REMOVED_PAGES", setting)
            .template(Template::Full)
            .start()
            .await;
        service.post_event(&payment("pi_1", "evt_1", NOW, 100)).await;
        let execution = service.until_finished(1).await.remove(0);
        service.sandbox.trash(service.sandbox.pages()[0].id).unwrap();
        service.post(&format!("/api/v1/executions/{}/retry", execution["id"])).await;
        assert_eq!(statuses(&service.until_finished(1).await), [status]);
        assert_eq!(service.sandbox.pages().len(), pages);
    }
}

#[tokio::test]
async fn a_page_of_a_lost_write_is_found_and_updated() {
    for fault in [Fault::DropAfterWrite, Fault::ErrorAfterWrite { status: 503 }, Fault::Committed] {
        let service = in_object_mode().await;
        service.sandbox.fault(FaultRule::once(fault).on(Route::Create)).unwrap();
        service.post_event(&payment("pi_1", "evt_1", NOW, 100)).await;
        service.post_event(&payment("pi_1", "evt_2", NOW + 1, 200)).await;
        service.until_finished(2).await;
        assert_eq!(page_of(&service.sandbox.pages(), "pi_1").text("Amount"), Some("2"));
    }
}

#[tokio::test]
async fn a_change_of_mode_affects_only_new_executions() {
    let service = Service::builder().template(Template::Full).set("RETRY_ATTEMPTS_MAX", "1").start().await;
    service.sandbox.fault(FaultRule::once(Fault::Conflict).on(Route::Create)).unwrap();
    service.post_event(&payment("pi_1", "evt_1", NOW, 100)).await;
    let failed = service.until_finished(1).await.remove(0);
    let next = service.replica().set("NOTION_MODE", "object");
    service.stop().await;
    let next = next.start().await;
    next.post_event(&payment("pi_1", "evt_2", NOW + 1, 200)).await;
    next.until_finished(2).await;
    next.post(&format!("/api/v1/executions/{}/retry", failed["id"])).await;
    let executions = next.until_finished(2).await;
    assert_eq!(statuses(&executions), ["success", "success"]);
    let mut pages: Vec<_> = next
        .sandbox
        .pages()
        .iter()
        .map(|page| ["EventId", "LastEventId"].map(|column| page.text(column).unwrap_or_default().to_owned()))
        .collect();
    pages.sort();
    assert_eq!(pages, [["", "evt_2"], ["evt_1", "evt_1"]]);
}

#[tokio::test]
async fn a_retry_of_a_delivered_state_can_fail() {
    let service = in_object_mode().await;
    for (number, event) in ["evt_1", "evt_2"].into_iter().enumerate() {
        service.post_event(&payment("pi_1", event, NOW + i64::try_from(number).unwrap(), 100)).await;
        service.until_finished(number + 1).await;
    }
    let invalid = Fault::Invalid { message: "This one is refused.".into() };
    service.sandbox.fault(FaultRule::always(invalid).on(Route::Update)).unwrap();
    let older = service.executions().await[0]["id"].clone();
    assert_eq!(service.post(&format!("/api/v1/executions/{older}/retry")).await.status, 202);
    let executions = service.until_finished(2).await;
    assert_eq!(statuses(&executions), ["failed", "success"], "the newest state is unchanged");
    assert!(executions[0]["reason"].as_str().unwrap().contains("This one is refused."), "{executions:?}");
    assert_eq!(executions[0]["attempt_count"], 1);
    let detail = service.get(&format!("/api/v1/executions/{older}")).await.json();
    assert_eq!(detail["attempts"][0]["outcome"], "permanent");
    let groups = service.get("/api/v1/failures").await.json();
    assert_eq!(groups["data"][0]["count"], 1, "{groups}");
    assert!(groups["data"][0]["remedy"].as_str().unwrap().contains("Correct its type"), "{groups}");
}

/// A plan with an id that its user chose.
fn plan(event: &str, account: Option<&str>, livemode: bool, created: i64) -> String {
    json!({"id": event, "object": "event", "type": "plan.updated", "created": created, "account": account,
           "livemode": livemode, "data": {"object": {"id": "gold", "object": "plan", "amount": 100,
           "currency": "eur", "nickname": event, "livemode": livemode}}})
    .to_string()
}

async fn in_both_modes() -> Service {
    Service::builder()
        .set("NOTION_MODE", "object")
        .set("NOTION_LIVEMODE", "all")
        .template(Template::Full)
        .start()
        .await
}

/// Checks that the pages of this id show exactly these events, each once, and that none is in the trash.
fn show_these(pages: &[SandboxPage], object: &str, events: &[&str]) {
    assert!(pages.iter().all(|page| !page.in_trash && page.text("ObjectId") == Some(object)), "{pages:?}");
    let mut last: Vec<_> = pages.iter().map(|page| page.text("LastEventId").unwrap()).collect();
    last.sort_unstable();
    assert_eq!(last, events);
}

#[tokio::test]
async fn objects_with_one_id_in_both_modes_and_two_accounts_have_a_page_each() {
    let service = in_both_modes().await;
    let owners = [(None, true), (None, false), (Some("acct_1"), true)];
    for round in 0..2 {
        for (number, (account, livemode)) in (0..).zip(owners) {
            let event = format!("evt_{round}_{number}");
            service.post_event(&plan(&event, account, livemode, NOW + round)).await;
            service.until_finished(usize::try_from(round * 3 + number + 1).unwrap()).await;
        }
    }
    show_these(&service.sandbox.pages(), "gold", &["evt_1_0", "evt_1_1", "evt_1_2"]);
}

#[tokio::test]
async fn concurrent_objects_with_one_id_have_a_page_each() {
    let service = in_both_modes().await;
    service.sandbox.fault(FaultRule::always(Fault::Slow { delay_ms: 150 }).on(Route::Create)).unwrap();
    service.sandbox.fault(FaultRule::always(Fault::Slow { delay_ms: 150 }).on(Route::Query)).unwrap();
    // The first object's page exists but is not yet recorded as its own.
    service.post_event(&plan("evt_0_a", None, true, NOW)).await;
    within("the first page is being created", service.sandbox.until(|sandbox| sandbox.page_count() == 1))
        .await;
    service.post_event(&plan("evt_0_b", None, false, NOW)).await;
    service.post_event(&plan("evt_0_c", Some("acct_1"), true, NOW)).await;
    let executions = service.until_finished(3).await;
    assert_eq!(statuses(&executions), ["success"; 3]);
    service.sandbox.clear_faults();
    for (event, account, livemode) in
        [("evt_1_a", None, true), ("evt_1_b", None, false), ("evt_1_c", Some("acct_1"), true)]
    {
        service.post_event(&plan(event, account, livemode, NOW + 1)).await;
    }
    service.until_finished(6).await;
    show_these(&service.sandbox.pages(), "gold", &["evt_1_a", "evt_1_b", "evt_1_c"]);
}

#[tokio::test]
async fn a_page_with_a_write_in_doubt_is_used_by_no_other_object_with_its_id() {
    let service = Service::builder()
        .set("NOTION_MODE", "object")
        .set("NOTION_LIVEMODE", "all")
        .set("NOTION_SETTLE_SECONDS", "1")
        .template(Template::Full)
        .start()
        .await;
    service.sandbox.fault(FaultRule::once(Fault::DropThenWrite { delay_ms: 400 }).on(Route::Create)).unwrap();
    service.post_event(&plan("evt_a", None, true, NOW)).await;
    within("the first write is lost", service.sandbox.until(|sandbox| sandbox.faults().is_empty())).await;
    service.post_event(&plan("evt_b", None, false, NOW)).await;
    let executions = service.until_finished(2).await;
    assert_eq!(statuses(&executions), ["success"; 2]);
    show_these(&service.sandbox.pages(), "gold", &["evt_a", "evt_b"]);
}

#[tokio::test]
async fn objects_with_one_id_and_different_types_have_a_page_each() {
    let service = in_object_mode().await;
    let types = ["coupon", "plan", "product"];
    for (number, kind) in types.into_iter().enumerate() {
        let event = json!({"id": format!("evt_{kind}"), "object": "event", "type": format!("{kind}.created"),
                           "created": NOW, "livemode": false,
                           "data": {"object": {"id": "starter", "object": kind}}});
        service.post_event(&event.to_string()).await;
        service.until_finished(number + 1).await;
    }
    show_these(&service.sandbox.pages(), "starter", &["evt_coupon", "evt_plan", "evt_product"]);
}

#[tokio::test]
async fn a_removed_column_fails_neither_a_lookup_nor_a_write() {
    let service = in_object_mode().await;
    let described = |event: &str, created: i64, description: Option<&str>| {
        json!({"id": event, "object": "event", "type": "payment_intent.processing", "created": created,
               "livemode": false, "data": {"object": {"id": "pi_1", "object": "payment_intent", "amount": 100,
               "currency": "eur", "status": "processing", "description": description}}})
        .to_string()
    };
    service.post_event(&described("evt_1", NOW, Some("a chair"))).await;
    service.until_finished(1).await;
    // It contains no data of an object, but the lookup names it.
    service.sandbox.remove_column(DATA_SOURCE_ID, "EventId").unwrap();
    service.post_event(&payment("pi_2", "evt_2", NOW, 100)).await;
    let executions = service.until_finished(2).await;
    assert_eq!(statuses(&executions), ["success"; 2], "{executions:?}");
    service.sandbox.remove_column(DATA_SOURCE_ID, "Description").unwrap();
    service.post_event(&described("evt_3", NOW + 1, None)).await;
    let executions = service.until_finished(3).await;
    assert_eq!(statuses(&executions), ["success"; 3], "{executions:?}");
    assert_eq!(page_of(&service.sandbox.pages(), "pi_1").text("LastEventId"), Some("evt_3"));
}

#[tokio::test]
async fn an_object_finds_its_page_among_many_with_the_same_id() {
    let service = in_both_modes().await;
    for number in 0..21 {
        service
            .post_event(&plan(&format!("evt_{number:02}"), Some(&format!("acct_{number}")), true, NOW))
            .await;
        service.until_finished(number + 1).await;
    }
    service.sandbox.fault(FaultRule::once(Fault::DropAfterWrite).on(Route::Create)).unwrap();
    service.post_event(&plan("evt_21", Some("acct_21"), true, NOW)).await;
    service.until_finished(22).await;
    let expected: Vec<_> = (0..22).map(|number| format!("evt_{number:02}")).collect();
    show_these(&service.sandbox.pages(), "gold", &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_value_set_only_by_a_write_in_doubt_is_removed() {
    let state = |event: &str, created: i64, description: Option<&str>| {
        json!({"id": event, "object": "event", "type": "payment_intent.processing", "created": created,
               "livemode": false, "data": {"object": {"id": "pi_1", "object": "payment_intent", "amount": 100,
               "currency": "eur", "status": "processing", "description": description}}})
        .to_string()
    };
    for lost in [Route::Update, Route::Create] {
        let service = Service::builder()
            .set("NOTION_MODE", "object")
            .set("NOTION_SETTLE_SECONDS", "1")
            .template(Template::Full)
            .start()
            .await;
        service.sandbox.add_column(DATA_SOURCE_ID, "Notes", "rich_text").unwrap();
        let mut events = vec![state("evt_2", NOW + 1, Some("a chair")), state("evt_3", NOW + 2, None)];
        if lost == Route::Update {
            service.post_event(&state("evt_1", NOW, None)).await;
            service.until_finished(1).await;
        }
        service.sandbox.fault(FaultRule::once(Fault::DropAfterWrite).on(lost)).unwrap();
        service.post_event(&events.remove(0)).await;
        within("its response is lost", service.sandbox.until(|sandbox| sandbox.faults().is_empty())).await;
        let id = service.sandbox.pages()[0].id;
        let by_hand = json!({"Notes": {"rich_text": [{"text": {"content": "call them"}}]},
                             "CustomerEmail": {"email": "jane@example.com"}});
        service.sandbox.edit_page(id, &by_hand).unwrap();
        service.post_event(&events.remove(0)).await;
        service.until_finished(if lost == Route::Update { 3 } else { 2 }).await;
        let pages = service.sandbox.pages();
        let page = page_of(&pages, "pi_1");
        for (column, expected) in [
            ("LastEventId", Some("evt_3")),
            ("Description", None),
            ("Notes", Some("call them")),
            ("CustomerEmail", Some("jane@example.com")),
        ] {
            assert_eq!(page.text(column), expected, "{lost:?}: {column}");
        }
    }
}
