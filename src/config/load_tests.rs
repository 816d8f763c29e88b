//! Settings as people write them.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::config::{DatabaseUrl, OnFailure, OnTimeout, OnUncertain, Sequence};

const EXAMPLE: &str = include_str!("../../deploy/wa-outbox.example.toml");

fn env(variables: &[(&str, &str)]) -> Environment {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// A settings file that is gone with the test.
struct File(PathBuf);

impl File {
    fn of(text: &str) -> Self {
        let name = format!(
            "wa-outbox-{}-{:016x}.toml",
            std::process::id(),
            fastrand::u64(..)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("a scratch file");
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // A file that is left behind is no reason to fail a test.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let file = File::of(text);
    Config::load(Some(&file.0), &env(variables))
}

fn refused(text: &str, variables: &[(&str, &str)]) -> String {
    load(text, variables).expect_err("refused").to_string()
}

#[test]
fn without_anything_there_are_defaults() {
    let config = Config::load(None, &env(&[(APP_SECRET, "x")])).expect("defaults");
    assert_eq!(config, Config::default());
    assert_eq!(config.shutdown(), Duration::from_secs(70));
}

#[test]
fn the_example_file_holds_the_defaults() {
    let example = load(EXAMPLE, &[(APP_SECRET, "x")]).expect("the example");
    assert_eq!(example, Config::default());
}

#[test]
fn the_example_file_names_every_setting() {
    let file: Table = EXAMPLE.parse().expect("TOML");
    assert_eq!(file.len(), sections().len());
    let mut section = "";
    let mut named: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in EXAMPLE.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        match (line.strip_prefix('['), line.split_once(" = ")) {
            (Some(name), _) => section = name.trim_end_matches(']'),
            (None, Some((key, _))) if !key.contains(' ') => {
                named.entry(section).or_default().push(key)
            }
            (None, _) => {}
        }
    }
    for section in sections() {
        assert_eq!(named[section.name], section.keys, "[{}]", section.name);
    }
}

#[test]
fn what_the_example_file_comments_out_is_accepted_too() {
    let uncommented: Vec<_> = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting)
                if setting
                    .split_once(" = ")
                    .is_some_and(|(key, _)| !key.contains(' ')) =>
            {
                setting
            }
            Some(_) | None => line,
        })
        .collect();
    let config = load(&uncommented.join("\n"), &[]).expect("accepted");
    assert_eq!(config.worker.name.as_deref(), Some("worker-1"));
    assert_eq!(config.worker.shutdown, Some(Duration::from_secs(70)));
}

#[test]
fn environment_counts_before_short_form_before_file_before_default() {
    let file = "[webhook]\nlisten = '127.0.0.1:1'";
    let short = ("WA_OUTBOX_WEBHOOK_LISTEN", "127.0.0.1:2");
    let long = ("WA_OUTBOX__WEBHOOK__LISTEN", "127.0.0.1:3");
    let port = |text, variables: &[_]| load(text, variables).expect("fine").webhook.listen.port();
    assert_eq!(port("", &[]), 8080);
    assert_eq!(port(file, &[]), 1);
    assert_eq!(port(file, &[short]), 2);
    assert_eq!(port(file, &[short, long]), 3);
    assert_eq!(port(file, &[("WA_OUTBOX_WEBHOOK_LISTEN", "")]), 1);
}

#[test]
fn the_file_may_be_named_in_the_environment() {
    let file = File::of("[worker]\ntick_ms = 7");
    let path = file.0.to_str().expect("plain");
    let config = Config::load(None, &env(&[("WA_OUTBOX_CONFIG", path)])).expect("fine");
    assert_eq!(config.worker.tick, Duration::from_millis(7));
}

#[test]
fn every_setting_can_be_given_in_the_environment() {
    let values = |key: &str| match key {
        "on_uncertain" => "hold",
        "on_failure" | "on_timeout" => "halt",
        "format" => "json",
        "metrics_open" => "true",
        "headers" => "{ x-key = \"env:KEY\" }",
        "listen" => "127.0.0.1:9",
        "url" => "postgres://localhost/app",
        "base_url" => "https://example.com",
        "api_version" => "v99.0",
        _ => "60",
    };
    for section in sections() {
        for key in section.keys {
            let variable = in_environment(section.name, Some(key));
            let mut settings = Settings::of_file(Table::new()).expect("empty");
            settings
                .put_environment(&env(&[(&variable, values(key))]))
                .expect(&variable);
            assert!(
                settings.table[section.name].get(key).is_some(),
                "{variable}"
            );
        }
    }
}

