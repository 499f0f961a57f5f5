//! What an event tells of money, customers and links, read leniently off its body.
//!
//! A body may have the shape of any API version since 2011, be a thin event, or be no JSON at all:
//! what is not there is `None`, and nothing panics. No I/O, no clock.

mod dashboard;
mod outcome;
mod status;
mod title;

pub use outcome::EventOutcome;
pub use status::EventStatus;

use crate::destinations::notion::field::Field;
use crate::domain::event::StoredEvent;
use crate::domain::money::{Currency, Money};
use crate::domain::object::{StripeObject, amount, currency, flag, refunded, text};
use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use chrono_tz::Tz;
use serde_json::Value;
use std::borrow::Cow;

/// All that an event tells, one field per known property.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The sender's id of the event.
    pub event_id: String,
    /// The type, such as `invoice.paid`; empty where the sender gave none.
    pub event_type: String,
    /// The source's name.
    pub source: String,
    /// How the type says that it went.
    pub status: EventStatus,
    /// What it means for the money.
    pub outcome: EventOutcome,
    /// A readable line: `Invoice 0042 paid · EUR 120.00 · jane@example.com`.
    pub title: String,
    /// The same for the state that the object is in, whatever led there: `Invoice 0042 open · …`.
    pub object_title: String,
    /// The customer's e-mail address.
    pub customer_email: Option<String>,
    /// The customer's id.
    pub customer: Option<String>,
    /// The customer's name.
    pub customer_name: Option<String>,
    /// The invoice's number, or its id where it has none.
    pub invoice_number: Option<String>,
    /// The currency, also where there is no amount.
    pub currency: Option<Currency>,
    /// The amount.
    pub amount: Option<Money>,
    /// What was given back.
    pub amount_refunded: Option<Money>,
    /// The id of the object that the event is about.
    pub object_id: Option<String>,
    /// The kind of that object.
    pub object_type: Option<String>,
    /// That object's own status.
    pub object_status: Option<String>,
    /// What it was for, or why it failed.
    pub description: Option<String>,
    /// When it happened, between the years 2 and 9998.
    pub occurred_at: Option<DateTime<Utc>>,
    /// The month of that in the reports' time zone: `2026-11`.
    pub month: Option<String>,
    /// Whether real money is concerned.
    pub livemode: Option<bool>,
    /// The connected account.
    pub account: Option<String>,
    /// The invoice's page for the customer.
    pub invoice_url: Option<String>,
    /// The receipt's page.
    pub receipt_url: Option<String>,
    /// The page in the Stripe dashboard.
    pub dashboard_url: Option<String>,
}

/// One value, before it takes the type of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum FactValue<'a> {
    /// Words, an id, an address or a link.
    Text(Cow<'a, str>),
    /// An amount.
    Money(Money),
    /// An instant.
    Time(DateTime<Utc>),
    /// Yes or no, and the word for it.
    Flag {
        /// Yes or no.
        set: bool,
        /// How a text says it.
        word: &'static str,
    },
}

impl Facts {
    /// Reads an event's body; `zone` decides to which month it belongs.
    pub fn read(event: &StoredEvent, zone: Tz) -> Self {
        Self::from_payload(event, &serde_json::from_slice(&event.payload).unwrap_or_default(), zone)
    }

    /// The same for a body that is parsed already.
    pub fn from_payload(event: &StoredEvent, payload: &Value, zone: Tz) -> Self {
        let known = &event.facts;
        let event_type =
            first(&[&known.event_type, text(payload, "/type").unwrap_or_default()]).unwrap_or_default();
        let object = StripeObject::of(payload, known.object_type.as_deref(), &event_type);
        let occurred_at = known.created.or_else(|| created(payload)).filter(|at| is_common_era(*at));
        let livemode =
            known.livemode.or_else(|| flag(payload, "/livemode")).or_else(|| flag(object.value, "/livemode"));
        let account = known.account.clone().or_else(|| connected_account(payload));
        let mut facts = Self {
            event_id: event.event_id.clone(),
            source: event.source.clone(),
            status: EventStatus::of(&event_type),
            outcome: EventOutcome::of(&event_type, &object),
            title: String::new(),
            object_title: String::new(),
            customer_email: object.customer_email(),
            customer: object.customer(),
            customer_name: object.customer_name(),
            invoice_number: object.invoice_number(),
            currency: currency(&object),
            amount: amount(&object),
            amount_refunded: refunded(&object),
            object_id: known.object_id.clone().or_else(|| object.id()),
            object_type: known.object_type.clone().or_else(|| object.type_name()),
            object_status: object.status(),
            description: object.description(),
            month: occurred_at.map(|at| at.with_timezone(&zone).format("%Y-%m").to_string()),
            occurred_at,
            invoice_url: object.invoice_url(),
            receipt_url: object.receipt_url(),
            dashboard_url: dashboard::link(&object, &event.event_id, account.as_deref(), livemode),
            livemode,
            account,
            event_type,
        };
        facts.title = title::event_line(&facts, &object);
        facts.object_title = title::object_line(&facts, &object);
        facts
    }

