//! The sandbox's data: databases, their data sources, and the pages, with an index of their text.
//!
//! Every change uses one of the `put_…` methods, which write it to the journal before it becomes
//! visible. A change that cannot be written is rejected and has no effect. A sandbox holds a limited
//! number of pages and rejects more: if it dropped old pages, it could not prove that something was
//! written only once.

use super::api_error::ApiError;
use super::content::Content;
use super::databases::PARENT_PAGE_ID;
use super::journal::{Journal, Record};
use super::schema::{Property, Schema};
use super::views::View;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// Everything in one sandbox.
#[derive(Debug)]
pub struct State {
    databases: Vec<Database>,
    data_sources: Vec<Arc<DataSource>>,
    views: Vec<View>,
    pages: HashMap<Uuid, Page>,
    rows: HashMap<Uuid, Rows>,
    last_number: u64,
    live_count: usize,
    pages_max: usize,
    journal: Option<Journal>,
    /// The address at which a person sees the pages; `None` stands for Notion's own address.
    pub public_url: Option<String>,
    /// How many pages can ever be created, as in a Free workspace; `None` sets no limit.
    pub blocks_max: Option<u64>,
    /// Whether the page that contains the databases is in the trash.
    pub is_parent_in_trash: bool,
    /// Whether that page is hidden from the integration, as if only a database were shared with it.
    pub is_parent_hidden: bool,
    /// Whether the token is a personal access token, which belongs to a person and expires.
    pub is_token_personal: bool,
}

/// A container of data sources.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Database {
    /// The id.
    pub id: Uuid,
    /// Its title.
    pub title: String,
    /// The page that contains it.
    pub parent_page: Uuid,
    /// Whether it is in the trash.
    #[serde(default)]
    pub in_trash: bool,
    /// When it was created.
    pub created: DateTime<Utc>,
}

/// A table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DataSource {
    /// The id.
    pub id: Uuid,
    /// The database that it belongs to.
    pub database: Uuid,
    /// Its title.
    pub name: String,
    /// The columns.
    pub schema: Schema,
    /// Whether it is in the trash.
    #[serde(default)]
    pub in_trash: bool,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// When its columns last changed.
    pub edited: DateTime<Utc>,
}

/// A row of a table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Page {
    /// The id.
    pub id: Uuid,
    /// The position in the order of creation.
    pub number: u64,
    /// The table.
    pub data_source: Uuid,
    /// The cells that are not empty, by column id.
    pub cells: BTreeMap<String, Content>,
    /// The blocks of its body.
    pub children: Vec<Value>,
    /// Whether it is in the trash itself.
    pub in_trash: bool,
    /// Whether a person archived it.
    #[serde(default)]
    pub is_archived: bool,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// When it was last edited.
    pub edited: DateTime<Utc>,
    /// Who created it.
    #[serde(default)]
    pub created_by: Author,
    /// Who edited it last.
    #[serde(default)]
    pub edited_by: Author,
    /// Until when queries do not show it yet.
    #[serde(skip)]
    pub hidden_until: Option<Instant>,
}

/// Who changes a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    /// The integration, through the API.
    #[default]
    Bot,
    /// A person, in Notion itself.
    Person,
}

/// The pages of one table in the order of their creation, and by their text.
#[derive(Debug, Default)]
struct Rows {
    order: BTreeMap<u64, Uuid>,
    by_text: HashMap<String, HashMap<String, BTreeSet<u64>>>,
}

impl State {
    /// An empty state that holds at most this many pages.
    pub fn new(pages_max: usize, public_url: Option<String>) -> Self {
        Self {
            databases: Vec::new(),
            data_sources: Vec::new(),
            views: Vec::new(),
            pages: HashMap::new(),
            rows: HashMap::new(),
            last_number: 0,
            live_count: 0,
            pages_max,
            journal: None,
            public_url,
            blocks_max: None,
            is_parent_in_trash: false,
            is_parent_hidden: false,
            is_token_personal: false,
        }
    }

