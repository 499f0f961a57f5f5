//! The program's own needs: memory at its limits, and startup time.

use super::figures;
use super::ingest::{NOTION, must_be_there};
use crate::events::{Recipe, Requests};
use crate::figures::Figures;
use crate::generator::{Load, Pace, count, send};
use crate::world::World;
use anyhow::bail;
use eventbridge::ingest::BODY_BYTES_MAX;
use std::sync::Arc;
use std::time::Duration;

/// Each of many connections sends bodies of the largest size: the excess is shed.
pub async fn memory(world: &World) -> anyhow::Result<Figures> {
    const CONNECTIONS: usize = 256;
    let database = world.database("bench_memory").await?;
    database.pause(NOTION).await?;
    let program = world.service(&database).start().await?;
    let before = program.memory_peak_mb().unwrap_or(f64::NAN);
    // A part of the size is the event itself.
    let recipe = Recipe { padding: BODY_BYTES_MAX - 4096, ..Recipe::of(3 * CONNECTIONS) };
    let requests = Arc::new(tokio::task::spawn_blocking(move || Requests::make(recipe)).await?);
    let length = world.options.length();
    let load = Load { address: program.address, connections: CONNECTIONS, pace: Pace::Closed, length };
    let outcome = send(load, &requests, "memory").await?;
    let refused: u64 = outcome.refused.values().sum();
    if outcome.refused.keys().any(|status| *status != 503) {
        bail!("answers were neither 200 nor 503: {:?}", outcome.refused);
    }
    let peak = program.memory_peak_mb().unwrap_or(f64::NAN);
    program.stop().await?;
    must_be_there(&database, 0, outcome.new).await?;
    world.finish(database).await?;
    Ok(figures([
        ("at_rest_mb", before),
        ("peak_mb", peak),
        ("taken", count(outcome.new)),
        ("refused", count(refused)),
        ("broken", count(outcome.broken)),
    ]))
}

/// From the start of the process to its first 200, with a current schema.
pub async fn start(world: &World) -> anyhow::Result<Figures> {
    const ROUNDS: usize = 10;
    let database = world.database("bench_start").await?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let program = world.service(&database).start().await?;
        times.push(program.ready_after.as_secs_f64() * 1000.0);
        let requests = Arc::new(Requests::make(Recipe::of(1)));
        let load = Load {
            address: program.address,
            connections: 1,
            pace: Pace::Closed,
            length: Duration::from_secs(5),
        };
        send(load, &requests, "start").await?.must_be_whole()?;
        program.stop().await?;
    }
    times.sort_unstable_by(f64::total_cmp);
    world.finish(database).await?;
    let at = |place: usize| times.get(place).copied().unwrap_or(f64::NAN);
    Ok(figures([("p50_ms", at(times.len() / 2)), ("max_ms", at(times.len() - 1))]))
}
