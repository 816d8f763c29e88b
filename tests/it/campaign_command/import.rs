//! Files of recipients: every good line once, every bad one told, whatever happens in between.

use wa_outbox::store::recipients::{Batch, NewRecipient};

use super::{Desk, number, people};
use crate::support::world::{SENDER, World};

#[tokio::test]
async fn every_good_line_becomes_a_recipient_and_every_bad_one_is_told_with_field_and_reason() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    let lines: [&[u8]; 14] = [
        b"phone;name;price:json",
        b"+49 151 2345678-0;\"O'Hara; \"\"Bob\"\"\";9.50",
        b"4915123456780;no plus;",
        b";no number;",
        b"4,91512E+12;rounded;",
        b"+4915123CALL;letters;",
        b"+4912;short;",
        b"+4915123456780;too;many;fields",
        b"+4915123456780;too few",
        b"+4915123456780;\"behind\" a quote;",
        b"+4915123456780;not json;{",
        b"+4915123456780;not utf-8 \xe9;",
        // The parser of the file takes it; the database cannot keep so large a number.
        b"+4915123456780;too large for the database;1e200000",
        b"+4915123456781;Zo\xc3\xab \\t \\.;",
    ];
    let file = desk.file("customers.csv", lines.join(&b"\r\n"[..]));

    let done = world
        .says_json(&["campaign", "import", "spring", &file, "--json"])
        .await;
    assert_eq!(
        (&done["recipients"], &done["faults"]),
        (&2.into(), &11.into())
    );
    let kept = [
        (number(3_456_780), Some("O'Hara; \"Bob\"".to_owned())),
        (number(3_456_781), Some("Zoë \\t \\.".to_owned())),
    ];
    assert_eq!(world.recipients("name").await, kept);
    assert_eq!(
        world.recipients("price").await[0].1.as_deref(),
        Some("9.50")
    );

    let told = desk.read("customers.csv.faults.csv");
    let places: Vec<_> = told
        .lines()
        .skip(1)
        .map(|line| line.splitn(3, ',').collect::<Vec<_>>())
        .collect();
    let expected = [
        ("3", "phone", "it does not start with +"),
        ("4", "phone", "it is missing"),
        ("5", "phone", "a spreadsheet has rounded it"),
        ("6", "phone", "it has letters"),
        ("7", "phone", "it is no phone number"),
        ("8", "line", "it has 4 fields and the header 3"),
        ("9", "line", "it has 2 fields and the header 3"),
        ("10", "line", "something stands behind a closing quote"),
        ("11", "price", "it is not valid JSON"),
        ("12", "name", "it is not UTF-8"),
        ("13", "line", "value overflows numeric format"),
    ];
    assert_eq!(places.len(), expected.len(), "{told}");
    for (place, (line, field, reason)) in places.iter().zip(expected) {
        assert_eq!((place[0], place[1]), (line, field), "{told}");
        assert!(
            place[2].trim_start_matches('"').starts_with(reason),
            "{told}"
        );
    }
    assert!(!told.contains("4915123"), "a number is told: {told}");
}

