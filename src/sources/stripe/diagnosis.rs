//! The causes for which requests to Stripe's webhook are rejected, in words for an operator. Pure.

use super::settings::LIVE_WITH_TEST_SECRET;
use super::signature::TOLERANCE_SECONDS;
use crate::domain::rejection::{BodyForm, Cause, Diagnosis, StoredSample};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// If the offsets of the claimed times differ by at most this, a clock is wrong; otherwise requests were
/// delayed.
const CLOCK_SPREAD_SECONDS: i64 = 60;

/// The secrets of an instance, as its operator knows them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Configured<'a> {
    /// The full name of the setting.
    pub(super) setting: &'a str,
    /// The names of the secrets.
    pub(super) secrets: &'a [String],
}

/// Finds the causes of these rejections, the newest first. `accepted_at` is when the newest event
/// was accepted.
pub(super) fn diagnose(
    kept: &[StoredSample],
    accepted_at: Option<DateTime<Utc>>,
    configured: Configured<'_>,
) -> Vec<Diagnosis> {
    let mut groups: BTreeMap<Cause, Vec<&StoredSample>> = BTreeMap::new();
    // An event was accepted between them, so another endpoint has another secret. If all of them are older than it,
    // the secret may have been corrected: nothing shows that there is a second endpoint.
    let mismatches = || kept.iter().filter(|one| one.sample.reason == "signature_no_match").map(|one| one.at);
    let some_pass = accepted_at.is_some_and(|at| {
        mismatches().min().is_some_and(|first| first < at) && mismatches().max().is_some_and(|last| at < last)
    });
    let offsets = offsets_of_late(kept);
    // With a wrong clock nothing is accepted, except at the limit of the tolerance. An event may have been signed
    // that much before it was accepted.
    let first_claimed = kept.iter().filter(|one| is_late(one)).filter_map(|one| one.sample.claimed_at).min();
    let signed_at = accepted_at.map(|at| at.timestamp().saturating_sub(TOLERANCE_SECONDS));
    let passed_since = signed_at.zip(first_claimed).is_some_and(|(signed, first)| signed >= first);
    let limit = TOLERANCE_SECONDS + CLOCK_SPREAD_SECONDS;
    let is_at_limit = offsets.iter().all(|offset| *offset <= limit);
    let is_clock = (!passed_since || is_at_limit) && spread(&offsets) <= CLOCK_SPREAD_SECONDS;
    for one in kept {
        groups.entry(cause_of(one, some_pass, is_clock)).or_default().push(one);
    }
    let mut found: Vec<_> = groups
        .into_iter()
        .filter_map(|(cause, group)| {
            let first_at = group.iter().map(|one| one.at).min()?;
            let last_at = group.iter().map(|one| one.at).max()?;
            let is_current = accepted_at.is_none_or(|at| at < last_at);
            let (message, remedy) = words(cause, &group, configured, &offsets, is_current);
            Some(Diagnosis {
                cause,
                count: group.iter().map(|one| one.sample.unseen.saturating_add(1)).sum(),
                first_at,
                last_at,
                is_current,
                message,
                remedy,
            })
        })
        .collect();
    found.sort_by_key(|one| std::cmp::Reverse(one.last_at));
    found
}

fn cause_of(one: &StoredSample, some_pass: bool, is_clock: bool) -> Cause {
    let sample = &one.sample;
    let is_event = matches!(sample.form, BodyForm::AsSent | BodyForm::Rewritten | BodyForm::Unclear);
    match sample.reason.as_str() {
        "signature_missing" | "signature_malformed" | "signature_no_match" if holds_event(sample.form) => {
            Cause::BodyDamaged
        }
        // With a well-formed signature, and by its own account from Stripe.
        "signature_no_match" if sample.by_sender && !is_event => Cause::BodyDamaged,
        "signature_missing" if sample.by_sender && is_event => Cause::HeaderDropped,
        "signature_malformed" if is_event => Cause::HeaderChanged,
        "signature_no_match" if sample.form == BodyForm::Rewritten => Cause::BodyRewritten,
        "signature_no_match" if is_event && some_pass => Cause::AnotherSecret,
        "signature_no_match" if is_event => Cause::WrongSecret,
        LIVE_WITH_TEST_SECRET => Cause::TestSecret,
        "signature_clock_ahead" => Cause::Clock,
        "signature_too_old" if is_clock => Cause::Clock,
        "signature_too_old" => Cause::Delayed,
        // These were signed with a configured secret.
        "body_not_an_event" | "event_id_invalid" => Cause::NotAnEvent,
        _ => Cause::Stranger,
    }
}

