//! The stored data: each event as it was sent, and each execution in its final state.

use super::Assessment;
use crate::Mode;
use crate::rows::{self, Execution, StoredEvent};
use crate::world::SECRET;
use eventbridge::sources::stripe;
use std::collections::BTreeMap;

/// Whether the signature is valid for the body.
fn is_verifiable(event: &StoredEvent) -> bool {
    let time = event.signature.strip_prefix("t=").and_then(|rest| rest.split(',').next()?.parse().ok());
    time.is_some_and(|time| stripe::sign(SECRET, &event.payload, time) == event.signature)
}

impl Assessment<'_> {
    /// Each event that was answered 200 is stored once and unchanged, and no other.
    pub(super) async fn check_events(&self) -> anyhow::Result<()> {
        let events = rows::events(&self.world.database).await?;
        let mut stored: BTreeMap<&str, Vec<&StoredEvent>> = BTreeMap::new();
        for row in &events {
            stored.entry(&row.event_id).or_default().push(row);
        }
        let answers = self.ledger.answers();
        for event in &self.plan.events {
            let answers = answers.get(&event.id).copied().unwrap_or_default();
            let found = stored.remove(event.id.as_str()).unwrap_or_default();
            match found.as_slice() {
                [] if answers.accepted > 0 => {
                    self.breach("an event answered 200 is lost", &event.id, &[]).await;
                }
                [] => {}
                [row] => {
                    if row.payload != event.body.as_bytes() || !is_verifiable(row) {
                        self.breach("a body or its signature is not as it was sent", &event.id, &[]).await;
                    }
                    if row.executions != 1 {
                        let count = format!("{} executions", row.executions);
                        self.breach("an event has not one execution", &event.id, &[count]).await;
                    }
                }
                several => {
                    let count = format!("{} times", several.len());
                    self.breach("an event is stored more than once", &event.id, &[count]).await;
                }
            }
            if answers.new > 1 {
                let count = format!("{} times", answers.new);
                self.breach("an event was reported as new more than once", &event.id, &[count]).await;
            }
        }
        for id in stored.into_keys() {
            self.breach("an event is stored that was never sent", id, &[]).await;
        }
        Ok(())
    }

    /// Each execution has finished, and successfully.
    pub(super) async fn check_executions(&self) -> anyhow::Result<Vec<Execution>> {
        let executions = rows::executions(&self.world.database).await?;
        for execution in &executions {
            let snapshot = self.plan.events.iter().find(|event| event.id == execution.event_id);
            let is_snapshot = snapshot.is_some_and(|event| event.is_snapshot);
            let what = match (execution.status.as_str(), self.options().mode) {
                ("success", Mode::Event) => continue,
                ("success" | "superseded", Mode::Object) if is_snapshot => continue,
                ("skipped", Mode::Object) if !is_snapshot => continue,
                ("pending" | "running", _) => "an execution never finished",
                ("failed", _) => "an execution failed",
                _ => "an execution ended in an unexpected state",
            };
            let state = format!(
                "{} after {} attempts and {} crashes: {}",
                execution.status,
                execution.attempts,
                execution.crashes,
                execution.reason.as_deref().unwrap_or("no reason")
            );
            self.breach(what, &execution.event_id, &[state]).await;
        }
        Ok(executions)
    }
}
