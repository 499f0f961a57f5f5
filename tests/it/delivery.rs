//! From the committed row to the page: exactly one, despite faults.

use crate::harness::rows::Set;
use crate::harness::{NOW, Service, rows, within};
use eventbridge::app::Role;
use eventbridge::config::RetrySettings;
use eventbridge::domain::execution::ExecutionId;
use eventbridge::store::{
    Activity, Ask, ClaimRequest, Position, RescueScope, Rescued, Settlement, WorkClass,
};
use notion_sandbox::{Author, DATA_SOURCE_ID, Fault, FaultRule, Route, SandboxHandle, SandboxPage, Template};
use serde_json::{Value, json};
use std::time::Duration;

/// Declares every worker dead.
const SILENT: RescueScope<'_> =
    RescueScope { silence: Some(Duration::ZERO), myself: None, held: &[], thorough: true };

fn all(class: WorkClass) -> [Ask; 1] {
    [Ask { destination: "notion".to_owned(), class, from: Position::START, until: None, most: 10 }]
}

fn wanted(asks: &[Ask]) -> ClaimRequest<'_> {
    ClaimRequest { limit: 10, ..ClaimRequest::one(asks) }
}

fn ids(freed: &[Rescued]) -> Vec<ExecutionId> {
    freed.iter().map(|execution| execution.id).collect()
}

fn payment() -> stripe_samples::Sample {
    stripe_samples::make("payment_intent.succeeded", 7, chrono::DateTime::from_timestamp(NOW, 0).unwrap())
        .unwrap()
}

/// Sends one payment and waits until its execution has finished.
async fn deliver(service: &Service) -> Value {
    assert_eq!(service.post_event(&payment().body).await.status, 200);
    service.until_finished(1).await.remove(0)
}

/// Delivers one payment despite a fault, and checks that exactly one page exists.
async fn one_page_despite(rule: FaultRule) -> (Service, Value) {
    let service = Service::start().await;
    service.sandbox.fault(rule).unwrap();
    let execution = deliver(&service).await;
    assert_eq!(execution["status"], "success", "{execution}");
    let pages = service.sandbox.pages();
    assert_eq!(pages.len(), 1, "{pages:?}");
    assert_eq!(execution["remote_id"], pages[0].id.to_string());
    (service, execution)
}

async fn outcomes(service: &Service, execution: &Value) -> Vec<String> {
    let detail = service.get(&format!("/api/v1/executions/{}", execution["id"])).await.json();
    let attempts = detail["attempts"].as_array().unwrap().iter().rev();
    attempts.map(|attempt| attempt["outcome"].as_str().unwrap().to_owned()).collect()
}

async fn retry(service: &Service, execution: &Value) -> crate::harness::Answer {
    service.post(&format!("/api/v1/executions/{}/retry", execution["id"])).await
}

fn cell<'a>(page: &'a SandboxPage, column: &str) -> &'a str {
    page.text(column).unwrap_or_default()
}

#[tokio::test]
async fn the_nine_original_columns_need_no_configuration_and_one_request() {
    let service = Service::start().await;
    let execution = deliver(&service).await;
    let page = service.sandbox.pages().remove(0);
    for (column, expected) in [
        ("EventId", payment().event_id.as_str()),
        ("EventType", "payment_intent.succeeded"),
        ("Source", "stripe"),
        ("Status", "success"),
        ("CustomerEmail", "customer-7@example.com"),
        ("InvoiceNumber", ""),
        ("Currency", "EUR"),
        ("Amount", "17.45"),
    ] {
        assert_eq!(cell(&page, column), expected, "{column}");
    }
    assert!(cell(&page, "Customer").starts_with("cus_"));
    assert_eq!(execution["remote_url"], page.json["url"]);
    assert_eq!(
        (execution["response_code"].clone(), execution["attempt_count"].clone()),
        (json!(200), json!(1))
    );
    let writes = service.sandbox.requests().iter().filter(|request| request.path == "/v1/pages").count();
    let lookups =
        service.sandbox.requests().iter().filter(|request| request.path.ends_with("/query")).count();
    assert_eq!((writes, lookups), (1, 0));
    assert_eq!(outcomes(&service, &execution).await, ["delivered"]);
}

#[tokio::test]
async fn a_default_notion_database_only_needs_a_text_column_event_id() {
    let service = Service::builder().template(Template::Plain).start().await;
    deliver(&service).await;
    let page = service.sandbox.pages().remove(0);
    assert_eq!(cell(&page, "EventId"), payment().event_id);
    assert_eq!(cell(&page, "Name"), "Payment succeeded · EUR 17.45 · customer-7@example.com");
}

#[tokio::test]
async fn an_event_without_details_gets_a_page_too() {
    let service = Service::start().await;
    let deep = format!(r#"{{"id":"evt_deep","type":"x","data":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    for body in [r#"{"id":"evt_bare"}"#, &deep] {
        assert_eq!(service.post_event(body).await.status, 200);
    }
    let executions = service.until_finished(2).await;
    assert!(executions.iter().all(|execution| execution["status"] == "success"), "{executions:?}");
    assert_eq!(service.sandbox.page_count(), 2);
}

#[tokio::test]
async fn an_error_before_the_write_is_retried_and_leaves_one_page() {
    for fault in [
        Fault::Error { status: 500 },
        Fault::Error { status: 503 },
        Fault::Html,
        Fault::Drop,
        Fault::Conflict,
    ] {
        let (service, execution) = one_page_despite(FaultRule::once(fault).on(Route::Create)).await;
        assert_eq!(execution["attempt_count"], 2, "the failed one and the one that delivered it");
        let mut tries = outcomes(&service, &execution).await;
        // A claim that begins while the failure is being recorded comes before the retry delay of a
        // millisecond has passed: that attempt searches, writes nothing, and is not counted.
        tries.retain(|outcome| outcome != "in_doubt");
        assert_eq!(tries.len(), 2, "{tries:?}");
    }
}

