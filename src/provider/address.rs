//! Where a sender's requests go, and with which credential.
//!
//! An [`Endpoint`] is built once from a sender's settings and used until they change. Whatever is wrong with
//! them is said here, in words that name the setting and the fix, so that nothing about an address can fail
//! once a message has begun. A secret is never part of an error, a log line or a `Debug` text.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::credential::{self, CredentialError};
use crate::domain::id::SenderId;

/// The part of a sender's settings that says how its provider is reached; columns of `wa.senders`.
#[derive(Clone, Copy, Debug)]
pub struct AddressSettings<'a> {
    /// `cloud_api`, `bsp` or `on_premises`.
    pub provider: &'a str,
    /// Scheme, host and maybe a path; without version.
    pub base_url: &'a str,
    /// A BSP's path below `base_url`; may contain `{sender}`.
    pub path: Option<&'a str>,
    /// The Graph API's version, such as `v23.0`; Cloud only.
    pub api_version: Option<&'a str>,
    /// `env:NAME` or `file:PATH`.
    pub credential: &'a str,
    /// The header that carries the credential; `Authorization` if none is given.
    pub auth_header: Option<&'a str>,
}

/// Where to send, and the header that lets us in.
#[derive(Clone)]
pub struct Endpoint {
    /// The address of the provider's messages.
    pub url: Url,
    /// `Authorization`, or the provider's own.
    pub header: HeaderName,
    /// The credential; marked sensitive, so that no layer prints it.
    pub value: HeaderValue,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("host", &self.url.host_str())
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// A setting of a sender that does not lead anywhere.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The provider's name is none of ours.
    #[error("provider `{provider}` is unknown; use cloud_api or bsp")]
    UnknownProvider {
        /// As it was set.
        provider: String,
    },
    /// A provider that is planned.
    #[error("provider `on_premises` is not supported yet by this version; use cloud_api or bsp")]
    OnPremises,
    /// A setting is missing or wrong.
    #[error("{setting} {wrong}; {fix}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is wrong with it.
        wrong: &'static str,
        /// What to write instead.
        fix: &'static str,
    },
    /// The credential cannot be had.
    #[error("could not read the sender's credential")]
    Credential(#[from] CredentialError),
}

const fn wrong(setting: &'static str, wrong: &'static str, fix: &'static str) -> AddressError {
    AddressError::Setting {
        setting,
        wrong,
        fix,
    }
}

impl Endpoint {
    /// The endpoint of `sender`, with its credential read from the environment or a file.
    pub fn of(sender: &SenderId, settings: &AddressSettings<'_>) -> Result<Self, AddressError> {
        let url = address_of(sender, settings)?;
        let token = credential::token(settings.credential)?;
        let (header, value) = authorization(settings.auth_header, &token)?;
        Ok(Self { url, header, value })
    }
}

/// The address that `sender` posts its messages to.
pub fn address_of(sender: &SenderId, settings: &AddressSettings<'_>) -> Result<Url, AddressError> {
    let base = base_of(settings.base_url)?;
    let sender = segment(sender.as_str())?;
    let path = match settings.provider {
        "cloud_api" => {
            refuse_version(&base)?;
            format!("{}/{sender}/messages", version(settings.api_version)?)
        }
        "bsp" => bsp_path(settings.path, &sender)?,
        "on_premises" => return Err(AddressError::OnPremises),
        provider => {
            return Err(AddressError::UnknownProvider {
                provider: provider.to_owned(),
            });
        }
    };
    let joined = format!("{}/{path}", base.as_str().trim_end_matches('/'));
    Url::parse(&joined).map_err(|_| {
        wrong(
            "path",
            "does not make an address with base_url",
            "write it like /v1/messages",
        )
    })
}

fn base_of(base_url: &str) -> Result<Url, AddressError> {
    const FIX: &str = "write it like https://graph.facebook.com";
    let base = Url::parse(base_url.trim()).map_err(|_| wrong("base_url", "is no address", FIX))?;
    let Some(host) = base.host_str() else {
        return Err(wrong("base_url", "names no host", FIX));
    };
    if !base.username().is_empty() || base.password().is_some() {
        let fix = "put it into the sender's credential";
        return Err(wrong("base_url", "contains a user or password", fix));
    }
    if base.query().is_some() || base.fragment().is_some() {
        return Err(wrong("base_url", "has a part after ? or #", FIX));
    }
    match base.scheme() {
        "https" => Ok(base),
        "http" if is_loopback(host) => Ok(base),
        "http" => {
            let fix = "use https; plain http is for this machine only (localhost, 127.0.0.1, ::1)";
            Err(wrong(
                "base_url",
                "would send the token and the message unencrypted",
                fix,
            ))
        }
        _ => Err(wrong("base_url", "is neither https nor http", FIX)),
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// A version in the base as well would make a path that Meta answers with "unknown path components".
fn refuse_version(base: &Url) -> Result<(), AddressError> {
    let last = base.path().trim_end_matches('/').rsplit('/').next();
    if last.is_some_and(is_version) {
        return Err(wrong(
            "base_url",
            "ends in a version",
            "move it to api_version",
        ));
    }
    Ok(())
}

fn version(api_version: Option<&str>) -> Result<&str, AddressError> {
    const FIX: &str = "write it like v23.0";
    match api_version.map(str::trim) {
        Some(version) if is_version(version) => Ok(version),
        Some(_) => Err(wrong("api_version", "is no version of the Graph API", FIX)),
        None => Err(wrong("api_version", "is missing", FIX)),
    }
}

/// `v23.0`: a `v`, digits, and maybe a dot and digits.
fn is_version(text: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.strip_prefix('v')
        .is_some_and(|rest| match rest.split_once('.') {
            Some((major, minor)) => number(major) && number(minor),
            None => number(rest),
        })
}

fn bsp_path(path: Option<&str>, sender: &str) -> Result<String, AddressError> {
    let Some(path) = path.map(str::trim).filter(|path| !path.is_empty()) else {
        return Err(wrong(
            "path",
            "is missing",
            "write it like /v1/messages or /{sender}/messages",
        ));
    };
    let path = path.trim_start_matches('/').replace("{sender}", sender);
    if path.contains(['{', '}']) {
        return Err(wrong(
            "path",
            "has a placeholder that is not {sender}",
            "use {sender} only",
        ));
    }
    Ok(path)
}

/// A sender's id as one segment of a path. Ids are digits, or a phone number; anything that could mean more in
/// an address is refused rather than escaped.
fn segment(sender: &str) -> Result<String, AddressError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '_' | '.' | '~');
    let dots = sender.chars().all(|c| c == '.');
    if dots || !sender.chars().all(plain) {
        let fix = "use the phone-number-id, or the id the provider gave you";
        return Err(wrong("sender", "cannot stand in an address", fix));
    }
    Ok(sender.to_owned())
}

fn authorization(
    auth_header: Option<&str>,
    token: &SecretString,
) -> Result<(HeaderName, HeaderValue), AddressError> {
    let header = match auth_header.map(str::trim).filter(|name| !name.is_empty()) {
        None => AUTHORIZATION,
        Some(name) => HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            wrong(
                "auth_header",
                "is no header name",
                "write it like Authorization or D360-API-KEY",
            )
        })?,
    };
    let text = if header == AUTHORIZATION {
        format!("Bearer {}", token.expose_secret())
    } else {
        token.expose_secret().to_owned()
    };
    let mut value = HeaderValue::try_from(text).map_err(|_| CredentialError::NotAHeader)?;
    value.set_sensitive(true);
    Ok((header, value))
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
