//! Who looks at the dashboard, and what they may do.
//!
//! Whoever shows a token at the login gets a session: a cookie that no script can read, that no other site's form carries, and that
//! ends after half a day, or after an hour in which no page was opened and none was live. What is kept of it is a digest. Sessions live
//! in this process and end with it. Where no token is set everybody who reaches the listener (this machine only) is an operator, and has
//! a session for its forms' sake: each form carries a word that only pages of this session know, so no other page can send one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;
use axum::http::{HeaderMap, HeaderValue, header};
use data_encoding::BASE64URL_NOPAD;
use tokio::time::Instant;

use crate::secret::shared::digest;

/// A session lasts so long at most.
const LASTS: Duration = Duration::from_secs(12 * 3_600);
/// And so long without a look.
const IDLES: Duration = Duration::from_secs(3_600);
/// So many at once; the one that was used least lately makes room.
const AT_MOST: usize = 1_000;
/// What was searched for is remembered so often: it holds numbers, and must not stand in an address.
const SEARCHES_AT_MOST: usize = 20;
/// A message that was revealed is shown so long.
const REVEALED_FOR: Duration = Duration::from_secs(600);
const REVEALED_AT_MOST: usize = 100;
/// A name is for people, and stands in the audit.
const NAME_AT_MOST: usize = 80;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) enum Role {
    /// Look; what is personal stays masked.
    Viewer,
    /// Look, reveal and act.
    Operator,
}

impl Role {
    /// As it is written into the audit.
    pub(in crate::admin) fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }
}

/// Whoever made a request.
#[derive(Clone, Debug)]
pub(in crate::admin) struct Visitor {
    /// What they may do.
    pub(in crate::admin) role: Role,
    /// What they call themselves, where they were asked.
    pub(in crate::admin) name: Option<String>,
    /// From where.
    pub(in crate::admin) address: IpAddr,
    /// Their session; none for a script.
    pub(in crate::admin) session: Option<SessionKey>,
    /// Whether this request has shown a token, which no page of others can make a browser do.
    pub(in crate::admin) shows_token: bool,
}

/// Which session. It is a digest: who reads it cannot use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::admin) struct SessionKey([u8; 32]);

struct Session {
    role: Role,
    name: Option<String>,
    form_word: String,
    began: Instant,
    used: Instant,
    searches: Vec<(u32, String)>,
    searched: u32,
    revealed: Vec<(i64, Instant)>,
}

/// All sessions of this process.
#[derive(Default)]
pub(in crate::admin) struct Sessions(Mutex<HashMap<SessionKey, Session>>);

impl Sessions {
    /// Begins a session. What is given back goes into its cookie, and nowhere else.
    pub(in crate::admin) fn begin(
        &self,
        role: Role,
        name: Option<&str>,
        now: Instant,
    ) -> (SessionKey, String) {
        let id = random_word();
        let key = SessionKey(digest(&id));
        let session = Session {
            role,
            name: name.and_then(cleaned),
            form_word: random_word(),
            began: now,
            used: now,
            searches: Vec::new(),
            searched: 0,
            revealed: Vec::new(),
        };
        let mut all = self.all();
        all.retain(|_, session| session.lasts_at(now));
        if all.len() >= AT_MOST {
            let least = all.iter().min_by_key(|(_, session)| session.used);
            if let Some(least) = least.map(|(key, _)| *key) {
                all.remove(&least);
            }
        }
        all.insert(key, session);
        (key, id)
    }

    /// Who the cookie of a request belongs to.
    pub(in crate::admin) fn visitor(
        &self,
        headers: &HeaderMap,
        address: IpAddr,
        now: Instant,
    ) -> Option<Visitor> {
        let key = SessionKey(digest(cookie(headers)?));
        let mut all = self.all();
        let session = all.get_mut(&key).filter(|session| session.lasts_at(now))?;
        session.used = now;
        Some(Visitor {
            role: session.role,
            name: session.name.clone(),
            address,
            session: Some(key),
            shows_token: false,
        })
    }

    /// Ends a session.
    pub(in crate::admin) fn end(&self, key: SessionKey) {
        self.all().remove(&key);
    }

