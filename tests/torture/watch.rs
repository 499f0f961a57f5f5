//! What is watched while it happens: whether Postgres answers, whether a replica ends by itself, how
//! many leases a lane has, and what is asked of Notion.
//!
//! Nothing here decides over a process but to start one anew that ended by itself, as whatever runs
//! containers would.

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

/// The time between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// A database that does not answer by then counts as away.
const DATABASE_WAIT_MAX: Duration = Duration::from_secs(2);

/// What was up for this long has had time to notice that the other is up as well.
pub const STEADY: Duration = Duration::from_secs(4);

/// The evidence that is kept for one kind of breach; the count goes on.
const EVIDENCE_MAX: usize = 8;

/// Watches; the watching ends when the last clone that holds the tasks is dropped.
#[derive(Clone)]
pub struct Watch {
    seen: Arc<Seen>,
    tasks: Arc<tokio::sync::Mutex<JoinSet<()>>>,
}

/// A kind of breach: how often, and what shows it.
#[derive(Debug, Clone, Default)]
pub struct Breach {
    /// How often it was found.
    pub count: u64,
    /// What shows the first few.
    pub evidence: Vec<Vec<String>>,
}

/// A call to Notion as the sandbox saw it.
#[derive(Debug, Clone)]
pub struct Call {
    /// When it came, give or take a look.
    pub at: Instant,
    /// The method and the path.
    pub line: String,
    /// The event or object that it is about.
    pub key: Option<String>,
    /// What was answered; nothing where the connection was cut.
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

impl Watch {
    /// Begins to watch.
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

    /// Ends the watching.
    pub async fn stop(&self) {
        self.tasks.lock().await.shutdown().await;
    }

    /// Notes that a promise was broken.
    pub fn breach(&self, what: &str, evidence: Vec<String>) {
        self.seen.breach(what, evidence);
    }

    /// Whether there is as much evidence of a kind of breach as is kept.
    pub fn is_shown(&self, what: &str) -> bool {
        lock(&self.seen.breaches).get(what).is_some_and(|breach| breach.evidence.len() >= EVIDENCE_MAX)
    }

    /// The promises that were broken.
    pub fn breaches(&self) -> BTreeMap<String, Breach> {
        lock(&self.seen.breaches).clone()
    }

    /// How long Postgres has answered without a break.
    pub fn database_up_for(&self) -> Duration {
        self.seen.database_up_for()
    }

    /// How many processes ended before they listened, Postgres being away.
    pub fn failed_starts(&self) -> u64 {
        *lock(&self.seen.failed_starts)
    }

    /// The calls to Notion, in the order of their arrival.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.seen.calls).values().cloned().collect()
    }

    /// The calls about one event or object, for people.
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

    /// The pages that were written again before the settle time of a write of unknown outcome was over. No
    /// breach by itself: whether the page is doubled depends on when that write landed.
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
            // Whatever else Notion says, it has written nothing.
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

/// Looks for two leases of one lane, and sees by the way whether Postgres answers.
async fn watch_database(world: Arc<World>, seen: Arc<Seen>) {
    loop {
        let doubled = rows::leased_twice(&world.database);
        match tokio::time::timeout(DATABASE_WAIT_MAX, doubled).await {
            Ok(Ok(keys)) => {
                lock(&seen.database_up_since).get_or_insert_with(Instant::now);
                for key in keys {
                    seen.breach("two ran at once in a lane", vec![format!("lane {key}")]);
                }
            }
            _ => *lock(&seen.database_up_since) = None,
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Takes the sandbox's log over before it forgets the oldest.
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
        tokio::time::sleep(LOOK).await;
    }
}

/// Sees a process begin to listen, and starts another where one ended by itself.
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
        tokio::time::sleep(LOOK).await;
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