/// Whether a body of this form is what became of an event.
fn holds_event(form: BodyForm) -> bool {
    matches!(
        form,
        BodyForm::Base64
            | BodyForm::Wrapped
            | BodyForm::FormEncoded
            | BodyForm::Truncated
            | BodyForm::Reencoded
    )
}

/// By how many seconds the claimed times of correctly signed requests lie behind this machine's clock.
fn offsets_of_late(kept: &[StoredSample]) -> Vec<i64> {
    kept.iter()
        .filter(|one| is_late(one))
        .filter_map(|one| Some(one.at.timestamp().saturating_sub(one.sample.claimed_at?)))
        .collect()
}

/// Whether it was signed correctly, and only its time is wrong.
fn is_late(one: &StoredSample) -> bool {
    matches!(one.sample.reason.as_str(), "signature_too_old" | "signature_clock_ahead")
}

fn spread(offsets: &[i64]) -> i64 {
    let (least, most) = (offsets.iter().min(), offsets.iter().max());
    most.zip(least).map_or(0, |(most, least)| most.saturating_sub(*least))
}

fn words(
    cause: Cause,
    group: &[&StoredSample],
    configured: Configured<'_>,
    offsets: &[i64],
    is_current: bool,
) -> (String, String) {
    let Configured { setting, secrets } = configured;
    let text = |message: &str, remedy: &str| (message.to_owned(), remedy.to_owned());
    match cause {
        Cause::WrongSecret if !is_current => (
            format!(
                "Requests were signed with none of the configured secrets ({}).{}",
                listing(secrets),
                mode(group, secrets)
            ),
            format!(
                "Nothing, if the secret was corrected since. If more are rejected, a second endpoint sends to this URL: add its signing secret to {setting}, separated by a comma, and restart."
            ),
        ),
        Cause::WrongSecret => (
            format!(
                "Requests are signed with none of the configured secrets ({}), and nothing was accepted since.{}",
                listing(secrets),
                mode(group, secrets)
            ),
            format!(
                "Set {setting} to the signing secret of the sending endpoint, and restart. Each endpoint, each mode and the Stripe CLI have a secret of their own; separate several by commas."
            ),
        ),
        Cause::AnotherSecret => (
            format!(
                "Some requests are accepted, others are signed with none of the configured secrets ({}): a second endpoint, or the other mode, also sends to this URL.{}",
                listing(secrets),
                mode(group, secrets)
            ),
            format!(
                "Add the signing secret of the other endpoint to {setting}, separated by a comma, and restart; or remove that endpoint in the Stripe dashboard."
            ),
        ),
        Cause::TestSecret => (
            "Events of live mode are signed with a secret that is named as one of test mode.".to_owned(),
            format!(
                "If it is the secret of a live endpoint, name it so in {setting}: live=whsec_…. Otherwise the test secret is known to a forger: roll it in the Stripe dashboard."
            ),
        ),
        Cause::BodyRewritten => text(
            "No signature matches, and the body is an event in another layout than Stripe's: a proxy on the way has parsed it and written it again.",
            "Configure the proxy, gateway or function in between to forward the raw bytes of the body: it must not parse the JSON or change spaces or the encoding.",
        ),
        Cause::BodyDamaged => damage(group),
        Cause::HeaderDropped => text(
            "Stripe's events arrive without the Stripe-Signature header: a proxy on the way removes it.",
            "Configure the proxy or gateway in between to forward the Stripe-Signature header.",
        ),
        Cause::HeaderChanged => text(
            "Events arrive with a malformed Stripe-Signature header: a proxy on the way changes it.",
            "Configure the proxy or gateway in between to forward the Stripe-Signature header unchanged and only once.",
        ),
        Cause::Clock => {
            let offset = median(offsets);
            let direction = if offset > 0 { "ahead of" } else { "behind" };
            (
                format!(
                    "The signatures are valid, but this machine's clock is about {} s {direction} Stripe's.",
                    offset.abs()
                ),
                "Synchronize this machine's clock by NTP.".to_owned(),
            )
        }
        Cause::Delayed => text(
            "The signatures are valid but too old: the requests were delayed on the way, or recorded and replayed.",
            "Find what queues or repeats requests in between. Stripe itself signs each retry again.",
        ),
        Cause::NotAnEvent => text(
            "Requests are signed with a configured secret but are not events.",
            "Find the sender: it has your secret but is not Stripe, or is an endpoint of another kind.",
        ),
        // The registry finds wrong paths, for all kinds of sources.
        Cause::WrongPath | Cause::Stranger => text(
            "Requests arrive that are not signed events: a stranger has found this URL.",
            "No action is needed: they are rejected before anything is stored.",
        ),
    }
}

