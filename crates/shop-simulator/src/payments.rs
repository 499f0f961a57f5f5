//! Payments: an intent and its charge, from the first attempt to the capture, the release or the return.
//!
//! Stripe's changelog of `2025-03-31.basil` ("Partially capturing or canceling payments no longer creates a
//! Refund") describes both behaviours: before, a Refund object, `refund.created` and `charge.refunded` for
//! uncaptured money; since, none of them. `charge.expired`, `charge.captured` and `payment_intent.canceled`
//! are sent in both.

use crate::books::Account;
use crate::json::{self, Failure};
use crate::ledger::{Entry, charge_fee};
use crate::money::Currency;
use crate::refunds::Refund;
use crate::world::{DAY, HOUR, World};

/// A person who buys. Guests have no customer object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Buyer {
    pub(crate) customer: Option<String>,
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) created: i64,
}

impl Buyer {
    /// A buyer known as a customer, with the event of its creation.
    pub(crate) fn customer(world: &mut World, at: i64) -> Self {
        let buyer = Self { customer: Some(world.id("cus")), ..Self::guest(world, at) };
        let view = world.view(at);
        world.emit(at, "customer.created", json::customer(&buyer, view));
        buyer
    }

    pub(crate) fn guest(world: &mut World, at: i64) -> Self {
        let number = world.random.between(1, 9999);
        Self {
            customer: None,
            email: format!("customer-{number}@example.com"),
            name: format!("Sample Customer {number}"),
            created: at,
        }
    }
}

/// How the customer pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Card,
    /// A debit of a bank account: it succeeds days later, and may come back after that.
    Debit,
}

/// What is to be paid.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) currency: Currency,
    /// Minor units.
    pub(crate) amount: i64,
    pub(crate) buyer: Buyer,
    pub(crate) method: Method,
    /// Whether the shop captures later.
    pub(crate) manual: bool,
    pub(crate) invoice: Option<String>,
    pub(crate) description: String,
}

/// Where a payment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not attempted yet.
    Open,
    /// The customer must authenticate.
    ActionRequired,
    /// The last attempt failed, or its money came back.
    Failed,
    /// A debit is on its way.
    Processing,
    /// Authorised, not captured to the end.
    Authorized,
    Succeeded,
    /// The authorisation ended without a capture.
    Canceled {
        expired: bool,
    },
}

/// How one capture relates to the others of its authorisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capture {
    /// There is no other.
    Only,
    /// More are to come.
    More,
    /// The last of several.
    Last,
}

/// A payment intent and its newest charge, as they are at `now`.
#[derive(Debug, Clone)]
pub(crate) struct Payment {
    pub(crate) now: i64,
    pub(crate) terms: Terms,
    pub(crate) intent: String,
    pub(crate) created: i64,
    pub(crate) charge: String,
    pub(crate) charged_at: i64,
    /// How many charges were tried. Each has an id of its own.
    pub(crate) attempts: u32,
    pub(crate) stage: Stage,
    /// Whether the charge is marked as captured.
    pub(crate) is_captured: bool,
    /// Minor units captured so far.
    pub(crate) captured: i64,
    /// Minor units that were authorised and will not be captured.
    pub(crate) released: i64,
    /// All Refund objects, those of uncaptured money included, oldest first.
    pub(crate) refunds: Vec<Refund>,
    pub(crate) balance_transaction: Option<String>,
    pub(crate) failure_balance_transaction: Option<String>,
    pub(crate) failure: Option<Failure>,
    /// The dispute, once there was one: it stays.
    pub(crate) dispute: Option<String>,
    /// Whether references in this payment's objects are expanded.
    pub(crate) expanded: bool,
}

impl Payment {
    /// A new payment that is not attempted yet.
    pub(crate) fn open(world: &mut World, at: i64, terms: Terms) -> Self {
        let payment = Self {
            now: at,
            intent: world.id("pi"),
            created: at,
            charge: world.id(terms.method.charge_prefix()),
            charged_at: at,
            attempts: 0,
            stage: Stage::Open,
            is_captured: false,
            captured: 0,
            released: 0,
            refunds: Vec::new(),
            balance_transaction: None,
            failure_balance_transaction: None,
            failure: None,
            dispute: None,
            expanded: world.draw_expansion(),
            terms,
        };
        payment.emit_intent(world, "payment_intent.created");
        payment
    }

    /// A card payment captured at once.
    pub(crate) fn pay(&mut self, world: &mut World) {
        if world.random.percent(20) {
            self.authenticate(world);
        }
        self.attempt(world);
        self.stage = Stage::Succeeded;
        self.is_captured = true;
        self.captured = self.terms.amount;
        // With asynchronous capture the balance transaction follows within an hour.
        if world.random.percent(50) {
            self.settle(world, self.captured);
        }
        self.emit_charge(world, "charge.succeeded", &self.clone());
        self.book_captured(world, self.captured);
        self.emit_intent(world, "payment_intent.succeeded");
    }

