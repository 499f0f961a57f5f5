//! `/api/v1/audit`: the log of manual changes.

use super::extract::Query;
use super::paging::{FilterPrint, PageRequest};
use super::{Api, NotRead, from_store};
use crate::domain::audit::{Action, Subject, SubjectKind};
use crate::problem::Problem;
use crate::store::AuditRow;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// A manual change.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who made it: the name of the key, or `cli:` and the user.
    #[schema(example = "ops")]
    pub actor: String,
    /// What was done.
    #[schema(value_type = Action, example = "execution.retried")]
    pub action: String,
    /// What kind of thing was changed.
    #[schema(value_type = SubjectKind, example = "execution")]
    pub subject_kind: String,
    /// Which one; null if there were many, or if it has no id.
    #[schema(example = "42")]
    pub subject_id: Option<String>,
    /// Details, such as the filter, the count or the note. The fields depend on the action.
    #[schema(value_type = HashMap<String, Value>)]
    pub detail: Value,
}

/// A page of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntryList {
    /// The changes, newest first.
    pub data: Vec<AuditEntry>,
    /// The cursor of the next (older) page; null on the last page.
    pub next_cursor: Option<String>,
}

/// Which changes to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Changes of this kind of thing.
    subject_kind: Option<SubjectKind>,
    /// Changes of the thing with this id, such as `42`; requires `subject_kind`.
    subject_id: Option<String>,
    /// The page size, at most 200; the default is 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// Lists manual changes, newest first.
///
/// The list covers all time. The changes of an execution include the last bulk operation on it.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    operation_id = "list_audit",
    tag = "audit",
    params(AuditQuery),
    responses(
        (status = 200, description = "A page of the audit log", body = AuditEntryList),
        (status = 400, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        NotRead,
    ),
)]
pub(super) async fn list(
    State(api): State<Api>,
    print: FilterPrint,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditEntryList>, Problem> {
    let request = PageRequest::read(query.cursor.as_deref(), query.limit, print)?;
    let id = query.subject_id.as_deref();
    let subject = query.subject_kind.map(|kind| Subject { kind, id });
    if subject.is_none() && id.is_some() {
        return Err(Problem::invalid("subject_kind", "is required with subject_id"));
    }
    let page = api.store.reports.audited(subject, request.cursor, request.limit).await.map_err(from_store)?;
    Ok(Json(AuditEntryList {
        data: page.rows.into_iter().map(AuditEntry::from).collect(),
        next_cursor: request.next(page.next),
    }))
}

impl From<AuditRow> for AuditEntry {
    fn from(row: AuditRow) -> Self {
        Self {
            created_at: row.at,
            actor: row.who,
            action: row.action,
            subject_kind: row.subject_kind,
            subject_id: row.subject_id,
            detail: row.detail,
        }
    }
}
