//! The same over tables as they are after a long time: many delivered executions, and many pending ones.

use super::figures;
use super::ingest::{NOTION, load, must_be_there, of};
use crate::figures::Figures;
use crate::generator::{Pace, count};
use crate::role::IDLE;
use crate::seed::{Seed, seed};
use crate::world::{Database, World};
use anyhow::Context;
use eventbridge::http_client;
use std::time::{Duration, Instant};

/// One in this many events is pending.
const WAITING_SHARE: u32 = 5;

/// Lists of the API.
const LISTS: &[&str] = &[
    "/api/v1/events",
    "/api/v1/events?type=invoice.paid",
    "/api/v1/events?object_id=in_seeded000001000",
    "/api/v1/executions",
];

/// Ingest next to a paused backlog, the idle lists meanwhile, then some seconds of draining.
pub async fn growth(world: &World) -> anyhow::Result<Figures> {
    let events = world.options.events;
    let waiting = events / WAITING_SHARE;
    let name = format!("bench_growth_{events}");
    let database = if world.has(&name).await? {
        world.open(&name)?
    } else {
        let database = world.database(&name).await?;
        seed(&database, Seed { first: 0, events, destination: NOTION, pending: waiting }).await?;
        database.pause(NOTION).await?;
        database
    };
    let seeded = database.count("events").await?;
    let program = world.service(&database).start().await?;
    let lists = lists(program.address).await?;
    let measured = load(world, &program, world.options.connections.into(), Pace::Closed, "growth").await?;
    program.stop().await?;
    must_be_there(&database, seeded, measured.new).await?;
    let drained = drain_for(world, &database).await?;
    if world.options.keep {
        database.pool.close().await;
    } else {
        world.finish(database).await?;
    }
    let mut found = of(&measured);
    found.extend(drained);
    found.extend(figures([
        ("events", f64::from(events)),
        ("waiting", f64::from(waiting)),
        ("list_p50_ms", lists.0),
        ("list_max_ms", lists.1),
    ]));
    Ok(found)
}

/// Delivers the backlog to a no-op destination, for the duration of a load: the rate, and the mean time of a
/// claim.
async fn drain_for(world: &World, database: &Database) -> anyhow::Result<Figures> {
    sqlx::query(
        "with moved as (update eventbridge.queue set destination = $1 returning execution_id)
         update eventbridge.executions set destination = $1 from moved where id = execution_id",
    )
    .bind(IDLE)
    .execute(&database.pool)
    .await?;
    sqlx::raw_sql("vacuum analyze eventbridge.executions, eventbridge.queue").execute(&database.pool).await?;
    world.collect_statement_statistics(database).await?;
    world.settle().await?;
    let before = world.statement_statistics(database).await?;
    let mut launch = world.part("idle", Some(database))?;
    launch.settings.push(("WORKER_CONCURRENCY".to_owned(), world.options.concurrency.to_string()));
    let program = launch.start().await?;
    tokio::time::sleep(world.options.length()).await;
    program.stop().await?;
    let after = world.statement_statistics(database).await?;
    world.ignore_statement_statistics(database).await?;
    let (drained, seconds): (i64, f64) = sqlx::query_as(
        "select count(*), extract(epoch from max(finished_at) - min(started_at))::float8
           from eventbridge.executions where destination = $1 and status = 'success'",
    )
    .bind(IDLE)
    .fetch_one(&database.pool)
    .await?;
    sqlx::query("update eventbridge.executions set destination = $2 where destination = $1")
        .bind(IDLE)
        .bind(NOTION)
        .execute(&database.pool)
        .await?;
    let mut found = figures([("drained_per_second", count(u64::try_from(drained)?) / seconds)]);
    let claim_ms = before.zip(after).and_then(|(before, after)| after.claim_ms_since(before));
    found.extend(claim_ms.map(|mean| ("claim_ms".to_owned(), mean)));
    Ok(found)
}

/// The median and the longest of all lists, twelve times each.
async fn lists(address: std::net::SocketAddr) -> anyhow::Result<(f64, f64)> {
    const ROUNDS: usize = 12;
    let client = http_client::local_client(Duration::from_secs(10))?;
    let mut times = Vec::new();
    for path in LISTS {
        for round in 0..=ROUNDS {
            let began = Instant::now();
            let answer = client.get(format!("http://{address}{path}")).send().await?;
            answer.error_for_status().with_context(|| (*path).to_owned())?.bytes().await?;
            if round > 0 {
                times.push(began.elapsed().as_secs_f64() * 1000.0);
            }
        }
    }
    times.sort_unstable_by(f64::total_cmp);
    let at = |place: usize| times.get(place).copied().unwrap_or(f64::NAN);
    Ok((at(times.len() / 2), at(times.len().saturating_sub(1))))
}