/// What the newest of these bodies is instead of an event, and what to do.
fn damage(group: &[&StoredSample]) -> (String, String) {
    let newest = group.iter().max_by_key(|one| one.at).map_or(BodyForm::NotJson, |one| one.sample.form);
    let (what, remedy) = match newest {
        BodyForm::Empty => ("with an empty body", "Something reads the body and does not pass it on."),
        BodyForm::Base64 => ("as base64 text", "Decode it before it is forwarded."),
        BodyForm::Compressed => ("compressed", "Stripe sends the body uncompressed, and so must it arrive."),
        BodyForm::Wrapped => (
            "inside of another JSON document",
            "Forward the event alone, without the document that a gateway or a queue puts around it.",
        ),
        BodyForm::FormEncoded => ("as a form", "Forward the body as application/json, not as form fields."),
        BodyForm::Truncated => ("cut off", "Raise the limit for the size of a body."),
        BodyForm::Reencoded => (
            "in another text encoding than UTF-8, or with a byte order mark",
            "Do not convert the text of the body.",
        ),
        BodyForm::NotAnEvent => ("as JSON that is not an event", "Do not replace the body."),
        _ => ("as something that is not JSON", "Do not convert or replace the body."),
    };
    (
        format!(
            "Stripe's events arrive {what}: something on the way changes the body, so no signature matches."
        ),
        format!(
            "Configure the proxy, gateway or function in between to forward the raw bytes of the body. {remedy}"
        ),
    )
}

/// The mode of the requests, with a hint if the names of the secrets suggest the other mode.
fn mode(group: &[&StoredSample], secrets: &[String]) -> String {
    let is_named = |word: &str| secrets.iter().any(|name| name.to_lowercase().contains(word));
    let all = |live: bool| group.iter().all(|one| one.sample.livemode == Some(live));
    let (live, test) = (is_named("live"), is_named("test") || is_named("cli"));
    match () {
        () if all(true) && test && !live => {
            " They are of live mode, but the secrets' names suggest otherwise."
        }
        () if all(false) && live && !test => {
            " They are of test mode, but the secrets' names suggest otherwise."
        }
        () if all(true) => " They are of live mode.",
        () if all(false) => " They are of test mode.",
        () => "",
    }
    .to_owned()
}

fn listing(secrets: &[String]) -> String {
    if secrets.is_empty() { "none is configured here".to_owned() } else { secrets.join(", ") }
}

