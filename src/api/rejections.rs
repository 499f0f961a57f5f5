//! `/api/v1/rejections`: which webhooks were rejected of late, and why, in plain words.

use super::{Api, NotRead, from_store};
use crate::domain::rejection::{Diagnosis, Kept};
use crate::problem::Problem;
use crate::store::StoreError;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// The last rejections and what they have in common.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rejections {
    /// The causes, the one seen last first; empty where nothing was rejected.
    pub causes: Vec<CauseView>,
    /// When the newest event was accepted; null where there is none.
    pub last_accepted_at: Option<DateTime<Utc>>,
    /// The last hundred that were kept, newest first. At most one a second is.
    pub data: Vec<RejectionView>,
}

/// Why webhooks are rejected.
#[derive(Debug, Serialize, ToSchema)]
pub struct CauseView {
    /// `wrong_secret`, `another_secret`, `body_rewritten`, `header_dropped`, `header_changed`,
    /// `clock`, `delayed`, `not_an_event` or `stranger`.
    #[schema(example = "wrong_secret")]
    pub cause: &'static str,
    /// Whether nothing was accepted after the last rejection of this cause.
    pub is_current: bool,
    /// How many rejections show it, those of which nothing was kept included.
    #[schema(example = 12)]
    pub count: u64,
    /// The first of those that are kept.
    pub first_at: DateTime<Utc>,
    /// The last one.
    pub last_at: DateTime<Utc>,
    /// What is seen.
    pub says: String,
    /// What to do.
    pub remedy: String,
}

/// One rejected webhook. Nothing of its body and no header's text is kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectionView {
    /// When it came.
    pub at: DateTime<Utc>,
    /// The source that it was sent to.
    #[schema(example = "stripe")]
    pub source: String,
    /// The check that failed.
    #[schema(example = "signature_no_match")]
    pub reason: String,
    /// The names of its headers.
    pub header_names: Vec<String>,
    /// Whether its user agent is the sender's, which anybody can claim.
    pub by_sender: bool,
    /// The length of its body.
    pub body_bytes: u64,
    /// The SHA-256 of its body, in hex.
    pub body_sha256: String,
    /// `empty`, `not_json`, `not_an_event`, `as_sent`, `rewritten` (an event in another layout than
    /// Stripe's) or `unclear`.
    #[schema(example = "as_sent")]
    pub body_form: &'static str,
    /// The time that its signature claims.
    pub claimed_at: Option<DateTime<Utc>>,
    /// The mode that its body claims.
    pub livemode: Option<bool>,
    /// Rejections before it of which nothing was kept.
    pub unseen: u64,
}

/// Tells which webhooks were rejected of late, and why.
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
    let (kept, last_accepted_at, found) = look(&api).await.map_err(from_store)?;
    Ok(Json(Rejections {
        causes: found.into_iter().map(CauseView::from).collect(),
        last_accepted_at,
        data: kept.into_iter().map(RejectionView::from).collect(),
    }))
}

/// The rejections that are kept, when an event was accepted last, and the causes.
pub(super) async fn look(
    api: &Api,
) -> Result<(Vec<Kept>, Option<DateTime<Utc>>, Vec<Diagnosis>), StoreError> {
    let kept = api.store.rejections.rejections().await?;
    let accepted_at = api.store.rejections.last_accepted_at().await?;
    let found = api.sources.diagnose(&kept, accepted_at);
    Ok((kept, accepted_at, found))
}

impl From<Diagnosis> for CauseView {
    fn from(found: Diagnosis) -> Self {
        Self {
            cause: found.cause.as_str(),
            is_current: found.is_current,
            count: found.count,
            first_at: found.first_at,
            last_at: found.last_at,
            says: found.says,
            remedy: found.remedy,
        }
    }
}

impl From<Kept> for RejectionView {
    fn from(Kept { at, sample }: Kept) -> Self {
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
