//! Alerts: sends what the health assessment finds, each finding once, however many processes see it.
//!
//! [`health`] decides what is wrong. This module only records which findings are active, and sends notices
//! when one begins and when it ends. One process at a time evaluates, under a lease. Notices are rows in the
//! database, so another process sends what the first could not. Only a database failure is reported by each
//! process on its own, because nothing else could report it.
//!
//! During quiet hours only urgent notices are sent. The others are held in their rows, and one digest reports
//! them afterwards, so a restart loses none and replicas send it once.

mod digest;
mod message;
mod quiet_hours;
mod sender;
mod settings;

pub use quiet_hours::{InvalidQuietHours, QuietHours};
pub use sender::{AlertError, send_test_alert};
pub use settings::{Address, AlertSettings, Format, Receiver, settings};

use crate::health::{
    self, Finding, FindingKind, HealthStore, Notice, PartialSnapshot, Scope, Snapshot, Thresholds, Urgency,
    assess, database_unavailable,
};
use crate::store::{Alerts, Condition, DueAlert, NamedLeases, Store, StoreError};
use chrono::{DateTime, Utc};
use digest::Digest;
use futures_util::future::{join, join_all};
use message::{Message, State};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use url::Url;
use uuid::Uuid;

/// The lease of the process that sends alerts, and that of one that sends heartbeats only: a process
/// without a receiver must not keep one that has a receiver from sending.
const ALERTS_LEASE: &str = "alerts";
const HEARTBEAT_LEASE: &str = "heartbeat";

/// How long a lease lasts if its holder does not renew it.
const LEASE_FOR: Duration = Duration::from_secs(45);

/// How long one statement may take.
const STATEMENT_WITHIN: Duration = Duration::from_secs(10);

/// The time between two heartbeats.
const HEARTBEAT_EVERY: Duration = Duration::from_mins(1);

/// The wait before another try to report a database failure.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// How long releasing the lease may take.
const RELEASE_WITHIN: Duration = Duration::from_secs(2);

/// The parts of the store that alerts use. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AlertsStore {
    /// To record conditions and claim the due alerts.
    pub alerts: Alerts,
    /// To have one process at a time evaluate.
    pub named_leases: NamedLeases,
    /// To read the health snapshot.
    pub health: HealthStore,
}

impl From<&Store> for AlertsStore {
    fn from(store: &Store) -> Self {
        Self {
            alerts: store.alerts.clone(),
            named_leases: store.named_leases.clone(),
            health: HealthStore::from(store),
        }
    }
}

/// What alerts are about.
#[derive(Clone)]
pub struct Subject {
    /// What is assessed.
    pub scope: Scope,
    /// The limits by which it is assessed.
    pub thresholds: Thresholds,
    /// The clock to use while the database is unavailable.
    pub clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
}

/// Evaluates and sends until it is stopped. Returns at once if there is neither a receiver nor a heartbeat.
pub async fn watch(store: AlertsStore, subject: Subject, settings: AlertSettings, stop: CancellationToken) {
    if settings.receiver.is_none() && settings.heartbeat.is_none() {
        return;
    }
    let mut watch = Watch {
        store,
        subject,
        settings,
        holder: Uuid::new_v4(),
        next_heartbeat: Instant::now(),
        database_failure: None,
    };
    let watching = async {
        loop {
            watch.round().await;
            watch.settings.rounds.send_modify(|rounds| *rounds += 1);
            tokio::time::sleep(watch.settings.evaluate_every).await;
        }
    };
    if stop.run_until_cancelled(watching).await.is_none() {
        watch.release().await;
    }
}

struct Watch {
    store: AlertsStore,
    subject: Subject,
    settings: AlertSettings,
    holder: Uuid,
    next_heartbeat: Instant,
    database_failure: Option<DatabaseFailure>,
}

/// What this process has claimed and sends now.
#[derive(Default)]
struct Due {
    /// Each is a message of its own.
    alerts: Vec<DueAlert>,
    /// They are one message together.
    held: Vec<DueAlert>,
}

/// The database fails, or has recovered and that is not reported yet.
struct DatabaseFailure {
    since: DateTime<Utc>,
    over_at: Option<DateTime<Utc>>,
    is_reported: bool,
    next_try: Instant,
}

impl Watch {
    async fn round(&mut self) {
        // This writes even if another process holds the lease, so each process notices a database that
        // accepts no writes.
        let taken = in_time(self.store.named_leases.acquire(self.lease(), self.holder, LEASE_FOR)).await;
        match taken {
            Ok(is_ours) => {
                self.database_works().await;
                if is_ours {
                    self.heartbeat().await;
                    let Due { alerts, held } =
                        if self.settings.receiver.is_some() { self.evaluate().await } else { Due::default() };
                    // Concurrently: this process claimed them all, so a slow one must not delay the others.
                    let sending = join_all(alerts.iter().map(|alert| self.send(alert)));
                    join(sending, self.send_digest(&held)).await;
                }
            }
            Err(error) => {
                warn!(%error, "alert evaluation failed");
                self.database_fails().await;
            }
        }
    }

