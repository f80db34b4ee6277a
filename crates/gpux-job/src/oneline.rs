//! A task that was typed in one line: `gpux run --nodes 3 --cpu 2.. --for 2h IMAGE -- CMD`.
//!
//! It becomes a job file, which goes the way of every other one: no rule about jobs is here but how a line is written as a
//! file. Called by the command line.

use crate::text::cut;
use std::fmt::Write as _;

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OneLine {
    /// `oci:DIR[:TAG]`, or a registry's reference.
    pub image: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// A name for people; a drawn one when there is none.
    pub name: Option<String>,
    /// Cores of each node, such as `2` or `2..`.
    pub cpu: Option<String>,
    /// Memory of each node, such as `4GiB` or `4GiB..`.
    pub memory: Option<String>,
    /// Disk of each node.
    pub disk: Option<String>,
    /// Variables of every container, as `NAME=VALUE`.
    pub environment: Vec<String>,
    /// Which files come back, such as `/out/*.json`.
    pub collect: Option<String>,
    /// How long each lease may last, such as `2h`.
    pub duration: Option<String>,
    /// The most for one node and hour.
    pub max_price: Option<String>,
}

/// A line that is no task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OneLineError {
    /// A range with an upper end, or an exact value: nodes are asked for the least that they must give.
    #[error("reading {flag} {text:?}: only the least can be asked for, as in 2 or 2..")]
    NotTheLeast {
        /// Which flag.
        flag: &'static str,
        /// What was typed.
        text: String,
    },
    /// A variable without its value.
    #[error("reading --env {0:?}: expected NAME=VALUE")]
    NotAnAssignment(String),
}

/// Words of drawn names. Plain, short, and nobody's feelings.
const COLOURS: [&str; 32] = [
    "amber", "azure", "black", "blue", "bronze", "brown", "cobalt", "copper", "coral", "cream", "crimson", "cyan",
    "golden", "green", "grey", "indigo", "ivory", "jade", "lilac", "lime", "maroon", "mint", "navy", "olive", "orange",
    "pearl", "purple", "red", "ruby", "silver", "teal", "white",
];
const ANIMALS: [&str; 32] = [
    "badger", "bear", "beaver", "bison", "crane", "crow", "deer", "dove", "eagle", "falcon", "finch", "fox", "gecko",
    "hare", "hawk", "heron", "ibis", "lark", "lynx", "marten", "mole", "newt", "otter", "owl", "panda", "puffin",
    "raven", "robin", "seal", "swan", "tern", "wren",
];