#[tokio::test]
async fn an_error_after_the_write_is_detected_and_not_written_again() {
    for fault in [
        Fault::ErrorAfterWrite { status: 500 },
        Fault::ErrorAfterWrite { status: 503 },
        Fault::DropAfterWrite,
    ] {
        let (service, execution) = one_page_despite(FaultRule::once(fault).on(Route::Create)).await;
        assert_eq!(outcomes(&service, &execution).await, ["ambiguous", "delivered"]);
    }
}

#[tokio::test]
async fn a_page_named_by_the_error_counts_as_written() {
    let (service, execution) = one_page_despite(FaultRule::once(Fault::Committed).on(Route::Create)).await;
    assert_eq!(outcomes(&service, &execution).await, ["delivered"]);
    assert_eq!(execution["response_code"], 503);
}

#[tokio::test]
async fn a_second_page_that_the_error_names_is_merged_with_a_first_one_that_lands_late() {
    for mode in ["event", "object"] {
        // Soon after its creation, a query may not show the page yet.
        for lag_ms in [0, 60_000] {
            let service = Service::builder()
                .set("NOTION_MODE", mode)
                .set("NOTION_SETTLE_SECONDS", "1")
                .template(Template::Full)
                .start()
                .await;
            let late = Fault::DropThenWrite { delay_ms: 1300 };
            service.sandbox.fault(FaultRule::once(late).on(Route::Create)).unwrap();
            service.post_event(&payment_of("evt_1", 100)).await;
            let is_sent = |sandbox: &SandboxHandle| sandbox.faults().is_empty();
            within("the first write is in doubt", service.sandbox.until(is_sent)).await;
            // The first write lands while the second one has no answer yet.
            for fault in
                [Fault::Slow { delay_ms: 900 }, Fault::QueryLag { delay_ms: lag_ms }, Fault::Committed]
            {
                service.sandbox.fault(FaultRule::once(fault).on(Route::Create)).unwrap();
            }
            let execution = service.until_finished(1).await.remove(0);
            assert_eq!(execution["status"], "success", "{mode}, {lag_ms}: {execution}");
            let pages = service.sandbox.pages();
            let left: Vec<_> = pages.iter().filter(|page| !page.in_trash).collect();
            assert_eq!((pages.len(), left.len()), (2, 1), "{mode}, {lag_ms}");
            assert_eq!(execution["remote_id"], left[0].id.to_string(), "{mode}, {lag_ms}");
            assert_eq!(left[0].text("Amount"), Some("1"), "{mode}, {lag_ms}");
        }
    }
}

#[tokio::test]
async fn a_write_that_lands_after_its_connection_broke_leaves_one_page() {
    let service = Service::builder().set("NOTION_SETTLE_SECONDS", "1").start().await;
    let late = Fault::DropThenWrite { delay_ms: 200 };
    service.sandbox.fault(FaultRule::once(late).on(Route::Create)).unwrap();
    let execution = deliver(&service).await;
    assert_eq!(execution["status"], "success");
    assert_eq!(service.sandbox.page_count(), 1);
    assert_eq!(outcomes(&service, &execution).await, ["ambiguous", "in_doubt", "delivered"]);
}

#[tokio::test]
async fn a_failed_page_lookup_writes_nothing() {
    let service = Service::start().await;
    service.sandbox.fault(FaultRule::once(Fault::DropAfterWrite).on(Route::Create)).unwrap();
    service.sandbox.fault(FaultRule::once(Fault::Error { status: 500 }).on(Route::Query).times(2)).unwrap();
    let execution = deliver(&service).await;
    assert_eq!(execution["status"], "success");
    assert_eq!(service.sandbox.page_count(), 1);
    assert_eq!(outcomes(&service, &execution).await, ["ambiguous", "transient", "transient", "delivered"]);
}

#[tokio::test]
async fn a_rate_limited_attempt_is_not_counted() {
    for fault in [
        Fault::RateLimited { retry_after: Some(0), blocked: false },
        Fault::WorkspaceLimited { retry_after: 0 },
        Fault::Overloaded { retry_after: Some(0) },
    ] {
        let (service, execution) = one_page_despite(FaultRule::once(fault).on(Route::Create).times(3)).await;
        assert_eq!(execution["attempt_count"], 1);
        assert_eq!(
            outcomes(&service, &execution).await,
            ["throttled", "throttled", "throttled", "delivered"]
        );
    }
}

#[tokio::test]
async fn while_other_connections_use_up_the_workspaces_limit_deliveries_wait_for_its_next_window() {
    let service = Service::start().await;
    let window = Duration::from_secs(2);
    service.sandbox.set_workspace_rate(Some(4), window, 3);
    let execution = deliver(&service).await;
    assert_eq!((&execution["status"], &execution["attempt_count"]), (&json!("success"), &json!(1)));
    let requests = service.sandbox.requests();
    let refused = requests.iter().filter(|request| request.status == Some(429)).count();
    assert_eq!(refused, 1, "one refusal, and nothing more before the next window: {requests:?}");
    assert_eq!(service.sandbox.page_count(), 1);
}

#[tokio::test]
async fn a_permanent_error_fails_with_its_reason_and_can_be_retried() {
    let service = Service::start().await;
    let invalid = Fault::Invalid { message: "This one is refused.".into() };
    service.sandbox.fault(FaultRule::once(invalid).on(Route::Create)).unwrap();
    let execution = deliver(&service).await;
    assert_eq!(execution["status"], "failed");
    assert_eq!(execution["error_class"], "validation_error");
    assert!(execution["reason"].as_str().unwrap().contains("This one is refused."), "{execution}");
    let creates = service.sandbox.requests().iter().filter(|request| request.path == "/v1/pages").count();
    assert_eq!(creates, 1, "the columns are unchanged, so it is not sent again");

    let answer = retry(&service, &execution).await;
    assert_eq!((answer.status.as_u16(), answer.json()["id"].clone()), (202, execution["id"].clone()));
    assert_eq!(service.until_finished(1).await[0]["status"], "success");
    assert_eq!(service.sandbox.page_count(), 1);
}

