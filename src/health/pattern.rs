//! Whether a silence contradicts what the same hours of the last weeks brought. Pure.
//!
//! The window is the silence in whole hours. It begins after the last hour in which a webhook arrived, also one that
//! brought no new event. It is compared with the same window one, two, three and four weeks earlier, by the clock on
//! the wall: a shop that opens at nine does so in summer and in winter. If at least three of these brought
//! [`EVENTS_MIN`] events or more, the silence is against the pattern. One outage or one holiday in four weeks
//! therefore changes nothing.
//!
//! How often this is wrong: events come in groups, about six for a payment, so 100 events are about 16 causes. If
//! causes were independent and as frequent as in the weakest of the three weeks, none of them in the whole window
//! would have a probability of e^-16, about one in nine million. A service that is that quiet at its quietest time
//! would see less than one false alarm in fifty years. What the rule cannot know is a holiday.

use crate::domain::wall_clock::earliest;
use crate::store::BusyHour;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use chrono_tz::Tz;
use std::time::Duration;

/// How much history before the last event is used: four weeks, and a margin for changes of the clocks.
pub(super) const HISTORY: Duration = Duration::from_hours(29 * 24);

/// How many weeks are compared.
const WEEKS: i64 = 4;

/// How many of them must have brought events.
const WEEKS_MIN: usize = 3;

/// How many events each of these must have brought.
pub(super) const EVENTS_MIN: u64 = 100;

/// The longest window. The weeks before a longer silence do not reach into it.
const WINDOW_MAX: TimeDelta = TimeDelta::days(7);

/// Whether the silence since `silent_from` contradicts the pattern. `hours` are those in which webhooks brought
/// events, new or not.
pub(super) fn is_contradicted(
    hours: &[BusyHour],
    silent_from: DateTime<Utc>,
    now: DateTime<Utc>,
    zone: Tz,
) -> bool {
    let Some((from, to)) = window(silent_from, now) else { return false };
    let earlier = (1..=WEEKS).filter(|weeks| {
        let (from, to) = (weeks_before(from, *weeks, zone), weeks_before(to, *weeks, zone));
        from.zip(to).is_some_and(|(from, to)| events_within(hours, from, to) >= EVENTS_MIN)
    });
    earlier.count() >= WEEKS_MIN
}

/// Since when no webhook has arrived, given when the last new event did: a sender that repeats an event afterwards
/// does reach this service, until the end of that hour at the latest.
pub(super) fn silent_from(hours: &[BusyHour], last_at: DateTime<Utc>) -> DateTime<Utc> {
    let later = hours.iter().map(|hour| hour.at).filter(|hour| *hour > last_at).max();
    later.and_then(|hour| hour.checked_add_signed(TimeDelta::hours(1))).unwrap_or(last_at)
}

/// The whole hours that were silent; `None` if there is none yet.
fn window(silent_from: DateTime<Utc>, now: DateTime<Utc>) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let hour = TimeDelta::hours(1);
    let begun = silent_from.duration_trunc(hour).ok()?;
    let from = if begun == silent_from { begun } else { begun.checked_add_signed(hour)? };
    let to = now.min(from.checked_add_signed(WINDOW_MAX)?).duration_trunc(hour).ok()?;
    (from < to).then_some((from, to))
}

/// The time at which the clocks of the zone showed the same, this many weeks before.
fn weeks_before(at: DateTime<Utc>, weeks: i64, zone: Tz) -> Option<DateTime<Utc>> {
    earliest(zone, at.with_timezone(&zone).naive_local().checked_sub_signed(TimeDelta::weeks(weeks))?)
}

