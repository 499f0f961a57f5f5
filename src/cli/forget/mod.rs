//! `eventbridge forget`: erases a person's data, and lists what remains at the destinations.

mod person;

use super::delivery_context::CommandDeliveryContext;
use super::{command_context, environment, output, prompt, wrong_arguments};
use crate::app::DEFAULT_KINDS;
use crate::config::{self, Reader};
use crate::destinations::{self, Instance};
use crate::domain::audit::{Action, Subject, SubjectKind};
use crate::domain::delivery::Remote;
use crate::domain::source::SourceCatalog;
use crate::store::{Erased, Store, WrittenEntry};
use crate::telemetry::LogFormat;
use anyhow::bail;
use person::{Customer, Named, OWN_ACCOUNT, Within};
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
    /// Only in the events of this connected account; `own` is the account that has the webhook
    #[arg(long)]
    account: Option<String>,
    /// Only in the events of this mode
    #[arg(long)]
    mode: Option<Mode>,
    /// If several accounts or modes have a customer with this id: erases all of them
    #[arg(long, conflicts_with_all = ["account", "mode"])]
    everywhere: bool,
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

/// A mode of the sender.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Mode {
    /// Real money.
    Live,
    /// Tests.
    Test,
}

/// What the command does not search, so that the operator knows where to look.
const NOT_SEARCHED: &[&str] = &[
    "the sender: its own data about the person",
    "the destinations: pages that people made or changed, the trash, the history of pages, alerts that were sent",
    "backups, replicas and the write-ahead log of the database; its files keep removed rows until the next vacuum",
    "logs of this service, of proxies and of Postgres",
    "texts that name the person in another way, such as by one word of the name, a telephone number, an address of another event, or in base64",
    "which account or mode a text belongs to: an address or a name is erased from the texts of all",
    "ids, amounts, states and times, which stay",
];

