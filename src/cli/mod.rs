//! The command line: one file for each subcommand.

mod acknowledge;
mod browser_trigger;
mod cancel;
mod delivery_context;
mod demo;
mod dev;
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
mod sender;
mod serve;
mod setup;
mod signals;
mod stack;
mod status;
mod stripe_cli;
mod table;
mod trigger;
mod waiting;
mod why;

use crate::devserver::postgres::guardian;
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
    /// Runs everything on this machine: a private Postgres, the service, and a stand-in for Notion
    Dev,
    /// Sends sample events all the way to pages in the Notion sandbox, and checks and shows them
    Demo,
    /// Sends signed sample events to a running service
    Trigger(trigger::TriggerArgs),
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
    /// Guards a private Postgres server; started by other commands
    #[command(hide = true)]
    PostgresGuardian(guardian::GuardianArgs),
}

/// Runs the command that was asked for.
pub fn main() -> ExitCode {
    pipe::end_when_it_closes();
    let done = match Cli::parse().command {
        Command::Dev => environment::without_libpq().and_then(|()| run(dev::run())),
        Command::Demo => environment::without_libpq().and_then(|()| run(demo::run())),
        Command::Trigger(args) => run(trigger::run(args)),
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
        Command::PostgresGuardian(args) => return guardian::run(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("eventbridge: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}
