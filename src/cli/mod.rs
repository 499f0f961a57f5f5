//! The command line: one file for each subcommand.

/// As the macros of `std`, for texts of which a part comes from elsewhere: no character of them controls the
/// terminal or hides another. In JSON they are escapes.
macro_rules! println {
    () => { ::std::println!() };
    ($($text:tt)*) => { ::std::println!("{}", $crate::domain::visible::visible(&::std::format!($($text)*))) };
}
macro_rules! print {
    ($($text:tt)*) => { ::std::print!("{}", $crate::domain::visible::visible(&::std::format!($($text)*))) };
}
macro_rules! eprintln {
    ($($text:tt)*) => { ::std::eprintln!("{}", $crate::domain::visible::visible(&::std::format!($($text)*))) };
}
macro_rules! eprint {
    ($($text:tt)*) => { ::std::eprint!("{}", $crate::domain::visible::visible(&::std::format!($($text)*))) };
}

mod acknowledge;
mod broken_pipe;
mod bulk_filter;
mod cancel;
mod command_context;
mod delivery_context;
#[cfg(feature = "dev")]
mod development;
mod doctor;
mod env_file;
mod environment;
mod forget;
mod health;
mod local_state;
mod migrate;
mod notion;
mod openapi;
mod output;
mod paragraph;
mod pause;
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
mod startup_responder;
mod status;
mod stripe;
mod table;
mod why;

use clap::{Parser, Subcommand};
use std::future::Future;
use std::process::ExitCode;

/// The exit code for missing or wrong arguments, as clap's own.
const WRONG_ARGUMENTS: u8 = 2;

/// Arguments are missing, or do not fit together, in a way that clap cannot check.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongArguments(String);

/// An error about arguments, which sets the exit code.
fn wrong_arguments(what: impl Into<String>) -> anyhow::Error {
    WrongArguments(what.into()).into()
}

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
    /// Run the service in production
    Serve(serve::ServeArgs),
    /// Update the schema of the database
    Migrate,
    /// Check whether the service on this machine is ready; exits 0 if it is
    #[command(alias = "ready")]
    Health(health::HealthArgs),
    /// Check settings, database, secrets and destinations, and explain how to fix problems
    ///
    /// Exits 0 if everything works, 1 if there are warnings, 2 if something does not work.
    Doctor(doctor::DoctorArgs),
    /// Show whether events arrive and are delivered, and the state of each destination
    ///
    /// Exits 0 if everything works, 1 for a warning, 2 if it is critical, 3 if the state is unknown.
    Status(status::StatusArgs),
    /// Show everything that happened to an event or an object, in order
    Why(why::WhyArgs),
    /// Retry failed executions, by id or by filter
    Retry(retry::RetryArgs),
    /// Deliver events again, including to destinations that were added since
    Replay(replay::ReplayArgs),
    /// Cancel pending executions, or a bulk task that is not finished
    Cancel(cancel::CancelArgs),
    /// Acknowledge a failure group, so that alerts no longer report it
    Acknowledge(acknowledge::AcknowledgeArgs),
    /// Pause a destination: its executions wait until it is resumed
    Pause(pause::PauseArgs),
    /// Resume a destination, whatever paused it
    Resume(resume::ResumeArgs),
    /// Set up Notion
    Notion(notion::NotionArgs),
    /// Set up Stripe
    Stripe(stripe::StripeArgs),
    /// Remove what is older than the retention settings allow, or than a date
    Prune(prune::PruneArgs),
    /// Erase a person's data: the payloads that name them, and quotes from those
    Forget(forget::ForgetArgs),
    /// Print the description of the API (OpenAPI)
    Openapi,
}

/// Runs the command of the command line.
pub fn main() -> ExitCode {
    broken_pipe::exit_quietly();
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
        Command::Pause(args) => run(pause::run(args)),
        Command::Resume(args) => run(resume::run(args)),
        Command::Notion(args) => run(notion::run(args)),
        Command::Stripe(args) => run(stripe::run(args)),
        Command::Prune(args) => run(prune::run(args)),
        Command::Forget(args) => run(forget::run(args)),
        Command::Openapi => openapi::run(),
    };
    done.unwrap_or_else(|error| {
        eprintln!("eventbridge: {error:#}");
        if error.is::<WrongArguments>() { ExitCode::from(WRONG_ARGUMENTS) } else { ExitCode::FAILURE }
    })
}

fn run(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}
