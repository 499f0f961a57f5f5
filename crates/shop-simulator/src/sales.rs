//! One-off sales: how each is paid, and what follows.

use crate::disputes;
use crate::invoices::Invoice;
use crate::money::Currency;
use crate::payments::{Buyer, Capture, Method, Payment, Terms};
use crate::random::Deck;
use crate::refunds;
use crate::sessions::Session;
use crate::world::{DAY, HOUR, World};

/// How a sale goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sale {
    /// A card, captured at once.
    AtOnce,
    /// The same on a checkout page.
    Checkout,
    Declined,
    DeclinedThenPaid,
    /// Authorised, then captured whole.
    Captured,
    PartlyCaptured,
    /// Captured in several parts that make the whole.
    CapturedInParts,
    /// Captured in several parts that leave a rest.
    CapturedInPartsWithRest,
    Expired,
    Released,
    Debit,
    /// On a checkout page.
    CheckoutDebit,
    DebitReturned,
    DebitFailed,
    /// An invoice sent to the customer and paid by card.
    Invoice,
    InvoicePaidOutside,
    /// A checkout page that the customer left.
    Abandoned,
}

/// What follows a successful sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Nothing,
    /// The shop edits the charge.
    Edit,
    PartialRefund,
    FullRefund,
    TwoRefunds,
    RefundFails,
    RefundIsCanceled,
    /// A refund fails, and another one succeeds.
    RefundFailsThenSucceeds,
    Dispute(disputes::Course),
    /// The customer disputes what a refund left.
    RefundThenDispute,
}

pub(crate) fn deck() -> Deck<Sale> {
    let others = [
        (Sale::Checkout, 5),
        (Sale::Declined, 2),
        (Sale::DeclinedThenPaid, 2),
        (Sale::Captured, 3),
        (Sale::PartlyCaptured, 3),
        (Sale::CapturedInParts, 2),
        (Sale::CapturedInPartsWithRest, 2),
        (Sale::Expired, 2),
        (Sale::Released, 2),
        (Sale::Debit, 2),
        (Sale::CheckoutDebit, 1),
        (Sale::DebitReturned, 2),
        (Sale::DebitFailed, 2),
        (Sale::Invoice, 2),
        (Sale::InvoicePaidOutside, 1),
        (Sale::Abandoned, 1),
    ];
    Deck::new((Sale::AtOnce, 6), &others)
}

pub(crate) fn after_deck() -> Deck<After> {
    let others = [
        (After::Edit, 1),
        (After::PartialRefund, 2),
        (After::FullRefund, 1),
        (After::TwoRefunds, 1),
        (After::RefundFails, 1),
        (After::RefundIsCanceled, 1),
        (After::RefundFailsThenSucceeds, 1),
        (After::RefundThenDispute, 1),
        (After::Dispute(disputes::Course::Lost), 1),
        (After::Dispute(disputes::Course::Won), 1),
        (After::Dispute(disputes::Course::PartlyWon), 1),
        (After::Dispute(disputes::Course::PartlyWonElsewhere), 1),
        (After::Dispute(disputes::Course::WonThenLost), 1),
        (After::Dispute(disputes::Course::LostThenWon), 1),
        (After::Dispute(disputes::Course::Inquiry), 1),
        (After::Dispute(disputes::Course::InquiryThenLost), 1),
        (After::Dispute(disputes::Course::Prevented), 1),
    ];
    Deck::new((After::Nothing, 7), &others)
}

/// The customers who come back, and the cards from which sales are dealt.
pub(crate) struct Trade {
    regulars: Vec<Buyer>,
    sales: Deck<Sale>,
    currencies: Deck<Currency>,
    after: Deck<After>,
}

impl Trade {
    pub(crate) fn new() -> Self {
        Self { regulars: Vec::new(), sales: deck(), currencies: currencies(), after: after_deck() }
    }

