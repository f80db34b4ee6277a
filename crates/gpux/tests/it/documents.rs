//! What documents and help tell people to type and to write is understood.

use crate::{help, home::Home};
use gpux_node::DaemonConfig;
use std::{fs, path::PathBuf};

fn document(path: &str) -> String {
    fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

/// The words of each command that a line of `text` shows, without what stands beside it.
fn commands(text: &str) -> Vec<Vec<String>> {
    let lines = text
        .lines()
        .filter(|line| line.starts_with("  "))
        .flat_map(|line| line.split([';', '|', '>', '&']));
    let typed = lines.map(str::trim).filter_map(|line| line.strip_prefix("gpux "));
    let typed = typed
        .filter_map(|line| line.split("  ").next())
        .filter_map(|line| line.split(" #").next());
    typed
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

/// Asking for help reads all that stands before it, and does nothing. What stands behind a bare -- is a task's own command.
fn asking_for_help(words: &[String]) -> Vec<&str> {
    let own = words.iter().take_while(|word| *word != "--");
    own.map(String::as_str).chain(["--help"]).collect()
}

#[test]
fn every_command_of_the_documents_is_understood() {
    let home = Home::new();
    let mut seen = 0;
    for path in [
        "README.md",
        "docs/running-a-node.md",
        "docs/spec/job-file.md",
        "apps/render/README.md",
    ] {
        for words in commands(&document(path)) {
            let typed = asking_for_help(&words);
            let ended = home.run(&typed);
            assert_eq!(ended.status, 0, "{path}: gpux {}: {}", words.join(" "), ended.talk);
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} commands were found");
}

#[test]
fn every_example_of_the_help_is_understood() {
    let home = Home::new();
    let mut paths: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(path) = paths.pop() {
        let verb: Vec<&str> = path.iter().map(String::as_str).collect();
        let help = home.run(&[verb.as_slice(), &["--help"]].concat()).out;
        let (_, examples) = help.split_once("Examples:\n").unwrap();
        let examples = commands(examples);
        assert!(!examples.is_empty(), "{verb:?}");
        for words in examples {
            assert_eq!(home.run(&asking_for_help(&words)).status, 0, "gpux {}", words.join(" "));
        }
        paths.extend(
            help::verbs(&home, &verb)
                .into_iter()
                .map(|below| [path.clone(), vec![below]].concat()),
        );
    }
}

#[test]
fn a_command_that_is_not_understood_would_be_noticed() {
    let home = Home::new();
    assert_eq!(commands("  gpux offers --colour; gpux nonsense  # x").len(), 2);
    assert_ne!(home.run(&["offers", "--colour", "--help"]).status, 0);
    assert_ne!(home.run(&["nonsense", "--help"]).status, 0);
}

#[test]
fn the_configuration_in_the_documents_is_one_that_the_daemon_takes() {
    let text = document("docs/running-a-node.md");
    let (_, rest) = text.split_once("```toml\n").unwrap();
    let (config, _) = rest.split_once("```").unwrap();
    let node = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";
    let address = "0x0000000000000000000000000000000000000001";
    let config = config
        .replace("0x...", address)
        .replace("NODE@ADDRESS:PORT", &format!("{node}@192.0.2.7:4433"));
    let home = Home::new();
    let path = home.file("config.toml", &config.replace("\n# ", "\n"));
    let read = DaemonConfig::load(&path).unwrap();
    assert!(read.provide.is_some() && read.network.bootstrap.len() == 1);
    let wrong = home.file("config.toml", &config.replace("longest_lease", "longest"));
    assert!(DaemonConfig::load(&wrong).is_err(), "an unknown key is refused");
}

#[test]
fn the_page_for_scripts_names_the_document_of_every_command_and_every_schema_that_is_committed() {
    let page = document("docs/spec/command-line.md");
    let home = Home::new();
    let help = home.run(&["--help"]).out;
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let verbs = verbs
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    for verb in verbs.filter_map(|line| line.split_whitespace().next()) {
        assert!(verb == "help" || page.contains(&format!("`gpux {verb}")), "{verb}");
    }
    let schemas = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/json");
    for schema in fs::read_dir(schemas).unwrap() {
        let file = schema.unwrap().file_name().into_string().unwrap();
        let name = file.trim_end_matches(".schema.json");
        assert!(page.contains(&format!("(json/{file})")), "{file} is not in the page");
        assert!(
            page.contains(&format!("`gpux.{name}/v1`")),
            "gpux.{name}/v1 is not in the page"
        );
    }
    let links = page.matches("](json/").count();
    assert_eq!(
        links,
        gpux_api::document_schemas().len(),
        "a schema that is gone, or twice"
    );
}
