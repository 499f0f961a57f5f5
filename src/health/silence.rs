//! How often events arrive, and how long a silence is normal. Pure.
//!
//! The usual gap is computed from whole hours, so a burst of a thousand events counts as one hour among
//! many. The limit exceeds the longest quiet time that occurred at least twice, such as a night or a
//! weekend. A longer quiet time that occurred once, such as an outage, is ignored.

use crate::store::BusyHour;
use std::time::Duration;

/// How much history before the last event is used: three weeks contain at least two weekends.
pub(super) const HISTORY: Duration = Duration::from_hours(21 * 24);

const HOUR: Duration = Duration::from_hours(1);

/// The shortest limit.
pub(super) const LIMIT_MIN: Duration = HOUR;

/// With fewer busy hours the usual gap is unknown.
const HOURS_TO_KNOW_A_GAP: usize = 6;

/// With fewer busy hours the limit is unknown.
const HOURS_TO_KNOW_SILENCE: usize = 24;

/// In a shorter history a quiet time that occurred once may be the first of many, such as a weekend.
const HISTORY_WITH_WEEKENDS: Duration = Duration::from_hours(14 * 24);

/// The usual gap between two events; `None` if too little is known. The hours are in ascending order.
///
/// It is the gap in the median hour. If the median hour has a single event, it is the median gap between
/// busy hours.
pub(super) fn usual_gap(hours: &[BusyHour]) -> Option<Duration> {
    if hours.len() < HOURS_TO_KNOW_A_GAP {
        return None;
    }
    match median(hours.iter().map(|hour| hour.events)) {
        Some(0 | 1) | None => median(gaps(hours)),
        Some(events) => Some(HOUR / u32::try_from(events).unwrap_or(u32::MAX)),
    }
}

/// The silence beyond which something is wrong; `None` if too little is known or the factor is 0.
///
/// `hours` end with the hour of the last event, so a silence that lasts does not change what is usual.
/// The limit is `factor` times the usual gap, and a quarter longer than the longest quiet time that
/// occurred more than once.
pub(super) fn limit(hours: &[BusyHour], factor: u32) -> Option<Duration> {
    if factor == 0 || hours.len() < HOURS_TO_KNOW_SILENCE {
        return None;
    }
    let quiet = longest_habit(hours)?;
    let usual = usual_gap(hours)?;
    Some(LIMIT_MIN.max(usual.saturating_mul(factor)).max(quiet + quiet / 4))
}

/// The longest quiet time of which there was another as long or longer. If the history is short, the
/// longest of all.
fn longest_habit(hours: &[BusyHour]) -> Option<Duration> {
    let mut gaps: Vec<_> = gaps(hours).collect();
    gaps.sort_unstable_by(|one, other| other.cmp(one));
    let history = between(hours.first()?, hours.last()?);
    let place = usize::from(history >= HISTORY_WITH_WEEKENDS);
    gaps.get(place).copied()
}

fn gaps(hours: &[BusyHour]) -> impl Iterator<Item = Duration> {
    hours.iter().zip(hours.iter().skip(1)).map(|(one, next)| between(one, next))
}

fn between(one: &BusyHour, next: &BusyHour) -> Duration {
    next.at.signed_duration_since(one.at).to_std().unwrap_or_default()
}

fn median<T: Ord>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut sorted: Vec<T> = values.collect();
    sorted.sort_unstable();
    let middle = sorted.len() / 2;
    sorted.into_iter().nth(middle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    const DAY: i64 = 24;

    /// Hours by their number, with this many events in each.
    fn hours(numbers: impl IntoIterator<Item = i64>, events: u64) -> Vec<BusyHour> {
        let at = |number: i64| DateTime::from_timestamp(1_800_000_000 + number * 3600, 0).expect("a time");
        numbers.into_iter().map(|number| BusyHour { at: at(number), events }).collect()
    }

    /// Office hours of this many weeks: Monday to Friday, 9 to 18.
    fn office(weeks: i64) -> impl Iterator<Item = i64> {
        (0..weeks * 7 * DAY).filter(|hour| hour / DAY % 7 < 5 && (9..18).contains(&(hour % DAY)))
    }

    #[test]
    fn the_usual_gap_is_that_of_the_middle_hour() {
        assert_eq!(usual_gap(&hours(0..100, 60)), Some(Duration::from_mins(1)));
        assert_eq!(usual_gap(&hours(0..100, 7_200)), Some(Duration::from_millis(500)));
        assert_eq!(usual_gap(&hours(0..5, 60)), None);
    }

    #[test]
    fn a_burst_is_one_hour_among_many() {
        let mut with_a_burst = hours(0..48, 10);
        with_a_burst.extend(hours(48..49, 250_000));
        assert_eq!(usual_gap(&with_a_burst), Some(Duration::from_mins(6)));
        assert_eq!(limit(&with_a_burst, 10), limit(&hours(0..49, 10), 10));
    }

    #[test]
    fn where_few_events_come_the_gap_is_that_between_their_hours() {
        let every_six_hours = hours((0..40).map(|number| number * 6), 1);
        assert_eq!(usual_gap(&every_six_hours), Some(Duration::from_hours(6)));
        assert_eq!(limit(&every_six_hours, 4), Some(Duration::from_hours(24)));
    }

    #[test]
    fn with_little_history_no_silence_is_strange() {
        assert_eq!(limit(&hours(0..23, 60), 10), None);
        assert_eq!(limit(&hours(0..100, 60), 0), None);
    }

    #[test]
    fn what_comes_every_minute_is_missed_after_more_than_an_hour() {
        assert_eq!(limit(&hours(0..300, 60), 10), Some(Duration::from_mins(75)));
    }

    #[test]
    fn what_comes_every_half_hour_is_missed_after_ten_times_as_long() {
        assert_eq!(limit(&hours(0..300, 2), 10), Some(Duration::from_hours(5)));
    }

    #[test]
    fn a_night_is_no_alarm_once_there_was_one() {
        let a_night = hours((0..12).chain(26..40), 60);
        assert_eq!(limit(&a_night, 10), Some(Duration::from_mins(15 * 60 * 5 / 4)));
    }

    #[test]
    fn weekends_are_no_alarm_and_an_outage_is_no_habit() {
        // From Friday at 17 to Monday at 9.
        let weekend = Duration::from_hours(64);
        let limit_of_three_weeks = limit(&hours(office(3), 60), 10);
        assert_eq!(limit_of_three_weeks, Some(weekend + weekend / 4));
        // Nothing came from Tuesday to Thursday of the second week.
        let outage = 8 * DAY..11 * DAY;
        let with_an_outage: Vec<_> = office(3).filter(|hour| !outage.contains(hour)).collect();
        assert_eq!(limit(&hours(with_an_outage, 60), 10), limit_of_three_weeks);
        let day_and_night = (0..21 * DAY).filter(|hour| !outage.contains(hour));
        assert_eq!(limit(&hours(day_and_night, 60), 10), Some(Duration::from_mins(75)));
    }

    #[test]
    fn in_the_first_two_weeks_the_longest_quiet_time_counts_though_it_stands_alone() {
        let first_weekend = hours(office(2).take_while(|hour| *hour < 10 * DAY), 60);
        assert_eq!(limit(&first_weekend, 10), Some(Duration::from_hours(80)));
    }
}
