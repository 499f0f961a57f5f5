//! How soon the work of a dead replica continues. `--rescue N` kills one of the two replicas with -9
//! while it holds leases, N times, and starts it again at once. There are no other faults. The test
//! measures the time from the kill until its leases are free, and until its executions are delivered.
//!
//! Notion applies each write at once and responds a second later, so a replica always has calls in
//! flight. Their pages exist when it dies, and the process that continues finds them.

use crate::chaos::{Report, Rescue};
use crate::observer::Observer;
use crate::rows;
use crate::world::{Replica, World};
use anyhow::bail;
use notion_sandbox::{Fault, FaultRule, Route};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::ops::Range;
use std::time::{Duration, Instant};

/// The latency of Notion.
const ANSWER_MS: u32 = 1000;

/// The poll interval.
const POLL: Duration = Duration::from_millis(50);

/// How long both replicas have worked, in seconds, before one is killed: long enough for either to rescue
/// the other's leases, and up to one heartbeat longer, so that the kill falls anywhere between two
/// heartbeats.
const AT_WORK: Range<f64> = 9.0..12.0;

/// The timeout of every wait.
const WAIT_MAX: Duration = Duration::from_mins(3);

/// Kills, watches and measures.
pub async fn measure(world: &World, observer: &Observer, rounds: u32) -> anyhow::Result<Report> {
    let slow = Fault::Slow { delay_ms: ANSWER_MS.into() };
    world.sandbox.handle().fault(FaultRule::always(slow).on(Route::Create))?;
    let mut rng = StdRng::seed_from_u64(world.options.seed);
    let mut report = Report::default();
    for (round, replica) in (1..=rounds).zip(world.replicas.iter().cycle()) {
        let steady = Duration::from_secs_f64(rng.random_range(AT_WORK));
        wait("both replicas are at work", async || Ok(world.all_replicas_work_since(steady))).await?;
        let Some(killed) = Killed::kill(world, replica).await? else {
            observer.breach("a replica had nothing under way", vec![replica.name.to_owned()]);
            continue;
        };
        *report.injected.entry("kill -9 of a replica").or_default() += 1;
        let free = killed.until_free(world).await?;
        let delivered = killed.until_delivered(world).await?;
        println!(
            "kill {round:3}      leases free after {free:.1?}, the last of {} delivered after {:.1?}",
            delivered.len(),
            delivered.iter().max().copied().unwrap_or_default()
        );
        report.rescues.push(Rescue { had_leases: true, took: free });
        report.delivered.extend(delivered);
    }
    world.sandbox.handle().clear_faults();
    Ok(report)
}

/// A killed process and its leases.
struct Killed {
    label: String,
    at: Instant,
    executions: Vec<i64>,
}

impl Killed {
    /// Waits until the replica holds leases, kills its process and starts another.
    async fn kill(world: &World, replica: &Replica) -> anyhow::Result<Option<Self>> {
        let mut process = replica.process.lock().await;
        let label = process.label.clone();
        let leased =
            async || -> anyhow::Result<Vec<i64>> { Ok(rows::leased_by(&world.database, &label).await?) };
        wait("it has something under way", async || Ok(!leased().await?.is_empty())).await?;
        replica.set_works(false);
        let at = Instant::now();
        process.kill().await?;
        let executions = leased().await?;
        replica.start(&mut process)?;
        Ok((!executions.is_empty()).then_some(Self { label, at, executions }))
    }

    /// How long after the kill its leases are free.
    async fn until_free(&self, world: &World) -> anyhow::Result<Duration> {
        wait("its leases are free", async || {
            Ok(rows::leased_by(&world.database, &self.label).await?.is_empty())
        })
        .await?;
        Ok(self.at.elapsed())
    }

    /// How long after the kill each of its executions is delivered.
    async fn until_delivered(&self, world: &World) -> anyhow::Result<Vec<Duration>> {
        let mut delivered = Vec::new();
        wait("what it had under way is delivered", async || {
            let count = rows::delivered(&world.database, &self.executions).await?;
            delivered.resize(usize::try_from(count)?, self.at.elapsed());
            Ok(delivered.len() == self.executions.len())
        })
        .await?;
        Ok(delivered)
    }
}

async fn wait(what: &str, mut is_so: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = Instant::now();
    while !is_so().await? {
        if began.elapsed() > WAIT_MAX {
            bail!("timed out: {what}");
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
