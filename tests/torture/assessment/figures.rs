//! The figures of a run, for people.

use super::Assessment;
use crate::chaos::{Report, Rescue};
use crate::rows::{self, Execution};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

impl Assessment<'_> {
    /// Prints them.
    pub(super) async fn print_figures(
        &self,
        chaos: &Report,
        drain: Duration,
        executions: &[Execution],
    ) -> anyhow::Result<()> {
        let sent = self.ledger.figures();
        let pages = self.world.sandbox.handle().pages();
        let trashed = pages.iter().filter(|page| page.in_trash).count();
        let attempts = rows::outcomes(&self.world.database).await?;
        let mut statuses: BTreeMap<&str, u64> = BTreeMap::new();
        for execution in executions {
            *statuses.entry(&execution.status).or_default() += 1;
        }
        let crashed = rows::crashed(&self.world.database).await?;
        println!("events        {} sent in {} requests", self.plan.events.len(), sent.requests);
        println!(
            "answers       {} accepted, {} of them duplicates; {} shed with 503, {} unanswered",
            sent.accepted, sent.duplicates, sent.shed, sent.unanswered
        );
        println!("accepted in   {}", quantiles(self.ledger.waits()));
        println!("injected      {}", listed(&chaos.injected));
        println!("              {} starts failed without Postgres", self.observer.failed_starts());
        println!("faults        {}", listed(&chaos.notion_faults));
        println!("calls         {} to Notion", self.observer.calls().len());
        println!("executions    {}; {crashed} lost a worker", listed(&statuses));
        println!("attempts      {}", listed(&attempts.into_iter().collect()));
        println!("pages         {} and {trashed} in the trash", pages.len() - trashed);
        println!("early writes  {}", self.observer.early_writes().len());
        println!("drained in    {:.1} s", drain.as_secs_f64());
        let with_leases: Vec<_> = chaos.rescues.iter().filter(|rescue| rescue.had_leases).copied().collect();
        println!("rescues       {}", timed(took(&chaos.rescues)));
        println!("  with leases {}", timed(took(&with_leases)));
        if !chaos.delivered.is_empty() {
            println!("delivered     {}", timed(chaos.delivered.clone()));
        }
        Ok(())
    }
}

fn listed<K: Display, V: Display>(counts: &BTreeMap<K, V>) -> String {
    let items: Vec<_> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    items.join(", ")
}

fn took(rescues: &[Rescue]) -> Vec<Duration> {
    rescues.iter().map(|rescue| rescue.took).collect()
}

/// How long it took until events were accepted.
fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    let worst = times.last().copied().unwrap_or_default();
    format!("median {:.1?}, 95th {:.1?}, 99th {:.1?}, worst {worst:.1?}", at(50), at(95), at(99))
}

/// Median and maximum, as durations.
fn timed(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let worst = times.last().copied().unwrap_or_default();
    format!("{}: median {median:.1?}, worst {worst:.1?} after kill -9", times.len())
}
