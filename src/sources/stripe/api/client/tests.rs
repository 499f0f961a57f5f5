//! The client against a server on this machine.

use super::*;
use crate::sources::stripe::api::{ErrorClass, Keys};
use axum::Router;
use axum::extract::{Request as Received, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response as Reply};
use http_body_util::BodyExt;
use std::collections::VecDeque;
use tokio::net::TcpListener;

/// A server that answers with these replies in order, and keeps what it received.
pub(in super::super) struct Server {
    /// The requests: method, path with query, headers, body.
    pub received: Arc<Mutex<Vec<(String, HeaderMap, String)>>>,
    pub client: Client,
    pub key: NamedKey,
}

type Replies = Arc<Mutex<VecDeque<Reply>>>;

#[derive(Clone)]
struct Shared {
    replies: Replies,
    received: Arc<Mutex<Vec<(String, HeaderMap, String)>>>,
}

impl Server {
    pub(in super::super) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let shared =
            Shared { replies: Arc::new(Mutex::new(replies.into_iter().collect())), received: Arc::default() };
        let received = shared.received.clone();
        let answer = |State(shared): State<Shared>, request: Received| async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            let line = format!("{} {}", parts.method, parts.uri);
            let body = String::from_utf8_lossy(&body).into_owned();
            shared.received.lock().expect("a lock").push((line, parts.headers, body));
            let reply = shared.replies.lock().expect("a lock").pop_front();
            reply.unwrap_or_else(|| StatusCode::IM_A_TEAPOT.into_response())
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}/stripe/", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(answer).with_state(shared);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let key = NamedKey { name: "live".to_owned(), ..NamedKey::parse("rk_live_hidden").expect("a key") };
        let settings = ApiSettings {
            base: base.parse().expect("a URL"),
            keys: Keys::new("STRIPE_API_KEY", vec![key.clone()]),
            address_setting: "STRIPE_API_URL".to_owned(),
        };
        let at_once = RetryPolicy { base: Duration::ZERO, ..RetryPolicy::default() };
        let client = Client::with_retries(&settings, at_once).expect("a client");
        Self { received, client, key }
    }

    pub(in super::super) async fn get(&self, path: &str) -> Result<Answer, ApiError> {
        self.client.get(&Account::of(&self.key), path).await
    }

    /// The lines of the requests so far.
    pub(in super::super) fn lines(&self) -> Vec<String> {
        self.received.lock().expect("a lock").iter().map(|(line, ..)| line.clone()).collect()
    }
}

