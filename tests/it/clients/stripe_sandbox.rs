//! Stripe's libraries for Node and Python against the stand-in for Stripe's API: they find its lists, errors,
//! endpoints and events as they would find Stripe's.

use super::tools::{Tools, run};
use crate::harness::text;
use serde_json::{Value, json};
use stripe_sandbox::{ACCOUNT, RunningSandbox, SECRET_KEY, Sandbox, SandboxOptions};

async fn stand_in() -> RunningSandbox {
    let options = SandboxOptions { seed: 7, history_days: 20, speed: 0.0, ..SandboxOptions::default() };
    Sandbox::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap()
}

fn port(sandbox: &RunningSandbox) -> u16 {
    sandbox.base_url().rsplit(':').next().unwrap().parse().unwrap()
}

async fn ask(mut command: tokio::process::Command, sandbox: &RunningSandbox) -> Value {
    let done = run(&mut command, &json!({"port": port(sandbox), "key": SECRET_KEY})).await;
    assert!(done.status.success(), "{}", text(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

#[tokio::test]
async fn stripes_library_for_node_finds_the_stand_in_as_it_finds_stripe() {
    let Some(tools) = Tools::of_this_machine() else { return };
    let sandbox = stand_in().await;
    let found = ask(tools.node("stripe_sandbox.cjs"), &sandbox).await;
    let charges = sandbox.handle().objects("charges").len();
    let expected = json!({
        "charges": charges,
        "backwards": true,
        "expanded": true,
        "filtered": true,
        "account": ACCOUNT,
        "balances": true,
        "missing": {"type": "StripeInvalidRequestError", "statusCode": 404, "code": "resource_missing", "param": "id"},
        "unauthorized": {"type": "StripeAuthenticationError", "statusCode": 401},
        "forbidden": {"type": "StripePermissionError", "statusCode": 403},
        "wrong": {
            "type": "StripeInvalidRequestError", "statusCode": 400, "code": "parameter_invalid_integer",
            "param": "limit",
        },
        "retried": 1,
        "throttled": 1,
        "reconnected": 1,
        "refused": {"type": "StripeAPIError", "statusCode": 500},
        "snapshot": {"id": "evt_library", "object": true},
        "thin": {"type": "v1.charge.succeeded", "object": true, "event": "evt_library"},
        "ping": "v2.core.event_destination.ping",
        "disabled": "disabled",
        "enabled": "enabled",
        "listed": 1,
        "thin_list": true,
        "updated": "disabled",
        "secret_again": null,
        "deleted": true,
        "missing_destination": {"type": "StripeInvalidRequestError", "statusCode": 404, "code": "not_found"},
    });
    assert_eq!(found, expected);
}

#[tokio::test]
async fn stripes_library_for_python_finds_the_stand_in_as_it_finds_stripe() {
    let Some(tools) = Tools::of_this_machine() else { return };
    let sandbox = stand_in().await;
    let found = ask(tools.python("stripe_sandbox.py"), &sandbox).await;
    let charges = sandbox.handle().objects("charges").len();
    let expected = json!({
        "charges": charges,
        "expanded": true,
        "filtered": true,
        "balances": true,
        "missing": {"type": "InvalidRequestError", "status": 404, "code": "resource_missing"},
        "unauthorized": {"type": "AuthenticationError", "status": 401, "code": null},
        "forbidden": {"type": "PermissionError", "status": 403, "code": null},
        "retried": 1,
        "snapshot": true,
        "thin": ["v1.charge.succeeded", true, "evt_library"],
        "disabled": "disabled",
        "listed": 1,
        "deleted": true,
    });
    assert_eq!(found, expected);
}
