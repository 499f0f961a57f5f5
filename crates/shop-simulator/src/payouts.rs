//! Payouts to the shop's bank account and top-ups from it: the shop's own money, which was counted when the
//! customers paid. In a simulation of months their amounts are arbitrary; in an operation they are what the
//! ledger has.

use crate::json::{self, BalancePart};
use crate::ledger::Entry;
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
    let id = world.id("po");
    let amount = world.random.between(least, if least < 0 { -1 } else { 900_000 });
    let view = world.view(at);
    let part = BalancePart { currency, available: amount, pending: amount / 3 };
    let transaction = world.id("txn");
    world.emit(at, "balance.available", json::balance(&[part], view));
    run_payout(world, at, (id, transaction), (currency, amount), fails);
}

/// A payout of the ledger's money. Returns its id, and the entry that brings the money back if it fails.
pub(crate) fn pay_out_entries(
    world: &mut World,
    at: i64,
    (currency, amount): (Currency, i64),
    fails: bool,
) -> (String, Option<Entry>) {
    let (id, transaction) = (world.id("po"), world.id("txn"));
    let payout = run_payout(world, at, (id, transaction), (currency, amount), fails);
    let entry = |id: &str, at, amount, kind| Entry {
        source: Some(payout.id.clone()),
        available_on: at,
        description: Some("STRIPE PAYOUT".to_owned()),
        ..Entry::new(id, at, (currency, currency), amount, kind)
    };
    world.ledger.add(entry(&payout.balance_transaction, at, -amount, ("payout", "payout")));
    let returned = fails.then(|| {
        let kind = ("payout_failure", "payout_reversal");
        entry(&failure_transaction(&payout), payout.done(), amount, kind)
    });
    (payout.id.clone(), returned)
}

/// The id of the entry that brings a failed payout's money back.
pub(crate) fn failure_transaction(payout: &Payout) -> String {
    format!("{}f", payout.balance_transaction)
}

fn run_payout(
    world: &mut World,
    at: i64,
    (id, balance_transaction): (String, String),
    (currency, amount): (Currency, i64),
    fails: bool,
) -> Payout {
    let arrival = at + 2 * DAY;
    let mut payout =
        Payout { id, created: at, arrival, currency, amount, status: "in_transit", balance_transaction };
    emit(world, at, "payout.created", &payout, &payout);
    let before = payout.clone();
    payout.status = if fails { "failed" } else { "paid" };
    let done = payout.done();
    if fails {
        emit(world, done, "payout.failed", &before, &payout);
    } else {
        emit(world, done, "payout.updated", &before, &payout);
        emit(world, done, "payout.paid", &before, &payout);
        emit(world, done + 600, "payout.reconciliation_completed", &before, &payout);
    }
    payout
}

impl Payout {
    /// When it is paid, or fails.
    fn done(&self) -> i64 {
        self.arrival + 1800
    }
}

fn emit(world: &mut World, at: i64, event_type: &str, before: &Payout, after: &Payout) {
    let view = world.view(at);
    world.emit_change(at, event_type, || json::payout(before, view), json::payout(after, view));
}

/// The shop adds money of its own to the balance.
pub(crate) fn top_up(world: &mut World, at: i64) {
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
    world.ledger.add(Entry {
        source: Some(topup.id.clone()),
        available_on: done,
        description: Some("Top-up for refunds".to_owned()),
        ..Entry::new(
            &topup.balance_transaction,
            done,
            (topup.currency, topup.currency),
            topup.amount,
            ("topup", "topup"),
        )
    });
    let view = world.view(done);
    world.emit(done, "topup.succeeded", json::topup(&topup, view));
}
