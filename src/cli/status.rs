//! `eventbridge status`: the health assessment in sentences, and a table of the destinations.
//!
//! It connects to the database directly, so it also works while the service is down. Its exit codes are
//! those of monitoring plugins.

use super::command_context::CommandContext;
use super::prompt::plain;
use super::{command_context, output, paragraph, signals, table};
use crate::config::Reader;
use crate::domain::humanize::humanize_age;
use crate::health::{
    self, Assessment, Destination, Finding, HealthStore, Scope, Snapshot, Thresholds, Urgency, assess,
    database_unavailable,
};
use crate::store::{OldestPending, StoreError};
use chrono::TimeDelta;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The time between two assessments of `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// The exit code of monitoring plugins if the state is unknown.
const UNKNOWN: u8 = 3;

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// Refreshes every two seconds, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Prints JSON, which is the default if the output is not a terminal
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: StatusArgs) -> ExitCode {
    let context = match CommandContext::open() {
        Ok(context) => context,
        Err(error) => {
            eprintln!("eventbridge: {error:#}");
            return ExitCode::from(UNKNOWN);
        }
    };
    if !args.watch {
        return show(&context, args.json, "").await;
    }
    let stop = match signals::stop_requested() {
        Ok(stop) => stop,
        Err(error) => {
            eprintln!("eventbridge: {error}");
            return ExitCode::from(UNKNOWN);
        }
    };
    loop {
        // Clears the screen of a terminal before each refresh.
        let before = if output::prints_json(args.json) { "" } else { "\u{1b}[2J\u{1b}[H" };
        let code = show(&context, args.json, before).await;
        if stop.run_until_cancelled(tokio::time::sleep(WATCH_EVERY)).await.is_none() {
            return code;
        }
    }
}

/// The state of the service, or why it is unknown.
enum Found {
    Assessed(Box<Snapshot>, Assessment),
    NoDatabase(Box<Finding>, String),
    Unknown(String),
}

async fn show(context: &CommandContext, json: bool, before: &str) -> ExitCode {
    let found = match load(context).await {
        Ok(snapshot) => {
            let assessment = assess(&snapshot, &thresholds());
            Found::Assessed(Box::new(snapshot), assessment)
        }
        Err(NotRead::Unusable(cause)) => Found::without_database(cause),
        // The service itself gets no answer in time either.
        Err(NotRead::Failed(
            error @ (StoreError::Unavailable(_) | StoreError::TimedOut | StoreError::TookTooLong),
        )) => Found::without_database(error.to_string()),
        Err(NotRead::Failed(error)) => Found::Unknown(error.to_string()),
    };
    if output::prints_json(json) {
        println!("{}", found.as_json());
    } else {
        std::print!("{before}");
        println!("{}.", found.headline());
        let columns = paragraph::columns();
        for sentence in found.sentences() {
            println!("{}", paragraph::wrapped(&plain(&sentence), 0, columns));
        }
        if let Some(line) = found.urgency() {
            println!("{}", paragraph::wrapped(&plain(&line), 0, columns));
        }
        if let Found::Assessed(snapshot, _) = &found
            && !snapshot.destinations.is_empty()
        {
            print!("\n{}", destinations(snapshot));
        }
    }
    ExitCode::from(found.exit_code())
}

/// Why the snapshot could not be read.
enum NotRead {
    /// The database cannot be used: the cause and the remedy.
    Unusable(String),
    Failed(StoreError),
}

impl From<StoreError> for NotRead {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

async fn load(context: &CommandContext) -> Result<Snapshot, NotRead> {
    context.store.db.reach().await.map_err(|error| NotRead::Unusable(command_context::unusable(&error)))?;
    // Nothing else uses a command's connections, and counting a large backlog may take long.
    let store = context.store.unhurried();
    if !store.db.is_migrated().await? {
        return Err(StoreError::Unexpected(
            "its schema is older than this program: run eventbridge migrate".into(),
        )
        .into());
    }
    let scope = Scope {
        instances: context.instances.as_slice().into(),
        destinations: context.destinations.as_slice().into(),
        sources: Arc::new(context.sources.clone()),
    };
    Ok(Snapshot::load(&HealthStore::from(&store), &scope).await?)
}

/// The thresholds of the service; if a setting is wrong, its default.
fn thresholds() -> Thresholds {
    let vars = command_context::settings().unwrap_or_default();
    health::thresholds(&mut Reader::new(&vars))
}

impl Found {
    fn without_database(error: String) -> Self {
        Self::NoDatabase(Box::new(database_unavailable(None)), error)
    }

    fn headline(&self) -> &str {
        match self {
            Self::Assessed(_, assessment) => &assessment.headline,
            Self::NoDatabase(finding, _) => &finding.headline,
            Self::Unknown(_) => "The state of the service is unknown",
        }
    }

    fn findings(&self) -> &[Finding] {
        match self {
            Self::Assessed(_, assessment) => &assessment.findings,
            Self::NoDatabase(finding, _) => std::slice::from_ref(finding),
            Self::Unknown(_) => &[],
        }
    }

    fn sentences(&self) -> Vec<String> {
        match self {
            Self::Assessed(snapshot, assessment) => assessment.in_utc(snapshot.now),
            Self::NoDatabase(_, error) | Self::Unknown(error) => vec![format!("{error}.")],
        }
    }

    /// Whether the findings can wait for the morning, as their alerts would; `None` without findings.
    fn urgency(&self) -> Option<String> {
        let of = |urgency: Urgency| {
            let headlines: Vec<_> = self
                .findings()
                .iter()
                .filter(|finding| finding.matter.urgency() == urgency)
                .map(|finding| finding.headline.as_str())
                .collect();
            (!headlines.is_empty()).then(|| format!("{} ({})", urgency.as_str(), headlines.join("; ")))
        };
        let levels: Vec<_> = [Urgency::Wake, Urgency::Morning].into_iter().filter_map(of).collect();
        (!levels.is_empty()).then(|| format!("Urgency: {}.", levels.join(", ")))
    }

    fn level(&self) -> &'static str {
        match self {
            Self::Assessed(_, assessment) => assessment.level.as_str(),
            Self::NoDatabase(finding, _) => finding.level.as_str(),
            Self::Unknown(_) => "unknown",
        }
    }

    /// The exit code of monitoring plugins.
    fn exit_code(&self) -> u8 {
        match self.level() {
            "ok" => 0,
            "warning" => 1,
            "critical" => 2,
            _ => UNKNOWN,
        }
    }

    fn as_json(&self) -> Value {
        let seconds = |span: TimeDelta| span.num_seconds().max(0);
        let snapshot = match self {
            Self::Assessed(snapshot, _) => Some(snapshot),
            Self::NoDatabase(..) | Self::Unknown(_) => None,
        };
        let open = snapshot.and_then(|snapshot| snapshot.open_failures());
        json!({
            "level": self.level(),
            "headline": self.headline(),
            "sentences": self.sentences(),
            "findings": self.findings().iter().map(|finding| json!({
                "about": finding.matter.as_str(),
                "level": finding.level.as_str(),
                "urgency": finding.matter.urgency().as_str(),
                "key": finding.key,
                "headline": finding.headline,
                "remedy": finding.remedy,
                "since": finding.since,
            })).collect::<Vec<_>>(),
            "seconds_since_last_event": snapshot
                .and_then(|snapshot| snapshot.arrivals.last_at.map(|at| seconds(snapshot.now - at))),
            "usual_gap_seconds": snapshot
                .and_then(|snapshot| snapshot.arrivals.usual_gap())
                .map(|gap| gap.as_secs_f64()),
            "rejected_in_a_row": snapshot
                .map(|snapshot| snapshot.rejected.as_ref().map_or(0, |rejected| rejected.count)),
            "has_more_failures": open.map(|open| open.count > open.groups.len()),
            "failures": open.map(|open| open.groups.iter().map(|group| json!({
                "id": group.key,
                "destination": group.destination,
                "error_class": group.error_class,
                "count": group.count,
                "sample_execution_id": group.sample,
            })).collect::<Vec<_>>()),
            "unacknowledged_failures": open.map(|open| open.count),
            "has_worker": snapshot.and_then(|snapshot| snapshot.has_worker),
            "destinations": snapshot.map(|snapshot| snapshot.destinations.iter().map(|of| json!({
                "name": of.name,
                "paused_seconds": of.paused.as_ref().map(|pause| seconds(snapshot.now - pause.since)),
                "remedy": of.paused.as_ref().map(|pause| &pause.remedy),
                "paused_by": of.paused.as_ref().and_then(|pause| pause.by.as_ref()).map(|(by, _)| by),
                "pause_note": of.paused.as_ref().and_then(|pause| pause.by.as_ref()).map(|(_, note)| note),
                "backing_off_until": of.backing_off.as_ref().map(|rest| rest.until),
                "backing_off_after": of.backing_off.as_ref().map(|rest| &rest.after),
                "pending": of.backlog.map(|backlog| backlog.pending),
                "waiting_for_retry": of.backlog.map(|backlog| backlog.later),
                "next_retry_at": of.backlog.and_then(|backlog| backlog.next_at),
                "oldest_pending_seconds": oldest(of).map(|oldest| oldest.waited.as_secs()),
                "oldest_pending_execution_id": oldest(of).map(|oldest| oldest.execution),
                "clears_in_seconds": of.backlog.and_then(|backlog| backlog.clears_in).map(seconds),
            })).collect::<Vec<_>>()),
        })
    }
}

fn oldest(of: &Destination) -> Option<OldestPending> {
    of.backlog.and_then(|backlog| backlog.oldest)
}

/// When the backlog is gone, or when something is tried next.
fn clears(of: &Destination) -> Option<String> {
    let backlog = of.backlog?;
    let once = if of.paused.is_some() { " once resumed" } else { "" };
    let due = backlog.clears_in_words().map(|time| format!("in {time}{once}"));
    let next = backlog.next_at.map(|next| format!("next retry at {}", next.format("%H:%M:%S UTC")));
    due.or(next)
}

fn destinations(snapshot: &Snapshot) -> String {
    let dash = || "–".to_owned();
    let or_dash = |time: Option<TimeDelta>| time.map_or_else(dash, humanize_age);
    let rows: Vec<Vec<String>> = snapshot
        .destinations
        .iter()
        .map(|of| {
            let state = match (&of.paused, &of.backing_off) {
                (Some(pause), _) => format!("paused for {}", humanize_age(snapshot.now - pause.since)),
                (None, Some(rest)) if rest.until > snapshot.now => {
                    format!("backing off until {} UTC", rest.until.format("%H:%M:%S"))
                }
                (None, Some(_)) => "tried again now".to_owned(),
                (None, None) => "works".to_owned(),
            };
            vec![
                of.name.clone(),
                state,
                of.backlog.map_or_else(dash, |backlog| {
                    let more = if backlog.is_more { "more than " } else { "" };
                    format!("{more}{}", backlog.pending)
                }),
                or_dash(oldest(of).and_then(|oldest| TimeDelta::from_std(oldest.waited).ok())),
                clears(of).unwrap_or_else(dash),
            ]
        })
        .collect();
    table::render(&["destination", "state", "waiting", "oldest", "clears"], &rows)
}
