//! The data source that an instance fills. It is found once; its columns are kept fresh.
//!
//! Columns are read again when they are older than [`FRESH_FOR`] and whenever Notion rejects a
//! property. A bound column stays bound by its id, so a renamed one is still filled. The bindings are
//! remembered across restarts. While one delivery reads the columns again, the others continue with
//! those that are known.

use super::answer::Database;
use super::call_error::CallError;
use super::classify::Effect;
use super::client::Calls;
use super::field::Field;
use super::schema::{Bindings, Schema, SchemaError};
use super::settings::{NotionId, NotionSettings};
use super::trash::{Container, is_put_away};
use crate::config::InstanceName;
use crate::destinations::DeliveryContext;
use crate::domain::delivery::{Failure, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How long columns that were read count as fresh.
const FRESH_FOR: Duration = Duration::from_mins(10);

/// How long to continue with old columns if new ones could not be read.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// The data source and the bindings of its columns.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// The data source's id.
    pub data_source: String,
    /// The bindings of its columns.
    pub bindings: Bindings,
    /// When it was read.
    read_at: Instant,
    fresh_until: Instant,
}

/// What is remembered across restarts: the bindings of a data source.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    data_source: String,
    bindings: Bindings,
}

/// Holds the table. If necessary, one delivery at a time reads it.
#[derive(Debug, Default)]
pub(super) struct TableCache {
    known: Mutex<Option<Arc<Table>>>,
    reading: tokio::sync::Mutex<()>,
    /// Whether a page that was written says that it is in the trash.
    is_in_doubt: AtomicBool,
}

/// What is necessary to read a table.
#[derive(Clone, Copy)]
pub(super) struct TableReader<'a> {
    pub calls: Calls<'a>,
    pub settings: &'a NotionSettings,
    pub context: &'a dyn DeliveryContext,
    /// The column by which pages are found.
    pub key: Field,
}

/// What is read of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Its columns.
    Columns,
    /// Its columns, and whether something that contains it is in the trash.
    Containers,
}

impl TableCache {
    /// The table, read again if it is unknown or too old. An error is the delivery's outcome.
    pub async fn get(&self, reader: TableReader<'_>) -> Result<Arc<Table>, Outcome> {
        let Some(table) = self.known() else {
            let _alone = self.reading.lock().await;
            return match self.known() {
                Some(table) => Ok(table),
                None => self.read(reader, None, Depth::Columns).await,
            };
        };
        if self.is_in_doubt.load(Ordering::Relaxed) {
            return self.read_now(reader).await;
        }
        if Instant::now() < table.fresh_until {
            return Ok(table);
        }
        match self.reading.try_lock() {
            Ok(_alone) => self.refresh(reader, table).await,
            Err(_) => Ok(table),
        }
    }

    /// The table as it was at some time after `then`: read again, unless another delivery has done so since.
    /// A failed refresh does not make a table newer.
    pub async fn later_than(&self, then: Instant, reader: TableReader<'_>) -> Result<Arc<Table>, Outcome> {
        let _alone = self.reading.lock().await;
        match self.known() {
            Some(table) if table.read_at > then => Ok(table),
            known => self.read(reader, known.as_deref(), Depth::Columns).await,
        }
    }

    /// The table, read again in any case, with what contains it.
    pub async fn read_now(&self, reader: TableReader<'_>) -> Result<Arc<Table>, Outcome> {
        let _alone = self.reading.lock().await;
        let known = self.known();
        let table = self.read(reader, known.as_deref(), Depth::Containers).await?;
        self.is_in_doubt.store(false, Ordering::Relaxed);
        Ok(table)
    }

    /// A page that was just written is in the trash: the next delivery finds out why before it writes.
    pub fn doubt(&self) {
        self.is_in_doubt.store(true, Ordering::Relaxed);
    }

    /// Refreshes a table that is too old. After a temporary failure the old one remains for a while.
    async fn refresh(&self, reader: TableReader<'_>, old: Arc<Table>) -> Result<Arc<Table>, Outcome> {
        match self.read(reader, Some(&old), Depth::Columns).await {
            Ok(table) => Ok(table),
            Err(trouble @ Outcome::NeedsOperator(_)) => Err(trouble),
            Err(_) => {
                let fresh_until = Instant::now() + READ_AGAIN_AFTER;
                let table = Arc::new(Table { fresh_until, ..Table::clone(&old) });
                self.know(&table);
                Ok(table)
            }
        }
    }

    async fn read(
        &self,
        reader: TableReader<'_>,
        known: Option<&Table>,
        depth: Depth,
    ) -> Result<Arc<Table>, Outcome> {
        let table = Arc::new(reader.read(known, depth).await?);
        self.know(&table);
        Ok(table)
    }

