//! The summary of an event, in typed fields that depend on neither its source nor its destination.
//!
//! A source builds an [`EventSummary`] from the stored bytes; a destination shows it. So a destination
//! never parses a body, and a new source or destination needs no change in the other. A fact that
//! a source does not know is `None`: no value is made up.

use super::event::StoredEvent;
use super::money::{Currency, Money};
use chrono::{DateTime, Datelike, Utc};

/// Joins the parts of a title line. No event id contains it, since none has a blank.
pub const TITLE_SEPARATOR: &str = " · ";

/// What happened, and the state of the object after it.
#[derive(Debug, Clone, PartialEq)]
pub struct EventSummary {
    /// The sender's id of the event.
    pub event_id: String,
    /// The type, such as `invoice.paid`; empty if the sender gave none.
    pub event_type: String,
    /// The name of the source instance that received it.
    pub source: String,
    /// One line about what happened: `Invoice 0042 paid · EUR 120.00 · jane@example.com`.
    pub title: String,
    /// Whether the type reports a success or a failure.
    pub status: EventStatus,
    /// The outcome for the money.
    pub outcome: EventOutcome,
    /// Why it failed, the reason that was given for it, or who must do what.
    pub reason: Option<String>,
    /// The amount in the sense of the type: what was paid, refunded, or remains to be paid.
    pub amount: Option<Money>,
    /// How the event changes what was collected: customers' money in the currency of their payment, tax included,
    /// before all fees. The sum over all events of an account is what was collected. `None` if it changes nothing.
    pub collected: Option<Money>,
    /// When it happened, between the years 2 and 9998.
    pub occurred_at: Option<DateTime<Utc>>,
    /// When this service received it.
    pub received_at: DateTime<Utc>,
    /// Whether real money is concerned.
    pub livemode: Option<bool>,
    /// The account at the sender on whose behalf the event was sent.
    pub account: Option<String>,
    /// The object of the event.
    pub object: ObjectSummary,
}

/// The state of an object after an event.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ObjectSummary {
    /// The sender's word for its kind, such as `invoice`.
    pub kind: Option<String>,
    /// The sender's id of it.
    pub id: Option<String>,
    /// The sender's word for its status, such as `past_due`.
    pub status: Option<String>,
    /// One line about its state, independent of the event: `Invoice 0042 open · EUR 120.00 · jane@example.com`.
    pub title: String,
    /// The currency, also if there is no amount.
    pub currency: Option<Currency>,
    /// Its own amount, whatever the event is about.
    pub amount: Option<Money>,
    /// The refunded part of it.
    pub amount_refunded: Option<Money>,
    /// How it has changed what was collected, by all of its events so far. The sum over all objects equals the sum
    /// of [`EventSummary::collected`] over all events.
    pub collected: Option<Money>,
    /// By when it must be paid or answered, while that is open.
    pub due_at: Option<DateTime<Utc>>,
    /// When the sender tries next to collect it.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// How often the sender tried; at least 1.
    pub attempts: Option<u32>,
    /// How often it recurs: `month`, `3 months`.
    pub interval: Option<String>,
    /// When it ends, if that is known and has not happened.
    pub cancels_at: Option<DateTime<Utc>>,
    /// The fees of a dispute so far. They may settle in another currency.
    pub dispute_fee: Option<Money>,
    /// The person or company that it concerns.
    pub person: Person,
    /// The number of its document, such as an invoice's, or the document's id if it has no number.
    pub document_number: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Pages about it.
    pub links: Links,
}

/// A customer, as far as the object names one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Person {
    /// The sender's id.
    pub id: Option<String>,
    /// The name.
    pub name: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
}

/// Addresses of pages about an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Links {
    /// The invoice, as its recipient sees it.
    pub invoice: Option<String>,
    /// The receipt of the payment.
    pub receipt: Option<String>,
    /// The object or the event in the sender's dashboard.
    pub dashboard: Option<String>,
}

/// Whether an event's type reports a success or a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventStatus {
    /// A success.
    Success,
    /// A failure.
    Failed,
    /// Neither, or not yet.
    Pending,
}

