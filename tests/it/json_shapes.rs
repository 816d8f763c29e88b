//! What `--json` prints is what `docs/json.md` says: that page is made from what the commands print, and compared with it.
//!
//! Made anew with `WRITE_DOCS=1 cargo test --test it json_shapes`.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::support::make::a_text;
use crate::support::world::{SENDER, World};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md");
const HEAD: &str = "# What `--json` prints

Scripts may build on these names; new ones may come. Each value is told by its kind: `text`, `time` (RFC 3339, UTC), `number`, `true or
false`. What is `null` here may have a value elsewhere, and what has one may be `null`. Of a list one element is shown. Recipients and
WhatsApp's ids are masked unless `--reveal` is given, in texts of WhatsApp's, too.
";
const TAIL: &str = "One object a line, as long as it runs. `event` is one of the kinds that `tail --help` lists, or `left_out`: then `left_out`
says how many events there were too many to tell. `about` is the name of the template, the sequence or the campaign.
";
const PROMO: &str =
    r#"{"type":"template","template":{"name":"promo","language":{"code":"en_US"}}}"#;

/// A world, and what is looked at in it.
struct Scene {
    world: World,
    /// A message with a history.
    shown: String,
    /// One in a sequence.
    in_sequence: String,
}

/// Something of everything: messages with a history, one that is uncertain, a sequence, a campaign, holds, a suppression, a
/// file that was uploaded.
async fn a_scene() -> Scene {
    let world = World::at_rest().await;
    let shown = world.enqueue(a_text()).await.0;
    let lost = world.enqueue(a_text()).await.0;
    let in_sequence = world.enqueue(a_text().in_sequence("story")).await.0;
    world.enqueue(a_text().in_sequence("story")).await;
    let begun = |id: i64| {
        format!(
            "update wa.queue set state = 'sending', attempt = 1, epoch = 1, begun_at = now(), deadline = now() where id = {id}"
        )
    };
    for statement in [
        begun(shown),
        format!("insert into wa.attempts (id, sender, attempt, begun_at, outcome, http_status, error_code, error_title, error_details, fbtrace_id, note, settled_by, settled_at, settled_note)
                 values ({shown}, '{SENDER}', 1, now(), 'uncertain', 500, 1, 'a', 'b', 'c', 'd', 'operator ada', now(), 'e')"),
        format!("insert into wa.acceptances (wamid, sender, id, attempt, learned_from) values ('wamid.HBgLMTY1', '{SENDER}', {shown}, 1, 'response')"),
        format!("insert into wa.status_events (id, sender, attempt, wamid, status, occurred_at, received_at) values ({shown}, '{SENDER}', 1, 'wamid.HBgLMTY1', 'sent', now(), now())"),
        begun(lost),
        format!("insert into wa.uncertain (id, sender, priority, in_sequence, attempt, attempts, resends, begun_at, deadline, may_resend, doubt, waiting_for)
                 select id, sender, priority, in_sequence, 1, 1, 0, begun_at, deadline, true, 'no answer came', 'evidence' from wa.queue where id = {lost}"),
        format!("insert into wa.template_holds (sender, template, cause, reason, held_by) values ('{SENDER}', 'promo', 'operator', 'wrong price', 'ada')"),
        format!("insert into wa.media (sender, content, media_type, bytes, media_id, expires_at)
                 values ('{SENDER}', sha256('a'), 'image/png', 1, '17', now() + interval '30 days')"),
        format!("select wa.create_campaign('spring', '{PROMO}', sender => '{SENDER}', author => 'ada')"),
    ] {
        world.run_sql(&statement).await;
    }
    world
        .says(&[
            "suppress",
            "add",
            "+16505551234",
            "--reason",
            "asked to stop",
        ])
        .await;
    Scene {
        world,
        shown: shown.to_string(),
        in_sequence: in_sequence.to_string(),
    }
}

/// What a command prints, whether or not it has found something amiss.
async fn printed_by(world: &World, arguments: &[&str]) -> Value {
    let output = world.command(arguments).await;
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let told = String::from_utf8_lossy(&output.stderr);
        panic!("{arguments:?} printed no JSON: {error}\n{told}")
    })
}

/// The kinds of the values, in the place of the values.
fn shape(value: &Value) -> Value {
    let kind = |name: &str| Value::String(name.to_owned());
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => kind("true or false"),
        Value::Number(_) => kind("number"),
        Value::String(text) => {
            let is_time = text.get(10..11) == Some("T") && text.ends_with('Z');
            kind(if is_time { "time" } else { "text" })
        }
        Value::Array(elements) => elements.iter().take(1).map(shape).collect(),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| (name.clone(), shape(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
    }
}

fn section(page: &mut String, typed: &str, remark: &str, printed: &Value) {
    let printed = serde_json::to_string_pretty(printed).expect("JSON");
    write!(page, "\n## `{typed}`\n{remark}```json\n{printed}\n```\n").expect("a string takes text");
}

/// An event that says as much as one can.
async fn an_event(world: &World, message: &str) -> Value {
    let tailing = world.tail(&["--json"]);
    tailing.until_noted("Watching").await;
    world
        .run_sql(&format!(
            "select wa.tell_tailers(jsonb_build_object('kind', 'failed', 'sender', '{SENDER}', 'message', {message}, 'attempt', 1,
               'code', 131026, 'again_in_s', 1, 'about', 'a', 'by', 'b', 'text', 'c'))"
        ))
        .await;
    tailing.until_event("failed").await
}

