//! Invoices and how they were paid, subscriptions, credit notes.

use super::{View, list, with};
use crate::billing::Subscription;
use crate::invoices::{CreditNote, Invoice, Status};
use serde_json::{Value, json};

pub(crate) fn invoice(of: &Invoice, view: View) -> Value {
    let paid = if of.status == Status::Paid { of.total } else { 0 };
    let url = (of.status != Status::Draft).then(|| format!("https://invoice.stripe.com/i/{}", of.id));
    let pdf = url.as_ref().map(|url| format!("{url}/pdf"));
    let object = json!({
        "id": of.id,
        "object": "invoice",
        "account_country": "DE",
        "account_name": "Simulated shop",
        "amount_due": of.total,
        "amount_paid": paid,
        "amount_remaining": of.total - paid,
        "attempt_count": of.attempts,
        "attempted": of.attempts > 0,
        "auto_advance": !matches!(of.status, Status::Paid | Status::Uncollectible),
        "automatic_tax": { "enabled": false, "liability": null, "status": null },
        "billing_reason": of.reason,
        "collection_method": if of.due.is_some() { "send_invoice" } else { "charge_automatically" },
        "created": of.created,
        "currency": of.currency.code(),
        "customer": of.buyer.customer,
        "customer_email": of.buyer.email,
        "customer_name": of.buyer.name,
        "description": null,
        "discounts": [],
        "due_date": of.due,
        "hosted_invoice_url": url,
        "invoice_pdf": pdf,
        "lines": list(&[line(of, view)], &format!("/v1/invoices/{}/lines", of.id), view),
        "livemode": view.livemode,
        "metadata": {},
        "next_payment_attempt": of.next_attempt,
        "number": (of.status != Status::Draft).then_some(&of.number),
        "period_end": of.created,
        "period_start": of.created,
        "post_payment_credit_notes_amount": of.credited,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": null,
        "starting_balance": 0,
        "status": of.status.name(),
        "status_transitions": {
            "finalized_at": of.finalized_at,
            "marked_uncollectible_at": of.given_up_at,
            "paid_at": of.paid_at,
            "voided_at": null,
        },
        "subtotal": of.total,
        "total": of.total,
    });
    with(object, if view.version.is_before_basil() { links_before_basil(of) } else { links(of) })
}

/// How an older invoice names its subscription and its payment.
fn links_before_basil(of: &Invoice) -> Value {
    let intent = of.payment.as_ref().map(|(intent, _)| intent);
    let charge = of.payment.as_ref().and_then(|(_, charge)| charge.as_ref());
    json!({
        "charge": charge,
        "discount": null,
        "paid": of.status == Status::Paid,
        "paid_out_of_band": of.paid_outside,
        "payment_intent": intent,
        "quote": null,
        "subscription": of.subscription,
        "tax": null,
        "total_tax_amounts": [],
    })
}

/// Since Basil only an invoice payment joins an invoice and what paid it.
fn links(of: &Invoice) -> Value {
    let parent = of.subscription.as_ref().map(|subscription| {
        json!({
            "quote_details": null,
            "subscription_details": { "metadata": {}, "subscription": subscription },
            "type": "subscription_details",
        })
    });
    let outside = if of.paid_outside { of.total } else { 0 };
    json!({ "amount_overpaid": 0, "amount_paid_off_stripe": outside, "parent": parent, "total_taxes": [] })
}

fn line(of: &Invoice, view: View) -> Value {
    let object = json!({
        "id": format!("il_{}", of.id.trim_start_matches("in_")),
        "object": "line_item",
        "amount": of.total,
        "currency": of.currency.code(),
        "description": "1 × Sample plan",
        "livemode": view.livemode,
        "metadata": {},
        "quantity": 1,
    });
    if view.version.is_before_basil() {
        let kind = if of.subscription.is_some() { "subscription" } else { "invoiceitem" };
        with(object, json!({ "subscription": of.subscription, "type": kind }))
    } else {
        with(object, json!({ "invoice": of.id }))
    }
}

/// The object that joins a paid invoice and its payment intent, since Basil.
pub(crate) fn invoice_payment(of: &Invoice, id: &str, view: View) -> Value {
    let intent = of.payment.as_ref().map(|(intent, _)| intent);
    json!({
        "id": id,
        "object": "invoice_payment",
        "amount_paid": of.total,
        "amount_requested": of.total,
        "created": of.created,
        "currency": of.currency.code(),
        "invoice": of.id,
        "is_default": true,
        "livemode": view.livemode,
        "payment": { "type": "payment_intent", "payment_intent": intent },
        "status": "paid",
        "status_transitions": { "canceled_at": null, "paid_at": of.paid_at },
    })
}

