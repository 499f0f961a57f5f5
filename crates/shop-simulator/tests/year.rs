//! A simulated year: it is repeatable, whole, and its books add up.
#![allow(clippy::expect_used, clippy::indexing_slicing)]

use chrono::{FixedOffset, Utc};
use serde_json::Value;
use shop_simulator::{ApiVersion, Currency, Kind, Options, Shop, SimulatedEvent, Simulation, Why};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// Years of a few seeds, simulated once for all tests.
fn years() -> impl Iterator<Item = &'static Simulation> {
    static YEARS: LazyLock<Vec<Simulation>> =
        LazyLock::new(|| [1, 2, 7, 2025].map(|seed| Shop::of(seed).run()).into());
    YEARS.iter()
}

fn of_type<'a>(year: &'a Simulation, event_type: &'a str) -> impl Iterator<Item = &'a SimulatedEvent> {
    year.events.iter().filter(move |event| event.event_type == event_type)
}

fn is_old(event: &SimulatedEvent) -> bool {
    event.api_version.is_before_basil()
}

#[test]
fn the_same_seed_gives_the_same_year() {
    assert_eq!(Shop::of(3).run(), Shop::of(3).run());
    assert_ne!(Shop::of(3).run().books, Shop::of(4).run().books);
}

#[test]
fn events_are_in_order_and_have_ids_of_their_own() {
    for year in years() {
        let ids: BTreeSet<_> = year.events.iter().map(|event| &event.id).collect();
        assert_eq!(ids.len(), year.events.len());
        assert!(year.events.is_sorted_by_key(|event| event.created));
        assert!(year.events.iter().all(|event| (1_735_689_600..1_767_225_600).contains(&event.created)));
    }
}

/// The `object` of the event types' objects.
fn object_name(event_type: &str) -> &'static str {
    let names = [
        ("charge.dispute.", "dispute"),
        ("charge.refund.", "refund"),
        ("charge.", "charge"),
        ("refund.", "refund"),
        ("payment_intent.", "payment_intent"),
        ("checkout.session.", "checkout.session"),
        ("invoice.", "invoice"),
        ("invoice_payment.", "invoice_payment"),
        ("customer.subscription.", "subscription"),
        ("customer.", "customer"),
        ("credit_note.", "credit_note"),
        ("payout.", "payout"),
        ("topup.", "topup"),
        ("balance.", "balance"),
    ];
    names.iter().find(|(prefix, _)| event_type.starts_with(prefix)).expect(event_type).1
}

#[test]
fn bodies_are_whole_webhooks() {
    for event in years().flat_map(|year| &year.events) {
        let body: Value = serde_json::from_slice(&event.to_bytes()).expect("JSON");
        assert_eq!(body["object"], "event");
        assert_eq!(body["id"], event.id);
        assert_eq!(body["type"], event.event_type);
        assert_eq!(body["created"], event.created);
        assert_eq!(body["api_version"], event.api_version.name());
        assert_eq!(body["livemode"], true);
        assert_eq!(body["pending_webhooks"], 1);
        assert!(body["request"].is_object());
        let object = &body["data"]["object"];
        assert_eq!(object["object"], object_name(&event.event_type), "{}", event.event_type);
        assert_ne!(object["livemode"], false);
        assert!(object["id"].is_string() || event.event_type == "balance.available");
    }
}

#[test]
fn previous_attributes_are_where_stripe_has_them_and_differ_from_the_object() {
    for event in years().flat_map(|year| &year.events) {
        let previous = event.body.pointer("/data/previous_attributes");
        assert_eq!(
            previous.is_some(),
            event.event_type.ends_with(".updated")
                || matches!(event.event_type.as_str(), "charge.captured" | "charge.refunded")
                || (event.event_type.starts_with("charge.dispute.funds_") && previous.is_some()),
            "{}",
            event.event_type
        );
        for (key, value) in previous.and_then(Value::as_object).into_iter().flatten() {
            assert_ne!(value, &event.object()[key], "{} {key}", event.event_type);
        }
        assert!(previous.is_none_or(|it| it != &serde_json::json!({})), "{}", event.body);
    }
}

