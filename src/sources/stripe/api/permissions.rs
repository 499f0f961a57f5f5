//! What the API keys may do: which permissions each has, which it lacks, and what for.
//!
//! Stripe lists no permissions of a key, so a list of each kind of object is asked for one object. What is unknown,
//! because Stripe does not answer, is called unknown; a permission that is missing makes nothing else wrong.

use super::{Account, Api, ApiError, ErrorClass, KeyMode, NamedKey};
use crate::domain::finding::Finding;
use crate::sources::{AccessCheck, AccessReport};
use async_trait::async_trait;
use futures_util::future::join_all;
use serde::Deserialize;

/// A permission to read.
#[derive(Debug, Clone, Copy)]
struct Permission {
    /// Its name in the form in which a key is created.
    title: &'static str,
    /// Stripe's own name.
    name: &'static str,
    /// A list that only needs this permission.
    list: &'static str,
}

const EVENTS: Permission = Permission { title: "Events", name: "rak_event_read", list: "/v1/events" };

/// The kinds of objects that thin events are about.
const OBJECTS: &[Permission] = &[
    Permission { title: "Charges and Refunds", name: "rak_charge_read", list: "/v1/charges" },
    Permission {
        title: "Checkout Sessions",
        name: "rak_checkout_session_read",
        list: "/v1/checkout/sessions",
    },
    Permission { title: "Credit notes", name: "rak_credit_note_read", list: "/v1/credit_notes" },
    Permission { title: "Customers", name: "rak_customer_read", list: "/v1/customers" },
    Permission { title: "Disputes", name: "rak_dispute_read", list: "/v1/disputes" },
    Permission { title: "Invoices", name: "rak_invoice_read", list: "/v1/invoices" },
    Permission { title: "PaymentIntents", name: "rak_payment_intent_read", list: "/v1/payment_intents" },
    Permission { title: "Payouts", name: "rak_payout_read", list: "/v1/payouts" },
    Permission { title: "Prices", name: "rak_plan_read", list: "/v1/prices" },
    Permission { title: "Products", name: "rak_product_read", list: "/v1/products" },
    Permission { title: "SetupIntents", name: "rak_setup_intent_read", list: "/v1/setup_intents" },
    Permission { title: "Subscriptions", name: "rak_subscription_read", list: "/v1/subscriptions" },
];

/// Stripe's names of the permissions that the service uses, all to read: for the account, the endpoint, events and
/// the objects.
pub fn read_permissions() -> impl Iterator<Item = &'static str> {
    let of_lists = std::iter::once(&EVENTS).chain(OBJECTS).map(|permission| permission.name);
    ["rak_accounts_kyc_basic_read", "rak_webhook_read"].into_iter().chain(of_lists)
}

/// Whether a key has a permission.
enum Held {
    Yes,
    No,
    Unknown(String),
}

/// A key's own account.
#[derive(Debug, Clone, Deserialize)]
pub struct KeyAccount {
    /// Its id.
    pub id: String,
    #[serde(default)]
    business_profile: Option<BusinessProfile>,
}

#[derive(Debug, Clone, Deserialize)]
struct BusinessProfile {
    #[serde(default)]
    name: Option<String>,
}

impl KeyAccount {
    /// Its id, and its name if it has one.
    pub fn title(&self) -> String {
        match self.business_profile.as_ref().and_then(|profile| profile.name.as_deref()) {
            Some(name) if !name.is_empty() => format!("{} ({name})", self.id),
            _ => self.id.clone(),
        }
    }
}

/// Checks the keys of an instance.
pub struct KeyCheck {
    api: Api,
    /// The account that the settings name.
    account: Option<String>,
    account_setting: String,
    /// The setting by which events are fetched, if it is on.
    pull_setting: Option<String>,
}

impl KeyCheck {
    /// A check of these keys. `account` is what the setting of this name contains; `pull_setting` names the setting by
    /// which events are fetched, if it is on.
    pub fn new(
        api: &Api,
        account: Option<String>,
        account_setting: String,
        pull_setting: Option<String>,
    ) -> Self {
        Self { api: api.clone(), account, account_setting, pull_setting }
    }

