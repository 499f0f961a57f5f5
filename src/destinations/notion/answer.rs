//! The answers of Notion's API: the parts that are used.

use super::call_error::Refusal;
use super::column::decoded_id;
use super::links::page_url;
use super::settings::NotionId;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};

/// An answer with Notion's id of the request.
#[derive(Debug)]
pub struct Answer<T> {
    /// The requested object.
    pub value: T,
    /// The HTTP status.
    pub status: u16,
    /// Notion's id of the request.
    pub request_id: Option<String>,
}

impl Answer<PageRef> {
    /// The answer to the write of a page that was carried out although Notion answered with an error. Of the
    /// page only the id is known.
    pub fn in_spite_of(refusal: &Refusal) -> Option<Self> {
        let id = refusal.committed_page.clone()?;
        let page = PageRef {
            url: Some(page_url(&id)),
            id,
            created_time: None,
            created_by: None,
            last_edited_by: None,
            parent: None,
            in_trash: false,
            is_archived: false,
            properties: Map::new(),
        };
        Some(Self { value: page, status: refusal.status, request_id: refusal.request_id.clone() })
    }
}

/// The parts of a page that are used.
#[derive(Debug, Clone, Deserialize)]
pub struct PageRef {
    /// Its id.
    pub id: String,
    /// The link to it.
    pub url: Option<String>,
    /// When it was created, in whole minutes.
    pub created_time: Option<DateTime<Utc>>,
    /// Who created it.
    pub created_by: Option<UserRef>,
    /// Who edited it last.
    pub last_edited_by: Option<UserRef>,
    /// Its parent.
    pub parent: Option<ParentRef>,
    /// Whether it, or something that contains it, is in the trash.
    #[serde(default)]
    pub in_trash: bool,
    /// Whether it is archived.
    #[serde(default)]
    pub is_archived: bool,
    /// The contents of its columns, by name.
    #[serde(default)]
    pub properties: Map<String, Value>,
}

impl PageRef {
    /// Whether it is in the trash or archived.
    pub fn is_put_away(&self) -> bool {
        self.in_trash || self.is_archived
    }

    /// Whether it is a row of another table than this one. It is not, if its table is unknown.
    pub fn is_in_another(&self, data_source: &str) -> bool {
        let table = self.parent.as_ref().and_then(|parent| parent.data_source_id.as_deref());
        table.is_some_and(|table| !NotionId::is_same(table, data_source))
    }

    /// The text in the column of this id, if there is such a column.
    pub fn text(&self, column_id: &str) -> Option<String> {
        let property = self.properties.values().find(|property| is_of(property, column_id))?;
        let parts = property.get(property.get("type")?.as_str()?)?.as_array()?;
        Some(parts.iter().filter_map(|part| part.get("plain_text")?.as_str()).collect())
    }

    /// Whether another column has this name than the one of this id, so that the page got what was meant for
    /// that one. It is unknown, and so it is not, if the page does not show the name.
    pub fn has_another(&self, name: &str, column_id: &str) -> bool {
        self.properties.get(name).is_some_and(|property| !is_of(property, column_id))
    }
}

/// Whether a property of a page belongs to the column of this id.
pub fn is_of(property: &Value, column_id: &str) -> bool {
    property.get("id").and_then(Value::as_str).is_some_and(|id| decoded_id(id) == column_id)
}

/// One result page of the pages that match a filter.
#[derive(Debug, Deserialize)]
pub struct Found {
    /// The pages.
    pub results: Vec<PageRef>,
    /// The cursor of the next ones, if there are more.
    pub next_cursor: Option<String>,
}

/// The parent of a page.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ParentRef {
    /// The data source, if the parent is one.
    pub data_source_id: Option<String>,
}

/// The parts of a user that are used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UserRef {
    /// The id.
    pub id: String,
}

/// A database: a container of data sources.
#[derive(Debug, Deserialize)]
pub struct Database {
    /// The data sources within.
    pub data_sources: Vec<DataSourceRef>,
    /// Whether it is in the trash.
    #[serde(default)]
    pub in_trash: bool,
    /// Whether it is archived.
    #[serde(default)]
    pub is_archived: bool,
}

/// One of a database's data sources.
#[derive(Debug, Deserialize)]
pub struct DataSourceRef {
    /// Its id.
    pub id: String,
    /// Its name; empty if it has none.
    #[serde(default)]
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_page_that_the_connection_may_not_read_is_a_page_all_the_same() {
        let page: PageRef = serde_json::from_value(json!({"object": "page", "id": "page"})).expect("a page");
        assert_eq!((page.id.as_str(), page.text("k="), page.in_trash), ("page", None, false));
    }

    #[test]
    fn a_write_that_was_carried_out_in_spite_of_an_error_has_an_answer() {
        let refusal = Refusal { status: 503, committed_page: Some("ab-cd".into()), ..Refusal::default() };
        let answer = Answer::in_spite_of(&refusal).expect("an answer");
        let Answer { value: page, status, .. } = answer;
        assert_eq!((page.id.as_str(), status), ("ab-cd", 503));
        assert_eq!(page.url.as_deref(), Some("https://app.notion.com/p/abcd"));
        assert!(Answer::in_spite_of(&Refusal { status: 503, ..Refusal::default() }).is_none());
    }

    #[test]
    fn a_page_whose_table_is_unknown_is_in_no_other() {
        let page = |parent: Value| -> PageRef {
            serde_json::from_value(json!({"id": "page", "parent": parent})).expect("a page")
        };
        let of_table = |id: &str| page(json!({"type": "data_source_id", "data_source_id": id}));
        assert!(of_table("other").is_in_another("source") && !of_table("source").is_in_another("source"));
        for parent in [Value::Null, json!({"type": "page_id", "page_id": "above"})] {
            assert!(!page(parent).is_in_another("source"));
        }
    }

    #[test]
    fn the_text_of_a_column_is_read_by_its_id_and_whole() {
        let page: PageRef = serde_json::from_value(json!({"id": "page", "properties": {
            "Key": {"id": "k%3D", "type": "rich_text", "rich_text": [{"plain_text": "in_"}, {"plain_text": "1"}]},
            "Amount": {"id": "a", "type": "number", "number": 1},
        }}))
        .expect("a page");
        assert_eq!(page.text("k=").as_deref(), Some("in_1"));
        assert_eq!((page.text("a"), page.text("Key")), (None, None));
        assert!(page.has_another("Amount", "k=") && !page.has_another("Key", "k="));
        assert!(!page.has_another("Unknown", "k="));
    }
}
