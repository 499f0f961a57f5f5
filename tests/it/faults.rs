//! Faults of the outside world: what happens to Stripe's requests on their way, and bodies on which the service
//! once failed. The bodies are beside the checkout, in `../shared/data/faults`.

use crate::harness::{Answer, NOW, SECRET, Service, eventbridge, output, recorded, text, within};
use axum::body::Body;
use axum::http::Request;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use eventbridge::sources::stripe;
use notion_sandbox::Template;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;
use tempfile::TempDir;

const EVENT: &str = "{\n  \"id\": \"evt_1\",\n  \"object\": \"event\",\n  \"livemode\": true,\n  \"type\": \"invoice.paid\"\n}";

async fn store_only() -> Service {
    Service::builder().set("DESTINATIONS", "").start().await
}

/// Stripe's request for [`EVENT`], but with this path and this body.
async fn arrives(service: &Service, path: &str, body: impl Into<Vec<u8>>) -> Answer {
    let request = Request::post(path)
        .header("host", "localhost")
        .header("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
        .header("stripe-signature", stripe::sign(SECRET, EVENT.as_bytes(), NOW))
        .body(Body::from(body.into()));
    service.call(request.unwrap()).await
}

/// The API's list of rejections, once there is one.
async fn rejections(service: &Service) -> Value {
    within("the rejection is stored", async {
        loop {
            let listing = service.get("/api/v1/rejections").await.json();
            if listing["data"][0].is_object() {
                return listing;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// What `doctor` reports about the service's database, with these further settings.
async fn doctor(service: &Service, settings: &[(&str, &str)]) -> String {
    let folder = TempDir::new().unwrap();
    let mut command = eventbridge(folder.path());
    command
        .args(["doctor", "--json"])
        .env("DATABASE_URL", service.database.url().expose_secret())
        .envs([("STRIPE_WEBHOOK_SECRET", SECRET), ("DESTINATIONS", ""), ("AUTH", "off")])
        .envs(settings.iter().copied());
    text(&output(&mut command).await.stdout)
}

#[tokio::test]
async fn a_body_that_is_damaged_on_its_way_is_the_operators_to_fix() {
    let event: Value = serde_json::from_str(EVENT).unwrap();
    for (form, body) in [
        ("base64", BASE64_STANDARD.encode(EVENT).into_bytes()),
        ("compressed", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]),
        ("wrapped", json!({"body": EVENT, "isBase64Encoded": false}).to_string().into_bytes()),
        ("wrapped", json!({"id": "of the bus", "detail": event}).to_string().into_bytes()),
        ("form_encoded", b"payload=%7B%22id%22%3A%22evt_1%22%2C%22type%22%3A%22invoice.paid%22%7D".to_vec()),
        ("truncated", EVENT.as_bytes()[..60].to_vec()),
        // In the middle of a character.
        ("truncated", b"{\n  \"id\": \"evt_1\",\n  \"name\": \"Zo\xc3".to_vec()),
        ("empty", Vec::new()),
    ] {
        let service = store_only().await;
        let answer = arrives(&service, "/api/v1/webhooks/stripe", body).await;
        assert_eq!(answer.problem(400), "signature_no_match", "{form}");
        let listing = rejections(&service).await;
        assert_eq!(
            (&listing["data"][0]["body_form"], &listing["causes"][0]["cause"]),
            (&json!(form), &json!("body_damaged")),
            "{listing}"
        );
        let warned = |health: &Value| health["warnings"][0]["cause"] == "body_damaged";
        let health = service.until_health("it warns", warned).await;
        let remedy = health["warnings"][0]["remedy"].as_str().unwrap();
        assert!(remedy.contains("forward the raw bytes"), "{health}");
        if form == "base64" {
            let report = doctor(&service, &[]).await;
            assert!(report.contains("arrive as base64 text") && report.contains("Decode it"), "{report}");
        }
    }
}

#[tokio::test]
async fn a_webhook_is_accepted_if_only_slashes_or_case_of_its_path_are_wrong() {
    let service = store_only().await;
    for (number, path) in [
        "/api/v1/webhooks/stripe",
        "/api/v1/webhooks/stripe/",
        "//api/v1//webhooks/stripe",
        "/api/v1/webhooks/Stripe",
        "/API/V1/Webhooks/STRIPE//",
    ]
    .into_iter()
    .enumerate()
    {
        let answer = arrives(&service, path, EVENT).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["accepted"]),
            (200, &json!(number == 0)),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_signed_webhook_at_a_wrong_path_is_told_the_right_one_and_reported() {
    let service = store_only().await;
    for path in
        ["/", "/webhook", "/app/api/v1/webhooks/stripe", "/api/v1/webhooks", "/api/v1/webhooks/paypal"]
    {
        let answer = arrives(&service, path, EVENT).await;
        assert_eq!(answer.problem(404), "wrong_path", "{path}");
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains("The right path is /api/v1/webhooks/stripe."), "{path}: {detail}");
    }
    let listing = rejections(&service).await;
    let cause = &listing["causes"][0];
    assert_eq!((&cause["cause"], &cause["is_current"]), (&json!("wrong_path"), &json!(true)), "{listing}");
    assert!(cause["remedy"].as_str().unwrap().contains("/api/v1/webhooks/stripe,"), "{listing}");
    assert_eq!(listing["data"][0]["body_form"], "as_sent", "{listing}");
    service.until_health("it warns", |health| health["warnings"][0]["cause"] == "wrong_path").await;
    let scrape = service.get("/metrics").await.body;
    assert!(
        scrape.lines().any(|line| line.contains("reason=\"wrong_path\"") && line.ends_with(" 5")),
        "{scrape}"
    );
    let report = doctor(&service, &[]).await;
    assert!(report.contains("arrive at a path without a webhook"), "{report}");

    // What has no signature is an ordinary request.
    assert_eq!(service.post("/").await.problem(405), "method_not_allowed");
    for path in ["/webhook", "/api/v1/webhooks/stripe/"] {
        assert_eq!(service.post(path).await.problem(404), "not_found", "{path}");
    }
}

#[tokio::test]
async fn of_several_sources_the_path_of_the_one_that_can_verify_is_named() {
    let service = Service::builder()
        .set("DESTINATIONS", "")
        .set("SOURCES", "stripe,stripe-eu:stripe")
        .set("STRIPE_WEBHOOK_SECRET", "whsec_of_another_endpoint")
        .set("STRIPE_EU_WEBHOOK_SECRET", SECRET)
        .start()
        .await;
    let detail = arrives(&service, "/hook", EVENT).await.json()["detail"].to_string();
    assert!(detail.contains("/api/v1/webhooks/stripe-eu"), "{detail}");
    assert_eq!(rejections(&service).await["data"][0]["source"], "stripe-eu");
}

#[tokio::test]
async fn quotes_that_docker_keeps_and_a_port_without_effect_are_reported_and_do_no_harm() {
    let service = store_only().await;
    let url = format!("\"{}\"", service.database.url().expose_secret());
    let secret = "'whsec_0123456789abcdefghijklmnopqrstuv'";
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("STRIPE_WEBHOOK_SECRET", secret),
        ("DESTINATIONS", "\"\""),
        ("PORT", "8080"),
        ("LISTEN_ADDR", "127.0.0.1:9000"),
    ];
    let report: Value = serde_json::from_str(&doctor(&service, &settings).await).unwrap();
    let sections = report["sections"].as_array().unwrap();
    let findings: Vec<_> = sections.iter().flat_map(|one| one["findings"].as_array().unwrap()).collect();
    let warned = findings.iter().filter(|finding| finding["level"] == "warning");
    let warned: Vec<_> = warned.map(|finding| finding["what"].as_str().unwrap()).collect();
    for (name, what) in [
        ("PORT", "has no effect"),
        ("DESTINATIONS", "without the quotes"),
        ("DATABASE_URL", "without the quotes"),
        ("STRIPE_WEBHOOK_SECRET", "without the quotes"),
    ] {
        let is_named = |warning: &&str| warning.starts_with(name) && warning.contains(what);
        assert!(warned.iter().any(is_named), "{name} in {report:#}");
    }
    assert!(findings.iter().all(|finding| finding["level"] != "problem"), "{report:#}");
}

#[tokio::test]
async fn doctor_names_an_address_that_cannot_be_used_and_checks_the_rest() {
    let service = store_only().await;
    for (address, what) in [
        ("postgres://u@db1,db2/events", "several hosts"),
        ("postgres://u@localhost/events?sslrootcert=/nowhere/ca.pem", "/nowhere/ca.pem"),
    ] {
        let report = doctor(&service, &[("DATABASE_URL", address)]).await;
        assert!(report.contains(what) && report.contains("webhook secret"), "{report}");
    }
}

/// A body on which the service once failed; nothing if the checkout stands alone.
fn body(name: &str) -> Option<String> {
    let folder = recorded("faults")?;
    Some(fs::read_to_string(folder.join(format!("{name}.json"))).unwrap())
}

#[tokio::test]
async fn an_odd_value_in_an_accepted_body_costs_no_other_value() {
    let service = Service::builder().template(Template::Full).start().await;
    let names = ["B01", "B01b", "B02", "B03"];
    for name in names {
        let Some(body) = body(name) else { return };
        assert_eq!(service.post_event(&body).await.status, 200, "{name}");
    }
    service.until_finished(names.len()).await;
    let pages = service.sandbox.pages();
    assert_eq!(pages.len(), names.len());
    for page in &pages {
        for (column, expected) in [
            ("Amount", "10"),
            ("Currency", "EUR"),
            ("Customer", "cus_1"),
            ("CustomerEmail", "jane@example.com"),
        ] {
            assert_eq!(page.text(column), Some(expected), "{column} of {:?}", page.text("EventId"));
        }
    }
    within("search finds all of them", async {
        loop {
            let found = service.get("/api/v1/search?q=jane%40example.com").await.json();
            if found["data"].as_array().unwrap().len() == names.len() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_odd_value_in_a_newer_state_does_not_hide_it() {
    let (Some(before), Some(refund)) = (body("E8-before"), body("E8")) else { return };
    let service = Service::builder().set("NOTION_MODE", "object").template(Template::Full).start().await;
    service.post_event(&before).await;
    service.until_finished(1).await;
    service.post_event(&refund).await;
    let executions = service.until_finished(2).await;
    assert_eq!(executions[1]["status"], "success", "{executions:?}");
    let pages = service.sandbox.pages();
    assert_eq!((pages.len(), pages[0].text("Outcome")), (1, Some("Refunded")));
}

#[tokio::test]
async fn a_public_url_with_a_path_is_served_below_it_with_and_without_the_path() {
    let service = Service::builder()
        .set("DESTINATIONS", "")
        .set("PUBLIC_URL", "https://example.com/app/")
        .start()
        .await;
    // A proxy keeps the path, or removes it.
    for prefix in ["/app", ""] {
        let webhook = arrives(&service, &format!("{prefix}/api/v1/webhooks/stripe"), EVENT).await;
        assert_eq!(webhook.status, 200, "{prefix}");
        for page in ["/", "/events", "/destinations"] {
            let html = service.get(&format!("{prefix}{page}")).await.body;
            assert!(
                html.contains(" href=\"/app/events\"") && html.contains(" data-live=\"/app/live\""),
                "{html}"
            );
            for attribute in ["href", "src", "action"] {
                let before = format!(" {attribute}=\"/");
                let links = html.split(&before).skip(1);
                for link in links.filter(|link| !link.starts_with('/')) {
                    assert!(link.starts_with("app/"), "{page}: {attribute}=/{}", &link[..20]);
                }
            }
        }
        let live = service.get(&format!("{prefix}/")).await.body;
        assert!(live.contains(" data-live=\"/app/live\""), "{live}");
        let script = service.get(&format!("{prefix}/docs/swagger-initializer.js")).await.body;
        assert!(script.contains("\"/app/openapi.json\""), "{script}");
        let description = service.get(&format!("{prefix}/openapi.json")).await.json();
        assert_eq!(description["servers"][0]["url"], "/app");
        let redirect = service.get(&format!("{prefix}/docs")).await;
        assert_eq!(redirect.headers["location"], "/app/docs/", "{redirect:?}");
    }
    assert_eq!(service.get("/apple").await.problem(404), "not_found");
}

#[tokio::test]
async fn the_sums_and_the_outcome_of_every_recorded_body_are_right() {
    let service = Service::builder().template(Template::Full).start().await;
    let paid = |name, amount, collected| (name, Some(amount), collected, "Paid", None);
    let other = |name, amount, outcome| (name, Some(amount), None, outcome, None);
    let expected = [
        // Amounts in odd spellings, of which 10.00 were captured.
        paid("B12a", "10", Some("10")),
        paid("B12b", "10", Some("10")),
        ("B10usdc", None, None, "Paid", Some("Amount unknown: the unit of USDC is not known")),
        // Another amount than the one asked for was received or captured.
        paid("B13", "203", None),
        paid("B13b", "17", None),
        paid("B14", "203", Some("203")),
        other("B15application_fee", "0.7", "Info"),
        other("B15credit_note", "7", "Info"),
        other("B15invoice_payment", "7", "Paid"),
        other("B15invoiceitem", "7", "Info"),
        other("B15issuing", "-7", "Info"),
        other("B15quote", "7", "Info"),
        other("B15topup", "7", "Top-up"),
        other("B15transfer", "7", "Transfer"),
        // A time before 1970.
        paid("B21neg", "10", Some("10")),
        // A credit covered it, so nothing was paid now.
        ("B32", Some("0"), None, "Paid", Some("From the customer's balance: EUR 50.00")),
    ];
    for (name, ..) in expected {
        let Some(body) = body(name) else { return };
        assert_eq!(service.post_event(&body).await.status, 200, "{name}");
    }
    service.until_finished(expected.len()).await;
    let pages = service.sandbox.pages();
    for (name, amount, collected, outcome, reason) in expected {
        let event = format!("evt_{name}");
        let page = pages.iter().find(|page| page.text("EventId") == Some(&event)).expect(name);
        let shown = ["Amount", "Collected", "Outcome", "Reason"].map(|column| page.text(column));
        assert_eq!(shown, [amount, collected, Some(outcome), reason], "{name}");
    }
}
