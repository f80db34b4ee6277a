//! What no file may tell: every secret of a market's daemons is looked for in everything that the market left on the disk.
//!
//! The end of every test's market calls it. A secret is looked for as bytes, in hexadecimal digits, in base64 wherever it begins,
//! and as a list of numbers. It may stand in its own file alone, which only its owner may read; the devnet runs without a umask, so
//! that every file has the permissions that it was made with.

use aes::cipher::{KeyIvInit as _, StreamCipher as _};
use gpux_chain::{KdfCost, WalletKey};
use serde_json::Value;
use std::{
    fs::{self, DirEntry, File},
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// What is read of a file at once, and more than any form of a secret is long.
const PIECE: usize = 1 << 20;
const LONGEST: usize = 512;
/// No file of a daemon's is larger in these tests.
const LARGEST: u64 = 64 << 20;

/// The database holds the key that signs each job's receipts.
const DATABASE: &[&str] = &["state.sqlite", "state.sqlite-wal", "state.sqlite-shm"];

/// One secret, and the names of the files that may hold it.
#[derive(Debug, PartialEq, Eq)]
struct Secret {
    what: String,
    bytes: Vec<u8>,
    home: &'static [&'static str],
}

/// One form of a secret.
struct Pattern<'a> {
    of: &'a Secret,
    form: &'static str,
    bytes: Vec<u8>,
}

/// Each file below `root` that holds a secret of the daemons in `dirs` and must not, or shows one to others.
pub(crate) fn told<'a>(root: &Path, dirs: impl Iterator<Item = &'a Path>) -> Vec<String> {
    let secrets: Vec<Secret> = dirs.flat_map(secrets_of).collect();
    let patterns: Vec<Pattern<'_>> = secrets.iter().flat_map(patterns_of).collect();
    let sieve = Sieve::of(&patterns);
    let (mut told, mut at_home) = (Vec::new(), 0);
    for file in files_below(root) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for found in sieve.found_in(&file) {
            let (what, form) = (&found.of.what, found.form);
            if !found.of.home.contains(&name.as_str()) {
                told.push(format!("{}: {what}, {form}", file.display()));
                continue;
            }
            at_home += 1;
            let mode = fs::metadata(&file).map_or(0o600, |found| found.permissions().mode() & 0o777);
            if mode & 0o077 != 0 {
                told.push(format!("{}: {what}, and others may read it ({mode:o})", file.display()));
            }
        }
    }
    if at_home == 0 {
        told.push("nothing was found, not even where it belongs: the search is broken".to_owned());
    }
    told
}

/// All that the daemon in `dir` must keep to itself.
fn secrets_of(dir: &Path) -> Vec<Secret> {
    let owner = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut secrets = Vec::new();
    let mut add = |what: &str, bytes: Vec<u8>, home| {
        // What is told in hexadecimal digits is looked for as what it means, too.
        let meant = std::str::from_utf8(&bytes).ok().and_then(|text| hex::decode(text).ok());
        for bytes in [Some(bytes), meant]
            .into_iter()
            .flatten()
            .filter(|bytes| bytes.len() >= 16)
        {
            let what = format!("{what} of {owner}");
            secrets.push(Secret { what, bytes, home });
        }
    };
    let read = |name: &str| fs::read(dir.join(name)).ok();
    let password = read("wallet.password");
    if let Some((password, keystore)) = password.as_deref().zip(read("wallet.json")) {
        add("the wallet's key", wallet_key(&keystore, password.trim_ascii()), &[]);
        add(
            "the wallet's password",
            password.trim_ascii().to_vec(),
            &["wallet.password"],
        );
    }
    if let Some(key) = read("signer.key") {
        add("the provider's signer", key, &["signer.key"]);
    }
    if let Some(key) = read("endpoint.key") {
        add("the endpoint's key", key, &["endpoint.key"]);
    }
    if let Some(token) = read("token") {
        add("the API's token", token, &["token"]);
    }
    for key in receipt_keys(dir) {
        add("a receipt key", key, DATABASE);
    }
    secrets.dedup();
    secrets
}

