//! What is stored: each event as it was sent, and each execution at its end.

use super::Judge;
use crate::Mode;
use crate::world::SECRET;
use eventbridge::sources::stripe;
use sqlx::FromRow;
use std::collections::BTreeMap;

/// An event as it is kept.
#[derive(FromRow)]
struct Stored {
    event_id: String,
    payload: Vec<u8>,
    signature: String,
    executions: i64,
}

impl Stored {
    /// Whether the signature still fits the body.
    fn is_verifiable(&self) -> bool {
        let time = self.signature.strip_prefix("t=").and_then(|rest| rest.split(',').next()?.parse().ok());
        time.is_some_and(|time| stripe::sign(SECRET, &self.payload, time) == self.signature)
    }
}

/// An execution at the end.
#[derive(FromRow)]
pub(super) struct Execution {
    pub(super) event_id: String,
    pub(super) status: String,
    pub(super) attempts: i32,
    pub(super) crashes: i32,
    pub(super) remote_id: Option<String>,
    pub(super) reason: Option<String>,
}

impl Judge<'_> {
    /// Each event that was answered 200 is there once, as it was sent; and no other.
    pub(super) async fn events(&self) -> anyhow::Result<()> {
        let rows: Vec<Stored> = sqlx::query_as(
            "select event_id, payload, signature,
                    (select count(*) from eventbridge.executions where event_key = events.id) as executions
               from eventbridge.events where source = 'stripe'",
        )
        .fetch_all(&self.world.database)
        .await?;
        let mut stored: BTreeMap<&str, Vec<&Stored>> = BTreeMap::new();
        for row in &rows {
            stored.entry(&row.event_id).or_default().push(row);
        }
        let answers = self.ledger.answers();
        for event in &self.plan.events {
            let answers = answers.get(&event.id).copied().unwrap_or_default();
            let found = stored.remove(event.id.as_str()).unwrap_or_default();
            match found.as_slice() {
                [] if answers.taken > 0 => {
                    self.breach("an event answered 200 is lost", &event.id, &[]).await;
                }
                [] => {}
                [row] => {
                    if row.payload != event.body.as_bytes() || !row.is_verifiable() {
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
                self.breach("an event was told to be new more than once", &event.id, &[count]).await;
            }
        }
        for id in stored.into_keys() {
            self.breach("an event is stored that was never sent", id, &[]).await;
        }
        Ok(())
    }

    /// Each execution came to an end, and to a good one.
    pub(super) async fn executions(&self) -> anyhow::Result<Vec<Execution>> {
        let executions: Vec<Execution> = sqlx::query_as(
            "select events.event_id, executions.status, executions.attempts, crashes, remote_id, executions.reason
               from eventbridge.executions join eventbridge.events on events.id = event_key
              order by executions.id",
        )
        .fetch_all(&self.world.database)
        .await?;
        for execution in &executions {
            let snapshot = self.plan.events.iter().find(|event| event.id == execution.event_id);
            let is_snapshot = snapshot.is_some_and(|event| event.is_snapshot);
            let what = match (execution.status.as_str(), self.options().mode) {
                ("success", Mode::Event) => continue,
                ("success" | "superseded", Mode::Object) if is_snapshot => continue,
                ("skipped", Mode::Object) if !is_snapshot => continue,
                ("pending" | "running", _) => "an execution never came to an end",
                ("failed", _) => "an execution failed",
                _ => "an execution ended otherwise than it should",
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
