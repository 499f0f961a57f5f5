//! Retention, pruning and erasure: what is removed, what must stay, and what is reported.

use crate::harness::rows::{Ended, Set};
use crate::harness::{Database, NOW, Service, eventbridge, output, rows, text, within};
use eventbridge::config::Retention;
use eventbridge::domain::event::EventKey;
use eventbridge::retention::{self, Pace, RetentionStore};
use eventbridge::store::{Cutoff, Removal, SWEPT_AT_ONCE, Store};
use notion_sandbox::Template;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::process::Output;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

const MONTH: Cutoff = Cutoff::Age(Duration::from_hours(24 * 30));

fn paid(event: &str, customer: &str) -> String {
    json!({"id": event, "object": "event", "type": "invoice.paid", "created": NOW, "livemode": false,
           "data": {"object": {"id": format!("in_{event}"), "object": "invoice", "number": "1", "total": 100,
           "currency": "eur", "customer": customer, "customer_email": "jane@example.com", "status": "paid"}}})
    .to_string()
}

/// A state of one payment.
fn payment(event: &str, created: i64, amount: i64) -> String {
    json!({"id": event, "object": "event", "type": "payment_intent.amount_capturable_updated", "created": created,
           "livemode": false, "data": {"object": {"id": "pi_1", "object": "payment_intent", "amount": amount,
           "currency": "eur", "status": "requires_capture"}}})
    .to_string()
}

/// Makes all rows two months old.
async fn age(database: &Database) {
    database.change(rows::age_events(Duration::from_hours(60 * 24))).await;
}

async fn sweep_all(store: &Store, removal: Removal) -> u64 {
    let (mut removed, mut position) = (0, 0);
    loop {
        let swept = store.retention.sweep(removal, MONTH, position, SWEPT_AT_ONCE, false).await.unwrap();
        removed += swept.removed;
        position = swept.position;
        if swept.is_last {
            return removed;
        }
    }
}

