//! Runs tasks. It catches, counts and logs panics, and restarts the task or stops the service.
//!
//! A panic aborts only the current request, delivery or task. Its message may quote data ("… is not a
//! char boundary; it is inside …"), so the log gets the location, and the message only if it is a
//! constant of the program.

use super::metrics::{Metrics, Panicked};
use futures_util::FutureExt;
use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::future::Future;
use std::panic::{AssertUnwindSafe, PanicHookInfo};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::error;

/// The pause before a task is restarted after a panic: the first one and the longest.
const RESTART_PAUSE_MIN: Duration = Duration::from_secs(1);
const RESTART_PAUSE_MAX: Duration = Duration::from_mins(1);

/// Logs panics from now on, instead of printing them to stderr.
pub fn log_panics() {
    std::panic::set_hook(Box::new(log_panic));
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = constant_message(panic.payload()).unwrap_or("withheld: it may quote an event");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        error!(location, message, %backtrace, "panic: please report this bug");
    } else {
        error!(location, message, "panic: please report this bug (RUST_BACKTRACE=1 adds a backtrace)");
    }
}

/// The panic's message, if it is a constant of the program.
fn constant_message(payload: &(dyn Any + Send)) -> Option<&'static str> {
    payload.downcast_ref::<&'static str>().copied()
}

/// Runs a future and catches a panic, which is counted; then the result is `None`.
///
/// State that the future shares may be half changed after a panic. Use this only if the work is restarted
/// from the beginning or given up.
pub async fn catch_panic<T>(metrics: &Metrics, which: Panicked, run: impl Future<Output = T>) -> Option<T> {
    let ran = AssertUnwindSafe(run).catch_unwind().await;
    ran.inspect_err(|_panic| metrics.panicked(which)).ok()
}

/// Supervises the tasks of a process. Cheap to clone.
#[derive(Clone)]
pub struct Supervisor {
    metrics: Metrics,
    /// The first critical task that panicked.
    failed: watch::Sender<Option<&'static str>>,
    restart_pause_min: Duration,
}

impl Supervisor {
    /// A supervisor that counts panics in these metrics.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, failed: watch::Sender::new(None), restart_pause_min: RESTART_PAUSE_MIN }
    }

    /// Runs a task that the process cannot do without. If it panics, the process stops, so that its
    /// service manager restarts it.
    pub async fn critical<T>(self, task: &'static str, run: impl Future<Output = T>) -> Option<T> {
        let ran = catch_panic(&self.metrics, Panicked::Task, run).await;
        if ran.is_none() {
            error!(task, "critical task panicked; the service stops");
            self.failed.send_if_modified(|failed| {
                let is_first = failed.is_none();
                failed.get_or_insert(task);
                is_first
            });
        }
        ran
    }

    /// Runs a task that depends only on its arguments. After a panic it starts again, after a pause
    /// that grows.
    pub async fn restartable<F: Future<Output = ()>>(
        self,
        task: &'static str,
        stop: CancellationToken,
        start: impl Fn() -> F,
    ) {
        let mut pause = self.restart_pause_min;
        while catch_panic(&self.metrics, Panicked::Task, start()).await.is_none() {
            error!(task, restart_in_s = pause.as_secs(), "task panicked; it will be restarted");
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
            pause = (pause * 2).min(RESTART_PAUSE_MAX);
        }
    }

    /// Resolves with the name of a critical task when it has panicked.
    pub async fn failed(&self) -> &'static str {
        let mut failed = self.failed.subscribe();
        loop {
            if let Some(task) = *failed.borrow_and_update() {
                return task;
            }
            if failed.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// The critical task that panicked, if one did.
    pub fn failed_task(&self) -> Option<&'static str> {
        *self.failed.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Gauges;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn panics(metrics: &Metrics) -> u64 {
        let text = metrics.render(&Gauges::default()).expect("text");
        let series = "eventbridge_panics_total{where=\"task\"} ";
        let line = text.lines().find_map(|line| line.strip_prefix(series)).expect("the series");
        line.parse().expect("a number")
    }

    #[tokio::test]
    async fn a_restartable_task_restarts_after_each_panic() {
        let metrics = Metrics::new(None::<String>);
        let supervisor =
            Supervisor { restart_pause_min: Duration::from_millis(1), ..Supervisor::new(metrics.clone()) };
        let tries = AtomicU32::new(0);
        let flaky = || async { assert!(tries.fetch_add(1, Ordering::Relaxed) == 2, "not yet") };
        supervisor.clone().restartable("flaky", CancellationToken::new(), flaky).await;
        assert_eq!((tries.into_inner(), panics(&metrics)), (3, 2));
        assert_eq!(supervisor.failed_task(), None);
    }

    #[tokio::test]
    async fn a_restart_pause_ends_with_the_service() {
        let supervisor = Supervisor::new(Metrics::new(None::<String>));
        let stop = CancellationToken::new();
        stop.cancel();
        supervisor.restartable("failing", stop, || async { panic!("always") }).await;
    }

    #[tokio::test]
    async fn the_first_critical_task_that_panics_is_named() {
        let metrics = Metrics::new(None::<String>);
        let supervisor = Supervisor::new(metrics.clone());
        assert_eq!(supervisor.clone().critical("whole", async { 7 }).await, Some(7));
        assert_eq!(supervisor.failed_task(), None);
        assert_eq!(supervisor.clone().critical("first", async { panic!("one") }).await, None::<()>);
        assert_eq!(supervisor.clone().critical("second", async { panic!("two") }).await, None::<()>);
        assert_eq!((supervisor.failed().await, panics(&metrics)), ("first", 2));
    }

    #[test]
    fn only_constant_messages_are_logged() {
        let customer = String::from("jane@example.com");
        let quoting = std::panic::catch_unwind(|| panic!("no end in {customer}")).expect_err("a panic");
        assert_eq!(constant_message(&*quoting), None);
        let plain = std::panic::catch_unwind(|| panic!("no end")).expect_err("a panic");
        assert_eq!(constant_message(&*plain), Some("no end"));
    }
}
