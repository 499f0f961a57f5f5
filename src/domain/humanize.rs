//! Formats durations and sentences for people.

use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// Durations below this have a tenth of a second.
const TENTHS_BELOW: Duration = Duration::from_secs(10);

/// A duration in its largest unit and the next one: `85 ms`, `1.2 s`, `41 s`, `1 min 44 s`,
/// `2 h 5 min`, `3 d 4 h`. It is cut off, not rounded.
pub fn humanize(length: Duration) -> String {
    if length.is_zero() || length >= TENTHS_BELOW {
        return in_whole_seconds(length.as_secs());
    }
    match (length.as_secs(), length.subsec_millis()) {
        (0, ms) => format!("{ms} ms"),
        (seconds, 0..100) => format!("{seconds} s"),
        (seconds, ms) => format!("{seconds}.{} s", ms / 100),
    }
}

/// The same in whole seconds, for ages. A negative duration is `0 s`.
pub fn humanize_age(age: TimeDelta) -> String {
    in_whole_seconds(age.num_seconds().try_into().unwrap_or_default())
}

/// A time in UTC to the second, with the zone.
pub fn time_in_words(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A text with a capital letter in front.
pub fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn in_whole_seconds(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let (unit, name, next_unit, next_name) = match seconds {
        0..MINUTE => return format!("{seconds} s"),
        MINUTE..HOUR => (MINUTE, "min", 1, "s"),
        HOUR..DAY => (HOUR, "h", MINUTE, "min"),
        DAY.. => (DAY, "d", HOUR, "h"),
    };
    match seconds % unit / next_unit {
        0 => format!("{} {name}", seconds / unit),
        rest => format!("{} {name} {rest} {next_name}", seconds / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_has_its_two_largest_units() {
        for (ms, expected) in [
            (0, "0 s"),
            (85, "85 ms"),
            (999, "999 ms"),
            (1_000, "1 s"),
            (1_050, "1 s"),
            (1_250, "1.2 s"),
            (9_999, "9.9 s"),
            (10_500, "10 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (104_000, "1 min 44 s"),
            (3_599_999, "59 min 59 s"),
            (3_600_000, "1 h"),
            (7_500_000, "2 h 5 min"),
            (86_399_000, "23 h 59 min"),
            (86_400_000, "1 d"),
            (273_600_000, "3 d 4 h"),
            (31_536_000_000, "365 d"),
        ] {
            assert_eq!(humanize(Duration::from_millis(ms)), expected, "{ms} ms");
        }
        assert_eq!(humanize(Duration::from_micros(400)), "0 ms", "too short to show");
    }

    #[test]
    fn an_age_has_whole_seconds_and_none_before_the_beginning() {
        for (ms, expected) in [(-5_000, "0 s"), (999, "0 s"), (1_250, "1 s"), (104_999, "1 min 44 s")] {
            assert_eq!(humanize_age(TimeDelta::milliseconds(ms)), expected, "{ms} ms");
        }
    }
}
