//! `/api/v1/rejections`: the recently rejected webhooks and the causes.

use super::{Api, NotRead, from_store};
use crate::domain::rejection::{Diagnosis, StoredSample, causes};
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// The last rejections and what they have in common.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rejections {
    /// The causes, the most recent first; empty if nothing was rejected.
    pub causes: Vec<CauseView>,
    /// When the newest event was accepted; null if there is none.
    pub last_accepted_at: Option<DateTime<Utc>>,
    /// The newest 100 samples, newest first. At most one sample is stored per second.
    pub data: Vec<RejectionView>,
}

/// Why webhooks are rejected.
#[derive(Debug, Serialize, ToSchema)]
pub struct CauseView {
    /// `wrong_secret`, `another_secret`, `body_rewritten`, `body_damaged`, `header_dropped`,
    /// `header_changed`, `wrong_path`, `test_secret`, `clock`, `delayed`, `not_an_event` or `stranger`.
    #[schema(example = "wrong_secret")]
    pub cause: &'static str,
    /// Whether its last rejection is less than a day old, and no event of its source was accepted since.
    pub is_current: bool,
    /// The number of its rejections, including those without a sample.
    #[schema(example = 12)]
    pub count: u64,
    /// The time of the first sample.
    pub first_at: DateTime<Utc>,
    /// The time of the last rejection.
    pub last_at: DateTime<Utc>,
    /// What was observed.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// One rejected webhook. Neither its body nor its headers' values are stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectionView {
    /// When it was received.
    pub at: DateTime<Utc>,
    /// The source that it was sent to.
    pub source: String,
    /// The check that failed.
    #[schema(example = "signature_no_match")]
    pub reason: String,
    /// The names of its headers.
    pub header_names: Vec<String>,
    /// Whether its user agent is the sender's. Anyone can send this.
    pub by_sender: bool,
    /// The length of its body.
    pub body_bytes: u64,
    /// The SHA-256 of its body, in hex.
    pub body_sha256: String,
    /// `empty`, `not_json`, `not_an_event`, `as_sent`, `rewritten` (an event in another layout than its
    /// sender's), `unclear`, or what became of an event: `base64`, `compressed`, `wrapped`, `form_encoded`,
    /// `truncated` or `reencoded`.
    #[schema(example = "as_sent")]
    pub body_form: &'static str,
    /// The time that its signature claims.
    pub claimed_at: Option<DateTime<Utc>>,
    /// The mode that its body claims.
    pub livemode: Option<bool>,
    /// Rejections without a sample, before it or within a second after it.
    pub unseen: u64,
}

/// Returns the recently rejected webhooks and the causes.
#[utoipa::path(
    get,
    path = "/api/v1/rejections",
    operation_id = "list_rejections",
    tag = "webhooks",
    responses(
        (status = 200, description = "The last rejections and their causes", body = Rejections),
        NotRead,
    ),
)]
pub(super) async fn rejections(State(api): State<Api>) -> Result<Json<Rejections>, Problem> {
    let kept = api.store.rejections.rejections().await.map_err(from_store)?;
    let accepted = api.store.rejections.accepted().await.map_err(from_store)?;
    let now = api.store.reports.now().await.map_err(from_store)?;
    let found = causes(&kept, &accepted, api.sources.as_ref(), now);
    Ok(Json(Rejections {
        causes: found.into_iter().map(CauseView::from).collect(),
        last_accepted_at: accepted.last_at,
        data: kept.into_iter().map(RejectionView::from).collect(),
    }))
}

impl From<Diagnosis> for CauseView {
    fn from(found: Diagnosis) -> Self {
        Self {
            cause: found.cause.as_str(),
            is_current: found.is_current,
            count: found.count,
            first_at: found.first_at,
            last_at: found.last_at,
            message: found.message,
            remedy: found.remedy,
        }
    }
}

impl From<StoredSample> for RejectionView {
    fn from(StoredSample { at, sample }: StoredSample) -> Self {
        Self {
            at,
            source: sample.source,
            reason: sample.reason,
            header_names: sample.header_names,
            by_sender: sample.by_sender,
            body_bytes: sample.body_bytes,
            body_sha256: sample.body_sha256,
            body_form: sample.form.as_str(),
            claimed_at: sample.claimed_at.and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
            livemode: sample.livemode,
            unseen: sample.unseen,
        }
    }
}
