//! Sample Stripe events for development and tests.
//!
//! They have the form of the current API. The same name, seed and time always give the same event.
//! Objects of one seed belong together: the payment of seed 7 has the charge of seed 7. This package
//! knows nothing about the service that receives the events.

mod accounts;
mod checkout;
mod identity;
mod invoices;
mod payments;
mod thin;

use chrono::{DateTime, TimeDelta, Utc};
use identity::Identity;
use serde_json::{Map, Value, json};

/// The API version whose shapes the samples have.
pub const API_VERSION: &str = "2025-09-30.clover";

/// One event as Stripe would send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The event's id.
    pub event_id: String,
    /// Its type.
    pub event_type: String,
    /// The body to post and to sign.
    pub body: String,
}

/// The data of an event: its object, and the object's previous values that changed.
struct Change {
    object: Value,
    previous: Option<Value>,
}

/// How the event of a name is built. A snapshot's name is its type, optionally followed by a colon and a
/// currency.
enum Recipe {
    Snapshot(fn(&Identity) -> Change),
    Thin(fn(&Identity) -> Value),
}

const RECIPES: &[(&str, Recipe)] = &[
    ("payment_intent.created", Recipe::Snapshot(payments::intent_created)),
    ("payment_intent.succeeded", Recipe::Snapshot(payments::intent_succeeded)),
    ("payment_intent.succeeded:jpy", Recipe::Snapshot(payments::intent_succeeded)),
    ("payment_intent.succeeded:kwd", Recipe::Snapshot(payments::intent_succeeded)),
    ("payment_intent.payment_failed", Recipe::Snapshot(payments::intent_failed)),
    ("charge.succeeded", Recipe::Snapshot(payments::charge_succeeded)),
    ("charge.refunded", Recipe::Snapshot(payments::charge_refunded)),
    ("charge.dispute.created", Recipe::Snapshot(payments::dispute_created)),
    ("refund.created", Recipe::Snapshot(payments::refund_created)),
    ("invoice.created", Recipe::Snapshot(invoices::created)),
    ("invoice.finalized", Recipe::Snapshot(invoices::finalized)),
    ("invoice.payment_failed", Recipe::Snapshot(invoices::payment_failed)),
    ("invoice.paid", Recipe::Snapshot(invoices::paid)),
    ("checkout.session.completed", Recipe::Snapshot(checkout::completed)),
    ("customer.created", Recipe::Snapshot(accounts::customer_created)),
    ("customer.subscription.created", Recipe::Snapshot(accounts::subscription_created)),
    ("customer.subscription.updated", Recipe::Snapshot(accounts::subscription_updated)),
    ("customer.subscription.deleted", Recipe::Snapshot(accounts::subscription_deleted)),
    ("payout.paid", Recipe::Snapshot(accounts::payout_paid)),
    ("v1.invoice.paid", Recipe::Thin(thin::invoice)),
    ("v1.billing.meter.error_report_triggered", Recipe::Thin(thin::meter)),
];

/// The names that [`make`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    RECIPES.iter().map(|(name, _)| *name)
}

/// The event of that name, or `None` if there is none. Another seed gives another event about other
/// objects; another time gives another event about the same objects.
pub fn make(name: &str, seed: u64, created: DateTime<Utc>) -> Option<Sample> {
    make_since(name, seed, created, created)
}

/// The time from the first event of [`invoice_life`] to the last one.
pub const INVOICE_LIFE_LASTS: TimeDelta = TimeDelta::minutes(3);

/// The events of one invoice from draft to paid, with one failed payment, a minute apart. The first is of this
/// time.
pub fn invoice_life(seed: u64, created: DateTime<Utc>) -> Vec<Sample> {
    ["invoice.created", "invoice.finalized", "invoice.payment_failed", "invoice.paid"]
        .iter()
        .zip(0_i32..)
        .filter_map(|(name, minutes)| {
            let at = created.checked_add_signed(TimeDelta::minutes(1) * minutes)?;
            make_since(name, seed, at, created)
        })
        .collect()
}

