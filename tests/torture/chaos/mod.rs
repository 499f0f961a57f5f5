//! What is done to the world, and when: every kind of misery has a beat of its own, all of them
//! drawn from the seed.

mod beats;
mod burial;
mod faults;
mod hand;

use crate::watch::Watch;
use crate::world::World;
use beats::Beats;
use hand::Hand;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The longest that the leases of a dead process may stand while somebody could free them.
const RESCUE_MAX: Duration = Duration::from_secs(20);

/// Chaos at work.
pub struct Chaos {
    hand: Arc<Hand>,
    stop: CancellationToken,
    beats: JoinSet<()>,
}

/// What was done, and what came of it.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How often each misery struck.
    pub strikes: BTreeMap<&'static str, u64>,
    /// How often each fault of the sandbox struck.
    pub faults: BTreeMap<String, u64>,
    /// From each kill -9 until the process was buried and its leases were free.
    pub rescues: Vec<Rescue>,
    /// From a kill -9 until an execution that was under way then was delivered, where that was
    /// measured.
    pub delivered: Vec<Duration>,
}

/// How the dead were buried.
#[derive(Debug, Clone, Copy)]
pub struct Rescue {
    /// Whether it held leases when it was killed.
    pub held: bool,
    /// From the kill on, Postgres' own restarts included.
    pub took: Duration,
}

/// A misery that befalls a replica.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Kill,
    Freeze(Duration),
    Terminate,
}

impl Chaos {
    /// Makes the sandbox misbehave and begins to strike.
    pub fn start(world: &Arc<World>, watch: &Watch) -> anyhow::Result<Self> {
        let options = &world.options;
        let mut seeds = StdRng::seed_from_u64(options.seed ^ 0x00C4_A055);
        for rule in faults::mix(options.sabotage, options.limited, &mut seeds) {
            world.sandbox.handle().fault(rule)?;
        }
        let hand = Arc::new(Hand {
            world: world.clone(),
            watch: watch.clone(),
            report: Mutex::default(),
            burials: tokio::sync::Mutex::default(),
        });
        let stop = CancellationToken::new();
        let mut beats = JoinSet::new();
        let all = Beats::of(options.sabotage);
        let mut rng = || StdRng::seed_from_u64(seeds.random());
        beats.spawn(hand.clone().strike_replicas(rng(), all.kill, stop.clone(), |_| Blow::Kill));
        let [short, long] = all.freeze_for;
        beats.spawn(hand.clone().strike_replicas(rng(), all.freeze, stop.clone(), move |rng| {
            let range = if rng.random_bool(0.5) { short.clone() } else { long.clone() };
            Blow::Freeze(Duration::from_secs_f64(rng.random_range(range)))
        }));
        beats.spawn(hand.clone().strike_replicas(rng(), all.terminate, stop.clone(), |_| Blow::Terminate));
        beats.spawn(hand.clone().strike_postgres(rng(), all.postgres, stop.clone()));
        beats.spawn(hand.clone().strike_operator(rng(), all.operator, stop.clone()));
        Ok(Self { hand, stop, beats })
    }

    /// Stops striking, lets the sandbox behave, and waits until both replicas run.
    pub async fn finish(mut self) -> anyhow::Result<Report> {
        self.stop.cancel();
        while let Some(ended) = self.beats.join_next().await {
            ended?;
        }
        let sandbox = self.hand.world.sandbox.handle();
        self.hand.count_faults(&sandbox.faults());
        sandbox.clear_faults();
        for replica in &self.hand.world.replicas {
            let mut process = replica.process.lock().await;
            if process.child.is_none() {
                replica.start(&mut process)?;
            }
        }
        let mut burials = self.hand.burials.lock().await;
        while burials.join_next().await.is_some() {}
        Ok(self.hand.report().clone())
    }
}
