//! A database for each test, cloned from a template that was migrated once.
//!
//! The server is a private throw-away one, or the one that `TEST_DATABASE_URL` names.

use super::rows::Rows;
use eventbridge::store::Store;
use private_postgres::{DataLifetime, PrivatePostgres};
use secrecy::SecretString;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions, postgres::PgListener,
};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use url::Url;

/// A test's connections to its database, unless it asks for more.
pub const CONNECTIONS: u32 = 4;

/// A migrated, empty database for one test.
pub struct Database {
    url: Url,
    /// Another database of the same server.
    beside: Url,
    /// Set if the server belongs to this database alone.
    _private: Option<PrivatePostgres>,
}

struct Server {
    url: Url,
    /// How databases are cloned: without writing every copied page to the log, if the server supports it.
    strategy: &'static str,
    /// Lives as long as the run: the server ends when the process ends.
    _private: Option<PrivatePostgres>,
}

/// The name of every database of this run contains its process id, so that two runs can share a server.
fn name_of(what: &str) -> String {
    format!("eventbridge_test_{}_{what}", std::process::id())
}

impl Database {
    pub async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("eventbridge_test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let server = tokio::task::spawn_blocking(Server::of_this_run).await.unwrap();
        let mut admin = connect(&server.url).await;
        execute(
            &mut admin,
            format!("create database {name} template {} {}", name_of("template"), server.strategy),
        )
        .await;
        Self { url: named(&server.url, &name), beside: server.url.clone(), _private: None }
    }

    /// One without our schema.
    pub async fn empty() -> Self {
        let database = Self::new().await;
        database.execute("drop schema eventbridge cascade").await;
        database
    }

    /// One on a server of its own, for a test that would disturb the others.
    pub async fn on_a_server_of_its_own() -> Self {
        let private = tokio::task::spawn_blocking(private_server).await.unwrap();
        let url: Url = private.url().parse().unwrap();
        let database = Self { url: url.clone(), beside: named(&url, "postgres"), _private: Some(private) };
        let store = database.store();
        store.db.migrate().await.unwrap();
        store.db.close().await;
        database
    }

    pub fn url(&self) -> SecretString {
        SecretString::from(self.url.as_str())
    }

    /// The test's own handle on the database.
    pub fn store(&self) -> Store {
        self.store_with(CONNECTIONS)
    }

    /// The same with this many connections.
    pub fn store_with(&self, connections: u32) -> Store {
        Store::connect_lazily(&self.url(), connections).unwrap()
    }

    /// The address, for a test that connects in its own way.
    pub fn options(&self) -> PgConnectOptions {
        let options: PgConnectOptions = self.url.as_str().parse().unwrap();
        options.disable_statement_logging()
    }

    /// Allows or forbids writes in sessions that begin from now on; existing sessions are unchanged.
    pub async fn let_new_sessions_write(&self, writable: bool) {
        let name = self.url.path().trim_start_matches('/');
        let setting = if writable { "off" } else { "on" };
        let sql = format!("alter database {name} set default_transaction_read_only = {setting}");
        execute(&mut connect(&self.beside).await, sql).await;
    }

