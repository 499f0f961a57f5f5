//! How far an object has come, by the event's type and the object's own status.
//!
//! It decides only if neither the clock nor `previous_attributes` do. A status that can still change
//! ranks below those that cannot.

use crate::sources::stripe::event_type::parents_and_verb;
use crate::sources::stripe::json::exact_integer;
use serde_json::Value;

/// How far an object has come; a later one compares greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    stage: Stage,
    /// Stripe sends `updated` together with types that name what happened; those are preferred.
    names_what_happened: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// The event reports its creation.
    New,
    /// Nothing has resulted from it so far.
    Early,
    /// In progress, or of a kind that never ends.
    Open,
    /// Ended, but may still change: a payout that was paid can fail.
    Settled,
    /// Ended.
    Final,
    /// Deleted.
    Deleted,
}

impl Rank {
    /// The rank of an object in an event of this type.
    pub(super) fn of(event_type: &str, known_type: Option<&str>, object: &Value) -> Self {
        let (parents, verb) = parents_and_verb(event_type);
        let kind = text(object, "object").or(known_type).unwrap_or_else(|| kind_of(parents));
        let stage = match verb {
            "deleted" => Stage::Deleted,
            _ if flag(object, "deleted") == Some(true) => Stage::Deleted,
            "created" | "opened" => Stage::New,
            _ => stage(kind, verb, object),
        };
        Self { stage, names_what_happened: verb != "updated" }
    }

    /// Whether the object is deleted.
    pub(super) fn is_deleted(self) -> bool {
        self.stage == Stage::Deleted
    }
}

fn stage(kind: &str, verb: &str, object: &Value) -> Stage {
    let status = text(object, "status").unwrap_or_default();
    match (kind, status) {
        ("charge", _) => charge(status, object),
        ("checkout.session", "complete") => checkout_session(verb, object),
        ("payment_intent", "requires_payment_method")
            if object.get("last_payment_error").is_some_and(|error| !error.is_null()) =>
        {
            Stage::Open
        }

        ("invoice" | "quote", "draft")
        | ("payment_intent" | "setup_intent", "requires_payment_method" | "requires_confirmation")
        | ("payout" | "refund" | "topup", "pending")
        | ("subscription", "incomplete")
        | ("subscription_schedule", "not_started")
        | ("dispute", "warning_needs_response" | "needs_response") => Stage::Early,

        ("invoice", "uncollectible")
        | ("payment_intent", "requires_capture")
        | ("payout", "paid")
        | ("refund" | "topup", "succeeded") => Stage::Settled,

        ("invoice", "paid")
        | ("payment_intent" | "setup_intent", "succeeded")
        | ("payout" | "refund" | "topup", "failed")
        | ("topup", "reversed")
        | ("quote", "accepted")
        | ("subscription", "incomplete_expired")
        | ("subscription_schedule", "completed" | "released")
        | ("dispute", "won" | "lost" | "warning_closed" | "charge_refunded" | "prevented")
        | (_, "canceled" | "expired" | "void") => Stage::Final,

        // Shapes from before 2018 have a flag instead of the status.
        ("invoice", "") if flag(object, "paid") == Some(true) => Stage::Final,
        ("review", _) if flag(object, "open") == Some(false) => Stage::Final,
        _ => Stage::Open,
    }
}

fn charge(status: &str, object: &Value) -> Stage {
    let given_back = object.get("amount_refunded").and_then(exact_integer).unwrap_or_default();
    match status {
        _ if flag(object, "refunded") == Some(true) || given_back > 0 => Stage::Final,
        "pending" => Stage::Early,
        "failed" => Stage::Settled,
        _ if flag(object, "captured") == Some(false) => Stage::Open,
        "succeeded" => Stage::Settled,
        _ if flag(object, "paid") == Some(true) => Stage::Settled,
        _ => Stage::Open,
    }
}

/// A session can be complete before its payment has gone through.
fn checkout_session(verb: &str, object: &Value) -> Stage {
    match text(object, "payment_status") {
        Some("paid" | "no_payment_required") => Stage::Final,
        _ if verb.starts_with("async_payment_") => Stage::Final,
        _ => Stage::Settled,
    }
}

