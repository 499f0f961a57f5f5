//! The data source that an instance fills: found once, its columns kept fresh.
//!
//! Columns are read again when they are older than [`FRESH_FOR`] and whenever Notion refuses a
//! property. A column that was bound stays bound by its id, so a renamed one goes on filling; the
//! bindings are remembered, so that it does so after a restart too.

use super::client::{Client, Database};
use super::schema::{Bindings, Schema, SchemaError};
use super::settings::NotionSettings;
use super::verdict::{self, Effect};
use crate::destinations::Memory;
use crate::domain::delivery::{Failure, Outcome};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tracing::{info, warn};

/// How long the columns are taken to be as they were read.
const FRESH_FOR: Duration = Duration::from_mins(10);

/// The data source and which of its columns hold what.
#[derive(Debug)]
pub(super) struct Table {
    /// The data source's id.
    pub data_source: String,
    /// Which columns hold what.
    pub bindings: Bindings,
    read_at: Instant,
}

/// What outlives a restart: the bindings of a data source.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    data_source: String,
    bindings: Bindings,
}

/// Knows the table; reads it when need be, one reader at a time.
#[derive(Debug, Default)]
pub(super) struct TableCache(Mutex<Option<Arc<Table>>>);

/// With what a table is read.
#[derive(Clone, Copy)]
pub(super) struct TableReader<'a> {
    pub client: &'a Client,
    pub settings: &'a NotionSettings,
    pub memory: &'a dyn Memory,
}

impl TableCache {
    /// The table, read anew where it is not known or too old. An error is the delivery's outcome.
    pub async fn get(&self, reader: TableReader<'_>) -> Result<Arc<Table>, Outcome> {
        let mut known = self.0.lock().await;
        match known.as_ref() {
            Some(table) if table.read_at.elapsed() < FRESH_FOR => Ok(table.clone()),
            _ => reader.read(&mut known).await,
        }
    }

    /// The table read anew, unless somebody has done so since `stale` was read.
    pub async fn newer_than(
        &self,
        stale: &Arc<Table>,
        reader: TableReader<'_>,
    ) -> Result<Arc<Table>, Outcome> {
        let mut known = self.0.lock().await;
        match known.as_ref() {
            Some(table) if !Arc::ptr_eq(table, stale) => Ok(table.clone()),
            _ => reader.read(&mut known).await,
        }
    }
}

impl TableReader<'_> {
    async fn read(self, known: &mut Option<Arc<Table>>) -> Result<Arc<Table>, Outcome> {
        let data_source = match (known.as_ref(), &self.settings.data_source) {
            (Some(table), _) => table.data_source.clone(),
            (None, Some(id)) => id.as_str().to_owned(),
            (None, None) => find(self.client, self.settings).await?,
        };
        let answer = self
            .client
            .data_source(&data_source)
            .await
            .map_err(|error| verdict::outcome(Effect::Look, error))?;
        let previous = match known.as_ref() {
            Some(table) => Some(table.bindings.clone()),
            None => self.remembered(&data_source).await,
        };
        let resolution = Schema::parse(&answer.value)
            .and_then(|schema| schema.resolve(previous.as_ref()))
            .map_err(|error| unusable(&error))?;
        for warning in &resolution.warnings {
            warn!("Notion's columns: {warning}");
        }
        let bindings = resolution.bindings;
        if previous.as_ref() != Some(&bindings) {
            info!(
                data_source,
                columns = bindings.columns.len(),
                "read the columns of the Notion data source"
            );
            let remembered = Remembered { data_source: data_source.clone(), bindings: bindings.clone() };
            if let Ok(memory) = serde_json::to_value(remembered) {
                self.memory.remember(&memory).await;
            }
        }
        let table = Arc::new(Table { data_source, bindings, read_at: Instant::now() });
        *known = Some(table.clone());
        Ok(table)
    }

    /// The bindings of this data source from an earlier run; those of another one say nothing.
    async fn remembered(self, data_source: &str) -> Option<Bindings> {
        let remembered: Remembered = serde_json::from_value(self.memory.recall().await?).ok()?;
        (remembered.data_source == data_source).then_some(remembered.bindings)
    }
}

/// The one data source of the database; where there are several, the operator must say which.
async fn find(client: &Client, settings: &NotionSettings) -> Result<String, Outcome> {
    let answer =
        client.database(&settings.database).await.map_err(|error| verdict::outcome(Effect::Look, error))?;
    let Database { data_sources } = answer.value;
    match data_sources.as_slice() {
        [only] => Ok(only.id.clone()),
        [] => Err(operator(
            "no_data_source",
            "the Notion database has no data source that the integration can see".into(),
        )),
        several => {
            let listed: Vec<_> =
                several.iter().map(|source| format!("{} ({})", source.id, source.name)).collect();
            Err(operator(
                "several_data_sources",
                format!(
                    "the Notion database has several data sources; set NOTION_DATA_SOURCE_ID to one of: {}",
                    listed.join(", ")
                ),
            ))
        }
    }
}

fn unusable(error: &SchemaError) -> Outcome {
    operator("columns", error.to_string())
}

fn operator(class: &str, message: String) -> Outcome {
    Outcome::NeedsOperator(Failure::local(class, message))
}
