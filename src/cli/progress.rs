//! How far a long command has come: a bar on a terminal, and nothing anywhere else.

use indicatif::{ProgressBar, ProgressStyle};

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

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
