//! The private Postgres, with real servers: it starts anywhere, accepts no other user, leaves nothing
//! behind, and loses no kept data.

use private_postgres::{DataLifetime, PrivatePostgres, SUPERVISOR_SUBCOMMAND};
use sqlx::{Connection, PgConnection};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SUPERVISOR: &str = env!("CARGO_BIN_EXE_eventbridge");
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn it_uses_utf8_and_opens_no_tcp_port() {
    let server = start(DataLifetime::Temporary);
    let settings =
        "SELECT concat_ws(' ', current_user, current_database(), current_setting('server_encoding'),
        current_setting('jit'), '[' || current_setting('listen_addresses') || ']', 'é€😀')";
    assert_eq!(ask(server.url(), settings), "eventbridge eventbridge UTF8 off [] é€😀");
    run(server.url(), "CREATE DATABASE \"an other\"");
    assert_eq!(ask(&server.url_of("an other"), "SELECT current_database()::text"), "an other");
    let mode = fs::metadata(server.socket_dir()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    server.stop().unwrap();
}

#[test]
fn a_throw_away_cluster_is_removed_when_stopped() {
    let server = start(DataLifetime::Temporary);
    let (data, socket) = (server.data_dir().to_owned(), server.socket_dir().to_owned());
    let postmaster = postmaster_of(&data);
    server.stop().unwrap();
    assert!(!data.exists() && !socket.exists() && !lives(postmaster));
}

#[test]
fn two_servers_run_side_by_side() {
    let (one, other) = (start(DataLifetime::Temporary), start(DataLifetime::Temporary));
    assert_ne!(one.url(), other.url());
    run(one.url(), "CREATE TABLE only_here ()");
    assert_eq!(ask(other.url(), "SELECT coalesce(to_regclass('only_here')::text, 'absent')"), "absent");
}

#[test]
fn kept_data_survive_a_stop() {
    let checkout = Checkout::new();
    let server = checkout.start();
    remember(server.url());
    let socket = server.socket_dir().to_owned();
    server.stop().unwrap();
    assert!(!socket.exists());
    assert!(remembers(checkout.start().url()));
}

#[test]
fn a_second_run_waits_for_the_first_to_release_the_data() {
    let checkout = Checkout::new();
    let first = checkout.start();
    remember(first.url());
    let second = std::thread::scope(|scope| {
        let second = scope.spawn(|| checkout.start());
        first.stop().unwrap();
        second.join().unwrap()
    });
    assert!(remembers(second.url()));
}

#[test]
fn a_killed_owner_leaves_no_server_behind() {
    let mut owner = Owner::spawn("", &[]);
    let postmaster = postmaster_of(&owner.data_dir);
    owner.process.kill().unwrap();
    until("the server and its files are gone", || !lives(postmaster) && !owner.data_dir.exists());
}

#[test]
fn an_owner_that_is_gone_before_the_server_is_up_is_no_failure() {
    let supervisor =
        Command::new(SUPERVISOR).arg(SUPERVISOR_SUBCOMMAND).stdin(Stdio::null()).output().unwrap();
    assert!(supervisor.status.success() && supervisor.stdout.is_empty(), "{supervisor:?}");
}

#[test]
fn data_of_another_major_version_are_refused_and_left_alone() {
    let checkout = Checkout::new();
    let server = checkout.start();
    let version = server.data_dir().join("PG_VERSION");
    server.stop().unwrap();
    fs::write(&version, "10\n").unwrap();
    let lifetime = DataLifetime::Persistent { checkout: checkout.path.clone() };
    let error = PrivatePostgres::start(Path::new(SUPERVISOR), lifetime).unwrap_err().to_string();
    assert!(error.contains("created by PostgreSQL 10"), "{error}");
    assert_eq!(fs::read_to_string(&version).unwrap(), "10\n");
}

#[test]
fn a_server_that_cannot_start_reports_why() {
    let checkout = Checkout::new();
    let server = checkout.start();
    let settings = server.data_dir().join("postgresql.conf");
    server.stop().unwrap();
    fs::write(&settings, "no_such_setting = 1\n").unwrap();
    let lifetime = DataLifetime::Persistent { checkout: checkout.path.clone() };
    let error = PrivatePostgres::start(Path::new(SUPERVISOR), lifetime).unwrap_err().to_string();
    assert!(error.contains("no_such_setting"), "{error}");
}

