//! How fast the service is, beside what this machine could do at best, and whether what it counted
//! is there.
//!
//! ```text
//! cargo bench --bench load -- --only ingest,one --seconds 5
//! ```
//!
//! It starts everything itself: a private Postgres that waits for its disk as any other does, the
//! release build of `eventbridge serve` as a process of its own, stand-ins for what lies around it,
//! and senders. What bounds a scenario on this machine is measured in the same run: the same HTTP
//! stack with nothing behind it, and Postgres with nothing before it. After each scenario the database
//! is asked whether it holds what was answered 200; where it does not, there are no figures.
//!
//! Figures are kept in `target/bench/results.json`, each scenario's latest; `--write` puts all of them
//! into docs/performance.md and its picture. Compare ratios, and only those of one run: machines differ.

mod connection;
mod events;
mod figures;
mod generator;
mod notion;
mod program;
mod report;
mod role;
mod scenarios;
mod seed;
mod world;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use std::process::ExitCode;
use std::time::Duration;

/// As the program itself has, of which this one plays a part.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures the service
#[derive(Debug, Clone, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Options {
    /// Scenarios, separated by commas; all of them where nothing is said
    #[arg(long, value_delimiter = ',', value_enum)]
    pub only: Vec<scenarios::Scenario>,
    /// How long each load lasts, warm-up not counted
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=120))]
    pub seconds: u64,
    /// Connections of the senders, where a scenario does not say otherwise
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub connections: u16,
    /// Which part of the events, from 0 to 0.9, is sent a second time
    #[arg(long, default_value_t = 0.0)]
    pub duplicates: f64,
    /// Events in a second at half load; by default half of what the last run took in
    #[arg(long)]
    pub rate: Option<f64>,
    /// Executions to drain
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u32).range(1000..=2_000_000))]
    pub backlog: u32,
    /// How many executions run at once where work is drained
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub concurrency: u16,
    /// Events in the full tables of `growth`; a fifth of them wait. 5000000 takes minutes to seed
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(10_000..=10_000_000))]
    pub events: u32,
    /// Writes docs/performance.md's tables and its picture from the latest figures of all scenarios
    #[arg(long)]
    pub write: bool,
    /// Measures nothing; with --write the tables are made from what is known
    #[arg(long)]
    pub nothing: bool,
    /// Leaves the database server's data for the next run, with the full tables in it
    #[arg(long)]
    pub keep: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    pub bench: bool,
    /// What this process is, where it is not the benchmark itself
    #[command(subcommand)]
    pub role: Option<Role>,
}

/// A part that runs as a process of its own.
#[derive(Debug, Clone, Subcommand)]
pub enum Role {
    /// Started by the benchmark
    #[command(hide = true)]
    Play {
        /// Which part
        role: role::Part,
    },
}

impl Options {
    /// How long a load lasts.
    pub fn length(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.role {
        Some(Role::Play { role }) => role::play(role).await,
        None => tokio::select! {
            done = measure(&options) => done,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("it was asked to stop")),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: &Options) -> anyhow::Result<()> {
    let mut results = figures::Results::load()?;
    if !options.nothing {
        let world = world::World::start(options).await?;
        let measured = scenarios::run(&world, &mut results).await;
        world.stop().await?;
        measured?;
    }
    if options.write {
        report::write(&results)?;
    }
    Ok(())
}
