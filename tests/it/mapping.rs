//! Events of many ages and shapes become Notion properties: without a panic, within Notion's limits,
//! always with their key, and with the right amounts.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use eventbridge::destinations::notion::field::Field;
use eventbridge::destinations::notion::mapping::{self, Mapped};
use eventbridge::destinations::notion::object::{changes, object_properties};
use eventbridge::destinations::notion::schema::{Bindings, Schema};
use eventbridge::domain::event::{EventFacts, EventKey, StoredEvent};
use eventbridge::sources::stripe::summarize;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Every known column in the type that suits it best.
fn full_bindings() -> Bindings {
    bindings(Field::EventId, best_kind)
}

pub fn best_kind(field: Field) -> &'static str {
    match field {
        Field::Amount | Field::Collected | Field::AmountRefunded | Field::DisputeFee | Field::Attempts => {
            "number"
        }
        Field::Status
        | Field::Outcome
        | Field::Currency
        | Field::Month
        | Field::Interval
        | Field::DisputeFeeCurrency => "select",
        Field::EventType => "multi_select",
        Field::CustomerEmail => "email",
        Field::OccurredAt | Field::DueAt | Field::NextAttemptAt | Field::CancelsAt => "date",
        Field::Livemode => "checkbox",
        Field::InvoiceUrl | Field::ReceiptUrl | Field::DashboardUrl => "url",
        _ => "rich_text",
    }
}

/// A title that is not the key, and each column in an arbitrary type, with its name as its id.
pub fn bindings(key_field: Field, kind: impl Fn(Field) -> &'static str) -> Bindings {
    let mut properties = Map::new();
    properties.insert("Name".to_owned(), json!({"id": "title", "name": "Name", "type": "title"}));
    for field in Field::ALL {
        let kind = if *field == key_field { "rich_text" } else { kind(*field) };
        let options = json!({"options": [{"name": "success"}, {"name": "Info"}]});
        let property = json!({"id": field.name(), "name": field.name(), "type": kind, (kind): options});
        properties.insert(field.name().to_owned(), property);
    }
    let schema = Schema::parse(&json!({ "properties": properties })).expect("a data source");
    schema.resolve(key_field, None).expect("a key column").bindings
}

fn stored(event_id: &str, payload: &Value) -> StoredEvent {
    StoredEvent {
        key: EventKey(1),
        source: "stripe".to_owned(),
        event_id: event_id.to_owned(),
        facts: EventFacts::default(),
        carries_state: true,
        received_at: DateTime::UNIX_EPOCH,
        payload: payload.to_string().into(),
    }
}

fn map(payload: &Value, bindings: &Bindings) -> Mapped {
    let id = payload["id"].as_str().unwrap_or("evt_without");
    mapping::properties(&summarize(&stored(id, payload), &[]), Tz::UTC, bindings)
}

/// The text of a mapped text property.
fn text(mapped: &Mapped, id: &str) -> Option<String> {
    mapped.properties.get(id)?.pointer("/rich_text/0/text/content")?.as_str().map(str::to_owned)
}

fn created() -> DateTime<Utc> {
    DateTime::from_timestamp(1_764_000_000, 0).expect("a time")
}

fn sample(name: &str) -> Value {
    let sample = stripe_samples::make(name, 42, created()).expect(name);
    serde_json::from_str(&sample.body).expect("JSON")
}

fn shared_data() -> Option<PathBuf> {
    let folder = Path::new(env!("EVENTBRIDGE_CHECKOUT")).join("../shared/data");
    folder.is_dir().then_some(folder)
}

/// Real events, each with its name; none if the data is not present.
fn recorded_events() -> Vec<(String, Value)> {
    let Some(data) = shared_data() else { return Vec::new() };
    let read = |path: &Path| -> Value {
        serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON")
    };
    let files = std::fs::read_dir(data.join("stripe-events")).expect("a folder");
    let mut events: Vec<_> = files
        .map(|file| file.expect("an entry").path())
        .map(|path| (path.display().to_string(), read(&path)))
        .collect();
    let objects = read(&data.join("stripe-objects/fixtures.json"));
    for (name, object) in objects.as_object().expect("objects by name") {
        let event_type = format!("{name}.updated");
        let event = json!({
            "id": format!("evt_{}", name.replace('.', "_")), "object": "event", "created": 1_764_000_000,
            "type": event_type, "livemode": false, "data": {"object": object},
        });
        events.push((event_type, event));
    }
    events
}

fn all_events() -> Vec<(String, Value)> {
    let samples = stripe_samples::names().map(|name| (name.to_owned(), sample(name)));
    let life = stripe_samples::invoice_life(9, created())
        .into_iter()
        .map(|sample| (sample.event_type.clone(), serde_json::from_str(&sample.body).expect("JSON")));
    samples.chain(life).chain(recorded_events()).collect()
}