/// The statuses of the requests that created pages or read the columns, and forgets them.
fn answers(service: &Service) -> Vec<u16> {
    let statuses = service.sandbox.requests().iter().filter_map(|request| request.status).collect();
    service.sandbox.clear_requests();
    statuses
}

/// A payment of this amount in cents.
fn payment_of(event: &str, cents: u32) -> String {
    json!({"id": event, "object": "event", "type": "payment_intent.succeeded", "created": NOW, "livemode": false,
           "data": {"object": {"id": event.replace("evt", "pi"), "object": "payment_intent", "amount": cents,
           "amount_received": cents, "currency": "eur", "status": "succeeded"}}})
    .to_string()
}

#[tokio::test]
async fn a_value_that_notion_refuses_costs_neither_the_page_nor_the_next_one_a_request() {
    let service = Service::start().await;
    deliver(&service).await;
    let message = "Amount is expected to be number.".to_owned();
    let refuse = FaultRule::always(Fault::Invalid { message }).on(Route::Create).containing("\"Amount\"");
    service.sandbox.fault(refuse).unwrap();
    answers(&service);
    for (number, (event, cents, expected)) in [
        ("evt_1", 500, vec![400, 200, 200]),
        // The same value, another one, and then all of them are left out.
        ("evt_2", 500, vec![200]),
        ("evt_3", 700, vec![400, 200, 200]),
        ("evt_4", 900, vec![200]),
    ]
    .into_iter()
    .enumerate()
    {
        service.post_event(&payment_of(event, cents)).await;
        let execution = service.until_finished(number + 2).await.remove(number + 1);
        assert_eq!(execution["status"], "success", "{execution}");
        assert!(execution["reason"].as_str().unwrap().contains("\"Amount\": Notion refuses"), "{execution}");
        assert_eq!(answers(&service), expected, "{event}");
        let pages = service.sandbox.pages();
        let page = pages.iter().find(|page| page.text("EventId") == Some(event)).unwrap();
        assert_eq!((cell(page, "Amount"), cell(page, "Currency")), ("", "EUR"), "{event}");
        let why = service.get(&format!("/executions/{}", execution["id"])).await.body;
        assert!(why.contains("Notion refuses the value"), "{why}");
        let shown = service.get(&format!("/api/v1/executions/{}/preview", execution["id"])).await.json();
        assert!(shown["notes"][0].as_str().unwrap().contains("Amount"), "{shown}");
    }
}

#[tokio::test]
async fn a_page_is_written_however_many_of_its_columns_are_refused_one_after_another() {
    let service = Service::start().await;
    let refused = ["Amount", "Currency", "Customer", "CustomerEmail", "EventType", "Source"];
    for column in refused {
        let invalid = Fault::Invalid { message: format!("{column} is expected to be checkbox.") };
        let refuse = FaultRule::always(invalid).on(Route::Create).containing(&format!("\"{column}\""));
        service.sandbox.fault(refuse).unwrap();
    }
    let execution = deliver(&service).await;
    assert_eq!(execution["status"], "success", "{execution}");
    let page = service.sandbox.pages().remove(0);
    for column in refused {
        assert_eq!(cell(&page, column), "");
        let reason = execution["reason"].as_str().unwrap();
        assert!(reason.contains(&format!("\"{column}\": Notion refuses")), "{reason}");
    }
    assert_eq!((cell(&page, "EventId"), cell(&page, "Status")), (payment().event_id.as_str(), "success"));
}

#[tokio::test]
async fn a_full_select_leaves_out_new_options_and_takes_those_that_it_has() {
    let service = Service::builder().template(Template::Full).start().await;
    let option = |name: &str| json!({"EventType": {"select": {"name": name}}});
    let fill = |name: &str| service.sandbox.add_page(DATA_SOURCE_ID, &option(name), Author::Person);
    fill("payment_intent.created").unwrap();
    let is_full = (0..10_000).any(|number| fill(&format!("{number:0>100}")).is_err());
    assert!(is_full);
    for (number, (event, is_shown)) in
        [("payment_intent.succeeded", false), ("payment_intent.created", true)].into_iter().enumerate()
    {
        let body = payment_of(&format!("evt_{number}"), 500).replace("payment_intent.succeeded", event);
        service.post_event(&body).await;
        let execution = service.until_finished(number + 1).await.remove(number);
        assert_eq!(execution["status"], "success", "{execution}");
        let reason = execution["reason"].as_str().unwrap_or_default();
        assert_eq!(
            reason.contains("\"EventType\": the table can hold no more options"),
            !is_shown,
            "{reason}"
        );
        let pages = service.sandbox.pages();
        let page = pages.iter().find(|page| page.text("EventId") == Some(&format!("evt_{number}"))).unwrap();
        assert_eq!(page.text("EventType"), is_shown.then_some(event));
    }
}

#[tokio::test]
async fn a_page_is_written_without_a_status_whose_option_is_refused() {
    let service = Service::builder().template(Template::Full).start().await;
    let message = "Invalid status option. Status option \"success\" does not exist.".to_owned();
    let refuse = FaultRule::always(Fault::Invalid { message }).on(Route::Create).containing("\"status\"");
    service.sandbox.fault(refuse).unwrap();
    let execution = deliver(&service).await;
    assert_eq!(execution["status"], "success", "{execution}");
    assert!(execution["reason"].as_str().unwrap().contains("\"Status\""), "{execution}");
    assert_eq!(cell(&service.sandbox.pages()[0], "Status"), "");
}

#[tokio::test]
async fn a_manual_retry_resets_the_attempt_limit() {
    let service = Service::builder().set("RETRY_ATTEMPTS_MAX", "3").start().await;
    service.sandbox.fault(FaultRule::always(Fault::Conflict).on(Route::Create)).unwrap();
    let execution = deliver(&service).await;
    assert_eq!(
        (execution["status"].clone(), execution["attempt_count"].clone()),
        (json!("failed"), json!(3))
    );
    assert_eq!(outcomes(&service, &execution).await, ["transient"; 3]);
    service.sandbox.clear_faults();
    assert_eq!(retry(&service, &execution).await.status, 202);
    let execution = service.until_finished(1).await.remove(0);
    assert_eq!(
        (execution["status"].clone(), execution["attempt_count"].clone()),
        (json!("success"), json!(1))
    );
}

