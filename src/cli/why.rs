//! `eventbridge why`: everything that happened to an event or an object, in order.

use super::command_context::CommandContext;
use super::output;
use super::paragraph::{self, wrapped};
use super::prompt::plain;
use crate::domain::destination_summary::seconds_for;
use crate::domain::execution::ExecutionId;
use crate::domain::humanize::{capitalised, humanize_age};
use crate::domain::quantity::count;
use crate::domain::search::SearchText;
use crate::domain::story::{self, EventStory, Line};
use crate::domain::waiting::Waiting;
use crate::health::{OF_LATE, clears_in, throughput};
use crate::store::{FoundEvent, Per, Place};
use anyhow::Context;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use std::collections::BTreeMap;
use std::process::ExitCode;

/// The most events that are shown.
const EVENTS_MAX: u32 = 10;

#[derive(Debug, clap::Args)]
pub(super) struct WhyArgs {
    /// The id of an event, object, customer or execution, an e-mail address, an invoice number, or a link to
    /// what a destination wrote
    #[arg(value_name = "ANYTHING")]
    what: String,
    /// Prints JSON, which is the default if the output is not a terminal
    #[arg(long)]
    json: bool,
}

/// An event and what happened to it.
#[derive(Debug, Serialize)]
struct Story {
    event_key: i64,
    event_id: String,
    #[serde(rename = "type")]
    event_type: String,
    about: Option<String>,
    timeline: Vec<TimelineEntry>,
}

/// One entry of a timeline.
#[derive(Debug, Serialize)]
struct TimelineEntry {
    at: DateTime<Utc>,
    what: String,
}

pub(super) async fn run(args: WhyArgs) -> anyhow::Result<ExitCode> {
    let context = CommandContext::open_migrated().await?;
    let sought = SearchText::read(&args.what, &context.destinations).context("specify what to look for")?;
    let mut found = context.store.events.search(&sought, None, EVENTS_MAX).await?;
    if found.rows.is_empty()
        && let Ok(number) = args.what.trim().parse()
        && let Some(execution) = context.store.reports.execution(ExecutionId(number)).await?
        && let Some(sought) = SearchText::read(&execution.event_id, &[])
    {
        found = context.store.events.search(&sought, None, EVENTS_MAX).await?;
    }
    let is_more = found.next.is_some();
    let mut stories = Vec::new();
    // They are found newest first, and shown in the order in which they arrived.
    for event in found.rows.into_iter().rev() {
        stories.push(story_of(&context, event).await?);
    }
    if output::prints_json(args.json) {
        println!("{}", serde_json::to_string(&stories)?);
    } else {
        let columns = paragraph::columns();
        for story in &stories {
            print(story, columns);
        }
    }
    if is_more {
        eprintln!(
            "eventbridge: only the newest {EVENTS_MAX} events are shown; the dashboard's search and /api/v1/search \
             show all"
        );
    }
    if stories.is_empty() {
        eprintln!("eventbridge: nothing was found for {}", plain(&args.what));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

async fn story_of(context: &CommandContext, found: FoundEvent) -> anyhow::Result<Story> {
    let event = &found.event;
    let chapters = context.store.reports.chapters(std::slice::from_ref(event), &context.instances).await?;
    let now = context.store.reports.now().await?;
    let lines = story::lines(&chapters, &context.destinations, now);
    let entry = |line: Line| TimelineEntry { at: line.at.time(), what: line.to_string() };
    let mut timeline: Vec<_> = lines.into_iter().map(entry).collect();
    timeline.extend(turns(context, &chapters, now).await?);
    Ok(Story {
        event_key: event.id,
        event_id: event.event_id.clone(),
        event_type: event.event_type.clone(),
        about: about(&found),
        timeline,
    })
}

/// When the turn comes of the executions that only wait for a worker.
async fn turns(
    context: &CommandContext,
    chapters: &[EventStory],
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<TimelineEntry>> {
    let is_waiting =
        |execution: &&story::Execution| matches!(execution.waiting, Some(Waiting::Worker { .. }));
    let waiting: Vec<_> =
        chapters.iter().flat_map(|chapter| &chapter.executions).filter(is_waiting).collect();
    if waiting.is_empty() {
        return Ok(Vec::new());
    }
    let minutes = context.store.statistics.statistics(Per::Minute, now - OF_LATE, now).await?;
    let throughput = throughput(&minutes);
    let mut turns = Vec::new();
    for execution in waiting {
        // Beside an old snapshot the count may not end in time. The story is worth more than its last line.
        let Ok(Some(Place { ahead, is_more })) = context.store.reports.place(execution.id).await else {
            continue;
        };
        let destination = &execution.destination;
        let by_rate = seconds_for(&context.destinations, &BTreeMap::from([(destination.clone(), ahead)]));
        let measured = throughput.get(destination).copied();
        let time = clears_in(ahead, by_rate, measured, TimeDelta::zero()).map(humanize_age);
        let others = capitalised(&count(ahead, is_more));
        let what = match (ahead, time) {
            (0, _) => continue,
            (1, _) => "1 other goes first".to_owned(),
            (_, Some(time)) => {
                let at_least = if is_more { "more than" } else { "about" };
                format!("{others} others go first: its turn comes in {at_least} {time}")
            }
            (_, None) => format!("{others} others go first"),
        };
        turns.push(TimelineEntry {
            at: now,
            what: format!("execution {} to {destination}: {what}", execution.id),
        });
    }
    Ok(turns)
}

fn about(found: &FoundEvent) -> Option<String> {
    let amount = found.amount.map(|amount| amount.to_string());
    let words = [
        amount,
        found.invoice_number.clone(),
        found.customer_email.clone().or_else(|| found.customer.clone()),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join(" · "))
}

fn print(story: &Story, columns: Option<usize>) {
    let about = story.about.as_ref().map(|about| format!("  {about}")).unwrap_or_default();
    let head = plain(&format!("{} {}{about}", story.event_id, story.event_type));
    println!("{}", wrapped(&head, 0, columns));
    for entry in &story.timeline {
        let at = entry.at.to_rfc3339_opts(SecondsFormat::Millis, true);
        println!("  {at}  {}", wrapped(&plain(&entry.what), 4 + at.len(), columns));
    }
    println!();
}
