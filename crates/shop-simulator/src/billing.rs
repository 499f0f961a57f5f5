//! Subscriptions: begun, renewed every month, canceled. What else happens to those of a shop in operation is
//! in [`lives`](crate::lives).

use crate::invoices::Invoice;
use crate::json;
use crate::lives::{self, Outcome};
use crate::money::Currency;
use crate::payments::Buyer;
use crate::random::Deck;
use crate::sales::{self, After};
use crate::sessions::Session;
use crate::world::{DAY, HOUR, World};
use chrono::{DateTime, Months};

/// How a renewal goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    Paid,
    /// Paid, and followed by whatever can follow a sale.
    PaidAndFollowed,
    FailsThenPaid,
    CreditedByRefund,
    CreditedToBalance,
    PaidOutside,
}

/// A subscription, as it is.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) id: String,
    pub(crate) created: i64,
    /// Each period begins a number of months after it.
    pub(crate) anchor: i64,
    pub(crate) currency: Currency,
    /// Minor units a month.
    pub(crate) price: i64,
    /// How often the price was changed: each has an id of its own.
    pub(crate) price_changes: u32,
    pub(crate) buyer: Buyer,
    pub(crate) status: &'static str,
    /// Start and end of what is paid for.
    pub(crate) period: (i64, i64),
    /// Start and end of the trial.
    pub(crate) trial: Option<(i64, i64)>,
    /// Whether its invoices are not collected for now.
    pub(crate) is_paused: bool,
    pub(crate) cancel_at: Option<i64>,
    pub(crate) canceled_at: Option<i64>,
    pub(crate) ended_at: Option<i64>,
    /// Whether it ended because no attempt to charge succeeded.
    pub(crate) has_failed: bool,
    pub(crate) latest_invoice: Option<String>,
}

/// The cards from which subscriptions are dealt.
pub(crate) struct Decks {
    pub(crate) renewals: Deck<Renewal>,
    pub(crate) after: Deck<After>,
}

impl Decks {
    pub(crate) fn new() -> Self {
        let others = [
            (Renewal::PaidAndFollowed, 3),
            (Renewal::FailsThenPaid, 1),
            (Renewal::CreditedByRefund, 1),
            (Renewal::CreditedToBalance, 1),
            (Renewal::PaidOutside, 1),
        ];
        Self { renewals: Deck::new((Renewal::Paid, 8), &others), after: sales::after_deck() }
    }
}

/// A customer subscribes at that time, and is billed until the end of the simulation or a cancellation.
pub(crate) fn run(world: &mut World, decks: &mut Decks, at: i64, currency: Currency) {
    let mut contract = Contract::begin(world, at, currency);
    while contract.renewed_at() < world.end && contract.go_on(world, decks) {}
}

/// A subscription and how long it will last.
#[derive(Debug)]
pub(crate) struct Contract {
    pub(crate) subscription: Subscription,
    /// The number of the current period, from 1; 0 is a trial.
    cycle: u32,
    /// After so many periods the customer cancels.
    cycles: i64,
}

impl Contract {
    /// A customer subscribes.
    pub(crate) fn begin(world: &mut World, at: i64, currency: Currency) -> Self {
        if world.runs_on && world.random.percent(30) {
            let subscription = lives::begin_trial(world, at, currency);
            return Self { subscription, cycle: 0, cycles: world.random.between(0, 18) };
        }
        let subscription = begin(world, at, currency);
        Self { subscription, cycle: 1, cycles: world.random.between(2, 18) }
    }

    /// When the current period ends.
    pub(crate) fn renewed_at(&self) -> i64 {
        self.subscription.period.1
    }

    /// The last second at which the end of the current period must be decided: what leads to it may begin then.
    pub(crate) fn decided_at(&self) -> i64 {
        self.renewed_at() - 10 * DAY
    }

    /// The current period ends, with a renewal or a cancellation. Returns whether the subscription goes on.
    pub(crate) fn go_on(&mut self, world: &mut World, decks: &mut Decks) -> bool {
        if self.cycle == 0 {
            lives::announce_end_of_trial(world, &self.subscription);
        }
        if i64::from(self.cycle) == self.cycles {
            end(world, &mut self.subscription);
            return false;
        }
        if world.runs_on && lives::happens(world, &mut self.subscription, self.cycle) == Outcome::Ended {
            return false;
        }
        renew(world, decks, &mut self.subscription, self.cycle);
        self.cycle += 1;
        true
    }
}

