//! `/api/v1/audit`: who changed what by hand.

use super::extract::{self, Query};
use super::{Api, NotRead, from_store};
use crate::problem::Problem;
use crate::store::{AuditRow, Cursor};
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// One thing that was done by hand.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditView {
    /// When.
    pub at: DateTime<Utc>,
    /// By whom: the name of the key, or `cli:` and the user.
    #[schema(example = "ops")]
    pub who: String,
    /// What was done.
    #[schema(example = "execution.retried")]
    pub action: String,
    /// To what.
    #[schema(example = "execution 42")]
    pub subject: String,
    /// What else is to be known of it, such as the filter, the count or the note.
    #[schema(value_type = Object)]
    pub detail: Value,
}

/// A page of the audit.
#[derive(Debug, Serialize, ToSchema)]
pub struct Audit {
    /// What was done, newest first.
    pub data: Vec<AuditView>,
    /// Ask with this cursor for what is older; null at the end.
    pub next_cursor: Option<String>,
}

/// Which part of the audit to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// What was done to this alone, such as `execution 42`.
    subject: Option<String>,
    /// How many, at most 200; 50 where nothing is said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists what was done by hand, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    operation_id = "list_audit",
    tag = "audit",
    params(AuditQuery),
    responses(
        (status = 200, description = "A page of the audit", body = Audit),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Audit>, Problem> {
    let (cursor, limit) = extract::paging(query.cursor.as_deref(), query.limit)?;
    let page =
        api.store.reports.audited(query.subject.as_deref(), cursor, limit).await.map_err(from_store)?;
    Ok(Json(Audit {
        data: page.rows.into_iter().map(AuditView::from).collect(),
        next_cursor: page.next.map(Cursor::encode),
    }))
}

impl From<AuditRow> for AuditView {
    fn from(row: AuditRow) -> Self {
        Self { at: row.at, who: row.who, action: row.action, subject: row.subject, detail: row.detail }
    }
}
