//! Between the clock on the wall of a time zone and points in time, also when the clocks change. Pure.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// The longest time that clocks have skipped, in minutes: a whole day, at the date line.
const SKIPPED_MINUTES_MAX: i64 = 24 * 60;

/// The first point in time at which the clocks of a zone show this time, or would show it: a time that they
/// skip is the end of the skipped time. `None` only at the ends of the calendar.
pub fn earliest(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    instant(zone, local, MappedLocalTime::earliest)
}

/// The same for the last such point in time: it differs for a time that the clocks show twice.
pub fn latest(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    instant(zone, local, MappedLocalTime::latest)
}

fn instant(
    zone: Tz,
    local: NaiveDateTime,
    choose: fn(MappedLocalTime<DateTime<Tz>>) -> Option<DateTime<Tz>>,
) -> Option<DateTime<Utc>> {
    (0..=SKIPPED_MINUTES_MAX).find_map(|minutes| {
        let shown = local.checked_add_signed(TimeDelta::minutes(minutes))?;
        choose(zone.from_local_datetime(&shown)).map(|at| at.to_utc())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Europe::Berlin;

    fn local(text: &str) -> NaiveDateTime {
        text.parse().expect("a local time")
    }

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn an_ordinary_time_is_one_point_in_time() {
        for at in [earliest, latest] {
            assert_eq!(at(Berlin, local("2026-07-01T07:00:00")), Some(utc("2026-07-01T05:00:00Z")));
        }
    }

    #[test]
    fn a_skipped_time_is_the_end_of_what_was_skipped() {
        for at in [earliest, latest] {
            assert_eq!(at(Berlin, local("2026-03-29T02:30:00")), Some(utc("2026-03-29T01:00:00Z")));
            assert_eq!(
                at(chrono_tz::Pacific::Apia, local("2011-12-30T12:00:00")),
                Some(utc("2011-12-30T10:00:00Z"))
            );
        }
    }

    #[test]
    fn a_time_that_is_shown_twice_has_two_points_in_time() {
        let twice = local("2026-10-25T02:30:00");
        assert_eq!(earliest(Berlin, twice), Some(utc("2026-10-25T00:30:00Z")));
        assert_eq!(latest(Berlin, twice), Some(utc("2026-10-25T01:30:00Z")));
    }
}
