//! Listings: the events and executions that a filter shows, and the filters that require a time range.

use crate::harness::{NOW, SECRET, Service, rows, within};
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use eventbridge::sources::stripe;
use serde_json::{Value, json};

async fn post(service: &Service, events: &[Value]) {
    for event in events {
        assert_eq!(service.post_event(&event.to_string()).await.status, StatusCode::OK);
    }
}

async fn found(service: &Service, path: &str) -> Vec<String> {
    let answer = service.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
    let listing = answer.json();
    listing["data"].as_array().unwrap().iter().map(|row| row["event_id"].as_str().unwrap().into()).collect()
}

/// The day before today, by the database's clock, as a parameter.
async fn yesterday(service: &Service) -> String {
    let seconds = service.database.start_of_yesterday().await;
    chrono::DateTime::from_timestamp(seconds, 0).unwrap().format("%Y-%m-%d").to_string()
}

#[tokio::test]
async fn events_and_executions_are_filtered_by_their_properties() {
    let service = Service::builder().set("NOTION_EVENT_TYPES", "invoice.*").start().await;
    let object = |id: &str| json!({"object": {"id": id, "object": "invoice"}});
    post(
        &service,
        &[
            json!({"id": "evt_a", "type": "invoice.paid", "livemode": true, "data": object("in_1")}),
            json!({"id": "evt_b", "type": "charge.refunded", "livemode": false, "account": "acct_1"}),
            json!({"id": "evt_c", "type": "invoice.created", "livemode": false, "data": object("in_1")}),
            json!({"id": "evt_d", "type": "v1.invoice.paid", "data": object("in_2")}),
            json!({"id": "evt_e", "type": "invoices", "data": object("in_3")}),
        ],
    )
    .await;
    service.until_finished(3).await;
    let since = format!("received_after={}", yesterday(&service).await);
    for (query, expected) in [
        ("", vec!["evt_e", "evt_d", "evt_c", "evt_b", "evt_a"]),
        ("type=invoice.paid", vec!["evt_d", "evt_a"]),
        ("type=invoice.*", vec!["evt_d", "evt_c", "evt_a"]),
        ("type=*.refunded,invoice.created", vec!["evt_c", "evt_b"]),
        ("type=%40payments", vec!["evt_b"]),
        ("type=nothing.*", vec![]),
        ("type=invoice.*&limit=1", vec!["evt_d"]),
        ("object_id=in_1", vec!["evt_c", "evt_a"]),
        ("object_id=in_1&livemode=true", vec!["evt_a"]),
        ("object_id=in_1&type=invoice.created&status=success", vec!["evt_c"]),
        ("account=acct_1&since", vec!["evt_b"]),
        ("livemode=false&since", vec!["evt_c", "evt_b"]),
        ("source=stripe&type=invoice.paid&since", vec!["evt_d", "evt_a"]),
        ("source=elsewhere&since", vec![]),
        ("status=success&since", vec!["evt_d", "evt_c", "evt_a"]),
        ("status=success&type=invoice.created&since", vec!["evt_c"]),
        ("status=failed&since", vec![]),
    ] {
        let query = query.replace("since", &since);
        assert_eq!(found(&service, &format!("/api/v1/events?{query}")).await, expected, "{query}");
    }
    let since = since.replace("received", "created");
    for (query, expected) in [
        ("status=success&since", vec!["evt_d", "evt_c", "evt_a"]),
        ("status=failed", vec![]),
        ("type=invoice.created&since", vec!["evt_c"]),
        ("type=charge.refunded&since", vec![]),
        ("source=stripe&limit=1&since", vec!["evt_d"]),
        ("destination=notion&status=success&since", vec!["evt_d", "evt_c", "evt_a"]),
        ("destination=elsewhere&since", vec![]),
        ("error_class=unauthorized&since", vec![]),
        ("event_id=evt_c", vec!["evt_c"]),
        ("event_id=evt_c&status=pending", vec![]),
        ("event_id=evt_none", vec![]),
        ("event_id=3", vec!["evt_c"]),
    ] {
        let query = query.replace("since", &since);
        assert_eq!(found(&service, &format!("/api/v1/executions?{query}")).await, expected, "{query}");
    }
}

