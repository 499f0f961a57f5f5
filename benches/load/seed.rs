//! Rows that the database itself generates: backlogs, and tables as they are after a long time.

use crate::events::{Recipe, Requests};
use crate::world::Database;
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

/// Events in a statement.
const AT_ONCE: u32 = 50_000;

/// The rows to generate.
#[derive(Debug, Clone, Copy)]
pub struct Seed<'a> {
    /// The number of the first event. A second seed in the same database begins after the first one.
    pub first: u32,
    /// This many events, each with an execution.
    pub events: u32,
    /// For this destination.
    pub destination: &'a str,
    /// This many of them are pending, the newest ones; the others are delivered.
    pub pending: u32,
}

/// Generates events of the usual size. Delivered executions have an attempt.
pub async fn seed(database: &Database, seed: Seed<'_>) -> anyhow::Result<()> {
    let request = Requests::make(Recipe::of(1));
    let request = request.take().context("an event")?;
    let at = request.windows(4).position(|part| part == b"\r\n\r\n").context("a body")?;
    let body = String::from_utf8_lossy(request.get(at + 4..).unwrap_or_default()).into_owned();
    let bar = ProgressBar::new(seed.events.into()).with_message("seeding");
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos} events") {
        bar.set_style(style);
    }
    let mut connection = database.pool.acquire().await?;
    sqlx::raw_sql("set synchronous_commit = off; set statement_timeout = 0")
        .execute(&mut *connection)
        .await?;
    let (mut from, end) = (seed.first, seed.first + seed.events);
    while from < end {
        let to = end.min(from + AT_ONCE);
        sqlx::query(
            "with made as (
                 insert into eventbridge.events
                        (source, event_id, type, object_id, object_type, livemode, api_version, created,
                         received_at, signature, secret_name, payload)
                 select 'stripe', 'evt_seeded' || lpad(number::text, 9, '0'),
                        (array['invoice.paid', 'charge.succeeded', 'payment_intent.created'])[1 + number % 3],
                        'in_seeded' || lpad((number / 3)::text, 9, '0'), 'invoice', false, '2026-02-25.clover',
                        now() - ($5 - number) * interval '1 second', now() - ($5 - number) * interval '1 second',
                        't=1,v1=' || repeat('0', 64), 'secret-1',
                        convert_to(replace($4, left($6, 20), 'evt_' || md5(number::text)), 'UTF8')
                   from generate_series($1::int, $2::int - 1) as number
                 returning id, substr(event_id, 11)::int as number, received_at
             ), queued as (
                 insert into eventbridge.executions
                        (event_key, destination, status, created_at, started_at, finished_at, remote_id)
                 select id, $3, case when number >= $5 - $7 then 'pending' else 'success' end,
                        received_at,
                        case when number < $5 - $7 then received_at end,
                        case when number < $5 - $7 then received_at end,
                        case when number < $5 - $7 then md5(number::text) end
                   from made
                 returning id, status, created_at, started_at
             ), waiting as (
                 insert into eventbridge.queue (execution_id, destination, run_at, since)
                 select id, $3, created_at, created_at from queued where status = 'pending'
             )
             insert into eventbridge.attempts
                    (execution_id, fence, started_at, duration_ms, outcome, response_code)
             select id, nextval('eventbridge.fences'), started_at, 300, 'delivered', 200
               from queued where status = 'success'",
        )
        .bind(i32::try_from(from)?)
        .bind(i32::try_from(to)?)
        .bind(seed.destination)
        .bind(&body)
        .bind(i32::try_from(end)?)
        .bind(body.split('"').nth(3).unwrap_or_default())
        .bind(i32::try_from(seed.pending)?)
        .execute(&mut *connection)
        .await?;
        from = to;
        bar.set_position((from - seed.first).into());
    }
    // The terms of seeded events are not searched for, so they count as indexed.
    sqlx::raw_sql(
        "update eventbridge.search_index_progress
            set seen_id = (select max(id) from eventbridge.events),
                settled_id = (select max(id) from eventbridge.events),
                mark_id = (select max(id) from eventbridge.events)",
    )
    .execute(&mut *connection)
    .await
    .context("marking the seeded events as indexed")?;
    sqlx::raw_sql("vacuum analyze").execute(&mut *connection).await.context("vacuum")?;
    bar.finish_and_clear();
    Ok(())
}
