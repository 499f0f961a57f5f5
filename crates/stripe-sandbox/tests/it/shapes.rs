//! Every field that the stand-in sends exists in Stripe's own fixtures, with a type that occurs there.

use crate::harness::{Stripe, options};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use stripe_sandbox::{Pace, SandboxOptions, ShopSize};

/// Recorded data that is not part of the project; `None` where it is missing.
fn recorded(file: &str) -> Option<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(file);
    fs::read_to_string(path).ok()
}

/// What Stripe's library for Node (23.1) declares and the fixtures leave out.
const ONLY_IN_THE_LIBRARY: &[&str] = &[
    "balance_transaction.fee_details[]",
    "charge.payment_method_details.us_bank_account",
    "invoice.amount_paid_off_stripe",
    "payment_intent.next_action.use_stripe_sdk",
    "refund.destination_details.us_bank_transfer",
    "refund.failure_balance_transaction",
];

/// The types that occur at each place of an object: `null`, `bool`, `number`, `string`, `list`, `object`.
#[derive(Default)]
struct Shapes(BTreeMap<String, BTreeSet<&'static str>>);

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// Calls with each place of a value and what is there. An object with an `object` begins a place of its own.
fn walk<'a>(place: &str, value: &'a Value, see: &mut impl FnMut(&str, &'a Value)) {
    let place = match value.get("object").and_then(Value::as_str) {
        // A list inside of an object is part of it.
        Some(own) if own != "list" => own,
        _ => place,
    };
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                let below = format!("{place}.{name}");
                see(&below, inner);
                // Their fields are not fixed.
                if !matches!(name.as_str(), "metadata" | "previous_attributes") {
                    walk(&below, inner, see);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(&format!("{place}[]"), item, see)),
        _ => {}
    }
}

impl Shapes {
    fn learn(&mut self, value: &Value) {
        walk("", value, &mut |place, value| {
            self.0.entry(place.to_owned()).or_default().insert(kind(value));
        });
    }

    /// What is wrong with an object.
    fn errors(&self, value: &Value) -> BTreeSet<String> {
        let mut errors = BTreeSet::new();
        walk("", value, &mut |place, value| match self.0.get(place) {
            None if ONLY_IN_THE_LIBRARY.iter().any(|known| place.starts_with(known)) => {}
            None => drop(errors.insert(format!("{place} does not exist"))),
            Some(kinds) => {
                let is_known = kinds.contains(kind(value)) || value.is_null();
                let is_open = kinds.iter().all(|kind| *kind == "null");
                // A reference may be expanded.
                let is_reference = kinds.contains("object") && value.is_string();
                if !(is_known || is_open || is_reference) {
                    errors.insert(format!("{place} is {value}, but {kinds:?}"));
                }
            }
        });
        errors
    }
}

fn shapes() -> Option<Shapes> {
    let mut shapes = Shapes::default();
    let fixtures: Value = serde_json::from_str(&recorded("stripe-objects/fixtures.json")?).unwrap();
    fixtures.as_object().unwrap().values().for_each(|object| shapes.learn(object));
    for line in recorded("stripe-every-type/snapshots.jsonl")?.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        shapes.learn(&line["event"]);
    }
    Some(shapes)
}

/// A shop with everything in a few weeks.
fn lively() -> SandboxOptions {
    let pace = Pace { seconds_between_sales: 4_000, seconds_between_subscriptions: 30_000 };
    SandboxOptions { size: ShopSize::Of(pace), history_days: 75, ..options() }
}

#[tokio::test]
async fn every_field_is_one_of_stripes() {
    let Some(shapes) = shapes() else {
        eprintln!("skipped: the recorded data is not here");
        return;
    };
    let stripe = Stripe::start(lively()).await;
    let mut errors: BTreeSet<String> = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    for event in stripe.handle.events() {
        errors.extend(shapes.errors(&event));
        kinds.insert(event["data"]["object"]["object"].as_str().unwrap().to_owned());
    }
    for list in ["balance_transactions", "charges", "refunds", "subscription_items", "customers"] {
        let objects = stripe.handle.objects(list);
        assert!(!objects.is_empty(), "{list}");
        for object in objects {
            errors.extend(shapes.errors(&object));
        }
    }
    for path in ["/v1/account", "/v1/balance"] {
        errors.extend(shapes.errors(&stripe.get(path).await.body));
    }
    assert!(kinds.len() >= 15, "{kinds:?}");
    assert!(errors.is_empty(), "{errors:#?}");
}

#[tokio::test]
async fn thin_events_are_like_stripes() {
    let Some(thin) = recorded("stripe-every-type/thin.jsonl") else {
        eprintln!("skipped: the recorded data is not here");
        return;
    };
    let known: BTreeMap<String, Value> = thin
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| (line["type"].as_str().unwrap().to_owned(), line["event"].clone()))
        .collect();
    let stripe = Stripe::start(lively()).await;
    let mut types = BTreeSet::new();
    for snapshot in stripe.handle.events() {
        let event = stripe.handle.thin_event(snapshot["id"].as_str().unwrap()).unwrap();
        let name = event["type"].as_str().unwrap().to_owned();
        let like = known.get(&name).unwrap_or_else(|| panic!("{name} is no type of Stripe's"));
        for field in event.as_object().unwrap().keys() {
            assert!(like.get(field).is_some(), "{name}: {field}");
        }
        let (ours, theirs) = (&event["related_object"], &like["related_object"]);
        assert_eq!(ours["type"], theirs["type"], "{name}");
        types.insert(name);
    }
    assert!(types.len() >= 35, "{types:?}");
}
