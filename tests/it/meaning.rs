//! What the page of each Stripe event says, against the expectations in `tests/expectations`.

use crate::harness::recorded;
use chrono::{DateTime, Utc};
use eventbridge::domain::event::{EventFacts, EventKey, StoredEvent};
use eventbridge::domain::money::Money;
use eventbridge::domain::summary::{EventOutcome, EventSummary};
use eventbridge::sources::stripe::summarize;
use serde_json::Value;
use std::collections::BTreeMap;

type Row<'a> = BTreeMap<&'a str, &'a str>;

/// The rows of a table, by its header.
fn rows(table: &str) -> impl Iterator<Item = Row<'_>> {
    let mut lines = table.lines();
    let header: Vec<_> = lines.next().expect("a header").split('\t').collect();
    lines.map(move |line| header.iter().copied().zip(line.split('\t')).collect())
}

/// The events of a file, by their type or case.
fn events(file: &str, key: &str) -> Option<BTreeMap<String, Value>> {
    let folder = recorded("stripe-every-type")?;
    let text = std::fs::read_to_string(folder.join(file)).expect("readable");
    let line = |line: &str| {
        let mut line: Value = serde_json::from_str(line).expect("JSON");
        (line[key].as_str().expect("a key").to_owned(), line["event"].take())
    };
    Some(text.lines().map(line).collect())
}

pub fn stored(event: &Value) -> StoredEvent {
    StoredEvent {
        key: EventKey(1),
        source: "stripe".to_owned(),
        event_id: event["id"].as_str().unwrap_or("evt_1").to_owned(),
        facts: EventFacts {
            event_type: event["type"].as_str().unwrap_or_default().to_owned(),
            ..EventFacts::default()
        },
        carries_state: true,
        received_at: DateTime::UNIX_EPOCH,
        payload: event.to_string().into(),
    }
}

fn minor(money: Option<Money>) -> String {
    money.map(|money| money.minor().expect("whole minor units").to_string()).unwrap_or_default()
}

fn text(text: Option<&String>) -> String {
    text.cloned().unwrap_or_default()
}

fn time(at: Option<DateTime<Utc>>) -> String {
    at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)).unwrap_or_default()
}

/// The summary in the form of the tables.
fn cells(summary: &EventSummary) -> Vec<(&'static str, String)> {
    let EventSummary { object, .. } = summary;
    let currency = |money: Option<Money>| money.map(|money| money.currency().to_string()).unwrap_or_default();
    vec![
        ("title", summary.title.clone()),
        ("amount", minor(summary.amount)),
        ("currency", currency(summary.amount)),
        ("outcome", summary.outcome.as_str().to_owned()),
        ("collected", minor(summary.collected)),
        ("refunded", minor(object.amount_refunded)),
        ("object_collected", minor(object.collected)),
        ("object_id", text(object.id.as_ref())),
        ("object_type", text(object.kind.as_ref())),
        ("account", text(summary.account.as_ref())),
        ("customer_id", text(object.person.id.as_ref())),
        ("customer_name", text(object.person.name.as_ref())),
        ("customer_email", text(object.person.email.as_ref())),
        ("reason", text(summary.reason.as_ref())),
        ("due_at", time(object.due_at)),
        ("next_attempt_at", time(object.next_attempt_at)),
        ("attempts", object.attempts.map(|count| count.to_string()).unwrap_or_default()),
        ("interval", text(object.interval.as_ref())),
        ("cancels_at", time(object.cancels_at)),
        ("dispute_fee", minor(object.dispute_fee)),
        ("dispute_fee_currency", currency(object.dispute_fee)),
    ]
}

/// Compares each row of a table with the event of its key.
fn compare(table: &str, file: &str, key: &'static str) {
    let Some(events) = events(file, key) else { return };
    let mut differences = Vec::new();
    let mut count = 0;
    for row in rows(table) {
        count += 1;
        let event = &events[row[key]];
        if row.get("page") == Some(&"no") {
            continue;
        }
        let summary = summarize(&stored(event), &[]);
        for (column, found) in cells(&summary) {
            if let Some(expected) = row.get(column)
                && *expected != found
            {
                differences.push(format!("{} {column}: {expected:?} is expected, {found:?} found", row[key]));
            }
        }
    }
    assert_eq!(count, events.len(), "each event has a row");
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn each_snapshot_event_says_what_happened() {
    compare(include_str!("../expectations/stripe-snapshots.tsv"), "snapshots.jsonl", "type");
}

#[test]
fn events_that_are_easily_misread_say_what_happened() {
    compare(include_str!("../expectations/stripe-special.tsv"), "special.jsonl", "case");
}

#[test]
fn each_thin_event_says_what_it_knows() {
    compare(include_str!("../expectations/stripe-thin.tsv"), "thin.jsonl", "type");
}

#[test]
fn each_action_says_who_must_act() {
    let mut count = 0;
    for (file, key) in [("snapshots.jsonl", "type"), ("special.jsonl", "case"), ("thin.jsonl", "type")] {
        for (name, event) in events(file, key).into_iter().flatten() {
            let summary = summarize(&stored(&event), &[]);
            if summary.outcome == EventOutcome::ActionRequired {
                let reason = summary.reason.unwrap_or_default();
                assert!(
                    ["Customer: ", "Merchant: "].iter().any(|who| reason.starts_with(who)),
                    "{name} {reason}"
                );
                count += 1;
            }
        }
    }
    assert!(count > 20 || recorded("stripe-every-type").is_none(), "{count}");
}

#[test]
fn what_was_shown_wrong_or_not_at_all_is_shown() {
    let Some(folder) = recorded("faults") else { return };
    for (file, title, collected, reason) in [
        (
            "B10usdc",
            "Charge succeeded · jane@example.com",
            None,
            "Amount unknown: the unit of USDC is not known",
        ),
        ("B12a", "Charge succeeded · EUR 10.00 of 12.34 · jane@example.com", Some(1_000), ""),
        ("B12b", "Charge succeeded · EUR 10.00 of 12.34 · jane@example.com", Some(1_000), ""),
        ("B13", "Payment succeeded · EUR 203.00 of 206.75 · jane@example.com", None, ""),
        ("B13b", "Payment succeeded · EUR 17.00 · jane@example.com", None, ""),
        ("B14", "Charge captured · EUR 203.00 of 206.75 · jane@example.com", Some(20_300), ""),
        ("B15credit_note", "Credit note created · EUR 7.00", None, ""),
        ("B15transfer", "Transfer created · EUR 7.00", None, ""),
        ("B15topup", "Top-up succeeded · EUR 7.00", None, ""),
        ("B15application_fee", "Application fee created · EUR 0.70", None, ""),
        ("B15quote", "Quote accepted · EUR 7.00", None, ""),
        ("B15invoiceitem", "Invoice item created · EUR 7.00", None, ""),
        ("B15invoice_payment", "Invoice payment paid · EUR 7.00", None, ""),
        ("B15issuing", "Issuing transaction created · EUR -7.00", None, ""),
        (
            "B32",
            "Invoice A-1 paid · EUR 0.00 of 50.00 · jane@example.com",
            None,
            "From the customer's balance: EUR 50.00",
        ),
    ] {
        let text = std::fs::read_to_string(folder.join(format!("{file}.json"))).expect(file);
        let summary = summarize(&stored(&serde_json::from_str(&text).expect("JSON")), &[]);
        assert!(summary.title.starts_with(title), "{file}: {}", summary.title);
        assert_eq!(summary.collected.and_then(|money| money.minor()), collected, "{file}");
        assert_eq!(summary.reason.as_deref().unwrap_or_default(), reason, "{file}");
    }
}
