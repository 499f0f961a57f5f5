//! Quiet hours: when only alerts that deserve it are sent. Pure.

use crate::domain::wall_clock::{earliest, latest};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use chrono_tz::Tz;
use std::str::FromStr;

/// A daily time by the clock on the wall, such as 22:00 to 07:00. It may cross midnight.
///
/// It begins and ends once a night, also when the clocks change: at a time that they show twice it begins
/// the first time and ends the second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    from: NaiveTime,
    to: NaiveTime,
}

/// The text is no time of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be two different times of the day, such as 22:00-07:00")]
pub struct InvalidQuietHours;

impl FromStr for QuietHours {
    type Err = InvalidQuietHours;

    fn from_str(text: &str) -> Result<Self, InvalidQuietHours> {
        let (from, to) = text.split_once('-').ok_or(InvalidQuietHours)?;
        let hours = Self { from: time_of_day(from)?, to: time_of_day(to)? };
        if hours.from == hours.to { Err(InvalidQuietHours) } else { Ok(hours) }
    }
}

/// Parses `07:00`: two digits each, so that `7:00` and `07:00:30` are no typing errors that pass.
fn time_of_day(text: &str) -> Result<NaiveTime, InvalidQuietHours> {
    let is_written_out = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    let time = NaiveTime::parse_from_str(text, "%H:%M");
    time.ok().filter(|_| is_written_out).ok_or(InvalidQuietHours)
}

impl QuietHours {
    /// Whether it is quiet at this time.
    pub fn cover(self, now: DateTime<Utc>, zone: Tz) -> bool {
        let today = now.with_timezone(&zone).date_naive();
        // The quiet hours of yesterday may last until today; a skipped hour may move an end to tomorrow.
        [today.pred_opt(), Some(today)].into_iter().flatten().any(|day| self.cover_on(day, now, zone))
    }

    /// Whether it is quiet because of the quiet hours that begin on this day.
    fn cover_on(self, day: NaiveDate, now: DateTime<Utc>, zone: Tz) -> bool {
        let last_day = if self.from < self.to { Some(day) } else { day.succ_opt() };
        let begin = earliest(zone, day.and_time(self.from));
        let end = last_day.and_then(|day| latest(zone, day.and_time(self.to)));
        begin.zip(end).is_some_and(|(begin, end)| (begin..end).contains(&now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Europe::Berlin;

    fn hours(text: &str) -> QuietHours {
        text.parse().expect(text)
    }

    fn are_quiet(hours: &str, zone: Tz, time: &str) -> bool {
        self::hours(hours).cover(time.parse().expect("a time"), zone)
    }

    #[test]
    fn only_two_times_of_the_day_are_quiet_hours() {
        assert_eq!(hours("22:00-07:00"), hours("22:00-07:00"));
        for text in [
            "",
            "22:00",
            "22-7",
            "7:00-22:00",
            "22:00-24:00",
            "22:00-22:00",
            "22:00–07:00",
            "22:00 - 07:00",
            "22:60-07:00",
            "+2:00-07:00",
            "22:00-07:00-08:00",
            "22:00:00-07:00",
            "off",
        ] {
            assert_eq!(text.parse::<QuietHours>(), Err(InvalidQuietHours), "{text:?}");
        }
    }

    #[test]
    fn they_may_cross_midnight_and_their_end_is_not_quiet() {
        for (time, expected) in [
            ("2026-11-30T21:59:59Z", false),
            ("2026-11-30T22:00:00Z", true),
            ("2026-12-01T00:00:00Z", true),
            ("2026-12-01T06:59:59Z", true),
            ("2026-12-01T07:00:00Z", false),
            ("2026-12-01T12:00:00Z", false),
        ] {
            assert_eq!(are_quiet("22:00-07:00", Tz::UTC, time), expected, "{time}");
        }
        for (time, expected) in [
            ("2026-11-30T11:59:59Z", false),
            ("2026-11-30T12:00:00Z", true),
            ("2026-11-30T13:00:00Z", false),
            ("2026-11-30T00:30:00Z", false),
        ] {
            assert_eq!(are_quiet("12:00-13:00", Tz::UTC, time), expected, "{time}");
        }
    }

    #[test]
    fn they_follow_the_clock_on_the_wall_in_summer_and_in_winter() {
        for (time, expected) in [
            ("2026-07-01T04:59:00Z", true),
            ("2026-07-01T05:00:00Z", false),
            ("2026-12-01T05:59:00Z", true),
            ("2026-12-01T06:00:00Z", false),
        ] {
            assert_eq!(are_quiet("22:00-07:00", Berlin, time), expected, "{time}");
        }
    }

    #[test]
    fn an_end_that_the_clocks_skip_is_the_end_of_what_they_skip() {
        // On 2026-03-29 the clocks go from 02:00 to 03:00, which is 01:00 UTC.
        assert!(are_quiet("22:00-02:30", Berlin, "2026-03-29T00:59:59Z"));
        assert!(!are_quiet("22:00-02:30", Berlin, "2026-03-29T01:00:00Z"));
        assert!(!are_quiet("02:30-05:00", Berlin, "2026-03-29T00:59:59Z"));
        assert!(are_quiet("02:30-05:00", Berlin, "2026-03-29T01:00:00Z"));
    }

    #[test]
    fn an_hour_that_comes_twice_makes_one_night() {
        // On 2026-10-25 the clocks go from 03:00 back to 02:00, which is 01:00 UTC.
        for time in ["2026-10-25T00:15:00Z", "2026-10-25T00:45:00Z", "2026-10-25T01:15:00Z"] {
            assert!(are_quiet("22:00-02:30", Berlin, time), "{time}");
        }
        assert!(!are_quiet("22:00-02:30", Berlin, "2026-10-25T01:30:00Z"));
        for time in ["2026-10-25T00:30:00Z", "2026-10-25T01:15:00Z", "2026-10-25T01:45:00Z"] {
            assert!(are_quiet("02:30-05:00", Berlin, time), "{time}");
        }
        assert!(!are_quiet("02:30-05:00", Berlin, "2026-10-25T00:29:00Z"));
    }
}
