//! The finding about a token that expires soon. Pure.

use super::finding::{Finding, FindingKind, Level, Notice, Part};
use super::snapshot::{Destination, Snapshot};
use super::thresholds::Thresholds;
use crate::domain::humanize::capitalised;
use crate::domain::wall_clock::earliest;
use chrono::{NaiveTime, TimeDelta};

/// How long before its end a token is reported.
const BEFORE: TimeDelta = TimeDelta::days(7);

/// A token works until the end of its last day, by the clock of the operator.
pub(super) fn expiring_token(
    snapshot: &Snapshot,
    of: &Destination,
    thresholds: &Thresholds,
) -> Option<Finding> {
    let last_day = of.token_expires?;
    let ends_at = earliest(thresholds.zone, last_day.succ_opt()?.and_time(NaiveTime::MIN))?;
    let since = ends_at - BEFORE;
    if snapshot.now < since {
        return None;
    }
    let has_expired = snapshot.now >= ends_at;
    let verb = if has_expired { "expired" } else { "expires" };
    let name = &of.name;
    let remedy = "create a new token, set it and its date, and restart";
    let effect =
        if has_expired { "deliveries pause once it is refused" } else { "nothing is delivered after that" };
    Some(Finding {
        key: format!("expiring_token {name}"),
        matter: FindingKind::ExpiringToken,
        failure_group: None,
        level: Level::Warning,
        headline: format!("The token of {} {verb} soon", capitalised(name))
            .replace("expired soon", "has expired"),
        sentence: vec![Part::text(format!(
            "The token of {name} {verb} on {last_day}, and {effect}: {remedy}."
        ))],
        remedy: remedy.to_owned(),
        since: Some(since),
        notice: Some(Notice {
            summary: format!("The token of {name} {verb} on {last_day}, and {effect}."),
            remedy: format!(
                "{}. Events that arrive meanwhile are kept and use no attempt.",
                capitalised(remedy)
            ),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Utc};

    fn headline(zone: chrono_tz::Tz, now: &str) -> Option<String> {
        let now: DateTime<Utc> = now.parse().expect("a time");
        let of = Destination {
            name: "notion".to_owned(),
            token_expires: "2027-01-31".parse().ok(),
            ..Destination::default()
        };
        let thresholds = Thresholds { zone, ..Thresholds::default() };
        let snapshot = Snapshot { now, ..Snapshot::default() };
        expiring_token(&snapshot, &of, &thresholds).map(|finding| finding.headline)
    }

    #[test]
    fn a_token_is_reported_a_week_before_its_end_by_the_clock_on_the_wall() {
        let soon = Some("The token of Notion expires soon".to_owned());
        let expired = Some("The token of Notion has expired".to_owned());
        let zone = chrono_tz::Europe::Berlin;
        assert_eq!(headline(zone, "2027-01-24T22:59:59Z"), None);
        assert_eq!(headline(zone, "2027-01-24T23:00:00Z"), soon);
        assert_eq!(headline(chrono_tz::Tz::UTC, "2027-01-24T23:00:00Z"), None);
        assert_eq!(headline(zone, "2027-01-31T22:59:59Z"), soon);
        assert_eq!(headline(zone, "2027-01-31T23:00:00Z"), expired);
    }

    #[test]
    fn without_a_date_nothing_is_reported() {
        let (snapshot, of) = (Snapshot::default(), Destination::default());
        assert_eq!(expiring_token(&snapshot, &of, &Thresholds::default()), None);
    }
}
