//! Injects faults into replicas, Postgres and Notion.

use super::intervals::wait;
use super::notion_faults;
use super::{ProcessFault, Report};
use crate::observer::Observer;
use crate::world::{END_MAX, Process, Replica, World};
use notion_sandbox::{Fault, FaultRule, Route};
use rand::RngExt;
use rand::rngs::StdRng;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How many calls in a row are rejected.
const REFUSALS_MAX: u32 = 5;

/// The supervisor of Postgres stops after ten restarts of a server that never ran for a minute, including
/// failed starts.
const POSTGRES_KILLS_IN_A_ROW: u32 = 3;
const POSTGRES_STEADY: Duration = Duration::from_secs(62);

/// The shared state of all kinds of faults.
pub(super) struct Injector {
    pub(super) world: Arc<World>,
    pub(super) observer: Observer,
    pub(super) report: Mutex<Report>,
    /// The rescues that are still awaited.
    pub(super) rescues: tokio::sync::Mutex<JoinSet<()>>,
}

impl Injector {
    pub(super) fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, fault: &'static str) {
        *self.report().injected.entry(fault).or_default() += 1;
    }

    /// Counts the faults of the mix. Its rules count down from the greatest number; those for rejected
    /// calls do not.
    pub(super) fn count_notion_faults(&self, rules: &[FaultRule]) {
        for rule in rules {
            let left = rule.times.unwrap_or(u32::MAX);
            if left > u32::MAX / 2 {
                *self.report().notion_faults.entry(notion_faults::name(&rule.fault)).or_default() +=
                    u64::from(u32::MAX - left);
            }
        }
    }

    /// Injects a fault into a random replica at each interval. The fault lasts while the intervals go on.
    pub(super) async fn inject_into_replicas(
        self: Arc<Self>,
        mut rng: StdRng,
        interval: Range<f64>,
        stop: CancellationToken,
        fault: impl Fn(&mut StdRng) -> ProcessFault,
    ) {
        let mut running = JoinSet::new();
        while wait(&mut rng, &interval, &stop).await {
            let first = rng.random_range(0..2);
            let fault = fault(&mut rng);
            let away = Duration::from_secs_f64(rng.random_range(0.0..3.0));
            // A replica already hit by another fault is skipped; then the other one is chosen.
            while !stop.is_cancelled() {
                if let Some((replica, process)) = self.victim(first, fault) {
                    let (injector, stop) = (self.clone(), stop.clone());
                    running.spawn(async move { injector.inject(&replica, process, fault, away, stop).await });
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while running.join_next().await.is_some() {}
    }

    fn victim(&self, first: usize, fault: ProcessFault) -> Option<(Arc<Replica>, OwnedMutexGuard<Process>)> {
        let replicas = &self.world.replicas;
        [first, 1 - first].into_iter().filter_map(|place| replicas.get(place)).find_map(|replica| {
            let process = replica.process.clone().try_lock_owned().ok()?;
            // Only a process that listens is known to handle signals.
            let ready = process.id().is_some() && (process.listens || matches!(fault, ProcessFault::Kill));
            ready.then(|| (replica.clone(), process))
        })
    }

    async fn inject(
        self: Arc<Self>,
        replica: &Replica,
        mut process: OwnedMutexGuard<Process>,
        fault: ProcessFault,
        away: Duration,
        stop: CancellationToken,
    ) {
        replica.set_works(false);
        let injected = match fault {
            ProcessFault::Kill => self.kill(&mut process).await,
            ProcessFault::Freeze(length) => self.freeze(&process, length, &stop).await,
            ProcessFault::Terminate => self.terminate(&mut process).await,
        };
        if let Err(error) = injected {
            self.observer.breach("a fault could not be injected", vec![format!("{fault:?}: {error:#}")]);
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
            self.observer.breach("a replica could not be started", vec![error.to_string()]);
        }
    }

    async fn kill(self: &Arc<Self>, process: &mut Process) -> anyhow::Result<()> {
        process.kill().await?;
        self.count("kill -9 of a replica");
        let injector = self.clone();
        let label = process.label.clone();
        self.rescues.lock().await.spawn(async move { injector.watch_rescue(&label).await });
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
        match process.terminate(self.world.options.bound(END_MAX)).await? {
            Some(status) if status.success() => {}
            ended => self.observer.breach(
                "a replica did not exit cleanly after SIGTERM",
                vec![format!("{}: {ended:?}", process.label)],
            ),
        }
        Ok(())
    }

    pub(super) async fn kill_postgres(
        self: Arc<Self>,
        mut rng: StdRng,
        interval: Range<f64>,
        stop: CancellationToken,
    ) {
        let mut in_a_row = 0;
        while wait(&mut rng, &interval, &stop).await {
            let up = self.observer.database_up_for();
            in_a_row = if up >= POSTGRES_STEADY { 0 } else { in_a_row };
            if up.is_zero() || in_a_row >= POSTGRES_KILLS_IN_A_ROW {
                continue;
            }
            match self.world.kill_postgres().await {
                Ok(()) => {
                    in_a_row += 1;
                    self.count("kill -9 of Postgres");
                }
                Err(error) => self.observer.breach("Postgres could not be killed", vec![error.to_string()]),
            }
        }
    }

    /// At random intervals Notion rejects a few calls with an error that only the operator can fix.
    pub(super) async fn refuse_at_notion(
        self: Arc<Self>,
        mut rng: StdRng,
        interval: Range<f64>,
        stop: CancellationToken,
    ) {
        const NEITHER_READ_NOR_UPDATED: [Route; 3] = [Route::Create, Route::Query, Route::Schema];
        let sandbox = self.world.sandbox.handle();
        while wait(&mut rng, &interval, &stop).await {
            // While the instance is paused, only probes use a rejection up. If rejections came faster
            // than that, the instance would stay paused and nothing else would be tested.
            if sandbox
                .faults()
                .iter()
                .any(|rule| rule.times.is_some_and(|left| (1..=REFUSALS_MAX).contains(&left)))
            {
                continue;
            }
            let times = rng.random_range(1..=REFUSALS_MAX);
            let route = NEITHER_READ_NOR_UPDATED.get(rng.random_range(0..3)).copied().unwrap_or_default();
            let rule = match rng.random_range(0..4) {
                0 => FaultRule::once(Fault::Unauthorized),
                1 => FaultRule::once(Fault::Restricted),
                // On a page it would mean that the page was removed.
                2 => FaultRule::once(Fault::Unshared).on(route),
                // Every probe that meets it blocks the token for the stated time.
                _ => FaultRule::once(Fault::RateLimited { retry_after: Some(1), blocked: true }),
            };
            let rule = if self.world.options.limited && matches!(rule.fault, Fault::RateLimited { .. }) {
                FaultRule::once(Fault::Unauthorized)
            } else {
                rule
            };
            if sandbox.fault(rule.times(times)).is_ok() {
                self.count("refusals that the operator must fix");
            }
        }
    }
}