#[tokio::test]
async fn a_retry_of_a_delivered_execution_updates_its_page() {
    let service = Service::start().await;
    let execution = deliver(&service).await;
    let page = service.sandbox.pages()[0].id;
    service.sandbox.edit_page(page, &json!({"Amount": {"number": 1}})).unwrap();
    for _ in 0..2 {
        assert_eq!(retry(&service, &execution).await.status, 202);
        assert_eq!(service.until_finished(1).await[0]["status"], "success");
    }
    let pages = service.sandbox.pages();
    assert_eq!((pages.len(), pages[0].id), (1, page));
    assert_eq!(cell(&pages[0], "Amount"), "17.45");
}

#[tokio::test]
async fn a_page_of_which_the_answer_has_only_the_id_is_delivered_and_written_again() {
    let service = Service::start().await;
    for route in [Route::Create, Route::Update] {
        service.sandbox.fault(FaultRule::always(Fault::Partial).on(route)).unwrap();
    }
    let execution = deliver(&service).await;
    assert_eq!(execution["status"], "success", "{execution}");
    for _ in 0..2 {
        assert_eq!(retry(&service, &execution).await.status, 202);
        assert_eq!(service.until_finished(1).await[0]["status"], "success");
    }
    let pages = service.sandbox.pages();
    assert_eq!((pages.len(), json!(pages[0].id.to_string())), (1, execution["remote_id"].clone()));
}

#[tokio::test]
async fn a_page_that_is_written_again_loses_the_figures_that_its_event_does_not_have_and_no_text() {
    let service = Service::builder().template(Template::Full).start().await;
    service.sandbox.add_column(DATA_SOURCE_ID, "Notes", "rich_text").unwrap();
    // A payment intent is never counted; the charge is.
    let execution = deliver(&service).await;
    let page = service.sandbox.pages()[0].id;
    let text = |text: &str| json!({"rich_text": [{"text": {"content": text}}]});
    let edits = json!({"Collected": {"number": 49.99}, "DueAt": {"date": {"start": "2027-01-01"}},
        "Reason": text("a person's"), "Notes": text("call them"), "Outcome": {"select": {"name": "Lost"}}});
    service.sandbox.edit_page(page, &edits).unwrap();
    let shown = service.get(&format!("/api/v1/executions/{}/preview", execution["id"])).await.json();
    assert_eq!(retry(&service, &execution).await.status, 202);
    assert_eq!(service.until_finished(1).await[0]["status"], "success");
    let pages = service.sandbox.pages();
    let texts = ["Collected", "DueAt", "Reason", "Notes", "Outcome"].map(|column| cell(&pages[0], column));
    assert_eq!(texts, ["", "", "a person's", "call them", "Paid"], "{}", pages[0].json);
    let requests = service.sandbox.requests();
    let update = requests.iter().rfind(|request| request.method == "PATCH").unwrap();
    assert_eq!(shown["requests"][0]["body"], *update.body, "as the preview showed it");
    assert_eq!(update.body["properties"]["Collected"], json!({"number": null}));
}

#[tokio::test]
async fn a_retry_is_skipped_if_a_user_trashed_the_page() {
    let service = Service::start().await;
    let execution = deliver(&service).await;
    service.sandbox.trash(service.sandbox.pages()[0].id).unwrap();
    assert_eq!(retry(&service, &execution).await.status, 202);
    let execution = service.until_finished(1).await.remove(0);
    assert_eq!(execution["status"], "skipped");
    assert!(execution["reason"].as_str().unwrap().contains("removed in Notion"), "{execution}");
    assert_eq!(service.sandbox.pages().len(), 1);
}

#[tokio::test]
async fn a_page_that_was_moved_to_another_table_is_left_alone() {
    let service = Service::start().await;
    let execution = deliver(&service).await;
    let (_, elsewhere) = service.sandbox.add_database(Template::Plain).unwrap();
    service.sandbox.move_page(service.sandbox.pages()[0].id, elsewhere).unwrap();
    assert_eq!(retry(&service, &execution).await.status, 202);
    let execution = service.until_finished(1).await.remove(0);
    assert_eq!(execution["status"], "skipped", "{execution}");
    assert!(execution["reason"].as_str().unwrap().contains("moved to another table"), "{execution}");
    // Nothing is left out of the pages that are where they were.
    service.post_event(&payment().body.replace(&payment().event_id, "evt_next")).await;
    assert_eq!(service.until_finished(2).await[1]["reason"], Value::Null);
}

#[tokio::test]
async fn a_running_execution_cannot_be_retried() {
    let service = Service::start().await;
    service.sandbox.fault(FaultRule::always(Fault::Slow { delay_ms: 60_000 }).on(Route::Create)).unwrap();
    service.post_event(&payment().body).await;
    within("the write is under way", service.sandbox.until(|sandbox| sandbox.page_count() == 1)).await;
    let execution = service.executions().await.remove(0);
    let answer = retry(&service, &execution).await;
    assert_eq!(answer.problem(409), "not_retryable");
    assert!(answer.json()["detail"].as_str().unwrap().contains("a worker runs it now"), "{answer:?}");
}

#[tokio::test]
async fn a_renamed_column_and_a_new_column_are_filled() {
    let service = Service::start().await;
    deliver(&service).await;
    service.sandbox.rename_column(DATA_SOURCE_ID, "Amount", "Betrag").unwrap();
    service.sandbox.add_column(DATA_SOURCE_ID, "Outcome", "select").unwrap();
    // The columns are read again when Notion rejects one of them.
    service.sandbox.remove_column(DATA_SOURCE_ID, "Customer").unwrap();
    assert_eq!(
        service.post_event(&payment().body.replace(&payment().event_id, "evt_next")).await.status,
        200
    );
    let executions = service.until_finished(2).await;
    assert_eq!(executions[1]["status"], "success", "{executions:?}");
    let pages = service.sandbox.pages();
    let page = pages.iter().find(|page| page.text("EventId") == Some("evt_next")).unwrap();
    assert_eq!((cell(page, "Betrag"), cell(page, "Outcome")), ("17.45", "Paid"));
}

