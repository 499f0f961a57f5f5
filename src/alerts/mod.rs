//! Alerts of the service's own: a few conditions, each told once, however many processes see it.
//!
//! One process at a time has the duty to look; what it finds stands in the database, and whoever
//! takes a row on tells it, so a message that finds no receiver is tried again by whichever process
//! lives. Only a database in trouble is told by each process by itself: nothing else could.

mod conditions;
mod message;
mod sender;
mod settings;

pub use sender::{AlertError, send_test_alert};
pub use settings::{Address, AlertSettings, Format, Receiver, Thresholds, settings};

use crate::domain::rejection::rejected_in_a_row;
use crate::domain::silence::{self, BusyHour};
use crate::domain::source::SourceCatalog;
use crate::store::{Condition, DueAlert, Store, StoreError};
use chrono::{DateTime, Utc};
use conditions::{Seen, conditions};
use futures_util::future::join_all;
use message::{Message, State};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use url::Url;
use uuid::Uuid;

/// The duty of those who tell alerts, and that of those who say that all is well and tell none: whoever
/// has no receiver must not keep one who has from telling.
const TELLING: &str = "alerts";
const BEATING: &str = "heartbeat";

/// How long a process that has fallen silent keeps the duty.
const DUTY_FOR: Duration = Duration::from_secs(45);

/// How long one look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(10);

/// The time between two signs that all is well.
const BEAT_EVERY: Duration = Duration::from_mins(1);

/// The wait before telling again of a database in trouble.
const TELL_AGAIN: Duration = Duration::from_secs(30);

/// How long the database may take to hear that the duty is free.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// The silence of all workers after which not all is well.
const WORKERS_SILENT: Duration = Duration::from_secs(15);

/// Failures are told for so long after the last one.
const FAILURES_OF_LATE: Duration = Duration::from_hours(1);

/// What alerts are about.
#[derive(Clone)]
pub struct Subject {
    /// The destination instances of this process.
    pub instances: Arc<[String]>,
    /// The sources, which find the causes of rejected requests.
    pub sources: Arc<dyn SourceCatalog>,
    /// The time that is told where the database cannot tell it.
    pub clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
}

/// Looks and tells until told to stop. Does nothing where nobody is to be told.
pub async fn watch(store: Store, subject: Subject, settings: AlertSettings, stop: CancellationToken) {
    if settings.receiver.is_none() && settings.heartbeat.is_none() {
        return;
    }
    let mut watch =
        Watch { store, subject, settings, myself: Uuid::new_v4(), next_beat: Instant::now(), trouble: None };
    let watching = async {
        loop {
            watch.round().await;
            tokio::time::sleep(watch.settings.look_every).await;
        }
    };
    if stop.run_until_cancelled(watching).await.is_none() {
        watch.leave().await;
    }
}

struct Watch {
    store: Store,
    subject: Subject,
    settings: AlertSettings,
    myself: Uuid,
    next_beat: Instant,
    trouble: Option<Trouble>,
}

/// The database is in trouble, or was and its end is not told yet.
struct Trouble {
    since: DateTime<Utc>,
    over_at: Option<DateTime<Utc>>,
    is_told: bool,
    next_try: Instant,
}

impl Watch {
    async fn round(&mut self) {
        // A write, also where another process has the duty: a database that takes none is told.
        let taken = in_time(self.store.named_leases.acquire(self.duty(), self.myself, DUTY_FOR)).await;
        match taken {
            Ok(is_ours) => {
                self.out_of_trouble().await;
                if is_ours {
                    self.beat().await;
                    let to_tell =
                        if self.settings.receiver.is_some() { self.look().await } else { Vec::new() };
                    // Side by side: nobody else takes them on as long as a single one can take.
                    join_all(to_tell.iter().map(|alert| self.tell(alert))).await;
                }
            }
            Err(error) => {
                warn!(%error, "could not look whether there is something to tell");
                self.in_trouble().await;
            }
        }
    }

