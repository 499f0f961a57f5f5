//! Keys: unknown, revoked, restricted, of the other mode, of another account.

use crate::harness::{Stripe, answer, empty, options};
use serde_json::json;
use stripe_sandbox::{ACCOUNT, ApiKey, RESTRICTED_KEY};

#[tokio::test]
async fn an_unknown_key_and_a_revoked_one_get_401() {
    let stripe = Stripe::start(empty()).await;
    let unknown = answer(stripe.with_key("GET", "/v1/charges", "sk_test_unknownkey")).await;
    assert_eq!((unknown.status, unknown.message()), (401, "Invalid API Key provided: sk_test_******nkey"));
    let none = answer(stripe.http.get(format!("{}/v1/charges", stripe.sandbox.base_url()))).await;
    assert_eq!(none.status, 401);
    assert_eq!(stripe.get("/v1/charges").await.status, 200);
    assert!(stripe.handle.revoke_key(&stripe.key));
    let revoked = stripe.get("/v1/charges").await;
    assert_eq!((revoked.status, &revoked.body["error"]["code"]), (401, &json!("api_key_expired")));
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let stripe = Stripe::start(options()).await;
    let get = |path| answer(stripe.with_key("GET", path, RESTRICTED_KEY));
    assert_eq!(get("/v1/refunds").await.status, 200);
    stripe.handle.set_permissions(RESTRICTED_KEY, &["rak_event_read"]);
    assert_eq!(get("/v1/events").await.status, 200);
    let refused = get("/v1/refunds").await;
    assert_eq!(refused.status, 403);
    assert!(refused.message().contains("Having the 'rak_charge_read' permission would allow"), "{refused:?}");
    assert!(refused.message().contains(ACCOUNT), "{refused:?}");
    let second = get("/v2/core/event_destinations").await;
    assert_eq!((second.status, &second.body["error"]["type"]), (403, &json!("invalid_request_error")));
    let write = answer(stripe.with_key("POST", "/v1/webhook_endpoints", RESTRICTED_KEY)).await;
    assert!(write.message().contains("rak_webhook_write"), "{write:?}");
}

#[tokio::test]
async fn what_an_expansion_shows_takes_its_permission() {
    let stripe = Stripe::start(options()).await;
    let get = || answer(stripe.with_key("GET", "/v1/charges?expand[]=data.customer", RESTRICTED_KEY));
    assert_eq!(get().await.status, 200);
    stripe.handle.set_permissions(RESTRICTED_KEY, &["rak_charge_read"]);
    assert!(get().await.message().contains("rak_customer_read"));
}

#[tokio::test]
async fn the_other_mode_and_another_account_are_empty() {
    let stripe = Stripe::start(options()).await;
    let charge = stripe.get("/v1/charges?limit=1").await.ids().remove(0);
    stripe.handle.add_key(ApiKey::secret("sk_live_sandbox"));
    stripe.handle.add_key(ApiKey::secret("sk_test_other").of_account("acct_other"));
    for key in ["sk_live_sandbox", "sk_test_other"] {
        for list in ["charges", "events", "balance_transactions", "webhook_endpoints"] {
            let empty = answer(stripe.with_key("GET", &format!("/v1/{list}"), key)).await;
            assert_eq!(empty.ids(), Vec::<String>::new(), "{key} {list}");
        }
    }
    let missing = answer(stripe.with_key("GET", &format!("/v1/charges/{charge}"), "sk_live_sandbox")).await;
    assert_eq!(missing.status, 404);
    assert!(missing.message().ends_with("but a live mode key was used to make this request."), "{missing:?}");
    let account = answer(stripe.with_key("GET", "/v1/account", "sk_test_other")).await;
    assert_eq!(account.body["id"], "acct_other");
    let live = answer(stripe.with_key("GET", "/v1/account", "sk_live_sandbox")).await;
    assert_eq!(live.body["id"], ACCOUNT);
}

#[tokio::test]
async fn a_context_must_name_the_account_of_the_key() {
    let stripe = Stripe::start(empty()).await;
    let get = |name: &'static str, value: String| {
        answer(stripe.with_key("GET", "/v1/charges", &stripe.key).header(name, value))
    };
    let own = get("stripe-context", format!("acct_org/{ACCOUNT}")).await;
    assert_eq!((own.status, own.header("stripe-context")), (200, format!("acct_org/{ACCOUNT}").as_str()));
    assert_eq!(get("stripe-account", ACCOUNT.to_owned()).await.status, 200);
    let other = get("stripe-account", "acct_other".to_owned()).await;
    assert_eq!((other.status, &other.body["error"]["code"]), (403, &json!("account_invalid")));
}
