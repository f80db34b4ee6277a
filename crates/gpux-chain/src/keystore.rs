//! The encrypted form of a secret key: Ethereum's keystore, version 3, with scrypt and AES-128-CTR.
//!
//! Only `keys` calls it. A keystore is read as a hostile file: its parameters are checked before any memory or time
//! is spent on them.

use crate::keys::{KeyContentError, random_bytes};
use aes::cipher::{KeyIvInit, StreamCipher};
use alloy::primitives::keccak256;
use gpux_types::Address;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

type Aes128Ctr = ctr::Ctr128BE<aes::Aes128>;

/// How much work it is to try one password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KdfCost {
    /// scrypt with N = 2^17, r = 8: 128 MiB and about half a second, for real money.
    Standard,
    /// scrypt with N = 2^12, r = 8: 4 MiB and a few milliseconds, for the devnet and for tests.
    Light,
}

impl KdfCost {
    const fn log_n(self) -> u8 {
        match self {
            Self::Standard => 17,
            Self::Light => 12,
        }
    }
}

/// The most memory that opening a keystore may take, in bytes: geth's own default (N = 2^18, r = 8) just fits.
const MAX_SCRYPT_BYTES: u64 = 256 * 1024 * 1024;
/// The most parallel lanes, each of which costs as much time as one whole derivation.
const MAX_SCRYPT_LANES: u32 = 8;

#[derive(Serialize, Deserialize)]
struct Keystore {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    crypto: Crypto,
    #[serde(default)]
    id: String,
    version: u8,
}

#[derive(Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    kdf: String,
    kdfparams: KdfParams,
    mac: String,
}

#[derive(Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

#[derive(Serialize, Deserialize)]
struct KdfParams {
    dklen: u32,
    n: u64,
    p: u32,
    r: u32,
    salt: String,
}

/// The keystore's text for `secret`.
pub(crate) fn encrypt(secret: &[u8; 32], address: Address, password: &[u8], cost: KdfCost) -> String {
    let (salt, iv, id) = (random_bytes::<32>(), random_bytes::<16>(), random_bytes::<16>());
    let params = scrypt::Params::new(cost.log_n(), 8, 1).expect("both costs are within what scrypt allows");
    let key = derive(password, salt.as_slice(), &params);
    let mut ciphertext = *secret;
    apply_cipher(&key, &iv, &mut ciphertext);
    let keystore = Keystore {
        address: Some(hex::encode(address)),
        crypto: Crypto {
            cipher: "aes-128-ctr".into(),
            cipherparams: CipherParams {
                iv: hex::encode(iv.as_slice()),
            },
            ciphertext: hex::encode(ciphertext),
            kdf: "scrypt".into(),
            kdfparams: KdfParams {
                dklen: 32,
                n: 1 << cost.log_n(),
                p: 1,
                r: 8,
                salt: hex::encode(salt.as_slice()),
            },
            mac: hex::encode(mac(&key, &ciphertext)),
        },
        id: uuid_text(&id),
        version: 3,
    };
    serde_json::to_string_pretty(&keystore).expect("a struct of texts and numbers has a JSON form")
}

/// The secret and the address that the keystore says it is for.
pub(crate) fn decrypt(text: &[u8], password: &[u8]) -> Result<(Zeroizing<[u8; 32]>, Option<Address>), KeyContentError> {
    let keystore: Keystore = serde_json::from_slice(text).map_err(KeyContentError::Json)?;
    let named = keystore.named_address()?;
    let crypto = &keystore.crypto;
    let unsupported = |what| KeyContentError::Unsupported { what };
    if keystore.version != 3 {
        return Err(unsupported("version"));
    }
    if crypto.cipher != "aes-128-ctr" {
        return Err(unsupported("cipher"));
    }
    if crypto.kdf != "scrypt" {
        return Err(unsupported("kdf"));
    }
    let params = crypto.kdfparams.checked().ok_or(unsupported("kdfparams"))?;
    let salt = hex::decode(&crypto.kdfparams.salt).map_err(|_| unsupported("kdfparams.salt"))?;
    let iv = fixed::<16>(&crypto.cipherparams.iv).ok_or(unsupported("cipherparams.iv"))?;
    let mut secret = fixed::<32>(&crypto.ciphertext).ok_or(unsupported("ciphertext"))?;
    let wanted = fixed::<32>(&crypto.mac).ok_or(unsupported("mac"))?;
    let key = derive(password, &salt, &params);
    if mac(&key, &secret) != *wanted {
        return Err(KeyContentError::WrongPassword);
    }
    apply_cipher(&key, &iv, &mut secret);
    Ok((secret, named))
}

/// The address that the keystore says it is for.
pub(crate) fn address(text: &[u8]) -> Result<Option<Address>, KeyContentError> {
    serde_json::from_slice::<Keystore>(text)
        .map_err(KeyContentError::Json)?
        .named_address()
}

impl Keystore {
    fn named_address(&self) -> Result<Option<Address>, KeyContentError> {
        let parse = |text: &String| {
            text.parse()
                .map_err(|_| KeyContentError::Unsupported { what: "address" })
        };
        self.address
            .as_ref()
            .filter(|text| !text.is_empty())
            .map(parse)
            .transpose()
    }
}

