//! What the API has: where an object is found, which permission reading it takes, and how its list is filtered.

use serde_json::Value;

/// A kind of object with a list of its own.
#[derive(Debug)]
pub struct Resource {
    /// Its place below `/v1/`.
    pub path: &'static str,
    /// The value of `object`.
    pub object: &'static str,
    /// The permission without `rak_` and `_read`.
    pub permission: &'static str,
    /// The parameters of the list that select objects, each with the place of what it is compared with.
    pub filters: &'static [(&'static str, &'static str)],
    /// The parameters that select by a time: `created` and the like.
    pub times: &'static [&'static str],
}

const fn resource(
    path: &'static str,
    object: &'static str,
    permission: &'static str,
    filters: &'static [(&'static str, &'static str)],
) -> Resource {
    Resource { path, object, permission, filters, times: &["created"] }
}

const CUSTOMER: (&str, &str) = ("customer", "/customer");
const CUSTOMER_ACCOUNT: (&str, &str) = ("customer_account", "/customer_account");
const CHARGE: (&str, &str) = ("charge", "/charge");
const INTENT: (&str, &str) = ("payment_intent", "/payment_intent");
const INVOICE: (&str, &str) = ("invoice", "/invoice");
const STATUS: (&str, &str) = ("status", "/status");
const CURRENCY: (&str, &str) = ("currency", "/currency");
const ACTIVE: (&str, &str) = ("active", "/active");

/// The objects with a list of their own.
pub const RESOURCES: &[Resource] = &[
    Resource {
        times: &["created"],
        ..resource(
            "balance_transactions",
            "balance_transaction",
            "balance_transaction_source",
            &[("type", "/type"), ("source", "/source"), CURRENCY],
        )
    },
    resource("charges", "charge", "charge", &[CUSTOMER, INTENT, ("transfer_group", "/transfer_group")]),
    resource(
        "checkout/sessions",
        "checkout.session",
        "checkout_session",
        &[CUSTOMER, CUSTOMER_ACCOUNT, INTENT, ("subscription", "/subscription"), STATUS],
    ),
    resource("credit_notes", "credit_note", "credit_note", &[CUSTOMER, CUSTOMER_ACCOUNT, INVOICE]),
    resource("customers", "customer", "customer", &[("email", "/email")]),
    resource("disputes", "dispute", "dispute", &[CHARGE, INTENT]),
    resource("invoice_payments", "invoice_payment", "invoice", &[INVOICE, STATUS]),
    Resource {
        times: &["created", "due_date"],
        ..resource(
            "invoices",
            "invoice",
            "invoice",
            &[
                CUSTOMER,
                CUSTOMER_ACCOUNT,
                STATUS,
                ("subscription", "/parent/subscription_details/subscription"),
                ("collection_method", "/collection_method"),
            ],
        )
    },
    resource("payment_intents", "payment_intent", "payment_intent", &[CUSTOMER, CUSTOMER_ACCOUNT]),
    Resource {
        times: &["created", "arrival_date"],
        ..resource("payouts", "payout", "payout", &[STATUS, ("destination", "/destination")])
    },
    resource("prices", "price", "plan", &[ACTIVE, CURRENCY, ("product", "/product"), ("type", "/type")]),
    resource("products", "product", "product", &[ACTIVE, ("url", "/url")]),
    resource("refunds", "refund", "charge", &[CHARGE, INTENT]),
    resource("subscription_items", "subscription_item", "subscription", &[("subscription", "/subscription")]),
    resource(
        "subscriptions",
        "subscription",
        "subscription",
        &[CUSTOMER, CUSTOMER_ACCOUNT, ("collection_method", "/collection_method")],
    ),
    resource("topups", "topup", "top_up", &[STATUS]),
];

/// The resource at that place below `/v1/`.
pub fn at(path: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|resource| resource.path == path)
}