async fn until_indexed(service: &Service, events: i64) {
    within("everything is indexed", async {
        while service.database.count(rows::event_facts()).await < events {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn old_events_are_removed_completely_unless_unfinished() {
    let service = Service::start().await;
    for event in ["evt_1", "evt_2", "evt_3"] {
        service.post_event(&paid(event, "cus_Jane1")).await;
    }
    let executions = service.until_finished(3).await;
    let retried = executions.iter().find(|execution| execution["event_id"] == "evt_1").unwrap()["id"].clone();
    service.post(&format!("/api/v1/executions/{retried}/retry")).await;
    service.until_finished(3).await;
    age(&service.database).await;
    service.post_event(&paid("evt_4", "cus_Jane1")).await;
    service.until_finished(4).await;
    let waits = [Set::Status("pending"), Set::DueIn(Duration::from_hours(24))];
    service.database.change(rows::executions().of_event("evt_3").set(&waits)).await;
    let store = service.database.store();
    until_indexed(&service, 4).await;

    let counted = store.retention.sweep(Removal::Rows, MONTH, 0, SWEPT_AT_ONCE, true).await.unwrap();
    assert_eq!((counted.removed, counted.kept, counted.is_last), (2, 1, true));
    assert_eq!(service.database.count(rows::events()).await, 4);
    assert_eq!(sweep_all(&store, Removal::Rows).await, 2);
    let mut left: Vec<Value> =
        service.executions().await.iter().map(|execution| execution["event_id"].clone()).collect();
    left.sort_by_key(ToString::to_string);
    assert_eq!(left, ["evt_3", "evt_4"]);
    for left in [rows::attempts(), rows::event_facts()] {
        assert_eq!(service.database.count(&left).await, 2, "{left:?}");
    }
    assert_eq!(service.database.count(rows::audit()).await, 0);
    assert_eq!(service.database.count(rows::orphaned_search_terms()).await, 0);
    assert_eq!(service.sandbox.page_count(), 4);
}

#[tokio::test]
async fn a_long_history_of_one_object_is_not_scanned_for_each_state() {
    const STATES: i64 = 10_000;
    let database = Database::new().await;
    database.change(rows::superseded_states(STATES)).await;
    let store = database.store();
    let late = STATES - i64::from(SWEPT_AT_ONCE);
    let swept = store.retention.sweep(Removal::Payloads, MONTH, late, SWEPT_AT_ONCE, false).await.unwrap();
    assert_eq!((swept.removed, swept.kept), (u64::from(SWEPT_AT_ONCE) - 1, 1), "the newest state stays");
    // The next round skips those without a payload.
    let next = store.retention.sweep(Removal::Payloads, MONTH, late, SWEPT_AT_ONCE, false).await.unwrap();
    assert_eq!((next.position, next.removed, next.kept, next.is_last), (STATES, 0, 1, true));
}

#[tokio::test]
async fn an_event_without_its_payload_is_listed_and_cannot_be_retried() {
    let service = Service::start().await;
    service.post_event(&paid("evt_1", "cus_Jane1")).await;
    let execution = service.until_finished(1).await[0]["id"].clone();
    age(&service.database).await;
    let store = service.database.store();
    until_indexed(&service, 1).await;
    service.database.change(rows::set_messages("jane@example.com is wrong")).await;
    let found = async |word: &str| {
        let answer = service.get(&format!("/api/v1/search?q={word}")).await.json();
        answer["data"].as_array().unwrap().len()
    };
    assert_eq!((found("jane@example.com").await, found("cus_Jane1").await), (1, 1));
    assert_eq!(sweep_all(&store, Removal::Payloads).await, 1);
    assert_eq!(sweep_all(&store, Removal::Payloads).await, 0);
    assert_eq!((found("jane@example.com").await, found("cus_Jane1").await), (0, 0));
    assert_eq!((found("evt_1").await, found("in_evt_1").await), (1, 1));
    assert_eq!(service.database.count(rows::attempts().with_a_message()).await, 0);
    assert_eq!(service.database.count(rows::event_facts().naming_a_person()).await, 0);

    let event = service.get("/api/v1/events/evt_1").await.json();
    assert_eq!((&event["payload"], &event["payload_removal"]["reason"]), (&Value::Null, &"retention".into()));
    let gone = service.get("/api/v1/events/evt_1/payload").await;
    assert_eq!(gone.problem(410), "payload_removed");
    // API and dashboard state the same time in the same way.
    let when = gone.json()["detail"].as_str().unwrap().split_once("removed at ").unwrap().1.to_owned();
    let page = service.get("/events/evt_1/payload").await;
    assert!(page.status == 410 && page.body.contains(&when) && when.contains(" UTC: "), "{when}: {page:?}");
    let retried = service.post(&format!("/api/v1/executions/{execution}/retry")).await;
    assert_eq!(retried.problem(409), "payload_removed");

    // Any other way to run it ends with a reason.
    service.database.change(rows::executions().set(&[Set::Status("pending"), Set::Due])).await;
    let executions = service.until_finished(1).await;
    assert_eq!(executions[0]["status"], "skipped");
    assert!(executions[0]["reason"].as_str().unwrap().contains("payload was removed"));
    assert_eq!(service.sandbox.page_count(), 1);
}

#[tokio::test]
async fn the_shown_state_of_an_object_is_kept() {
    let service = Service::builder().set("NOTION_MODE", "object").template(Template::Full).start().await;
    for (number, (event, created, amount)) in
        [("evt_1", 1, 100), ("evt_2", 2, 200), ("evt_3", 5, 300)].into_iter().enumerate()
    {
        service.post_event(&payment(event, NOW + created, amount)).await;
        service.until_finished(number + 1).await;
    }
    age(&service.database).await;
    let store = service.database.store();
    assert_eq!(sweep_all(&store, Removal::Payloads).await, 2);
    assert_eq!(sweep_all(&store, Removal::Rows).await, 2);
    assert_eq!(
        (service.database.count(rows::events()).await, service.database.count(rows::remote_objects()).await),
        (1, 1)
    );

    let amount = || service.sandbox.pages()[0].text("Amount").map(str::to_owned);
    service.post_event(&payment("evt_late", NOW + 3, 999)).await;
    let executions = service.until_finished(2).await;
    assert_eq!(executions[1]["status"], "superseded");
    assert_eq!(amount().as_deref(), Some("3"));
    service.post_event(&payment("evt_new", NOW + 9, 400)).await;
    service.until_finished(3).await;
    assert_eq!(amount().as_deref(), Some("4"));
    assert_eq!(service.sandbox.pages().len(), 1);
}

#[tokio::test]
async fn one_replica_removes_in_the_background_and_another_continues() {
    let service = Service::start().await;
    for event in ["evt_1", "evt_2"] {
        service.post_event(&paid(event, "cus_Jane1")).await;
    }
    service.until_finished(2).await;
    age(&service.database).await;
    let store = service.database.store();
    let (leases, jobs, minute) = (&store.named_leases, &store.background_jobs, Duration::from_mins(1));
    let (one, other) = (uuid::Uuid::from_u128(1), uuid::Uuid::from_u128(2));
    assert!(leases.acquire("a job", one, minute).await.unwrap());
    assert!(!leases.acquire("a job", other, minute).await.unwrap());
    assert_eq!(jobs.due("a job").await.unwrap(), Some(0));
    jobs.record("a job", 42, Duration::ZERO).await.unwrap();
    leases.release("a job", one).await.unwrap();
    assert!(leases.acquire("a job", other, minute).await.unwrap());
    assert_eq!(jobs.due("a job").await.unwrap(), Some(42));
    jobs.record("a job", 0, minute).await.unwrap();
    assert_eq!(jobs.due("a job").await.unwrap(), None);

    let stop = CancellationToken::new();
    let keep = Retention { rows: Some(Duration::from_hours(24 * 30)), payloads: None };
    let pace = Pace {
        check_interval: Duration::from_millis(5),
        round_interval: Duration::from_millis(5),
        ..Pace::default()
    };
    let replicas: Vec<_> = (0..2)
        .map(|_| {
            let store = service.database.store();
            let store = RetentionStore {
                leases: store.named_leases,
                jobs: store.background_jobs,
                retention: store.retention,
            };
            tokio::spawn(retention::keep(store, keep, pace, stop.clone()))
        })
        .collect();
    within("the old events are removed", async {
        while service.database.count(rows::events()).await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    stop.cancel();
    for replica in replicas {
        within("the replica stops", replica).await.unwrap();
    }
    assert_eq!(service.executions().await.len(), 0);
}

fn pruned(done: &Output) -> Value {
    serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("no JSON: {done:?}"))
}

/// A command on the database of a service.
fn command(service: &Service, folder: &TempDir, args: &[&str]) -> Command {
    let mut command = eventbridge(folder.path());
    command.args(args).env("DATABASE_URL", service.database.url().expose_secret()).env("USER", "jo");
    command
}

#[tokio::test]
async fn prune_counts_first_and_keeps_what_stripe_may_send_again() {
    let service = Service::start().await;
    service.post_event(&paid("evt_1", "cus_Jane1")).await;
    service.until_finished(1).await;
    age(&service.database).await;
    let folder = TempDir::new().unwrap();
    let run = async |args: &[&str]| output(&mut command(&service, &folder, args)).await;

    let nothing_said = run(&["prune", "--yes"]).await;
    assert!(text(&nothing_said.stderr).contains("RETENTION_DAYS"));
    let too_young = run(&["prune", "--before", "2100-01-01", "--yes"]).await;
    assert!(text(&too_young.stderr).contains("would count as new") && !too_young.status.success());
    let before = (chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now())
        - chrono::TimeDelta::days(31))
    .date_naive()
    .to_string();
    let unanswered = run(&["prune", "--before", &before]).await;
    assert!(text(&unanswered.stderr).contains("--yes"));
    let counted = run(&["prune", "--before", &before, "--dry-run", "--json"]).await;
    let counted: Value = serde_json::from_slice(&counted.stdout).unwrap();
    assert_eq!((&counted[0]["removed"], service.database.count(rows::events()).await), (&json!(1), 1));

    let payloads = run(&["prune", "--before", &before, "--payloads", "--yes"]).await;
    assert_eq!(pruned(&payloads), json!([{"what": "payloads", "removed": 1, "kept": 0, "dry_run": false}]));
    let mut by_settings = command(&service, &folder, &["prune", "--yes"]);
    let done = output(by_settings.env("RETENTION_DAYS", "30")).await;
    assert_eq!(pruned(&done), json!([{"what": "events", "removed": 1, "kept": 0, "dry_run": false}]));
    assert_eq!(service.database.count(rows::events()).await, 0);
    let audited = rows::audit().by("cli:jo").action("events.pruned");
    assert_eq!(service.database.count(audited).await, 4, "the start and the end of each");
}

#[tokio::test]
async fn only_the_given_customer_is_erased() {
    let service = Service::start().await;
    for (event, customer) in [("evt_1", "cus_Jane1"), ("evt_2", "cus_Jane12"), ("evt_3", "cus_Jane1")] {
        service.post_event(&paid(event, customer)).await;
    }
    service.until_finished(3).await;
    // One failed with a message that quotes her, one is pending.
    let failed = [Set::Status("failed"), Set::Reason("jane@example.com is wrong")];
    let waits = [Set::Status("pending"), Set::DueIn(Duration::from_hours(24))];
    for change in [
        rows::executions().of_event("evt_1").set(&failed),
        rows::set_messages("jane@example.com is wrong"),
        rows::executions().of_event("evt_3").set(&waits),
    ] {
        service.database.change(change).await;
    }
    until_indexed(&service, 3).await;
    let folder = TempDir::new().unwrap();
    let forget = async |args: &[&str]| {
        let mut command = command(&service, &folder, &[&["forget", "cus_Jane1"], args].concat());
        command.envs([
            ("NOTION_API_URL", service.notion_url()),
            ("NOTION_API_KEY", notion_sandbox::TOKEN.to_owned()),
            ("NOTION_DATABASE_ID", notion_sandbox::DATABASE_ID.to_string()),
        ]);
        output(&mut command).await
    };

    let counted = forget(&["--dry-run"]).await;
    let printed = text(&counted.stdout);
    assert!(!printed.contains("jane@example.com"));
    let counted: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&counted["dry_run"], &counted["payloads_removed"]), (&json!(true), &json!(2)), "{counted}");
    assert_eq!(counted["entries_remaining"].as_array().unwrap().len(), 2, "{counted}");
    let done = forget(&["--yes", "--json", "--entries"]).await;
    assert!(done.status.success(), "{}", text(&done.stderr));
    let done: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&done["payloads_removed"], &done["executions_cancelled"]), (&json!(2), &json!(1)), "{done}");
    assert_eq!(done["entries_removed"].as_array().unwrap().len(), 2);
    assert_eq!(service.sandbox.page_count(), 1);

    let store = service.database.store();
    for (event, why) in [("evt_1", Some("erasure")), ("evt_2", None), ("evt_3", Some("erasure"))] {
        let key: EventKey = store.events.event_key(event).await.unwrap().unwrap();
        let removed = store.events.payload_removed(key).await.unwrap();
        assert_eq!(removed.map(|removed| removed.why).as_deref(), why, "{event}");
    }

    // The message about the other customer's event quoted her address too.
    assert_eq!(service.database.traces_of_jane().await, 0);
    let waited = rows::executions().in_status("cancelled");
    assert_eq!(service.database.count(waited).await, 1);
    // The flag's former name is an alias.
    let again = forget(&["--yes", "--json", "--pages"]).await;
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["payloads_removed"], 0);
    let audited = rows::audit().about("customer", "cus_Jane1").by("cli:jo");
    assert_eq!(service.database.count(audited).await, 3, "the start and the end, and that nothing was left");
}