    /// One sale, begun at that time, with all that follows.
    pub(crate) fn sell(&mut self, world: &mut World, at: i64) {
        let sale = self.sales.draw(&mut world.random);
        let mut currency = self.currencies.draw(&mut world.random);
        if matches!(sale, Sale::Debit | Sale::CheckoutDebit | Sale::DebitReturned | Sale::DebitFailed) {
            // The debits here are of US bank accounts.
            currency = Currency::Usd;
        }
        let (euros, cents) = (world.random.between(4, 400), world.random.between(0, 99));
        let amount = currency.price(euros, cents);
        let buyer = self.buyer(world, at);
        if let Some(mut payment) = run(world, at, sale, currency, amount, buyer) {
            let after = self.after.draw(&mut world.random);
            follow(world, &mut payment, after);
        }
    }

    /// A guest, a new customer, or one who has bought before.
    fn buyer(&mut self, world: &mut World, at: i64) -> Buyer {
        if world.random.percent(20) {
            return Buyer::guest(world, at);
        }
        // The more have bought before, the likelier it is one of them.
        let known: Vec<_> = self.regulars.iter().filter(|regular| regular.created < at).collect();
        let index = world.random.between(0, 40);
        if let Some(regular) = usize::try_from(index).ok().and_then(|index| known.get(index)) {
            return (*regular).clone();
        }
        let buyer = Buyer::customer(world, at);
        self.regulars.push(buyer.clone());
        buyer
    }
}

/// The currencies of sales, dealt so that each occurs.
pub(crate) fn currencies() -> Deck<Currency> {
    let others = [(Currency::Usd, 3), (Currency::Gbp, 1), (Currency::Jpy, 2), (Currency::Kwd, 2)];
    Deck::new((Currency::Eur, 4), &others)
}

/// The payment of a sale, if it left the shop with money that something may follow on.
fn run(
    world: &mut World,
    at: i64,
    sale: Sale,
    currency: Currency,
    amount: i64,
    buyer: Buyer,
) -> Option<Payment> {
    match sale {
        Sale::Abandoned => {
            Session::open(world, at, currency, amount, buyer).abandon(world);
            return None;
        }
        Sale::Invoice | Sale::InvoicePaidOutside => {
            return send_invoice(world, at, currency, amount, sale == Sale::InvoicePaidOutside);
        }
        _ => {}
    }
    let terms = Terms {
        currency,
        amount,
        buyer,
        method: if is_debit(sale) { Method::Debit } else { Method::Card },
        manual: is_manual(sale),
        invoice: None,
        description: "Sample order".to_owned(),
    };
    let mut payment = Payment::open(world, at, terms);
    if is_debit(sale) {
        debit(world, &mut payment, sale)
    } else if is_manual(sale) {
        authorize(world, &mut payment, sale)
    } else {
        pay_by_card(world, &mut payment, sale)
    }
    .then_some(payment)
}

fn is_debit(sale: Sale) -> bool {
    matches!(sale, Sale::Debit | Sale::CheckoutDebit | Sale::DebitReturned | Sale::DebitFailed)
}

fn is_manual(sale: Sale) -> bool {
    matches!(
        sale,
        Sale::Captured
            | Sale::PartlyCaptured
            | Sale::CapturedInParts
            | Sale::CapturedInPartsWithRest
            | Sale::Expired
            | Sale::Released
    )
}

/// Whether the shop has money afterwards.
fn pay_by_card(world: &mut World, payment: &mut Payment, sale: Sale) -> bool {
    if matches!(sale, Sale::Declined | Sale::DeclinedThenPaid) {
        payment.decline(world);
        if sale == Sale::Declined {
            return false;
        }
        payment.wait(world, 30, HOUR);
    }
    payment.pay(world);
    if sale == Sale::Checkout {
        let session = Session::of_payment(world, payment, "paid");
        session.emit(world, payment.now, "checkout.session.completed");
    }
    payment.receive_balance_transaction(world);
    true
}

