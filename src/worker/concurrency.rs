//! How many executions of one instance this process runs at once. Pure: no I/O and no clock.
//!
//! A fixed concurrency stays as it is. An adaptive one searches for the smallest limit at which the
//! destination delivers its full throughput. It measures in *windows* of at least [`WINDOW_MIN`]; each has
//! `limit` attempts or a multiple, because so many end within one latency. Each change is a *trial*, and the
//! throughput of successful attempts decides it:
//!
//! | trial | the new limit stays if |
//! |---|---|
//! | half more, at least one | the throughput is clearly more than 5 % higher |
//! | a quarter less, not below the initial limit | the throughput is clearly at most 5 % lower |
//!
//! At first the limit doubles with every full window that brings [`START_GAIN_MIN`] more throughput. It ends
//! when two windows in a row bring less, since one may have been disturbed, or when the destination throttles.
//! After that, a trial begins after [`WINDOWS_MIN`] full windows in a row. A window is *full* if at least half
//! of its attempts came from claims that the limit cut short. The first trials raise the limit, one after
//! another. [`HOLD_AFTER_TRIAL`] windows after one that failed, the next one tries the other direction. At the
//! highest limit a lower one is tried after [`HOLD_AT_MOST`] windows.
//!
//! A difference is clear if it is larger than the variation of the windows explains. While it is not clear,
//! the trial continues, for up to [`WINDOWS_MAX`] windows. So noise rarely raises the limit. If it does, a
//! later trial lowers it.
//!
//! If the latency is more than [`LATENCY_FACTOR`] times the shortest, a trial of a lower limit begins without
//! a hold: half the limit if the latency is more than twice as high again. The destination may be slower for
//! another reason than the number of calls. Then the lower limit clearly costs throughput: the former limit
//! returns, and the latency counts as the new shortest one.
//!
//! If the destination throttles, the limit falls by a quarter at once, or to the value before the trial.
//! Attempts that began before the last change do not lower it again.
//!
//! A rate limit bounds the limit to [`LATENCY_FACTOR`] x rate x shortest latency, and at least to the initial
//! limit. An instance without work keeps its limit.
//!
//! The circuit breaker and the quarantine run single executions whatever the limit is.

use crate::config::Concurrency;
use crate::domain::delivery::Outcome;
use std::mem;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// The shortest window.
const WINDOW_MIN: Duration = Duration::from_millis(100);

/// The fewest attempts of a window. Fewer say little if the limit is very low.
const WINDOW_ATTEMPTS_MIN: usize = 16;

/// The fewest windows that decide something.
const WINDOWS_MIN: u32 = 4;

/// The most windows of a trial, and how many windows the throughput under a limit remembers.
const WINDOWS_MAX: u32 = 16;

/// As long as a window after the start of the process brings so much more, the limit doubles.
const START_GAIN_MIN: f64 = 0.1;

/// A gain below this, or a loss below this, counts as none.
const GAIN_MIN: f64 = 0.05;

/// A difference is clear if it is so many times its standard error.
const CLEAR_ERRORS: f64 = 2.5;

/// How many windows pass before the next trial, unless the last one raised the limit.
const HOLD_AFTER_TRIAL: u32 = 30;

/// How many windows pass at the highest limit before a trial of a lower one.
const HOLD_AT_MOST: u32 = 100;

/// How many windows pass before the next trial after the destination throttled.
const HOLD_AFTER_THROTTLING: u32 = 100;

/// A latency so many times the shortest one suggests that executions wait for each other.
const LATENCY_FACTOR: u32 = 2;

/// How many attempts the latency remembers.
const LATENCY_ATTEMPTS: u32 = 64;

/// If nothing ran for so long, a window begins again: it would measure the pause.
const IDLE_MIN: Duration = Duration::from_secs(1);

/// An attempt that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// When it took its slot.
    pub(super) began_at: Instant,
    /// When it gave its slot back.
    pub(super) ended_at: Instant,
    /// What it shows of the destination.
    pub(super) ending: Ending,
    /// Whether its claim found as many executions as the limit left room for, so that more may have waited.
    pub(super) was_saturated: bool,
}

/// What the end of an attempt shows of its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The destination answered, or needed no call.
    Answered,
    /// The destination asks for fewer calls.
    Throttled,
    /// There was no useful answer. The attempt counts as no throughput.
    Failed,
}