#[tokio::test]
async fn of_two_columns_with_one_name_the_usable_one_is_filled() {
    let service = Service::builder().template(Template::Full).start().await;
    service.sandbox.retype_column(DATA_SOURCE_ID, "Amount", "formula").unwrap();
    service.sandbox.add_column(DATA_SOURCE_ID, "amount", "number").unwrap();
    let execution = deliver(&service).await;
    assert_eq!((&execution["status"], &execution["reason"]), (&json!("success"), &Value::Null));
    assert_eq!(cell(&service.sandbox.pages()[0], "amount"), "17.45");
}

#[tokio::test]
async fn a_renamed_column_costs_one_refused_request() {
    let service = Service::start().await;
    deliver(&service).await;
    service.sandbox.rename_column(DATA_SOURCE_ID, "Amount", "Betrag").unwrap();
    service.sandbox.clear_requests();
    service.post_event(&payment().body.replace(&payment().event_id, "evt_next")).await;
    assert_eq!(service.until_finished(2).await[1]["status"], "success");
    let statuses: Vec<_> = service.sandbox.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [Some(400), Some(200), Some(200)], "the page, the columns, the page");
    let pages = service.sandbox.pages();
    let page = pages.iter().find(|page| page.text("EventId") == Some("evt_next")).unwrap();
    assert_eq!(cell(page, "Betrag"), "17.45");
}

#[tokio::test]
async fn a_value_goes_to_its_column_even_if_another_one_took_the_name() {
    let service = Service::start().await;
    deliver(&service).await;
    // Both are text, so that Notion accepts what is written under the wrong name.
    service.sandbox.rename_column(DATA_SOURCE_ID, "Currency", "Spare").unwrap();
    service.sandbox.rename_column(DATA_SOURCE_ID, "Source", "Currency").unwrap();
    service.sandbox.rename_column(DATA_SOURCE_ID, "Spare", "Source").unwrap();
    service.post_event(&payment().body.replace(&payment().event_id, "evt_next")).await;
    assert_eq!(service.until_finished(2).await[1]["status"], "success");
    for page in service.sandbox.pages() {
        assert_eq!((cell(&page, "Source"), cell(&page, "Currency")), ("EUR", "stripe"), "{}", page.json);
    }
}

#[tokio::test]
async fn a_renamed_column_is_filled_after_a_restart() {
    let service = Service::start().await;
    deliver(&service).await;
    service.sandbox.rename_column(DATA_SOURCE_ID, "Amount", "Betrag").unwrap();
    let next = service.replica();
    service.stop().await;
    let next = next.start().await;
    assert_eq!(next.post_event(&payment().body.replace(&payment().event_id, "evt_next")).await.status, 200);
    next.until_finished(2).await;
    let pages = next.sandbox.pages();
    let page = pages.iter().find(|page| page.text("EventId") == Some("evt_next")).unwrap();
    assert_eq!(cell(page, "Betrag"), "17.45");
}

#[tokio::test]
async fn a_lease_whose_claim_got_no_response_is_freed_by_its_own_worker() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let other = service.replica().start().await;
    deliver(&other).await;
    other.stop().await;
    service.database.change(rows::executions().set(&[Set::Status("pending")])).await;
    let store = service.database.store();
    let worker = store.queue.register_worker().await.unwrap();
    let claimed = store.queue.claim(worker, wanted(&all(WorkClass::Fresh))).await.unwrap().remove(0);
    let known = [claimed.fence];
    let watch = |held| RescueScope { silence: None, myself: Some(worker), held, thorough: true };
    assert!(store.queue.rescue(watch(&[])).await.unwrap().is_empty(), "the response may still be on its way");
    service.database.change(rows::age_leases(Duration::from_mins(2))).await;
    assert!(
        store.queue.rescue(watch(&known)).await.unwrap().is_empty(),
        "the process knows that it holds it"
    );
    assert_eq!(ids(&store.queue.rescue(watch(&[])).await.unwrap()), [claimed.id]);
}

#[tokio::test]
async fn an_operator_error_pauses_the_destination_until_fixed_and_costs_no_attempt() {
    for (fault, class, remedy) in [
        (Fault::Unauthorized, "unauthorized", "NOTION_API_KEY"),
        (Fault::Unshared, "object_not_found", "Connections"),
    ] {
        let service = Service::start().await;
        service.sandbox.fault(FaultRule::always(fault)).unwrap();
        for number in 0..20 {
            service.post_event(&json!({"id": format!("evt_{number}")}).to_string()).await;
        }
        let names_remedy = |executions: &[Value]| {
            executions.iter().all(|execution| {
                let reason = execution["reason"].as_str().unwrap_or_default();
                execution["status"] == "pending" && reason.contains(remedy)
            })
        };
        let executions = service.until("all of them name the remedy", names_remedy).await;
        assert!(executions.iter().all(|execution| execution["attempt_count"] == 0), "{executions:?}");
        let health = service.get("/api/v1/health").await.json();
        let paused = &health["destinations"][0];
        assert_eq!((health["status"].clone(), paused["name"].clone()), (json!("degraded"), json!("notion")));
        assert_eq!(paused["error_class"], class);
        assert!(paused["remedy"].as_str().unwrap().contains(remedy), "{health}");

        service.sandbox.clear_faults();
        let executions = service.until_finished(20).await;
        assert!(executions.iter().all(|execution| execution["status"] == "success"), "{executions:?}");
        assert_eq!(service.sandbox.page_count(), 20);
        let health = service.until_health("health is ok", |health| health["status"] == "ok").await;
        assert_eq!(health["destinations"], json!([]));
    }
}

