//! The watch over rescues: from a kill -9 until the process is forgotten and its leases are free.

use super::injector::Injector;
use super::{RESCUE_MAX, Rescue};
use crate::rows;
use std::time::{Duration, Instant};

/// How long a rescue is waited for after the end of the chaos, whatever else happens.
const WAIT_MAX: Duration = Duration::from_mins(2);

/// A process declares no other dead before it has beaten for seven seconds without a miss. A rescue is
/// possible once Postgres and a replica have worked for that time and one beat.
const ABLE: Duration = Duration::from_secs(10);

impl Injector {
    /// Waits until a killed process is forgotten and its leases are free. Time in which no process could do
    /// that does not count.
    pub(super) async fn watch_rescue(&self, process: &str) {
        const LOOK: Duration = Duration::from_millis(100);
        let began = Instant::now();
        let (mut had_leases, mut possible, mut last) = (None, Duration::ZERO, began);
        let options = &self.world.options;
        // While all replicas die within seconds, none lives long enough to rescue the others.
        while began.elapsed() < options.duration() + options.bound(WAIT_MAX) {
            let is_possible =
                self.watch.database_up_for() >= ABLE && self.world.some_replica_works_since(ABLE);
            possible += if is_possible { last.elapsed() } else { Duration::ZERO };
            last = Instant::now();
            let remains = rows::workers_and_leases_of(&self.world.database, process);
            if let Ok(Ok((workers, leases))) = tokio::time::timeout(Duration::from_secs(1), remains).await {
                let is_known = had_leases.is_some();
                had_leases = had_leases.or(Some(leases > 0));
                if workers + leases == 0 {
                    // A process that never registered had nothing to be freed.
                    if is_known {
                        let had_leases = had_leases == Some(true);
                        self.report().rescues.push(Rescue { had_leases, took: began.elapsed() });
                    }
                    return;
                }
            }
            if possible > options.bound(RESCUE_MAX) {
                let evidence = vec![format!("process {process}, after {:?}", began.elapsed())];
                return self.watch.breach("the leases of a dead process lasted more than 20 s", evidence);
            }
            tokio::time::sleep(LOOK).await;
        }
        self.watch.breach("a dead process was never forgotten", vec![format!("process {process}")]);
    }
}
