//! The progress of long commands, shown only on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// A bar over the ids of events, from the first to the last.
pub(super) struct Progress {
    bar: ProgressBar,
    first: i64,
}

impl Progress {
    /// A bar that begins at the first id.
    pub(super) fn over(what: &'static str, (first, last): (i64, i64)) -> Self {
        let length = u64::try_from(last.saturating_sub(first)).unwrap_or_default();
        let bar = ProgressBar::new(length).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {percent} %, {eta} left") {
            bar.set_style(style);
        }
        Self { bar, first }
    }

    /// Moves the bar to this id.
    pub(super) fn at(&self, position: i64) {
        self.bar.set_position(u64::try_from(position.saturating_sub(self.first)).unwrap_or_default());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A line that counts. It appears after a second.
pub(super) struct Count {
    bar: ProgressBar,
    began: Instant,
}

impl Count {
    /// A line that begins at zero.
    pub(super) fn of(what: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} {msg}, {per_sec}, for {elapsed}") {
            bar.set_style(style);
        }
        Self { bar, began: Instant::now() }
    }

    /// Shows this count.
    pub(super) fn at(&self, count: u64) {
        const SHOWN_AFTER: Duration = Duration::from_secs(1);
        if self.bar.is_hidden() && self.began.elapsed() > SHOWN_AFTER {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(count);
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
