//! What is done to the world, and when: every kind of misery has a beat of its own, all of them
//! drawn from the seed.

use crate::Sabotage;
use crate::watch::{STEADY, Watch};
use crate::world::{LATE_MS_MAX, Process, Replica, World};
use eventbridge::devserver::sandbox::{Fault, FaultError, FaultRule, Route, SandboxHandle};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The longest that the leases of a dead process may stand while somebody could free them.
const RESCUE_MAX: Duration = Duration::from_secs(20);

/// How long a rescue is waited for, whatever else happens.
const RESCUE_WAIT_MAX: Duration = Duration::from_mins(2);

/// The guardian of Postgres gives up after ten restarts of a server that never stayed up for a
/// minute, starts that failed included.
const POSTGRES_KILLS_IN_A_ROW: u32 = 3;
const POSTGRES_STEADY: Duration = Duration::from_secs(62);

/// How often each misery strikes, in seconds between two strikes.
struct Beats {
    kill: Range<f64>,
    freeze: Range<f64>,
    freeze_for: [Range<f64>; 2],
    terminate: Range<f64>,
    postgres: Range<f64>,
    operator: Range<f64>,
}

impl Beats {
    fn of(sabotage: Option<Sabotage>) -> Self {
        let usual = Self {
            kill: 2.0..6.0,
            freeze: 8.0..24.0,
            // Short enough to stay alive, and long enough to be buried.
            freeze_for: [1.0..8.0, 12.0..25.0],
            terminate: 15.0..40.0,
            postgres: 8.0..25.0,
            operator: 15.0..40.0,
        };
        match sabotage {
            // A stale lease does harm while its heir still runs: both must live to see that.
            Some(Sabotage::Fence) => Self {
                kill: 300.0..600.0,
                freeze: 21.0..23.0,
                freeze_for: [16.0..20.0, 16.0..20.0],
                terminate: 300.0..600.0,
                postgres: 300.0..600.0,
                operator: 300.0..600.0,
            },
            Some(Sabotage::Commit) => Self { postgres: 4.0..8.0, ..usual },
            _ => usual,
        }
    }
}

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

/// What all beats share.
struct Hand {
    world: Arc<World>,
    watch: Watch,
    report: Mutex<Report>,
    /// Rescues that are still waited for.
    rescues: tokio::sync::Mutex<JoinSet<()>>,
}

