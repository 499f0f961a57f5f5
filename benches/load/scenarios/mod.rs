//! The scenarios, one file for each group.

mod backlog;
mod ceilings;
mod flat;
mod growth;
mod horizon;
mod ingest;
mod limits;
mod pages;

use crate::figures::{Figures, Results};
use crate::world::World;
use anyhow::Context;
use clap::ValueEnum;

/// A scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// The ceiling of HTTP: verified, parsed, answered, not stored
    Nothing,
    /// The ceiling of the database: batches of 256 on two connections, no HTTP
    Postgres,
    /// A statement and a commit for each request
    Each,
    /// Ingest without delivery
    Ingest,
    /// The same over one connection, one event at a time
    One,
    /// Half of the measured ingest rate, at a fixed rate
    Half,
    /// Ingest while the same process delivers
    Beside,
    /// Ingest and delivery together, at the rate at which the backlog stays flat
    Flat,
    /// Draining a backlog to a no-op destination
    Drain,
    /// Draining a backlog while another destination of the same process takes 5 s for each answer
    Slow,
    /// From the webhook to a page at a Notion that responds at once
    Pages,
    /// The same with default settings, except that the limiter is off
    Default,
    /// From the response to a webhook to the first byte to Notion, on an idle service
    Wake,
    /// Ingest, drain and lists over full tables
    Growth,
    /// Ingest while a paused destination has a million pending executions
    Paused,
    /// Memory while many connections send the largest bodies
    Memory,
    /// From the start to the first 200
    Start,
    /// A burst in object mode, under Notion's limit
    Burst,
    /// Delivery at two fixed rates while a snapshot is held open, and after it; half an hour
    Horizon,
    /// The same at one rate in object mode, over 100 objects; a quarter of an hour
    Lanes,
}

impl Scenario {
    /// Whether it takes so long that it runs only if it is named.
    pub fn is_long(self) -> bool {
        matches!(self, Self::Horizon | Self::Lanes)
    }

    /// Whether it reads the statistics of statements, which the database server collects only for these.
    pub fn reads_statement_statistics(self) -> bool {
        self.is_long() || self == Self::Growth
    }
}

/// Runs the requested scenarios and stores their figures.
pub async fn run(world: &World, results: &mut Results) -> anyhow::Result<()> {
    for scenario in world.options.scenarios() {
        let name = scenario.to_possible_value().context("a scenario has a name")?.get_name().to_owned();
        eprintln!("{name} …");
        let figures = measure(scenario, world, results).await.with_context(|| name.clone())?;
        for (figure, value) in &figures {
            println!("{name:<10} {figure:<32} {value:>12.2}");
        }
        results.keep(&name, figures)?;
    }
    let version = world.postgres_version().await?;
    let major = version.split(['.', ' ']).next().and_then(|major| major.parse().ok()).unwrap_or_default();
    results.keep("world", Figures::from([("postgres".to_owned(), major)]))
}

async fn measure(scenario: Scenario, world: &World, results: &Results) -> anyhow::Result<Figures> {
    match scenario {
        Scenario::Nothing => ceilings::nothing(world).await,
        Scenario::Postgres => ceilings::postgres(world).await,
        Scenario::Each => ceilings::each(world).await,
        Scenario::Ingest => ingest::full(world).await,
        Scenario::One => ingest::one(world).await,
        Scenario::Half => ingest::half(world, results.get("ingest", "per_second")).await,
        Scenario::Beside => ingest::beside(world).await,
        Scenario::Flat => flat::flat(world).await,
        Scenario::Paused => ingest::paused(world).await,
        Scenario::Drain => backlog::drain(world).await,
        Scenario::Slow => backlog::slow(world).await,
        Scenario::Pages => pages::pages(world).await,
        Scenario::Default => pages::by_default(world).await,
        Scenario::Wake => pages::wake(world).await,
        Scenario::Burst => pages::burst(world).await,
        Scenario::Growth => growth::growth(world).await,
        Scenario::Horizon => horizon::horizon(world).await,
        Scenario::Lanes => horizon::lanes(world).await,
        Scenario::Memory => limits::memory(world).await,
        Scenario::Start => limits::start(world).await,
    }
}

/// Figures from names and numbers.
fn figures<const N: usize>(pairs: [(&str, f64); N]) -> Figures {
    pairs.map(|(name, value)| (name.to_owned(), value)).into()
}
