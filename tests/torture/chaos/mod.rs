//! The injected faults and their times. Each kind of fault has its own intervals; all of them follow from
//! the seed.

mod injector;
mod intervals;
mod notion_faults;
mod rescue_watch;

use crate::observer::Observer;
use crate::world::World;
use injector::Injector;
use intervals::Intervals;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The longest time that a dead process may keep leases while another process could rescue them.
const RESCUE_MAX: Duration = Duration::from_secs(20);

/// The chaos of a run.
pub struct Chaos {
    injector: Arc<Injector>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// The injected faults and their effects.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How often each kind of fault was injected.
    pub injected: BTreeMap<&'static str, u64>,
    /// How often each fault of the sandbox occurred.
    pub notion_faults: BTreeMap<String, u64>,
    /// The rescues after each kill -9.
    pub rescues: Vec<Rescue>,
    /// The time from a kill -9 until an execution that ran then was delivered, if it was measured.
    pub delivered: Vec<Duration>,
}

/// How a dead process was removed and its leases freed.
#[derive(Debug, Clone, Copy)]
pub struct Rescue {
    /// Whether it had leases when it was killed.
    pub had_leases: bool,
    /// The time from the kill, including Postgres' own restarts.
    pub took: Duration,
}

/// A fault of a replica's process.
#[derive(Debug, Clone, Copy)]
enum ProcessFault {
    Kill,
    Freeze(Duration),
    Terminate,
}

impl Chaos {
    /// Makes the sandbox inject faults and starts the other faults.
    pub fn start(world: &Arc<World>, observer: &Observer) -> anyhow::Result<Self> {
        let options = &world.options;
        let mut seeds = StdRng::seed_from_u64(options.seed ^ 0x00C4_A055);
        for rule in notion_faults::mix(options.sabotage, options.limited, &mut seeds) {
            world.sandbox.handle().fault(rule)?;
        }
        let injector = Arc::new(Injector {
            world: world.clone(),
            observer: observer.clone(),
            report: Mutex::default(),
            rescues: tokio::sync::Mutex::default(),
        });
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let all = Intervals::of(options.sabotage);
        let mut rng = || StdRng::seed_from_u64(seeds.random());
        let replicas = |interval, rng, fault: fn(&mut StdRng) -> ProcessFault| {
            injector.clone().inject_into_replicas(rng, interval, stop.clone(), fault)
        };
        tasks.spawn(replicas(all.kill, rng(), |_| ProcessFault::Kill));
        let [short, long] = all.freeze_for;
        tasks.spawn(injector.clone().inject_into_replicas(rng(), all.freeze, stop.clone(), move |rng| {
            let range = if rng.random_bool(0.5) { short.clone() } else { long.clone() };
            ProcessFault::Freeze(Duration::from_secs_f64(rng.random_range(range)))
        }));
        tasks.spawn(replicas(all.terminate, rng(), |_| ProcessFault::Terminate));
        tasks.spawn(injector.clone().kill_postgres(rng(), all.postgres, stop.clone()));
        tasks.spawn(injector.clone().refuse_at_notion(rng(), all.refusals, stop.clone()));
        Ok(Self { injector, stop, tasks })
    }

    /// Stops all faults, resets the sandbox, and waits until both replicas run.
    pub async fn finish(mut self) -> anyhow::Result<Report> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        let sandbox = self.injector.world.sandbox.handle();
        self.injector.count_notion_faults(&sandbox.faults());
        sandbox.clear_faults();
        for replica in &self.injector.world.replicas {
            let mut process = replica.process.lock().await;
            if process.child.is_none() {
                replica.start(&mut process)?;
            }
        }
        let mut rescues = self.injector.rescues.lock().await;
        while rescues.join_next().await.is_some() {}
        Ok(self.injector.report().clone())
    }
}
