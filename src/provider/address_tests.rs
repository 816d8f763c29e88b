use super::*;

fn cloud() -> AddressSettings<'static> {
    AddressSettings {
        provider: "cloud_api",
        base_url: "https://graph.facebook.com",
        path: None,
        api_version: Some("v23.0"),
        credential: "env:TOKEN",
        auth_header: None,
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
                provider: "on_premises",
                ..cloud()
            },
            "on_premises",
            "not supported yet",
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
fn the_token_goes_into_a_bearer_header_or_bare_into_the_providers_own() {
    let token = SecretString::from("EAAB");
    let (header, value) = authorization(None, &token).expect("is fine");
    assert_eq!(
        (header, value.as_bytes()),
        (AUTHORIZATION, &b"Bearer EAAB"[..])
    );
    let (header, value) = authorization(Some("authorization"), &token).expect("is fine");
    assert_eq!(
        (header, value.as_bytes()),
        (AUTHORIZATION, &b"Bearer EAAB"[..])
    );
    let (header, value) = authorization(Some("D360-API-KEY"), &token).expect("is fine");
    assert_eq!(
        (header.as_str(), value.as_bytes()),
        ("d360-api-key", &b"EAAB"[..])
    );
    assert!(authorization(Some("D360 API KEY"), &token).is_err());
}

#[test]
fn a_token_with_a_line_break_is_refused_and_not_repeated() {
    let error = authorization(None, &SecretString::from("EAAB\nX")).expect_err("is refused");
    let all = format!("{error:?} {error}");
    assert!(!all.contains("EAAB"), "{all}");
}

#[test]
fn an_endpoint_shows_neither_its_token_nor_its_sender() {
    let (header, value) = authorization(None, &SecretString::from("EAAB")).expect("is fine");
    let sender = SenderId::from("106540352242922");
    let url = address_of(&sender, &cloud()).expect("is fine");
    let shown = format!("{:?}", Endpoint { url, header, value });
    assert!(shown.contains("graph.facebook.com"), "{shown}");
    assert!(
        !shown.contains("EAAB") && !shown.contains("106540352242922"),
        "{shown}"
    );
}

#[test]
fn an_endpoint_reads_its_credential_from_where_the_settings_say() {
    let path = std::env::temp_dir().join(format!("wa-outbox-endpoint-{}", std::process::id()));
    std::fs::write(&path, "EAAB\n").expect("the temporary folder is writable");
    let credential = format!("file:{}", path.display());
    let settings = AddressSettings {
        credential: &credential,
        ..cloud()
    };
    let endpoint = Endpoint::of(&SenderId::from("1"), &settings);
    std::fs::remove_file(&path).expect("it was just written");
    assert_eq!(
        endpoint.expect("is complete").value.as_bytes(),
        b"Bearer EAAB"
    );
}