    /// The table as it was last read.
    pub fn known(&self) -> Option<Arc<Table>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn know(&self, table: &Arc<Table>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(table.clone());
    }
}

impl TableReader<'_> {
    async fn read(self, known: Option<&Table>, depth: Depth) -> Result<Table, Outcome> {
        let read_at = Instant::now();
        let (data_source, description) = self.describe(known).await?;
        let trashed = match depth {
            Depth::Columns => is_put_away(&description).then_some(Container::DataSource),
            Depth::Containers => {
                let found = self.calls.trashed_container(&description).await;
                found.map_err(|error| self.undescribed(error))?
            }
        };
        if let Some(container) = trashed {
            return Err(container.outcome());
        }
        let previous = match known {
            Some(table) if NotionId::is_same(&table.data_source, &data_source) => {
                Some(table.bindings.clone())
            }
            _ => self.remembered(&data_source).await,
        };
        let resolution = Schema::parse(&description)
            .and_then(|schema| schema.resolve(self.key, previous.as_ref()))
            .map_err(|error| unusable(&self.settings.access.instance, &error))?;
        for warning in &resolution.warnings {
            // The names of the columns are the user's and are not logged; doctor shows them.
            let (field, class) = (warning.field().name(), warning.class());
            warn!(field, class, remedy = warning.remedy(), "Notion column warning");
        }
        let bindings = resolution.bindings;
        if previous.as_ref() != Some(&bindings) {
            let columns = bindings.columns.len();
            info!(data_source, columns, "Notion columns read");
            let remembered = Remembered { data_source: data_source.clone(), bindings: bindings.clone() };
            if let Ok(memory) = serde_json::to_value(remembered) {
                self.context.remember(&memory).await;
            }
        }
        Ok(Table { data_source, bindings, read_at, fresh_until: Instant::now() + FRESH_FOR })
    }

    /// The data source's id and Notion's description of it.
    async fn describe(self, known: Option<&Table>) -> Result<(String, Value), Outcome> {
        let id = match (&self.settings.data_source, known) {
            (Some(configured), _) => configured.as_str().to_owned(),
            (None, Some(table)) => table.data_source.clone(),
            (None, None) => self.find().await?,
        };
        match self.calls.data_source(&id).await {
            Ok(answer) => Ok((id, answer.value)),
            // It was found in the database earlier and may have been replaced there since.
            Err(CallError::Refused(refusal))
                if refusal.status == 404 && known.is_some() && self.settings.data_source.is_none() =>
            {
                let id = self.find().await?;
                let answer = self.calls.data_source(&id).await.map_err(|error| self.undescribed(error))?;
                Ok((id, answer.value))
            }
            Err(error) => Err(self.undescribed(error)),
        }
    }

    /// The only data source of the database. If there are several, the operator must choose one.
    async fn find(self) -> Result<String, Outcome> {
        let answer = self.calls.database(&self.settings.database).await;
        let answer = answer.map_err(|error| self.undescribed(error))?;
        let Database { data_sources, in_trash, is_archived } = answer.value;
        if in_trash || is_archived {
            return Err(Container::Database.outcome());
        }
        match data_sources.as_slice() {
            [only] => Ok(only.id.clone()),
            [] => Err(operator(
                "no_data_source",
                "the Notion database has no data source that the connection can see".to_owned(),
                "share the Notion database and its data source with the connection",
            )),
            several => {
                let setting = self.settings.access.instance.setting("DATA_SOURCE_ID");
                let listed: Vec<_> =
                    several.iter().map(|source| format!("{} ({})", source.id, source.name)).collect();
                Err(operator(
                    "several_data_sources",
                    format!("the Notion database has several data sources: {}", listed.join(", ")),
                    &format!("set {setting} and restart: the pending executions list the choices"),
                ))
            }
        }
    }

    fn undescribed(self, error: CallError) -> Outcome {
        self.calls.outcome(Effect::Describe, error)
    }

    /// The bindings of this data source from an earlier run, if there are any.
    pub(super) async fn remembered(self, data_source: &str) -> Option<Bindings> {
        let remembered: Remembered = serde_json::from_value(self.context.recall().await?).ok()?;
        NotionId::is_same(&remembered.data_source, data_source).then_some(remembered.bindings)
    }
}

/// The class of failures of the columns.
pub(super) const COLUMNS: &str = "columns";

fn unusable(instance: &InstanceName, error: &SchemaError) -> Outcome {
    operator(COLUMNS, error.to_string(), &error.remedy(instance))
}

/// The message names parts of the user's workspace; the remedy, which anyone may read, does not.
pub(super) fn operator(class: &str, message: String, remedy: &str) -> Outcome {
    Outcome::NeedsOperator(Failure::local(class, message).with_remedy(remedy))
}
