//! `doctor` about Stripe's API: which keys there are, what each may do, and what is missing and what for.

use crate::harness::{Database, STRIPE_KEY, StripeApi, eventbridge, output, text};
use secrecy::ExposeSecret;
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};
use stripe_sandbox::{READ_PERMISSIONS, RESTRICTED_KEY, Sandbox, SandboxOptions};
use tempfile::TempDir;

const SECRET: &str = "whsec_0123456789abcdefghijklmnopqrstuv";

/// The findings of `doctor` about Stripe and about clocks.
struct Findings(Vec<Value>);

impl Findings {
    async fn of(stripe: &StripeApi, settings: &[(&str, &str)]) -> Self {
        let (folder, database) = (TempDir::new().unwrap(), Database::new().await);
        let mut doctor = eventbridge(folder.path());
        doctor.args(["doctor", "--json"]).envs([
            ("STRIPE_WEBHOOK_SECRET", SECRET),
            ("STRIPE_API_URL", &stripe.url),
            ("DESTINATIONS", ""),
            ("AUTH", "off"),
            ("LISTEN_ADDR", "127.0.0.1:8000"),
            ("DATABASE_URL", database.url().expose_secret()),
        ]);
        doctor.envs(settings.iter().copied());
        let done = output(&mut doctor).await;
        let printed = text(&done.stdout);
        assert!(!printed.contains("ofTheTests") && !printed.contains("ofAnother"), "{printed}");
        let report: Value = serde_json::from_str(&printed).unwrap();
        let sections = report["sections"].as_array().unwrap().iter();
        let wanted = sections.filter(|section| section["name"] == "Stripe" || section["name"] == "Clocks");
        Self(wanted.flat_map(|section| section["findings"].as_array().unwrap().clone()).collect())
    }

    /// The level and the remedy of the only finding with this text.
    fn about(&self, what: &str) -> (&str, &str) {
        let has = |finding: &&Value| finding["what"].as_str().unwrap().contains(what);
        let found: Vec<_> = self.0.iter().filter(has).collect();
        let [finding] = found.as_slice() else { panic!("{what:?} in {:#?}", self.0) };
        (finding["level"].as_str().unwrap(), finding["remedy"].as_str().unwrap_or_default())
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

#[tokio::test]
async fn a_key_with_every_permission_is_good_and_its_account_is_named() {
    let stripe = StripeApi::start().await;
    stripe.set_now(now());
    let found =
        Findings::of(&stripe, &[("STRIPE_API_KEY", STRIPE_KEY), ("STRIPE_ACCOUNT", "acct_1Tests")]).await;
    assert_eq!(found.about("is a restricted key of test mode").0, "good");
    assert_eq!(found.about("reads the test mode of the account acct_1Tests (Tea & Co)").0, "good");
    assert_eq!(found.about("may read Events, Charges and Refunds, Checkout Sessions").0, "good");
    assert_eq!(found.about("the clock of Stripe and this machine's clock agree").0, "good");
    assert!(stripe.log().iter().all(|line| line == "/v1/account?" || line.ends_with("?limit=1")), "harmless");
}

#[tokio::test]
async fn the_stand_in_for_stripe_names_what_its_restricted_key_lacks() {
    let options = SandboxOptions { history_days: 1, ..SandboxOptions::default() };
    let shop = Sandbox::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
    let lacks = ["rak_event_read", "rak_accounts_kyc_basic_read"];
    let most: Vec<_> = READ_PERMISSIONS.iter().filter(|name| !lacks.contains(name)).collect();
    shop.handle().set_permissions(RESTRICTED_KEY, &most);
    let stripe = StripeApi::start().await;
    let settings = [("STRIPE_API_KEY", RESTRICTED_KEY), ("STRIPE_API_URL", shop.base_url())];
    let found = Findings::of(&stripe, &settings).await;
    assert_eq!(found.about("may read Charges and Refunds, Checkout Sessions, Credit notes").0, "good");
    assert_eq!(found.about("may not read Events (rak_event_read)").0, "note");
    assert_eq!(found.about("may not read which account it belongs to").0, "note");
    assert_eq!(found.about("may not read SetupIntents (rak_setup_intent_read)").0, "note");
    shop.shutdown().await;
}

#[tokio::test]
async fn missing_permissions_are_named_with_their_use_and_are_no_error_of_the_rest() {
    let stripe = StripeApi::start().await;
    stripe.set_now(now());
    stripe.set_permissions(STRIPE_KEY, Some(&["rak_invoice_read", "rak_charge_read"]));
    let without_pull = [("STRIPE_API_KEY", STRIPE_KEY)];
    let found = Findings::of(&stripe, &without_pull).await;
    assert_eq!(found.about("may not read which account it belongs to").0, "note");
    assert_eq!(found.about("may read Charges and Refunds, Invoices").0, "good");
    let (level, remedy) = found.about("Customers (rak_customer_read)");
    assert!(level == "note" && remedy.contains("thin events"), "{remedy}");
    assert_eq!(found.about("may not read Events (rak_event_read)").0, "note", "nothing needs it");
    assert!(found.0.iter().all(|finding| finding["level"] != "problem"), "{:#?}", found.0);

    let found = Findings::of(&stripe, &[without_pull[0], ("STRIPE_PULL", "on")]).await;
    let (level, remedy) = found.about("so STRIPE_PULL fetches nothing");
    assert!(level == "problem" && remedy.contains("Events: Read"), "{remedy}");
    assert_eq!(found.about("may read Charges and Refunds, Invoices").0, "good");
}

#[tokio::test]
async fn a_revoked_key_another_account_and_mixed_modes_are_named() {
    let stripe = StripeApi::start().await;
    stripe.set_now(now());
    let keys = format!("test={STRIPE_KEY},live=rk_live_ofAnother");
    let settings =
        [("STRIPE_API_KEY", keys.as_str()), ("STRIPE_ACCOUNT", "acct_1Other"), ("STRIPE_PULL", "on")];
    let found = Findings::of(&stripe, &settings).await;
    let (level, remedy) = found.about("Stripe does not accept the API key \"live\" of STRIPE_API_KEY");
    assert!(level == "problem" && remedy.contains("create a restricted key"), "{remedy}");
    let (level, _) =
        found.about("\"test\" belongs to acct_1Tests (Tea & Co), and STRIPE_ACCOUNT names acct_1Other");
    assert_eq!(level, "problem");
    let (level, remedy) = found.about("STRIPE_API_KEY has keys of live mode and of test mode");
    assert!(level == "note" && remedy.contains("_LIVEMODE=live"), "{remedy}");
}

#[tokio::test]
async fn a_secret_key_a_wrong_clock_and_an_unreachable_stripe_are_named() {
    let stripe = StripeApi::start().await;
    stripe.set_permissions("sk_test_ofAnother", Some(&["*"]));
    stripe.set_now(now() + 900);
    let found = Findings::of(&stripe, &[("STRIPE_API_KEY", "sk_test_ofAnother")]).await;
    let (level, remedy) = found.about("is a secret key of test mode");
    assert!(level == "warning" && remedy.contains("rk_"), "{remedy}");
    assert_eq!(found.about("s ahead of this machine's").0, "problem");

    let nowhere = ("STRIPE_API_URL", "http://127.0.0.1:1");
    let found = Findings::of(&stripe, &[("STRIPE_API_KEY", STRIPE_KEY), nowhere]).await;
    let (level, _) = found.about("may do is unknown: Stripe cannot be reached");
    assert_eq!(level, "warning");
}
