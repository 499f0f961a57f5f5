//! Disputes: lost, won, partly won, won and lost again, and those that move no money.
//!
//! The dispute's `balance_transactions` hold what was withdrawn and given back, each with its fee, in the
//! currency of settlement. The list only grows, and every event carries all of it. `warning_*` is an inquiry;
//! `prevented` never became a dispute; the charge's `disputed` stays true after any of them.

use crate::books::UnknownPart;
use crate::json;
use crate::ledger::Entry;
use crate::money::Currency;
use crate::payments::Payment;
use crate::world::{DAY, HOUR, World};

/// What becomes of a dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    Lost,
    Won,
    /// A part comes back, settled in the charge's currency.
    PartlyWon,
    /// A part comes back, settled in another currency.
    PartlyWonElsewhere,
    /// The customer's bank takes the money a second time.
    WonThenLost,
    /// An appeal after a loss is won.
    LostThenWon,
    /// An inquiry that is closed: no money moves.
    Inquiry,
    /// An inquiry that becomes a dispute, and is lost.
    InquiryThenLost,
    /// Resolved by Stripe before it became a dispute: no money moves.
    Prevented,
}

/// A line of the dispute's `balance_transactions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) currency: Currency,
    /// Minor units of `currency`: negative if withdrawn.
    pub(crate) amount: i64,
    /// Minor units of `currency`: negative if given back.
    pub(crate) fee: i64,
}

/// A dispute, as it is.
#[derive(Debug, Clone)]
pub(crate) struct Dispute {
    pub(crate) id: String,
    pub(crate) created: i64,
    /// Minor units of the charge's currency.
    pub(crate) amount: i64,
    pub(crate) status: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) is_inquiry: bool,
    pub(crate) submissions: i64,
    pub(crate) transactions: Vec<Transaction>,
    settles_in: Currency,
    /// Whether events about its money have `previous_attributes`.
    has_previous: bool,
}

/// A customer disputes what remains of a payment, or a part of it.
pub(crate) fn run(world: &mut World, payment: &mut Payment, course: Course) {
    let before = payment.clone();
    payment.wait(world, 3 * DAY, 60 * DAY);
    let mut dispute = open(world, payment, course);
    payment.dispute = Some(dispute.id.clone());
    match course {
        Course::Prevented => begin(world, payment, &mut dispute, &before, "prevented"),
        Course::Inquiry => {
            begin(world, payment, &mut dispute, &before, "warning_needs_response");
            answer(world, payment, &mut dispute, "warning_under_review");
            close(world, payment, &mut dispute, "warning_closed");
        }
        Course::InquiryThenLost => {
            begin(world, payment, &mut dispute, &before, "warning_needs_response");
            escalate(world, payment, &mut dispute);
            close(world, payment, &mut dispute, "lost");
        }
        Course::Lost | Course::LostThenWon => {
            begin_with_money(world, payment, &mut dispute, &before);
            close(world, payment, &mut dispute, "lost");
        }
        Course::Won | Course::WonThenLost | Course::PartlyWon | Course::PartlyWonElsewhere => {
            begin_with_money(world, payment, &mut dispute, &before);
            answer(world, payment, &mut dispute, "under_review");
            give_back(world, payment, &mut dispute, course);
            close(world, payment, &mut dispute, "won");
        }
    }
    continue_after_the_end(world, payment, &mut dispute, course);
    payment.edit(world);
}

fn open(world: &mut World, payment: &Payment, course: Course) -> Dispute {
    let currency = payment.terms.currency;
    let settles_in = match course {
        Course::PartlyWon if !world.runs_on => currency,
        Course::PartlyWonElsewhere => currency.foreign(),
        _ => currency.settles_in(),
    };
    let share = world.random.pick([100, 100, 100, 60]);
    let prefix = if world.version(payment.now).is_before_basil() { "dp" } else { "du" };
    Dispute {
        id: world.id(prefix),
        created: payment.now,
        amount: currency.part(payment.remaining(), share),
        status: "needs_response",
        reason: world.random.pick(["fraudulent", "product_not_received", "subscription_canceled"]),
        is_inquiry: matches!(course, Course::Inquiry | Course::InquiryThenLost),
        submissions: 0,
        transactions: Vec::new(),
        settles_in,
        has_previous: world.random.percent(50),
    }
}

/// The dispute appears, and the charge is marked as disputed for good.
fn begin(
    world: &mut World,
    payment: &Payment,
    dispute: &mut Dispute,
    before: &Payment,
    status: &'static str,
) {
    dispute.status = status;
    emit(world, payment, "charge.dispute.created", dispute, dispute);
    payment.emit_charge(world, "charge.updated", before);
}

/// The dispute appears and its money is withdrawn. The first event may list the withdrawal already.
fn begin_with_money(world: &mut World, payment: &Payment, dispute: &mut Dispute, before: &Payment) {
    let earlier = dispute.clone();
    let listed_at_once = world.random.percent(50);
    if listed_at_once {
        add_withdrawal(world, payment, dispute);
    }
    begin(world, payment, dispute, before, "needs_response");
    if !listed_at_once {
        add_withdrawal(world, payment, dispute);
    }
    emit_withdrawal(world, payment, &earlier, dispute);
}

