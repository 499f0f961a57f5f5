//! Continuous observation: whether Postgres responds, whether a replica exits by itself, how many leases
//! a lane has, and the requests to Notion.
//!
//! It controls no process, except that it restarts one that exited by itself, as a container runtime
//! would.

use crate::Mode;
use crate::load::Plan;
use crate::rows;
use crate::world::{Replica, World, settle};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The poll interval.
const POLL: Duration = Duration::from_millis(100);

/// A database that does not respond within this time counts as unavailable.
const DATABASE_WAIT_MAX: Duration = Duration::from_secs(2);

/// After this uptime one process has noticed that the other is up as well.
pub const STEADY: Duration = Duration::from_secs(4);

/// How much evidence is kept for one kind of breach; the count continues.
const EVIDENCE_MAX: usize = 8;

/// The observer; it stops when the last clone that holds the tasks is dropped.
#[derive(Clone)]
pub struct Observer {
    seen: Arc<Seen>,
    tasks: Arc<tokio::sync::Mutex<JoinSet<()>>>,
}

/// A kind of breach: its count and its evidence.
#[derive(Debug, Clone, Default)]
pub struct Breach {
    /// How often it was found.
    pub count: u64,
    /// The evidence of the first few.
    pub evidence: Vec<Vec<String>>,
}

/// A call to Notion, as recorded by the sandbox.
#[derive(Debug, Clone)]
pub struct Call {
    /// When it arrived, within one poll interval.
    pub at: Instant,
    /// The method and the path.
    pub line: String,
    /// Its event or object.
    pub key: Option<String>,
    /// The response; `None` if the connection was cut.
    pub status: Option<u16>,
}

struct Seen {
    began: Instant,
    breaches: Mutex<BTreeMap<String, Breach>>,
    calls: Mutex<BTreeMap<u64, Call>>,
    keys: HashSet<String>,
    settle: Duration,
    database_up_since: Mutex<Option<Instant>>,
    failed_starts: Mutex<u64>,
}

impl Observer {
    /// Starts observing.
    pub fn start(world: &Arc<World>, plan: &Plan) -> Self {
        let keys = match world.options.mode {
            Mode::Event => plan.events.iter().map(|event| event.id.clone()).collect(),
            Mode::Object => plan.objects.keys().cloned().collect(),
        };
        let seen = Arc::new(Seen {
            began: Instant::now(),
            breaches: Mutex::default(),
            calls: Mutex::default(),
            keys,
            settle: settle(&world.options),
            database_up_since: Mutex::default(),
            failed_starts: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(watch_database(world.clone(), seen.clone()));
        tasks.spawn(watch_notion(world.clone(), seen.clone()));
        for replica in world.replicas.clone() {
            tasks.spawn(supervise(replica, seen.clone()));
        }
        Self { seen, tasks: Arc::new(tokio::sync::Mutex::new(tasks)) }
    }

    /// Stops observing.
    pub async fn stop(&self) {
        self.tasks.lock().await.shutdown().await;
    }

    /// Records a broken promise.
    pub fn breach(&self, what: &str, evidence: Vec<String>) {
        self.seen.breach(what, evidence);
    }

    /// Whether a kind of breach has as much evidence as is kept.
    pub fn is_shown(&self, what: &str) -> bool {
        lock(&self.seen.breaches).get(what).is_some_and(|breach| breach.evidence.len() >= EVIDENCE_MAX)
    }

    /// The broken promises.
    pub fn breaches(&self) -> BTreeMap<String, Breach> {
        lock(&self.seen.breaches).clone()
    }

    /// For how long Postgres has responded without a gap.
    pub fn database_up_for(&self) -> Duration {
        self.seen.database_up_for()
    }

    /// How many processes exited before they listened while Postgres was unavailable.
    pub fn failed_starts(&self) -> u64 {
        *lock(&self.seen.failed_starts)
    }

    /// The calls to Notion, in the order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.seen.calls).values().cloned().collect()
    }

    /// The calls about one event or object, as text.
    pub fn calls_about(&self, key: &str) -> Vec<String> {
        let calls = lock(&self.seen.calls);
        let about = calls.values().filter(|call| call.key.as_deref() == Some(key));
        about
            .map(|call| {
                let status = call.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
                let at = call.at.duration_since(self.seen.began).as_secs_f64();
                format!("notion {at:8.3} s: {} -> {status}", call.line)
            })
            .collect()
    }

    /// The pages that were written again before the settle time of a write in doubt was over. This alone
    /// is no breach: whether the page is duplicated depends on when that write landed.
    pub fn early_writes(&self) -> Vec<String> {
        const TOLERANCE: Duration = Duration::from_millis(500);
        let mut latest: BTreeMap<&str, Instant> = BTreeMap::new();
        let calls = lock(&self.seen.calls);
        let mut early = Vec::new();
        for call in calls.values().filter(|call| call.line == "POST /v1/pages") {
            let Some(key) = call.key.as_deref() else { continue };
            if let Some(earlier) = latest.get(key)
                && call.at.duration_since(*earlier) + TOLERANCE < self.seen.settle
            {
                early.push(key.to_owned());
            }
            // Any other response means that nothing was written.
            if call.status.is_none_or(|status| status == 200 || status >= 500 && status != 529) {
                latest.insert(key, call.at);
            }
        }
        early
    }
}

impl Seen {
    fn breach(&self, what: &str, evidence: Vec<String>) {
        let mut breaches = lock(&self.breaches);
        let breach = breaches.entry(what.to_owned()).or_default();
        breach.count += 1;
        if breach.evidence.len() < EVIDENCE_MAX {
            breach.evidence.push(evidence);
        }
    }

