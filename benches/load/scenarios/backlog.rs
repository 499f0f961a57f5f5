//! Delivery: a backlog that exists when the worker starts, alone and beside that of a slow destination.

use super::figures;
use crate::figures::Figures;
use crate::role::{IDLE, SLOW};
use crate::seed::{Seed, seed};
use crate::world::{Database, World};
use anyhow::{Context, bail};
use std::time::Duration;

const DRAINED_WITHIN: Duration = Duration::from_mins(3);

/// To a no-op destination, with many slots and with default settings.
pub async fn drain(world: &World) -> anyhow::Result<Figures> {
    let mut found = Figures::new();
    for (name, concurrency) in
        [("per_second", Some(world.options.concurrency)), ("by_default_per_second", None)]
    {
        let database = world.database("bench_drain").await?;
        let events = world.options.backlog;
        seed(&database, Seed { first: 0, events, destination: IDLE, pending: events }).await?;
        world.settle().await?;
        let mut launch = world.part("idle", Some(&database))?;
        if let Some(concurrency) = concurrency {
            launch.settings.push(("WORKER_CONCURRENCY".to_owned(), concurrency.to_string()));
        }
        let program = launch.start().await?;
        let before = program.processor_seconds();
        database.drained(DRAINED_WITHIN).await?;
        let spent =
            before.zip(program.processor_seconds()).map_or(f64::NAN, |(before, after)| after - before);
        program.stop().await?;
        found.extend(figures([(name, rate(&database, events).await?)]));
        if concurrency.is_some() {
            found.extend(figures([("program_us", spent * 1e6 / f64::from(events))]));
        }
        world.finish(database).await?;
    }
    Ok(found)
}

/// To a fast destination, alone and while another one of the same process takes 5 s for each answer and has
/// a backlog too; with many slots and with default settings.
pub async fn slow(world: &World) -> anyhow::Result<Figures> {
    let mut found = Figures::new();
    for (prefix, concurrency, events) in [
        ("", Some(world.options.concurrency), world.options.backlog),
        ("by_default_", None, world.options.backlog / 4),
    ] {
        let alone = beside_slow(world, concurrency, events, 0).await?;
        let beside = beside_slow(world, concurrency, events, SLOW_BACKLOG).await?;
        for (name, value) in
            [("alone_per_second", alone), ("per_second", beside), ("share_percent", beside / alone * 100.0)]
        {
            found.insert(format!("{prefix}{name}"), value);
        }
    }
    Ok(found)
}

/// More than the slow destination can answer while the fast one drains.
const SLOW_BACKLOG: u32 = 5_000;

/// Drains the fast destination's backlog, in a process that also delivers that of the slow one. Returns the
/// fast one's executions per second, from the first completion to the last.
async fn beside_slow(
    world: &World,
    concurrency: Option<u16>,
    events: u32,
    slow_events: u32,
) -> anyhow::Result<f64> {
    let database = world.database("bench_slow").await?;
    seed(&database, Seed { first: 0, events, destination: IDLE, pending: events }).await?;
    if slow_events > 0 {
        let slow = Seed { first: events, events: slow_events, destination: SLOW, pending: slow_events };
        seed(&database, slow).await?;
    }
    world.settle().await?;
    let mut launch = world.part("slow", Some(&database))?;
    if let Some(concurrency) = concurrency {
        launch.settings.push(("WORKER_CONCURRENCY".to_owned(), concurrency.to_string()));
    }
    let program = launch.start().await?;
    let finished = tokio::time::timeout(DRAINED_WITHIN, finished(&database, IDLE)).await;
    finished.context("the fast destination does not drain")??;
    program.stop().await?;
    let (delivered, seconds): (i64, f64) = sqlx::query_as(
        "select count(*), extract(epoch from max(finished_at) - min(finished_at))::float8
           from eventbridge.executions where status = 'success' and destination = $1",
    )
    .bind(IDLE)
    .fetch_one(&database.pool)
    .await?;
    if delivered != i64::from(events) {
        bail!("of {events} executions {delivered} were delivered");
    }
    world.finish(database).await?;
    Ok(f64::from(events) / seconds)
}

/// Waits until every execution of a destination has ended.
async fn finished(database: &Database, destination: &str) -> anyhow::Result<()> {
    loop {
        let is_busy: bool = sqlx::query_scalar(
            "select exists (select from eventbridge.executions where destination = $1 and finished_at is null)",
        )
        .bind(destination)
        .fetch_one(&database.pool)
        .await?;
        if !is_busy {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Executions per second by the database's clock, from the first claim to the last completion; fails
/// unless all were delivered, each with one attempt.
async fn rate(database: &Database, events: u32) -> anyhow::Result<f64> {
    must_be_delivered(database, IDLE, events).await?;
    let seconds: f64 = sqlx::query_scalar(
        "select extract(epoch from max(finished_at) - min(started_at))::float8
           from eventbridge.executions where status = 'success' and destination = $1",
    )
    .bind(IDLE)
    .fetch_one(&database.pool)
    .await?;
    Ok(f64::from(events) / seconds)
}

/// Fails unless this many executions were delivered, each with one attempt.
pub async fn must_be_delivered(database: &Database, destination: &str, events: u32) -> anyhow::Result<()> {
    let (delivered, attempts): (i64, i64) = sqlx::query_as(
        "select count(*), (select count(*) from eventbridge.attempts)
           from eventbridge.executions where status = 'success' and destination = $1",
    )
    .bind(destination)
    .fetch_one(&database.pool)
    .await?;
    if delivered != i64::from(events) || attempts != delivered {
        bail!("of {events} executions {delivered} were delivered, in {attempts} attempts");
    }
    Ok(())
}
