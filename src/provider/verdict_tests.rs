use super::*;

const ALICE: Recipient<'static> = Recipient::Phone("+16505551234");

fn message_to(recipient: Recipient<'_>, status: u16, body: &str) -> Outcome {
    of_bytes(status, body.as_bytes(), &Expected::Message(recipient)).without_excerpt()
}

fn message(status: u16, body: &str) -> Outcome {
    message_to(ALICE, status, body)
}

fn mark_as_read(status: u16, body: &str) -> Outcome {
    of_bytes(status, body.as_bytes(), &Expected::MarkAsRead).without_excerpt()
}

fn asking_to_wait(status: u16, retry_after: &str, body: &str) -> Outcome {
    let happened = Happened::Answer {
        status,
        retry_after: Some(retry_after),
        body: body.as_bytes(),
        secrets: &Secrets::default(),
    };
    judge(&happened, &Expected::Message(ALICE))
}

fn accepted_as(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Accepted(acceptance) => acceptance.wamid.as_ref().map(|wamid| wamid.reveal()),
        _ => None,
    }
}

fn echoing(input: &str) -> String {
    format!(r#"{{"contacts":[{{"input":{input},"wa_id":"1"}}],"messages":[{{"id":"wamid.A"}}]}}"#)
}

fn is_doubted_as_failed(outcome: &Outcome, status: u16) -> bool {
    matches!(outcome, Outcome::Uncertain(Doubt::ServerFailed(error)) if error.http_status == Some(status))
}

fn is_held(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Held {
            scope: HoldScope::Sender,
            ..
        }
    )
}

const UNREADABLE_200: Outcome = Outcome::Uncertain(Doubt::UnreadableAcceptance {
    http_status: 200,
    excerpt: None,
});

#[test]
fn an_id_in_a_2xx_is_an_acceptance_and_everything_about_it_is_kept() {
    let body = r#"{"messaging_product":"whatsapp","contacts":[{"input":"+16505551234","wa_id":"16505551234"}],
        "messages":[{"id":"wamid.A","message_status":"held_for_quality_assessment"}]}"#;
    let expected = Outcome::Accepted(Acceptance {
        wamid: Some("wamid.A".into()),
        wa_id: Some("16505551234".into()),
        message_status: Some("held_for_quality_assessment".into()),
        http_status: Some(200),
    });
    assert_eq!(message(200, body), expected);
}

