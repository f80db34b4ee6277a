//! What the double's parts do: the probe's verbs, acted out in memory as time is given to them.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;
use std::time::Duration;

use gpux_runtime::{ImageConfig, InputMount, OutputFile, PartSpec};
use gpux_types::ByteSize;

/// How a simulated program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) code: i32,
    pub(super) signal: Option<i32>,
    pub(super) out_of_memory: bool,
}

impl Outcome {
    pub(super) fn killed() -> Self {
        Self {
            code: 128 + 9,
            signal: Some(9),
            out_of_memory: false,
        }
    }

    fn exit(code: i32) -> Self {
        Self {
            code,
            signal: None,
            out_of_memory: false,
        }
    }
}

/// What a program finds around it.
pub(super) struct Surroundings<'a> {
    pub(super) inputs: &'a [InputMount],
    pub(super) disk_left: u64,
}

/// What stands under a path.
#[derive(Debug, Clone)]
enum Entry {
    File { bytes: u64, text: Vec<u8>, complete: bool },
    NotRegular,
}

/// What a verb has come to.
enum Step {
    /// Done; the next verb follows.
    Next,
    /// It needs more time.
    Wait,
    /// The program is over.
    End(Outcome),
}

/// A simulated program.
#[derive(Debug, Default)]
pub(super) struct Process {
    verbs: VecDeque<Vec<String>>,
    env: Vec<String>,
    entries: BTreeMap<String, Entry>,
    log: Vec<u8>,
    /// Unfrozen time since the present verb began.
    spent: Duration,
    /// How many times the present verb has acted.
    acts: u64,
    terminated: bool,
}

/// Verbs that have to do with memory, with their outcome.
fn memory_outcome(verb: &str) -> Option<Outcome> {
    match verb {
        "eat" => Some(Outcome {
            out_of_memory: true,
            ..Outcome::killed()
        }),
        "eat-in-child" => Some(Outcome {
            out_of_memory: true,
            ..Outcome::exit(0)
        }),
        "crash" => Some(Outcome {
            code: 128 + 11,
            signal: Some(11),
            out_of_memory: false,
        }),
        _ => None,
    }
}

impl Process {
    /// What exec comes to: the image holds `/probe` and, not executable, `/not-a-program`.
    pub(super) fn exec(image: &ImageConfig, part: &PartSpec) -> Result<Self, (i32, String)> {
        let argv: Vec<String> = if part.argv.is_empty() {
            image.entrypoint.iter().chain(&image.cmd).cloned().collect()
        } else {
            part.argv.clone()
        };
        let mut words = argv.into_iter();
        let program = words.next().unwrap_or_default();
        match program.as_str() {
            "/probe" | "probe" => {}
            "/not-a-program" => return Err((13, format!("executing {program}: permission denied"))),
            _ => return Err((2, format!("executing {program}: no such file"))),
        }
        let words: Vec<String> = words.collect();
        let verbs = match words.split_first() {
            Some((first, rest)) if first == "then" => rest.split(|word| word == ";").map(<[String]>::to_vec).collect(),
            Some(_) | None => VecDeque::from([words]),
        };
        Ok(Self {
            verbs,
            env: environment(image, part),
            ..Self::default()
        })
    }

    pub(super) fn log(&self) -> &[u8] {
        &self.log
    }

    /// SIGTERM.
    pub(super) fn terminate(&mut self) {
        self.terminated = true;
    }

    pub(super) fn disk_used(&self) -> u64 {
        self.entries
            .values()
            .map(|entry| match entry {
                Entry::File { bytes, .. } => *bytes,
                Entry::NotRegular => 0,
            })
            .sum()
    }

    /// Gives the program unfrozen time; its end, if it comes to that.
    pub(super) fn advance(&mut self, time: Duration, around: &mut Surroundings<'_>) -> Option<Outcome> {
        self.spent += time;
        while let Some(verb) = self.verbs.front().cloned() {
            let words: Vec<&str> = verb.iter().map(String::as_str).collect();
            match self.act(&words, around) {
                Step::Wait => return None,
                Step::End(outcome) => return Some(outcome),
                Step::Next => {
                    self.verbs.pop_front();
                    (self.spent, self.acts) = (Duration::ZERO, 0);
                }
            }
        }
        Some(Outcome::exit(0))
    }

    fn act(&mut self, words: &[&str], around: &mut Surroundings<'_>) -> Step {
        match words {
            ["exit", code] => Step::End(Outcome::exit(code.parse().unwrap_or(255))),
            ["print", text] => self.print(&format!("{text}\n")),
            ["both"] => self.print("to standard output\nto standard error\n"),
            ["flood", bytes] => {
                let filler = "x".repeat(bytes.parse().unwrap_or(0));
                self.print(&format!("{filler}\nlast line\n"))
            }
            ["env"] => {
                let text: String = self.env.iter().map(|word| format!("{word}\n")).collect();
                self.print(&text)
            }
            ["nap" | "spin", ms] => self.until(ms),
            ["count", ms] => self.count(ms),
            ["crowd"] => self.print("4095 11\n"),
            ["wait-for-term", code] => self.wait_for_term(code),
            ["ignore-term"] => self.say_once("ready\n"),
            ["crash" | "eat" | "eat-in-child"] => words
                .first()
                .and_then(|verb| memory_outcome(verb))
                .map_or(Step::Next, Step::End),
            _ => self.act_on_files(words, around),
        }
    }

