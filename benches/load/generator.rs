//! The senders: many connections on one thread, so that they take little from the measured program.
//!
//! *Closed*: each connection sends its next event when it has the response to the last one. This measures
//! the throughput. *Open*: events are due at a fixed rate, independent of earlier ones, and the latency
//! counts from when the event was due, not from when a connection was free to send it. So a stall counts
//! for every event that it delayed. *Gated*: a closed loop that pauses while its gate is closed.

use crate::connection::{Answer, Connection};
use crate::events::Requests;
use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};
use tokio::task::LocalSet;

/// How long responses may take after the last request.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// The tick of an open loop.
const TICK: Duration = Duration::from_micros(200);

/// This many broken connections are a result; more are an error.
const BROKEN_MAX: u64 = 10_000;

/// Whether the senders of a closed loop may send. The measurement opens and closes it meanwhile.
pub type Gate = watch::Receiver<bool>;

/// A gate that is always open.
pub fn open_gate() -> Gate {
    watch::channel(true).1
}

/// When a connection sends its next event.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// When it has the answer to the last one.
    Closed,
    /// When it is due, at this many per second over all connections.
    Open {
        /// The rate.
        per_second: f64,
    },
}

/// A load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// The target address.
    pub address: SocketAddr,
    /// The number of connections.
    pub connections: usize,
    /// The pace.
    pub pace: Pace,
    /// The duration.
    pub length: Duration,
}

/// The result of a load.
pub struct Outcome {
    /// Responses 200 to new events.
    pub new: u64,
    /// Responses 200 to duplicates.
    pub known: u64,
    /// Other responses by status.
    pub refused: BTreeMap<u16, u64>,
    /// Requests whose connection broke.
    pub broken: u64,
    /// The latencies of responses 200, in microseconds.
    pub latency: Histogram<u64>,
    /// From the first request to the last response.
    pub elapsed: Duration,
}

impl Outcome {
    fn nothing() -> anyhow::Result<Self> {
        Ok(Self {
            new: 0,
            known: 0,
            refused: BTreeMap::new(),
            broken: 0,
            latency: Histogram::new_with_bounds(1, 120_000_000, 3)?,
            elapsed: Duration::ZERO,
        })
    }

    fn count(&mut self, answer: Answer, took: Duration) {
        match answer.status {
            200 if answer.is_new => self.new += 1,
            200 => self.known += 1,
            other => {
                *self.refused.entry(other).or_default() += 1;
                return;
            }
        }
        self.latency.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Responses 200 per second.
    pub fn per_second(&self) -> f64 {
        count(self.new + self.known) / self.elapsed.as_secs_f64()
    }

    /// A quantile of the latency in milliseconds.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        count(self.latency.value_at_quantile(quantile)) / 1000.0
    }

    /// Fails if any request was answered with another status than 200.
    pub fn must_be_whole(&self) -> anyhow::Result<()> {
        if self.broken > 0 || !self.refused.is_empty() {
            bail!("{} requests broke, and of the answers were no 200: {:?}", self.broken, self.refused);
        }
        Ok(())
    }
}

/// A count as a floating-point number.
#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^52")]
pub fn count(number: u64) -> f64 {
    number as f64
}

/// Sends these requests and waits for the responses.
pub async fn send(load: Load, requests: &Arc<Requests>, what: &str) -> anyhow::Result<Outcome> {
    send_through(load, requests, what, open_gate()).await
}

/// The same, while the gate is open.
pub async fn send_through(
    load: Load,
    requests: &Arc<Requests>,
    what: &str,
    gate: Gate,
) -> anyhow::Result<Outcome> {
    let (requests, what) = (requests.clone(), what.to_owned());
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, all(load, requests, what, gate))
    })
    .await?
}