impl From<&Outcome> for Ending {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Delivered { .. }
            | Outcome::Skipped { .. }
            | Outcome::Permanent(_)
            | Outcome::Gone(_) => Self::Answered,
            Outcome::Throttled { .. } => Self::Throttled,
            Outcome::Transient { .. }
            | Outcome::Ambiguous { .. }
            | Outcome::InDoubt { .. }
            | Outcome::NeedsOperator(_)
            | Outcome::Blocked { .. } => Self::Failed,
        }
    }
}

/// The limit of one instance in this process.
#[derive(Debug)]
pub(super) struct ConcurrencyLimit {
    concurrency: Concurrency,
    /// The rate limit of the destination.
    per_minute: Option<NonZeroU32>,
    limit: usize,
    /// When the limit changed. Attempts that began earlier ran under another one.
    changed_at: Option<Instant>,
    /// None until the first attempt under this limit has ended.
    window: Option<Window>,
    /// The throughput in full windows under this limit; during a trial, under the limit before it.
    throughput: Throughput,
    trial: Option<Trial>,
    /// Set as long as the limit doubles.
    start: Option<Start>,
    /// How many windows pass before the next trial.
    hold: u32,
    /// Whether the next trial is one of a lower limit, if a lower one is possible.
    is_lower_next: bool,
    /// Whether the latency is high, and the throughput was measured since then.
    was_high: bool,
    latency: Latency,
}

/// How the limit doubles at first.
#[derive(Debug, Clone, Copy, Default)]
struct Start {
    /// The throughput before it last doubled.
    before: f64,
    /// The throughput of a window since then that brought too little.
    disturbed: Option<f64>,
}

/// A limit that has to prove itself.
#[derive(Debug, Clone, Copy)]
struct Trial {
    /// The limit before it.
    from: usize,
    throughput: Throughput,
}

impl ConcurrencyLimit {
    /// The limit of an instance whose destination allows so many calls per minute, if it has a rate limit.
    pub(super) fn new(concurrency: Concurrency, per_minute: Option<NonZeroU32>) -> Self {
        Self {
            concurrency,
            per_minute,
            limit: concurrency.initial(),
            changed_at: None,
            window: None,
            throughput: Throughput::default(),
            trial: None,
            start: Some(Start::default()),
            hold: 0,
            is_lower_next: false,
            was_high: false,
            latency: Latency::default(),
        }
    }

    /// How many executions of the instance may run now; at least one. After it has fallen, more may still
    /// run.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Takes an attempt into account. Call it as attempts end.
    pub(super) fn record(&mut self, sample: &Sample) {
        if matches!(self.concurrency, Concurrency::Fixed(_)) {
            return;
        }
        let is_under_this_limit = self.changed_at.is_none_or(|changed_at| sample.began_at >= changed_at);
        if sample.ending == Ending::Throttled {
            if is_under_this_limit {
                self.throttle(sample.ended_at);
            }
            return;
        }
        match &mut self.window {
            Some(window) if window.was_idle_before(sample) => self.restart(sample.ended_at),
            Some(window) => {
                window.add(sample);
                if window.is_over(self.limit) {
                    self.end_window(sample.ended_at);
                }
            }
            None if is_under_this_limit => self.window = Some(Window::new(sample.ended_at)),
            None => {}
        }
    }

    /// The destination asks for fewer calls.
    fn throttle(&mut self, now: Instant) {
        let lower = match self.trial.take() {
            Some(trial) if trial.from < self.limit => trial.from,
            _ => a_quarter_less(self.limit),
        };
        self.throughput = Throughput::default();
        self.start = None;
        self.hold = HOLD_AFTER_THROTTLING;
        self.change(lower, now);
    }

    /// Nothing ran for a while: what was measured before it is out of date.
    fn restart(&mut self, now: Instant) {
        self.throughput = Throughput::default();
        self.window = Some(Window::new(now));
        if let Some(trial) = self.trial.take() {
            self.change(trial.from, now);
        }
    }

    fn end_window(&mut self, now: Instant) {
        let Some(window) = self.window.replace(Window::new(now)) else { return };
        self.latency.add(&window);
        self.hold = self.hold.saturating_sub(1);
        if let Some(trial) = &mut self.trial {
            trial.throughput.add(window.per_second());
            self.judge_trial(now);
        } else if self.limit > self.limit_max() {
            self.throughput = Throughput::default();
            self.change(self.limit_max(), now);
        } else if window.is_full()
            && let Some(start) = self.start
        {
            self.double(start, window.per_second(), now);
        } else if window.is_full() {
            self.throughput.add(window.per_second());
            if self.throughput.windows >= WINDOWS_MIN {
                self.consider_trial(now);
            }
        } else {
            self.throughput = Throughput::default();
        }
    }

