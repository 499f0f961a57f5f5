//! Unusual signature headers: how Stripe's libraries and this service treat each.

use super::libraries::{Library, Received};
use super::tools::Tools;
use crate::harness::{NOW, SECRET, Service, signed};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

const BODY: &str = r#"{"id":"evt_1","object":"event","type":"invoice.paid"}"#;

/// Whether a header is accepted here, in Node and in Python.
struct Case {
    header: String,
    here: bool,
    node: bool,
    python: bool,
}

fn alike(header: String, passes: bool) -> Case {
    Case { header, here: passes, node: passes, python: passes }
}

fn cases(now: &str, digest: &str) -> Vec<Case> {
    let wrong = "0".repeat(64);
    let many_wrong = format!(",v1={wrong}").repeat(16);
    vec![
        alike(format!("t={now},v1={digest}"), true),
        alike(format!("v1={digest},t={now}"), true),
        alike(format!("t={now},v1={wrong},v1={digest}"), true),
        alike(format!("t={now},v1=nonsense,v1={digest}"), true),
        alike(format!("t={now},v0={wrong},v1={digest}"), true),
        alike(format!("x=y,t={now},v2={wrong},v1={digest},"), true),
        alike(format!("t={now},v1={wrong}"), false),
        alike(format!("t={now},v0={digest}"), false),
        alike(format!("t={now},v1={}", digest.to_uppercase()), false),
        alike(format!("t={now},v1={digest}00"), false),
        alike(format!("t={now},v1= {digest}"), false),
        alike(format!("t={now};v1={digest}"), false),
        alike(format!("T={now},V1={digest}"), false),
        alike(format!("t={now}"), false),
        alike(format!("v1={digest}"), false),
        alike(format!("t=,v1={digest}"), false),
        alike(format!("t=soon,v1={digest}"), false),
        alike(format!("t=-{now},v1={digest}"), false),
        alike("nonsense".to_owned(), false),
        // Stripe's library for Ruby accepts a blank after a comma, and so does this service.
        Case { header: format!("t={now}, v1={digest}"), here: true, node: false, python: false },
        // Given two times, the libraries use one each; Stripe sends one.
        Case { header: format!("t=1,v1={digest},t={now}"), here: true, node: true, python: false },
        Case { header: format!("t={now},v1={digest},t=1"), here: false, node: false, python: true },
        Case { header: format!("t={now},v1=,v1={digest}"), here: true, node: false, python: true },
        // A time that is not a plain number, which Stripe never sends, is rejected here.
        Case { header: format!("t= {now},v1={digest}"), here: false, node: true, python: true },
        Case { header: format!("t=+{now},v1={digest}"), here: false, node: true, python: true },
        Case { header: format!("t=0{now},v1={digest}"), here: false, node: true, python: true },
        Case { header: format!("t={now}s,v1={digest}"), here: false, node: true, python: false },
        // So are a signature with trailing text, and one after sixteen others.
        Case { header: format!("t={now},v1={digest}=0"), here: false, node: true, python: true },
        Case { header: format!("t={now}{many_wrong},v1={digest}"), here: false, node: true, python: true },
    ]
}

#[tokio::test]
async fn unusual_headers_are_treated_as_by_stripes_libraries_or_more_strictly() {
    let Some(tools) = Tools::of_this_machine() else { return };
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let now = NOW.to_string();
    let header = Library::Node.sign(&tools, &[BODY], SECRET, NOW).await.remove(0);
    let digest = header.strip_prefix(&format!("t={now},v1=")).unwrap();
    let cases = cases(&now, digest);
    let received: Vec<_> = cases.iter().map(|case| received(&case.header)).collect();
    let node = Library::Node.verify(&tools, &received).await;
    let python = Library::Python.verify(&tools, &received).await;
    for ((case, node), python) in cases.iter().zip(node).zip(python) {
        let found = (passes(&service, &case.header).await, node["id"] == "evt_1", python["id"] == "evt_1");
        assert_eq!(found, (case.here, case.node, case.python), "{}", case.header);
    }
}

#[tokio::test]
async fn the_time_tolerance_equals_that_of_stripes_libraries_in_both_directions() {
    let Some(tools) = Tools::of_this_machine() else { return };
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    for (time, here, in_the_libraries) in [
        (NOW - 301, false, false),
        (NOW - 300, true, true),
        (NOW + 300, true, true),
        (NOW + 301, false, true),
    ] {
        for library in Library::ALL {
            let header = library.sign(&tools, &[BODY], SECRET, time).await.remove(0);
            let verified = library.verify(&tools, &[received(&header)]).await.remove(0);
            let found = (passes(&service, &header).await, verified["id"] == "evt_1");
            assert_eq!(found, (here, in_the_libraries), "{library:?}: {}", time - NOW);
        }
    }
}

/// Headers built of good parts and bad ones. None has a `t` or `v1` with an empty value: this service
/// skips it, and Node rejects the whole header. None has a blank after a comma, which only Ruby's library
/// accepts too.
fn headers(digest: &str) -> impl Strategy<Value = String> {
    let good = format!("v1={digest}");
    let time = prop_oneof![6 => Just(NOW), 1 => Just(NOW - 300), 1 => Just(NOW - 301), 1 => Just(1)];
    let part = prop_oneof![
        4 => time.prop_map(|time| format!("t={time}")),
        4 => Just(good),
        1 => "[0-9a-f]{64}".prop_map(|wrong| format!("v1={wrong}")),
        1 => "(t|v0|v1|v2|T|x)=[0-9a-fA-F +-]{1,12}",
        1 => select(vec!["", "=", "x", "t=="]).prop_map(str::to_owned),
    ];
    (prop::collection::vec(part, 0..6), select(vec![",", ",", ",", ";"]))
        .prop_map(|(parts, between)| parts.join(between))
}

#[tokio::test]
async fn a_header_accepted_here_is_accepted_by_stripes_node_library() {
    let Some(tools) = Tools::of_this_machine() else { return };
    let service = Service::builder().set("DESTINATIONS", "").start().await;
    let signed = Library::Node.sign(&tools, &[BODY], SECRET, NOW).await.remove(0);
    let digest = signed.split_once("v1=").unwrap().1;
    let config = Config::default();
    let count = config.cases;
    let mut runner = TestRunner::new(config);
    let strategy = headers(digest);
    let headers: Vec<_> = (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    let received: Vec<_> = headers.iter().map(|header| received(header)).collect();
    let mut passed = 0;
    for (header, verified) in headers.iter().zip(Library::Node.verify(&tools, &received).await) {
        if passes(&service, header).await {
            assert_eq!(verified["id"], "evt_1", "{header}: {verified}");
            passed += 1;
        }
    }
    assert!(passed > 5 && passed < count, "{passed} of {count} are no test");
}

fn received(header: &str) -> Received<'_> {
    Received { payload: BODY, header, secret: SECRET, now: Some(NOW), thin: false }
}

async fn passes(service: &Service, header: &str) -> bool {
    let mut request = signed(BODY);
    request.headers_mut().insert("stripe-signature", header.parse().unwrap());
    let answer = service.call(request).await;
    assert!(answer.status == 200 || answer.problem(400).starts_with("signature_"), "{header}: {answer:?}");
    answer.status == 200
}
