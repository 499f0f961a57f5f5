//! Arbitrary signature headers: one is accepted only if it contains the exact signature and its time.

use super::Fuzz;
use crate::harness::{NOW, SECRET, Service, signed};
use eventbridge::sources::stripe;
use proptest::prelude::*;
use proptest::sample::select;

const BODY: &str = r#"{"id":"evt_1"}"#;

/// Headers that once found a bug, each after its expected status; `{t}` is the time and `{v1}` the
/// signature.
const CORPUS: &str = include_str!("signatures.txt");

/// The signature of [`BODY`], in hex.
fn signature() -> String {
    let header = stripe::sign(SECRET, BODY.as_bytes(), NOW);
    header.split_once("v1=").expect("a signature").1.to_owned()
}

fn filled_in(template: &str) -> String {
    template.replace("{t}", &NOW.to_string()).replace("{v1}", &signature())
}

/// Pieces of a header, some of them valid, in any number and order.
fn header() -> impl Strategy<Value = String> {
    let name = select(vec!["t", "v1", "v0", "T", "V1", "v", "t ", " v1", ""]);
    let value = prop_oneof![
        3 => Just(NOW.to_string()),
        4 => Just(signature()),
        1 => Just(signature().to_uppercase()),
        1 => (0..64_usize).prop_map(|at| signature()[..at].to_owned()),
        1 => "[0-9a-f]{64}",
        1 => "-?[0-9]{1,24}",
        1 => "[ -~]{0,20}",
    ];
    let part = prop_oneof![6 => (name, value).prop_map(|(name, value)| format!("{name}={value}")), 1 => "[ -~]{0,9}"];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.join(","))
}

async fn status_of(service: &Service, header: &str) -> u16 {
    let mut request = signed(BODY);
    request.headers_mut().insert("stripe-signature", header.parse().unwrap());
    let answer = service.call(request).await;
    assert!(answer.status == 200 || answer.problem(400).starts_with("signature_"), "{header}: {answer:?}");
    answer.status.as_u16()
}

/// Whether the parts contain the signature and, as the last time, the right one.
fn is_right(header: &str) -> bool {
    let parts = || header.split(',').map(str::trim_start);
    let mut times = parts().filter_map(|part| part.strip_prefix("t="));
    let mut signatures = parts().filter_map(|part| part.strip_prefix("v1="));
    times.next_back() == Some(&NOW.to_string()) && signatures.any(|given| given == signature())
}

#[test]
fn a_header_is_accepted_only_with_the_exact_signature_and_its_time() {
    let fuzz = Fuzz::new(async || Service::builder().set("DESTINATIONS", "").start().await);
    fuzz.runtime.block_on(async {
        for case in CORPUS.lines() {
            let (status, template) = case.split_once(' ').expect("a status and a header");
            let header = filled_in(template);
            assert_eq!(status_of(&fuzz.service, &header).await.to_string(), status, "{template}");
        }
    });
    fuzz.check(file!(), [], &header(), async |service, header| {
        let is_accepted = status_of(service, header).await == 200;
        assert!(!is_accepted || is_right(header), "accepted: {header}");
    });
}