#[test]
fn an_orphan_of_a_kept_cluster_is_stopped_by_the_next_start() {
    let checkout = Checkout::new();
    let server = checkout.start();
    remember(server.url());
    let orphan = postmaster_of(server.data_dir());
    kill("-KILL", parent_of(orphan));
    drop(server);
    assert!(lives(orphan));
    let server = checkout.start();
    assert!(!lives(orphan));
    assert!(remembers(server.url()));
}

#[test]
fn kept_data_survive_a_kill_of_supervisor_and_server() {
    let checkout = Checkout::new();
    let server = checkout.start();
    remember(server.url());
    let postmaster = postmaster_of(server.data_dir());
    kill("-KILL", parent_of(postmaster));
    kill("-KILL", postmaster);
    drop(server);
    let server = checkout.start();
    assert!(remembers(server.url()));
}

#[test]
fn a_stale_pid_file_with_the_id_of_another_process_is_ignored() {
    let checkout = Checkout::new();
    let server = checkout.start();
    remember(server.url());
    let data = server.data_dir().to_owned();
    let (postmaster, pid_file) = (postmaster_of(&data), data.join("postmaster.pid"));
    kill("-KILL", parent_of(postmaster));
    kill("-KILL", postmaster);
    drop(server);

    // Postgres itself would take it for a server if the server's own user ran it.
    let mut sleep = Command::new("sleep");
    sleep.arg("600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut unrelated = UnrelatedProcess(as_user(&mut sleep, owner_of(&data)).spawn().unwrap());
    let text = fs::read_to_string(&pid_file).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    fs::write(&pid_file, format!("{}\n{rest}", unrelated.0.id())).unwrap();

    let server = checkout.start();
    assert!(remembers(server.url()));
    assert!(unrelated.0.try_wait().unwrap().is_none(), "the unrelated process is left alone");
}

#[test]
fn a_server_that_dies_comes_back_with_its_data_at_the_same_place() {
    let server = start(DataLifetime::Temporary);
    remember(server.url());
    run(server.url(), "CHECKPOINT");
    let postmaster = postmaster_of(server.data_dir());
    kill("-KILL", postmaster);
    until("another server answers", || {
        try_ask(server.url(), "SELECT 'up'").is_some() && postmaster_of(server.data_dir()) != postmaster
    });
    assert!(remembers(server.url()));
}

#[test]
fn the_next_start_removes_what_a_killed_supervisor_left() {
    let lost = start(DataLifetime::Temporary);
    let data = lost.data_dir().to_owned();
    let orphan = postmaster_of(&data);
    kill("-KILL", parent_of(orphan));
    drop(lost);
    let _next = start(DataLifetime::Temporary);
    until("the leftover is gone", || !lives(orphan) && !data.parent().unwrap().exists());
}

#[test]
fn a_hostile_environment_changes_nothing() {
    let hostile = [
        ("LC_ALL", "xx_XX.ISO-8859-1"),
        ("LANG", "tr_TR"),
        ("TZ", "Mars/Olympus"),
        ("PGPORT", "1"),
        ("PGDATA", "/nowhere"),
        ("PGHOST", "nowhere.invalid"),
        ("PGUSER", "nobody"),
        ("PGDATABASE", "nothing"),
        ("PGOPTIONS", "-c nonsense=1"),
        ("PGSSLMODE", "verify-full"),
        ("TMPDIR", "/nowhere"),
    ];
    let owner = Owner::spawn("", &hostile);
    let encoding = "SELECT concat_ws(' ', current_setting('server_encoding'), current_setting('TimeZone'))";
    assert_eq!(ask(&owner.url, encoding), "UTF8 UTC");
}

#[test]
fn a_deeply_nested_checkout_works() {
    let checkout = Checkout::below(&"a quite long name'/".repeat(30));
    let server = checkout.start();
    remember(server.url());
    assert!(server.socket_dir().as_os_str().len() < 60);
}

#[test]
fn another_user_of_the_system_cannot_connect() {
    let server = start(DataLifetime::Temporary);
    let (ours, theirs) = (owner_of(server.socket_dir().parent().unwrap()), owner_of(server.data_dir()));
    if ours.0 != 0 {
        return; // Only root can run as another user.
    }
    let psql = |user: (u32, u32)| {
        let mut command = Command::new("psql");
        command.args(["-XAtc", "SELECT 'in'", server.url()]).current_dir("/").env("HOME", "/");
        as_user(&mut command, user).output().unwrap()
    };
    assert_eq!(String::from_utf8_lossy(&psql(ours).stdout), "in\n");
    for other in [(65534, 65534), theirs] {
        let refused = psql(other);
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
    }
}

/// The process of an owner, which a test can kill: [`Owner`] starts it.
#[test]
#[ignore = "part of other tests, which start it"]
fn owner() {
    let Ok(checkout) = std::env::var("PRIVATE_POSTGRES_CHECKOUT") else { return };
    let lifetime = if checkout.is_empty() {
        DataLifetime::Temporary
    } else {
        DataLifetime::Persistent { checkout: checkout.into() }
    };
    let server = start(lifetime);
    println!("\nSERVER {} {}", server.url(), server.data_dir().display());
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    server.stop().unwrap();
}

/// A process unrelated to Postgres; it ends with the test, however that ends.
struct UnrelatedProcess(Child);

impl Drop for UnrelatedProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Owner {
    process: Child,
    _stdout: BufReader<ChildStdout>,
    url: String,
    data_dir: PathBuf,
}

impl Owner {
    fn spawn(checkout: &str, environment: &[(&str, &str)]) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "private_postgres::owner", "--ignored", "--nocapture"])
            .envs(environment.iter().copied())
            .env("PRIVATE_POSTGRES_CHECKOUT", checkout)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut lines = stdout.by_ref().lines().map_while(Result::ok);
        let server = lines.find_map(|line| line.strip_prefix("SERVER ").map(str::to_owned)).unwrap();
        let (url, data_dir) = server.split_once(' ').unwrap();
        let (url, data_dir) = (url.to_owned(), PathBuf::from(data_dir));
        Self { process, _stdout: stdout, url, data_dir }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}

