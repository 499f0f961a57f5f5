//! Ingest and delivery together, at the rate at which the backlog stays flat: what the service sustains.

use super::ingest::{drain, load_through};
use crate::figures::Figures;
use crate::generator::{Pace, count};
use crate::world::World;
use anyhow::Context;
use sqlx::PgPool;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Senders pause while more executions than this are pending.
const PENDING_MAX: i64 = 2_000;

/// How often the pending executions are counted.
const POLL: Duration = Duration::from_millis(50);

/// A closed loop into a process that delivers to a no-op destination. The senders pause while more than
/// 2,000 executions are pending, so they send as fast as the worker delivers.
pub async fn flat(world: &World) -> anyhow::Result<Figures> {
    let database = world.database("bench_flat").await?;
    let mut launch = world.part("idle", Some(&database))?;
    launch.settings.push(("WORKER_CONCURRENCY".to_owned(), world.options.concurrency.to_string()));
    let program = launch.start().await?;
    let (opens, gate) = watch::channel(true);
    let (connections, pending_max) = (world.options.connections.into(), AtomicU64::new(0));
    let measured = tokio::select! {
        measured = load_through(world, &program, connections, Pace::Closed, "flat", gate) => measured?,
        Err(error) = keep_flat(&database.pool, &opens, &pending_max) => return Err(error),
    };
    let mut figures = drain(world, database, program, &measured).await?;
    figures.insert("pending_max".to_owned(), count(pending_max.into_inner()));
    Ok(figures)
}

/// Closes the gate while too many executions are pending. Ends only with an error.
async fn keep_flat(
    pool: &PgPool,
    opens: &watch::Sender<bool>,
    pending_max: &AtomicU64,
) -> anyhow::Result<Infallible> {
    loop {
        let pending: i64 =
            sqlx::query_scalar("select count(*) from (select from eventbridge.queue limit $1) as waiting")
                // A little more than is needed, to report by how much the limit is exceeded.
                .bind(2 * PENDING_MAX)
                .fetch_one(pool)
                .await
                .context("counting the pending executions")?;
        opens.send_replace(pending <= PENDING_MAX);
        pending_max.fetch_max(u64::try_from(pending)?, Ordering::Relaxed);
        tokio::time::sleep(POLL).await;
    }
}
