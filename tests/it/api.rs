//! The JSON API: listings, details, problems and access control.

use crate::harness::{Service, rows, signed, within};
use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const WRITE_KEY: &str = "write-0123456789abcdef0123456789abcdef";
const READ_KEY: &str = "read-0123456789abcdef0123456789abcdef";

async fn store_only(count: usize) -> Service {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    for number in 0..count {
        let kind = if number % 2 == 0 { "invoice.paid" } else { "charge.refunded" };
        service.post_event(&json!({"id": format!("evt_{number}"), "type": kind}).to_string()).await;
    }
    service
}

async fn in_production() -> Service {
    let keys = format!("ops:write:{WRITE_KEY}, board:read:{READ_KEY}");
    Service::builder().production().set("API_KEYS", &keys).start().await
}

fn ids(listing: &Value) -> Vec<String> {
    let rows = listing["data"].as_array().unwrap().iter();
    rows.map(|row| row["event_id"].as_str().unwrap().to_owned()).collect()
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

#[tokio::test]
async fn a_listing_pages_through_every_event_once_newest_first_while_more_arrive() {
    let service = store_only(7).await;
    let mut seen = Vec::new();
    let mut path = "/api/v1/events?limit=3".to_owned();
    loop {
        let listing = service.get(&path).await.json();
        seen.extend(ids(&listing));
        service.post_event(&json!({"id": format!("evt_late_{}", seen.len())}).to_string()).await;
        match listing["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/v1/events?limit=3&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, ["evt_6", "evt_5", "evt_4", "evt_3", "evt_2", "evt_1", "evt_0"]);
}

#[tokio::test]
async fn an_event_is_shown_by_number_or_id_with_its_body_and_executions() {
    let service = Service::start().await;
    let body = json!({"id": "evt_shown", "type": "invoice.paid", "created": 1_700_000_000, "livemode": false,
                      "api_version": "2026-01-28", "account": "acct_1", "data": {"object": {"id": "in_1", "object": "invoice"}}});
    service.post_event(&body.to_string()).await;
    service.until_finished(1).await;
    let shown = service.get("/api/v1/events/evt_shown").await.json();
    assert_eq!(shown["payload"], body);
    for (field, expected) in [
        ("source", json!("stripe")),
        ("event_id", json!("evt_shown")),
        ("type", json!("invoice.paid")),
        ("object_id", json!("in_1")),
        ("object_type", json!("invoice")),
        ("account", json!("acct_1")),
        ("livemode", json!(false)),
        ("api_version", json!("2026-01-28")),
        ("created_at", json!("2023-11-14T22:13:20Z")),
        ("verified_by", json!("secret-1")),
    ] {
        assert_eq!(shown[field], expected, "{field}");
    }
    assert!(shown["received_at"].is_string());
    let execution = &shown["executions"][0];
    assert_eq!(
        (execution["destination"].clone(), execution["status"].clone()),
        (json!("notion"), json!("success"))
    );
    for field in ["response_code", "duration_ms", "created_at", "remote_url"] {
        assert!(!execution[field].is_null(), "{field}");
    }
    assert_eq!(service.get(&format!("/api/v1/events/{}", shown["id"])).await.json(), shown);
}

/// The words of parsers and of Rust, which no problem shows.
const INTERNALS: &[&str] = &[
    "deserialize",
    "invalid type",
    "invalid value",
    "expected ",
    "found in string",
    "serde",
    "u32",
    "struct ",
    "EOF",
    "variant",
    "Failed to",
];

#[tokio::test]
async fn an_invalid_request_gets_a_problem_that_names_the_parameter_and_what_it_must_be() {
    let service = store_only(0).await;
    for (path, param, detail) in [
        ("/api/v1/events?limit=0", "limit", "from 1 to 200"),
        ("/api/v1/events?limit=201", "limit", "200"),
        ("/api/v1/events?limit=many", "limit", "must be a whole number"),
        ("/api/v1/events?limit=1&limit=2", "limit", "once"),
        (
            "/api/v1/events?status=done",
            "status",
            "pending, running, success, failed, skipped, superseded, cancelled",
        ),
        ("/api/v1/events?cursor=forged", "cursor", "next_cursor"),
        ("/api/v1/events?cursor=MTo0Mg.1.2.3", "cursor", "next_cursor"),
        ("/api/v1/events?kind=x", "kind", "the known names are: source, type"),
        ("/api/v1/rejections?limit=5", "limit", "is not known"),
        ("/api/v1/destinations?name=notion", "name", "is not known"),
        ("/api/v1/health?verbose", "verbose", "is not known"),
        ("/api/v1/events/1?expand=payload", "expand", "is not known"),
        ("/api/v1/events/1/payload?x=1", "x", "is not known"),
        ("/api/v1/executions/1?x=1", "x", "is not known"),
        ("/api/v1/executions/1/preview?x=1", "x", "is not known"),
        ("/api/v1/failures/1?x=1", "x", "is not known"),
        ("/api/v1/tasks/task_1?x=1", "x", "is not known"),
        ("/api/v1/executions?status=", "status", "must be one of"),
        ("/api/v1/executions/seven", "id", "number"),
        ("/api/v1/events/%00", "id", "NUL"),
        ("/api/v1/executions?source=%00", "source", "NUL"),
        ("/api/v1/events?type=%40money", "type", "@payments"),
        ("/api/v1/events?livemode=maybe", "livemode", "must be true or false"),
        ("/api/v1/events?received_after=yesterday", "received_after", "2026-01-31"),
        ("/api/v1/executions?created_before=2026", "created_before", "must be a date"),
        ("/api/v1/executions?type=a%20b", "type", "type"),
        ("/api/v1/events/%ff", "id", "UTF-8"),
        ("/api/v1/search", "q", "is required"),
        ("/api/v1/stats?per=day", "per", "minute, hour"),
        ("/api/v1/audit?subject_kind=tea", "subject_kind", "execution, events, task"),
        ("/api/v1/audit?subject_id=1", "subject_kind", "is required with subject_id"),
    ] {
        let answer = service.get(path).await;
        assert_eq!(answer.problem(400), "bad_request", "{path}");
        let problem = answer.json();
        assert_eq!(problem["param"], param, "{path}: {problem}");
        let text = problem["detail"].as_str().unwrap();
        assert!(text.contains(param) && text.contains(detail), "{path}: {text}");
        assert!(!INTERNALS.iter().any(|word| text.contains(word)), "{path}: {text}");
    }
    for path in ["/api/v1/events/7", "/api/v1/events/evt_none", "/api/v1/executions/7", "/api/v2", "/nowhere"]
    {
        let answer = service.get(path).await;
        assert_eq!(answer.problem(404), "not_found", "{path}");
        assert_eq!((&answer.json()["param"], &answer.json()["retry_after"]), (&Value::Null, &Value::Null));
    }
    assert_eq!(service.post("/api/v1/executions/7/retry").await.problem(404), "not_found");
    assert_eq!(service.post("/api/v1/events").await.problem(405), "method_not_allowed");
}

#[tokio::test]
async fn an_invalid_body_gets_a_problem_that_names_the_field() {
    let service = Service::start().await;
    let send = async |kind: Option<&str>, body: &str| {
        let mut request = Request::post("/api/v1/destinations/notion/pause").header("host", "localhost");
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        service.call(request.body(Body::from(body.to_owned())).unwrap()).await
    };
    let json = Some("application/json");
    for (kind, body, status, code, param, detail) in [
        (json, "{", 400, "bad_request", Value::Null, "not valid JSON; the error is at line 1, column 1"),
        (json, "", 400, "bad_request", Value::Null, "not valid JSON"),
        (json, "[1]", 400, "bad_request", Value::Null, "The body must be an object"),
        (json, "{}", 400, "bad_request", json!("note"), "is required"),
        (json, r#"{"note": 7}"#, 400, "bad_request", json!("note"), "must be a string"),
        (json, r#"{"note": null}"#, 400, "bad_request", json!("note"), "must be a string"),
        (json, r#"{"note": " "}"#, 400, "bad_request", json!("note"), "1 to 500 characters"),
        (json, r#"{"note": "x", "why": "y"}"#, 400, "bad_request", json!("why"), "the known names are: note"),
        (Some("text/plain"), r#"{"note": "x"}"#, 415, "not_json", json!("Content-Type"), "application/json"),
        (None, r#"{"note": "x"}"#, 415, "not_json", json!("Content-Type"), "application/json"),
    ] {
        let answer = send(kind, body).await;
        assert_eq!(answer.problem(status), code, "{kind:?} {body}");
        let problem = answer.json();
        assert_eq!(problem["param"], param, "{kind:?} {body}: {problem}");
        assert_eq!(problem["type"], format!("urn:eventbridge:problem:{code}"));
        let text = problem["detail"].as_str().unwrap();
        assert!(text.contains(detail), "{kind:?} {body}: {text}");
        assert!(!INTERNALS.iter().any(|word| text.contains(word)), "{kind:?} {body}: {text}");
    }
    assert_eq!(send(Some("application/json; charset=utf-8"), r#"{"note": "x"}"#).await.status, 200);
}

#[tokio::test]
async fn an_execution_of_a_removed_destination_states_why_it_waits() {
    let service = store_only(1).await;
    service.database.change(rows::execute_all_for("gone")).await;
    let listing = service.get("/api/v1/executions").await.json();
    assert!(listing["data"][0]["reason"].as_str().unwrap().contains("DESTINATIONS"), "{listing}");
}

#[tokio::test]
async fn health_reports_the_database_and_is_503_without_it() {
    let service = store_only(0).await;
    let healthy = service.get("/api/v1/health").await;
    assert_eq!((healthy.status.as_u16(), healthy.json()["status"].clone()), (200, json!("ok")));
    service.database.change(rows::hide_schema()).await;
    service.until_health("it is not", |health| health["status"] == "unavailable").await;
    assert_eq!(service.get("/api/v1/health").await.status, 503);
    service.get("/api/v1/events").await.problem(503);
}

/// Every documented route, with the numbers filled in.
async fn routes(service: &Service) -> BTreeSet<(String, String)> {
    let description =
        service.send(Method::GET, "/openapi.json", &[("authorization", &bearer(READ_KEY))]).await.json();
    let paths = description["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, methods)| {
            let path = path.replace("{id}", "1").replace("{source}", "stripe").replace("{name}", "notion");
            methods.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect()
}

#[tokio::test]
async fn in_production_all_but_the_webhook_health_and_probes_require_a_key() {
    let service = in_production().await;
    let mut routes = routes(&service).await;
    assert!(routes.len() >= 7, "{routes:?}");
    routes.extend(["/docs", "/docs/", "/openapi.json"].map(|path| ("GET".to_owned(), path.to_owned())));
    for (method, path) in routes {
        let is_open = path.starts_with("/api/v1/webhooks/")
            || ["/api/v1/health", "/livez", "/readyz"].contains(&path.as_str());
        let method: Method = method.parse().unwrap();
        for headers in [vec![], vec![("authorization", "Bearer wrong")], vec![("authorization", WRITE_KEY)]] {
            let answer = service.send(method.clone(), &path, &headers).await;
            if is_open {
                assert_ne!(answer.status, 401, "{method} {path}");
            } else {
                assert_eq!(answer.problem(401), "unauthorized", "{method} {path}");
                assert!(answer.headers.contains_key("www-authenticate"));
            }
        }
    }
}

#[tokio::test]
async fn a_read_key_cannot_write() {
    let service = in_production().await;
    let read = bearer(READ_KEY);
    let write = bearer(WRITE_KEY);
    assert_eq!(service.send(Method::GET, "/api/v1/events", &[("authorization", &read)]).await.status, 200);
    for (method, path) in routes(&service).await {
        if method != "GET" && !path.starts_with("/api/v1/webhooks/") {
            let method: Method = method.parse().unwrap();
            let answer = service.send(method.clone(), &path, &[("authorization", &read)]).await;
            assert_eq!(answer.problem(403), "forbidden", "{method} {path}");
            let answer = service.send(method, &path, &[("authorization", &write)]).await;
            assert_ne!(answer.status, 403, "{path}");
        }
    }
}

#[tokio::test]
async fn a_basic_password_opens_the_docs_and_writes_nothing() {
    use base64::Engine;
    let service = in_production().await;
    let basic = format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(format!("me:{WRITE_KEY}")));
    let docs = service.send(Method::GET, "/docs/", &[("authorization", &basic)]).await;
    assert_eq!(docs.status, 200);
    assert!(docs.body.contains("Swagger UI"), "{docs:?}");
    let answer = service.send(Method::POST, "/api/v1/executions/1/retry", &[("authorization", &basic)]).await;
    assert_eq!(answer.problem(401), "unauthorized");
}

#[tokio::test]
async fn with_auth_off_no_key_is_required_at_the_public_host_and_no_other_name_is_allowed() {
    let service = Service::builder()
        .production()
        .set("AUTH", "off")
        .set("DESTINATIONS", "")
        .set("PUBLIC_URL", "https://events.example.com/")
        .start()
        .await;
    let get = async |path: &str, host: &str| {
        service.call(Request::get(path).header("host", host).body(Body::empty()).unwrap()).await
    };
    for host in ["events.example.com", "Events.example.com:443", "localhost:8000", "10.0.0.7:8000", "[::1]"] {
        for path in ["/api/v1/events", "/", "/docs/"] {
            assert_eq!(get(path, host).await.status, 200, "{host}{path}");
        }
    }
    for host in ["evil.example", "events.example.com.evil.example", "eventbridge:8000", ""] {
        for path in ["/api/v1/events", "/", "/events", "/live", "/docs/", "/metrics", "/openapi.json"] {
            let answer = get(path, host).await;
            assert_eq!(answer.problem(403), "wrong_host", "{host}{path}");
            assert!(answer.body.contains("PUBLIC_URL"), "{answer:?}");
        }
        // The name of a destination does not make its address one of a webhook.
        for path in [
            "/api/v1/destinations/webhook/pause",
            "/destinations/webhooks/pause",
            "/api/v1/executions/retry?status=failed&note=/api/v1/webhooks/",
            "/webhooks/stripe",
        ] {
            let request = Request::post(path).header("host", host).body(Body::empty()).unwrap();
            assert_eq!(service.call(request).await.problem(403), "wrong_host", "{host}{path}");
        }
        assert_eq!(get("/livez", host).await.status, 200);
        // A webhook is signed, and none is lost because of a host name.
        let mut webhook = signed(r#"{"id":"evt_1"}"#);
        webhook.headers_mut().insert("host", host.parse().unwrap());
        assert_eq!(service.call(webhook).await.status, 200, "{host}");
        let mut astray = signed(r#"{"id":"evt_1"}"#);
        astray.headers_mut().insert("host", host.parse().unwrap());
        *astray.uri_mut() = "//API/v1/Webhooks/stripe/".parse().unwrap();
        assert_eq!(service.call(astray).await.status, 200, "{host}");
    }
    let without_host = Request::get("/api/v1/events").body(Body::empty()).unwrap();
    assert_eq!(service.call(without_host).await.problem(403), "wrong_host");
}

#[tokio::test]
async fn with_auth_off_a_cross_origin_page_can_change_nothing() {
    let service = Service::builder().production().set("AUTH", "off").start().await;
    let retry = "/api/v1/executions/1/retry";
    for given in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        assert_eq!(
            service.send(Method::POST, retry, &[given]).await.problem(403),
            "foreign_page",
            "{given:?}"
        );
        assert_eq!(service.send(Method::GET, "/api/v1/events", &[given]).await.status, 200, "{given:?}");
    }
    for given in [("origin", "http://localhost"), ("sec-fetch-site", "same-origin"), ("accept", "*/*")] {
        assert_eq!(service.send(Method::POST, retry, &[given]).await.problem(404), "not_found", "{given:?}");
    }
}

#[tokio::test]
async fn in_dev_only_local_requests_are_allowed() {
    let service = store_only(0).await;
    for (host, origin, status) in [
        ("localhost:8000", None, 200),
        ("127.0.0.1:8000", Some("http://localhost:8000"), 200),
        ("evil.example", None, 403),
        ("localhost:8000", Some("https://evil.example"), 403),
    ] {
        for path in ["/api/v1/events", "/docs/", "/api/v1/health"] {
            let mut request = Request::get(path).header("host", host);
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let answer = service.call(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, status, "{host} {origin:?} {path}");
        }
    }
    let without_host = Request::get("/api/v1/events").body(Body::empty()).unwrap();
    assert_eq!(service.call(without_host).await.problem(403), "not_local");
}

#[tokio::test]
async fn a_tunnel_to_dev_may_send_webhooks_and_with_dev_expose_everything() {
    const TUNNEL: &str = "a.tunnel.example";
    for exposed in ["off", "on"] {
        let service = Service::builder()
            .set("DESTINATIONS", "")
            .set("PUBLIC_URL", "https://a.tunnel.example")
            .set("DEV_EXPOSE", exposed)
            .start()
            .await;
        let mut webhook = signed(r#"{"id":"evt_1"}"#);
        webhook.headers_mut().insert("host", TUNNEL.parse().unwrap());
        assert_eq!(service.call(webhook).await.status, 200);
        let get =
            |host: &'static str| Request::get("/api/v1/events").header("host", host).body(Body::empty());
        let answer = service.call(get(TUNNEL).unwrap()).await;
        if exposed == "on" {
            assert_eq!(answer.status, 200);
        } else {
            assert_eq!(answer.problem(403), "not_local");
            assert!(answer.body.contains("PUBLIC_URL") && answer.body.contains("DEV_EXPOSE"), "{answer:?}");
        }
        assert_eq!(service.call(get("evil.example").unwrap()).await.problem(403), "not_local");
    }
}

#[tokio::test]
async fn every_response_has_a_request_id_and_keeps_the_callers() {
    let service = store_only(0).await;
    let made = service.get("/api/v1/health").await;
    assert!(made.headers.contains_key("x-request-id"));
    let kept = service.send(Method::GET, "/nowhere", &[("x-request-id", "mine")]).await;
    assert_eq!(kept.headers["x-request-id"], "mine");
    for unfit in ["with blanks", &"x".repeat(129)] {
        let answer = service.send(Method::GET, "/nowhere", &[("x-request-id", unfit)]).await;
        assert_ne!(answer.headers["x-request-id"], unfit);
    }
}

#[tokio::test]
async fn the_audit_lists_manual_actions_newest_first() {
    let service = in_production().await;
    for id in ["evt_1", "evt_2"] {
        service.post_event(&json!({ "id": id }).to_string()).await;
    }
    let headers = [("authorization", &*bearer(WRITE_KEY))];
    let done = rows::executions().in_status("success");
    within("both are delivered", service.sandbox.until(|sandbox| sandbox.page_count() == 2)).await;
    within("both are recorded", async { while service.database.count(&done).await < 2 {} }).await;
    for id in [1, 2, 7] {
        service.send(Method::POST, &format!("/api/v1/executions/{id}/retry"), &headers).await;
    }
    let audit = async |query: &str| {
        let answer = service.send(Method::GET, &format!("/api/v1/audit?{query}"), &headers).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let all = audit("").await;
    assert_eq!(all["data"].as_array().unwrap().len(), 2, "a refused action is not recorded: {all}");
    let newest = &all["data"][0];
    assert_eq!(
        (&newest["actor"], &newest["action"], &newest["subject_id"], &newest["detail"]["was"]),
        (&json!("ops"), &json!("execution.retried"), &json!("2"), &json!("success"))
    );
    let first = audit("limit=1").await;
    let rest = audit(&format!("cursor={}", first["next_cursor"].as_str().unwrap())).await;
    assert_eq!((&first["data"][0], &rest["data"][0]), (newest, &all["data"][1]));
    assert_eq!(audit("subject_kind=execution&subject_id=1").await["data"], json!([all["data"][1]]));
}

#[tokio::test]
async fn a_single_resource_is_changed_only_without_unknown_parameters() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    for path in [
        "/api/v1/executions/1/retry",
        "/api/v1/executions/1/cancel",
        "/api/v1/tasks/task_1/cancel",
        "/api/v1/destinations/notion/resume",
    ] {
        let answer = service.post(&format!("{path}?dry_run=true")).await;
        assert_eq!(answer.problem(400), "bad_request", "{path}");
        assert_eq!(answer.json()["param"], "dry_run", "{path}");
    }
}

#[tokio::test]
async fn a_cursor_is_refused_with_another_filter_than_its_own() {
    let service = store_only(3).await;
    let first = service.get("/api/v1/events?source=stripe&limit=1").await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    for same in ["source=stripe", "source=stripe&limit=2", "limit=1&source=stripe"] {
        let next = service.get(&format!("/api/v1/events?{same}&cursor={cursor}")).await;
        assert_eq!(next.status, 200, "{same}: {next:?}");
        assert!(next.json()["data"][0]["id"].as_i64() < first["data"][0]["id"].as_i64(), "{same}");
    }
    for other in [
        "events?",
        "events?source=other&",
        "events?source=stripe&type=invoice.*&",
        "events?source=stripe&received_after=2026-01-01&",
        "executions?source=stripe&",
        "tasks?",
    ] {
        let answer = service.get(&format!("/api/v1/{other}cursor={cursor}")).await;
        assert_eq!(answer.problem(400), "bad_request", "{other}");
    }
    let answer = service.get(&format!("/api/v1/events?cursor={cursor}")).await;
    assert_eq!(answer.json()["param"], "cursor", "{answer:?}");
    assert!(answer.body.contains("another filter"), "{answer:?}");
}

#[tokio::test]
async fn a_body_is_refused_where_none_is_read() {
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    for path in [
        "/api/v1/executions/retry?status=failed",
        "/api/v1/events/replay?all=true",
        "/api/v1/executions/1/retry",
        "/api/v1/executions/1/cancel",
        "/api/v1/tasks/task_1/cancel",
        "/api/v1/destinations/notion/resume",
    ] {
        let request = Request::post(path)
            .header("host", "localhost")
            .header("content-length", "22")
            .body(Body::from(r#"{"destination":"nope"}"#))
            .unwrap();
        let answer = service.call(request).await;
        assert_eq!(answer.problem(400), "bad_request", "{path}");
        assert!(answer.body.contains("takes no body"), "{path}: {answer:?}");
    }
}