#[tokio::test]
async fn a_page_that_is_in_the_trash_with_its_database_is_not_reported_as_removed() {
    for (is_archived, removed) in [(false, 0), (true, 1)] {
        let service = Service::start().await;
        service.post_event(&paid("evt_1", "cus_Jane1")).await;
        service.until_finished(1).await;
        until_indexed(&service, 1).await;
        if is_archived {
            // Such a page still shows her data, and can be removed.
            service.sandbox.archive(service.sandbox.pages()[0].id).unwrap();
        } else {
            service.sandbox.trash_database(notion_sandbox::DATABASE_ID, true).unwrap();
        }
        let folder = TempDir::new().unwrap();
        let mut forget = command(&service, &folder, &["forget", "cus_Jane1", "--yes", "--json", "--entries"]);
        forget.envs([
            ("NOTION_API_URL", service.notion_url()),
            ("NOTION_API_KEY", notion_sandbox::TOKEN.to_owned()),
            ("NOTION_DATABASE_ID", notion_sandbox::DATABASE_ID.to_string()),
        ]);
        let done = output(&mut forget).await;
        let printed: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(printed["entries_removed"].as_array().unwrap().len(), removed, "{printed}");
        assert_eq!(service.sandbox.page_count(), 1 - removed);
    }
}

