use super::*;

fn cloud() -> AddressSettings<'static> {
    AddressSettings {
        provider: "cloud_api",
        base_url: "https://graph.facebook.com",
        path: None,
        api_version: Some("v23.0"),
        credential: "env:TOKEN",
        auth_header: None,
        auth_scheme: None,
        ca_file: None,
        callback_echo: None,
    }
}

fn bsp(path: &'static str) -> AddressSettings<'static> {
    AddressSettings {
        provider: "bsp",
        base_url: "https://waba.example/api/",
        path: Some(path),
        api_version: None,
        ..cloud()
    }
}

fn on_premises() -> AddressSettings<'static> {
    AddressSettings {
        provider: "on_premises",
        base_url: "https://client.example:9090",
        api_version: None,
        ..cloud()
    }
}

fn address(settings: &AddressSettings<'_>) -> String {
    let sender = SenderId::from("106540352242922");
    address_of(&sender, settings)
        .expect("makes an address")
        .to_string()
}

fn refusal(settings: &AddressSettings<'_>) -> String {
    let sender = SenderId::from("106540352242922");
    address_of(&sender, settings)
        .expect_err("is refused")
        .to_string()
}

#[test]
fn a_cloud_address_is_base_version_sender_and_messages() {
    let expected = "https://graph.facebook.com/v23.0/106540352242922/messages";
    assert_eq!(address(&cloud()), expected);
    let with_slash = AddressSettings {
        base_url: "https://graph.facebook.com/",
        ..cloud()
    };
    assert_eq!(address(&with_slash), expected);
}

#[test]
fn a_bsp_address_is_base_and_path() {
    assert_eq!(
        address(&bsp("/v1/messages")),
        "https://waba.example/api/v1/messages"
    );
    assert_eq!(
        address(&bsp("{sender}/messages?channel={sender}")),
        "https://waba.example/api/106540352242922/messages?channel=106540352242922"
    );
}

#[test]
fn a_path_cannot_lead_to_another_host() {
    for path in [
        "//evil.example/messages",
        "@evil.example/messages",
        ":8443@evil.example/",
    ] {
        let url = Url::parse(&address(&bsp(path))).expect("is an address");
        assert_eq!(url.host_str(), Some("waba.example"), "{path}");
    }
}

#[test]
fn plain_http_is_for_this_machine_only() {
    for base_url in [
        "http://127.0.0.1:8090",
        "http://127.9.9.9",
        "http://[::1]:1",
        "http://localhost:1",
    ] {
        let here = AddressSettings {
            base_url,
            ..cloud()
        };
        assert!(address(&here).starts_with(base_url));
    }
    for base_url in [
        "http://graph.facebook.com",
        "http://10.0.0.1",
        "http://localhost.example",
    ] {
        let elsewhere = AddressSettings {
            base_url,
            ..cloud()
        };
        assert!(refusal(&elsewhere).contains("use https"), "{base_url}");
    }
}

#[test]
fn a_setting_that_leads_nowhere_is_named_with_its_fix() {
    for (settings, setting, fix) in [
        (
            AddressSettings {
                base_url: "graph",
                ..cloud()
            },
            "base_url",
            "https://graph.facebook.com",
        ),
        (
            AddressSettings {
                base_url: "ftp://host",
                ..cloud()
            },
            "base_url",
            "https://graph.facebook.com",
        ),
        (
            AddressSettings {
                base_url: "https://u:p@host",
                ..cloud()
            },
            "base_url",
            "credential",
        ),
        (
            AddressSettings {
                base_url: "https://host/?key=1",
                ..cloud()
            },
            "base_url",
            "https://",
        ),
        (
            AddressSettings {
                base_url: "https://graph.facebook.com/v23.0/",
                ..cloud()
            },
            "base_url",
            "api_version",
        ),
        (
            AddressSettings {
                api_version: None,
                ..cloud()
            },
            "api_version",
            "v23.0",
        ),
        (
            AddressSettings {
                api_version: Some("23"),
                ..cloud()
            },
            "api_version",
            "v23.0",
        ),
        (
            AddressSettings {
                api_version: Some("v1/../x"),
                ..cloud()
            },
            "api_version",
            "v23.0",
        ),
        (
            AddressSettings {
                path: None,
                ..bsp("")
            },
            "path",
            "/v1/messages",
        ),
        (bsp("/{phone}/messages"), "path", "{sender}"),
        (
            AddressSettings {
                provider: "twilio",
                ..cloud()
            },
            "twilio",
            "cloud_api",
        ),
        (
            AddressSettings {
                base_url: "https://client.example/v1",
                ..on_premises()
            },
            "base_url",
            "leave the version out",
        ),
    ] {
        let said = refusal(&settings);
        assert!(said.contains(setting) && said.contains(fix), "{said}");
    }
}

