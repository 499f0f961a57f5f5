//! Objects, lists, events and headers.

use crate::harness::{NOON, Stripe, answer, empty, options};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const DAY: i64 = 86_400;

#[tokio::test]
async fn every_list_has_objects_that_can_be_fetched_one_by_one() {
    let stripe = Stripe::start(options()).await;
    let lists = [
        ("balance_transactions", "balance_transaction"),
        ("charges", "charge"),
        ("checkout/sessions", "checkout.session"),
        ("customers", "customer"),
        ("disputes", "dispute"),
        ("invoice_payments", "invoice_payment"),
        ("invoices", "invoice"),
        ("payment_intents", "payment_intent"),
        ("payouts", "payout"),
        ("prices", "price"),
        ("products", "product"),
        ("refunds", "refund"),
        ("subscriptions", "subscription"),
        ("topups", "topup"),
    ];
    for (list, kind) in lists {
        let page = stripe.get(&format!("/v1/{list}?limit=3")).await;
        assert_eq!(page.body["object"], "list", "{list}");
        assert_eq!(page.body["url"], format!("/v1/{list}"));
        assert!(!page.ids().is_empty(), "{list}");
        let created: Vec<_> =
            page.body["data"].as_array().unwrap().iter().map(|it| it["created"].as_i64()).collect();
        assert!(created.is_sorted_by(|newer, older| newer >= older), "{list}: {created:?}");
        for object in page.body["data"].as_array().unwrap() {
            assert_eq!(object["object"], kind);
            assert_eq!(object.get("livemode").unwrap_or(&json!(false)), false);
            let one = stripe.get(&format!("/v1/{list}/{}", object["id"].as_str().unwrap())).await;
            assert_eq!(&one.body, object);
        }
    }
}

#[tokio::test]
async fn pages_in_both_directions_hold_every_object_once() {
    let stripe = Stripe::start(options()).await;
    let all: Vec<_> = stripe.all("/v1/charges").await.iter().map(|charge| charge["id"].clone()).collect();
    let distinct: BTreeSet<_> = all.iter().map(Value::to_string).collect();
    assert!(all.len() > 200 && distinct.len() == all.len(), "{}", all.len());
    let before =
        stripe.get(&format!("/v1/charges?limit=7&ending_before={}", all[20].as_str().unwrap())).await;
    assert_eq!(before.ids().into_iter().map(Value::from).collect::<Vec<_>>(), all[13..20]);
    assert_eq!(before.body["has_more"], true);
    let first = stripe.get(&format!("/v1/charges?ending_before={}", all[0].as_str().unwrap())).await;
    assert_eq!((first.ids().len(), &first.body["has_more"]), (0, &json!(false)));
}

#[tokio::test]
async fn wrong_parameters_are_400_and_missing_objects_404() {
    let stripe = Stripe::start(options()).await;
    for (query, param) in [
        ("limit=101", "limit"),
        ("limit=0", "limit"),
        ("limit=ten", "limit"),
        ("starting_after=ch_none", "starting_after"),
        ("created[since]=5", "created[since]"),
        ("colour=red", "colour"),
        ("expand[]=customer", "expand[0]"),
        ("expand[]=data.a.b.c.d.e", "expand[0]"),
    ] {
        let wrong = stripe.get(&format!("/v1/charges?{query}")).await;
        assert_eq!((wrong.status, &wrong.body["error"]["param"]), (400, &json!(param)), "{query}");
        assert_eq!(wrong.body["error"]["type"], "invalid_request_error");
    }
    let missing = stripe.get("/v1/payment_intents/pi_none").await;
    assert_eq!((missing.status, missing.message()), (404, "No such payment_intent: 'pi_none'"));
    assert_eq!(missing.body["error"]["code"], "resource_missing");
    assert_eq!(missing.body["error"]["param"], "id");
    assert!(
        missing.body["error"]["request_log_url"].as_str().unwrap().contains(missing.header("request-id"))
    );
    let wrong = stripe.get("/v1/nonsense").await;
    assert_eq!(wrong.status, 404);
    assert!(wrong.message().starts_with("Unrecognized request URL (GET: /v1/nonsense)"), "{wrong:?}");
}