#[tokio::test]
async fn a_person_is_erased_by_address_with_all_linked_ids() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let event = |id: &str, object: Value| {
        json!({"id": id, "object": "event", "type": "customer.updated", "created": NOW, "data": {"object": object}})
            .to_string()
    };
    for (id, object) in [
        // By the address in any case; by the id next to it, alone; by a text.
        (
            "evt_case",
            json!({"id": "in_1", "object": "invoice", "customer": "cus_Jane1", "customer_email": "Jane@Example.COM"}),
        ),
        ("evt_id", json!({"id": "pi_1", "object": "payment_intent", "customer": "cus_Jane1"})),
        (
            "evt_text",
            json!({"id": "re_1", "object": "refund", "description": "Asked for by\njane@example.com."}),
        ),
        // Other people: some addresses contain hers, and one has no address.
        (
            "evt_longer",
            json!({"id": "in_2", "object": "invoice", "customer": "cus_Mary1", "customer_email": "mary.jane@example.com"}),
        ),
        (
            "evt_farther",
            json!({"id": "in_3", "object": "invoice", "customer": "cus_Jo1", "customer_email": "jane@example.com.au"}),
        ),
        ("evt_other", json!({"id": "in_4", "object": "invoice", "customer": "cus_Jane12"})),
    ] {
        assert_eq!(service.post_event(&event(id, object)).await.status, 200);
    }
    let folder = TempDir::new().unwrap();
    let forget = async |args: &[&str]| {
        output(&mut command(&service, &folder, &[&["forget", "jane@example.com"], args].concat())).await
    };
    let counted = forget(&["--dry-run"]).await;
    let counted: Value = serde_json::from_slice(&counted.stdout).unwrap();
    assert_eq!(
        (&counted["events"], &counted["customers"][0]["id"]),
        (&json!(3), &json!("cus_Jane1")),
        "{counted}"
    );
    assert!(!counted["not_searched"].as_array().unwrap().is_empty(), "{counted}");
    let done = forget(&["--yes", "--json"]).await;
    let done: Value = serde_json::from_slice(&done.stdout).unwrap();
    let jane = json!([{"id": "cus_Jane1", "source": "stripe", "account": null, "livemode": null}]);
    assert_eq!((&done["payloads_removed"], &done["customers"]), (&json!(3), &jane), "{done}");
    let store = service.database.store();
    for (id, is_gone) in [
        ("evt_case", true),
        ("evt_id", true),
        ("evt_text", true),
        ("evt_longer", false),
        ("evt_farther", false),
        ("evt_other", false),
    ] {
        let key = store.events.event_key(id).await.unwrap().unwrap();
        assert_eq!(store.events.payload_removed(key).await.unwrap().is_some(), is_gone, "{id}");
    }
    let audited = rows::audit().about("customer", "cus_Jane1");
    assert_eq!(service.database.count(audited).await, 2);
    let kept = rows::audit().quoting("jane@");
    assert_eq!(service.database.count(kept).await, 0, "the audit keeps no erased data");
    let mut nobody = command(&service, &folder, &["forget", "jane"]);
    assert!(text(&output(&mut nobody).await.stderr).contains("e-mail address"));
}

