//! How a stand-in is set up.

use crate::keys::ApiKey;
use crate::resources::READ_PERMISSIONS;
use crate::{ACCOUNT, RESTRICTED_KEY, SECRET_KEY};
use shop_simulator::Pace;

/// How a stand-in is set up.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// Decides what happens in the shop, and the chance of faults.
    pub seed: u64,
    /// Whether the shop is in live mode.
    pub livemode: bool,
    /// The shop's account.
    pub account: String,
    /// What every event carries as `context`, such as `acct_org/acct_shop`.
    pub context: Option<String>,
    /// The API keys that exist.
    pub keys: Vec<ApiKey>,
    /// The second at which the stand-in's clock starts, since 1970; `None` for this machine's time.
    pub now: Option<i64>,
    /// How many times as fast as this machine's clock it runs; 0 stops it.
    pub speed: f64,
    /// How many days the shop has been open when the clock starts.
    pub history_days: u32,
    /// How much the shop sells.
    pub size: ShopSize,
    /// Where all events are forwarded to, as `stripe listen` does.
    pub forward: Option<Forward>,
    /// The origin, such as `http://127.0.0.1:8000`, that replaces the one of each endpoint's URL when events
    /// are sent. Endpoints may then have URLs that lead nowhere.
    pub deliver_to: Option<String>,
    /// After how many seconds, by the stand-in's clock, a failed delivery is tried again; `None` for Stripe's
    /// own schedule, which is three days long in live mode.
    pub retry_after_seconds: Option<Vec<u32>>,
    /// The API version of the account.
    pub api_version: String,
    /// The list of a payout's balance transactions has the payout's own too.
    pub payout_lists_itself: bool,
    /// The largest number of events that it holds; the oldest go.
    pub events_max: usize,
    /// The largest number of objects that it holds: then the shop sells nothing more.
    pub objects_max: usize,
}

/// Where events are forwarded to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// The address, on this machine.
    pub url: String,
    /// The secret that signs them.
    pub secret: String,
    /// Whether thin events are sent instead of snapshots.
    pub thin: bool,
}

/// How much a shop sells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShopSize {
    /// Nothing: there is no shop.
    Empty,
    /// About a dozen sales a day.
    Quiet,
    /// A sale every 20 seconds, to watch.
    Lively,
    /// A sale every 6 seconds.
    Busy,
    /// As given.
    Of(Pace),
}

impl ShopSize {
    /// The pace of the shop, if there is one.
    pub fn pace(self) -> Option<Pace> {
        const HOUR: u32 = 3600;
        match self {
            Self::Empty => None,
            Self::Quiet => {
                Some(Pace { seconds_between_sales: 2 * HOUR, seconds_between_subscriptions: 40 * HOUR })
            }
            Self::Lively => Some(Pace { seconds_between_sales: 20, seconds_between_subscriptions: HOUR / 4 }),
            Self::Busy => Some(Pace { seconds_between_sales: 6, seconds_between_subscriptions: HOUR }),
            Self::Of(pace) => Some(pace),
        }
    }

    /// The pace of the time before the clock starts: a lively or busy shop was calmer then, or its past alone
    /// would fill the memory.
    pub fn past_pace(self) -> Option<Pace> {
        match self {
            Self::Lively => Self::Quiet.pace(),
            Self::Busy => {
                Some(Pace { seconds_between_sales: 1_200, seconds_between_subscriptions: 8 * 3600 })
            }
            other => other.pace(),
        }
    }
}

impl Default for SandboxOptions {
    /// A quiet shop in test mode that has been open for 35 days, with one secret and one restricted key.
    fn default() -> Self {
        Self {
            seed: 0,
            livemode: false,
            account: ACCOUNT.to_owned(),
            context: None,
            keys: vec![ApiKey::secret(SECRET_KEY), ApiKey::restricted(RESTRICTED_KEY, READ_PERMISSIONS)],
            now: None,
            speed: 1.0,
            history_days: 35,
            size: ShopSize::Quiet,
            forward: None,
            deliver_to: None,
            retry_after_seconds: None,
            api_version: crate::API_VERSION.to_owned(),
            payout_lists_itself: false,
            events_max: 20_000,
            objects_max: 40_000,
        }
    }
}

impl SandboxOptions {
    /// A stand-in without a shop.
    pub fn empty() -> Self {
        Self { size: ShopSize::Empty, ..Self::default() }
    }
}