#[test]
fn a_sender_that_could_change_the_address_is_refused() {
    for sender in ["", ".", "..", "a/b", "a?b", "a#b", "a b", "%2e%2e", "é"] {
        let error = address_of(&SenderId::from(sender), &cloud()).expect_err("is refused");
        assert!(error.to_string().contains("sender"), "{sender}");
    }
    let phone = address_of(&SenderId::from("+16505551234"), &bsp("/{sender}/messages"));
    assert_eq!(phone.expect("is fine").path(), "/api/+16505551234/messages");
}

#[test]
fn an_on_premises_client_has_its_messages_and_its_login_below_its_base() {
    assert_eq!(
        address(&on_premises()),
        "https://client.example:9090/v1/messages"
    );
    let login = login("https://client.example:9090/", &"admin:pä:ss".into()).expect("is fine");
    assert_eq!(
        (login.url.as_str(), login.basic.as_bytes()),
        (
            "https://client.example:9090/v1/users/login",
            &b"Basic YWRtaW46cMOkOnNz"[..]
        )
    );
    assert!(login.basic.is_sensitive());
}

#[test]
fn a_login_needs_a_user_and_a_password() {
    let refused = basic(&"only-a-token".into()).expect_err("is refused");
    let said = refused.to_string();
    assert!(
        said.contains("user:password") && !said.contains("only-a-token"),
        "{said}"
    );
}

#[test]
fn the_token_goes_into_a_bearer_header_or_bare_into_the_providers_own() {
    let token = SecretString::from("EAAB");
    for (header, scheme, name, value) in [
        (None, None, "authorization", "Bearer EAAB"),
        (Some("authorization"), None, "authorization", "Bearer EAAB"),
        (Some("D360-API-KEY"), None, "d360-api-key", "EAAB"),
        (None, Some("none"), "authorization", "EAAB"),
        (None, Some("Token"), "authorization", "Token EAAB"),
        (Some("X-Api-Key"), Some("Key"), "x-api-key", "Key EAAB"),
    ] {
        let (header, found) = authorization(header, scheme, &token).expect("is fine");
        assert_eq!(
            (header.as_str(), found.as_bytes()),
            (name, value.as_bytes())
        );
        assert!(found.is_sensitive());
    }
    assert!(authorization(Some("D360 API KEY"), None, &token).is_err());
    let user = SecretString::from("user:secret");
    let (_, found) = authorization(None, Some("basic"), &user).expect("is fine");
    assert_eq!(found.as_bytes(), b"Basic dXNlcjpzZWNyZXQ=");
}

#[test]
fn a_token_with_a_line_break_is_refused_and_not_repeated() {
    let error = authorization(None, None, &SecretString::from("EAAB\nX")).expect_err("is refused");
    let all = format!("{error:?} {error}");
    assert!(!all.contains("EAAB"), "{all}");
}

/// An endpoint whose credential is in a file.
fn endpoint(credential: &str, settings: &AddressSettings<'_>) -> Result<Endpoint, AddressError> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    std::io::Write::write_all(&mut file, credential.as_bytes()).expect("is written");
    let credential = format!("file:{}", file.path().display());
    let settings = AddressSettings {
        credential: &credential,
        ..*settings
    };
    Endpoint::of(&SenderId::from("106540352242922"), &settings)
}

#[test]
fn an_endpoint_shows_neither_its_token_nor_its_sender() {
    let endpoint = endpoint("EAAB\n", &cloud()).expect("is complete");
    let shown = format!("{endpoint:?}");
    assert!(shown.contains("graph.facebook.com"), "{shown}");
    assert!(
        !shown.contains("EAAB") && !shown.contains("106540352242922"),
        "{shown}"
    );
}

#[test]
fn an_endpoint_reads_its_credential_from_where_the_settings_say() {
    let cloud = endpoint("EAAB\n", &cloud()).expect("is complete");
    let Access::Header { value, .. } = &cloud.access else {
        panic!("the Cloud API is not logged in to")
    };
    assert_eq!(value.as_bytes(), b"Bearer EAAB");
    let client = endpoint("admin:secret\n", &on_premises()).expect("is complete");
    assert!(matches!(client.access, Access::Login(_)) && !client.carries_token);
}