#[test]
fn a_text_in_the_environment_means_what_its_setting_takes() {
    let config = load(
        "",
        &[
            ("WA_OUTBOX__WORKER__NAME", "1_000"),
            ("WA_OUTBOX__WORKER__HEARTBEAT_S", "0.5"),
            ("WA_OUTBOX__RETRY__FACTOR", "3"),
            ("WA_OUTBOX__LOG__FILTER", "\"warn,wa_outbox=debug\""),
            ("WA_OUTBOX__RECONCILE__ON_UNCERTAIN", "hold"),
            ("WA_OUTBOX__SEQUENCE__ON_FAILURE", "skip"),
            ("WA_OUTBOX__SEQUENCE__DELIVERY_TIMEOUT_S", "90"),
            ("WA_OUTBOX__SEQUENCE__ON_TIMEOUT", "proceed"),
            (
                "WA_OUTBOX__WEBHOOK__APP_SECRETS",
                "[\"env:NEW\", \"env:OLD\"]",
            ),
            ("WA_OUTBOX__SENDER__SENDER", "106540352242922"),
            ("WA_OUTBOX__SENDER__CREDENTIAL", "env:ELSEWHERE"),
        ],
    )
    .expect("fine");
    assert_eq!(config.worker.name.as_deref(), Some("1_000"));
    assert_eq!(config.worker.heartbeat, Duration::from_millis(500));
    assert!((config.retry.factor - 3.0).abs() < f64::EPSILON);
    assert_eq!(config.log.filter, "warn,wa_outbox=debug");
    assert_eq!(config.reconcile.on_uncertain, OnUncertain::Hold);
    assert_eq!(
        config.sequence,
        Sequence {
            on_failure: OnFailure::Skip,
            delivery_timeout: Some(Duration::from_secs(90)),
            on_timeout: OnTimeout::Proceed,
        }
    );
    assert_eq!(config.webhook.app_secrets.len(), 2);
    assert_eq!(config.sender.sender.as_deref(), Some("106540352242922"));
    assert_eq!(
        config.sender.credential,
        Some(SecretRef::Env("ELSEWHERE".to_owned()))
    );
}

#[test]
fn the_short_forms_make_a_sender_and_keep_its_token_out_of_the_settings() {
    let variables = [
        ("DATABASE_URL", "postgres://app:hunter2@db/app"),
        ("WHATSAPP_PHONE_NUMBER_ID", "106540352242922"),
        ("WHATSAPP_ACCESS_TOKEN", "hunter3"),
        ("WHATSAPP_API_BASE", "http://127.0.0.1:9999"),
        ("WHATSAPP_API_VERSION", "v24.0"),
        ("WHATSAPP_APP_SECRET", "hunter4"),
        ("WHATSAPP_VERIFY_TOKEN", "12345"),
        ("WA_OUTBOX_ADMIN_TOKEN", "hunter5"),
    ];
    let config = load("", &variables).expect("fine");
    let env = env(&variables);

    assert_eq!(config.sender.sender.as_deref(), Some("106540352242922"));
    assert_eq!(
        config.sender.base_url.as_deref(),
        Some("http://127.0.0.1:9999")
    );
    assert_eq!(config.sender.api_version.as_deref(), Some("v24.0"));
    assert!(config.sender.has_token_of_short_form());
    let token = config
        .sender
        .credential
        .as_ref()
        .expect("a credential")
        .read(&env)
        .expect("set");
    assert_eq!(token.expose_secret(), "hunter3");
    assert_eq!(
        config.database_url(&env).expect("set").expose_secret(),
        "postgres://app:hunter2@db/app"
    );
    assert_eq!(
        config.app_secrets(&env).expect("set")[0].expose_secret(),
        "hunter4"
    );
    assert_eq!(
        config
            .verify_token(&env)
            .expect("set")
            .expect("one")
            .expose_secret(),
        "12345"
    );
    assert_eq!(
        config
            .admin_token(&env)
            .expect("set")
            .expect("one")
            .expose_secret(),
        "hunter5"
    );
    assert!(!format!("{config:?}").contains("hunter"));
}

