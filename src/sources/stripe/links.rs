//! Links into the Stripe dashboard, by what an event's body says.

use super::object::{ObjectKind, StripeObject};

/// The page of the object, of its payment if it has no page of its own, or of the event. `None` only if
/// not even the event's id can stand in a link.
pub(super) fn of_summary(
    object: &StripeObject<'_>,
    event_id: &str,
    account: Option<&str>,
    livemode: Option<bool>,
) -> Option<String> {
    let account = account.filter(|id| plain_id(id).is_some() && id.starts_with("acct_"));
    page(object)
        .and_then(|(section, id)| link(section, &id, account, livemode))
        .or_else(|| link("events", event_id, account, livemode))
}

fn page(object: &StripeObject<'_>) -> Option<(&'static str, String)> {
    let (section, id) = match object.kind {
        ObjectKind::Invoice => ("invoices", object.id()),
        ObjectKind::PaymentIntent | ObjectKind::Charge => ("payments", object.id()),
        ObjectKind::Customer => ("customers", object.id()),
        ObjectKind::Subscription => ("subscriptions", object.id()),
        ObjectKind::Payout => ("payouts", object.id()),
        ObjectKind::Refund | ObjectKind::Dispute | ObjectKind::CheckoutSession => {
            ("payments", object.reference(&["/payment_intent", "/charge"]))
        }
        ObjectKind::Other => return None,
    };
    Some((section, id?))
}

fn link(section: &str, id: &str, account: Option<&str>, livemode: Option<bool>) -> Option<String> {
    let account = match account {
        Some(account) => format!("/{}", plain_id(account)?),
        None => String::new(),
    };
    let test = if livemode == Some(false) { "/test" } else { "" };
    Some(format!("https://dashboard.stripe.com{account}{test}/{section}/{}", plain_id(id)?))
}

/// An id of letters, digits and underscores, as Stripe's are: nothing else may shape a link.
fn plain_id(id: &str) -> Option<&str> {
    const BYTES_MAX: usize = 255;
    let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (is_plain && !id.is_empty() && id.len() <= BYTES_MAX).then_some(id)
}
