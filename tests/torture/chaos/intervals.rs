//! How often each kind of fault is injected, and the wait for the next one.

use crate::Sabotage;
use rand::RngExt;
use rand::rngs::StdRng;
use std::ops::Range;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// In seconds between two faults of a kind.
pub(super) struct Intervals {
    pub(super) kill: Range<f64>,
    pub(super) freeze: Range<f64>,
    pub(super) freeze_for: [Range<f64>; 2],
    pub(super) terminate: Range<f64>,
    pub(super) postgres: Range<f64>,
    pub(super) refusals: Range<f64>,
}

impl Intervals {
    pub(super) fn of(sabotage: Option<Sabotage>) -> Self {
        let usual = Self {
            kill: 2.0..6.0,
            freeze: 8.0..24.0,
            // Short enough to stay alive, or long enough to be declared dead.
            freeze_for: [1.0..8.0, 12.0..25.0],
            terminate: 15.0..40.0,
            postgres: 8.0..25.0,
            refusals: 15.0..40.0,
        };
        match sabotage {
            // A stale lease causes damage only while its successor still runs: both must still run then.
            Some(Sabotage::Fence) => Self {
                kill: 300.0..600.0,
                freeze: 21.0..23.0,
                freeze_for: [16.0..20.0, 16.0..20.0],
                terminate: 300.0..600.0,
                postgres: 300.0..600.0,
                refusals: 300.0..600.0,
            },
            Some(Sabotage::Commit) => Self { postgres: 4.0..8.0, ..usual },
            _ => usual,
        }
    }
}

/// Waits for the next fault; `false` at the end of the run.
pub(super) async fn wait(rng: &mut StdRng, interval: &Range<f64>, stop: &CancellationToken) -> bool {
    let pause = Duration::from_secs_f64(rng.random_range(interval.clone()));
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(pause) => true,
    }
}
