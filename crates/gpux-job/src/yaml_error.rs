//! The parser's errors in the words of this crate.

use crate::{
    error::{Advice, JobFileError, JobFileProblem, Place},
    text::{cut, printable},
};
use serde_saphyr::{Error as YamlError, MessageFormatter, UserMessageFormatter, budget::BudgetBreach};

/// The longest message taken over from a parser, in characters: it may quote the file.
const MAX_MESSAGE: usize = 400;

impl JobFileError {
    /// `elsewhere` says what to write in the place of keys that people know from other tools.
    pub(crate) fn from_yaml(error: &YamlError, elsewhere: &[(&str, &'static str)]) -> Self {
        let error = error.without_snippet();
        let problem = problem_of(error, elsewhere);
        // What is missing has no place; the parser names the end of the table.
        let place = error
            .location()
            .filter(|_| !matches!(problem, JobFileProblem::MissingKey(_)));
        Self {
            place: place.and_then(Place::of),
            problem,
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser's error is open-ended, and its own words will do"
)]
fn problem_of(error: &YamlError, elsewhere: &[(&str, &'static str)]) -> JobFileProblem {
    use JobFileProblem as Problem;
    match error {
        YamlError::SerdeUnknownField { field, expected, .. } => Problem::UnknownKey {
            key: cut(field),
            advice: Advice::for_key(field, elsewhere, expected.iter().copied()),
        },
        YamlError::SerdeUnknownVariant { variant, expected, .. } => Problem::UnknownWord {
            word: cut(variant),
            advice: Advice::for_word(variant, expected.iter().copied()),
        },
        YamlError::SerdeMissingField { field, .. } => Problem::MissingKey(full_name(field)),
        YamlError::DuplicateMappingKey { key, .. } => Problem::RepeatedKey(cut(key.as_deref().unwrap_or_default())),
        YamlError::SerdeInvalidType {
            unexpected, expected, ..
        } => Problem::WrongType {
            found: printable(&cut(unexpected)),
            expected: expected.clone(),
        },
        YamlError::InvalidScalar { ty, .. } if ty.starts_with(['u', 'i']) => {
            Problem::Value("expected a whole number, such as 3".to_owned())
        }
        YamlError::NullIntoString { .. } => Problem::Value("nothing stands here".to_owned()),
        YamlError::Eof { .. } => Problem::Syntax("the file is empty, or ends too early".to_owned()),
        YamlError::Unexpected {
            expected: "mapping start",
            ..
        } => Problem::Value("expected keys with values here, such as { key: value }".to_owned()),
        YamlError::Unexpected {
            expected: "sequence start",
            ..
        } => Problem::Value("expected a list here, such as [one, two]".to_owned()),
        YamlError::Budget { breach, .. } => breach_of(breach),
        YamlError::UnknownAnchor { .. } => aliases(),
        YamlError::Message { msg, .. } => Problem::Value(message(msg)),
        other => Problem::Syntax(
            UserMessageFormatter
                .format_message(other)
                .chars()
                .take(MAX_MESSAGE)
                .collect(),
        ),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser's limits are open-ended, and their own words will do"
)]
fn breach_of(breach: &BudgetBreach) -> JobFileProblem {
    match breach {
        BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. } => aliases(),
        BudgetBreach::Documents { .. } => JobFileProblem::Syntax("a file holds one job: --- begins another".to_owned()),
        other => JobFileProblem::TooComplex(format!("{other:?}")),
    }
}

/// A parser's message, which may quote the file.
fn message(text: &str) -> String {
    printable(&text.chars().take(MAX_MESSAGE).collect::<String>())
}

fn aliases() -> JobFileProblem {
    let message = "anchors (&) and aliases (*) are not supported; a text that begins with one of them needs quotes";
    JobFileProblem::Syntax(message.to_owned())
}

/// Where a key belongs that not every table has.
fn full_name(key: &'static str) -> &'static str {
    match key {
        "over" => "array.over",
        "path" => "path of an input",
        "to" => "to of an input",
        "address" => "builder.address",
        "share" => "builder.share",
        other => other,
    }
}
