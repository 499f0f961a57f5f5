//! Delivery while an old snapshot is open, as a backup or a forgotten session holds it. Until it is
//! released, vacuum removes no dead row of the queue.
//!
//! Events come at a fixed rate, without a pause, through three parts:
//!
//! | part | length for `--horizon-seconds 600` |
//! |---|---|
//! | reference: no snapshot | 60 s: a tenth, but at least 10 s |
//! | a transaction in REPEATABLE READ that has read something is open | 600 s |
//! | the snapshot is released | 300 s: a half |
//!
//! So a rate takes 16 minutes, `horizon` with its two rates 32, and `lanes` 16; after each, the queue drains
//! for five minutes at most. At 3,000 events per second the tables and the log take several gigabytes.
//!
//! All figures are computed after the load, from the times in the tables, which are the database's.

use super::ingest::{as_count, must_be_there};
use crate::events::{Recipe, Requests};
use crate::figures::Figures;
use crate::generator::{Load, Pace, count, send};
use crate::world::{Database, StatementStatistics, World};
use anyhow::ensure;
use chrono::{DateTime, Utc};
use sqlx::{ConnectOptions, Connection};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Part of the load, but of no figure.
const WARM_UP: Duration = Duration::from_secs(3);

/// Less than a fast destination needs, so that the claim has to find the due executions.
const CONCURRENCY: u32 = 32;

/// What is not delivered by then counts as delivered at the end.
const DRAINED_WITHIN: Duration = Duration::from_mins(5);

/// The service has recovered once the p99 was below twice the reference for so many seconds in a row.
const SECONDS_IN_A_ROW: i32 = 3;

/// A load under a snapshot.
#[derive(Debug, Clone, Copy)]
struct Setup {
    /// What delivers.
    part: &'static str,
    /// The rate.
    per_second: u32,
    /// The number of objects; by default one for each event.
    objects: Option<usize>,
}

/// Event mode, at two rates.
pub async fn horizon(world: &World) -> anyhow::Result<Figures> {
    let mut found = Figures::new();
    for per_second in [800, 3_000] {
        found.extend(under_snapshot(world, Setup { part: "idle", per_second, objects: None }).await?);
    }
    Ok(found)
}

/// Object mode, with 100 busy lanes.
pub async fn lanes(world: &World) -> anyhow::Result<Figures> {
    under_snapshot(world, Setup { part: "lanes", per_second: 800, objects: Some(100) }).await
}

/// The lengths of the parts.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    reference: Duration,
    held: Duration,
    released: Duration,
}

impl Lengths {
    fn of(world: &World) -> Self {
        let held = Duration::from_secs(world.options.horizon_seconds);
        Self { reference: (held / 10).max(Duration::from_secs(10)), held, released: held / 2 }
    }

    /// The whole load.
    fn all(self) -> Duration {
        WARM_UP + self.reference + self.held + self.released
    }
}

/// A moment, and what the statements had cost by then.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: DateTime<Utc>,
    statements: Option<StatementStatistics>,
}

/// The moments between the parts.
#[derive(Debug, Clone, Copy)]
struct Marks {
    /// The reference begins.
    began: Mark,
    /// The snapshot is about to be taken.
    held: Mark,
    /// The last tenth of its time begins.
    last_tenth: Mark,
    /// The snapshot is about to be released.
    released: Mark,
}

