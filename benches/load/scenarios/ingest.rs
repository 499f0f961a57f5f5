//! Ingest: the real program, and whether each accepted event is in the database.

use super::figures;
use crate::events::{Recipe, Requests};
use crate::figures::Figures;
use crate::generator::{Gate, Load, Outcome, Pace, count, open_gate, send_through};
use crate::program::{Program, processor_seconds_of_all};
use crate::role::IDLE;
use crate::seed::{Seed, seed};
use crate::world::{Database, World};
use anyhow::{Context, bail};
use std::sync::Arc;
use std::time::Duration;

/// The usual destination of the program.
pub const NOTION: &str = "notion";

const WARM_UP: Duration = Duration::from_secs(1);

/// No machine ingests more, so no more requests are prepared.
const PER_SECOND_MAX: f64 = 60_000.0;

/// A quarter more than the warm-up predicts, so that the prepared requests suffice.
const SPARE: f64 = 1.6;

/// The result of a load.
pub struct Measured {
    /// The load itself, without its warm-up.
    pub outcome: Outcome,
    /// Events that are new to the database, including those of the warm-up.
    pub new: u64,
    /// Processor time of the program per event, in microseconds.
    pub program_us: f64,
    /// The same of the whole machine, including senders and database.
    pub machine_us: f64,
}

/// Sends a load to a program, after a warm-up that determines how many requests to prepare.
pub async fn load(
    world: &World,
    program: &Program,
    connections: usize,
    pace: Pace,
    what: &str,
) -> anyhow::Result<Measured> {
    load_through(world, program, connections, pace, what, open_gate()).await
}

/// The same, while the gate is open.
pub async fn load_through(
    world: &World,
    program: &Program,
    connections: usize,
    pace: Pace,
    what: &str,
    gate: Gate,
) -> anyhow::Result<Measured> {
    let recipe = |count: usize| Recipe { duplicates: world.options.duplicates, ..Recipe::of(count) };
    let load = Load { address: program.address, connections, pace, length: world.options.length() };
    let ahead = Load { pace: Pace::Closed, length: WARM_UP, ..load };
    let requests = Arc::new(Requests::make(recipe(as_count(PER_SECOND_MAX))));
    let warm_up = send_through(ahead, &requests, what, gate.clone()).await?;
    drop(requests);
    warm_up.must_be_whole()?;
    let per_second = match pace {
        Pace::Closed => (warm_up.per_second() * SPARE).min(PER_SECOND_MAX),
        Pace::Open { per_second } => per_second + 1.0,
    };
    let requests = Arc::new(Requests::make(recipe(as_count(per_second * load.length.as_secs_f64()))));
    world.settle().await?;
    let before = (program.processor_seconds(), processor_seconds_of_all());
    let outcome = send_through(load, &requests, what, gate).await?;
    let after = (program.processor_seconds(), processor_seconds_of_all());
    outcome.must_be_whole()?;
    let answered = count(outcome.new + outcome.known);
    let spent = |before: Option<f64>, after: Option<f64>| {
        before.zip(after).map_or(f64::NAN, |(before, after)| (after - before) * 1e6 / answered)
    };
    Ok(Measured {
        new: warm_up.new + outcome.new,
        program_us: spent(before.0, after.0),
        machine_us: spent(before.1, after.1),
        outcome,
    })
}

/// A rate times a duration, as a number of events.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of events")]
pub fn as_count(number: f64) -> usize {
    number as usize
}

/// Fails unless the database contains all accepted events, each with its execution.
pub async fn must_be_there(database: &Database, seeded: u64, new: u64) -> anyhow::Result<()> {
    let (events, executions) = (database.count("events").await?, database.count("executions").await?);
    if events != seeded + new || executions != seeded + new {
        bail!(
            "{} events were answered as new; there are {events}, with {executions} executions",
            seeded + new
        );
    }
    Ok(())
}

/// The figures of a load.
pub fn of(measured: &Measured) -> Figures {
    let outcome = &measured.outcome;
    figures([
        ("per_second", outcome.per_second()),
        ("p50_ms", outcome.quantile_ms(0.5)),
        ("p99_ms", outcome.quantile_ms(0.99)),
        ("p99_9_ms", outcome.quantile_ms(0.999)),
        ("max_ms", outcome.quantile_ms(1.0)),
        ("program_us", measured.program_us),
        ("machine_us", measured.machine_us),
    ])
}