    async fn of_key(&self, key: &NamedKey) -> Vec<Finding> {
        let name = &key.name;
        let owner = match self.api.account(key).await {
            Ok(owner) => owner,
            Err(error) if error.class == ErrorClass::KeyInvalid => {
                return vec![Finding::problem(error.message, error.remedy)];
            }
            Err(error) => {
                let unknown = format!("what the API key {name:?} may do is unknown: {}", error.message);
                return vec![Finding::warning(unknown, error.remedy)];
            }
        };
        let permissions: Vec<_> = std::iter::once(&EVENTS).chain(OBJECTS).collect();
        let held = join_all(permissions.iter().map(|one| self.holds(key, one))).await;
        let (mut may, mut lacks, mut findings) = (Vec::new(), Vec::new(), vec![self.owner(key, owner)]);
        for (permission, held) in permissions.iter().zip(held) {
            match held {
                Held::Yes => may.push(permission.title),
                Held::No if permission.name == EVENTS.name => findings.push(self.without_events(name)),
                Held::No => lacks.push(format!("{} ({})", permission.title, permission.name)),
                Held::Unknown(why) => findings.push(Finding::note(format!(
                    "whether the API key {name:?} may read {} is unknown: {why}",
                    permission.title
                ))),
            }
        }
        if !may.is_empty() {
            findings.push(Finding::good(format!("the API key {name:?} may read {}", may.join(", "))));
        }
        if !lacks.is_empty() {
            let what = format!("the API key {name:?} may not read {}", lacks.join(", "));
            findings.push(Finding::note(what).with_remedy(
                "nothing, unless you subscribe to thin events about these objects: their pages then lack what only the \
                 object has. Permissions are added at https://dashboard.stripe.com/apikeys",
            ));
        }
        findings
    }

    fn owner(&self, key: &NamedKey, owner: Option<KeyAccount>) -> Finding {
        let (name, mode, setting) = (&key.name, key.mode, &self.account_setting);
        match (owner, &self.account) {
            (Some(account), Some(named)) if account.id != *named => Finding::problem(
                format!("the API key {name:?} belongs to {}, and {setting} names {named}", account.title()),
                format!(
                    "set a key of the account whose events arrive here, or correct {setting}: otherwise objects are \
                     not found, or belong to another account"
                ),
            ),
            (Some(account), _) => Finding::good(format!(
                "the API key {name:?} reads the {mode} of the account {}",
                account.title()
            )),
            (None, _) => Finding::note(format!(
                "the API key {name:?} may not read which account it belongs to, so that is unknown"
            )),
        }
    }

    fn without_events(&self, name: &str) -> Finding {
        let what = format!("the API key {name:?} may not read Events ({})", EVENTS.name);
        let remedy = "add the permission Events: Read at https://dashboard.stripe.com/apikeys";
        match &self.pull_setting {
            Some(setting) => Finding::problem(format!("{what}, so {setting} fetches nothing"), remedy),
            None => Finding::note(format!("{what}; only fetching events with …_PULL=on needs it"))
                .with_remedy(remedy),
        }
    }

    async fn holds(&self, key: &NamedKey, permission: &Permission) -> Held {
        let list = format!("{}?limit=1", permission.list);
        match self.api.client.get(&Account::of(key), &list).await {
            Ok(_) => Held::Yes,
            Err(error) => match error.class {
                ErrorClass::Refused { .. } => Held::No,
                _ => Held::Unknown(error.message),
            },
        }
    }

    /// What several keys mean together.
    fn together(&self) -> Option<Finding> {
        let has = |mode| self.api.keys.iter().any(|key| key.mode == mode);
        (has(KeyMode::Live) && has(KeyMode::Test)).then(|| {
            let setting = self.api.keys.setting();
            let finding = Finding::note(format!("{setting} has keys of live mode and of test mode"));
            match &self.pull_setting {
                Some(_) => finding.with_remedy(
                    "nothing, if you want the events of both here; …_LIVEMODE=live of a destination keeps test events \
                     out of it",
                ),
                None => finding,
            }
        })
    }
}

#[async_trait]
impl AccessCheck for KeyCheck {
    async fn check(&self) -> AccessReport {
        let keys: Vec<_> = self.api.keys.iter().collect();
        let of_keys = join_all(keys.into_iter().map(|key| self.of_key(key))).await;
        let findings = of_keys.into_iter().flatten().chain(self.together()).collect();
        AccessReport { findings, clock: self.api.client.clock() }
    }
}

impl Api {
    /// The account of a key; `None` if the key may not read it, which is no fault.
    pub async fn account(&self, key: &NamedKey) -> Result<Option<KeyAccount>, ApiError> {
        match self.client.get(&Account::of(key), "/v1/account").await {
            Ok(answer) => answer.json().map(Some),
            Err(error) if matches!(error.class, ErrorClass::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
