//! Links into the Stripe dashboard.

use crate::domain::object::{ObjectKind, StripeObject};

/// The page of the object, or of its payment where it has no page of its own, or else of the event.
/// `None` only where not even the event's id can stand in a link.
pub(super) fn link(
    object: &StripeObject<'_>,
    event_id: &str,
    account: Option<&str>,
    livemode: Option<bool>,
) -> Option<String> {
    let (section, id) = page(object)
        .and_then(|(section, id)| Some((section, plain_id(&id)?.to_owned())))
        .or_else(|| Some(("events", plain_id(event_id)?.to_owned())))?;
    let account = match account.and_then(plain_id).filter(|id| id.starts_with("acct_")) {
        Some(id) => format!("/{id}"),
        None => String::new(),
    };
    let test = if livemode == Some(false) { "/test" } else { "" };
    Some(format!("https://dashboard.stripe.com{account}{test}/{section}/{id}"))
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

/// An id of letters, digits and underscores, as Stripe's are: nothing else may shape a link.
fn plain_id(id: &str) -> Option<&str> {
    const LENGTH_MAX: usize = 255;
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (plain && !id.is_empty() && id.len() <= LENGTH_MAX).then_some(id)
}
