//! Pauses of destination instances, and the probes that end them.
//!
//! If only the operator can fix what is wrong, the instance is paused on all replicas. A probe resumes it
//! once that is fixed. A probe only reads. If reading cannot tell, one execution is tried while the pause
//! lasts, the canary; each canary that fails delays the next one.

use super::delivery_context::WorkerDeliveryContext;
use super::destination_map::DestinationMap;
use super::instances::InstanceStates;
use super::lease_registry::LeaseRegistry;
use super::rate_limit_backoff::RateLimitBackoff;
use super::store_parts::WorkerStore;
use crate::destinations::Probe;
use crate::domain::delivery::{Failure, Outcome};
use crate::domain::execution::ExecutionId;
use crate::domain::failure::REMEDY_UNKNOWN;
use crate::store::{DueProbe, Notifier, Pause};
use crate::telemetry::{Metrics, Panicked, catch_panic};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// The longest time between two canaries of a paused instance.
const CANARY_EVERY_MAX: Duration = Duration::from_mins(5);

/// The shortest time between two checks for due probes.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(10);

/// Pauses, probes and resumes instances.
#[derive(Clone)]
pub(super) struct DestinationPause {
    pub(super) store: WorkerStore,
    pub(super) notifier: Notifier,
    pub(super) leases: LeaseRegistry,
    pub(super) backoff: RateLimitBackoff,
    pub(super) destinations: DestinationMap,
    pub(super) instances: Arc<InstanceStates>,
    /// The time between two probes of one instance.
    pub(super) probe_every: Duration,
    pub(super) metrics: Metrics,
}

impl DestinationPause {
    /// Pauses an instance because of a failure, which may have occurred on an execution.
    pub(super) async fn pause(&self, instance: &str, failure: &Failure, execution: Option<ExecutionId>) {
        let pause = Pause {
            class: failure.class.clone(),
            reason: failure.message.clone(),
            remedy: failure.remedy.clone().unwrap_or_else(|| REMEDY_UNKNOWN.to_owned()),
            execution,
            by: None,
        };
        match self.store.destinations.pause(instance, &pause, self.probe_every).await {
            Ok(true) => error!(instance, class = pause.class, remedy = pause.remedy, "destination paused"),
            Ok(false) => {}
            Err(error) => warn!(%error, instance, "pausing a destination failed"),
        }
    }

    /// Resumes an instance.
    pub(super) async fn resume(&self, instance: &str) {
        match self.store.destinations.resume(instance).await {
            Ok(true) => {
                info!(instance, "destination resumed");
                self.notifier.notify();
            }
            Ok(false) => {}
            Err(error) => warn!(%error, instance, "resuming a destination failed"),
        }
    }

    /// Probes paused instances until `stop` is cancelled. The first probe comes at once, whenever the next
    /// one is due.
    pub(super) async fn probe_until(self, stop: CancellationToken) {
        let look_every = (self.probe_every / 4).max(LOOK_EVERY_MIN);
        let probing = async {
            if let Err(error) = self.store.destinations.probe_now(self.instances.names()).await {
                warn!(%error, "scheduling the first probes failed");
            }
            loop {
                tokio::time::sleep(look_every).await;
                self.run_due_probes().await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = probing => {}
        }
    }

    async fn run_due_probes(&self) {
        let due = match self.store.destinations.take_probes(self.instances.names(), self.probe_every).await {
            Ok(due) => due,
            Err(error) => {
                warn!(%error, "reading the probes that are due failed");
                return;
            }
        };
        for DueProbe { instance, class } in due {
            let Some(destination) = self.destinations.get(&instance) else { continue };
            let context = WorkerDeliveryContext {
                store: &self.store,
                leases: &self.leases,
                backoff: &self.backoff,
                lease: None,
                instance: &instance,
                lane: None,
            };
            let probed =
                catch_panic(&self.metrics, Panicked::Task, destination.probe(&context, &class)).await;
            match probed.unwrap_or(Probe::Unclear) {
                Probe::Works => self.resume(&instance).await,
                Probe::NeedsCanary => {
                    self.instances.want_canary(&instance);
                    self.notifier.notify();
                }
                Probe::StillFails(failure) => self.pause(&instance, &failure, None).await,
                Probe::Unclear => {}
            }
        }
    }

    /// Decides after a canary whether its instance is resumed.
    pub(super) async fn record_canary(&self, instance: &str, outcome: &Outcome) {
        match outcome {
            Outcome::NeedsOperator(_) => {
                if let Err(error) = self.store.destinations.put_off_probe(instance, CANARY_EVERY_MAX).await {
                    warn!(%error, instance, "delaying the next probe failed");
                }
            }
            Outcome::Delivered { status: Some(_), .. }
            | Outcome::Skipped { .. }
            | Outcome::Gone(_)
            | Outcome::Permanent(_)
            // The others can be delivered.
            | Outcome::Blocked { .. } => self.resume(instance).await,
            // Nothing was sent, or no answer came: the next probe tries again.
            Outcome::Delivered { status: None, .. }
            | Outcome::Transient { .. }
            | Outcome::Throttled { .. }
            | Outcome::Ambiguous { .. }
            | Outcome::InDoubt { .. } => {}
        }
    }
}
