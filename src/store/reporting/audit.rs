//! The audit: who changed what manually. Its entries never change.
//!
//! The statement that makes a change also writes its entry, so neither exists without the other.
//! `Interventions::audit` is for changes that other parts make.

use super::Reports;
use crate::domain::audit::{Subject, SubjectKind};
use crate::store::db::{Cursor, Page, StoreError};
use chrono::{DateTime, Utc};
use serde_json::Value;

/// One audit entry.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "self-explanatory; the API documents them")]
pub struct AuditRow {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub who: String,
    pub action: String,
    pub subject_kind: String,
    pub subject_id: Option<String>,
    pub detail: Value,
}

impl AuditRow {
    /// What it is about; `None` if a newer version of the service wrote a kind that this one does not know.
    pub fn subject(&self) -> Option<Subject<'_>> {
        let kind = self.subject_kind.parse().ok()?;
        Some(Subject { kind, id: self.subject_id.as_deref() })
    }
}

impl Reports {
    /// A page of the audit, newest first, of one subject if one is given. The entries of an execution
    /// include the last bulk operation on it.
    pub async fn audited(
        &self,
        subject: Option<Subject<'_>>,
        cursor: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<AuditRow>, StoreError> {
        let is_execution = |subject: &Subject<'_>| subject.kind == SubjectKind::Execution;
        let execution = subject.filter(is_execution).and_then(|subject| subject.id);
        let execution = execution.and_then(|id| id.parse::<i64>().ok());
        let rows = sqlx::query_as!(
            AuditRow,
            r#"
            select id, at, who, action, subject_kind, subject_id, detail
              from eventbridge.audit
             where id < $1
               and ($2::text is null
                    or subject_kind = $2 and ($5::text is null or subject_id = $5)
                    -- A bulk operation and what it did to each execution have the same time.
                    or subject_kind = 'task'
                       and at = (select retried_at from eventbridge.executions where executions.id = $4))
             order by id desc
             limit $3
            "#,
            Cursor::before(cursor),
            subject.map(|subject| subject.kind.as_str()),
            i64::from(limit) + 1,
            execution,
            subject.and_then(|subject| subject.id)
        )
        .fetch_all(&self.reading)
        .await?;
        Ok(Page::cut(rows, limit, |row| row.id))
    }
}
