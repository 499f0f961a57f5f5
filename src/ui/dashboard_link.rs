//! Links into the Stripe dashboard, by the ids that an event has columns for.

/// The page of an object by its id; nothing for a kind of object that has no page.
pub(super) fn object(id: &str, account: Option<&str>, livemode: Option<bool>) -> Option<String> {
    const SECTIONS: [(&str, &str); 10] = [
        ("in_", "invoices"),
        ("pi_", "payments"),
        ("ch_", "payments"),
        ("py_", "payments"),
        ("cus_", "customers"),
        ("sub_", "subscriptions"),
        ("po_", "payouts"),
        ("prod_", "products"),
        ("price_", "prices"),
        ("dp_", "disputes"),
    ];
    let (_, section) = SECTIONS.into_iter().find(|(prefix, _)| id.starts_with(prefix))?;
    link(section, id, account, livemode)
}

/// The page of an event.
pub(super) fn event(id: &str, account: Option<&str>, livemode: Option<bool>) -> Option<String> {
    if id.starts_with("evt_") { link("events", id, account, livemode) } else { None }
}

fn link(section: &str, id: &str, account: Option<&str>, livemode: Option<bool>) -> Option<String> {
    let account = match account {
        Some(account) => format!("/{}", plain(account)?),
        None => String::new(),
    };
    let test = if livemode == Some(false) { "/test" } else { "" };
    Some(format!("https://dashboard.stripe.com{account}{test}/{section}/{}", plain(id)?))
}

/// An id of letters, digits and underscores, as Stripe's are: nothing else may shape a link.
fn plain(id: &str) -> Option<&str> {
    let is_plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_plain.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_a_link_by_its_kind_mode_and_account_and_nothing_else_shapes_it() {
        let link = |id| object(id, None, Some(true));
        assert_eq!(link("in_1").as_deref(), Some("https://dashboard.stripe.com/invoices/in_1"));
        assert_eq!(
            object("cus_1", Some("acct_1"), Some(false)).as_deref(),
            Some("https://dashboard.stripe.com/acct_1/test/customers/cus_1")
        );
        for id in ["", "xyz_1", "in_1/../x", "in_1?x", "in_\"", "javascript:x"] {
            assert_eq!(link(id), None, "{id}");
        }
        assert_eq!(object("in_1", Some("a/b"), None), None);
        assert_eq!(event("evt_1", None, None).as_deref(), Some("https://dashboard.stripe.com/events/evt_1"));
    }
}
