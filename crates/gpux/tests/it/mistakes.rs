//! Mistakes that need no daemon: each has its exit status, its code and its hint.

use crate::home::Home;

/// What is typed, the exit status, the code, and a piece of the message.
const MISTAKES: &[(&[&str], i32, &str, &str)] = &[
    (&["offers"], 2, "invalid_input", "there is no"),
    (
        &["ps", "--dir", "/nowhere/at/all"],
        2,
        "invalid_input",
        "/nowhere/at/all",
    ),
    (&["cost", "first-light"], 2, "invalid_input", "there is no"),
    (&["wallet", "address"], 6, "not_found", "reading the wallet"),
    (&["wallet", "new"], 2, "invalid_input", "no password was given"),
    (
        &["wallet", "new", "--password-file", "missing"],
        2,
        "invalid_input",
        "reading the password file",
    ),
    (&["devnet", "status"], 6, "not_found", "looking for a devnet in"),
    (&["frobnicate"], 2, "invalid_input", "frobnicate"),
    (&["offers", "--frobnicate"], 2, "invalid_input", "--frobnicate"),
    (&["plan"], 2, "invalid_input", "<FILE>"),
    (
        &["plan", "x.yaml", "--set", "novalue"],
        2,
        "invalid_input",
        "expected NAME=VALUE",
    ),
    (
        &["wait", "x", "--timeout", "5"],
        2,
        "invalid_input",
        "expected digits and a unit",
    ),
    (&["devnet", "up", "--providers", "65"], 2, "invalid_input", "65"),
    (&["completion", "tcsh"], 2, "invalid_input", "tcsh"),
    (&[], 2, "invalid_input", ""),
];

#[test]
fn each_mistake_ends_with_its_status_and_a_json_error_on_standard_error_alone() {
    let home = Home::new();
    for (words, status, code, said) in MISTAKES {
        let mut typed = words.to_vec();
        typed.push("--json");
        let ended = home.run(&typed);
        let error = ended.error();
        assert_eq!(
            (ended.status, error["code"].as_str()),
            (*status, Some(*code)),
            "{words:?}: {error}"
        );
        assert!(error["message"].as_str().unwrap().contains(said), "{words:?}: {error}");
        assert!(
            error["docs"].as_str().unwrap().starts_with("docs/errors/GPUX-"),
            "{words:?}: {error}"
        );
        assert!(
            error["hint"].is_string() || words.contains(&"missing"),
            "{words:?}: {error}"
        );
    }
}

#[test]
fn each_mistake_ends_with_the_same_status_for_people() {
    let home = Home::new();
    for (words, status, ..) in MISTAKES {
        let ended = home.run(words);
        assert_eq!((ended.status, ended.out.as_str()), (*status, ""), "{words:?}");
        assert!(
            !ended.talk.is_empty() && !ended.talk.starts_with('{'),
            "{words:?}: {}",
            ended.talk
        );
    }
}

#[test]
fn a_failed_command_leaves_nothing_in_the_home_folder() {
    let home = Home::new();
    for (words, ..) in MISTAKES {
        home.run(words);
    }
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_message_tells_what_to_do_and_where_to_read_on() {
    let ended = Home::new().run(&["offers"]);
    let lines: Vec<&str> = ended.talk.lines().collect();
    assert!(lines[0].starts_with("error: starting the daemon of "), "{lines:?}");
    assert!(lines[1].starts_with("  what to do: "), "{lines:?}");
    assert_eq!(lines[2], "  more: docs/errors/GPUX-0002.md");
}

#[test]
fn the_context_names_the_folder_and_dir_and_gpux_dir_go_before_it() {
    let home = Home::new();
    home.file("context", "/the/context\n");
    let place = |ended: &crate::home::Ended| ended.error()["message"].as_str().unwrap().to_owned();
    assert!(place(&home.run(&["ps", "--json"])).contains("/the/context"));
    assert!(place(&home.run(&["ps", "--json", "--dir", "/given"])).contains("/given"));
    let asked = home
        .command(&["ps", "--json"])
        .env("GPUX_DIR", "/environment")
        .output()
        .unwrap();
    assert!(place(&crate::home::Ended::of(asked)).contains("/environment"));
}

#[test]
fn a_daemon_that_ends_at_once_is_not_waited_for_and_its_last_words_are_shown() {
    let home = Home::new();
    home.file("config.toml", "chainn = 1\n");
    let began = std::time::Instant::now();
    let ended = home.run(&["offers", "--json"]);
    let error = ended.error();
    assert_eq!((ended.status, error["code"].as_str()), (8, Some("unreachable")));
    assert!(
        error["message"].as_str().unwrap().contains("unknown field `chainn`"),
        "{error}"
    );
    assert!(
        began.elapsed() < std::time::Duration::from_secs(20),
        "it was waited for"
    );
}
