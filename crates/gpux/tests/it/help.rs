//! Help, versions and completion scripts.

use crate::home::Home;

/// The verbs below `path`, as its help lists them.
pub(crate) fn verbs(home: &Home, path: &[&str]) -> Vec<String> {
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

#[test]
fn every_verb_has_a_page_in_the_manual() {
    let home = Home::new();
    let written = home.run(&["man", "pages"]);
    assert_eq!((written.status, written.talk.as_str()), (0, ""));
    let mut paths: Vec<Vec<String>> = vec![Vec::new()];
    let mut pages = 0;
    while let Some(path) = paths.pop() {
        let name = [&["gpux".to_owned()], path.as_slice()].concat().join("-");
        let page = std::fs::read_to_string(home.path().join(format!("pages/{name}.1"))).unwrap();
        assert!(page.contains(".TH") && page.contains("Examples:"), "{name}:\n{page}");
        pages += 1;
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        for verb in verbs(&home, &words) {
            paths.push([path.clone(), vec![verb]].concat());
        }
    }
    assert_eq!(
        pages,
        written.out.lines().count(),
        "a page of something that cannot be typed"
    );
}

/// What a live script gets for these words, with the fake daemon of `home` or without one.
fn completed(home: &Home, words: &[&str]) -> crate::home::Ended {
    let mut command = home.command(&[&["--"], words].concat());
    crate::home::Ended::of(command.env("GPUX_COMPLETE", "fish").output().unwrap())
}

#[test]
fn a_live_script_completes_the_names_of_jobs_and_starts_no_daemon() {
    let home = Home::new();
    home.file("config.toml", "");
    let words = ["gpux", "logs", "fir"];
    let without = completed(&home, &words);
    assert_eq!(
        (without.status, without.out.as_str(), without.talk.as_str()),
        (0, "", "")
    );
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    let job = |name: &str, state: &str| {
        serde_json::json!({
            "schema": "gpux.job/v1", "id": "12".repeat(16), "name": name, "state": state, "accepted_at": 1,
            "elapsed": 1, "token": { "symbol": "DAI", "decimals": 18 },
            "parts": { "total": 1, "queued": 0, "running": 1, "done": 0, "failed": 0 },
            "leases": [], "output": "/tmp/x", "outputs": [], "end": null,
        })
    };
    let jobs = serde_json::json!({
        "schema": "gpux.jobs/v1",
        "jobs": [job("first-light", "running"), job("first-dark", "failed"), job("other", "running")],
    });
    let answers = [(("GET", "/v1/jobs"), (200, jobs.to_string()))];
    crate::daemon::listen(home.path(), answers.into());
    let with = completed(&home, &words);
    assert_eq!(with.out, "first-light\trunning\nfirst-dark\tfailed\n");
    assert!(
        completed(&home, &["gpux", "lo"]).out.starts_with("logs\t"),
        "verbs as well"
    );
}

#[test]
fn every_shell_has_both_scripts() {
    let home = Home::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let plain = home.run(&["completion", shell]);
        let live = home.run(&["completion", shell, "--live"]);
        assert_eq!((plain.status, live.status), (0, 0), "{shell}");
        assert!(
            !plain.out.contains("GPUX_COMPLETE") && live.out.contains("GPUX_COMPLETE"),
            "{shell}"
        );
    }
}