    /// Doubles the limit if the last time that it doubled brought more throughput; otherwise takes that back.
    fn double(&mut self, start: Start, per_second: f64, now: Instant) {
        let higher = (2 * self.limit).min(self.limit_max());
        let reached = start.disturbed.map_or(per_second, |disturbed| disturbed.max(per_second));
        let brings_more = reached > start.before * (1.0 + START_GAIN_MIN);
        if brings_more && higher > self.limit {
            self.start = Some(Start { before: reached, disturbed: None });
            self.change(higher, now);
        } else if brings_more {
            self.start = None;
        } else if start.disturbed.is_none() {
            self.start = Some(Start { disturbed: Some(per_second), ..start });
        } else {
            self.start = None;
            let former = (self.limit / 2).max(self.concurrency.initial());
            self.change(former, now);
        }
    }

    /// Begins a trial if there is a reason for one.
    fn consider_trial(&mut self, now: Instant) {
        let is_very_high = self.latency.exceeds(2 * LATENCY_FACTOR);
        let lower = if is_very_high { self.limit / 2 } else { a_quarter_less(self.limit) };
        let lower = lower.max(self.concurrency.initial());
        let can_be_lower = lower < self.limit;
        let higher = half_more(self.limit).min(self.limit_max());
        let was_high = mem::replace(&mut self.was_high, self.latency.exceeds(LATENCY_FACTOR));
        if self.was_high && !can_be_lower {
            // So few executions are not the reason.
            self.latency.accept();
        } else if self.was_high && !was_high {
            // The throughput was another one while the latency was short.
            self.throughput = Throughput::default();
        } else if can_be_lower && (self.was_high || self.hold == 0 && self.is_lower_next) {
            self.begin_trial(lower, now);
        } else if self.hold == 0 && higher > self.limit {
            self.begin_trial(higher, now);
        } else if self.hold == 0 {
            (self.is_lower_next, self.hold) = (true, HOLD_AT_MOST);
        }
    }

    fn begin_trial(&mut self, limit: usize, now: Instant) {
        self.trial = Some(Trial { from: self.limit, throughput: Throughput::default() });
        self.change(limit, now);
    }

    /// Ends the trial if its windows suffice for that.
    fn judge_trial(&mut self, now: Instant) {
        let Some(Trial { from, throughput: measured }) = self.trial else { return };
        let is_higher = from < self.limit;
        let factor = if is_higher { 1.0 + GAIN_MIN } else { 1.0 - GAIN_MIN };
        let seems_better = measured.mean > factor * self.throughput.mean;
        let comparison = measured.compare(&self.throughput, factor);
        let is_kept = match comparison {
            Comparison::Above => true,
            Comparison::Below => false,
            Comparison::Unclear if measured.windows < WINDOWS_MAX => return,
            // Only the latency speaks for a change that is not clearly better.
            Comparison::Unclear => self.was_high && !is_higher && seems_better,
        };
        self.trial = None;
        if !(is_kept && is_higher) {
            self.hold = self.hold.max(HOLD_AFTER_TRIAL);
        }
        if is_kept {
            self.throughput = measured;
            return;
        }
        self.is_lower_next = is_higher != seems_better;
        if self.was_high && !is_higher && comparison == Comparison::Below {
            self.latency.accept();
        }
        // The destination may have changed during the trial.
        self.throughput = Throughput::default();
        self.change(from, now);
    }

    fn change(&mut self, limit: usize, now: Instant) {
        self.limit = limit;
        self.changed_at = Some(now);
        self.window = None;
    }

    /// The most that the configuration and the rate allow.
    fn limit_max(&self) -> usize {
        let most = self.concurrency.most();
        let (Some(per_minute), Some(shortest)) = (self.per_minute, self.latency.shortest) else {
            return most;
        };
        let running_micros = u128::from(LATENCY_FACTOR) * u128::from(per_minute.get()) * shortest.as_micros();
        let usable = running_micros.div_ceil(Duration::from_mins(1).as_micros());
        usize::try_from(usable).unwrap_or(usize::MAX).clamp(self.concurrency.initial(), most)
    }
}

fn half_more(limit: usize) -> usize {
    limit + (limit / 2).max(1)
}

