//! Pauses: one that no read can disprove, of a token that may read and not write; and the record of
//! pauses and rates.

use crate::harness::rows::{Paused, Set};
use crate::harness::{Database, NOW, Service, rows, within};
use eventbridge::domain::audit::Caller;
use eventbridge::store::{Pause, Slot};
use notion_sandbox::{Fault, FaultRule, Route, SandboxHandle, Template};
use serde_json::{Value, json};
use std::time::Duration;

fn payment(object: &str, event: &str, created: i64) -> String {
    json!({"id": event, "object": "event", "type": "payment_intent.processing", "created": created,
           "livemode": false, "data": {"object": {"id": object, "object": "payment_intent", "amount": created,
           "currency": "eur", "status": "processing"}}})
    .to_string()
}

/// Waits for this many attempts of the refused route, and checks that one pause lasted throughout.
async fn stays_paused(service: &Service, route: &str, tries: usize) {
    let refused = |sandbox: &SandboxHandle| {
        let of_route = |path: &str, method: &str| match route {
            "create" => path == "/v1/pages" && method == "POST",
            _ => path.starts_with("/v1/pages/") && method == "PATCH",
        };
        sandbox.requests().iter().filter(|request| of_route(&request.path, &request.method)).count()
    };

    let is_paused = |executions: &[Value]| {
        executions.iter().any(|execution| {
            execution["error_class"] == "restricted_resource" && execution["status"] == "pending"
        })
    };
    service.until("it is paused", is_paused).await;
    let paused_since = service.database.paused_since_us().await;
    let before = refused(&service.sandbox);
    within("it is attempted", service.sandbox.until(|sandbox| refused(sandbox) >= before + tries)).await;
    assert_eq!(service.database.paused_since_us().await, paused_since, "one pause, and no other");
    let executions = service.executions().await;
    assert!(
        executions.iter().all(|one| one["attempt_count"] == i32::from(one["status"] == "success")),
        "{executions:?}"
    );
}

#[tokio::test]
async fn a_token_without_insert_access_stays_paused_and_is_tried_with_one_execution() {
    let service = Service::start().await;
    service.sandbox.fault(FaultRule::always(Fault::Restricted).on(Route::Create)).unwrap();
    for number in 0..5 {
        service.post_event(&payment("pi_1", &format!("evt_{number}"), NOW)).await;
    }
    stays_paused(&service, "create", 3).await;
    assert_eq!(service.get("/api/v1/health").await.json()["status"], "degraded");
    service.sandbox.clear_faults();
    let executions = service.until_finished(5).await;
    assert!(executions.iter().all(|execution| execution["status"] == "success"), "{executions:?}");
    assert_eq!(service.sandbox.page_count(), 5);
    service.until_health("the pause ends", |health| health["status"] == "ok").await;
}

#[tokio::test]
async fn a_token_without_update_access_stays_paused_by_the_refused_update() {
    let service = Service::builder().set("NOTION_MODE", "object").template(Template::Full).start().await;
    service.post_event(&payment("pi_1", "evt_1", NOW)).await;
    service.until_finished(1).await;
    service.sandbox.fault(FaultRule::always(Fault::Restricted).on(Route::Update)).unwrap();
    // An attempt outlasts the time between two probes: none of the others runs next to it.
    service.sandbox.fault(FaultRule::always(Fault::Slow { delay_ms: 150 }).on(Route::Update)).unwrap();
    service.post_event(&payment("pi_1", "evt_2", NOW + 1)).await;
    let is_paused = |executions: &[Value]| executions[1]["error_class"] == "restricted_resource";
    service.until("it is paused", is_paused).await;
    // These could be written, and would seem to prove that the token works.
    for number in 3..6 {
        service.post_event(&payment(&format!("pi_{number}"), &format!("evt_{number}"), NOW)).await;
    }
    stays_paused(&service, "update", 3).await;
    assert_eq!(service.sandbox.page_count(), 1);
    service.sandbox.clear_faults();
    let executions = service.until_finished(5).await;
    assert!(executions.iter().all(|execution| execution["status"] == "success"), "{executions:?}");
}

#[tokio::test]
async fn a_pause_without_a_backlog_ends_at_the_next_probe() {
    let service = Service::start().await;
    service.sandbox.fault(FaultRule::always(Fault::Restricted).on(Route::Create)).unwrap();
    service.post_event(&payment("pi_1", "evt_1", NOW)).await;
    stays_paused(&service, "create", 1).await;
    let cancel = rows::executions().in_status("pending").set(&[Set::Status("cancelled")]);
    within("the pause ends", async {
        while service.database.count(rows::paused()).await > 0 {
            // Again, since an attempt under way leaves it pending.
            service.database.change(&cancel).await;
        }
    })
    .await;
    service.post_event(&payment("pi_1", "evt_2", NOW)).await;
    stays_paused(&service, "create", 1).await;
}

#[tokio::test]
async fn a_starting_process_probes_paused_destinations_at_once() {
    let service = Service::start().await;
    let pause = Paused {
        class: "unauthorized",
        reason: "no",
        remedy: "set a new NOTION_API_KEY",
        probed_in: Some(Duration::from_hours(24)),
        ..Paused::of("notion")
    };
    // While no service runs: one that has just started would also probe.
    let (database, replica) = (service.database.clone(), service.replica());
    service.stop().await;
    database.change(pause).await;
    let restarted = replica.start().await;
    restarted.until_health("the pause ends", |health| health["status"] == "ok").await;
    assert_eq!(database.count(rows::paused()).await, 0);
}

