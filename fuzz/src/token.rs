//! Callback data: a line with a message id, one with an attempt, one with the application's value; or any text as it came back.

use wa_outbox::domain::id::{AttemptNumber, MessageId};
use wa_outbox::domain::token::{Callback, MAX_APP_CALLBACK_CHARS, MAX_CALLBACK_CHARS, TokenKey};

use super::line;

pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let key = TokenKey::from_bytes(&[7; 32]);
    let other = TokenKey::from_bytes(&[8; 32]);
    came_back(&key, text);

    let (message, rest) = line(input);
    let (attempt, app) = line(rest);
    let number = |text| std::str::from_utf8(text).ok();
    let Some(message) = number(message)
        .and_then(|text| text.parse().ok())
        .map(MessageId)
    else {
        return;
    };
    let attempt = AttemptNumber(
        number(attempt)
            .and_then(|text| text.parse().ok())
            .unwrap_or(1),
    );
    let app = std::str::from_utf8(app).expect("the rest of a text");
    let Ok(token) = key.issue(message, attempt, Some(app)) else {
        assert!(app.chars().count() > MAX_APP_CALLBACK_CHARS);
        return;
    };
    assert!(token.chars().count() <= MAX_CALLBACK_CHARS);
    let ours = |app: &str| Callback::Verified {
        message,
        attempt,
        app: Some(app.to_owned()),
    };
    assert_eq!(key.verify(&token), ours(app));
    assert_eq!(
        other.verify(&token),
        Callback::Forged,
        "another key's token was taken"
    );

    let bare = key.issue(message, attempt, None).expect("short");
    assert!(bare.is_ascii() && token.starts_with(&bare));
    for place in 0..bare.len() {
        let mut changed = token.clone().into_bytes();
        changed[place] = if changed[place] == b'0' { b'1' } else { b'0' };
        let changed = String::from_utf8(changed).expect("it is ASCII there");
        assert!(!is_verified(&key, &changed), "an altered token was taken");
        assert!(!is_verified(&key, &bare[..place]), "a cut token was taken");
    }
}

fn is_verified(key: &TokenKey, text: &str) -> bool {
    matches!(key.verify(text), Callback::Verified { .. })
}

/// What verifies is what we issue, in the one way that we write it.
fn came_back(key: &TokenKey, text: &str) {
    if let Callback::Verified {
        message,
        attempt,
        app,
    } = key.verify(text)
    {
        let bare = key.issue(message, attempt, None).expect("short");
        let expected = app.map_or_else(|| bare.clone(), |app| format!("{bare}:{app}"));
        assert_eq!(expected, text);
    }
}
