//! A shop in operation: it starts at any second, runs on, and its ledger adds up.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::Value;
use shop_simulator::{Happening, Operation, Pace};
use std::collections::{BTreeMap, BTreeSet};

/// A second in the middle of a month.
const START: i64 = 1_790_000_123;
const DAY: i64 = 86_400;
const PACE: Pace = Pace { seconds_between_sales: 5_000, seconds_between_subscriptions: 20_000 };

fn number(object: &Value, name: &str) -> i64 {
    object[name].as_i64().unwrap()
}

#[test]
fn steps_of_any_length_give_the_same() {
    let at_once = Operation::begin(5, false, START, PACE).advance(START + 20 * DAY);
    let mut shop = Operation::begin(5, false, START, PACE);
    let steps: Vec<_> = (1..=20 * 24).flat_map(|hour| shop.advance(START + hour * 3600)).collect();
    assert_eq!(at_once, steps);
    assert!(at_once.len() > 1_000);
    assert_ne!(Operation::begin(6, false, START, PACE).advance(START + DAY), steps[..10]);
}

#[test]
fn happenings_are_in_the_order_of_time_and_none_is_early() {
    let mut shop = Operation::begin(5, true, START, PACE);
    let mut last = START;
    while last < START + 40 * DAY {
        let next = shop.next_at().unwrap();
        assert!(next >= last);
        let until = next + 100;
        let mut now = last;
        for happening in shop.advance(until) {
            let Happening::Event(event) = happening else { continue };
            assert!((now..=until).contains(&event.created), "{} {now} {until}", event.created);
            assert_eq!(
                (event.api_version.name(), &event.body["livemode"]),
                ("2026-10-28.endive", &true.into())
            );
            now = event.created;
        }
        last = until;
    }
}

#[test]
fn a_new_pace_holds_at_once() {
    let calm = Pace { seconds_between_sales: 1_000_000, seconds_between_subscriptions: 0 };
    let mut shop = Operation::begin(5, false, START, calm);
    let now = START + 1_000;
    shop.advance(now);
    shop.set_pace(now, Pace { seconds_between_sales: 20, seconds_between_subscriptions: 0 });
    let sales = shop.advance(now + 300);
    assert!(sales.len() >= 10, "{}", sales.len());
}

#[test]
fn a_closed_shop_only_finishes_what_it_began() {
    let mut shop = Operation::begin(5, false, START, PACE);
    shop.advance(START + 5 * DAY);
    shop.close();
    let customers = |happenings: &[Happening]| {
        let created = |happening: &&Happening| matches!(happening, Happening::Event(event) if event.event_type == "customer.created");
        happenings.iter().filter(created).count()
    };
    assert_eq!(customers(&shop.advance(START + 60 * DAY)), 0);
    shop.sell(START + 61 * DAY);
    assert!(!shop.advance(START + 62 * DAY).is_empty());
}

#[test]
fn subscriptions_have_whole_lives() {
    let happenings = Operation::begin(5, false, START, PACE).advance(START + 150 * DAY);
    let mut seen = BTreeSet::new();
    for happening in happenings {
        let Happening::Event(event) = happening else { continue };
        let object = event.object();
        if object["object"] != "subscription" {
            continue;
        }
        let name = event.event_type.trim_start_matches("customer.subscription.").to_owned();
        let paused = if object["pause_collection"].is_null() { "" } else { " paused" };
        let reason = object["cancellation_details"]["reason"].as_str().unwrap_or("goes on");
        seen.insert(format!("{name}: {}{paused}, {reason}", object["status"].as_str().unwrap()));
        if event.body.pointer("/data/previous_attributes/items").is_some() {
            seen.insert("other items".to_owned());
        }
    }
    for life in [
        "created: active, goes on",
        "created: trialing, goes on",
        "trial_will_end: trialing, goes on",
        "updated: active, goes on",
        "updated: active paused, goes on",
        "updated: past_due, goes on",
        "updated: active, cancellation_requested",
        "deleted: canceled, cancellation_requested",
        "deleted: canceled, payment_failed",
        "other items",
    ] {
        assert!(seen.contains(life), "{life}: {seen:#?}");
    }
}

#[test]
fn a_payout_is_the_sum_of_what_it_pays_out() {
    let happenings = Operation::begin(9, false, START, PACE).advance(START + 100 * DAY);
    let (mut transactions, mut amounts, mut payouts) = (BTreeMap::new(), BTreeMap::new(), 0);
    for happening in &happenings {
        match happening {
            Happening::Transaction { object } => {
                transactions.insert(object["id"].as_str().unwrap(), object);
            }
            Happening::Event(event) if event.event_type == "payout.created" => {
                amounts.insert(event.object()["id"].as_str().unwrap(), number(event.object(), "amount"));
            }
            _ => {}
        }
    }
    let mut paid_out = BTreeSet::new();
    for happening in &happenings {
        let Happening::PaidOut { payout, transactions: parts } = happening else { continue };
        let sum: i64 = parts.iter().map(|part| number(transactions[part.as_str()], "net")).sum();
        assert_eq!(sum, amounts[payout.as_str()]);
        assert!(parts.iter().all(|part| paid_out.insert(part)));
        payouts += 1;
    }
    assert!(payouts > 100, "{payouts}");
    let currencies: BTreeSet<_> = transactions.values().map(|it| it["currency"].as_str().unwrap()).collect();
    assert_eq!(currencies.into_iter().collect::<Vec<_>>(), ["eur", "usd"]);
}