#[tokio::test]
async fn an_attempt_longer_than_the_probe_interval_ends_its_pause() {
    let service = Service::start().await;
    service.sandbox.fault(FaultRule::once(Fault::Restricted).on(Route::Create)).unwrap();
    service.sandbox.fault(FaultRule::always(Fault::Slow { delay_ms: 200 }).on(Route::Create)).unwrap();
    service.post_event(&payment("pi_1", "evt_0", NOW)).await;
    let is_paused = |executions: &[Value]| executions[0]["error_class"] == "restricted_resource";
    service.until("it is paused", is_paused).await;
    for number in 1..6 {
        service.post_event(&payment("pi_1", &format!("evt_{number}"), NOW)).await;
    }
    service.until_finished(6).await;
    assert!(service.sandbox.peak_concurrency() >= 2, "they run concurrently after the first success");
}

#[tokio::test]
async fn ended_pauses_are_recorded() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let store = service.database.store();
    let trouble = Pause {
        class: "unauthorized".to_owned(),
        reason: "the token is refused".to_owned(),
        remedy: "set a new NOTION_API_KEY".to_owned(),
        execution: None,
        by: None,
    };
    let caller = Caller::at_command_line("jane");
    assert!(!store.destinations.resume("notion").await.unwrap());
    store.destinations.pause("notion", &trouble, Duration::from_mins(1)).await.unwrap();
    assert!(store.destinations.resume("notion").await.unwrap());
    store.destinations.pause_manually("notion", "moving", &caller).await.unwrap();
    assert!(!store.destinations.resume("notion").await.unwrap(), "only an operator ends it");
    assert!(store.destinations.resume_manually("notion", &caller).await.unwrap());
    let pauses = service.database.past_pauses("notion").await;
    assert_eq!(pauses, "unauthorized the token is refused, manual by cli:jane: moving");
}

#[tokio::test]
async fn a_pause_whose_cause_outlasts_a_resumption_goes_on() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let (store, database) = (service.database.store(), &service.database);
    let trouble = Pause {
        class: "unauthorized".to_owned(),
        reason: "the token is refused".to_owned(),
        remedy: "set a new NOTION_API_KEY".to_owned(),
        execution: None,
        by: None,
    };
    let other = Pause { reason: "another token is refused".to_owned(), ..trouble.clone() };
    let caller = Caller::at_command_line("jane");
    let pause = async |pause: &Pause| {
        let is_new = store.destinations.pause("notion", pause, Duration::from_mins(1)).await.unwrap();
        (is_new, database.paused_since_us().await)
    };
    let (_, first) = pause(&trouble).await;
    assert!(store.destinations.resume_manually("notion", &caller).await.unwrap());
    let (is_new, again) = pause(&trouble).await;
    assert!(is_new, "it was running in between");
    assert_eq!(again, first, "the cause was never gone");
    assert!(store.destinations.resume("notion").await.unwrap());
    assert_eq!(pause(&trouble).await.1, first, "however often it is resumed");
    assert!(!pause(&trouble).await.0, "it is paused already");

    assert!(store.destinations.resume("notion").await.unwrap());
    let (_, for_another) = pause(&other).await;
    assert!(for_another > first, "another cause is a new pause");
    assert!(store.destinations.resume("notion").await.unwrap());
    database.change(rows::age_past_pauses(Duration::from_mins(11))).await;
    let (_, later) = pause(&other).await;
    assert!(later > for_another, "long after a resumption the cause is a new one");
    assert!(store.destinations.resume("notion").await.unwrap());
    database.change(rows::age_past_pauses(Duration::from_mins(3))).await;
    database.change(rows::statistic("minute", "delivered", "notion", 1)).await;
    let (_, after_deliveries) = pause(&other).await;
    assert!(after_deliveries > later, "it worked in between");
}

#[tokio::test]
async fn after_idling_only_the_slots_of_two_seconds_are_free() {
    const AT_ONCE: Slot = Slot::In(Duration::ZERO);
    let database = Database::new().await;
    let store = database.store();
    let take = async |gap_seconds| {
        let (gap, patience) = (Duration::from_secs(gap_seconds), Duration::from_secs(5));
        store.rate_limits.take_slot("c", gap, patience).await.unwrap()
    };
    // Those of two, one and no seconds ago; the next one is an hour away.
    let slots = [take(1).await, take(1).await, take(3600).await];
    assert_eq!(slots, [AT_ONCE; 3]);
    let Slot::NotBefore(wait) = take(1).await else { panic!("no slot is left") };
    assert!(wait > Duration::from_mins(50), "{wait:?}");
}

#[tokio::test]
async fn slots_count_the_calls_of_the_last_minute() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let store = service.database.store();
    for _ in 0..3 {
        let slot =
            store.rate_limits.take_slot("c", Duration::from_millis(1), Duration::from_secs(5)).await.unwrap();
        assert!(matches!(slot, Slot::In(_)), "{slot:?}");
    }
    let calls = async || store.rate_limits.limiters(&["c".to_owned()]).await.unwrap()[0].calls;
    assert_eq!(calls().await, 3);
    service.database.change(rows::age_call_counts()).await;
    assert!((0..=3).contains(&calls().await), "only those within the last sixty seconds");
    service.database.change(rows::age_call_counts()).await;
    assert_eq!(calls().await, 0);
}
