//! Where a sender's requests go, and with which credential.
//!
//! An [`Endpoint`] is built once from a sender's settings and used until they change. Whatever is wrong with
//! them is said here, in words that name the setting and the fix, so that nothing about an address can fail
//! once a message has begun. A secret is never part of an error, a log line or a `Debug` text.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::Arc;

use data_encoding::BASE64;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use secrecy::{ExposeSecret, SecretString};

use super::credential::{self, CredentialError};
use super::kind::{Entrance, Envelope, HarmlessCall, ProviderKind, UnknownProvider};
use super::wire::Payload;
use crate::domain::base_url::{self, NoBaseUrl, is_version};
use crate::domain::id::SenderId;
use crate::domain::text::{Secrets, chain};
use crate::secret::file;

/// All authorities that a machine knows are a quarter of it.
const CERTIFICATES_AT_MOST: u64 = 1024 * 1024;

/// The part of a sender's settings that says how its provider is reached; columns of `wa.senders`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// The word before the credential, or `none`; if none is given, `Bearer` in `Authorization` and none elsewhere.
    pub auth_scheme: Option<&'a str>,
    /// A file with the only certificates that may vouch for the server; if none is given, those of the machine do.
    pub ca_file: Option<&'a str>,
    /// Whether callback data comes back; if it is not given, what its kind of provider does.
    pub callback_echo: Option<bool>,
}

/// Where to send, and what lets us in.
#[derive(Clone)]
pub struct Endpoint {
    /// What the provider can.
    pub kind: ProviderKind,
    /// The address of the provider's messages.
    pub url: Url,
    /// Where a message goes that is marked as marketing; only where such a place is.
    marketing_url: Option<Url>,
    /// What lets a request in.
    pub access: Access,
    /// Who may vouch for the server, where it is not who the machine trusts.
    pub authority: Option<Authority>,
    /// Whether requests carry our token.
    pub carries_token: bool,
    harmless: Option<Url>,
    pub(super) credential: SecretString,
}

/// Where one request goes.
#[derive(Clone, Debug)]
pub struct Target {
    /// `POST`; for the On-Premises client's mark-as-read `PUT`.
    pub method: Method,
    /// The address.
    pub url: Url,
}

/// What lets a request in.
#[derive(Clone)]
pub enum Access {
    /// The same header each time.
    Header {
        /// `Authorization`, or the provider's own.
        name: HeaderName,
        /// The credential; marked sensitive, so that no layer prints it.
        value: HeaderValue,
    },
    /// A token that has to be fetched.
    Login(Login),
}

/// Where a token is fetched, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Login {
    /// The address of `/v1/users/login`.
    pub url: Url,
    /// `Basic …`; marked sensitive.
    pub basic: HeaderValue,
}

/// Certificates in PEM that alone may vouch for a server.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Authority(Arc<[u8]>);

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority(…)")
    }
}

impl Authority {
    /// The certificates, for the HTTP library.
    pub(super) fn certificates(&self) -> Result<Vec<reqwest::Certificate>, reqwest::Error> {
        reqwest::Certificate::from_pem_bundle(&self.0)
    }
}

impl Endpoint {
    /// What all share that can connect or cannot: the server (scheme, host and port), and the certificates that must vouch for it.
    pub fn way(&self) -> String {
        let origin = self.url.origin().ascii_serialization();
        let Some(authority) = &self.authority else {
            return origin;
        };
        let mut hasher = DefaultHasher::new();
        authority.hash(&mut hasher);
        format!("{origin} (by certificates {:08x})", hasher.finish() >> 32)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("kind", &self.kind)
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}

/// A setting of a sender that does not lead anywhere.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The provider's name is none of ours.
    #[error(transparent)]
    UnknownProvider(#[from] UnknownProvider),
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
    /// The certificates cannot be had.
    #[error(
        "could not read ca_file {path}; it is a file with certificates in PEM, readable by the worker"
    )]
    Authority {
        /// Where they were looked for.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The credential cannot be had.
    #[error("could not read the sender's credential")]
    Credential(#[from] CredentialError),
}

impl AddressError {
    /// The error and its causes on one line, for people.
    pub fn in_words(&self) -> String {
        chain(self)
    }
}

const fn wrong(setting: &'static str, wrong: &'static str, fix: &'static str) -> AddressError {
    AddressError::Setting {
        setting,
        wrong,
        fix,
    }
}

impl AddressSettings<'_> {
    /// Whether a file has to be read to make an endpoint of them: its disk may be slow, or gone.
    pub fn name_a_file(&self) -> bool {
        self.ca_file.is_some() || self.credential.trim_start().starts_with("file:")
    }

    /// That nobody answers at the places that they name, for people.
    pub fn no_answer(&self) -> String {
        let files = match self.ca_file {
            Some(file) => format!("{} or ca_file {file}", self.credential),
            None => self.credential.to_owned(),
        };
        format!("could not read {files}: no answer yet; see that the disk it is on works")
    }
}