#[tokio::test]
async fn an_old_empty_failure_group_is_removed_and_returns_with_its_failure() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    service.database.change(rows::idle_groups()).await;
    let ended =
        |status, group, reason| Ended { status, group: Some(group), reason, ..Ended::failed(Duration::ZERO) };
    service.database.change(ended("failed", "used", Some("used"))).await;
    service.database.change(ended("failed", "lost", Some("lost"))).await;
    service.database.change(ended("success", "old", None)).await;
    let store = service.database.store();
    assert_eq!(store.retention.remove_idle_groups(MONTH, true).await.unwrap(), 1);
    assert_eq!(store.retention.remove_idle_groups(MONTH, false).await.unwrap(), 1);
    assert_eq!(store.retention.remove_idle_groups(MONTH, false).await.unwrap(), 0);
    let left = rows::failure_groups(&["known", "young", "used"]);
    assert_eq!(service.database.count(left).await, 3);
    store.retention.regroup_lost_failures().await.unwrap();

    within("it has a group again", async {
        while service.database.grouped(2, "lost").await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let kept = rows::executions().in_group("used");
    assert_eq!(service.database.count(kept).await, 1);
}

#[tokio::test]
async fn an_erased_object_is_shown_again_after_a_new_event() {
    let service = Service::builder().set("NOTION_MODE", "object").template(Template::Full).start().await;
    let state = |event: &str, created: i64, amount: i64| {
        payment(event, created, amount).replace("\"currency\"", "\"customer\":\"cus_Jane1\",\"currency\"")
    };
    service.post_event(&state("evt_1", NOW, 100)).await;
    service.until_finished(1).await;
    let folder = TempDir::new().unwrap();
    let done = output(&mut command(&service, &folder, &["forget", "cus_Jane1", "--yes"])).await;
    let done: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(done["shown_objects_removed"], 1, "{done}");
    assert_eq!(done["entries_remaining"].as_array().unwrap().len(), 1, "{done}");
    service.post_event(&state("evt_2", NOW + 5, 200)).await;
    let executions = service.until_finished(2).await;
    assert_eq!(executions[1]["status"], "success", "{executions:?}");
    assert_eq!(service.sandbox.pages().len(), 1);
    assert_eq!(service.sandbox.pages()[0].text("Amount"), Some("2"));
}
