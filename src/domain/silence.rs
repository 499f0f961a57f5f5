//! How often something comes in, and how long nothing may before that is strange. Pure: times go in.

use chrono::{DateTime, Utc};
use std::time::Duration;

/// No silence is strange that is shorter than this.
pub const SHORTEST: Duration = Duration::from_hours(1);

/// With fewer events, or fewer hours in which something came in, nobody knows what is usual.
const ARRIVALS_MIN: usize = 30;
const HOURS_MIN: usize = 24;

/// How far back from the last event the hours are looked at.
pub const HOURS_LOOKED_AT: Duration = Duration::from_hours(14 * 24);

/// Fewer gaps than this tell nothing of what is usual.
const GAPS_MIN: usize = 20;

/// The gap between two events on the average, read off the times of the newest ones, newest first;
/// nothing where they are few.
pub fn usual_gap(newest: &[DateTime<Utc>]) -> Option<Duration> {
    let gaps = newest.len().checked_sub(1).filter(|gaps| *gaps >= GAPS_MIN)?;
    let span = newest.first()?.signed_duration_since(newest.last()?).to_std().ok()?;
    Some(span / u32::try_from(gaps).ok()?)
}

/// The silence beyond which something is wrong, or nothing where too little is known.
///
/// `arrivals` are the times of the newest events, `hours` those in which something came in during the
/// two weeks before the last one, both in ascending order. Both end with the last event, so that a
/// silence that lasts changes nothing of what is usual. It is `factor` times the gap that 95 of 100
/// stay below, and more than the longest quiet time of the two weeks, so that nights and weekends
/// are no alarm once there was one.
pub fn limit(arrivals: &[DateTime<Utc>], hours: &[DateTime<Utc>], factor: u32) -> Option<Duration> {
    if factor == 0 || arrivals.len() < ARRIVALS_MIN || hours.len() < HOURS_MIN {
        return None;
    }
    let mut gaps = gaps(arrivals);
    gaps.sort_unstable();
    let usual = gaps.get(gaps.len() * 95 / 100).copied()?;
    let longest = self::gaps(hours).into_iter().max()?;
    Some(SHORTEST.max(usual.saturating_mul(factor)).max(longest + longest / 4))
}

fn gaps(times: &[DateTime<Utc>]) -> Vec<Duration> {
    let pairs = times.iter().zip(times.iter().skip(1));
    pairs.filter_map(|(one, next)| next.signed_duration_since(one).to_std().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(seconds: i64, count: i64) -> Vec<DateTime<Utc>> {
        (0..count)
            .filter_map(|number| DateTime::from_timestamp(1_800_000_000 + number * seconds, 0))
            .collect()
    }

    #[test]
    fn what_is_usual_is_the_average_of_some_gaps_at_least() {
        let newest_first = |count| every(60, count).into_iter().rev().collect::<Vec<_>>();
        assert_eq!(usual_gap(&newest_first(21)), Some(Duration::from_mins(1)));
        assert_eq!(usual_gap(&newest_first(20)), None);
        assert_eq!(usual_gap(&[]), None);
    }

    #[test]
    fn with_little_history_no_silence_is_strange() {
        assert_eq!(limit(&every(60, 29), &every(3600, 100), 10), None);
        assert_eq!(limit(&every(60, 100), &every(3600, 23), 10), None);
        assert_eq!(limit(&every(60, 100), &every(3600, 100), 0), None);
    }

    #[test]
    fn what_comes_every_minute_is_missed_after_more_than_an_hour() {
        assert_eq!(limit(&every(60, 2_000), &every(3600, 300), 10), Some(Duration::from_mins(75)));
    }

    #[test]
    fn what_comes_every_half_hour_is_missed_after_ten_times_as_long() {
        assert_eq!(limit(&every(1_800, 96), &every(3600, 300), 10), Some(Duration::from_hours(5)));
    }

    #[test]
    fn a_shop_with_a_few_events_a_day_is_known_after_some_days() {
        let few = every(6 * 3600, 40);
        assert_eq!(limit(&few, &few, 4), Some(Duration::from_hours(24)));
    }

    #[test]
    fn a_night_is_no_alarm_once_there_was_one() {
        let mut hours = every(3600, 12);
        hours.extend(every(3600, 40).into_iter().skip(26));
        let limit = limit(&every(60, 700), &hours, 10).expect("enough is known");
        assert_eq!(limit, Duration::from_mins(15 * 60 * 5 / 4));
    }
}