/// A name such as `blue-otter-3`, drawn by a number: the same one for the same number.
#[must_use]
pub fn drawn_name(number: u64) -> String {
    let word =
        |words: &[&'static str; 32], at: u64| usize::try_from(at % 32).ok().and_then(|at| words.get(at).copied());
    let colour = word(&COLOURS, number).unwrap_or("grey");
    let animal = word(&ANIMALS, number / 32).unwrap_or("mole");
    format!("{colour}-{animal}-{}", 1 + number / 1_024 % 99)
}

impl OneLine {
    /// The job file that says the same. Its name is drawn by `number` where none was typed.
    ///
    /// # Errors
    /// When a flag says what a job file cannot.
    pub fn job_file(&self, number: u64) -> Result<String, OneLineError> {
        let name = self.name.clone().unwrap_or_else(|| drawn_name(number));
        let mut text = format!(
            "gpux: 1\nkind: task\nname: {}\nimage: {}\n",
            quoted(&name),
            quoted(&self.image)
        );
        let resources = [
            ("cpu", "--cpu", &self.cpu),
            ("memory", "--memory", &self.memory),
            ("disk", "--disk", &self.disk),
        ];
        let mut asked = Vec::new();
        for (key, flag, value) in resources {
            if let Some(value) = value {
                asked.push(format!("{key}: {}", quoted(least(flag, value)?)));
            }
        }
        let mut section = |key: &str, entries: Vec<String>| {
            if !entries.is_empty() {
                // Writing into a text cannot fail.
                let _ = writeln!(text, "{key}: {{ {} }}", entries.join(", "));
            }
        };
        section("resources", asked);
        let variable = |text: &String| {
            let (name, value) = text
                .split_once('=')
                .ok_or_else(|| OneLineError::NotAnAssignment(cut(text)))?;
            Ok(format!("{}: {}", quoted(name), quoted(value)))
        };
        section(
            "environment",
            self.environment.iter().map(variable).collect::<Result<_, _>>()?,
        );
        let entry = |key: &str, value: &Option<String>| value.as_ref().map(|value| format!("{key}: {}", quoted(value)));
        section("task", entry("collect", &self.collect).into_iter().collect());
        let budget = [
            entry("max_price", &self.max_price),
            entry("max_duration", &self.duration),
        ];
        section("budget", budget.into_iter().flatten().collect());
        let words: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
        let _ = writeln!(text, "run: [{}]", words.join(", "));
        Ok(text)
    }
}

/// The value of `2..`, which says the same as `2`: at least.
fn least<'a>(flag: &'static str, text: &'a str) -> Result<&'a str, OneLineError> {
    let least = text.strip_suffix("..").unwrap_or(text);
    if least.ends_with('.') || least.contains("..") || least.starts_with('=') {
        return Err(OneLineError::NotTheLeast { flag, text: cut(text) });
    }
    Ok(least)
}

/// A text in double quotes, as YAML reads it: JSON's form is among YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Job, JobFile, Overrides, Work};
    use proptest::prelude::*;
    use std::path::Path;

    fn line() -> OneLine {
        let text = |text: &str| Some(text.to_owned());
        OneLine {
            image: "docker.io/org/app:1.2".into(),
            command: vec!["./bench.sh".into(), "--quick".into()],
            cpu: text("2.."),
            memory: text("4GiB.."),
            duration: text("2h"),
            ..OneLine::default()
        }
    }

    fn resolved(line: &OneLine) -> Result<Job, String> {
        let text = line.job_file(7).map_err(|error| error.to_string())?;
        let file = JobFile::parse(&text).map_err(|error| format!("{error}\n{text}"))?;
        let job = file.resolve(&Overrides::default(), Path::new("/jobs"));
        job.map_err(|error| format!("{error}\n{text}"))
    }

    #[test]
    fn a_line_means_the_task_that_it_reads_as() {
        let mut line = line();
        line.environment = vec!["LEVEL=a=b".into()];
        (line.collect, line.max_price) = (Some("/out/*.json".into()), Some("0.40/hour".into()));
        let job = resolved(&line).unwrap();
        assert!(matches!(job.work, Work::Task(_)));
        assert_eq!((job.resources.cpu.millicores, job.resources.memory.0), (2_000, 4 << 30));
        assert_eq!(job.run, Command::Argv(line.command.clone()));
        assert_eq!(job.environment.into_values().collect::<Vec<_>>(), ["a=b"]);
        assert_eq!(job.budget.max_duration, gpux_types::Millis::from_secs(7_200));
        assert_eq!(
            job.budget.max_price.map(|price| price.to_string()).as_deref(),
            Some("0.4/hour")
        );
        assert_eq!(
            job.work.collect().map(ToString::to_string).as_deref(),
            Some("/out/*.json")
        );
    }

    #[test]
    fn only_the_least_can_be_asked_for() {
        for (wrong, shown) in [("2..4", "\"2..4\""), ("=2", "\"=2\""), ("2...", "\"2...\"")] {
            let line = OneLine {
                cpu: Some(wrong.into()),
                ..line()
            };
            let error = resolved(&line).unwrap_err();
            assert!(error.starts_with("reading --cpu") && error.contains(shown), "{error}");
        }
        let line = OneLine {
            environment: vec!["LEVEL".into()],
            ..line()
        };
        assert_eq!(
            resolved(&line).unwrap_err(),
            "reading --env \"LEVEL\": expected NAME=VALUE"
        );
    }

    #[test]
    fn what_is_missing_is_told_as_of_a_file() {
        let line = OneLine {
            duration: None,
            ..line()
        };
        let error = resolved(&line).unwrap_err();
        assert!(error.starts_with("budget.max_duration is missing"), "{error}");
    }

    #[test]
    fn drawn_names_are_names_and_differ() {
        let names: std::collections::BTreeSet<String> = (0..32 * 32 * 99).map(drawn_name).collect();
        assert_eq!(names.len(), 32 * 32 * 99);
        assert!(names.iter().all(|name| name.parse::<crate::JobName>().is_ok()));
        assert_eq!(drawn_name(u64::MAX), drawn_name(u64::MAX));
    }

    proptest! {
        /// Whatever is typed arrives as it was typed, or is refused with a message.
        #[test]
        fn no_word_of_a_line_becomes_anything_else(words in prop::collection::vec("\\PC{0,30}|[\\n\\t\"'\\\\{}:#,\\[\\]]{0,8}", 1..6)) {
            let line = OneLine { command: words.clone(), ..line() };
            if let Ok(job) = resolved(&line) {
                prop_assert_eq!(job.run, Command::Argv(words));
            }
        }
    }
}
