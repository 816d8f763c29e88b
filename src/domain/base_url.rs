//! What may stand in front of an API's path: the address that a sender's messages go to begins with it.
//!
//! It is asked where settings are read and where a sender is set, so that what one takes the other does not refuse. What would send
//! a token or a message unencrypted over a network is no address.

use std::net::IpAddr;

use url::Url;

const FIX: &str = "write it like https://graph.facebook.com";

/// An address that cannot be meant. The address itself is not repeated: a password may stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wrong}; {fix}")]
pub struct NoBaseUrl {
    /// What is wrong with it.
    pub wrong: &'static str,
    /// What to write instead.
    pub fix: &'static str,
}

/// The address, if the API of a provider can be at it.
///
/// # Errors
/// What is wrong with it.
pub fn base_url(text: &str) -> Result<Url, NoBaseUrl> {
    let wrong = |wrong, fix| Err(NoBaseUrl { wrong, fix });
    let Ok(base) = Url::parse(text.trim()) else {
        return wrong("is no address", FIX);
    };
    let Some(host) = base.host_str() else {
        return wrong("names no host", FIX);
    };
    if !base.username().is_empty() || base.password().is_some() {
        let fix = "put it into the sender's credential";
        return wrong("contains a user or password", fix);
    }
    if base.query().is_some() || base.fragment().is_some() {
        return wrong("has a part after ? or #", FIX);
    }
    match base.scheme() {
        "https" => Ok(base),
        "http" if is_loopback(host) => Ok(base),
        "http" => {
            let fix = "use https; plain http is for this machine only (localhost, 127.0.0.1, ::1)";
            wrong("would send the token and the message unencrypted", fix)
        }
        _ => wrong("is neither https nor http", FIX),
    }
}

/// Refuses a version at its end, for an API whose path begins with one: a second one would make a path that Meta answers with
/// "unknown path components".
///
/// # Errors
/// When there is one.
pub fn refuse_version(base: &Url) -> Result<(), NoBaseUrl> {
    let last = base.path().trim_end_matches('/').rsplit('/').next();
    if last.is_some_and(is_version) {
        let fix = "leave the version out of it; the Cloud API's stands in api_version";
        return Err(NoBaseUrl {
            wrong: "ends in a version",
            fix,
        });
    }
    Ok(())
}

/// `v23.0`: a `v`, digits, and maybe a dot and digits.
pub fn is_version(text: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.strip_prefix('v')
        .is_some_and(|rest| match rest.split_once('.') {
            Some((major, minor)) => number(major) && number(minor),
            None => number(rest),
        })
}

/// Whether it is on this machine: that of a WhatsApp to practise on, or of a proxy.
pub fn is_of_this_machine(text: &str) -> bool {
    base_url(text).is_ok_and(|base| base.host_str().is_some_and(is_loopback))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
