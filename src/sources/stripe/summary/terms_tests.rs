//! Disputes and subscriptions: what moved, and what recurs. The values are from Stripe's documentation.

use super::money_tests::event;
use super::*;
use serde_json::json;

fn dispute(entries: &[(i64, &str, i64)]) -> Value {
    let entry = |(amount, currency, fee): &(i64, &str, i64)| {
        let category = if *amount > 0 { "dispute_reversal" } else { "dispute" };
        json!({"amount": amount, "currency": currency, "fee": fee, "reporting_category": category})
    };
    json!({
        "object": "dispute", "id": "du_1", "status": "won", "amount": 4_999, "reason": "fraudulent",
        "balance_transactions": entries.iter().map(entry).collect::<Vec<_>>(),
    })
}

#[test]
fn a_dispute_brings_back_the_newest_reversal_and_keeps_its_fees() {
    let usd = |amount, fee| (amount, "usd", fee);
    let eur = |amount| (amount, "eur", 0);
    for (entries, reinstated, kept, fee) in [
        (vec![usd(-4_999, 1_500), usd(4_999, 0)], Some(4_999), 0, Some(1_500)),
        (vec![usd(-4_999, 1_500), usd(2_000, 0)], Some(2_000), -2_999, Some(1_500)),
        (vec![usd(-4_999, 1_500), usd(2_000, 0), usd(2_999, 0)], Some(2_999), 0, Some(1_500)),
        (vec![usd(-4_999, 1_500), usd(4_999, -1_500)], Some(4_999), 0, Some(0)),
        (vec![eur(-4_600), eur(4_600)], Some(4_999), 0, Some(0)),
        (vec![eur(-4_600), eur(1_840)], None, -4_999, Some(0)),
        // Won, then lost after an appeal.
        (vec![eur(-4_600), eur(4_600), eur(-4_700)], Some(4_999), -4_999, Some(0)),
        (vec![usd(-4_999, 1_500), (4_600, "eur", 0)], None, -4_999, None),
    ] {
        let summary = event("charge.dispute.funds_reinstated", dispute(&entries), json!({})).read();
        let minor = |money: Option<Money>| money.and_then(|money| money.minor());
        assert_eq!(minor(summary.collected), reinstated, "{entries:?}");
        assert_eq!(minor(summary.object.collected), Some(kept), "{entries:?}");
        assert_eq!(minor(summary.object.dispute_fee), fee, "{entries:?}");
        let says_why = summary.reason.is_some_and(|reason| reason.starts_with("Collected unknown"));
        assert_eq!(says_why, reinstated.is_none(), "{entries:?}");
    }
}

/// An entry in euros of a dispute in US dollars.
fn in_euros(amount: i64, created: i64, exchange_rate: &Value) -> Value {
    let category = if amount > 0 { "dispute_reversal" } else { "dispute" };
    json!({
        "amount": amount, "currency": "eur", "fee": 0, "reporting_category": category, "created": created,
        "exchange_rate": exchange_rate,
    })
}

/// What a reinstatement brings back, and what its object has moved so far.
fn reinstated(entries: Value) -> (Option<i64>, Option<i64>) {
    let mut object = dispute(&[]);
    object["balance_transactions"] = entries;
    let summary = event("charge.dispute.funds_reinstated", object, json!({})).read();
    let minor = |money: Option<Money>| money.and_then(|money| money.minor());
    (minor(summary.collected), minor(summary.object.collected))
}

#[test]
fn the_newest_reversal_of_a_dispute_is_the_newest_by_its_time() {
    let usd = |amount: i64, created: i64| {
        let category = if amount > 0 { "dispute_reversal" } else { "dispute" };
        json!({"amount": amount, "currency": "usd", "fee": 0, "reporting_category": category, "created": created})
    };
    let (taken, first, second) = (usd(-4_999, 10), usd(2_000, 20), usd(2_999, 30));
    for entries in [
        json!([taken, first, second]),
        json!([second, first, taken]),
        json!([first, second, taken]),
        json!([second, taken, first]),
    ] {
        assert_eq!(reinstated(entries.clone()), (Some(2_999), Some(0)), "{entries}");
    }
    // In another currency it must undo the withdrawal before it, wherever that stands in the list.
    let eur = |amount, created| in_euros(amount, created, &Value::Null);
    assert_eq!(reinstated(json!([eur(4_600, 20), eur(-4_600, 10)])), (Some(4_999), Some(0)));
    assert_eq!(reinstated(json!([eur(4_600, 10), eur(-4_600, 10)])), (Some(4_999), Some(0)), "in one second");
    assert_eq!(
        reinstated(json!([eur(4_700, 40), eur(-4_700, 30), eur(4_600, 20), eur(-4_600, 10)])),
        (Some(4_999), Some(0))
    );
    // Stripe may list a fee as an entry of its own: it takes nothing of the amount.
    let fee =
        json!({"amount": -1_500, "currency": "usd", "fee": 0, "reporting_category": "fee", "created": 11});
    assert_eq!(reinstated(json!([taken, fee, usd(4_999, 20)])), (Some(4_999), Some(0)));
}

