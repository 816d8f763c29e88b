//! The messages of the demo, written as any application writes them, and what goes wrong with some of them.
//!
//! Every statement here can be pasted into `psql` as it stands. The numbers are made up (the 555 range is nobody's), and
//! they are the handle by which the simulator knows whose request or whose news is to meet a fault.

use crate::simulator::{Fault, WebhookFault};

/// What goes wrong with one message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    /// With its next request.
    Request(Fault),
    /// With the statuses that WhatsApp reports of it.
    News(WebhookFault),
}

/// One or several rows, written by one statement.
#[derive(Debug)]
pub(super) struct Scene {
    /// What a person sees it called.
    pub(super) what: &'static str,
    /// To whom, where trouble is meant for them.
    pub(super) recipient: &'static str,
    /// The statement; gives back the ids.
    pub(super) sql: &'static str,
    /// What goes wrong.
    pub(super) trouble: &'static [Trouble],
}

/// How the statements end, so that what they wrote can be followed. Not shown: a person need not write it.
pub(super) const RETURNING: &str = "\nRETURNING id";

/// The statement that is shown in full.
pub(super) const FIRST: Scene = Scene {
    what: "text",
    recipient: "+16505550101",
    sql: r#"INSERT INTO wa.outbox (recipient, payload)
VALUES ('+16505550101', '{"type":"text","text":{"body":"Your order 4711 has shipped"}}')
RETURNING id"#,
    trouble: &[],
};

/// Written together with the first, in one transaction.
pub(super) const REST: &[Scene] = &[
    SILENT,
    Scene {
        what: "text; its answer gets lost",
        recipient: "+16505550103",
        sql: r#"INSERT INTO wa.outbox (recipient, payload)
VALUES ('+16505550103', '{"type":"text","text":{"body":"Your table is ready"}}')
RETURNING id"#,
        trouble: &[
            Trouble::Request(Fault::AcceptThenDropAnswer),
            Trouble::News(WebhookFault::Late(2_500)),
        ],
    },
    Scene {
        what: "template with parameters",
        recipient: "+16505550104",
        sql: r#"INSERT INTO wa.outbox (recipient, payload)
VALUES ('+16505550104', '{"type":"template","template":{"name":"order_confirmation","language":{"code":"en_US"},
  "components":[{"type":"body","parameters":[{"type":"text","text":"4711"},{"type":"text","text":"49.90 EUR"}]}]}}')
RETURNING id"#,
        trouble: &[],
    },
    Scene {
        what: "image by link",
        recipient: "+16505550105",
        sql: r#"INSERT INTO wa.outbox (recipient, payload)
VALUES ('+16505550105', '{"type":"image","image":{"link":"https://shop.example/4711.jpg","caption":"As ordered"}}')
RETURNING id"#,
        trouble: &[],
    },
    Scene {
        what: "document",
        recipient: "+16505550106",
        sql: r#"INSERT INTO wa.outbox (recipient, payload)
VALUES ('+16505550106', '{"type":"document","document":{"link":"https://shop.example/4711.pdf","filename":"invoice-4711.pdf"}}')
RETURNING id"#,
        trouble: &[],
    },
    Scene {
        what: "location",
        recipient: "+16505550107",
        sql: r#"INSERT INTO wa.outbox (recipient, payload)
VALUES ('+16505550107', '{"type":"location","location":{"latitude":37.7793,"longitude":-122.4193,"name":"Our shop"}}')
RETURNING id"#,
        trouble: &[],
    },
    Scene {
        what: "contact card",
        recipient: "+16505550108",
        sql: r#"INSERT INTO wa.outbox (recipient, payload)
VALUES ('+16505550108', '{"type":"contacts","contacts":[{"name":{"formatted_name":"The workshop","first_name":"Workshop"},
  "phones":[{"phone":"+16505550100","type":"WORK"}]}]}')
