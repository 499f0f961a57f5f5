//! The check of a Notion instance: token, database, data source and columns, and what to do.
//!
//! A check changes nothing. The operator asks for added columns and for the write test by flags.

use super::call_error::CallError;
use super::classify::Effect;
use super::client::Calls;
use super::design::{self, Fit};
use super::example::example;
use super::field::{Field, folded};
use super::mapping::{self, Mapped};
use super::schema::{Bindings, Schema, SchemaError, SchemaWarning};
use super::settings::NotionId;
use super::workspace::{self, WIKI, is_wiki, title};
use super::{Notion, object};
use crate::config::InstanceName;
use crate::destinations::DeliveryContext;
use crate::destinations::check::{CheckReport, Finding};
use crate::domain::delivery::{Failure, Outcome};
use crate::domain::execution::Mode;
use serde_json::Value;
use std::time::{Duration, Instant};

/// How long after its start the write test may write.
const TEST_WITHIN: Duration = Duration::from_mins(2);

/// The table that an instance fills.
struct Found {
    data_source: String,
    /// Nothing if no column can hold the key.
    bindings: Option<Bindings>,
    /// The properties that have no column and could get one.
    missing: Vec<Field>,
}

impl Notion {
    /// Checks everything, up to the first problem that prevents further checks.
    pub(super) async fn run_check(&self, context: &dyn DeliveryContext) -> CheckReport {
        let mut report = CheckReport::default();
        let found = self.look(context, &mut report.findings).await;
        if let Some(found) = &found {
            report.additions = found.missing.iter().map(|field| addition(*field)).collect();
            report.target = Some(found.data_source.clone());
        }
        report.clock = self.client.clock();
        report
    }

    /// Adds the columns that are missing.
    pub(super) async fn add_missing(&self, context: &dyn DeliveryContext) -> Result<Vec<String>, Failure> {
        let found = self.look(context, &mut Vec::new()).await.ok_or_else(|| {
            Failure::local("no_table", "there is no table to add columns to: mend first what stands above")
        })?;
        if found.missing.is_empty() {
            return Ok(Vec::new());
        }
        let calls = self.client.with(context, Instant::now());
        let columns = design::definitions(&found.missing);
        calls.add_columns(&found.data_source, &columns).await.map_err(|error| {
            calls.failure(error).with_remedy(
                "give the integration the capability to update content, or add the columns manually",
            )
        })?;
        Ok(found.missing.iter().map(|field| addition(*field)).collect())
    }

    /// Creates a page as a delivery would, reads it back, and moves it to the trash.
    pub(super) async fn test_writing(&self, context: &dyn DeliveryContext) -> Vec<Finding> {
        let mut findings = Vec::new();
        let Some(Found { data_source, bindings: Some(bindings), .. }) =
            self.look(context, &mut Vec::new()).await
        else {
            return vec![Finding::problem("no page can be written yet", "mend first what stands above")];
        };
        let calls = self.client.with(context, Instant::now() + TEST_WITHIN);
        let sent = self.test_page(&bindings);
        let made = match calls.create_page(&data_source, &sent.properties).await {
            Ok(answer) => answer.value,
            Err(error) => {
                findings.push(self.problem(&calls, Effect::Create, error));
                return findings;
            }
        };
        match calls.page(&made.id).await {
            Ok(page) => findings.push(read_back(&sent, &page.value, &bindings)),
            Err(error) => findings.push(self.problem(&calls, Effect::Look, error)),
        }
        match calls.trash_page(&made.id).await {
            Ok(_) => findings.push(Finding::good("the test page was taken away again")),
            Err(error) => {
                let failure = calls.failure(error);
                let place = made.url.unwrap_or(made.id);
                findings.push(Finding::warning(
                    format!("the test page could not be taken away: {}", failure.message),
                    format!(
                        "remove it by hand: {place}; give the integration the capability to update content"
                    ),
                ));
            }
        }
        findings
    }

