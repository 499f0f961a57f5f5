//! `/api/v1/rejections`: the recently rejected webhooks and the causes.

use super::extract::NoQuery;
use super::{Api, NotRead, from_store};
use crate::domain::rejection::{BodyForm, Cause, Diagnosis, StoredSample, causes};
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// The last rejections and what they have in common.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectionList {
    /// The causes, the most recent first; empty if nothing was rejected.
    pub causes: Vec<RejectionCause>,
    /// When the newest event was accepted; null if there is none.
    pub last_accepted_at: Option<DateTime<Utc>>,
    /// The newest 100 samples, newest first. At most one sample is stored per second.
    pub data: Vec<Rejection>,
}

/// Why webhooks are rejected.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectionCause {
    /// The cause.
    pub cause: Cause,
    /// Whether its last rejection is less than a day old, and no event of its source was accepted since.
    pub is_current: bool,
    /// The number of its rejections, including those without a sample.
    #[schema(example = 12)]
    pub count: u64,
    /// The time of the first sample.
    pub first_seen_at: DateTime<Utc>,
    /// The time of the last rejection.
    pub last_seen_at: DateTime<Utc>,
    /// What was observed.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// One rejected webhook. Neither its body nor its headers' values are stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rejection {
    /// When it was received.
    pub received_at: DateTime<Utc>,
    /// The source that it was sent to.
    pub source: String,
    /// The check that failed: a word of the source.
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
    /// The form of its body, which hints at what is between the sender and this service.
    pub body_form: BodyForm,
    /// The time that its signature claims; null if it claims none.
    pub claimed_at: Option<DateTime<Utc>>,
    /// The mode that its body claims; null if it claims none.
    pub livemode: Option<bool>,
    /// Rejections without a sample, before it or within a second after it.
    pub unseen: u64,
}

/// Returns the recently rejected webhooks and the causes.
///
/// The service keeps the last 100 samples, however old they are.
#[utoipa::path(
    get,
    path = "/api/v1/rejections",
    operation_id = "list_rejections",
    tag = "webhooks",
    responses(
        (status = 200, description = "The last rejections and their causes", body = RejectionList),
        (status = 400, description = "A parameter was given; it has none", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn rejections(State(api): State<Api>, _: NoQuery) -> Result<Json<RejectionList>, Problem> {
    let kept = api.store.rejections.rejections().await.map_err(from_store)?;
    let accepted = api.store.rejections.accepted().await.map_err(from_store)?;
    let now = api.store.reports.now().await.map_err(from_store)?;
    let found = causes(&kept, &accepted, api.sources.as_ref(), now);
    Ok(Json(RejectionList {
        causes: found.into_iter().map(RejectionCause::from).collect(),
        last_accepted_at: accepted.last_at,
        data: kept.into_iter().map(Rejection::from).collect(),
    }))
}

impl From<Diagnosis> for RejectionCause {
    fn from(found: Diagnosis) -> Self {
        Self {
            cause: found.cause,
            is_current: found.is_current,
            count: found.count,
            first_seen_at: found.first_at,
            last_seen_at: found.last_at,
            message: found.message,
            remedy: found.remedy,
        }
    }
}

impl From<StoredSample> for Rejection {
    fn from(StoredSample { at, sample }: StoredSample) -> Self {
        Self {
            received_at: at,
            source: sample.source,
            reason: sample.reason,
            header_names: sample.header_names,
            by_sender: sample.by_sender,
            body_bytes: sample.body_bytes,
            body_sha256: sample.body_sha256,
            body_form: sample.form,
            claimed_at: sample.claimed_at.and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
            livemode: sample.livemode,
            unseen: sample.unseen,
        }
    }
}