#[test]
fn every_known_event_maps_within_limits_and_with_its_key() {
    let bindings = full_bindings();
    for (name, event) in all_events() {
        let mapped = map(&event, &bindings);
        check_limits(&mapped.properties);
        assert_eq!(text(&mapped, "EventId").as_deref(), event["id"].as_str(), "{name}");
        assert_eq!(mapped.properties["EventType"]["multi_select"][0]["name"], event["type"], "{name}");
        let link = mapped.properties["DashboardUrl"]["url"].as_str().expect("a link");
        assert!(link.starts_with("https://dashboard.stripe.com/"), "{name}: {link}");
        assert_eq!(mapped.notes, [], "{name}");
    }
}

#[test]
fn samples_have_readable_titles() {
    let bindings = full_bindings();
    for (name, title, status, outcome) in [
        ("invoice.paid", "Invoice SAMPLE-0042 paid · EUR 52.45 · customer-42@example.com", "success", "Paid"),
        (
            "payment_intent.succeeded:jpy",
            "Payment succeeded · JPY 5,200 · customer-42@example.com",
            "success",
            "Paid",
        ),
        (
            "payment_intent.succeeded:kwd",
            "Payment succeeded · KWD 52.345 · customer-42@example.com",
            "success",
            "Paid",
        ),
        (
            "payment_intent.payment_failed",
            "Payment failed · EUR 52.45 · customer-42@example.com",
            "failed",
            "Failed",
        ),
        ("charge.refunded", "Charge refunded · EUR 52.45 · customer-42@example.com", "pending", "Refunded"),
        (
            "charge.dispute.created",
            "Dispute created · EUR 52.45 · customer-42@example.com",
            "pending",
            "Disputed",
        ),
        ("payout.paid", "Payout paid · EUR 52.45", "pending", "Payout"),
        ("customer.created", "Customer created · customer-42@example.com", "pending", "Info"),
        (
            "v1.billing.meter.error_report_triggered",
            "Billing meter error report triggered · mtr_Xl9sN9UEqWbYZkcaZ2rWojQz",
            "pending",
            "Info",
        ),
    ] {
        let properties = map(&sample(name), &bindings).properties;
        assert_eq!(properties["title"]["title"][0]["text"]["content"], title);
        assert_eq!(properties["Status"]["select"]["name"], status, "{name}");
        assert_eq!(properties["Outcome"]["select"]["name"], outcome, "{name}");
    }
}

#[test]
fn the_document_lists_every_property_as_in_the_table() {
    let path = Path::new(env!("EVENTBRIDGE_CHECKOUT")).join("docs/notion.md");
    let document = std::fs::read_to_string(path).expect("readable");
    for field in Field::ALL {
        let (name, about) = (field.name(), field.about());
        let is_row = |line: &&str| line.starts_with(&format!("| {name} | "));
        let row = document.lines().find(is_row).unwrap_or_else(|| panic!("docs/notion.md lacks {name}"));
        assert!(row.ends_with(&format!(" | {about} |")), "docs/notion.md: {row}\nthe table: {about}");
    }
}

#[test]
fn every_known_object_maps_within_limits_and_with_its_key() {
    let bindings = bindings(Field::ObjectId, best_kind);
    for (name, event) in all_events() {
        let summary = summarize(&stored("evt_1", &event), &[]);
        let mapped = object_properties(&summary, Tz::UTC, &bindings);
        let object_id = event.pointer("/data/object/id").or_else(|| event.pointer("/related_object/id"));
        assert_eq!(mapped.is_some(), object_id.is_some(), "{name}");
        let Some(mapped) = mapped else { continue };
        check_limits(&mapped.properties);
        assert_eq!(text(&mapped, "ObjectId").as_deref(), object_id.and_then(Value::as_str), "{name}");
        assert_eq!(text(&mapped, "LastEventId").as_deref(), Some("evt_1"), "{name}");
        assert_eq!(mapped.notes, [], "{name}");
    }
}

#[test]
fn an_invoices_page_shows_each_step_of_its_life() {
    let bindings = bindings(Field::ObjectId, best_kind);
    let mut shown = Map::new();
    let mut titles = Vec::new();
    for sample in stripe_samples::invoice_life(42, created()) {
        let event = serde_json::from_str(&sample.body).expect("JSON");
        let summary = summarize(&stored(&sample.event_id, &event), &[]);
        let next = object_properties(&summary, Tz::UTC, &bindings).expect("an object").properties;
        for (id, value) in changes(&shown, &next, &bindings) {
            assert!(titles.is_empty() || !["ObjectId", "Amount", "Currency"].contains(&id.as_str()), "{id}");
            shown.insert(id, value);
        }
        // A cell that is cleared.
        shown.retain(|id, value| next.contains_key(id) || *value != json!({"date": null}));
        assert_eq!(shown, next);
        titles.push(shown["title"]["title"][0]["text"]["content"].as_str().expect("a line").to_owned());
    }
    assert_eq!(
        titles[1..],
        [
            "Invoice SAMPLE-0042 open · EUR 52.45 · customer-42@example.com",
            "Invoice SAMPLE-0042 open · EUR 52.45 · customer-42@example.com",
            "Invoice SAMPLE-0042 paid · EUR 52.45 · customer-42@example.com",
        ]
    );
    assert!(titles[0].contains(" draft · EUR 52.45"), "{}", titles[0]);
}

