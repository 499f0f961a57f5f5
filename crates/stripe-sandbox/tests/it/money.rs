//! Balance transactions: they sum to the balance, to the payouts, and to what the shop wrote down.

use crate::harness::{NOON, Stripe, options};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use stripe_sandbox::{Pace, SandboxOptions, ShopSize};

fn number(object: &Value, name: &str) -> i64 {
    object[name].as_i64().unwrap_or_else(|| panic!("{name} of {object}"))
}

fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_else(|| panic!("{name} of {object}"))
}

/// A shop that has been open for long enough to have disputes decided.
fn old() -> SandboxOptions {
    let pace = Pace { seconds_between_sales: 9_000, seconds_between_subscriptions: 100_000 };
    SandboxOptions { size: ShopSize::Of(pace), history_days: 120, ..options() }
}

fn sums(transactions: &[Value], name: &str) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for transaction in transactions {
        *sums.entry(text(transaction, "currency").to_owned()).or_default() += number(transaction, name);
    }
    sums
}

async fn balance(stripe: &Stripe) -> BTreeMap<String, i64> {
    let balance = stripe.get("/v1/balance").await.body;
    let mut sums = BTreeMap::new();
    for part in ["available", "pending"] {
        for line in balance[part].as_array().unwrap() {
            *sums.entry(text(line, "currency").to_owned()).or_default() += number(line, "amount");
        }
    }
    sums
}

#[tokio::test]
async fn all_net_ever_is_the_balance_now_and_later() {
    let stripe = Stripe::start(old()).await;
    for _ in 0..3 {
        let all = stripe.all("/v1/balance_transactions").await;
        assert_eq!(sums(&all, "net"), balance(&stripe).await);
        assert_eq!(sums(&all, "net").len(), 2);
        stripe.handle.advance(Duration::from_hours(60));
    }
}

#[tokio::test]
async fn a_payout_is_the_sum_of_its_transactions() {
    let stripe = Stripe::start(old()).await;
    let payouts = stripe.all("/v1/payouts").await;
    assert!(payouts.len() > 50, "{}", payouts.len());
    let statuses: BTreeSet<_> = payouts.iter().map(|payout| text(payout, "status").to_owned()).collect();
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), ["failed", "in_transit", "paid"]);
    let mut in_payouts = BTreeSet::new();
    for payout in &payouts {
        let id = text(payout, "id");
        let parts = stripe.all(&format!("/v1/balance_transactions?payout={id}")).await;
        let sum: i64 = parts.iter().map(|part| number(part, "net")).sum();
        assert_eq!(sum, number(payout, "amount"), "{id}");
        assert!(
            parts.iter().all(|part| part["currency"] == payout["currency"] && part["status"] == "available")
        );
        for part in parts {
            assert!(in_payouts.insert(text(&part, "id").to_owned()), "{part} is in two payouts");
        }
        let own = stripe
            .get(&format!("/v1/balance_transactions/{}", text(payout, "balance_transaction")))
            .await
            .body;
        assert_eq!((text(&own, "type"), number(&own, "net")), ("payout", -number(payout, "amount")));
    }
}

#[tokio::test]
async fn each_transaction_is_whole_and_names_what_moved_the_money() {
    let stripe = Stripe::start(old()).await;
    let mut categories = BTreeSet::new();
    for transaction in stripe.all("/v1/balance_transactions?expand[]=data.source").await {
        assert_eq!(number(&transaction, "net"), number(&transaction, "amount") - number(&transaction, "fee"));
        let details = transaction["fee_details"].as_array().unwrap();
        let fees: i64 = details.iter().map(|fee| number(fee, "amount")).sum();
        assert_eq!(fees, number(&transaction, "fee"));
        let is_available = number(&transaction, "available_on") <= NOON;
        assert_eq!(text(&transaction, "status"), if is_available { "available" } else { "pending" });
        let category = text(&transaction, "reporting_category").to_owned();
        if category != "fee" {
            assert!(transaction["source"].is_object(), "{transaction}");
        }
        categories.insert(category);
    }
    let expected = [
        "charge",
        "charge_failure",
        "dispute",
        "dispute_reversal",
        "fee",
        "payout",
        "payout_reversal",
        "refund",
        "refund_failure",
        "topup",
    ];
    assert_eq!(categories.into_iter().collect::<Vec<_>>(), expected);
}

/// The charge that a source belongs to.
fn charge_of(source: &Value) -> Option<&str> {
    match source["object"].as_str()? {
        "charge" => source["id"].as_str(),
        "refund" | "dispute" => source["charge"].as_str(),
        _ => None,
    }
}

#[tokio::test]
async fn per_charge_the_transactions_are_what_the_shop_wrote_down() {
    let stripe = Stripe::start(old()).await;
    let mut moved: BTreeMap<String, i64> = BTreeMap::new();
    let mut converted = BTreeSet::new();
    for transaction in stripe.all("/v1/balance_transactions?expand[]=data.source").await {
        let Some(charge) = charge_of(&transaction["source"]).map(str::to_owned) else { continue };
        if !transaction["exchange_rate"].is_null() {
            converted.insert(charge.clone());
        }
        *moved.entry(charge).or_default() += number(&transaction, "amount");
    }
    let books = stripe.handle.books().unwrap();
    let mut written: BTreeMap<&str, i64> = BTreeMap::new();
    let mut late = BTreeSet::new();
    for movement in books.movements() {
        // The balance transaction of a card payment may follow within the hour.
        if movement.when > NOON - 3_600 {
            late.insert(movement.charge.as_str());
        }
        *written.entry(&movement.charge).or_default() += movement.minor;
    }
    let mut compared = 0;
    for (charge, minor) in written {
        if !late.contains(charge) && !converted.contains(charge) {
            assert_eq!(moved.get(charge), Some(&minor), "{charge}");
            compared += 1;
        }
    }
    assert!(compared > 200, "{compared}");
}
