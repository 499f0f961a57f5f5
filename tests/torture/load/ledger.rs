//! The responses to each event.

use super::plan::Plan;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The responses to each event.
pub struct Ledger {
    answers: Mutex<BTreeMap<String, Answers>>,
    figures: Mutex<Figures>,
    waits: Mutex<Vec<Duration>>,
}

/// The responses to the copies of one event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answers {
    /// 200.
    pub accepted: u32,
    /// 200, and the event was new.
    pub new: u32,
}

/// Counts over all requests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Requests.
    pub requests: u64,
    /// 200.
    pub accepted: u64,
    /// 200, and the event was a duplicate.
    pub duplicates: u64,
    /// 503 or 504.
    pub shed: u64,
    /// No response at all.
    pub unanswered: u64,
}

/// The response to one request.
pub(super) enum Answer {
    Taken { new: bool },
    Shed,
    Nothing,
    Other(String),
}

impl Ledger {
    /// An empty one.
    pub fn new(plan: &Plan) -> Self {
        let answers = plan.events.iter().map(|event| (event.id.clone(), Answers::default())).collect();
        Self { answers: Mutex::new(answers), figures: Mutex::default(), waits: Mutex::default() }
    }

    /// The responses, by event.
    pub fn answers(&self) -> BTreeMap<String, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The counts.
    pub fn figures(&self) -> Figures {
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The events that were never accepted.
    pub fn unanswered(&self) -> Vec<String> {
        let answers = self.answers();
        answers.into_iter().filter(|(_, answers)| answers.accepted == 0).map(|(id, _)| id).collect()
    }

    /// For each accepted copy, the time since it was first sent.
    pub fn waits(&self) -> Vec<Duration> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records how long it took until a copy was accepted.
    pub(super) fn waited(&self, wait: Duration) {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).push(wait);
    }

    /// Records a response.
    pub(super) fn note(&self, event: &str, answer: &Answer) {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        figures.requests += 1;
        match answer {
            Answer::Taken { new } => {
                figures.accepted += 1;
                figures.duplicates += u64::from(!new);
                let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
                let answers = answers.entry(event.to_owned()).or_default();
                answers.accepted += 1;
                answers.new += u32::from(*new);
            }
            Answer::Shed => figures.shed += 1,
            Answer::Nothing => figures.unanswered += 1,
            Answer::Other(_) => {}
        }
    }
}
