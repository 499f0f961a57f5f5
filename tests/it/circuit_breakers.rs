//! A destination that fails repeatedly: its circuit breaker opens, and then allows one trial at a time.
//! Other instances keep their own slots.

use crate::harness::rows::Paused;
use crate::harness::{Database, NOW, Service, rows, within};
use notion_sandbox::{DATABASE_ID, Fault, FaultRule, Route, TOKEN, Template};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// A state of a payment.
fn payment(object: &str, event: &str, created: i64) -> String {
    json!({"id": event, "object": "event", "type": "payment_intent.processing", "created": created,
           "livemode": false, "data": {"object": {"id": object, "object": "payment_intent", "amount": 100,
           "currency": "eur", "status": "processing"}}})
    .to_string()
}

fn status_of(executions: &[Value], event: &str) -> String {
    let found = executions.iter().find(|execution| execution["event_id"] == event);
    found.map_or_else(String::new, |execution| execution["status"].as_str().unwrap().to_owned())
}

/// A service that delivers objects and whose circuit breaker has opened; `pi_shown` was delivered before.
async fn with_an_open_circuit_breaker() -> Service {
    let service = Service::builder()
        .set("NOTION_MODE", "object")
        .retry_base(Duration::from_hours(1))
        .template(Template::Full)
        .start()
        .await;
    service.post_event(&payment("pi_shown", "evt_shown", NOW)).await;
    service.until_finished(1).await;
    service.sandbox.fault(FaultRule::always(Fault::Conflict)).unwrap();
    for number in 0..5 {
        service.post_event(&payment(&format!("pi_{number}"), &format!("evt_{number}"), NOW)).await;
    }
    let have_failed = |executions: &[Value]| {
        let has_failed = |one: &&Value| one["attempt_count"] == 1 && one["status"] == "pending";
        executions.iter().filter(has_failed).count() == 5
    };
    service.until("five have failed", have_failed).await;
    service.sandbox.clear_faults();
    service
}

#[tokio::test]
async fn a_trial_without_a_call_is_followed_by_the_next_one() {
    let service = with_an_open_circuit_breaker().await;
    let nameless =
        r#"{"id":"evt_nameless","type":"invoice.upcoming","data":{"object":{"object":"invoice"}}}"#;
    let thin =
        r#"{"id":"evt_thin","type":"v1.invoice.paid","related_object":{"id":"in_1","type":"invoice"}}"#;
    let older = payment("pi_shown", "evt_older", NOW - 60);
    for (body, event, ending) in [
        (nameless, "evt_nameless", "skipped"),
        (thin, "evt_thin", "skipped"),
        (&older, "evt_older", "superseded"),
    ] {
        service.post_event(body).await;
        service.until(event, |executions| status_of(executions, event) == ending).await;
    }
    // A body that is removed before its execution is claimed.
    service.database.change(Paused::of("notion")).await;
    service.post_event(&payment("pi_empty", "evt_empty", NOW)).await;
    service.database.change(rows::remove_body("evt_empty")).await;
    service.database.change(rows::end_pauses()).await;
    service.until("evt_empty", |executions| status_of(executions, "evt_empty") == "skipped").await;

    service.post_event(&payment("pi_last", "evt_last", NOW)).await;
    service.until("evt_last", |executions| status_of(executions, "evt_last") == "success").await;
}

#[tokio::test]
async fn an_instance_that_hangs_leaves_the_others_their_slots() {
    // It takes every connection and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let builder = Service::builder().on(Arc::new(Database::new().await)).await;
    let sandbox = builder.sandbox_url();
    let mut builder = builder.set("DESTINATIONS", "hangs:notion,works:notion").set("WORKER_CONCURRENCY", "4");
    for (name, url, types) in [("HANGS", &address, "invoice.paid"), ("WORKS", &sandbox, "charge.succeeded")] {
        builder = builder
            .set(&format!("{name}_API_URL"), url)
            .set(&format!("{name}_API_KEY"), TOKEN)
            .set(&format!("{name}_DATABASE_ID"), &DATABASE_ID.to_string())
            .set(&format!("{name}_RATE_PER_MINUTE"), "0")
            .set(&format!("{name}_EVENT_TYPES"), types);
    }
    let service = builder.start().await;
    for number in 0..8 {
        service.post_event(&format!(r#"{{"id":"evt_{number}","type":"invoice.paid"}}"#)).await;
    }
    let running = rows::executions().in_status("running");
    within("the instance has all its slots", async { while service.database.count(&running).await < 3 {} })
        .await;
    for number in 0..3 {
        let event = format!("evt_works_{number}");
        service.post_event(&format!(r#"{{"id":"{event}","type":"charge.succeeded"}}"#)).await;
        service.until(&event, |executions| status_of(executions, &event) == "success").await;
    }
    assert_eq!(service.database.count(&running).await, 3);
}

#[tokio::test]
async fn everyone_sees_that_a_destination_is_left_alone_and_why() {
    // Retries are due soon and fail, so the rests become longer than the time between two reports.
    let service = Service::builder()
        .set("RETRY_ATTEMPTS_MAX", "50")
        .retry_base(Duration::from_millis(200))
        .start()
        .await;
    service.sandbox.fault(FaultRule::always(Fault::Error { status: 502 })).unwrap();
    for number in 0..6 {
        service.post_event(&json!({"id": format!("evt_{number}"), "type": "invoice.paid"}).to_string()).await;
    }
    let view = within("it is reported", async {
        loop {
            let view = service.get("/api/v1/destinations").await.json()["data"][0].clone();
            if view["state"] == "backing_off" {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let rest = &view["back_off"];
    assert_eq!(
        (&rest["reason"], &rest["process_count"], &rest["worker_count"]),
        (&json!("repeated 502"), &json!(1), &json!(1))
    );
    // One of them is tried, to find out whether the destination works again. The others wait.
    for number in 0..3 {
        service
            .post_event(&json!({"id": format!("evt_new_{number}"), "type": "invoice.paid"}).to_string())
            .await;
    }
    service
        .until("one of the new ones says so", |executions| {
            executions.iter().any(|one| {
                let reason = one["reason"].as_str().unwrap_or_default();
                reason.contains("backing off until") && reason.contains("after repeated 502")
            })
        })
        .await;
    service.sandbox.clear_faults();
}

#[tokio::test]
async fn a_healthy_event_does_not_wait_for_the_retries_of_failing_ones() {
    let service = Service::builder()
        .set("RETRY_ATTEMPTS_MAX", "50")
        .retry_base(Duration::from_millis(200))
        .start()
        .await;
    service
        .sandbox
        .fault(
            FaultRule::always(Fault::Error { status: 502 }).on(Route::Create).containing("charge.refunded"),
        )
        .unwrap();
    for number in 0..6 {
        service
            .post_event(&json!({"id": format!("evt_{number}"), "type": "charge.refunded"}).to_string())
            .await;
    }
    let attempts =
        |executions: &[Value]| executions.iter().filter_map(|one| one["attempt_count"].as_i64()).sum::<i64>();
    // Trials of the failing ones have failed several times: the next one is some seconds away.
    let before = attempts(&service.until("trials have failed", |executions| attempts(executions) >= 9).await);
    service.post_event(&json!({"id": "evt_healthy", "type": "invoice.paid"}).to_string()).await;
    let executions = service
        .until("the healthy one is delivered", |executions| status_of(executions, "evt_healthy") == "success")
        .await;
    let failing: Vec<_> = executions.iter().filter(|one| one["event_id"] != "evt_healthy").cloned().collect();
    assert!(attempts(&failing) <= before + 2, "{executions:?}");
}