/// What an event means, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventOutcome {
    /// Money of a customer came in.
    Paid,
    /// A document is marked as paid, and all of the money came in elsewhere.
    PaidElsewhere,
    /// It was attempted and did not work.
    Failed,
    /// All of it was refunded, or a refund whose share is unknown.
    Refunded,
    /// A part of it was refunded.
    PartlyRefunded,
    /// A customer disputes it, and the dispute is open.
    Disputed,
    /// A dispute was won.
    Won,
    /// A dispute was lost.
    Lost,
    /// It ended without effect: canceled, voided, expired or released.
    Canceled,
    /// It is due and not paid.
    PastDue,
    /// A person must act; the reason says who.
    ActionRequired,
    /// Money goes or went to the account's own bank.
    Payout,
    /// Money comes or came from the account's own bank.
    TopUp,
    /// Money moves between this account and another one.
    Transfer,
    /// A movement of the account's own money was undone.
    Reversed,
    /// None of these: information only.
    Info,
}

impl EventSummary {
    /// Builds a summary from the stored columns of an event, without its body: for an event that its source
    /// does not know, or whose source is no longer configured. The meaning of its type is then unknown too.
    pub fn from_envelope(event: &StoredEvent) -> Self {
        let facts = &event.facts;
        let name = if facts.event_type.is_empty() { "Event" } else { &facts.event_type };
        let title = |name: &str| {
            let parts = [Some(name), facts.object_id.as_deref()];
            parts.into_iter().flatten().collect::<Vec<_>>().join(TITLE_SEPARATOR)
        };
        Self {
            event_id: event.event_id.clone(),
            event_type: facts.event_type.clone(),
            source: event.source.clone(),
            title: title(name),
            status: EventStatus::Pending,
            outcome: EventOutcome::Info,
            reason: None,
            amount: None,
            collected: None,
            occurred_at: facts.created.filter(|at| is_writable(*at)),
            received_at: event.received_at,
            livemode: facts.livemode,
            account: facts.account.clone(),
            object: ObjectSummary {
                kind: facts.object_type.clone(),
                id: facts.object_id.clone(),
                title: title(facts.object_type.as_deref().unwrap_or("Object")),
                ..ObjectSummary::default()
            },
        }
    }

    /// The same with the amount and the movement of the object in place of the event's own: what the object's
    /// page shows.
    #[must_use]
    pub fn of_its_object(&self) -> Self {
        Self { amount: self.object.amount, collected: self.object.collected, ..self.clone() }
    }
}

impl EventStatus {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Pending => "pending",
        }
    }
}

impl EventOutcome {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "Paid",
            Self::PaidElsewhere => "Paid outside Stripe",
            Self::Failed => "Failed",
            Self::Refunded => "Refunded",
            Self::PartlyRefunded => "Partly refunded",
            Self::Disputed => "Disputed",
            Self::Won => "Won",
            Self::Lost => "Lost",
            Self::Canceled => "Canceled",
            Self::PastDue => "Past due",
            Self::ActionRequired => "Action required",
            Self::Payout => "Payout",
            Self::TopUp => "Top-up",
            Self::Transfer => "Transfer",
            Self::Reversed => "Reversed",
            Self::Info => "Info",
        }
    }
}

/// Whether RFC 3339 can represent the year in every time zone.
pub fn is_writable(at: DateTime<Utc>) -> bool {
    (2..=9998).contains(&at.year())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{EventFacts, EventKey};

    fn summary(facts: EventFacts) -> EventSummary {
        EventSummary::from_envelope(&StoredEvent {
            key: EventKey(1),
            source: "gone".to_owned(),
            event_id: "1".to_owned(),
            facts,
            carries_state: true,
            received_at: DateTime::UNIX_EPOCH,
            payload: "not JSON".into(),
        })
    }

    #[test]
    fn an_envelope_alone_makes_a_summary() {
        let built = summary(EventFacts {
            event_type: "issue.import_failed".to_owned(),
            object_id: Some("42".to_owned()),
            object_type: Some("issue".to_owned()),
            created: Some(DateTime::UNIX_EPOCH),
            ..EventFacts::default()
        });
        // What a type means is its source's knowledge.
        assert_eq!((built.title.as_str(), built.status), ("issue.import_failed · 42", EventStatus::Pending));
        assert_eq!(built.object.title, "issue · 42");
        assert_eq!(built.occurred_at, Some(DateTime::UNIX_EPOCH));
        let bare = summary(EventFacts::default());
        assert_eq!((bare.title.as_str(), bare.object.title.as_str()), ("Event", "Object"));
        assert_eq!((bare.status, bare.outcome), (EventStatus::Pending, EventOutcome::Info));
    }
}