#[test]
fn recorded_events_keep_the_customer_and_the_invoice() {
    let Some(data) = shared_data() else { return };
    let file = std::fs::read(data.join("stripe-events/invoice_paid.json")).expect("readable");
    let mapped = map(&serde_json::from_slice(&file).expect("JSON"), &full_bindings());
    assert_eq!(text(&mapped, "InvoiceNumber").as_deref(), Some("60229DE7-0007"));
    assert_eq!(text(&mapped, "Customer").as_deref(), Some("cus_JsuO3bmrj0QlAw"));
    assert_eq!(mapped.properties["OccurredAt"]["date"]["start"], "2022-01-20T03:25:11Z");
    assert_eq!(
        mapped.properties["DashboardUrl"]["url"],
        "https://dashboard.stripe.com/test/invoices/in_1KJqKBJDPojXS6LNJbvLUgEy"
    );
}

/// Fails if Notion would reject the properties.
fn check_limits(properties: &Map<String, Value>) {
    let units = |text: &Value| text.as_str().expect("a text").encode_utf16().count();
    let clean = |text: &Value| !text.as_str().expect("a text").contains(char::is_control);
    for (id, property) in properties {
        let (kind, value) = property.as_object().and_then(|only| only.iter().next()).expect("one type");
        match kind.as_str() {
            "title" | "rich_text" => {
                let parts = value.as_array().expect("parts");
                assert!(parts.len() <= 100);
                for part in parts {
                    let content = &part["text"]["content"];
                    assert!(units(content) <= 2000 && clean(content), "{id}: {content}");
                }
            }
            "select" | "status" => check_option(&value["name"]),
            "multi_select" => {
                let options = value.as_array().expect("options");
                assert!(options.len() <= 100);
                for option in options {
                    check_option(&option["name"]);
                }
            }
            "number" => assert!(value.as_f64().is_some_and(f64::is_finite), "{id}: {value}"),
            "checkbox" => assert!(value.is_boolean()),
            "url" => {
                assert!(units(value) <= 2000 && value.as_str().is_some_and(|url| url.starts_with("http")));
            }
            "email" | "phone_number" => assert!(units(value) <= 200 && clean(value)),
            "date" => {
                let start = value["start"].as_str().expect("a start");
                assert!(start.ends_with('Z') && DateTime::parse_from_rfc3339(start).is_ok(), "{start}");
            }
            other => panic!("{other} is never written"),
        }
    }
}

fn check_option(name: &Value) {
    let name = name.as_str().expect("a name");
    assert!(!name.is_empty() && !name.contains(',') && !name.contains(char::is_control), "{name}");
    assert!(name.encode_utf16().count() <= 100, "{name}");
}

const KINDS: &[&str] = &[
    "rich_text",
    "number",
    "select",
    "multi_select",
    "status",
    "date",
    "url",
    "email",
    "phone_number",
    "checkbox",
    "formula",
];

/// Keys that the code reads, so that arbitrary objects reach every branch.
const KEYS: &[&str] = &[
    "id",
    "object",
    "type",
    "data",
    "created",
    "livemode",
    "account",
    "context",
    "related_object",
    "amount",
    "amount_paid",
    "amount_total",
    "amount_refunded",
    "amount_captured",
    "amount_received",
    "amount_remaining",
    "amount_reversed",
    "balance_transaction",
    "balance_transactions",
    "failure_balance_transaction",
    "reporting_category",
    "captured",
    "fee",
    "reason",
    "discounts",
    "coupon",
    "percent_off",
    "amount_off",
    "transform_quantity",
    "divide_by",
    "recurring",
    "interval",
    "interval_count",
    "attempt_count",
    "due_date",
    "cancel_at",
    "api_version",
    "request",
    "total",
    "currency",
    "status",
    "paid",
    "refunded",
    "items",
    "has_more",
    "price",
    "plan",
    "quantity",
    "unit_amount",
    "unit_amount_decimal",
    "customer",
    "customer_email",
    "customer_name",
    "billing_details",
    "email",
    "name",
    "number",
    "invoice",
    "charge",
    "payment_intent",
    "description",
    "hosted_invoice_url",
    "receipt_url",
    "lines",
];

