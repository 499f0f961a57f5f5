//! The plan of the claim, as Postgres makes it for a session that claims.

use super::Database;
use eventbridge::store::WorkerId;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions};

/// The claim as it is in the source.
pub fn claim_statement() -> String {
    let file = concat!(env!("EVENTBRIDGE_CHECKOUT"), "/src/store/queue/claim.rs");
    let source = std::fs::read_to_string(file).unwrap();
    let (_, statement) = source.split_once("r#\"\n").unwrap();
    statement.split_once("\"#").unwrap().0.to_owned()
}

/// Where a claim begins.
#[derive(Debug, Clone, Copy)]
pub enum ClaimFrom {
    Start,
    /// At the first execution that waits.
    Front,
}

/// A session that plans claims.
pub struct Planner {
    session: PgConnection,
    worker: WorkerId,
}

/// The plan of a claim that was executed and taken back.
#[derive(Debug)]
pub struct Plan(String);

impl Planner {
    /// One for claims of this worker.
    pub async fn new(database: &Database, worker: WorkerId) -> Self {
        let mut session = database.options().connect().await.unwrap();
        let prepare = format!(
            "set jit = off; set enable_seqscan = off; set plan_cache_mode = force_generic_plan;
             prepare claim (uuid, text[], text[], timestamptz[], bigint[], bigint[], bigint, bigint, bigint,
                            bigint, boolean, boolean, timestamptz[]) as {}",
            claim_statement()
        );
        sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut session).await.unwrap();
        Self { session, worker }
    }

    /// Plans a claim of a hundred fresh executions for `notion`.
    pub async fn claim(&mut self, from: ClaimFrom) -> Plan {
        let place = match from {
            ClaimFrom::Start => "select timestamptz 'epoch'::text, 0::bigint",
            ClaimFrom::Front => {
                "select run_at::text, execution_id from eventbridge.queue order by run_at, execution_id limit 1"
            }
        };
        let (run_at, id): (String, i64) = sqlx::query_as(place).fetch_one(&mut self.session).await.unwrap();
        let explain = format!(
            "explain (analyze, costs off, timing off, summary off)
             execute claim ('{}', '{{notion}}', '{{fresh}}', array[timestamptz '{run_at}'], '{{{id}}}', '{{100}}',
                            null, 1000, 100, 1000000000, false, false, '{{null}}')",
            self.worker.0
        );
        sqlx::raw_sql("begin").execute(&mut self.session).await.unwrap();
        let lines: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(explain)).fetch_all(&mut self.session).await.unwrap();
        sqlx::raw_sql("rollback").execute(&mut self.session).await.unwrap();
        Plan(lines.join("\n"))
    }
}

impl Plan {
    /// Whether it reads a whole table.
    pub fn scans(&self, table: &str) -> bool {
        self.0.contains(&format!("Seq Scan on {table}"))
    }

    /// How many rows it looked at because an index named them, dead ones included.
    pub fn visited_rows(&self) -> u64 {
        let fetches = self.0.lines().filter_map(|line| line.trim().strip_prefix("Heap Fetches: "));
        fetches.map(|number| number.parse::<u64>().unwrap()).sum()
    }
}

impl Database {
    /// Cleans up as far as snapshots allow, and collects statistics.
    pub async fn vacuum(&self) {
        self.execute("vacuum analyze").await;
    }
}
