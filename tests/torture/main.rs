//! The torture test: real processes, a real Postgres, an unreliable Notion, and faults that follow from a
//! seed. Afterwards nothing may be lost, duplicated or stuck.
//!
//! ```text
//! cargo test --test torture -- --seed 1 --seconds 60 --mode event
//! ```
//!
//! A seeded stream of events goes to two replicas of `eventbridge serve`, with duplicates and out of order.
//! Each event is sent again until it is answered 200. Meanwhile replicas are killed, stopped for longer than
//! they may be silent, and terminated; Postgres is killed; a fifth of the calls to Notion fails. At the end
//! all faults stop and the queue drains. Then the test compares the database, the pages and its own
//! observations with the promises. The exit code is 0 if no promise was broken, otherwise 1, with the
//! evidence.
//!
//! The same seed creates the same events and the same faults; their timing depends on the machine.
//!
//! # Testing the test
//!
//! `--sabotage` removes a guard in the test environment and leaves the program unchanged:
//!
//! | hole | how | what must be found |
//! |---|---|---|
//! | `fence` | a trigger gives every lease the same fence | a lease ended by a process that had lost it |
//! | `look` | new pages stay hidden from queries for ten minutes | a second page |
//! | `lane` | some lanes look free while they run, because their newest run names another lease | two executions of a lane at once |
//! | `commit` | Postgres acknowledges a commit before it is written | a lost event that was answered 200 |
//!
//! Such a run ends with exit code 1 and the name of the breach. With `--expect-breach` it succeeds only if
//! that breach was found.
//!
//! # Rescue
//!
//! `--rescue 20` only kills replicas, and measures how soon their work continues.
//!
//! # Attack
//!
//! `--attack` kills nothing. Attackers without a key or a secret connect to both replicas, and all honest
//! events must arrive nevertheless.
//!
//! # Old snapshot
//!
//! `--hold-snapshot` holds a transaction open that took its snapshot when the run began. So vacuum cannot
//! remove the dead rows of the queue. If Postgres is killed, another snapshot is opened. It is released
//! before the final assessment.

mod assessment;
mod attack;
mod chaos;
mod load;
mod observer;
mod rescue;
mod rows;
mod snapshot;
mod world;

use anyhow::bail;
use chaos::Chaos;
use clap::{Parser, ValueEnum};
use load::{Ledger, Plan};
use observer::Observer;
use snapshot::HeldSnapshot;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use world::World;

/// How long senders may continue after the chaos is over: everything works by then.
const LAST_ANSWERS_MAX: Duration = Duration::from_mins(2);

/// Kills a running service at random times and looks for broken promises
#[derive(Debug, Clone, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Options {
    /// The seed of all random choices
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How long events are sent and faults are injected, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub seconds: u64,
    /// What a page represents
    #[arg(long, value_enum, default_value_t = Mode::Event)]
    pub mode: Mode,
    /// Events per second; by default 10, or 4 with --limited
    #[arg(long)]
    pub rate: Option<f64>,
    /// The fewest kill -9 for a valid run; by default ten a minute
    #[arg(long)]
    pub kills_min: Option<u64>,
    /// Apply Notion's rate limit and the service's own: Notion's must never be exceeded
    #[arg(long)]
    pub limited: bool,
    /// Remove a guard, to check that the breach is found
    #[arg(long, value_enum)]
    pub sabotage: Option<Sabotage>,
    /// Succeed only if the breach was found that the missing guard permits
    #[arg(long, requires = "sabotage")]
    pub expect_breach: bool,
    /// Measure this many times how soon the work of a killed replica continues, in event mode
    #[arg(long, conflicts_with_all = ["sabotage", "seconds"], value_parser = clap::value_parser!(u32).range(1..=60))]
    pub rescue: Option<u32>,
    /// Kill nothing, and let attackers connect to both replicas while honest events continue
    #[arg(long, conflicts_with_all = ["sabotage", "rescue"])]
    pub attack: bool,
    /// Hold a snapshot of the database open throughout the run, so that vacuum removes no dead rows
    #[arg(long)]
    pub hold_snapshot: bool,
    /// Wait longer for everything, so that slowness is no breach: for a busy machine
    #[arg(long)]
    pub patient: bool,
    /// Keep the logs of the replicas and print where they are
    #[arg(long)]
    pub keep_logs: bool,
}