    const fn lease(&self) -> &'static str {
        if self.settings.receiver.is_some() { ALERTS_LEASE } else { HEARTBEAT_LEASE }
    }

    /// Assesses health, records the active conditions, and claims the due notices. A fact that cannot be read
    /// is not a database failure, because the lease was just written: its alerts stay as they are.
    async fn evaluate(&self) -> Due {
        if let Err(error) = self.record_conditions().await {
            warn!(%error, "alert conditions could not be recorded");
        }
        self.take_due().await.unwrap_or_else(|error| {
            warn!(%error, "due alerts could not be read");
            Due::default()
        })
    }

    /// Claims what is to be sent now. In quiet hours it first holds what can wait.
    async fn take_due(&self) -> Result<Due, StoreError> {
        let alerts = &self.store.alerts;
        if self.is_quiet().await? {
            in_time(alerts.hold_alerts()).await?;
            return Ok(Due { alerts: in_time(alerts.take_alerts()).await?, held: Vec::new() });
        }
        let held = in_time(alerts.take_held()).await?;
        Ok(Due { alerts: in_time(alerts.take_alerts()).await?, held })
    }

    /// Whether it is quiet by the clock of the database, which all replicas share.
    async fn is_quiet(&self) -> Result<bool, StoreError> {
        let Some(hours) = self.settings.quiet_hours else { return Ok(false) };
        Ok(hours.cover(in_time(self.store.health.reports.now()).await?, self.settings.zone))
    }

    async fn record_conditions(&self) -> Result<(), StoreError> {
        let PartialSnapshot { snapshot, read } =
            Snapshot::load_for_alerts(&self.store.health, &self.subject.scope, STATEMENT_WITHIN).await?;
        let findings = assess(&snapshot, &self.subject.thresholds).findings;
        let conditions: Vec<_> =
            findings.into_iter().filter_map(|finding| condition(finding, snapshot.now)).collect();
        // A silence that turns out to be against the pattern is not over.
        let is_against_pattern = conditions.iter().any(|one| one.kind == FindingKind::NotArriving.as_str());
        let was_read = |kind: &FindingKind| !(is_against_pattern && *kind == FindingKind::Silence);
        let kinds: Vec<_> = read.into_iter().filter(was_read).map(FindingKind::as_str).collect();
        in_time(self.store.alerts.record_conditions(&kinds, &conditions)).await
    }

    async fn send(&self, alert: &DueAlert) {
        let Some(receiver) = &self.settings.receiver else { return };
        let state = match alert.resolved_at {
            None => State::Raised,
            Some(at) => State::Resolved { at },
        };
        let message = self.message(state, &alert.condition);
        let key = alert.condition.key.as_str();
        match sender::send(receiver, message.write(receiver.format)).await {
            Ok(()) => {
                info!(key, resolved = alert.resolved_at.is_some(), "alert sent");
                if let Err(error) = self.store.alerts.mark_notified(std::slice::from_ref(alert)).await {
                    warn!(%error, key, "sent alert could not be recorded; it may be sent again");
                }
            }
            Err(error) => error!(%error, key, "alert could not be sent; it is tried again"),
        }
    }

    /// Sends what was held in one message.
    async fn send_digest(&self, held: &[DueAlert]) {
        let Some(receiver) = self.settings.receiver.as_ref().filter(|_| !held.is_empty()) else { return };
        let link = self.settings.public_url.as_ref().and_then(|base| at(base, ""));
        let digest = Digest { held, zone: self.settings.zone, link: link.as_ref() };
        match sender::send(receiver, digest.write(receiver.format)).await {
            Ok(()) => {
                info!(alerts = held.len(), "digest of the quiet hours sent");
                if let Err(error) = self.store.alerts.mark_notified(held).await {
                    warn!(%error, "sent digest could not be recorded; it may be sent again");
                }
            }
            Err(error) => error!(%error, "digest of the quiet hours could not be sent; it is tried again"),
        }
    }

    fn message(&self, state: State, condition: &Condition) -> Message {
        let kind = condition.kind.parse().ok();
        Message {
            state,
            key: condition.key.clone(),
            kind,
            urgency: if condition.is_urgent { Urgency::Wake } else { Urgency::Morning },
            summary: condition.summary.clone(),
            remedy: condition.remedy.clone(),
            since: condition.since,
            zone: self.settings.zone,
            link: self.settings.public_url.as_ref().and_then(|base| page(base, kind)),
        }
    }

    /// Sends a heartbeat once a minute, if a worker is running. The database has just accepted a write.
    async fn heartbeat(&mut self) {
        let Some(address) = &self.settings.heartbeat else { return };
        if Instant::now() < self.next_heartbeat {
            return;
        }
        match self.has_worker().await {
            Ok(true) => {}
            Ok(false) => {
                warn!("no worker is running; heartbeat not sent");
                return;
            }
            Err(error) => {
                warn!(%error, "could not check whether a worker is running; heartbeat not sent");
                return;
            }
        }
        match sender::send_heartbeat(address).await {
            Ok(()) => self.next_heartbeat = Instant::now() + HEARTBEAT_EVERY,
            Err(error) => warn!(%error, "heartbeat could not be sent"),
        }
    }

    /// Whether a worker is running. Without a destination none is needed.
    async fn has_worker(&self) -> Result<bool, StoreError> {
        if self.subject.scope.instances.is_empty() {
            return Ok(true);
        }
        in_time(health::has_worker(&self.store.health)).await
    }

    /// Reports a database failure that has lasted for a while, in quiet hours too.
    async fn database_fails(&mut self) {
        let Some(after) = self.subject.thresholds.alerts.database_after else { return };
        let now = Instant::now();
        let failure = self.database_failure.get_or_insert_with(|| DatabaseFailure {
            since: (self.subject.clock)(),
            over_at: None,
            is_reported: false,
            next_try: now + after,
        });
        failure.over_at = None;
        if !failure.is_reported && failure.next_try <= now {
            self.report_database().await;
        }
    }

    /// Reports that the database works again, if its failure was reported.
    async fn database_works(&mut self) {
        let Some(failure) = &mut self.database_failure else { return };
        if !failure.is_reported {
            self.database_failure = None;
            return;
        }
        failure.over_at.get_or_insert_with(|| (self.subject.clock)());
        if failure.next_try <= Instant::now() {
            self.report_database().await;
        }
    }

    async fn report_database(&mut self) {
        let (Some(receiver), Some(failure)) = (&self.settings.receiver, &self.database_failure) else {
            return;
        };
        let Some(condition) = condition(database_unavailable(Some(failure.since)), failure.since) else {
            return;
        };
        let state = failure.over_at.map_or(State::Raised, |at| State::Resolved { at });
        let message = self.message(state, &condition);
        let sent = sender::send(receiver, message.write(receiver.format)).await;
        let Some(failure) = &mut self.database_failure else { return };
        match sent {
            Ok(()) if failure.over_at.is_some() => self.database_failure = None,
            Ok(()) => failure.is_reported = true,
            Err(error) => {
                error!(%error, "database failure could not be reported; it is tried again");
                failure.next_try = Instant::now() + RETRY_AFTER;
            }
        }
    }

    /// Releases the lease, so that another process can acquire it at once.
    async fn release(&self) {
        let left =
            tokio::time::timeout(RELEASE_WITHIN, self.store.named_leases.release(self.lease(), self.holder))
                .await;
        if let Ok(Err(error)) = left {
            warn!(%error, "alert lease could not be released; another process takes it when it expires");
        }
    }
}

