//! The dashboard's actions: failure groups, bulk retries and replays, pauses, previews, and the filters
//! of the lists. Each rejects callers without permission and is audited.

use crate::dashboard::{Browser, READ_KEY, WRITE_KEY};
use crate::harness::rows::{Paused, Rows};
use crate::harness::{Answer, Service, ServiceBuilder, rows, within};
use axum::http::StatusCode;
use eventbridge::app::Role;
use notion_sandbox::{Fault, FaultRule, Route, Template};
use serde_json::json;
use std::time::Duration;

fn failed() -> Rows {
    rows::executions().in_status("failed")
}

fn successes() -> Rows {
    rows::executions().in_status("success")
}

fn with_keys() -> ServiceBuilder {
    let keys = format!("ops:write:{WRITE_KEY}, board:read:{READ_KEY}");
    Service::builder().production().set("API_KEYS", &keys).set("NOTION_RATE_PER_MINUTE", "6000")
}

fn invoice(number: usize, amount: i64) -> String {
    json!({"id": format!("evt_{number}"), "type": "invoice.paid", "livemode": true, "data": {"object": {
        "id": format!("in_{number}"), "object": "invoice", "currency": "eur", "total": amount, "amount_paid": amount}}})
    .to_string()
}

/// A service with this many failed invoices that share one message.
async fn with_failed_invoices(builder: ServiceBuilder, count: usize, message: &str) -> Service {
    let service = builder.start().await;
    let refused = Fault::Invalid { message: message.to_owned() };
    service.sandbox.fault(FaultRule::always(refused).on(Route::Create)).unwrap();
    for number in 1..=count {
        assert_eq!(service.post_event(&invoice(number, 12_000)).await.status, StatusCode::OK);
    }
    service.until_count(failed(), i64::try_from(count).unwrap()).await;
    service.sandbox.clear_faults();
    service
}

/// The text between the first occurrences of two others in a page.
fn between<'a>(page: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = page.split_once(before).unwrap_or_else(|| panic!("no {before} in {page}"));
    rest.split_once(after).unwrap().0
}

fn redirect_of(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
    answer.headers["location"].to_str().unwrap().to_owned()
}

