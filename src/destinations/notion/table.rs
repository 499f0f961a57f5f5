//! The data source that an instance fills. It is found once; its columns are kept fresh.
//!
//! Columns are read again when they are older than [`FRESH_FOR`] and whenever Notion rejects a
//! property. A bound column stays bound by its id, so a renamed one is still filled. The bindings are
//! remembered across restarts. While one delivery reads the columns again, the others continue with
//! those that are known.
//!
//! If a page that was written proves that something above the table is in the trash, no delivery goes on before
//! that page was read again. Those that wait meanwhile share the result.

use super::answer::Database;
use super::call_error::CallError;
use super::classify::Effect;
use super::client::Calls;
use super::field::Field;
use super::schema::{Bindings, Schema, SchemaError};
use super::settings::{NotionId, NotionSettings};
use super::trash::{Container, Containers, IN_TRASH, is_put_away};
use crate::config::InstanceName;
use crate::destinations::DeliveryContext;
use crate::domain::delivery::{Failure, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How long columns that were read count as fresh.
const FRESH_FOR: Duration = Duration::from_mins(10);

/// How long to continue with old columns if new ones could not be read.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// How long a page is relied on that proves that something above the table is in the trash. A person may have
/// removed that page alone meanwhile. Then one delivery tries again.
const PROOF_FOR: Duration = Duration::from_hours(1);

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
    proof: Mutex<Option<TrashProof>>,
}

/// A page that proves that something above the table is in the trash.
#[derive(Debug, Clone)]
struct TrashProof {
    page: String,
    since: Instant,
    /// When it was last read and still proved it, and the failure that follows.
    confirmed: Option<(Instant, Failure)>,
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
enum Depth<'a> {
    /// Its columns.
    Columns,
    /// Its columns, and whether something that contains it is in the trash. The page proves that it is.
    Containers { proof: Option<&'a str> },
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
        if self.proof().is_some() {
            return self.settle_proof(reader).await;
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
        self.read_with_containers(reader).await
    }

    /// A page proves that something above the table is in the trash. The next delivery checks that before it
    /// writes.
    pub fn keep_proof(&self, page: &str) {
        let mut proof = self.lock_proof();
        if proof.is_none() {
            *proof = Some(TrashProof { page: page.to_owned(), since: Instant::now(), confirmed: None });
        }
    }

    /// Checks whether the proof still holds, unless another delivery has done so meanwhile.
    async fn settle_proof(&self, reader: TableReader<'_>) -> Result<Arc<Table>, Outcome> {
        let then = Instant::now();
        let _alone = self.reading.lock().await;
        match (self.proof(), self.known()) {
            (Some(TrashProof { confirmed: Some((at, failure)), .. }), _) if at > then => {
                Err(Outcome::NeedsOperator(failure))
            }
            (None, Some(table)) => Ok(table),
            _ => self.read_with_containers(reader).await,
        }
    }

    async fn read_with_containers(&self, reader: TableReader<'_>) -> Result<Arc<Table>, Outcome> {
        let (known, proof) = (self.known(), self.proof());
        let page = proof.as_ref().map(|proof| proof.page.as_str());
        let table = self.read(reader, known.as_deref(), Depth::Containers { proof: page }).await;
        let mut kept = self.lock_proof();
        match &table {
            // Another page may have become one meanwhile.
            Ok(_) => drop(kept.take_if(|kept| Some(kept.page.as_str()) == page)),
            Err(Outcome::NeedsOperator(failure)) if failure.class == IN_TRASH => {
                if let Some(proof) = kept.as_mut() {
                    proof.confirmed = Some((Instant::now(), failure.clone()));
                }
            }
            // It is still unknown.
            Err(_) => {}
        }
        table
    }

    fn proof(&self) -> Option<TrashProof> {
        self.lock_proof().take_if(|proof| proof.since.elapsed() > PROOF_FOR);
        self.lock_proof().clone()
    }

    fn lock_proof(&self) -> MutexGuard<'_, Option<TrashProof>> {
        self.proof.lock().unwrap_or_else(PoisonError::into_inner)
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
        depth: Depth<'_>,
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
    async fn read(self, known: Option<&Table>, depth: Depth<'_>) -> Result<Table, Outcome> {
        let read_at = Instant::now();
        let (data_source, description) = self.describe(known).await?;
        let trashed = match depth {
            Depth::Columns => is_put_away(&description).then_some(Container::DataSource),
            Depth::Containers { proof } => self.trashed(&data_source, &description, proof).await?,
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

    /// What contains the pages and is in the trash, if anything is.
    async fn trashed(
        self,
        data_source: &str,
        description: &Value,
        proof: Option<&str>,
    ) -> Result<Option<Container>, Outcome> {
        let found = self.calls.containers(description).await.map_err(|error| self.undescribed(error))?;
        let page = match (found, proof) {
            (Containers::PutAway(container), _) => return Ok(Some(container)),
            (_, None) => return Ok(None),
            (_, Some(page)) => page,
        };
        let proves = self.calls.still_proves_trash(data_source, page).await;
        let proves = proves.map_err(|error| self.calls.outcome(Effect::Look, error))?;
        Ok(proves.then_some(Container::Unseen))
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
