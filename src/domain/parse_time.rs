//! Parses the times that people type in filters of the API, the dashboard and the command line.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use std::ops::RangeInclusive;

/// The accepted years. The database does not support all others.
const YEARS: RangeInclusive<i32> = 1970..=9999;

/// The text is not a time, or its year is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a date such as 2026-01-31, or a time such as 2026-01-31T12:00:00Z, of the years {} to {}",
    YEARS.start(),
    YEARS.end()
)]
pub struct InvalidTime;

/// Parses a time of RFC 3339, or a date, which means its start in UTC.
pub fn parse_time(text: &str) -> Result<DateTime<Utc>, InvalidTime> {
    let time = DateTime::parse_from_rfc3339(text).map(|at| at.to_utc());
    let date = || text.parse::<NaiveDate>().map(|date| date.and_time(NaiveTime::MIN).and_utc());
    let parsed = time.or_else(|_| date()).map_err(|_| InvalidTime)?;
    if YEARS.contains(&parsed.year()) { Ok(parsed) } else { Err(InvalidTime) }
}

/// Like [`parse_time`], and also accepts a time without a zone, as browser forms send it; that is UTC.
pub fn parse_form_time(text: &str) -> Result<DateTime<Utc>, InvalidTime> {
    let without_zone = |format| NaiveDateTime::parse_from_str(text, format).ok();
    let parsed = without_zone("%Y-%m-%dT%H:%M").or_else(|| without_zone("%Y-%m-%dT%H:%M:%S"));
    match parsed {
        Some(at) if YEARS.contains(&at.year()) => Ok(at.and_utc()),
        _ => parse_time(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_begins_at_midnight_and_a_time_has_its_zone() {
        let of = |text| parse_time(text).map(|at| at.timestamp());
        assert_eq!(of("2026-11-23"), Ok(1_795_392_000));
        assert_eq!(of("2026-11-23T01:00:00+01:00"), Ok(1_795_392_000));
    }

    #[test]
    fn a_form_may_leave_the_zone_out() {
        let of = |text| parse_form_time(text).map(|at| at.timestamp());
        for text in ["2026-11-23", "2026-11-23T00:00", "2026-11-23T00:00:00", "2026-11-23T01:00:00+01:00"] {
            assert_eq!(of(text), Ok(1_795_392_000), "{text}");
        }
        for odd in ["yesterday", "1795392000", "2026-13-01", "2026-11-23T25:00", "0100-01-01T00:00"] {
            assert_eq!(parse_form_time(odd), Err(InvalidTime), "{odd}");
        }
    }

    #[test]
    fn what_is_no_time_and_what_no_database_knows_is_refused() {
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
            assert_eq!(parse_time(odd), Err(InvalidTime), "{odd}");
        }
        assert!(InvalidTime.to_string().ends_with("of the years 1970 to 9999"));
    }
}