RETURNING id"#,
        trouble: &[],
    },
    Scene {
        what: "reaction",
        recipient: "+16505550109",
        sql: r#"INSERT INTO wa.outbox (recipient, payload)
VALUES ('+16505550109', '{"type":"reaction","reaction":{"message_id":"wamid.THEIRS","emoji":"👍"}}')
RETURNING id"#,
        trouble: &[],
    },
    Scene {
        what: "buttons",
        recipient: "+16505550110",
        sql: r#"INSERT INTO wa.outbox (recipient, payload)
VALUES ('+16505550110', '{"type":"interactive","interactive":{"type":"button","body":{"text":"Does Tuesday at 10 suit you?"},
  "action":{"buttons":[{"type":"reply","reply":{"id":"yes","title":"Yes"}},{"type":"reply","reply":{"id":"no","title":"No"}}]}}}')
RETURNING id"#,
        trouble: &[],
    },
    Scene {
        what: "mark as read",
        recipient: "+16505550111",
        sql: r#"INSERT INTO wa.outbox (recipient, payload)
VALUES ('+16505550111', '{"status":"read","message_id":"wamid.THEIRS"}')
RETURNING id"#,
        trouble: &[],
    },
    Scene {
        what: CONVERSATION,
        recipient: CONVERSATION_WITH,
        sql: r#"INSERT INTO wa.outbox (recipient, sequence, payload)
VALUES ('+16505550112', 'ticket-88', '{"type":"text","text":{"body":"1. Switch it off"}}'),
       ('+16505550112', 'ticket-88', '{"type":"text","text":{"body":"2. Wait for a minute"}}'),
       ('+16505550112', 'ticket-88', '{"type":"text","text":{"body":"3. Switch it on again"}}'),
       ('+16505550112', 'ticket-88', '{"type":"text","text":{"body":"4. Tell us whether it works"}}')
RETURNING id"#,
        trouble: &[],
    },
    Scene {
        what: "text; due in 3 seconds",
        recipient: "+16505550113",
        sql: r#"INSERT INTO wa.outbox (recipient, due_at, payload)
VALUES ('+16505550113', now() + interval '3 seconds', '{"type":"text","text":{"body":"Your call begins now"}}')
RETURNING id"#,
        trouble: &[],
    },
    Scene {
        what: "text; not on WhatsApp",
        recipient: "+16505550114",
        sql: r#"INSERT INTO wa.outbox (recipient, payload)
VALUES ('+16505550114', '{"type":"text","text":{"body":"Welcome!"}}')
RETURNING id"#,
        trouble: &[Trouble::Request(Fault::Error(131_026))],
    },
    Scene {
        what: "text; told it is too fast",
        recipient: "+16505550115",
        sql: r#"INSERT INTO wa.outbox (recipient, payload)
VALUES ('+16505550115', '{"type":"text","text":{"body":"Your refund is on its way"}}')
RETURNING id"#,
        trouble: &[Trouble::Request(Fault::RateLimited)],
    },
    Scene {
        what: "text; only “read” is told",
        recipient: "+16505550116",
        sql: r#"INSERT INTO wa.outbox (recipient, payload)
VALUES ('+16505550116', '{"type":"text","text":{"body":"Anything else?"}}')
RETURNING id"#,
        trouble: &[Trouble::News(WebhookFault::ReadOnly)],
    },
    Scene {
        what: "marketing; fails later",
        recipient: "+16505550117",
        sql: r#"INSERT INTO wa.outbox (recipient, payload)
VALUES ('+16505550117', '{"type":"template","template":{"name":"summer_sale","language":{"code":"en_US"}}}')
RETURNING id"#,
        trouble: &[Trouble::News(WebhookFault::Failed(131_049))],
    },
    Scene {
        what: "text; statuses come twice",
        recipient: "+16505550118",
        sql: r#"INSERT INTO wa.outbox (recipient, payload)
VALUES ('+16505550118', '{"type":"text","text":{"body":"See you tomorrow"}}')
RETURNING id"#,
        trouble: &[Trouble::News(WebhookFault::Doubled)],
    },
    Scene {
        what: "text; statuses in reverse",
        recipient: "+16505550119",
        sql: r#"INSERT INTO wa.outbox (recipient, payload)
VALUES ('+16505550119', '{"type":"text","text":{"body":"Thank you"}}')
RETURNING id"#,
        trouble: &[Trouble::News(WebhookFault::Reordered)],
    },
    TOMORROW,
    Scene {
        what: "reminder",
        recipient: "",
        sql: r#"INSERT INTO wa.outbox (recipient, priority, payload)
SELECT '+165055502' || to_char(n, 'FM00'), 9, json_build_object('type', 'template', 'template',
  json_build_object('name', 'appointment_reminder', 'language', json_build_object('code', 'en_US')))
FROM generate_series(1, 12) n
RETURNING id"#,
        trouble: &[],
    },
];

