//! Who may ask the admin listener: nobody from elsewhere without a token, and with one only who shows it.

use std::process::Output;

use wa_outbox::config::{Config, Environment, SecretRef};
use wa_outbox::service::{Role, Service, ServiceError};
use wa_outbox::store::Store;

use crate::support::callbacks::{get, get_with};
use crate::support::world::{World, quick_settings};

const TOKEN: &str = "token-of-the-operators";
const SCRAPER: &str = "token-of-the-scrapers";

fn guarded() -> Config {
    let mut config = quick_settings();
    config.admin.token = Some(SecretRef::Env("OPERATORS".to_owned()));
    config
}

/// A world whose listener knows these tokens.
async fn start(config: Config) -> World {
    let mut world = World::at_rest_with(config).await;
    world.env = Environment::from([
        ("OPERATORS".to_owned(), TOKEN.to_owned()),
        ("SCRAPERS".to_owned(), SCRAPER.to_owned()),
    ]);
    world.config.webhook.app_secrets.clear();
    world.start_service().await;
    world
}

async fn status(world: &World, path: &str, authorization: Option<&str>) -> u16 {
    get_with(world.admin_url(path), authorization).await.status
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[tokio::test]
async fn with_a_token_everything_but_health_asks_for_it() {
    let world = start(guarded()).await;
    for path in ["/healthz", "/readyz"] {
        assert_ne!(status(&world, path, None).await, 401, "{path}");
    }
    for path in [
        "/metrics",
        "/",
        "/what-is-not-there",
        "/healthz/",
        "//healthz",
    ] {
        assert_eq!(status(&world, path, None).await, 401, "{path}");
    }
    let operator = bearer(TOKEN);
    assert_eq!(status(&world, "/metrics", Some(&operator)).await, 200);
    assert_eq!(status(&world, "/not-there", Some(&operator)).await, 404);
    let wrong = [
        bearer(SCRAPER),
        bearer(&TOKEN[1..]),
        bearer(""),
        TOKEN.to_owned(),
        "Basic b3BzOnRva2VuLW9mLXRoZS1vcGVyYXRvcnM=".to_owned(),
    ];
    for wrong in wrong {
        assert_eq!(
            status(&world, "/metrics", Some(&wrong)).await,
            401,
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn below_the_open_files_there_is_nothing_else() {
    let world = start(guarded()).await;
    for path in ["/assets/", "/assets/x", "/assets/x/y"] {
        assert_eq!(status(&world, path, None).await, 404, "{path}");
    }
    assert_eq!(status(&world, "/assets/style.css", None).await, 200);
    assert_eq!(status(&world, "/assets", None).await, 401);
}

#[tokio::test]
async fn a_scraper_may_have_a_token_of_its_own_that_opens_nothing_else() {
    let mut config = guarded();
    config.admin.metrics_token = Some(SecretRef::Env("SCRAPERS".to_owned()));
    let world = start(config).await;
    for (path, token, expected) in [
        ("/metrics", SCRAPER, 200),
        ("/metrics", TOKEN, 200),
        ("/not-there", SCRAPER, 401),
        ("/not-there", TOKEN, 404),
    ] {
        let found = status(&world, path, Some(&bearer(token))).await;
        assert_eq!(found, expected, "{path} {token}");
    }
    assert_eq!(status(&world, "/metrics", None).await, 401);
}

#[tokio::test]
async fn the_metrics_may_be_open_while_the_rest_is_not() {
    let mut config = guarded();
    config.admin.metrics_open = true;
    let world = start(config).await;
    assert_eq!(status(&world, "/metrics", None).await, 200);
    assert_eq!(status(&world, "/", None).await, 401);
}

#[tokio::test]
async fn who_shows_wrong_tokens_is_not_looked_at_for_a_while() {
    let world = start(guarded()).await;
    // A scraper without its token guesses nothing.
    for _ in 0..11 {
        assert_eq!(status(&world, "/metrics", None).await, 401);
    }
    for guess in 0..10 {
        let guess = bearer(&format!("guess-{guess}"));
        assert_eq!(status(&world, "/metrics", Some(&guess)).await, 401);
    }
    let right = bearer(TOKEN);
    assert_eq!(status(&world, "/metrics", Some(&right)).await, 429);
    assert_eq!(status(&world, "/healthz", None).await, 200);
}

#[tokio::test]
async fn the_verify_token_of_webhooks_cannot_be_guessed_without_end() {
    let mut world = World::at_rest().await;
    world.config.webhook.verify_token = Some(SecretRef::Env("VERIFY".to_owned()));
    world
        .env
        .insert("VERIFY".to_owned(), "open sesame".to_owned());
    world.start_service().await;
    let ask = async |token: &str| {
        let query = format!("hub.mode=subscribe&hub.challenge=1&hub.verify_token={token}");
        get(format!("{}?{query}", world.webhook_url())).await.status
    };
    assert_eq!(ask("open%20sesame").await, 200);
    for guess in 0..10 {
        assert_eq!(ask(&format!("open{guess}")).await, 403);
    }
    assert_eq!(ask("open%20sesame").await, 429);
}

/// Starts the program; it must end by itself.
async fn run(world: &World, env: &[(&str, &str)]) -> Output {
    let listens_nowhere_else = ("WA_OUTBOX_WEBHOOK_LISTEN", "127.0.0.1:0");
    let env: Vec<_> = [listens_nowhere_else].iter().chain(env).copied().collect();
    world.command_with(&env, &["run", "--drain"]).await
}

#[tokio::test]
async fn a_listener_for_everybody_without_a_token_is_refused_with_the_way_out() {
    let world = World::at_rest().await;
    for address in ["0.0.0.0:0", "[::]:0", "10.1.2.3:8081"] {
        let output = run(&world, &[("WA_OUTBOX_ADMIN_LISTEN", address)]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(
            said.contains("set WA_OUTBOX_ADMIN_TOKEN, or listen on 127.0.0.1"),
            "{said}"
        );
    }
    // Also by whoever makes the settings without reading them.
    let mut config = quick_settings();
    config.admin.listen = "0.0.0.0:0".parse().expect("an address");
    let store = Store::over(world.database.pool.clone());
    let roles = [Role::Admin].into();
    match Service::start(store, &config, &world.env, &roles).await {
        Err(ServiceError::Config(error)) => {
            assert!(
                error.to_string().contains("WA_OUTBOX_ADMIN_TOKEN"),
                "{error}"
            );
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it listens"),
    }
}

#[tokio::test]
async fn a_token_that_could_be_guessed_is_refused_with_the_way_out() {
    let world = World::at_rest().await;
    let env = [
        ("WA_OUTBOX_ADMIN_LISTEN", "127.0.0.1:0"),
        ("WA_OUTBOX_ADMIN_TOKEN", "hunter2"),
    ];
    let output = run(&world, &env).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("admin.token") && said.contains("openssl rand -hex 24"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn guards_that_contradict_each_other_are_refused() {
    let world = World::at_rest().await;
    let scrapers = ("WA_OUTBOX__ADMIN__METRICS_TOKEN", SCRAPER);
    let open = ("WA_OUTBOX__ADMIN__METRICS_OPEN", "true");
    let token = ("WA_OUTBOX_ADMIN_TOKEN", TOKEN);
    for (env, words) in [
        (vec![scrapers], "set WA_OUTBOX_ADMIN_TOKEN, too"),
        (vec![token, scrapers, open], "leave one of them out"),
    ] {
        let output = run(&world, &env).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(!said.contains(SCRAPER) && !said.contains(TOKEN), "{said}");
    }
}
