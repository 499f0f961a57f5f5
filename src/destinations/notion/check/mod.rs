//! The check of a Notion instance: token, database, data source and columns, and what to do.
//!
//! A check changes nothing. The operator asks for added columns and for the write test by flags.

mod columns;
mod write_test;

use super::call_error::CallError;
use super::classify::Effect;
use super::client::Calls;
use super::column::Column;
use super::field::Field;
use super::remedies;
use super::schema::{Bindings, Schema};
use super::settings::NotionId;
use super::trash::{Container, Containers, is_put_away};
use super::workspace::{self, title};
use super::{Notion, design};
use crate::config::InstanceName;
use crate::destinations::DeliveryContext;
use crate::destinations::check::{CheckReport, Finding};
use crate::domain::delivery::{Failure, Outcome};
use crate::domain::execution::Mode;
use columns::addition;
use serde_json::{Map, Value};
use std::time::Instant;

/// The table that an instance fills.
struct Found {
    data_source: String,
    /// Nothing if no column can hold the key.
    bindings: Option<Bindings>,
    /// The properties that have no column and could get one.
    missing: Vec<Field>,
    /// The status columns that lack options, with these.
    without_options: Vec<(Column, Vec<(&'static str, &'static str)>)>,
    /// Notion's description of the data source.
    described: Value,
}

impl Found {
    /// What could be added.
    fn additions(&self) -> Vec<String> {
        let columns = self.missing.iter().map(|field| addition(*field));
        let options = self.without_options.iter().map(|(column, words)| {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            format!("options of {:?}: {}", column.name, words.join(", "))
        });
        columns.chain(options).collect()
    }

    /// The same as definitions, by the names of the columns.
    fn definitions(&self) -> Map<String, Value> {
        let mut definitions = design::definitions(&self.missing);
        for (column, words) in &self.without_options {
            let present = self.described.get("properties").and_then(|columns| columns.get(&column.name));
            let definition = design::with_options(present.unwrap_or(&Value::Null), words);
            definitions.insert(column.name.clone(), definition);
        }
        definitions
    }
}

impl Notion {
    /// Checks everything, up to the first problem that prevents further checks.
    pub(super) async fn run_check(&self, context: &dyn DeliveryContext) -> CheckReport {
        let mut report = CheckReport::default();
        let found = self.look(context, &mut report.findings).await;
        if let Some(found) = &found {
            report.additions = found.additions();
            report.target = Some(found.data_source.clone());
        }
        report.clock = self.client.clock();
        report
    }

    /// Adds the columns and the options that are missing.
    pub(super) async fn add_missing(&self, context: &dyn DeliveryContext) -> Result<Vec<String>, Failure> {
        let found = self.look(context, &mut Vec::new()).await.ok_or_else(|| {
            Failure::local("no_table", "there is no table to add columns to: fix the problems above first")
        })?;
        let definitions = found.definitions();
        if definitions.is_empty() {
            return Ok(Vec::new());
        }
        let calls = self.client.with(context, Instant::now());
        calls.add_columns(&found.data_source, &definitions).await.map_err(|error| {
            calls.failure(error).with_remedy(
                "give the connection the capability to update content, or add the columns manually",
            )
        })?;
        Ok(found.additions())
    }