#[tokio::test]
async fn an_import_that_was_killed_goes_on_and_doubles_nothing() {
    const PEOPLE: usize = 12_000;
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    // A fault in what is durable at the kill, one in what is not, and one behind.
    let mut lines: Vec<String> = people(PEOPLE)
        .lines()
        .map(|line| format!("{line}\n"))
        .collect();
    for bad in [1_000, 5_500, 9_000] {
        lines.insert(bad, "bad,line\n".to_owned());
    }
    let file = desk.file("all.csv", lines.concat());
    let faults = desk.path("faults.csv");

    let arguments = [
        "campaign", "import", "spring", "-", "--as", "all.csv", "--faults", &faults,
    ];
    world
        .kills_while_it_reads(&arguments, &lines[..6_000].concat())
        .await;
    let durable = world.number("select count(*) from wa.outbox").await;
    assert_eq!(durable, 5_000);

    let again = [
        "campaign", "import", "spring", &file, "--faults", &faults, "--json",
    ];
    let done = world.says_json(&again).await;
    assert_eq!(
        (&done["already"], &done["recipients"]),
        (&5_000.into(), &(PEOPLE - 5_000).into())
    );
    let distinct = "select count(distinct recipient) from wa.outbox";
    assert_eq!(
        world.number("select count(*) from wa.outbox").await,
        PEOPLE as i64
    );
    assert_eq!(world.number(distinct).await, PEOPLE as i64);
    let told = desk.read("faults.csv");
    let told: Vec<_> = told
        .lines()
        .filter_map(|line| line.split(',').next())
        .collect();
    assert_eq!(told, ["line", "1001", "5501", "9001"]);

    let done = world.says_json(&again).await;
    assert_eq!(
        (&done["already"], &done["recipients"]),
        (&PEOPLE.into(), &0.into())
    );
    assert_eq!(
        world.number("select count(*) from wa.outbox").await,
        PEOPLE as i64
    );
}

#[tokio::test]
async fn what_was_added_to_a_file_is_taken_and_a_file_that_changed_is_refused() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    let file = desk.file("customers.csv", people(3));
    let import = ["campaign", "import", "spring", &file];
    world.says(&import).await;
    desk.file("customers.csv", people(5));
    let says = world.says(&import).await;
    assert!(
        says.starts_with("2 recipients are in campaign spring"),
        "{says}"
    );
    assert!(
        says.contains("3 of an earlier run were there already"),
        "{says}"
    );

    desk.file("customers.csv", people(6).replace("Person 1", "Somebody"));
    let refused = world.refuses(&import).await;
    assert!(
        refused.contains(
            "it is not the file that was begun: something in its first 6 lines has changed"
        ),
        "{refused}"
    );
    assert_eq!(world.number("select count(*) from wa.outbox").await, 5);
}

#[tokio::test]
async fn a_strict_import_stops_in_front_of_a_bad_line_and_goes_on_there() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    let file = desk.file(
        "customers.csv",
        people(4).replace("+4915120000002", "4915120000002"),
    );
    let import = ["campaign", "import", "spring", &file, "--strict"];
    let refused = world.refuses(&import).await;
    assert!(
        refused.contains("line 4 cannot be used: phone: it does not start with +"),
        "{refused}"
    );
    assert_eq!(world.number("select count(*) from wa.outbox").await, 2);

    desk.file("customers.csv", people(4));
    world.says(&import).await;
    let numbers: Vec<_> = world
        .recipients("name")
        .await
        .into_iter()
        .map(|(number, _)| number)
        .collect();
    assert_eq!(numbers, [0, 1, 2, 3].map(number));
}

#[tokio::test]
async fn a_strict_import_of_a_new_campaign_says_how_to_go_on() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let bad = people(4).replace("+4915120000002", "4915120000002");
    let file = desk.file("customers.csv", bad);
    let create = [
        "campaign",
        "create",
        "spring",
        "--template",
        &desk.greeting(),
        "--recipients",
        &file,
        "--as",
        "all",
        "--strict",
    ];
    let refused = world.refuses(&create).await;
    let again =
        format!("go on at that line: wa-outbox campaign import spring {file} --as all --strict;");
    assert!(refused.contains(&again), "{refused}");

    desk.file("customers.csv", people(4));
    let again = [
        "campaign", "import", "spring", &file, "--as", "all", "--strict",
    ];
    world.says(&again).await;
    assert_eq!(world.number("select count(*) from wa.outbox").await, 4);
}