/// Neither taken nor answered: only silence can settle it.
pub(super) const SILENT: Scene = Scene {
    what: "text; WhatsApp falls silent",
    recipient: "+16505550102",
    sql: r#"INSERT INTO wa.outbox (recipient, payload)
VALUES ('+16505550102', '{"type":"text","text":{"body":"Your parcel is with the neighbour"}}')
RETURNING id"#,
    trouble: &[Trouble::Request(Fault::Hang)],
};

/// What the messages of the one sequence are called.
pub(super) const CONVERSATION: &str = "conversation";
/// With whom it is held.
pub(super) const CONVERSATION_WITH: &str = "+16505550112";

/// Taken back before its time.
pub(super) const TOMORROW: Scene = Scene {
    what: "text for tomorrow; cancelled",
    recipient: "+16505550120",
    sql: r#"INSERT INTO wa.outbox (recipient, due_at, payload)
VALUES ('+16505550120', now() + interval '1 day', '{"type":"text","text":{"body":"How was it?"}}')
RETURNING id"#,
    trouble: &[],
};

/// Written while WhatsApp cannot be reached. The one waits until it can; the other is worth nothing by then.
pub(super) const DURING_THE_OUTAGE: &[Scene] = &[
    Scene {
        what: "text during an outage",
        recipient: "+16505550121",
        sql: r#"INSERT INTO wa.outbox (recipient, payload)
VALUES ('+16505550121', '{"type":"text","text":{"body":"Your taxi is here"}}')
RETURNING id"#,
        trouble: &[],
    },
    ONE_TIME_CODE,
];

/// Expires before it can leave.
pub(super) const ONE_TIME_CODE: Scene = Scene {
    what: "login code; good for 1.5 s",
    recipient: "+16505550122",
    sql: r#"INSERT INTO wa.outbox (recipient, expires_at, payload)
VALUES ('+16505550122', now() + interval '1.5 seconds',
  '{"type":"template","template":{"name":"login_code","language":{"code":"en_US"}}}')
RETURNING id"#,
    trouble: &[],
};

/// A row that cannot be meant: the database refuses it and says how to mend it.
pub(super) const REFUSED: &str = r#"INSERT INTO wa.outbox (recipient, payload)
VALUES ('1 650 555 0123', '{"type":"text","text":{"body":"Hello"}}')"#;

/// The statement as a person would write it.
pub(super) fn as_written(sql: &str) -> &str {
    sql.strip_suffix(RETURNING).unwrap_or(sql)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenes() -> impl Iterator<Item = &'static Scene> {
        [&FIRST].into_iter().chain(REST).chain(DURING_THE_OUTAGE)
    }

    #[test]
    fn every_statement_writes_to_whom_its_trouble_is_meant_for() {
        for scene in scenes() {
            assert!(scene.sql.contains(scene.recipient), "{}", scene.what);
            assert!(
                scene.trouble.is_empty() || !scene.recipient.is_empty(),
                "{}",
                scene.what
            );
        }
    }

    #[test]
    fn every_statement_gives_its_ids_and_is_shown_without_that() {
        for scene in scenes() {
            assert!(
                !as_written(scene.sql).contains("RETURNING"),
                "{}",
                scene.what
            );
            assert!(scene.sql.ends_with(RETURNING), "{}", scene.what);
        }
    }

    #[test]
    fn nobody_has_the_numbers() {
        for scene in scenes() {
            for number in scene.sql.split("'+").skip(1) {
                assert!(number.starts_with("1650555"), "{}", scene.what);
            }
        }
    }
}
