//! An event that has a value for every property: for the write test, and to test which columns can hold
//! which values.

use crate::domain::money::Money;
use crate::domain::summary::{EventOutcome, EventStatus, EventSummary, Links, ObjectSummary, Person};
use chrono::{DateTime, Utc};

/// The ids of the event and the object of the write test. No sender uses such ids.
const EVENT: &str = "evt_eventbridge_write_test";
const OBJECT: &str = "in_eventbridge_write_test";

/// A paid invoice of no customer, at this time.
pub(super) fn example(at: DateTime<Utc>) -> EventSummary {
    let text = |text: &str| Some(text.to_owned());
    let link = || text("https://example.com/write-test");
    let currency = "eur".parse().ok();
    let nothing = currency.map(|currency| Money::from_minor(0, currency));
    let state = "EUR 0.00 · write-test@example.com";
    EventSummary {
        event_id: EVENT.to_owned(),
        event_type: "invoice.paid".to_owned(),
        source: "eventbridge".to_owned(),
        title: format!("Invoice WRITE-TEST paid · {state}"),
        status: EventStatus::Success,
        outcome: EventOutcome::Paid,
        reason: text("Nothing: this is a write test"),
        amount: nothing,
        collected: nothing,
        occurred_at: Some(at),
        received_at: at,
        livemode: Some(false),
        account: text("acct_eventbridge_write_test"),
        object: ObjectSummary {
            kind: text("invoice"),
            id: text(OBJECT),
            status: text("paid"),
            title: format!("Invoice WRITE-TEST paid · {state}"),
            currency,
            amount: nothing,
            amount_refunded: nothing,
            collected: nothing,
            due_at: Some(at),
            next_attempt_at: Some(at),
            attempts: Some(1),
            interval: text("month"),
            cancels_at: Some(at),
            dispute_fee: nothing,
            person: Person {
                id: text("cus_eventbridge_write_test"),
                name: text("EventBridge write test"),
                email: text("write-test@example.com"),
            },
            document_number: text("WRITE-TEST"),
            description: text("A write test; this page is removed again."),
            links: Links { invoice: link(), receipt: link(), dashboard: link() },
        },
    }
}
