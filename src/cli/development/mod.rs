//! The commands for one machine: `dev`, `demo`, `try` and `trigger`.
//!
//! They are behind the feature `dev`, which is on by default. The production image is built without
//! it and contains neither these commands nor the stand-ins for Notion and Stripe, the samples and the private
//! Postgres.

mod browser_trigger;
mod demo;
mod dev;
mod dev_environment;
mod local_files;
mod sender;
mod shop;
mod stripe_cli;
mod trigger;
mod try_out;

use super::run;
use anyhow::Context;
use clap::Subcommand;
use private_postgres::supervisor;
use std::os::unix::process::CommandExt;
use std::process::{self, ExitCode};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run everything on this machine: a private Postgres, the service, a Notion sandbox, and a shop at a stand-in for Stripe
    Dev(dev::DevArgs),
    /// Deliver sample events to pages in the Notion sandbox, then check and show the pages
    Demo,
    /// Show this month's events of a Stripe account here and in Notion: with two keys, without an endpoint
    Try(try_out::TryArgs),
    /// Send signed sample events to a running service
    Trigger(trigger::TriggerArgs),
    /// Supervise a private Postgres server; started by other commands
    #[command(hide = true)]
    PostgresSupervisor(supervisor::SupervisorArgs),
}

impl Command {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Dev(args) => restart_without_libpq_variables().and_then(|()| run(dev::run(args))),
            Self::Demo => restart_without_libpq_variables().and_then(|()| run(demo::run())),
            Self::Try(args) => restart_without_libpq_variables().and_then(|()| run(try_out::run(args))),
            Self::Trigger(args) => run(trigger::run(args)),
            Self::PostgresSupervisor(args) => Ok(supervisor::run(&args)),
        }
    }
}

/// Starts the command again if the environment holds settings of libpq.
///
/// The database driver reads `PGOPTIONS` and similar variables itself. A private server must be
/// reached with its own settings, whatever other servers the user works with.
fn restart_without_libpq_variables() -> anyhow::Result<()> {
    let of_libpq: Vec<_> = std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| name.to_str().is_some_and(|name| name.starts_with("PG") && name != "PG_BIN_DIR"))
        .collect();
    if of_libpq.is_empty() {
        return Ok(());
    }
    let program = std::env::current_exe().context("the path of this program cannot be found")?;
    let mut command = process::Command::new(program);
    command.args(std::env::args_os().skip(1));
    for name in of_libpq {
        command.env_remove(name);
    }
    Err(command.exec()).context("this program cannot be started again")
}