#[tokio::test]
async fn a_time_range_is_exact() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let events: Vec<_> =
        (0..40).map(|number| json!({"id": format!("evt_{number}"), "type": "a.b"})).collect();
    post(&service, &events).await;
    // One event a minute, with gaps in the ids and some times out of order, as concurrent writers produce
    // them.
    service.database.change(rows::minute_apart_with_gaps()).await;
    let expected = |after: f64, before: f64| -> Vec<String> {
        (1..=40_i32)
            .rev()
            .filter(|id| id % 7 != 0)
            .filter(|id| {
                let minute = f64::from(*id) - if id % 5 == 0 { 0.4 } else { 0.0 };
                minute >= after && minute < before
            })
            .map(|id| format!("evt_{}", id - 1))
            .collect()
    };
    for (after, before) in [(0, 59), (1, 40), (10, 20), (5, 6), (39, 41), (20, 10), (45, 59)] {
        let window = format!(
            "received_after=2026-01-01T00:{after:02}:00Z&received_before=2026-01-01T00:{before:02}:00Z"
        );
        for more in ["", "&type=a.*", "&source=stripe", "&source=stripe&type=a.b"] {
            let path = format!("/api/v1/events?{window}{more}");
            assert_eq!(found(&service, &path).await, expected(f64::from(after), f64::from(before)), "{path}");
        }
    }
    let all = found(&service, "/api/v1/events?received_before=2026-02-01&received_after=2026-01-01").await;
    assert_eq!(all, expected(0.0, 60.0));
}

#[tokio::test]
async fn a_filter_without_an_index_accepts_a_range_of_at_most_a_month() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    for (path, parameter, param) in [
        (
            "/api/v1/events?source=stripe&received_after=2020-01-01T00:00:00%2B00:00",
            "received_before",
            "received_after",
        ),
        (
            "/api/v1/events?source=stripe&received_after=2026-01-01&received_before=2026-02-02",
            "31 days",
            "received_after",
        ),
        ("/api/v1/executions?status=success&created_after=2026-01-01", "created_before", "created_after"),
    ] {
        let answer = service.get(path).await;
        assert_eq!(answer.problem(400), "time_range_required", "{path}");
        let problem = answer.json();
        assert!(problem["detail"].as_str().unwrap().contains(parameter), "{path}: {answer:?}");
        assert_eq!(problem["param"], param, "{path}");
    }
    let month = "/api/v1/events?source=stripe&received_after=2026-01-01&received_before=2026-02-01";
    assert_eq!(service.get(month).await.status, StatusCode::OK);
}

/// The number of whole days from the start of an answer's time range to its end, or now.
async fn window_days(service: &Service, path: &str) -> Option<i64> {
    let answer = service.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
    let window = answer.json()["window"].clone();
    let time = |end: &str| window[end].as_str().map(|text| text.parse::<DateTime<Utc>>().unwrap());
    let now: DateTime<Utc> = std::time::SystemTime::now().into();
    let end = time("before").map_or(now, |before| before.min(now));
    time("after").map(|after| (end - after + TimeDelta::hours(1)).num_days())
}

#[tokio::test]
async fn without_a_time_range_a_filter_without_an_index_covers_the_last_days_and_the_answer_states_them() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    for path in [
        "/api/v1/events?livemode=true",
        "/api/v1/events?status=failed",
        "/api/v1/events?type=invoice.*&account=acct_1",
        "/api/v1/events?source=stripe&received_before=2026-11-01",
        "/api/v1/events?source=stripe&received_before=2099-11-01",
        "/api/v1/executions?status=success",
        "/api/v1/executions?status=failed&destination=notion",
    ] {
        assert_eq!(window_days(&service, path).await, Some(30), "{path}");
    }
    for path in [
        "/api/v1/events",
        "/api/v1/events?type=invoice.*",
        "/api/v1/events?object_id=in_1&livemode=true",
        "/api/v1/executions?status=failed",
        "/api/v1/executions?event_id=evt_1&status=success",
    ] {
        assert_eq!(window_days(&service, path).await, None, "{path}");
    }
    let given = service.get("/api/v1/events?received_after=2026-01-01&received_before=2026-01-02").await;
    let expected = json!({"after": "2026-01-01T00:00:00Z", "before": "2026-01-02T00:00:00Z"});
    assert_eq!(given.json()["window"], expected);
}

#[tokio::test]
async fn a_next_page_keeps_the_time_range_of_the_first_one() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let events: Vec<_> = (0..5).map(|number| json!({"id": format!("evt_{number}"), "type": "a.b"})).collect();
    post(&service, &events).await;
    let (mut seen, mut windows) = (Vec::new(), Vec::new());
    let mut path = "/api/v1/events?source=stripe&limit=2".to_owned();
    loop {
        let page = service.get(&path).await.json();
        seen.extend(page["data"].as_array().unwrap().iter().map(|row| row["event_id"].clone()));
        windows.push(page["window"].clone());
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/v1/events?source=stripe&limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, ["evt_4", "evt_3", "evt_2", "evt_1", "evt_0"]);
    assert_eq!(windows.len(), 3);
    assert!(windows[0]["after"].is_string(), "{windows:?}");
    assert!(windows.iter().all(|window| *window == windows[0]), "{windows:?}");
}

