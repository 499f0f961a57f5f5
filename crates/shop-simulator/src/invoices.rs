//! Invoices: drafted, finalised, paid by card or outside Stripe, and credited afterwards.

use crate::json;
use crate::money::Currency;
use crate::payments::{Buyer, Method, Payment, Terms};
use crate::refunds;
use crate::world::{DAY, HOUR, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Draft,
    Open,
    Paid,
    Uncollectible,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Open => "open",
            Self::Paid => "paid",
            Self::Uncollectible => "uncollectible",
        }
    }
}

/// An invoice, as it is.
#[derive(Debug, Clone)]
pub(crate) struct Invoice {
    pub(crate) id: String,
    pub(crate) number: String,
    pub(crate) created: i64,
    pub(crate) currency: Currency,
    /// Minor units.
    pub(crate) total: i64,
    pub(crate) buyer: Buyer,
    pub(crate) subscription: Option<String>,
    /// Its `billing_reason`.
    pub(crate) reason: &'static str,
    /// Set if it is sent to the customer instead of charged.
    pub(crate) due: Option<i64>,
    pub(crate) status: Status,
    pub(crate) finalized_at: Option<i64>,
    pub(crate) paid_at: Option<i64>,
    pub(crate) given_up_at: Option<i64>,
    pub(crate) paid_outside: bool,
    pub(crate) attempts: i64,
    pub(crate) next_attempt: Option<i64>,
    /// Minor units of credit notes after the payment.
    pub(crate) credited: i64,
    /// The payment intent, and the charge that paid.
    pub(crate) payment: Option<(String, Option<String>)>,
}

/// A credit note for a paid invoice.
#[derive(Debug, Clone)]
pub(crate) struct CreditNote {
    pub(crate) id: String,
    pub(crate) created: i64,
    /// Minor units.
    pub(crate) amount: i64,
    /// The refund that gave the money back, if one did.
    pub(crate) refund: Option<String>,
    /// The entry in the customer's balance, if the credit went there.
    pub(crate) balance_transaction: Option<String>,
}

impl Invoice {
    /// A draft of a one-off invoice.
    pub(crate) fn draft(world: &mut World, at: i64, currency: Currency, total: i64, buyer: Buyer) -> Self {
        let id = world.id("in");
        let number = format!("SHOP-{:05}", world.random.between(1, 99_999));
        Self {
            id,
            number,
            created: at,
            currency,
            total,
            buyer,
            subscription: None,
            reason: "manual",
            due: None,
            status: Status::Draft,
            finalized_at: None,
            paid_at: None,
            given_up_at: None,
            paid_outside: false,
            attempts: 0,
            next_attempt: None,
            credited: 0,
            payment: None,
        }
    }

    /// The events of a draft that becomes an open invoice at that time.
    pub(crate) fn issue(&mut self, world: &mut World, at: i64) {
        self.emit(world, self.created, "invoice.created");
        let before = self.clone();
        self.status = Status::Open;
        self.finalized_at = Some(at);
        self.emit_change(world, at, "invoice.updated", &before);
        self.emit(world, at, "invoice.finalized");
        if self.due.is_some() {
            self.emit(world, at + 1, "invoice.sent");
        }
    }

    /// Charges the customer's card, after a failed attempt if `fails_first`.
    pub(crate) fn collect(&mut self, world: &mut World, at: i64, fails_first: bool) -> Payment {
        let mut payment = Payment::open(world, at, self.terms());
        self.payment = Some((payment.intent.clone(), None));
        if fails_first {
            payment.decline(world);
            self.fail_attempt(world, payment.now);
            payment.now += 3 * DAY;
        }
        payment.pay(world);
        self.payment = Some((payment.intent.clone(), Some(payment.charge.clone())));
        self.attempts += 1;
        self.settle(world, payment.now);
        self.emit(world, payment.now, "invoice.payment_succeeded");
        if !world.version(payment.now).is_before_basil() {
            let (id, view) = (world.id("inpay"), world.view(payment.now));
            world.emit(payment.now, "invoice_payment.paid", json::invoice_payment(self, &id, view));
        }
        payment.receive_balance_transaction(world);
        payment
    }