/// Whether the shop has money afterwards.
fn authorize(world: &mut World, payment: &mut Payment, sale: Sale) -> bool {
    payment.authorize(world);
    match sale {
        Sale::Expired => {
            payment.now += 7 * DAY;
            payment.release(world, true);
            return false;
        }
        Sale::Released => {
            payment.wait(world, HOUR, 6 * DAY);
            payment.release(world, false);
            return false;
        }
        _ => payment.wait(world, HOUR, 3 * DAY),
    }
    let (whole, currency) = (payment.terms.amount, payment.terms.currency);
    match sale {
        Sale::PartlyCaptured => {
            let percent = world.random.between(30, 90);
            payment.capture(world, currency.part(whole, percent), Capture::Only);
        }
        Sale::CapturedInParts | Sale::CapturedInPartsWithRest => {
            capture_in_parts(world, payment, sale == Sale::CapturedInPartsWithRest);
        }
        _ => payment.capture(world, whole, Capture::Only),
    }
    true
}

fn capture_in_parts(world: &mut World, payment: &mut Payment, leaves_rest: bool) {
    let (whole, currency) = (payment.terms.amount, payment.terms.currency);
    for number in 0..world.random.between(1, 3) {
        payment.capture(world, currency.part(whole, 20), Capture::More);
        if leaves_rest && number == 0 {
            // The customer sends something back before the rest is shipped.
            let part = currency.part(payment.remaining(), 30);
            refunds::run(world, payment, part, refunds::Course::Succeeds);
        }
        payment.wait(world, HOUR, 20 * HOUR);
    }
    let rest = whole - payment.captured;
    let last = if leaves_rest { currency.part(rest, 50) } else { rest };
    payment.capture(world, last, Capture::Last);
}

/// Whether the shop has money afterwards.
fn debit(world: &mut World, payment: &mut Payment, sale: Sale) -> bool {
    payment.submit_debit(world);
    let session = (sale == Sale::CheckoutDebit).then(|| Session::of_payment(world, payment, "unpaid"));
    if let Some(session) = &session {
        session.emit(world, payment.now, "checkout.session.completed");
    }
    payment.wait(world, 2 * DAY, 5 * DAY);
    if sale == Sale::DebitFailed {
        payment.fail_debit(world);
        return false;
    }
    payment.settle_debit(world);
    if let Some(session) = session {
        let paid = Session { payment_status: "paid", ..session };
        paid.emit(world, payment.now, "checkout.session.async_payment_succeeded");
    }
    if sale == Sale::DebitReturned {
        payment.wait(world, 2 * DAY, 40 * DAY);
        payment.return_debit(world);
        return false;
    }
    true
}

/// An invoice sent to a new customer, and its payment if Stripe saw one.
fn send_invoice(
    world: &mut World,
    at: i64,
    currency: Currency,
    amount: i64,
    paid_outside: bool,
) -> Option<Payment> {
    let buyer = Buyer::customer(world, at);
    let draft = Invoice::draft(world, at, currency, amount, buyer);
    let mut invoice = Invoice { due: Some(at + 30 * DAY), ..draft };
    invoice.issue(world, at + 5);
    let paid_at = at + world.random.between(HOUR, 20 * DAY);
    if paid_outside {
        invoice.pay_outside(world, paid_at);
        None
    } else {
        Some(invoice.collect(world, paid_at, false))
    }
}

/// What follows a payment that succeeded.
pub(crate) fn follow(world: &mut World, payment: &mut Payment, after: After) {
    use refunds::Course::{Fails, IsCanceled, Succeeds};
    let (all, currency) = (payment.remaining(), payment.terms.currency);
    let percent = world.random.between(10, 60);
    let part = currency.part(all, percent);
    match after {
        After::Nothing => {}
        After::Edit => payment.edit(world),
        After::PartialRefund => refunds::run(world, payment, part, Succeeds),
        After::FullRefund => refunds::run(world, payment, all, Succeeds),
        After::TwoRefunds => {
            refunds::run(world, payment, part, Succeeds);
            refunds::run(world, payment, all - part, Succeeds);
        }
        After::RefundFails => refunds::run(world, payment, all, Fails),
        After::RefundIsCanceled => refunds::run(world, payment, part, IsCanceled),
        After::RefundFailsThenSucceeds => {
            refunds::run(world, payment, part, Fails);
            refunds::run(world, payment, part, Succeeds);
        }
        After::Dispute(course) => disputes::run(world, payment, course),
        After::RefundThenDispute => {
            refunds::run(world, payment, part, Succeeds);
            disputes::run(world, payment, disputes::Course::Lost);
        }
    }
}