    async fn look(&self, context: &dyn DeliveryContext, findings: &mut Vec<Finding>) -> Option<Found> {
        if !self.settings.access.has_usual_token() {
            findings.push(Finding::warning(
                "the token begins neither with ntn_ nor, as old tokens do, with secret_",
                "copy the token of the connection from https://www.notion.so/developers",
            ));
        }
        let calls = self.client.with(context, Instant::now());
        match calls.bearer().await {
            Ok(answer) => {
                findings.push(whose(&answer.value));
                findings.extend(block_limit(&answer.value, self.settings.mode));
            }
            // A connection without access to users may be able to do everything else.
            Err(CallError::Refused(refusal)) if refusal.status == 403 => {
                findings.push(Finding::note("Notion does not reveal the owner of the token"));
            }
            Err(error) => {
                findings.push(self.problem(&calls, Effect::Describe, error));
                return None;
            }
        }
        let data_source = self.find_data_source(context, findings).await?;
        let described = match calls.data_source(&data_source).await {
            Ok(answer) => answer.value,
            Err(error) => {
                findings.push(self.problem(&calls, Effect::Describe, error));
                return None;
            }
        };
        match calls.containers(&described).await {
            Ok(Containers::InPlace) => {}
            Ok(Containers::PartlyUnseen) => match calls.has_rows(&data_source).await {
                Ok(true) => {}
                Ok(false) => findings.push(unseen_above()),
                Err(error) => findings.push(self.problem(&calls, Effect::Look, error)),
            },
            Ok(Containers::PutAway(container)) => {
                findings.push(Finding::problem(container.problem(), container.remedy()));
                return None;
            }
            Err(error) => {
                findings.push(self.problem(&calls, Effect::Describe, error));
                return None;
            }
        }
        let previous = self.reader(self.settings.mode, context).remembered(&data_source).await;
        match Schema::parse(&described) {
            Ok(schema) => {
                Some(self.look_at_columns(data_source, &schema, described, previous.as_ref(), findings))
            }
            Err(error) => {
                findings.push(self.unusable(&error));
                None
            }
        }
    }

    /// The data source to fill, found through the database.
    async fn find_data_source(
        &self,
        context: &dyn DeliveryContext,
        findings: &mut Vec<Finding>,
    ) -> Option<String> {
        let calls = self.client.with(context, Instant::now());
        let id = &self.settings.database;
        let database = match calls.whole_database(id).await {
            Ok(answer) => answer.value,
            Err(CallError::Refused(refusal)) if matches!(refusal.status, 400 | 404) => {
                findings.push(self.where_it_leads(context).await);
                return None;
            }
            Err(error) => {
                findings.push(self.problem(&calls, Effect::Describe, error));
                return None;
            }
        };
        if is_put_away(&database) {
            let container = Container::Database;
            findings.push(Finding::problem(container.problem(), container.remedy()));
            return None;
        }
        let sources: Vec<(String, String)> = database
            .get("data_sources")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|source| {
                let text = |name: &str| source.get(name).and_then(Value::as_str).map(str::to_owned);
                Some((text("id")?, text("name").unwrap_or_default()))
            })
            .collect();
        findings.push(Finding::good(format!(
            "the database {:?} is shared with the connection",
            title(&database)
        )));
        let configured = self.settings.data_source.as_ref();
        let is_configured = |(id, _): &&(String, String)| NotionId::parse(id).as_ref() == configured;
        let listed = || {
            let all: Vec<_> = sources.iter().map(|(id, name)| format!("{id} ({name})")).collect();
            all.join(", ")
        };
        match (configured, sources.as_slice()) {
            (_, []) => {
                findings.push(Finding::problem(
                    "the database shows no data source: it is a linked view, which Notion's API cannot write \
                     to, or its source is not shared with the connection",
                    format!(
                        "open the original database (click its title in the linked view), share it (••• › \
                         Connections), and copy its own link to {}",
                        self.setting("DATABASE_ID")
                    ),
                ));
                None
            }
            (Some(_), sources) => {
                let Some((id, name)) = sources.iter().find(is_configured) else {
                    findings.push(Finding::problem(
                        format!("{} names no data source of the database", self.setting("DATA_SOURCE_ID")),
                        format!("set it to one of: {}", listed()),
                    ));
                    return None;
                };
                findings.push(Finding::good(format!("its data source {name:?} is the one configured")));
                Some(id.clone())
            }
            (None, [(id, _)]) => Some(id.clone()),
            (None, several) => {
                findings.push(Finding::problem(
                    format!("the database has {} data sources", several.len()),
                    format!("set {} to one of: {}", self.setting("DATA_SOURCE_ID"), listed()),
                ));
                None
            }
        }
    }

    /// What the setting refers to, if that is not a visible database.
    async fn where_it_leads(&self, context: &dyn DeliveryContext) -> Finding {
        let calls = self.client.with(context, Instant::now());
        let (id, setting) = (self.settings.database.as_str(), self.setting("DATABASE_ID"));
        if let Ok(page) = calls.page(id).await {
            return Finding::problem(
                format!("{setting} leads to a page ({:?}), not to a database", title(&page.value)),
                format!(
                    "open the database itself as a full page and copy its link, or create one under that page: \
                     {} --page <link>",
                    self.init_command()
                ),
            );
        }
        if let Ok(source) = calls.data_source(id).await {
            let of = source.value.pointer("/parent/database_id").and_then(Value::as_str);
            return Finding::problem(
                format!("{setting} is the id of a data source"),
                format!("set it to the database's id: {}", of.unwrap_or("copy the link to the database")),
            );
        }
        Finding::problem(
            format!("the database of {setting} is not visible to the connection"),
            format!(
                "open the database in Notion, ••• › Connections, and choose the connection; if it is a linked \
                 view, open the original database first. Otherwise correct {setting}"
            ),
        )
    }

    /// The finding of a call that failed.
    fn problem(&self, calls: &Calls<'_>, effect: Effect, error: CallError) -> Finding {
        failed_call(&self.settings.access.instance, calls.outcome(effect, error))
    }

    /// The full name of one of the instance's settings.
    fn setting(&self, suffix: &str) -> String {
        self.settings.access.instance.setting(suffix)
    }

    /// The command that creates a database for this instance.
    fn init_command(&self) -> String {
        let instance = &self.settings.access.instance;
        if instance.name == instance.kind {
            "eventbridge notion init".to_owned()
        } else {
            format!("eventbridge notion init --instance {}", instance.name)
        }
    }
}

