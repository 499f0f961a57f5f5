//! The plans of the claim and of the completion, as Postgres makes them for a session of the worker.

use super::Database;
use eventbridge::store::WorkerId;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions};

/// The claim as it is in the source.
pub fn claim_statement() -> String {
    first_statement_of("claim.rs")
}

fn first_statement_of(file: &str) -> String {
    let file = format!("{}/src/store/queue/{file}", env!("EVENTBRIDGE_CHECKOUT"));
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

/// The plan of a statement that was executed and taken back.
#[derive(Debug)]
pub struct Plan {
    text: String,
    /// How many entries of the index of due work it read, dead ones included.
    visited: i64,
}

impl Planner {
    /// One for claims of this worker.
    pub async fn new(database: &Database, worker: WorkerId) -> Self {
        let mut session = database.options().connect().await.unwrap();
        let prepare = format!(
            "set jit = off; set enable_seqscan = off; set plan_cache_mode = force_generic_plan;
             prepare claim (uuid, text[], text[], timestamptz[], bigint[], bigint[], bigint, bigint, bigint,
                            bigint, boolean, boolean, timestamptz[]) as {};
             prepare complete (bigint[], bigint[], text[], bigint[], bool[], text[], text[], text[], integer[], text[],
                               integer[], text[], text[], text[], bigint[], text[], text[], bool[], text[]) as {};
             prepare complete_lanes (bigint[], bigint[], text[], bigint[], bool[], text[], text[], text[], jsonb[],
                                     integer[], integer[], text[], text[], bigint[], bigint[], text[]) as {}",
            claim_statement(),
            first_statement_of("complete.rs"),
            first_statement_of("complete_lanes.rs")
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
        self.plan(&format!(
            "execute claim ('{}', '{{notion}}', '{{fresh}}', array[timestamptz '{run_at}'], '{{{id}}}', '{{100}}',
                            null, 1000, 100, 1000000000, false, false, '{{null}}')",
            self.worker.0
        ))
        .await
    }

    /// Plans the completion of everything that runs.
    pub async fn completion(&mut self) -> Plan {
        let leases =
            "select array_agg(execution_id)::text, array_agg(fence)::text, count(*) from eventbridge.leases";
        let (ids, fences, count): (String, String, i64) =
            sqlx::query_as(leases).fetch_one(&mut self.session).await.unwrap();
        let all = |value: &str| format!("array_fill({value}, array[{count}])");
        let (word, none) = (all("'success'::text"), all("null::text"));
        let (zero, no, number) = (all("0::bigint"), all("false"), all("0::integer"));
        self.plan(&format!(
            "execute complete ('{ids}', '{fences}', {word}, {zero}, {no}, {word}, {none}, {none}, {number}, {word},
                               {number}, {none}, {none}, {none}, {zero}, {none}, {none}, {no}, {none})"
        ))
        .await
    }

    /// Plans the completion of all lanes that run. Each shows its head's state, which supersedes nothing.
    pub async fn lane_completion(&mut self) -> Plan {
        let leases =
            "select array_agg(execution_id)::text, array_agg(fence)::text, array_agg(lane)::text, count(*)
                        from eventbridge.leases where lane is not null";
        let (ids, fences, lanes, count): (String, String, String, i64) =
            sqlx::query_as(leases).fetch_one(&mut self.session).await.unwrap();
        let all = |value: &str| format!("array_fill({value}, array[{count}])");
        let (yes, none, number) = (all("true"), all("null::text"), all("0::integer"));
        let written = all("'{}'::jsonb");
        self.plan(&format!(
            "execute complete_lanes ('{ids}', '{fences}', '{lanes}', '{ids}', {yes}, {none}, {none}, {none}, {written},
                                     {number}, {number}, {none}, {none}, '{{}}', '{{}}', '{{pending}}')"
        ))
        .await
    }

    /// How many entries of the index of due work this session has read since its counts were last collected.
    async fn visited(&mut self) -> i64 {
        let visited = "select pg_stat_get_xact_tuples_returned('eventbridge.queue_due'::regclass)";
        sqlx::query_scalar(visited).fetch_one(&mut self.session).await.unwrap()
    }

    async fn plan(&mut self, statement: &str) -> Plan {
        let explain = format!("explain (analyze, buffers, costs off, timing off, summary off) {statement}");
        sqlx::raw_sql("begin").execute(&mut self.session).await.unwrap();
        let before = self.visited().await;
        let lines: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(explain)).fetch_all(&mut self.session).await.unwrap();
        let visited = self.visited().await - before;
        sqlx::raw_sql("rollback").execute(&mut self.session).await.unwrap();
        Plan { text: lines.join("\n"), visited }
    }
}

impl Plan {
    /// How many pages it touched in all, some of them many times.
    pub fn touched_pages(&self) -> u64 {
        let of_all = self.text.lines().find_map(|line| line.trim().strip_prefix("Buffers: ")).unwrap();
        let pages = of_all.split([' ', ',']).filter_map(|word| {
            word.strip_prefix("hit=")
                .or_else(|| word.strip_prefix("read="))
                .map(|number| number.parse::<u64>().unwrap())
        });
        pages.sum()
    }

    /// Whether it reads a whole table.
    pub fn scans(&self, table: &str) -> bool {
        self.text.contains(&format!("Seq Scan on {table}"))
    }

    /// How many entries of the index of due work it read, dead ones included.
    pub const fn visited_entries(&self) -> i64 {
        self.visited
    }
}

impl Database {
    /// Cleans up as far as snapshots allow, and collects statistics.
    pub async fn vacuum(&self) {
        self.execute("vacuum analyze").await;
    }
}
