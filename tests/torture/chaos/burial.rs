//! How the dead are buried: from a kill -9 until the process is forgotten and its leases are free.

use super::hand::Hand;
use super::{RESCUE_MAX, Rescue};
use crate::rows;
use std::time::{Duration, Instant};

/// How long a burial is waited for after the end of the chaos, whatever else happens.
const WAIT_MAX: Duration = Duration::from_mins(2);

/// A process takes nobody for dead until it has beaten for seven seconds without a miss; so much and
/// a beat more must Postgres have been there, and a replica at work, for a burial to be possible.
const ABLE: Duration = Duration::from_secs(10);

impl Hand {
    /// Waits until a killed process is buried and its leases are free. Time in which nobody could
    /// have done that is told apart.
    pub(super) async fn watch_burial(&self, process: &str) {
        const LOOK: Duration = Duration::from_millis(100);
        let began = Instant::now();
        let (mut held, mut could_be, mut last) = (None, Duration::ZERO, began);
        let options = &self.world.options;
        // While all replicas die within seconds, nobody lives long enough to bury the others.
        while began.elapsed() < options.duration() + options.bound(WAIT_MAX) {
            let somebody = self.watch.database_up_for() >= ABLE && self.world.some_replica_works_since(ABLE);
            could_be += if somebody { last.elapsed() } else { Duration::ZERO };
            last = Instant::now();
            let remains = rows::workers_and_leases_of(&self.world.database, process);
            if let Ok(Ok((workers, leases))) = tokio::time::timeout(Duration::from_secs(1), remains).await {
                let known = held.is_some();
                held = held.or(Some(leases > 0));
                if workers + leases == 0 {
                    // One that was never registered had nothing to be freed.
                    if known {
                        let rescue = Rescue { held: held == Some(true), took: began.elapsed() };
                        self.report().rescues.push(rescue);
                    }
                    return;
                }
            }
            if could_be > options.bound(RESCUE_MAX) {
                let evidence = vec![format!("process {process}, after {:?}", began.elapsed())];
                return self.watch.breach("the leases of the dead stood for more than 20 s", evidence);
            }
            tokio::time::sleep(LOOK).await;
        }
        self.watch.breach("a dead process was never buried", vec![format!("process {process}")]);
    }
}
