//! Records verdicts in batches: whatever has ended while the last batch was written goes together.

use super::POLL;
use super::held::Holding;
use crate::domain::execution::ExecutionId;
use crate::store::{Claimed, Conclusion, Fate, Finished, LaneVerdict, Store, StoreError, Wake};
use crate::telemetry::{Ended, Metrics, Overseer};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{error, warn};

const QUEUE_MAX: usize = 1024;
const BATCH_MAX: usize = 256;

/// How long the database may take; a verdict that it has recorded meanwhile is not recorded twice.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// How long to wait before writing again what a database that is away did not take.
const DATABASE_AWAY: Duration = Duration::from_secs(1);

/// The recorder.
pub(super) struct Finisher {
    ended: mpsc::Sender<Verdict>,
    recording: JoinHandle<Option<()>>,
}

/// The way to the recorder.
#[derive(Clone)]
pub(super) struct Verdicts(mpsc::Sender<Verdict>);

impl Finisher {
    pub(super) fn start(
        store: Store,
        wake: Wake,
        metrics: Metrics,
        progress: watch::Sender<u64>,
        overseer: &Overseer,
    ) -> Self {
        let (sender, ended) = mpsc::channel(QUEUE_MAX);
        let recorder = Recorder { store, wake, metrics, progress };
        Self {
            ended: sender,
            recording: tokio::spawn(overseer.clone().vital("recorder", recorder.run(ended))),
        }
    }

    /// The way to it, for one delivery.
    pub(super) fn verdicts(&self) -> Verdicts {
        Verdicts(self.ended.clone())
    }

    /// Records what was handed over and ends; to be called when no delivery runs any more.
    pub(super) async fn close(self) {
        drop(self.ended);
        if let Err(error) = self.recording.await {
            warn!(%error, "the recorder of verdicts broke");
        }
    }
}

impl Verdicts {
    /// Hands a verdict over; waits where too many wait already.
    pub(super) async fn send(&self, ending: Ending, tally: Tally, holding: Holding) {
        if self.0.send(Verdict { ending, tally, holding }).await.is_err() {
            warn!("a verdict came after the end; its execution is rescued");
        }
    }
}

/// A verdict, and the lease that it needs until it is recorded.
struct Verdict {
    ending: Ending,
    tally: Tally,
    holding: Holding,
}

/// What is counted of an execution once its verdict is recorded.
#[derive(Debug)]
pub(super) struct Tally {
    destination: String,
    /// When its event was received, by this machine's steady clock; nothing where the machine has
    /// not been up for so long.
    received: Option<Instant>,
    /// Whether it had no page before, and nobody put it into the queue by hand: then the time since its
    /// receipt says how fast this service is.
    is_first: bool,
}

impl Tally {
    /// What is known when it is claimed.
    pub(super) fn of(claimed: &Claimed, leased: Instant) -> Self {
        Self {
            destination: claimed.destination.clone(),
            received: leased.checked_sub(claimed.age),
            is_first: claimed.remote.is_none() && !claimed.is_by_hand,
        }
    }

    fn count(&self, finished: &Finished, metrics: &Metrics) {
        metrics.attempt(&self.destination, finished.outcome, finished.duration);
        match finished.conclusion {
            Conclusion::Success(_) => self.count_page(metrics),
            Conclusion::Failed => metrics.ended(&self.destination, Ended::Failed, 1),
            Conclusion::Skipped => metrics.ended(&self.destination, Ended::Skipped, 1),
            Conclusion::Postponed { .. } => {}
        }
    }

    fn count_lane(&self, head: &Finished, fate: &Fate, metrics: &Metrics) {
        metrics.attempt(&self.destination, head.outcome, head.duration);
        match fate {
            Fate::Shown { superseded, .. } => {
                self.count_page(metrics);
                metrics.ended(&self.destination, Ended::Superseded, superseded.len());
            }
            Fate::ShownBefore { superseded } => {
                metrics.ended(&self.destination, Ended::Superseded, superseded.len());
            }
            Fate::Refused => metrics.ended(&self.destination, Ended::Failed, 1),
        }
    }

    fn count_page(&self, metrics: &Metrics) {
        metrics.ended(&self.destination, Ended::Success, 1);
        if let Some(received) = self.received.filter(|_| self.is_first) {
            metrics.page_after(&self.destination, received.elapsed());
        }
    }
}

type Tallies = HashMap<ExecutionId, Tally>;

/// How a claimed execution ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// By itself.
    Single(Finished),
    /// Together with what waits in its lane.
    Lane(Finished, LaneVerdict),
}

struct Recorder {
    store: Store,
    wake: Wake,
    metrics: Metrics,
    progress: watch::Sender<u64>,
}