#[tokio::test]
async fn filters_select_and_ranges_bound() {
    let stripe = Stripe::start(options()).await;
    let charges = stripe.all("/v1/charges").await;
    let customer = charges.iter().find_map(|charge| charge["customer"].as_str()).unwrap();
    let of_customer = charges.iter().filter(|charge| charge["customer"] == customer).count();
    assert_eq!(stripe.all(&format!("/v1/charges?customer={customer}")).await.len(), of_customer);
    let bound = NOON - 7 * DAY;
    let newer = charges.iter().filter(|charge| charge["created"].as_i64() >= Some(bound)).count();
    assert_eq!(stripe.all(&format!("/v1/charges?created[gte]={bound}")).await.len(), newer);
    assert!(newer > 0 && newer < charges.len());
    let older = stripe.all(&format!("/v1/charges?created[lt]={bound}")).await.len();
    assert_eq!(newer + older, charges.len());
    let running = stripe.all("/v1/subscriptions").await.len();
    let every = stripe.all("/v1/subscriptions?status=all").await.len();
    let active = stripe.all("/v1/subscriptions?status=active").await.len();
    assert!(active <= running && running <= every && active > 0, "{active} {running} {every}");
    let invoices = stripe.all("/v1/invoices?status=paid").await;
    assert!(!invoices.is_empty() && invoices.iter().all(|invoice| invoice["status"] == "paid"));
}

#[tokio::test]
async fn references_expand_in_objects_and_lists() {
    let stripe = Stripe::start(options()).await;
    let path = "/v1/payment_intents?limit=50&expand[]=data.latest_charge.balance_transaction&expand[0]=data.customer";
    let intents = stripe.get(path).await;
    let data = intents.body["data"].as_array().unwrap();
    let fees =
        data.iter().filter(|intent| intent["latest_charge"]["balance_transaction"]["fee"].is_i64()).count();
    assert!(fees > 10, "{fees}");
    assert!(data.iter().any(|intent| intent["customer"]["object"] == "customer"));
    let refund = stripe.get("/v1/refunds?limit=1&expand[]=data.charge.refunds").await;
    let charge = &refund.body["data"][0]["charge"];
    assert_eq!(charge["refunds"]["data"][0]["object"], "refund");
    let id = charge["id"].as_str().unwrap();
    let refunds = stripe.get(&format!("/v1/charges/{id}/refunds")).await;
    assert_eq!(refunds.body["data"][0]["charge"], id);
    let plain = stripe.get(&format!("/v1/charges/{id}")).await;
    assert!(plain.body["balance_transaction"].is_string() && plain.body.get("refunds").is_none());
}

#[tokio::test]
async fn events_are_newest_first_and_end_after_thirty_days() {
    let stripe = Stripe::start(options()).await;
    let events = stripe.all("/v1/events").await;
    assert!(events.len() > 500, "{}", events.len());
    assert!(events.is_sorted_by(|newer, older| newer["created"].as_i64() >= older["created"].as_i64()));
    assert!(events.iter().all(|event| event["created"].as_i64().unwrap() > NOON - 30 * DAY));
    let charges = stripe.all("/v1/charges").await;
    assert!(charges.iter().any(|charge| charge["created"].as_i64().unwrap() < NOON - 31 * DAY));
    let (newest, oldest) = (&events[0], &events[events.len() - 1]);
    for event in [newest, oldest] {
        let one = stripe.get(&format!("/v1/events/{}", event["id"].as_str().unwrap())).await;
        assert_eq!(&one.body, event);
    }
    stripe.handle.advance(Duration::from_hours(24));
    let gone = stripe.get(&format!("/v1/events/{}", oldest["id"].as_str().unwrap())).await;
    assert_eq!((gone.status, gone.message().starts_with("No such event: ")), (404, true));
}