#[test]
fn every_event_type_occurs_before_and_after_basil() {
    let both = [
        "charge.captured",
        "charge.dispute.closed",
        "charge.dispute.created",
        "charge.dispute.funds_reinstated",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.updated",
        "charge.expired",
        "charge.failed",
        "charge.pending",
        "charge.refund.updated",
        "charge.refunded",
        "charge.succeeded",
        "charge.updated",
        "checkout.session.async_payment_succeeded",
        "checkout.session.completed",
        "checkout.session.expired",
        "credit_note.created",
        "customer.created",
        "customer.subscription.created",
        "customer.subscription.updated",
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_failed",
        "invoice.payment_succeeded",
        "invoice.sent",
        "invoice.updated",
        "payment_intent.amount_capturable_updated",
        "payment_intent.canceled",
        "payment_intent.created",
        "payment_intent.payment_failed",
        "payment_intent.processing",
        "payment_intent.requires_action",
        "payment_intent.succeeded",
        "payout.created",
        "payout.failed",
        "payout.paid",
        "payout.updated",
        "refund.created",
        "refund.failed",
        "refund.updated",
        "topup.succeeded",
    ];
    for year in years() {
        for event_type in both {
            assert!(of_type(year, event_type).any(is_old), "{event_type} before Basil");
            assert!(of_type(year, event_type).any(|event| !is_old(event)), "{event_type} since Basil");
        }
        assert!(of_type(year, "invoice_payment.paid").all(|event| !is_old(event)));
        assert!(of_type(year, "customer.subscription.deleted").count() > 0);
        let versions: BTreeSet<_> = year.events.iter().map(|event| event.api_version).collect();
        assert_eq!(versions.len(), ApiVersion::ALL.len());
    }
}

/// Whether an event of that type has an object that passes.
fn has(year: &Simulation, event_type: &str, passes: impl Fn(&Value) -> bool) -> bool {
    of_type(year, event_type).any(|event| passes(event.object()))
}

#[test]
fn every_case_occurs_in_a_year() {
    for year in years() {
        assert!(has(year, "charge.captured", |it| it["amount_captured"] == it["amount"]));
        assert!(has(year, "charge.captured", |it| it["amount_captured"] != it["amount"]));
        let captured = |it: &Value| it["amount_captured"].as_i64().is_some_and(|captured| captured > 0);
        assert!(has(year, "charge.refunded", |it| it["captured"] == false && captured(it)));
        assert!(has(year, "charge.failed", |it| it["failure_balance_transaction"].is_string()));
        assert!(has(year, "charge.failed", |it| it["id"].as_str().is_some_and(|id| id.starts_with("py_"))
            && it["failure_balance_transaction"].is_null()));
        assert!(has(year, "charge.failed", |it| it["failure_code"] == "card_declined"));
        assert!(has(year, "payment_intent.canceled", |it| it["cancellation_reason"] == "automatic"));
        assert!(has(year, "payment_intent.canceled", |it| it["cancellation_reason"] == "expired"));
        let requested = "requested_by_customer";
        assert!(has(year, "payment_intent.canceled", |it| it["cancellation_reason"] == requested));
        assert!(has(year, "refund.updated", |it| it["status"] == "canceled"));
        assert!(has(year, "refund.updated", |it| it["status"] == "failed"));
        assert!(has(year, "refund.updated", |it| it["status"] == "succeeded"));
        for status in ["needs_response", "warning_needs_response", "prevented"] {
            assert!(has(year, "charge.dispute.created", |it| it["status"] == status), "{status}");
        }
        for status in ["won", "lost", "warning_closed"] {
            assert!(has(year, "charge.dispute.closed", |it| it["status"] == status), "{status}");
        }
        let elsewhere = |it: &Value| it["balance_transactions"][0]["currency"] != it["currency"];
        assert!(has(year, "charge.dispute.funds_withdrawn", elsewhere));
        assert!(has(year, "invoice.paid", |it| it["paid_out_of_band"] == true && it["charge"].is_null()));
        assert!(has(year, "invoice.paid", |it| it["amount_paid_off_stripe"] == it["total"]));
        for references in [Value::is_null, Value::is_string, Value::is_object] {
            assert!(has(year, "charge.succeeded", |it| references(&it["customer"])));
            assert!(has(year, "charge.succeeded", |it| references(&it["balance_transaction"])));
        }
        assert!(has(year, "refund.created", |it| it["charge"].is_object()));
        assert!(has(year, "payout.paid", |it| it["amount"].as_i64().is_some_and(|amount| amount > 0)));
        assert!(!year.books.unknown().is_empty());
        let reasons: BTreeSet<_> = year.books.movements().iter().map(|movement| movement.why).collect();
        assert_eq!(reasons.len(), 7, "{reasons:?}");
        for currency in Currency::ALL {
            assert!(year.books.lifetime()[&currency] > 0);
        }
    }
}

