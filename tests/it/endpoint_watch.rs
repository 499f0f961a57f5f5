//! The endpoint watch: what it finds at Stripe is recorded once, shown everywhere, and raises alerts.

use crate::alerts::Receiver;
use crate::harness::{Database, NOW, Service, ServiceBuilder, signed, within};
use eventbridge::domain::endpoint::{EndpointCheck, EndpointProblem};
use serde_json::{Value, json};
use std::time::Duration;
use stripe_sandbox::{ApiKey, Fault, FaultRule, RunningSandbox, Sandbox, SandboxOptions, ShopSize};

const WRITE_KEY: &str = "sk_live_of_the_tests";
const READ_KEY: &str = "rk_live_of_the_tests";
const PUBLIC_URL: &str = "https://events.example.com";

/// A stand-in for Stripe in live mode, without a shop, and an endpoint of the service.
struct AtStripe {
    stripe: RunningSandbox,
    endpoint: String,
}

impl AtStripe {
    async fn new(public_url: &str, events: &[&str]) -> Self {
        let keys = vec![
            ApiKey::secret(WRITE_KEY),
            ApiKey::restricted(READ_KEY, &["rak_webhook_read", "rak_event_read"]),
        ];
        let options =
            SandboxOptions { keys, livemode: true, size: ShopSize::Empty, ..SandboxOptions::default() };
        let stripe = Sandbox::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
        let mut form = vec![("url", format!("{public_url}/api/v1/webhooks/stripe"))];
        form.extend(events.iter().map(|name| ("enabled_events[]", (*name).to_owned())));
        let form: Vec<_> = form.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let http = eventbridge::http_client::local_client(Duration::from_secs(10)).unwrap();
        let created = http
            .post(format!("{}/v1/webhook_endpoints", stripe.base_url()))
            .bearer_auth(WRITE_KEY)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .unwrap();
        let created: Value = created.json().await.unwrap();
        Self { stripe, endpoint: created["id"].as_str().unwrap_or_else(|| panic!("{created}")).to_owned() }
    }

    /// A service that watches it.
    fn watched_by(&self, builder: ServiceBuilder) -> ServiceBuilder {
        builder
            .set("STRIPE_API_KEY", READ_KEY)
            .set("STRIPE_API_URL", self.stripe.base_url())
            .set("PUBLIC_URL", PUBLIC_URL)
    }
}

