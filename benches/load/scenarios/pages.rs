//! End to end: from a webhook to a page.

use super::backlog::must_be_delivered;
use super::figures;
use super::ingest::NOTION;
use crate::events::{Recipe, Requests};
use crate::figures::Figures;
use crate::generator::{Load, Pace, count, send};
use crate::notion;
use crate::role::AT_REST_AFTER;
use crate::world::World;
use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use notion_sandbox::{Sandbox, SandboxOptions, Template};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// Webhooks in and pages out at the same time, with many slots.
pub async fn pages(world: &World) -> anyhow::Result<Figures> {
    until_shown(world, "pages", Some(world.options.concurrency)).await
}

/// The same with default settings, except that the limiter is off: no number of slots is set.
pub async fn by_default(world: &World) -> anyhow::Result<Figures> {
    until_shown(world, "default", None).await
}

/// Sends webhooks, to a service that delivers to a Notion that responds at once, until the last event has
/// its page.
async fn until_shown(world: &World, what: &str, concurrency: Option<u16>) -> anyhow::Result<Figures> {
    const EVENTS: u32 = 20_000;
    const CONNECTIONS: usize = 64;
    let database = world.database(&format!("bench_{what}")).await?;
    let stand_in = world.part("notion", None)?.start().await?;
    let mut launch = world.service(&database);
    launch.settings.retain(|(name, _)| name != "NOTION_API_URL");
    launch.settings.push(("NOTION_API_URL".to_owned(), format!("http://{}", stand_in.address)));
    if let Some(concurrency) = concurrency {
        launch.settings.push(("WORKER_CONCURRENCY".to_owned(), concurrency.to_string()));
    }
    let program = launch.start().await?;
    let requests = Arc::new(Requests::make(Recipe::of(usize::try_from(EVENTS)?)));
    let length = Duration::from_mins(1);
    let load = Load { address: program.address, connections: CONNECTIONS, pace: Pace::Closed, length };
    let (began, before) = (Instant::now(), program.processor_seconds());
    let outcome = send(load, &requests, what).await?;
    outcome.must_be_whole()?;
    database.drained(Duration::from_mins(2)).await?;
    let elapsed = began.elapsed();
    let spent = before.zip(program.processor_seconds()).map_or(f64::NAN, |(before, after)| after - before);
    program.stop().await?;
    stand_in.stop().await?;
    must_be_delivered(&database, NOTION, EVENTS).await?;
    world.finish(database).await?;
    Ok(figures([
        ("per_second", f64::from(EVENTS) / elapsed.as_secs_f64()),
        ("program_us", spent * 1e6 / f64::from(EVENTS)),
    ]))
}

/// One event at a time to an idle service.
pub async fn wake(world: &World) -> anyhow::Result<Figures> {
    const ROUNDS: u32 = 40;
    let database = world.database("bench_wake").await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let (seen, mut pages) = mpsc::unbounded_channel();
    let (end, ended) = oneshot::channel::<()>();
    let serving = tokio::spawn(notion::serve(listener, Some(seen), async {
        // Ends with a message or when the sender is dropped.
        let _ended = ended.await;
    }));
    let mut launch = world.service(&database);
    launch.settings.retain(|(name, _)| name != "NOTION_API_URL");
    launch.settings.push(("NOTION_API_URL".to_owned(), format!("http://{address}")));
    let program = launch.start().await?;
    let requests = Arc::new(Requests::make(Recipe::of(usize::try_from(ROUNDS)? + 1)));
    let mut connection = crate::connection::Connection::open(program.address).await?;
    let mut after_answer = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
    let mut after_send = after_answer.clone();
    for round in 0..=ROUNDS {
        tokio::time::sleep(AT_REST_AFTER).await;
        let request = requests.take().context("an event")?;
        let sent = Instant::now();
        let answer = connection.ask(&request).await?;
        let answered = Instant::now();
        if answer.status != 200 {
            bail!("an event was answered {}", answer.status);
        }
        let page = tokio::time::timeout(Duration::from_secs(10), pages.recv()).await?.context("a page")?;
        // Before the first page, the columns are read.
        if round > 0 {
            let microseconds = |since| u64::try_from(page.saturating_duration_since(since).as_micros());
            after_answer.saturating_record(microseconds(answered)?);
            after_send.saturating_record(microseconds(sent)?);
        }
    }
    program.stop().await?;
    let _told = end.send(());
    serving.await??;
    world.finish(database).await?;
    let ms = |histogram: &Histogram<u64>, quantile| count(histogram.value_at_quantile(quantile)) / 1000.0;
    Ok(figures([
        ("p50_ms", ms(&after_answer, 0.5)),
        ("max_ms", ms(&after_answer, 1.0)),
        ("from_webhook_p50_ms", ms(&after_send, 0.5)),
        ("from_webhook_max_ms", ms(&after_send, 1.0)),
    ]))
}

/// 600 events over 60 objects in object mode, with the default limiter, at a Notion with the real one's
/// limit.
pub async fn burst(world: &World) -> anyhow::Result<Figures> {
    const EVENTS: usize = 600;
    const OBJECTS: usize = 60;
    let database = world.database("bench_burst").await?;
    let options = SandboxOptions { template: Template::Full, ..SandboxOptions::default() };
    let sandbox = Sandbox::start((Ipv4Addr::LOCALHOST, 0).into(), options).await?;
    let mut launch = world.service(&database);
    launch.settings.retain(|(name, _)| !matches!(name.as_str(), "NOTION_API_URL" | "NOTION_RATE_PER_MINUTE"));
    launch.settings.push(("NOTION_API_URL".to_owned(), sandbox.base_url().to_owned()));
    launch.settings.push(("NOTION_MODE".to_owned(), "object".to_owned()));
    let program = launch.start().await?;
    let requests = Arc::new(Requests::make(Recipe { objects: Some(OBJECTS), ..Recipe::of(EVENTS) }));
    let load = Load {
        address: program.address,
        connections: 16,
        pace: Pace::Closed,
        length: Duration::from_mins(1),
    };
    let began = Instant::now();
    send(load, &requests, "burst").await?.must_be_whole()?;
    database.drained(Duration::from_mins(3)).await?;
    let reflected_after = began.elapsed();
    program.stop().await?;
    let (newest, others): (i64, i64) = sqlx::query_as(
        "select count(*) filter (where status = 'success'), count(*) filter (where status = 'superseded')
           from eventbridge.executions",
    )
    .fetch_one(&database.pool)
    .await?;
    let throttled: i64 =
        sqlx::query_scalar("select count(*) from eventbridge.attempts where response_code = 429")
            .fetch_one(&database.pool)
            .await?;
    let handle = sandbox.handle();
    let (pages, calls) = (handle.page_count(), handle.request_count());
    sandbox.shutdown().await;
    if pages != OBJECTS || newest + others != i64::try_from(EVENTS)? {
        bail!("{pages} pages for {OBJECTS} objects; {newest} states shown, {others} superseded");
    }
    world.finish(database).await?;
    Ok(figures([
        ("seconds", reflected_after.as_secs_f64()),
        ("calls", count(calls)),
        ("refused", count(u64::try_from(throttled)?)),
    ]))
}
