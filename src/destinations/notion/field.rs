//! The properties that a page can show: one table, a row for each.
//!
//! A user's column under one of these names is filled; any other column is left alone. A new property
//! is one row here and, if no field of [`EventSummary`] has its value yet, one field there.

use super::column::ColumnKind;
use crate::domain::money::Money;
use crate::domain::summary::EventSummary;
use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// One value, before it takes the type of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue<'a> {
    /// A text, such as an id, an address or a link.
    Text(Cow<'a, str>),
    /// An amount.
    Money(Money),
    /// A number of things.
    Count(u32),
    /// An instant.
    Time(DateTime<Utc>),
    /// Yes or no, and the word for it.
    Flag {
        /// Yes or no.
        set: bool,
        /// The word that stands for it in a text.
        word: &'static str,
    },
}

/// Which values a property has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Values {
    /// Any value, which may contain a customer's data.
    Any,
    /// Words of a small vocabulary, without a customer's data.
    Words,
    /// Only these words, each with the colour of its option.
    Options(&'static [(&'static str, &'static str)]),
}

/// A row of the table.
pub(super) struct Row {
    /// The name as documented.
    pub(super) name: &'static str,
    /// Its content, as documented.
    pub(super) about: &'static str,
    /// The type that a new column gets.
    pub(super) kind: ColumnKind,
    /// Which values it can have.
    pub(super) values: Values,
    /// Reads it from a summary; the zone decides to which month an event belongs.
    value: for<'a> fn(&'a EventSummary, Tz) -> Option<FieldValue<'a>>,
}

macro_rules! fields {
    ($(#[doc = $about:literal] $name:ident: $kind:ident, $values:expr, $value:expr;)+) => {
        /// A property that a page can show.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Field {
            $(#[doc = $about] $name,)+
        }

        impl Field {
            /// Every property, in the order in which a new database shows them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The row of the table.
            pub(super) fn row(self) -> &'static Row {
                match self {
                    $(Self::$name => {
                        static ROW: Row = Row {
                            name: stringify!($name),
                            about: $about,
                            kind: ColumnKind::$kind,
                            values: $values,
                            value: $value,
                        };
                        &ROW
                    })+
                }
            }
        }
    };
}

fields! {
    /// the event's id: the page's key
    EventId: RichText, Values::Any, |event, _| text(&event.event_id);
    /// `invoice.paid`
    EventType: Select, Values::Words, |event, _| text(&event.event_type);
    /// `stripe`
    Source: Select, Values::Words, |event, _| text(&event.source);
    /// `success`, `failed` or `pending`, from the end of the event's type; `Outcome` says what happened
    Status: Select, Values::Options(STATUSES), |event, _| text(event.status.as_str());
    /// the customer's e-mail address
    CustomerEmail: Email, Values::Any, |event, _| optional(event.object.person.email.as_ref());
    /// the customer's id
    Customer: RichText, Values::Any, |event, _| optional(event.object.person.id.as_ref());
    /// the invoice's number, or its id if it has none
    InvoiceNumber: RichText, Values::Any, |event, _| optional(event.object.document_number.as_ref());
    /// `EUR`
    Currency: Select, Values::Words, |event, _| event.object.currency.map(|code| owned(code.to_string()));
    /// the amount in the sense of the type, in major units
    Amount: Number, Values::Any, |event, _| event.amount.map(FieldValue::Money);
    /// how customers' money changed: the only column that may be added up, for each `Currency`
    Collected: Number, Values::Any, |event, _| event.collected.map(FieldValue::Money);
    /// the id of the object that the event is about
    ObjectId: RichText, Values::Any, |event, _| optional(event.object.id.as_ref());
    /// `invoice`
    ObjectType: Select, Values::Words, |event, _| optional(event.object.kind.as_ref());
    /// the object's own status
    ObjectStatus: Select, Values::Words, |event, _| optional(event.object.status.as_ref());
    /// Paid, Paid outside Stripe, Failed, Refunded, Partly refunded, Disputed, Won, Lost, Canceled, Past due, Action required, Payout, Top-up, Transfer, Reversed, Info
    Outcome: Select, Values::Options(OUTCOMES), |event, _| text(event.outcome.as_str());
    /// the customer's name
    CustomerName: RichText, Values::Any, |event, _| optional(event.object.person.name.as_ref());
    /// what it was for
    Description: RichText, Values::Any, |event, _| optional(event.object.description.as_ref());
    /// why it failed, the reason given, or who must do what
    Reason: RichText, Values::Any, |event, _| optional(event.reason.as_ref());
    /// by when it must be paid or answered, while that is open
    DueAt: Date, Values::Any, |event, _| event.object.due_at.map(FieldValue::Time);
    /// when the invoice is charged next
    NextAttemptAt: Date, Values::Any, |event, _| event.object.next_attempt_at.map(FieldValue::Time);
    /// how often the invoice was charged
    Attempts: Number, Values::Any, |event, _| event.object.attempts.map(FieldValue::Count);
    /// `month`, `3 months`: how often a subscription or price recurs
    Interval: Select, Values::Words, |event, _| optional(event.object.interval.as_ref());
    /// when the subscription will end
    CancelsAt: Date, Values::Any, |event, _| event.object.cancels_at.map(FieldValue::Time);
    /// the fees of a dispute so far
    DisputeFee: Number, Values::Any, |event, _| event.object.dispute_fee.map(FieldValue::Money);
    /// the currency of these fees
    DisputeFeeCurrency: Select, Values::Words, |event, _| event.object.dispute_fee.map(|fee| owned(fee.currency().to_string()));
    /// when it happened
    OccurredAt: Date, Values::Any, |event, _| event.occurred_at.map(FieldValue::Time);
    /// `2026-11`, in `REPORT_TIMEZONE`
    Month: Select, Values::Words, month;
    /// `JPY 5,000`
    AmountText: RichText, Values::Any, |event, _| event.amount.map(|amount| owned(amount.to_string()));
    /// the refunded amount
    AmountRefunded: Number, Values::Any, |event, _| event.object.amount_refunded.map(FieldValue::Money);
    /// live mode or test mode
    Livemode: Checkbox, Values::Words, |event, _| event.livemode.map(livemode);
    /// the connected account
    Account: RichText, Values::Any, |event, _| optional(event.account.as_ref());
    /// the invoice's hosted page
    InvoiceUrl: Url, Values::Any, |event, _| optional(event.object.links.invoice.as_ref());
    /// the receipt
    ReceiptUrl: Url, Values::Any, |event, _| optional(event.object.links.receipt.as_ref());
    /// the page in the sender's dashboard
    DashboardUrl: Url, Values::Any, |event, _| optional(event.object.links.dashboard.as_ref());
    /// the id of the latest event of the object
    LastEventId: RichText, Values::Any, |event, _| text(&event.event_id);
}