/// A directory for kept data, which is removed with it, wherever it is.
struct Checkout {
    path: PathBuf,
    home: OnceLock<PathBuf>,
    _dir: TempDir,
}

impl Checkout {
    fn new() -> Self {
        Self::below("checkout")
    }

    fn below(path: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("private-postgres-").tempdir().unwrap();
        let path = dir.path().join(path);
        fs::create_dir_all(&path).unwrap();
        Self { path, home: OnceLock::new(), _dir: dir }
    }

    fn start(&self) -> PrivatePostgres {
        let server = start(DataLifetime::Persistent { checkout: self.path.clone() });
        self.home.get_or_init(|| server.data_dir().parent().unwrap().to_owned());
        server
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        if let Some(home) = self.home.get() {
            fs::remove_dir_all(home).unwrap();
        }
    }
}

fn start(lifetime: DataLifetime) -> PrivatePostgres {
    PrivatePostgres::start(Path::new(SUPERVISOR), lifetime).unwrap()
}

fn remember(url: &str) {
    run(url, "CREATE TABLE memory AS SELECT 'kept'::text AS word");
}

fn remembers(url: &str) -> bool {
    ask(url, "SELECT word FROM memory") == "kept"
}

fn run(url: &str, sql: &'static str) {
    blocking(async {
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

fn ask(url: &str, sql: &'static str) -> String {
    try_ask(url, sql).unwrap()
}

fn try_ask(url: &str, sql: &'static str) -> Option<String> {
    blocking(async {
        let mut connection = PgConnection::connect(url).await.ok()?;
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.ok()
    })
}

fn blocking<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Waits for another process: checks repeatedly, with a deadline.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn postmaster_of(data_dir: &Path) -> u32 {
    let text = fs::read_to_string(data_dir.join("postmaster.pid")).unwrap_or_default();
    text.lines().next().and_then(|pid| pid.parse().ok()).unwrap_or_default()
}

fn parent_of(pid: u32) -> u32 {
    process_field("ppid=", pid).parse().unwrap()
}

/// A killed process that its parent has not yet collected also counts as dead.
fn lives(pid: u32) -> bool {
    let state = process_field("stat=", pid);
    !state.is_empty() && !state.starts_with('Z')
}

fn process_field(field: &str, pid: u32) -> String {
    let output = Command::new("ps").args(["-o", field, "-p", &pid.to_string()]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn kill(signal: &str, pid: u32) {
    assert!(pid > 1, "not a process of ours: {pid}");
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
    until("the killed process is dead", || !lives(pid));
}

fn owner_of(path: &Path) -> (u32, u32) {
    let found = fs::metadata(path).unwrap();
    (found.uid(), found.gid())
}

/// Runs as another user; naming the current one changes nothing.
fn as_user(command: &mut Command, (uid, gid): (u32, u32)) -> &mut Command {
    command.uid(uid).gid(gid)
}