    /// The customer pays in cash or by a transfer that Stripe does not see.
    pub(crate) fn pay_outside(&mut self, world: &mut World, at: i64) {
        self.paid_outside = true;
        self.settle(world, at);
    }

    /// A credit note for a part of a paid invoice whose money is refunded.
    pub(crate) fn credit_by_refund(&mut self, world: &mut World, payment: &mut Payment) {
        let amount = self.currency.part(payment.remaining(), 30);
        refunds::run(world, payment, amount, refunds::Course::Succeeds);
        if let Some(refund) = payment.refunds.last() {
            let (id, created) = (world.id("cn"), refund.created);
            let refund = Some(refund.id.clone());
            self.credit(world, &CreditNote { id, created, amount, refund, balance_transaction: None });
        }
    }

    /// A credit note whose amount goes to the customer's balance: no money moves.
    pub(crate) fn credit_to_balance(&mut self, world: &mut World, at: i64) {
        let amount = self.currency.part(self.total, 20);
        let (id, balance) = (world.id("cn"), Some(world.id("cbtxn")));
        let created = at + world.random.between(HOUR, 9 * DAY);
        self.credit(world, &CreditNote { id, created, amount, refund: None, balance_transaction: balance });
    }

    /// Nothing is due: the invoice is paid at once.
    pub(crate) fn pay_nothing(&mut self, world: &mut World, at: i64) {
        self.settle(world, at);
        self.emit(world, at, "invoice.payment_succeeded");
    }

    /// Charges the customer's card three times in vain, and gives up. Returns when the first and the last
    /// attempt failed.
    pub(crate) fn fail_to_collect(&mut self, world: &mut World, at: i64) -> (i64, i64) {
        let terms = self.terms();
        let mut payment = Payment::open(world, at, terms);
        self.payment = Some((payment.intent.clone(), None));
        let mut failed = Vec::new();
        for _ in 0..3 {
            payment.decline(world);
            self.fail_attempt(world, payment.now);
            failed.push(payment.now);
            payment.now += 3 * DAY;
        }
        let (first, last) = (failed.first().copied().unwrap_or(at), failed.last().copied().unwrap_or(at));
        let before = self.clone();
        self.next_attempt = None;
        self.status = Status::Uncollectible;
        self.given_up_at = Some(last + 60);
        self.emit_change(world, last + 60, "invoice.updated", &before);
        self.emit(world, last + 60, "invoice.marked_uncollectible");
        (first, last)
    }

    fn terms(&self) -> Terms {
        Terms {
            currency: self.currency,
            amount: self.total,
            buyer: self.buyer.clone(),
            method: Method::Card,
            manual: false,
            invoice: Some(self.id.clone()),
            description: "Subscription update".to_owned(),
        }
    }

    fn credit(&mut self, world: &mut World, note: &CreditNote) {
        let before = self.clone();
        self.credited += note.amount;
        let view = world.view(note.created);
        world.emit(note.created, "credit_note.created", json::credit_note(note, self, view));
        self.emit_change(world, note.created, "invoice.updated", &before);
    }

    fn fail_attempt(&mut self, world: &mut World, at: i64) {
        let before = self.clone();
        self.attempts += 1;
        self.next_attempt = Some(at + 3 * DAY);
        self.emit_change(world, at, "invoice.updated", &before);
        self.emit(world, at, "invoice.payment_failed");
    }

    fn settle(&mut self, world: &mut World, at: i64) {
        let before = self.clone();
        self.status = Status::Paid;
        self.paid_at = Some(at);
        self.next_attempt = None;
        self.emit_change(world, at, "invoice.updated", &before);
        self.emit(world, at, "invoice.paid");
    }

    fn emit(&self, world: &mut World, at: i64, event_type: &str) {
        let view = world.view(at);
        world.emit(at, event_type, json::invoice(self, view));
    }

    fn emit_change(&self, world: &mut World, at: i64, event_type: &str, before: &Self) {
        let view = world.view(at);
        world.emit_change(at, event_type, || json::invoice(before, view), json::invoice(self, view));
    }
}
