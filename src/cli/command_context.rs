//! What commands need of the service: its database, its sources and its destinations.

use super::doctor::known_names;
use super::environment;
use super::local_state::{LocalState, PRIVATE_DATABASE};
use crate::app::DEFAULT_KINDS;
use crate::config::{self, Database, InstanceName, Reader, Vars};
use crate::destinations;
use crate::domain::destination_summary::DestinationSummary;
use crate::domain::failure::with_remedy;
use crate::domain::source::SourceCatalog;
use crate::sources::Registry;
use crate::store::{self, AddressError, MigrateError, Store};
use anyhow::{anyhow, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The setting that has the address of a service.
const LISTEN_ADDR: &str = "LISTEN_ADDR";

/// How many connections a command makes at most.
const CONNECTIONS: u32 = 4;

/// The service, as its settings describe it to a command.
pub(super) struct CommandContext {
    pub(super) store: Store,
    pub(super) instances: Vec<String>,
    /// The sources, for reading what is stored: a missing secret is no problem here.
    pub(super) sources: Registry,
    /// The instances as their kinds describe them. Their rates are known only if their settings are valid.
    pub(super) destinations: Vec<DestinationSummary>,
}

impl CommandContext {
    /// Reads the settings of the service, or finds the database of the `dev` that runs in this folder.
    pub(super) fn open() -> anyhow::Result<Self> {
        let vars = settings()?;
        let mut reader = Reader::new(&vars);
        let instances: Vec<InstanceName> = config::instances(&mut reader, DEFAULT_KINDS);
        let sources = sources(&vars);
        let types = sources.types();
        let subscriptions = instances.iter().map(|of| config::subscription(&mut reader, of, types)).collect();
        let (instances, subscriptions): (_, Vec<_>) = reader.finish((instances, subscriptions))?;
        let mut reader = Reader::new(&vars);
        let configured = destinations::configure(&mut reader, &instances, types);
        let configured = reader.finish(configured).unwrap_or_default();
        let summarized = instances.iter().zip(&subscriptions).filter_map(|(name, subscription)| {
            match configured.iter().find(|instance| instance.name == *name) {
                Some(instance) => Some(instance.summary()),
                None => destinations::kind_of(name).map(|kind| kind.summary(subscription.clone())),
            }
        });
        let destinations = summarized.collect();
        Ok(Self {
            store: connect(&database(&vars)?, CONNECTIONS)?,
            instances: instances.into_iter().map(|instance| instance.name).collect(),
            sources,
            destinations,
        })
    }

    /// As [`open`](Self::open), and requires a database with the schema of this program.
    pub(super) async fn open_migrated() -> anyhow::Result<Self> {
        let context = Self::open()?;
        require_schema(&context.store).await?;
        Ok(context)
    }

    /// The destination with this name, if it is configured.
    pub(super) fn destination<'a>(&self, name: &'a str) -> anyhow::Result<&'a str> {
        if !self.instances.iter().any(|known| known == name) {
            bail!("no destination has this name; there are: {}", self.instances.join(", "));
        }
        Ok(name)
    }

    /// The number of pending executions of a destination.
    pub(super) async fn waiting_for(&self, destination: &str) -> anyhow::Result<Waiting> {
        let backlog = self.store.reports.backlog(&[destination.to_owned()]).await?;
        let (count, is_more) = backlog.first().map_or((0, false), |of| (of.pending, of.is_more));
        Ok(Waiting { count, is_more })
    }
}

/// The configured sources, for reading what is stored. Reading needs no secret, so a missing or wrong one
/// is no problem here.
pub(super) fn sources(vars: &Vars) -> Registry {
    let mut reader = Reader::new(vars);
    let names = config::sources(&mut reader, DEFAULT_KINDS);
    Registry::configure(&mut reader, &names)
}

/// The number of pending executions. It is displayed as a sentence without its full stop.
pub(super) struct Waiting {
    pub(super) count: u64,
    is_more: bool,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            0 => f.write_str("No executions are pending"),
            1 => f.write_str("1 execution is pending"),
            count => {
                let more = if self.is_more { "More than " } else { "" };
                write!(f, "{more}{count} executions are pending")
            }
        }
    }
}

/// Why the database cannot be used and what to do, in every command alike.
pub(super) fn unusable(error: &MigrateError) -> String {
    let (what, remedy) = error.parts();
    with_remedy(&what, Some(&remedy))
}

