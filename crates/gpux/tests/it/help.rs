//! Help, versions and completion scripts.

use crate::home::Home;

/// The verbs below `path`, as its help lists them.
fn verbs(home: &Home, path: &[&str]) -> Vec<String> {
    let help = home.run(&[path, &["--help"]].concat()).out;
    let list = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    let names = list.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_help_of_every_verb_has_an_example_of_that_verb() {
    let home = Home::new();
    let mut paths: Vec<Vec<String>> = verbs(&home, &[]).into_iter().map(|verb| vec![verb]).collect();
    assert!(paths.len() >= 14, "{paths:?}");
    while let Some(path) = paths.pop() {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let ended = home.run(&[words.as_slice(), &["--help"]].concat());
        assert_eq!((ended.status, ended.talk.as_str()), (0, ""), "{path:?}");
        let examples = ended
            .out
            .split_once("Examples:\n")
            .map(|(_, examples)| examples)
            .unwrap_or_default();
        assert!(
            examples.contains(&format!("gpux {}", path.join(" "))),
            "{path:?}:\n{}",
            ended.out
        );
        for verb in verbs(&home, &words) {
            paths.push([path.clone(), vec![verb]].concat());
        }
    }
}

#[test]
fn help_and_version_are_data() {
    let home = Home::new();
    for words in [
        &["--help"][..],
        &["--version"],
        &["offers", "--version"],
        &["help", "run"],
        &["--help", "--json"],
    ] {
        let ended = home.run(words);
        assert_eq!((ended.status, ended.talk.as_str()), (0, ""), "{words:?}");
        assert!(!ended.out.is_empty(), "{words:?}");
    }
}

#[test]
fn there_is_a_completion_script_for_each_shell_that_knows_every_verb() {
    let home = Home::new();
    let known = verbs(&home, &[]);
    for (shell, mark) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef gpux"),
        ("fish", "complete -c gpux"),
    ] {
        let ended = home.run(&["completion", shell]);
        assert_eq!((ended.status, ended.talk.as_str()), (0, ""), "{shell}");
        assert!(ended.out.contains(mark), "{shell}");
        for verb in &known {
            assert!(ended.out.contains(verb.as_str()), "{shell} does not know {verb}");
        }
    }
}

#[test]
fn hidden_verbs_stay_hidden() {
    let help = Home::new().run(&["--help"]).out;
    assert!(!help.contains("shim"), "{help}");
}
