//! Odd signature headers, each as Stripe's libraries judge it and as it is judged here.

use super::libraries::{Library, Received};
use super::tools::Tools;
use crate::harness::{NOW, SECRET, Service, signed};

const BODY: &str = r#"{"id":"evt_1","object":"event","type":"invoice.paid"}"#;

/// Whether a header passes here, in Node and in Python.
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
        alike(format!("t={now}, v1={digest}"), false),
        alike(format!("t={now};v1={digest}"), false),
        alike(format!("T={now},V1={digest}"), false),
        alike(format!("t={now}"), false),
        alike(format!("v1={digest}"), false),
        alike(format!("t=,v1={digest}"), false),
        alike(format!("t=soon,v1={digest}"), false),
        alike(format!("t=-{now},v1={digest}"), false),
        alike("nonsense".to_owned(), false),
        // Of two times the libraries take one each; Stripe sends one.
        Case { header: format!("t=1,v1={digest},t={now}"), here: true, node: true, python: false },
        Case { header: format!("t={now},v1={digest},t=1"), here: false, node: false, python: true },
        Case { header: format!("t={now},v1=,v1={digest}"), here: true, node: false, python: true },
        // A time that is no plain number, as Stripe never writes it, is refused here.
        Case { header: format!("t= {now},v1={digest}"), here: false, node: true, python: true },
        Case { header: format!("t=+{now},v1={digest}"), here: false, node: true, python: true },
        Case { header: format!("t=0{now},v1={digest}"), here: false, node: true, python: true },
        Case { header: format!("t={now}s,v1={digest}"), here: false, node: true, python: false },
        // And so are a signature with something behind it, and one behind sixteen others.
        Case { header: format!("t={now},v1={digest}=0"), here: false, node: true, python: true },
        Case { header: format!("t={now}{many_wrong},v1={digest}"), here: false, node: true, python: true },
    ]
}

#[tokio::test]
async fn odd_headers_are_judged_as_stripes_libraries_judge_them_or_more_strictly() {
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
async fn the_tolerance_is_that_of_stripes_libraries_and_holds_for_a_clock_ahead_too() {
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
