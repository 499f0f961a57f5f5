//! Links into the Stripe dashboard, from an event's body or from ids alone.
//!
//! A link without an account opens in the account that the browser has selected. A sandbox is an account of its
//! own, in test mode: `/acct_…/test/…`. Its events do not name it, so `STRIPE_ACCOUNT` does.

use super::object::{ObjectKind, StripeObject};

/// Where the dashboard shows objects, by how their ids begin. The first five are in Stripe's documentation; the
/// others are what public projects link to.
const SECTIONS: &[(&str, &str)] = &[
    ("in_", "invoices"),
    ("pi_", "payments"),
    ("cus_", "customers"),
    ("po_", "payouts"),
    ("sub_sched_", "subscription_schedules"),
    ("sub_", "subscriptions"),
    ("ch_", "payments"),
    ("py_", "payments"),
    ("dp_", "disputes"),
    ("du_", "disputes"),
    ("seti_", "setup_intents"),
    ("prod_", "products"),
    ("price_", "prices"),
];

/// The page of the object, of what it belongs or led to if it has no page of its own, or of the event. `None` only
/// if not even the event's id fits in a link.
pub(super) fn of_summary(
    object: &StripeObject<'_>,
    event_id: &str,
    account: Option<&str>,
    livemode: Option<bool>,
) -> Option<String> {
    let account = account.filter(|id| is_account_id(id));
    let others: &[&str] = match object.kind {
        ObjectKind::Refund | ObjectKind::Dispute => &["/payment_intent", "/charge"],
        ObjectKind::CheckoutSession => &["/payment_intent", "/subscription", "/setup_intent", "/customer"],
        _ => &[],
    };
    let others = others.iter().filter_map(|place| object.reference(&[place]));
    let mut ids = object.id().into_iter().chain(others);
    ids.find_map(|id| of_object(&id, account, livemode))
        .or_else(|| link("events", event_id, account, livemode))
}

/// The page of an object by its id; `None` for a kind of object that has no page.
pub(super) fn of_object(id: &str, account: Option<&str>, livemode: Option<bool>) -> Option<String> {
    let (_, section) = SECTIONS.iter().find(|(prefix, _)| id.starts_with(prefix))?;
    link(section, id, account, livemode)
}

/// The page of an event by its id.
pub(super) fn of_event(id: &str, account: Option<&str>, livemode: Option<bool>) -> Option<String> {
    if id.starts_with("evt_") { link("events", id, account, livemode) } else { None }
}

/// Whether a text is the id of an account.
pub(super) fn is_account_id(id: &str) -> bool {
    id.starts_with("acct_") && plain_id(id).is_some()
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
    fn an_event_and_its_object_lead_to_the_same_page() {
        let shown = |object: serde_json::Value| {
            let payload = serde_json::json!({"data": {"object": object}});
            of_summary(&StripeObject::of(&payload, None, "x.y"), "evt_1", None, Some(true))
        };
        for (kind, id, path) in [
            ("invoice", "in_1", "invoices/in_1"),
            ("payment_intent", "pi_1", "payments/pi_1"),
            ("charge", "py_1", "payments/py_1"),
            ("customer", "cus_1", "customers/cus_1"),
            ("subscription", "sub_1", "subscriptions/sub_1"),
            ("subscription_schedule", "sub_sched_1", "subscription_schedules/sub_sched_1"),
            ("payout", "po_1", "payouts/po_1"),
            ("product", "prod_1", "products/prod_1"),
            ("price", "price_1", "prices/price_1"),
            ("dispute", "dp_1", "disputes/dp_1"),
            ("dispute", "du_1", "disputes/du_1"),
            ("setup_intent", "seti_1", "setup_intents/seti_1"),
        ] {
            let url = Some(format!("https://dashboard.stripe.com/{path}"));
            assert_eq!(of_object(id, None, Some(true)), url);
            assert_eq!(shown(serde_json::json!({"object": kind, "id": id, "payment_intent": "pi_9"})), url);
        }
        // These have no page of their own.
        for (object, path) in [
            (serde_json::json!({"object": "refund", "id": "re_1", "charge": "ch_1"}), "payments/ch_1"),
            (
                serde_json::json!({"object": "checkout.session", "id": "cs_1", "subscription": {"id": "sub_1"}}),
                "subscriptions/sub_1",
            ),
            (serde_json::json!({"object": "coupon", "id": "FREE"}), "events/evt_1"),
            (serde_json::json!({"object": "product", "id": "tea"}), "events/evt_1"),
        ] {
            assert_eq!(shown(object), Some(format!("https://dashboard.stripe.com/{path}")));
        }
    }

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
