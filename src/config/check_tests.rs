//! Settings that cannot work, and what is said about them.

use super::*;
use crate::config::SecretRef;

/// What is refused after this change of the defaults.
fn refused(change: impl FnOnce(&mut Config)) -> String {
    let mut config = Config::default();
    change(&mut config);
    config.check().expect_err("nonsense").to_string()
}

fn a_secret() -> SecretRef {
    SecretRef::Env("SOME".to_owned())
}

#[test]
fn the_defaults_are_no_nonsense() {
    Config::default().check().expect("fine");
}

#[test]
fn no_span_and_no_number_may_be_nothing() {
    type Change = fn(&mut Config);
    let changes: [(&str, Change); 15] = [
        ("database.max_connections", |config| {
            config.database.max_connections = 0
        }),
        ("database.statement_timeout_s", |config| {
            config.database.statement_timeout = Duration::ZERO
        }),
        ("database.lock_timeout_s", |config| {
            config.database.lock_timeout = Duration::ZERO
        }),
        ("http.connect_timeout_s", |config| {
            config.http.connect_timeout = Duration::ZERO
        }),
        ("http.response_timeout_s", |config| {
            config.http.response_timeout = Duration::ZERO
        }),
        ("http.pool_idle_timeout_s", |config| {
            config.http.pool_idle_timeout = Duration::ZERO
        }),
        ("worker.heartbeat_s", |config| {
            config.worker.heartbeat = Duration::ZERO
        }),
        ("worker.tick_ms", |config| {
            config.worker.tick = Duration::ZERO
        }),
        ("worker.idle_poll_ms", |config| {
            config.worker.idle_poll = Duration::ZERO
        }),
        ("worker.read_ahead", |config| config.worker.read_ahead = 0),
        ("worker.max_in_flight", |config| {
            config.worker.max_in_flight = 0
        }),
        ("worker.record_batch", |config| {
            config.worker.record_batch = 0
        }),
        ("retry.first_delay_s", |config| {
            config.retry.first_delay = Duration::ZERO
        }),
        ("retry.max_attempts", |config| config.retry.max_attempts = 0),
        ("webhook.apply_batch", |config| {
            config.webhook.apply_batch = 0
        }),
    ];
    for (field, change) in changes {
        let message = refused(change);
        assert!(message.starts_with(&format!("{field} = 0: ")), "{message}");
    }
}

#[test]
fn nothing_is_deleted_that_a_late_webhook_may_still_be_about() {
    let message = refused(|config| config.retention.messages_days = Some(7));
    assert!(
        message.starts_with("retention.messages_days = 7: ") && message.contains("at least 8"),
        "{message}"
    );
    let message = refused(|config| config.retention.webhooks_days = Some(0));
    assert!(
        message.starts_with("retention.webhooks_days = 0: ") && message.contains("at least 1"),
        "{message}"
    );
    let message = refused(|config| config.retention.messages_days = Some(3_651));
    assert!(message.contains("at most 3650"), "{message}");
    let mut config = Config::default();
    config.retention.messages_days = Some(8);
    config.retention.webhooks_days = Some(1);
    config.check().expect("fine");
}

#[test]
fn a_connection_may_not_take_longer_than_its_answer() {
    let message = refused(|config| config.http.connect_timeout = Duration::from_secs(60));
    assert!(
        message.starts_with("http.connect_timeout_s = 60: "),
        "{message}"
    );
}

#[test]
fn a_lease_outlasts_three_heartbeats() {
    let message = refused(|config| config.worker.heartbeat = Duration::from_millis(5_100));
    assert!(
        message.starts_with("worker.lease_s = 15: ") && message.contains("15.3"),
        "{message}"
    );
}

#[test]
fn a_lease_outlasts_a_busy_moment() {
    let message = refused(|config| {
        config.worker.heartbeat = Duration::from_millis(100);
        config.worker.lease = Duration::from_millis(999);
    });
    assert!(
        message.starts_with("worker.lease_s = 0.999: ") && message.contains("at least 1"),
        "{message}"
    );
}

#[test]
fn a_lease_outlasts_several_statements_that_hang() {
    let limit_ms = |statement, lease| {
        let mut config = Config::default();
        config.database.statement_timeout = Duration::from_secs(statement);
        config.worker.lease = Duration::from_secs(lease);
        config.statement_limit().as_millis()
    };
    assert_eq!(limit_ms(15, 15), 3_750);
    assert_eq!(limit_ms(600, 60), 15_000);
    assert_eq!(limit_ms(2, 60), 2_000, "as it was set");
    assert_eq!(limit_ms(15, 2), 1_000, "a busy server is not silent");
}

#[test]
fn connections_are_left_for_the_lease() {
    let message = refused(|config| config.database.max_connections = 2);
    assert!(
        message.starts_with("database.max_connections = 2: ") && message.contains("3 or more"),
        "{message}"
    );
}

#[test]
fn a_delivery_is_waited_for_some_time() {
    let message = refused(|config| config.sequence.delivery_timeout = Some(Duration::ZERO));
    assert!(
        message.starts_with("sequence.delivery_timeout_s = 0: "),
        "{message}"
    );
}

#[test]
fn a_window_outlasts_an_answer_and_so_does_the_end() {
    let message = refused(|config| config.reconcile.window = Duration::from_secs(59));
    assert!(
        message.starts_with("reconcile.window_s = 59: "),
        "{message}"
    );
    let message = refused(|config| config.worker.shutdown = Some(Duration::from_secs(30)));
    assert!(message.starts_with("worker.shutdown_s = 30: "), "{message}");
}

