//! How far a long command has come: a bar on a terminal, and nothing anywhere else.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A bar over the numbers of events, from the first to the last one.
pub(super) struct Progress {
    bar: ProgressBar,
    first: i64,
}

impl Progress {
    /// A bar that begins at the first number; it shows itself on a terminal alone.
    pub(super) fn over(what: &'static str, (first, last): (i64, i64)) -> Self {
        let length = u64::try_from(last.saturating_sub(first)).unwrap_or_default();
        let bar = ProgressBar::new(length).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {percent} %, {eta} left") {
            bar.set_style(style);
        }
        Self { bar, first }
    }

    /// The command has come to this number.
    pub(super) fn at(&self, position: i64) {
        self.bar.set_position(u64::try_from(position.saturating_sub(self.first)).unwrap_or_default());
    }
}

/// A line that counts on a terminal's stderr; nothing elsewhere, nor for what is over within a second.
pub(super) fn counting(what: &'static str) -> ProgressBar {
    const SHOWN_EVERY: Duration = Duration::from_secs(1);
    let bar = ProgressBar::new_spinner().with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} {msg}, {per_sec}, for {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(SHOWN_EVERY);
    bar
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
