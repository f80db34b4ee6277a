//! Readers that go away, and terminals without colours.

use crate::home::Home;
use std::process::Stdio;

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let home = Home::new();
    for words in [&["completion", "zsh"][..], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = home
            .command(words)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output();
        let output = output.unwrap();
        assert_eq!(
            (output.status.code(), output.stderr.as_slice()),
            (Some(0), &[][..]),
            "{words:?}"
        );
    }
}

#[test]
fn a_closed_standard_error_changes_no_exit_status() {
    let home = Home::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = home
        .command(&["offers"])
        .stdout(Stdio::null())
        .stderr(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn no_color_is_honoured() {
    let home = Home::new();
    let colours = |no_color: Option<&str>, words: &[&str]| {
        let mut command = home.command(words);
        command.env("CLICOLOR_FORCE", "1");
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        let output = command.output().unwrap();
        [output.stdout, output.stderr].concat().contains(&0x1b)
    };
    for words in [&["--help"][..], &["frobnicate"]] {
        assert!(
            colours(None, words),
            "{words:?}: forced colours show, or this test shows nothing"
        );
        assert!(!colours(Some("1"), words), "{words:?}");
    }
}

#[test]
fn without_a_terminal_the_log_has_no_colours() {
    let ended = Home::new().run(&["daemon", "-vv"]);
    assert_eq!((ended.status, ended.out.as_str()), (2, ""));
    assert!(!ended.talk.contains('\u{1b}'), "{}", ended.talk);
}
