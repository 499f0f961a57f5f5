//! What Stripe does with events that this service has not accepted. Alerts state it, because it decides whether
//! an operator can wait.

/// What is sent again, and what never is.
pub(super) const RESENDS: &str = "Stripe retries live events for up to three days, those of a sandbox only three times within hours. It never resends events of an endpoint that it has disabled: check the endpoint's state in Stripe's Workbench (Webhooks, Event destinations).";
