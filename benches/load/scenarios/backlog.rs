//! Delivery: a backlog that exists when the worker starts.

use super::figures;
use crate::figures::Figures;
use crate::role::IDLE;
use crate::seed::{Seed, seed};
use crate::world::{Database, World};
use anyhow::bail;
use std::time::Duration;

const DRAINED_WITHIN: Duration = Duration::from_mins(3);

/// To a no-op destination, with many slots and with the default number.
pub async fn drain(world: &World) -> anyhow::Result<Figures> {
    let mut found = Figures::new();
    for (name, concurrency) in
        [("per_second", Some(world.options.concurrency)), ("by_default_per_second", None)]
    {
        let database = world.database("bench_drain").await?;
        let events = world.options.backlog;
        seed(&database, Seed { events, destination: IDLE, pending: events }).await?;
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
