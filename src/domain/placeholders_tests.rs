use serde_json::{Value, json};

use super::*;

fn template(json: &str) -> Template {
    Template::parse(json).expect("is a template")
}

fn filled(payload: &str, variables: &str) -> Result<String, FillError> {
    let variables = Variables::parse(variables).expect("are variables");
    template(payload).fill(&variables)
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON, {error}: {text}"))
}

#[test]
fn what_has_no_placeholder_stays_byte_for_byte() {
    for payload in [
        r#"{"z":1.0,"a": 1e5 ,"z":[ -0, 12345678901234567890123 ],"s":"\u00e9\/😀","e":""}"#,
        "[]",
        "\"plain\"",
        r#"{"a":"{ } }} {single} }}"}"#,
        r#"{"a":"\"{\"{"}"#,
    ] {
        assert_eq!(filled(payload, "{}").as_deref(), Ok(payload));
        assert!(template(payload).names().is_empty());
    }
}

#[test]
fn a_placeholder_in_a_text_gives_its_text_and_around_it_nothing_changes() {
    let payload = r#"{"b":1.0,"text":"Hi {{name}}, {{ count }} left \u00e9 {{name}}","a":[]}"#;
    assert_eq!(
        filled(payload, r#"{"name":"Ada","count":3}"#).as_deref(),
        Ok(r#"{"b":1.0,"text":"Hi Ada, 3 left \u00e9 Ada","a":[]}"#)
    );
    assert_eq!(template(payload).names(), ["name", "count"]);
}

#[test]
fn a_string_that_is_one_placeholder_takes_the_value_as_it_is() {
    let price = r#"{ "fallback_value": "9 €", "amount_1000": 9000.0 }"#;
    for raw in [
        price,
        "1.0",
        "true",
        "[1, 2]",
        r#""a \"b\"""#,
        r#""😀""#,
        "1e400",
    ] {
        let variables = format!(r#"{{"x":{raw}}}"#);
        let expected = format!(r#"{{"currency":{raw},"k":1}}"#);
        assert_eq!(
            filled(r#"{"currency":"{{x}}","k":1}"#, &variables),
            Ok(expected)
        );
    }
}

#[test]
fn no_value_can_leave_its_string() {
    for text in [
        "\"",
        "\\",
        "\",\"to\":\"+1",
        "\"}]}",
        "line\nbreak\r\t",
        "😀\u{200d}",
        "\u{1}\u{7f}\u{2028}",
        "{{other}}",
        "{{",
        "}}",
        "\\u0022",
        "\\\"",
        "",
    ] {
        let variables = json!({"x": text, "other": "never"}).to_string();
        let sent = filled(r#"{"a":"<{{x}}>","b":"{{x}}","c":{"{{x}}":1}}"#, &variables);
        assert_eq!(
            value(&sent.expect("fills")),
            json!({"a": format!("<{text}>"), "b": text, "c": {"{{x}}": 1}})
        );
    }
}

#[test]
fn a_missing_variable_is_named_with_the_place_that_wants_it() {
    let payload = r#"{"template":{"components":[{"parameters":[{},{"text":"{{n~a/m\u00e9}}"}]}],"a/b~c":"x{{y}}"}}"#;
    let missing = |name: &str, pointer: &str| FillError::Missing {
        name: name.to_owned(),
        pointer: pointer.to_owned(),
    };
    let first = missing("n~a/mé", "/template/components/0/parameters/1/text");
    assert_eq!(
        filled(payload, r#"{"n~a/mé":null,"y":1}"#),
        Err(first.clone())
    );
    assert_eq!(
        first.to_string(),
        r#"variable "n~a/mé" is missing, wanted at /template/components/0/parameters/1/text"#
    );
    assert_eq!(
        filled(payload, r#"{"n~a/mé":1}"#),
        Err(missing("y", "/template/a~1b~0c"))
    );
    let none = Variables::parse("{}").expect("is an object");
    assert_eq!(
        template(payload).faults(&none),
        [first, missing("y", "/template/a~1b~0c")]
    );
}

#[test]
fn an_object_cannot_stand_inside_a_text() {
    for (raw, found) in [("{}", "an object"), ("[1]", "a list")] {
        assert_eq!(
            filled(r#"["a {{x}}"]"#, &format!(r#"{{"x":{raw}}}"#)),
            Err(FillError::NotText {
                name: "x".into(),
                pointer: "/0".into(),
                found
            })
        );
    }
}

#[test]
fn four_braces_write_two_and_of_three_the_first_is_one() {
    for (written, expected) in [
        ("{{{{", "{{"),
        ("{{{{x}}", "{{x}}"),
        ("{{{{{{x}}", "{{V"),
        ("{{{x}}}", "{V}"),
        ("{{{{{x}}", "{{{x}}"),
        ("{{x}}}}", "V}}"),
        ("{{x}}{{x}}", "VV"),
        (" {{x}}", " V"),
        ("{", "{"),
        ("}}", "}}"),
    ] {
        let sent = filled(&json!([written]).to_string(), r#"{"x":"V"}"#).expect("fills");
        assert_eq!(value(&sent), json!([expected]), "{written}");
    }
}

#[test]
fn what_cannot_be_meant_as_a_placeholder_is_refused_with_its_place() {
    let pointer = || "/0".to_owned();
    for (written, error) in [
        ("Hi {{name", TemplateError::Unclosed { pointer: pointer() }),
        ("{{name}", TemplateError::Unclosed { pointer: pointer() }),
        ("{{}}", TemplateError::BadName { pointer: pointer() }),
        ("{{  }}", TemplateError::BadName { pointer: pointer() }),
        ("{{a{b}}", TemplateError::BadName { pointer: pointer() }),
        ("{{a\nb}}", TemplateError::BadName { pointer: pointer() }),
    ] {
        let payload = json!([written]).to_string();
        assert_eq!(Template::parse(&payload), Err(error), "{written}");
    }
    assert_eq!(
        Template::parse("{\n\"a\":}"),
        Err(TemplateError::NotJson { line: 2, column: 5 })
    );
    assert_eq!(
        TemplateError::Unclosed { pointer: pointer() }.to_string(),
        "/0: a placeholder is not closed; write {{name}}, or {{{{ for two braces"
    );
}

#[test]
fn variables_are_an_object_of_whole_characters() {
    for (text, words) in [
        ("[]", "no object"),
        ("1", "no object"),
        ("{", "no JSON"),
        ("", "no JSON"),
        (r#"{"x":"\ud83d"}"#, "no object"),
    ] {
        let error = Variables::parse(text).expect_err(text);
        assert_eq!(error, NotVariables(words), "{text}");
    }
    let variables = Variables::parse(r#"{"x":1,"\u0078":2,"n":null}"#).expect("is an object");
    assert_eq!(variables.get("x"), Some("2"));
    assert_eq!(variables.get("n"), None);
    assert_eq!(format!("{variables:?}"), "Variables(3)");
}

/// Characters that mean something to JSON, to placeholders, or to nobody.
const ODD: [&str; 16] = [
    "\"", "\\", "{{", "}}", "{", "}", "\n", "\u{0}", "😀", "é", "a", "{{x}}", ":", ",", "[",
    "\u{7f}",
];

fn odd_text(random: &mut fastrand::Rng) -> String {
    (0..random.usize(..6))
        .map(|_| ODD[random.usize(..ODD.len())])
        .collect()
}

fn odd_value(random: &mut fastrand::Rng, depth: usize) -> Value {
    match random.u8(..if depth == 0 { 4 } else { 6 }) {
        0 => Value::from(odd_text(random)),
        1 => Value::from(random.i64(..)),
        // An eighth is written and read alike everywhere.
        2 => Value::from(f64::from(random.i32(..)) / 8.0),
        3 => Value::from(random.bool()),
        4 => (0..random.usize(..4))
            .map(|_| odd_value(random, depth - 1))
            .collect(),
        _ => (0..random.usize(..4))
            .map(|_| (odd_text(random), odd_value(random, depth - 1)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

/// A literal text as a template writes it.
fn escaped(text: &str) -> String {
    text.replace("{{", "{{{{")
}

/// A payload in which strings hold placeholders, and what it must become.
fn with_placeholders(
    random: &mut fastrand::Rng,
    depth: usize,
    variables: &serde_json::Map<String, Value>,
) -> (Value, Value) {
    let name = random.choice(variables.keys()).expect("there are some");
    let text = match &variables[name] {
        Value::String(text) => Some(text.clone()),
        number @ (Value::Number(_) | Value::Bool(_)) => Some(number.to_string()),
        _ => None,
    };
    match (random.u8(..if depth == 0 { 2 } else { 4 }), text) {
        (0, _) => (format!("{{{{{name}}}}}").into(), variables[name].clone()),
        (1, Some(text)) => {
            // A brace right before the placeholder would be read with it.
            let before = odd_text(random) + ".";
            let after = odd_text(random);
            (
                format!("{}{{{{ {name} }}}}{}", escaped(&before), escaped(&after)).into(),
                format!("{before}{text}{after}").into(),
            )
        }
        (1, None) => {
            let text = odd_text(random);
            (escaped(&text).into(), text.into())
        }
        (2, _) => {
            let members = (0..random.usize(..4))
                .map(|_| with_placeholders(random, depth - 1, variables))
                .unzip::<_, _, Vec<_>, Vec<_>>();
            (members.0.into(), members.1.into())
        }
        _ => {
            let mut both = (serde_json::Map::new(), serde_json::Map::new());
            for _ in 0..random.usize(..4) {
                let (written, expected) = with_placeholders(random, depth - 1, variables);
                let key = odd_text(random);
                both.0.insert(key.clone(), written);
                both.1.insert(key, expected);
            }
            (both.0.into(), both.1.into())
        }
    }
}

#[test]
fn whatever_is_filled_in_the_result_is_the_payload_with_the_values_in_their_places() {
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..20_000 {
        let variables: serde_json::Map<_, _> = (0..4)
            .map(|number| (format!("v{number}é \"q\""), odd_value(&mut random, 2)))
            .collect();
        let (written, expected) = with_placeholders(&mut random, 3, &variables);
        let sent = filled(&written.to_string(), &Value::from(variables).to_string())
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(value(&sent), expected, "round {round}: {written}");
    }
}

#[test]
fn no_text_makes_the_reading_of_a_template_fall_over() {
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..20_000 {
        let payload = odd_value(&mut random, 3).to_string();
        if let Ok(template) = Template::parse(&payload) {
            let none = Variables::parse(r#"{"x":"{{x}}"}"#).expect("is an object");
            let _ = template.fill(&none).map(|sent| value(&sent));
        }
        // Cut anywhere it is a template or refused, but never a panic.
        let cut = payload.floor_char_boundary(random.usize(..=payload.len()));
        let _ = Template::parse(&payload[..cut]);
    }
}
