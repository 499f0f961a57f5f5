//! Error classification: decides what an error of Notion means for a delivery. No other module does.
//!
//! It follows Notion's reference of status codes and its advice on retries. Reads are repeated freely. The
//! creation of a page is repeated only if it certainly did not happen.

use super::answer::Answer;
use super::call_error::{CallError, Refusal, THROTTLE_WAIT};
use super::remedies;
use super::trash::{IN_TRASH, is_put_away};
use crate::config::InstanceName;
use crate::domain::delivery::{Failure, Outcome};
use crate::domain::failure::BLOCK_LIMIT;
use serde_json::Value;
use std::time::Duration;

/// What the failed call would have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Read the database or its data source. A problem there affects every event.
    Describe,
    /// Looked for a page.
    Look,
    /// Created a page.
    Create,
    /// Written a known page; doing so twice does no harm.
    Update,
    /// Written a state over an earlier one. If it lands late, it could undo a newer one.
    Overwrite,
}

impl Effect {
    fn is_about_a_page(self) -> bool {
        matches!(self, Self::Update | Self::Overwrite)
    }
}

/// The outcome of a delivery of this instance whose call failed.
pub(super) fn outcome(instance: &InstanceName, effect: Effect, error: CallError) -> Outcome {
    with_remedy(instance, outcome_of(instance, effect, error))
}

/// Adds the remedy of its class to a failure that can end the execution.
fn with_remedy(instance: &InstanceName, outcome: Outcome) -> Outcome {
    let add = |mut failure: Failure| {
        failure.remedy = remedies::of_class(instance, &failure.class);
        failure
    };
    match outcome {
        Outcome::Permanent(failure) => Outcome::Permanent(add(failure)),
        Outcome::Gone(failure) => Outcome::Gone(add(failure)),
        Outcome::Transient { failure, wait } => Outcome::Transient { failure: add(failure), wait },
        Outcome::Ambiguous { failure, since } => Outcome::Ambiguous { failure: add(failure), since },
        other => other,
    }
}

fn outcome_of(instance: &InstanceName, effect: Effect, error: CallError) -> Outcome {
    match error {
        CallError::NoSlot(wait) => Outcome::Throttled {
            failure: Failure::local("rate_limit", "the token's rate limit is used up for now"),
            wait: Some(wait),
        },
        // This is no failure: it is tried again under a new lease.
        CallError::TooLate => Outcome::Throttled {
            failure: Failure::local("too_late", "the attempt took too long to write anything safely"),
            wait: None,
        },
        CallError::NotSent(message) => transient(Failure::local("unreachable", message), None),
        CallError::NoAnswer { message, sent } => {
            unanswered(effect, Failure::local("no_answer", message), sent, None)
        }
        CallError::Refused(refusal) => refused(instance, effect, *refusal),
    }
}

/// The outcome of a try that called Notion before. If a later call finds no slot, or comes too late, the try
/// counts as an attempt. Otherwise an entry that Notion rejects would be retried forever in a backlog.
pub(super) fn after_a_call(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Throttled { failure, wait } if failure.code.is_none() => transient(failure, wait),
        other => other,
    }
}

fn refused(instance: &InstanceName, effect: Effect, refusal: Refusal) -> Outcome {
    let wait = refusal.retry_after;
    match refusal.status {
        429 if refusal.rate_limit_reason.as_deref() == Some("public_api_request_blocked") => {
            needs_operator(refusal, "Notion blocks this connection; ask Notion's support to unblock it")
        }
        429 | 529 => Outcome::Throttled { failure: failure(refusal), wait: wait.or(Some(THROTTLE_WAIT)) },
        // A proxy sent this, which knows nothing of pages and tokens.
        400..=407 | 409..=499 if !refusal.is_notions_own => transient(failure(refusal), wait),
        401 => needs_operator(refusal, &remedies::new_token(instance)),
        403 if refusal.is_block_limit => {
            let refusal = Refusal { code: BLOCK_LIMIT.to_owned(), ..refusal };
            blocked(failure(refusal))
        }
        403 => needs_operator(
            refusal,
            "the connection lacks a permission: give it the capabilities to read, insert and update content",
        ),
        404 if effect.is_about_a_page() => Outcome::Gone(failure(refusal)),
        404 => needs_operator(refusal, &remedies::share_database(instance)),
        400 if refusal.is_about_an_ancestor() && effect.is_about_a_page() => {
            // The page itself still says where it is.
            Outcome::Gone(failure(Refusal { code: IN_TRASH.to_owned(), ..refusal }))
        }
        400 if refusal.is_about_trash() && effect.is_about_a_page() => Outcome::Gone(failure(refusal)),
        400 if refusal.is_about_trash() => {
            let refusal = Refusal { code: IN_TRASH.to_owned(), ..refusal };
            needs_operator(refusal, "the database, or a page above it, is in Notion's trash: restore it")
        }
        409 => transient(failure(refusal), wait),
        408 | 500..=599 => {
            let sent = refusal.sent;
            unanswered(effect, failure(refusal), sent, wait)
        }
        300..=399 => needs_operator(refusal, &remedies::correct_address(instance)),
        _ if effect == Effect::Describe => needs_operator(refusal, &remedies::copy_database_link(instance)),
        _ => Outcome::Permanent(failure(refusal)),
    }
}