    /// Applies a record of a journal, without writing it again.
    pub fn replay(&mut self, record: Record<'_>) {
        match record {
            Record::Database(database) => self.keep_database(database.into_owned()),
            Record::DataSource(source) => self.keep_data_source(Arc::new(source.into_owned())),
            Record::View(view) => self.views.push(view.into_owned()),
            Record::Page(page) => self.keep_page(page.into_owned()),
            Record::Wiped => self.forget_pages(),
        }
    }

    /// All records that a journal needs to rebuild this state.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let databases = self.databases.iter().map(|it| Record::Database(Cow::Borrowed(it)));
        let sources = self.data_sources.iter().map(|it| Record::DataSource(Cow::Borrowed(it.as_ref())));
        let pages = self.rows.values().flat_map(|rows| rows.order.values());
        let pages = pages.filter_map(|id| self.pages.get(id)).map(|it| Record::Page(Cow::Borrowed(it)));
        let views = self.views.iter().map(|it| Record::View(Cow::Borrowed(it)));
        databases.chain(sources).chain(views).chain(pages)
    }

    /// From here on every change is written to this journal.
    pub fn attach(&mut self, journal: Journal) {
        self.journal = Some(journal);
    }

    /// Releases the journal: later changes are only kept in memory.
    pub fn detach(&mut self) {
        self.journal = None;
    }

    /// Adds or replaces a database.
    pub fn put_database(&mut self, database: Database) -> Result<(), ApiError> {
        self.write(&Record::Database(Cow::Borrowed(&database)))?;
        self.keep_database(database);
        Ok(())
    }

    /// Adds or replaces a data source.
    pub fn put_data_source(&mut self, source: Arc<DataSource>) -> Result<(), ApiError> {
        self.write(&Record::DataSource(Cow::Borrowed(&source)))?;
        self.keep_data_source(source);
        Ok(())
    }

    /// Adds a view.
    pub fn put_view(&mut self, view: View) -> Result<(), ApiError> {
        self.write(&Record::View(Cow::Borrowed(&view)))?;
        self.views.push(view);
        Ok(())
    }

    /// Adds or replaces a page.
    pub fn put_page(&mut self, page: Page) -> Result<(), ApiError> {
        if self.pages.len() >= self.pages_max && !self.pages.contains_key(&page.id) {
            return Err(ApiError::validation(format!(
                "The sandbox is full: it holds {} pages. Wipe it or give it a higher limit.",
                self.pages_max
            )));
        }
        self.write(&Record::Page(Cow::Borrowed(&page)))?;
        self.keep_page(page);
        Ok(())
    }

    /// Removes all pages; the tables stay.
    pub fn wipe(&mut self) -> Result<(), ApiError> {
        self.write(&Record::Wiped)?;
        self.forget_pages();
        Ok(())
    }

    /// The databases, oldest first.
    pub fn databases(&self) -> &[Database] {
        &self.databases
    }

    /// The database with this id.
    pub fn database(&self, id: Uuid) -> Option<&Database> {
        self.databases.iter().find(|database| database.id == id)
    }

    /// The data sources of a database, oldest first.
    pub fn data_sources_of(&self, database: Uuid) -> impl Iterator<Item = &Arc<DataSource>> {
        self.data_sources.iter().filter(move |source| source.database == database)
    }

    /// The data source with this id.
    pub fn data_source(&self, id: Uuid) -> Option<&Arc<DataSource>> {
        self.data_sources.iter().find(|source| source.id == id)
    }

    /// The views that were created, oldest first.
    pub fn views(&self) -> &[View] {
        &self.views
    }

    /// The page with this id, in the trash or not.
    pub fn page(&self, id: Uuid) -> Option<&Page> {
        self.pages.get(&id)
    }

    /// Whether the pages of a data source are in the trash with it or with its database.
    pub fn is_table_in_trash(&self, source: &DataSource) -> bool {
        source.in_trash || self.database(source.database).is_some_and(|database| database.in_trash)
    }

    /// Whether the pages of a data source are in the trash with anything that contains them.
    pub fn is_container_in_trash(&self, source: &DataSource) -> bool {
        let parent = self.database(source.database).map(|database| database.parent_page);
        let is_row_in_trash = parent.and_then(|page| self.page(page)).is_some_and(|page| page.in_trash);
        self.is_table_in_trash(source)
            || is_row_in_trash
            || parent == Some(PARENT_PAGE_ID) && self.is_parent_in_trash
    }

    /// The pages of a data source, oldest first, in the trash or not.
    pub fn pages_of(&self, source: Uuid) -> impl DoubleEndedIterator<Item = &Page> {
        self.rows
            .get(&source)
            .into_iter()
            .flat_map(|rows| rows.order.values())
            .filter_map(|id| self.pages.get(id))
    }

    /// The pages whose column holds exactly this text, oldest first, in the trash or not.
    pub fn pages_with_text(
        &self,
        source: Uuid,
        property_id: &str,
        text: &str,
    ) -> impl DoubleEndedIterator<Item = &Page> {
        let rows = self.rows.get(&source);
        let numbers = rows.and_then(|rows| rows.by_text.get(property_id)?.get(text));
        numbers
            .into_iter()
            .flatten()
            .filter_map(move |number| rows?.order.get(number))
            .filter_map(|id| self.pages.get(id))
    }

    /// The number of pages in the tables, without those in the trash.
    pub fn live_count(&self) -> usize {
        self.live_count
    }

    /// The next page's position in the order.
    pub fn next_number(&self) -> u64 {
        self.last_number + 1
    }

    fn write(&mut self, record: &Record<'_>) -> Result<(), ApiError> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.append(record).map_err(|error| {
            tracing::error!(%error, "the sandbox cannot write its journal");
            ApiError::new(500, "internal_server_error", "The sandbox cannot write its journal.")
        })
    }

    fn keep_database(&mut self, database: Database) {
        match self.databases.iter_mut().find(|known| known.id == database.id) {
            Some(known) => *known = database,
            None => self.databases.push(database),
        }
    }

    fn keep_data_source(&mut self, source: Arc<DataSource>) {
        match self.data_sources.iter_mut().find(|known| known.id == source.id) {
            Some(known) => *known = source,
            None => self.data_sources.push(source),
        }
    }

    fn keep_page(&mut self, page: Page) {
        self.last_number = self.last_number.max(page.number);
        if let Some(old) = self.pages.get(&page.id) {
            self.rows.entry(old.data_source).or_default().unlist(old);
            self.live_count -= usize::from(!old.in_trash);
        }
        self.rows.entry(page.data_source).or_default().list(&page);
        self.live_count += usize::from(!page.in_trash);
        self.pages.insert(page.id, page);
    }

    fn forget_pages(&mut self) {
        self.pages.clear();
        self.rows.clear();
        self.live_count = 0;
    }
}