    /// The value of a known property, where the event tells it.
    pub fn value(&self, field: Field) -> Option<FactValue<'_>> {
        match field {
            Field::EventId | Field::LastEventId => words(&self.event_id),
            Field::EventType => words(&self.event_type),
            Field::Source => words(&self.source),
            Field::Status => words(self.status.as_str()),
            Field::Outcome => words(self.outcome.as_str()),
            Field::CustomerEmail => optional(self.customer_email.as_ref()),
            Field::Customer => optional(self.customer.as_ref()),
            Field::CustomerName => optional(self.customer_name.as_ref()),
            Field::InvoiceNumber => optional(self.invoice_number.as_ref()),
            Field::Currency => self.currency.map(|currency| FactValue::Text(currency.to_string().into())),
            Field::Amount => self.amount.map(FactValue::Money),
            Field::AmountText => self.amount.map(|amount| FactValue::Text(amount.to_string().into())),
            Field::AmountRefunded => self.amount_refunded.map(FactValue::Money),
            Field::ObjectId => optional(self.object_id.as_ref()),
            Field::ObjectType => optional(self.object_type.as_ref()),
            Field::ObjectStatus => optional(self.object_status.as_ref()),
            Field::Description => optional(self.description.as_ref()),
            Field::OccurredAt => self.occurred_at.map(FactValue::Time),
            Field::Month => optional(self.month.as_ref()),
            Field::Livemode => {
                self.livemode.map(|set| FactValue::Flag { set, word: if set { "live" } else { "test" } })
            }
            Field::Account => optional(self.account.as_ref()),
            Field::InvoiceUrl => optional(self.invoice_url.as_ref()),
            Field::ReceiptUrl => optional(self.receipt_url.as_ref()),
            Field::DashboardUrl => optional(self.dashboard_url.as_ref()),
        }
    }
}

impl FactValue<'_> {
    /// The value as a text.
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text.as_ref()),
            Self::Money(money) => money.decimal().into(),
            Self::Time(at) => rfc3339(*at).into(),
            Self::Flag { word, .. } => Cow::Borrowed(word),
        }
    }
}

/// An instant as `2026-11-23T10:00:00Z`.
pub fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn words(text: &str) -> Option<FactValue<'_>> {
    (!text.is_empty()).then(|| FactValue::Text(text.into()))
}

fn optional(text: Option<&String>) -> Option<FactValue<'_>> {
    text.and_then(|text| words(text))
}

/// The first text that is not empty.
fn first(texts: &[&str]) -> Option<String> {
    texts.iter().find(|text| !text.is_empty()).map(|text| (*text).to_owned())
}

/// Seconds since 1970 in a snapshot event, a date in a thin one.
fn created(payload: &Value) -> Option<DateTime<Utc>> {
    match payload.pointer("/created")? {
        Value::Number(seconds) => DateTime::from_timestamp(seconds.as_i64()?, 0),
        Value::String(date) => DateTime::parse_from_rfc3339(date).ok().map(|at| at.to_utc()),
        _ => None,
    }
}

/// A year that RFC 3339 can write, whatever the time zone makes of its first and last day.
fn is_common_era(at: DateTime<Utc>) -> bool {
    (2..=9998).contains(&at.year())
}

fn connected_account(payload: &Value) -> Option<String> {
    let context = || text(payload, "/context").filter(|context| context.starts_with("acct_"));
    text(payload, "/account").or_else(context).map(str::to_owned)
}

#[cfg(test)]
mod tests;