/// The condition of a finding, if it raises an alert. A finding without a beginning begins now.
fn condition(finding: Finding, now: DateTime<Utc>) -> Option<Condition> {
    let Finding { key, matter, failure_group, since, notice, .. } = finding;
    let Notice { summary, remedy } = notice?;
    let kind = matter.as_str().to_owned();
    let is_urgent = matter.urgency() == Urgency::Wake;
    Some(Condition { key, kind, failure_group, is_urgent, summary, remedy, since: since.unwrap_or(now) })
}

/// The answer of the database, if it comes in time.
async fn in_time<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(STATEMENT_WITHIN, answer).await.unwrap_or(Err(StoreError::TimedOut))
}

/// The page that shows conditions about this matter; `None` for one that only a newer version knows.
fn page(public_url: &Url, matter: Option<FindingKind>) -> Option<Url> {
    let path = match matter {
        Some(FindingKind::Failures) => "failures",
        Some(
            FindingKind::Backlog | FindingKind::BlockLimit | FindingKind::BackingOff | FindingKind::Crashing,
        ) => "executions?status=pending",
        Some(
            FindingKind::Rejected
            | FindingKind::UnansweredInvoice
            | FindingKind::UnansweredTestInvoice
            | FindingKind::UnansweredUnverified,
        ) => "api/v1/rejections",
        // The overview names the paused destination, and when the last event arrived.
        Some(
            FindingKind::Paused
            | FindingKind::ExpiringToken
            | FindingKind::NotArriving
            | FindingKind::NotFetching
            | FindingKind::Silence
            | FindingKind::EndpointStopped
            | FindingKind::Endpoint
            | FindingKind::EndpointUnknown,
        ) => "",
        Some(FindingKind::Database | FindingKind::NoWorker | FindingKind::OldSnapshot) | None => {
            "api/v1/health"
        }
    };
    at(public_url, path)
}

/// The address of a path of the service.
fn at(public_url: &Url, path: &str) -> Option<Url> {
    let mut base = public_url.clone();
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", base.path()));
    }
    base.join(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_links_to_the_page_that_shows_its_condition() {
        let base: Url = "https://eventbridge.example.com/app".parse().expect("a URL");
        for (kind, path) in [
            ("failures", "failures"),
            ("backlog", "executions?status=pending"),
            ("rejected", "api/v1/rejections"),
            ("paused", ""),
            ("database", "api/v1/health"),
            ("a kind of a newer version", "api/v1/health"),
        ] {
            let link = page(&base, kind.parse().ok()).expect("a link");
            assert_eq!(link.as_str(), format!("https://eventbridge.example.com/app/{path}"), "{kind}");
        }
    }
}
