//! A shop in operation: it starts at any second and runs on.
//!
//! Sales, subscriptions and payouts are decided one after the other, in the order of time. What one of them
//! leads to later waits until its time has come. The newest API version is used, references are ids, and the
//! catalog and the balance have their events and entries too.

use crate::billing::{Contract, Decks};
use crate::books::Books;
use crate::json::{self, BalancePart};
use crate::ledger::Entry;
use crate::money::Currency;
use crate::options::Options;
use crate::payouts;
use crate::random::Deck;
use crate::sales::{self, Trade};
use crate::shop::SimulatedEvent;
use crate::world::{DAY, HOUR, World};
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// How much a shop in operation sells. 0 means never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The mean time between two sales, in seconds.
    pub seconds_between_sales: u32,
    /// The mean time between two new subscriptions, in seconds.
    pub seconds_between_subscriptions: u32,
}

/// Something that happened in the shop.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// An event of Stripe's.
    Event(SimulatedEvent),
    /// A balance transaction, as it is when it is made. It has no event.
    Transaction {
        /// The whole object.
        object: Value,
    },
    /// A payout was made of these balance transactions. They sum to its amount.
    PaidOut {
        /// The payout's id.
        payout: String,
        /// The ids of the balance transactions, without the payout's own.
        transactions: Vec<String>,
    },
}

/// A shop that runs on.
pub struct Operation {
    world: World,
    trade: Trade,
    decks: Decks,
    currencies: Deck<Currency>,
    pace: Pace,
    tasks: BinaryHeap<Timed<Task>>,
    /// What has been decided and has not happened yet.
    pending: BinaryHeap<Timed<Happening>>,
    /// The entries that are in no payout.
    unpaid: Vec<Entry>,
    is_closed: bool,
    count: u64,
}

/// Something with a time. The earliest is the greatest, and of those of one second the first.
struct Timed<T> {
    at: i64,
    number: u64,
    what: T,
}

enum Task {
    Sell,
    Subscribe,
    GoOn(Box<Contract>),
    PayOut,
    TopUp,
    BillFees,
}

impl Operation {
    /// A shop of that seed that opens at that second (Unix time).
    pub fn begin(seed: u64, livemode: bool, at: i64, pace: Pace) -> Self {
        let options = Options { livemode, ..Options::default() };
        let mut shop = Self {
            world: World::without_end(seed, options, at),
            trade: Trade::new(),
            decks: Decks::new(),
            currencies: sales::currencies(),
            pace,
            tasks: BinaryHeap::new(),
            pending: BinaryHeap::new(),
            unpaid: Vec::new(),
            is_closed: false,
            count: 0,
        };
        let view = shop.world.view(at);
        shop.world.emit(at, "product.created", json::product(at, view));
        shop.schedule_next(at, pace.seconds_between_sales, Task::Sell);
        shop.schedule_next(at, pace.seconds_between_subscriptions, Task::Subscribe);
        shop.schedule(midnight_after(at) + 5 * 60, Task::PayOut);
        shop.schedule(midnight_after(at) + 9 * HOUR, Task::TopUp);
        shop.schedule(midnight_after(at) + 3 * HOUR, Task::BillFees);
        shop.collect();
        shop
    }

    /// What happens until that second, which is included, since the last call. In the order of time.
    pub fn advance(&mut self, until: i64) -> Vec<Happening> {
        while self.tasks.peek().is_some_and(|task| task.at <= until) {
            if let Some(task) = self.tasks.pop() {
                self.run(task.at, task.what);
                self.collect();
            }
        }
        let mut happenings = Vec::new();
        while self.pending.peek().is_some_and(|happening| happening.at <= until) {
            happenings.extend(self.pending.pop().map(|happening| happening.what));
        }
        happenings
    }

    /// The next second at which something happens, as far as it is known: never, if there is none.
    pub fn next_at(&self) -> Option<i64> {
        let task = self.tasks.peek().map(|task| task.at);
        let pending = self.pending.peek().map(|happening| happening.at);
        [task, pending].into_iter().flatten().min()
    }

    /// Begins a sale at that second, beside those that come by themselves.
    pub fn sell(&mut self, at: i64) {
        self.trade.sell(&mut self.world, at);
        self.collect();
    }

    /// Changes how much it sells from that second on: the next sale comes after the new time, not the old one.
    pub fn set_pace(&mut self, at: i64, pace: Pace) {
        self.pace = pace;
        self.tasks.retain(|task| !matches!(task.what, Task::Sell | Task::Subscribe));
        self.schedule_next(at, pace.seconds_between_sales, Task::Sell);
        self.schedule_next(at, pace.seconds_between_subscriptions, Task::Subscribe);
    }

    /// No more sales and subscriptions begin. What has begun goes on.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// What the shop itself wrote down. It includes what is decided and has not happened yet.
    pub fn books(&self) -> &Books {
        &self.world.books
    }