async fn under_snapshot(world: &World, setup: Setup) -> anyhow::Result<Figures> {
    let Setup { part, per_second, objects } = setup;
    let lengths = Lengths::of(world);
    let what = format!("{part} at {per_second}/s");
    eprintln!("{what}: {} s …", lengths.all().as_secs());
    let database = world.database("bench_horizon").await?;
    world.collect_statement_statistics(&database).await?;
    let mut launch = world.part(part, Some(&database))?;
    launch.settings.push(("WORKER_CONCURRENCY".to_owned(), CONCURRENCY.to_string()));
    let program = launch.start().await?;
    world.settle().await?;
    let rate = f64::from(per_second);
    let events = as_count(rate * lengths.all().as_secs_f64());
    let requests = Arc::new(Requests::stream(Recipe { objects, ..Recipe::of(events) }));
    let load = Load {
        address: program.address,
        connections: world.options.connections.into(),
        pace: Pace::Open { per_second: rate },
        length: lengths.all(),
    };
    let (outcome, marks) =
        tokio::try_join!(send(load, &requests, &what), hold_snapshot(world, &database, lengths))?;
    outcome.must_be_whole()?;
    // A queue that does not drain is a result too.
    let _drained = database.drained(DRAINED_WITHIN).await;
    program.stop().await?;
    must_be_there(&database, 0, outcome.new).await?;
    let figures = History::of(&database).await?.figures(marks).await?;
    world.finish(database).await?;
    let prefixed = figures.into_iter().map(|(name, value)| (format!("at_{per_second}_{name}"), value));
    let length = ("held_seconds".to_owned(), lengths.held.as_secs_f64());
    Ok(prefixed.chain([length]).collect())
}

/// Holds the snapshot during its part of the load.
async fn hold_snapshot(world: &World, database: &Database, lengths: Lengths) -> anyhow::Result<Marks> {
    tokio::time::sleep(WARM_UP).await;
    let began = mark(world, database).await?;
    tokio::time::sleep(lengths.reference).await;
    let held = mark(world, database).await?;
    let mut snapshot = database.pool.connect_options().connect().await?;
    sqlx::raw_sql("begin isolation level repeatable read read only").execute(&mut snapshot).await?;
    // Only the first read takes the snapshot.
    sqlx::raw_sql("select count(*) from eventbridge.workers").execute(&mut snapshot).await?;
    tokio::time::sleep(lengths.held * 9 / 10).await;
    let last_tenth = mark(world, database).await?;
    tokio::time::sleep(lengths.held / 10).await;
    let released = mark(world, database).await?;
    // Fails if the server has ended the transaction meanwhile.
    sqlx::raw_sql("commit").execute(&mut snapshot).await?;
    snapshot.close().await?;
    Ok(Marks { began, held, last_tenth, released })
}

async fn mark(world: &World, database: &Database) -> anyhow::Result<Mark> {
    let at = sqlx::query_scalar("select clock_timestamp()").fetch_one(&database.pool).await?;
    Ok(Mark { at, statements: world.statement_statistics(database).await? })
}

/// The tables after the load.
struct History<'a> {
    database: &'a Database,
    /// What is undelivered counts as delivered then.
    read_at: DateTime<Utc>,
}

impl<'a> History<'a> {
    async fn of(database: &'a Database) -> anyhow::Result<Self> {
        let read_at = sqlx::query_scalar("select clock_timestamp()").fetch_one(&database.pool).await?;
        Ok(Self { database, read_at })
    }

    async fn figures(&self, marks: Marks) -> anyhow::Result<Figures> {
        let Marks { began, held, last_tenth, released } = marks;
        let reference = self.delivered_per_second(began.at, held.at).await?;
        ensure!(reference > 0.0, "nothing was delivered before the snapshot was taken");
        let under_snapshot = self.delivered_per_second(held.at, released.at).await?;
        let reference_p99 = self.p99_ms(began.at, held.at).await?;
        let mut found = super::figures([
            ("reference_per_second", reference),
            ("held_per_second", under_snapshot),
            ("share_percent", under_snapshot / reference * 100.0),
            ("pending", self.pending(released.at).await?),
            ("undelivered", self.pending(self.read_at).await?),
        ]);
        if let Some(reference_p99) = reference_p99 {
            let limit = reference_p99 * 2.0;
            found.insert("reference_p99_ms".to_owned(), reference_p99);
            found.insert("recovery_seconds".to_owned(), self.recovery_seconds(released.at, limit).await?);
        }
        if let Some(p99) = self.p99_ms(last_tenth.at, released.at).await? {
            found.insert("p99_ms".to_owned(), p99);
        }
        for (prefix, from, to) in [("reference_", began, held), ("", last_tenth, released)] {
            let Some((from, to)) = from.statements.zip(to.statements) else { continue };
            let means =
                [("claim_ms", to.claim_ms_since(from)), ("statement_ms", to.statement_ms_since(from))];
            for (name, mean) in means {
                found.extend(mean.map(|mean| (format!("{prefix}{name}"), mean)));
            }
        }
        Ok(found)
    }

