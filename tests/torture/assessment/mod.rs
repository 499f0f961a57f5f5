//! The assessment of a run: waits until the queue has drained, stops the replicas, and compares the final
//! state with the promises.

mod drain;
mod events;
mod figures;
mod leases;
mod pages;

use crate::Options;
use crate::chaos::Report;
use crate::load::{Ledger, Plan};
use crate::observer::Observer;
use crate::rows;
use crate::world::{LATE_MS_MAX, World};
use std::process::ExitCode;
use std::time::Duration;

/// How many lines of evidence of one kind are printed.
const LINES_MAX: usize = 12;

/// Drains, checks, prints, and returns the exit code.
pub async fn assess(
    world: &World,
    observer: Observer,
    ledger: &Ledger,
    plan: &Plan,
    chaos: &Report,
) -> anyhow::Result<ExitCode> {
    let assessment = Assessment { world, observer: &observer, ledger, plan };
    let drain = assessment.wait_for_drain().await?;
    // A write that was sent last may still land.
    tokio::time::sleep(Duration::from_millis(LATE_MS_MAX)).await;
    assessment.wait_for_rescues().await?;
    assessment.observer.stop().await;
    assessment.check_shutdown().await?;

    assessment.check_lease_record().await?;
    let executions = assessment.check_executions().await?;
    assessment.check_events().await?;
    assessment.check_overlaps().await?;
    assessment.check_pages(&executions).await?;
    assessment.check_rate_limit();
    let injected = |name: &str| chaos.injected.get(name).copied().unwrap_or_default();
    let kills = injected("kill -9 of a replica") + injected("kill -9 of Postgres");
    if kills < world.options.kills_required() {
        observer.breach("too few kills for a valid run", vec![format!("{kills}")]);
    }
    assessment.print_figures(chaos, drain, &executions).await?;
    Ok(assessment.print_result())
}

struct Assessment<'a> {
    world: &'a World,
    observer: &'a Observer,
    ledger: &'a Ledger,
    plan: &'a Plan,
}

impl Assessment<'_> {
    fn options(&self) -> &Options {
        &self.world.options
    }

    /// Records a breach with everything known about the event or object.
    async fn breach(&self, what: &str, key: &str, details: &[String]) {
        if self.observer.is_shown(what) {
            return self.observer.breach(what, Vec::new());
        }
        let mut evidence = vec![key.to_owned()];
        evidence.extend_from_slice(details);
        let attempts = rows::attempts_about(&self.world.database, key).await;
        evidence.extend(attempts.unwrap_or_default());
        evidence.extend(self.observer.calls_about(key));
        evidence.extend(self.world.logged(key, LINES_MAX));
        self.observer.breach(what, evidence);
    }

    fn print_result(&self) -> ExitCode {
        let breaches = self.observer.breaches();
        if let Some(hole) = self.options().sabotage.filter(|_| self.options().expect_breach) {
            let found: Vec<_> =
                breaches.iter().map(|(what, breach)| format!("{what} ({})", breach.count)).collect();
            println!("found         {}", found.join(", "));
            let is_found = breaches.contains_key(hole.breach());
            println!(
                "result        the breach that {hole:?} lets happen was {}",
                if is_found { "found" } else { "MISSED" }
            );
            return if is_found { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        if let Some(logs) = self.world.kept_logs() {
            println!("logs          {}", logs.display());
        }
        if breaches.is_empty() {
            println!("result        clean: no promise was broken");
            return ExitCode::SUCCESS;
        }
        for (what, breach) in &breaches {
            println!("\nBREACH: {what} ({} times)", breach.count);
            for evidence in &breach.evidence {
                println!("  {}", evidence.join("\n      "));
            }
        }
        let options = self.options();
        println!("\nresult        {} kinds of breach, seed {}", breaches.len(), options.seed);
        ExitCode::FAILURE
    }
}