#[tokio::test]
async fn without_a_key_column_executions_wait_until_it_is_added() {
    let service = Service::builder().template(Template::Plain).start().await;
    service.sandbox.remove_column(DATA_SOURCE_ID, "EventId").unwrap();
    service.post_event(&payment().body).await;
    let has_reason = |executions: &[Value]| executions[0]["error_class"] == "columns";
    let execution = service.until("it has a reason", has_reason).await.remove(0);
    assert_eq!(execution["status"], "pending");
    assert!(execution["reason"].as_str().unwrap().contains("text column EventId"), "{execution}");
    assert_eq!(service.sandbox.page_count(), 0);
    service.sandbox.add_column(DATA_SOURCE_ID, "EventId", "rich_text").unwrap();
    assert_eq!(service.until_finished(1).await[0]["status"], "success");
}

#[tokio::test]
async fn an_unknown_database_id_pauses_the_destination() {
    let service = Service::start().await;
    let no_database = Fault::Invalid { message: "Provided ID is a page, not a database.".into() };
    service.sandbox.fault(FaultRule::always(no_database).on(Route::Schema)).unwrap();
    service.post_event(&payment().body).await;
    let has_reason = |executions: &[Value]| executions[0]["error_class"].is_string();
    let execution = service.until("it has a reason", has_reason).await.remove(0);
    assert_eq!(execution["status"], "pending");
    assert!(execution["reason"].as_str().unwrap().contains("NOTION_DATABASE_ID"), "{execution}");
}

#[tokio::test]
async fn an_update_waits_while_the_database_is_not_shared() {
    let service = Service::start().await;
    let execution = deliver(&service).await;
    service.sandbox.fault(FaultRule::always(Fault::Unshared)).unwrap();
    assert_eq!(retry(&service, &execution).await.status, 202);
    let is_paused = |executions: &[Value]| executions[0]["error_class"] == "object_not_found";
    assert_eq!(service.until("it is paused", is_paused).await[0]["status"], "pending");
    service.sandbox.clear_faults();
    assert_eq!(service.until_finished(1).await[0]["status"], "success");
}

#[tokio::test]
async fn the_settle_time_starts_at_the_write_not_at_the_attempt() {
    let service = Service::builder().set("NOTION_SETTLE_SECONDS", "1").start().await;
    service.sandbox.fault(FaultRule::once(Fault::Slow { delay_ms: 1200 }).on(Route::Schema)).unwrap();
    service.sandbox.fault(FaultRule::once(Fault::DropThenWrite { delay_ms: 600 }).on(Route::Create)).unwrap();
    let execution = deliver(&service).await;
    assert_eq!(execution["status"], "success");
    assert_eq!(service.sandbox.page_count(), 1);
}

#[tokio::test]
async fn a_write_of_the_last_attempt_is_still_searched_for() {
    let service = Service::builder().set("RETRY_ATTEMPTS_MAX", "2").start().await;
    service.sandbox.fault(FaultRule::once(Fault::Error { status: 500 }).on(Route::Create)).unwrap();
    service.sandbox.fault(FaultRule::once(Fault::DropAfterWrite).on(Route::Create)).unwrap();
    let execution = deliver(&service).await;
    assert_eq!(execution["status"], "success");
    assert_eq!(service.sandbox.page_count(), 1);
}

#[tokio::test]
async fn an_execution_without_a_confirmed_write_fails_within_its_attempt_limit() {
    let service = Service::builder().set("RETRY_ATTEMPTS_MAX", "2").start().await;
    service.sandbox.fault(FaultRule::always(Fault::Error { status: 500 }).on(Route::Create)).unwrap();
    let execution = deliver(&service).await;
    assert_eq!(
        (execution["status"].clone(), execution["error_class"].clone()),
        (json!("failed"), json!("attempts_used_up"))
    );
    let groups = service.get("/api/v1/failures").await.json();
    assert!(groups["data"][0]["remedy"].as_str().unwrap().starts_with("No write was confirmed."), "{groups}");
    let writes = service.sandbox.requests().iter().filter(|request| request.path == "/v1/pages").count();
    assert_eq!(writes, 2);
}

#[tokio::test]
async fn a_key_column_may_be_replaced_between_a_write_and_its_lookup() {
    let service = Service::builder().template(Template::Plain).start().await;
    service.sandbox.fault(FaultRule::once(Fault::Slow { delay_ms: 150 }).on(Route::Create)).unwrap();
    service.sandbox.fault(FaultRule::once(Fault::DropAfterWrite).on(Route::Create)).unwrap();
    service.post_event(&payment().body).await;
    within("the write is sent", service.sandbox.until(|sandbox| sandbox.page_count() == 1)).await;
    service.sandbox.remove_column(DATA_SOURCE_ID, "EventId").unwrap();
    service.sandbox.add_column(DATA_SOURCE_ID, "EventId", "rich_text").unwrap();
    let execution = service.until_finished(1).await.remove(0);
    assert_eq!(execution["status"], "success", "{execution}");
}

#[tokio::test]
async fn a_completion_is_recorded_when_the_database_is_back() {
    let service = Service::start().await;
    service.sandbox.fault(FaultRule::once(Fault::Slow { delay_ms: 400 }).on(Route::Create)).unwrap();
    service.post_event(&payment().body).await;
    within("the write is sent", service.sandbox.until(|sandbox| sandbox.page_count() == 1)).await;
    service.database.change(rows::hide_schema()).await;
    within("Notion has answered", service.sandbox.until(|sandbox| sandbox.requests_under_way() == 0)).await;
    service.database.change(rows::show_schema()).await;
    assert_eq!(service.until_finished(1).await[0]["status"], "success");
}