    /// What was delivered then. A state whose newer one was delivered instead counts too.
    async fn delivered_per_second(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> anyhow::Result<f64> {
        let (delivered, seconds): (i64, f64) = sqlx::query_as(
            "select count(*), extract(epoch from $2 - $1)::float8
               from eventbridge.executions
              where status in ('success', 'superseded') and finished_at >= $1 and finished_at < $2",
        )
        .bind(from)
        .bind(to)
        .fetch_one(&self.database.pool)
        .await?;
        Ok(count(u64::try_from(delivered)?) / seconds)
    }

    /// The p99 from the receipt of an event to its delivery, of the events that were received then.
    async fn p99_ms(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> anyhow::Result<Option<f64>> {
        let p99 = sqlx::query_scalar(
            "select percentile_disc(0.99) within group (order by milliseconds)
               from (select extract(epoch from coalesce(finished_at, $3) - received_at)::float8 * 1000
                            as milliseconds
                       from eventbridge.executions
                       join eventbridge.events on events.id = event_key
                      where received_at >= $1 and received_at < $2) as deliveries",
        )
        .bind(from)
        .bind(to)
        .bind(self.read_at)
        .fetch_one(&self.database.pool)
        .await?;
        Ok(p99)
    }

    /// How many executions had been waiting for more than a second by then.
    async fn pending(&self, by: DateTime<Utc>) -> anyhow::Result<f64> {
        let pending: i64 = sqlx::query_scalar(
            "select count(*)
               from eventbridge.executions
              where created_at < $1 - interval '1 second' and (finished_at is null or finished_at >= $1)",
        )
        .bind(by)
        .fetch_one(&self.database.pool)
        .await?;
        Ok(count(u64::try_from(pending)?))
    }

    /// The seconds from then until the p99 of what is delivered within a second stays below a limit; 0 if
    /// it is below it from the beginning.
    async fn recovery_seconds(&self, from: DateTime<Utc>, limit_ms: f64) -> anyhow::Result<f64> {
        let windows: Vec<(i32, f64)> = sqlx::query_as(
            "select second, percentile_disc(0.99) within group (order by milliseconds)
               from (select floor(extract(epoch from finished_at - $1))::int as second,
                            extract(epoch from finished_at - received_at)::float8 * 1000 as milliseconds
                       from eventbridge.executions
                       join eventbridge.events on events.id = event_key
                      where finished_at >= $1) as deliveries
              group by second",
        )
        .bind(from)
        .fetch_all(&self.database.pool)
        .await?;
        let windows: BTreeMap<i32, f64> = windows.into_iter().collect();
        Ok(f64::from(recovered_at(&windows, limit_ms)))
    }
}

/// The first of some seconds in a row below the limit; otherwise the end. In a second without a window
/// nothing was delivered, so it is not below.
fn recovered_at(windows: &BTreeMap<i32, f64>, limit_ms: f64) -> i32 {
    let end = windows.keys().next_back().map_or(0, |last| last + 1);
    let is_below = |second: i32| windows.get(&second).is_some_and(|p99| *p99 < limit_ms);
    let has_recovered = |first: &i32| (*first..first + SECONDS_IN_A_ROW).all(is_below);
    (0..end).find(has_recovered).unwrap_or(end)
}