    fn database_up_for(&self) -> Duration {
        lock(&self.database_up_since).map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// Checks for two leases of one lane, and also whether Postgres responds.
async fn watch_database(world: Arc<World>, seen: Arc<Seen>) {
    loop {
        let doubled = rows::leased_twice(&world.database);
        match tokio::time::timeout(DATABASE_WAIT_MAX, doubled).await {
            Ok(Ok(keys)) => {
                lock(&seen.database_up_since).get_or_insert_with(Instant::now);
                for key in keys {
                    seen.breach("two executions of a lane ran at once", vec![format!("lane {key}")]);
                }
            }
            _ => *lock(&seen.database_up_since) = None,
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Copies the sandbox's log before it drops the oldest entries.
async fn watch_notion(world: Arc<World>, seen: Arc<Seen>) {
    let sandbox = world.sandbox.handle();
    loop {
        {
            let now = Instant::now();
            let mut calls = lock(&seen.calls);
            for request in sandbox.requests() {
                let call = calls.entry(request.number).or_insert_with(|| Call {
                    at: now,
                    line: format!("{} {}", request.method, request.path),
                    key: key_in(&request.body, &seen.keys),
                    status: None,
                });
                call.status = request.status;
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Detects when a process begins to listen, and restarts one that exited by itself.
async fn supervise(replica: Arc<Replica>, seen: Arc<Seen>) {
    loop {
        if let Ok(mut process) = replica.process.try_lock() {
            let ended = process.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = ended {
                replica.set_works(false);
                let evidence = || vec![format!("process {} ended: {status}", process.label)];
                if process.listens {
                    seen.breach("a replica ended by itself", evidence());
                } else if seen.database_up_for() > STEADY {
                    seen.breach("a replica did not start though Postgres was there", evidence());
                } else {
                    *lock(&seen.failed_starts) += 1;
                }
                if let Err(error) = replica.start(&mut process) {
                    seen.breach("a replica could not be started", vec![error.to_string()]);
                }
            } else if process.id().is_some()
                && !process.listens
                && TcpStream::connect(replica.address).await.is_ok()
            {
                process.listens = true;
                replica.set_works(true);
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The first text in a body that is a key.
fn key_in(body: &Value, keys: &HashSet<String>) -> Option<String> {
    match body {
        Value::String(text) => keys.get(text).cloned(),
        Value::Array(items) => items.iter().find_map(|item| key_in(item, keys)),
        Value::Object(members) => members.values().find_map(|member| key_in(member, keys)),
        _ => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