#[tokio::test]
async fn a_file_that_was_read_before_is_said_to_be_so_with_what_to_do_about_its_faults() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    let import = |file: &str| ["campaign", "import", "spring", file].map(str::to_owned);
    let twice = async |name: &str, text: String| {
        let file = desk.file(name, text);
        let import = import(&file);
        let import = import.each_ref().map(String::as_str);
        world.command(&import).await;
        String::from_utf8(world.command(&import).await.stdout).expect("text")
    };
    let good = twice("good.csv", people(3)).await;
    assert!(
        good.starts_with("Nothing is new: good.csv was imported into campaign spring "),
        "{good}"
    );
    assert!(
        good.contains(", 3 recipients. To import it once more, give it another name: --as NAME")
    );
    let one_bad = people(3).replace("+4915120000002", "015120000002");
    let some = twice("some.csv", one_bad).await;
    assert!(
        some.contains(
            "2 recipients. 1 lines could not be used then and are not read again; each is told in "
        ),
        "{some}"
    );
    assert!(
        some.contains("Correct them in a file of their own"),
        "{some}"
    );
    let all_bad = people(3).replace("+49", "0");
    let none = twice("none.csv", all_bad).await;
    assert!(
        none.contains("0 recipients. 3 lines could not be used then"),
        "{none}"
    );
    assert!(
        none.contains("To have the file read once more, give it another name: --as NAME"),
        "{none}"
    );
    assert_eq!(world.number("select count(*) from wa.outbox").await, 5);
}

#[tokio::test]
async fn what_is_added_behind_a_last_line_without_a_line_break_is_taken() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    let file = desk.file("customers.csv", people(3).trim_end());
    let import = ["campaign", "import", "spring", &file];
    world.says(&import).await;
    desk.file("customers.csv", people(5));
    let says = world.says(&import).await;
    assert!(says.starts_with("2 recipients are in"), "{says}");
    desk.file("customers.csv", people(6));
    world.says(&import).await;
    assert_eq!(world.number("select count(*) from wa.outbox").await, 6);
}

#[tokio::test]
async fn a_file_of_an_old_mac_is_refused_with_how_to_convert_it() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    let file = desk.file("customers.csv", people(3).replace('\n', "\r"));
    for import in [
        &["campaign", "import", "spring", &file][..],
        &["suppress", "import", &file, "--reason", "moved"],
    ] {
        let refused = world.refuses(import).await;
        assert!(refused.contains("its lines end in CR alone"), "{refused}");
        assert!(
            refused.contains("fix: convert them: tr '\\r' '\\n' < "),
            "{refused}"
        );
        assert!(!refused.contains("+49151"), "{refused}");
    }
}

#[tokio::test]
async fn numbers_without_a_plus_are_read_as_they_are_dialled_in_the_senders_country_or_the_one_given()
 {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    let people = "phone,name\n0151 20000001,Ada\n+4915120000002,Bob\n020 7946 0018,Cyd\n";
    let file = desk.file("customers.csv", people);
    let import = ["campaign", "import", "spring", &file];
    let set = ["sender", "set", SENDER, "--default-country", "DE"];
    world.says(&set).await;
    let create = [
        "campaign",
        "create",
        "summer",
        "--template",
        &desk.greeting(),
        "--recipients",
        &file,
        "--dry-run",
    ];
    for dry in [&[&import[..], &["--dry-run"]].concat()[..], &create] {
        let says = world.says(dry).await;
        assert!(says.contains("2 recipients could be imported"), "{says}");
    }
    let dry = world
        .says(&[&import[..], &["--dry-run", "--default-country", "GB"]].concat())
        .await;
    assert!(dry.contains("2 recipients could be imported"), "{dry}");
    let faults = desk.read("customers.csv.faults.csv");
    assert!(
        faults.contains("is not clearly one number as it is dialled in GB"),
        "{faults}"
    );

    world.says(&import).await;
    let numbers: Vec<_> = world
        .recipients("name")
        .await
        .into_iter()
        .map(|(number, _)| number)
        .collect();
    // A number of London is none in Germany.
    assert_eq!(numbers, ["+4915120000001", "+4915120000002"]);
}