#[tokio::test]
async fn only_the_execution_that_crashes_its_worker_three_times_alone_fails() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let other = service.replica().start().await;
    for id in ["evt_poison", "evt_innocent"] {
        other.post_event(&json!({"id": id}).to_string()).await;
    }
    other.until_finished(2).await;
    other.stop().await;
    service.database.change(rows::executions().set(&[Set::Status("pending")])).await;
    let store = service.database.store();
    let (fresh, suspects) = (all(WorkClass::Fresh), all(WorkClass::Quarantined));
    let quarantined = ClaimRequest { alone: true, ..ClaimRequest::one(&suspects) };
    let claim = async |wanted| {
        let worker = store.queue.register_worker().await.unwrap();
        store.queue.claim(worker, wanted).await.unwrap()
    };
    // Both run at the same time when their worker dies: both are quarantined, and neither is claimed
    // together with others.
    assert_eq!(claim(wanted(&fresh)).await.len(), 2);
    assert_eq!(store.queue.rescue(SILENT).await.unwrap().len(), 2);
    assert!(claim(wanted(&fresh)).await.is_empty());
    let poison = claim(quarantined).await.remove(0);
    for _ in 0..2 {
        assert_eq!(ids(&store.queue.rescue(SILENT).await.unwrap()), [poison.id]);
        let later = [Set::DueIn(Duration::from_hours(1))];
        service.database.change(rows::executions().with_crashes(1).set(&later)).await;
        assert_eq!(claim(quarantined).await[0].id, poison.id);
    }
    store.queue.rescue(SILENT).await.unwrap();
    let executions = service.executions().await;
    assert_eq!(
        (executions[0]["status"].clone(), executions[1]["status"].clone()),
        (json!("failed"), json!("pending"))
    );
    assert!(executions[0]["reason"].as_str().unwrap().contains("third time"), "{executions:?}");
    let groups = service.get("/api/v1/failures").await.json();
    assert_eq!(groups["data"][0]["error_class"], "worker_lost", "{groups}");
    assert!(groups["data"][0]["remedy"].as_str().unwrap().contains("Three workers died"), "{groups}");
}

#[tokio::test]
async fn quarantined_executions_run_one_by_one_and_are_released() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let other = service.replica().start().await;
    for number in 0..3 {
        other.post_event(&json!({"id": format!("evt_{number}")}).to_string()).await;
    }
    other.until_finished(3).await;
    other.stop().await;
    let crashed = [Set::Status("pending"), Set::Crashes(1)];
    service.database.change(rows::executions().set(&crashed)).await;
    let heir = service.replica().start().await;
    let executions = heir.until_finished(3).await;
    assert!(executions.iter().all(|execution| execution["status"] == "success"), "{executions:?}");
    assert_eq!(heir.database.count(rows::executions().with_crashes(0)).await, 3);
    assert_eq!(heir.database.attempts_at_once().await, 0);
}

