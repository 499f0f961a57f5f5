//! The verdict: waits until the queue has drained, ends the replicas, and holds what is left against
//! the promises.

use crate::chaos::{Report, Rescue};
use crate::load::{Cells, Ledger, Plan};
use crate::watch::Watch;
use crate::world::{LATE_MS_MAX, SECRET, World};
use crate::{Mode, Options};
use eventbridge::devserver::sandbox::SandboxPage;
use eventbridge::sources::stripe;
use sqlx::FromRow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long the queue may take to drain: the longest wait of a refusal that the user must mend, a
/// burial, the settle time and some retries.
const DRAIN_MAX: Duration = Duration::from_mins(3);

/// What a call to a Notion with a rate limit may take in a drain.
const LIMITED_CALL: Duration = Duration::from_millis(700);

/// How long the last dead may take to be buried.
const BURIAL_MAX: Duration = Duration::from_secs(25);

const LOOK: Duration = Duration::from_millis(200);

/// The lines of evidence of one kind that are shown.
const LINES_MAX: usize = 12;

/// Drains, judges, prints, and says how to end.
pub async fn reach(
    world: &World,
    watch: Watch,
    ledger: &Ledger,
    plan: &Plan,
    chaos: &Report,
) -> anyhow::Result<ExitCode> {
    let judge = Judge { world, watch: &watch, ledger, plan };
    let drain = judge.drain().await?;
    // What was sent last may still land.
    tokio::time::sleep(Duration::from_millis(LATE_MS_MAX)).await;
    judge.burials().await?;
    judge.watch.stop().await;
    judge.endings().await?;

    judge.audit().await?;
    let executions = judge.executions().await?;
    judge.events().await?;
    judge.overlaps().await?;
    judge.pages(&executions).await?;
    judge.limiter();
    let struck = |name: &str| chaos.strikes.get(name).copied().unwrap_or_default();
    let kills = struck("kill -9 of a replica") + struck("kill -9 of Postgres");
    if kills < world.options.kills_wanted() {
        watch.breach("too few kills for the run to count", vec![format!("{kills}")]);
    }
    judge.print_figures(chaos, drain, &executions).await?;
    Ok(judge.print_verdict())
}

struct Judge<'a> {
    world: &'a World,
    watch: &'a Watch,
    ledger: &'a Ledger,
    plan: &'a Plan,
}

/// An event as it is kept.
#[derive(FromRow)]
struct Stored {
    event_id: String,
    payload: Vec<u8>,
    signature: String,
    executions: i64,
}

impl Stored {
    /// Whether the signature still fits the body.
    fn is_verifiable(&self) -> bool {
        let time = self.signature.strip_prefix("t=").and_then(|rest| rest.split(',').next()?.parse().ok());
        time.is_some_and(|time| stripe::sign(SECRET, &self.payload, time) == self.signature)
    }
}

/// An execution at the end.
#[derive(FromRow)]
struct Execution {
    event_id: String,
    status: String,
    attempts: i32,
    crashes: i32,
    remote_id: Option<String>,
    reason: Option<String>,
}

