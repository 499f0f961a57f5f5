//! What the commands of operators share: the service's own database and settings, and how they print.

use super::environment;
use super::local::LocalState;
use crate::app;
use crate::config::{self, Database, InstanceName, Reader, Vars};
use crate::destinations;
use crate::domain::humanize::humanize;
use crate::domain::subscription::Subscription;
use crate::domain::target::Target;
use crate::store::{ListError, Store, StoreError, WINDOW_DAYS_MAX};
use anyhow::{anyhow, bail};
use serde_json::{Value, json};
use std::fmt;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

/// The connections of a command.
const CONNECTIONS: u32 = 4;

/// The service, as a command sees it: its database and the instances that it has.
pub(super) struct Operator {
    pub(super) store: Store,
    pub(super) instances: Vec<String>,
    /// What each of them wants now.
    pub(super) subscriptions: Vec<Subscription>,
    /// The names of the webhook secrets.
    pub(super) secrets: Vec<String>,
    /// The instances again, with how fast they can be served; none where their settings are not at hand, as those
    /// of the sandbox that `dev` runs.
    pub(super) targets: Vec<Target>,
}

impl Operator {
    /// Reads the service's own settings: its database, or that of the `dev` of this folder.
    pub(super) fn open() -> anyhow::Result<Self> {
        let vars = environment::vars()?;
        let mut reader = Reader::new(&vars);
        let instances: Vec<InstanceName> = config::instances(&mut reader);
        let subscriptions = instances.iter().map(|of| config::subscription(&mut reader, of)).collect();
        let secrets = config::webhook_secrets(&mut reader).into_iter().map(|secret| secret.name).collect();
        let (instances, subscriptions) = reader.finish((instances, subscriptions))?;
        let mut reader = Reader::new(&vars);
        let configured = destinations::configure(&mut reader, &instances);
        let targets = reader.finish(configured).unwrap_or_default().iter().map(app::target).collect();
        Ok(Self {
            store: connect(&database(&vars)?, CONNECTIONS)?,
            instances: instances.into_iter().map(|instance| instance.name).collect(),
            subscriptions,
            secrets,
            targets,
        })
    }

    /// As [`open`](Self::open), once the database answers and has the schema of this program.
    pub(super) async fn open_migrated() -> anyhow::Result<Self> {
        let operator = Self::open()?;
        wants_migrated(&operator.store).await?;
        Ok(operator)
    }

    /// The destination of this name.
    pub(super) fn configured<'a>(&self, name: &'a str) -> anyhow::Result<&'a str> {
        if !self.instances.iter().any(|known| known == name) {
            bail!("no destination of this name is configured; there are: {}", self.instances.join(", "));
        }
        Ok(name)
    }

    /// What waits for a destination.
    pub(super) async fn waiting_for(&self, destination: &str) -> anyhow::Result<Waiting> {
        let backlog = self.store.reports.backlog(&[destination.to_owned()]).await?;
        let (count, is_more) = backlog.first().map_or((0, false), |of| (of.pending, of.is_more));
        Ok(Waiting { count, is_more })
    }
}

/// How many executions wait. It is told as a sentence without its full stop.
pub(super) struct Waiting {
    pub(super) count: u64,
    is_more: bool,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            0 => f.write_str("Nothing waits for it"),
            1 => f.write_str("1 execution waits for it"),
            count => {
                let more = if self.is_more { "More than " } else { "" };
                write!(f, "{more}{count} executions wait for it")
            }
        }
    }
}

/// Executions that are left as they are, and why.
#[derive(Debug, Default)]
pub(super) struct Refusals(Vec<(i64, String)>);

impl Refusals {
    pub(super) fn add(&mut self, id: i64, why: impl Into<String>) {
        self.0.push((id, why.into()));
    }

    pub(super) fn add_missing(&mut self, id: i64) {
        self.add(id, "there is none of this number");
    }

    pub(super) fn as_json(&self) -> Value {
        self.0.iter().map(|(id, why)| json!({"execution": id, "why": why})).collect()
    }

    /// Whether all was done.
    pub(super) fn exit_code(&self) -> ExitCode {
        if self.0.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(id, why)| writeln!(f, "  execution {id} is left as it is: {why}"))
    }
}

/// Fails where the schema is older than this program.
pub(super) async fn wants_migrated(store: &Store) -> anyhow::Result<()> {
    if !store.db.is_migrated().await? {
        bail!("the schema is older than this program: eventbridge migrate brings it up to date");
    }
    Ok(())
}

/// Where the service's database is: by the settings, else that of the `dev` of this folder.
pub(super) fn database(vars: &Vars) -> anyhow::Result<Database> {
    let mut reader = Reader::new(vars);
    let database = config::required_database(&mut reader);
    let is_set = ["DATABASE_URL", "POSTGRES_HOST", "POSTGRES_DB"].iter().any(|name| vars.is_meant(name));
    match reader.finish(database) {
        Err(missing) if !is_set => {
            let url = LocalState::here()?.known_database()?.ok_or(missing)?;
            Ok(Database { url, direct_url: None })
        }
        read => Ok(read?),
    }
}

/// A handle on a database, by the ways that the settings tell.
pub(super) fn connect(database: &Database, connections: u32) -> Result<Store, StoreError> {
    Store::connect_lazily_past(&database.url, database.direct_url.as_ref(), connections)
}

/// Why a listing was not read, with parameters called as the flags of a command are.
pub(super) fn in_flags(error: ListError) -> anyhow::Error {
    match error {
        ListError::WindowWanted { after, before } => {
            let flag = |parameter: &str| format!("--{}", parameter.replace('_', "-"));
            anyhow!(
                "this filter wants a window of time of at most {WINDOW_DAYS_MAX} days: add {} and, where that is longer ago, {}",
                flag(after),
                flag(before)
            )
        }
        ListError::Store(error) => error.into(),
    }
}

/// Whether to print JSON: where it is asked for, and where no person reads.
pub(super) fn prints_json(asked: bool) -> bool {
    asked || !std::io::stdout().is_terminal()
}

/// How long deliveries take at the rate of their connections, for a sentence: nothing where nobody can
/// tell.
pub(super) fn that_takes(seconds: Option<u64>) -> String {
    let told = |seconds| {
        format!(" At the rate of their connections that takes {}.", humanize(Duration::from_secs(seconds)))
    };
    seconds.filter(|seconds| *seconds > 0).map(told).unwrap_or_default()
}

/// What the audit says of a filter: as much as was given.
pub(super) fn filter_for_audit(filter: Value) -> Value {
    let given = match filter {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        other => other,
    };
    json!({ "filter": given })
}

/// The verb of what is done to so many, or would be.
pub(super) const fn would_be(is_dry: bool, count: u64) -> &'static str {
    match (is_dry, count) {
        (true, _) => "would be",
        (false, 1) => "is",
        (false, _) => "are",
    }
}

/// A number of things: `1 event`, `2 events`.
pub(super) fn counted(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_that_is_wanted_is_named_by_its_flags() {
        let wanted = ListError::WindowWanted { after: "created_after", before: "created_before" };
        let said = in_flags(wanted).to_string();
        assert!(said.contains("--created-after") && said.contains("--created-before"), "{said}");
    }
}
