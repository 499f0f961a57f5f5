//! `stripe listen --forward-to` in front of the webhook.

use super::stripe_api::StripeApi;
use super::stripe_cli::{StripeListen, logged_in};
use super::tools::Tools;
use super::unix_now;
use crate::harness::{Database, Dev, NOW, Service, eventbridge, rows};
use eventbridge::sources::stripe;
use serde_json::{Value, json};
use tempfile::TempDir;

const SECRET: &str = "whsec_of_the_stripe_cli";

fn invoice(event_id: &str) -> String {
    let event = json!({"id": event_id, "object": "event", "type": "invoice.paid", "created": NOW, "livemode": false,
        "data": {"object": {"id": "in_1", "object": "invoice", "status": "paid", "total": 12_000, "currency": "eur",
        "customer_name": "Zoë Łukasz 山田 🧾"}}});
    format!("{event:#}")
}

fn answer(response: &Value) -> Value {
    serde_json::from_str(response["body"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn events_forwarded_by_the_stripe_cli_are_accepted_and_it_prints_each_response() {
    let Some(tools) = Tools::of_this_machine() else { return };
    let service = Service::builder().set("STRIPE_WEBHOOK_SECRET", &format!("cli={SECRET}")).start().await;
    let listening = service.listen(0).await;
    let webhook = format!("http://127.0.0.1:{}/api/v1/webhooks/stripe", listening.port);
    let api = StripeApi::start(SECRET).await;
    let mut cli = StripeListen::start(&tools, &api, &webhook);
    let mut connection = api.connection().await;
    let body = invoice("evt_1");
    let signature = stripe::sign(SECRET, body.as_bytes(), NOW);

    let accepted = connection.forward("wh_1", &body, &signature).await;
    assert_eq!((&accepted["status"], &accepted["forward_url"]), (&json!(200), &json!(webhook)));
    assert_eq!(answer(&accepted)["accepted"], true, "{accepted}");
    assert_eq!(cli.printed_answer().await, format!("<--  [200] POST {webhook} [evt_1]"));

    let duplicate = connection.forward("wh_2", &body, &signature).await;
    assert_eq!((&duplicate["status"], &answer(&duplicate)["accepted"]), (&json!(200), &json!(false)));
    assert_eq!(cli.printed_answer().await, format!("<--  [200] POST {webhook} [evt_1]"));

    let body = invoice("evt_2");
    let forged = stripe::sign("whsec_of_somebody_else", body.as_bytes(), NOW);
    let refused = connection.forward("wh_3", &body, &forged).await;
    assert_eq!((&refused["status"], &answer(&refused)["code"]), (&json!(400), &json!("signature_no_match")));
    assert_eq!(cli.printed_answer().await, format!("<--  [400] POST {webhook} [evt_2]"));

    let executions = service.until_finished(1).await;
    assert_eq!((&executions[0]["event_id"], &executions[0]["status"]), (&json!("evt_1"), &json!("success")));
    assert_eq!(service.sandbox.page_count(), 1);
    let kept = rows::events().called("evt_1").verified_with("cli").with_body(invoice("evt_1"));
    assert_eq!(service.database.count(kept).await, 1);
    assert_eq!(service.database.count(rows::events()).await, 1);
}

#[tokio::test]
async fn dev_gets_the_secret_from_the_stripe_cli_and_accepts_its_events() {
    let Some(tools) = Tools::of_this_machine() else { return };
    let api = StripeApi::start(SECRET).await;
    let (folder, database) = (TempDir::new().unwrap(), Database::new().await);
    logged_in(&tools, &api, folder.path());
    let mut command = eventbridge(folder.path());
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", folder.path().display()));
    let dev = Dev::start_by(command, Some(&database)).await;
    let mut cli = StripeListen::start(&tools, &api, dev.webhook.as_str());
    let mut connection = api.connection().await;

    let body = invoice("evt_1");
    let signature = stripe::sign(SECRET, body.as_bytes(), unix_now());
    let accepted = connection.forward("wh_1", &body, &signature).await;
    assert_eq!((&accepted["status"], &answer(&accepted)["accepted"]), (&json!(200), &json!(true)));
    assert_eq!(cli.printed_answer().await, format!("<--  [200] POST {} [evt_1]", dev.webhook));
    assert_eq!(database.count(rows::events().verified_with("stripe-cli")).await, 1);
    dev.delivered(1).await;
    dev.stop().await;
}
