//! A simulated shop for tests: a seed gives the Stripe events of a year, and the shop's own books.
//!
//! The shop sells, refunds, is disputed, bills subscriptions and is paid out. For each step the simulator
//! decides what happens, writes that into [`Books`], and emits the events that Stripe would send to a
//! webhook endpoint. The books come from the decisions, never from the events: a program that reads the
//! events can be compared with them. Naive sums over the events count most sales several times.
//!
//! Everything is computed in memory from the seed and the [`Options`]: no clock, no files, no network. The
//! same seed and options give the same simulation, as long as the version of `rand` stays the same.
//! This package knows nothing about the service that receives the events.
//!
//! ```
//! let simulation = shop_simulator::Shop::of(7).run();
//! let collected = simulation.books.lifetime();
//! assert!(collected.values().all(|minor| *minor > 0));
//! ```
//!
//! What a movement is, and its sign:
//!
//! | movement | collected | the event that carries it |
//! |---|---|---|
//! | a payment captured at once | + | `charge.succeeded` with `captured` |
//! | an authorisation captured | + | `charge.captured` |
//! | one of several captures | + | `charge.updated` with a changed `amount_captured` |
//! | a refund | − | `refund.created` |
//! | a refund that failed | + | `refund.failed` |
//! | a refund that was canceled | + | `refund.updated` with the transition to `canceled` |
//! | a bank payment that came back | − | `charge.failed` with a `failure_balance_transaction` |
//! | a dispute, without its fees | − | `charge.dispute.funds_withdrawn` |
//! | money back from a dispute, without fees | + | `charge.dispute.funds_reinstated` |
//!
//! The event is not in the books: a reader of the events must find the movements by itself. Dispute events
//! count without fees, and of their list of balance transactions only the newest. Everything else (payment
//! intents, checkout sessions, invoices, credit notes, payouts, top-ups, `charge.refunded`, updates that leave
//! the money alone) moves nothing.
//!
//! A [`Shop`] is simulated for whole months, for tests of sums. An [`Operation`] starts at any second and runs
//! on: it has a ledger too, so the balance transactions of its payments, refunds, disputes and payouts add up.
//!
//! Not simulated: Connect, thin events, adjustments and reserves, credit balances of customers, incremental
//! authorisations, the separate fee for countering a dispute, and delivery (events are in the order of
//! `created`, each exactly once; reorder and repeat them in the test).

mod billing;
mod books;
mod disputes;
mod invoices;
mod json;
mod ledger;
mod lives;
mod money;
mod operation;
mod options;
mod payments;
mod payouts;
mod random;
mod refunds;
mod sales;
mod sessions;
mod shop;
mod version;
mod world;

pub use books::{Books, Figure, Kind, Month, Movement, UnknownPart, Why};
pub use money::Currency;
pub use operation::{Happening, Operation, Pace};
pub use options::{Options, Undocumented};
pub use shop::{Shop, SimulatedEvent, Simulation};
pub use version::ApiVersion;
