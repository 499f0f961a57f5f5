//! Reads facts about the database server for `doctor`: version, clock, connections, the oldest snapshot,
//! privileges and schema.

use super::{Db, MigrateError, migrations, of_milliseconds};
use chrono::{DateTime, Utc};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgExecutor};
use std::time::Duration;

/// The longest that all of it may take, including the connection.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Facts about a database server.
#[derive(Debug, Clone)]
pub struct ServerInfo {
    /// The server's version, as the server writes it.
    pub version: String,
    /// The same as a number: 15.4 is 150004.
    pub version_number: i32,
    /// The server's clock.
    pub now: DateTime<Utc>,
    /// Whether it accepts no writes, as a standby or by a setting.
    pub is_read_only: bool,
    /// Whether it supports compression with lz4.
    pub has_lz4: bool,
    /// The most connections that it accepts.
    pub connections_max: i64,
    /// The number of connections in use, by any client.
    pub connections_used: i64,
    /// What holds snapshots, beside this connection; the oldest first.
    pub snapshot_holders: Vec<SnapshotHolder>,
    /// The state of our schema.
    pub schema: Schema,
}

/// What holds a snapshot. Until it ends, vacuum can remove no row that was deleted or changed since, in any
/// table, so tables grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotHolder {
    /// What it is.
    pub kind: SnapshotHolderKind,
    /// The process id of a session, the id of a prepared transaction, or the name of a replication slot.
    pub name: String,
    /// The application and the state of a session, or whether a slot is active.
    pub detail: String,
    /// How long its transaction has lasted; `None` for a replication slot.
    pub held_for: Option<Duration>,
    /// The number of transactions that began since.
    pub transactions: i32,
}

/// What can hold a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotHolderKind {
    /// A session with an open transaction or a long statement, such as `pg_dump`, or the feedback of a
    /// standby.
    Session,
    /// A transaction that was prepared for a two-phase commit and not ended.
    PreparedTransaction,
    /// A replication slot.
    ReplicationSlot,
}

/// The state of our schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schema {
    /// It does not exist; `true` if this role may create it.
    Missing(bool),
    /// It is from before the first release: no migration leads from there to this program.
    BeforeRelease,
    /// It is older than this program.
    Behind,
    /// It is this program's, or a newer one's. If this role cannot write to it, the cause.
    Current(Option<String>),
}

impl Db {
    /// Reads the facts over a connection of its own, which reports why it cannot be made.
    pub async fn server_info(&self) -> Result<ServerInfo, MigrateError> {
        self.reach().await?;
        let options = self.pool.direct_options();
        let info = tokio::time::timeout(TIMEOUT, read(&options)).await;
        match info {
            Ok(info) => info.map_err(|error| MigrateError::of(&error, &options)),
            Err(_) => Err(MigrateError::Away(format!(
                "no answer within {} s (at {}, port {})",
                TIMEOUT.as_secs(),
                options.get_host(),
                options.get_port()
            ))),
        }
    }
}

async fn read(options: &PgConnectOptions) -> Result<ServerInfo, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    let server = sqlx::query!(
        r#"
        select current_setting('server_version') as "version!",
               current_setting('server_version_num')::integer as "version_number!",
               pg_is_in_recovery() or current_setting('transaction_read_only')::boolean as "is_read_only!",
               exists (select from pg_settings
                        where name = 'default_toast_compression' and 'lz4' = any (enumvals)) as "has_lz4!",
               current_setting('max_connections')::bigint as "connections_max!",
               (select count(*) from pg_stat_activity where backend_type = 'client backend') as "connections_used!",
               to_regclass('eventbridge.migrations') is not null as "has_schema!",
               has_database_privilege(current_database(), 'create') as "may_create!",
               clock_timestamp() as "now!"
        "#
    )
    .fetch_one(&mut connection)
    .await?;
    let snapshot_holders = snapshot_holders(&mut connection).await?;
    let schema = if migrations::is_before_release(&mut connection).await? {
        Schema::BeforeRelease
    } else if server.has_schema {
        schema(&mut connection).await?
    } else {
        Schema::Missing(server.may_create)
    };
    // The facts are known, whether or not the connection closes cleanly.
    let _closed = connection.close().await;
    Ok(ServerInfo {
        version: server.version,
        version_number: server.version_number,
        now: server.now,
        is_read_only: server.is_read_only,
        has_lz4: server.has_lz4,
        connections_max: server.connections_max,
        connections_used: server.connections_used,
        snapshot_holders,
        schema,
    })
}

/// The most holders of snapshots that are read.
const HOLDERS_MAX: i64 = 50;

/// What keeps vacuum from removing dead rows, the oldest first. A transaction that wrote something does so by
/// its own number, also between its statements. A role without `pg_monitor` sees only the sessions of its own
/// user.
pub(in crate::store) async fn snapshot_holders(
    executor: impl PgExecutor<'_>,
) -> Result<Vec<SnapshotHolder>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select kind as "kind!", name as "name!", detail as "detail!", age(xmin) as "transactions!",
               (extract(epoch from now() - since) * 1000)::bigint as held_ms
          from (select 'session' as kind, pid::text as name, xact_start as since,
                       case when age(backend_xid) > age(backend_xmin) or backend_xmin is null
                            then backend_xid else backend_xmin end as xmin,
                       concat_ws(', ', nullif(application_name, ''), state) as detail
                  from pg_stat_activity
                 where (backend_xmin is not null or backend_xid is not null) and pid <> pg_backend_pid()
                   and (datname = current_database() and backend_type = 'client backend'
                        or backend_type = 'walsender')
                union all
                select 'prepared transaction', gid, prepared, transaction, ''
                  from pg_prepared_xacts
                 where database = current_database()
                union all
                select 'replication slot', slot_name, null, xmin, case when active then 'active' else 'inactive' end
                  from pg_replication_slots
                 where xmin is not null) as holders
         order by age(xmin) desc
         limit $1
        "#,
        HOLDERS_MAX
    )
    .fetch_all(executor)
    .await?;
    let holders = rows.into_iter().map(|row| SnapshotHolder {
        kind: match row.kind.as_str() {
            "session" => SnapshotHolderKind::Session,
            "prepared transaction" => SnapshotHolderKind::PreparedTransaction,
            _ => SnapshotHolderKind::ReplicationSlot,
        },
        name: row.name,
        detail: row.detail,
        held_for: row.held_ms.map(of_milliseconds),
        transactions: row.transactions,
    });
    Ok(holders.collect())
}

async fn schema(connection: &mut PgConnection) -> Result<Schema, sqlx::Error> {
    let applied =
        sqlx::query_scalar!(r#"select max(version) as "version" from eventbridge.migrations where success"#)
            .fetch_one(&mut *connection)
            .await?;
    if applied.is_none_or(|version| version < migrations::newest()) {
        return Ok(Schema::Behind);
    }
    // Changes no row, but is refused if a change would be.
    let written = sqlx::query!("update eventbridge.workers set heartbeat_at = heartbeat_at where false")
        .execute(connection)
        .await;
    match written {
        Ok(_) => Ok(Schema::Current(None)),
        Err(sqlx::Error::Database(error)) => Ok(Schema::Current(Some(error.message().to_owned()))),
        Err(error) => Err(error),
    }
}
