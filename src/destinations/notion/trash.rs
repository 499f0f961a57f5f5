//! Notion's trash: whether something that contains the pages is in it, or is archived.
//!
//! Pages of a trashed database say that they are in the trash themselves, and a database below a trashed page
//! may say that it is not. So a page in the trash shows that a person removed it only if nothing that contains
//! it is there too. The operator restores what contains the pages; until then their deliveries wait.
//!
//! What contains the pages says so itself, if the connection may read it. Otherwise the pages are the evidence:
//! one that is in the trash as soon as it is created, or whose write Notion refuses for an archived ancestor,
//! proves that something above it is put away. A row that is not in the trash proves the contrary.

use super::call_error::CallError;
use super::client::Calls;
use super::request::{Request, Rows};
use super::settings::NotionId;
use super::table::operator;
use crate::domain::delivery::Outcome;
use serde_json::Value;

/// The class of failures of a table that is in the trash.
pub(super) const IN_TRASH: &str = "in_trash";

/// How many containers above a data source are read.
const CONTAINERS_MAX: u32 = 10;

/// What contains the pages and is in the trash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    /// The data source itself.
    DataSource,
    /// Its database.
    Database,
    /// A page or a block above the database.
    Ancestor,
    /// Something above the pages that the connection cannot read.
    Unseen,
}

/// What is known of the containers of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Containers {
    /// None of them is in the trash.
    InPlace,
    /// None of those that the connection can read is in the trash; it cannot read all.
    PartlyUnseen,
    /// This one, the nearest, is in the trash.
    PutAway(Container),
}

impl Container {
    /// What is wrong.
    pub fn problem(self) -> String {
        let what = match self {
            Self::DataSource => "the data source",
            Self::Database => "the database",
            Self::Ancestor => "a page above the database",
            Self::Unseen => "a page above the database, which the connection cannot read,",
        };
        format!("{what} is in Notion's trash or archived, so its pages cannot be written")
    }

    /// What to do.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::DataSource => {
                "restore the data source in Notion (Trash, or the database's own list of sources)"
            }
            Self::Database => "restore the database in Notion's trash",
            Self::Ancestor => "restore the page in Notion's trash, or move the database to another page",
            Self::Unseen => {
                "restore the page that contains the database in Notion's trash, or move the database to another page"
            }
        }
    }

    /// The outcome of a delivery.
    pub fn outcome(self) -> Outcome {
        operator(IN_TRASH, self.problem(), self.remedy())
    }
}

/// Whether Notion's answer says that a thing is in the trash or archived.
pub(super) fn is_put_away(thing: &Value) -> bool {
    ["in_trash", "is_archived"].iter().any(|state| thing.get(state) == Some(&Value::Bool(true)))
}

/// Whether a person archived a page and did not move it to the trash.
pub(super) fn is_only_archived(page: &Value) -> bool {
    let is = |state: &str| page.get(state) == Some(&Value::Bool(true));
    is("is_archived") && !is("in_trash")
}

/// Whether a person moved a page out of this table. A row of a wiki may be below another page, so a parent that
/// is no table shows it only for a page that `lacks_columns` of the table.
pub(super) fn has_left(page: &Value, data_source: &str, lacks_columns: bool) -> bool {
    let Some(parent) = page.get("parent").filter(|parent| parent.is_object()) else { return false };
    match parent.get("data_source_id").and_then(Value::as_str) {
        Some(table) => !NotionId::is_same(table, data_source),
        None => lacks_columns,
    }
}

/// The outcome of a delivery whose page a person archived.
pub(super) fn archived() -> Outcome {
    let reason = "its page is archived in Notion, so it is not written until a person restores it";
    Outcome::Skipped { reason: reason.to_owned() }
}

/// The outcome of a delivery whose page a person moved out of the table.
pub(super) fn moved() -> Outcome {
    Outcome::Skipped { reason: "its page was moved to another table or page in Notion".to_owned() }
}

/// Whether a page is a row of this table.
pub(super) fn is_row_of(page: &Value, data_source: &str) -> bool {
    let parent = page.pointer("/parent/data_source_id").and_then(Value::as_str);
    parent.is_some_and(|parent| NotionId::is_same(parent, data_source))
}

impl Calls<'_> {
    /// What is known of the containers of a data source's pages, nearest first.
    pub(super) async fn containers(&self, data_source: &Value) -> Result<Containers, CallError> {
        if is_put_away(data_source) {
            return Ok(Containers::PutAway(Container::DataSource));
        }
        let mut thing = data_source.clone();
        for _ in 0..CONTAINERS_MAX {
            let id = |kind: &str| thing.pointer(&format!("/parent/{kind}"))?.as_str();
            let (container, request) = match (id("database_id"), id("page_id"), id("block_id")) {
                (Some(database), _, _) => (Container::Database, Request::database(database)),
                (_, Some(page), _) => (Container::Ancestor, Request::page_state(page)),
                (_, _, Some(block)) => (Container::Ancestor, Request::block(block)),
                _ if thing.pointer("/parent/workspace") == Some(&Value::Bool(true)) => {
                    return Ok(Containers::InPlace);
                }
                // Of what the connection may not read, an answer can show the id alone.
                _ => return Ok(Containers::PartlyUnseen),
            };
            thing = match self.read::<Value>(&request).await {
                Ok(answer) => answer.value,
                Err(CallError::Refused(refusal)) if matches!(refusal.status, 400 | 403 | 404) => {
                    return Ok(Containers::PartlyUnseen);
                }
                Err(error) => return Err(error),
            };
            if is_put_away(&thing) {
                return Ok(Containers::PutAway(container));
            }
        }
        Ok(Containers::PartlyUnseen)
    }

    /// Whether a page still proves that something above it is in the trash.
    pub(super) async fn still_proves_trash(&self, data_source: &str, page: &str) -> Result<bool, CallError> {
        let page = match self.page_state(page).await {
            Ok(answer) => answer.value,
            Err(CallError::Refused(refusal)) if matches!(refusal.status, 400 | 404) => return Ok(false),
            Err(error) => return Err(error),
        };
        Ok(is_put_away(&page) && is_row_of(&page, data_source) && !self.has_rows(data_source).await?)
    }

    /// Whether a table shows a row that is not in the trash.
    pub(super) async fn has_rows(&self, data_source: &str) -> Result<bool, CallError> {
        let found = self.find_one(data_source, Rows::Present).await?;
        Ok(found.value.results.iter().any(|row| !row.is_put_away()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_page_has_left_its_table_if_its_parent_is_another_one_or_no_table_and_columns_are_missing() {
        for (page, lacks_columns, expected) in [
            (json!({"parent": {"data_source_id": "source"}}), true, false),
            (json!({"parent": {"data_source_id": "other"}}), false, true),
            (json!({"parent": {"page_id": "above"}}), false, false),
            (json!({"parent": {"page_id": "above"}}), true, true),
            (json!({"id": "of a page that may not be read"}), true, false),
            (json!({"parent": null}), true, false),
        ] {
            assert_eq!(has_left(&page, "source", lacks_columns), expected, "{page} {lacks_columns}");
        }
    }

    #[test]
    fn a_page_in_the_trash_was_removed_whether_it_is_archived_or_not() {
        assert!(is_only_archived(&json!({"is_archived": true, "in_trash": false})));
        assert!(!is_only_archived(&json!({"is_archived": true, "in_trash": true})));
        assert!(!is_only_archived(&json!({"is_archived": false})));
    }
}
