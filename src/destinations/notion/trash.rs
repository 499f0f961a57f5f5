//! Notion's trash: whether something that contains the pages is in it, or is archived.
//!
//! Pages of a trashed database say that they are in the trash themselves, and a database below a trashed page
//! may say that it is not. So a page in the trash shows that a person removed it only if nothing that contains
//! it is there too. The operator restores what contains the pages; until then their deliveries wait.

use super::call_error::CallError;
use super::client::Calls;
use super::request::Request;
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
}

impl Container {
    /// What is wrong.
    pub fn problem(self) -> String {
        let what = match self {
            Self::DataSource => "the data source",
            Self::Database => "the database",
            Self::Ancestor => "a page above the database",
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

impl Calls<'_> {
    /// The nearest container of a data source's pages that is in the trash, if any. What the connection may
    /// not read is taken to be where it belongs.
    pub(super) async fn trashed_container(
        &self,
        data_source: &Value,
    ) -> Result<Option<Container>, CallError> {
        if is_put_away(data_source) {
            return Ok(Some(Container::DataSource));
        }
        let mut thing = data_source.clone();
        for _ in 0..CONTAINERS_MAX {
            let id = |kind: &str| thing.pointer(&format!("/parent/{kind}"))?.as_str();
            let (container, request) = match (id("database_id"), id("page_id"), id("block_id")) {
                (Some(database), _, _) => (Container::Database, Request::database(database)),
                (_, Some(page), _) => (Container::Ancestor, Request::page(page)),
                (_, _, Some(block)) => (Container::Ancestor, Request::block(block)),
                _ => return Ok(None),
            };
            thing = match self.call::<Value>(&request).await {
                Ok(answer) => answer.value,
                Err(CallError::Refused(refusal)) if matches!(refusal.status, 400 | 403 | 404) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            if is_put_away(&thing) {
                return Ok(Some(container));
            }
        }
        Ok(None)
    }
}