const WORDS: &[&str] = &[
    "charge",
    "checkout.session",
    "customer",
    "dispute",
    "invoice",
    "payment_intent",
    "payout",
    "refund",
    "subscription",
    "usd",
    "jpy",
    "paid",
    "failed",
    "invoice.paid",
    "v1.charge.refunded",
    "charge.succeeded",
    "charge.captured",
    "charge.updated",
    "charge.refunded",
    "charge.failed",
    "refund.created",
    "refund.failed",
    "refund.updated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "transfer.reversed",
    "succeeded",
    "canceled",
    "dispute_reversal",
    "a@example.com",
    "https://example.com",
    "0.5",
    "99999999999999999999.5",
    "9999-12-31T23:59:59Z",
    "a,b",
    "",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-10_000_i64..10_000).prop_map(Value::from),
        prop::sample::select(WORDS).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        ("[,🍵é\0\n a]", 1_usize..3000).prop_map(|(text, times)| Value::from(text.repeat(times))),
    ];
    leaf.prop_recursive(4, 48, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(prop::sample::select(KEYS), inner, 0..10).prop_map(|members| members
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}

/// An event about an arbitrary object of a known kind.
fn any_event() -> impl Strategy<Value = Value> {
    let parts = (
        any_json(),
        any_json(),
        prop::sample::select(WORDS),
        prop::sample::select(WORDS),
        any::<bool>(),
        any_json(),
    );
    parts.prop_map(|(mut object, created, word, event_type, is_thin, previous)| {
        if let Some(members) = object.as_object_mut() {
            members.insert(if is_thin { "type" } else { "object" }.to_owned(), word.into());
            members.insert("currency".to_owned(), "usd".into());
        }
        if is_thin {
            json!({"type": event_type, "created": created, "related_object": object})
        } else {
            let data = json!({"object": object, "previous_attributes": previous});
            json!({"type": event_type, "created": created, "data": data})
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_json_maps_within_limits(
        payload in prop_oneof![any_json(), any_event()],
        event_id in "[a-zA-Z0-9_\\PC]{1,300}",
        shift in 0_usize..KINDS.len(),
        zone in prop::sample::select(vec![Tz::UTC, chrono_tz::Pacific::Kiritimati, chrono_tz::US::Samoa]),
    ) {
        let bindings = bindings(Field::EventId, |field| KINDS[(field as usize + shift) % KINDS.len()]);
        let event = stored(&event_id, &payload);
        let mapped = mapping::properties(&summarize(&event, &[]), zone, &bindings);
        check_limits(&mapped.properties);
        prop_assert_eq!(text(&mapped, "EventId"), Some(mapping::key_text(&event_id)));
        prop_assert!(mapped.properties.contains_key("title"));
    }

    #[test]
    fn the_changes_between_any_two_events_turn_one_page_into_the_other(
        events in [any_event(), any_event()],
        shift in 0_usize..KINDS.len(),
    ) {
        let kind = |field| KINDS[(field as usize + shift) % KINDS.len()];
        let bindings = bindings(Field::ObjectId, kind);
        let [before, after] = events.map(|mut event| {
            let place = if event["related_object"].is_null() { "/data/object" } else { "/related_object" };
            if let Some(object) = event.pointer_mut(place).and_then(Value::as_object_mut) {
                object.insert("id".to_owned(), "in_1".into());
            }
            object_properties(&summarize(&stored("evt_1", &event), &[]), Tz::UTC, &bindings)
        });
        let (Some(before), Some(after)) = (before, after) else { return Ok(()) };
        check_limits(&after.properties);
        let changed = changes(&before.properties, &after.properties, &bindings);
        for (id, value) in &before.properties {
            let is_same = after.properties.get(id) == Some(value);
            let has_no_empty_value = value.get("checkbox").or_else(|| value.get("status")).is_some();
            let stays = is_same || (has_no_empty_value && !after.properties.contains_key(id));
            prop_assert_eq!(changed.contains_key(id), !stays, "{}", id);
        }
        for id in changed.keys() {
            prop_assert!(before.properties.contains_key(id) || after.properties.contains_key(id));
        }
    }

    #[test]
    fn any_bytes_map_within_limits(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let event = StoredEvent { payload: payload.into(), ..stored("evt_1", &Value::Null) };
        let mapped = mapping::properties(&summarize(&event, &[]), Tz::UTC, &full_bindings());
        check_limits(&mapped.properties);
        prop_assert_eq!(text(&mapped, "EventId"), Some("evt_1".to_owned()));
    }

    #[test]
    fn any_response_of_notion_is_a_schema_or_a_named_error(answer in any_json()) {
        if let Ok(schema) = Schema::parse(&answer) {
            for key in [Field::EventId, Field::ObjectId] {
                let _ = schema.resolve(key, Some(&full_bindings()));
            }
        }
    }
}
