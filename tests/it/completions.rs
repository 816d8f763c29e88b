//! `wa-outbox completions` and `wa-outbox man`: what shells and `man` are told is what the program takes.

use std::io::Write as _;
use std::process::{Command, Output};

fn asked(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wa-outbox"))
        .args(arguments)
        .env_clear()
        .output()
        .expect("the program starts")
}

fn says(arguments: &[&str]) -> String {
    let output = asked(arguments);
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn bash_completes_commands_and_options_with_what_it_is_told() {
    let script = says(&["completions", "bash"]);
    let ask = r#"
        ask=$(complete -p wa-outbox | sed 's/.*-F \([^ ]*\).*/\1/')
        COMP_WORDS=(wa-outbox message show --); COMP_CWORD=3; COMPREPLY=()
        $ask wa-outbox -- show; echo "${COMPREPLY[@]}"
        COMP_WORDS=(wa-outbox to); COMP_CWORD=1; COMPREPLY=()
        $ask wa-outbox to wa-outbox; echo "${COMPREPLY[@]}""#;
    let mut told = tempfile::NamedTempFile::new().expect("a file");
    writeln!(told, "{script}\n{ask}").expect("it is written");
    let output = Command::new("bash")
        .arg(told.path())
        .output()
        .expect("bash starts");
    let completed = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<&str> = completed.lines().collect();
    assert!(lines[0].contains("--reveal"), "{completed}");
    assert_eq!(lines[1], "top");
    for shell in ["zsh", "fish"] {
        assert!(says(&["completions", shell]).contains("reveal"), "{shell}");
    }
}

#[test]
fn each_command_has_a_manual_page() {
    let page = says(&["man"]);
    assert!(page.contains(".TH wa-outbox 1"), "{page}");
    assert!(page.contains(r"wa\-outbox\-message(1)"), "{page}");
    let page = says(&["man", "message", "show"]);
    assert!(page.contains(".TH wa-outbox-message-show 1"), "{page}");
    assert!(page.contains(r"\-\-reveal"), "{page}");
    let foot = concat!("\"wa-outbox ", env!("CARGO_PKG_VERSION"), "\"");
    assert!(page.contains(foot), "{page}");

    let folder = tempfile::tempdir().expect("a folder");
    let into = folder.path().join("man1");
    says(&["man", "--into", into.to_str().expect("a name")]);
    for name in ["wa-outbox.1", "wa-outbox-top.1", "wa-outbox-message-show.1"] {
        let page = std::fs::read_to_string(into.join(name)).expect(name);
        assert!(page.contains(foot), "{page}");
    }

    let refused = asked(&["man", "mesage"]);
    assert_eq!(refused.status.code(), Some(2));
    let error = String::from_utf8(refused.stderr).expect("text");
    assert!(
        error.contains("there is no command wa-outbox mesage"),
        "{error}"
    );
}