async fn all(load: Load, requests: Arc<Requests>, what: String, gate: Gate) -> anyhow::Result<Outcome> {
    let mut connections = Vec::with_capacity(load.connections);
    for _ in 0..load.connections {
        connections.push(Connection::open(load.address).await?);
    }
    let sender = Rc::new(Sender {
        load,
        requests,
        outcome: RefCell::new(Outcome::nothing()?),
        began: Instant::now(),
        due: Schedule::of(load),
    });
    let pacer = sender.due.as_ref().map(|schedule| schedule.run(sender.began));
    let bar = bar(&sender, what);
    let sending: Vec<_> = connections
        .into_iter()
        .map(|connection| tokio::task::spawn_local(sender.clone().run(connection, gate.clone())))
        .collect();
    let answered = async {
        for sending in sending {
            sending.await??;
        }
        anyhow::Ok(())
    };
    let answered = tokio::time::timeout(load.length + LAST_ANSWERS_WITHIN, answered).await;
    bar.abort();
    if let Some(pacer) = pacer {
        pacer.join().map_err(|_| anyhow::anyhow!("the pacer broke"))?;
    }
    answered.context("answers did not come in time")??;
    let elapsed = sender.began.elapsed();
    let outcome = std::mem::replace(&mut *sender.outcome.borrow_mut(), Outcome::nothing()?);
    Ok(Outcome { elapsed, ..outcome })
}

struct Sender {
    load: Load,
    requests: Arc<Requests>,
    outcome: RefCell<Outcome>,
    began: Instant,
    due: Option<Schedule>,
}

impl Sender {
    async fn run(self: Rc<Self>, mut connection: Connection, mut gate: Gate) -> anyhow::Result<()> {
        loop {
            let since = match &self.due {
                None => {
                    // A gate that can no longer open ends the load.
                    let is_open = gate.wait_for(|is_open| *is_open).await.is_ok();
                    if !is_open || self.began.elapsed() >= self.load.length {
                        return Ok(());
                    }
                    Instant::now()
                }
                Some(schedule) => match schedule.next(self.began).await {
                    Some(due) => due,
                    None => return Ok(()),
                },
            };
            let Some(request) = self.requests.take() else { return Ok(()) };
            let stays_open = match connection.ask(&request).await {
                Ok(answer) => {
                    self.outcome.borrow_mut().count(answer, since.elapsed());
                    answer.stays_open
                }
                Err(error) => {
                    let mut outcome = self.outcome.borrow_mut();
                    outcome.broken += 1;
                    if outcome.broken > BROKEN_MAX {
                        return Err(error);
                    }
                    false
                }
            };
            if !stays_open {
                connection = Connection::open(self.load.address).await?;
            }
        }
    }
}

/// When the events of an open loop are due.
struct Schedule {
    per_second: f64,
    total: u64,
    length: Duration,
    used: Cell<u64>,
    /// One permit for each event that was due by now.
    due: Arc<Semaphore>,
}

impl Schedule {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of events"
    )]
    fn of(load: Load) -> Option<Self> {
        let Pace::Open { per_second } = load.pace else { return None };
        let total = (per_second * load.length.as_secs_f64()) as u64;
        let due = Arc::new(Semaphore::new(0));
        Some(Self { per_second, total, length: load.length, used: Cell::new(0), due })
    }

    /// Releases events when they are due, on a thread of its own: timers of the runtime are too coarse.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of events"
    )]
    fn run(&self, began: Instant) -> thread::JoinHandle<()> {
        let (per_second, total, length, due) = (self.per_second, self.total, self.length, self.due.clone());
        thread::spawn(move || {
            let mut released = 0;
            while released < total {
                let elapsed = began.elapsed();
                let by_now =
                    if elapsed >= length { total } else { (elapsed.as_secs_f64() * per_second) as u64 };
                due.add_permits(usize::try_from(by_now - released).unwrap_or_default());
                released = by_now;
                thread::sleep(TICK);
            }
        })
    }

    /// Waits for the next event and returns when it was due; `None` when all are used.
    async fn next(&self, began: Instant) -> Option<Instant> {
        let number = self.used.get();
        if number >= self.total {
            return None;
        }
        self.used.set(number + 1);
        self.due.acquire().await.ok()?.forget();
        Some(began + Duration::from_secs_f64(count(number) / self.per_second))
    }
}

/// A progress bar on a terminal, otherwise nothing.
fn bar(sender: &Rc<Sender>, what: String) -> tokio::task::JoinHandle<()> {
    let sender = sender.clone();
    let length = sender.load.length;
    let bar = ProgressBar::new(u64::try_from(length.as_millis()).unwrap_or_default()).with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {prefix} answers") {
        bar.set_style(style);
    }
    tokio::task::spawn_local(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            bar.set_position(u64::try_from(sender.began.elapsed().as_millis()).unwrap_or_default());
            bar.set_prefix(sender.outcome.borrow().latency.len().to_string());
        }
    })
}