#[test]
fn the_app_secret_of_the_short_form_joins_those_of_the_file() {
    let names = |text: &str, variables: &[_]| -> Vec<String> {
        load(text, variables)
            .expect("fine")
            .webhook
            .app_secrets
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let set = [(APP_SECRET, "x")];
    let file = "[webhook]\napp_secrets = ['file:/old']";
    assert_eq!(names("", &[]), [""; 0]);
    assert_eq!(names("", &set), ["env:WHATSAPP_APP_SECRET"]);
    assert_eq!(names(file, &[]), ["file:/old"]);
    assert_eq!(names(file, &set), ["file:/old", "env:WHATSAPP_APP_SECRET"]);
    assert_eq!(
        names("[webhook]\napp_secrets = 'file:/old'", &set),
        ["file:/old", "env:WHATSAPP_APP_SECRET"]
    );
}

#[test]
fn an_unknown_setting_is_refused_and_the_right_one_named() {
    assert_eq!(
        refused("[worker]\ntik_ms = 5", &[]),
        "there is no setting worker.tik_ms; did you mean worker.tick_ms?"
    );
    assert_eq!(
        refused("[workr]\ntick_ms = 5", &[]),
        "there is no setting [workr]; did you mean [worker]?"
    );
    assert_eq!(
        refused("", &[("WA_OUTBOX__WORKER__TIK_MS", "5")]),
        "there is no setting WA_OUTBOX__WORKER__TIK_MS; did you mean WA_OUTBOX__WORKER__TICK_MS?"
    );
    assert_eq!(
        refused("", &[("WA_OUTBOX__WORKR__TICK_MS", "5")]),
        "there is no setting WA_OUTBOX__WORKR__TICK_MS; did you mean WA_OUTBOX__WORKER__TICK_MS?"
    );
}

#[test]
fn where_nothing_is_alike_what_there_is_is_listed() {
    let message = refused("[token]\nzzz = 5", &[]);
    assert_eq!(
        message,
        "there is no setting token.zzz; the settings of [token] are key"
    );
    assert!(refused("[zzz]", &[]).contains("the sections are database, http,"));
    assert!(refused("tick_ms = 5", &[]).contains("every setting stands in a section"));
    for variable in [
        "WA_OUTBOX__",
        "WA_OUTBOX__WORKER",
        "WA_OUTBOX__WORKER__",
        "WA_OUTBOX__WORKER__TICK_MS__X",
    ] {
        assert!(
            refused("", &[(variable, "5")]).starts_with("there is no setting "),
            "{variable}"
        );
    }
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_by_name() {
    for (text, expected) in [
        (
            "[http]\nconnect_timeout_s = 'soon'",
            "http.connect_timeout_s = \"soon\": must be a number of seconds",
        ),
        (
            "[http]\nconnect_timeout_s = -1",
            "http.connect_timeout_s = -1: must be a number of seconds",
        ),
        (
            "[http]\nconnect_timeout_s = nan",
            "http.connect_timeout_s = nan: must be a number of seconds",
        ),
        (
            "[http]\nconnect_timeout_s = 1e300",
            "must be a number of seconds",
        ),
        (
            "[worker]\ntick_ms = true",
            "worker.tick_ms = true: must be a number of milliseconds",
        ),
        (
            "[worker]\nread_ahead = -1",
            "worker.read_ahead = -1: invalid value",
        ),
        (
            "[reconcile]\non_uncertain = 'pray'",
            "must be \"retry\" or \"hold\"",
        ),
        (
            "[webhook]\nlisten = ':8080'",
            "webhook.listen = \":8080\": must be an IP address and a port",
        ),
    ] {
        let message = refused(text, &[]);
        assert!(message.contains(expected), "{message}");
    }
    let message = refused("", &[("WA_OUTBOX__WORKER__TICK_MS", "soon")]);
    assert!(
        message.starts_with("worker.tick_ms (WA_OUTBOX__WORKER__TICK_MS) = \"soon\": "),
        "{message}"
    );
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_repeated() {
    for section in [
        "[database]\nurl = 'postgres://app:hunter2@db/app'",
        "[database]\nurl = 'host=db password=hunter2'",
        "[webhook]\napp_secrets = ['hunter2']",
        "[webhook]\napp_secrets = 'hunter2'",
        "[webhook]\nverify_token = 'hunter2'",
        "[admin]\ntoken = 'hunter2'",
        "[admin]\ntoken = 4042",
        "[admin]\ntoken = ['hunter2', 4042]",
        "[token]\nkey = 'hunter2'",
        "[sender]\ncredential = 'hunter2'",
    ] {
        let message = refused(section, &[]);
        assert!(message.contains("env:NAME or file:PATH"), "{message}");
        assert!(
            !message.contains("hunter2") && !message.contains("4042"),
            "{message}"
        );
    }
}

#[test]
fn a_secret_given_by_value_in_the_environment_stays_there() {
    let variables = [
        ("WA_OUTBOX__DATABASE__URL", "postgres://app:hunter2@db/app"),
        ("WA_OUTBOX__ADMIN__TOKEN", "4042"),
    ];
    let config = load("", &variables).expect("fine");
    let kept = SecretRef::Env("WA_OUTBOX__DATABASE__URL".to_owned());
    assert_eq!(config.database.url, Some(DatabaseUrl::Kept(kept)));
    let token = config
        .admin_token(&env(&variables))
        .expect("set")
        .expect("one");
    assert_eq!(token.expose_secret(), "4042");

    let message = refused("", &[("WA_OUTBOX__ADMIN__TOKEN", "env:not a name")]);
    assert!(message.contains("env:NAME or file:PATH"), "{message}");
}

#[test]
fn a_file_that_is_no_toml_is_refused_by_line_and_not_repeated() {
    for token in [
        "\"hunter2",
        "hunter2",
        "'hunter2",
        "\"hunter2\" hunter2",
        "\"\\hunter2\"",
        "{ hunter2 }",
    ] {
        let message = refused(&format!("[admin]\n\ntoken = {token}\n"), &[]);
        assert!(
            message.contains("line 3") && !message.contains("hunter2"),
            "{message}"
        );
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error =
        Config::load(Some(Path::new("/nowhere/at/all.toml")), &env(&[])).expect_err("missing");
    assert_eq!(
        error.to_string(),
        "could not read the settings file /nowhere/at/all.toml"
    );
}

#[test]
fn nonsense_is_refused_when_it_is_loaded() {
    assert!(refused("[worker]\nlease_s = 1", &[]).starts_with("worker.lease_s = 1: "));
    let open = [("WA_OUTBOX_WEBHOOK_LISTEN", "0.0.0.0:8080")];
    assert!(refused("", &open).contains("set WHATSAPP_APP_SECRET"));
    load("", &[open[0], (APP_SECRET, "x")]).expect("guarded");
}

#[test]
fn without_a_database_the_way_to_set_one_is_named() {
    let message = load("", &[])
        .expect("fine")
        .database_url(&env(&[]))
        .expect_err("none")
        .to_string();
    assert!(
        message.contains("database.url is not set") && message.contains("DATABASE_URL"),
        "{message}"
    );
}

#[test]
fn a_reference_that_leads_nowhere_names_its_setting_and_its_place() {
    let config = load("[admin]\ntoken = 'env:GONE'", &[]).expect("fine");
    let error = config.admin_token(&env(&[])).expect_err("not set");
    assert!(error.to_string().contains("admin.token"));
    let source = std::error::Error::source(&error)
        .expect("a reason")
        .to_string();
    assert!(source.contains("GONE"), "{source}");
}

#[test]
fn a_token_key_is_read_and_a_bad_one_not_repeated() {
    let config = load("[token]\nkey = 'env:KEY'", &[]).expect("fine");
    assert!(
        config
            .token_key(&env(&[("KEY", &"a1".repeat(32))]))
            .expect("a key")
            .is_some()
    );
    let message = config
        .token_key(&env(&[("KEY", "hunter2")]))
        .expect_err("no key")
        .to_string();
    assert!(
        message.contains("token.key = env:KEY") && !message.contains("hunter2"),
        "{message}"
    );
}

#[test]
fn the_short_forms_of_opentelemetry_name_a_collector_and_a_share() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ("KEY", "let-me-in"),
    ];
    let config = load("[traces]\nheaders = { x-key = \"env:KEY\" }", &variables).expect("settings");
    assert_eq!(
        config.traces.endpoint.as_deref(),
        Some("http://127.0.0.1:4318")
    );
    assert_eq!(config.traces.sample_ratio, 0.25);
    let headers = config.trace_headers(&env(&variables)).expect("its value");
    let [(name, value)] = headers.as_slice() else {
        panic!("{} headers", headers.len());
    };
    assert_eq!(
        (name.as_str(), value.expose_secret()),
        ("x-key", "let-me-in")
    );
    let unfit = ("OTEL_TRACES_SAMPLER_ARG", "often");
    let wrong = ("WA_OUTBOX__WORKER__TICK_MS", "soon");
    let error = Config::load_but_traces(None, &env(&[unfit, wrong])).expect_err("is refused");
    assert!(error.to_string().contains(wrong.0), "{error}");
    let message = refused("", &[unfit]);
    assert!(message.contains("OTEL_TRACES_SAMPLER_ARG"), "{message}");
}
