//! The ceilings of this machine: HTTP without a database, Postgres without HTTP, and the simple way with
//! a commit for each request.

use super::figures;
use super::ingest::{load, must_be_there, of};
use crate::events::{Recipe, Requests};
use crate::figures::Figures;
use crate::generator::{Pace, count};
use crate::role::IDLE;
use crate::world::{SECRET, World};
use anyhow::Context;
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use eventbridge::config::InstanceName;
use eventbridge::domain::event::NewEvent;
use eventbridge::domain::execution::{Mode, NewExecution};
use eventbridge::sources::Source;
use eventbridge::sources::stripe::{HEADER, NamedSecret, Stripe};
use eventbridge::store::{IncomingEvent, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

/// Verified, parsed, answered, not stored.
pub async fn nothing(world: &World) -> anyhow::Result<Figures> {
    let program = world.part("nothing", None)?.start().await?;
    let measured = load(world, &program, world.options.connections.into(), Pace::Closed, "nothing").await?;
    program.stop().await?;
    Ok(of(&measured))
}

/// A commit for each request.
pub async fn each(world: &World) -> anyhow::Result<Figures> {
    let database = world.database("bench_each").await?;
    let program = world.part("each", Some(&database))?.start().await?;
    let measured = load(world, &program, world.options.connections.into(), Pace::Closed, "each").await?;
    program.stop().await?;
    must_be_there(&database, 0, measured.new).await?;
    world.finish(database).await?;
    Ok(of(&measured))
}

/// The statement of ingest, with batches of the largest size, on its number of connections.
pub async fn postgres(world: &World) -> anyhow::Result<Figures> {
    const BATCH: usize = 256;
    const CONNECTIONS: usize = 2;
    const EVENTS_MAX: usize = 400_000;
    let database = world.database("bench_postgres").await?;
    let store = Store::connect_lazily(&database.url.as_str().into(), 16)?;
    let total = EVENTS_MAX.min(60_000 * usize::try_from(world.options.seconds)?);
    let events: Arc<Vec<NewEvent>> = Arc::new(tokio::task::spawn_blocking(move || events(total)).await??);
    world.settle().await?;
    let (used, began, length) = (Arc::new(AtomicUsize::new(0)), Instant::now(), world.options.length());
    let writers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (store, events, used) = (store.clone(), events.clone(), used.clone());
            tokio::spawn(async move {
                let execution =
                    [NewExecution { destination: IDLE.to_owned(), mode: Mode::Event, lane: None }];
                let mut written = 0;
                while began.elapsed() < length {
                    let from = used.fetch_add(BATCH, Ordering::Relaxed);
                    let Some(batch) = events.get(from..from + BATCH) else { break };
                    let batch: Vec<_> =
                        batch.iter().map(|event| IncomingEvent { event, executions: &execution }).collect();
                    written += batch.len() - store.intake.insert_events(&batch).await?.len();
                }
                anyhow::Ok(written)
            })
        })
        .collect();
    let mut written = 0;
    for writer in writers {
        written += u64::try_from(writer.await??)?;
    }
    let elapsed = began.elapsed();
    store.db.close().await;
    must_be_there(&database, 0, written).await?;
    world.finish(database).await?;
    Ok(figures([("per_second", count(written) / elapsed.as_secs_f64())]))
}

/// Events as the source returns them.
fn events(total: usize) -> anyhow::Result<Vec<NewEvent>> {
    let secret = NamedSecret { name: "secret-1".to_owned(), secret: SECRET.into() };
    let source = Stripe::new(&InstanceName::of_kind("stripe"), vec![secret]);
    let requests = Requests::make(Recipe::of(total));
    let mut events = Vec::with_capacity(total);
    while let Some(request) = requests.take() {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut parsed = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(head) = parsed.parse(&request)? else { continue };
        let signature = parsed
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(HEADER))
            .context("signed")?;
        let headers: HeaderMap =
            [(HEADER.parse()?, HeaderValue::from_bytes(signature.value)?)].into_iter().collect();
        let body = Bytes::copy_from_slice(request.get(head..).unwrap_or_default());
        events.push(source.receive(&headers, body, SystemTime::now().into())?);
    }
    Ok(events)
}
