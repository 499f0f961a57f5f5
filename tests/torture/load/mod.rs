//! The load: a seeded stream of signed events, with duplicates and out of order, each sent again until it
//! is answered 200, as Stripe does; and the record of the responses.

mod ledger;
mod plan;
mod story;

pub use ledger::Ledger;
pub use plan::{Cells, Plan};

use crate::observer::Observer;
use crate::world::{SECRET, World};
use chrono::{DateTime, Utc};
use eventbridge::http_client;
use eventbridge::sources::stripe;
use ledger::Answer;
use plan::Copy;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a sender waits for a response. A stopped replica sends none.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How often a copy of an event is sent before its sender stops trying.
const TRIES_MAX: u32 = 500;

/// How many copies are in flight at once.
const UNDER_WAY_MAX: usize = 256;

/// The senders at work.
pub struct Sending {
    sending: JoinHandle<()>,
    enough: CancellationToken,
}

impl Sending {
    /// Waits until every copy was answered or abandoned.
    pub async fn join(&mut self) {
        // A panic of a sender has been printed; its event counts as unanswered.
        let _ = (&mut self.sending).await;
    }

    /// Starts no further copies.
    pub fn enough(&self) {
        self.enough.cancel();
    }

    /// Aborts all senders.
    pub fn abort(&self) {
        self.sending.abort();
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.abort();
    }
}

/// Starts sending.
pub fn start(
    plan: &Plan,
    world: &Arc<World>,
    observer: &Observer,
    ledger: &Arc<Ledger>,
) -> anyhow::Result<Sending> {
    let (copies, seed) = (plan.copies.clone(), plan.seed);
    let client = http_client::client(&"http://127.0.0.1".parse()?, ANSWER_MAX)?;
    let sender =
        Arc::new(Sender { client, world: world.clone(), observer: observer.clone(), ledger: ledger.clone() });
    let enough = CancellationToken::new();
    let stopped = enough.clone();
    let sending = tokio::spawn(async move {
        let began = Instant::now();
        let room = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        let mut senders = JoinSet::new();
        for (copy, place) in copies.into_iter().zip(0_u64..) {
            if stopped.run_until_cancelled(tokio::time::sleep_until(began + copy.at)).await.is_none() {
                break;
            }
            let Ok(permit) = room.clone().acquire_owned().await else { return };
            let sender = sender.clone();
            senders.spawn(async move {
                sender.send_until_accepted(&copy, StdRng::seed_from_u64(seed ^ (place << 20))).await;
                drop(permit);
            });
            while senders.try_join_next().is_some() {}
        }
        while senders.join_next().await.is_some() {}
    });
    Ok(Sending { sending, enough })
}

struct Sender {
    client: reqwest::Client,
    world: Arc<World>,
    observer: Observer,
    ledger: Arc<Ledger>,
}

impl Sender {
    async fn send_until_accepted(&self, copy: &Copy, mut rng: StdRng) {
        let (began, mut place) = (Instant::now(), copy.replica);
        for _ in 0..TRIES_MAX {
            let Some(replica) = self.world.replicas.get(place) else { return };
            let answer = self.send(&replica.webhook(), &copy.event.body).await.unwrap_or(Answer::Nothing);
            self.ledger.note(&copy.event.id, &answer);
            match answer {
                Answer::Taken { .. } => return self.ledger.waited(began.elapsed()),
                Answer::Shed | Answer::Nothing => {}
                Answer::Other(answer) => {
                    let evidence = vec![copy.event.id.clone(), answer];
                    self.observer.breach("an event was answered neither 200 nor 503", evidence);
                }
            }
            tokio::time::sleep(Duration::from_millis(rng.random_range(50..1000))).await;
            place = rng.random_range(0..2);
        }
    }

    async fn send(&self, url: &str, body: &str) -> Result<Answer, reqwest::Error> {
        let now: DateTime<Utc> = SystemTime::now().into();
        let request = self
            .client
            .post(url)
            .header("Content-Type", "application/json; charset=utf-8")
            .header(stripe::HEADER, stripe::sign(SECRET, body.as_bytes(), now.timestamp()))
            .body(body.to_owned());
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        Ok(match (status, answer.get("accepted").and_then(Value::as_bool)) {
            (200, Some(new)) => Answer::Taken { new },
            (503 | 504, _) => Answer::Shed,
            _ => Answer::Other(format!("{status} {text}")),
        })
    }
}
