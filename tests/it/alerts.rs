//! Alerts: raised once whichever process finds the condition, sent until accepted, and resolved.

use crate::harness::rows::{Ended, Paused, Set};
use crate::harness::{Database, NOW, SECRET, Service, rows, within};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use eventbridge::alerts::{AlertError, send_test_alert, settings};
use eventbridge::config::{Reader, Vars};
use eventbridge::sources::stripe;
use eventbridge::store::{Addition, Condition};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A request that the receiver got.
#[derive(Clone)]
pub struct Call {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: String,
}

impl Call {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A receiver of alerts on this machine.
pub struct Receiver {
    pub url: String,
    calls: watch::Receiver<Vec<Call>>,
    status: Arc<Mutex<StatusCode>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Receiver {
    pub async fn start() -> Self {
        let (sender, calls) = watch::channel(Vec::new());
        let status = Arc::new(Mutex::new(StatusCode::OK));
        let answer = status.clone();
        let router = Router::new().fallback(
            move |State(sender): State<watch::Sender<Vec<Call>>>,
                  method: Method,
                  uri: axum::http::Uri,
                  headers,
                  body: Bytes| async move {
                let call = Call {
                    method,
                    path: uri.path().to_owned(),
                    headers,
                    body: String::from_utf8(body.into()).unwrap(),
                };
                sender.send_modify(|calls| calls.push(call));
                *answer.lock().unwrap()
            },
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving =
            tokio::spawn(async move { axum::serve(listener, router.with_state(sender)).await.unwrap() });
        Self { url, calls, status, serving }
    }

    fn answer(&self, status: StatusCode) {
        *self.status.lock().unwrap() = status;
    }

    /// Waits for this many calls.
    pub async fn until(&self, count: usize) -> Vec<Call> {
        let mut calls = self.calls.clone();
        within("the calls arrive", async {
            calls.wait_for(|calls| calls.len() >= count).await.unwrap().clone()
        })
        .await
    }

    pub fn count(&self) -> usize {
        self.calls.borrow().len()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pause(database: &Database) {
    let pause = Paused {
        lasts: Duration::from_mins(6),
        class: "columns",
        reason: "jane@example.com",
        remedy: "add a text column",
        ..Paused::of("notion")
    };
    database.change(pause).await;
}

#[tokio::test]
async fn two_replicas_send_an_alert_and_its_resolution_once() {
    let receiver = Receiver::start().await;
    let one = Service::builder()
        .set("ALERT_URL", &receiver.url)
        .set("PUBLIC_URL", "https://eventbridge.example.com/app")
        .start()
        .await;
    let other = one
        .replica()
        .set("ALERT_URL", &receiver.url)
        .set("PUBLIC_URL", "https://eventbridge.example.com/app")
        .start()
        .await;
    pause(&one.database).await;
    let alert = receiver.until(1).await[0].json();
    for (field, expected) in [
        ("service", json!("eventbridge")),
        ("state", json!("raised")),
        ("key", json!("paused notion columns")),
        ("url", json!("https://eventbridge.example.com/app/")),
    ] {
        assert_eq!(alert[field], expected, "{alert}");
    }
    assert!(alert["remedy"].as_str().unwrap().starts_with("add a text column. "), "{alert}");
    assert!(!alert.to_string().contains("jane@example.com"), "{alert}");
    one.until_alerts_were_evaluated().await;
    other.until_alerts_were_evaluated().await;
    assert_eq!(receiver.count(), 1);
    one.database.change(rows::end_pauses()).await;
    let over = receiver.until(2).await[1].json();
    assert_eq!((&over["state"], &over["key"]), (&json!("resolved"), &json!("paused notion columns")));
    one.until_alerts_were_evaluated().await;
    other.until_alerts_were_evaluated().await;
    assert_eq!(receiver.count(), 2);
    assert_eq!(one.database.count(rows::alerts()).await, 0);
    one.stop().await;
    other.stop().await;
}

/// Quiet hours from an hour ago until in an hour.
fn quiet_now() -> String {
    let now = DateTime::<Utc>::from(SystemTime::now());
    let (from, to) = (now - TimeDelta::hours(1), now + TimeDelta::hours(1));
    format!("{}-{}", from.format("%H:%M"), to.format("%H:%M"))
}

/// The state and the key of each alert of a digest, in alphabetical order.
fn states(digest: &Value) -> Vec<String> {
    let alerts = digest["alerts"].as_array().unwrap().iter();
    let text = |one: &Value, field: &str| one[field].as_str().unwrap().to_owned();
    let mut states: Vec<_> =
        alerts.map(|one| format!("{}: {}", text(one, "state"), text(one, "key"))).collect();
    states.sort_unstable();
    states
}

/// Waits until this many alerts are held for the digest.
async fn until_held(service: &Service, count: i64) {
    within("the alerts are held", async {
        while service.database.count(rows::held_alerts()).await < count {
            service.until_alerts_were_evaluated().await;
        }
    })
    .await;
}

async fn fail(database: &Database, group: &str) {
    database.change(rows::failure_group(group, "validation_error", "x")).await;
    let failed = Ended {
        class: Some("validation_error"),
        group: Some(group),
        ..Ended::failed(Duration::from_mins(5))
    };
    database.change(failed).await;
}

#[tokio::test]
async fn in_quiet_hours_an_alert_that_can_wait_is_held_and_comes_in_one_digest_of_replicas() {
    let receiver = Receiver::start().await;
    let quiet = quiet_now();
    let one = Service::builder()
        .set("DESTINATIONS", "")
        .set("ALERT_URL", &receiver.url)
        .set("ALERT_QUIET_HOURS", &quiet)
        .start()
        .await;
    let database = one.database.clone();
    fail(&database, "a").await;
    fail(&database, "b").await;
    until_held(&one, 2).await;
    // Another one begins and ends at night.
    fail(&database, "passing").await;
    until_held(&one, 3).await;
    database.change(rows::executions().in_group("passing").set(&[Set::Status("success")])).await;
    one.until_alerts_were_evaluated().await;
    assert_eq!(receiver.count(), 0);

    // A restart in the night.
    let night = one.replica().set("DESTINATIONS", "");
    one.stop().await;
    let night = night.set("ALERT_URL", &receiver.url).set("ALERT_QUIET_HOURS", &quiet).start().await;
    night.until_alerts_were_evaluated().await;
    assert_eq!((receiver.count(), database.count(rows::held_alerts()).await), (0, 3));

    // In the morning two replicas run.
    let morning =
        |service: &Service| service.replica().set("DESTINATIONS", "").set("ALERT_URL", &receiver.url);
    let (first, second) = (morning(&night), morning(&night));
    night.stop().await;
    let (first, second) = tokio::join!(first.start(), second.start());
    let digest = receiver.until(1).await[0].json();
    assert_eq!((&digest["state"], &digest["urgency"]), (&json!("digest"), &json!("morning")), "{digest}");
    assert_eq!(
        states(&digest),
        [
            "passed: failures notion validation_error passing",
            "raised: failures notion validation_error a",
            "raised: failures notion validation_error b",
        ]
    );
    first.until_alerts_were_evaluated().await;
    second.until_alerts_were_evaluated().await;
    assert_eq!(receiver.count(), 1, "no alert of the night is sent again");

    // By day each alert and each end is a message again.
    database.change(rows::executions().in_group("a").set(&[Set::Status("success")])).await;
    let over = receiver.until(2).await[1].json();
    assert_eq!(
        (&over["state"], &over["key"]),
        (&json!("resolved"), &json!("failures notion validation_error a"))
    );
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn in_quiet_hours_an_urgent_alert_and_its_end_are_sent_at_once() {
    let receiver = Receiver::start().await;
    let quiet = quiet_now();
    let service = Service::builder()
        .set("DESTINATIONS", "")
        .set("ALERT_URL", &receiver.url)
        .set("ALERT_KIND", "ntfy")
        .set("ALERT_QUIET_HOURS", &quiet)
        .start()
        .await;
    for _ in 0..5 {
        service.database.change(rows::rejected_request(Duration::from_mins(9))).await;
    }
    service.until_alerts_were_evaluated().await;
    assert_eq!(receiver.count(), 0, "an event that is accepted may end it soon");
    service.database.change(rows::rejected_request(Duration::from_mins(10))).await;
    let alert = receiver.until(1).await[0].clone();
    assert_eq!(alert.headers["priority"], "urgent");
    for words in
        ["never resends events of an endpoint that it has disabled", "a sandbox only three times", " UTC."]
    {
        assert!(alert.body.contains(words), "{}", alert.body);
    }
    service.post_event(&json!({"id": "evt_1"}).to_string()).await;
    let over = receiver.until(2).await[1].clone();
    assert_eq!(over.headers["title"], "EventBridge, over: webhooks are no longer rejected.");
    service.stop().await;
}

#[tokio::test]
async fn an_end_in_quiet_hours_of_an_alert_of_the_day_comes_with_the_digest() {
    let receiver = Receiver::start().await;
    let day = Service::builder().set("DESTINATIONS", "").set("ALERT_URL", &receiver.url).start().await;
    let database = day.database.clone();
    fail(&database, "a").await;
    receiver.until(1).await;
    // It is recorded as sent.
    day.until_alerts_were_evaluated().await;
    let quiet = quiet_now();
    let night = day.replica().set("DESTINATIONS", "").set("ALERT_URL", &receiver.url);
    day.stop().await;
    let night = night.set("ALERT_QUIET_HOURS", &quiet).start().await;
    database.change(rows::executions().in_group("a").set(&[Set::Status("success")])).await;
    until_held(&night, 1).await;
    assert_eq!(receiver.count(), 1);
    let morning = night.replica().set("DESTINATIONS", "").set("ALERT_URL", &receiver.url);
    night.stop().await;
    // The receiver does not work at first; the digest is tried again.
    receiver.answer(StatusCode::INTERNAL_SERVER_ERROR);
    let morning = morning.start().await;
    receiver.until(2).await;
    receiver.answer(StatusCode::OK);
    database.change(rows::alerts_are_due()).await;
    let digest = receiver.until(3).await[2].json();
    assert_eq!(states(&digest), ["resolved: failures notion validation_error a"]);
    within("the row is gone", async {
        while database.count(rows::alerts()).await > 0 {
            morning.until_alerts_were_evaluated().await;
        }
    })
    .await;
    assert_eq!(receiver.count(), 3);
    morning.stop().await;
}

#[tokio::test]
async fn another_replica_evaluates_alerts_at_once_when_the_first_stops() {
    let receiver = Receiver::start().await;
    let one = Service::builder().set("ALERT_URL", &receiver.url).start().await;
    let has_duty = rows::named_lease("alerts");
    within("the other replica holds the lease", async {
        while one.database.count(&has_duty).await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let other = one.replica().set("ALERT_URL", &receiver.url).start().await;
    let database = one.database.clone();
    one.stop().await;
    pause(&database).await;
    receiver.until(1).await;
    other.stop().await;
}

#[tokio::test]
async fn a_rejected_alert_is_sent_again_unless_its_condition_has_ended() {
    let receiver = Receiver::start().await;
    receiver.answer(StatusCode::INTERNAL_SERVER_ERROR);
    let service = Service::builder().set("ALERT_URL", &receiver.url).start().await;
    pause(&service.database).await;
    receiver.until(1).await;
    service.database.change(rows::alerts_are_due()).await;
    receiver.until(2).await;
    service.database.change(rows::end_pauses()).await;
    within("the alert is forgotten", async {
        while service.database.count(rows::alerts()).await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(receiver.count(), 2);
    service.stop().await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::start().await;
    let receiver = Receiver::start().await;
    receiver.answer(StatusCode::TEMPORARY_REDIRECT);
    let vars: Vars = [("ALERT_URL", receiver.url.as_str())].into_iter().collect();
    let settings = settings(&mut Reader::new(&vars));
    let error = send_test_alert(&settings, DateTime::UNIX_EPOCH).await.unwrap_err();
    assert!(matches!(error, AlertError::Refused { status: StatusCode::TEMPORARY_REDIRECT, .. }), "{error}");
    assert_eq!((receiver.count(), elsewhere.count()), (1, 0));
}

#[tokio::test]
async fn a_test_alert_arrives_in_each_format_or_returns_its_error() {
    for (kind, expected) in [
        ("slack", r#""text":"EventBridge: this is a test"#),
        ("discord", r#""content":"EventBridge: this is a test"#),
        ("ntfy", "Alerts of this service arrive here."),
        ("json", r#""state":"test""#),
    ] {
        let receiver = Receiver::start().await;
        let url = format!("{}/secret-path", receiver.url);
        let vars: Vars = [("ALERT_URL", url.as_str()), ("ALERT_KIND", kind)].into_iter().collect();
        let settings = settings(&mut Reader::new(&vars));
        assert_eq!(send_test_alert(&settings, DateTime::UNIX_EPOCH).await.unwrap(), "127.0.0.1");
        let call = &receiver.until(1).await[0];
        assert_eq!((&call.method, call.path.as_str()), (&Method::POST, "/secret-path"));
        assert!(call.body.contains(expected), "{kind}: {}", call.body);
        if kind == "ntfy" {
            assert_eq!(call.headers["priority"], "default");
        } else {
            assert_eq!(call.headers["content-type"], "application/json");
        }
        receiver.serving.abort();
        drop(receiver);
        let error = send_test_alert(&settings, DateTime::UNIX_EPOCH).await.unwrap_err().to_string();
        assert!(error.contains("127.0.0.1") && !error.contains("secret-path"), "{error}");
    }
    let nobody = settings(&mut Reader::new(&Vars::default()));
    assert!(matches!(send_test_alert(&nobody, DateTime::UNIX_EPOCH).await, Err(AlertError::NoReceiver)));
}

#[tokio::test]
async fn a_process_without_its_database_sends_an_urgent_alert_by_itself_once_its_time_has_passed() {
    let receiver = Receiver::start().await;
    // The harness makes minutes milliseconds.
    let service = Service::builder()
        .without_database()
        .set("ALERT_URL", &receiver.url)
        .set("ALERT_QUIET_HOURS", "00:00-23:59")
        .set("ALERT_DATABASE_MINUTES", "100")
        .start()
        .await;
    let never = Service::builder()
        .without_database()
        .set("ALERT_URL", &format!("{}/never", receiver.url))
        .set("ALERT_DATABASE_MINUTES", "0")
        .start()
        .await;
    let call = receiver.until(1).await[0].clone();
    let alert = call.json();
    assert_eq!(call.path, "/", "{alert}");
    for (field, expected) in [("state", "raised"), ("key", "database"), ("urgency", "wake")] {
        assert_eq!(alert[field], expected, "{alert}");
    }
    assert!(alert["remedy"].as_str().unwrap().contains("never resends events of an endpoint"), "{alert}");
    never.until_alerts_were_evaluated().await;
    assert_eq!(receiver.count(), 1);
    service.stop().await;
    never.stop().await;
}

#[tokio::test]
async fn a_read_only_database_raises_an_alert_that_is_resolved_later() {
    let receiver = Receiver::start().await;
    let service = Service::builder().set("DESTINATIONS", "").set("ALERT_URL", &receiver.url).start().await;
    // This closes every connection of the service, and the next ones are read-only.
    service.database.let_new_sessions_write(false).await;
    service.database.end_sessions().await;
    assert_eq!(receiver.until(1).await[0].json()["key"], "database");
    service.database.let_new_sessions_write(true).await;
    service.database.end_sessions().await;
    let over = receiver.until(2).await[1].json();
    assert_eq!((&over["state"], &over["key"]), (&json!("resolved"), &json!("database")));
    service.stop().await;
}

#[tokio::test]
async fn the_heartbeat_is_sent_only_while_a_worker_is_alive() {
    let receiver = Receiver::start().await;
    let url = format!("{}/beat", receiver.url);
    let silent = Service::builder().set("DESTINATIONS", "").set("HEARTBEAT_URL", &url).start().await;
    let call = &receiver.until(1).await[0];
    assert_eq!((&call.method, call.path.as_str()), (&Method::GET, "/beat"));
    silent.until_alerts_were_evaluated().await;
    assert_eq!(receiver.count(), 1, "it is sent once a minute");
    silent.stop().await;

    let away = Service::builder().without_database().set("HEARTBEAT_URL", &url).start().await;
    away.until_alerts_were_evaluated().await;
    assert_eq!(receiver.count(), 1, "no heartbeat without a database");
    away.stop().await;

    let working = Service::builder().set("HEARTBEAT_URL", &url).start().await;
    receiver.until(2).await;
    working.stop().await;
}

#[tokio::test]
async fn backlog_failures_rejections_and_silence_each_have_an_alert_key() {
    let receiver = Receiver::start().await;
    let quiet = Service::builder().set("DESTINATIONS", "").start().await;
    quiet.post_event(&json!({"id": "evt_1"}).to_string()).await;
    let database = quiet.database.clone();
    let store = database.store();
    database.change(rows::silence_of_a_day()).await;
    database.change(rows::waiting_since(Duration::from_mins(16))).await;
    database.change(rows::failure_group("a", "validation_error", "x")).await;
    let failed = Ended {
        class: Some("validation_error"),
        group: Some("a"),
        reason: Some("jane@example.com"),
        ..Ended::failed(Duration::from_mins(5))
    };
    database.change(failed).await;
    let arrival = |age| Addition { age, kind: "received", name: String::new(), le_ms: 0, n: 1 };
    let hours = (20..60).map(|hour| arrival(Duration::from_hours(hour)));
    store.statistics.add_statistics(&hours.collect::<Vec<_>>()).await.unwrap();
    for _ in 0..5 {
        database.change(rows::rejected_request(Duration::from_hours(2))).await;
    }
    let service = quiet.replica().set("ALERT_URL", &receiver.url).start().await;
    let calls = receiver.until(4).await;
    let mut keys: Vec<_> = calls.iter().map(|call| call.json()["key"].as_str().unwrap().to_owned()).collect();
    keys.sort();
    assert_eq!(
        keys,
        ["backlog notion", "failures notion validation_error a", "rejected webhooks", "silence"]
    );
    assert!(calls.iter().all(|call| !call.body.contains("jane@example.com")));
    service.stop().await;
    quiet.stop().await;
}

#[tokio::test]
async fn a_silence_in_hours_that_were_busy_for_weeks_is_urgent_and_ends_with_an_event() {
    let receiver = Receiver::start().await;
    let quiet = Service::builder().set("DESTINATIONS", "").start().await;
    quiet.post_event(&json!({"id": "evt_1"}).to_string()).await;
    quiet.database.change(rows::silence_of_a_day()).await;
    let arrivals = (1..=4 * 7 * 24).map(|hour| Addition {
        age: Duration::from_hours(20 + hour),
        kind: "received",
        name: String::new(),
        le_ms: 0,
        n: 50,
    });
    quiet.database.store().statistics.add_statistics(&arrivals.collect::<Vec<_>>()).await.unwrap();
    let service = quiet
        .replica()
        .set("DESTINATIONS", "")
        .set("ALERT_URL", &receiver.url)
        .set("ALERT_QUIET_HOURS", &quiet_now())
        .start()
        .await;
    let alert = receiver.until(1).await[0].json();
    assert_eq!((&alert["key"], &alert["urgency"]), (&json!("not_arriving"), &json!("wake")), "{alert}");
    service.post_event(&json!({"id": "evt_2"}).to_string()).await;
    let over = receiver.until(2).await[1].json();
    assert_eq!((&over["key"], &over["state"]), (&json!("not_arriving"), &json!("resolved")), "{over}");
    service.stop().await;
    quiet.stop().await;
}

/// Posts an `invoice.created` of live mode, signed with this secret at this time.
async fn post_invoice_created(service: &Service, id: &str, secret: &str, at: i64) -> StatusCode {
    let event = json!({"id": id, "object": "event", "type": "invoice.created", "livemode": true});
    let body = event.to_string();
    let request = Request::post("/api/v1/webhooks/stripe")
        .header("host", "localhost")
        .header("stripe-signature", stripe::sign(secret, body.as_bytes(), at))
        .body(Body::from(body));
    service.call(request.unwrap()).await.status
}

async fn until_unanswered(database: &Database, count: i64) {
    within("the event is recorded", async {
        while database.count(rows::unanswered_events()).await < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_unanswered_invoice_created_is_urgent_until_it_is_accepted() {
    let receiver = Receiver::start().await;
    let service = Service::builder()
        .set("DESTINATIONS", "")
        .set("ALERT_URL", &receiver.url)
        .set("ALERT_QUIET_HOURS", &quiet_now())
        .start()
        .await;
    // Its signature is valid and too old, so it is Stripe's.
    assert_eq!(
        post_invoice_created(&service, "evt_late", SECRET, NOW - 3_600).await,
        StatusCode::BAD_REQUEST
    );
    until_unanswered(&service.database, 1).await;
    service.until_alerts_were_evaluated().await;
    assert_eq!(receiver.count(), 0, "Stripe may repeat it soon");
    service.database.change(rows::age_unanswered(Duration::from_mins(11), false)).await;
    let alert = receiver.until(1).await[0].json();
    assert_eq!((&alert["key"], &alert["urgency"]), (&json!("unanswered_invoice"), &json!("wake")), "{alert}");
    assert!(!alert.to_string().contains("evt_late") && !alert.to_string().contains("unverified"), "{alert}");
    assert_eq!(post_invoice_created(&service, "evt_late", SECRET, NOW).await, StatusCode::OK);
    let over = receiver.until(2).await[1].json();
    assert_eq!((&over["key"], &over["state"]), (&json!("unanswered_invoice"), &json!("resolved")), "{over}");
    service.stop().await;
}

#[tokio::test]
async fn an_invoice_created_that_anyone_can_have_sent_waits_for_the_morning_and_must_be_repeated() {
    let receiver = Receiver::start().await;
    let service = Service::builder().set("DESTINATIONS", "").set("ALERT_URL", &receiver.url).start().await;
    assert_eq!(post_invoice_created(&service, "evt_good", SECRET, NOW).await, StatusCode::OK);
    let forge = async || post_invoice_created(&service, "evt_forged", "whsec_another", NOW).await;
    assert_eq!(forge().await, StatusCode::BAD_REQUEST);
    until_unanswered(&service.database, 1).await;
    service.database.change(rows::age_unanswered(Duration::from_hours(1), false)).await;
    service.until_alerts_were_evaluated().await;
    assert_eq!(receiver.count(), 0);
    assert_eq!(forge().await, StatusCode::BAD_REQUEST);
    let alert = receiver.until(1).await[0].json();
    assert_eq!(
        (&alert["key"], &alert["urgency"]),
        (&json!("unanswered_unverified"), &json!("morning")),
        "{alert}"
    );
    assert!(alert["summary"].as_str().unwrap().contains("unverified"), "{alert}");
    // Stripe waits for 72 hours.
    service.database.change(rows::age_unanswered(Duration::from_hours(72), false)).await;
    let over = receiver.until(2).await[1].json();
    assert_eq!(over["state"], "resolved");
    service.stop().await;
}

#[tokio::test]
async fn a_token_that_expires_soon_raises_an_alert_until_it_has_a_later_date() {
    let receiver = Receiver::start().await;
    let in_days = |days| (DateTime::<Utc>::from(SystemTime::now()) + TimeDelta::days(days)).date_naive();
    let soon = Service::builder()
        .set("NOTION_API_KEY_EXPIRES", &in_days(3).to_string())
        .set("ALERT_URL", &receiver.url)
        .start()
        .await;
    let alert = receiver.until(1).await[0].json();
    assert_eq!(
        (&alert["key"], &alert["urgency"]),
        (&json!("expiring_token notion"), &json!("morning")),
        "{alert}"
    );
    assert!(alert["summary"].as_str().unwrap().contains(&in_days(3).to_string()), "{alert}");
    // It is recorded as sent.
    soon.until_alerts_were_evaluated().await;
    let later = soon.replica().set("NOTION_API_KEY_EXPIRES", &in_days(300).to_string());
    soon.stop().await;
    let later = later.set("ALERT_URL", &receiver.url).start().await;
    let over = receiver.until(2).await[1].json();
    assert_eq!((&over["key"], &over["state"]), (&json!("expiring_token notion"), &json!("resolved")));
    later.stop().await;
}

#[tokio::test]
async fn a_workspace_at_its_block_limit_raises_an_alert_of_its_own_instead_of_a_backlog() {
    let receiver = Receiver::start().await;
    let service = Service::builder().set("ALERT_URL", &receiver.url).start().await;
    service.sandbox.set_block_limit(Some(0));
    let invoice = json!({"id": "evt_1", "type": "invoice.paid", "data": {"object": {
        "id": "in_1", "object": "invoice", "currency": "eur", "status": "paid", "amount_paid": 5_845}}});
    service.post_event(&invoice.to_string()).await;
    let alert = receiver.until(1).await[0].json();
    assert_eq!(
        (&alert["key"], &alert["urgency"]),
        (&json!("block_limit notion"), &json!("morning")),
        "{alert}"
    );
    assert!(alert["remedy"].as_str().unwrap().starts_with("Upgrade the Notion workspace"), "{alert}");
    service.database.change(rows::waiting_since(Duration::from_mins(20))).await;
    service.until_alerts_were_evaluated().await;
    assert_eq!(receiver.count(), 1, "no backlog is reported");
    service.stop().await;
}

#[tokio::test]
async fn failures_are_found_by_group_unless_acknowledged() {
    let database = Database::new().await;
    let store = database.store();
    database.change(rows::failure_group("a", "validation_error", "x")).await;
    database.change(rows::failure_group("b", "conflict_error", "y")).await;
    for (class, group, minutes) in [
        (Some("validation_error"), Some("a"), 9),
        (Some("validation_error"), Some("a"), 5),
        (Some("conflict_error"), Some("b"), 120),
        (Some("timeout"), None, 1),
    ] {
        let ago = Duration::from_mins(minutes);
        database.change(Ended { class, group, ..Ended::failed(ago) }).await;
    }
    let found = async || {
        let found = store.reports.recent_failures(Duration::from_hours(1)).await.unwrap().groups;
        found.into_iter().map(|one| (one.class, one.group.is_some(), one.count)).collect::<Vec<_>>()
    };
    let ungrouped = ("timeout".to_owned(), false, 1);
    assert_eq!(found().await, [ungrouped.clone(), ("validation_error".to_owned(), true, 2)]);
    database.change(rows::acknowledge_until(Duration::from_mins(7))).await;
    assert_eq!(found().await, [ungrouped.clone(), ("validation_error".to_owned(), true, 1)]);
    database.change(rows::acknowledge_until(Duration::ZERO)).await;
    assert_eq!(found().await, [ungrouped]);
}

#[tokio::test]
async fn a_notified_failure_group_stays_raised_until_none_of_it_is_failed() {
    let database = Database::new().await;
    let store = database.store();
    let fail = async |group: &str, minutes: u64| {
        database.change(rows::failure_group(group, "validation_error", "x")).await;
        let ago = Duration::from_mins(minutes);
        database.change(Ended { group: Some(group), ..Ended::failed(ago) }).await;
    };
    fail("first", 5).await;
    let key = "failures notion validation_error first";
    let alert = Condition {
        key: key.to_owned(),
        kind: "failures".to_owned(),
        failure_group: Some("first".to_owned()),
        is_urgent: false,
        summary: String::new(),
        remedy: String::new(),
        since: DateTime::<Utc>::UNIX_EPOCH,
    };
    store.alerts.record_conditions(&["failures"], &[alert]).await.unwrap();
    database.change(rows::executions().set(&[Set::FinishedAgo(Duration::from_hours(2))])).await;
    for number in 0..25 {
        fail(&format!("other{number}"), 1).await;
    }
    let of_late = async || store.reports.recent_failures(Duration::from_hours(1)).await.unwrap();
    let found = of_late().await;
    assert_eq!((found.groups.len(), found.more), (20, 6));
    assert_eq!(found.groups[0].group.as_deref(), Some("first"), "a notified group is not cut off");
    database.change(rows::executions().in_group("first").set(&[Set::Status("success")])).await;
    assert!(of_late().await.groups.iter().all(|found| found.group.as_deref() != Some("first")));
}

#[tokio::test]
async fn an_alert_is_claimed_by_one_process_and_returns_only_if_it_lasts() {
    let database = Database::new().await;
    let store = database.store();
    let since = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(1);
    let condition = Condition {
        key: "k".to_owned(),
        kind: "k".to_owned(),
        failure_group: None,
        is_urgent: false,
        summary: "s".to_owned(),
        remedy: "r".to_owned(),
        since,
    };
    let lasting = [condition.clone()];
    store.alerts.record_conditions(&["k"], &lasting).await.unwrap();
    let (a, b) = tokio::join!(store.alerts.take_alerts(), store.alerts.take_alerts());
    let claimed: Vec<_> = a.unwrap().into_iter().chain(b.unwrap()).collect();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].condition, condition);
    store.alerts.mark_notified(&claimed[..1]).await.unwrap();
    store.alerts.record_conditions(&["k"], &lasting).await.unwrap();
    assert!(store.alerts.take_alerts().await.unwrap().is_empty());

    // Ended and raised again before it was sent: it never ended.
    store.alerts.record_conditions(&["k"], &[]).await.unwrap();
    store.alerts.record_conditions(&["k"], &lasting).await.unwrap();
    assert!(store.alerts.take_alerts().await.unwrap().is_empty());

    // Ended and raised again while its end is being sent: it is sent again.
    store.alerts.record_conditions(&["k"], &[]).await.unwrap();
    let over = store.alerts.take_alerts().await.unwrap();
    assert!(over[0].resolved_at.is_some());
    store.alerts.record_conditions(&["k"], &lasting).await.unwrap();
    store.alerts.mark_notified(&over[..1]).await.unwrap();
    let anew = store.alerts.take_alerts().await.unwrap();
    assert_eq!((anew.len(), anew[0].resolved_at), (1, None));

    // No receiver accepts it: it is dropped after a bounded number of tries, and forgotten when it ends.
    database.change(rows::alerts_failed(60)).await;
    assert!(store.alerts.take_alerts().await.unwrap().is_empty());
    store.alerts.record_conditions(&["k"], &[]).await.unwrap();
    assert_eq!(database.count(rows::alerts()).await, 0);
}