impl KdfParams {
    /// scrypt's parameters, unless they would take too much memory or time.
    fn checked(&self) -> Option<scrypt::Params> {
        let bytes = self.n.checked_mul(u64::from(self.r))?.checked_mul(128)?;
        let sane = self.dklen == 32
            && self.n.is_power_of_two()
            && self.r >= 1
            && bytes <= MAX_SCRYPT_BYTES
            && (1..=MAX_SCRYPT_LANES).contains(&self.p);
        let log_n = u8::try_from(self.n.trailing_zeros()).ok()?;
        sane.then(|| scrypt::Params::new(log_n, self.r, self.p).ok()).flatten()
    }
}

fn derive(password: &[u8], salt: &[u8], params: &scrypt::Params) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(password, salt, params, key.as_mut_slice()).expect("32 bytes is a length that scrypt makes");
    key
}

fn apply_cipher(key: &[u8; 32], iv: &[u8; 16], data: &mut [u8; 32]) {
    let (cipher_key, _) = key.split_at(16);
    Aes128Ctr::new_from_slices(cipher_key, iv)
        .expect("16 and 16 bytes are AES-128's lengths")
        .apply_keystream(data);
}

fn mac(key: &[u8; 32], ciphertext: &[u8; 32]) -> [u8; 32] {
    let (_, mac_key) = key.split_at(16);
    let mut input = Zeroizing::new([0; 48]);
    let (left, right) = input.split_at_mut(16);
    left.copy_from_slice(mac_key);
    right.copy_from_slice(ciphertext);
    keccak256(input.as_slice()).0
}

fn fixed<const N: usize>(text: &str) -> Option<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    hex::decode_to_slice(text, bytes.as_mut_slice()).ok()?;
    Some(bytes)
}

/// A random (version 4) UUID, which the format wants and nothing reads.
fn uuid_text(bytes: &[u8; 16]) -> String {
    let value = u128::from_be_bytes(*bytes) & !(0xf000 << 64) | (0x4000 << 64);
    let value = value & !(0xc000 << 48) | (0x8000 << 48);
    let text = format!("{value:032x}");
    [0..8, 8..12, 12..16, 16..20, 20..32]
        .map(|range| text.get(range).unwrap_or_default())
        .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by Foundry's cast 1.7.1 for the key of the format's own published example, password `testpassword`.
    const FOREIGN: &str = r#"{
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": { "iv": "c4f362c65e0a2ac1eac82cc8a88ddb11" },
            "ciphertext": "ee4e7c9c9ed92a0220c7a1553fe4012fb5dd373a027f5077d84fb3429c3e57b8",
            "kdf": "scrypt",
            "kdfparams": {
                "dklen": 32, "n": 8192, "p": 1, "r": 8,
                "salt": "45802fdb12064dc6fb3249851c1fd4d6fde242abb7147c6ec9ac9fd0f3dcaf3e"
            },
            "mac": "a7603badc39f084bd3089f339ce02a519ca78aa4125b58ca73aca6a68031e876"
        },
        "id": "f3d8f035-3991-4b84-a30a-c5e1c71d654f",
        "version": 3
    }"#;

    #[test]
    fn a_keystore_of_another_program_opens() {
        let (secret, named) = decrypt(FOREIGN.as_bytes(), b"testpassword").unwrap();
        assert_eq!(
            hex::encode(*secret),
            "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"
        );
        assert_eq!(named, None);
    }

    #[test]
    fn parameters_that_would_take_gigabytes_are_refused_unused() {
        for (from, to) in [
            ("8192", "1073741824"),
            ("\"r\": 8", "\"r\": 65536"),
            ("\"p\": 1", "\"p\": 4000000000"),
        ] {
            let hostile = FOREIGN.replace(from, to);
            assert_ne!(hostile, FOREIGN);
            let error = decrypt(hostile.as_bytes(), b"testpassword").unwrap_err();
            assert!(
                matches!(error, KeyContentError::Unsupported { what: "kdfparams" }),
                "{error}"
            );
        }
    }

    #[test]
    fn hostile_texts_are_refused_without_a_panic() {
        for (from, to) in [
            ("c4f362c65e0a2ac1eac82cc8a88ddb11", "c4"),
            ("\"dklen\": 32", "\"dklen\": 8"),
            ("8192", "0"),
            ("8192", "3"),
            ("\"version\": 3", "\"version\": 4"),
            ("aes-128-ctr", "none"),
            ("\"scrypt\"", "\"pbkdf2\""),
        ] {
            assert!(
                decrypt(FOREIGN.replace(from, to).as_bytes(), b"testpassword").is_err(),
                "{from} -> {to}"
            );
        }
        assert!(decrypt(b"", b"").is_err());
        assert!(decrypt(&[0xff; 100], b"").is_err());
    }

    #[test]
    fn the_id_has_the_form_of_a_random_uuid() {
        let text = uuid_text(&[0xff; 16]);
        assert_eq!(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