    /// Whether it goes on. A page that is kept up to date is looked at, so this is a look like any other.
    pub(in crate::admin) fn looks_on(&self, key: SessionKey, now: Instant) -> bool {
        let mut all = self.all();
        let session = all.get_mut(&key).filter(|session| session.lasts_at(now));
        session.map(|session| session.used = now).is_some()
    }

    /// The word that forms of this session carry.
    pub(in crate::admin) fn form_word(&self, key: SessionKey) -> Option<String> {
        self.all()
            .get(&key)
            .map(|session| session.form_word.clone())
    }

    /// Whether a form is one of this session's.
    pub(in crate::admin) fn knows_form(&self, key: SessionKey, word: &str) -> bool {
        self.all().get(&key).is_some_and(|session| {
            verify_slices_are_equal(&digest(&session.form_word), &digest(word)).is_ok()
        })
    }

    /// Remembers what somebody calls themselves.
    pub(in crate::admin) fn call(&self, key: SessionKey, name: &str) {
        if let Some(session) = self.all().get_mut(&key) {
            session.name = cleaned(name);
        }
    }

    /// Remembers what is searched for, and gives it a number.
    pub(in crate::admin) fn remember(&self, key: SessionKey, search: &str) -> Option<u32> {
        let mut all = self.all();
        let session = all.get_mut(&key)?;
        if let Some((number, _)) = session.searches.iter().find(|(_, known)| known == search) {
            return Some(*number);
        }
        session.searched += 1;
        let number = session.searched;
        session.searches.push((number, search.to_owned()));
        if session.searches.len() > SEARCHES_AT_MOST {
            session.searches.remove(0);
        }
        Some(number)
    }

    /// What was searched for under this number.
    pub(in crate::admin) fn search(&self, key: SessionKey, number: u32) -> Option<String> {
        let all = self.all();
        let searches = &all.get(&key)?.searches;
        let found = searches.iter().find(|(known, _)| *known == number);
        found.map(|(_, search)| search.clone())
    }

    /// Shows a message in full for a while.
    pub(in crate::admin) fn reveal(&self, key: SessionKey, message: i64, now: Instant) {
        if let Some(session) = self.all().get_mut(&key) {
            session
                .revealed
                .retain(|(known, since)| *known != message && now < *since + REVEALED_FOR);
            if session.revealed.len() >= REVEALED_AT_MOST {
                session.revealed.remove(0);
            }
            session.revealed.push((message, now));
        }
    }

    /// Whether a message is shown in full.
    pub(in crate::admin) fn is_revealed(
        &self,
        key: SessionKey,
        message: i64,
        now: Instant,
    ) -> bool {
        self.all().get(&key).is_some_and(|session| {
            let mut revealed = session.revealed.iter();
            revealed.any(|(known, since)| *known == message && now < *since + REVEALED_FOR)
        })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<SessionKey, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions")
    }
}

impl Session {
    fn lasts_at(&self, now: Instant) -> bool {
        now < self.began + LASTS && now < self.used + IDLES
    }
}

