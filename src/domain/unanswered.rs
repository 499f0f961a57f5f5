//! Events that were not accepted and whose sender waits for that before it does something important.
//!
//! Stripe waits up to 72 hours for `invoice.created` before it finalizes the invoice and charges the customer.

use chrono::{DateTime, TimeDelta, Utc};

/// How long the sender waits. After that the event delays nothing any more.
pub const SENDER_WAITS: TimeDelta = TimeDelta::hours(72);

/// An event without a valid signature is forgotten after this time, unless it was repeated. The sender would have
/// done so by then.
pub const REPEATED_WITHIN: TimeDelta = TimeDelta::hours(24);

/// A sender repeats an event that was not accepted. Before this time it may still be accepted soon.
const UNANSWERED_MIN: TimeDelta = TimeDelta::minutes(10);

/// An event without a valid signature must have been repeated after at least this time.
pub const REPEATED_AFTER: TimeDelta = TimeDelta::minutes(5);

/// An event whose sender waits for an answer and that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedEvent {
    /// The source that it was sent to.
    pub source: String,
    /// The sender's id of it.
    pub event_id: String,
    /// Its type.
    pub event_type: String,
    /// Whether it is of live mode.
    pub livemode: Option<bool>,
    /// Whether it was signed with a configured secret. Otherwise anyone can have sent it.
    pub is_signed: bool,
}

/// Such an event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnansweredEvent {
    /// The event. It is signed if any request with it was.
    pub event: ClaimedEvent,
    /// When it was first not accepted.
    pub first_at: DateTime<Utc>,
    /// When it was last not accepted.
    pub last_at: DateTime<Utc>,
}

impl UnansweredEvent {
    /// Whether it counts at this time. A single request without a valid signature does not: anyone can send one,
    /// and the sender would repeat it.
    pub fn counts(&self, now: DateTime<Utc>) -> bool {
        let waited = now.signed_duration_since(self.first_at);
        let is_likely = self.event.is_signed || self.last_at - self.first_at >= REPEATED_AFTER;
        is_likely && waited >= UNANSWERED_MIN && waited < SENDER_WAITS
    }

    /// Whether customers may be charged late because of it. Events that state no mode count as live.
    pub fn concerns_money(&self) -> bool {
        self.event.livemode != Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether an event counts that was first sent this many minutes ago, and last that many.
    fn counts(is_signed: bool, first: i64, last: i64) -> bool {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(9);
        let event = ClaimedEvent {
            source: "stripe".to_owned(),
            event_id: "evt_1".to_owned(),
            event_type: "invoice.created".to_owned(),
            livemode: Some(true),
            is_signed,
        };
        let ago = |minutes| now - TimeDelta::minutes(minutes);
        UnansweredEvent { event, first_at: ago(first), last_at: ago(last) }.counts(now)
    }

    #[test]
    fn a_signed_event_counts_after_ten_minutes_and_until_the_sender_no_longer_waits() {
        assert_eq!(
            [9, 10, 72 * 60 - 1, 72 * 60].map(|minutes| counts(true, minutes, minutes)),
            [false, true, true, false]
        );
    }

    #[test]
    fn an_event_that_anyone_can_have_sent_counts_only_if_it_was_repeated() {
        assert!(!counts(false, 600, 600) && !counts(false, 600, 596), "one request, and a burst");
        assert!(counts(false, 600, 595));
        assert!(!counts(false, 8, 1), "it may still be accepted soon");
    }
}
