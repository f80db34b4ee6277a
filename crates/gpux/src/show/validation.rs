//! What is wrong with a job file, where people look for it: at the line itself.

use gpux_api::{MistakeView, ValidationView};
use gpux_types::shown;

/// The longest piece of the file that is shown.
const MAX_SHOWN: usize = 200;

pub(crate) fn validation(view: &ValidationView, text: &str) -> String {
    match (&view.mistake, &view.explanation) {
        (Some(mistake), _) => wrong(&view.file, mistake, text),
        (None, explanation) => format!(
            "{} is a job file\n\n{}",
            view.file,
            explanation.as_deref().unwrap_or_default()
        ),
    }
}

/// As compilers say it, so that editors find the place.
fn wrong(file: &str, mistake: &MistakeView, text: &str) -> String {
    let Some(line) = mistake.line else {
        return format!("{file}: {}", mistake.message);
    };
    let column = mistake.column.unwrap_or(1);
    let head = format!("{file}:{line}:{column}: {}", mistake.message);
    let index = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
    let Some(source) = text.lines().nth(index) else {
        return head;
    };
    let source = shown(source, MAX_SHOWN);
    let before = usize::try_from(column.saturating_sub(1)).unwrap_or(0).min(MAX_SHOWN);
    format!("{head}\n{line:>5} | {source}\n      | {:before$}^", "")
}
