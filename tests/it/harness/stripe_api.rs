//! A small stand-in for the part of Stripe's API that lists events, with faults at chosen requests.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::DateTime;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use url::form_urlencoded;

/// The time at the stand-in, in Unix seconds.
pub const STRIPE_NOW: i64 = 1_800_000_000;

/// The key that may do everything, until a test changes it.
pub const STRIPE_KEY: &str = "rk_test_ofTheTests";

/// A running stand-in. It ends with the test.
#[derive(Clone)]
pub struct StripeApi {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<StripeState>,
    /// Counts the requests.
    requests: watch::Sender<usize>,
    /// Requests for events wait here if a test holds them.
    gate: Semaphore,
}

struct StripeState {
    now: i64,
    /// Newest last.
    events: Vec<Value>,
    /// The permissions of each key; `*` for all.
    keys: HashMap<String, Vec<String>>,
    /// The most events of a page.
    page_max: usize,
    /// The statuses of the answers to the requests for events of these numbers.
    faults: BTreeMap<usize, u16>,
    /// Added when the request for events of this number arrives.
    added_at: BTreeMap<usize, Value>,
    listings: usize,
    log: Vec<String>,
}

impl StripeApi {
    pub async fn start() -> Self {
        let state = StripeState {
            now: STRIPE_NOW,
            events: Vec::new(),
            keys: HashMap::from([(STRIPE_KEY.to_owned(), vec!["*".to_owned()])]),
            page_max: 100,
            faults: BTreeMap::new(),
            added_at: BTreeMap::new(),
            listings: 0,
            log: Vec::new(),
        };
        let shared = Shared {
            state: Mutex::new(state),
            requests: watch::Sender::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        };
        let shared = Arc::new(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    fn change(&self, change: impl FnOnce(&mut StripeState)) {
        change(&mut self.shared.state.lock().unwrap());
    }

    /// Adds events, oldest first.
    pub fn add(&self, events: impl IntoIterator<Item = Value>) {
        self.change(|state| state.events.extend(events));
    }

    pub fn set_now(&self, now: i64) {
        self.change(|state| state.now = now);
    }

    pub fn set_page_max(&self, page_max: usize) {
        self.change(|state| state.page_max = page_max);
    }

    /// Only these permissions for the key; none revokes it.
    pub fn set_permissions(&self, key: &str, permissions: Option<&[&str]>) {
        self.change(|state| match permissions {
            Some(names) => {
                let names = names.iter().map(|name| (*name).to_owned()).collect();
                state.keys.insert(key.to_owned(), names);
            }
            None => {
                state.keys.remove(key);
            }
        });
    }

    /// Answers the request for events of this number, 0 for the next one, with this status, and so that the client
    /// gives up at once.
    pub fn fail(&self, number: usize, status: u16) {
        self.change(|state| {
            state.faults.insert(state.listings + number, status);
        });
    }

    /// Adds an event when the request for events of this number arrives, before it is answered.
    pub fn add_at(&self, number: usize, event: Value) {
        self.change(|state| {
            state.added_at.insert(state.listings + number, event);
        });
    }

    /// Lets only this many further requests for events pass, until more are let.
    pub fn hold_after(&self, count: usize) {
        self.shared.gate.forget_permits(Semaphore::MAX_PERMITS);
        self.shared.gate.add_permits(count);
    }

    pub fn let_all_pass(&self) {
        self.shared.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// The paths with queries that were asked for.
    pub fn log(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().log.clone()
    }

    /// Waits until this many requests have arrived since the start.
    pub async fn until_requests(&self, count: usize) {
        let mut requests = self.shared.requests.subscribe();
        super::within("requests arrive at the stand-in", requests.wait_for(|sofar| *sofar >= count))
            .await
            .unwrap();
    }

    /// Waits until this many more requests have arrived.
    pub async fn until_more_requests(&self, count: usize) {
        let sofar = *self.shared.requests.borrow();
        self.until_requests(sofar + count).await;
    }
}

/// A snapshot event about a paid invoice.
pub fn stripe_event(id: &str, created: i64) -> Value {
    json!({
        "id": id, "object": "event", "api_version": "2026-10-28.endive", "created": created, "livemode": false,
        "type": "invoice.paid", "pending_webhooks": 0, "request": null,
        "data": {"object": {"id": format!("in_{id}"), "object": "invoice", "total": 1200, "amount_paid": 1200,
                            "currency": "eur", "status": "paid", "number": format!("N-{id}")}},
    })
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let key = key_of(request.headers());
    let is_listing = path == "/v1/events" && !query.contains("delivery_success");
    // The endpoint watch asks whenever it likes: its requests are neither counted nor held.
    if is_listing || !is_of_watch(&path) {
        shared.state.lock().unwrap().log.push(format!("{path}?{query}"));
        shared.requests.send_modify(|count| *count += 1);
    }
    if is_listing {
        shared.gate.acquire().await.unwrap().forget();
    }
    let mut state = shared.state.lock().unwrap();
    let response = respond(&mut state, &path, &query, &key);
    let date = DateTime::from_timestamp(state.now, 0).unwrap().format("%a, %d %b %Y %H:%M:%S GMT");
    let mut response = response;
    response.headers_mut().insert("date", date.to_string().parse().unwrap());
    response.headers_mut().insert("request-id", "req_of_the_tests".parse().unwrap());
    response
}

fn is_of_watch(path: &str) -> bool {
    ["/v1/events", "/v1/webhook_endpoints", "/v2/core/event_destinations"].contains(&path)
}

fn key_of(headers: &HeaderMap) -> String {
    let text = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.trim_start_matches("Bearer ").to_owned()
}

fn respond(state: &mut StripeState, path: &str, query: &str, key: &str) -> Response {
    let Some(held) = state.keys.get(key) else {
        let message = format!("Invalid API Key provided: {}", &key[..key.len().min(8)]);
        return error(StatusCode::UNAUTHORIZED, &message);
    };
    let needed = permission(path);
    if !held.iter().any(|name| name == "*" || *name == needed) {
        let message = format!("Having the '{needed}' permission would allow this request to continue.");
        return error(StatusCode::FORBIDDEN, &message);
    }
    match path {
        "/v1/account" => json_text(&json!({"id": "acct_1Tests", "business_profile": {"name": "Tea & Co"}})),
        "/v1/events" if !query.contains("delivery_success") => events(state, query),
        _ => json_text(&json!({"object": "list", "data": [], "has_more": false})),
    }
}

fn permission(path: &str) -> String {
    match path.trim_start_matches("/v1/") {
        "account" => "rak_accounts_kyc_basic_read".to_owned(),
        "checkout/sessions" => "rak_checkout_session_read".to_owned(),
        "prices" => "rak_plan_read".to_owned(),
        "webhook_endpoints" | "/v2/core/event_destinations" => "rak_webhook_read".to_owned(),
        list => format!("rak_{}_read", list.trim_end_matches('s')),
    }
}

fn events(state: &mut StripeState, query: &str) -> Response {
    let number = state.listings;
    state.listings += 1;
    if let Some(event) = state.added_at.remove(&number) {
        state.events.push(event);
    }
    if let Some(status) = state.faults.remove(&number) {
        let mut response = error(StatusCode::from_u16(status).unwrap(), "a fault of the test");
        response.headers_mut().insert("stripe-should-retry", "false".parse().unwrap());
        return response;
    }
    let parameters: HashMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let seconds = |name: &str| parameters.get(name).map(|text| text.parse::<i64>().unwrap());
    let (from, until) = (seconds("created[gte]"), seconds("created[lt]"));
    let oldest_listed = state.now - 30 * 86_400;
    let mut listed: Vec<&Value> = state
        .events
        .iter()
        .filter(|event| {
            let created = event["created"].as_i64().unwrap();
            created >= from.unwrap_or(i64::MIN).max(oldest_listed)
                && until.is_none_or(|until| created < until)
        })
        .collect();
    listed.sort_by_key(|event| event["created"].as_i64());
    listed.reverse();
    if let Some(after) = parameters.get("starting_after") {
        let place = listed.iter().position(|event| event["id"] == **after).unwrap();
        listed.drain(..=place);
    }
    let limit: usize = parameters["limit"].parse().unwrap();
    let limit = limit.min(state.page_max);
    let has_more = listed.len() > limit;
    listed.truncate(limit);
    let texts: Vec<_> = listed.iter().map(|event| serde_json::to_string_pretty(event).unwrap()).collect();
    let body = format!(r#"{{"object": "list", "data": [{}], "has_more": {has_more}}}"#, texts.join(", "));
    (StatusCode::OK, body).into_response()
}

fn json_text(value: &Value) -> Response {
    (StatusCode::OK, value.to_string()).into_response()
}

fn error(status: StatusCode, message: &str) -> Response {
    let body = json!({"error": {"type": "invalid_request_error", "message": message}});
    (status, body.to_string()).into_response()
}