impl Page {
    /// The content of a column, in the column's present type.
    pub fn cell(&self, property: &Property) -> Option<Cow<'_, Content>> {
        let content = self.cells.get(&property.id)?;
        if content.fits(property.kind) {
            return Some(Cow::Borrowed(content));
        }
        content.clone().retyped(property.kind).map(Cow::Owned)
    }
}

impl Rows {
    fn list(&mut self, page: &Page) {
        self.order.insert(page.number, page.id);
        for (property, text) in texts(page) {
            let texts = match self.by_text.get_mut(property) {
                Some(texts) => texts,
                None => self.by_text.entry(property.to_owned()).or_default(),
            };
            texts.entry(text.into_owned()).or_default().insert(page.number);
        }
    }

    fn unlist(&mut self, page: &Page) {
        self.order.remove(&page.number);
        for (property, text) in texts(page) {
            let Some(texts) = self.by_text.get_mut(property) else { continue };
            let Some(numbers) = texts.get_mut(text.as_ref()) else { continue };
            numbers.remove(&page.number);
            if numbers.is_empty() {
                texts.remove(text.as_ref());
            }
        }
    }
}

fn texts(page: &Page) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    page.cells.iter().map(|(property, content)| (property.as_str(), content.plain()))
}

/// The wall clock, for the times that pages show.
#[expect(clippy::disallowed_methods, reason = "a stand-in for another service has its own clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

#[cfg(test)]
mod tests;
