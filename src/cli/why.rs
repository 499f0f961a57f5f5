//! `eventbridge why`: all that happened to an event or an object, in the order in which it happened.

use super::operator::{self, Operator, roughly};
use super::paragraph::{self, wrapped};
use super::prompt::plain;
use crate::domain::event::EventKey;
use crate::domain::execution::ExecutionId;
use crate::domain::search::Sought;
use crate::store::{
    AttemptRow, ExecutionFilter, ExecutionRow, FoundEvent, LIMIT_MAX, ListError, Store, StoreError,
};
use anyhow::Context;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;

/// The most events that are told of.
const EVENTS_MAX: u32 = 10;

#[derive(Debug, clap::Args)]
pub(super) struct WhyArgs {
    /// An event's id, an object's or customer's, an e-mail address, an invoice's number, a Notion
    /// page's link, or the number of an execution
    #[arg(value_name = "ANYTHING")]
    what: String,
    /// Prints JSON, as is done wherever the output is no terminal
    #[arg(long)]
    json: bool,
}

/// An event and what happened to it.
#[derive(Debug, Serialize)]
struct Story {
    event: i64,
    event_id: String,
    #[serde(rename = "type")]
    event_type: String,
    about: Option<String>,
    timeline: Vec<Moment>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Moment {
    at: DateTime<Utc>,
    what: String,
}

pub(super) async fn run(args: WhyArgs) -> anyhow::Result<ExitCode> {
    let operator = Operator::open_migrated().await?;
    let sought = Sought::read(&args.what).context("say what to look for")?;
    let mut found = operator.store.search(&sought, None, EVENTS_MAX).await?;
    if found.rows.is_empty()
        && let Ok(number) = args.what.trim().parse()
        && let Some(execution) = operator.store.execution(ExecutionId(number)).await?
        && let Some(sought) = Sought::read(&execution.event_id)
    {
        found = operator.store.search(&sought, None, EVENTS_MAX).await?;
    }
    let is_more = found.next.is_some();
    let mut stories = Vec::new();
    for event in found.rows {
        stories.push(tell(&operator, event).await?);
    }
    if operator::prints_json(args.json) {
        println!("{}", serde_json::to_string(&stories)?);
    } else {
        let columns = paragraph::columns();
        for story in &stories {
            print(story, columns);
        }
    }
    if is_more {
        eprintln!(
            "eventbridge: there are more events than the newest {EVENTS_MAX} told here; the dashboard's search and \
             /api/v1/search tell of all"
        );
    }
    if stories.is_empty() {
        eprintln!("eventbridge: nothing is known of {}", plain(&args.what));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

async fn tell(operator: &Operator, found: FoundEvent) -> anyhow::Result<Story> {
    let event = &found.event;
    let mut timeline = Vec::new();
    if let Some(at) = event.created {
        timeline.push(Moment { at, what: format!("created at {}", event.source) });
    }
    let what =
        format!("received, signed with the secret {}, and stored as event {}", event.secret_name, event.id);
    timeline.push(Moment { at: event.received_at, what });
    let executions = executions(&operator.store, EventKey(event.id)).await?;
    for execution in executions {
        timeline.extend(moments(&operator.store, &execution, &operator.instances).await?);
    }
    // What happened at one time stays in the order in which it was told.
    timeline.sort_by_key(|moment| moment.at);
    Ok(Story {
        event: event.id,
        event_id: event.event_id.clone(),
        event_type: event.event_type.clone(),
        about: about(&found),
        timeline,
    })
}

async fn executions(store: &Store, event: EventKey) -> Result<Vec<ExecutionRow>, StoreError> {
    let filter = ExecutionFilter { event: Some(event), ..ExecutionFilter::default() };
    match store.executions(&filter, None, LIMIT_MAX).await {
        Ok(page) => Ok(page.rows),
        Err(ListError::Store(error)) => Err(error),
        Err(wanted @ ListError::WindowWanted { .. }) => Err(StoreError::Unexpected(wanted.to_string())),
    }
}

async fn moments(
    store: &Store,
    execution: &ExecutionRow,
    instances: &[String],
) -> Result<Vec<Moment>, StoreError> {
    let name = format!("execution {} to {}", execution.id, execution.destination);
    let mut moments = vec![Moment { at: execution.created_at, what: format!("{name}: queued") }];
    let mut attempts = store.attempts(ExecutionId(execution.id)).await?;
    attempts.reverse();
    let mut free_since = execution.created_at;
    for (place, attempt) in attempts.iter().enumerate() {
        let waited = waited(attempt.started_at - free_since);
        moments.push(Moment {
            at: attempt.started_at,
            what: format!("{name}: try {}{waited}: {}", place + 1, told(attempt)),
        });
        free_since = attempt.started_at + TimeDelta::milliseconds(attempt.duration_ms.into());
    }
    let by_hand = store.audited(Some(&format!("execution {}", execution.id)), None, LIMIT_MAX).await?;
    for line in by_hand.rows {
        let alone = line.subject.starts_with("execution ");
        let with_others = if alone { "" } else { ", with others" };
        let what = format!("{name}: {} by {}{with_others}", line.action, line.who);
        moments.push(Moment { at: line.at, what });
    }
    let reason = execution.why(instances).map(|why| format!(": {why}")).unwrap_or_default();
    let page = execution.remote_url.as_ref().map(|url| format!(", the page is {url}")).unwrap_or_default();
    let now = format!("{name}: {}{reason}{page}", execution.status);
    match execution.finished_at {
        Some(at) => moments.push(Moment { at, what: now }),
        None => moments.push(Moment { at: store.now().await?, what: format!("{now} (now)") }),
    }
    Ok(moments)
}

/// How long it waited before a try, where that was longer than a worker needs to take it on.
fn waited(wait: TimeDelta) -> String {
    let wait = wait.to_std().unwrap_or_default();
    if wait < Duration::from_secs(1) {
        String::new()
    } else {
        format!(", after {} of waiting", roughly(wait))
    }
}

/// How a try ended.
fn told(attempt: &AttemptRow) -> String {
    let code = attempt.response_code.map(|code| format!(" {code}")).unwrap_or_default();
    let class = attempt.error_class.as_ref().map(|class| format!(" ({class})")).unwrap_or_default();
    let message = attempt.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    let request = attempt.request_id.as_ref().map(|id| format!(" [request {id}]")).unwrap_or_default();
    format!("{}{code}{class} after {} ms{message}{request}", attempt.outcome, attempt.duration_ms)
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
    println!("{}", plain(&format!("{} {}{about}", story.event_id, story.event_type)));
    for moment in &story.timeline {
        let at = moment.at.to_rfc3339_opts(SecondsFormat::Millis, true);
        println!("  {at}  {}", wrapped(&plain(&moment.what), 4 + at.len(), columns));
    }
    println!();
}
