//! The story of events: what happened to them, in order of time, and what they wait for now.
//!
//! [`lines`] is a pure function from rows to lines: when an event was created and received, with which
//! secret, each wait and its reason, each attempt with the destination's id of the request, manual
//! actions, and the present state. The `why` command prints the lines as plain text. The dashboard shows
//! the same lines as a timeline: of an event, of one execution, or of all events of an object or a
//! customer together. The store reads the rows with eight statements, however many events there are.

mod line;
mod wait;

pub use line::{Line, LineTime, What, Written};
pub use wait::{PastPause, Wait};

use super::destination_summary::{DestinationSummary, noun};
use super::event::{EventKey, EventOrigin};
use super::execution::{ExecutionId, Status};
use super::waiting::Waiting;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;

/// An event with its executions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventStory {
    /// The event.
    pub event: EventKey,
    /// The name of its source, such as `stripe`.
    pub source: String,
    /// When it happened, according to the sender.
    pub created: Option<DateTime<Utc>>,
    /// When it was received.
    pub received_at: DateTime<Utc>,
    /// How it came here.
    pub origin: EventOrigin,
    /// The name of the secret that it was signed with, or of the API key that fetched it.
    pub secret: String,
    /// When its body was removed, and whether that was part of a customer's erasure.
    pub payload_removed: Option<(DateTime<Utc>, bool)>,
    /// Its executions.
    pub executions: Vec<Execution>,
}

/// An execution of an event, with its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Its id.
    pub id: ExecutionId,
    /// The instance.
    pub destination: String,
    /// When it was queued.
    pub created_at: DateTime<Utc>,
    /// Its state.
    pub status: Status,
    /// The reason of its state.
    pub reason: Option<String>,
    /// If it failed: what to do, if that is known.
    pub remedy: Option<String>,
    /// What it waits for, while it is pending.
    pub waiting: Option<Waiting>,
    /// When it finished.
    pub finished_at: Option<DateTime<Utc>>,
    /// A link to what was written.
    pub remote_url: Option<String>,
    /// The number of attempts before those listed.
    pub earlier_attempts: u32,
    /// The attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// The manual actions on it, oldest first.
    pub operations: Vec<ManualOperation>,
    /// How it ended before it was retried, oldest first.
    pub ends: Vec<PastEnd>,
    /// The pauses of its instance that are over.
    pub pauses: Vec<PastPause>,
}

/// One attempt to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it began.
    pub at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: i32,
    /// How it ended, in a word.
    pub outcome: String,
    /// The HTTP status of the decisive response.
    pub code: Option<i32>,
    /// The kind of failure, in a word.
    pub class: Option<String>,
    /// What went wrong.
    pub message: Option<String>,
    /// The destination's id of the request.
    pub request: Option<String>,
}

/// An end that a retry undid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastEnd {
    /// When.
    pub at: DateTime<Utc>,
    /// The state in which it ended.
    pub status: Status,
}

/// A manual action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManualOperation {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub who: String,
    /// What: `retried`, `cancelled`.
    pub action: String,
    /// Whether it was done to others too.
    pub with_others: bool,
    /// The operator's note.
    pub note: Option<String>,
    /// If a retry or replay was cancelled: the state to which the execution returned.
    pub restored: Option<Status>,
}

/// Merges the stories of these events into one list of lines, in order of time. `now` is the time of the
/// lines about the present. The destinations give the nouns of what they wrote.
pub fn lines(chapters: &[EventStory], destinations: &[DestinationSummary], now: DateTime<Utc>) -> Vec<Line> {
    let mut chapters: Vec<&EventStory> = chapters.iter().collect();
    chapters.sort_by_key(|chapter| (chapter.received_at, chapter.event));
    let mut lines: Vec<Line> =
        chapters.into_iter().flat_map(|chapter| of_event(chapter, destinations, now)).collect();
    // Lines of the same time keep this order: senders report times in whole seconds.
    lines.sort_by_key(|line| line.at);
    say_each_remedy_once(&mut lines);
    lines
}

/// Keeps each remedy only where it is said last: what to do is the same for all executions that wait for it.
fn say_each_remedy_once(lines: &mut [Line]) {
    let mut said = BTreeSet::new();
    for line in lines.iter_mut().rev() {
        let (What::Ended { remedy, .. } | What::Pending { waiting: Some(Waiting::Paused { remedy, .. }) }) =
            &mut line.what
        else {
            continue;
        };
        if remedy.as_ref().is_some_and(|remedy| !said.insert(remedy.clone())) {
            *remedy = None;
        }
    }
}

fn of_event(chapter: &EventStory, destinations: &[DestinationSummary], now: DateTime<Utc>) -> Vec<Line> {
    let line = |at, what| Line { at: LineTime::At(at), event: chapter.event, execution: None, what };
    let mut lines = Vec::new();
    if let Some(created) = chapter.created {
        lines.push(line(created, What::Created { source: chapter.source.clone() }));
    }
    let received = What::Received { origin: chapter.origin, secret: chapter.secret.clone() };
    lines.push(line(chapter.received_at, received));
    if chapter.executions.is_empty() {
        lines.push(line(chapter.received_at, What::Unwanted));
    }
    for execution in &chapter.executions {
        let received_at = chapter.received_at;
        let collected = Collector { execution, destinations, received_at, now, lines: Vec::new() }.collect();
        lines.extend(collected.into_iter().map(|(at, what)| {
            let execution = Some((execution.id, execution.destination.clone()));
            Line { at, event: chapter.event, execution, what }
        }));
    }
    if let Some((at, is_erasure)) = chapter.payload_removed {
        lines.push(line(at, What::PayloadRemoved { is_erasure }));
    }
    lines
}