pub(crate) fn credit_note(of: &CreditNote, invoice: &Invoice, view: View) -> Value {
    let refunded = of.refund.is_some();
    let object = json!({
        "id": of.id,
        "object": "credit_note",
        "amount": of.amount,
        "created": of.created,
        "currency": invoice.currency.code(),
        "customer": invoice.buyer.customer,
        "customer_balance_transaction": of.balance_transaction,
        "discount_amount": 0,
        "invoice": invoice.id,
        "lines": list(&[], &format!("/v1/credit_notes/{}/lines", of.id), view),
        "livemode": view.livemode,
        "memo": null,
        "metadata": {},
        "number": format!("{}-CN-01", invoice.number),
        "out_of_band_amount": null,
        "reason": "order_change",
        "status": "issued",
        "subtotal": of.amount,
        "total": of.amount,
        "type": "post_payment",
        "voided_at": null,
    });
    if view.version.is_before_basil() {
        with(object, json!({ "refund": of.refund }))
    } else {
        let of_refund = json!([{ "amount_refunded": of.amount, "refund": of.refund }]);
        with(object, json!({ "refunds": if refunded { of_refund } else { json!([]) } }))
    }
}

pub(crate) fn subscription(of: &Subscription, view: View) -> Value {
    let (start, end) = of.period;
    let object = json!({
        "id": of.id,
        "object": "subscription",
        "billing_cycle_anchor": of.anchor,
        "cancel_at": of.cancel_at,
        "cancel_at_period_end": of.cancel_at.is_some(),
        "canceled_at": of.canceled_at,
        "cancellation_details": {
            "comment": null,
            "feedback": of.canceled_at.filter(|_| !of.has_failed).map(|_| "too_expensive"),
            "reason": of.canceled_at.map(|_| if of.has_failed { "payment_failed" } else { "cancellation_requested" }),
        },
        "collection_method": "charge_automatically",
        "created": of.created,
        "currency": of.currency.code(),
        "customer": of.buyer.customer,
        "description": null,
        "discounts": [],
        "ended_at": of.ended_at,
        "items": list(&[item(of, view)], &format!("/v1/subscription_items?subscription={}", of.id), view),
        "latest_invoice": of.latest_invoice,
        "livemode": view.livemode,
        "metadata": {},
        "pause_collection": of.is_paused.then(|| json!({ "behavior": "void", "resumes_at": null })),
        "start_date": of.created,
        "status": of.status,
        "trial_end": of.trial.map(|(_, end)| end),
        "trial_start": of.trial.map(|(start, _)| start),
    });
    if view.version.is_before_basil() {
        with(object, json!({ "current_period_end": end, "current_period_start": start, "discount": null }))
    } else {
        object
    }
}

fn item(of: &Subscription, view: View) -> Value {
    let (start, end) = of.period;
    let object = json!({
        "id": format!("si_{}", of.id.trim_start_matches("sub_")),
        "object": "subscription_item",
        "created": of.created,
        "metadata": {},
        "price": price(of, view),
        "quantity": 1,
        "subscription": of.id,
    });
    if view.version.is_before_basil() {
        object
    } else {
        with(object, json!({ "current_period_end": end, "current_period_start": start }))
    }
}

/// The price of a subscription: each has one of its own.
pub(crate) fn price(of: &Subscription, view: View) -> Value {
    let (own, changes) = (of.id.trim_start_matches("sub_"), of.price_changes);
    json!({
        "id": if changes == 0 { format!("price_{own}") } else { format!("price_{own}{changes}") },
        "object": "price",
        "active": true,
        "billing_scheme": "per_unit",
        "created": of.created,
        "currency": of.currency.code(),
        "livemode": view.livemode,
        "metadata": {},
        "product": PRODUCT,
        "recurring": { "interval": "month", "interval_count": 1, "usage_type": "licensed" },
        "transform_quantity": null,
        "type": "recurring",
        "unit_amount": of.price,
        "unit_amount_decimal": of.price.to_string(),
    })
}

/// The only product.
const PRODUCT: &str = "prod_Sample";

pub(crate) fn product(created: i64, view: View) -> Value {
    json!({
        "id": PRODUCT,
        "object": "product",
        "active": true,
        "created": created,
        "default_price": null,
        "description": "Everything the shop has, every month.",
        "images": [],
        "livemode": view.livemode,
        "marketing_features": [],
        "metadata": {},
        "name": "Sample plan",
        "package_dimensions": null,
        "shippable": null,
        "statement_descriptor": null,
        "tax_code": null,
        "unit_label": null,
        "updated": created,
        "url": null,
    })
}