/// The connection cannot read all that contains an empty table.
fn unseen_above() -> Finding {
    Finding::note("the connection cannot read what contains the database, which may be in Notion's trash")
        .with_remedy("eventbridge doctor --write-test finds out, or share the page above with the connection")
}

fn whose(bearer: &workspace::Bearer) -> Finding {
    if bearer.is_bot {
        Finding::good(format!(
            "the token works: it belongs to the connection {:?} in the workspace {:?}",
            bearer.name, bearer.workspace
        ))
    } else {
        Finding::note(format!("the token works: it belongs to a person, {:?}", bearer.name))
            .with_remedy(
                "it expires within a year, and then nothing is delivered: set its date as API_KEY_EXPIRES of this \
                 instance, so that an alert comes a week before, or use the token of an internal connection. With it a second page of one event also looks like a person's own page and is not removed",
            )
    }
}

/// What this mode costs in a workspace whose number of blocks is limited.
fn block_limit(bearer: &workspace::Bearer, mode: Mode) -> Option<Finding> {
    /// The limit for files in Free workspaces: 5 MiB.
    const FREE_FILE_BYTES_MAX: u64 = 5 * 1024 * 1024;
    bearer.file_bytes_max.filter(|bytes| *bytes <= FREE_FILE_BYTES_MAX)?;
    let cost = match mode {
        Mode::Event => "each event takes one",
        Mode::Object => "each object takes one, and further changes of it take none",
    };
    Some(
        Finding::note(format!(
            "the workspace seems to be a Free one: with several members it holds 1,000 blocks for life; {cost}"
        ))
        .with_remedy("if it has several members, upgrade it before it is full; deleted pages still count"),
    )
}

/// The finding of a call of this instance that failed.
fn failed_call(instance: &InstanceName, outcome: Outcome) -> Finding {
    match outcome {
        Outcome::NeedsOperator(Failure { message, remedy: Some(remedy), .. }) => {
            Finding::problem(message, remedy)
        }
        Outcome::NeedsOperator(failure) => Finding::problem(failure.message, "follow Notion's message"),
        Outcome::Blocked { failure, .. } => Finding::problem(failure.message, remedies::BLOCK_LIMIT),
        Outcome::Permanent(failure) | Outcome::Gone(failure) => {
            Finding::problem(failure.message, "check Notion's message and the columns of the database")
        }
        Outcome::Throttled { failure, .. } => {
            Finding::problem(failure.message, "try again in a minute: the token's rate limit is used up")
        }
        Outcome::Transient { failure, .. } | Outcome::Ambiguous { failure, .. } => Finding::problem(
            failure.message,
            format!(
                "try again; if it fails again, check whether this machine reaches the address of {}",
                instance.setting("API_URL")
            ),
        ),
        Outcome::Delivered { .. } | Outcome::Skipped { .. } | Outcome::InDoubt { .. } => {
            Finding::problem("Notion executed the request but answered with an error", "try again")
        }
    }
}
