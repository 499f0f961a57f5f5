//! The command line: one file for each subcommand.

mod acknowledge;
mod cancel;
mod delivery_context;
#[cfg(feature = "dev")]
mod development;
mod doctor;
mod env_file;
mod environment;
mod forget;
mod health;
mod hold;
mod local;
mod migrate;
mod notion;
mod openapi;
mod operator;
mod paragraph;
mod pipe;
mod progress;
mod prompt;
mod prune;
mod replay;
mod resume;
mod retry;
mod secret_files;
mod serve;
mod setup;
mod signals;
mod status;
mod table;
mod waiting;
mod why;

use clap::{Parser, Subcommand};
use std::future::Future;
use std::process::ExitCode;

/// Receives Stripe webhooks, commits them to Postgres and delivers each one to Notion.
#[derive(Debug, Parser)]
#[command(name = "eventbridge", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "dev")]
    #[command(flatten)]
    Development(development::Command),
    /// Runs the service in production
    Serve(serve::ServeArgs),
    /// Brings the database's schema up to date
    Migrate,
    /// Asks the service on this machine whether it is ready: exits 0 when it is
    #[command(alias = "ready")]
    Health(health::HealthArgs),
    /// Checks settings, database, secrets, Notion and its columns, and says what to do
    ///
    /// Exits 0 when all is well, 1 when there are warnings, 2 when something does not work.
    Doctor(doctor::DoctorArgs),
    /// Says in one sentence whether events arrive and get through, and how each destination stands
    ///
    /// Exits 0 when all is well, 1 for a warning, 2 when it is critical, 3 when nothing can be told.
    Status(status::StatusArgs),
    /// Tells all that happened to an event or an object, in the order in which it happened
    Why(why::WhyArgs),
    /// Has executions tried again, by their numbers or by what they have in common
    Retry(retry::RetryArgs),
    /// Delivers events again, also to destinations that want them only now
    Replay(replay::ReplayArgs),
    /// Has executions that wait not delivered, by their numbers
    Cancel(cancel::CancelArgs),
    /// Says that somebody knows of a group of failures, so that it is told no more, or takes that back
    Acknowledge(acknowledge::AcknowledgeArgs),
    /// Has nothing delivered to a destination until it is resumed; what comes in waits
    Hold(hold::HoldArgs),
    /// Lets a destination go on, whatever it is held for
    Resume(resume::ResumeArgs),
    /// Sets up Notion
    Notion(notion::NotionArgs),
    /// Removes what is older than the settings keep, or than a date
    Prune(prune::PruneArgs),
    /// Removes a person's data: the payloads that name them, and what was quoted from these
    Forget(forget::ForgetArgs),
    /// Prints the description of the API
    Openapi,
}

/// Runs the command that was asked for.
pub fn main() -> ExitCode {
    pipe::end_when_it_closes();
    let done = match Cli::parse().command {
        #[cfg(feature = "dev")]
        Command::Development(command) => command.run(),
        Command::Serve(args) => run(serve::run(args)),
        Command::Migrate => run(migrate::run()),
        Command::Health(args) => run(health::run(args)),
        Command::Doctor(args) => run(doctor::run(args)),
        Command::Status(args) => run(async { Ok(status::run(args).await) }),
        Command::Why(args) => run(why::run(args)),
        Command::Retry(args) => run(retry::run(args)),
        Command::Replay(args) => run(replay::run(args)),
        Command::Cancel(args) => run(cancel::run(args)),
        Command::Acknowledge(args) => run(acknowledge::run(args)),
        Command::Hold(args) => run(hold::run(args)),
        Command::Resume(args) => run(resume::run(args)),
        Command::Notion(args) => run(notion::run(args)),
        Command::Prune(args) => run(prune::run(args)),
        Command::Forget(args) => run(forget::run(args)),
        Command::Openapi => openapi::run(),
    };
    done.unwrap_or_else(|error| {
        eprintln!("eventbridge: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}