#[tokio::test]
async fn the_page_about_json_says_what_the_commands_print() {
    let Scene {
        world,
        shown,
        in_sequence,
    } = a_scene().await;
    let skips = [
        "sequence",
        "set",
        "--of",
        &in_sequence,
        "--on-failure",
        "skip",
    ];
    world.says(&skips).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a path").to_owned()
    };
    let nothing_to_say = file("text.json", r#"{"type":"text","text":{"body":""}}"#);
    let mut page = HEAD.to_owned();
    for (typed, last) in [
        ("top", None),
        ("summary", None),
        ("message list", None),
        ("message show", Some(shown.as_str())),
        ("why message", Some(shown.as_str())),
        ("why sender", Some(SENDER)),
        ("uncertain list", None),
        ("uncertain groups", None),
        ("sender list", None),
        ("sender show", Some(SENDER)),
        ("sequence list --all", None),
        ("sequence show --of", Some(in_sequence.as_str())),
        ("template list", None),
        ("campaign list", None),
        ("campaign show", Some("spring")),
        ("campaign preflight", Some("spring")),
        ("suppress list", None),
        ("media list", None),
        ("doctor", None),
        ("check", Some(nothing_to_say.as_str())),
        ("prune --older-than 90d --webhooks-older-than 30d", None),
        // The last one, for it holds every sender.
        ("recover", None),
    ] {
        if typed == "recover" {
            world.says(&["recover"]).await;
            world
                .run_sql("select wa.begin_era(era, 'operator', 'it was restored', 'ada', 0, clock_timestamp()) from wa.eras")
                .await;
        }
        if typed == "campaign preflight" {
            world
                .run_sql("insert into wa.outbox (recipient, campaign_id, variables) select '+1650555123', id, '{}' from wa.campaigns")
                .await;
        }
        let mut arguments: Vec<&str> = typed.split(' ').collect();
        arguments.extend(last);
        arguments.push("--json");
        let printed = shape(&printed_by(&world, &arguments).await);
        section(&mut page, typed, "", &printed);
    }
    let send = ["send", "--to", "+16505551234", "--text", "Hello", "--json"];
    let sent = shape(&world.says_json(&send).await);
    section(&mut page, "send", "", &sent);
    let reminders = file(
        "reminders.csv",
        "phone,text\n+16505551234,Hello\nbad,line\n",
    );
    let imported = shape(&world.says_json(&["import", &reminders, "--json"]).await);
    section(&mut page, "import", "", &imported);
    let event = shape(&an_event(&world, &shown).await);
    section(&mut page, "tail", TAIL, &event);
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(PAGE, &page).expect("the page is written");
    }
    let written = std::fs::read_to_string(PAGE).expect("the page");
    assert_eq!(
        written, page,
        "docs/json.md is not what the commands print; make it anew: WRITE_DOCS=1 cargo test --test it json_shapes"
    );
}
