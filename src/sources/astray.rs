//! Webhooks that arrive at a path without a source: the URL at the sender is wrong, or a proxy changes the
//! path. It is the same for every kind of source. Pure.

use super::Rejection;
use crate::domain::rejection::{BodyForm, Cause, Diagnosis, StoredSample};
use crate::domain::source::WEBHOOKS;
use chrono::{DateTime, Utc};

/// The check that such a request fails.
pub const CHECK: &str = "wrong_path";

/// The rejection of a request that belongs to this source.
pub fn rejection(source: &str) -> Rejection {
    Rejection {
        check: CHECK,
        detail: format!("There is no webhook at this path. The right path is {WEBHOOKS}{source}.").into(),
    }
}

/// Whether a sample is of such a request. Without an event or the sender's name it is a stranger's.
pub(super) fn is_astray(kept: &StoredSample) -> bool {
    let sample = &kept.sample;
    let is_strange = matches!(sample.form, BodyForm::Empty | BodyForm::NotJson | BodyForm::NotAnEvent);
    sample.reason == CHECK && (sample.by_sender || !is_strange)
}

/// The cause of these samples of one source. `sender` is its sender's name.
pub(super) fn diagnose(
    source: &str,
    sender: &str,
    astray: &[StoredSample],
    accepted_at: Option<DateTime<Utc>>,
) -> Option<Diagnosis> {
    let last_at = astray.iter().map(|one| one.at).max()?;
    Some(Diagnosis {
        cause: Cause::WrongPath,
        count: astray.iter().map(|one| one.sample.unseen.saturating_add(1)).sum(),
        first_at: astray.iter().map(|one| one.at).min()?,
        last_at,
        is_current: accepted_at.is_none_or(|at| at < last_at),
        message: "Signed webhooks arrive at a path without a webhook; the log has the path.".to_owned(),
        remedy: format!(
            "Let the URL of the endpoint at {sender} end with {WEBHOOKS}{source}, and check that no proxy on the way changes the path."
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rejection::RejectionSample;

    fn kept(reason: &str, by_sender: bool, form: BodyForm) -> StoredSample {
        let sample = RejectionSample::new("stripe-eu", reason, Vec::new(), b"");
        StoredSample { at: DateTime::UNIX_EPOCH, sample: RejectionSample { by_sender, form, ..sample } }
    }

    #[test]
    fn a_signed_event_elsewhere_is_astray_and_other_requests_are_strangers() {
        assert!(is_astray(&kept(CHECK, false, BodyForm::AsSent)));
        assert!(is_astray(&kept(CHECK, true, BodyForm::NotJson)));
        assert!(!is_astray(&kept(CHECK, false, BodyForm::NotJson)));
        assert!(!is_astray(&kept("signature_no_match", true, BodyForm::AsSent)));
    }

    #[test]
    fn the_remedy_has_the_right_path() {
        let astray = [kept(CHECK, true, BodyForm::AsSent)];
        let found = diagnose("stripe-eu", "Stripe", &astray, None).expect("a cause");
        assert_eq!((found.cause, found.count, found.is_current), (Cause::WrongPath, 1, true));
        assert!(found.remedy.contains("/api/v1/webhooks/stripe-eu"), "{}", found.remedy);
        assert!(rejection("stripe-eu").detail.contains("/api/v1/webhooks/stripe-eu"));
        let accepted = Some(DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(1));
        assert!(!diagnose("stripe-eu", "Stripe", &astray, accepted).expect("a cause").is_current);
        assert_eq!(diagnose("stripe-eu", "Stripe", &[], None), None);
    }
}
