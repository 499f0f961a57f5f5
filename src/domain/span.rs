//! Lengths of time as people say them.

use chrono::TimeDelta;

/// Below this many seconds a length is told with its seconds.
const EXACT_SECONDS_MAX: i64 = 600;

/// A length in its largest units: `41 s`, `6 min`, `2 h 5 min`, `3 d`. What lies before the beginning
/// counts as none.
pub fn length(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => with_rest(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// As [`length`], and to the second where it is short: `1 min 44 s`.
pub fn exact(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    match seconds {
        60..EXACT_SECONDS_MAX => with_rest(seconds / 60, "min", seconds % 60, "s"),
        _ => length(span),
    }
}

fn with_rest(count: i64, unit: &str, rest: i64, rest_unit: &str) -> String {
    match rest {
        0 => format!("{count} {unit}"),
        _ => format!("{count} {unit} {rest} {rest_unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_told_in_the_units_that_fit() {
        let cases = [
            (-5, "0 s", "0 s"),
            (41, "41 s", "41 s"),
            (104, "1 min", "1 min 44 s"),
            (120, "2 min", "2 min"),
            (600, "10 min", "10 min"),
            (7_500, "2 h 5 min", "2 h 5 min"),
            (7_200, "2 h", "2 h"),
            (300_000, "3 d", "3 d"),
        ];
        for (seconds, said, said_exactly) in cases {
            let span = TimeDelta::seconds(seconds);
            assert_eq!((length(span).as_str(), exact(span).as_str()), (said, said_exactly));
        }
    }
}