    /// Ends all sessions, as a server restart does.
    pub async fn end_sessions(&self) {
        let name = self.url.path().trim_start_matches('/');
        let sql = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity
              where datname = '{name}' and pid <> pg_backend_pid()"
        );
        execute(&mut connect(&self.beside).await, sql).await;
    }

    /// Executes statements that only a test would.
    pub async fn execute(&self, sql: &str) {
        execute(&mut connect(&self.url).await, sql.to_owned()).await;
    }

    /// Locks the table of these rows until the returned value is dropped.
    pub async fn hold_lock(&self, rows: Rows) -> PgConnection {
        let mut connection = connect(&self.url).await;
        execute(&mut connection, format!("begin; lock table {} in access exclusive mode", rows.table()))
            .await;
        connection
    }

    /// Locks these rows, which can still be read, until the returned value is dropped.
    pub async fn hold_rows(&self, rows: Rows) -> PgConnection {
        let mut connection = connect(&self.url).await;
        execute(&mut connection, format!("begin; select 1 from {} for update", rows.table())).await;
        connection
    }

    /// Holds a snapshot in an open transaction until the connection is dropped; also returns the id of its
    /// process.
    pub async fn hold_snapshot(&self) -> (PgConnection, i32) {
        let mut connection = connect(&self.url).await;
        execute(&mut connection, "begin isolation level repeatable read; select 1".to_owned()).await;
        let pid = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
        (connection, pid)
    }

    /// Opens a transaction that has written something and holds no snapshot between its statements; returns it
    /// and its process id.
    pub async fn hold_number(&self) -> (PgConnection, i32) {
        let mut connection = connect(&self.url).await;
        execute(&mut connection, "begin; select pg_current_xact_id()".to_owned()).await;
        let pid = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
        (connection, pid)
    }

    /// Subscribes to a notification channel.
    pub async fn listen(&self, channel: &str) -> PgListener {
        let mut listener = PgListener::connect(self.url.as_str()).await.unwrap();
        listener.listen(channel).await.unwrap();
        listener
    }

    /// When yesterday began in UTC by the server's clock, in seconds since 1970.
    pub async fn start_of_yesterday(&self) -> i64 {
        self.number(
            "select extract(epoch from date_trunc('day', now() - interval '1 day') at time zone 'utc')::bigint",
        )
        .await
    }

    /// How many other sessions of this database have a statement or a transaction under way.
    pub async fn busy_sessions(&self) -> i64 {
        self.number(
            "select count(*) from pg_stat_activity where datname = current_database()
                and state <> 'idle' and pid <> pg_backend_pid()",
        )
        .await
    }

    /// How many sessions of this database wait for a lock in a statement that contains this text.
    pub async fn sessions_waiting_for_a_lock(&self, words: &str) -> i64 {
        self.number(&format!(
            "select count(*) from pg_stat_activity where datname = current_database()
                and wait_event_type = 'Lock' and query like '%{words}%'"
        ))
        .await
    }

    /// Every row of every table of the schema as text. Bytes are the text that they are, with other bytes than
    /// ASCII in octal digits.
    pub async fn dump(&self) -> String {
        let mut connection = connect(&self.url).await;
        let columns: Vec<(String, String)> = sqlx::query_as(
            "select table_name::text,
                    string_agg(case data_type when 'bytea' then format('encode(%I, ''escape'')', column_name)
                                              else format('%I::text', column_name) end, ', ')
               from information_schema.columns
              where table_schema = 'eventbridge'
              group by table_name
              order by table_name",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let mut dump = String::new();
        for (table, columns) in columns {
            let sql = format!("select concat_ws(' | ', {columns}) from eventbridge.{table}");
            let rows: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
            dump.extend(rows.into_iter().map(|row| format!("{table}: {row}\n")));
        }
        dump
    }

    /// One number from the database.
    pub async fn number(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::query_scalar(sql).fetch_one(&mut connect(&self.url).await).await.unwrap()
    }

    /// One text from the database.
    pub async fn text(&self, sql: &str) -> String {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::query_scalar(sql).fetch_one(&mut connect(&self.url).await).await.unwrap()
    }
}

impl Server {
    fn of_this_run() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| {
            let mut server = Self::start();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(server.make_template());
            server
        })
    }

    fn start() -> Self {
        if let Ok(url) = std::env::var("TEST_DATABASE_URL") {
            return Self { url: url.parse().unwrap(), strategy: "", _private: None };
        }
        let private = private_server();
        Self { url: private.url().parse().unwrap(), strategy: "", _private: Some(private) }
    }

    async fn make_template(&mut self) {
        let mut admin = connect(&self.url).await;
        let knows_strategies: bool =
            sqlx::query_scalar("select current_setting('server_version_num')::int >= 150000")
                .fetch_one(&mut admin)
                .await
                .unwrap();
        if knows_strategies {
            self.strategy = "strategy file_copy";
        }
        // A server that outlives its runs would fill up with their databases; one in use is left alone.
        let leftovers: Vec<String> = sqlx::query_scalar(
            r"select datname::text from pg_database where datname like 'eventbridge\_test\_%'
                and not exists (select from pg_stat_activity where pg_stat_activity.datname = pg_database.datname)
                and (pg_stat_file('base/' || pg_database.oid || '/PG_VERSION')).modification < now() - interval '1 hour'",
        )
        .fetch_all(&mut admin)
        .await
        .unwrap();
        for leftover in leftovers {
            execute(&mut admin, format!("drop database if exists {leftover}")).await;
        }
        execute(&mut admin, format!("create database {}", name_of("template"))).await;
        let url = SecretString::from(named(&self.url, &name_of("template")).as_str());
        let store = Store::connect_lazily(&url, 1).unwrap();
        store.db.migrate().await.unwrap();
        store.db.close().await;
    }
}

fn private_server() -> PrivatePostgres {
    PrivatePostgres::start(Path::new(env!("CARGO_BIN_EXE_eventbridge")), DataLifetime::Temporary).unwrap()
}

fn named(server: &Url, database: &str) -> Url {
    let mut url = server.clone();
    url.set_path(database);
    url
}

async fn connect(url: &Url) -> PgConnection {
    let options: PgConnectOptions = url.as_str().parse().unwrap();
    PgConnection::connect_with(&options.disable_statement_logging()).await.unwrap()
}

async fn execute(connection: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap();
}

/// Ends the sessions of the service, from a session of the test. Returns how many there were.
pub async fn end_sessions_of_the_service(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'eventbridge'",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}