impl Recorder {
    async fn run(self, mut ended: mpsc::Receiver<Verdict>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while ended.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let (mut finished, mut holdings, mut tallies) = (Vec::new(), Vec::new(), Tallies::new());
            for Verdict { ending, tally, holding } in batch.drain(..) {
                holdings.push(holding);
                match ending {
                    Ending::Single(single) => {
                        tallies.insert(single.id, tally);
                        finished.push(single);
                    }
                    Ending::Lane(head, verdict) => self.write_lane(&head, &verdict, &tally).await,
                }
            }
            if !finished.is_empty() {
                // In one order, as all who lock many of them, so that nobody waits in a circle.
                finished.sort_by_key(|finished| finished.id.0);
                self.write(&finished, &tallies).await;
            }
        }
    }

    /// Records a lane's verdict; where the database refuses it, what is left of it without the
    /// destination's words.
    async fn write_lane(&self, head: &Finished, verdict: &LaneVerdict, tally: &Tally) {
        let Err(error) = self.record_lane(head, verdict, tally).await else { return };
        error!(%error, execution_id = head.id.0, "the database refuses a lane's verdict");
        if let Err(error) = self.record_lane(&head.without_texts(), &verdict.without_texts(), tally).await {
            error!(%error, execution_id = head.id.0, "and what is left of it; its lease is freed later");
        }
    }

    /// As [`record`](Self::record), for a lane's verdict.
    async fn record_lane(
        &self,
        head: &Finished,
        verdict: &LaneVerdict,
        tally: &Tally,
    ) -> Result<(), StoreError> {
        loop {
            match in_time(self.store.queue.finish_lane(head, verdict)).await {
                Ok(true) => {
                    // What waits behind the head may be due now.
                    self.wake.ring();
                    tally.count_lane(head, &verdict.fate, &self.metrics);
                    self.progress.send_modify(|recorded| *recorded += 1);
                    return Ok(());
                }
                Ok(false) => {
                    warn!(execution_id = head.id.0, "its lease was lost, so this verdict counts for nothing");
                    return Ok(());
                }
                Err(error @ StoreError::Refused(_)) => return Err(error),
                Err(error) => {
                    warn!(%error, "could not record a lane's verdict; trying again");
                    tokio::time::sleep(DATABASE_AWAY).await;
                }
            }
        }
    }

    /// Records a batch; where the database refuses it, each verdict by itself.
    async fn write(&self, batch: &[Finished], tallies: &Tallies) {
        if let Err(error) = self.record(batch, tallies).await {
            warn!(%error, verdicts = batch.len(), "the database refuses verdicts");
            for finished in batch {
                if let Err(error) = self.record(std::slice::from_ref(finished), tallies).await {
                    error!(%error, execution_id = finished.id.0, "the database refuses a verdict");
                    let bare = Finished::without_texts(finished);
                    if let Err(error) = self.record(std::slice::from_ref(&bare), tallies).await {
                        error!(%error, execution_id = finished.id.0, "and what is left of it; its lease is freed later");
                    }
                }
            }
        }
    }

    /// Tries until the database takes or refuses the verdicts: a lease holds as long as its process
    /// lives, so nobody else would end these executions. The error is the refusal.
    async fn record(&self, batch: &[Finished], tallies: &Tallies) -> Result<(), StoreError> {
        loop {
            match in_time(self.store.queue.finish(batch)).await {
                Ok(changed) => {
                    for lost in batch.iter().filter(|finished| !changed.contains(&finished.id)) {
                        warn!(
                            execution_id = lost.id.0,
                            "its lease was lost, so this verdict counts for nothing"
                        );
                    }
                    for finished in batch.iter().filter(|finished| changed.contains(&finished.id)) {
                        if let Some(tally) = tallies.get(&finished.id) {
                            tally.count(finished, &self.metrics);
                        }
                    }
                    self.wake_for_what_is_due_soon(batch);
                    self.progress.send_modify(|recorded| *recorded += changed.len() as u64);
                    return Ok(());
                }
                Err(error @ StoreError::Refused(_)) => return Err(error),
                Err(error) => {
                    warn!(%error, verdicts = batch.len(), "could not record verdicts; trying again");
                    tokio::time::sleep(DATABASE_AWAY).await;
                }
            }
        }
    }

    /// Short waits need not wait for the next poll.
    fn wake_for_what_is_due_soon(&self, batch: &[Finished]) {
        let waits = batch.iter().filter_map(|finished| match finished.conclusion {
            Conclusion::Postponed { wait, .. } => Some(wait),
            _ => None,
        });
        match waits.min() {
            Some(Duration::ZERO) => self.wake.ring(),
            Some(wait) if wait < POLL => {
                let wake = self.wake.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    wake.ring();
                });
            }
            _ => {}
        }
    }
}

/// A connection that died without a word would be waited for much longer.
async fn in_time<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(ANSWER_WITHIN, asked).await.unwrap_or(Err(StoreError::TimedOut))
}