#[test]
fn a_dispute_that_is_won_at_another_exchange_rate_is_won_in_full() {
    let taken = in_euros(-4_600, 10, &json!(0.920_184));
    for (back, rate, expected) in [
        // 49.99 × 0.93 and 49.99 × 0.90, rounded to cents.
        (4_649, json!(0.93), Some(4_999)),
        (4_499, json!(0.9), Some(4_999)),
        (4_649, Value::Null, None),
        (2_325, json!(0.93), None),
    ] {
        let kept = if expected.is_some() { 0 } else { -4_999 };
        let entries = json!([taken, in_euros(back, 20, &rate)]);
        assert_eq!(reinstated(entries.clone()), (expected, Some(kept)), "{back} {rate}");
        // The event that closes the dispute is the last that its page in object mode shows.
        let object = json!({
            "object": "dispute", "status": "won", "amount": 4_999, "reason": "fraudulent", "balance_transactions": entries,
        });
        let reason = event("charge.dispute.closed", object, json!({})).read().reason;
        let missing = "Collected lacks what came back: it came back in another currency, and perhaps in part";
        assert_eq!(reason.as_deref(), Some(if expected.is_some() { "Fraudulent" } else { missing }));
    }
    // Between currencies whose minor units differ, Stripe does not say in which units the rate is.
    for rate in [json!(150.0), json!(1.5)] {
        let back = json!({
            "amount": 7_499, "currency": "jpy", "fee": 0, "reporting_category": "dispute_reversal", "exchange_rate": rate,
        });
        assert_eq!(reinstated(json!([taken, back])), (Some(4_999), Some(0)));
    }
}

#[test]
fn a_dispute_without_a_list_moves_the_same_on_both_kinds_of_pages() {
    let minor = |money: Option<Money>| money.and_then(|money| money.minor());
    for (event_type, status, list, moved, so_far) in [
        ("charge.dispute.created", "needs_response", None, None, -4_999),
        ("charge.dispute.created", "needs_response", Some(json!([])), None, 0),
        ("charge.dispute.created", "warning_needs_response", None, None, 0),
        ("charge.dispute.created", "prevented", None, None, 0),
        ("charge.dispute.funds_withdrawn", "needs_response", None, Some(-4_999), -4_999),
        ("charge.dispute.funds_withdrawn", "needs_response", Some(json!([])), Some(-4_999), -4_999),
        ("charge.dispute.updated", "under_review", None, None, -4_999),
        ("charge.dispute.funds_reinstated", "won", None, Some(4_999), 0),
        ("charge.dispute.funds_reinstated", "under_review", Some(json!([])), Some(4_999), 0),
        ("charge.dispute.closed", "won", None, None, 0),
        ("charge.dispute.closed", "lost", None, None, -4_999),
        ("charge.dispute.closed", "warning_closed", None, None, 0),
    ] {
        let mut object = json!({"object": "dispute", "id": "dp_1", "status": status, "amount": 4_999});
        if let Some(list) = &list {
            object["balance_transactions"] = list.clone();
        }
        let summary = event(event_type, object, json!({})).read();
        let found = (minor(summary.collected), minor(summary.object.collected));
        assert_eq!(found, (moved, Some(so_far)), "{event_type} {status} {list:?}");
    }
}