    async fn look(&self, context: &dyn DeliveryContext, findings: &mut Vec<Finding>) -> Option<Found> {
        if !self.settings.access.has_usual_token() {
            findings.push(Finding::warning(
                "the token does not begin with ntn_ (or secret_, as old ones do)",
                "copy the token of the integration from https://www.notion.so/my-integrations",
            ));
        }
        let calls = self.client.with(context, Instant::now());
        match calls.bearer().await {
            Ok(answer) => findings.push(whose(&answer.value)),
            // An integration without access to users can still be good for everything else.
            Err(CallError::Refused(refusal)) if refusal.status == 403 => {
                findings.push(Finding::note("Notion does not tell whose the token is"));
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
        if is_wiki(&described) {
            findings.push(Finding::problem(
                format!("the database cannot be filled: {WIKI}"),
                format!("take a database that is no wiki, or make one: {}", self.init_command()),
            ));
            return None;
        }
        let previous = self.reader(self.settings.mode, context).remembered(&data_source).await;
        match Schema::parse(&described) {
            Ok(schema) => Some(self.look_at_columns(data_source, &schema, previous.as_ref(), findings)),
            Err(error) => {
                findings.push(unusable(&error));
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
        if database.get("in_trash").and_then(Value::as_bool) == Some(true) {
            findings.push(Finding::problem("the database is in Notion's trash", "restore it in Notion"));
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
            "the database {:?} is shared with the integration",
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
                     to, or its source is not shared with the integration",
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

    /// What the setting leads to, if that is no visible database.
    async fn where_it_leads(&self, context: &dyn DeliveryContext) -> Finding {
        let calls = self.client.with(context, Instant::now());
        let (id, setting) = (self.settings.database.as_str(), self.setting("DATABASE_ID"));
        if let Ok(page) = calls.page(id).await {
            return Finding::problem(
                format!("{setting} leads to a page ({:?}) and not to a database", title(&page.value)),
                format!(
                    "open the database itself as a full page and copy its link, or make one under that page: \
                     {} --page <link>",
                    self.init_command()
                ),
            );
        }
        if let Ok(source) = calls.data_source(id).await {
            let of = source.value.pointer("/parent/database_id").and_then(Value::as_str);
            return Finding::problem(
                format!("{setting} holds the id of a data source"),
                format!("set it to that of the database: {}", of.unwrap_or("copy the link to the database")),
            );
        }
        Finding::problem(
            format!("the database of {setting} is not there for the integration"),
            format!(
                "open the database in Notion, ••• › Connections, and choose the integration; a linked view has \
                 to be opened at its original first. Else correct {setting}"
            ),
        )
    }

    fn look_at_columns(
        &self,
        data_source: String,
        schema: &Schema,
        previous: Option<&Bindings>,
        findings: &mut Vec<Finding>,
    ) -> Found {
        let key = match self.settings.mode {
            Mode::Event => Field::EventId,
            Mode::Object => Field::ObjectId,
        };
        let resolution = match schema.resolve(key, previous) {
            Ok(resolution) => resolution,
            Err(error) => {
                findings.push(unusable(&error));
                let missing =
                    if matches!(error, SchemaError::NoKeyColumn { .. }) { vec![key] } else { Vec::new() };
                return Found { data_source, bindings: None, missing };
            }
        };
        let bindings = resolution.bindings;
        findings.push(Finding::good(format!("{} is kept in the column {:?}", key.name(), bindings.key.name)));
        for (field, column) in &bindings.columns {
            findings.push(match design::fit(*field, column) {
                Fit::Whole if folded(&column.name) == folded(field.name()) => {
                    Finding::good(format!("{} ({})", field.name(), column.kind))
                }
                Fit::Whole => Finding::good(format!(
                    "{} ({}), in the column {:?}",
                    field.name(),
                    column.kind,
                    column.name
                )),
                Fit::Partly(reason) => Finding::warning(
                    format!("{} is written to {:?} in part: {reason}", field.name(), column.name),
                    "change the column as it says, or give it the type text",
                ),
                Fit::Nothing(reason) => Finding::warning(
                    format!("{} is left out: {reason} ({:?})", field.name(), column.name),
                    format!("change the column's type in Notion, best to {}", field.row().kind),
                ),
            });
        }
        for warning in &resolution.warnings {
            let text = warning.to_string();
            let (what, remedy) = text.rsplit_once("; ").unwrap_or((&text, "see the columns in Notion"));
            findings.push(Finding::warning(what, remedy));
        }
        let barred = |field: Field| {
            resolution.warnings.iter().any(
                |warning| matches!(warning, SchemaWarning::NotWritable { field: of, .. } if *of == field),
            )
        };
        // Each mode fills one of the two and leaves the other one empty.
        let of_other_mode = match self.settings.mode {
            Mode::Event => Field::LastEventId,
            Mode::Object => Field::EventId,
        };
        let missing: Vec<Field> = Field::ALL
            .iter()
            .copied()
            .filter(|field| *field != of_other_mode)
            .filter(|field| bindings.column(*field).is_none() && !barred(*field) && !schema.has_named(*field))
            .collect();
        if !missing.is_empty() {
            let names: Vec<_> = missing.iter().map(|field| field.name()).collect();
            findings.push(
                Finding::note(format!("no column for, so left out: {}", names.join(", ")))
                    .with_remedy("eventbridge doctor --fix adds them, all or none is needed"),
            );
        }
        Found { data_source, bindings: Some(bindings), missing }
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

    /// A page of every property, as an event would give it.
    fn test_page(&self, bindings: &Bindings) -> Mapped {
        let event = example(self.client.clock().map(|(at, _)| at));
        let zone = self.settings.timezone;
        match self.settings.mode {
            Mode::Event => mapping::properties(&event, zone, bindings),
            Mode::Object => object::object_properties(&event, zone, bindings)
                .unwrap_or_else(|| mapping::properties(&event, zone, bindings)),
        }
    }
}

fn addition(field: Field) -> String {
    format!("{} ({})", field.name(), field.row().kind)
}

fn whose(bearer: &workspace::Bearer) -> Finding {
    if bearer.is_bot {
        Finding::good(format!(
            "the token works: it is that of the integration {:?} in the workspace {:?}",
            bearer.name, bearer.workspace
        ))
    } else {
        Finding::note(format!("the token works: it is that of a person, {:?}", bearer.name))
            .with_remedy("a second page of one event can then not be told from a person's own and is left")
    }
}

fn unusable(error: &SchemaError) -> Finding {
    let text = error.to_string();
    let (what, remedy) = text.rsplit_once("; ").unwrap_or((&text, "see the columns in Notion"));
    let remedy = match error {
        SchemaError::NoKeyColumn { .. } => format!("{remedy}; eventbridge doctor --fix adds it"),
        _ => remedy.to_owned(),
    };
    Finding::problem(what, remedy)
}

/// The finding of a call of this instance that failed.
fn failed_call(instance: &InstanceName, outcome: Outcome) -> Finding {
    match outcome {
        Outcome::NeedsOperator(Failure { message, remedy: Some(remedy), .. }) => {
            let what = message.strip_suffix(&format!("; {remedy}")).unwrap_or(&message).to_owned();
            Finding::problem(what, remedy)
        }
        Outcome::NeedsOperator(failure) => Finding::problem(failure.message, "see what Notion says"),
        Outcome::Permanent(failure) | Outcome::Gone(failure) => {
            Finding::problem(failure.message, "see what Notion says, and the columns of the database")
        }
        Outcome::Throttled { failure, .. } => {
            Finding::problem(failure.message, "ask again in a minute: the rate of the token is used up")
        }
        Outcome::Transient { failure, .. } | Outcome::Ambiguous { failure, .. } => Finding::problem(
            failure.message,
            format!(
                "try again; if it stays so, see whether this machine reaches the address of {}",
                instance.setting("API_URL")
            ),
        ),
        Outcome::Delivered { .. } | Outcome::Skipped { .. } | Outcome::InDoubt { .. } => {
            Finding::problem("Notion answered with an error after it did what was asked", "try again")
        }
    }
}

/// Whether the page holds everything that was written.
fn read_back(sent: &Mapped, page: &Value, bindings: &Bindings) -> Finding {
    let properties = page.get("properties").and_then(Value::as_object);
    let is_there = |id: &str| {
        let found = properties.into_iter().flat_map(serde_json::Map::values);
        let mut found = found.filter(|property| property.get("id").and_then(Value::as_str) == Some(id));
        found.any(|property| {
            let kind = property.get("type").and_then(Value::as_str).unwrap_or_default();
            match property.get(kind) {
                None | Some(Value::Null) => false,
                Some(Value::Array(parts)) => !parts.is_empty(),
                Some(_) => true,
            }
        })
    };
    let all = || [&bindings.title, &bindings.key].into_iter().chain(bindings.columns.values());
    let lost: Vec<_> = sent
        .properties
        .keys()
        .filter(|id| !is_there(id))
        .map(|id| all().find(|column| column.id == **id).map_or(id.as_str(), |column| &column.name))
        .collect();
    if lost.is_empty() {
        let count = sent.properties.len();
        Finding::good(format!("a test page was written and read back, with all {count} values in place"))
    } else {
        Finding::warning(
            format!("a test page was written; these columns came back empty: {}", lost.join(", ")),
            "see whether an automation or a rule of the database changes them",
        )
    }
}