/// Whether only a write can show that the problem behind such a failure is solved: a capability to write,
/// or a table in the trash, which can still be read and whose containers the connection may not see.
pub(super) fn shows_only_in_a_write(class: &str) -> bool {
    matches!(class, "restricted_resource" | "http_403" | IN_TRASH)
}

/// It is unknown whether the call was carried out. A call that may be carried out twice is repeated.
fn unanswered(effect: Effect, failure: Failure, sent: Duration, wait: Option<Duration>) -> Outcome {
    match effect {
        Effect::Create | Effect::Overwrite => Outcome::Ambiguous { failure, since: sent },
        Effect::Describe | Effect::Look | Effect::Update => transient(failure, wait),
    }
}

fn transient(failure: Failure, wait: Option<Duration>) -> Outcome {
    Outcome::Transient { failure, wait }
}

fn needs_operator(refusal: Refusal, remedy: &str) -> Outcome {
    Outcome::NeedsOperator(failure(refusal).with_remedy(remedy))
}

/// How long new pages wait before one of them is tried again in a workspace that can hold no more blocks.
pub(super) const BLOCKED_FOR: Duration = Duration::from_mins(10);

/// The outcome of a new page while the workspace can hold no more blocks.
pub(super) fn block_limit_reached(wait: Duration) -> Outcome {
    let message = "Notion refuses new pages: the workspace has reached its limit of blocks";
    Outcome::Blocked {
        failure: Failure::local(BLOCK_LIMIT, message).with_remedy(remedies::BLOCK_LIMIT),
        wait,
    }
}

fn blocked(failure: Failure) -> Outcome {
    Outcome::Blocked { failure: failure.with_remedy(remedies::BLOCK_LIMIT), wait: BLOCKED_FOR }
}

fn failure(refusal: Refusal) -> Failure {
    Failure {
        message: format!("Notion: {}", refusal.message),
        class: refusal.code,
        remedy: None,
        code: Some(refusal.status),
        request_id: refusal.request_id,
    }
}