impl Chaos {
    /// Makes the sandbox misbehave and begins to strike.
    pub fn start(world: &Arc<World>, watch: &Watch) -> anyhow::Result<Self> {
        let options = &world.options;
        let mut seeds = StdRng::seed_from_u64(options.seed ^ 0x00C4_A055);
        set_faults(&world.sandbox.handle(), &faults(options.sabotage, options.limited, &mut seeds))?;
        let hand = Arc::new(Hand {
            world: world.clone(),
            watch: watch.clone(),
            report: Mutex::default(),
            rescues: tokio::sync::Mutex::default(),
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
        let mut rescues = self.hand.rescues.lock().await;
        while rescues.join_next().await.is_some() {}
        Ok(self.hand.report().clone())
    }
}

impl Hand {
    fn report(&self) -> std::sync::MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, strike: &'static str) {
        *self.report().strikes.entry(strike).or_default() += 1;
    }

    /// The rules of the mix count down from the greatest number; those of a short strike do not.
    fn count_faults(&self, rules: &[FaultRule]) {
        for rule in rules {
            let left = rule.times.unwrap_or(u32::MAX);
            if left > u32::MAX / 2 {
                *self.report().faults.entry(name(&rule.fault)).or_default() += u64::from(u32::MAX - left);
            }
        }
    }

    /// Strikes a random replica at every beat; the blow falls while the beat goes on.
    async fn strike_replicas(
        self: Arc<Self>,
        mut rng: StdRng,
        beat: Range<f64>,
        stop: CancellationToken,
        blow: impl Fn(&mut StdRng) -> Blow,
    ) {
        let mut falling = JoinSet::new();
        while wait(&mut rng, &beat, &stop).await {
            let first = rng.random_range(0..2);
            let blow = blow(&mut rng);
            let away = Duration::from_secs_f64(rng.random_range(0.0..3.0));
            // One that another blow has hit is left alone; then the next one takes it.
            while !stop.is_cancelled() {
                if let Some((replica, process)) = self.victim(first, blow) {
                    let (hand, stop) = (self.clone(), stop.clone());
                    falling.spawn(async move { hand.strike(&replica, process, blow, away, stop).await });
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while falling.join_next().await.is_some() {}
    }

    fn victim(&self, first: usize, blow: Blow) -> Option<(Arc<Replica>, OwnedMutexGuard<Process>)> {
        let replicas = &self.world.replicas;
        [first, 1 - first].into_iter().filter_map(|place| replicas.get(place)).find_map(|replica| {
            let process = replica.process.clone().try_lock_owned().ok()?;
            // Only one that listens is known to hear signals.
            let ready = process.id().is_some() && (process.listens || matches!(blow, Blow::Kill));
            ready.then(|| (replica.clone(), process))
        })
    }

    async fn strike(
        self: Arc<Self>,
        replica: &Replica,
        mut process: OwnedMutexGuard<Process>,
        blow: Blow,
        away: Duration,
        stop: CancellationToken,
    ) {
        replica.set_works(false);
        let struck = match blow {
            Blow::Kill => self.kill(&mut process).await,
            Blow::Freeze(length) => self.freeze(&process, length, &stop).await,
            Blow::Terminate => self.terminate(&mut process).await,
        };
        if let Err(error) = struck {
            self.watch.breach("a blow could not be struck", vec![format!("{blow:?}: {error:#}")]);
        }
        if process.id().is_some() {
            replica.set_works(true);
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(away) => {}
        }
        if let Err(error) = replica.start(&mut process) {
            self.watch.breach("a replica could not be started", vec![error.to_string()]);
        }
    }

    async fn kill(self: &Arc<Self>, process: &mut Process) -> anyhow::Result<()> {
        process.kill().await?;
        self.count("kill -9 of a replica");
        let hand = self.clone();
        let label = process.label.clone();
        self.rescues.lock().await.spawn(async move { hand.watch_rescue(&label).await });
        Ok(())
    }

    async fn freeze(
        &self,
        process: &Process,
        length: Duration,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        process.signal("STOP").await?;
        self.count("SIGSTOP of a replica");
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(length) => {}
        }
        process.signal("CONT").await
    }

    async fn terminate(&self, process: &mut Process) -> anyhow::Result<()> {
        self.count("SIGTERM of a replica");
        match process.terminate().await? {
            Some(status) if status.success() => {}
            ended => self.watch.breach(
                "a replica did not end well after SIGTERM",
                vec![format!("{}: {ended:?}", process.label)],
            ),
        }
        Ok(())
    }

    async fn strike_postgres(self: Arc<Self>, mut rng: StdRng, beat: Range<f64>, stop: CancellationToken) {
        let mut in_a_row = 0;
        while wait(&mut rng, &beat, &stop).await {
            let up = self.watch.database_up_for();
            in_a_row = if up >= POSTGRES_STEADY { 0 } else { in_a_row };
            if up.is_zero() || in_a_row >= POSTGRES_KILLS_IN_A_ROW {
                continue;
            }
            match self.world.kill_postgres().await {
                Ok(()) => {
                    in_a_row += 1;
                    self.count("kill -9 of Postgres");
                }
                Err(error) => self.watch.breach("Postgres could not be killed", vec![error.to_string()]),
            }
        }
    }

    /// Now and then Notion refuses what only its user can mend, for a few calls.
    async fn strike_operator(self: Arc<Self>, mut rng: StdRng, beat: Range<f64>, stop: CancellationToken) {
        const NEITHER_READ_NOR_UPDATED: [Route; 3] = [Route::Create, Route::Query, Route::Schema];
        while wait(&mut rng, &beat, &stop).await {
            let times = rng.random_range(1..=5);
            let route = NEITHER_READ_NOR_UPDATED.get(rng.random_range(0..3)).copied().unwrap_or_default();
            let rule = match rng.random_range(0..4) {
                0 => FaultRule::once(Fault::Unauthorized),
                1 => FaultRule::once(Fault::Restricted),
                // Of a page it would mean that the page is gone.
                2 => FaultRule::once(Fault::Unshared).on(route),
                _ => FaultRule::once(Fault::RateLimited { retry_after: None, blocked: true }),
            };
            let rule = if self.world.options.limited && matches!(rule.fault, Fault::RateLimited { .. }) {
                FaultRule::once(Fault::Unauthorized)
            } else {
                rule
            };
            if self.world.sandbox.handle().fault(rule.times(times)).is_ok() {
                self.count("refusals that the user must mend");
            }
        }
    }

    /// Waits until a killed process is buried and its leases are free. Time in which nobody could
    /// have done that is told apart.
    async fn watch_rescue(&self, process: &str) {
        const LOOK: Duration = Duration::from_millis(100);
        let began = Instant::now();
        let (mut held, mut could_be, mut last) = (None, Duration::ZERO, began);
        while began.elapsed() < RESCUE_WAIT_MAX {
            let somebody =
                self.watch.database_up_for() >= STEADY && self.world.some_replica_works_since(STEADY);
            could_be += if somebody { last.elapsed() } else { Duration::ZERO };
            last = Instant::now();
            let remains = sqlx::query_as::<_, (i64, i64)>(
                "with dead as (select worker_id from torture.holders where process = $1)
                 select (select count(*) from eventbridge.workers where id in (select worker_id from dead)),
                        (select count(*) from eventbridge.leases
                          where worker_id in (select worker_id from dead))",
            )
            .bind(process)
            .fetch_one(&self.world.database);
            if let Ok(Ok((workers, leases))) = tokio::time::timeout(Duration::from_secs(1), remains).await {
                let known = held.is_some();
                held = held.or(Some(leases > 0));
                if workers + leases == 0 {
                    // One that was never registered had nothing to be freed.
                    if known {
                        let rescue = Rescue { held: held == Some(true), took: began.elapsed() };
                        self.report().rescues.push(rescue);
                        if could_be > RESCUE_MAX {
                            let evidence = vec![format!("process {process}: {could_be:?}")];
                            self.watch.breach("the leases of the dead stood for more than 20 s", evidence);
                        }
                    }
                    return;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        self.watch.breach("a dead process was never buried", vec![format!("process {process}")]);
    }
}

/// Waits for the next beat; `false` at the end.
async fn wait(rng: &mut StdRng, beat: &Range<f64>, stop: &CancellationToken) -> bool {
    let pause = Duration::from_secs_f64(rng.random_range(beat.clone()));
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(pause) => true,
    }
}

/// What goes wrong at Notion, about one call in five: every fault that a service must live through
/// by itself. `invalid` is left out, since it rightly ends an execution as failed.
fn faults(sabotage: Option<Sabotage>, limited: bool, rng: &mut StdRng) -> Vec<FaultRule> {
    let often = |fault, probability| FaultRule::always(fault).times(u32::MAX).with_probability(probability);
    if sabotage == Some(Sabotage::Fence) {
        // The answer to one that was taken for dead comes late, its heir is still looking when it
        // wakes up, and nothing else keeps the two from meeting.
        return vec![
            often(Fault::Slow { delay_ms: 4000 }, 0.1).on(Route::Create),
            often(Fault::Slow { delay_ms: 8000 }, 1.0).on(Route::Query),
        ];
    }
    let mut rules = vec![
        often(Fault::Overloaded { retry_after: Some(1) }, 0.008),
        often(Fault::Overloaded { retry_after: None }, 0.001),
        often(Fault::Conflict, 0.012),
        often(Fault::Error { status: 500 }, 0.008),
        often(Fault::Error { status: 502 }, 0.008),
        often(Fault::Error { status: 503 }, 0.010),
        often(Fault::Error { status: 504 }, 0.008),
        often(Fault::ErrorAfterWrite { status: 500 }, 0.012),
        often(Fault::ErrorAfterWrite { status: 503 }, 0.012),
        often(Fault::Committed, 0.012),
        often(Fault::Html, 0.012),
        often(Fault::Drop, 0.016),
        often(Fault::DropAfterWrite, 0.016),
    ];
    for _ in 0..4 {
        rules.push(often(Fault::DropThenWrite { delay_ms: rng.random_range(0..=LATE_MS_MAX) }, 0.010));
    }
    rules.extend([
        often(Fault::Slow { delay_ms: 200 }, 0.01),
        often(Fault::Slow { delay_ms: 1500 }, 0.01),
        often(Fault::Slow { delay_ms: 4000 }, 0.01),
        // A slow read puts the write after it far from the beginning of its try.
        often(Fault::Slow { delay_ms: 5000 }, 0.15).on(Route::Query),
        often(Fault::Slow { delay_ms: 5000 }, 0.10).on(Route::Schema),
        // Two at once leave a second of the settle time after the latest write.
        often(Fault::QueryLag { delay_ms: 700 }, 0.03).on(Route::Create),
        often(Fault::QueryLag { delay_ms: 1300 }, 0.03).on(Route::Create),
    ]);
    if !limited {
        rules.push(often(Fault::RateLimited { retry_after: Some(1), blocked: false }, 0.010));
        rules.push(often(Fault::RateLimited { retry_after: None, blocked: false }, 0.001));
    }
    if sabotage == Some(Sabotage::Look) {
        rules.push(often(Fault::QueryLag { delay_ms: 600_000 }, 1.0).on(Route::Create));
    }
    rules
}

fn set_faults(sandbox: &SandboxHandle, rules: &[FaultRule]) -> Result<(), FaultError> {
    rules.iter().try_for_each(|rule| sandbox.fault(rule.clone()))
}

fn name(fault: &Fault) -> String {
    let json = serde_json::to_value(fault).unwrap_or_default();
    json.get("kind").and_then(serde_json::Value::as_str).unwrap_or("unknown").to_owned()
}
