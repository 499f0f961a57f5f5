//! The shop: from a seed to a simulated time of trade.

use crate::billing::{self, Decks};
use crate::books::Books;
use crate::options::Options;
use crate::payouts;
use crate::sales::{self, Trade};
use crate::version::ApiVersion;
use crate::world::World;
use chrono::{Months, NaiveDate, NaiveTime};
use serde_json::Value;

/// A shop that is about to be simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shop {
    seed: u64,
    options: Options,
}

/// What happened in the simulated time.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulation {
    /// The events, in the order of `created`; those of one second in the order in which they happened, as
    /// far as they belong to one sale or subscription.
    pub events: Vec<SimulatedEvent>,
    /// What the shop itself wrote down.
    pub books: Books,
}

/// One event, as a webhook endpoint receives it.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedEvent {
    /// Its id. No two events of a simulation have the same.
    pub id: String,
    /// Its type, such as `charge.succeeded`.
    pub event_type: String,
    /// The API version of the endpoint when it was sent.
    pub api_version: ApiVersion,
    /// When it happened, in seconds since 1970.
    pub created: i64,
    /// The whole body.
    pub body: Value,
}

impl SimulatedEvent {
    /// The body to post and to sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.body.to_string().into_bytes()
    }

    /// The event's object.
    pub fn object(&self) -> &Value {
        self.body.pointer("/data/object").unwrap_or(&Value::Null)
    }
}

impl Shop {
    /// The shop of a seed, with the default options.
    pub fn of(seed: u64) -> Self {
        Self { seed, options: Options::default() }
    }

    /// The same shop with other options.
    #[must_use]
    pub fn with(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// Simulates the time from January of `start_year`, for so many months.
    ///
    /// It ends like a year does: refunds and disputes that are under way stay so, and what would happen
    /// later is neither in the events nor in the books.
    pub fn run(self) -> Simulation {
        let Options { start_year, months, .. } = self.options;
        // The first second of each month, and of the one after the last.
        let firsts: Vec<_> = (0..=months).map_while(|month| first_second(start_year, month)).collect();
        let (start, end) = (firsts.first().copied().unwrap_or(0), firsts.last().copied().unwrap_or(0));
        let mut world = World::new(self.seed, self.options, start, end);
        sell(&mut world, &firsts);
        subscribe(&mut world);
        payouts::run(&mut world);
        world.finish()
    }
}

/// All sales, spread over the time. Some are begun in the last seconds of a month.
fn sell(world: &mut World, firsts: &[i64]) {
    let mut trade = Trade::new();
    for time in spread(world.start, world.end, world.options.sales) {
        let mut at = world.random.between(time.0, time.1);
        if world.random.percent(4)
            && let Some(next) = firsts.iter().find(|first| **first > at)
        {
            at = next - world.random.between(1, 3);
        }
        trade.sell(world, at);
    }
}

/// All subscriptions, begun in the first three fifths of the time.
fn subscribe(world: &mut World) {
    let (mut decks, mut currencies) = (Decks::new(), sales::currencies());
    let last = world.start + (world.end - world.start) * 3 / 5;
    for time in spread(world.start, last, world.options.subscriptions) {
        let at = world.random.between(time.0, time.1);
        let currency = currencies.draw(&mut world.random);
        billing::run(world, &mut decks, at, currency);
    }
}

/// That many equal parts of a time, each with its first and last second.
fn spread(start: i64, end: i64, parts: u32) -> impl Iterator<Item = (i64, i64)> {
    let (length, count) = (end - start, i64::from(parts.max(1)));
    (0..i64::from(parts)).map(move |part| {
        let first = start + length * part / count;
        (first, (start + length * (part + 1) / count - 1).max(first))
    })
}

/// The first second of a month in UTC, counted from January of that year.
fn first_second(year: i32, month: u32) -> Option<i64> {
    let january = NaiveDate::from_ymd_opt(year, 1, 1)?;
    let first = january.checked_add_months(Months::new(month))?;
    Some(first.and_time(NaiveTime::MIN).and_utc().timestamp())
}