fn add_withdrawal(world: &mut World, payment: &Payment, dispute: &mut Dispute) {
    let fee = dispute.settles_in.price(15, 0);
    let amount = payment.terms.currency.convert(dispute.amount, dispute.settles_in);
    add_transaction(world, payment, dispute, -amount, fee);
}

fn emit_withdrawal(world: &mut World, payment: &Payment, earlier: &Dispute, dispute: &Dispute) {
    emit_money(world, payment, "charge.dispute.funds_withdrawn", earlier, dispute);
    world.books.withdrawn(&payment.account(), &dispute.id, dispute.amount);
}

/// An inquiry becomes a dispute.
fn escalate(world: &mut World, payment: &mut Payment, dispute: &mut Dispute) {
    payment.wait(world, 2 * DAY, 10 * DAY);
    let before = dispute.clone();
    dispute.status = "needs_response";
    dispute.is_inquiry = false;
    emit(world, payment, "charge.dispute.updated", &before, dispute);
    let earlier = dispute.clone();
    add_withdrawal(world, payment, dispute);
    emit_withdrawal(world, payment, &earlier, dispute);
}

/// The shop submits evidence.
fn answer(world: &mut World, payment: &mut Payment, dispute: &mut Dispute, status: &'static str) {
    payment.wait(world, HOUR, 8 * DAY);
    let before = dispute.clone();
    dispute.status = status;
    dispute.submissions += 1;
    emit(world, payment, "charge.dispute.updated", &before, dispute);
}

fn close(world: &mut World, payment: &mut Payment, dispute: &mut Dispute, status: &'static str) {
    if dispute.transactions.len() < 2 {
        payment.wait(world, 10 * DAY, 50 * DAY);
    }
    dispute.status = status;
    emit(world, payment, "charge.dispute.closed", dispute, dispute);
}

/// The bank gives back the amount or a part of it. The fee for receiving the dispute mostly stays.
fn give_back(world: &mut World, payment: &mut Payment, dispute: &mut Dispute, course: Course) {
    payment.wait(world, 10 * DAY, 50 * DAY);
    let currency = payment.terms.currency;
    let part = match course {
        Course::PartlyWon | Course::PartlyWonElsewhere => {
            let percent = world.random.between(20, 80);
            currency.part(dispute.amount, percent)
        }
        _ => dispute.amount,
    };
    let settled = currency.convert(part, dispute.settles_in);
    let fee_back = if world.random.percent(30) { -dispute.settles_in.price(15, 0) } else { 0 };
    let earlier = dispute.clone();
    dispute.status = "won";
    add_transaction(world, payment, dispute, settled, fee_back);
    emit_money(world, payment, "charge.dispute.funds_reinstated", &earlier, dispute);
    let is_partial = matches!(course, Course::PartlyWon | Course::PartlyWonElsewhere);
    if is_partial && dispute.settles_in != currency {
        world.books.reinstated_elsewhere(UnknownPart {
            dispute: dispute.id.clone(),
            charge: payment.charge.clone(),
            when: payment.now,
            currency,
            minor: part,
            settled_in: dispute.settles_in,
            settled_minor: settled,
        });
    } else {
        world.books.reinstated(&payment.account(), &dispute.id, part, dispute.amount - part);
    }
}

/// What follows on a decision: the bank takes the money again, or the shop's appeal is won.
fn continue_after_the_end(world: &mut World, payment: &mut Payment, dispute: &mut Dispute, course: Course) {
    match course {
        Course::WonThenLost => {
            payment.wait(world, 5 * DAY, 30 * DAY);
            let earlier = dispute.clone();
            dispute.status = "lost";
            add_withdrawal(world, payment, dispute);
            emit_withdrawal(world, payment, &earlier, dispute);
        }
        Course::LostThenWon => {
            give_back(world, payment, dispute, course);
            emit(world, payment, "charge.dispute.closed", dispute, dispute);
        }
        _ => {}
    }
}

fn add_transaction(world: &mut World, payment: &Payment, dispute: &mut Dispute, amount: i64, fee: i64) {
    let (id, created, currency) = (world.id("txn"), payment.now, dispute.settles_in);
    let category = if amount < 0 { "dispute" } else { "dispute_reversal" };
    let currencies = (payment.terms.currency, currency);
    world.ledger.add(Entry {
        source: Some(dispute.id.clone()),
        description: Some(format!("Chargeback of {}", payment.charge)),
        available_on: created,
        fee,
        ..Entry::new(&id, created, currencies, amount, ("adjustment", category))
    });
    dispute.transactions.push(Transaction { id, created, currency, amount, fee });
}

/// An event about the dispute's money.
fn emit_money(world: &mut World, payment: &Payment, event_type: &str, before: &Dispute, after: &Dispute) {
    let view = world.view(payment.now);
    let json = |dispute| json::dispute(dispute, payment, view);
    if after.has_previous {
        world.emit_with_previous(payment.now, event_type, &json(before), json(after));
    } else {
        world.emit(payment.now, event_type, json(after));
    }
}

fn emit(world: &mut World, payment: &Payment, event_type: &str, before: &Dispute, after: &Dispute) {
    let view = world.view(payment.now);
    let json = |dispute| json::dispute(dispute, payment, view);
    world.emit_change(payment.now, event_type, || json(before), json(after));
}
