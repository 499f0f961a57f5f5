//! The requests to Notion, with path and body.
//!
//! The client sends them and a preview shows them, so both are the same.

use reqwest::Method;
use serde_json::{Map, Value, json};
use url::Url;

/// The most pages of one key in the first answer.
const PAGES_OF_A_KEY_MAX: usize = 20;

/// The same for further answers: then many objects share one id.
const FURTHER_PAGES_MAX: usize = 100;

/// Which pages a query is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// Those that people see.
    Present,
    /// Those that a person archived.
    Archived,
}

/// A request, without the address of Notion, its token and its version.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    /// The method.
    pub method: Method,
    /// The JSON body.
    pub body: Option<Value>,
    path: Vec<String>,
    /// The ids of the columns that the answer shows; none of them shows all.
    shows: Vec<String>,
}

/// The id of the title, which every page and every table has.
const TITLE: &str = "title";

impl Request {
    /// Reads the token's own user.
    pub fn me() -> Self {
        Self::get(&["users", "me"])
    }

    /// Reads a database: its data sources.
    pub fn database(id: &str) -> Self {
        Self::get(&["databases", id])
    }

    /// Reads a data source: its properties.
    pub fn data_source(id: &str) -> Self {
        Self::get(&["data_sources", id])
    }

    /// Finds the pages that pass a filter, oldest first: the first twenty of them, or from a cursor on the
    /// next hundred. A query shows archived pages only if it asks for them.
    pub fn find_pages(data_source: &str, filter: &Value, rows: Rows, from: Option<&str>) -> Self {
        let mut body = json!({
            "filter": filter,
            "sorts": [{"timestamp": "created_time", "direction": "ascending"}],
            "page_size": PAGES_OF_A_KEY_MAX,
        });
        if let (Some(cursor), Some(members)) = (from, body.as_object_mut()) {
            members.insert("start_cursor".to_owned(), json!(cursor));
            members.insert("page_size".to_owned(), json!(FURTHER_PAGES_MAX));
        }
        if let (Rows::Archived, Some(members)) = (rows, body.as_object_mut()) {
            members.insert("is_archived".to_owned(), json!(true));
        }
        Self::write(Method::POST, &["data_sources", data_source, "query"], body)
    }

    /// Finds one page, whichever it is, without its values.
    pub fn find_one(data_source: &str, rows: Rows) -> Self {
        let body = match rows {
            Rows::Present => json!({ "page_size": 1 }),
            Rows::Archived => json!({ "is_archived": true, "page_size": 1 }),
        };
        Self::write(Method::POST, &["data_sources", data_source, "query"], body).showing(TITLE)
    }

    /// Creates a page.
    pub fn create_page(data_source: &str, properties: &Map<String, Value>) -> Self {
        let parent = json!({"type": "data_source_id", "data_source_id": data_source});
        Self::write(Method::POST, &["pages"], json!({"parent": parent, "properties": properties}))
    }

    /// Writes properties of a page; those not named stay as they are.
    pub fn update_page(page: &str, properties: &Map<String, Value>) -> Self {
        Self::write(Method::PATCH, &["pages", page], json!({ "properties": properties }))
    }

    /// Moves a page to the trash, from which a person can restore it.
    pub fn trash_page(page: &str) -> Self {
        Self::write(Method::PATCH, &["pages", page], json!({ "in_trash": true }))
    }

    /// Reads a page.
    pub fn page(id: &str) -> Self {
        Self::get(&["pages", id])
    }

    /// Reads a page without its values: whether it is in the trash, and its parent.
    pub fn page_state(id: &str) -> Self {
        Self::page(id).showing(TITLE)
    }

    /// Reads a block.
    pub fn block(id: &str) -> Self {
        Self::get(&["blocks", id])
    }

    /// Creates a database.
    pub fn create_database(body: Value) -> Self {
        Self::write(Method::POST, &["databases"], body)
    }

    /// Adds columns to a data source.
    pub fn add_columns(data_source: &str, columns: &Map<String, Value>) -> Self {
        Self::write(Method::PATCH, &["data_sources", data_source], json!({ "properties": columns }))
    }

    /// Creates a view of a database.
    pub fn create_view(body: Value) -> Self {
        Self::write(Method::POST, &["views"], body)
    }

    /// Lists what the token can see.
    pub fn search(body: Value) -> Self {
        Self::write(Method::POST, &["search"], body)
    }

    /// The whole address, with Notion at `base`.
    pub fn url(&self, base: &Url) -> Url {
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(&self.path);
        }
        if !self.shows.is_empty() {
            url.query_pairs_mut().extend_pairs(self.shows.iter().map(|id| ("filter_properties", id)));
        }
        url
    }

    /// The same request; its answer shows only the column of this id. An answer can have megabytes otherwise.
    /// Only requests that read are limited so: should Notion refuse the id, nothing was written.
    pub fn showing(self, column_id: &str) -> Self {
        Self { shows: vec![column_id.to_owned()], ..self }
    }

    /// The same request; its answer shows all columns.
    pub fn showing_all(&self) -> Self {
        Self { shows: Vec::new(), ..self.clone() }
    }

    fn get(path: &[&str]) -> Self {
        Self { method: Method::GET, body: None, path: owned(path), shows: Vec::new() }
    }

    fn write(method: Method, path: &[&str], body: Value) -> Self {
        Self { method, body: Some(body), path: owned(path), shows: Vec::new() }
    }
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(|segment| (*segment).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_lies_under_the_base_and_ids_cannot_leave_their_place() {
        for base in ["https://api.notion.com", "https://api.notion.com/"] {
            let base = base.parse().expect("a URL");
            assert_eq!(Request::me().url(&base).as_str(), "https://api.notion.com/v1/users/me");
        }
        let proxied = "http://localhost:9/notion/".parse().expect("a URL");
        let url = Request::trash_page("../users?x#y").url(&proxied);
        assert_eq!(url.as_str(), "http://localhost:9/notion/v1/pages/..%2Fusers%3Fx%23y");
    }

    #[test]
    fn the_id_of_a_shown_column_is_encoded_once() {
        let base = "https://api.notion.com".parse().expect("a URL");
        let read = Request::page("1").showing("a:b|%");
        assert_eq!(read.url(&base).query(), Some("filter_properties=a%3Ab%7C%25"));
        assert_eq!(read.showing_all(), Request::page("1"));
    }
}