/// The words of `Status` with their colours.
const STATUSES: &[(&str, &str)] = &[("success", "green"), ("failed", "red"), ("pending", "yellow")];

/// The words of `Outcome` with their colours.
const OUTCOMES: &[(&str, &str)] = &[
    ("Paid", "green"),
    ("Paid outside Stripe", "green"),
    ("Failed", "red"),
    ("Refunded", "orange"),
    ("Partly refunded", "yellow"),
    ("Disputed", "purple"),
    ("Won", "green"),
    ("Lost", "red"),
    ("Canceled", "gray"),
    ("Past due", "orange"),
    ("Action required", "pink"),
    ("Payout", "brown"),
    ("Top-up", "brown"),
    ("Transfer", "brown"),
    ("Reversed", "gray"),
    ("Info", "blue"),
];

impl Field {
    /// The name as documented.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What is in it, in a sentence.
    pub fn about(self) -> &'static str {
        self.row().about.trim()
    }

    /// Whether a new database gets a column for it. `Status` follows the original service's rule, by which most types
    /// are pending; tables that have it keep it.
    pub fn is_offered(self) -> bool {
        self != Self::Status
    }

    /// Its value, if the event has one.
    pub fn value(self, summary: &EventSummary, zone: Tz) -> Option<FieldValue<'_>> {
        (self.row().value)(summary, zone)
    }

    /// Whether its values come from a small vocabulary, without a customer's data.
    ///
    /// Others, such as names and ids, have more different values than a select can have options.
    pub fn is_vocabulary(self) -> bool {
        !matches!(self.row().values, Values::Any)
    }

    /// Whether it is a number or a time.
    pub fn is_figure(self) -> bool {
        matches!(self.row().kind, ColumnKind::Number | ColumnKind::Date)
    }
}

impl FieldValue<'_> {
    /// An owned copy of the value.
    pub fn into_owned(self) -> FieldValue<'static> {
        match self {
            Self::Text(text) => FieldValue::Text(text.into_owned().into()),
            Self::Money(money) => FieldValue::Money(money),
            Self::Count(count) => FieldValue::Count(count),
            Self::Time(at) => FieldValue::Time(at),
            Self::Flag { set, word } => FieldValue::Flag { set, word },
        }
    }

    /// The value as a text.
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text.as_ref()),
            Self::Money(money) => money.decimal().into(),
            Self::Count(count) => count.to_string().into(),
            Self::Time(at) => rfc3339(*at).into(),
            Self::Flag { word, .. } => Cow::Borrowed(word),
        }
    }
}

/// An instant as `2026-11-23T10:00:00Z`.
pub fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A name without case, spaces and underscores, for comparison if no exact match exists.
pub fn folded(name: &str) -> String {
    name.chars().filter(|c| !c.is_whitespace() && *c != '_').flat_map(char::to_lowercase).collect()
}

fn text(text: &str) -> Option<FieldValue<'_>> {
    (!text.is_empty()).then(|| FieldValue::Text(text.into()))
}

fn optional(value: Option<&String>) -> Option<FieldValue<'_>> {
    value.and_then(|value| text(value))
}

fn owned(text: String) -> FieldValue<'static> {
    FieldValue::Text(text.into())
}

fn month(event: &EventSummary, zone: Tz) -> Option<FieldValue<'_>> {
    event.occurred_at.map(|at| owned(at.with_timezone(&zone).format("%Y-%m").to_string()))
}

fn livemode(is_live: bool) -> FieldValue<'static> {
    FieldValue::Flag { set: is_live, word: if is_live { "live" } else { "test" } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destinations::notion::example::example;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_known_names_fold_to_the_same() {
        let folds: BTreeSet<_> = Field::ALL.iter().map(|field| folded(field.name())).collect();
        assert_eq!(folds.len(), Field::ALL.len());
        assert_eq!(folded("customer E_mail"), folded("Customer_Email"));
    }

    #[test]
    fn each_property_has_a_value_in_an_event_that_has_everything() {
        let event = example(DateTime::UNIX_EPOCH);
        for field in Field::ALL {
            assert!(field.value(&event, Tz::UTC).is_some(), "{}", field.name());
        }
    }

    #[test]
    fn the_zone_decides_to_which_month_an_event_belongs() {
        let event = example(DateTime::from_timestamp(1_701_399_600, 0).expect("a time"));
        let month = |zone| Field::Month.value(&event, zone).map(|month| month.to_text().into_owned());
        assert_eq!(month(Tz::UTC).as_deref(), Some("2023-12"));
        assert_eq!(month(chrono_tz::US::Samoa).as_deref(), Some("2023-11"));
    }
}