#[tokio::test]
async fn a_cursor_of_the_default_time_range_is_valid_on_another_day() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let events: Vec<_> = (0..3).map(|number| json!({"id": format!("evt_{number}"), "type": "a.b"})).collect();
    post(&service, &events).await;
    for list in ["/api/v1/events?source=stripe", "/api/v1/executions?status=success"] {
        let first = service.get(&format!("{list}&limit=1")).await.json();
        assert!(first["window"]["before"].is_string(), "{first}");
    }
    let first = service.get("/api/v1/events?source=stripe&limit=1").await.json();
    // As a cursor from three days ago.
    let cursor = first["next_cursor"].as_str().unwrap();
    let (place, range) = cursor.split_once('.').unwrap();
    let earlier = |micros: &str| {
        let micros: Result<i64, _> = micros.parse();
        micros.map_or(String::new(), |micros| (micros - 3 * 24 * 3_600_000_000).to_string())
    };
    let range: Vec<_> = range.split('.').map(earlier).collect();
    let next = service.get(&format!("/api/v1/events?source=stripe&cursor={place}.{}", range.join("."))).await;
    assert_eq!(next.status, StatusCode::OK, "{next:?}");
    let until_later = "/api/v1/events?source=stripe&received_before=2099-11-01&limit=1";
    let first = service.get(until_later).await.json();
    let path = format!("{until_later}&cursor={}", first["next_cursor"].as_str().unwrap());
    assert_eq!(found(&service, &path).await, ["evt_1"], "the parameters are repeated");
}

#[tokio::test]
async fn pages_by_type_or_object_show_everything_once() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let events: Vec<_> = (0..23)
        .map(|number| {
            json!({"id": format!("evt_{number}"), "type": format!("invoice.t{}", number % 4),
                   "data": {"object": {"id": "in_1"}}})
        })
        .collect();
    post(&service, &events).await;
    let expected: Vec<_> = (0..23).rev().map(|number| format!("evt_{number}")).collect();
    for filter in ["type=invoice.*", "object_id=in_1", "object_id=in_1&type=invoice.*"] {
        let (mut seen, mut path) = (Vec::new(), format!("/api/v1/events?{filter}&limit=5"));
        loop {
            let listing = service.get(&path).await.json();
            let rows = listing["data"].as_array().unwrap();
            seen.extend(rows.iter().map(|row| row["event_id"].as_str().unwrap().to_owned()));
            let Some(cursor) = listing["next_cursor"].as_str() else { break };
            path = format!("/api/v1/events?{filter}&limit=5&cursor={cursor}");
        }
        assert_eq!(seen, expected, "{filter}");
    }
}

#[tokio::test]
async fn the_payload_is_returned_byte_for_byte_with_its_signature() {
    let service = Service::start().await;
    let body = "{ \"id\" : \"evt_\\\"raw\",\n\t\"n\": 1.0e2, \"html\": \"<script>\" }\n";
    service.post_event(body).await;
    for path in ["/api/v1/events/1/payload", "/api/v1/events/evt_%22raw/payload"] {
        let answer = service.get(path).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, body));
        let header = |name: &str| answer.headers[name].to_str().unwrap();
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("content-disposition"), "attachment; filename=\"event-1.json\"");
        assert_eq!(header("x-verified-by"), "secret-1");
        assert_eq!(header("x-signature"), stripe::sign(SECRET, body.as_bytes(), NOW));
    }
    assert_eq!(service.get("/api/v1/events/evt_none/payload").await.problem(404), "not_found");
    assert_eq!(service.get("/api/v1/events/2/payload").await.problem(404), "not_found");
}

#[tokio::test]
async fn a_slow_query_is_cancelled_and_does_not_block_ingest() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    // Readers of this table wait; ingest does not.
    let blocked = service.database.hold_lock(rows::destinations()).await;
    let questions = futures_util::future::join_all((0..3).map(|_| service.get("/api/v1/executions")));
    let events = async {
        for number in 0..5 {
            let event = json!({"id": format!("evt_{number}"), "type": "invoice.paid"}).to_string();
            assert_eq!(service.post_event(&event).await.status, StatusCode::OK);
        }
    };
    let (answers, ()) = within("all are answered", async { tokio::join!(questions, events) }).await;
    for answer in answers {
        assert_eq!(answer.problem(503), "unavailable");
    }
    drop(blocked);
    within("the API answers again", async {
        while service.get("/api/v1/executions").await.status != StatusCode::OK {}
    })
    .await;
}
