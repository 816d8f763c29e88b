//! The signature of a webhook: a line with the app secret, a line with the header, the body. Only the right one is taken.

use aws_lc_rs::hmac;
use wa_outbox::webhook::signature::AppSecrets;

use super::line;

pub(crate) fn check(input: &[u8]) {
    let (secret, rest) = line(input);
    let (header, body) = line(rest);
    let Ok(secret) = std::str::from_utf8(secret) else {
        return;
    };
    let Ok(secrets) = AppSecrets::new([secret.into()]) else {
        assert!(secret.is_empty());
        return;
    };
    let right = signed(secret, body);
    let is_right = header
        .strip_prefix(b"sha256=")
        .is_some_and(|hex| hex.eq_ignore_ascii_case(&right.as_bytes()[7..]));
    assert_eq!(secrets.verify(Some(header), body).is_ok(), is_right);
    assert!(secrets.verify(None, body).is_err());

    let right = right.as_bytes();
    assert!(secrets.verify(Some(right), body).is_ok());
    let both = AppSecrets::new(["another".into(), secret.into()]).expect("none is empty");
    assert!(both.verify(Some(right), body).is_ok());
    for wrong in changes(body, header) {
        assert!(
            secrets.verify(Some(right), &wrong).is_err(),
            "a changed body was taken"
        );
    }
    for wrong in changes(right, body) {
        let is_same = wrong.eq_ignore_ascii_case(right) && wrong.starts_with(b"sha256=");
        assert_eq!(
            secrets.verify(Some(&wrong), body).is_ok(),
            is_same,
            "a changed signature was taken"
        );
    }
    let none = AppSecrets::new([]).expect("none is empty");
    assert!(none.verify(Some(right), body).is_err());
}

fn signed(secret: &str, body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body);
    format!("sha256={}", data_encoding::HEXLOWER.encode(tag.as_ref()))
}

/// What it is changed into, at places that `by` chooses.
fn changes(bytes: &[u8], by: &[u8]) -> Vec<Vec<u8>> {
    let mut changes = vec![[bytes, b"0"].concat(), [b" ", bytes].concat()];
    if let Some((_, shorter)) = bytes.split_last() {
        changes.push(shorter.to_vec());
        for (turn, bit) in by.iter().take(8).enumerate() {
            let mut changed = bytes.to_vec();
            let place = (usize::from(*bit) + turn * 37) % changed.len();
            changed[place] ^= 1 << (bit % 8);
            changes.push(changed);
        }
    }
    changes
}