impl Endpoint {
    /// The endpoint of `sender`, with its credential and certificates read from where the settings say; blocks for as long as that
    /// takes.
    ///
    /// # Errors
    /// When a setting does not lead anywhere.
    pub fn of(sender: &SenderId, settings: &AddressSettings<'_>) -> Result<Self, AddressError> {
        let kind: ProviderKind = settings.provider.parse()?;
        let capabilities = kind.capabilities();
        let url = address_of(sender, settings)?;
        let credential = credential::token(settings.credential)?;
        let access = match capabilities.entrance {
            Entrance::Token => {
                let (name, value) =
                    authorization(settings.auth_header, settings.auth_scheme, &credential)?;
                Access::Header { name, value }
            }
            Entrance::Login => Access::Login(login(settings.base_url, &credential)?),
        };
        let marketing_url = (capabilities.has_marketing_messages)
            .then(|| sibling(&url, "marketing_messages"))
            .transpose()?;
        let harmless = (capabilities.harmless_call)
            .map(|call| harmless(call, &url, settings.base_url))
            .transpose()?;
        Ok(Self {
            kind,
            url,
            marketing_url,
            access,
            authority: settings.ca_file.map(authority).transpose()?,
            carries_token: kind.carries_token(settings.callback_echo),
            harmless,
            credential,
        })
    }

    /// Whether it would be made the same of these settings now, which it was made of before: credential and certificates are read
    /// anew, which may block.
    pub fn is_current(&self, settings: &AddressSettings<'_>) -> bool {
        let token = credential::token(settings.credential);
        let pem = settings.ca_file.map(certificates).transpose();
        token.is_ok_and(|token| token.expose_secret() == self.credential.expose_secret())
            && pem.is_ok_and(|pem| pem.as_deref() == self.authority.as_ref().map(|known| &*known.0))
    }

    /// Where this payload goes, and how.
    pub fn target_of(&self, payload: &Payload<'_>) -> Target {
        let post = |url: &Url| Target {
            method: Method::POST,
            url: url.clone(),
        };
        match (&self.marketing_url, self.kind.capabilities().envelope) {
            (Some(marketing), _) if payload.is_marked_as_marketing() => post(marketing),
            (_, Envelope::OnPremises) if payload.is_mark_as_read() => {
                let mut url = self.url.clone();
                if let Ok(mut segments) = url.path_segments_mut() {
                    segments.push(&payload.message_id().unwrap_or_default());
                }
                Target {
                    method: Method::PUT,
                    url,
                }
            }
            (Some(_) | None, Envelope::Cloud | Envelope::OnPremises) => post(&self.url),
        }
    }

    /// Who keeps the files that are uploaded for it: another knows nothing of their ids. The same for every version of the API.
    pub fn keeper(&self) -> String {
        let mut url = self.url.clone();
        if self.kind == ProviderKind::CloudApi
            && let Ok(mut segments) = url.path_segments_mut()
        {
            // Of /{version}/{sender}/messages.
            segments.pop().pop().pop();
        }
        url.into()
    }

    /// The credential, to tell one from another.
    pub fn credential(&self) -> &SecretString {
        &self.credential
    }

    /// What no text that comes from the provider may tell of this endpoint: the credential, and where it has a password, that, and
    /// what stands behind `Basic`.
    pub(super) fn secrets(&self) -> Secrets {
        let credential = self.credential.expose_secret();
        let secrets: Secrets = [credential].into_iter().collect();
        match credential.split_once(':') {
            Some((_, password)) => secrets.and(password).and(in_base64(credential)),
            None => secrets,
        }
    }

    /// The address of a call that sends nothing and needs the credential; none where no such call is known.
    pub fn harmless_call(&self) -> Option<&Url> {
        self.harmless.as_ref()
    }

    /// An endpoint with a token that nobody knows.
    #[cfg(test)]
    pub(crate) fn for_tests(url: &str) -> Self {
        let mut value = HeaderValue::from_static("Bearer EAAB");
        value.set_sensitive(true);
        Self {
            kind: ProviderKind::CloudApi,
            url: Url::parse(url).expect("is an address"),
            marketing_url: None,
            access: Access::Header {
                name: AUTHORIZATION,
                value,
            },
            authority: None,
            carries_token: true,
            harmless: None,
            credential: SecretString::from("EAAB"),
        }
    }
}

/// The address that `sender` posts its messages to.
///
/// # Errors
/// When a setting does not lead anywhere.
pub fn address_of(sender: &SenderId, settings: &AddressSettings<'_>) -> Result<Url, AddressError> {
    let base = base_of(settings.base_url)?;
    let sender = segment(sender.as_str())?;
    let path = match settings.provider.parse()? {
        ProviderKind::CloudApi => {
            refuse_version(&base)?;
            format!("{}/{sender}/messages", version(settings.api_version)?)
        }
        ProviderKind::Bsp => bsp_path(settings.path, &sender)?,
        ProviderKind::OnPremises => {
            refuse_version(&base)?;
            "v1/messages".to_owned()
        }
    };
    below(&base, &path)
}

