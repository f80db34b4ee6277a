//! `gpux wallet import` and the screen for who pays in.

use crate::{
    home::{Ended, Home},
    passwords::Terminal,
};
use std::os::unix::fs::PermissionsExt;

/// The key of anvil's first account, which everybody knows.
const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const OWNER: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
const PASSWORD: &str = "correct horse battery";

fn private(home: &Home, name: &str, text: &str) {
    let path = home.file(name, text);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Imports `file` into the folder `dir`, with the password in the file of that name, and shows that no secret is told.
fn import(home: &Home, file: &str, password: &str, dir: &str) -> Ended {
    let words = ["wallet", "import", file, "--password-file", password, "--dir", dir];
    let ended = home.run(&words);
    let shown = format!("{}{}", ended.out, ended.talk);
    assert!(!shown.contains(&KEY[..16]) && !shown.contains(PASSWORD), "{shown}");
    ended
}

#[test]
fn a_key_comes_from_a_file_or_a_keystore_and_no_word_of_it_is_shown() {
    let home = Home::new();
    private(&home, "key", &format!("0x{KEY}\n"));
    home.file("password", PASSWORD);
    let bare = import(&home, "key", "password", "first");
    assert_eq!((bare.status, bare.out.trim()), (0, OWNER), "{bare:?}");
    assert!(bare.talk.contains("still holds the key"), "{}", bare.talk);
    let keystore = home.path().join("first/wallet.json");
    let mode = std::fs::metadata(&keystore).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let again = import(&home, "first/wallet.json", "password", "second");
    assert_eq!((again.status, again.out.trim()), (0, OWNER), "{again:?}");

    home.file("wrong", "another password");
    let wrong = import(&home, "first/wallet.json", "wrong", "third");
    assert!(
        wrong.status == 2 && wrong.talk.contains("password is wrong"),
        "{wrong:?}"
    );
    let there = import(&home, "key", "password", "first");
    assert!(there.status == 2 && there.talk.contains(OWNER), "{there:?}");
}

#[test]
fn a_file_that_others_read_a_key_as_an_argument_and_what_is_no_key_make_no_wallet() {
    let home = Home::new();
    home.file("password", PASSWORD);
    home.file("open", KEY);
    private(&home, "short", &KEY[1..]);
    let import = |file: &str| home.run(&["wallet", "import", file, "--password-file", "password", "--json"]);
    for (file, says) in [
        ("open", "its mode is 644"),
        ("short", "64 hexadecimal digits"),
        ("absent", "absent"),
    ] {
        let ended = import(file);
        assert_eq!(ended.status, 2, "{file}: {ended:?}");
        assert!(
            ended.error()["message"].as_str().unwrap().contains(says),
            "{file}: {ended:?}"
        );
    }
    let typed = import(KEY);
    assert_eq!(typed.status, 2, "{typed:?}");
    assert!(
        !typed.talk.contains(&KEY[..16]),
        "what looks like a key is not repeated: {}",
        typed.talk
    );
    let nobody = home.run(&["wallet", "import", "--json"]);
    assert!(
        nobody.error()["message"].as_str().unwrap().contains("no key was given"),
        "{nobody:?}"
    );
    assert_eq!(home.run(&["wallet", "address"]).status, 6, "there is no wallet");
}

#[test]
fn a_key_that_is_typed_is_never_shown() {
    let home = Home::new();
    let mut terminal = Terminal::run(&home, "gpux wallet import; echo status $?");
    terminal.answer("Private key, 64 hexadecimal digits: ", &format!("{KEY}\n"));
    terminal.answer("Password of the new wallet: ", &format!("{PASSWORD}\n"));
    terminal.answer("The same again: ", &format!("{PASSWORD}\n"));
    let (_, shown) = terminal.end();
    assert!(shown.contains("status 0") && shown.contains(OWNER), "{shown}");
    for secret in [&KEY[..16], PASSWORD] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn who_pays_in_gets_a_code_with_the_chain_on_a_terminal_and_the_plain_address_elsewhere() {
    let home = Home::new();
    private(&home, "key", KEY);
    home.file("password", PASSWORD);
    assert_eq!(
        home.run(&["wallet", "import", "key", "--password-file", "password"])
            .status,
        0
    );
    let plain = home.run(&["wallet", "address", "--qr"]);
    assert_eq!((plain.status, plain.out.as_str()), (0, format!("{OWNER}\n").as_str()));
    home.file("config.toml", "[chain]\nname = \"optimism-sepolia\"\n");
    let document: serde_json::Value = serde_json::from_str(&home.run(&["wallet", "address", "--json"]).out).unwrap();
    let link = format!("ethereum:{OWNER}@11155420");
    assert_eq!(
        (&document["uri"], &document["chain_id"]),
        (&link.clone().into(), &11_155_420.into())
    );
    let (status, shown) = Terminal::run(&home, "gpux wallet address --qr").end();
    assert_eq!(status, 0, "{shown}");
    assert!(shown.contains('█') && shown.contains(&link), "{shown}");
    assert!(
        shown.contains("0x5fd84259d66Cd46123540766Be93DFE6D43130D7"),
        "the token: {shown}"
    );
    let (_, shown) = Terminal::run(&home, "gpux wallet address").end();
    assert_eq!(shown.trim(), OWNER, "without --qr it is plain");
}
