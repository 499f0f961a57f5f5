//! `eventbridge forget`: erases a person's data, and lists what remains at the destinations.

mod person;

use super::delivery_context::CommandDeliveryContext;
use super::{command_context, environment, prompt};
use crate::app::DEFAULT_KINDS;
use crate::config::{self, Reader};
use crate::destinations::{self, Instance};
use crate::domain::audit::{Action, Subject, SubjectKind};
use crate::domain::delivery::Remote;
use crate::domain::source::SourceCatalog;
use crate::store::{Erased, Store, WrittenEntry};
use crate::telemetry::LogFormat;
use anyhow::bail;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// How long to wait for running deliveries.
const BUSY_MAX: Duration = Duration::from_secs(30);

/// The time between two checks whether they have ended.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command")]
pub(super) struct ForgetArgs {
    /// The customer's id at the sender, such as `cus_…`, or an e-mail address
    #[arg(value_name = "CUSTOMER")]
    person: String,
    /// Also removes what was written about them at the destinations
    #[arg(long, alias = "pages")]
    entries: bool,
    /// Counts what would be removed and removes nothing
    #[arg(long)]
    dry_run: bool,
    /// Answers the question with yes
    #[arg(long)]
    yes: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// What was done, or would be.
#[derive(Debug, Serialize)]
struct Done {
    /// How many events name whom, as a sentence without its full stop.
    #[serde(skip)]
    found: String,
    /// The person, as typed.
    person: String,
    /// Their customer ids, as far as events show them.
    customers: Vec<String>,
    events: usize,
    dry_run: bool,
    payloads_removed: u64,
    messages_removed: u64,
    shown_objects_removed: u64,
    search_terms_removed: u64,
    executions_cancelled: u64,
    /// Events whose delivery did not end in time. They stay unchanged.
    busy_events: Vec<i64>,
    entries_removed: Vec<ShownEntry>,
    /// Entries that must be removed manually.
    entries_remaining: Vec<ShownEntry>,
}

/// What a destination wrote.
#[derive(Debug, Serialize)]
struct ShownEntry {
    destination: String,
    id: String,
    url: Option<String>,
    /// Why it could not be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

pub(super) async fn run(args: ForgetArgs) -> anyhow::Result<ExitCode> {
    let vars = environment::vars()?;
    let sources = command_context::sources(&vars);
    let named = person::read(&args.person, &sources)?;
    environment::start_log(&vars, LogFormat::Text);
    let mut reader = Reader::new(&vars);
    // Only removing entries needs the destinations.
    let instances = if args.entries {
        let configured = config::instances(&mut reader, DEFAULT_KINDS);
        destinations::configure(&mut reader, &configured, sources.types())
    } else {
        Vec::new()
    };
    let instances = reader.finish(instances)?;
    let store = command_context::connect(&command_context::database(&vars)?, 2)?;
    command_context::require_schema(&store).await?;
    let (known, events) = person::find(&store, &sources, named).await?;
    let found = person::summary(&known, events.len());
    let question = format!("{found}. Remove their data permanently?");
    if !args.dry_run && !events.is_empty() && !prompt::agrees(&question, args.yes).await? {
        bail!("nothing was removed");
    }
    let mut entries = BTreeSet::new();
    for some in events.chunks(500) {
        entries.extend(store.erasure.entries_of(some).await?);
    }
    if !args.dry_run && !events.is_empty() {
        // An interrupted run may have removed data, so its beginning is recorded too.
        record(&store, &known.customers, &json!({"is": "begun", "events": events.len()})).await?;
    }
    let erased = forget(&store, &events, args.dry_run).await?;
    let removes_entries = args.entries && !args.dry_run;
    let (removed, remaining) = if removes_entries {
        remove_entries(&store, &instances, entries).await
    } else {
        (Vec::new(), entries.into_iter().map(|entry| shown(entry, None)).collect())
    };
    let done = Done {
        found,
        person: args.person.clone(),
        customers: known.customers,
        events: events.len(),
        dry_run: args.dry_run,
        payloads_removed: erased.payloads,
        messages_removed: erased.messages,
        shown_objects_removed: erased.shown_objects,
        search_terms_removed: erased.terms,
        executions_cancelled: erased.cancelled,
        busy_events: erased.busy,
        entries_removed: removed,
        entries_remaining: remaining,
    };
    if !args.dry_run {
        let detail = json!({
            "is": "done",
            "payloads": done.payloads_removed,
            "cancelled": done.executions_cancelled,
            "entries_removed": done.entries_removed.len(),
        });
        record(&store, &done.customers, &detail).await?;
    }
    store.db.close().await;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&done)?);
    } else {
        print!("{}", report(&done));
    }
    let has_failed = removes_entries && !done.entries_remaining.is_empty();
    Ok(if done.busy_events.is_empty() && !has_failed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Records the erasure of these customers in the audit log.
async fn record(store: &Store, customers: &[String], detail: &Value) -> anyhow::Result<()> {
    // The address itself must be erased, so the audit log has only the ids, and no id for a person without.
    let without_id = customers.is_empty().then_some(None);
    for id in customers.iter().map(|id| Some(id.as_str())).chain(without_id) {
        let subject = Subject { kind: SubjectKind::Customer, id };
        store.interventions.audit(&environment::caller(), Action::CustomerErased, subject, detail).await?;
    }
    Ok(())
}

/// Removes the data of these events, and waits for those that are being delivered.
async fn forget(store: &Store, events: &[i64], dry_run: bool) -> anyhow::Result<Erased> {
    let mut sum = Erased::default();
    let until = Instant::now() + BUSY_MAX;
    let mut left = events.to_vec();
    loop {
        let mut busy = Vec::new();
        for some in left.chunks(500) {
            let erased = store.erasure.erase(some, dry_run).await?;
            sum.payloads += erased.payloads;
            sum.messages += erased.messages;
            sum.shown_objects += erased.shown_objects;
            sum.terms += erased.terms;
            sum.cancelled += erased.cancelled;
            busy.extend(erased.busy);
        }
        if busy.is_empty() || dry_run || Instant::now() > until {
            sum.busy = busy;
            return Ok(sum);
        }
        left = busy;
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Removes entries. Those of an instance that is no longer configured remain.
async fn remove_entries(
    store: &Store,
    instances: &[Instance],
    entries: BTreeSet<WrittenEntry>,
) -> (Vec<ShownEntry>, Vec<ShownEntry>) {
    let (mut removed, mut remaining) = (Vec::new(), Vec::new());
    for entry in entries {
        let instance = instances.iter().find(|known| known.subscription.destination == entry.destination);
        let Some(instance) = instance else {
            remaining.push(shown(entry, Some("its destination is no longer configured".to_owned())));
            continue;
        };
        let context = CommandDeliveryContext::new(Some(store.clone()), &entry.destination);
        let remote = Remote { id: entry.id.clone(), url: entry.url.clone(), place: None };
        match instance.destination.remove(&remote, &context).await {
            Ok(()) => removed.push(shown(entry, None)),
            Err(failure) => remaining.push(shown(entry, Some(failure.to_string()))),
        }
    }
    (removed, remaining)
}

fn shown(entry: WrittenEntry, failure: Option<String>) -> ShownEntry {
    let WrittenEntry { destination, id, url } = entry;
    ShownEntry { destination, id, url, failure }
}

fn report(done: &Done) -> String {
    let mut lines = vec![format!("{}.", done.found)];
    let did = if done.dry_run { "would be removed" } else { "removed" };
    lines.push(format!("Payloads {did}: {}", done.payloads_removed));
    lines.push(format!("Error messages that could quote them {did}: {}", done.messages_removed));
    lines.push(format!("Copies of shown objects {did}: {}", done.shown_objects_removed));
    lines.push(format!("Search terms {did}: {}", done.search_terms_removed));
    let cancelled = if done.dry_run { "would be cancelled" } else { "cancelled" };
    lines.push(format!("Pending executions {cancelled}: {}", done.executions_cancelled));
    if !done.entries_removed.is_empty() {
        lines.push(format!("Removed at the destinations: {}", done.entries_removed.len()));
    }
    if !done.entries_remaining.is_empty() {
        let how = if done.dry_run { " (--entries removes it)" } else { "" };
        lines.push(format!("Remains at the destinations{how}: {}", done.entries_remaining.len()));
        lines.extend(done.entries_remaining.iter().map(|entry| {
            let place = entry.url.as_deref().unwrap_or(&entry.id);
            let failure = entry.failure.as_ref().map(|failure| format!(": {failure}")).unwrap_or_default();
            prompt::plain(&format!("  {}  {place}{failure}", entry.destination))
        }));
    }
    if !done.busy_events.is_empty() {
        let numbers: Vec<_> = done.busy_events.iter().map(ToString::to_string).collect();
        lines.push(format!(
            "Unchanged, because they are being delivered: events {}. Run this command again.",
            numbers.join(", ")
        ));
    }
    lines.join("\n") + "\n"
}
