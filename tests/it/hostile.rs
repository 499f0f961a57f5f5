//! Hostile and malformed requests: none breaks the service or makes its state grow.

use crate::harness::{Answer, Service, signed, within};
use axum::http::Method;
use serde_json::json;
use std::iter::repeat_n;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Deeper than any recursive parser could handle.
const DEEP: usize = 100_000;

fn lists(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

fn objects(depth: usize) -> String {
    format!("{}0{}", r#"{"a":"#.repeat(depth), "}".repeat(depth))
}

fn ok(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.body.chars().take(300).collect::<String>());
}

/// Stripe never sends this, and a signed body is stored unchanged.
#[tokio::test]
async fn a_very_deep_signed_event_is_stored_shown_and_delivered() {
    for mode in ["event", "object"] {
        let service = Service::builder().set("NOTION_MODE", mode).template(notion_sandbox::Template::Full);
        let service = service.start().await;
        let bodies = [
            format!(r#"{{"id":"evt_1","type":"invoice.paid","data":{{"object":{}}}}}"#, lists(DEEP)),
            format!(r#"{{"id":"evt_2","type":"invoice.paid","data":{}}}"#, objects(DEEP)),
            format!(r#"{{"id":"evt_3","type":{},"created":{}}}"#, lists(DEEP), objects(DEEP)),
            format!(
                r#"{{"id":"evt_4","type":"invoice.paid","data":{{"object":{{"id":"in_1","object":"invoice","lines":{}}}}}}}"#,
                lists(DEEP)
            ),
        ];
        for body in &bodies {
            ok(&service.post_event(body).await);
        }
        for execution in service.until_finished(bodies.len()).await {
            let status = execution["status"].as_str().unwrap();
            assert!(matches!(status, "success" | "skipped" | "superseded"), "{mode}: {execution}");
            let (event, id) = (execution["event_key"].as_i64().unwrap(), execution["id"].as_i64().unwrap());
            for place in [
                format!("/api/v1/events/{event}"),
                format!("/api/v1/events/{event}/payload"),
                format!("/api/v1/executions/{id}/preview"),
                format!("/events/{event}"),
                format!("/events/{event}/payload"),
                format!("/executions/{id}"),
                format!("/executions/{id}/preview"),
            ] {
                ok(&service.get(&place).await);
            }
        }
    }
}

#[tokio::test]
async fn a_very_deep_body_that_is_not_an_event_is_rejected() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    for (body, expected) in [
        (lists(DEEP), "body_not_an_event"),
        ("[".repeat(DEEP), "body_not_an_event"),
        (format!(r#"{{"id":{}}}"#, lists(DEEP)), "event_id_invalid"),
        (format!(r#"{{"id":"evt_1","data":{}"#, "[".repeat(DEEP)), "body_not_an_event"),
    ] {
        assert_eq!(service.post_event(&body).await.problem(400), expected);
    }
    let unsigned = signed(&lists(DEEP)).map(|body| body);
    let (mut parts, body) = unsigned.into_parts();
    parts.headers.remove("stripe-signature");
    let unsigned = axum::http::Request::from_parts(parts, body);
    assert_eq!(service.call(unsigned).await.problem(400), "signature_missing");
    // A rejected request is examined for its cause.
    ok(&service.get("/api/v1/rejections").await);
}

#[tokio::test]
async fn no_path_or_query_causes_a_server_error() {
    let service = Service::start().await;
    let long = "x".repeat(12_000);
    let many = repeat_n("type=*.a*b*c*d*e*", 500).collect::<Vec<_>>().join("&");
    let queries = [
        "%",
        "%ff%fe",
        "a=%00",
        "limit=-1",
        "limit=99999999999999999999",
        "cursor=%F0%9F%92%A9",
        "cursor=-9e9",
        "started_after=2026-13-45",
        "q=%00",
        "type=%25%25",
        "q='%22;--",
        "status[]=a",
        "&&&&=",
        "next=//evil.example",
        many.as_str(),
        long.as_str(),
    ];
    let places = [
        "/",
        "/login",
        "/events",
        "/executions",
        "/failures",
        "/search",
        "/audit",
        "/destinations",
        "/metrics",
        "/api/v1/events",
        "/api/v1/executions",
        "/api/v1/failures",
        "/api/v1/search",
        "/api/v1/audit",
        "/api/v1/stats",
        "/api/v1/rejections",
        "/api/v1/health",
        "/readyz",
        "/openapi.json",
    ];
    for place in places {
        for query in queries {
            let answer = service.get(&format!("{place}?{query}")).await;
            assert!(answer.status.as_u16() < 500, "{place}?{}: {answer:?}", &query[..query.len().min(80)]);
        }
    }
    for path in [
        "/events/%ff",
        "/events/-1",
        "/events/99999999999999999999",
        "/api/v1/webhooks/%00",
        "/%2e%2e/",
        "/api/v1/executions/%F0",
        "/tasks/x",
        "/failures/%00",
        "/assets/..%2f..%2fCargo.toml",
        "//evil.example/",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let answer = service.send(method, path, &[]).await;
            assert!(answer.status.is_client_error(), "{path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn unknown_sources_add_no_metric_labels() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let series = async || service.get("/metrics").await.body.lines().count();
    let before = series().await;
    for number in 0..300 {
        service.get(&format!("/nowhere/{number}?{number}")).await;
        service.post(&format!("/api/v1/webhooks/source-{number}")).await;
        service.send(Method::from_bytes(format!("M{number}").as_bytes()).unwrap(), "/livez", &[]).await;
    }
    assert_eq!(series().await, before);
    let rejections = service.get("/api/v1/rejections").await.json();
    assert!(!json!(rejections).to_string().contains("source-"), "{rejections}");
}

#[tokio::test]
async fn unusual_targets_and_methods_are_answered() {
    let service = Service::start().await;
    let listening = service.listen(0).await;
    for line in [
        "OPTIONS *",
        "CONNECT localhost:443",
        "GET http://localhost/livez",
        "GET http://localhost",
        "GET /a//b/../c",
        "TRACE /",
        "PUT /api/v1/webhooks/stripe",
        "GET /?a=%zz&b=%",
        "NO-SUCH-METHOD /livez",
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", listening.port)).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(line, stream.read_to_string(&mut answer)).await.unwrap();
        let status: u16 = answer[9..12].parse().unwrap();
        assert!((200..500).contains(&status), "{line}: {answer}");
    }
    let scrape = service.get("/metrics").await.body;
    assert!(scrape.contains("eventbridge_panics_total{where=\"handler\"} 0"), "{scrape}");
    listening.end().await;
}