/// Fails if the database cannot be used, or if the schema is older than this program.
pub(super) async fn require_schema(store: &Store) -> anyhow::Result<()> {
    store.db.reach().await.map_err(|error| anyhow!(unusable(&error)))?;
    if !store.db.is_migrated().await? {
        bail!("the schema is older than this program; to update it, run: eventbridge migrate");
    }
    Ok(())
}

/// The settings of the service: those of the `dev` that runs in this folder, unless the environment or `.env` name
/// another database; otherwise theirs.
pub(super) fn settings() -> anyhow::Result<Vars> {
    let mut vars = environment::vars()?;
    adopt_those_of_dev(&mut vars)?;
    Ok(vars)
}

/// The settings of a running `dev` were taken.
pub(super) struct OfDev {
    /// The settings that are set here to something else than what `dev` began with.
    pub(super) differing: Vec<String>,
}

/// Replaces all settings by those of the `dev` that runs in this folder; `None` if none runs, or if another database
/// is set.
pub(super) fn adopt_those_of_dev(vars: &mut Vars) -> anyhow::Result<Option<OfDev>> {
    let mut of_dev = LocalState::here()?.settings_of_dev()?;
    let is_same = DATABASES.iter().all(|name| vars.get(name) == of_dev.get(*name).map(String::as_str));
    if of_dev.is_empty() || (names_a_database(vars) && !is_same) {
        return Ok(None);
    }
    if of_dev.remove(PRIVATE_DATABASE).is_some() {
        store::database_is_private();
    }
    let mut differing = Vec::new();
    for name in settings_of(vars).union(&settings_of(&of_dev.iter().collect())) {
        let theirs = of_dev.get(name);
        if vars.get(name) == theirs.map(String::as_str).filter(|text| !text.is_empty()) {
            continue;
        }
        // The address is the one that dev found free.
        if vars.is_meant(name) && ![LISTEN_ADDR, "PORT"].contains(&name.as_str()) {
            differing.push(name.clone());
        }
        match theirs {
            Some(text) => vars.set(name, text),
            None => vars.unset(name),
        }
    }
    Ok(Some(OfDev { differing }))
}

/// The names of all settings, for the instances that these settings name.
fn settings_of(vars: &Vars) -> BTreeSet<String> {
    let mut reader = Reader::new(vars);
    let (sources, destinations) =
        (config::sources(&mut reader, DEFAULT_KINDS), config::instances(&mut reader, DEFAULT_KINDS));
    known_names(&sources, &destinations)
}

/// Adds the address of the `dev` that runs in this folder, unless the settings have one.
pub(super) fn add_address_of_dev(vars: &mut Vars) -> anyhow::Result<()> {
    add_address(vars, &LocalState::here()?.settings_of_dev()?);
    Ok(())
}

fn add_address(vars: &mut Vars, of_dev: &BTreeMap<String, String>) {
    if let Some(address) = of_dev.get(LISTEN_ADDR)
        && !vars.is_meant(LISTEN_ADDR)
        && !vars.is_meant("PORT")
    {
        vars.set(LISTEN_ADDR, address);
    }
}

/// The settings that name a database.
const DATABASES: [&str; 3] = ["DATABASE_URL", "POSTGRES_HOST", "POSTGRES_DB"];

fn names_a_database(vars: &Vars) -> bool {
    DATABASES.iter().any(|name| vars.is_meant(name))
}

/// What to do if no setting names a database because the `dev` of this folder has stopped; `None` if there is
/// another cause.
pub(super) fn stopped_dev(vars: &Vars) -> anyhow::Result<Option<&'static str>> {
    let has_stopped = !names_a_database(vars) && LocalState::here()?.keeps_data();
    Ok(has_stopped.then_some(
        "the dev of this folder keeps its data, but it is not running: start it with \"eventbridge dev\" (or \"cargo run -- dev\"), or set DATABASE_URL",
    ))
}

/// The service's database; if the settings name none, that of the `dev` that runs in this folder.
pub(super) fn database(vars: &Vars) -> anyhow::Result<Database> {
    if let Some(remedy) = stopped_dev(vars)? {
        bail!("no database is set; {remedy}");
    }
    let mut reader = Reader::new(vars);
    let database = config::required_database(&mut reader);
    Ok(reader.finish(database)?)
}

/// A store on this database. Connections are made when they are needed.
pub(super) fn connect(database: &Database, connections: u32) -> Result<Store, AddressError> {
    Store::connect_lazily_with_pooler(&database.url, database.direct_url.as_ref(), connections)
}