    fn run(&mut self, at: i64, task: Task) {
        match task {
            Task::Sell => {
                if !self.is_closed {
                    self.trade.sell(&mut self.world, at);
                    self.schedule_next(at, self.pace.seconds_between_sales, Task::Sell);
                }
            }
            Task::Subscribe => {
                if !self.is_closed {
                    let currency = self.currencies.draw(&mut self.world.random);
                    let contract = Contract::begin(&mut self.world, at, currency);
                    self.schedule(contract.decided_at(), Task::GoOn(Box::new(contract)));
                    self.schedule_next(at, self.pace.seconds_between_subscriptions, Task::Subscribe);
                }
            }
            Task::GoOn(mut contract) => {
                if contract.go_on(&mut self.world, &mut self.decks) {
                    self.schedule(contract.decided_at(), Task::GoOn(contract));
                }
            }
            Task::PayOut => {
                self.pay_out(at);
                self.schedule(at + DAY, Task::PayOut);
            }
            Task::TopUp => {
                payouts::top_up(&mut self.world, at);
                self.schedule(at + 90 * DAY, Task::TopUp);
            }
            Task::BillFees => {
                self.bill_fees(at);
                self.schedule(at + 30 * DAY, Task::BillFees);
            }
        }
    }

    /// Pays out what has become available, in each currency of the balance.
    fn pay_out(&mut self, at: i64) {
        let parts = self.balance(at);
        if parts.iter().all(|part| part.available <= 0) {
            return;
        }
        let view = self.world.view(at);
        self.world.emit(at, "balance.available", json::balance(&parts, view));
        for part in parts.into_iter().filter(|part| part.available > 0) {
            let is_due = |entry: &Entry| {
                entry.currencies.1 == part.currency && entry.available_on <= at && entry.created <= at
            };
            let (due, rest) = std::mem::take(&mut self.unpaid).into_iter().partition(is_due);
            self.unpaid = rest;
            let fails = self.world.random.percent(4);
            let amount = (part.currency, part.available);
            let (payout, returned) = payouts::pay_out_entries(&mut self.world, at, amount, fails);
            let due: Vec<Entry> = due;
            let transactions = due.into_iter().map(|entry| entry.id).collect();
            self.push(at, Happening::PaidOut { payout, transactions });
            self.world.ledger.take().into_iter().for_each(|entry| self.enter(&entry));
            if let Some(entry) = returned {
                self.enter(&entry);
                self.unpaid.push(entry);
            }
        }
    }

    /// The balance without what was paid out, in each currency that it has.
    fn balance(&self, at: i64) -> Vec<BalancePart> {
        let part = |currency| {
            let entries = self.unpaid.iter().filter(|entry| entry.created <= at);
            let (mut available, mut pending) = (0, 0);
            for entry in entries.filter(|entry| entry.currencies.1 == currency) {
                *if entry.available_on <= at { &mut available } else { &mut pending } += entry.net();
            }
            BalancePart { currency, available, pending }
        };
        [Currency::Eur, Currency::Usd].map(part).into()
    }

    /// What Stripe charges beside its fees on payments, once a month.
    fn bill_fees(&mut self, at: i64) {
        let id = self.world.id("txn");
        let amount = -self.world.random.between(200, 2_000);
        let kind = ("stripe_fee", "fee");
        self.world.ledger.add(Entry {
            description: Some("Billing - Usage Fee".to_owned()),
            available_on: at,
            ..Entry::new(&id, at, (Currency::Eur, Currency::Eur), amount, kind)
        });
    }

    /// Takes what has been decided.
    fn collect(&mut self) {
        for event in self.world.take_events() {
            self.push(event.created, Happening::Event(event));
        }
        for entry in self.world.ledger.take() {
            self.enter(&entry);
            self.unpaid.push(entry);
        }
    }

    fn enter(&mut self, entry: &Entry) {
        self.push(entry.created, Happening::Transaction { object: json::entry(entry) });
    }

    fn push(&mut self, at: i64, what: Happening) {
        self.count += 1;
        self.pending.push(Timed { at, number: self.count, what });
    }

    fn schedule(&mut self, at: i64, what: Task) {
        self.count += 1;
        self.tasks.push(Timed { at, number: self.count, what });
    }

    /// At a random time after about the mean.
    fn schedule_next(&mut self, at: i64, mean: u32, what: Task) {
        let mean = i64::from(mean);
        if mean > 0 {
            let after = self.world.random.between((mean + 1) / 2, mean + mean / 2);
            self.schedule(at + after, what);
        }
    }
}

fn midnight_after(at: i64) -> i64 {
    (at.div_euclid(DAY) + 1) * DAY
}

impl<T> PartialEq for Timed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Timed<T> {}

impl<T> PartialOrd for Timed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Timed<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}