impl Judge<'_> {
    fn options(&self) -> &Options {
        &self.world.options
    }

    /// Waits until nothing is pending or running; how long that took.
    async fn drain(&self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let waiting = "select count(*) from eventbridge.executions where status in ('pending', 'running')";
        let mut bound = None;
        loop {
            // A Postgres that was killed last may still be coming up.
            let count = sqlx::query_scalar::<_, i64>(waiting).fetch_one(&self.world.database).await;
            if let Ok(count) = count {
                let calls = u32::try_from(count).unwrap_or(u32::MAX);
                let backlog = if self.options().limited { LIMITED_CALL * calls } else { Duration::ZERO };
                let bound = *bound.get_or_insert(DRAIN_MAX + backlog);
                if count == 0 || began.elapsed() > bound {
                    return Ok(began.elapsed());
                }
            } else if began.elapsed() > DRAIN_MAX {
                self.watch.breach("Postgres did not come back", vec![format!("{:?}", count.err())]);
                return Ok(began.elapsed());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// At the end two workers live, and nobody leases anything.
    async fn burials(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let (workers, leases) = self.pair("workers", "leases").await?;
            if workers == 2 && leases == 0 {
                return Ok(());
            }
            if began.elapsed() > BURIAL_MAX {
                let evidence = vec![format!("{workers} workers, {leases} leases; there should be 2 and 0")];
                self.watch.breach("the dead were not buried", evidence);
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Asked to end, both replicas do so well and leave nothing behind.
    async fn endings(&self) -> anyhow::Result<()> {
        for replica in &self.world.replicas {
            let mut process = replica.process.lock().await;
            match process.terminate().await? {
                Some(status) if status.success() => {}
                ended => {
                    let evidence = vec![format!("{}: {ended:?}", process.label)];
                    self.watch.breach("a replica did not end well after SIGTERM", evidence);
                }
            }
        }
        let (workers, leases) = self.pair("workers", "leases").await?;
        if workers + leases > 0 {
            let evidence = vec![format!("{workers} workers and {leases} leases are left")];
            self.watch.breach("the replicas left something behind", evidence);
        }
        Ok(())
    }

    async fn pair(&self, one: &str, other: &str) -> anyhow::Result<(i64, i64)> {
        let sql = format!(
            "select (select count(*) from eventbridge.{one}), (select count(*) from eventbridge.{other})"
        );
        Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_one(&self.world.database).await?)
    }

    /// What the test's own book says of leases.
    async fn audit(&self) -> anyhow::Result<()> {
        let rows: Vec<(String, i64, String)> =
            sqlx::query_as("select what, execution_id, detail from torture.breaches order by id limit 1000")
                .fetch_all(&self.world.database)
                .await?;
        for (what, execution, detail) in rows {
            self.watch.breach(&what, vec![format!("execution {execution}: {detail}")]);
        }
        let unknown: Vec<(i64, i64)> = sqlx::query_as(
            "select execution_id, fence from eventbridge.attempts
             except select coalesce(sibling.id, leases.execution_id), fence
                      from torture.leases
                      join eventbridge.executions as leased on leased.id = leases.execution_id
                      left join eventbridge.executions as sibling on sibling.lane = leased.lane
             limit 10",
        )
        .fetch_all(&self.world.database)
        .await?;
        for (execution, fence) in unknown {
            let evidence = vec![format!("execution {execution}, fence {fence}")];
            self.watch.breach("an attempt was recorded under a lease that nobody was given", evidence);
        }
        Ok(())
    }

    /// Each event that was answered 200 is there once, as it was sent; and no other.
    async fn events(&self) -> anyhow::Result<()> {
        let rows: Vec<Stored> = sqlx::query_as(
            "select event_id, payload, signature,
                    (select count(*) from eventbridge.executions where event_key = events.id) as executions
               from eventbridge.events where source = 'stripe'",
        )
        .fetch_all(&self.world.database)
        .await?;
        let mut stored: BTreeMap<&str, Vec<&Stored>> = BTreeMap::new();
        for row in &rows {
            stored.entry(&row.event_id).or_default().push(row);
        }
        let answers = self.ledger.answers();
        for event in &self.plan.events {
            let answers = answers.get(&event.id).copied().unwrap_or_default();
            let found = stored.remove(event.id.as_str()).unwrap_or_default();
            match found.as_slice() {
                [] if answers.taken > 0 => {
                    self.breach("an event answered 200 is lost", &event.id, &[]).await;
                }
                [] => {}
                [row] => {
                    if row.payload != event.body.as_bytes() || !row.is_verifiable() {
                        self.breach("a body or its signature is not as it was sent", &event.id, &[]).await;
                    }
                    if row.executions != 1 {
                        let count = format!("{} executions", row.executions);
                        self.breach("an event has not one execution", &event.id, &[count]).await;
                    }
                }
                several => {
                    let count = format!("{} times", several.len());
                    self.breach("an event is stored more than once", &event.id, &[count]).await;
                }
            }
            if answers.new > 1 {
                let count = format!("{} times", answers.new);
                self.breach("an event was told to be new more than once", &event.id, &[count]).await;
            }
        }
        for id in stored.into_keys() {
            self.breach("an event is stored that was never sent", id, &[]).await;
        }
        Ok(())
    }

    /// Each execution came to an end, and to a good one.
    async fn executions(&self) -> anyhow::Result<Vec<Execution>> {
        let executions: Vec<Execution> = sqlx::query_as(
            "select events.event_id, executions.status, executions.attempts, crashes, remote_id, executions.reason
               from eventbridge.executions join eventbridge.events on events.id = event_key
              order by executions.id",
        )
        .fetch_all(&self.world.database)
        .await?;
        for execution in &executions {
            let snapshot = self.plan.events.iter().find(|event| event.id == execution.event_id);
            let is_snapshot = snapshot.is_some_and(|event| event.is_snapshot);
            let what = match (execution.status.as_str(), self.options().mode) {
                ("success", Mode::Event) => continue,
                ("success" | "superseded", Mode::Object) if is_snapshot => continue,
                ("skipped", Mode::Object) if !is_snapshot => continue,
                ("pending" | "running", _) => "an execution never came to an end",
                ("failed", _) => "an execution failed",
                _ => "an execution ended otherwise than it should",
            };
            let state = format!(
                "{} after {} attempts and {} crashes: {}",
                execution.status,
                execution.attempts,
                execution.crashes,
                execution.reason.as_deref().unwrap_or("no reason")
            );
            self.breach(what, &execution.event_id, &[state]).await;
        }
        Ok(executions)
    }

    /// No two attempts of one lane ran at the same time.
    async fn overlaps(&self) -> anyhow::Result<()> {
        const SLACK: &str = "interval '250 milliseconds'";
        let sql = format!(
            "select event_id, lane_key, fence, overlap::text from (
                 select events.event_id, coalesce(lane, executions.id::text) as lane_key, fence,
                        lag(attempts.started_at + attempts.duration_ms * interval '1 millisecond')
                            over (partition by destination, coalesce(lane, executions.id::text)
                                  order by attempts.started_at, fence) - attempts.started_at as overlap
                   from eventbridge.attempts
                   join eventbridge.executions on executions.id = execution_id
                   join eventbridge.events on events.id = event_key) as runs
              where overlap > {SLACK} order by fence limit 100"
        );
        let rows: Vec<(String, String, i64, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&self.world.database).await?;
        for (event, lane, fence, overlap) in rows {
            let overlap = format!("lane {lane}, fence {fence}: overlaps the one before by {overlap}");
            self.breach("two ran at once in a lane", &event, &[overlap]).await;
        }
        Ok(())
    }

    /// Each event (or object) has one page, which shows what it should.
    async fn pages(&self, executions: &[Execution]) -> anyhow::Result<()> {
        let column = match self.options().mode {
            Mode::Event => "EventId",
            Mode::Object => "ObjectId",
        };
        let pages = self.world.sandbox.handle().pages();
        let mut by_key: BTreeMap<&str, Vec<&SandboxPage>> = BTreeMap::new();
        for page in pages.iter().filter(|page| !page.in_trash) {
            by_key.entry(page.text(column).unwrap_or_default()).or_default().push(page);
        }
        for (key, wanted) in self.wanted() {
            let found = by_key.remove(key).unwrap_or_default();
            match found.as_slice() {
                [] => self.breach("a page is missing", key, &[]).await,
                [page] => {
                    if let Some(wrong) = wrong_cell(page, wanted) {
                        self.breach("a page does not show what it should", key, &[wrong]).await;
                    }
                    let known = executions.iter().filter(|execution| execution.event_id == key);
                    for execution in known.filter(|execution| execution.status == "success") {
                        if execution.remote_id.as_deref() != Some(page.id.to_string().as_str()) {
                            let ids = format!("{:?}, and the page is {}", execution.remote_id, page.id);
                            self.breach("an execution names another page than its own", key, &[ids]).await;
                        }
                    }
                }
                several => {
                    let ids: Vec<_> = several.iter().map(|page| format!("page {}", page.id)).collect();
                    self.breach("a page is doubled", key, &ids).await;
                }
            }
        }
        for key in by_key.into_keys() {
            self.breach("a page stands for nothing that was sent", key, &[]).await;
        }
        Ok(())
    }

    /// The keys that have a page, and what it shows.
    fn wanted(&self) -> Vec<(&str, &Cells)> {
        let answers = self.ledger.answers();
        match self.options().mode {
            Mode::Event => {
                let taken = |id: &str| answers.get(id).is_some_and(|answers| answers.taken > 0);
                let events = self.plan.events.iter().filter(|event| taken(&event.id));
                events.map(|event| (event.id.as_str(), &event.cells)).collect()
            }
            Mode::Object => self.plan.objects.iter().map(|(id, cells)| (id.as_str(), cells)).collect(),
        }
    }

    /// Where the sandbox has a limit, nothing else of it answers 429.
    fn limiter(&self) {
        if !self.options().limited {
            return;
        }
        for call in self.watch.calls().into_iter().filter(|call| call.status == Some(429)) {
            self.watch
                .breach("Notion's rate limit was struck", vec![format!("{} {:?}", call.line, call.key)]);
        }
    }

    /// Notes a breach with all that is known of the event or object.
    async fn breach(&self, what: &str, key: &str, details: &[String]) {
        let mut evidence = vec![key.to_owned()];
        evidence.extend_from_slice(details);
        let attempts: Result<Vec<String>, _> = sqlx::query_scalar(
            "select format('attempt of %s under fence %s by %s: began %s, took %s ms: %s %s %s',
                           attempts.execution_id, attempts.fence, leases.process,
                           to_char(attempts.started_at, 'HH24:MI:SS.MS'), attempts.duration_ms, outcome,
                           attempts.response_code, attempts.error_class)
               from eventbridge.events
               join eventbridge.executions on event_key = events.id
               join eventbridge.attempts on attempts.execution_id = executions.id
               left join torture.leases on leases.execution_id = attempts.execution_id
                                       and leases.fence = attempts.fence
              where $1 in (events.event_id, events.object_id) order by attempts.fence",
        )
        .bind(key)
        .fetch_all(&self.world.database)
        .await;
        evidence.extend(attempts.unwrap_or_default());
        evidence.extend(self.watch.calls_about(key));
        evidence.extend(self.world.logged(key, LINES_MAX));
        self.watch.breach(what, evidence);
    }

    async fn print_figures(
        &self,
        chaos: &Report,
        drain: Duration,
        executions: &[Execution],
    ) -> anyhow::Result<()> {
        let sent = self.ledger.figures();
        let pages = self.world.sandbox.handle().pages();
        let trashed = pages.iter().filter(|page| page.in_trash).count();
        let attempts: Vec<(String, i64)> =
            sqlx::query_as("select outcome, count(*) from eventbridge.attempts group by 1 order by 1")
                .fetch_all(&self.world.database)
                .await?;
        let mut statuses: BTreeMap<&str, u64> = BTreeMap::new();
        for execution in executions {
            *statuses.entry(&execution.status).or_default() += 1;
        }
        let crashed = executions.iter().filter(|execution| execution.crashes > 0).count();
        println!("events        {} sent in {} requests", self.plan.events.len(), sent.requests);
        println!(
            "answers       {} taken, {} of them duplicates; {} turned away, {} unanswered",
            sent.taken, sent.duplicates, sent.turned_away, sent.unanswered
        );
        println!("struck        {}", listed(&chaos.strikes));
        println!("              {} starts failed, Postgres being away", self.watch.failed_starts());
        println!("faults        {}", listed(&chaos.faults));
        println!("calls         {} to Notion", self.watch.calls().len());
        println!("executions    {}; {crashed} lost a worker", listed(&statuses));
        println!("attempts      {}", listed(&attempts.into_iter().collect()));
        println!("pages         {} and {trashed} in the trash", pages.len() - trashed);
        println!("hasty writes  {}", self.watch.hasty_writes().len());
        println!("drained in    {:.1} s", drain.as_secs_f64());
        let held: Vec<_> = chaos.rescues.iter().filter(|rescue| rescue.held).copied().collect();
        println!("burials       {}", timed(&chaos.rescues));
        println!("  with leases {}", timed(&held));
        Ok(())
    }

    fn print_verdict(&self) -> ExitCode {
        let breaches = self.watch.breaches();
        if let Some(logs) = self.world.kept_logs() {
            println!("logs          {}", logs.display());
        }
        if breaches.is_empty() {
            println!("verdict       clean: no promise was broken");
            return ExitCode::SUCCESS;
        }
        for (what, breach) in &breaches {
            println!("\nBREACH: {what} ({} times)", breach.count);
            for evidence in &breach.evidence {
                println!("  {}", evidence.join("\n      "));
            }
        }
        let options = self.options();
        println!("\nverdict       {} kinds of breach, seed {}", breaches.len(), options.seed);
        ExitCode::FAILURE
    }
}

/// The first cell that is not as wanted. Numbers are compared as such.
fn wrong_cell(page: &SandboxPage, wanted: &Cells) -> Option<String> {
    wanted.iter().find_map(|(column, wanted)| {
        let found = page.text(column);
        let number = |text: &str| text.parse::<f64>().ok();
        let same = match (found.and_then(number), number(wanted)) {
            (Some(found), Some(wanted)) => found.total_cmp(&wanted).is_eq(),
            _ => found == Some(wanted),
        };
        (!same).then(|| format!("{column} should be {wanted:?} and is {found:?}"))
    })
}

fn listed<K: Display, V: Display>(counts: &BTreeMap<K, V>) -> String {
    let items: Vec<_> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    items.join(", ")
}

/// Median and worst, by the clock.
fn timed(rescues: &[Rescue]) -> String {
    let mut times: Vec<_> = rescues.iter().map(|rescue| rescue.took.as_secs_f64()).collect();
    times.sort_unstable_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let worst = times.last().copied().unwrap_or_default();
    format!("{}: median {median:.1} s, worst {worst:.1} s after kill -9", times.len())
}
