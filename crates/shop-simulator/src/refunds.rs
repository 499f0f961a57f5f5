//! Refunds: those that succeed, fail later or are canceled, and the Refund objects of uncaptured money.
//!
//! A refund counts when it is created, and no longer when it fails or is canceled. The charge's events
//! (`charge.refunded`, `charge.refund.updated`) repeat that.

use crate::books::Why;
use crate::json;
use crate::ledger::Entry;
use crate::payments::{Method, Payment, Stage};
use crate::world::{DAY, HOUR, World};

/// What becomes of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    Succeeds,
    Fails,
    IsCanceled,
}

/// Why a Refund object exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// The shop gives money back.
    Real,
    /// Stripe, before Basil, records money that was authorised and never captured.
    Released,
}

/// A Refund object, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refund {
    pub(crate) id: String,
    /// Minor units.
    pub(crate) amount: i64,
    pub(crate) created: i64,
    pub(crate) status: &'static str,
    pub(crate) reason: Option<&'static str>,
    pub(crate) balance_transaction: Option<String>,
    pub(crate) failure_balance_transaction: Option<String>,
    pub(crate) failure_reason: Option<&'static str>,
    /// Whether the bank's reference is known.
    pub(crate) has_reference: bool,
    pub(crate) note: Option<&'static str>,
    purpose: Purpose,
}

impl Refund {
    /// The Refund of the uncaptured money of a payment, before Basil.
    pub(crate) fn of_released(world: &mut World, payment: &Payment) -> Self {
        let expired = payment.stage == Stage::Canceled { expired: true };
        let captured = payment.captured > 0;
        let settles = captured && world.options.undocumented.releases_have_balance_transaction;
        Self {
            reason: expired.then_some("expired_uncaptured_charge"),
            balance_transaction: settles.then(|| world.id("txn")),
            purpose: Purpose::Released,
            ..Self::new(world, payment, payment.released)
        }
    }

    pub(crate) fn is_of_released(&self) -> bool {
        self.purpose == Purpose::Released
    }

    /// Whether it is, as it stands, money that the customer got or will get.
    pub(crate) fn moves_money(&self) -> bool {
        self.purpose == Purpose::Real && !matches!(self.status, "failed" | "canceled")
    }

    fn new(world: &mut World, payment: &Payment, amount: i64) -> Self {
        let prefix = match payment.terms.method {
            Method::Card => "re",
            Method::Debit => "pyr",
        };
        Self {
            id: world.id(prefix),
            amount,
            created: payment.now,
            status: "succeeded",
            reason: None,
            balance_transaction: None,
            failure_balance_transaction: None,
            failure_reason: None,
            has_reference: false,
            note: None,
            purpose: Purpose::Real,
        }
    }
}

/// The shop refunds that much of a payment.
pub(crate) fn run(world: &mut World, payment: &mut Payment, amount: i64, course: Course) {
    let before = payment.clone();
    payment.wait(world, HOUR, 25 * DAY);
    let refund = create(world, payment, amount, course);
    let id = refund.id.clone();
    payment.refunds.push(refund.clone());
    if let Some(transaction) = &refund.balance_transaction {
        enter(world, payment, &refund, transaction, false);
    }
    emit(world, payment, "refund.created", &refund, &refund);
    world.books.refunded(&payment.account(), &id, amount);
    payment.emit_charge(world, "charge.refunded", &before);
    match course {
        Course::Succeeds => arrive(world, payment),
        Course::Fails => fail(world, payment),
        Course::IsCanceled => cancel(world, payment),
    }
}

fn create(world: &mut World, payment: &Payment, amount: i64, course: Course) -> Refund {
    let debit = payment.terms.method == Method::Debit;
    let status = match course {
        Course::IsCanceled => world.random.pick(["pending", "requires_action"]),
        Course::Fails => world.random.pick(["pending", "succeeded"]),
        Course::Succeeds if debit => "pending",
        Course::Succeeds => "succeeded",
    };
    Refund {
        status,
        reason: world.random.pick([None, Some("requested_by_customer"), Some("duplicate")]),
        balance_transaction: Some(world.id("txn")),
        ..Refund::new(world, payment, amount)
    }
}

