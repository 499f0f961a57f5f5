//! This service accepts what Stripe's libraries sign, and they accept what it signs.

use super::libraries::{Library, Received};
use super::tools::Tools;
use super::unix_now;
use crate::harness::{NOW, SECRET, Service, eventbridge, output, recorded, rows, text};
use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use eventbridge::http_client;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

/// Bodies that a careless parser would change, and the recorded ones if they are present.
fn bodies() -> Vec<String> {
    let text = "Zoë e\u{301} 山田 🧾 \u{2028}\u{feff}\u{202e} \u{10ffff}";
    let mut bodies = vec![
        r#"{"id":"evt_short"}"#.to_owned(),
        format!("{:#}", json!({"id": "evt_unicode", "object": "event", "data": {"object": {"name": text}}})),
        "{\r\n\t\"id\": \"evt_lines\" ,\n\n \"id\":\"evt_lines\", \"n\":1.0e2}\r\n".to_owned(),
        r#"{"id":"evt_escapes","name":"\ud83e\uddfe\u0000\/","n":12345678901234567890123}"#.to_owned(),
        json!({"id": "evt_large", "data": {"object": {"text": "€".repeat(600_000)}}}).to_string(),
    ];
    if let Some(folder) = recorded("stripe-events") {
        // Many were recorded under one id: each gets its own and keeps all its other bytes.
        let files = fs::read_dir(folder).unwrap().enumerate().map(|(place, file)| {
            let body = fs::read_to_string(file.unwrap().path()).unwrap();
            let event: Value = serde_json::from_str(&body).unwrap();
            body.replace(event["id"].as_str().unwrap(), &format!("evt_recorded_{place}"))
        });
        bodies.extend(files);
    }
    bodies
}

/// A service that stores events and delivers none, on a port of its own.
struct Webhook {
    service: Service,
    url: Url,
    http: reqwest::Client,
    _listening: crate::harness::Listening,
}

impl Webhook {
    async fn start(secrets: &str) -> Self {
        let service =
            Service::builder().set("DESTINATIONS", "").set("STRIPE_WEBHOOK_SECRET", secrets).start().await;
        let listening = service.listen(0).await;
        let url: Url = format!("http://127.0.0.1:{}/api/v1/webhooks/stripe", listening.port).parse().unwrap();
        let http = http_client::client(&url, Duration::from_secs(20)).unwrap();
        Self { service, url, http, _listening: listening }
    }

