//! Holds: what only the operator can mend stops an instance on all replicas, and a probe lets it go on.

use super::desk::StoreDesk;
use super::held::Held;
use super::instances::Instances;
use crate::destinations::Probe;
use crate::domain::delivery::Trouble;
use crate::store::{Hold, Store, Wake};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Holds instances and probes those that are held.
#[derive(Clone)]
pub(super) struct Holds {
    pub(super) store: Store,
    pub(super) wake: Wake,
    pub(super) held: Held,
    pub(super) instances: Arc<Instances>,
    /// The time between two probes of one instance.
    pub(super) probe_every: Duration,
}

impl Holds {
    /// Holds an instance for this trouble.
    pub(super) async fn hold(&self, instance: &str, trouble: &Trouble) {
        let hold = Hold {
            class: trouble.failure.class.clone(),
            reason: trouble.failure.message.clone(),
            remedy: trouble.remedy.clone(),
        };
        match self.store.hold(instance, &hold, self.probe_every).await {
            Ok(true) => error!(instance, class = hold.class, remedy = hold.remedy, "held until it is mended"),
            Ok(false) => {}
            Err(error) => warn!(%error, instance, "could not hold it"),
        }
    }

    /// Probes what is held, until told to stop.
    pub(super) async fn watch(self, stop: CancellationToken) {
        const LOOK_MIN: Duration = Duration::from_millis(10);
        let look_every = (self.probe_every / 4).max(LOOK_MIN);
        let probing = async {
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
        let due = match self.store.take_probes(&self.instances.names(), self.probe_every).await {
            Ok(due) => due,
            Err(error) => {
                warn!(%error, "could not see what is to be probed");
                return;
            }
        };
        for instance in due {
            let Some(destination) = self.instances.get(&instance) else { continue };
            let desk = StoreDesk { store: &self.store, held: &self.held, fence: None, instance: &instance };
            match destination.probe(&desk).await {
                Probe::Works => self.resume(&instance).await,
                Probe::Held(trouble) => self.hold(&instance, &trouble).await,
                Probe::Unclear => {}
            }
        }
    }

    async fn resume(&self, instance: &str) {
        match self.store.resume(instance).await {
            Ok(true) => {
                info!(instance, "works again; deliveries go on");
                self.wake.ring();
            }
            Ok(false) => {}
            Err(error) => warn!(%error, instance, "works again, but could not be resumed"),
        }
    }
}
