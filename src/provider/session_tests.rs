use super::*;

fn held(code: Option<i64>, http_status: Option<u16>) -> Outcome {
    Outcome::Held {
        scope: HoldScope::Sender,
        error: ApiError {
            code,
            http_status,
            ..ApiError::default()
        },
    }
}

fn accepted() -> Outcome {
    Outcome::Accepted(crate::domain::outcome::Acceptance::default())
}

/// A session that has this token, as if it had been logged in to.
fn session() -> (Session, crate::clock::Hands) {
    let (clock, hands) = Clock::movable(OffsetDateTime::UNIX_EPOCH);
    let login = Login {
        url: "https://client.example/v1/users/login"
            .parse()
            .expect("an address"),
        basic: HeaderValue::from_static("Basic x"),
    };
    let sessions = Sessions::new(clock);
    let session = Arc::into_inner({
        let session = sessions.of(&login);
        drop(sessions);
        session
    });
    (session.expect("nobody else has it"), hands)
}

/// Gives the session its next token, as a login does.
fn logged_in(session: &Session, life: Duration) -> Pass {
    let fetched = Fetched {
        bearer: HeaderValue::from_static("Bearer t"),
        ends: Some(session.clock.now() + life),
    };
    session.keep(Ok(fetched)).expect("a token")
}

#[test]
fn a_refused_password_is_not_tried_again_at_once_and_an_absent_server_is() {
    let (session, hands) = session();
    let refused = held(Some(1005), Some(401));
    assert!(session.keep(Err(refused.clone())).is_err());
    hands.advance(AFTER_FAILURE - Duration::from_millis(1));
    assert!(matches!(session.look(), Found::Failed(outcome) if outcome == refused));
    hands.advance(Duration::from_millis(1));
    assert!(matches!(session.look(), Found::None(1)));

    let absent = Outcome::NotSent(NotSent::NoConnection);
    assert!(session.keep(Err(absent)).is_err());
    assert!(matches!(session.look(), Found::None(2)));
}

#[test]
fn a_refused_session_that_had_worked_is_nobodys_failure_and_one_that_never_did_holds_the_sender() {
    let (session, _hands) = session();
    let refused = held(Some(1005), Some(401));
    let pass = logged_in(&session, MINUTE);
    assert_eq!(session.consider(&pass, refused.clone()), refused);

    let pass = logged_in(&session, MINUTE);
    assert_eq!(session.consider(&pass, accepted()), accepted());
    let ended = Outcome::NotSent(NotSent::SessionEnded);
    assert_eq!(session.consider(&pass, refused.clone()), ended);
    assert!(matches!(session.look(), Found::None(2)));
    // Others that were out with it say nothing of the next one, which was never tried.
    let next = logged_in(&session, MINUTE);
    assert_eq!(session.consider(&pass, refused.clone()), ended);
    assert!(matches!(session.look(), Found::Usable(pass) if pass.number == next.number));
}

#[test]
fn a_refusal_that_comes_again_and_again_means_us() {
    let (session, hands) = session();
    let refused = held(None, Some(401));
    let once_more = || {
        let pass = logged_in(&session, MINUTE);
        assert_eq!(session.consider(&pass, accepted()), accepted());
        session.consider(&pass, refused.clone())
    };
    for _ in 0..REFUSALS_A_MINUTE {
        assert_eq!(once_more(), Outcome::NotSent(NotSent::SessionEnded));
    }
    assert_eq!(once_more(), refused);
    hands.advance(MINUTE);
    assert_eq!(once_more(), Outcome::NotSent(NotSent::SessionEnded));
}

#[test]
fn another_hold_is_not_the_sessions() {
    let (session, _hands) = session();
    let pass = logged_in(&session, MINUTE);
    let payment = held(Some(402), Some(402));
    assert_eq!(session.consider(&pass, accepted()), accepted());
    assert_eq!(session.consider(&pass, payment.clone()), payment);
    assert!(matches!(session.look(), Found::Usable(_)));
}

#[test]
fn a_token_is_renewed_once_while_it_is_still_good_and_not_used_past_its_end() {
    let (session, hands) = session();
    logged_in(&session, MINUTE);
    hands.advance(MINUTE * 9 / 10 - Duration::from_millis(1));
    assert!(matches!(session.look(), Found::Usable(_)));
    hands.advance(Duration::from_millis(1));
    assert!(matches!(session.look(), Found::Ageing(_, 1)));
    assert!(
        matches!(session.look(), Found::Usable(_)),
        "one renewal is under way"
    );
    hands.advance(MINUTE / 10);
    assert!(matches!(session.look(), Found::None(1)));
}

#[test]
fn a_token_that_ended_before_it_was_given_is_used_until_it_is_refused() {
    let (session, hands) = session();
    for ends in [
        session.clock.now() - Duration::from_secs(60 * 60),
        session.clock.now(),
    ] {
        let fetched = Fetched {
            bearer: HeaderValue::from_static("Bearer t"),
            ends: Some(ends),
        };
        session.keep(Ok(fetched)).expect("a token");
        assert!(matches!(session.look(), Found::Usable(_)), "{ends}");
    }
    hands.advance(USUAL_LIFE);
    assert!(matches!(session.look(), Found::None(2)));
}

#[test]
fn a_login_tells_its_token_and_its_end() {
    let body =
        br#"{"users":[{"token":"eyJ","expires_after":"2018-03-01 15:29:26+00:00"}],"meta":{}}"#;
    let fetched = read(body).expect("a token");
    assert_eq!(fetched.bearer.as_bytes(), b"Bearer eyJ");
    assert!(fetched.bearer.is_sensitive());
    let ends = time::macros::datetime!(2018-03-01 15:29:26 UTC);
    assert_eq!(fetched.ends, Some(ends));
    assert_eq!(moment("2018-03-01T15:29:26Z"), Some(ends));
    assert!(read(br#"{"users":[{"token":""}]}"#).is_none());
    assert_eq!(
        read(br#"{"users":[{"token":"t"}]}"#).expect("a token").ends,
        None
    );
}

#[test]
fn a_login_without_a_token_holds_the_sender_unless_the_server_was_not_able_or_too_busy() {
    let after = |status, body: &str| {
        let happened = Happened::Answer {
            status,
            retry_after: None,
            body: body.as_bytes(),
            secrets: &Secrets::default(),
        };
        without_a_token(judge(&happened, &Expected::MarkAsRead), status)
    };
    let refused =
        r#"{"errors":[{"code":1005,"title":"Access denied","details":"Invalid credentials"}]}"#;
    let is_held = |outcome: &Outcome| {
        matches!(
            outcome,
            Outcome::Held {
                scope: HoldScope::Sender,
                ..
            }
        )
    };
    for (status, body) in [
        (401, refused),
        (200, refused),
        (400, "{}"),
        (404, ""),
        (200, "<html>"),
    ] {
        assert!(is_held(&after(status, body)), "{status} {body}");
    }
    assert_eq!(after(503, ""), Outcome::NotSent(NotSent::NoConnection));
    assert!(matches!(after(429, ""), Outcome::Throttled { .. }));
}