/// With all connections, and no delivery.
pub async fn full(world: &World) -> anyhow::Result<Figures> {
    waiting(world, "bench_ingest", world.options.connections.into(), Pace::Closed).await
}

/// One connection.
pub async fn one(world: &World) -> anyhow::Result<Figures> {
    waiting(world, "bench_one", 1, Pace::Closed).await
}

/// At half of the measured ingest rate.
pub async fn half(world: &World, taken_in: Option<f64>) -> anyhow::Result<Figures> {
    let half = taken_in.map(|rate| rate / 2.0);
    let per_second = world.options.rate.or(half).context("the scenario ingest comes first, or --rate")?;
    waiting(world, "bench_half", world.options.connections.into(), Pace::Open { per_second }).await
}

async fn waiting(world: &World, name: &str, connections: usize, pace: Pace) -> anyhow::Result<Figures> {
    let database = world.database(name).await?;
    database.pause(NOTION).await?;
    let program = world.service(&database).start().await?;
    let measured = load(world, &program, connections, pace, name).await?;
    let memory = program.memory_peak_mb().unwrap_or(f64::NAN);
    program.stop().await?;
    must_be_there(&database, 0, measured.new).await?;
    world.finish(database).await?;
    let mut figures = of(&measured);
    figures.insert("memory_mb".to_owned(), memory);
    Ok(figures)
}

/// While a million executions wait for a paused destination; and over the same number of delivered ones,
/// to separate the effect of waiting from that of the size.
pub async fn paused(world: &World) -> anyhow::Result<Figures> {
    const EVENTS: u32 = 1_000_000;
    let delivered = over(world, EVENTS, 0).await?;
    let mut figures = of(&over(world, EVENTS, EVENTS).await?);
    figures.insert("over_delivered_per_second".to_owned(), delivered.outcome.per_second());
    Ok(figures)
}

async fn over(world: &World, events: u32, pending: u32) -> anyhow::Result<Measured> {
    let database = world.database("bench_paused").await?;
    database.pause(NOTION).await?;
    seed(&database, Seed { first: 0, events, destination: NOTION, pending }).await?;
    let program = world.service(&database).start().await?;
    let measured = load(world, &program, world.options.connections.into(), Pace::Closed, "paused").await?;
    program.stop().await?;
    must_be_there(&database, events.into(), measured.new).await?;
    world.finish(database).await?;
    Ok(measured)
}

/// While the same process delivers them to a no-op destination.
pub async fn beside(world: &World) -> anyhow::Result<Figures> {
    let database = world.database("bench_beside").await?;
    let mut launch = world.part("idle", Some(&database))?;
    launch.settings.push(("WORKER_CONCURRENCY".to_owned(), world.options.concurrency.to_string()));
    let program = launch.start().await?;
    let measured = load(world, &program, world.options.connections.into(), Pace::Closed, "beside").await?;
    drain(world, database, program, &measured).await
}

/// The figures of a load into a process that delivers. Waits until everything is delivered, and checks that
/// it is.
pub async fn drain(
    world: &World,
    database: Database,
    program: Program,
    measured: &Measured,
) -> anyhow::Result<Figures> {
    let drained = delivered_in_last(&database, measured.outcome.elapsed).await?;
    database.drained(Duration::from_mins(2)).await?;
    program.stop().await?;
    must_be_there(&database, 0, measured.new).await?;
    must_be_delivered(&database, measured.new).await?;
    world.finish(database).await?;
    let mut figures = of(measured);
    figures.insert("drained_per_second".to_owned(), drained);
    Ok(figures)
}

/// Executions per second that ended in the last seconds.
async fn delivered_in_last(database: &Database, seconds: Duration) -> anyhow::Result<f64> {
    let delivered: i64 = sqlx::query_scalar(
        "select count(*) from eventbridge.executions
          where finished_at > now() - $1 * interval '1 second'",
    )
    .bind(seconds.as_secs_f64())
    .fetch_one(&database.pool)
    .await?;
    Ok(count(u64::try_from(delivered)?) / seconds.as_secs_f64())
}

/// Fails unless the no-op destination has received as many events as were accepted.
async fn must_be_delivered(database: &Database, new: u64) -> anyhow::Result<()> {
    let delivered: i64 = sqlx::query_scalar(
        "select count(*) from eventbridge.executions where status = 'success' and destination = $1",
    )
    .bind(IDLE)
    .fetch_one(&database.pool)
    .await?;
    if u64::try_from(delivered)? != new {
        bail!("{new} executions were made, and {delivered} delivered");
    }
    Ok(())
}
