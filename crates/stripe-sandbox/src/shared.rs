//! The state that the routes, the handle and the sender share.
//!
//! Each part has its own lock. No two locks are held at once, and none across an await. Every change notifies
//! the waiters, so they need not poll.

use crate::faults::Faults;
use crate::state::State;
use crate::traffic::Traffic;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One stand-in.
pub struct Shared {
    /// Cancelled when it stops: all waits end.
    pub stopped: CancellationToken,
    /// The attempts to deliver.
    pub attempts: TaskTracker,
    state: Mutex<State>,
    faults: Mutex<Faults>,
    traffic: Mutex<Traffic>,
    changes: watch::Sender<()>,
}

impl Debug for Shared {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// A stand-in with this state.
    pub fn new(state: State) -> Self {
        Self {
            stopped: CancellationToken::new(),
            attempts: TaskTracker::new(),
            faults: Mutex::new(Faults::new(state.options.seed)),
            state: Mutex::new(state),
            traffic: Mutex::default(),
            changes: watch::Sender::new(()),
        }
    }

    /// The account.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The fault rules.
    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    /// The requests that were received.
    pub fn traffic(&self) -> MutexGuard<'_, Traffic> {
        lock(&self.traffic)
    }

    /// Wakes the tasks that wait for a change.
    pub fn changed(&self) {
        self.changes.send_replace(());
    }

    /// Notifies of every change from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
