//! Times as people type them, for filters of the API and of the command line.

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc};
use std::ops::RangeInclusive;

/// The years of times that are asked for; beyond lie some that the database does not know.
pub const YEARS: RangeInclusive<i32> = 1970..=9999;

/// A time as in RFC 3339, or a date, which stands for its beginning; nothing for all else, and for other
/// [`YEARS`].
pub fn read(text: &str) -> Option<DateTime<Utc>> {
    let instant = DateTime::parse_from_rfc3339(text).map(|at| at.to_utc());
    let date = || text.parse::<NaiveDate>().map(|date| date.and_time(NaiveTime::MIN).and_utc());
    instant.or_else(|_| date()).ok().filter(|at| YEARS.contains(&at.year()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_begins_at_midnight_and_a_time_has_its_zone() {
        let of = |text| read(text).map(|at| at.timestamp());
        assert_eq!(of("2026-11-23"), Some(1_795_392_000));
        assert_eq!(of("2026-11-23T01:00:00+01:00"), Some(1_795_392_000));
    }

    #[test]
    fn what_is_no_time_and_what_no_database_knows_is_not_read() {
        for odd in [
            "",
            "yesterday",
            "1795392000",
            "2026-11-23T10:00:00",
            "2026-13-01",
            "2026-02-30",
            "9999999-01-01",
            "+12345-01-01T00:00:00Z",
            "-200000-01-01",
            "1969-12-31",
        ] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }
}