#[tokio::test]
async fn a_file_without_a_variable_of_the_template_is_refused_before_anything_is_made() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let (template, file) = (
        desk.greeting(),
        desk.file("customers.csv", "phone,first name\n+4915120000002,Ada\n"),
    );
    let create = [
        "campaign",
        "create",
        "spring",
        "--template",
        &template,
        "--recipients",
        &file,
    ];
    let refused = world.refuses(&create).await;
    assert!(
        refused.contains("the template wants name, and"),
        "{refused}"
    );
    assert!(refused.contains("fix: it has: first name"), "{refused}");
    assert_eq!(world.number("select count(*) from wa.campaigns").await, 0);
}

#[tokio::test]
async fn a_dry_run_reads_all_and_writes_nothing_but_the_file_of_faults() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let file = desk.file("customers.csv", people(3) + "bad,line\n");
    let create = [
        "campaign",
        "create",
        "spring",
        "--template",
        &desk.greeting(),
        "--recipients",
        &file,
        "--dry-run",
    ];
    let says = world.says(&create).await;
    assert!(
        says.contains("3 recipients could be imported; nothing was written"),
        "{says}"
    );
    assert!(says.contains("1 lines could not be used"), "{says}");
    assert_eq!(desk.read("customers.csv.faults.csv").lines().count(), 2);
    assert_eq!(world.number("select count(*) from wa.campaigns").await, 0);

    world.drafts(&desk, "spring").await;
    world
        .says(&["campaign", "import", "spring", &file, "--dry-run"])
        .await;
    assert_eq!(world.number("select count(*) from wa.outbox").await, 0);
    assert_eq!(
        world
            .number("select count(*) from wa.campaign_imports")
            .await,
        0
    );
}

#[tokio::test]
async fn a_campaign_that_is_over_takes_no_recipients_and_no_line_is_blamed_for_it() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    world
        .says(&["campaign", "cancel", "spring", "--reason", "withdrawn"])
        .await;
    let file = desk.file("customers.csv", people(3));
    let refused = world
        .refuses(&["campaign", "import", "spring", &file])
        .await;
    assert!(
        refused.contains("campaign spring is cancelled"),
        "{refused}"
    );
    assert!(!desk.at("customers.csv.faults.csv").exists());
}

#[tokio::test]
async fn of_two_imports_of_one_file_only_one_writes() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    world.drafts(&desk, "spring").await;
    let campaign = world.number("select id from wa.campaigns").await;
    let begun = world
        .store
        .begin_import(campaign, "customers.csv", "ada")
        .await;
    assert_eq!(begun.expect("begins").lines, 0);
    let recipients = [NewRecipient {
        recipient: number(1),
        variables: "{}".to_owned(),
    }];
    // Both have read the same first lines.
    let batch = Batch {
        campaign,
        source: "customers.csv",
        lines_before: 0,
        lines: 2,
        checksum: b"of two lines",
        recipients: &recipients,
        is_last: true,
    };
    let first = world.store.write_batch(&batch).await.expect("is written");
    first
        .expect("is the first")
        .commit(0, 0)
        .await
        .expect("is durable");
    let second = world.store.write_batch(&batch).await.expect("is refused");
    assert!(second.is_none());
    assert_eq!(world.number("select count(*) from wa.outbox").await, 1);
}

#[tokio::test]
async fn faults_are_not_told_in_the_file_or_the_template_that_is_read() {
    let world = World::at_rest().await;
    let desk = Desk::new();
    let (people, template) = (
        desk.file("people.csv", people(3) + "1,no\n"),
        desk.greeting(),
    );
    let written = desk.read("template.json");
    for faults in [&people, &template] {
        let create = [
            "campaign",
            "create",
            "spring",
            "--template",
            &template,
            "--recipients",
            &people,
            "--faults",
            faults,
        ];
        let refused = world.refuses(&create).await;
        assert!(
            refused.contains("which is the file that is read"),
            "{refused}"
        );
    }
    assert_eq!(desk.read("people.csv").lines().count(), 5);
    assert_eq!(desk.read("template.json"), written);
    assert_eq!(world.count("wa.campaigns").await, 0);
}
