//! Monitoring of rescues: from a kill -9 until the process is removed and its leases are free.

use super::injector::Injector;
use super::{RESCUE_MAX, Rescue};
use crate::rows;
use std::time::{Duration, Instant};

/// How long a rescue is awaited after the end of the chaos, in any case.
const WAIT_MAX: Duration = Duration::from_mins(2);

/// A process declares others dead only after seven seconds of its own heartbeats without a gap. A rescue
/// is possible once Postgres and a replica have worked for that time and one heartbeat.
const ABLE: Duration = Duration::from_secs(10);

impl Injector {
    /// Waits until a killed process is removed and its leases are free. Time in which no process could do
    /// that does not count.
    pub(super) async fn watch_rescue(&self, process: &str) {
        const POLL: Duration = Duration::from_millis(100);
        let began = Instant::now();
        let (mut had_leases, mut possible, mut last) = (None, Duration::ZERO, began);
        let options = &self.world.options;
        // While all replicas die within seconds, none runs long enough to rescue the others.
        while began.elapsed() < options.duration() + options.bound(WAIT_MAX) {
            let is_possible =
                self.observer.database_up_for() >= ABLE && self.world.some_replica_works_since(ABLE);
            possible += if is_possible { last.elapsed() } else { Duration::ZERO };
            last = Instant::now();
            let remains = rows::workers_and_leases_of(&self.world.database, process);
            if let Ok(Ok((workers, leases))) = tokio::time::timeout(Duration::from_secs(1), remains).await {
                let is_known = had_leases.is_some();
                had_leases = had_leases.or(Some(leases > 0));
                if workers + leases == 0 {
                    // A process that never registered had nothing to free.
                    if is_known {
                        let had_leases = had_leases == Some(true);
                        self.report().rescues.push(Rescue { had_leases, took: began.elapsed() });
                    }
                    return;
                }
            }
            if possible > options.bound(RESCUE_MAX) {
                let evidence = vec![format!("process {process}, after {:?}", began.elapsed())];
                return self.observer.breach("the leases of a dead process lasted more than 20 s", evidence);
            }
            tokio::time::sleep(POLL).await;
        }
        self.observer.breach("a dead process was never removed", vec![format!("process {process}")]);
    }
}