/// An event at `created` about an object that was created at `since`.
fn make_since(name: &str, seed: u64, created: DateTime<Utc>, since: DateTime<Utc>) -> Option<Sample> {
    let (_, recipe) = RECIPES.iter().find(|(known, _)| *known == name)?;
    let (event_type, currency) = name.split_once(':').unwrap_or((name, "eur"));
    let identity = Identity::new(seed, created, since, currency);
    let event_id = identity.event_id(name);
    let body = match recipe {
        Recipe::Snapshot(change) => snapshot(&identity, &event_id, event_type, change(&identity)),
        Recipe::Thin(related) => thin::event(&identity, &event_id, event_type, &related(&identity)),
    };
    Some(Sample { event_id, event_type: event_type.to_owned(), body: format!("{body:#}") })
}

fn snapshot(identity: &Identity, event_id: &str, event_type: &str, change: Change) -> Value {
    let mut data = Map::from_iter([("object".to_owned(), change.object)]);
    data.extend(change.previous.map(|previous| ("previous_attributes".to_owned(), previous)));
    json!({
        "id": event_id,
        "object": "event",
        "api_version": API_VERSION,
        "created": identity.created(),
        "data": data,
        "livemode": false,
        "pending_webhooks": 1,
        "request": { "id": identity.id("req"), "idempotency_key": null },
        "type": event_type,
    })
}

/// The object with some of its fields changed.
fn with(mut object: Value, changes: Value) -> Value {
    if let (Some(fields), Value::Object(changes)) = (object.as_object_mut(), changes) {
        fields.extend(changes);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    fn parsed(sample: &Sample) -> Value {
        serde_json::from_str(&sample.body).expect("JSON")
    }

    #[test]
    fn every_name_makes_an_event_of_its_type() {
        for name in names() {
            let sample = make(name, 7, at(1_764_000_000)).expect(name);
            let body = parsed(&sample);
            assert_eq!(body["type"], sample.event_type, "{name}");
            assert_eq!(body["id"], sample.event_id, "{name}");
            assert_eq!(name.split(':').next(), Some(sample.event_type.as_str()));
            let object = body.pointer("/data/object/id").or_else(|| body.pointer("/related_object/id"));
            assert!(object.is_some_and(Value::is_string), "{name}");
        }
        assert_eq!(make("invoice.lost", 7, at(0)), None);
    }

    #[test]
    fn the_same_name_seed_and_time_make_the_same_event() {
        let make = |seed, seconds| make("charge.succeeded", seed, at(seconds)).expect("a sample");
        assert_eq!(make(1, 100), make(1, 100));
        let ids: BTreeSet<_> = [make(1, 100), make(2, 100), make(1, 101)].map(|s| s.event_id).into();
        assert_eq!(ids.len(), 3);
    }

    #[test]
    fn no_two_names_share_an_event_id() {
        let ids: BTreeSet<_> = names().filter_map(|name| make(name, 1, at(0))).map(|s| s.event_id).collect();
        assert_eq!(ids.len(), names().count());
    }

    #[test]
    fn an_invoice_keeps_its_id_through_its_life() {
        let life: Vec<_> = invoice_life(3, at(1_764_000_000)).iter().map(parsed).collect();
        let ids: BTreeSet<_> = life.iter().map(|event| event["data"]["object"]["id"].to_string()).collect();
        let births: BTreeSet<_> =
            life.iter().map(|event| event["data"]["object"]["created"].as_i64()).collect();
        assert_eq!((life.len(), ids.len(), births.len()), (4, 1, 1));
        assert_eq!(life[3]["created"], 1_764_000_180);
        for pair in life.windows(2) {
            let previous = &pair[1]["data"]["previous_attributes"];
            for (key, value) in previous.as_object().expect("what changed") {
                assert_eq!(&pair[0]["data"]["object"][key], value, "{key}");
                assert_ne!(&pair[1]["data"]["object"][key], value, "{key}");
            }
        }
    }

    #[test]
    fn objects_of_one_seed_belong_together() {
        let object = |name| parsed(&make(name, 5, at(0)).expect("a sample"))["data"]["object"].clone();
        let charge = object("charge.succeeded");
        assert_eq!(object("payment_intent.succeeded")["latest_charge"], charge["id"]);
        assert_eq!(object("refund.created")["charge"], charge["id"]);
        assert_eq!(object("customer.created")["id"], charge["customer"]);
    }
}
