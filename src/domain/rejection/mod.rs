//! Rejected requests: the samples that are kept, and their common causes.
//!
//! A sample has no body, signature or header value: it is enough to find the cause, and contains nothing
//! that a customer wrote.

mod diagnosis;

pub use diagnosis::{Accepted, Cause, Diagnose, Diagnosis, RejectionStreak, causes, rejection_streak};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};
use std::str::FromStr;
use utoipa::ToSchema;

/// The sample of a rejected request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectionSample {
    /// The source that it was sent to.
    pub source: String,
    /// The check that failed, as a stable word.
    pub reason: String,
    /// The names of its headers, sorted and bounded.
    pub header_names: Vec<String>,
    /// Whether its User-Agent is the sender's, which anyone can claim.
    pub by_sender: bool,
    /// The length of its body.
    pub body_bytes: u64,
    /// The SHA-256 of its body in hex, which identifies copies of one request.
    pub body_sha256: String,
    /// The form of its body.
    pub form: BodyForm,
    /// The time that its signature claims, in Unix seconds.
    pub claimed_at: Option<i64>,
    /// Whether it claims to be of live mode.
    pub livemode: Option<bool>,
    /// The number of rejections without a sample, before it or within a second after it: at most one sample per
    /// second is kept.
    pub unseen: u64,
}

/// The number of samples that are kept; further ones replace the oldest.
pub const SAMPLES_KEPT: i64 = 100;

/// A stored sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSample {
    /// When the request arrived.
    pub at: DateTime<Utc>,
    /// The sample.
    pub sample: RejectionSample,
}

impl RejectionSample {
    /// A request to `source` that failed `check`, from an unknown sender. `header_names` are
    /// sorted and bounded.
    pub fn new(source: &str, check: &str, header_names: Vec<String>, body: &[u8]) -> Self {
        Self {
            source: source.to_owned(),
            reason: check.to_owned(),
            header_names,
            by_sender: false,
            body_bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
            body_sha256: hex::encode(Sha256::digest(body)),
            form: BodyForm::of(body),
            claimed_at: None,
            livemode: None,
            unseen: 0,
        }
    }
}

/// The form of a body, which hints at who wrote it. Later versions may add values: accept unknown ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyForm {
    /// There is no body.
    Empty,
    /// It is not JSON.
    NotJson,
    /// JSON, but not an event.
    NotAnEvent,
    /// An event in its sender's own layout.
    AsSent,
    /// An event in another layout: something on the way has rewritten it.
    Rewritten,
    /// JSON whose layout reveals nothing.
    Unclear,
    /// The base64 text of an event.
    Base64,
    /// Compressed data.
    Compressed,
    /// Other JSON with an event inside.
    Wrapped,
    /// A form with an event, or with its fields.
    FormEncoded,
    /// The beginning of an event.
    Truncated,
    /// An event in another text encoding, or with a byte order mark.
    Reencoded,
}

impl BodyForm {
    const ALL: [Self; 12] = [
        Self::Empty,
        Self::NotJson,
        Self::NotAnEvent,
        Self::AsSent,
        Self::Rewritten,
        Self::Unclear,
        Self::Base64,
        Self::Compressed,
        Self::Wrapped,
        Self::FormEncoded,
        Self::Truncated,
        Self::Reencoded,
    ];

    /// The form of a body by its JSON alone; only its source recognizes an event.
    fn of(body: &[u8]) -> Self {
        match std::str::from_utf8(body) {
            Ok(text) if text.trim().is_empty() => Self::Empty,
            Ok(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => Self::Unclear,
            _ => Self::NotJson,
        }
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotJson => "not_json",
            Self::NotAnEvent => "not_an_event",
            Self::AsSent => "as_sent",
            Self::Rewritten => "rewritten",
            Self::Unclear => "unclear",
            Self::Base64 => "base64",
            Self::Compressed => "compressed",
            Self::Wrapped => "wrapped",
            Self::FormEncoded => "form_encoded",
            Self::Truncated => "truncated",
            Self::Reencoded => "reencoded",
        }
    }
}

/// The word is not a form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no form of a body has this name")]
pub struct UnknownForm;

impl FromStr for BodyForm {
    type Err = UnknownForm;

    fn from_str(word: &str) -> Result<Self, UnknownForm> {
        Self::ALL.into_iter().find(|form| form.as_str() == word).ok_or(UnknownForm)
    }
}
