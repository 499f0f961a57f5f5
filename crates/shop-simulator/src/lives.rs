//! What else happens to subscriptions of a shop in operation: trials, other prices, pauses, and payments that
//! never succeed.

use crate::billing::{Subscription, bill};
use crate::json;
use crate::money::Currency;
use crate::world::{DAY, HOUR, World};

const TRIAL: i64 = 14 * DAY;

/// Whether a subscription still exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    GoesOn,
    Ended,
}

/// A customer begins with a trial: the first invoice is of nothing.
pub(crate) fn begin_trial(world: &mut World, at: i64, currency: Currency) -> Subscription {
    let mut subscription = Subscription::new(world, at, currency);
    let ends_at = at + TRIAL;
    subscription.status = "trialing";
    subscription.trial = Some((at, ends_at));
    subscription.anchor = ends_at;
    subscription.period = (at, ends_at);
    let view = world.view(at);
    world.emit(at, "price.created", json::price(&subscription, view));
    let mut invoice = bill(world, &mut subscription, "subscription_create");
    invoice.total = 0;
    invoice.issue(world, at);
    invoice.pay_nothing(world, at);
    subscription.emit(world, at, "customer.subscription.created");
    subscription
}

/// Stripe announces the end of a trial three days before.
pub(crate) fn announce_end_of_trial(world: &mut World, subscription: &Subscription) {
    subscription.emit(world, subscription.period.1 - 3 * DAY, "customer.subscription.trial_will_end");
}

/// What may happen before or at a renewal.
pub(crate) fn happens(world: &mut World, subscription: &mut Subscription, cycle: u32) -> Outcome {
    match world.random.between(0, 99) {
        0..12 => change_price(world, subscription),
        12..18 => pause(world, subscription),
        18..24 => return end_unpaid(world, subscription, cycle),
        _ => {}
    }
    Outcome::GoesOn
}

/// The customer takes a dearer plan, or a cheaper one, from the next period on.
fn change_price(world: &mut World, subscription: &mut Subscription) {
    let before = subscription.clone();
    let at = subscription.period.1 - world.random.between(DAY, 8 * DAY);
    let percent = world.random.pick([60, 150, 200]);
    subscription.price = subscription.currency.part(subscription.price, percent);
    subscription.price_changes += 1;
    let view = world.view(at);
    world.emit(at, "price.created", json::price(subscription, view));
    subscription.emit_change(world, at, &before);
}

/// The shop pauses the collection for some days.
fn pause(world: &mut World, subscription: &mut Subscription) {
    let before = subscription.clone();
    let at = subscription.period.1 - world.random.between(6 * DAY, 9 * DAY);
    subscription.is_paused = true;
    subscription.emit_change(world, at, &before);
    let paused = subscription.clone();
    subscription.is_paused = false;
    let days = world.random.between(1, 4);
    subscription.emit_change(world, at + days * DAY, &paused);
}

/// The renewal is never paid: the subscription is past due, and then canceled.
fn end_unpaid(world: &mut World, subscription: &mut Subscription, cycle: u32) -> Outcome {
    let before = subscription.clone();
    let at = subscription.period.1;
    subscription.enter_period(cycle);
    let mut invoice = bill(world, subscription, "subscription_cycle");
    subscription.emit_change(world, at, &before);
    invoice.issue(world, at + HOUR);
    let (first, last) = invoice.fail_to_collect(world, at + HOUR);
    let late = Subscription { status: "past_due", ..subscription.clone() };
    late.emit_change(world, first + 2, subscription);
    subscription.status = "canceled";
    subscription.has_failed = true;
    subscription.canceled_at = Some(last + 60);
    subscription.ended_at = Some(last + 60);
    subscription.emit(world, last + 60, "customer.subscription.deleted");
    Outcome::Ended
}
