//! The speed of the service next to the ceilings of this machine, with a check that every counted event is
//! stored.
//!
//! ```text
//! cargo bench --bench load -- --only ingest,one --seconds 5
//! ```
//!
//! It starts everything itself: a private Postgres that waits for its disk as usual, the release build of
//! `eventbridge serve` as a process of its own, stand-ins for external services, and senders. The ceilings
//! of this machine are measured in the same run: the same HTTP stack without a database, and Postgres
//! without HTTP. After each scenario the benchmark checks that the database contains every event that was
//! answered 200; otherwise it reports no figures.
//!
//! `target/bench/results.json` has the latest figures of each scenario; `--write` puts all of them into
//! docs/performance.md and its picture. Compare ratios, and only those of one run: machines differ.

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

use clap::{Parser, Subcommand, ValueEnum};
use mimalloc::MiMalloc;
use std::process::ExitCode;
use std::time::Duration;

/// The same allocator as the program, of which this process runs a part.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures the service
#[derive(Debug, Clone, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Options {
    /// Scenarios, separated by commas; by default all but `horizon` and `lanes`, which take long
    #[arg(long, value_delimiter = ',', value_enum)]
    pub only: Vec<scenarios::Scenario>,
    /// Duration of each load, without its warm-up
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=120))]
    pub seconds: u64,
    /// Connections of the senders, unless a scenario sets its own
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub connections: u16,
    /// The fraction of events, from 0 to 0.9, that is sent a second time
    #[arg(long, default_value_t = 0.0)]
    pub duplicates: f64,
    /// Events per second at half load; by default half of the last measured ingest rate
    #[arg(long)]
    pub rate: Option<f64>,
    /// Executions to drain
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u32).range(1000..=2_000_000))]
    pub backlog: u32,
    /// How many executions run at once in a drain
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub concurrency: u16,
    /// Events in the full tables of `growth`; a fifth of them wait. 5000000 takes minutes to seed
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(10_000..=10_000_000))]
    pub events: u32,
    /// How long `horizon` and `lanes` hold a snapshot open. Each of their three rates takes 1.6 times as long
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(10..=3600))]
    pub horizon_seconds: u64,
    /// Writes docs/performance.md's tables and its picture from the latest figures of all scenarios
    #[arg(long)]
    pub write: bool,
    /// Measures nothing; with --write the tables use the stored figures
    #[arg(long)]
    pub nothing: bool,
    /// Keeps the database server's data for the next run, including the full tables
    #[arg(long)]
    pub keep: bool,
    /// Passed by cargo
    #[arg(long, hide = true)]
    pub bench: bool,
    /// The part that this process runs, unless it is the benchmark itself
    #[command(subcommand)]
    pub role: Option<Role>,
}

/// A part that runs in a process of its own.
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
    /// The scenarios to run.
    pub fn scenarios(&self) -> Vec<scenarios::Scenario> {
        match self.only.as_slice() {
            [] => {
                let all = scenarios::Scenario::value_variants().iter().copied();
                all.filter(|scenario| !scenario.is_long()).collect()
            }
            some => some.to_vec(),
        }
    }

    /// The duration of a load.
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