#[tokio::test]
async fn events_are_filtered_by_type_and_delivery() {
    let stripe = Stripe::start(options()).await;
    let types = |events: &[Value]| -> BTreeSet<String> {
        events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    };
    let two = stripe.all("/v1/events?types[]=charge.succeeded&types[]=invoice.paid").await;
    assert_eq!(types(&two).into_iter().collect::<Vec<_>>(), ["charge.succeeded", "invoice.paid"]);
    let group = stripe.all("/v1/events?type=charge.dispute.*").await;
    assert!(types(&group).iter().all(|name| name.starts_with("charge.dispute.")) && !group.is_empty());
    let many = "&types[]=a.b".repeat(21);
    assert_eq!(stripe.get(&format!("/v1/events?limit=1{many}")).await.status, 400);
    assert_eq!(stripe.get("/v1/events?delivery_success=false").await.ids().len(), 0);
    assert_eq!(stripe.get("/v1/events?delivery_success=true").await.ids().len(), 10);
    assert_eq!(stripe.get("/v1/events?delivery_success=perhaps").await.status, 400);
}

#[tokio::test]
async fn answers_have_stripes_headers() {
    let stripe = Stripe::start(empty()).await;
    let request = stripe.with_key("GET", "/v1/charges", &stripe.key);
    let plain = answer(request.try_clone().unwrap()).await;
    assert_eq!(plain.header("date"), "Sun, 15 Nov 2026 12:00:00 GMT");
    assert_eq!(plain.header("stripe-version"), "2026-10-28.endive");
    assert!(plain.header("request-id").starts_with("req_"));
    stripe.handle.set_skew(-3600);
    let old = answer(request.header("stripe-version", "2024-06-20")).await;
    assert_eq!(old.header("date"), "Sun, 15 Nov 2026 11:00:00 GMT");
    assert_eq!(old.header("stripe-version"), "2024-06-20");
    let log = stripe.handle.requests();
    assert_eq!(log[1].version.as_deref(), Some("2024-06-20"));
    assert_eq!(log[1].request_id, old.header("request-id"));
    assert_eq!(log[0].key.as_deref(), Some("sk_test_***dbox"));
}

#[tokio::test]
async fn what_is_put_in_is_found_and_what_is_deleted_is_not() {
    let stripe = Stripe::start(empty()).await;
    assert!(stripe.handle.put_object(json!({"object": "coupon", "id": "ten", "created": 5})));
    assert_eq!(stripe.get("/v1/coupons/ten").await.body["created"], 5);
    assert_eq!(stripe.get("/v1/coupons").await.ids(), ["ten"]);
    stripe.handle.put_object_at("/v1/issuing/cards/ic_1", json!({"object": "issuing.card", "id": "ic_1"}));
    assert_eq!(stripe.get("/v1/issuing/cards/ic_1").await.status, 200);
    assert!(stripe.handle.delete_object("ten"));
    assert_eq!(stripe.get("/v1/coupons/ten").await.message(), "No such coupon: 'ten'");
    let event =
        json!({"type": "customer.created", "data": {"object": {"object": "customer", "id": "cus_1"}}});
    let id = stripe.handle.publish(&event);
    assert_eq!(stripe.get("/v1/customers/cus_1").await.status, 200);
    assert_eq!(stripe.get("/v1/events").await.ids(), [id]);
    assert!(stripe.handle.delete_object("cus_1"));
    assert_eq!(stripe.get("/v1/customers/cus_1").await.body["deleted"], true);
    let stale = stripe.handle.publish_without_object(&event);
    assert_eq!(stripe.get("/v1/customers/cus_1").await.body["deleted"], true);
    assert_eq!(stripe.get(&format!("/v1/events/{stale}")).await.body["data"]["object"]["id"], "cus_1");
}