#[test]
fn an_id_in_a_2xx_is_an_acceptance_whatever_else_the_answer_says() {
    for (status, body) in [
        (201, r#"{"messages":[{"id":"wamid.A"}]}"#),
        (
            202,
            r#"{"messages":[{"id":"wamid.A","message_status":"paused"}]}"#,
        ),
        (
            200,
            r#"{"contacts":null,"messages":[{"id":"wamid.A"}],"errors":[{"code":131000}]}"#,
        ),
        (
            206,
            r#"{"messages":[{"id":"wamid.A"},{"id":"wamid.B"}],"error":{"code":190,"message":"x"}}"#,
        ),
        (
            200,
            r#"{"contacts":[{"user_id":"US.1"}],"messages":[{"id":"wamid.A"}],"success":false}"#,
        ),
    ] {
        assert_eq!(
            accepted_as(&message(status, body)),
            Some("wamid.A"),
            "{body}"
        );
    }
}

#[test]
fn a_numeric_id_is_an_id() {
    assert_eq!(
        accepted_as(&message(200, r#"{"messages":[{"id":4711}]}"#)),
        Some("4711")
    );
}

#[test]
fn the_echo_of_a_phone_number_may_be_written_in_any_way() {
    for input in [
        r#""+16505551234""#,
        r#""16505551234""#,
        r#""+1 (650) 555-1234""#,
        "16505551234",
        "null",
    ] {
        assert_eq!(
            accepted_as(&message(200, &echoing(input))),
            Some("wamid.A"),
            "{input}"
        );
    }
}

#[test]
fn an_answer_that_echoes_another_recipient_belongs_to_another_request() {
    let of_another = Outcome::Uncertain(Doubt::AnswerOfAnother);
    assert_eq!(message(200, &echoing(r#""+16505551235""#)), of_another);
    assert_eq!(message(200, &echoing(r#""US.1349""#)), of_another);
    let without_id = r#"{"contacts":[{"input":"+44"}],"errors":[{"code":131026}]}"#;
    assert_eq!(message(200, without_id), of_another);
}

#[test]
fn user_and_group_ids_are_compared_exactly() {
    let user = Recipient::User("US.1349");
    assert_eq!(
        accepted_as(&message_to(user, 200, &echoing(r#""US.1349""#))),
        Some("wamid.A")
    );
    let group = Recipient::Group("Y2FwaQ");
    assert_eq!(
        accepted_as(&message_to(group, 200, &echoing(r#""Y2FwaQ""#))),
        Some("wamid.A")
    );
    let of_another = Outcome::Uncertain(Doubt::AnswerOfAnother);
    assert_eq!(message_to(user, 200, &echoing(r#""BR.1349""#)), of_another);
    assert_eq!(message_to(group, 200, &echoing(r#""y2fwaq""#)), of_another);
}

#[test]
fn a_mark_as_read_is_accepted_without_an_id() {
    let outcome = mark_as_read(200, r#"{"success":true}"#);
    let expected = Acceptance {
        http_status: Some(200),
        ..Acceptance::default()
    };
    assert_eq!(outcome, Outcome::Accepted(expected));
}

#[test]
fn a_mark_as_read_never_takes_over_the_id_of_a_message() {
    let of_another = Outcome::Uncertain(Doubt::AnswerOfAnother);
    assert_eq!(mark_as_read(200, &echoing(r#""+16505551234""#)), of_another);
    assert_eq!(
        mark_as_read(200, r#"{"messages":[{"id":"wamid.A"}]}"#),
        UNREADABLE_200
    );
}

#[test]
fn a_mark_as_read_of_an_unknown_message_is_rejected() {
    let body = r#"{"error":{"message":"(#131009) Parameter value is not valid","code":131009}}"#;
    assert!(matches!(mark_as_read(400, body), Outcome::Rejected(_)));
}

#[test]
fn a_success_without_an_id_is_no_acceptance_of_a_message() {
    assert_eq!(message(200, r#"{"success":true}"#), UNREADABLE_200);
}

#[test]
fn a_2xx_that_cannot_be_read_is_most_likely_an_acceptance() {
    let too_deep = "[".repeat(100_000);
    let too_long_an_id = format!(r#"{{"messages":[{{"id":"{}"}}]}}"#, "x".repeat(5_000));
    for body in [
        "",
        "OK",
        "<html></html>",
        r#"{"messages":[{"id":"wamid."#,
        r#"{"messages":[{"id":""}]}"#,
        r#"{"messages":[{"id":null}]}"#,
        r#"{"messages":[{"id":"wamid.\u0000"}]}"#,
        r#"{"messages":[]}"#,
        r#"{"messages":{"id":"wamid.A"}}"#,
        r#"{"errors":[]}"#,
        r#"[{"messages":[{"id":"wamid.A"}]}]"#,
        "null",
        &too_deep,
        &too_long_an_id,
    ] {
        let start = &body[..body.len().min(40)];
        assert_eq!(message(200, body), UNREADABLE_200, "{start}");
    }
    let outcome = of_bytes(200, &[0xff, 0x00, 0xfe], &Expected::Message(ALICE));
    assert_eq!(outcome.without_excerpt(), UNREADABLE_200);
}

#[test]
fn an_unreadable_acceptance_may_never_be_sent_again_by_itself() {
    let Outcome::Uncertain(doubt) = message(200, "OK") else {
        panic!("a 200 without an id is a doubt");
    };
    assert!(!doubt.may_resend());
}

#[test]
fn a_2xx_that_refuses_in_its_body_is_judged_by_the_code() {
    let turn = r#"{"errors":[{"code":1013,"title":"User is not valid","details":"invalid"}]}"#;
    let Outcome::Rejected(error) = message(200, turn) else {
        panic!("a refusal is a rejection");
    };
    assert_eq!((error.code, error.http_status), (Some(1013), Some(200)));
    assert_eq!(error.details.as_deref(), Some("invalid"));
    assert!(is_held(&message(
        200,
        r#"{"error":{"message":"x","code":190}}"#
    )));
    assert!(is_doubted_as_failed(
        &message(200, r#"{"errors":[{"code":1000}]}"#),
        200
    ));
    assert!(matches!(
        message(200, r#"{"errors":[{"code":777}]}"#),
        Outcome::Rejected(_)
    ));
}

#[test]
fn a_head_without_a_whole_body_is_an_acceptance_only_if_it_says_so() {
    let lost = LostAnswer::ConnectionLost;
    let head = |status| {
        judge(
            &Happened::HeadOnly {
                status,
                retry_after: Some("7"),
                lost,
            },
            &Expected::Message(ALICE),
        )
    };
    assert_eq!(head(200), UNREADABLE_200);
    for status in [302, 400, 401, 500, 503] {
        let cut_off = Doubt::CutOff {
            http_status: status,
            lost,
        };
        assert!(cut_off.may_resend());
        assert_eq!(head(status), Outcome::Uncertain(cut_off));
        assert_eq!(head(status).http_status(), Some(status));
    }
    assert!(matches!(
        head(429),
        Outcome::Throttled { scope: ThrottleScope::Sender, retry_after: Some(wait), .. } if wait.as_secs() == 7
    ));
}

#[test]
fn what_never_left_and_what_never_came_back_are_told_apart() {
    let judged = |happened| judge(&happened, &Expected::Message(ALICE));
    for why in [
        NotSent::NoConnection,
        NotSent::TooLate,
        NotSent::ConnectionLost,
    ] {
        assert_eq!(judged(Happened::NotSent(why)), Outcome::NotSent(why));
    }
    for how in [
        LostAnswer::TimedOut,
        LostAnswer::ConnectionLost,
        LostAnswer::Swept,
    ] {
        let lost = Outcome::Uncertain(Doubt::AnswerLost(how));
        assert_eq!(judged(Happened::AnswerLost(how)), lost);
    }
}

#[test]
fn answers_that_may_come_from_a_gateway_leave_a_doubt() {
    for status in [
        100, 103, 301, 302, 307, 308, 408, 500, 501, 502, 503, 504, 520, 599,
    ] {
        for body in ["", "<html>Bad Gateway</html>", r#"{"error":"upstream"}"#] {
            assert!(
                is_doubted_as_failed(&message(status, body), status),
                "{status} {body}"
            );
        }
    }
}

#[test]
fn an_unknown_code_of_whatsapps_is_judged_by_its_http_status() {
    let body = r#"{"error":{"message":"Invalid JWE token format","type":"OAuthException","code":400,"error_subcode":1234567}}"#;
    assert!(matches!(message(400, body), Outcome::Rejected(_)));
    assert!(matches!(message(422, body), Outcome::Rejected(_)));
    assert!(
        is_held(&message(401, body))
            && is_held(&message(403, body))
            && is_held(&message(404, body))
    );
    assert!(is_doubted_as_failed(&message(408, body), 408));
    assert!(is_doubted_as_failed(&message(500, body), 500));
}

#[test]
fn a_refusal_that_is_not_whatsapps_is_no_verdict_about_the_message() {
    for status in [400, 401, 403, 404, 405, 407, 413, 415, 422, 451] {
        for body in [
            "",
            "<html>Forbidden</html>",
            r#"{"error":"invalid_request"}"#,
            r#"{"error":{}}"#,
        ] {
            assert!(is_held(&message(status, body)), "{status} {body}");
        }
    }
}

#[test]
fn a_429_slows_the_sender_down_and_its_retry_after_is_obeyed() {
    let throttled = |outcome| match outcome {
        Outcome::Throttled {
            scope, retry_after, ..
        } => Some((scope, retry_after)),
        _ => None,
    };
    let sender = ThrottleScope::Sender;
    assert_eq!(throttled(message(429, "slow down")), Some((sender, None)));
    let seven = Some(Duration::from_secs(7));
    assert_eq!(
        throttled(asking_to_wait(429, "7", "")),
        Some((sender, seven))
    );
    let known = r#"{"error":{"message":"x","code":80007}}"#;
    assert_eq!(
        throttled(asking_to_wait(400, " 7 ", known)),
        Some((ThrottleScope::Account, seven))
    );
    for nonsense in ["", "-1", "soon", "1.5", "Fri, 31 Dec 1999 23:59:59 GMT"] {
        assert_eq!(
            throttled(asking_to_wait(429, nonsense, "")),
            Some((sender, None))
        );
    }
    let at_most = Some(LONGEST_RETRY_AFTER);
    assert_eq!(
        throttled(asking_to_wait(429, "99999999999", "")),
        Some((sender, at_most))
    );
}

#[test]
fn a_transient_failure_waits_for_as_long_as_the_longer_of_table_and_header() {
    let wait = |retry_after| match asking_to_wait(
        503,
        retry_after,
        r#"{"error":{"message":"x","code":2}}"#,
    ) {
        Outcome::Transient { at_least, .. } => at_least.as_secs(),
        other => panic!("code 2 is transient, not {other:?}"),
    };
    assert_eq!(wait("10"), 300);
    assert_eq!(wait("900"), 900);
}

#[test]
fn an_error_is_kept_with_all_that_helps() {
    let body = r#"{"error":{"message":"(#100) Invalid parameter","type":"OAuthException","code":100,
        "error_subcode":2494010,"error_data":{"messaging_product":"whatsapp","details":"Parameter 'to' is wrong"},
        "fbtrace_id":"Az8or"}}"#;
    let expected = ApiError {
        http_status: Some(400),
        code: Some(100),
        subcode: Some(2494010),
        title: Some("(#100) Invalid parameter".to_owned()),
        details: Some("Parameter 'to' is wrong".to_owned()),
        fbtrace_id: Some("Az8or".to_owned()),
        excerpt: None,
    };
    assert_eq!(message(400, body), Outcome::Rejected(expected));
}

#[test]
fn texts_of_an_error_can_always_be_stored() {
    let long = "é".repeat(1_000_000);
    let body = format!(
        r#"{{"error":{{"message":"a\u0000b","code":"100","error_data":{{"details":"{long}"}}}}}}"#
    );
    let Outcome::Rejected(error) = message(400, &body) else {
        panic!("a quoted code is a code");
    };
    assert_eq!(error.title.as_deref(), Some("a b"));
    assert_eq!(
        error.details.map(|details| details.chars().count()),
        Some(2_000)
    );
}

#[test]
fn a_wait_of_any_length_is_a_wait_of_a_day_at_most() {
    let day = Some(Duration::from_secs(24 * 60 * 60));
    for (header, wait) in [
        ("3600", Some(Duration::from_secs(3_600))),
        ("86401", day),
        ("18446744073709551616", day),
        ("99999999999999999999999999", day),
        ("-1", None),
        ("+1", None),
        ("soon", None),
        ("", None),
    ] {
        let Outcome::Throttled { retry_after, .. } = asking_to_wait(429, header, "") else {
            panic!("a 429 slows down");
        };
        assert_eq!(retry_after, wait, "{header}");
    }
}

#[test]
fn a_code_is_a_code_however_it_is_written() {
    for code in [
        "130429",
        "130429.0",
        "1.30429e5",
        "\"130429\"",
        "\"130429.0\"",
    ] {
        let body = format!(r#"{{"error":{{"message":"x","code":{code}}}}}"#);
        let outcome = message(400, &body);
        assert!(
            matches!(outcome, Outcome::Throttled { .. }),
            "{code}: {outcome:?}"
        );
        assert_eq!(outcome.code(), Some(130429), "{code}");
    }
    for code in ["130429.5", "1e300", "\"nan\"", "\"\""] {
        let body = format!(r#"{{"error":{{"message":"x","code":{code}}}}}"#);
        assert_eq!(message(400, &body).code(), None, "{code}");
    }
}

#[test]
fn an_id_in_a_failure_is_never_sent_again() {
    let body = r#"{"messages":[{"id":"wamid.A"}],"error":{"message":"x","code":131016}}"#;
    let doubt = Doubt::NamedInFailure {
        http_status: 502,
        wamid: Some("wamid.A".into()),
    };
    assert!(!doubt.may_resend());
    assert_eq!(message(502, body), Outcome::Uncertain(doubt));
}

#[test]
fn subcode_33_holds_the_sender_and_fails_no_message() {
    let body = r#"{"error":{"message":"Unsupported post request","code":100,"error_subcode":33}}"#;
    assert!(is_held(&message(400, body)));
}

const ACCEPTANCE: &str = r#"{"contacts":[{"input":"+16505551234"}],"messages":[{"id":"wamid.A","x":"Hi"}],"errors":[{"code":131026,"title":"Hi"}]}"#;
const REFUSAL: &str =
    r#"{"error":{"message":"Hi","code":131009,"error_data":{"details":"Hi \ud83d"}}}"#;

fn of_bytes(status: u16, body: &[u8], expected: &Expected<'_>) -> Outcome {
    let happened = Happened::Answer {
        status,
        retry_after: None,
        body,
        secrets: &Secrets::default(),
    };
    judge(&happened, expected)
}

#[test]
fn an_answer_is_understood_although_a_text_in_it_is_broken_or_bytes_stand_around_it() {
    let Outcome::Rejected(error) = message(400, REFUSAL) else {
        panic!("it is about the message");
    };
    assert_eq!(error.code, Some(131009));
    assert_eq!(error.details.as_deref(), Some("Hi \u{FFFD}"));
    let good = r#"{"messages":[{"id":"wamid.A"}],"text":"Hi"}"#;
    let latin = [
        br#"{"messages":[{"id":"wamid.A"}],"text":"caf"#.as_slice(),
        b"\xe9\"}",
    ]
    .concat();
    let marked = format!("\u{FEFF}{good}").into_bytes();
    let with_rest = format!("{good}\0\0<!-- 3 ms -->").into_bytes();
    for body in [latin, marked, with_rest] {
        let outcome = of_bytes(200, &body, &Expected::Message(ALICE));
        assert_eq!(accepted_as(&outcome), Some("wamid.A"));
    }
}

#[test]
fn what_is_too_broken_to_be_mended_leaves_a_doubt_and_is_kept_for_people() {
    for body in [
        // Half an id.
        r#"{"messages":[{"id":"wamid.\ud83d"}],"errors":[{"code":131026}]}"#,
        // Two answers.
        r#"{"errors":[{"code":131026}]}{"messages":[{"id":"wamid.A"}]}"#,
        // An answer whose id stands under half a name.
        r#"{"messages\ud83d":[{"id":"wamid.A"}],"errors":[{"code":131026}]}"#,
    ] {
        assert_eq!(message(200, body), UNREADABLE_200, "{body}");
    }
    let page = of_bytes(403, b"<html> of +16505551234", &Expected::Message(ALICE));
    assert!(is_held(&page));
    assert_eq!(page.excerpt(), Some("<html> of +165…34"));
    let page = of_bytes(200, b"<html>", &Expected::Message(ALICE));
    assert_eq!(page.excerpt(), Some("<html>"));
}

#[test]
fn errors_that_cannot_be_read_are_no_acceptance_of_a_mark_as_read() {
    for body in [r#"{"errors":[{"code":"1\ud83d"}]}"#, r#"{"error":"x"}"#] {
        let outcome = of_bytes(200, body.as_bytes(), &Expected::BareMarkAsRead);
        assert_eq!(outcome.without_excerpt(), UNREADABLE_200, "{body}");
    }
}

mod mending {
    use proptest::prelude::*;

    use super::*;

    type Places = Vec<(prop::sample::Index, Vec<u8>)>;

    /// What networks, proxies and cut texts put into an answer, and where. None of it makes a character, alone or together: a whole answer
    /// with other names is another answer.
    fn places() -> impl Strategy<Value = Places> {
        let no_character = prop_oneof![0x80u8..0xC0, 0xF8u8..];
        let bytes = prop::collection::vec(no_character, 1..4);
        let half = Just(br"\ud83d".to_vec());
        prop_oneof![
            prop::collection::vec((any::<prop::sample::Index>(), bytes), 1..4),
            (any::<prop::sample::Index>(), half).prop_map(|one| vec![one]),
        ]
    }

    fn dirtied(body: &str, places: &[(prop::sample::Index, Vec<u8>)]) -> Vec<u8> {
        let mut body = body.as_bytes().to_vec();
        for (at, dirt) in places {
            let at = at.index(body.len() + 1);
            body.splice(at..at, dirt.iter().copied());
        }
        body
    }

    proptest! {
        #[test]
        fn no_acceptance_becomes_a_failure_nor_one_of_another(places in places()) {
            let outcome = of_bytes(200, &dirtied(ACCEPTANCE, &places), &Expected::Message(ALICE));
            let is_sound = match &outcome {
                Outcome::Accepted(_) => accepted_as(&outcome) == Some("wamid.A"),
                Outcome::Uncertain(doubt) => {
                    !doubt.may_resend() || *doubt == Doubt::AnswerOfAnother
                }
                _ => false,
            };
            prop_assert!(is_sound, "{outcome:?}");
        }

        #[test]
        fn no_failure_becomes_an_acceptance(places in places(), status in prop::sample::select(vec![200, 400, 500])) {
            let on_premises = r#"{"errors":[{"code":1013,"title":"Hi"}],"meta":{}}"#;
            for (body, expected) in [
                (REFUSAL, Expected::Message(ALICE)),
                (on_premises, Expected::Message(ALICE)),
                (on_premises, Expected::MarkAsRead),
                (on_premises, Expected::BareMarkAsRead),
            ] {
                let outcome = of_bytes(status, &dirtied(body, &places), &expected);
                prop_assert!(!matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
            }
        }
    }
}
