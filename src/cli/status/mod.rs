//! `eventbridge status`: whether events arrive and get through, in one sentence and a table.
//!
//! It speaks to the database directly, so it also works while the service is down. Its exit codes are
//! those of monitoring plugins.

mod verdict;

use super::operator::{self, Operator, roughly};
use super::prompt::plain;
use super::{paragraph, signals, table};
use crate::domain::rejection::rejected_in_a_row;
use crate::store::{FailureFilter, StoreError};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;
use verdict::{Arrivals, Destination, Level, State, Verdict};

/// The time between two looks of `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// So many of the newest events tell how often one comes.
const ARRIVALS: u32 = 500;

/// So many groups of failures that nobody knows of are told.
const NEWS_MAX: u32 = 3;

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
    let operator = match Operator::open() {
        Ok(operator) => operator,
        Err(error) => {
            eprintln!("eventbridge: {error:#}");
            return Level::Unknown.exit_code();
        }
    };
    if !args.watch {
        return show(&operator, args.json, "").await;
    }
    let stop = match signals::stop_requested() {
        Ok(stop) => stop,
        Err(error) => {
            eprintln!("eventbridge: {error}");
            return Level::Unknown.exit_code();
        }
    };
    loop {
        // Clears the screen of a terminal before each look.
        let before = if operator::prints_json(args.json) { "" } else { "\u{1b}[2J\u{1b}[H" };
        let code = show(&operator, args.json, before).await;
        if stop.run_until_cancelled(tokio::time::sleep(WATCH_EVERY)).await.is_none() {
            return code;
        }
    }
}

async fn show(operator: &Operator, json: bool, before: &str) -> ExitCode {
    let (state, verdict) = match look(operator).await {
        Ok(state) => {
            let verdict = verdict::of(&state);
            (Some(state), verdict)
        }
        Err(StoreError::Unavailable(error)) => (None, Verdict::no_database(&error.to_string())),
        Err(error) => (None, Verdict::unknown(&error.to_string())),
    };
    if operator::prints_json(json) {
        println!("{}", as_json(state.as_ref(), &verdict));
    } else {
        print!("{before}");
        let columns = paragraph::columns();
        for sentence in &verdict.sentences {
            println!("{}", paragraph::wrapped(&plain(sentence), 0, columns));
        }
        if let Some(state) = state.filter(|state| !state.destinations.is_empty()) {
            print!("\n{}", destinations(&state));
        }
    }
    verdict.level.exit_code()
}

async fn look(operator: &Operator) -> Result<State, StoreError> {
    let store = &operator.store;
    if !store.is_migrated().await? {
        return Err(StoreError::Unexpected(
            "its schema is older than this program: run eventbridge migrate".into(),
        ));
    }
    let now = store.now().await?;
    let held = store.held(&operator.instances).await?;
    let backlog = store.backlog(&operator.instances).await?;
    let news = FailureFilter { acknowledged: Some(false), ..FailureFilter::default() };
    let failing = store.failures(&news, None, NEWS_MAX).await?;
    let destinations = backlog.into_iter().map(|of| Destination {
        held: held
            .iter()
            .find(|held| held.name == of.destination)
            .map(|held| ((now - held.since).to_std().unwrap_or_default(), held.hold.remedy.clone())),
        name: of.destination,
        pending: of.pending,
        is_more: of.is_more,
        oldest: of.oldest,
        oldest_execution: of.oldest_execution,
    });
    Ok(State {
        arrivals: Arrivals::of(&store.newest_arrivals(ARRIVALS).await?, now),
        destinations: destinations.collect(),
        fails_elsewhere: failing.next.is_some(),
        failing: failing.rows,
        rejected: rejected_in_a_row(
            &store.rejections().await?,
            store.last_accepted_at().await?,
            &operator.secrets,
            now,
        ),
    })
}

fn destinations(state: &State) -> String {
    let rows: Vec<Vec<String>> = state
        .destinations
        .iter()
        .map(|of| {
            let standing = of
                .held
                .as_ref()
                .map_or("works".to_owned(), |(since, _)| format!("held for {}", roughly(*since)));
            let more = if of.is_more { "more than " } else { "" };
            let oldest = of.oldest.map_or_else(|| "–".to_owned(), roughly);
            vec![of.name.clone(), standing, format!("{more}{}", of.pending), oldest]
        })
        .collect();
    table::render(&["destination", "state", "waiting", "oldest"], &rows)
}

fn as_json(state: Option<&State>, verdict: &Verdict) -> Value {
    let seconds = |duration: Duration| duration.as_secs();
    json!({
        "verdict": verdict.level.as_str(),
        "sentences": verdict.sentences,
        "seconds_since_last_event": state.and_then(|state| state.arrivals.since_last).map(seconds),
        "usual_gap_seconds": state.and_then(|state| state.arrivals.usual).map(|gap| gap.as_secs_f64()),
        "rejected_in_a_row": state.map(|state| state.rejected.as_ref().map_or(0, |rejected| rejected.count)),
        "failures_are_more": state.map(|state| state.fails_elsewhere),
        "failures": state.map(|state| state.failing.iter().map(|group| json!({
            "group": group.key,
            "destination": group.destination,
            "error_class": group.error_class,
            "count": group.count,
            "sample_execution": group.sample,
        })).collect::<Vec<_>>()),
        "destinations": state.map(|state| state.destinations.iter().map(|of| json!({
            "name": of.name,
            "held_seconds": of.held.as_ref().map(|(since, _)| since.as_secs()),
            "remedy": of.held.as_ref().map(|(_, remedy)| remedy),
            "pending": of.pending,
            "oldest_pending_seconds": of.oldest.map(seconds),
            "oldest_pending_execution": of.oldest_execution,
        })).collect::<Vec<_>>()),
    })
}