    const fn duty(&self) -> &'static str {
        if self.settings.receiver.is_some() { TELLING } else { BEATING }
    }

    /// Looks, and takes on what is to be told. A look that fails is no trouble of the database's, which
    /// has just taken a write: what it would have seen stays as it was, and the others are told.
    async fn look(&self) -> Vec<DueAlert> {
        let (seen, kinds) = self.see().await;
        let found = conditions(&seen, &self.settings.thresholds);
        if let Err(error) = in_time(self.store.alerts.record_conditions(&kinds, &found)).await {
            warn!(%error, "could not record what is to be told");
        }
        in_time(self.store.alerts.take_alerts()).await.unwrap_or_else(|error| {
            warn!(%error, "could not read what is to be told");
            Vec::new()
        })
    }

    /// What is to be seen, and the kinds of conditions of which all was seen.
    async fn see(&self) -> (Seen, Vec<&'static str>) {
        let (store, instances) = (&self.store, &self.subject.instances);
        let mut kinds = Vec::new();
        let mut seen = Seen::default();
        let Some(now) = told_if_not("the time", store.reports.now()).await else { return (seen, kinds) };
        seen.now = now;
        if let Some(held) = told_if_not("held", store.destinations.paused(instances)).await {
            seen.held = held;
            kinds.push("held");
        }
        if let Some(backlog) = told_if_not("backlog", store.reports.backlog(instances)).await {
            seen.backlog = backlog;
            kinds.push("backlog");
        }
        if let Some(failures) =
            told_if_not("failures", store.reports.failures_of_late(FAILURES_OF_LATE)).await
        {
            seen.failures = failures;
            kinds.push("failures");
        }
        let Some(last) = told_if_not("the last event", store.rejections.last_accepted_at()).await else {
            return (seen, kinds);
        };
        seen.last_accepted_at = last;
        if let Some(rejections) = told_if_not("rejected", store.rejections.rejections()).await {
            seen.rejected = rejected_in_a_row(&rejections, last, self.subject.sources.as_ref(), now);
            kinds.push("rejected");
        }
        if let Some(hours) = told_if_not("silence", self.hours(last, now)).await {
            seen.hours = hours;
            kinds.push("silence");
        }
        (seen, kinds)
    }

    /// The hours before the last event in which something came in. What is usual need not be known while
    /// something came in of late.
    async fn hours(
        &self,
        last: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<Vec<BusyHour>, StoreError> {
        let Some(last) = last.filter(|last| now - silence::SHORTEST > *last) else { return Ok(Vec::new()) };
        self.store.statistics.busy_hours(last - silence::HOURS_LOOKED_AT, now).await
    }

    async fn tell(&self, alert: &DueAlert) {
        let Some(receiver) = &self.settings.receiver else { return };
        let state = match alert.resolved_at {
            None => State::Raised,
            Some(at) => State::Resolved { at },
        };
        let message = self.message(state, &alert.condition);
        let key = alert.condition.key.as_str();
        match sender::send(receiver, &message).await {
            Ok(()) => {
                info!(key, resolved = alert.resolved_at.is_some(), "told an alert");
                if let Err(error) = self.store.alerts.mark_notified(alert).await {
                    warn!(%error, key, "an alert was told and may be told once more");
                }
            }
            Err(error) => error!(%error, key, "could not tell an alert; it is tried again"),
        }
    }

    fn message(&self, state: State, condition: &Condition) -> Message {
        Message {
            state,
            key: condition.key.clone(),
            summary: condition.summary.clone(),
            remedy: condition.remedy.clone(),
            since: condition.since,
            link: self.settings.public_url.as_ref().and_then(|base| page(base, &condition.kind)),
        }
    }

    /// Says once a minute that all is well: the database has just taken a write, and workers beat.
    async fn beat(&mut self) {
        let Some(address) = &self.settings.heartbeat else { return };
        if Instant::now() < self.next_beat {
            return;
        }
        let beats = async { self.subject.instances.is_empty() || self.a_worker_beats().await };
        if !beats.await {
            warn!("no worker beats, so nobody is told that all is well");
            return;
        }
        match sender::beat(address).await {
            Ok(()) => self.next_beat = Instant::now() + BEAT_EVERY,
            Err(error) => warn!(%error, "could not say that all is well"),
        }
    }

    async fn a_worker_beats(&self) -> bool {
        let asked =
            tokio::time::timeout(LOOK_WITHIN, self.store.reports.a_worker_beats(WORKERS_SILENT)).await;
        matches!(asked, Ok(Ok(true)))
    }

    /// Tells by itself that the database is in trouble, once that has lasted for a while.
    async fn in_trouble(&mut self) {
        let now = Instant::now();
        let trouble = self.trouble.get_or_insert_with(|| Trouble {
            since: (self.subject.clock)(),
            over_at: None,
            is_told: false,
            next_try: now + self.settings.database_trouble,
        });
        trouble.over_at = None;
        if !trouble.is_told && trouble.next_try <= now {
            self.tell_of_trouble().await;
        }
    }

    /// Tells that the trouble is over, where anybody has heard of it.
    async fn out_of_trouble(&mut self) {
        let Some(trouble) = &mut self.trouble else { return };
        if !trouble.is_told {
            self.trouble = None;
            return;
        }
        trouble.over_at.get_or_insert_with(|| (self.subject.clock)());
        if trouble.next_try <= Instant::now() {
            self.tell_of_trouble().await;
        }
    }

    async fn tell_of_trouble(&mut self) {
        let (Some(receiver), Some(trouble)) = (&self.settings.receiver, &self.trouble) else { return };
        let condition = Condition {
            key: "database".to_owned(),
            kind: "database".to_owned(),
            failure_group: None,
            summary: "A process cannot work with its database, so webhooks are answered 503.".to_owned(),
            remedy: "See whether the database runs, takes writes and connections, and has room on its disk; the log says what it answers. Nothing is lost: Stripe sends again what was not taken, for up to three days.".to_owned(),
            since: trouble.since,
        };
        let state = trouble.over_at.map_or(State::Raised, |at| State::Resolved { at });
        let sent = sender::send(receiver, &self.message(state, &condition)).await;
        let Some(trouble) = &mut self.trouble else { return };
        match sent {
            Ok(()) if trouble.over_at.is_some() => self.trouble = None,
            Ok(()) => trouble.is_told = true,
            Err(error) => {
                error!(%error, "could not tell that the database is in trouble; it is tried again");
                trouble.next_try = Instant::now() + TELL_AGAIN;
            }
        }
    }

    /// Lets another process take the duty at once.
    async fn leave(&self) {
        let left =
            tokio::time::timeout(LEAVE_WITHIN, self.store.named_leases.release(self.duty(), self.myself))
                .await;
        if let Ok(Err(error)) = left {
            warn!(%error, "another process looks for what is to be told only later");
        }
    }
}

