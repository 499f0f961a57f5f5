//! Intake: writes events in batches, with their executions.

use super::Intake;
use crate::domain::event::NewEvent;
use crate::domain::execution::NewExecution;
use crate::store::db::StoreError;
use std::collections::HashSet;

/// An event to write, with an execution for each destination instance that wants it.
#[derive(Debug, Clone, Copy)]
pub struct IncomingEvent<'a> {
    /// The event.
    pub event: &'a NewEvent,
    /// The executions.
    pub executions: &'a [NewExecution],
}

impl Intake {
    /// Writes events and their executions in one statement: all of them or none.
    ///
    /// The batch must not contain an event twice. Returns the `(source, event id)` of the events that
    /// existed already, which are left as they are; usually there are none, and so nothing to read.
    pub async fn insert_events(
        &self,
        batch: &[IncomingEvent<'_>],
    ) -> Result<HashSet<(String, String)>, StoreError> {
        // In one order, so that two writers with the same keys cannot deadlock.
        let mut sorted: Vec<&IncomingEvent<'_>> = batch.iter().collect();
        sorted.sort_unstable_by_key(|incoming| (&incoming.event.source, &incoming.event.event_id));
        let events: Vec<&NewEvent> = sorted.iter().map(|incoming| incoming.event).collect();
        let wanted: Vec<(&NewEvent, &NewExecution)> = sorted
            .iter()
            .flat_map(|incoming| incoming.executions.iter().map(|execution| (incoming.event, execution)))
            .collect();
        let known = sqlx::query!(
            r#"
            with incoming as (
                select * from unnest(
                    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                    $7::bool[], $8::text[], $9::timestamptz[], $10::text[], $11::text[], $12::bytea[],
                    $18::bool[], $19::text[]
                ) as incoming (source, event_id, type, object_id, object_type, account,
                               livemode, api_version, created, signature, secret_name, payload, carries_state,
                               origin)
            ), inserted as (
                insert into eventbridge.events
                       (source, event_id, type, object_id, object_type, account,
                        livemode, api_version, created, signature, secret_name, payload, carries_state, origin)
                select source, event_id, type, object_id, object_type, account,
                       livemode, api_version, created, signature, secret_name, payload, carries_state, origin
                  from incoming
                on conflict (source, event_id) do nothing
                returning id, source, event_id
            ), queued as (
                insert into eventbridge.executions (event_key, destination, mode, lane)
                select inserted.id, wanted.destination, wanted.mode, wanted.lane
                  from unnest($13::text[], $14::text[], $15::text[], $16::text[], $17::text[])
                       as wanted (source, event_id, destination, mode, lane)
                  join inserted using (source, event_id)
                returning id, destination, lane, mode
            ), waiting as (
                insert into eventbridge.queue (execution_id, destination, lane, mode)
                select id, destination, lane, mode from queued
            )
            select source as "source!", event_id as "event_id!"
              from unnest($1, $2) as asked (source, event_id)
             where not exists (select from inserted
                                where inserted.source = asked.source and inserted.event_id = asked.event_id)
            "#,
            &column(&events, |event| event.source.as_ref()) as _,
            &column(&events, |event| event.event_id.as_str()) as _,
            &column(&events, |event| event.facts.event_type.as_str()) as _,
            &column(&events, |event| event.facts.object_id.as_deref()) as _,
            &column(&events, |event| event.facts.object_type.as_deref()) as _,
            &column(&events, |event| event.facts.account.as_deref()) as _,
            &column(&events, |event| event.facts.livemode) as _,
            &column(&events, |event| event.facts.api_version.as_deref()) as _,
            &column(&events, |event| event.facts.created) as _,
            &column(&events, |event| event.signature.as_str()) as _,
            &column(&events, |event| event.secret_name.as_str()) as _,
            &column(&events, |event| event.payload.as_ref()) as _,
            &column(&wanted, |(event, _)| event.source.as_ref()) as _,
            &column(&wanted, |(event, _)| event.event_id.as_str()) as _,
            &column(&wanted, |(_, execution)| execution.destination.as_str()) as _,
            &column(&wanted, |(_, execution)| execution.mode.as_str()) as _,
            &column(&wanted, |(_, execution)| execution.lane.as_deref()) as _,
            &column(&events, |event| event.carries_state) as _,
            &column(&events, |event| event.origin.as_str()) as _,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(known.into_iter().map(|row| (row.source, row.event_id)).collect())
    }
}

fn column<'a, T, V>(rows: &'a [T], value: impl Fn(&'a T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}
