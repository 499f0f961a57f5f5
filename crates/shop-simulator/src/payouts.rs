//! Payouts to the shop's bank account and top-ups from it: the shop's own money, which was counted when the
//! customers paid. Their amounts are arbitrary; they do not follow from the sales.

use crate::json;
use crate::money::Currency;
use crate::world::{DAY, World};

/// A payout, as it is.
#[derive(Debug, Clone)]
pub(crate) struct Payout {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) arrival: i64,
    pub(crate) currency: Currency,
    /// Minor units; negative if the balance was.
    pub(crate) amount: i64,
    pub(crate) status: &'static str,
    pub(crate) balance_transaction: String,
}

/// A top-up, as it is.
#[derive(Debug, Clone)]
pub(crate) struct TopUp {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) currency: Currency,
    /// Minor units.
    pub(crate) amount: i64,
    pub(crate) status: &'static str,
    pub(crate) balance_transaction: String,
}

/// Payouts of both bank accounts every two weeks, and a top-up every quarter.
pub(crate) fn run(world: &mut World) {
    let mut at = world.start + 3 * DAY;
    let mut count = 0_i64;
    while at < world.end {
        pay_out(world, at, Currency::Eur, count % 7 == 3);
        pay_out(world, at + 60, Currency::Usd, count % 11 == 5);
        if count % 6 == 2 {
            top_up(world, at + 3600);
        }
        at += 14 * DAY;
        count += 1;
    }
}

fn pay_out(world: &mut World, at: i64, currency: Currency, fails: bool) {
    let least = if world.random.percent(8) { -30_000 } else { 10_000 };
    let mut payout = Payout {
        id: world.id("po"),
        created: at,
        arrival: at + 2 * DAY,
        currency,
        amount: world.random.between(least, if least < 0 { -1 } else { 900_000 }),
        status: "in_transit",
        balance_transaction: world.id("txn"),
    };
    let view = world.view(at);
    world.emit(at, "balance.available", json::balance(currency, payout.amount, view));
    emit(world, at, "payout.created", &payout, &payout);
    let before = payout.clone();
    payout.status = if fails { "failed" } else { "paid" };
    let done = payout.arrival + 1800;
    if fails {
        emit(world, done, "payout.failed", &before, &payout);
    } else {
        emit(world, done, "payout.updated", &before, &payout);
        emit(world, done, "payout.paid", &before, &payout);
        emit(world, done + 600, "payout.reconciliation_completed", &before, &payout);
    }
}

fn emit(world: &mut World, at: i64, event_type: &str, before: &Payout, after: &Payout) {
    let view = world.view(at);
    world.emit_change(at, event_type, || json::payout(before, view), json::payout(after, view));
}

fn top_up(world: &mut World, at: i64) {
    let mut topup = TopUp {
        id: world.id("tu"),
        created: at,
        currency: Currency::Usd,
        amount: world.random.between(50_000, 200_000),
        status: "pending",
        balance_transaction: world.id("txn"),
    };
    let view = world.view(at);
    world.emit(at, "topup.created", json::topup(&topup, view));
    topup.status = "succeeded";
    let done = at + 3 * DAY;
    let view = world.view(done);
    world.emit(done, "topup.succeeded", json::topup(&topup, view));
}