    fn act_on_files(&mut self, words: &[&str], around: &mut Surroundings<'_>) -> Step {
        match words {
            ["fill", path] => {
                let bytes = around.disk_left;
                self.store(path, bytes, Vec::new(), true);
                Step::End(Outcome::exit(28))
            }
            ["write", path, _] if around.inputs.iter().any(|input| input.target == Path::new(path)) => {
                Step::End(Outcome::exit(30))
            }
            ["write", path, text] => {
                self.store(path, text.len() as u64, text.as_bytes().to_vec(), true);
                Step::Next
            }
            ["write-slowly", path, ms] => self.write_slowly(path, ms),
            ["read", path] => self.read(path, around),
            ["make-dir", _] => Step::Next,
            ["link", _, path] | ["pipe", path] => {
                self.entries.insert((*path).to_owned(), Entry::NotRegular);
                Step::Next
            }
            _ => Step::End(Outcome::exit(254)),
        }
    }

    fn print(&mut self, text: &str) -> Step {
        self.log.extend_from_slice(text.as_bytes());
        Step::Next
    }

    fn say_once(&mut self, text: &str) -> Step {
        if self.acts == 0 {
            self.print(text);
        }
        self.acts = 1;
        Step::Wait
    }

    fn until(&self, ms: &str) -> Step {
        if self.spent >= Duration::from_millis(ms.parse().unwrap_or(0)) {
            Step::Next
        } else {
            Step::Wait
        }
    }

    fn count(&mut self, ms: &str) -> Step {
        let every = Duration::from_millis(ms.parse().unwrap_or(1).max(1));
        let due = u64::try_from(self.spent.as_millis() / every.as_millis()).unwrap_or(u64::MAX) + 1;
        while self.acts < due {
            self.print(&format!("{}\n", self.acts));
            self.acts += 1;
        }
        Step::Wait
    }

    fn wait_for_term(&mut self, code: &str) -> Step {
        if self.terminated {
            return Step::End(Outcome::exit(code.parse().unwrap_or(1)));
        }
        self.say_once("ready\n")
    }

    fn store(&mut self, path: &str, bytes: u64, text: Vec<u8>, complete: bool) {
        self.entries
            .insert(path.to_owned(), Entry::File { bytes, text, complete });
    }

    fn write_slowly(&mut self, path: &str, ms: &str) -> Step {
        if self.acts == 0 {
            self.acts = 1;
            self.store(path, 11, b"first half ".to_vec(), false);
            self.print("half\n");
        }
        let done = self.until(ms);
        if let Step::Next = done {
            self.store(path, 22, b"first half second half".to_vec(), true);
        }
        done
    }

    fn read(&mut self, path: &str, around: &Surroundings<'_>) -> Step {
        let input = around.inputs.iter().find(|input| input.target == Path::new(path));
        let text = match (self.entries.get(path), input) {
            (Some(Entry::File { text, .. }), _) => Some(text.clone()),
            (_, Some(input)) => fs::read(&input.source).ok(),
            (_, None) => None,
        };
        match text {
            Some(text) => self.print(&String::from_utf8_lossy(&text)),
            None => Step::End(Outcome::exit(2)),
        }
    }

    /// Regular files below `/out` that match.
    pub(super) fn outputs(&self, glob: &str) -> Vec<OutputFile> {
        self.entries
            .iter()
            .filter(|(path, _)| path.starts_with("/out/") && matches(glob, path))
            .filter_map(|(path, entry)| match entry {
                Entry::File { bytes, complete, .. } => Some(OutputFile {
                    path: path.clone(),
                    size: ByteSize(*bytes),
                    modified_unix_ms: 1_700_000_000_000,
                    complete: *complete,
                }),
                Entry::NotRegular => None,
            })
            .collect()
    }

    /// The bytes of one of them.
    pub(super) fn output(&self, path: &str) -> Option<Vec<u8>> {
        match self.entries.get(path) {
            Some(Entry::File { text, .. }) if path.starts_with("/out/") => Some(text.clone()),
            Some(_) | None => None,
        }
    }
}

/// The image's words, the part's over them, and what every part has.
fn environment(image: &ImageConfig, part: &PartSpec) -> Vec<String> {
    let defaults = [("HOME", "/tmp"), ("PATH", "/bin"), ("TMPDIR", "/tmp")];
    let mut words: BTreeMap<String, String> = defaults
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for (name, value) in image.env.iter().filter_map(|word| word.split_once('=')) {
        words.insert(name.to_owned(), value.to_owned());
    }
    words.extend(part.env.iter().cloned());
    words
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

/// `*` and `?` within one folder, `**` across folders: the plain recursive form, for short patterns of tests.
fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_at_checked(1) {
        None => path.is_empty(),
        Some(("*", rest)) => {
            let (rest, crosses) = match rest.strip_prefix("*/").or(rest.strip_prefix('*')) {
                Some(rest) => (rest, true),
                None => (rest, false),
            };
            path.char_indices()
                .map(|(at, _)| at)
                .chain([path.len()])
                .take_while(|&at| crosses || !path.get(..at).is_some_and(|taken| taken.contains('/')))
                .any(|at| path.get(at..).is_some_and(|left| matches(rest, left)))
        }
        Some((sign, rest)) => match path.chars().next() {
            Some(letter) if sign == letter.to_string() || (sign == "?" && letter != '/') => {
                path.get(letter.len_utf8()..).is_some_and(|left| matches(rest, left))
            }
            Some(_) | None => false,
        },
    }
}