/// What was done, or would be.
#[derive(Debug, Serialize)]
struct Done {
    /// How many events name whom, as a sentence without its full stop.
    #[serde(skip)]
    found: String,
    /// The person, as typed.
    person: String,
    /// Their customer ids, each with its account and mode, as far as events show them.
    customers: BTreeSet<Customer>,
    events: usize,
    dry_run: bool,
    payloads_removed: u64,
    messages_removed: u64,
    shown_objects_removed: u64,
    search_terms_removed: u64,
    /// Notes, messages and other texts from which addresses and names were erased. In a dry run some of them
    /// are also among the messages.
    texts_changed: u64,
    executions_cancelled: u64,
    /// Events whose delivery did not end in time. They stay unchanged.
    busy_events: Vec<i64>,
    entries_removed: Vec<ShownEntry>,
    /// Entries that must be removed manually.
    entries_remaining: Vec<ShownEntry>,
    /// Whether the bodies were kept because entries could not be removed.
    keeps_bodies: bool,
    /// Whether a run that is not dry removes the entries.
    #[serde(skip)]
    asked_for_entries: bool,
    not_searched: &'static [&'static str],
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
    let vars = command_context::settings()?;
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
    let within =
        Within { account: args.account.clone(), livemode: args.mode.map(|mode| matches!(mode, Mode::Live)) };
    let known = person::find(&store, &sources, &named, &within).await?;
    let is_ambiguous = matches!(named, Named::Customer(_)) && known.customers.len() > 1;
    if is_ambiguous && !args.everywhere && !args.dry_run {
        return Err(wrong_arguments(format!(
            "several accounts or modes have a customer with this id: {}. Name one with --account (or --account {OWN_ACCOUNT}) and --mode, or erase all of them with --everywhere. Nothing was removed",
            known.listed("; ")
        )));
    }
    let events = &known.events;
    let found = person::summary(&args.person, &named, &known);
    let question = format!("{found}. Remove their data permanently?");
    let pattern = known.pattern();
    let has_any = !events.is_empty() || pattern.is_some();
    if !args.dry_run && has_any && !prompt::agrees(&question, args.yes).await? {
        bail!("nothing was removed");
    }
    if !args.dry_run && !events.is_empty() {
        // An interrupted run may have removed data, so its beginning is recorded too.
        record(&store, &named, &known.customers, &json!({"is": "begun", "events": events.len()})).await?;
    }
    // The bodies go last: only they have the names and lead to the entries, so a run that was interrupted can be
    // repeated.
    let mut texts_changed = erase_texts(&store, pattern.as_deref(), args.dry_run).await?;
    let removes_entries = args.entries && !args.dry_run;
    let mut entries = Entries::default();
    if removes_entries {
        entries.remove(&store, &instances, events).await?;
    }
    let keeps_bodies = removes_entries && !entries.remaining.is_empty();
    let erased = if keeps_bodies { Erased::default() } else { forget(&store, events, args.dry_run).await? };
    if removes_entries && !keeps_bodies {
        // What was written while the first ones were removed.
        entries.remove(&store, &instances, events).await?;
    } else if !removes_entries {
        let remaining = entries_of(&store, events).await?;
        entries.remaining.extend(remaining.into_iter().map(|entry| shown(entry, None)));
    }
    if !args.dry_run {
        // What deliveries wrote meanwhile. Nothing writes about these events any more.
        texts_changed += erase_texts(&store, pattern.as_deref(), false).await?;
    }
    let done = Done {
        found,
        person: args.person.clone(),
        events: events.len(),
        customers: known.customers,
        dry_run: args.dry_run,
        payloads_removed: erased.payloads,
        messages_removed: erased.messages,
        shown_objects_removed: erased.shown_objects,
        search_terms_removed: erased.terms,
        texts_changed,
        executions_cancelled: erased.cancelled,
        busy_events: erased.busy,
        entries_removed: entries.removed,
        entries_remaining: entries.remaining,
        keeps_bodies,
        asked_for_entries: args.entries,
        not_searched: NOT_SEARCHED,
    };
    if !args.dry_run {
        let detail = json!({
            "is": "done",
            "payloads": done.payloads_removed,
            "cancelled": done.executions_cancelled,
            "entries_removed": done.entries_removed.len(),
        });
        record(&store, &named, &done.customers, &detail).await?;
    }
    store.db.close().await;
    if output::prints_json(args.json) {
        println!("{}", serde_json::to_string_pretty(&done)?);
    } else {
        print!("{}", report(&done));
    }
    let has_failed = removes_entries && !done.entries_remaining.is_empty();
    Ok(if done.busy_events.is_empty() && !has_failed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn erase_texts(store: &Store, pattern: Option<&str>, dry_run: bool) -> anyhow::Result<u64> {
    Ok(match pattern {
        Some(pattern) => store.erasure.erase_texts(pattern, dry_run).await?,
        None => 0,
    })
}

/// Records the erasure of these customers in the audit log.
async fn record(
    store: &Store,
    named: &Named,
    customers: &BTreeSet<Customer>,
    detail: &Value,
) -> anyhow::Result<()> {
    let caller = environment::caller();
    // The address itself must be erased, so the audit log has only the ids, and no id for a person without.
    if customers.is_empty() {
        let id = match named {
            Named::Customer(id) => Some(id.as_str()),
            Named::Address(_) => None,
        };
        let subject = Subject { kind: SubjectKind::Customer, id };
        store.interventions.audit(&caller, Action::CustomerErased, subject, detail).await?;
    }
    for customer in customers {
        let Customer { id, source, account, livemode } = customer;
        let mut detail = detail.clone();
        for (name, value) in
            [("source", json!(source)), ("account", json!(account)), ("livemode", json!(livemode))]
        {
            if let Some(fields) = detail.as_object_mut() {
                fields.insert(name.to_owned(), value);
            }
        }
        let subject = Subject { kind: SubjectKind::Customer, id: Some(id) };
        store.interventions.audit(&caller, Action::CustomerErased, subject, &detail).await?;
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

/// What was written about the person at the destinations.
#[derive(Default)]
struct Entries {
    /// The destinations and ids of those that were tried.
    tried: BTreeSet<(String, String)>,
    removed: Vec<ShownEntry>,
    remaining: Vec<ShownEntry>,
}

impl Entries {
    /// Removes the entries of these events that were not removed yet. Those of an instance that is no longer
    /// configured remain.
    async fn remove(&mut self, store: &Store, instances: &[Instance], events: &[i64]) -> anyhow::Result<()> {
        for entry in entries_of(store, events).await? {
            if !self.tried.insert((entry.destination.clone(), entry.id.clone())) {
                continue;
            }
            let instance = instances.iter().find(|known| known.subscription.destination == entry.destination);
            let Some(instance) = instance else {
                let failure = "its destination is no longer configured".to_owned();
                self.remaining.push(shown(entry, Some(failure)));
                continue;
            };
            let context = CommandDeliveryContext::new(Some(store.clone()), &entry.destination);
            let remote = Remote { id: entry.id.clone(), url: entry.url.clone(), place: None };
            match instance.destination.remove(&remote, &context).await {
                Ok(()) => self.removed.push(shown(entry, None)),
                Err(failure) => self.remaining.push(shown(entry, Some(failure.to_string()))),
            }
        }
        Ok(())
    }
}

async fn entries_of(store: &Store, events: &[i64]) -> anyhow::Result<BTreeSet<WrittenEntry>> {
    let mut entries = BTreeSet::new();
    for some in events.chunks(500) {
        entries.extend(store.erasure.entries_of(some).await?);
    }
    Ok(entries)
}

fn shown(entry: WrittenEntry, failure: Option<String>) -> ShownEntry {
    let WrittenEntry { destination, id, url } = entry;
    ShownEntry { destination, id, url, failure }
}

fn report(done: &Done) -> String {
    let mut lines = vec![format!("{}.", done.found)];
    if done.events == 0 && done.texts_changed == 0 {
        let removed = if done.dry_run { "would be removed" } else { "was removed" };
        lines.push(format!("Nothing {removed}. An earlier run may have removed it already."));
    } else {
        lines.extend(counts(done));
    }
    lines.push("Not searched:".to_owned());
    lines.extend(done.not_searched.iter().map(|place| format!("  {place}")));
    lines.join("\n") + "\n"
}

/// What was removed, what remains, and what to do about it.
fn counts(done: &Done) -> Vec<String> {
    let mut lines = Vec::new();
    let did = if done.dry_run { "would be removed" } else { "removed" };
    if done.keeps_bodies {
        lines.push(
            "Entries at the destinations could not be removed, so the bodies were kept: only they lead to these entries. \
             Remove the cause and run this command again, or run it without --entries and remove the entries below manually."
                .to_owned(),
        );
    } else {
        lines.push(format!("Payloads {did}: {}", done.payloads_removed));
        lines.push(format!("Error messages that could quote them {did}: {}", done.messages_removed));
        lines.push(format!("Copies of shown objects {did}: {}", done.shown_objects_removed));
        lines.push(format!("Search terms {did}: {}", done.search_terms_removed));
        let cancelled = if done.dry_run { "would be cancelled" } else { "cancelled" };
        lines.push(format!("Pending executions {cancelled}: {}", done.executions_cancelled));
    }
    let changed = if done.dry_run { "would be changed, at most" } else { "changed" };
    lines.push(format!("Notes and other texts that name them {changed}: {}", done.texts_changed));
    if !done.entries_removed.is_empty() {
        lines.push(format!("Removed at the destinations: {}", done.entries_removed.len()));
    }
    if !done.entries_remaining.is_empty() {
        let count = done.entries_remaining.len();
        lines.push(match (done.dry_run, done.asked_for_entries) {
            (true, true) => format!("Would be removed at the destinations: {count}"),
            (true, false) => format!("Would remain at the destinations (--entries removes it): {count}"),
            (false, _) => format!("Remains at the destinations: {count}"),
        });
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
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_distinguishes_what_is_done_from_what_would_be() {
        let mut done = Done {
            found: "2 events name cus_1".to_owned(),
            person: "cus_1".to_owned(),
            customers: BTreeSet::new(),
            events: 2,
            dry_run: true,
            payloads_removed: 2,
            messages_removed: 0,
            shown_objects_removed: 1,
            search_terms_removed: 3,
            texts_changed: 0,
            executions_cancelled: 0,
            busy_events: Vec::new(),
            entries_removed: Vec::new(),
            entries_remaining: vec![ShownEntry {
                destination: "notion".to_owned(),
                id: "p1".to_owned(),
                url: None,
                failure: None,
            }],
            keeps_bodies: false,
            asked_for_entries: false,
            not_searched: &["backups"],
        };
        let text = report(&done);
        assert!(text.starts_with("2 events name cus_1.\n"), "{text}");
        assert!(text.contains("would be removed: 2") && text.contains("--entries"), "{text}");
        assert!(text.ends_with("Not searched:\n  backups\n"), "{text}");
        done.dry_run = false;
        let text = report(&done);
        assert!(text.contains("Payloads removed: 2"), "{text}");
        assert!(text.contains("Remains at the destinations: 1"), "{text}");
        done.events = 0;
        let text = report(&done);
        assert!(text.contains("Nothing was removed") && !text.contains("Payloads"), "{text}");
    }
}
