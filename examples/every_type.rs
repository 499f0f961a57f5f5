//! Prints what the page of each of some Stripe events says, to be read by people.
//!
//! ```text
//! cargo run --example every_type -- events.jsonl
//! ```
//!
//! Each line of a file is an event, or an object with the event in `event` and a name in `case`.

use anyhow::Context;
use chrono::DateTime;
use chrono_tz::Tz;
use eventbridge::destinations::notion::field::Field;
use eventbridge::domain::event::{EventFacts, EventKey, StoredEvent};
use eventbridge::sources::stripe::summarize;
use serde_json::Value;
use std::io::Write;

/// What the title says already, and what is the same on each page.
const OMITTED: &[Field] = &[
    Field::EventId,
    Field::EventType,
    Field::Source,
    Field::Status,
    Field::Amount,
    Field::CustomerEmail,
    Field::OccurredAt,
    Field::Month,
    Field::Livemode,
    Field::LastEventId,
    Field::ObjectType,
];

fn main() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let mut line: Value = serde_json::from_str(line).with_context(|| path.clone())?;
            let case = line.get("case").and_then(Value::as_str).map(str::to_owned);
            let event = line.get_mut("event").map(Value::take).unwrap_or(line);
            print(&mut out, case.as_deref(), &event)?;
        }
    }
    Ok(())
}

fn print(out: &mut impl Write, case: Option<&str>, event: &Value) -> std::io::Result<()> {
    let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
    let event_type = text("type");
    let stored = StoredEvent {
        key: EventKey(0),
        source: "stripe".to_owned(),
        event_id: text("id").to_owned(),
        facts: EventFacts { event_type: event_type.to_owned(), ..EventFacts::default() },
        carries_state: true,
        received_at: DateTime::UNIX_EPOCH,
        payload: event.to_string().into(),
    };
    let summary = summarize(&stored, &[]);
    match case {
        Some(case) => writeln!(out, "{event_type} ({case})")?,
        None => writeln!(out, "{event_type}")?,
    }
    writeln!(out, "    {}", summary.title)?;
    for field in Field::ALL.iter().filter(|field| !OMITTED.contains(field)) {
        if let Some(value) = field.value(&summary, Tz::UTC) {
            writeln!(out, "    {:<18} {}", field.name(), value.to_text())?;
        }
    }
    writeln!(out)
}