fn reply(status: u16, headers: &[(&'static str, &'static str)], body: impl Into<String>) -> Reply {
    let status = StatusCode::from_u16(status).expect("a status");
    let mut reply = (status, body.into()).into_response();
    for (name, value) in headers {
        reply.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
    reply
}

#[tokio::test]
async fn a_request_names_the_key_the_version_and_the_context() {
    let server = Server::start([reply(200, &[("request-id", "req_1")], "{\"id\": 1}")]).await;
    let account = Account { key: &server.key, context: Some("acct_1/acct_2") };
    let answer = server.client.get(&account, "/v1/invoices/in_1?expand[]=charge").await.expect("an answer");
    assert_eq!((answer.body.as_ref(), answer.request_id.as_deref()), (&b"{\"id\": 1}"[..], Some("req_1")));
    let received = server.received.lock().expect("a lock").clone();
    let (line, headers, _) = &received[0];
    assert_eq!(line, "GET /stripe/v1/invoices/in_1?expand[]=charge");
    let header = |name: &str| headers.get(name).map(|value| value.to_str().expect("a text"));
    assert_eq!(header("authorization"), Some("Bearer rk_live_hidden"));
    assert_eq!(header("stripe-version"), Some(VERSION));
    assert_eq!(header("stripe-context"), Some("acct_1/acct_2"));
    assert_eq!(header("idempotency-key"), None);
}

#[tokio::test]
async fn an_answer_is_not_dated_later_than_its_state() {
    let dated = [("date", "Mon, 30 Nov 2026 12:00:00 GMT")];
    let server = Server::start([reply(200, &dated, "{}"), reply(200, &[("date", "soon")], "{}")]).await;
    let date = DateTime::parse_from_rfc3339("2026-11-30T12:00:00Z").expect("a time");
    let asked_at = server.get("/v1/account").await.expect("an answer").asked_at;
    let before = date.to_utc() - asked_at;
    assert!(before >= TimeDelta::zero() && before < TimeDelta::minutes(1), "{before}");
    assert_eq!(server.client.clock().map(|(at, _)| at), Some(date.to_utc()));
    // An unreadable date leaves our own clock, which the machine's date bounds from both sides.
    let began = DateTime::<Utc>::from(SystemTime::now());
    let asked_at = server.get("/v1/account").await.expect("an answer").asked_at;
    assert!(asked_at >= began && asked_at <= DateTime::<Utc>::from(SystemTime::now()));
}

#[tokio::test]
async fn a_failure_that_passes_is_retried_and_others_are_not() {
    let lock = r#"{"error": {"code": "lock_timeout"}}"#;
    let server = Server::start([
        reply(429, &[("retry-after", "0")], ""),
        reply(409, &[], lock),
        reply(200, &[], "{}"),
    ])
    .await;
    server.get("/v1/account").await.expect("the third answer");
    assert_eq!(server.lines().len(), 3);

    let server = Server::start((0..9).map(|_| reply(503, &[], ""))).await;
    let error = server.get("/v1/account").await.expect_err("unavailable");
    assert_eq!((error.class, server.lines().len()), (ErrorClass::Unavailable, 3));

    let refused = [("stripe-should-retry", "false")];
    let server = Server::start([reply(500, &refused, ""), reply(200, &[], "{}")]).await;
    assert_eq!(server.get("/v1/account").await.expect_err("refused").class, ErrorClass::Unavailable);
    assert_eq!(server.lines().len(), 1);

    let server = Server::start([reply(404, &[], ""), reply(200, &[], "{}")]).await;
    assert_eq!(server.get("/v1/invoices/in_1").await.expect_err("gone").class, ErrorClass::Gone);

    let server = Server::start([reply(429, &[("retry-after", "90")], ""), reply(200, &[], "{}")]).await;
    let error = server.get("/v1/account").await.expect_err("throttled for long");
    assert_eq!(error.class, ErrorClass::Throttled { retry_after: Some(Duration::from_secs(90)) });
}

#[tokio::test]
async fn a_write_carries_one_idempotency_key_in_all_its_tries() {
    let server = Server::start([reply(500, &[], ""), reply(200, &[], "{}"), reply(200, &[], "{}")]).await;
    let account = Account::of(&server.key);
    let write =
        Request::post_form("/v1/webhook_endpoints", &[("url", "https://a"), ("enabled_events[]", "*")]);
    server.client.send(&account, &write).await.expect("written");
    let write = Request::post_json("/v2/core/event_destinations", &serde_json::json!({"name": "a"}));
    server.client.send(&account, &write).await.expect("written");
    let received = server.received.lock().expect("a lock").clone();
    let keys: Vec<_> = received.iter().map(|(_, headers, _)| headers["idempotency-key"].clone()).collect();
    assert!(keys[0] == keys[1] && keys[1] != keys[2], "{keys:?}");
    assert_eq!(received[1].2, "url=https%3A%2F%2Fa&enabled_events%5B%5D=*");
    assert_eq!(received[2].2, r#"{"name":"a"}"#);
}

#[tokio::test]
async fn a_key_leaves_only_for_paths_of_the_api_and_follows_no_redirect() {
    let server = Server::start([reply(302, &[("location", "http://127.0.0.1:1/")], "")]).await;
    for path in [
        "https://evil.example/v1/x",
        "//evil.example/v1/",
        "/v1/../admin",
        "/v3/x",
        "/v1/a b",
        "@x",
        "/v1/%2e",
    ] {
        assert_eq!(server.get(path).await.expect_err(path).class, ErrorClass::Unexpected, "{path}");
    }
    assert!(server.lines().is_empty());
    let error = server.get("/v1/account").await.expect_err("a redirect");
    assert_eq!((error.class, error.status), (ErrorClass::Unexpected, Some(302)));
}

#[tokio::test]
async fn an_answer_without_end_is_not_read() {
    let server = Server::start([reply(200, &[], "x".repeat(ANSWER_BYTES_MAX + 1))]).await;
    assert_eq!(server.get("/v1/events").await.expect_err("too large").class, ErrorClass::TooLarge);
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn an_unreachable_stripe_is_named_without_its_key() {
    let server = Server::start([]).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let settings = ApiSettings {
        base: format!("http://{closed}").parse().expect("a URL"),
        keys: Keys::new("STRIPE_API_KEY", vec![server.key.clone()]),
        address_setting: "STRIPE_API_URL".to_owned(),
    };
    let at_once = RetryPolicy { base: Duration::ZERO, ..RetryPolicy::default() };
    let client = Client::with_retries(&settings, at_once).expect("a client");
    let error = client.get(&Account::of(&server.key), "/v1/account").await.expect_err("unreachable");
    assert!(
        error.class == ErrorClass::Unavailable && error.message.contains("cannot be reached"),
        "{error:?}"
    );
    assert!(!format!("{error:?}{client:?}").contains("hidden"), "{error:?}");
}
