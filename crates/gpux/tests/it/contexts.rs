//! Which daemon is meant, by name.

use crate::{daemon, home::Home};
use serde_json::Value;

fn shown(home: &Home) -> Value {
    let shown = home.run(&["context", "show", "--json"]);
    assert_eq!((shown.status, shown.talk.as_str()), (0, ""));
    let mut document: Value = serde_json::from_str(&shown.out).unwrap();
    document["contexts"][0].take()
}

#[test]
fn a_name_stands_for_a_folder_until_it_is_forgotten() {
    let home = Home::new();
    assert_eq!(shown(&home)["name"], "default");
    std::fs::create_dir(home.path().join("work")).unwrap();
    assert_eq!(home.run(&["context", "create", "work", "work"]).status, 0);
    assert_eq!(shown(&home)["name"], "default", "a name alone changes nothing");
    assert_eq!(home.run(&["context", "use", "work"]).status, 0);
    let work = home.path().join("work").display().to_string();
    assert_eq!(
        (shown(&home)["name"].as_str(), shown(&home)["folder"].as_str()),
        (Some("work"), Some(work.as_str()))
    );
    let listed = home.run(&["context", "ls"]).out;
    assert!(listed.contains("work *") && listed.contains("default "), "{listed}");
    let elsewhere = home.run(&["context", "show", "--json", "--dir", "/elsewhere"]);
    assert!(elsewhere.out.contains("/elsewhere"), "{}", elsewhere.out);
    assert_eq!(home.run(&["context", "rm", "work"]).status, 0);
    assert_eq!(
        (shown(&home)["name"].as_str(), shown(&home)["folder"].as_str()),
        (None, Some(work.as_str()))
    );
    assert_eq!(home.run(&["context", "use", "default"]).status, 0);
    assert_eq!(shown(&home)["name"], "default");
}

#[test]
fn whether_a_daemon_runs_is_asked_and_none_is_started() {
    let home = Home::new();
    home.file("config.toml", "");
    assert_eq!(shown(&home)["running"], false);
    daemon::listen(home.path(), [].into());
    assert_eq!(shown(&home)["running"], true);
}

#[test]
fn a_name_that_cannot_be_is_refused() {
    let home = Home::new();
    std::fs::create_dir(home.path().join("work")).unwrap();
    for (words, status) in [
        (["create", "../work", "work"].as_slice(), 2),
        (&["create", "default", "work"], 2),
        (&["create", "devnet", "work"], 2),
        (&["create", "mine", "missing"], 2),
        (&["use", "nobody"], 6),
        (&["rm", "default"], 2),
    ] {
        let ended = home.run(&[&["context"], words, &["--json"]].concat());
        ended.error();
        assert_eq!(ended.status, status, "{words:?}");
    }
    assert!(!home.path().join("contexts").exists());
}
