//! The object that an event is about, whatever its kind and the age of its shape.
//!
//! A reference in it may be an id, the whole object, or null.

mod amount;

pub(super) use amount::{amount, currency, refunded};

use super::event_type::without_thin_prefix;
use super::json::exact_integer;
use serde_json::Value;

/// Whether a text is the id of a customer (`cus_…`) or of a guest (`gcus_…`).
pub(super) fn is_customer_id(text: &str) -> bool {
    let rest = text.strip_prefix("cus_").or_else(|| text.strip_prefix("gcus_"));
    rest.is_some_and(|rest| {
        (4..=200).contains(&rest.len())
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// The kinds whose fields this module can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectKind {
    Charge,
    CheckoutSession,
    Customer,
    Dispute,
    Invoice,
    PaymentIntent,
    Payout,
    Refund,
    Subscription,
    Other,
}

/// An event's object: `data.object`, or in a thin event the `related_object`, of which only id and
/// type are known.
#[derive(Debug, Clone, Copy)]
pub(super) struct StripeObject<'a> {
    pub(super) kind: ObjectKind,
    pub(super) value: &'a Value,
    type_name: Option<&'a str>,
}

impl<'a> StripeObject<'a> {
    /// Finds the object. If the object does not name its kind, `known_type` decides, or the event's type.
    pub(super) fn of(payload: &'a Value, known_type: Option<&'a str>, event_type: &str) -> Self {
        let snapshot = payload.pointer("/data/object").filter(|object| object.is_object());
        let value = snapshot.or_else(|| payload.get("related_object")).unwrap_or(&Value::Null);
        let type_name = match snapshot {
            Some(object) => text(object, "/object"),
            None => text(value, "/type"),
        }
        .or(known_type);
        let kind = type_name.map_or_else(|| kind_by_event(event_type), kind_by_name);
        Self { kind, value, type_name }
    }

    pub(super) fn id(&self) -> Option<String> {
        self.text("/id")
    }

    pub(super) fn type_name(&self) -> Option<String> {
        self.type_name.map(str::to_owned)
    }

    /// The object's own status; shapes of before 2018 have flags in its place.
    pub(super) fn status(&self) -> Option<String> {
        self.text("/status").or_else(|| match self.kind {
            ObjectKind::Invoice if self.is("/paid") => Some("paid".to_owned()),
            ObjectKind::Customer if self.is("/delinquent") => Some("delinquent".to_owned()),
            _ => None,
        })
    }

    pub(super) fn customer(&self) -> Option<String> {
        if self.kind == ObjectKind::Customer {
            return self.id();
        }
        self.reference(&["/customer", "/charge/customer", "/payment_intent/customer"])
    }

    pub(super) fn customer_email(&self) -> Option<String> {
        self.customer_emails().next()
    }

    /// Every e-mail address of the customer in the object, the likeliest first.
    pub(super) fn customer_emails(&self) -> impl Iterator<Item = String> {
        let places: &[&str] = match self.kind {
            ObjectKind::Customer => &["/email"],
            _ => &[
                "/customer_email",
                "/receipt_email",
                "/billing_details/email",
                "/customer_details/email",
                "/customer/email",
                "/charge/receipt_email",
                "/charge/billing_details/email",
                "/payment_intent/receipt_email",
            ],
        };
        places.iter().filter_map(|place| self.text(place))
    }

    pub(super) fn customer_name(&self) -> Option<String> {
        if self.kind == ObjectKind::Customer {
            return self.text("/name");
        }
        self.first_text(&[
            "/customer_name",
            "/billing_details/name",
            "/customer_details/name",
            "/customer/name",
            "/charge/billing_details/name",
        ])
    }

    pub(super) fn invoice_number(&self) -> Option<String> {
        match self.kind {
            ObjectKind::Invoice => self.first_text(&["/number", "/id"]),
            _ => self.text("/invoice/number").or_else(|| self.reference(&["/invoice", "/charge/invoice"])),
        }
    }

    /// What it was for.
    pub(super) fn purpose(&self) -> Option<String> {
        self.text("/description")
    }

    /// What its first line was for: an invoice without a description has one there.
    pub(super) fn purpose_of_first_line(&self) -> Option<String> {
        self.text("/lines/data/0/description")
    }

    /// Why it failed; otherwise the reason that was given.
    pub(super) fn reason(&self) -> Option<String> {
        self.first_text(&[
            "/last_payment_error/message",
            "/failure_message",
            "/last_finalization_error/message",
            "/reason",
        ])
    }

    pub(super) fn invoice_url(&self) -> Option<String> {
        self.first_text(&[
            "/hosted_invoice_url",
            "/invoice_pdf",
            "/invoice/hosted_invoice_url",
            "/latest_invoice/hosted_invoice_url",
        ])
    }

    pub(super) fn receipt_url(&self) -> Option<String> {
        self.first_text(&[
            "/receipt_url",
            "/latest_charge/receipt_url",
            "/charge/receipt_url",
            "/charges/data/0/receipt_url",
        ])
    }

    /// The id behind the first of these places that holds a reference.
    pub(super) fn reference(&self, places: &[&str]) -> Option<String> {
        places.iter().find_map(|place| {
            let value = self.value.pointer(place)?;
            non_blank(value.as_str()).or_else(|| text(value, "/id")).map(str::to_owned)
        })
    }

    pub(super) fn text(&self, place: &str) -> Option<String> {
        text(self.value, place).map(str::to_owned)
    }

    pub(super) fn integer(&self, place: &str) -> Option<i64> {
        exact_integer(self.value.pointer(place)?)
    }

    /// Whether a flag is set.
    pub(super) fn is(&self, place: &str) -> bool {
        flag(self.value, place) == Some(true)
    }

    fn first_text(&self, places: &[&str]) -> Option<String> {
        places.iter().find_map(|place| self.text(place))
    }
}

/// The trimmed text at a JSON pointer; `None` if there is none.
pub(super) fn text<'a>(value: &'a Value, place: &str) -> Option<&'a str> {
    non_blank(value.pointer(place)?.as_str())
}

/// The flag at a JSON pointer.
pub(super) fn flag(value: &Value, place: &str) -> Option<bool> {
    value.pointer(place)?.as_bool()
}

fn non_blank(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

fn kind_by_name(name: &str) -> ObjectKind {
    match name {
        "charge" => ObjectKind::Charge,
        "checkout.session" => ObjectKind::CheckoutSession,
        "customer" => ObjectKind::Customer,
        "dispute" => ObjectKind::Dispute,
        "invoice" => ObjectKind::Invoice,
        "payment_intent" => ObjectKind::PaymentIntent,
        "payout" => ObjectKind::Payout,
        "refund" => ObjectKind::Refund,
        "subscription" => ObjectKind::Subscription,
        _ => ObjectKind::Other,
    }
}

/// The kind that the type's parents name: the oldest shapes and some thin events do not contain it.
fn kind_by_event(event_type: &str) -> ObjectKind {
    let Some((parents, _)) = without_thin_prefix(event_type).rsplit_once('.') else {
        return ObjectKind::Other;
    };
    match parents {
        "charge.dispute" => ObjectKind::Dispute,
        "charge.refund" => ObjectKind::Refund,
        "customer.subscription" => ObjectKind::Subscription,
        name => kind_by_name(name),
    }
}