#[test]
fn a_wait_grows_by_chance_but_not_backwards() {
    for factor in [0.9, f64::NAN, f64::INFINITY] {
        assert!(refused(|config| config.retry.factor = factor).starts_with("retry.factor = "));
    }
    for jitter in [-0.1, 1.0, f64::NAN] {
        assert!(refused(|config| config.retry.jitter = jitter).starts_with("retry.jitter = "));
    }
    let message = refused(|config| config.retry.max_delay = Duration::from_millis(10));
    assert!(
        message.starts_with("retry.max_delay_s = 0.01: "),
        "{message}"
    );
}

#[test]
fn a_listener_that_others_reach_is_guarded() {
    for listen in [
        "0.0.0.0:80",
        "[::]:80",
        "10.0.0.1:80",
        "[::ffff:10.0.0.1]:80",
    ] {
        let listen: SocketAddr = listen.parse().expect("an address");
        let open = refused(|config| {
            config.webhook.listen = listen;
            config.webhook.app_secrets.clear();
        });
        assert!(
            open.contains("webhook.listen") && open.contains("WHATSAPP_APP_SECRET"),
            "{open}"
        );
        let open = refused(|config| config.admin.listen = listen);
        assert!(
            open.contains("admin.listen") && open.contains("WA_OUTBOX_ADMIN_TOKEN"),
            "{open}"
        );
    }
    let mut guarded = Config::default();
    guarded.webhook.listen = "0.0.0.0:80".parse().expect("an address");
    guarded.admin.listen = "0.0.0.0:81".parse().expect("an address");
    guarded.admin.token = Some(a_secret());
    guarded.check().expect("guarded");
}

#[test]
fn a_listener_of_this_machine_only_needs_no_guard() {
    for listen in [
        "127.0.0.1:0",
        "127.9.9.9:80",
        "[::1]:80",
        "[::ffff:127.0.0.1]:80",
    ] {
        let mut config = Config::default();
        config.webhook.listen = listen.parse().expect("an address");
        config.webhook.app_secrets.clear();
        config.check().expect(listen);
    }
}

#[test]
fn two_listeners_have_two_addresses() {
    let message = refused(|config| config.admin.listen = config.webhook.listen);
    assert!(message.contains("webhook.listen, too"), "{message}");
}

#[test]
fn a_sender_has_an_id_a_credential_and_an_address() {
    assert!(
        refused(|config| config.sender.sender = Some("1".to_owned()))
            .contains("WHATSAPP_ACCESS_TOKEN")
    );
    assert!(
        refused(|config| config.sender.credential = Some(a_secret()))
            .contains("WHATSAPP_PHONE_NUMBER_ID")
    );
    for id in ["", "+1 650", "a/b"] {
        assert!(
            refused(|config| config.sender.sender = Some(id.to_owned()))
                .starts_with("sender.sender = ")
        );
    }
    for base in [
        "graph.facebook.com",
        "https://",
        "ftp://host",
        "https://a b",
        "https://graph.facebook.com/v23.0",
        "http://graph.facebook.com",
        "https://host:99999",
        "https://[::1",
        "https://graph.facebook.com?x=1",
        "https://graph.facebook.com/",
        " https://graph.facebook.com",
    ] {
        let message = refused(|config| config.sender.base_url = Some(base.to_owned()));
        assert!(message.starts_with("sender.base_url = "), "{message}");
    }
    for version in ["23.0", "v23", "v", "v.0", "vx.0", "v23.0/"] {
        let message = refused(|config| config.sender.api_version = Some(version.to_owned()));
        assert!(message.starts_with("sender.api_version = "), "{message}");
    }
}

#[test]
fn a_refused_address_shows_no_password() {
    let message =
        refused(|config| config.sender.base_url = Some("https://user:hunter2@host".to_owned()));
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn a_limit_of_a_statement_is_one_that_postgres_takes() {
    for seconds in [0.0, 0.0004, 2_147_484.0] {
        let span = Duration::from_secs_f64(seconds);
        let message = refused(|config| config.database.lock_timeout = span);
        let field = "database.lock_timeout_s = ";
        assert!(message.starts_with(field), "{message}");
        let message = refused(|config| config.database.statement_timeout = span);
        let field = "database.statement_timeout_s = ";
        assert!(message.starts_with(field), "{message}");
    }
    for seconds in [0.001, 2_147_483.0] {
        let mut config = Config::default();
        let span = Duration::from_secs_f64(seconds);
        (
            config.database.statement_timeout,
            config.database.lock_timeout,
        ) = (span, span);
        assert!(config.check().is_ok(), "{seconds}");
    }
}

#[test]
fn campaigns_are_left_some_of_the_rate_and_no_more_than_all() {
    for share in [-0.1, 0.95, f64::NAN] {
        let message = refused(|config| config.worker.urgent_share = share);
        assert!(message.starts_with("worker.urgent_share = "), "{message}");
    }
}

#[test]
fn a_collector_has_an_address_and_a_share_is_one() {
    let refused_at =
        |endpoint: &str| refused(|config| config.traces.endpoint = Some(endpoint.to_owned()));
    for endpoint in ["localhost:4318", "grpc://localhost:4317", "http://"] {
        let message = refused_at(endpoint);
        assert!(message.starts_with("traces.endpoint = "), "{message}");
    }
    let message = refused_at("http://me:hunter2@localhost:4318");
    assert!(message.contains("traces.headers"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
    let message = refused(|config| config.traces.sample_ratio = 1.5);
    assert!(
        message.starts_with("traces.sample_ratio = 1.5: "),
        "{message}"
    );
}
