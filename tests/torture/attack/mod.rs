//! Attackers without a key or a secret connect to both replicas while honest senders continue. With
//! `--attack` nothing is killed. All requests go to loopback, over a bounded number of connections.
//!
//! The honest events are checked as in every run. In addition, no replica may exit, grow without a bound
//! or let attackers fill its log, and no honest sender may wait for long.

mod attackers;

use crate::chaos::Report;
use crate::load::Ledger;
use crate::observer::Observer;
use crate::world::{Replica, World};
use anyhow::Context;
use attackers::Attacker;
use eventbridge::http_client;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The memory limit of a replica: twice its connection and body budgets, plus a base.
const MEMORY_KIB_MAX: u64 = 400 * 1024;

/// The longest time until an honest event may be accepted, with as many tries as needed.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// How long the replicas may take to start, and the poll interval.
const START_MAX: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(50);

/// The lines per second that a replica may log about attackers: one for each of two subjects, and some
/// slack.
const LINES_PER_SECOND_MAX: u64 = 4;

/// How often each attack had which outcome.
pub type Outcomes = BTreeMap<&'static str, BTreeMap<String, u64>>;

/// Attacks during the whole run, and prints the outcomes.
pub async fn run(world: &Arc<World>, observer: &Observer) -> anyhow::Result<Report> {
    let listening = async {
        for replica in &world.replicas {
            until_ready(replica).await?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(START_MAX, listening).await.context("the replicas do not become ready")??;
    let before = labels(world).await;
    let tally = Arc::new(Mutex::new(Outcomes::new()));
    let stop = CancellationToken::new();
    let mut attacking = JoinSet::new();
    for attacker in attackers::ALL {
        for number in 0..attacker.count {
            let Some(replica) = world.replicas.get(number % attacker.replicas) else { continue };
            attacking.spawn(visit_repeatedly(*attacker, replica.clone(), tally.clone(), stop.clone()));
        }
    }
    tokio::time::sleep(world.options.duration()).await;
    stop.cancel();
    while let Some(ended) = attacking.join_next().await {
        ended?;
    }
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for (attack, outcomes) in &tally {
        let outcomes: Vec<_> = outcomes.iter().map(|(outcome, times)| format!("{times} {outcome}")).collect();
        println!("attack        {attack}: {}", outcomes.join(", "));
    }
    if labels(world).await != before {
        observer.breach("a replica ended under attack", labels(world).await);
    }
    for replica in &world.replicas {
        check_replica(world, replica, observer).await?;
    }
    Ok(Report::default())
}

/// Compares the waits of honest senders with the bounds.
pub fn assess(world: &World, observer: &Observer, ledger: &Ledger) {
    let worst = ledger.waits().into_iter().max().unwrap_or_default();
    if worst > world.options.bound(WAIT_MAX) {
        observer.breach("an honest sender was blocked", vec![format!("{worst:.1?}")]);
    }
}

/// A replica listens before its database is ready.
async fn until_ready(replica: &Replica) -> anyhow::Result<()> {
    let url = format!("http://{}/readyz", replica.address);
    let client = http_client::client(&url.parse()?, Duration::from_secs(5))?;
    while !client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

async fn visit_repeatedly(
    attacker: Attacker,
    replica: Arc<Replica>,
    tally: Arc<Mutex<Outcomes>>,
    stop: CancellationToken,
) {
    while let Some(outcome) = stop.run_until_cancelled((attacker.visit)(replica.address)).await {
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        *tally.entry(attacker.name).or_default().entry(outcome).or_default() += 1;
    }
}

async fn labels(world: &World) -> Vec<String> {
    let mut labels = Vec::new();
    for replica in &world.replicas {
        labels.push(replica.process.lock().await.label.clone());
    }
    labels
}

/// A replica's own metrics, its memory, and its log.
async fn check_replica(world: &World, replica: &Replica, observer: &Observer) -> anyhow::Result<()> {
    let url = format!("http://{}/metrics", replica.address);
    let client = http_client::client(&url.parse()?, Duration::from_secs(30))?;
    let scrape = client.get(&url).send().await?.text().await?;
    let ended = scrape.lines().filter_map(|line| {
        let (reason, times) =
            line.strip_prefix("eventbridge_connections_ended_total{reason=\"")?.split_once("\"} ")?;
        (times != "0").then(|| format!("{times} {reason}"))
    });
    let ended = ended.collect::<Vec<_>>().join(", ");
    let pid = replica.process.lock().await.id().context("a replica is not running")?;
    let status = tokio::fs::read_to_string(format!("/proc/{pid}/status")).await?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().split(' ').next());
    let peak_kib: u64 = peak.context("no VmHWM")?.parse()?;
    let of_attackers = replica.logged("webhook rejected").len() + replica.logged("webhook shed").len();
    println!(
        "replica {}     at most {} MiB; {of_attackers} log lines about attackers; connections ended: {ended}",
        replica.name,
        peak_kib / 1024
    );
    if peak_kib > MEMORY_KIB_MAX {
        observer.breach("a replica grew without a bound", vec![format!("{}: {peak_kib} KiB", replica.name)]);
    }
    let lines_max = LINES_PER_SECOND_MAX * (world.options.seconds() + 5);
    if u64::try_from(of_attackers)? > lines_max {
        observer.breach("attackers filled the log", vec![format!("{}: {of_attackers} lines", replica.name)]);
    }
    Ok(())
}
