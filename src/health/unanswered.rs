//! The findings about events whose sender waits for an answer. Pure.

use super::finding::{Finding, FindingKind, Level, Notice, Part};
use super::resends::RESENDS;
use super::snapshot::Snapshot;
use super::thresholds::Thresholds;
use crate::domain::quantity::count;
use crate::domain::unanswered::UnansweredEvent;
use crate::domain::visible::visible;

/// The most ids that a sentence has.
const IDS_MAX: usize = 3;

/// A finding for each mode in which there are such events, and one for those that anyone can have sent, so that
/// these neither wake people nor hide one that does.
pub(super) fn unanswered(snapshot: &Snapshot, thresholds: &Thresholds) -> Vec<Finding> {
    let kinds = [
        FindingKind::UnansweredInvoice,
        FindingKind::UnansweredTestInvoice,
        FindingKind::UnansweredUnverified,
    ];
    let found = kinds.into_iter().filter_map(|kind| {
        let events = snapshot.unanswered.iter().filter(|one| one.counts(snapshot.now));
        let events: Vec<_> = events.filter(|one| kind_of(one) == kind).collect();
        finding(kind, &events, thresholds)
    });
    found.collect()
}

/// The mode that an unsigned event states proves nothing.
fn kind_of(event: &UnansweredEvent) -> FindingKind {
    match (event.event.is_signed, event.concerns_money()) {
        (false, _) => FindingKind::UnansweredUnverified,
        (true, true) => FindingKind::UnansweredInvoice,
        (true, false) => FindingKind::UnansweredTestInvoice,
    }
}

fn finding(kind: FindingKind, events: &[&UnansweredEvent], thresholds: &Thresholds) -> Option<Finding> {
    let first_at = events.iter().map(|one| one.first_at).min()?;
    let number = count(u64::try_from(events.len()).unwrap_or(u64::MAX), false);
    let (were, them) = if events.len() == 1 { ("event was", "it") } else { ("events were", "them") };
    let effect = match kind {
        FindingKind::UnansweredTestInvoice => "which charges nobody (test mode).",
        FindingKind::UnansweredUnverified => {
            "so customers are charged late in live mode. No valid signature was seen, so this is unverified, but it was repeated as Stripe does."
        }
        _ => "so customers are charged late (live mode).",
    };
    let ids: Vec<_> = events.iter().take(IDS_MAX).map(|one| visible(&one.event.event_id)).collect();
    let others = if events.len() > IDS_MAX { ", …" } else { "" };
    let remedy = format!(
        "find the cause with eventbridge doctor, fix it, and resend {them} in Stripe's Workbench (Events)"
    );
    let summary = format!(
        "{number} invoice.created {were} not accepted. Stripe waits up to 72 h for that before it finalizes the invoice, {effect}"
    );
    Some(Finding {
        key: kind.as_str().to_owned(),
        matter: kind,
        failure_group: None,
        level: if kind == FindingKind::UnansweredInvoice { Level::Critical } else { Level::Warning },
        headline: "An invoice.created is not answered".to_owned(),
        sentence: vec![Part::text(format!("{summary} To do for {}{others}: {remedy}.", ids.join(", ")))],
        remedy: remedy.clone(),
        since: Some(first_at),
        notice: thresholds.alerts.unanswered.then(|| Notice {
            summary,
            remedy: format!("\"eventbridge status\" names {them}; {remedy}. {RESENDS}"),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::unanswered::ClaimedEvent;
    use crate::health::Urgency;
    use chrono::{DateTime, TimeDelta};

    fn snapshot(livemodes: &[Option<bool>], is_signed: bool) -> Snapshot {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(9);
        let event = |(number, livemode): (usize, &Option<bool>)| UnansweredEvent {
            event: ClaimedEvent {
                source: "stripe".to_owned(),
                event_id: format!("evt_{number}"),
                event_type: "invoice.created".to_owned(),
                livemode: *livemode,
                is_signed,
            },
            first_at: now - TimeDelta::hours(1),
            last_at: now - TimeDelta::minutes(1),
        };
        let unanswered = livemodes.iter().enumerate().map(event).collect();
        Snapshot { now, unanswered, ..Snapshot::default() }
    }

    fn found(livemodes: &[Option<bool>], is_signed: bool) -> Vec<Finding> {
        unanswered(&snapshot(livemodes, is_signed), &Thresholds::default())
    }

    #[test]
    fn each_mode_has_a_finding_of_its_own() {
        let kinds = |livemodes| found(livemodes, true).iter().map(|one| one.matter).collect::<Vec<_>>();
        assert_eq!(kinds(&[]), []);
        assert_eq!(kinds(&[Some(false)]), [FindingKind::UnansweredTestInvoice]);
        assert_eq!(kinds(&[None]), [FindingKind::UnansweredInvoice]);
        assert_eq!(
            kinds(&[Some(false), Some(true)]),
            [FindingKind::UnansweredInvoice, FindingKind::UnansweredTestInvoice]
        );
    }

    #[test]
    fn an_unsigned_event_has_a_finding_of_its_own_that_wakes_nobody_and_hides_none_that_is_signed() {
        let mut mixed = snapshot(&[Some(true), Some(true)], false);
        mixed.unanswered[1].event.is_signed = true;
        let found = unanswered(&mixed, &Thresholds::default());
        let urgency = |one: &Finding| (one.key.clone(), one.level, one.matter.urgency());
        assert_eq!(
            found.iter().map(urgency).collect::<Vec<_>>(),
            [
                ("unanswered_invoice".to_owned(), Level::Critical, Urgency::Wake),
                ("unanswered_unverified".to_owned(), Level::Warning, Urgency::Morning),
            ]
        );
        assert!(found[0].notice.as_ref().is_some_and(|notice| notice.summary.starts_with("1 ")), "{found:?}");
    }

    #[test]
    fn an_alert_states_whether_it_is_verified_and_names_no_event() {
        for (is_signed, expected) in [(true, false), (false, true)] {
            let notice = found(&[Some(true); 5], is_signed).remove(0).notice.expect("a notice");
            assert_eq!(notice.summary.contains("unverified"), expected, "{notice:?}");
            assert!(notice.summary.starts_with("5 invoice.created events were not accepted."), "{notice:?}");
            assert!(!notice.summary.contains("evt_") && !notice.remedy.contains("evt_"), "{notice:?}");
        }
        let sentence = format!("{:?}", found(&[Some(true); 5], true)[0].sentence);
        assert!(sentence.contains("evt_0, evt_1, evt_2, …"), "{sentence}");
    }

    #[test]
    fn its_alert_can_be_switched_off() {
        let mut thresholds = Thresholds::default();
        thresholds.alerts.unanswered = false;
        assert_eq!(unanswered(&snapshot(&[Some(true)], true), &thresholds)[0].notice, None);
    }
}