/// Waits until the recorded check meets the condition.
async fn until_checked(database: &Database, is_so: impl Fn(&EndpointCheck) -> bool) -> EndpointCheck {
    let checks = database.store().endpoint_checks;
    within("the endpoint is checked", async {
        loop {
            let all = checks.all().await.unwrap();
            if let Some(check) = all.into_iter().find(&is_so) {
                return check;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

fn problems(check: &EndpointCheck) -> Vec<&'static str> {
    check.state.problems.iter().map(|problem| problem.what.as_str()).collect()
}

#[tokio::test]
async fn a_disabled_endpoint_of_live_mode_wakes_once_and_its_end_resolves_the_alert() {
    let at_stripe = AtStripe::new(PUBLIC_URL, &["*"]).await;
    let (stripe, receiver) = (at_stripe.stripe.handle(), Receiver::start().await);
    let one = at_stripe.watched_by(Service::builder()).set("ALERT_URL", &receiver.url).start().await;
    let other = at_stripe.watched_by(one.replica()).set("ALERT_URL", &receiver.url).start().await;
    let check = until_checked(&one.database, |check| !check.state.enabled.is_empty()).await;
    assert_eq!((check.key.as_str(), check.livemode, problems(&check)), ("key-1", true, vec![]));

    assert!(stripe.disable_endpoint(&at_stripe.endpoint));
    let alert = receiver.until(1).await[0].json();
    for (field, expected) in [
        ("state", json!("raised")),
        ("key", json!("endpoint stripe key-1 disabled")),
        ("urgency", json!("wake")),
    ] {
        assert_eq!(alert[field], expected, "{alert}");
    }
    let said = alert.to_string();
    assert!(said.contains("never sent") && said.contains("eventbridge stripe enable"), "{said}");
    for replica in [&one, &other] {
        let health = replica.until_health("health shows it", |health| health["status"] == "degraded").await;
        let finding = &health["findings"][0];
        assert_eq!((&finding["kind"], &finding["level"]), (&json!("endpoint_stopped"), &json!("critical")));
        assert!(!finding.to_string().contains(&at_stripe.endpoint), "health is public: {finding}");
        let overview = replica.get("/").await.body;
        assert!(overview.contains("endpoint is disabled") && overview.contains(&at_stripe.endpoint));
    }

    assert!(stripe.enable_endpoint(&at_stripe.endpoint));
    let over = receiver.until(2).await[1].json();
    assert_eq!((&over["state"], &over["key"]), (&json!("resolved"), &alert["key"]));
    one.until_alerts_were_evaluated().await;
    other.until_alerts_were_evaluated().await;
    assert_eq!(receiver.count(), 2);
    one.until_health("health is good again", |health| health["status"] == "ok").await;
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_unknown_and_changes_nothing_that_was_known() {
    let at_stripe = AtStripe::new(PUBLIC_URL, &["*"]).await;
    let stripe = at_stripe.stripe.handle();
    stripe.set_permissions(READ_KEY, &["rak_event_read"]);
    let service = at_stripe.watched_by(Service::builder()).start().await;
    let database = &service.database;
    let check = until_checked(database, |check| !check.state.unknown.is_empty()).await;
    let unknown = &check.state.unknown[0].what;
    assert!(unknown.lacks_permission && unknown.why.contains("rak_webhook_read"), "{unknown:?}");
    assert!(problems(&check).is_empty() && check.checked_at.is_none(), "{check:?}");
    let overview = service.get("/").await.body;
    assert!(overview.contains("is unknown since") && overview.contains("rak_webhook_read"));
    assert_eq!(service.get("/api/v1/health").await.json()["status"], "ok");

    stripe.set_permissions(READ_KEY, &["rak_webhook_read"]);
    let check = until_checked(database, |check| !check.state.enabled.is_empty()).await;
    let unknown = &check.state.unknown[0].what;
    assert!(unknown.why.contains("rak_event_read"), "only the deliveries are unknown: {unknown:?}");

    stripe.disable_endpoint(&at_stripe.endpoint);
    until_checked(database, |check| problems(check) == ["disabled"]).await;
    let down = Fault::Error { status: 503, should_retry: Some(false) };
    stripe.fault(FaultRule::always(down)).unwrap();
    let check =
        until_checked(database, |check| check.state.unknown.iter().any(|one| !one.what.lacks_permission))
            .await;
    assert_eq!(problems(&check), ["disabled"], "what was known stays");
    stripe.clear_faults();
    stripe.enable_endpoint(&at_stripe.endpoint);
    until_checked(database, |check| problems(check).is_empty() && check.checked_at.is_some()).await;
    service.stop().await;
}

#[tokio::test]
async fn events_that_stripe_cannot_deliver_are_reported_until_they_are_stored() {
    // Nothing listens there.
    let at_stripe = AtStripe::new("http://127.0.0.1:9", &["invoice.paid"]).await;
    let stripe = at_stripe.stripe.handle();
    let service =
        at_stripe.watched_by(Service::builder()).set("PUBLIC_URL", "http://127.0.0.1:9").start().await;
    until_checked(&service.database, |check| !check.state.enabled.is_empty()).await;
    let event = |id: &str, event_type: &str| {
        json!({"id": id, "object": "event", "type": event_type, "livemode": true, "created": stripe.now(),
            "api_version": "2026-10-28.endive", "data": {"object": {"id": "in_1", "object": "invoice"}}})
    };
    stripe.publish(&event("evt_lost", "invoice.paid"));
    stripe.publish(&event("evt_not_wanted", "invoice.voided"));
    stripe.advance(Duration::from_mins(2));
    let check = until_checked(&service.database, |check| problems(check) == ["undelivered"]).await;
    let EndpointProblem::Undelivered { count, .. } = check.state.problems[0].what else {
        panic!("{check:?}")
    };
    assert_eq!(count, 1, "the endpoint does not send the other one");
    service.until_health("health shows it", |health| health["findings"][0]["kind"] == "endpoint").await;
    let body =
        json!({"id": "evt_lost", "object": "event", "type": "invoice.paid", "created": NOW}).to_string();
    assert_eq!(service.call(signed(&body)).await.status, 200);
    until_checked(&service.database, |check| problems(check).is_empty()).await;
    service.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_lacks_types_or_has_another_version_or_address_is_named() {
    let at_stripe = AtStripe::new(PUBLIC_URL, &["invoice.paid"]).await;
    let stripe = at_stripe.stripe.handle();
    let filtered =
        |builder| at_stripe.watched_by(builder).set("NOTION_EVENT_TYPES", "invoice.paid,payout.paid");
    let service = filtered(Service::builder()).start().await;
    let check = until_checked(&service.database, |check| problems(check) == ["missing_types"]).await;
    assert!(format!("{check:?}").contains("payout.paid"), "{check:?}");
    stripe.set_api_version(&at_stripe.endpoint, "2027-03-31.fennel");
    until_checked(&service.database, |check| problems(check).contains(&"other_version")).await;
    let database = service.database.clone();
    service.stop().await;

    let moved = at_stripe.watched_by(Service::builder().on(database.clone()).await);
    let moved = moved.set("PUBLIC_URL", "https://new.example.com").start().await;
    until_checked(&database, |check| problems(check) == ["other_url"]).await;
    moved.stop().await;

    let without_key = Service::builder().on(database.clone()).await.start().await;
    within("what a removed key found is removed", async {
        while !database.store().endpoint_checks.all().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    without_key.stop().await;
}
