//! Faults of ours: a panic is counted, told by its place alone, and never the silent end of a task.
//!
//! What a panic says may quote what it was about ("… is not a char boundary; it is inside …"), so the
//! log gets where it was, and its words only where they stand in the program.

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

/// How long a task that broke rests before it begins anew, at first and at most.
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_mins(1);

/// From now on a panic is a line in the log instead of a text on stderr.
pub fn log_panics() {
    std::panic::set_hook(Box::new(log_panic));
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let says = words(panic.payload()).unwrap_or("not told, as it may quote an event");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        error!(place, says, %backtrace, "a fault of ours: please report it");
    } else {
        error!(place, says, "a fault of ours: please report it; RUST_BACKTRACE=1 tells more");
    }
}

/// What the panic says, where that is text of the program itself.
fn words(payload: &(dyn Any + Send)) -> Option<&'static str> {
    payload.downcast_ref::<&'static str>().copied()
}

/// Runs something that may break on a fault of ours; nothing where it does, which is counted.
///
/// What it was at when it broke may be half done: only what is begun anew, or given up, belongs here.
pub async fn contained<T>(metrics: &Metrics, which: Panicked, run: impl Future<Output = T>) -> Option<T> {
    let ran = AssertUnwindSafe(run).catch_unwind().await;
    ran.inspect_err(|_panic| metrics.panicked(which)).ok()
}

/// Keeps an eye on the tasks of a process. Cheap to clone.
#[derive(Clone)]
pub struct Overseer {
    metrics: Metrics,
    /// The first vital task that broke.
    broken: watch::Sender<Option<&'static str>>,
    rest_min: Duration,
}

impl Overseer {
    /// Counts what breaks here.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, broken: watch::Sender::new(None), rest_min: REST_MIN }
    }

    /// Runs a task whose loss nothing makes good: where it breaks, the process is to stop, so that
    /// whatever watches over it begins it anew.
    pub async fn vital<T>(self, task: &'static str, run: impl Future<Output = T>) -> Option<T> {
        let ran = contained(&self.metrics, Panicked::Task, run).await;
        if ran.is_none() {
            error!(task, "a task broke that the service cannot do without; it stops");
            self.broken.send_if_modified(|broken| {
                let is_first = broken.is_none();
                broken.get_or_insert(task);
                is_first
            });
        }
        ran
    }

    /// Runs a task that finds all it needs in what it is given; where it breaks it begins anew, after
    /// a rest that grows.
    pub async fn renewed<F: Future<Output = ()>>(
        self,
        task: &'static str,
        stop: CancellationToken,
        begin: impl Fn() -> F,
    ) {
        let mut rest = self.rest_min;
        while contained(&self.metrics, Panicked::Task, begin()).await.is_none() {
            error!(task, rest_s = rest.as_secs(), "a task of the service broke; it begins anew after a rest");
            if stop.run_until_cancelled(tokio::time::sleep(rest)).await.is_none() {
                return;
            }
            rest = (rest * 2).min(REST_MAX);
        }
    }

    /// Resolves when a vital task has broken, with its name.
    pub async fn broken(&self) -> &'static str {
        let mut broken = self.broken.subscribe();
        loop {
            if let Some(task) = *broken.borrow_and_update() {
                return task;
            }
            if broken.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// The vital task that broke, where one did.
    pub fn broken_task(&self) -> Option<&'static str> {
        *self.broken.borrow()
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
    async fn a_task_that_breaks_begins_anew_until_it_ends_well() {
        let metrics = Metrics::new(None::<String>);
        let overseer = Overseer { rest_min: Duration::from_millis(1), ..Overseer::new(metrics.clone()) };
        let tries = AtomicU32::new(0);
        let flaky = || async { assert!(tries.fetch_add(1, Ordering::Relaxed) == 2, "not yet") };
        overseer.clone().renewed("flaky", CancellationToken::new(), flaky).await;
        assert_eq!((tries.into_inner(), panics(&metrics)), (3, 2));
        assert_eq!(overseer.broken_task(), None);
    }

    #[tokio::test]
    async fn a_rest_ends_with_the_service() {
        let overseer = Overseer::new(Metrics::new(None::<String>));
        let stop = CancellationToken::new();
        stop.cancel();
        overseer.renewed("broken", stop, || async { panic!("always") }).await;
    }

    #[tokio::test]
    async fn the_first_vital_task_that_breaks_is_named() {
        let metrics = Metrics::new(None::<String>);
        let overseer = Overseer::new(metrics.clone());
        assert_eq!(overseer.clone().vital("whole", async { 7 }).await, Some(7));
        assert_eq!(overseer.broken_task(), None);
        assert_eq!(overseer.clone().vital("first", async { panic!("one") }).await, None::<()>);
        assert_eq!(overseer.clone().vital("second", async { panic!("two") }).await, None::<()>);
        assert_eq!((overseer.broken().await, panics(&metrics)), ("first", 2));
    }

    #[test]
    fn only_words_of_the_program_are_told() {
        let customer = String::from("jane@example.com");
        let quoting = std::panic::catch_unwind(|| panic!("no end in {customer}")).expect_err("a panic");
        assert_eq!(words(&*quoting), None);
        let plain = std::panic::catch_unwind(|| panic!("no end")).expect_err("a panic");
        assert_eq!(words(&*plain), Some("no end"));
    }
}
