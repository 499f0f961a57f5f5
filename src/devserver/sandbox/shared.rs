//! What the routes, the handle and late writes have in common.
//!
//! Each part has a lock of its own; no two are ever held at once, and none across an await. Every
//! change is announced, so that who waits for one need not poll.

use super::calls::Call;
use super::faults::Faults;
use super::limiter::Limiter;
use super::refusal::Refusal;
use super::state::State;
use super::traffic::Traffic;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One sandbox.
#[derive(Debug)]
pub struct Shared {
    /// Cancelled when the sandbox stops: nobody waits any longer.
    pub stopped: CancellationToken,
    /// The writes that come late.
    pub late: TaskTracker,
    state: Mutex<State>,
    faults: Mutex<Faults>,
    limiter: Mutex<Limiter>,
    traffic: Mutex<Traffic>,
    token: Mutex<String>,
    changes: watch::Sender<()>,
}

impl Shared {
    /// A sandbox with this state.
    pub fn new(token: String, state: State, per_minute: Option<u32>, seed: u64) -> Self {
        Self {
            stopped: CancellationToken::new(),
            late: TaskTracker::new(),
            state: Mutex::new(state),
            faults: Mutex::new(Faults::new(seed)),
            limiter: Mutex::new(Limiter::new(per_minute)),
            traffic: Mutex::default(),
            token: Mutex::new(token),
            changes: watch::Sender::new(()),
        }
    }

    /// The tables and pages.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The rules by which it misbehaves.
    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    /// The rate limit.
    pub fn limiter(&self) -> MutexGuard<'_, Limiter> {
        lock(&self.limiter)
    }

    /// What came in.
    pub fn traffic(&self) -> MutexGuard<'_, Traffic> {
        lock(&self.traffic)
    }

    /// The token that the integration must show.
    pub fn token(&self) -> MutexGuard<'_, String> {
        lock(&self.token)
    }

    /// Does a call and announces it.
    pub fn execute(&self, call: Call, body: &Value, lag: Duration) -> Result<Value, Refusal> {
        let result = call.execute(&mut self.state(), body, lag);
        self.changed();
        result
    }

    /// Does a call after a delay, whether or not anyone still waits for it.
    pub fn execute_later(self: &Arc<Self>, call: Call, body: Arc<Value>, delay: Duration, lag: Duration) {
        let shared = Arc::clone(self);
        self.late.spawn(async move {
            tokio::select! {
                () = shared.stopped.cancelled() => {}
                () = tokio::time::sleep(delay) => {
                    if let Err(refusal) = shared.execute(call, &body, lag) {
                        tracing::debug!(code = refusal.code, "a late write of the sandbox was refused");
                    }
                }
            }
        });
    }

    /// Wakes those who wait for a change.
    pub fn changed(&self) {
        self.changes.send_replace(());
    }

    /// Tells of every change from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
