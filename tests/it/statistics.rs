//! Counts for each minute and hour, reported after the processes that counted them have ended.

use crate::harness::{Database, Service, rows, signed};
use axum::body::Body;
use axum::http::Request;
use eventbridge::store::{Addition, Per};
use serde_json::{Value, json};
use std::time::Duration;

fn event(id: &str) -> String {
    json!({"id": id, "type": "invoice.paid", "data": {"object": {"id": "in_1", "object": "invoice"}}})
        .to_string()
}

fn addition(age: Duration, kind: &'static str, n: i64) -> Addition {
    Addition { age, kind, name: String::new(), le_ms: 0, n }
}

async fn total(service: &Service, query: &str) -> Value {
    let answer = service.get(&format!("/api/v1/stats?{query}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["total"].clone()
}

#[tokio::test]
async fn counts_of_two_processes_are_summed_and_survive_them() {
    let one = Service::start().await;
    let other = one.replica().start().await;
    let reader = one.replica().set("DESTINATIONS", "").start().await;
    one.post_event(&event("evt_1")).await;
    other.post_event(&event("evt_1")).await;
    other.post_event(&event("evt_2")).await;
    one.call(signed("no event")).await.problem(400);
    let unsigned = Request::post("/api/v1/webhooks/stripe").header("host", "localhost");
    other.call(unsigned.body(Body::empty()).unwrap()).await.problem(400);
    let database = one.database.clone();
    crate::harness::within("both are delivered", async {
        while database.count(rows::executions().in_status("success")).await < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    one.stop().await;
    other.stop().await;
    for per in ["minute", "hour"] {
        let total = total(
            &reader,
            &format!("per={per}&started_before=2100-01-01T00:00:00Z&started_after=2099-12-31T23:00:00Z"),
        )
        .await;
        assert_eq!(total["received"], 0, "{per}: {total}");
    }
    // The minute or the hour may have changed meanwhile, so the whole range is requested.
    for query in ["", "per=minute", "per=hour"] {
        let total = total(&reader, query).await;
        for (field, expected) in [
            ("received", json!(2)),
            ("duplicates", json!(1)),
            ("rejected", json!(2)),
            ("rejected_by_reason", json!({"body_not_an_event": 1, "signature_missing": 1})),
            ("delivered", json!(2)),
            ("failed", json!(0)),
        ] {
            assert_eq!(total[field], expected, "{query}: {field} of {total}");
        }
        let latency = &total["destinations"]["notion"]["latency"];
        let counted =
            latency["buckets"].as_array().unwrap().iter().map(|bucket| bucket["count"].as_u64().unwrap());
        assert_eq!(counted.sum::<u64>(), 2, "{latency}");
        assert!(latency["p95_ms"].as_u64().unwrap() < 60_000, "{latency}");
        assert_eq!(latency, &total["latency"]);
    }
}

#[tokio::test]
async fn counts_are_listed_by_minute_oldest_first() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let store = service.database.store();
    let additions = [
        addition(Duration::from_mins(10), "received", 1),
        addition(Duration::from_mins(5), "received", 2),
        addition(Duration::from_mins(5), "received", 4),
    ];
    store.statistics.add_statistics(&additions).await.unwrap();
    store.statistics.add_statistics(&additions[..1]).await.unwrap();
    let stats = service.get("/api/v1/stats?per=minute").await.json();
    let received: Vec<_> =
        stats["data"].as_array().unwrap().iter().map(|span| span["received"].as_i64().unwrap()).collect();
    assert_eq!(received, [2, 6], "{stats}");
    assert_eq!(stats["total"]["received"], 8);
    assert_eq!(stats["total"]["latency"]["p50_ms"], Value::Null);
}

#[tokio::test]
async fn a_range_is_bounded_and_an_invalid_one_is_rejected() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    for (query, detail) in [
        ("per=day", "minute, hour"),
        ("started_after=yesterday", "started_after"),
        ("since=1", "since"),
        ("started_after=2026-01-01T00:00:00Z&started_before=2026-01-01T00:00:00Z", "before"),
        ("started_after=2026-01-01&started_before=2026-01-03", "1500 minutes"),
        ("per=hour&started_after=2020-01-01T00:00:00Z", "1500 hours"),
        ("started_before=-262143-01-01T00:00:00Z", "time"),
    ] {
        let answer = service.get(&format!("/api/v1/stats?{query}")).await;
        assert_eq!(answer.problem(400), "bad_request", "{query}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(detail), "{query}: {answer:?}");
    }
}

#[tokio::test]
async fn old_minutes_are_removed_and_hours_kept() {
    let store = Database::new().await.store();
    let days = |count: u64| Duration::from_hours(24 * count);
    for age in [days(0), days(3), days(500)] {
        store.statistics.add_statistics(&[addition(age, "received", 1)]).await.unwrap();
    }
    assert!(!store.statistics.remove_old_statistics().await.unwrap());
    let now = store.reports.now().await.unwrap();
    for (per, expected) in [(Per::Minute, 1), (Per::Hour, 2)] {
        let left = store.statistics.statistics(per, now - days(1000), now + days(1)).await.unwrap();
        assert_eq!(left.len(), expected, "{per:?}: {left:?}");
    }
}