#[tokio::test]
async fn replicas_share_one_rate_limit() {
    let one = Service::builder().set("NOTION_RATE_PER_MINUTE", "3000").start().await;
    let other = one.replica().set("NOTION_RATE_PER_MINUTE", "3000").start().await;
    let began = std::time::Instant::now();
    for number in 0..40 {
        let service = if number % 2 == 0 { &one } else { &other };
        service.post_event(&json!({"id": format!("evt_{number}")}).to_string()).await;
    }
    within("all pages exist", one.sandbox.until(|sandbox| sandbox.page_count() == 40)).await;
    // Forty pages and the replicas' reads of the columns, 20 ms apart except for five, across both
    // replicas.
    let calls = u32::try_from(one.sandbox.request_count()).unwrap();
    assert!(
        calls >= 42 && began.elapsed() >= Duration::from_millis(20) * (calls - 6),
        "{calls} in {:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_rate_limit_response_also_stops_calls_that_already_have_a_slot() {
    let service = Service::builder().set("NOTION_RATE_PER_MINUTE", "120").start().await;
    deliver(&service).await;
    for fault in [Fault::Slow { delay_ms: 300 }, Fault::RateLimited { retry_after: Some(2), blocked: false }]
    {
        service.sandbox.fault(FaultRule::once(fault).on(Route::Create)).unwrap();
    }
    // No slot is left of the pause before.
    service.database.change(rows::use_up_slots()).await;
    for number in 0..6 {
        service.post_event(&json!({"id": format!("evt_{number}")}).to_string()).await;
    }
    within("the others have their slots", async {
        let given = rows::connections_without_a_slot_for(Duration::from_secs(1));
        while service.database.count(&given).await == 0 {}
    })
    .await;
    let is_limited =
        |sandbox: &SandboxHandle| sandbox.requests().iter().any(|request| request.status == Some(429));
    within("one of them is rate limited", service.sandbox.until(is_limited)).await;
    let limited_at = std::time::Instant::now();
    within("the next page exists", service.sandbox.until(|sandbox| sandbox.page_count() == 2)).await;
    assert!(limited_at.elapsed() > Duration::from_millis(1500), "{:?}", limited_at.elapsed());
}

#[tokio::test]
async fn a_rate_limit_response_stops_every_replica() {
    // With and without a rate.
    for rate in ["6000", "0"] {
        let web = Service::builder().set("NOTION_RATE_PER_MINUTE", rate).role(Role::Web).start().await;
        // Without a rate a replica reads four times a second whether it must wait: these never did.
        let replica = || web.replica().set("NOTION_RATE_PER_MINUTE", rate).start();
        let _replicas = [replica().await, replica().await];
        let refused = Fault::RateLimited { retry_after: Some(2), blocked: false };
        web.sandbox.fault(FaultRule::once(refused).on(Route::Create)).unwrap();
        web.post_event(r#"{"id":"evt_first"}"#).await;
        let is_limited =
            |sandbox: &SandboxHandle| sandbox.requests().iter().any(|request| request.status == Some(429));
        within("one of them is rate limited", web.sandbox.until(is_limited)).await;
        within("all replicas know it", async {
            while web.database.count(rows::blocked_connections()).await == 0 {}
        })
        .await;
        let (before, began) = (web.sandbox.request_count(), std::time::Instant::now());
        for number in 0..10 {
            web.post_event(&json!({"id": format!("evt_{number}")}).to_string()).await;
        }
        // Without the page of the rate-limited one.
        within("the others' pages exist", web.sandbox.until(|sandbox| sandbox.page_count() >= 10)).await;
        assert!(began.elapsed() > Duration::from_secs(1), "{:?} at a rate of {rate}", began.elapsed());
        within("all pages exist", web.sandbox.until(|sandbox| sandbox.page_count() == 11)).await;
        let refused = web.sandbox.requests().iter().filter(|request| request.status == Some(429)).count();
        assert_eq!(refused, 1, "after {before} requests at a rate of {rate}");
    }
}

#[tokio::test]
async fn a_dead_workers_execution_is_rescued_without_a_second_page() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let store = service.database.store();
    let dead = store.queue.register_worker().await.unwrap();
    // Stored by a process that has the destination, and claimed by one that dies after its write.
    let other = service.replica().start().await;
    let execution = deliver(&other).await;
    other.stop().await;
    let forgotten = [Set::Status("pending"), Set::NoPage, Set::Unfinished];
    service.database.change(rows::executions().set(&forgotten)).await;
    let claimed = store.queue.claim(dead, wanted(&all(WorkClass::Fresh))).await.unwrap();
    assert_eq!(claimed.len(), 1);
    let freed = store.queue.rescue(SILENT).await.unwrap();
    assert_eq!(ids(&freed), [claimed[0].id]);

    let heir = service.replica().start().await;
    let finished = heir.until_finished(1).await.remove(0);
    assert_eq!(
        (finished["status"].clone(), finished["remote_id"].clone()),
        (json!("success"), execution["remote_id"].clone())
    );
    assert_eq!(heir.sandbox.page_count(), 1);
    assert_eq!(outcomes(&heir, &finished).await, ["delivered", "crashed", "delivered"]);
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_changes_nothing() {
    use eventbridge::domain::delivery::{Outcome, Remote};
    use eventbridge::worker::conclude;

    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let other = service.replica().start().await;
    deliver(&other).await;
    other.stop().await;
    service.database.change(rows::executions().set(&[Set::Status("pending")])).await;
    let store = service.database.store();
    let slow = store.queue.register_worker().await.unwrap();
    let (fresh, suspects) = (all(WorkClass::Fresh), all(WorkClass::Quarantined));
    let stale = store.queue.claim(slow, wanted(&fresh)).await.unwrap().remove(0);
    assert_eq!(store.queue.rescue(SILENT).await.unwrap().len(), 1);
    let quick = store.queue.register_worker().await.unwrap();
    let current =
        store.queue.claim(quick, ClaimRequest { alone: true, ..wanted(&suspects) }).await.unwrap().remove(0);

    let completed = |claimed: &_| {
        let remote = Remote { id: "stale".into(), url: None, place: None };
        let outcome = Outcome::delivered(Some(remote), Some(200));
        conclude(claimed, outcome, Duration::ZERO, &RetrySettings::default(), 0.0)
    };
    assert!(store.queue.complete(&[completed(&stale)]).await.unwrap().is_empty());
    let untouched = rows::executions().in_status("running").not_showing("stale");
    assert_eq!(service.database.count(untouched).await, 1);
    assert!(!store.queue.beat(slow, Activity::default(), &[]).await.unwrap());
    assert!(store.queue.claim(slow, wanted(&fresh)).await.unwrap().is_empty());

    let mut current = completed(&current);
    current.settlement = Settlement::Settled;
    assert_eq!(store.queue.complete(&[current]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn two_replicas_share_the_work_without_duplicates() {
    let one = Service::start().await;
    let other = one.replica().start().await;
    for number in 0..60 {
        let service = if number % 2 == 0 { &one } else { &other };
        let body = json!({"id": format!("evt_{number}"), "type": "invoice.paid"}).to_string();
        assert_eq!(service.post_event(&body).await.status, 200);
    }
    within("all pages exist", one.sandbox.until(|sandbox| sandbox.page_count() >= 60)).await;
    one.stop().await;
    let executions = other.until_finished(60).await;
    assert!(executions.iter().all(|execution| execution["status"] == "success"));
    assert_eq!(other.sandbox.page_count(), 60);
}

#[tokio::test]
async fn a_delivery_interrupted_by_a_stop_is_found_by_the_next_start() {
    let service = Service::builder().set("SHUTDOWN_GRACE_SECONDS", "1").start().await;
    service.sandbox.fault(FaultRule::once(Fault::Slow { delay_ms: 60_000 }).on(Route::Create)).unwrap();
    service.post_event(&payment().body).await;
    within("the write is under way", service.sandbox.until(|sandbox| sandbox.page_count() == 1)).await;
    let replica = service.replica();
    let database = service.database.clone();
    service.stop().await;
    let given_back = rows::executions().in_status("pending").with_crashes(0);
    assert_eq!(database.count(given_back).await, 1);
    assert_eq!(database.count(rows::workers()).await, 0);

    let next = replica.start().await;
    let execution = next.until_finished(1).await.remove(0);
    assert_eq!(execution["status"], "success");
    assert_eq!(next.sandbox.page_count(), 1);
    assert_eq!(outcomes(&next, &execution).await, ["interrupted", "delivered"]);
}

#[tokio::test]
async fn no_database_connection_is_held_during_a_call_to_notion() {
    // Four connections, one of which listens for notifications: eight slow deliveries leave the others
    // free.
    let service = Service::start().await;
    service.sandbox.fault(FaultRule::always(Fault::Slow { delay_ms: 60_000 }).on(Route::Create)).unwrap();
    for number in 0..8 {
        service.post_event(&json!({"id": format!("evt_{number}")}).to_string()).await;
    }
    within("eight are under way", service.sandbox.until(|sandbox| sandbox.requests_under_way() == 8)).await;
    // Other parts run statements now and then; a connection held by a delivery would stay busy for a
    // minute.
    within("no session is busy", async { while service.database.busy_sessions().await > 0 {} }).await;
    assert_eq!(service.sandbox.requests_under_way(), 8);
    assert_eq!(service.get("/api/v1/health").await.status, 200);
}