    /// A balance transaction that was still missing arrives.
    pub(crate) fn receive_balance_transaction(&mut self, world: &mut World) {
        if self.stage == Stage::Succeeded && self.balance_transaction.is_none() {
            let before = self.clone();
            self.wait(world, 10, HOUR);
            self.settle(world, self.captured);
            self.emit_charge(world, "charge.updated", &before);
        }
    }

    /// A card is declined.
    pub(crate) fn decline(&mut self, world: &mut World) {
        self.attempt(world);
        self.stage = Stage::Failed;
        self.failure = Some(world.random.pick(json::DECLINES));
        self.emit_charge(world, "charge.failed", &self.clone());
        self.emit_intent(world, "payment_intent.payment_failed");
    }

    /// A card payment is authorised, to be captured later.
    pub(crate) fn authorize(&mut self, world: &mut World) {
        self.attempt(world);
        self.stage = Stage::Authorized;
        self.emit_charge(world, "charge.succeeded", &self.clone());
        self.emit_intent(world, "payment_intent.amount_capturable_updated");
    }

    /// The shop captures that much of the authorised amount.
    pub(crate) fn capture(&mut self, world: &mut World, minor: i64, capture: Capture) {
        let before = self.clone();
        world.begin_request();
        self.captured += minor;
        self.settle(world, minor);
        if capture != Capture::More {
            self.is_captured = true;
            self.stage = Stage::Succeeded;
            self.released = self.terms.amount - self.captured;
            self.add_refund_of_released(world);
        }
        let as_captured = match capture {
            Capture::Only => true,
            Capture::More => false,
            Capture::Last => world.options.undocumented.last_capture_is_captured,
        };
        self.emit_charge(world, if as_captured { "charge.captured" } else { "charge.updated" }, &before);
        self.book_captured(world, minor);
        self.emit_refund_of_released(world);
        let intent_type = match capture {
            Capture::More => "payment_intent.amount_capturable_updated",
            Capture::Only | Capture::Last => "payment_intent.succeeded",
        };
        self.emit_intent(world, intent_type);
        world.end_request();
    }

    /// The authorisation expires, or the shop cancels it. No money moves.
    pub(crate) fn release(&mut self, world: &mut World, expired: bool) {
        let before = self.clone();
        self.stage = Stage::Canceled { expired };
        self.released = self.terms.amount;
        self.add_refund_of_released(world);
        if expired {
            self.emit_charge(world, "charge.expired", &before);
        }
        self.emit_refund_of_released(world);
        self.emit_intent(world, "payment_intent.canceled");
    }

    /// A debit is submitted to the bank.
    pub(crate) fn submit_debit(&mut self, world: &mut World) {
        self.attempt(world);
        self.stage = Stage::Processing;
        self.is_captured = true;
        self.captured = self.terms.amount;
        if world.options.undocumented.pending_debits_have_balance_transaction {
            self.settle(world, self.captured);
        }
        self.emit_intent(world, "payment_intent.processing");
        self.emit_charge(world, "charge.pending", &self.clone());
    }

    /// The bank confirms a debit: from now on its money counts.
    pub(crate) fn settle_debit(&mut self, world: &mut World) {
        let before = self.clone();
        self.stage = Stage::Succeeded;
        if self.balance_transaction.is_none() {
            self.settle(world, self.captured);
        }
        self.emit_charge(world, "charge.succeeded", &before);
        self.book_captured(world, self.captured);
        self.emit_intent(world, "payment_intent.succeeded");
    }

    /// The bank refuses a debit that was on its way: its money never counted.
    pub(crate) fn fail_debit(&mut self, world: &mut World) {
        let before = self.clone();
        self.fail_at_the_bank(world, "insufficient_funds");
        if self.balance_transaction.is_some() {
            self.take_back(world);
        }
        self.emit_charge(world, "charge.failed", &before);
        self.emit_intent(world, "payment_intent.payment_failed");
    }

    /// A debit that had succeeded comes back.
    pub(crate) fn return_debit(&mut self, world: &mut World) {
        let before = self.clone();
        self.fail_at_the_bank(world, "debit_not_authorized");
        self.take_back(world);
        self.emit_charge(world, "charge.failed", &before);
        let (now, currency, charge) = (self.now, self.terms.currency, self.charge.clone());
        world.books.returned(&Account { currency, when: now, charge: &charge }, self.captured);
        self.emit_intent(world, "payment_intent.payment_failed");
    }

