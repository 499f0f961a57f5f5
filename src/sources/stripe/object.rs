//! The object that an event is about, whatever its kind and the age of its shape.
//!
//! A reference in it may be an id, the whole object, or null.

use super::envelope;
use super::event_type::without_thin_prefix;
use super::json::exact_integer;
use crate::domain::money::{Currency, Money};
use chrono::{DateTime, Utc};
use serde_json::Value;

/// Whether a text is the id of a customer (`cus_…`) or of a guest (`gcus_…`).
pub(super) fn is_customer_id(text: &str) -> bool {
    let rest = text.strip_prefix("cus_").or_else(|| text.strip_prefix("gcus_"));
    rest.is_some_and(|rest| {
        (4..=200).contains(&rest.len())
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// The parts of objects that describe the customer, the likeliest first.
const PERSONS: &[&str] = &[
    "/billing_details",
    "/customer_details",
    "/customer",
    "/owner",
    "/source/owner",
    "/last_payment_error/payment_method/billing_details",
    "/last_setup_error/payment_method/billing_details",
    "/charges/data/0/billing_details",
    "/charge/billing_details",
    "/cardholder",
    "/card/cardholder",
    "/origin_payment_method_details/billing_details",
    "/destination_payment_method_details/billing_details",
    "/initiating_payment_method_details/billing_details",
];

/// The kinds whose fields this module can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectKind {
    Account,
    Alert,
    Card,
    Cardholder,
    Charge,
    CheckoutSession,
    Customer,
    Dispute,
    Invoice,
    PaymentIntent,
    Payout,
    Person,
    Plan,
    Price,
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
    /// The type of the event, without the prefix of thin events.
    pub(super) event_type: &'a str,
    /// Whether the event contains the object.
    pub(super) is_snapshot: bool,
    /// The API version that shaped it.
    pub(super) api_version: Option<&'a str>,
    /// The id of the API request that caused the event.
    pub(super) request: Option<&'a str>,
    /// What the event's changed fields were before, or null.
    previous: &'a Value,
    /// When the event happened, as it is written.
    created: &'a Value,
    type_name: Option<&'a str>,
}

impl<'a> StripeObject<'a> {
    /// Finds the object. If the object does not name its kind, `known_type` decides, or the event's type.
    pub(super) fn of(payload: &'a Value, known_type: Option<&'a str>, event_type: &'a str) -> Self {
        let snapshot = payload.pointer("/data/object").filter(|object| object.is_object());
        let value = snapshot.or_else(|| payload.get("related_object")).unwrap_or(&Value::Null);
        let type_name = match snapshot {
            Some(object) => text(object, "/object"),
            None => text(value, "/type"),
        }
        .or(known_type);
        let kind = type_name.map_or_else(|| kind_by_event(event_type), kind_by_name);
        Self {
            kind,
            value,
            event_type: without_thin_prefix(event_type),
            is_snapshot: snapshot.is_some(),
            api_version: text(payload, "/api_version"),
            request: text(payload, "/request/id").or_else(|| text(payload, "/request")),
            previous: payload.pointer("/data/previous_attributes").unwrap_or(&Value::Null),
            created: payload.get("created").unwrap_or(&Value::Null),
            type_name,
        }
    }

    /// Whether the event only names the object.
    pub(super) fn is_thin(&self) -> bool {
        !self.is_snapshot && self.value.is_object()
    }

    /// When the event happened.
    pub(super) fn happened_at(&self) -> Option<DateTime<Utc>> {
        envelope::time(self.created)
    }

    /// Its id. An event about an alert is about the alert itself, whomever it concerns.
    pub(super) fn id(&self) -> Option<String> {
        self.text("/id").or_else(|| self.text("/alert/id").filter(|_| self.kind == ObjectKind::Alert))
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

    /// The customer's id. Accounts v2 have an account in its place; what was detached has it only in what it was
    /// before.
    pub(super) fn customer(&self) -> Option<String> {
        if self.kind == ObjectKind::Customer {
            return self.id();
        }
        let before = || reference_of(self.previous.get("customer")?).map(str::to_owned);
        let others = [
            "/customer_account",
            "/owner/customer",
            "/account_holder/customer",
            "/charge/customer",
            "/payment_intent/customer",
        ];
        self.reference(&["/customer"]).or_else(before).or_else(|| self.reference(&others))
    }

    pub(super) fn customer_email(&self) -> Option<String> {
        self.customer_emails().next()
    }

    /// Every e-mail address of the customer in the object, the likeliest first.
    pub(super) fn customer_emails(&self) -> impl Iterator<Item = String> {
        let is_person = matches!(
            self.kind,
            ObjectKind::Customer | ObjectKind::Account | ObjectKind::Person | ObjectKind::Cardholder
        );
        let own: &[&str] = if is_person { &["/email"] } else { &[] };
        let named = ["/customer_email", "/receipt_email", "/evidence/customer_email_address"];
        let of_parts = PERSONS.iter().filter_map(|part| text(self.value.pointer(part)?, "/email"));
        let receipts = ["/charge/receipt_email", "/payment_intent/receipt_email"];
        let texts = move |places: &[&str]| -> Vec<String> {
            places.iter().filter_map(|place| self.text(place)).collect()
        };
        let first = texts(own).into_iter().chain(texts(&named));
        first.chain(of_parts.map(str::to_owned)).chain(texts(&receipts))
    }

    pub(super) fn customer_name(&self) -> Option<String> {
        let is_named = matches!(self.kind, ObjectKind::Customer | ObjectKind::Cardholder | ObjectKind::Card);
        let own = self.text("/name").filter(|_| is_named);
        let of_parts = || PERSONS.iter().find_map(|part| text(self.value.pointer(part)?, "/name"));
        own.or_else(|| {
            self.first_text(&["/customer_name", "/account_holder_name", "/evidence/customer_name"])
        })
        .or_else(|| of_parts().map(str::to_owned))
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
        places.iter().find_map(|place| reference_of(self.value.pointer(place)?)).map(str::to_owned)
    }

    pub(super) fn text(&self, place: &str) -> Option<String> {
        text(self.value, place).map(str::to_owned)
    }

    pub(super) fn integer(&self, place: &str) -> Option<i64> {
        exact_integer(self.value.pointer(place)?)
    }

    /// The whole number at a place, or another one if there is nothing. One that cannot be read is unknown.
    pub(super) fn integer_or(&self, place: &str, other: impl FnOnce() -> Option<i64>) -> Option<i64> {
        match self.value.pointer(place) {
            None | Some(Value::Null) => other(),
            Some(value) => exact_integer(value),
        }
    }

    /// The amount at a place, in the object's currency.
    pub(super) fn money(&self, place: &str) -> Option<Money> {
        Some(Money::from_minor(self.integer(place)?, currency(self)?))
    }

    /// The entries of a list; none if there is no list.
    pub(super) fn list(&self, place: &str) -> impl DoubleEndedIterator<Item = &'a Value> + use<'a> {
        self.value.pointer(place).and_then(Value::as_array).map_or(&[][..], Vec::as_slice).iter()
    }

    /// What a text was before the event; `None` if the event did not change it.
    pub(super) fn previous_text(&self, field: &str) -> Option<&'a str> {
        non_blank(self.previous.get(field)?.as_str())
    }

    /// What an amount was before the event; `None` if the event did not change it. One that was unset was 0.
    pub(super) fn previous_integer(&self, field: &str) -> Option<i64> {
        match self.previous.get(field)? {
            Value::Null => Some(0),
            value => exact_integer(value),
        }
    }

    /// Whether a flag is set.
    pub(super) fn is(&self, place: &str) -> bool {
        flag(self.value, place) == Some(true)
    }

    /// Whether a flag is there and not set.
    pub(super) fn is_not(&self, place: &str) -> bool {
        flag(self.value, place) == Some(false)
    }

    fn first_text(&self, places: &[&str]) -> Option<String> {
        places.iter().find_map(|place| self.text(place))
    }
}

/// The currency; subscriptions of older shapes name it in their prices only.
pub(super) fn currency(object: &StripeObject<'_>) -> Option<Currency> {
    ["/currency", "/items/data/0/price/currency", "/items/data/0/plan/currency", "/plan/currency"]
        .iter()
        .find_map(|place| currency_at(object.value, place))
}

/// The currency at a JSON pointer.
pub(super) fn currency_at(value: &Value, place: &str) -> Option<Currency> {
    text(value, place)?.parse().ok()
}

/// The id in a reference: it is an id, or the whole object.
fn reference_of(value: &Value) -> Option<&str> {
    non_blank(value.as_str()).or_else(|| text(value, "/id"))
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
        "account" | "v2.core.account" => ObjectKind::Account,
        "billing.alert_triggered" => ObjectKind::Alert,
        "card" => ObjectKind::Card,
        "issuing.cardholder" => ObjectKind::Cardholder,
        "charge" => ObjectKind::Charge,
        "checkout.session" => ObjectKind::CheckoutSession,
        "customer" => ObjectKind::Customer,
        "dispute" => ObjectKind::Dispute,
        "invoice" => ObjectKind::Invoice,
        "payment_intent" => ObjectKind::PaymentIntent,
        "payout" => ObjectKind::Payout,
        "person" => ObjectKind::Person,
        "plan" => ObjectKind::Plan,
        "price" => ObjectKind::Price,
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