/// The kind of object that the type's parents name.
fn kind_of(parents: &str) -> &str {
    match parents {
        "charge.dispute" => "dispute",
        "charge.refund" => "refund",
        "customer.subscription" => "subscription",
        kind => kind,
    }
}

fn text<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get(key)?.as_str()
}

fn flag(object: &Value, key: &str) -> Option<bool> {
    object.get(key)?.as_bool()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Each pair of type and object must rank above the one before it.
    fn assert_rising(steps: &[(&str, Value)]) {
        let ranks: Vec<_> = steps.iter().map(|(kind, object)| Rank::of(kind, None, object)).collect();
        for (pair, step) in ranks.windows(2).zip(steps) {
            assert!(pair[0] < pair[1], "after {step:?}");
        }
    }

    #[test]
    fn the_life_of_each_kind_rises() {
        assert_rising(&[
            ("invoice.created", json!({"status": "draft"})),
            ("invoice.updated", json!({"status": "draft"})),
            ("invoice.finalized", json!({"status": "open"})),
            ("invoice.marked_uncollectible", json!({"status": "uncollectible"})),
            ("invoice.paid", json!({"status": "paid"})),
            ("invoice.deleted", json!({"status": "draft"})),
        ]);
        assert_rising(&[
            ("charge.pending", json!({"status": "pending"})),
            ("charge.succeeded", json!({"status": "succeeded", "captured": false})),
            ("charge.captured", json!({"status": "succeeded", "captured": true, "amount_refunded": 0})),
            ("charge.refunded", json!({"status": "succeeded", "amount_refunded": 1})),
        ]);
        assert_rising(&[
            ("payment_intent.created", json!({"status": "requires_payment_method"})),
            ("payment_intent.x", json!({"status": "requires_payment_method", "last_payment_error": null})),
            (
                "payment_intent.payment_failed",
                json!({"status": "requires_payment_method", "last_payment_error": {}}),
            ),
            ("payment_intent.amount_capturable_updated", json!({"status": "requires_capture"})),
            ("payment_intent.succeeded", json!({"status": "succeeded"})),
        ]);
        assert_rising(&[
            ("checkout.session.completed", json!({"status": "complete", "payment_status": "unpaid"})),
            (
                "checkout.session.async_payment_failed",
                json!({"status": "complete", "payment_status": "unpaid"}),
            ),
        ]);
        assert_rising(&[
            ("payout.created", json!({"status": "in_transit"})),
            ("payout.updated", json!({"status": "in_transit"})),
            ("payout.paid", json!({"status": "paid"})),
            ("payout.failed", json!({"status": "failed"})),
        ]);
        assert_rising(&[
            ("charge.dispute.updated", json!({"status": "under_review"})),
            ("charge.dispute.closed", json!({"status": "lost"})),
        ]);
        assert_rising(&[
            ("charge.refund.updated", json!({"status": "succeeded"})),
            ("refund.failed", json!({"status": "failed"})),
        ]);
        assert_rising(&[
            ("customer.subscription.updated", json!({"status": "active"})),
            ("customer.subscription.updated", json!({"status": "canceled"})),
            ("customer.subscription.deleted", json!({"status": "canceled"})),
        ]);
    }

    #[test]
    fn a_type_that_says_what_happened_goes_before_updated_in_one_stage() {
        let paid = json!({"object": "invoice", "status": "paid"});
        assert!(Rank::of("invoice.updated", None, &paid) < Rank::of("invoice.paid", None, &paid));
        assert!(
            Rank::of("invoice.finalized", None, &json!({"status": "open"}))
                < Rank::of("invoice.updated", None, &paid)
        );
    }

    #[test]
    fn what_says_nothing_is_open() {
        let unknown = Rank::of("", None, &Value::Null);
        assert_eq!(unknown.stage, Stage::Open);
        assert_eq!(Rank::of("x.updated", None, &json!([1])).stage, Stage::Open);
        assert_eq!(Rank::of("a.b", Some("invoice"), &json!({"paid": true})).stage, Stage::Final);
        assert_eq!(Rank::of("a.b", None, &json!({"deleted": true})).stage, Stage::Deleted);
        assert_eq!(Rank::of("v1.transfer.x", None, &json!({"status": "canceled"})).stage, Stage::Final);
    }
}
