//! Holds: what only the operator can mend stops an instance on all replicas, and a probe lets it go on.
//!
//! A probe reads. Where reading cannot tell, a single execution is tried while the hold stays; each
//! such try that fails puts the next one off for longer.

use super::delivery_context::WorkerDeliveryContext;
use super::instances::Instances;
use super::lease_registry::LeaseRegistry;
use super::rate_limit_backoff::RateLimitBackoff;
use crate::destinations::Probe;
use crate::domain::delivery::{Outcome, Trouble};
use crate::domain::execution::ExecutionId;
use crate::store::{DueProbe, Hold, Store, Wake};
use crate::telemetry::{Metrics, Panicked, contained};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Holds instances and probes those that are held.
#[derive(Clone)]
pub(super) struct Holds {
    pub(super) store: Store,
    pub(super) wake: Wake,
    pub(super) leases: LeaseRegistry,
    pub(super) backoff: RateLimitBackoff,
    pub(super) instances: Arc<Instances>,
    /// The time between two probes of one instance.
    pub(super) probe_every: Duration,
    pub(super) metrics: Metrics,
}

/// The longest time between two tries of a held instance with a single execution.
const CANARY_EVERY_MAX: Duration = Duration::from_mins(5);

impl Holds {
    /// Holds an instance for this trouble, which may have shown on an execution.
    pub(super) async fn hold(&self, instance: &str, trouble: &Trouble, execution: Option<ExecutionId>) {
        let hold = Hold {
            class: trouble.failure.class.clone(),
            reason: trouble.failure.message.clone(),
            remedy: trouble.remedy.clone(),
            execution,
        };
        match self.store.destinations.hold(instance, &hold, self.probe_every).await {
            Ok(true) => error!(instance, class = hold.class, remedy = hold.remedy, "held until it is mended"),
            Ok(false) => {}
            Err(error) => warn!(%error, instance, "could not hold it"),
        }
    }

    /// Probes what is held, until told to stop; once at the start, however far off the next probe is.
    pub(super) async fn watch(self, stop: CancellationToken) {
        const LOOK_MIN: Duration = Duration::from_millis(10);
        let look_every = (self.probe_every / 4).max(LOOK_MIN);
        let probing = async {
            if let Err(error) = self.store.destinations.probe_now(&self.instances.names()).await {
                warn!(%error, "what is held is probed only later");
            }
            loop {
                tokio::time::sleep(look_every).await;
                self.probe_what_is_due().await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = probing => {}
        }
    }

    async fn probe_what_is_due(&self) {
        let due = match self.store.destinations.take_probes(&self.instances.names(), self.probe_every).await {
            Ok(due) => due,
            Err(error) => {
                warn!(%error, "could not see what is to be probed");
                return;
            }
        };
        for DueProbe { instance, class } in due {
            let Some(destination) = self.instances.get(&instance) else { continue };
            let context = WorkerDeliveryContext {
                store: &self.store,
                leases: &self.leases,
                backoff: &self.backoff,
                fence: None,
                instance: &instance,
                lane: None,
            };
            let probed = contained(&self.metrics, Panicked::Task, destination.probe(&context, &class)).await;
            match probed.unwrap_or(Probe::Unclear) {
                Probe::Works => self.resume(&instance).await,
                Probe::TryOne => {
                    self.instances.want_canary(&instance);
                    self.wake.ring();
                }
                Probe::Held(trouble) => self.hold(&instance, &trouble, None).await,
                Probe::Unclear => {}
            }
        }
    }

    /// Learns from the one execution with which a held instance was tried.
    pub(super) async fn learn_from_canary(&self, instance: &str, outcome: &Outcome) {
        match outcome {
            Outcome::NeedsOperator(_) => {
                if let Err(error) = self.store.destinations.put_off_probe(instance, CANARY_EVERY_MAX).await {
                    warn!(%error, instance, "could not put its next probe off");
                }
            }
            Outcome::Delivered { status: Some(_), .. }
            | Outcome::Skipped { .. }
            | Outcome::Gone(_)
            | Outcome::Permanent(_) => self.resume(instance).await,
            // Nothing was sent, or no answer came: the next probe tries again.
            Outcome::Delivered { status: None, .. }
            | Outcome::Transient { .. }
            | Outcome::Throttled { .. }
            | Outcome::Ambiguous { .. }
            | Outcome::InDoubt { .. } => {}
        }
    }

    /// Lets an instance go on.
    pub(super) async fn resume(&self, instance: &str) {
        match self.store.destinations.resume(instance).await {
            Ok(true) => {
                info!(instance, "works again; deliveries go on");
                self.wake.ring();
            }
            Ok(false) => {}
            Err(error) => warn!(%error, instance, "works again, but could not be resumed"),
        }
    }
}