/// Where an object is found, if it can be fetched: a path such as `/v1/charges/ch_1`.
pub fn path_of(object: &Value) -> Option<String> {
    let text =
        |name: &str| object.get(name).and_then(|value| value.as_str().or_else(|| value.get("id")?.as_str()));
    let (kind, id) = (text("object")?, text("id")?);
    let below =
        |parent: &str, name: &str, child: &str| Some(format!("/v1/{parent}/{}/{child}/{id}", text(name)?));
    match kind {
        "tax_id" if text("customer").is_some() => below("customers", "customer", "tax_ids"),
        "card" | "source" | "bank_account" if text("customer").is_some() => {
            below("customers", "customer", "sources")
        }
        "person" => below("accounts", "account", "persons"),
        "capability" => below("accounts", "account", "capabilities"),
        "fee_refund" => below("application_fees", "fee", "refunds"),
        "discount" => None,
        _ => Some(format!("/v1/{}/{id}", collection_of(kind))),
    }
}

/// Where the objects of a kind are listed, below `/v1/`.
fn collection_of(kind: &str) -> String {
    if let Some(known) = RESOURCES.iter().find(|resource| resource.object == kind) {
        return known.path.to_owned();
    }
    let path = kind.replace('.', "/");
    match path.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o']) => format!("{stem}ies"),
        _ if path.ends_with('s') => path,
        _ => format!("{path}s"),
    }
}

/// The permission that reading at this path below `/v1/` takes.
pub fn permission(path: &str, writes: bool) -> String {
    let known = RESOURCES.iter().find(|resource| {
        path.strip_prefix(resource.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    let first = path.split('/').next().unwrap_or_default();
    let name = match (known, first) {
        (Some(resource), _) => resource.permission.to_owned(),
        (None, "account" | "accounts") => "accounts_kyc_basic".to_owned(),
        (None, "invoiceitems") => "invoice".to_owned(),
        (None, "plans") => "plan".to_owned(),
        (None, "payment_links") => "payment_links".to_owned(),
        (None, "subscription_schedules") => "subscription".to_owned(),
        (None, "webhook_endpoints") => "webhook".to_owned(),
        (None, _) => generic_permission(path),
    };
    format!("rak_{name}_{}", if writes { "write" } else { "read" })
}

/// Of `issuing/cards/ic_1`: `issuing_card`.
fn generic_permission(path: &str) -> String {
    let parts: Vec<_> = path.split('/').collect();
    let collection = match parts.len() {
        0 | 1 => parts,
        count if count % 2 == 1 => parts.into_iter().take(2).collect(),
        _ => parts.into_iter().take(1).collect(),
    };
    let name = collection.join("_");
    match name.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => name.strip_suffix('s').unwrap_or(&name).to_owned(),
    }
}

/// The permissions that reading everything takes.
pub const READ_PERMISSIONS: &[&str] = &[
    "rak_accounts_kyc_basic_read",
    "rak_balance_read",
    "rak_balance_transaction_source_read",
    "rak_charge_read",
    "rak_checkout_session_read",
    "rak_credit_note_read",
    "rak_customer_read",
    "rak_dispute_read",
    "rak_event_read",
    "rak_invoice_read",
    "rak_payment_intent_read",
    "rak_payout_read",
    "rak_plan_read",
    "rak_product_read",
    "rak_subscription_read",
    "rak_top_up_read",
    "rak_webhook_read",
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_are_found_where_stripe_has_them() {
        let path = |object: Value| path_of(&object);
        assert_eq!(path(json!({"object": "charge", "id": "py_1"})).as_deref(), Some("/v1/charges/py_1"));
        let session = json!({"object": "checkout.session", "id": "cs_1"});
        assert_eq!(path(session).as_deref(), Some("/v1/checkout/sessions/cs_1"));
        let tax_id = json!({"object": "tax_id", "id": "txi_1", "customer": {"id": "cus_1"}});
        assert_eq!(path(tax_id).as_deref(), Some("/v1/customers/cus_1/tax_ids/txi_1"));
        assert_eq!(path(json!({"object": "review", "id": "prv_1"})).as_deref(), Some("/v1/reviews/prv_1"));
        assert_eq!(path(json!({"object": "balance"})), None);
    }

    #[test]
    fn permissions_have_stripes_names() {
        assert_eq!(permission("refunds/re_1", false), "rak_charge_read");
        assert_eq!(permission("prices", false), "rak_plan_read");
        assert_eq!(permission("checkout/sessions/cs_1", false), "rak_checkout_session_read");
        assert_eq!(permission("issuing/cards/ic_1", false), "rak_issuing_card_read");
        assert_eq!(permission("coupons/c", true), "rak_coupon_write");
        assert_eq!(permission("balance_transactions", false), "rak_balance_transaction_source_read");
    }
}
