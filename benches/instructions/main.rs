//! The work for every event, without clock and network: its instructions are counted.
//!
//! Throughput depends on the machine and its load; the number of instructions of a piece of work does
//! not. `scripts/check-instructions` runs each case under callgrind, which counts only within
//! [`counted`].

use axum::http::HeaderMap;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use eventbridge::config::InstanceName;
use eventbridge::destinations::notion::field::Field;
use eventbridge::destinations::notion::mapping;
use eventbridge::destinations::notion::schema::{Bindings, Schema};
use eventbridge::domain::event::{EventFacts, EventKey, StoredEvent};
use eventbridge::sources::Source;
use eventbridge::sources::stripe::{HEADER, NamedSecret, Stripe, sign, summarize};
use serde_json::{Map, json};
use std::error::Error;
use std::hint::black_box;

const SECRET: &str = "whsec_of_the_instructions";

/// Enough to make one-time work negligible, such as filling a table.
const ROUNDS: u32 = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let now = DateTime::from_timestamp(1_760_000_000, 0).ok_or("a time")?;
    let sample = stripe_samples::make("invoice.paid", 7, now).ok_or("a sample")?;
    let body = Bytes::from(sample.body);
    let source = source();
    let signed = headers(&sign(SECRET, &body, now.timestamp()))?;
    let foreign = headers(&sign("whsec_of_somebody_else", &body, now.timestamp()))?;
    let event = stored(&source, &signed, &body, now)?;
    let bindings = bindings()?;
    let summary = summarize(&event, &[]);
    let properties = mapping::properties(&summary, Tz::UTC, &bindings).properties;

    let case = std::env::args().nth(1).unwrap_or_default();
    let mut work: Box<dyn FnMut() -> bool> = match case.as_str() {
        "verify" => Box::new(|| source.receive(&foreign, body.clone(), now).is_err()),
        "verify+parse" => Box::new(|| source.receive(&signed, body.clone(), now).is_ok()),
        "read" => Box::new(|| !summarize(&event, &[]).title.is_empty()),
        "map" => Box::new(|| !mapping::properties(&summary, Tz::UTC, &bindings).properties.is_empty()),
        "encode" => Box::new(|| serde_json::to_vec(&properties).is_ok()),
        _ => return Err("the cases are verify, verify+parse, read, map and encode".into()),
    };
    counted(&mut work);
    Ok(())
}

/// The counted part.
#[inline(never)]
fn counted(work: &mut dyn FnMut() -> bool) {
    for _ in 0..ROUNDS {
        assert!(black_box(work()), "the work was not done");
    }
}

fn source() -> Stripe {
    let secret = NamedSecret { name: "secret-1".to_owned(), secret: SECRET.into() };
    Stripe::new(&InstanceName::of_kind("stripe"), vec![secret])
}

fn headers(signature: &str) -> Result<HeaderMap, Box<dyn Error>> {
    Ok([(HEADER.parse()?, signature.parse()?)].into_iter().collect())
}

fn stored(
    source: &Stripe,
    headers: &HeaderMap,
    body: &Bytes,
    now: DateTime<Utc>,
) -> Result<StoredEvent, Box<dyn Error>> {
    let event = source.receive(headers, body.clone(), now)?;
    Ok(StoredEvent {
        key: EventKey(1),
        source: event.source.to_string(),
        event_id: event.event_id,
        facts: EventFacts { ..event.facts },
        carries_state: event.carries_state,
        received_at: now,
        payload: event.payload,
    })
}

/// A column for each property.
fn bindings() -> Result<Bindings, Box<dyn Error>> {
    let kind = |field: Field| match field {
        Field::Amount | Field::AmountRefunded => "number",
        Field::OccurredAt => "date",
        Field::Livemode => "checkbox",
        Field::CustomerEmail => "email",
        Field::InvoiceUrl | Field::ReceiptUrl | Field::DashboardUrl => "url",
        _ => "rich_text",
    };
    let mut columns = Map::new();
    columns.insert("Name".to_owned(), json!({"id": "title", "type": "title", "title": {}}));
    for field in Field::ALL {
        let (name, kind) = (field.name(), kind(*field));
        columns.insert(name.to_owned(), json!({"id": name, "type": kind, kind: {}}));
    }
    Ok(Schema::parse(&json!({"properties": columns}))?.resolve(Field::EventId, None)?.bindings)
}
