//! `eventbridge status`: whether events arrive and get through, in one sentence and a table.
//!
//! It speaks to the database directly, so it also works while the service is down. Its exit codes are
//! those of monitoring plugins.

use super::command_context::CommandContext;
use super::prompt::plain;
use super::{environment, output, paragraph, signals, table};
use crate::alerts;
use crate::config::Reader;
use crate::domain::humanize::humanize_age;
use crate::domain::verdict::{self, Standing, Verdict};
use crate::store::{StoreError, Watched};
use chrono::TimeDelta;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// The time between two looks of `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// The exit code of monitoring plugins where nothing can be told.
const UNKNOWN: u8 = 3;

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// Looks again every two seconds, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Prints JSON, as is done wherever the output is no terminal
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
        // Clears the screen of a terminal before each look.
        let before = if output::prints_json(args.json) { "" } else { "\u{1b}[2J\u{1b}[H" };
        let code = show(&context, args.json, before).await;
        if stop.run_until_cancelled(tokio::time::sleep(WATCH_EVERY)).await.is_none() {
            return code;
        }
    }
}

/// What was found, or why nothing was.
enum Found {
    Standing(Box<Standing>, Verdict),
    NoDatabase(String),
    Nothing(String),
}

async fn show(context: &CommandContext, json: bool, before: &str) -> ExitCode {
    let found = match look(context).await {
        Ok(standing) => {
            let verdict = verdict::of(&standing);
            Found::Standing(Box::new(standing), verdict)
        }
        Err(StoreError::Unavailable(error)) => Found::NoDatabase(error.to_string()),
        // Nor does the service get an answer from it in time.
        Err(error @ StoreError::TimedOut) => Found::NoDatabase(error.to_string()),
        Err(error) => Found::Nothing(error.to_string()),
    };
    if output::prints_json(json) {
        println!("{}", found.as_json());
    } else {
        println!("{before}{}.", found.headline());
        let columns = paragraph::columns();
        for sentence in found.sentences() {
            println!("{}", paragraph::wrapped(&plain(&sentence), 0, columns));
        }
        if let Found::Standing(standing, _) = &found
            && !standing.destinations.is_empty()
        {
            print!("\n{}", destinations(standing));
        }
    }
    ExitCode::from(found.exit_code())
}

async fn look(context: &CommandContext) -> Result<Standing, StoreError> {
    // Nobody else reads over a command's connections, and a look at a large backlog may take its time.
    let store = context.store.unhurried();
    if !store.db.is_migrated().await? {
        return Err(StoreError::Unexpected(
            "its schema is older than this program: run eventbridge migrate".into(),
        ));
    }
    let watched = Watched {
        instances: &context.instances,
        destinations: &context.destinations,
        sources: &context.sources,
        silence_factor: silence_factor(),
    };
    Ok(store.standing(watched).await?.0)
}

/// From how many times the usual gap alerts call silence strange, where the settings can be read.
fn silence_factor() -> u32 {
    let vars = environment::vars().unwrap_or_default();
    alerts::settings(&mut Reader::new(&vars)).thresholds.silence_factor
}

impl Found {
    fn headline(&self) -> &str {
        match self {
            Self::Standing(_, verdict) => &verdict.headline,
            Self::NoDatabase(_) => "The database cannot be reached, so no event is taken in",
            Self::Nothing(_) => "Nothing can be told",
        }
    }

    fn sentences(&self) -> Vec<String> {
        match self {
            Self::Standing(standing, verdict) => verdict.in_utc(standing.now),
            Self::NoDatabase(error) | Self::Nothing(error) => vec![format!("{error}.")],
        }
    }

    fn level(&self) -> &'static str {
        match self {
            Self::Standing(_, verdict) => verdict.level.as_str(),
            Self::NoDatabase(_) => "critical",
            Self::Nothing(_) => "unknown",
        }
    }

    /// As monitoring plugins exit.
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
        let standing = match self {
            Self::Standing(standing, _) => Some(standing),
            Self::NoDatabase(_) | Self::Nothing(_) => None,
        };
        let arrivals = standing.map(|standing| standing.arrivals).unwrap_or_default();
        json!({
            "verdict": self.level(),
            "headline": self.headline(),
            "sentences": self.sentences(),
            "seconds_since_last_event": standing
                .and_then(|standing| standing.arrivals.last_at.map(|at| seconds(standing.now - at))),
            "usual_gap_seconds": arrivals.usual_gap.map(|gap| gap.as_secs_f64()),
            "rejected_in_a_row": standing
                .map(|standing| standing.rejected.as_ref().map_or(0, |rejected| rejected.count)),
            "failures_are_more": standing.map(|standing| standing.unknown_failures > standing.failing.len()),
            "failures": standing.map(|standing| standing.failing.iter().map(|group| json!({
                "group": group.key,
                "destination": group.destination,
                "error_class": group.error_class,
                "count": group.count,
                "sample_execution": group.sample,
            })).collect::<Vec<_>>()),
            "unacknowledged_failures": standing.map(|standing| standing.unknown_failures),
            "is_worked": standing.map(|standing| standing.is_worked),
            "destinations": standing.map(|standing| standing.destinations.iter().map(|of| json!({
                "name": of.name,
                "held_seconds": of.held.as_ref().map(|(since, _)| seconds(standing.now - *since)),
                "remedy": of.held.as_ref().map(|(_, remedy)| remedy),
                "pending": of.pending,
                "oldest_pending_seconds": of.oldest.map(seconds),
                "oldest_pending_execution": of.oldest_execution,
                "seconds_to_drain": of.clears_in.map(seconds),
            })).collect::<Vec<_>>()),
        })
    }
}

fn destinations(standing: &Standing) -> String {
    let or_dash = |span: Option<TimeDelta>| span.map_or_else(|| "–".to_owned(), humanize_age);
    let rows: Vec<Vec<String>> = standing
        .destinations
        .iter()
        .map(|of| {
            let state = of.held.as_ref().map_or_else(
                || "works".to_owned(),
                |(since, _)| format!("held for {}", humanize_age(standing.now - *since)),
            );
            let more = if of.is_more { "more than " } else { "" };
            vec![
                of.name.clone(),
                state,
                format!("{more}{}", of.pending),
                or_dash(of.oldest),
                or_dash(of.clears_in),
            ]
        })
        .collect();
    table::render(&["destination", "state", "waiting", "oldest", "clears in"], &rows)
}
