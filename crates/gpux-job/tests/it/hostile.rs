//! Text that nobody who wants a job would write.

use super::{FULL, TASK, compose::COMPOSE};
use gpux_job::{JobFile, JobFileProblem, MAX_FILE_BYTES, Overrides, Work};
use proptest::prelude::*;
use std::path::Path;

/// Whatever the text, there is an answer, and a message about it that is short and stays on its line.
fn answer(text: &str) {
    let message = match JobFile::parse(text) {
        Ok(file) => match file.resolve(&Overrides::default(), Path::new("/jobs")) {
            Ok(job) => {
                let parts = match &job.work {
                    Work::Array(array) => array.part_count(),
                    Work::Task(_) => job.nodes.get(),
                };
                assert_eq!(job.parts().len(), usize::try_from(parts).unwrap());
                let explained = job.explain();
                assert!(
                    !explained.contains(|c: char| c.is_control() && c != '\n'),
                    "{explained:?}"
                );
                return;
            }
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    assert!(message.chars().count() <= 700, "{message}");
    assert!(!message.contains(char::is_control), "{message:?}");
}

#[test]
fn size_depth_and_count_are_bounded() {
    let problem = |text: &str| JobFile::parse(text).unwrap_err().problem;
    assert!(matches!(
        problem(&"a".repeat(MAX_FILE_BYTES + 1)),
        JobFileProblem::TooLarge { .. }
    ));
    for nested in [
        "[".repeat(100_000),
        "{a: ".repeat(60_000),
        "- ".repeat(100_000),
        "? ".repeat(100_000),
    ] {
        answer(&nested);
    }
    let many = (0..20_000).map(|key| format!("k{key}: 1\n")).collect::<String>();
    assert!(matches!(problem(&many), JobFileProblem::TooComplex(_)));
}

#[test]
fn aliases_cannot_multiply() {
    let laughs = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n";
    assert!(matches!(
        JobFile::parse(laughs).unwrap_err().problem,
        JobFileProblem::Syntax(_)
    ));
}

#[test]
fn a_file_cannot_draw_on_the_screen() {
    let red = "\\e[31m";
    for from in [
        "shot-03",
        "render, --quiet",
        "scene.blend, to",
        "debug",
        "oci:build/image:render",
        "1-48",
        "5 DAI",
    ] {
        assert!(FULL.contains(from), "{from}");
        for to in [
            format!("\"{red}\""),
            format!("\"{red}\", to"),
            format!("!<\u{202e}{red}> x"),
        ] {
            answer(&FULL.replacen(from, &to, 1));
        }
    }
}

proptest! {
    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,200}") {
        answer(&text);
    }

    #[test]
    fn any_yaml_like_text_gets_an_answer(text in "[a-c:&*!|>'\"#%@{}\\[\\],?\\- \\n\\t0-9.~<]{0,120}") {
        answer(&text);
    }

    #[test]
    fn a_damaged_file_gets_an_answer(at in 0..FULL.len(), cut in 0usize..20, with in "[ \\n:{}\\[\\]*&!a0%\"'-]{0,4}") {
        let end = (at + cut).min(FULL.len());
        answer(&format!("{}{with}{}", &FULL[..at], &FULL[end..]));
    }

    #[test]
    fn a_damaged_task_gets_an_answer(at in 0..TASK.len(), cut in 0usize..20, with in "[ \\n:{}\\[\\]*&!a0%\"'-]{0,4}") {
        let end = (at + cut).min(TASK.len());
        answer(&format!("{}{with}{}", &TASK[..at], &TASK[end..]));
    }

    #[test]
    fn a_damaged_compose_file_gets_an_answer(at in 0..COMPOSE.len(), cut in 0usize..20, with in "[ \\n:{}\\[\\]*&!a0%$\"'-]{0,4}") {
        let end = (at + cut).min(COMPOSE.len());
        answer(&format!("{}{with}{}", &COMPOSE[..at], &COMPOSE[end..]));
    }
}