/// What the database answers, if it does so in time.
async fn in_time<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(LOOK_WITHIN, asked).await.unwrap_or(Err(StoreError::TimedOut))
}

/// What one look saw; where it failed, the log says so.
async fn told_if_not<T>(what: &str, look: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
    in_time(look)
        .await
        .inspect_err(|error| warn!(%error, look = what, "could not look for what is to be told"))
        .ok()
}

/// Where people see what is the matter, by the kind of condition.
fn page(public_url: &Url, kind: &str) -> Option<Url> {
    let mut base = public_url.clone();
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", base.path()));
    }
    let path = match kind {
        "failures" => "failures",
        "backlog" => "executions?status=pending",
        "rejected" => "api/v1/rejections",
        // The dashboard's first page: its verdict names what is held, and when the last event came.
        "held" | "silence" => "",
        _ => "api/v1/health",
    };
    base.join(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_links_to_where_its_matter_is_seen() {
        let base: Url = "https://eventbridge.example.com/app".parse().expect("a URL");
        let link = |kind: &str| page(&base, kind).expect("a link").to_string();
        for (kind, path) in [
            ("failures", "failures"),
            ("backlog", "executions?status=pending"),
            ("rejected", "api/v1/rejections"),
            ("held", ""),
            ("database", "api/v1/health"),
        ] {
            assert_eq!(link(kind), format!("https://eventbridge.example.com/app/{path}"), "{kind}");
        }
    }
}
