//! Checks the database, and compares the clocks of this machine, the database and the destinations.

use crate::destinations::check::Finding;
use crate::health::OldSnapshot;
use crate::store::{AddressError, MigrateError, Schema, ServerInfo, Store};
use chrono::{DateTime, TimeDelta, Utc};

/// The oldest supported server: PostgreSQL 14.
const VERSION_MIN: i32 = 140_000;

/// A clock difference of this much is a warning.
const SKEW_NOTED: TimeDelta = TimeDelta::seconds(30);

/// A clock difference of this much is a problem: signatures are valid for 300 s.
const SKEW_MAX: TimeDelta = TimeDelta::seconds(240);

/// The result of checking the database.
pub(super) struct Checked {
    pub(super) findings: Vec<Finding>,
    /// How its clock differs from this machine's.
    pub(super) clock: Option<Finding>,
    /// Whether the tables exist and are writable.
    pub(super) is_usable: bool,
}

/// Checks the database. `now` reads this machine's clock; `pool_size` is the number of connections that one
/// process uses.
pub(super) async fn check(store: &Store, pool_size: u32, now: impl Fn() -> DateTime<Utc>) -> Checked {
    let asked = now();
    let vitals = match store.db.server_info().await {
        Ok(vitals) => vitals,
        Err(error) => return Checked { findings: vec![unreachable(&error)], clock: None, is_usable: false },
    };
    let answered = now();
    // The server read its clock at some time in between.
    let local = asked + (answered - asked) / 2;
    Checked {
        findings: of(&vitals, pool_size),
        clock: Some(clock("the database's clock", vitals.now - local)),
        is_usable: vitals.schema == Schema::Current(None) && !vitals.is_read_only,
    }
}

/// The finding for a clock that is `ahead` of this machine's, or behind if that is negative.
pub(super) fn clock(whose: &str, ahead: TimeDelta) -> Finding {
    let seconds = ahead.num_seconds().abs();
    let which = if ahead > TimeDelta::zero() { "ahead of" } else { "behind" };
    let what = format!("{whose} is {seconds} s {which} this machine's");
    if ahead.abs() >= SKEW_MAX {
        Finding::problem(what, "synchronize the clocks (NTP): signatures are only valid for 300 s")
    } else if ahead.abs() >= SKEW_NOTED {
        Finding::warning(what, "synchronize the clocks (NTP): from 300 s on, signatures are rejected")
    } else {
        Finding::good(format!("{whose} and this machine's clock agree"))
    }
}

/// The finding for an address that cannot be used.
pub(super) fn unusable(error: &AddressError) -> Finding {
    Finding::problem(
        format!("the address of the database cannot be used: {error}"),
        "correct DATABASE_URL (or DATABASE_DIRECT_URL), and check that the file exists and is readable here",
    )
}

fn unreachable(error: &MigrateError) -> Finding {
    let (what, remedy) = error.parts();
    Finding::problem(what, remedy)
}

fn of(vitals: &ServerInfo, pool_size: u32) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(if vitals.version_number >= VERSION_MIN {
        Finding::good(format!("PostgreSQL {} answers", vitals.version))
    } else {
        Finding::problem(format!("PostgreSQL {} is too old", vitals.version), "use PostgreSQL 14 or later")
    });
    if vitals.is_read_only {
        findings.push(Finding::problem(
            "it accepts no writes: it is a standby, or set to be read-only",
            "point DATABASE_URL at the primary, or unset default_transaction_read_only",
        ));
    }
    findings.push(match &vitals.schema {
        Schema::Missing(true) => Finding::note("the schema does not exist yet")
            .with_remedy("serve creates it, or: eventbridge migrate"),
        Schema::Missing(false) => Finding::problem(
            "the schema does not exist, and this user may not create it",
            "grant it: grant create on database … to …; or run eventbridge migrate as a user who may",
        ),
        Schema::BeforeRelease => Finding::problem(
            "the schema eventbridge is from before the first release and cannot be migrated",
            "drop schema eventbridge cascade removes it with its data; to keep them, use another database",
        ),
        Schema::Behind => Finding::warning(
            "the schema is older than this program",
            "serve updates it at its start, or: eventbridge migrate",
        ),
        Schema::Current(None) => Finding::good("the schema is up to date and writable"),
        Schema::Current(Some(cause)) => Finding::problem(
            format!("the schema is not writable: {cause}"),
            "use the user that created it, or grant this one all on the tables of schema eventbridge",
        ),
    });
    if !vitals.has_lz4 {
        findings.push(Finding::note("it has no lz4; payloads are compressed with pglz, which is slower"));
    }
    let free = vitals.connections_max - vitals.connections_used;
    findings.push(if free < i64::from(pool_size) {
        Finding::warning(
            format!(
                "{free} of its {} connections are free, and one process uses {pool_size}",
                vitals.connections_max
            ),
            "lower DATABASE_CONNECTIONS, or raise max_connections; a running service has its connections already",
        )
    } else {
        Finding::good(format!("{free} of its {} connections are free", vitals.connections_max))
    });
    let old_snapshot = OldSnapshot::among(&vitals.snapshot_holders);
    findings.extend(old_snapshot.map(|old| Finding::warning(old.what, old.remedy)));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destinations::check::Level;

    fn vitals() -> ServerInfo {
        ServerInfo {
            version: "15.4".to_owned(),
            version_number: 150_004,
            now: DateTime::UNIX_EPOCH,
            is_read_only: false,
            has_lz4: true,
            connections_max: 100,
            connections_used: 3,
            snapshot_holders: Vec::new(),
            schema: Schema::Current(None),
        }
    }

    fn worst(vitals: &ServerInfo) -> Level {
        of(vitals, 10).iter().map(|finding| finding.level).max().unwrap()
    }

    #[test]
    fn what_stops_the_service_is_a_problem() {
        assert_eq!(worst(&vitals()), Level::Good);
        for (broken, level) in [
            (ServerInfo { version_number: 130_000, ..vitals() }, Level::Problem),
            (ServerInfo { is_read_only: true, ..vitals() }, Level::Problem),
            (ServerInfo { schema: Schema::Missing(false), ..vitals() }, Level::Problem),
            (ServerInfo { schema: Schema::Missing(true), ..vitals() }, Level::Note),
            (ServerInfo { schema: Schema::BeforeRelease, ..vitals() }, Level::Problem),
            (ServerInfo { schema: Schema::Behind, ..vitals() }, Level::Warning),
            (ServerInfo { schema: Schema::Current(Some("no".into())), ..vitals() }, Level::Problem),
            (ServerInfo { connections_used: 95, ..vitals() }, Level::Warning),
            (ServerInfo { has_lz4: false, ..vitals() }, Level::Note),
        ] {
            assert_eq!(worst(&broken), level, "{broken:?}");
        }
    }

    #[test]
    fn small_differences_of_clocks_are_fine() {
        for (seconds, level) in
            [(0, Level::Good), (-29, Level::Good), (31, Level::Warning), (-241, Level::Problem)]
        {
            assert_eq!(clock("a clock", TimeDelta::seconds(seconds)).level, level, "{seconds}");
        }
    }
}
