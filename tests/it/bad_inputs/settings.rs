//! Settings, in the environment and in a file.

use tempfile::TempDir;

use super::{Bad, Section, run};

/// All of these are looked at before anything is done; exit code 64.
const COMMAND: [&str; 2] = ["run", "--no-migrate"];
const BAD_SETTINGS: i32 = 64;

pub(super) async fn section() -> Section {
    let folder = TempDir::new().expect("a folder");
    let mut bad = Vec::new();
    for variables in [
        "WA_OUTBOX__WORKER__TIK_MS=5",
        "WA_OUTBOX__WRKER__TICK_MS=5",
        "WA_OUTBOX__WORKER__TICK_MS=five",
        "WA_OUTBOX__WORKER__LEASE_S=2",
        "WA_OUTBOX__HTTP__RESPONSE_TIMEOUT_S=-1",
        "WA_OUTBOX__HTTP__CONNECT_TIMEOUT_S=60",
        "WA_OUTBOX__RECONCILE__WINDOW_S=1",
        "WA_OUTBOX__RECONCILE__ON_UNCERTAIN=maybe",
        "WA_OUTBOX__RETRY__JITTER=2",
        "WA_OUTBOX__RETENTION__MESSAGES_DAYS=3",
        "WA_OUTBOX__RETENTION__WEBHOOKS_DAYS=36500",
        "WA_OUTBOX__DATABASE__MAX_CONNECTIONS=1",
        "WA_OUTBOX_WEBHOOK_LISTEN=8080",
        "WA_OUTBOX_WEBHOOK_LISTEN=0.0.0.0:8080",
        "WA_OUTBOX_ADMIN_LISTEN=0.0.0.0:8081",
        "WA_OUTBOX_ADMIN_LISTEN=127.0.0.1:8080",
        "WA_OUTBOX__ADMIN__METRICS_TOKEN=env:SCRAPER",
        "WA_OUTBOX__LOG__FORMAT=xml",
        "WHATSAPP_API_BASE=graph.facebook.com",
        "WHATSAPP_API_BASE=https://graph.facebook.com/v23.0",
        "WHATSAPP_API_BASE=http://graph.facebook.com",
        "WHATSAPP_API_VERSION=23",
        "WHATSAPP_PHONE_NUMBER_ID=106540352242922",
        "WHATSAPP_PHONE_NUMBER_ID=+1 650 555 1234 WHATSAPP_ACCESS_TOKEN=secret",
        "RUST_LOG=wa_outbox=loud",
        "DATABASE_URL=",
        "DATABASE_URL=localhost/app",
        "DATABASE_URL=mysql://app:secret@127.0.0.1/app",
        "DATABASE_URL=postgres://app:secret@127.0.0.1:1/app",
        "DATABASE_URL=postgres://127.0.0.1:1/app WA_OUTBOX__DATABASE__URL=file:missing",
        "WA_OUTBOX_CONFIG=missing.toml",
    ] {
        // A value may have blanks in it; the name of the next variable is in capitals, with an underscore.
        let mut env: Vec<(&str, String)> = Vec::new();
        for word in variables.split(' ') {
            match word.split_once('=') {
                Some((name, value)) => env.push((name, value.to_owned())),
                None => {
                    let (_, value) = env.last_mut().expect("a variable");
                    value.push(' ');
                    value.push_str(word);
                }
            }
        }
        let env: Vec<(&str, &str)> = env
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let (code, says) = run(folder.path(), &env, &COMMAND).await;
        let is_of_settings = code == BAD_SETTINGS || variables.starts_with("DATABASE_URL=");
        assert!(is_of_settings, "{variables}: {code}: {says}");
        assert!(!says.contains("secret@"), "{says}");
        bad.push(Bad::new(variables, says));
    }
    for text in [
        "[worker]\ntick_ms = \"fast\"",
        "[worker\ntick_ms = 5",
        "tick_ms = 5",
        "[database]\nurl = \"postgres://app:hunter2@localhost/app\"",
        "[webhook]\nunsigned_secrets = [\"hunter2\"]",
        "[sender]\nsender = \"1\"\ncredential = \"EAAGhunter2\"",
        "[traces]\nendpoint = \"http://ada:hunter2@127.0.0.1:4318\"",
    ] {
        std::fs::write(folder.path().join("wa-outbox.toml"), text).expect("a file");
        let env = [("WA_OUTBOX_CONFIG", "wa-outbox.toml")];
        let (code, says) = run(folder.path(), &env, &COMMAND).await;
        assert_eq!(code, BAD_SETTINGS, "{text}: {says}");
        assert!(!says.contains("hunter2"), "a secret is shown: {says}");
        bad.push(Bad::new(text, says));
    }
    (
        "Settings",
        "`wa-outbox run` with these variables, or this file; exit code 64, or 1 where only the database can say so.",
        bad,
    )
}