/// What a page represents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// An event.
    Event,
    /// An object, in its newest state.
    Object,
}

/// A guard that can be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sabotage {
    /// A lease is distinguishable from an earlier one.
    Fence,
    /// A lookup finds what was written.
    Look,
    /// A lane has one lease.
    Lane,
    /// A commit is on disk when it is acknowledged.
    Commit,
}

impl Sabotage {
    /// The breach that must be found if the guard is missing.
    pub fn breach(self) -> &'static str {
        match self {
            Self::Fence => "a lease was ended by a process that had lost it",
            Self::Look => "an object or event has a second page",
            Self::Lane => "two executions of a lane ran at once",
            Self::Commit => "an event answered 200 is lost",
        }
    }
}

impl Options {
    /// How long events are sent.
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds())
    }

    /// The same in seconds; a rescue takes at most a minute.
    pub fn seconds(&self) -> u64 {
        self.rescue.map_or(self.seconds, |rounds| u64::from(rounds) * 60)
    }

    /// A time limit, scaled for this machine.
    pub fn bound(&self, usual: Duration) -> Duration {
        if self.patient { usual * 5 } else { usual }
    }

    /// How many events are sent per second.
    pub fn events_per_second(&self) -> f64 {
        let by_default = match (self.rescue, self.limited) {
            (Some(_), true) => 2.0,
            (Some(_), false) => 6.0,
            (None, true) => 4.0,
            (None, false) => 10.0,
        };
        self.rate.unwrap_or(by_default).clamp(0.1, 500.0)
    }

    /// How many kills a valid run needs. Fewer are enough to find a missing guard.
    pub fn kills_required(&self) -> u64 {
        let by_default = match (self.sabotage, self.rescue) {
            (None, None) if self.attack => 0,
            (None, None) if self.patient => 1,
            (None, None) => self.seconds / 6,
            _ => 0,
        };
        self.kills_min.unwrap_or(by_default)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = tokio::select! {
        outcome = torture(&options) => outcome,
        outcome = interrupted() => outcome,
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("the torture itself broke: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Returns an error when a signal stops the run; dropping the run stops everything it started.
async fn interrupted() -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed?,
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    bail!("stopped by a signal")
}

async fn torture(options: &Options) -> anyhow::Result<ExitCode> {
    let Options { seed, mode, limited, sabotage, rescue, .. } = options;
    let seconds = options.seconds();
    if rescue.is_some() && *mode == Mode::Object {
        bail!("a rescue is measured in event mode: in object mode all that is planned must be sent");
    }
    println!("torture: seed {seed}, {seconds} s, mode {mode:?}, limited {limited}, sabotage {sabotage:?}");
    let plan = Plan::new(options);
    let world = World::start(options).await?;
    let observer = Observer::start(&world, &plan);
    let ledger = Arc::new(Ledger::new(&plan));
    let snapshot = if options.hold_snapshot { Some(HeldSnapshot::open(&world).await?) } else { None };

    let has_chaos = options.rescue.is_none() && !options.attack;
    let chaos = if has_chaos { Some(Chaos::start(&world, &observer)?) } else { None };
    let mut sending = load::start(&plan, &world, &observer, &ledger)?;
    let report = if let Some(chaos) = chaos {
        tokio::time::sleep(options.duration()).await;
        println!("time is up; making everything work again");
        chaos.finish().await?
    } else if options.attack {
        attack::run(&world, &observer).await?
    } else {
        let report = rescue::measure(&world, &observer, options.rescue.unwrap_or_default()).await?;
        sending.enough();
        report
    };
    if tokio::time::timeout(options.bound(LAST_ANSWERS_MAX), sending.join()).await.is_err() {
        observer.breach("an event was not answered 200 though everything works", ledger.unanswered());
        sending.abort();
    }
    if options.attack {
        attack::assess(&world, &observer, &ledger);
    }
    let assessed = assessment::assess(&world, observer, &ledger, &plan, &report).await;
    if let Some(snapshot) = snapshot {
        println!("snapshot      opened {} times, released now", snapshot.release().await?);
    }
    assessed
}