fn median(offsets: &[i64]) -> i64 {
    let mut sorted = offsets.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rejection::RejectionSample;

    const NOW: i64 = 1_800_000_000;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(NOW + seconds, 0).expect("a time")
    }

    fn kept(seconds: i64, reason: &str, form: BodyForm) -> StoredSample {
        let sample = RejectionSample {
            source: "stripe".to_owned(),
            reason: reason.to_owned(),
            header_names: Vec::new(),
            by_sender: true,
            body_bytes: 10,
            body_sha256: String::new(),
            form,
            claimed_at: Some(NOW + seconds),
            livemode: Some(true),
            unseen: 0,
        };
        StoredSample { at: at(seconds), sample }
    }

    fn diagnosed(
        kept: &[StoredSample],
        accepted_at: Option<DateTime<Utc>>,
        secrets: &[&str],
    ) -> Vec<Diagnosis> {
        let secrets: Vec<_> = secrets.iter().map(|name| (*name).to_owned()).collect();
        diagnose(kept, accepted_at, Configured { setting: "STRIPE_EU_WEBHOOK_SECRET", secrets: &secrets })
    }

    fn causes(kept: &[StoredSample], accepted_at: Option<i64>) -> Vec<Cause> {
        let found = diagnosed(kept, accepted_at.map(at), &["test"]);
        found.into_iter().map(|one| one.cause).collect()
    }

    #[test]
    fn nothing_rejected_is_nothing_found() {
        assert!(causes(&[], Some(0)).is_empty());
    }

    #[test]
    fn where_nothing_passes_the_secret_is_wrong_and_the_mode_is_told() {
        let mut rejections = [
            kept(0, "signature_no_match", BodyForm::AsSent),
            kept(60, "signature_no_match", BodyForm::Unclear),
        ];
        rejections[1].sample.unseen = 5;
        assert_eq!(causes(&rejections, None), [Cause::WrongSecret]);
        let found = diagnosed(&rejections, Some(at(-60)), &["test"]);
        assert_eq!((found[0].cause, found[0].count, found[0].is_current), (Cause::WrongSecret, 7, true));
        assert!(
            found[0].message.contains("(test)") && found[0].message.contains("live mode, but"),
            "{}",
            found[0].message
        );
        let found = diagnosed(&rejections, None, &["secret-1"]);
        assert!(found[0].message.ends_with("They are of live mode."), "{}", found[0].message);
        assert!(found[0].remedy.starts_with("Set STRIPE_EU_WEBHOOK_SECRET to"), "{}", found[0].remedy);
    }

    #[test]
    fn where_others_pass_a_second_endpoint_sends() {
        let rejections = [
            kept(0, "signature_no_match", BodyForm::AsSent),
            kept(60, "signature_no_match", BodyForm::AsSent),
        ];
        assert_eq!(causes(&rejections, Some(30)), [Cause::AnotherSecret]);
    }

    #[test]
    fn after_a_wrong_secret_was_corrected_no_second_endpoint_is_invented() {
        let rejections = [
            kept(0, "signature_no_match", BodyForm::AsSent),
            kept(60, "signature_no_match", BodyForm::AsSent),
        ];
        let found = diagnosed(&rejections, Some(at(90)), &["live"]);
        assert_eq!((found.len(), found[0].cause, found[0].is_current), (1, Cause::WrongSecret, false));
        assert!(found[0].message.starts_with("Requests were signed with none"), "{}", found[0].message);
        assert!(found[0].remedy.starts_with("Nothing, if the secret was corrected"), "{}", found[0].remedy);
    }

    #[test]
    fn an_event_in_another_layout_was_rewritten_on_its_way() {
        assert_eq!(
            causes(&[kept(0, "signature_no_match", BodyForm::Rewritten)], None),
            [Cause::BodyRewritten]
        );
    }

    #[test]
    fn a_damaged_body_is_told_apart_from_a_wrong_secret_and_from_strangers() {
        for (form, word) in [
            (BodyForm::Base64, "base64"),
            (BodyForm::Wrapped, "inside of another"),
            (BodyForm::FormEncoded, "form"),
            (BodyForm::Truncated, "cut off"),
            (BodyForm::Reencoded, "encoding"),
        ] {
            for reason in ["signature_no_match", "signature_missing", "signature_malformed"] {
                let mut rejection = kept(0, reason, form);
                rejection.sample.by_sender = false;
                let found = diagnosed(&[rejection], None, &[]);
                assert_eq!(found[0].cause, Cause::BodyDamaged, "{form:?}");
                assert!(
                    found[0].message.contains(word) && found[0].cause.is_fixable(),
                    "{}",
                    found[0].message
                );
            }
        }
        for form in [BodyForm::Empty, BodyForm::Compressed, BodyForm::NotJson, BodyForm::NotAnEvent] {
            let mut rejection = kept(0, "signature_no_match", form);
            assert_eq!(causes(std::slice::from_ref(&rejection), Some(9)), [Cause::BodyDamaged], "{form:?}");
            rejection.sample.by_sender = false;
            assert_eq!(causes(&[rejection], None), [Cause::Stranger], "{form:?}");
        }
        let both = [
            kept(0, "signature_no_match", BodyForm::Base64),
            kept(9, "signature_no_match", BodyForm::Truncated),
        ];
        assert!(diagnosed(&both, None, &[])[0].message.contains("cut off"), "the newest form is named");
    }

    #[test]
    fn a_missing_header_is_a_proxys_fault_only_for_what_stripe_sent() {
        let mut rejection = kept(0, "signature_missing", BodyForm::AsSent);
        assert_eq!(causes(std::slice::from_ref(&rejection), None), [Cause::HeaderDropped]);
        rejection.sample.by_sender = false;
        assert_eq!(causes(std::slice::from_ref(&rejection), None), [Cause::Stranger]);
        assert_eq!(causes(&[kept(0, "signature_malformed", BodyForm::AsSent)], None), [Cause::HeaderChanged]);
        assert_eq!(causes(&[kept(0, "signature_malformed", BodyForm::NotJson)], None), [Cause::Stranger]);
        assert!(!Cause::Stranger.is_fixable());
    }

    #[test]
    fn times_off_by_the_same_are_a_clock_and_others_a_delay() {
        let late = |seconds, by| {
            let mut one = kept(seconds, "signature_too_old", BodyForm::AsSent);
            one.sample.claimed_at = Some(NOW + seconds - by);
            one
        };
        assert_eq!(causes(&[late(0, 3600), late(500, 3610)], None), [Cause::Clock]);
        let found = diagnosed(&[late(0, 3600)], None, &[]);
        assert!(found[0].message.contains("3600 s ahead"), "{}", found[0].message);
        assert_eq!(causes(&[late(0, 400), late(500, 9000)], None), [Cause::Delayed]);
        assert_eq!(
            causes(&[late(700, 600)], Some(0)),
            [Cause::Clock],
            "nothing was accepted since it was signed"
        );
        assert_eq!(
            causes(&[late(700, 600)], Some(399)),
            [Cause::Clock],
            "what was accepted then may have been signed 300 s earlier, before this one"
        );
        for accepted_at in [400, 690, 710] {
            let replayed = causes(&[late(700, 600)], Some(accepted_at));
            assert_eq!(replayed, [Cause::Delayed], "a replay between accepted ones");
        }
        let mut ahead = kept(0, "signature_clock_ahead", BodyForm::AsSent);
        ahead.sample.claimed_at = Some(NOW + 400);
        let found = diagnosed(&[ahead], None, &[]);
        assert!(found[0].message.contains("400 s behind"), "{}", found[0].message);
    }

    #[test]
    fn a_clock_that_drifts_past_the_tolerance_is_no_delay() {
        let late = |seconds, by| {
            let mut one = kept(seconds, "signature_too_old", BodyForm::AsSent);
            one.sample.claimed_at = Some(NOW + seconds - by);
            one
        };
        // The last one was accepted with an age of 299 s; from then on all are too old.
        assert_eq!(causes(&[late(10, 301), late(70, 302), late(900, 310)], Some(0)), [Cause::Clock]);
        // At the limit, some requests are quicker than others.
        assert_eq!(causes(&[late(10, 301), late(70, 302), late(900, 304)], Some(890)), [Cause::Clock]);
        let found = diagnosed(&[late(10, 301), late(900, 304)], Some(at(890)), &[]);
        assert!(found[0].message.contains("304 s ahead"), "{}", found[0].message);
        assert_eq!(causes(&[late(10, 301), late(900, 420)], Some(890)), [Cause::Delayed]);
    }

    #[test]
    fn an_event_of_live_mode_with_a_test_secret_names_both_explanations() {
        let found = diagnosed(&[kept(0, LIVE_WITH_TEST_SECRET, BodyForm::AsSent)], None, &["test"]);
        assert_eq!(found[0].cause, Cause::TestSecret);
        assert!(found[0].remedy.contains("live=whsec_…") && found[0].remedy.contains("roll it"));
    }

    #[test]
    fn what_was_signed_and_is_no_event_is_told_apart_from_strangers() {
        assert_eq!(causes(&[kept(0, "body_not_an_event", BodyForm::NotJson)], None), [Cause::NotAnEvent]);
        let mut both = [
            kept(0, "event_id_invalid", BodyForm::NotAnEvent),
            kept(9, "signature_no_match", BodyForm::NotJson),
        ];
        both[1].sample.by_sender = false;
        assert_eq!(causes(&both, None), [Cause::Stranger, Cause::NotAnEvent]);
    }
}