fn begin(world: &mut World, at: i64, currency: Currency) -> Subscription {
    let mut subscription = Subscription::new(world, at, currency);
    if world.runs_on {
        let view = world.view(at);
        world.emit(at, "price.created", json::price(&subscription, view));
    }
    let mut invoice = bill(world, &mut subscription, "subscription_create");
    invoice.issue(world, at);
    let payment = invoice.collect(world, at, false);
    subscription.emit(world, payment.charged_at, "customer.subscription.created");
    let session = Session {
        invoice: Some(invoice.id.clone()),
        subscription: Some(subscription.id.clone()),
        status: "complete",
        payment_status: "paid",
        ..Session::open(world, at, currency, subscription.price, subscription.buyer.clone())
    };
    session.emit(world, payment.charged_at, "checkout.session.completed");
    subscription
}

fn renew(world: &mut World, decks: &mut Decks, subscription: &mut Subscription, cycle: u32) {
    let before = subscription.clone();
    let at = subscription.period.1;
    subscription.enter_period(cycle);
    let mut invoice = bill(world, subscription, "subscription_cycle");
    subscription.emit_change(world, at, &before);
    let issued_at = at + HOUR;
    let renewal = decks.renewals.draw(&mut world.random);
    invoice.issue(world, issued_at);
    if renewal == Renewal::PaidOutside {
        let after = world.random.between(HOUR, 5 * DAY);
        return invoice.pay_outside(world, issued_at + after);
    }
    let mut payment = invoice.collect(world, issued_at, renewal == Renewal::FailsThenPaid);
    match renewal {
        Renewal::FailsThenPaid => emit_past_due(world, subscription, issued_at, payment.charged_at),
        Renewal::CreditedByRefund => invoice.credit_by_refund(world, &mut payment),
        Renewal::CreditedToBalance => invoice.credit_to_balance(world, payment.now),
        Renewal::PaidAndFollowed => {
            let after = decks.after.draw(&mut world.random);
            sales::follow(world, &mut payment, after);
        }
        Renewal::Paid | Renewal::PaidOutside => {}
    }
}

/// The subscription is past due between a failed attempt and the one that succeeded.
fn emit_past_due(world: &mut World, subscription: &Subscription, failed_at: i64, paid_at: i64) {
    let late = Subscription { status: "past_due", ..subscription.clone() };
    late.emit_change(world, failed_at + 2, subscription);
    subscription.emit_change(world, paid_at, &late);
}

/// The customer cancels in the last days of a period, which then ends.
fn end(world: &mut World, subscription: &mut Subscription) {
    let before = subscription.clone();
    let ends_at = subscription.period.1;
    let canceled_at = ends_at - world.random.between(DAY, 9 * DAY);
    subscription.cancel_at = Some(ends_at);
    subscription.canceled_at = Some(canceled_at);
    subscription.emit_change(world, canceled_at, &before);
    subscription.status = "canceled";
    subscription.ended_at = Some(ends_at);
    subscription.emit(world, ends_at, "customer.subscription.deleted");
}

/// A draft for the period that begins.
pub(crate) fn bill(world: &mut World, subscription: &mut Subscription, reason: &'static str) -> Invoice {
    let (at, currency, price) = (subscription.period.0, subscription.currency, subscription.price);
    let draft = Invoice::draft(world, at, currency, price, subscription.buyer.clone());
    subscription.latest_invoice = Some(draft.id.clone());
    Invoice { subscription: Some(subscription.id.clone()), reason, ..draft }
}

impl Subscription {
    /// A subscription that is active and paid for a month, to a new customer.
    pub(crate) fn new(world: &mut World, at: i64, currency: Currency) -> Self {
        let (euros, cents) = (world.random.between(5, 80), world.random.between(0, 99));
        let buyer = Buyer::customer(world, at);
        Self {
            id: world.id("sub"),
            created: at,
            anchor: at,
            currency,
            price: currency.price(euros, cents),
            price_changes: 0,
            buyer,
            status: "active",
            period: (at, months_after(at, 1)),
            trial: None,
            is_paused: false,
            cancel_at: None,
            canceled_at: None,
            ended_at: None,
            has_failed: false,
            latest_invoice: None,
        }
    }

    /// The period after the one with that number begins.
    pub(crate) fn enter_period(&mut self, cycle: u32) {
        self.status = "active";
        self.period = (self.period.1, months_after(self.anchor, cycle + 1));
    }

    pub(crate) fn emit(&self, world: &mut World, at: i64, event_type: &str) {
        let view = world.view(at);
        world.emit(at, event_type, json::subscription(self, view));
    }

    pub(crate) fn emit_change(&self, world: &mut World, at: i64, before: &Self) {
        let view = world.view(at);
        let json = |subscription| json::subscription(subscription, view);
        world.emit_change(at, "customer.subscription.updated", || json(before), json(self));
    }
}

/// The same day and time that many months later, or the month's last day.
fn months_after(at: i64, months: u32) -> i64 {
    let later = DateTime::from_timestamp(at, 0).and_then(|at| at.checked_add_months(Months::new(months)));
    later.map_or(i64::MAX, |later| later.timestamp())
}
