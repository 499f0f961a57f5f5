//! Stripe's signatures: HMAC-SHA256 of the time, a point and the body, with the whole secret as the key.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// The value of `Stripe-Signature`: one signature per secret.
pub fn header(secrets: &[String], timestamp: i64, body: &[u8]) -> String {
    let mut header = format!("t={timestamp}");
    for secret in secrets {
        let _ = write!(header, ",v1={}", sign(secret, timestamp, body));
    }
    header
}

fn sign(secret: &str, timestamp: i64, body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// Bytes that follow from a text and the seed, for secrets.
pub fn digest(text: &str, seed: u64) -> Vec<u8> {
    Sha256::digest(format!("{seed}/{text}")).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_stripes() {
        let secrets = ["whsec_test_secret".to_owned()];
        let header = header(&secrets, 1_700_000_000, br#"{"id":"evt_test","object":"event"}"#);
        let expected = "8042376f6ca064adbe037642a718227dfd59047137eb49497a54c49eb0cfb724";
        assert_eq!(header, format!("t=1700000000,v1={expected}"));
    }
}