/// The events of the hours that lie within this time completely.
fn events_within(hours: &[BusyHour], from: DateTime<Utc>, to: DateTime<Utc>) -> u64 {
    let within = hours.iter().filter(|hour| hour.at >= from && hour.at + TimeDelta::hours(1) <= to);
    within.map(|hour| hour.events).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Datelike, Timelike, Weekday};
    use chrono_tz::Europe::Berlin;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    /// The busy hours of this many weeks before `last_at`: by the clock of Berlin, each hour of a working day from
    /// 9 to 18 brings this many events.
    fn office(last_at: DateTime<Utc>, weeks: i64, events: u64) -> Vec<BusyHour> {
        let last = last_at.duration_trunc(TimeDelta::hours(1)).expect("an hour");
        let hours = (0..weeks * 7 * 24).rev().map(|hour| last - TimeDelta::hours(hour));
        let is_open = |at: &DateTime<Utc>| {
            let local = at.with_timezone(&Berlin);
            (9..18).contains(&local.hour()) && !matches!(local.weekday(), Weekday::Sat | Weekday::Sun)
        };
        hours.filter(is_open).map(|at| BusyHour { at, events }).collect()
    }

    #[test]
    fn a_silence_in_hours_that_were_busy_for_weeks_is_against_the_pattern() {
        // A Wednesday in winter: 10:20 in Berlin.
        let last_at = utc("2026-12-02T09:20:00Z");
        let hours = office(last_at, 4, 60);
        let is_contradicted = |now| is_contradicted(&hours, last_at, utc(now), Berlin);
        // Only whole hours count: one of 60 events, then two of 120 together.
        assert!(!is_contradicted("2026-12-02T11:59:59Z"));
        assert!(is_contradicted("2026-12-02T12:00:00Z"));
        // It lasts, however long the silence does.
        assert!(is_contradicted("2026-12-04T12:00:00Z") && is_contradicted("2027-02-04T12:00:00Z"));
    }

    #[test]
    fn webhooks_that_bring_only_known_events_do_arrive_until_they_end_too() {
        let last_at = utc("2026-12-02T09:59:58Z");
        let mut hours = office(last_at, 4, 60);
        assert_eq!(silent_from(&hours, last_at), last_at);
        // Ten seconds later the sender repeats the last event.
        hours.push(BusyHour { at: utc("2026-12-02T10:00:00Z"), events: 1 });
        let from = silent_from(&hours, last_at);
        assert_eq!(from, utc("2026-12-02T11:00:00Z"));
        let is_contradicted = |now| is_contradicted(&hours, from, utc(now), Berlin);
        assert!(!is_contradicted("2026-12-02T12:59:59Z"), "one whole hour of 60 events");
        assert!(is_contradicted("2026-12-02T13:00:00Z"));
        assert!(is_contradicted("2026-12-02T22:00:00Z"), "one late duplicate does not end it for good");
    }

    #[test]
    fn nights_and_weekends_contradict_nothing() {
        // Friday evening.
        let last_at = utc("2026-12-04T16:50:00Z");
        let hours = office(last_at, 4, 1_000);
        let is_contradicted = |now| is_contradicted(&hours, last_at, utc(now), Berlin);
        assert!(!is_contradicted("2026-12-07T07:59:00Z"), "Monday before nine");
        assert!(is_contradicted("2026-12-07T09:00:00Z"), "Monday at ten");
    }

    #[test]
    fn one_week_of_four_may_have_been_silent_and_two_may_not() {
        let last_at = utc("2026-12-02T09:20:00Z");
        let mut hours = office(last_at, 4, 100);
        let now = utc("2026-12-02T11:00:00Z");
        hours.retain(|hour| last_at - hour.at < TimeDelta::days(6) || last_at - hour.at > TimeDelta::days(8));
        assert!(is_contradicted(&hours, last_at, now, Berlin));
        hours.retain(|hour| {
            last_at - hour.at < TimeDelta::days(13) || last_at - hour.at > TimeDelta::days(15)
        });
        assert!(!is_contradicted(&hours, last_at, now, Berlin));
    }

    #[test]
    fn a_young_or_a_slow_service_has_no_pattern() {
        let (last_at, now) = (utc("2026-12-02T09:20:00Z"), utc("2026-12-02T16:00:00Z"));
        assert!(!is_contradicted(&office(last_at, 2, 1_000), last_at, now, Berlin));
        assert!(!is_contradicted(&office(last_at, 4, 3), last_at, now, Berlin));
        assert!(!is_contradicted(&[], last_at, now, Berlin));
    }

    #[test]
    fn the_pattern_follows_the_clock_on_the_wall_when_the_clocks_change() {
        // The clocks went back on 2026-10-25: nine o'clock is 08:00 UTC now and was 07:00 UTC before.
        let last_at = utc("2026-10-26T06:30:00Z");
        let hours = office(last_at, 4, 100);
        assert!(!is_contradicted(&hours, last_at, utc("2026-10-26T08:00:00Z"), Berlin), "nine, not yet ten");
        assert!(is_contradicted(&hours, last_at, utc("2026-10-26T08:00:00Z"), Tz::UTC), "an hour too early");
        assert!(is_contradicted(&hours, last_at, utc("2026-10-26T09:00:00Z"), Berlin));
    }
}