#[test]
fn only_the_cloud_api_has_an_address_for_marketing_and_only_marked_messages_go_there() {
    let marked = r#"{"type":"template","template":{"name":"sale"},"product_policy":"STRICT"}"#;
    let plain = r#"{"type":"template","template":{"name":"sale"}}"#;
    let [marked, plain] = [marked, plain].map(|text| Payload::parse(text).expect("is an object"));
    let cloud = endpoint("EAAB", &cloud()).expect("is complete");
    assert_eq!(
        cloud.target_of(&marked).url.as_str(),
        "https://graph.facebook.com/v23.0/106540352242922/marketing_messages"
    );
    assert_eq!(cloud.target_of(&plain).url, cloud.url);
    let bsp = endpoint("EAAB", &bsp("/v1/messages")).expect("is complete");
    assert_eq!(bsp.target_of(&marked).url, bsp.url);
}

#[test]
fn the_harmless_call_is_the_providers_own_or_none() {
    let call = |endpoint: Result<Endpoint, _>| {
        let endpoint = endpoint.expect("is complete");
        endpoint.harmless_call().map(Url::to_string)
    };
    assert_eq!(
        call(endpoint("EAAB", &cloud())).as_deref(),
        Some(
            "https://graph.facebook.com/v23.0/106540352242922?fields=id,quality_rating,throughput"
        )
    );
    assert_eq!(
        call(endpoint("a:b", &on_premises())).as_deref(),
        Some("https://client.example:9090/v1/health")
    );
    assert_eq!(call(endpoint("EAAB", &bsp("/v1/messages"))), None);
}

#[test]
fn a_file_without_a_certificate_is_refused_by_its_setting() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    std::io::Write::write_all(&mut file, b"no certificate").expect("is written");
    let path = file.path().display().to_string();
    for (path, said) in [
        (path.as_str(), "holds no certificate"),
        ("/nowhere/ca.pem", "/nowhere/ca.pem"),
    ] {
        let settings = AddressSettings {
            ca_file: Some(path),
            ..cloud()
        };
        let refused = endpoint("EAAB", &settings)
            .expect_err("is refused")
            .to_string();
        assert!(
            refused.contains("ca_file") && refused.contains(said),
            "{refused}"
        );
    }
}

#[test]
fn the_on_premises_client_is_told_of_a_read_message_at_that_messages_address() {
    let read = r#"{"status":"read","message_id":"gBGG/?a"}"#;
    let read = Payload::parse(read).expect("is an object");
    let client = endpoint("admin:secret", &on_premises()).expect("is complete");
    let target = client.target_of(&read);
    assert_eq!(
        (target.method, target.url.as_str()),
        (
            Method::PUT,
            "https://client.example:9090/v1/messages/gBGG%2F%3Fa"
        )
    );
    let cloud = endpoint("EAAB", &cloud()).expect("is complete");
    assert_eq!(cloud.target_of(&read).method, Method::POST);
}

#[test]
fn a_server_that_needs_other_certificates_is_reached_by_another_way() {
    let plain = Endpoint::for_tests("https://client.example:9090/v1/messages");
    let by = |pem: &[u8]| Endpoint {
        authority: Some(Authority(pem.into())),
        ..plain.clone()
    };
    assert_eq!(plain.way(), "https://client.example:9090");
    assert_eq!(by(b"one").way(), by(b"one").way());
    assert_ne!(by(b"one").way(), by(b"two").way());
    assert!(by(b"one").way().starts_with(&plain.way()));
    assert_ne!(by(b"one").way(), plain.way());
}

#[test]
fn an_endpoint_is_made_anew_when_what_its_files_hold_has_changed_and_not_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str, text: &str| std::fs::write(place(name), text).expect("is written");
    let (credential, ca_file) = (format!("file:{}", place("token")), place("ca.pem"));
    let trusted_by_the_machine = AddressSettings {
        credential: &credential,
        ..cloud()
    };
    let settings = AddressSettings {
        ca_file: Some(&ca_file),
        ..trusted_by_the_machine
    };
    let endpoint = Endpoint {
        authority: Some(Authority(b"one".as_slice().into())),
        ..Endpoint::for_tests("https://graph.facebook.com/v23.0/1/messages")
    };
    write("token", "EAAB");
    write("ca.pem", "one");
    assert!(endpoint.is_current(&settings));
    assert!(!endpoint.is_current(&trusted_by_the_machine));

    write("ca.pem", "two");
    assert!(!endpoint.is_current(&settings));

    write("ca.pem", "one");
    write("token", "EAAC");
    assert!(!endpoint.is_current(&settings));
}
