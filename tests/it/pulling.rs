//! `STRIPE_PULL=on`: events are fetched from Stripe's list, none is left out, and none is delivered twice.

use crate::harness::{
    Database, NOW, STRIPE_KEY, STRIPE_NOW, Service, ServiceBuilder, StripeApi, eventbridge, rows, signed,
    stripe_event, within,
};
use eventbridge::store::PullState;
use secrecy::ExposeSecret;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;
use stripe_sandbox::{Fault, FaultRule, Sandbox, SandboxHandle, SandboxOptions};
use tempfile::TempDir;

const HOUR: i64 = 3600;

/// A service that fetches from this stand-in and has no webhook.
fn fetching(stripe: &StripeApi) -> ServiceBuilder {
    fetching_with(Service::builder(), stripe).set("STRIPE_WEBHOOK_SECRET", "")
}

fn fetching_with(builder: ServiceBuilder, stripe: &StripeApi) -> ServiceBuilder {
    builder
        .set("STRIPE_API_KEY", STRIPE_KEY)
        .set("STRIPE_API_URL", &stripe.url)
        .set("STRIPE_PULL", "on")
        .set("STRIPE_PULL_SECONDS", "1")
}

fn ids(executions: &[Value]) -> BTreeSet<String> {
    executions.iter().map(|execution| execution["event_id"].as_str().unwrap().to_owned()).collect()
}