/// Reloads a page until it shows a text.
async fn until_shows(browser: &Browser<'_>, path: &str, text: &str) -> String {
    within(text, async {
        loop {
            let page = browser.open(path).await.body;
            if page.contains(text) {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test]
async fn failures_are_listed_by_group_until_acknowledged() {
    let service = with_failed_invoices(with_keys(), 3, "This is <b>no</b> number, says \"in_1\".").await;
    let ops = Browser::logged_in(&service, WRITE_KEY).await;
    let page = until_shows(&ops, "/failures", "EUR 360.00").await;
    assert!(page.contains("This is &lt;b&gt;no&lt;/b&gt; number"), "{page}");
    assert!(page.contains("the message names the column") && page.contains("Retry all"), "{page}");
    assert!(between(&page, "data-part=\"open-failures\"", "</a>").contains(">1<"), "the tab counts it");
    let group = between(&page, "/failures/", "\"").to_owned();
    let detail = ops.open(&format!("/failures/{group}")).await.body;
    assert_eq!(detail.matches("<td class=\"when\">").count(), 3, "{detail}");

    let token = format!("token={}", ops.token("/failures").await);
    let path = format!("/failures/{group}/acknowledge");
    for note in ["", "%20", &"x".repeat(1001)] {
        let refused = ops.submit(&path, &format!("{token}&note={note}")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{note}");
    }
    let unknown = ops.submit("/failures/none/acknowledge", &format!("{token}&note=x")).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(service.database.count(rows::audit()).await, 0);
    let done = ops.submit(&path, &format!("{token}&note=%3Ci%3Ewe+know%3C%2Fi%3E")).await;
    assert_eq!(redirect_of(&done), "/failures?done=acknowledged");
    let page = ops.open("/failures?done=acknowledged").await.body;
    assert!(page.contains("No failures") && page.contains("Acknowledged</strong> by ops"), "{page}");
    assert!(page.contains("&lt;i&gt;we know&lt;/i&gt;") && !page.contains("<i>"), "{page}");
    assert!(!between(&page, "data-part=\"open-failures\"", "</a>").contains('1'), "{page}");
    assert!(ops.open("/failures?known=yes").await.body.contains(&group));
    assert!(ops.open("/audit").await.body.contains("<td>Acknowledged</td>"));
    // An acknowledgement by mistake can be revoked, and the group is open again.
    let back = ops.submit(&format!("/failures/{group}/unacknowledge"), &token).await;
    assert_eq!(redirect_of(&back), "/failures?done=unacknowledged");
    let page = ops.open("/failures?done=unacknowledged").await.body;
    let (open, _) = page.split_once("</main>").expect("a page");
    assert!(open.contains("acknowledgement was removed") && !open.contains(r#"id="known""#), "{page}");
    let twice = ops.submit(&format!("/failures/{group}/unacknowledge"), &token).await;
    assert_eq!(twice.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_failure_group_is_retried_after_a_dry_run_with_progress() {
    let service = with_failed_invoices(with_keys(), 3, "Not now.").await;
    let ops = Browser::logged_in(&service, WRITE_KEY).await;
    let page = ops.open("/failures").await.body;
    let path = format!("/executions/retry?{}", between(&page, "/executions/retry?", "\""));
    let plan = ops.open(&path).await.body;
    assert!(
        plan.contains("Retry 3 executions?") && plan.contains("To notion") && plan.contains("1 s"),
        "{plan}"
    );
    assert_eq!(service.database.count(failed()).await, 3, "a dry run changes nothing");
    assert_eq!(service.database.count(rows::audit()).await, 0);

    let group = between(&plan, "name=\"failure\" value=\"", "\"");
    let form = format!("token={}&failure={group}&status=failed&note=mended", ops.token(&path).await);
    let watched = redirect_of(&ops.submit("/executions/retry", &form).await);
    assert_eq!(watched, "/tasks/task_1");
    service.until_count(successes(), 3).await;
    let page = until_shows(&ops, &watched, "All of them are finished.").await;
    assert!(
        page.contains("<span class=\"status good\">succeeded</span>")
            && page.contains("Retry of 3 executions")
            && page.contains(">ops, "),
        "{page}"
    );
    assert!(page.contains(": <bdi>mended</bdi>") && page.contains(group), "{page}");
    let (_, of_task) = page.split_once("Its executions").expect("its executions");
    for id in 1..=3 {
        assert!(of_task.contains(&format!("href=\"/executions/{id}\"")), "{page}");
    }
    let audit = ops.open("/audit").await.body;
    assert!(audit.contains("<td>Retried in bulk</td>") && audit.contains("mended"), "{audit}");
    assert!(audit.contains("href=\"/tasks/task_1\"") && audit.contains("href=\"/tasks\""), "{audit}");
    let again = redirect_of(&ops.submit("/executions/retry", &form).await);
    until_shows(&ops, &again, "Nothing matched.").await;
    let tasks = ops.open("/tasks").await.body;
    assert!(tasks.contains(&watched) && tasks.contains(&again) && tasks.contains("3 executions"), "{tasks}");
    assert!(
        ops.open(&format!("/failures/{group}")).await.body.contains("No failed executions in this group")
    );
}

#[tokio::test]
async fn a_very_large_retry_is_done_in_the_background() {
    let service = with_keys().start().await;
    service.database.change(Paused { class: "manual", ..Paused::of("notion") }).await;
    service.database.change(rows::failed_events(10_050)).await;
    let ops = Browser::logged_in(&service, WRITE_KEY).await;
    let plan = ops.open("/executions/retry?status=failed").await.body;
    assert!(plan.contains("Retry 10,050 executions?"), "{plan}");
    let token = format!("token={}", ops.token("/executions/retry?status=failed").await);
    let watched = redirect_of(&ops.submit("/executions/retry", &format!("{token}&status=failed")).await);
    let page = until_shows(&ops, &watched, "10,050 of 10,050 remain").await;
    assert!(!page.contains("Cancel this task"), "it has ended: {page}");
    assert_eq!(service.database.count(failed()).await, 0);
}

#[tokio::test]
async fn a_task_is_cancelled_on_its_page_and_keeps_what_it_queued() {
    // A process of the role web does no tasks, so it stays queued.
    let service = with_keys().role(Role::Web).start().await;
    service.database.change(rows::failed_events(3)).await;
    let ops = Browser::logged_in(&service, WRITE_KEY).await;
    let token = format!("token={}", ops.token("/executions/retry?status=failed").await);
    let watched = redirect_of(&ops.submit("/executions/retry", &format!("{token}&status=failed")).await);
    let page = ops.open(&watched).await.body;
    assert!(page.contains("It has not begun yet.") && page.contains("Cancel this task"), "{page}");
    let board = Browser::logged_in(&service, READ_KEY).await;
    assert!(!board.open(&watched).await.body.contains("Cancel this task"));
    let cancel = format!("{watched}/cancel");
    for _ in 0..2 {
        assert_eq!(redirect_of(&ops.submit(&cancel, &token).await), watched, "repeating it is harmless");
    }
    let page = ops.open(&watched).await.body;
    assert!(
        page.contains("Cancelled before anything was queued.") && !page.contains("Cancel this task"),
        "{page}"
    );
    assert!(ops.open("/audit").await.body.contains("<td>Cancelled</td>"));
    assert_eq!(service.database.count(failed()).await, 3);
    assert_eq!(ops.submit("/tasks/task_7000/cancel", &token).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn events_are_replayed_once_each_after_a_dry_run() {
    let service = with_keys().start().await;
    for number in 1..=3 {
        service.post_event(&invoice(number, 500)).await;
    }
    service.until_count(successes(), 3).await;
    let ops = Browser::logged_in(&service, WRITE_KEY).await;
    let list = until_shows(&ops, "/events?object=in_2", "EUR 5.00").await;
    let path = format!("/events/replay?{}", between(&list, "/events/replay?", "\""));
    let plan = ops.open(&path).await.body;
    assert!(plan.contains("Replay 1 execution?"), "{plan}");
    let form = format!("token={}&object=in_2", ops.token(&path).await);
    let watched = redirect_of(&ops.submit("/events/replay", &form).await);
    until_shows(&ops, &watched, "All of them are finished.").await;
    assert_eq!(service.sandbox.page_count(), 3);
    let audit = ops.open("/audit").await.body;
    assert!(audit.contains("<td>Replayed</td>") && audit.contains("in_2"), "{audit}");
    for odd in ["object=%00", "object=in_1&object=in_2", "livemode=perhaps"] {
        let refused =
            ops.submit("/events/replay", &format!("{}&{odd}", form.replace("&object=in_2", ""))).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{odd}");
        assert!(refused.body.contains("<!DOCTYPE html>"), "{odd}");
    }
    let elsewhere = ops.open("/events/replay?destination=elsewhere").await;
    assert_eq!(elsewhere.status, StatusCode::BAD_REQUEST);
    assert_eq!(ops.open("/tasks/task_7000").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_action_requires_a_token_and_a_write_key() {
    let service = with_failed_invoices(with_keys(), 1, "Not now.").await;
    let (ops, board) =
        (Browser::logged_in(&service, WRITE_KEY).await, Browser::logged_in(&service, READ_KEY).await);
    let group = between(&ops.open("/failures").await.body, "/failures/", "\"").to_owned();
    let token = format!("token={}", board.token("/failures").await);
    for (path, form) in [
        (format!("/failures/{group}/acknowledge"), "note=x"),
        (format!("/failures/{group}/unacknowledge"), ""),
        ("/executions/retry".to_owned(), "status=failed"),
        ("/executions/1/retry".to_owned(), ""),
        ("/executions/1/cancel".to_owned(), ""),
        ("/events/replay".to_owned(), "type=invoice.paid"),
        ("/tasks/task_1/cancel".to_owned(), ""),
        ("/destinations/notion/pause".to_owned(), "note=x"),
        ("/destinations/notion/resume".to_owned(), ""),
    ] {
        let refused = board.submit(&path, &format!("{token}&{form}")).await;
        assert!(refused.status == StatusCode::FORBIDDEN && refused.body.contains("is read-only"), "{path}");
        for (form, site) in [(form, "same-origin"), (form, "cross-site")] {
            assert_eq!(ops.submit_from(&path, form, site).await.status, StatusCode::FORBIDDEN, "{path}");
        }
    }
    assert_eq!(service.database.count(rows::audit()).await, 0);
    assert_eq!(service.database.count(failed()).await, 1);
    for path in [
        "/failures".to_owned(),
        format!("/failures/{group}"),
        "/destinations".to_owned(),
        "/executions?status=failed".to_owned(),
        "/executions/retry?status=failed".to_owned(),
        "/events/replay?type=invoice.paid".to_owned(),
        "/executions/1".to_owned(),
        "/executions/1/preview".to_owned(),
    ] {
        let shown = board.open(&path).await;
        assert_eq!(shown.status, StatusCode::OK, "{path}");
        assert_eq!(shown.body.matches(r#"method="post""#).count(), 1, "{path}: only the log out");
        assert!(!shown.body.contains("Retry all") && !shown.body.contains("Retry the failed"), "{path}");
    }
}

#[tokio::test]
async fn a_destination_is_paused_and_resumed_and_its_backlog_cancelled() {
    let service = with_keys().start().await;
    let ops = Browser::logged_in(&service, WRITE_KEY).await;
    let token = format!("token={}", ops.token("/destinations").await);
    let empty = ops.submit("/destinations/notion/pause", &format!("{token}&note=")).await;
    assert_eq!(empty.status, StatusCode::BAD_REQUEST);
    for act in ["pause", "resume"] {
        let elsewhere =
            ops.submit(&format!("/destinations/elsewhere/{act}"), &format!("{token}&note=x")).await;
        assert_eq!(elsewhere.status, StatusCode::NOT_FOUND, "{act}");
    }
    let paused = ops.submit("/destinations/notion/pause", &format!("{token}&note=moving+%3Chouse%3E")).await;
    assert_eq!(redirect_of(&paused), "/destinations?done=paused");
    for number in 1..=2 {
        service.post_event(&invoice(number, 500)).await;
    }
    let page = ops.open("/destinations").await.body;
    assert!(page.contains("Paused by <bdi>ops</bdi>") && page.contains("moving &lt;house&gt;"), "{page}");
    assert!(page.contains("<dd>2</dd>") && page.contains("6000"), "{page}");

    let id = service.database.last_id(rows::executions()).await;
    assert!(ops.open(&format!("/executions/{id}")).await.body.contains(&format!("/executions/{id}/cancel")));
    let cancelled = ops.submit(&format!("/executions/{id}/cancel"), &token).await;
    assert_eq!(redirect_of(&cancelled), format!("/executions/{id}?done=cancelled"));
    assert_eq!(ops.submit("/executions/7000/cancel", &token).await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        redirect_of(&ops.submit("/destinations/notion/resume", &token).await),
        "/destinations?done=resumed"
    );
    service.until_count(successes(), 1).await;
    let late = ops.submit("/executions/1/cancel", &token).await;
    assert!(late.status == StatusCode::CONFLICT && late.body.contains("it was delivered"), "{late:?}");
    let audit = ops.open("/audit").await.body;
    for action in ["Paused", "Resumed", "Cancelled"] {
        assert!(audit.contains(&format!("<td>{action}</td>")), "{action}: {audit}");
    }
}

#[tokio::test]
async fn filters_are_kept_in_the_url_and_the_form_which_shows_errors() {
    let service = Service::start().await;
    for number in 1..=60 {
        service.post_event(&invoice(number, 500)).await;
    }
    service.until_finished(60).await;
    let executions = "/executions?status=success&type=invoice.*&destination=notion&source=stripe\
                      &created_after=2020-01-01T00%3A00%3A00Z&created_before=2020-01-20";
    let page = service.get(executions).await.body;
    for field in [
        r#"value="success" selected"#,
        r#"value="invoice.*""#,
        r#"value="notion" selected"#,
        r#"value="stripe""#,
        r#"value="2020-01-01T00:00:00""#,
        r#"value="2020-01-20T00:00:00""#,
        "No executions",
    ] {
        assert!(page.contains(field), "{field}: {page}");
    }
    let events = "/events?type=invoice.paid&livemode=true&source=stripe";
    let page = service.get(events).await.body;
    assert!(page.contains("Of the last 30 days") && page.contains(r#"value="true" selected"#), "{page}");
    let older = between(&page, "<nav class=\"pager\"", "</nav>");
    let older = between(older, "href=\"", "\"").replace("&amp;", "&");
    assert!(older.starts_with(&format!("{events}&cursor=")), "{older}");
    assert_eq!(service.get(&older).await.body.matches("<td class=\"when\">").count(), 10);
    assert!(service.get("/events?livemode=false").await.body.contains("No events"));
    assert!(service.get("/events?account=acct_1").await.body.contains("No events"));

    let short = service.get("/executions?status=failed&type=&event=").await;
    assert_eq!(redirect_of(&short), "/executions?status=failed", "an address that can be shared");
    for (path, message) in [
        ("/executions?status=lost", "State: "),
        ("/executions?type=%3Cscript%3E", "Type: "),
        ("/executions?event=evt_none", "Event: there is no event"),
        ("/executions?created_after=yesterday", "Created from: "),
        ("/executions?status=success&created_after=2020-01-01", "at most 31 days"),
        ("/events?livemode=perhaps", "Mode: "),
        ("/events?status=failed&received_after=2020-01-01", "at most 31 days"),
    ] {
        let page = service.get(path).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(between(&page.body, "role=\"alert\">", "</p>").contains(message), "{path}: {page:?}");
        assert!(page.body.contains("<form class=\"filters"), "{path}: the form is still there");
    }
    for path in
        ["/executions/retry?status=running", "/executions/retry?status=lost", "/events/replay?status=lost"]
    {
        assert_eq!(service.get(path).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
}

#[tokio::test]
async fn a_preview_compares_each_column_with_the_last_write_and_sends_nothing() {
    let service = Service::builder().set("NOTION_MODE", "object").template(Template::Full).start().await;
    let state = |event: &str, created: i64, amount: i64| {
        json!({"id": event, "type": "payment_intent.amount_capturable_updated", "created": created, "livemode": false,
            "data": {"object": {"id": "pi_1", "object": "payment_intent", "amount": amount, "currency": "eur",
                                "description": "<script>alert(1)</script>"}}})
        .to_string()
    };
    service.post_event(&state("evt_1", 1, 100)).await;
    service.until_finished(1).await;
    service
        .sandbox
        .fault(FaultRule::always(Fault::Invalid { message: "no".into() }).on(Route::Update))
        .unwrap();
    service.post_event(&state("evt_2", 2, 200)).await;
    service.until_finished(2).await;
    let writes = || service.sandbox.requests().iter().filter(|request| request.method != "GET").count();
    let before = writes();
    let page = service.get("/executions/2/preview").await;
    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    assert_eq!(writes(), before);
    let amount = between(&page.body, "<tr class=\"changed\"><th scope=\"row\">AmountText</th>", "</tr>");
    assert!(amount.contains("EUR 2.00") && amount.contains("EUR 1.00"), "{amount}");
    assert!(
        !page.body.contains("<tr class=\"changed\"><th scope=\"row\">Currency</th>"),
        "it stays the same"
    );
    assert!(page.body.contains("<th scope=\"row\">Currency</th>"));
    assert!(page.body.contains("Its page would be updated") && page.body.contains("&lt;script&gt;alert(1)"));
    assert!(!page.body.contains("data-live"), "it does not keep itself up to date");
    assert_eq!(service.get("/executions/7000/preview").await.status, StatusCode::NOT_FOUND);

    let gone = service.replica().set("DESTINATIONS", "").start().await;
    assert!(gone.get("/executions/2/preview").await.body.contains("Its destination is not configured"));
}