/// Whether the API can be at this address.
///
/// # Errors
/// What is wrong with it.
pub fn check_base_url(base_url: &str) -> Result<(), AddressError> {
    base_of(base_url).map(drop)
}

fn below(base: &Url, path: &str) -> Result<Url, AddressError> {
    let joined = format!("{}/{path}", base.as_str().trim_end_matches('/'));
    Url::parse(&joined).map_err(|_| {
        wrong(
            "path",
            "does not make an address with base_url",
            "write it like /v1/messages",
        )
    })
}

/// The same address with another last segment.
fn sibling(url: &Url, last: &str) -> Result<Url, AddressError> {
    let text = url.as_str();
    let parent = text.rsplit_once('/').map_or(text, |(parent, _)| parent);
    Url::parse(&format!("{parent}/{last}")).map_err(|_| {
        wrong(
            "base_url",
            "makes no address",
            "write it like https://graph.facebook.com",
        )
    })
}

fn harmless(call: HarmlessCall, messages: &Url, base_url: &str) -> Result<Url, AddressError> {
    match call {
        HarmlessCall::ReadNumber => {
            let text = messages.as_str().trim_end_matches("/messages");
            let fields = "id,quality_rating,throughput";
            Url::parse(&format!("{text}?fields={fields}")).map_err(|_| {
                wrong(
                    "base_url",
                    "makes no address",
                    "write it like https://graph.facebook.com",
                )
            })
        }
        HarmlessCall::Health => below(&base_of(base_url)?, "v1/health"),
    }
}

fn login(base_url: &str, credential: &SecretString) -> Result<Login, AddressError> {
    let url = below(&base_of(base_url)?, "v1/users/login")?;
    let basic = basic(credential)?;
    Ok(Login { url, basic })
}

/// `Basic`, and the credential as RFC 7617 writes it.
fn basic(credential: &SecretString) -> Result<HeaderValue, AddressError> {
    let plain = credential.expose_secret();
    if !plain.contains(':') {
        let fix = "put user:password at the place that it names";
        return Err(wrong(
            "credential",
            "leads to something without a colon",
            fix,
        ));
    }
    header_value(&format!("Basic {}", in_base64(plain)))
}

fn in_base64(plain: &str) -> String {
    BASE64.encode(plain.as_bytes())
}

fn header_value(text: &str) -> Result<HeaderValue, AddressError> {
    let mut value = HeaderValue::try_from(text).map_err(|_| CredentialError::NotAHeader)?;
    value.set_sensitive(true);
    Ok(value)
}

fn certificates(path: &str) -> Result<Vec<u8>, AddressError> {
    file::bytes(Path::new(path), CERTIFICATES_AT_MOST).map_err(|source| AddressError::Authority {
        path: path.to_owned(),
        source,
    })
}

fn authority(path: &str) -> Result<Authority, AddressError> {
    let authority = Authority(certificates(path)?.into());
    match authority.certificates() {
        Ok(certificates) if !certificates.is_empty() => Ok(authority),
        Ok(_) | Err(_) => Err(wrong(
            "ca_file",
            "holds no certificate",
            "name a file in PEM: -----BEGIN CERTIFICATE-----",
        )),
    }
}

fn base_of(base_url: &str) -> Result<Url, AddressError> {
    base_url::base_url(base_url).map_err(no_base)
}

fn refuse_version(base: &Url) -> Result<(), AddressError> {
    base_url::refuse_version(base).map_err(no_base)
}

fn no_base(no_base: NoBaseUrl) -> AddressError {
    wrong("base_url", no_base.wrong, no_base.fix)
}

fn version(api_version: Option<&str>) -> Result<&str, AddressError> {
    const FIX: &str = "write it like v23.0";
    match api_version.map(str::trim) {
        Some(version) if is_version(version) => Ok(version),
        Some(_) => Err(wrong("api_version", "is no version of the Graph API", FIX)),
        None => Err(wrong("api_version", "is missing", FIX)),
    }
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
    auth_scheme: Option<&str>,
    token: &SecretString,
) -> Result<(HeaderName, HeaderValue), AddressError> {
    let given = |text: Option<&str>| {
        text.map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let header = match given(auth_header) {
        None => AUTHORIZATION,
        Some(name) => HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            wrong(
                "auth_header",
                "is no header name",
                "write it like Authorization or D360-API-KEY",
            )
        })?,
    };
    let usual = if header == AUTHORIZATION {
        "Bearer"
    } else {
        "none"
    };
    let scheme = given(auth_scheme).unwrap_or_else(|| usual.to_owned());
    let value = match scheme.to_ascii_lowercase().as_str() {
        "none" => header_value(token.expose_secret())?,
        "basic" => basic(token)?,
        _ => header_value(&format!("{scheme} {}", token.expose_secret()))?,
    };
    Ok((header, value))
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