    /// The shop changes what has nothing to do with money.
    pub(crate) fn edit(&mut self, world: &mut World) {
        let before = self.clone();
        self.wait(world, HOUR, 3 * DAY);
        self.terms.description.push_str(" (edited)");
        self.emit_charge(world, "charge.updated", &before);
    }

    /// What the customer has paid and not got back, in minor units.
    pub(crate) fn remaining(&self) -> i64 {
        self.captured - self.refunded()
    }

    /// What real refunds gave back, in minor units.
    pub(crate) fn refunded(&self) -> i64 {
        self.refunds.iter().filter(|refund| refund.moves_money()).map(|refund| refund.amount).sum()
    }

    /// For the books: this charge, now.
    pub(crate) fn account(&self) -> Account<'_> {
        Account { currency: self.terms.currency, when: self.now, charge: &self.charge }
    }

    /// Lets between so many and so many seconds pass.
    pub(crate) fn wait(&mut self, world: &mut World, least: i64, most: i64) {
        self.now += world.random.between(least, most);
    }

    pub(crate) fn emit_intent(&self, world: &mut World, event_type: &str) {
        let view = world.view(self.now);
        world.emit(self.now, event_type, json::intent(self, view));
    }

    pub(crate) fn emit_charge(&self, world: &mut World, event_type: &str, before: &Self) {
        let view = world.view(self.now);
        world.emit_change(self.now, event_type, || json::charge(before, view), json::charge(self, view));
    }

    /// Money of the charge reaches the balance, less Stripe's fee.
    fn settle(&mut self, world: &mut World, minor: i64) {
        let settles_in = self.terms.currency.settles_in();
        let amount = self.terms.currency.convert(minor, settles_in);
        let kind = match self.terms.method {
            Method::Card => ("charge", "charge"),
            Method::Debit => ("payment", "charge"),
        };
        self.balance_transaction = Some(self.enter(world, amount, charge_fee(amount), kind));
    }

    /// The money of a debit that failed leaves the balance again. Stripe keeps its fee.
    fn take_back(&mut self, world: &mut World) {
        let amount = self.terms.currency.convert(self.captured, self.terms.currency.settles_in());
        let kind = ("payment_failure_refund", "charge_failure");
        self.failure_balance_transaction = Some(self.enter(world, -amount, 0, kind));
    }

    fn enter(&self, world: &mut World, amount: i64, fee: i64, kind: (&'static str, &'static str)) -> String {
        let (id, currency) = (world.id("txn"), self.terms.currency);
        world.ledger.add(Entry {
            source: Some(self.charge.clone()),
            description: Some(self.terms.description.clone()),
            fee,
            ..Entry::new(&id, self.now, (currency, currency.settles_in()), amount, kind)
        });
        id
    }

    fn authenticate(&mut self, world: &mut World) {
        self.stage = Stage::ActionRequired;
        self.emit_intent(world, "payment_intent.requires_action");
        self.wait(world, 5, 300);
    }

    fn attempt(&mut self, world: &mut World) {
        if self.attempts > 0 {
            self.charge = world.id(self.terms.method.charge_prefix());
        }
        self.attempts += 1;
        self.wait(world, 0, 2);
        self.charged_at = self.now;
        self.failure = None;
        self.is_captured = false;
        self.captured = 0;
        self.balance_transaction = None;
    }

    fn fail_at_the_bank(&mut self, world: &mut World, code: &'static str) {
        self.wait(world, 0, 2);
        self.stage = Stage::Failed;
        self.failure = Some(Failure { code, decline: None, message: "The bank returned the debit." });
    }

    fn book_captured(&self, world: &mut World, minor: i64) {
        world.books.captured(&self.account(), minor, self.captured);
    }

    /// Before Basil, Stripe creates a Refund for uncaptured money. No money goes out.
    fn add_refund_of_released(&mut self, world: &mut World) {
        if self.released > 0 && world.version(self.now).is_before_basil() {
            let refund = Refund::of_released(world, self);
            self.refunds.push(refund);
        }
    }

    fn emit_refund_of_released(&self, world: &mut World) {
        let Some(refund) = self.refunds.last().filter(|refund| refund.is_of_released()) else { return };
        let before = Self {
            released: 0,
            refunds: self.refunds.iter().filter(|other| other.id != refund.id).cloned().collect(),
            ..self.clone()
        };
        let view = world.view(self.now);
        world.emit(self.now, "refund.created", json::refund(refund, self, view));
        self.emit_charge(world, "charge.refunded", &before);
    }
}

impl Method {
    fn charge_prefix(self) -> &'static str {
        match self {
            Self::Card => "ch",
            Self::Debit => "py",
        }
    }
}