fn named(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<String> {
    numbers.into_iter().map(|number| format!("evt_{number}")).collect()
}

/// Waits until the state of reading the list is so.
async fn until_state(database: &Database, is_so: impl Fn(&PullState) -> bool) -> PullState {
    let store = database.store();
    within("the list is in that state", async {
        loop {
            let states = store.pulls.states().await.unwrap();
            if let Some(state) = states.into_iter().find(&is_so) {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test]
async fn listed_events_are_stored_byte_for_byte_with_their_origin_and_delivered() {
    let stripe = StripeApi::start().await;
    let event = stripe_event("evt_1", STRIPE_NOW - HOUR);
    stripe.add([event.clone(), stripe_event("evt_2", STRIPE_NOW - 5)]);
    let service = fetching(&stripe).start().await;
    let executions = service.until_finished(2).await;
    assert_eq!(ids(&executions), named([1, 2]));
    assert!(executions.iter().all(|execution| execution["status"] == "success"), "{executions:?}");
    assert_eq!(service.sandbox.pages().len(), 2);

    let shown = service.get("/api/v1/events/evt_1").await.json();
    assert_eq!((&shown["origin"], &shown["verified_by"]), (&"api".into(), &"key-1".into()), "{shown}");
    let payload = service.get("/api/v1/events/evt_1/payload").await;
    assert_eq!(payload.body, serde_json::to_string_pretty(&event).unwrap());
    assert_eq!(payload.headers.get("x-signature"), None);
    assert_eq!(payload.headers["x-verified-by"], "key-1");
    let page = service.get(&format!("/events/{}", shown["id"])).await.body;
    assert!(page.contains("Fetched from its sender") && !page.contains("Verified by"), "{page}");
    let metrics = service.get("/metrics").await.body;
    assert!(metrics.contains("eventbridge_events_fetched_total 2"), "{metrics}");
    assert!(metrics.contains(r#"webhooks_total{outcome="new",reason=""} 0"#), "{metrics}");
    let state = until_state(&service.database, |state| state.read_at.is_some()).await;
    assert!(state.position.is_some() && state.failing.is_none(), "{state:?}");
    service.stop().await;
}

#[tokio::test]
async fn a_webhook_and_a_fetch_of_one_event_are_one_event_in_either_order() {
    let stripe = StripeApi::start().await;
    let service = fetching_with(Service::builder(), &stripe).start().await;
    let webhook = |id: &str| stripe_event(id, NOW - 300).to_string();
    assert_eq!(service.post_event(&webhook("evt_1")).await.json()["accepted"], true);
    stripe.add([1, 2].map(|number| stripe_event(&format!("evt_{number}"), STRIPE_NOW - 300)));
    service.until_finished(2).await;
    let answer = service.post_event(&webhook("evt_2")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["accepted"]), (200, &false.into()));
    let origin = async |id: &str| service.get(&format!("/api/v1/events/{id}")).await.json()["origin"].clone();
    assert_eq!((origin("evt_1").await, origin("evt_2").await), ("webhook".into(), "api".into()));
    assert_eq!(service.sandbox.pages().len(), 2);
    service.stop().await;
}

#[tokio::test]
async fn a_young_event_is_left_to_its_webhook_for_a_while() {
    let stripe = StripeApi::start().await;
    stripe.add([stripe_event("evt_1", STRIPE_NOW - 60), stripe_event("evt_2", STRIPE_NOW - 5)]);
    let service = fetching_with(Service::builder(), &stripe).start().await;
    service.until_finished(1).await;
    stripe.until_more_requests(2).await;
    assert_eq!(service.database.count(rows::events().called("evt_2")).await, 0);
    stripe.set_now(STRIPE_NOW + 30);
    service.until_finished(2).await;
    service.stop().await;
}

#[tokio::test]
async fn events_that_come_in_while_pages_are_read_are_not_left_out() {
    let stripe = StripeApi::start().await;
    stripe.set_page_max(2);
    stripe.add(
        (1..=6).map(|number| stripe_event(&format!("evt_{number}"), STRIPE_NOW - HOUR + i64::from(number))),
    );
    // The first request only asks for the time.
    stripe.add_at(2, stripe_event("evt_7", STRIPE_NOW));
    // One that is listed late: it is older than the newest that was read.
    stripe.add_at(5, stripe_event("evt_8", STRIPE_NOW - 120));
    let service = fetching(&stripe).start().await;
    let executions = service.until_finished(8).await;
    assert_eq!(ids(&executions), named(1..=8));
    assert_eq!(service.sandbox.pages().len(), 8);
    service.stop().await;
}

#[tokio::test]
async fn a_backlog_of_many_pages_is_filled_from_its_oldest_end_while_new_events_come_first() {
    let stripe = StripeApi::start().await;
    stripe.set_page_max(1);
    let created = |number: u32| STRIPE_NOW - 20 * 24 * HOUR + i64::from(number) * 24 * HOUR;
    stripe.add((1..=15).map(|number| stripe_event(&format!("evt_{number}"), created(number))));
    let service = fetching(&stripe).start().await;
    let executions = service.until_finished(15).await;
    assert_eq!(ids(&executions), named(1..=15));
    let log = stripe.log();
    assert!(log.iter().any(|line| line.contains("created[lt]")), "a gap was filled: {log:?}");
    until_state(&service.database, |state| {
        state.position.is_some_and(|position| position.timestamp() > STRIPE_NOW - 60)
    })
    .await;
    service.stop().await;
}

#[tokio::test]
async fn a_failure_in_the_middle_of_the_pages_leaves_nothing_out() {
    let stripe = StripeApi::start().await;
    stripe.set_page_max(2);
    stripe.add(
        (1..=6).map(|number| stripe_event(&format!("evt_{number}"), STRIPE_NOW - HOUR + i64::from(number))),
    );
    stripe.fail(2, 500);
    // The next turn asks for the time again.
    stripe.fail(5, 429);
    let service = fetching(&stripe).start().await;
    until_state(&service.database, |state| state.failing.is_some()).await;
    let executions = service.until_finished(6).await;
    assert_eq!(ids(&executions), named(1..=6));
    until_state(&service.database, |state| state.failing.is_none() && state.position.is_some()).await;
    service.stop().await;
}

#[tokio::test]
async fn a_whole_shop_is_fetched_as_stripe_lists_it_despite_faults() {
    let options = SandboxOptions { now: Some(STRIPE_NOW), speed: 0.0, ..SandboxOptions::default() };
    let shop = Sandbox::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
    let handle = shop.handle();
    for (requests, fault) in [
        (2, Fault::DropBody),
        (4, Fault::RateLimited { retry_after: Some(0), should_retry: None }),
        (5, Fault::Html { status: 502 }),
        (7, Fault::Error { status: 503, should_retry: Some(false) }),
        (9, Fault::Drop),
    ] {
        handle.fault(FaultRule::once(fault).on("events").after(requests)).unwrap();
    }
    let listed = |handle: &SandboxHandle| -> BTreeMap<String, Value> {
        let events = handle.events().into_iter();
        let recent =
            events.filter(|event| event["created"].as_i64().unwrap() >= handle.now() - 30 * 24 * HOUR);
        recent.map(|event| (event["id"].as_str().unwrap().to_owned(), event)).collect()
    };
    let expected = listed(&handle);
    assert!(expected.len() > 1000, "many pages: {}", expected.len());
    let service = Service::builder()
        .set("STRIPE_WEBHOOK_SECRET", "")
        .set("STRIPE_API_KEY", stripe_sandbox::RESTRICTED_KEY)
        .set("STRIPE_API_URL", shop.base_url())
        .set("STRIPE_PULL", "on")
        .set("STRIPE_PULL_SECONDS", "1")
        .set("DESTINATIONS", "")
        .start()
        .await;
    let until_stored = async |count: usize| {
        let count = i64::try_from(count).unwrap();
        within("all events of the shop are stored", async {
            while service.database.count(rows::events()).await < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    };
    until_stored(expected.len()).await;
    handle.advance(Duration::from_hours(24));
    let later = listed(&handle);
    let all: BTreeMap<_, _> = expected.into_iter().chain(later).collect();
    until_stored(all.len()).await;
    let page = service.get("/api/v1/events?limit=200").await.json();
    for event in page["data"].as_array().unwrap() {
        let payload = service.get(&format!("/api/v1/events/{}/payload", event["id"])).await.json();
        assert_eq!(Some(&payload), all.get(event["event_id"].as_str().unwrap()));
    }
    assert_eq!(service.database.count(rows::events()).await, i64::try_from(all.len()).unwrap());
    assert!(handle.faults().is_empty(), "each fault happened: {:?}", handle.faults());
    service.stop().await;
    shop.shutdown().await;
}

#[tokio::test]
async fn an_account_without_events_is_read_without_a_failure() {
    let stripe = StripeApi::start().await;
    let service = fetching(&stripe).start().await;
    let state = until_state(&service.database, |state| state.position.is_some()).await;
    assert_eq!(state.failing, None);
    stripe.add([stripe_event("evt_1", STRIPE_NOW)]);
    service.until_finished(1).await;
    service.stop().await;
}

#[tokio::test]
async fn a_revoked_key_and_a_missing_permission_are_stated_and_webhooks_continue() {
    for (permissions, class, what) in [
        (None, "key_invalid", "does not accept the API key \"key-1\" of STRIPE_API_KEY"),
        (Some(&["rak_charge_read"][..]), "refused", "lacks the permission rak_event_read"),
    ] {
        let stripe = StripeApi::start().await;
        stripe.set_permissions(STRIPE_KEY, permissions);
        stripe.add([stripe_event("evt_1", STRIPE_NOW - HOUR)]);
        let service = fetching_with(Service::builder(), &stripe).start().await;
        let state = until_state(&service.database, |state| state.failing.is_some()).await;
        let failing = state.failing.unwrap();
        assert_eq!(failing.class, class);
        assert!(failing.message.contains(what) && !failing.message.contains(STRIPE_KEY), "{failing:?}");
        assert!(failing.remedy.contains("dashboard.stripe.com/apikeys"), "{failing:?}");
        assert_eq!((state.position, state.read_at), (None, None), "nothing is half done");
        let answer = service.post_event(&stripe_event("evt_2", NOW).to_string()).await;
        assert_eq!(answer.json()["accepted"], true);
        service.until_finished(1).await;
        service.stop().await;
    }
}

#[tokio::test]
async fn events_before_the_given_day_are_left_alone() {
    let stripe = StripeApi::start().await;
    // 1,800,000,000 is 2027-01-15 08:00 UTC.
    let day = STRIPE_NOW - 8 * HOUR;
    stripe.add([
        stripe_event("evt_1", day - 1),
        stripe_event("evt_2", day),
        stripe_event("evt_3", STRIPE_NOW),
    ]);
    let service = fetching(&stripe).set("STRIPE_PULL_SINCE", "2027-01-15").start().await;
    let executions = service.until_finished(2).await;
    assert_eq!(ids(&executions), named([2, 3]));
    until_state(&service.database, |state| state.position.is_some()).await;
    assert_eq!(service.database.count(rows::events()).await, 2);
    service.stop().await;
}

#[tokio::test]
async fn a_list_is_read_by_one_replica_and_the_other_takes_over() {
    let (first, second) = (StripeApi::start().await, StripeApi::start().await);
    let service = fetching(&first).start().await;
    first.until_requests(2).await;
    let replica = fetching_with(service.replica(), &second).set("STRIPE_WEBHOOK_SECRET", "").start().await;
    first.until_more_requests(3).await;
    assert_eq!(second.log(), Vec::<String>::new(), "the first one holds the lease");
    service.stop().await;
    second.until_requests(1).await;
    replica.stop().await;
}

#[tokio::test]
async fn after_a_kill_reading_continues_where_nothing_is_left_out() {
    let (stripe, database, folder) =
        (StripeApi::start().await, Database::new().await, TempDir::new().unwrap());
    stripe.set_page_max(2);
    stripe.add(
        (1..=6).map(|number| stripe_event(&format!("evt_{number}"), STRIPE_NOW - HOUR + i64::from(number))),
    );
    let serve = || {
        let mut command = eventbridge(folder.path());
        command.arg("serve").stdout(Stdio::null()).stderr(Stdio::null()).envs([
            ("DATABASE_URL", database.url().expose_secret()),
            ("AUTH", "off"),
            ("LISTEN_ADDR", "127.0.0.1:0"),
            ("DESTINATIONS", ""),
            ("STRIPE_API_KEY", STRIPE_KEY),
            ("STRIPE_API_URL", &stripe.url),
            ("STRIPE_PULL", "on"),
            ("STRIPE_PULL_SECONDS", "1"),
        ]);
        command
    };
    // The time, and the first of the three pages.
    stripe.hold_after(2);
    let mut killed = serve().spawn().unwrap();
    stripe.until_requests(3).await;
    let store = database.store();
    within("the first page is stored", async {
        while database.count(rows::events()).await < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    killed.kill().await.unwrap();
    assert_eq!(store.pulls.states().await.unwrap(), [], "the position has not moved");
    stripe.let_all_pass();
    // The lease of the dead process ends by itself; a test does not wait for that.
    database.change(rows::end_named_leases()).await;
    let _running = serve().spawn().unwrap();
    within("all events are stored", async {
        while database.count(rows::events()).await < 6 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    until_state(&database, |state| state.position.is_some()).await;
    assert_eq!(database.count(rows::events()).await, 6);
}

#[tokio::test]
async fn fetched_events_do_not_hide_that_webhooks_are_rejected() {
    let stripe = StripeApi::start().await;
    let service = fetching_with(Service::builder(), &stripe).start().await;
    for number in 0..3 {
        let mut request = signed(&stripe_event(&format!("evt_{number}"), NOW).to_string());
        let wrong = format!("t={NOW},v1={}", "0".repeat(64));
        request.headers_mut().insert("stripe-signature", wrong.parse().unwrap());
        assert_eq!(service.call(request).await.status, 400);
    }
    stripe.add([stripe_event("evt_9", STRIPE_NOW - HOUR)]);
    service.until_finished(1).await;
    let listed = within("the rejections are recorded", async {
        loop {
            let listed = service.get("/api/v1/rejections").await.json();
            if listed["causes"].as_array().is_some_and(|causes| !causes.is_empty()) {
                return listed;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(listed["causes"][0]["is_current"], true, "{listed}");
    service.stop().await;
}

#[tokio::test]
async fn fetching_needs_a_key_and_no_webhook_secret() {
    let folder = TempDir::new().unwrap();
    let mut serve = eventbridge(folder.path());
    serve.arg("serve").envs([("STRIPE_PULL", "on"), ("STRIPE_PULL_SINCE", "last month")]);
    let done = crate::harness::output(&mut serve).await;
    let printed = crate::harness::text(&done.stderr);
    assert!(printed.contains("STRIPE_API_KEY is missing"), "{printed}");
    assert!(printed.contains("STRIPE_PULL_SINCE must be a date"), "{printed}");
    assert!(!printed.contains("STRIPE_WEBHOOK_SECRET"), "{printed}");
}