/// The refund's money leaves the balance, or is back.
fn enter(world: &mut World, payment: &Payment, refund: &Refund, id: &str, is_back: bool) {
    let currency = payment.terms.currency;
    let settles_in = currency.settles_in();
    let amount = currency.convert(refund.amount, settles_in) * if is_back { 1 } else { -1 };
    let kind = match (payment.terms.method, is_back) {
        (_, true) => ("refund_failure", "refund_failure"),
        (Method::Card, false) => ("refund", "refund"),
        (Method::Debit, false) => ("payment_refund", "refund"),
    };
    world.ledger.add(Entry {
        source: Some(refund.id.clone()),
        description: Some("REFUND FOR CHARGE".to_owned()),
        available_on: payment.now,
        ..Entry::new(id, payment.now, (currency, settles_in), amount, kind)
    });
}

/// The money reaches the customer, and the bank's reference becomes known.
fn arrive(world: &mut World, payment: &mut Payment) {
    payment.wait(world, DAY, 5 * DAY);
    change(world, payment, &["refund.updated", "charge.refund.updated"], |refund| {
        refund.status = "succeeded";
        refund.has_reference = true;
    });
}

fn fail(world: &mut World, payment: &mut Payment) {
    let before = payment.clone();
    payment.wait(world, 2 * DAY, 12 * DAY);
    let reason = world.random.pick(["expired_or_canceled_card", "lost_or_stolen_card", "unknown"]);
    let transaction = give_back(world, payment);
    let types = ["refund.failed", "refund.updated", "charge.refund.updated"];
    change(world, payment, &types, |refund| {
        refund.status = "failed";
        refund.failure_reason = Some(reason);
        refund.failure_balance_transaction = Some(transaction);
    });
    undo(world, payment, &before, Why::RefundFailed);
}

/// The shop cancels the refund. A later change of it does not cancel it again.
fn cancel(world: &mut World, payment: &mut Payment) {
    let before = payment.clone();
    payment.wait(world, HOUR, 4 * DAY);
    let transaction = give_back(world, payment);
    change(world, payment, &["refund.updated", "charge.refund.updated"], |refund| {
        refund.status = "canceled";
        refund.failure_balance_transaction = Some(transaction);
    });
    undo(world, payment, &before, Why::RefundCanceled);
    payment.wait(world, HOUR, 2 * DAY);
    change(world, payment, &["refund.updated"], |refund| refund.note = Some("customer informed"));
}

/// The money of the last refund is in the balance again; the balance transaction's id.
fn give_back(world: &mut World, payment: &Payment) -> String {
    let id = world.id("txn");
    if let Some(refund) = payment.refunds.last() {
        enter(world, payment, refund, &id, true);
    }
    id
}

/// The money of the last refund is the shop's again.
fn undo(world: &mut World, payment: &Payment, before: &Payment, why: Why) {
    if let Some(refund) = payment.refunds.last() {
        world.books.refund_undone(&payment.account(), &refund.id, refund.amount, why);
        payment.emit_charge(world, "charge.updated", before);
    }
}

/// Changes the last refund, and emits those events about it.
fn change(world: &mut World, payment: &mut Payment, types: &[&str], edit: impl FnOnce(&mut Refund)) {
    let Some(refund) = payment.refunds.last_mut() else { return };
    let before = refund.clone();
    edit(refund);
    let after = refund.clone();
    for event_type in types {
        emit(world, payment, event_type, &before, &after);
    }
}

fn emit(world: &mut World, payment: &Payment, event_type: &str, before: &Refund, after: &Refund) {
    let view = world.view(payment.now);
    let json = |refund| json::refund(refund, payment, view);
    world.emit_change(payment.now, event_type, || json(before), json(after));
}
