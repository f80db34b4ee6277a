//! Passwords typed on a terminal: `script` gives the binary one, and shows all that would be on the screen.

use crate::home::Home;
use std::{
    io::{Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const FIRST: &str = "Password of the new wallet: ";
const AGAIN: &str = "The same again: ";
const PASSWORD: &str = "correct horse battery";

/// A command on a terminal of its own.
pub(crate) struct Terminal {
    script: Child,
    keys: ChildStdin,
    screen: ChildStdout,
    shown: String,
}

impl Terminal {
    pub(crate) fn run(home: &Home, shell: &str) -> Self {
        let program = env!("CARGO_BIN_EXE_gpux");
        let mut script = Command::new("script");
        script
            .args([
                "--quiet",
                "--return",
                "--command",
                &format!("gpux() {{ {program} \"$@\"; }}; {shell}"),
                "/dev/null",
            ])
            .current_dir(home.path())
            .env("GPUX_HOME", home.path())
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .env_remove("GPUX_DIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut script = script.spawn().expect("script(1) of Debian's bsdutils");
        Self {
            keys: script.stdin.take().unwrap(),
            screen: script.stdout.take().unwrap(),
            script,
            shown: String::new(),
        }
    }

    /// Waits until the screen ends with `question`, then types.
    pub(crate) fn answer(&mut self, question: &str, typed: &str) {
        let mut byte = [0];
        let before = self.shown.len();
        while self.shown.len() == before || !self.shown.ends_with(question) {
            let count = self.screen.read(&mut byte).unwrap();
            assert!(count == 1, "it ended without asking {question:?}: {:?}", self.shown);
            self.shown.push(char::from(byte[0]));
        }
        self.keys.write_all(typed.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// All that was shown, and the exit status.
    pub(crate) fn end(mut self) -> (i32, String) {
        self.screen.read_to_string(&mut self.shown).unwrap();
        (self.script.wait().unwrap().code().unwrap(), self.shown)
    }
}

/// Whether a daemon opens the wallet in `dir` with that password: it then fails at the chain, and else before it.
fn opens_with(home: &Home, dir: &Path, password: &str) -> bool {
    let address = "0x0000000000000000000000000000000000000001";
    let config = format!(
        "[chain]\nrpc_url = \"http://127.0.0.1:1\"\nchain_id = 10\nescrow = \"{address}\"\n\
         node_directory = \"{address}\"\ntoken = \"{address}\"\n"
    );
    std::fs::write(dir.join("config.toml"), config).unwrap();
    std::fs::write(dir.join("wallet.password"), password).unwrap();
    let ended = home.run(&["daemon", "--dir", dir.to_str().unwrap()]);
    assert!([5, 8].contains(&ended.status), "{ended:?}");
    ended.status == 8
}

#[test]
fn a_password_typed_twice_the_same_makes_a_wallet_and_is_never_shown() {
    let home = Home::new();
    let mut terminal = Terminal::run(&home, "gpux wallet new --dir made; echo status $?");
    terminal.answer(FIRST, &format!("{PASSWORD}\n"));
    terminal.answer(AGAIN, "something else\n");
    terminal.answer(FIRST, "\n");
    terminal.answer(FIRST, &format!("{PASSWORD}\n"));
    terminal.answer(AGAIN, &format!("{PASSWORD}\n"));
    let (_, shown) = terminal.end();
    assert!(
        shown.contains("the two differ") && shown.contains("an empty password"),
        "{shown}"
    );
    assert!(shown.contains("status 0"), "{shown}");
    assert!(
        shown.contains("made/wallet.password"),
        "it says where the daemon looks for it: {shown}"
    );
    for secret in [PASSWORD, "something else"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let made = home.path().join("made");
    let address = home.run(&["wallet", "address", "--dir", made.to_str().unwrap()]).out;
    assert!(shown.contains(address.trim()), "{shown}");
    assert!(opens_with(&home, &made, PASSWORD));
    assert!(!opens_with(&home, &made, "something else"));
}

#[test]
fn three_pairs_that_differ_make_no_wallet() {
    let home = Home::new();
    let mut terminal = Terminal::run(&home, "gpux wallet new");
    for _ in 0..3 {
        terminal.answer(FIRST, "one\n");
        terminal.answer(AGAIN, "other\n");
    }
    let (status, shown) = terminal.end();
    assert_eq!(status, 2, "{shown}");
    assert_eq!(home.run(&["wallet", "address"]).status, 6, "there is none");
}

#[test]
fn ctrl_c_at_the_question_makes_no_wallet_and_leaves_a_terminal_that_shows_what_is_typed() {
    let home = Home::new();
    let mut terminal = Terminal::run(&home, "trap : INT; gpux wallet new; echo status $?; stty -a");
    terminal.answer(FIRST, "half a pass\u{3}");
    let (_, shown) = terminal.end();
    assert!(shown.contains("status 130"), "{shown}");
    assert!(shown.contains(" echo ") && !shown.contains(" -echo "), "{shown}");
    assert!(!shown.contains("half"), "{shown}");
    assert_eq!(home.run(&["wallet", "address"]).status, 6, "there is none");
}

#[test]
fn nobody_is_asked_where_there_is_a_wallet_or_for_programs() {
    let home = Home::new();
    let password = home.file("password", PASSWORD);
    let made = home.run(&["wallet", "new", "--password-file", password.to_str().unwrap()]);
    assert_eq!(made.status, 0, "{}", made.talk);
    let (status, shown) = Terminal::run(&home, "gpux wallet new").end();
    assert_eq!(status, 2, "{shown}");
    assert!(
        shown.contains(made.out.trim()),
        "it names the one that is there: {shown}"
    );
    let (status, shown) = Terminal::run(&home, "gpux wallet new --json --dir other").end();
    assert_eq!(status, 2, "{shown}");
    assert!(shown.contains("no password was given"), "{shown}");
}
