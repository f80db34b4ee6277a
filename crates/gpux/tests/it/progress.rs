//! How a followed job looks: a checklist and a bar for each node on a terminal, plain lines everywhere else.

use crate::{
    daemon::{self, Answers},
    home::{Ended, Home},
    passwords::Terminal,
    run_events,
};
use serde_json::Value;

const WATCH: (&str, &str) = ("GET", "/v1/jobs/12121212121212121212121212121212/watch");

/// The job of `run_events`, on two nodes.
fn answers() -> Answers {
    let mut answers = run_events::answers();
    let (_, views) = answers.remove(&WATCH).unwrap();
    let views: Vec<String> = views.lines().map(with_a_second_node).collect();
    answers.insert(WATCH, (200, views.concat()));
    answers
}

fn with_a_second_node(view: &str) -> String {
    let mut view: Value = serde_json::from_str(view).unwrap();
    let mut second = view["leases"][0].clone();
    second["id"] = "cd".repeat(32).into();
    second["node"] = "bb".repeat(32).into();
    second["parts_done"] = 0.into();
    view["leases"].as_array_mut().unwrap().push(second);
    format!("{view}\n")
}

fn home() -> Home {
    let home = Home::new();
    daemon::listen(home.path(), answers());
    home.file("shot.yaml", "gpux: 1\n");
    home
}

/// As many columns as the terminal of this test has: what is drawn fills its lines up to there instead of ending them.
const COLUMNS: usize = 120;

/// Every line that was drawn, in its order.
fn drawn(screen: &str) -> Vec<String> {
    let mut text = String::new();
    let mut rest = screen.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            // A sequence ends with its first letter; `m` is a colour, all others move the cursor.
            if rest.by_ref().find(char::is_ascii_alphabetic) != Some('m') {
                text.push('\n');
            }
        } else if c == '\r' {
            text.push('\n');
        } else {
            text.push(c);
        }
    }
    let rows = text.lines().flat_map(|line| {
        let line: Vec<char> = line.chars().collect();
        let rows: Vec<String> = line.chunks(COLUMNS).map(|row| row.iter().collect()).collect();
        rows
    });
    rows.filter(|row| !row.trim().is_empty()).collect()
}

#[test]
fn a_terminal_shows_a_live_checklist_and_a_bar_for_each_node() {
    let home = home();
    let terminal = Terminal::run(
        &home,
        &format!("stty cols {COLUMNS} rows 50; gpux run shot.yaml -y; echo status $?"),
    );
    let (_, screen) = terminal.end();
    assert!(screen.contains('\u{1b}'), "it is drawn in place: {screen:?}");
    let rows = drawn(&screen);
    let last = |begins: &str| {
        let row = rows.iter().rev().find(|row| row.trim_start().starts_with(begins));
        row.map(|row| row.trim_end())
    };
    for (begins, row) in [
        ("▸ deposits", "  ▸ deposits         0/2"),
        ("✓ firm prices", "  ✓ firm prices      2/2  0.0s"),
        ("✓ deposits", "  ✓ deposits         2/2  2.1s"),
        ("✓ image and inputs", "  ✓ image and inputs 2/2  2.1s"),
        ("· parts", "  · parts            1/2"),
        ("✓ settlements", "  ✓ settlements      2/2  10.4s"),
        (
            "aaaaaaaa  ",
            "  aaaaaaaa       [━━━━━━━━━━━━━━━╸              ] settled  1 parts  0.000555 DAI",
        ),
        (
            "bbbbbbbb  ",
            "  bbbbbbbb       [                              ] settled  0 parts  0.000555 DAI",
        ),
        ("status", "status 7"),
    ] {
        assert_eq!(last(begins), Some(row), "{rows:#?}");
    }
}

#[test]
fn without_a_terminal_there_is_one_plain_line_for_each_change_and_nothing_is_drawn() {
    let home = home();
    for words in [&["run", "shot.yaml", "-y"][..], &["run", "shot.yaml", "-y", "--logs"]] {
        let Ended { status, talk, .. } = home.run(words);
        assert_eq!(status, 7, "{talk}");
        assert!(!talk.contains(['\u{1b}', '\r', '✓', '▸', '━']), "{talk:?}");
        let lines: Vec<&str> = talk.lines().filter(|line| line.starts_with("shot  ")).collect();
        assert_eq!(
            lines,
            [
                "shot   0.0s  starting",
                "shot   0.0s  node aaaaaaaa: deposit on its way",
                "shot   0.0s  node bbbbbbbb: deposit on its way",
                "shot   2.1s  running",
                "shot   2.1s  node aaaaaaaa: running",
                "shot   2.1s  node bbbbbbbb: running",
                "shot   9.3s  1/2 parts  (aaaaaaaa 1, bbbbbbbb 0)",
                "shot  10.4s  failed",
                "shot  10.4s  node aaaaaaaa: settled",
                "shot  10.4s  node bbbbbbbb: settled",
            ],
            "{talk}"
        );
    }
}
