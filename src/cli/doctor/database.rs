//! The database looked at, and the clocks: ours, the database's, and Notion's.

use crate::destinations::check::Finding;
use crate::store::{MigrateError, Schema, Store, Vitals};
use chrono::{DateTime, TimeDelta, Utc};

/// The oldest server that has all that we use.
const VERSION_MIN: i32 = 140_000;

/// From here on a difference of clocks is told.
const SKEW_NOTED: TimeDelta = TimeDelta::seconds(30);

/// Stripe's signatures are taken within 300 s; from here on they are at risk.
const SKEW_MAX: TimeDelta = TimeDelta::seconds(240);

/// What was found of the database.
pub(super) struct Looked {
    pub(super) findings: Vec<Finding>,
    /// What its clock says beside ours.
    pub(super) clock: Option<Finding>,
    /// Whether our tables are there and can be written.
    pub(super) is_usable: bool,
}

/// Looks at the database. `now` reads this machine's clock, `wanted` is the size of the pool.
pub(super) async fn check(store: &Store, wanted: u32, now: impl Fn() -> DateTime<Utc>) -> Looked {
    let asked = now();
    let vitals = match store.db.vitals().await {
        Ok(vitals) => vitals,
        Err(error) => return Looked { findings: vec![unreachable(&error)], clock: None, is_usable: false },
    };
    let answered = now();
    // The server looked at its clock at some time in between.
    let local = asked + (answered - asked) / 2;
    Looked {
        findings: of(&vitals, wanted),
        clock: Some(clock("the database's clock", vitals.now - local)),
        is_usable: vitals.schema == Schema::Current(None) && !vitals.is_read_only,
    }
}

/// What a difference of clocks means; a clock that is ahead of this machine's gives one above zero.
pub(super) fn clock(whose: &str, ahead: TimeDelta) -> Finding {
    let seconds = ahead.num_seconds().abs();
    let which = if ahead > TimeDelta::zero() { "ahead of" } else { "behind" };
    let what = format!("{whose} is {seconds} s {which} this machine's");
    if ahead.abs() >= SKEW_MAX {
        Finding::problem(what, "set the clocks (NTP): signatures are taken within 300 s alone")
    } else if ahead.abs() >= SKEW_NOTED {
        Finding::warning(what, "set the clocks (NTP) before signatures are refused, at 300 s")
    } else {
        Finding::good(format!("{whose} and this machine's agree"))
    }
}

fn unreachable(error: &MigrateError) -> Finding {
    let remedy = match error {
        MigrateError::Away(_) | MigrateError::Busy(_) => {
            "start it, or correct DATABASE_URL (or POSTGRES_HOST and POSTGRES_PORT); see whether a firewall lies between"
        }
        MigrateError::Refused(_) | MigrateError::BeforeRelease { .. } => {
            "correct the name, user and password in DATABASE_URL (or POSTGRES_…), and see that the database exists"
        }
    };
    Finding::problem(error.to_string(), remedy)
}

fn of(vitals: &Vitals, wanted: u32) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(if vitals.version_number >= VERSION_MIN {
        Finding::good(format!("PostgreSQL {} answers", vitals.version))
    } else {
        Finding::problem(format!("PostgreSQL {} is too old", vitals.version), "use PostgreSQL 14 or later")
    });
    if vitals.is_read_only {
        findings.push(Finding::problem(
            "it takes no writes: it is a standby, or set to be read-only",
            "point DATABASE_URL at the primary, or lift default_transaction_read_only",
        ));
    }
    findings.push(match &vitals.schema {
        Schema::Missing(true) => Finding::note("the schema is not there yet")
            .with_remedy("serve makes it, or: eventbridge migrate"),
        Schema::Missing(false) => Finding::problem(
            "the schema is not there, and this user may not make it",
            "grant it: grant create on database … to …; or run eventbridge migrate as one who may",
        ),
        Schema::BeforeRelease => Finding::problem(
            "the schema eventbridge is from before the first release and cannot be migrated",
            "drop schema eventbridge cascade removes it with its data; to keep them, use another database",
        ),
        Schema::Behind => Finding::warning(
            "the schema is older than this program",
            "serve brings it up to date when it starts, or: eventbridge migrate",
        ),
        Schema::Current(None) => Finding::good("the schema is up to date and can be written"),
        Schema::Current(Some(cause)) => Finding::problem(
            format!("the schema cannot be written: {cause}"),
            "use the user that made it, or grant this one all on the tables of schema eventbridge",
        ),
    });
    if !vitals.has_lz4 {
        findings.push(Finding::note("it has no lz4, so payloads are compressed with pglz, which is slower"));
    }
    let free = vitals.connections_max - vitals.connections_used;
    findings.push(if free < i64::from(wanted) {
        Finding::warning(
            format!(
                "{free} of its {} connections are free, and one process wants {wanted}",
                vitals.connections_max
            ),
            "lower DATABASE_CONNECTIONS, or raise max_connections; a service that runs already has its own",
        )
    } else {
        Finding::good(format!("{free} of its {} connections are free", vitals.connections_max))
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destinations::check::Level;

    fn vitals() -> Vitals {
        Vitals {
            version: "15.4".to_owned(),
            version_number: 150_004,
            now: DateTime::UNIX_EPOCH,
            is_read_only: false,
            has_lz4: true,
            connections_max: 100,
            connections_used: 3,
            schema: Schema::Current(None),
        }
    }

    fn worst(vitals: &Vitals) -> Level {
        of(vitals, 10).iter().map(|finding| finding.level).max().unwrap()
    }

    #[test]
    fn what_would_stop_the_service_is_a_problem() {
        assert_eq!(worst(&vitals()), Level::Good);
        for (broken, level) in [
            (Vitals { version_number: 130_000, ..vitals() }, Level::Problem),
            (Vitals { is_read_only: true, ..vitals() }, Level::Problem),
            (Vitals { schema: Schema::Missing(false), ..vitals() }, Level::Problem),
            (Vitals { schema: Schema::Missing(true), ..vitals() }, Level::Note),
            (Vitals { schema: Schema::BeforeRelease, ..vitals() }, Level::Problem),
            (Vitals { schema: Schema::Behind, ..vitals() }, Level::Warning),
            (Vitals { schema: Schema::Current(Some("no".into())), ..vitals() }, Level::Problem),
            (Vitals { connections_used: 95, ..vitals() }, Level::Warning),
            (Vitals { has_lz4: false, ..vitals() }, Level::Note),
        ] {
            assert_eq!(worst(&broken), level, "{broken:?}");
        }
    }

    #[test]
    fn clocks_may_differ_a_little() {
        for (seconds, level) in
            [(0, Level::Good), (-29, Level::Good), (31, Level::Warning), (-241, Level::Problem)]
        {
            assert_eq!(clock("a clock", TimeDelta::seconds(seconds)).level, level, "{seconds}");
        }
    }
}
