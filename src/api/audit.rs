//! `/api/v1/audit`: the log of manual changes.

use super::extract::{self, Query};
use super::{Api, NotRead, from_store};
use crate::domain::audit::{Subject, UnknownSubjectKind};
use crate::problem::Problem;
use crate::store::{AuditRow, Cursor};
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// A manual change.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditView {
    /// When it was made.
    pub at: DateTime<Utc>,
    /// Who made it: the name of the key, or `cli:` and the user.
    #[schema(example = "ops")]
    pub who: String,
    /// What was done.
    #[schema(example = "execution.retried")]
    pub action: String,
    /// The subject of the change.
    #[schema(example = "execution 42")]
    pub subject: String,
    /// Details, such as the filter, the count or the note.
    #[schema(value_type = Object)]
    pub detail: Value,
}

/// A page of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub struct Audit {
    /// The changes, newest first.
    pub data: Vec<AuditView>,
    /// The cursor of the next (older) page; null on the last page.
    pub next_cursor: Option<String>,
}

/// Which changes to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Changes of this subject, such as `execution 42`.
    subject: Option<String>,
    /// The page size, at most 200; the default is 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// Lists manual changes, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    operation_id = "list_audit",
    tag = "audit",
    params(AuditQuery),
    responses(
        (status = 200, description = "A page of the audit log", body = Audit),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Audit>, Problem> {
    let (cursor, limit) = extract::paging(query.cursor.as_deref(), query.limit)?;
    let subject = query.subject.as_deref().map(subject).transpose()?;
    let page = api.store.reports.audited(subject, cursor, limit).await.map_err(from_store)?;
    Ok(Json(Audit {
        data: page.rows.into_iter().map(AuditView::from).collect(),
        next_cursor: page.next.map(Cursor::encode),
    }))
}

/// Reads a subject as the view shows it, such as `execution 42` or `events`.
fn subject(text: &str) -> Result<Subject<'_>, Problem> {
    let (kind, id) = text.split_once(' ').map_or((text, None), |(kind, id)| (kind, Some(id)));
    let unknown = |error: UnknownSubjectKind| Problem::bad_request(format!("subject: {error}."));
    Ok(Subject { kind: kind.parse().map_err(unknown)?, id })
}

impl From<AuditRow> for AuditView {
    fn from(row: AuditRow) -> Self {
        let subject = match row.subject_id {
            Some(id) => format!("{} {id}", row.subject_kind),
            None => row.subject_kind,
        };
        Self { at: row.at, who: row.who, action: row.action, subject, detail: row.detail }
    }
}