/// Whether a read confirms that a page is gone, provided that nothing that contains it is.
pub(super) fn confirms_gone(read: &Result<Answer<Value>, CallError>) -> bool {
    match read {
        Ok(page) => is_put_away(&page.value),
        Err(CallError::Refused(refusal)) => refusal.is_notions_own && refusal.status == 404,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(effect: Effect, error: CallError) -> Outcome {
        let instance = InstanceName { name: "team-b".to_owned(), kind: "notion".to_owned() };
        super::outcome(&instance, effect, error)
    }

    fn of(effect: Effect, status: u16, message: &str) -> &'static str {
        let refusal =
            Refusal { status, is_notions_own: true, message: message.to_owned(), ..Refusal::default() };
        name(&outcome(effect, CallError::Refused(Box::new(refusal))))
    }

    fn name(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Delivered { .. } => "delivered",
            Outcome::Skipped { .. } => "skipped",
            Outcome::Permanent(_) => "permanent",
            Outcome::Transient { .. } => "transient",
            Outcome::Throttled { .. } => "throttled",
            Outcome::Ambiguous { .. } => "ambiguous",
            Outcome::InDoubt { .. } => "in_doubt",
            Outcome::Gone(_) => "gone",
            Outcome::NeedsOperator(_) => "needs operator",
            Outcome::Blocked { .. } => "blocked",
        }
    }

    #[test]
    fn every_status_means_what_the_reference_says() {
        use Effect::{Create, Describe, Look, Update};
        for (status, look, create, update) in [
            (400, "permanent", "permanent", "permanent"),
            (401, "needs operator", "needs operator", "needs operator"),
            (403, "needs operator", "needs operator", "needs operator"),
            (404, "needs operator", "needs operator", "gone"),
            (409, "transient", "transient", "transient"),
            (413, "permanent", "permanent", "permanent"),
            (429, "throttled", "throttled", "throttled"),
            (500, "transient", "ambiguous", "transient"),
            (502, "transient", "ambiguous", "transient"),
            (503, "transient", "ambiguous", "transient"),
            (504, "transient", "ambiguous", "transient"),
            (529, "throttled", "throttled", "throttled"),
            (302, "needs operator", "needs operator", "needs operator"),
        ] {
            let describe = if look == "permanent" { "needs operator" } else { look };
            assert_eq!(of(Describe, status, ""), describe, "describe {status}");
            assert_eq!(of(Look, status, ""), look, "look {status}");
            assert_eq!(of(Create, status, ""), create, "create {status}");
            assert_eq!(of(Update, status, ""), update, "update {status}");
        }
        let archived = "Can't edit block that is archived.";
        assert_eq!(of(Update, 400, archived), "gone");
        assert_eq!(of(Create, 400, archived), "needs operator");
        let quoting =
            "body failed validation: body.properties.Note should be an object, instead was `archived`.";
        assert_eq!(of(Update, 400, quoting), "permanent");
    }

    #[test]
    fn what_a_proxy_refuses_may_work_later_and_says_nothing_of_pages() {
        for status in [400, 401, 403, 404, 407, 413, 451] {
            for effect in [Effect::Describe, Effect::Look, Effect::Create, Effect::Update, Effect::Overwrite]
            {
                let refusal = Refusal { status, ..Refusal::default() };
                let class = name(&outcome(effect, CallError::Refused(Box::new(refusal))));
                assert_eq!(class, "transient", "{effect:?} {status}");
            }
        }
    }

    #[test]
    fn a_call_that_was_never_sent_is_in_no_doubt() {
        let not_sent = || CallError::NotSent("refused".into());
        let unanswered = || CallError::NoAnswer { message: "broke".into(), sent: Duration::from_secs(9) };
        assert_eq!(name(&outcome(Effect::Create, not_sent())), "transient");
        assert_eq!(name(&outcome(Effect::Create, unanswered())), "ambiguous");
        assert_eq!(name(&outcome(Effect::Update, unanswered())), "transient");
        assert_eq!(name(&outcome(Effect::Look, unanswered())), "transient");
    }

    #[test]
    fn what_is_too_late_counts_once_a_call_was_made() {
        for error in [CallError::TooLate, CallError::NoSlot(Duration::from_secs(9))] {
            let outcome = outcome(Effect::Create, error);
            assert_eq!(name(&outcome), "throttled");
            assert_eq!(name(&after_a_call(outcome)), "transient");
        }
        let asked = Refusal { status: 429, ..Refusal::default() };
        let throttled = outcome(Effect::Create, CallError::Refused(Box::new(asked)));
        assert_eq!(name(&after_a_call(throttled)), "throttled");
    }

    #[test]
    fn a_wait_is_handed_on_and_a_block_is_for_the_operator() {
        let refusal = |reason: Option<&str>| {
            CallError::Refused(Box::new(Refusal {
                status: 429,
                retry_after: Some(Duration::from_secs(7)),
                rate_limit_reason: reason.map(str::to_owned),
                ..Refusal::default()
            }))
        };
        match outcome(Effect::Create, refusal(None)) {
            Outcome::Throttled { wait, .. } => assert_eq!(wait, Some(Duration::from_secs(7))),
            other => panic!("{other:?}"),
        }
        assert_eq!(
            name(&outcome(Effect::Create, refusal(Some("public_api_request_blocked")))),
            "needs operator"
        );
    }

    #[test]
    fn the_block_limit_is_no_missing_permission_and_blocks_new_pages_only() {
        let refusal =
            Refusal { status: 403, is_notions_own: true, is_block_limit: true, ..Refusal::default() };
        match outcome(Effect::Create, CallError::Refused(Box::new(refusal))) {
            Outcome::Blocked { failure, .. } => {
                assert_eq!(failure.class, "block_limit");
                assert!(failure.to_string().contains("upgrade"), "{failure}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_remedy_names_the_settings_of_the_instance_itself() {
        let refusal = Refusal { status: 401, is_notions_own: true, ..Refusal::default() };
        match outcome(Effect::Create, CallError::Refused(Box::new(refusal))) {
            Outcome::NeedsOperator(Failure { remedy: Some(remedy), message, .. }) => {
                assert!(remedy.contains("TEAM_B_API_KEY"), "{remedy}");
                assert!(!message.contains(&remedy), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}
