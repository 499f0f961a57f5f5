//! The state that the routes, the handle and delayed writes share.
//!
//! Each part has its own lock. No two locks are held at once, and none across an await. Every change
//! notifies the waiters, so they need not poll.

use super::api_error::ApiError;
use super::calls::Call;
use super::faults::Faults;
use super::limiter::Limits;
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
    /// Cancelled when the sandbox stops: all waits end.
    pub stopped: CancellationToken,
    /// The delayed writes.
    pub late: TaskTracker,
    state: Mutex<State>,
    faults: Mutex<Faults>,
    limits: Mutex<Limits>,
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
            limits: Mutex::new(Limits::new(per_minute)),
            traffic: Mutex::default(),
            token: Mutex::new(token),
            changes: watch::Sender::new(()),
        }
    }

    /// The tables and pages.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The fault rules.
    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    /// The rate limits.
    pub fn limits(&self) -> MutexGuard<'_, Limits> {
        lock(&self.limits)
    }

    /// The requests that were received.
    pub fn traffic(&self) -> MutexGuard<'_, Traffic> {
        lock(&self.traffic)
    }

    /// The token that the integration must send.
    pub fn token(&self) -> MutexGuard<'_, String> {
        lock(&self.token)
    }

    /// Executes a call and notifies the waiters.
    pub fn execute(&self, call: Call, body: &Value, lag: Duration) -> Result<Value, ApiError> {
        let result = call.execute(&mut self.state(), body, lag);
        self.changed();
        result
    }

    /// Executes a call after a delay, even if the client has disconnected.
    pub fn execute_later(self: &Arc<Self>, call: Call, body: Arc<Value>, delay: Duration, lag: Duration) {
        let shared = Arc::clone(self);
        self.late.spawn(async move {
            tokio::select! {
                () = shared.stopped.cancelled() => {}
                () = tokio::time::sleep(delay) => {
                    if let Err(error) = shared.execute(call, &body, lag) {
                        tracing::debug!(code = error.code, "a delayed write of the sandbox failed");
                    }
                }
            }
        });
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