/// The key in a keystore of version 3, opened here once more.
fn wallet_key(keystore: &[u8], password: &[u8]) -> Vec<u8> {
    let keystore: Value = serde_json::from_slice(keystore).unwrap();
    let crypto = &keystore["crypto"];
    let bytes = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
    let number = |name: &str| u32::try_from(crypto["kdfparams"][name].as_u64().unwrap()).unwrap();
    let log_n = u8::try_from(number("n").ilog2()).unwrap();
    let params = scrypt::Params::new(log_n, number("r"), number("p")).unwrap();
    let mut derived = [0; 32];
    scrypt::scrypt(password, &bytes(&crypto["kdfparams"]["salt"]), &params, &mut derived).unwrap();
    let (key, iv) = (&derived[..16], bytes(&crypto["cipherparams"]["iv"]));
    let mut secret = bytes(&crypto["ciphertext"]);
    ctr::Ctr128BE::<aes::Aes128>::new_from_slices(key, &iv)
        .unwrap()
        .apply_keystream(&mut secret);
    secret
}

/// Prints every receipt key in a database, as its daemon wrote it down: a list of numbers.
const RECEIPT_KEYS: &str = r#"
import re, sqlite3, sys
database = sqlite3.connect("file:" + sys.argv[1] + "?mode=ro", uri=True)
for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
    for row in database.execute(f'SELECT * FROM "{table}"'):
        for key in re.findall(r'"receipt_key":(\[[0-9,]+\])', " ".join(str(value) for value in row)):
            print(key)
"#;

/// The keys that sign the receipts of the jobs of the daemon in `dir`. A database that cannot be read has none to tell.
pub(crate) fn receipt_keys(dir: &Path) -> Vec<Vec<u8>> {
    let words = ["-c", RECEIPT_KEYS];
    let told = Command::new("python3")
        .args(words)
        .arg(dir.join("state.sqlite"))
        .output();
    let told = String::from_utf8(told.expect("python3 runs").stdout).unwrap();
    told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn patterns_of(secret: &Secret) -> Vec<Pattern<'_>> {
    let digits = hex::encode(&secret.bytes);
    let numbers: Vec<String> = secret.bytes.iter().map(u8::to_string).collect();
    let mut forms = vec![
        ("as it is", secret.bytes.clone()),
        ("in hexadecimal digits", digits.clone().into_bytes()),
        ("in hexadecimal digits", digits.to_uppercase().into_bytes()),
        ("as numbers", numbers.join(",").into_bytes()),
        ("as numbers", numbers.join(", ").into_bytes()),
    ];
    for before in 0..3 {
        let text = base64(&secret.bytes, before);
        forms.push(("in base64", text.replace('+', "-").replace('/', "_").into_bytes()));
        forms.push(("in base64", text.into_bytes()));
    }
    forms.dedup();
    let pattern = |(form, bytes)| Pattern {
        of: secret,
        form,
        bytes,
    };
    forms.into_iter().map(pattern).collect()
}

/// The digits that are sure in base64 of any bytes in which these come after `before` others, counted from a multiple of three.
fn base64(bytes: &[u8], before: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let all: Vec<u8> = vec![0; before].into_iter().chain(bytes.iter().copied()).collect();
    let bit = |at: usize| usize::from(all[at / 8] >> (7 - at % 8) & 1);
    let sure = (before * 8).div_ceil(6)..all.len() * 8 / 6;
    let digit = |number: usize| (number * 6..number * 6 + 6).fold(0, |digit, at| digit * 2 + bit(at));
    sure.map(|number| char::from(DIGITS[digit(number)])).collect()
}

/// Finds many patterns in one walk over the bytes: only where the first two bytes of one stand, patterns are compared.
struct Sieve<'a> {
    by_start: Vec<Vec<&'a Pattern<'a>>>,
}