    /// The status and the response.
    async fn post(&self, body: &str, header: &str) -> (u16, Value) {
        let request = self.http.post(self.url.clone()).header("Stripe-Signature", header);
        let answer = request.body(body.to_owned()).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn assert_kept(&self, body: &str) {
        let kept = rows::events().with_body(body);
        assert_eq!(self.service.database.count(kept).await, 1, "{}", &body[..body.len().min(80)]);
    }
}

#[tokio::test]
async fn a_body_signed_by_stripes_libraries_is_stored_byte_for_byte() {
    let Some(tools) = Tools::of_this_machine() else { return };
    let bodies = bodies();
    let payloads: Vec<_> = bodies.iter().map(String::as_str).collect();
    for library in Library::ALL {
        let webhook = Webhook::start(SECRET).await;
        let headers = library.sign(&tools, &payloads, SECRET, NOW).await;
        for (body, header) in payloads.iter().zip(&headers) {
            let (status, answer) = webhook.post(body, header).await;
            assert_eq!((status, &answer["accepted"]), (200, &json!(true)), "{library:?}: {answer}");
            webhook.assert_kept(body).await;
        }
    }
}

#[tokio::test]
async fn during_a_rotation_both_secrets_are_accepted_and_the_used_one_is_recorded() {
    let Some(tools) = Tools::of_this_machine() else { return };
    for library in Library::ALL {
        let webhook = Webhook::start("old=whsec_old,new=whsec_new").await;
        let bodies =
            ["old", "new", "both", "neither"].map(|id| json!({"id": id, "object": "event"}).to_string());
        let payloads: Vec<_> = bodies.iter().map(String::as_str).collect();
        let old = library.sign(&tools, &payloads, "whsec_old", NOW).await;
        let new = library.sign(&tools, &payloads, "whsec_new", NOW).await;
        let others = library.sign(&tools, &payloads, "whsec_others", NOW).await;
        // As Stripe sends it: one time, and a signature for each secret.
        let signature = |header: &str| header.split_once(',').unwrap().1.to_owned();
        let joined = |one: &str, other: &str| format!("{one},{}", signature(other));
        for (place, header, secret) in [
            (0, joined(&others[0], &old[0]), Some("old")),
            (1, joined(&others[1], &new[1]), Some("new")),
            (2, joined(&new[2], &old[2]), Some("old")),
            (3, others[3].clone(), None),
        ] {
            let (status, answer) = webhook.post(payloads[place], &header).await;
            let Some(secret) = secret else {
                assert_eq!((status, &answer["code"]), (400, &json!("signature_no_match")));
                continue;
            };
            assert_eq!(status, 200, "{library:?}: {answer}");
            let by = rows::events().verified_with(secret).with_body(payloads[place]);
            assert_eq!(webhook.service.database.count(&by).await, 1, "{library:?}: {by:?}");
        }
    }
}

#[tokio::test]
async fn events_of_trigger_pass_stripes_libraries() {
    let Some(tools) = Tools::of_this_machine() else { return };
    let caught = Arc::<Mutex<Vec<(HeaderMap, String)>>>::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let catch = async |State(caught): State<Arc<Mutex<Vec<_>>>>, headers: HeaderMap, body: String| {
        caught.lock().unwrap().push((headers, body));
        "{}"
    };
    let router = Router::new().fallback(catch).with_state(caught.clone());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let _serving = AbortOnDropHandle::new(serving);

    let folder = TempDir::new().unwrap();
    let listing = text(&output(eventbridge(folder.path()).arg("trigger")).await.stdout);
    let names: Vec<_> = listing.lines().skip(1).map(str::trim).collect();
    let before = unix_now();
    for name in &names {
        let mut trigger = eventbridge(folder.path());
        trigger.args(["trigger", name, "--url", &url]).env("STRIPE_WEBHOOK_SECRET", "whsec_of_trigger");
        let done = output(&mut trigger).await;
        assert!(done.status.success(), "{name}: {}", text(&done.stderr));
    }

    let caught = std::mem::take(&mut *caught.lock().unwrap());
    assert!(caught.len() > names.len() && names.len() > 20, "{names:?}");
    let events: Vec<Value> = caught.iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect();
    let header = |headers: &HeaderMap, name: &str| headers[name].to_str().unwrap().to_owned();
    for (headers, _) in &caught {
        assert_eq!(header(headers, "content-type"), "application/json; charset=utf-8");
        assert!(header(headers, "user-agent").starts_with("Stripe/1.0"));
    }
    let signatures: Vec<_> = caught.iter().map(|(headers, _)| header(headers, "stripe-signature")).collect();
    let received = |secret| {
        let each = caught.iter().zip(&signatures).zip(&events);
        let each = each.map(move |(((_, payload), header), event)| Received {
            payload,
            header,
            secret,
            now: None,
            thin: event["object"] == "v2.core.event",
        });
        each.collect::<Vec<_>>()
    };
    for library in Library::ALL {
        let verified = library.verify(&tools, &received("whsec_of_trigger")).await;
        for (event, verified) in events.iter().zip(&verified) {
            assert_eq!(*verified, json!({"id": event["id"], "type": event["type"]}), "{library:?}");
        }
        let forged = library.verify(&tools, &received("whsec_of_somebody_else")).await;
        let errors: BTreeSet<_> = forged.iter().map(|refused| refused["error"].as_str()).collect();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors.iter().all(|error| error.is_some_and(|error| error.contains("SignatureVerification")))
        );
    }
    assert!(unix_now() - before < 300, "the signatures expired during the test");
}