fn a_quarter_less(limit: usize) -> usize {
    (limit - (limit / 4).max(1)).max(1)
}

/// What ended between two points in time.
#[derive(Debug)]
struct Window {
    began_at: Instant,
    last_end: Instant,
    attempts: usize,
    /// The attempts whose claim was cut short by the limit.
    saturated: usize,
    answered: u32,
    /// The durations of those that were answered, together.
    duration: Duration,
}

impl Window {
    fn new(began_at: Instant) -> Self {
        Self {
            began_at,
            last_end: began_at,
            attempts: 0,
            saturated: 0,
            answered: 0,
            duration: Duration::ZERO,
        }
    }

    /// Whether nothing ran for a while before this attempt.
    fn was_idle_before(&self, sample: &Sample) -> bool {
        sample.began_at.saturating_duration_since(self.last_end) >= IDLE_MIN
    }

    fn add(&mut self, sample: &Sample) {
        self.last_end = self.last_end.max(sample.ended_at);
        self.attempts += 1;
        self.saturated += usize::from(sample.was_saturated);
        if sample.ending == Ending::Answered {
            self.answered += 1;
            self.duration += sample.ended_at.saturating_duration_since(sample.began_at);
        }
    }

    fn is_over(&self, limit: usize) -> bool {
        self.attempts >= WINDOW_ATTEMPTS_MIN.next_multiple_of(limit) && self.elapsed() >= WINDOW_MIN
    }

    fn is_full(&self) -> bool {
        2 * self.saturated >= self.attempts
    }

    fn per_second(&self) -> f64 {
        f64::from(self.answered) / self.elapsed().as_secs_f64()
    }

    fn elapsed(&self) -> Duration {
        self.last_end.saturating_duration_since(self.began_at)
    }
}

/// The latency of the destination.
#[derive(Debug, Default)]
struct Latency {
    /// The mean over the last attempts.
    recent: Option<Duration>,
    /// The shortest mean since the last time that a longer one was accepted.
    shortest: Option<Duration>,
}

impl Latency {
    fn add(&mut self, window: &Window) {
        if window.answered == 0 {
            return;
        }
        let remembered = if self.recent.is_some() { LATENCY_ATTEMPTS } else { 0 };
        let sum = self.recent.unwrap_or_default() * remembered + window.duration;
        let recent = sum / (remembered + window.answered);
        self.recent = Some(recent);
        self.shortest = Some(self.shortest.map_or(recent, |shortest| shortest.min(recent)));
    }

    /// Whether it is more than so many times the shortest one.
    fn exceeds(&self, factor: u32) -> bool {
        self.recent > self.shortest.map(|shortest| shortest * factor)
    }

    /// The number of executions is not the reason for the latency.
    fn accept(&mut self) {
        self.shortest = self.recent;
    }
}

/// The attempts per second in the windows under one limit.
#[derive(Debug, Default, Clone, Copy)]
struct Throughput {
    windows: u32,
    mean: f64,
    /// How much the windows vary.
    variance: f64,
}

/// How a throughput compares with a part or a multiple of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Above,
    Below,
    Unclear,
}

impl Throughput {
    /// Adds a window. The last [`WINDOWS_MAX`] have most of the weight.
    fn add(&mut self, per_second: f64) {
        self.windows = WINDOWS_MAX.min(self.windows + 1);
        let weight = 1.0 / f64::from(self.windows);
        let deviation = per_second - self.mean;
        self.mean += weight * deviation;
        self.variance = (1.0 - weight) * (self.variance + weight * deviation * deviation);
    }

    /// Compares it with `factor` times the other, as far as their variance allows.
    fn compare(&self, other: &Self, factor: f64) -> Comparison {
        if self.windows < WINDOWS_MIN {
            return Comparison::Unclear;
        }
        let difference = self.mean - factor * other.mean;
        let error = (self.squared_error() + factor * factor * other.squared_error()).sqrt();
        if difference > CLEAR_ERRORS * error {
            Comparison::Above
        } else if difference <= -CLEAR_ERRORS * error {
            Comparison::Below
        } else {
            Comparison::Unclear
        }
    }

    /// The square of the mean's standard error. Few windows know little of their own variance, so it is
    /// larger than the usual estimate (by that of Student's distribution).
    fn squared_error(&self) -> f64 {
        self.variance / f64::from(self.windows.saturating_sub(WINDOWS_MIN - 1).max(1))
    }
}

#[cfg(test)]
mod tests;