/// A name as it may stand in a line of a log and in the audit; none: nothing is left of it.
pub(in crate::admin) fn cleaned(name: &str) -> Option<String> {
    let name: String = name
        .chars()
        .filter(|character| !character.is_control())
        .take(NAME_AT_MOST)
        .collect();
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// 256 random bits, as text.
fn random_word() -> String {
    let mut bytes = [0; 32];
    // It fails only where the operating system has no random numbers, and then nothing is safe.
    rand::fill(&mut bytes).expect("random numbers");
    BASE64URL_NOPAD.encode(&bytes)
}

/// Cookies are shared by all ports of a host, so each listener has one of its own name.
fn cookie_name(headers: &HeaderMap) -> String {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let port = host
        .and_then(|host| host.rsplit_once(':'))
        .map(|(_, port)| port)
        .filter(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    format!("wa_outbox_{}", port.unwrap_or("0"))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let name = cookie_name(headers);
    let mut cookies = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    cookies.find_map(|cookie| {
        let (known, value) = cookie.trim().split_once('=')?;
        (known == name).then_some(value)
    })
}

/// The header that gives a browser its session; an empty one takes it away.
pub(in crate::admin) fn set_cookie(headers: &HeaderMap, id: &str) -> HeaderValue {
    let name = cookie_name(headers);
    let lasts = if id.is_empty() { 0 } else { LASTS.as_secs() };
    // The proxy that has the certificate says so; a browser would not give a secure cookie back over plain HTTP.
    let is_https = headers
        .get("x-forwarded-proto")
        .is_some_and(|proto| proto == "https");
    let secure = if is_https { "; Secure" } else { "" };
    let value = format!("{name}={id}; Path=/; Max-Age={lasts}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&value).expect("it has no control characters")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn headers(host: &'static str, cookies: String) -> HeaderMap {
        HeaderMap::from_iter([
            (header::HOST, HeaderValue::from_static(host)),
            (header::COOKIE, cookies.parse().expect("a value")),
        ])
    }

    #[tokio::test]
    async fn a_session_is_known_by_its_cookie_on_its_own_port_until_it_ends() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let (key, id) = sessions.begin(Role::Viewer, Some(" ada\n "), now);
        let here = headers("127.0.0.1:8081", format!("a=b; wa_outbox_8081={id}"));
        let visitor = sessions.visitor(&here, HERE, now).expect("a visitor");
        assert_eq!(
            (visitor.role, visitor.name.as_deref()),
            (Role::Viewer, Some("ada"))
        );
        let elsewhere = headers("127.0.0.1:9000", format!("wa_outbox_8081={id}"));
        assert!(sessions.visitor(&elsewhere, HERE, now).is_none());
        let wrong = headers("127.0.0.1:8081", "wa_outbox_8081=guess".into());
        assert!(sessions.visitor(&wrong, HERE, now).is_none());
        sessions.end(key);
        assert!(sessions.visitor(&here, HERE, now).is_none());
    }

    #[tokio::test]
    async fn a_session_ends_when_nobody_looks_and_at_last_in_any_case() {
        let (sessions, began) = (Sessions::default(), Instant::now());
        let (_, id) = sessions.begin(Role::Operator, None, began);
        let headers = headers("localhost", format!("wa_outbox_0={id}"));
        let looks = |at: Duration| sessions.visitor(&headers, HERE, began + at).is_some();
        for minutes in 1..=13 {
            assert_eq!(looks(Duration::from_secs(minutes * 59 * 60)), minutes <= 12);
        }
        let (_, id) = sessions.begin(Role::Operator, None, began);
        let headers = self::headers("localhost", format!("wa_outbox_0={id}"));
        assert!(sessions.visitor(&headers, HERE, began + IDLES).is_none());
    }

    #[tokio::test]
    async fn a_page_that_stays_live_keeps_its_session_for_as_long_as_one_lasts() {
        let (sessions, began) = (Sessions::default(), Instant::now());
        let (key, _) = sessions.begin(Role::Viewer, None, began);
        for minutes in 0..=12 * 60 {
            let now = began + Duration::from_secs(minutes * 60);
            assert_eq!(sessions.looks_on(key, now), minutes < 12 * 60, "{minutes}");
        }
        let (key, _) = sessions.begin(Role::Viewer, None, began);
        assert!(!sessions.looks_on(key, began + IDLES));
    }

    #[tokio::test]
    async fn a_form_of_another_session_is_not_known() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let (mine, _) = sessions.begin(Role::Operator, None, now);
        let (other, _) = sessions.begin(Role::Operator, None, now);
        let word = sessions.form_word(mine).expect("a word");
        assert!(sessions.knows_form(mine, &word));
        assert!(!sessions.knows_form(other, &word) && !sessions.knows_form(mine, ""));
    }

    #[tokio::test]
    async fn searches_and_what_was_revealed_are_kept_for_a_while_and_not_without_end() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let (key, _) = sessions.begin(Role::Operator, None, now);
        let first = sessions.remember(key, "+16505551234");
        assert_eq!(sessions.remember(key, "+16505551234"), first);
        assert_eq!(sessions.search(key, 1).as_deref(), Some("+16505551234"));
        for number in 0..SEARCHES_AT_MOST {
            sessions.remember(key, &number.to_string());
        }
        assert_eq!(sessions.search(key, 1), None);
        sessions.reveal(key, 7, now);
        assert!(sessions.is_revealed(key, 7, now) && !sessions.is_revealed(key, 8, now));
        assert!(!sessions.is_revealed(key, 7, now + REVEALED_FOR));
    }
}