#[test]
fn a_subscription_costs_its_packages_less_its_discounts() {
    let price = |minor: &str, more: Value| {
        let mut price =
            json!({"currency": "usd", "unit_amount_decimal": minor, "recurring": {"interval": "month"}});
        price.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        price
    };
    let cost = |items: Value, discounts: Value| {
        let object = json!({
            "object": "subscription", "status": "active", "items": {"data": items}, "discounts": discounts,
        });
        event("customer.subscription.updated", object, json!({})).read()
    };
    let amount = |summary: &EventSummary| summary.amount.map(|amount| amount.decimal());
    let plain = json!({"quantity": 1, "price": price("4999", json!({}))});

    let packages = json!({
        "quantity": 50_000, "price": price("499.9", json!({"transform_quantity": {"divide_by": 1_000, "round": "up"}})),
    });
    assert_eq!(amount(&cost(json!([packages]), json!([]))).as_deref(), Some("249.95"));
    let begun = json!({
        "quantity": 1_001, "price": price("500", json!({"transform_quantity": {"divide_by": 1_000, "round": "up"}})),
    });
    assert_eq!(amount(&cost(json!([begun]), json!([]))).as_deref(), Some("10.00"));
    for (coupon, expected) in [
        (json!({"percent_off": 25.0}), Some("37.49")),
        (json!({"percent_off": 100}), Some("0.00")),
        (json!({"amount_off": 999, "currency": "usd"}), Some("40.00")),
        (json!({"amount_off": 9_999, "currency": "usd"}), Some("0.00")),
    ] {
        let summary = cost(json!([plain]), json!([{"coupon": coupon}]));
        assert_eq!(amount(&summary).as_deref(), expected, "{coupon}");
    }
    let in_euros = json!([{"coupon": {"amount_off": 999, "currency": "eur"}}]);
    let euros = json!({"quantity": 1, "price": price("100", json!({"currency": "eur"}))});
    let half = json!({"quantity": "1.5", "price": price("4999", json!({}))});
    for (items, discounts, reason) in [
        (json!([plain]), in_euros, "the discount has another currency or cannot be read"),
        (json!([plain, euros]), json!([]), "the items have several currencies"),
        (json!([half]), json!([]), "the event does not contain a price or quantity"),
        (
            json!([{"quantity": 1, "price": null}]),
            json!([]),
            "the event does not contain a price or quantity",
        ),
    ] {
        let summary = cost(items, discounts);
        assert_eq!(amount(&summary), None, "{reason}");
        assert_eq!(summary.reason, Some(format!("Amount unknown: {reason}")));
    }
    let unknown = cost(json!([plain]), json!(["di_1"]));
    assert_eq!(amount(&unknown), None);
    assert!(unknown.reason.is_some_and(|reason| reason.starts_with("Amount unknown")));

    let yearly = json!({"quantity": 1, "price": price("100", json!({"recurring": {"interval": "year"}}))});
    let quarterly = price("100", json!({"recurring": {"interval": "month", "interval_count": 3}}));
    let both = cost(json!([plain, yearly]), json!([]));
    assert_eq!((both.amount, both.object.interval), (None, None), "they recur differently");
    let each = cost(json!([{"price": quarterly}]), json!([]));
    assert_eq!(each.object.interval.as_deref(), Some("3 months"));
}

#[test]
fn a_subscription_costs_what_recurs_after_the_discounts_that_last() {
    // The time of the event is 1_764_000_000.
    let (past, future) = (1_763_999_999, 1_764_000_001);
    let item = json!({"quantity": 1, "price": {"currency": "usd", "unit_amount": 4_999, "recurring": {"interval": "month"}}});
    let cost = |discounts: Value, discount: Value| {
        let object = json!({
            "object": "subscription", "status": "active", "items": {"data": [item]}, "discounts": discounts,
            "discount": discount,
        });
        event("customer.subscription.updated", object, json!({})).read()
    };
    // The discount is rounded half up: 25.00.
    let half = |duration: &str| json!({"percent_off": 50, "duration": duration});
    for (discount, expected) in [
        (json!({"coupon": half("forever"), "end": null}), Some("24.99")),
        (json!({"coupon": half("repeating"), "end": future}), Some("24.99")),
        (json!({"coupon": half("repeating"), "end": past}), Some("49.99")),
        (json!({"coupon": half("once"), "end": null}), Some("49.99")),
        (json!({"source": {"type": "coupon", "coupon": half("once")}, "end": null}), Some("49.99")),
        (json!({"source": {"type": "coupon", "coupon": half("forever")}, "end": null}), Some("24.99")),
        // The size is not in the event, but it does not matter any more.
        (json!({"source": {"type": "coupon", "coupon": "HALF"}, "end": past}), Some("49.99")),
        (json!({"source": {"type": "coupon", "coupon": "HALF"}, "end": future}), None),
        (json!({"source": {"type": "coupon", "coupon": "HALF"}, "end": null}), None),
        (json!("di_1"), None),
    ] {
        let summary = cost(json!([discount]), Value::Null);
        assert_eq!(summary.amount.map(|amount| amount.decimal()).as_deref(), expected, "{discount}");
        let reason = "Amount unknown: the event does not contain the discount";
        assert_eq!(summary.reason.as_deref(), expected.is_none().then_some(reason), "{discount}");
    }
    // Older versions contain one of the discounts that the list only names.
    let whole = |id: &str| json!({"id": id, "coupon": half("forever"), "end": null});
    let amount = |summary: EventSummary| summary.amount.map(|amount| amount.decimal());
    assert_eq!(amount(cost(json!(["di_1"]), whole("di_1"))).as_deref(), Some("24.99"));
    assert_eq!(amount(cost(json!(["di_1", "di_2"]), whole("di_1"))), None);
    assert_eq!(amount(cost(json!([]), whole("di_1"))).as_deref(), Some("24.99"));
}
