//! Asks the senders whether they send to this service, as the endpoint watch does, also while no service runs.

use crate::cli::prompt::plain;
use crate::destinations::Instance;
use crate::destinations::check::Finding;
use crate::domain::endpoint::{EndpointFound, EndpointProblem, UnknownPart, WantedEndpoint};
use crate::health::{EndpointWords, endpoint_words};
use crate::sources::Registry;
use crate::store::Store;
use std::time::Duration;
use url::Url;

/// How long the check with one key may take.
const CHECK_WITHIN: Duration = Duration::from_secs(30);

/// What is found with each key; nothing without a key.
pub(super) async fn check(
    sources: &Registry,
    instances: &[Instance],
    public_url: Option<Url>,
    store: Option<&Store>,
) -> Vec<Finding> {
    let subscriptions = instances.iter().map(|instance| instance.subscription.clone()).collect();
    let wanted = WantedEndpoint { public_url, subscriptions };
    let mut findings = Vec::new();
    for (source, checker) in sources.endpoint_checkers() {
        let of = format!("{}, API key {}", mode(checker.livemode()), checker.key());
        match tokio::time::timeout(CHECK_WITHIN, checker.check(&wanted)).await {
            Ok(Ok(found)) => {
                findings.extend(of_found(found, &source, checker.livemode(), &of, store).await);
            }
            Ok(Err(unknown)) => findings.push(not_known(&of, unknown)),
            Err(_elapsed) => findings.push(Finding::warning(
                format!("it is unknown whether Stripe sends events ({of}): Stripe did not answer in time"),
                "run the command again; https://status.stripe.com shows whether Stripe works",
            )),
        }
    }
    findings
}

async fn of_found(
    found: EndpointFound,
    source: &str,
    livemode: bool,
    of: &str,
    store: Option<&Store>,
) -> Vec<Finding> {
    let EndpointFound { enabled, mut problems, undelivered, unknown } = found;
    // Without the database it is unknown which of them arrived.
    if let Some(store) = store
        && let Ok(missing) = store.endpoint_checks.not_stored(source, undelivered).await
    {
        problems.extend(EndpointProblem::undelivered(&missing));
    }
    let mut findings: Vec<_> = problems.iter().map(|problem| of_problem(problem, livemode)).collect();
    if findings.is_empty() && !enabled.is_empty() {
        findings.push(Finding::good(format!("{} sends what destinations need ({of})", enabled.join(", "))));
    }
    findings.extend(unknown.into_iter().map(|unknown| not_known(of, unknown)));
    findings
}

fn of_problem(problem: &EndpointProblem, livemode: bool) -> Finding {
    let EndpointWords { effect, remedy, .. } = endpoint_words(problem, livemode);
    let effect = plain(&effect);
    match problem {
        EndpointProblem::Disabled { .. } if livemode => Finding::problem(effect, remedy),
        // As in development, where events are forwarded, or where they are fetched.
        EndpointProblem::Missing { url: None } => Finding::note(format!(
            "Stripe has no endpoint ({}) for this service: events arrive only if they are forwarded or fetched",
            mode(livemode)
        ))
        .with_remedy("to receive webhooks from Stripe itself, run \"eventbridge stripe init\""),
        _ => Finding::warning(effect, remedy),
    }
}

fn not_known(of: &str, unknown: UnknownPart) -> Finding {
    let UnknownPart { why, remedy, lacks_permission, .. } = unknown;
    let what = format!("a part of Stripe's side ({of}) is unknown: {}", plain(&why));
    if lacks_permission { Finding::note(what).with_remedy(remedy) } else { Finding::warning(what, remedy) }
}

const fn mode(livemode: bool) -> &'static str {
    if livemode { "live mode" } else { "test mode" }
}