impl<'a> Sieve<'a> {
    fn of(patterns: &'a [Pattern<'a>]) -> Self {
        let mut by_start = vec![Vec::new(); 1 << 16];
        for pattern in patterns {
            assert!((16..LONGEST).contains(&pattern.bytes.len()), "{}", pattern.form);
            by_start[start(pattern.bytes[0], pattern.bytes[1])].push(pattern);
        }
        Self { by_start }
    }

    /// What stands in the file. One that goes meanwhile tells nobody anything.
    fn found_in(&self, file: &Path) -> Vec<&'a Pattern<'a>> {
        let mut found = Vec::new();
        let Ok(mut file) = File::open(file) else { return found };
        let (mut piece, mut kept) = (vec![0; LONGEST + PIECE], 0);
        while let Ok(read @ 1..) = file.read(&mut piece[kept..]) {
            let bytes = &piece[..kept + read];
            for (at, pair) in bytes.windows(2).enumerate() {
                let here = self.by_start[start(pair[0], pair[1])].iter();
                found.extend(here.filter(|pattern| bytes[at..].starts_with(&pattern.bytes)));
            }
            // What begins at the end of this piece and ends in the next is found there.
            let end = kept + read;
            let from = end.saturating_sub(LONGEST);
            piece.copy_within(from..end, 0);
            kept = end - from;
        }
        found
    }
}

fn start(first: u8, second: u8) -> usize {
    usize::from(first) << 8 | usize::from(second)
}

/// Every plain file; folders that go meanwhile are gone.
fn files_below(root: &Path) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![root.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() && is_searched(&entry) => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files
}

/// Not the disks that tests make and fill; what is on them is looked at where they are mounted.
fn is_searched(file: &DirEntry) -> bool {
    let is_log = file.path().extension().is_some_and(|extension| extension == "log");
    is_log || file.metadata().is_ok_and(|found| found.len() <= LARGEST)
}

#[test]
fn a_secret_is_found_in_each_form_and_wherever_it_stands_and_its_own_file_must_be_private() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("renter");
    fs::create_dir(&dir).unwrap();
    let key: Vec<u8> = (0..32)
        .map(|index: u8| index.wrapping_mul(37).wrapping_add(201))
        .collect();
    let home = dir.join("endpoint.key");
    fs::write(&home, &key).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o600)).unwrap();
    let check = || told(folder.path(), [dir.as_path()].into_iter()).is_empty();
    assert!(check(), "at home");

    let encoded = |bytes: &[u8]| {
        let done = Command::new("python3")
            .args([
                "-c",
                "import base64,sys; print(base64.b64encode(bytes.fromhex(sys.argv[1])).decode())",
            ])
            .arg(hex::encode(bytes))
            .output();
        done.unwrap().stdout
    };
    let forms: Vec<Vec<u8>> = vec![
        key.clone(),
        format!("key=0x{} ", hex::encode(&key)).into_bytes(),
        hex::encode_upper(&key).into_bytes(),
        format!("SecretKey({key:?})").into_bytes(),
        serde_json::to_vec(&key).unwrap(),
        encoded(&key),
        encoded(&[b"{", key.as_slice(), b"}"].concat()),
        encoded(&[b"ab", key.as_slice()].concat()),
    ];
    let log = dir.join("daemon.log");
    for form in forms {
        // Over the border of what is read at once, too.
        for before in [3, LONGEST + PIECE - 20] {
            fs::write(&log, [vec![b' '; before], form.clone(), b"\n".to_vec()].concat()).unwrap();
            assert!(!check(), "{:?}", String::from_utf8_lossy(&form));
        }
    }
    fs::write(&log, [&key[..31], b"\n"].concat()).unwrap();
    assert!(check(), "another key");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(!check(), "others may read it");
}

#[test]
fn the_key_that_is_looked_for_is_the_one_in_the_keystore() {
    let folder = tempfile::tempdir().unwrap();
    let (path, key) = (folder.path().join("wallet.json"), [7; 32]);
    WalletKey::import(&path, b"a password", KdfCost::Light, &key).unwrap();
    assert_eq!(wallet_key(&fs::read(path).unwrap(), b"a password"), key);
}