#[test]
fn later_updates_of_a_charge_leave_its_money_alone() {
    for year in years() {
        let unchanged: Vec<_> = of_type(year, "charge.updated")
            .filter(|event| event.body["data"]["previous_attributes"]["amount_captured"].is_null())
            .collect();
        assert!(unchanged.iter().any(|event| event.object()["disputed"] == true));
        assert!(
            unchanged.iter().any(|event| !event.body["data"]["previous_attributes"]["description"].is_null())
        );
        let several = of_type(year, "charge.updated").filter(|event| {
            event.body["data"]["previous_attributes"]["amount_captured"].as_i64().is_some_and(|it| it > 0)
        });
        assert!(several.count() > 3);
    }
}

#[test]
fn refunds_of_uncaptured_money_exist_only_before_basil() {
    for year in years() {
        let released: Vec<_> = of_type(year, "refund.created")
            .filter(|event| event.object()["balance_transaction"].is_null())
            .collect();
        assert!(released.len() > 5);
        assert!(released.iter().all(|event| is_old(event)));
        let ids: BTreeSet<_> =
            released.iter().map(|event| event.object()["id"].as_str().expect("an id")).collect();
        assert!(ids.iter().all(|id| !year.books.figures().contains_key(*id)));
        let real = of_type(year, "refund.created").count() - released.len();
        let refunds = year.books.figures().values().filter(|figure| figure.kind == Kind::Refund);
        assert_eq!(real, refunds.count());
    }
}

#[test]
fn a_version_decides_how_objects_refer_to_each_other() {
    for year in years() {
        for event in of_type(year, "charge.succeeded") {
            assert_eq!(event.object().get("invoice").is_some(), is_old(event));
            let lists_refunds = event.api_version == ApiVersion::Y2020;
            assert_eq!(event.object().get("refunds").is_some(), lists_refunds);
        }
        for event in of_type(year, "invoice.paid") {
            assert_eq!(event.object().get("subscription").is_some(), is_old(event));
            assert_eq!(event.object().get("parent").is_some(), !is_old(event));
        }
        for event in of_type(year, "customer.subscription.updated") {
            assert_eq!(event.object().get("current_period_end").is_some(), is_old(event));
        }
    }
}

#[test]
fn the_list_of_a_disputes_balance_transactions_only_grows() {
    let mut longest = 0;
    for year in years() {
        let mut lists: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for event in year.events.iter().filter(|event| event.object()["object"] == "dispute") {
            let id = event.object()["id"].as_str().expect("an id").to_owned();
            let list = event.object()["balance_transactions"].as_array().expect("a list").clone();
            let known = lists.entry(id).or_default();
            assert!(list.starts_with(known), "{}", event.body);
            *known = list;
            longest = longest.max(known.len());
        }
    }
    assert_eq!(longest, 3);
}

