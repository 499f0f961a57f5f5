//! Links into the Stripe dashboard, from an event's body or from ids alone.

use super::object::{ObjectKind, StripeObject};

/// The page of the object, of its payment if it has no page of its own, or of the event. `None` only if
/// not even the event's id fits in a link.
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

/// The page of an object by its id; `None` for a kind of object that has no page.
pub(super) fn of_object(id: &str, account: Option<&str>, livemode: Option<bool>) -> Option<String> {
    const SECTIONS: [(&str, &str); 12] = [
        ("in_", "invoices"),
        ("pi_", "payments"),
        ("ch_", "payments"),
        ("py_", "payments"),
        ("cus_", "customers"),
        ("sub_sched_", "subscription_schedules"),
        ("sub_", "subscriptions"),
        ("po_", "payouts"),
        ("prod_", "products"),
        ("price_", "prices"),
        ("dp_", "disputes"),
        ("du_", "disputes"),
    ];
    let (_, section) = SECTIONS.into_iter().find(|(prefix, _)| id.starts_with(prefix))?;
    link(section, id, account, livemode)
}

/// The page of an event by its id.
pub(super) fn of_event(id: &str, account: Option<&str>, livemode: Option<bool>) -> Option<String> {
    if id.starts_with("evt_") { link("events", id, account, livemode) } else { None }
}

fn page(object: &StripeObject<'_>) -> Option<(&'static str, String)> {
    let (section, id) = match object.kind {
        ObjectKind::Invoice => ("invoices", object.id()),
        ObjectKind::PaymentIntent | ObjectKind::Charge => ("payments", object.id()),
        ObjectKind::Customer => ("customers", object.id()),
        ObjectKind::Subscription => ("subscriptions", object.id()),
        ObjectKind::Payout => ("payouts", object.id()),
        ObjectKind::Refund | ObjectKind::Dispute => {
            ("payments", object.reference(&["/payment_intent", "/charge"]))
        }
        ObjectKind::CheckoutSession => return page_of_session(object),
        _ => return None,
    };
    Some((section, id?))
}

/// What a session led to; it has no page of its own.
fn page_of_session(session: &StripeObject<'_>) -> Option<(&'static str, String)> {
    const LED_TO: [(&str, &str); 4] = [
        ("/payment_intent", "payments"),
        ("/subscription", "subscriptions"),
        ("/setup_intent", "setup_intents"),
        ("/customer", "customers"),
    ];
    LED_TO.into_iter().find_map(|(place, section)| Some((section, session.reference(&[place])?)))
}

fn link(section: &str, id: &str, account: Option<&str>, livemode: Option<bool>) -> Option<String> {
    let account = match account {
        Some(account) => format!("/{}", plain_id(account)?),
        None => String::new(),
    };
    let test = if livemode == Some(false) { "/test" } else { "" };
    Some(format!("https://dashboard.stripe.com{account}{test}/{section}/{}", plain_id(id)?))
}

/// An id of letters, digits and underscores, as Stripe's are. No other text may enter a link.
fn plain_id(id: &str) -> Option<&str> {
    const BYTES_MAX: usize = 255;
    let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (is_plain && !id.is_empty() && id.len() <= BYTES_MAX).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_a_link_by_its_kind_mode_and_account_and_nothing_else_shapes_it() {
        let link = |id| of_object(id, None, Some(true));
        assert_eq!(link("in_1").as_deref(), Some("https://dashboard.stripe.com/invoices/in_1"));
        assert_eq!(
            of_object("cus_1", Some("acct_1"), Some(false)).as_deref(),
            Some("https://dashboard.stripe.com/acct_1/test/customers/cus_1")
        );
        for id in ["", "xyz_1", "in_1/../x", "in_1?x", "in_\"", "javascript:x"] {
            assert_eq!(link(id), None, "{id}");
        }
        assert_eq!(of_object("in_1", Some("a/b"), None), None);
        let event = of_event("evt_1", None, None);
        assert_eq!(event.as_deref(), Some("https://dashboard.stripe.com/events/evt_1"));
    }
}