/// Collects the lines of one execution.
struct Collector<'a> {
    execution: &'a Execution,
    destinations: &'a [DestinationSummary],
    received_at: DateTime<Utc>,
    now: DateTime<Utc>,
    lines: Vec<(LineTime, What)>,
}

impl Collector<'_> {
    fn collect(mut self) -> Vec<(LineTime, What)> {
        let execution = self.execution;
        // One statement stores and queues the event. A replay queues it later, which gets its own line.
        if execution.created_at != self.received_at {
            self.push(execution.created_at, What::Queued);
        }
        if execution.earlier_attempts > 0
            && let Some(first) = execution.attempts.first()
        {
            self.push(first.at, What::EarlierAttempts { count: execution.earlier_attempts });
        }
        for operation in &execution.operations {
            self.push(operation.at, What::Manual { operation: operation.clone() });
        }
        // An attempt shows what it delivered or declined.
        for end in
            execution.ends.iter().filter(|end| !matches!(end.status, Status::Success | Status::Skipped))
        {
            self.push(end.at, What::Ended { status: end.status, reason: None, remedy: None, written: None });
        }
        let mut last = None;
        for (number, one) in (execution.earlier_attempts + 1..).zip(&execution.attempts) {
            // If earlier attempts are omitted, the wait before the first listed one is unknown.
            if last.is_some() || execution.earlier_attempts == 0 {
                self.wait_before(last, one.at);
            }
            let written = self.written().filter(|_| self.is_final(number));
            self.push(one.at, What::Attempted { number, one: one.clone(), written });
            last = Some(one);
        }
        self.end();
        self.lines
    }

    /// Adds the wait before an attempt, if there was one.
    fn wait_before(&mut self, last: Option<&Attempt>, until: DateTime<Utc>) {
        let execution = self.execution;
        let ended = last
            .map_or(execution.created_at, |last| last.at + TimeDelta::milliseconds(last.duration_ms.into()));
        let manual =
            execution.operations.iter().map(|one| one.at).filter(|at| (ended..=until).contains(at)).max();
        // A finished execution did not wait until it was retried manually.
        if manual.is_none() && last.is_some_and(|last| is_an_end(&last.outcome)) {
            return;
        }
        let since = manual.unwrap_or(ended);
        let outcome = last.filter(|_| manual.is_none()).map(|last| last.outcome.as_str());
        if let Some(wait) = Wait::between(since, until, outcome, &execution.pauses) {
            self.push(since, What::Waited { wait });
        }
    }

    /// Adds the present state, unless the last attempt shows it.
    fn end(&mut self) {
        let execution = self.execution;
        let is_shown = execution.status == Status::Success
            && self.final_attempt().is_some_and(|(_, one)| one.outcome == DELIVERED);
        match execution.status {
            Status::Pending => {
                self.lines
                    .push((LineTime::Now(self.now), What::Pending { waiting: execution.waiting.clone() }));
            }
            Status::Running => self.lines.push((LineTime::Now(self.now), What::Running)),
            Status::Success if is_shown => {}
            status => {
                let shown = execution.attempts.last().and_then(|last| last.message.as_ref());
                let reason = execution.reason.clone().filter(|reason| Some(reason) != shown);
                let remedy = execution.remedy.clone().filter(|_| status == Status::Failed);
                let what = What::Ended { status, reason, remedy, written: self.written() };
                self.push(execution.finished_at.unwrap_or(self.now), what);
            }
        }
    }

    /// The entry that was written, if it has a link.
    fn written(&self) -> Option<Written> {
        let url = self.execution.remote_url.clone()?;
        Some(Written { noun: noun(self.destinations, &self.execution.destination).one, url })
    }

    /// Whether this attempt ended the execution and delivered the event.
    fn is_final(&self, number: u32) -> bool {
        let is_last = |(last, one): (u32, &Attempt)| last == number && one.outcome == DELIVERED;
        self.execution.status == Status::Success && self.final_attempt().is_some_and(is_last)
    }

    /// The attempt that ended the execution, with its number. Attempts of a repetition that was cancelled
    /// follow it.
    fn final_attempt(&self) -> Option<(u32, &Attempt)> {
        let numbered = (self.execution.earlier_attempts + 1..).zip(&self.execution.attempts);
        let ended_at = self.execution.finished_at.unwrap_or(self.now);
        numbered.filter(|(_, one)| one.at <= ended_at).last()
    }

    fn push(&mut self, at: DateTime<Utc>, what: What) {
        self.lines.push((LineTime::At(at), what));
    }
}

/// The outcome of a successful attempt.
const DELIVERED: &str = "delivered";

/// Whether an attempt with this outcome is the last one, unless an operator retries.
fn is_an_end(outcome: &str) -> bool {
    matches!(outcome, DELIVERED | "permanent" | "gone" | "skipped")
}

#[cfg(test)]
mod tests;