#[test]
fn months_sum_to_the_lifetime_in_every_time_zone() {
    let east = FixedOffset::east_opt(9 * 3600).expect("a zone");
    for year in years() {
        for months in [year.books.by_month(&Utc), year.books.by_month(&east)] {
            let mut sums = BTreeMap::new();
            for ((_, currency), minor) in months {
                *sums.entry(currency).or_insert(0) += minor;
            }
            assert_eq!(sums, year.books.lifetime());
        }
        assert_ne!(year.books.by_month(&Utc), year.books.by_month(&east));
        let months: BTreeSet<_> = year.books.by_month(&Utc).into_keys().map(|(month, _)| month).collect();
        assert_eq!(months.len(), 12);
    }
}

#[test]
fn objects_sum_to_the_lifetime_and_no_charge_is_negative() {
    for year in years() {
        let (mut sums, mut charges) = (BTreeMap::new(), BTreeMap::new());
        for figure in year.books.figures().values() {
            *sums.entry(figure.currency).or_insert(0) += figure.minor;
            *charges.entry(&figure.charge).or_insert(0) += figure.minor;
            assert!((figure.minor > 0) <= (figure.kind == Kind::Charge));
        }
        assert_eq!(sums, year.books.lifetime());
        assert!(charges.values().all(|minor| *minor >= 0));
        for movement in year.books.movements() {
            let gain = !matches!(movement.why, Why::Refunded | Why::Returned | Why::DisputeWithdrawn);
            assert_eq!(movement.minor > 0, gain, "{movement:?}");
        }
    }
}

#[test]
fn unknown_parts_are_less_than_what_was_withdrawn() {
    for part in years().flat_map(|year| year.books.unknown()) {
        assert!(part.minor > 0 && part.settled_minor > 0, "{part:?}");
        assert_ne!(part.currency, part.settled_in);
    }
}

#[test]
fn adding_up_everything_that_looks_paid_counts_sales_several_times() {
    for year in years() {
        let mut naive: BTreeMap<String, i64> = BTreeMap::new();
        for event in &year.events {
            let amount = match event.event_type.as_str() {
                "charge.succeeded" | "charge.captured" | "payment_intent.succeeded" | "payout.paid" => {
                    "amount"
                }
                "invoice.paid" | "invoice.payment_succeeded" => "amount_paid",
                "checkout.session.completed" => "amount_total",
                _ => continue,
            };
            let currency = event.object()["currency"].as_str().expect("a currency").to_owned();
            *naive.entry(currency).or_default() += event.object()[amount].as_i64().expect("an amount");
        }
        for (currency, minor) in year.books.lifetime() {
            assert!(naive[currency.code()] > 2 * minor, "{currency:?}");
        }
    }
}

#[test]
fn three_decimals_end_in_zero() {
    for year in years() {
        let dinars = year.books.movements().iter().filter(|movement| movement.currency == Currency::Kwd);
        assert!(dinars.clone().count() > 10);
        assert!(dinars.into_iter().all(|movement| movement.minor % 10 == 0));
    }
}

#[test]
fn options_choose_size_time_and_version() {
    let none = Options { sales: 0, subscriptions: 0, months: 0, ..Options::default() };
    let empty = Shop::of(1).with(none).run();
    assert!(empty.events.is_empty() && empty.books.movements().is_empty());

    let quarter =
        Options { sales: 30, subscriptions: 2, months: 3, old_api_percent: 0, ..Options::default() };
    let new = Shop::of(1).with(Options { livemode: false, start_year: 2020, ..quarter }).run();
    assert!(new.events.len() > 100 && new.events.iter().all(|event| !is_old(event)));
    assert!(new.events.iter().all(|event| event.body["livemode"] == false));
    assert!(new.books.by_month(&Utc).keys().all(|(month, _)| month.year == 2020 && month.month <= 3));

    let old = Shop::of(1).with(Options { old_api_percent: 100, ..quarter }).run();
    assert!(old.events.iter().all(is_old));
}
