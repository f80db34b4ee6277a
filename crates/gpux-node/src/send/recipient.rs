//! Whom money is sent to: an address that was typed or pasted, read so that a mistake costs nothing.
//!
//! An address in letters of both cases carries a checksum (EIP-55), and one that does not hold was mistyped: it is refused. In letters
//! of one case it carries none: explorers and exchanges write such ones, so it is taken, and the plan says that nothing vouches for
//! it.

use gpux_api::{ErrorBody, ErrorCode};
use gpux_types::Address;

/// Whom money goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recipient {
    pub(super) address: Address,
    /// Whether it was written with its checksum.
    pub(super) has_checksum: bool,
}

/// The first bytes of the addresses that belong to the chain itself: precompiles, and the contracts that OP chains begin with.
const OF_THE_CHAIN: [[u8; 18]; 2] = [[0; 18], [0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]];

/// The address in `text`.
///
/// # Errors
/// When it is none, its checksum does not hold, or money would be lost there: at an address of the chain itself, or one of
/// `forbidden`, each with what it is.
pub(super) fn read(text: &str, forbidden: &[(Address, &str)]) -> Result<Recipient, ErrorBody> {
    let refuse = |why: &str| {
        let shown = gpux_types::shown(text, 80);
        ErrorBody::new(
            ErrorCode::InvalidInput,
            format!("sending money to {shown:?}: {why}; nothing was sent"),
        )
    };
    let text = text.trim();
    let digits = text.strip_prefix("0x").unwrap_or_default();
    if digits.len() != 40 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(refuse("it is no address: expected 0x and 40 hexadecimal digits"));
    }
    let is_mixed =
        digits.bytes().any(|byte| byte.is_ascii_uppercase()) && digits.bytes().any(|byte| byte.is_ascii_lowercase());
    let address: Address = text.parse().map_err(|_| refuse("it is no address"))?;
    if is_mixed && address.to_checksum(None) != text {
        return Err(refuse("its checksum does not hold, so a character of it is wrong")
            .with_hint("copy the address again from where it comes"));
    }
    if OF_THE_CHAIN.iter().any(|first| address.as_slice().starts_with(first)) {
        return Err(refuse(
            "it belongs to the chain itself, and nobody could ever use what is sent there",
        ));
    }
    if let Some((_, what)) = forbidden.iter().find(|(there, _)| *there == address) {
        return Err(refuse(what));
    }
    Ok(Recipient {
        address,
        has_checksum: is_mixed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "0x0b2C639c533813f4Aa9D7837CAf62653d097Ff85";

    #[test]
    fn a_wrong_checksum_is_refused_and_a_missing_one_is_told() {
        assert!(read(GOOD, &[]).unwrap().has_checksum);
        assert!(
            read(&format!(" {GOOD}\n"), &[]).unwrap().has_checksum,
            "pasted with what stood beside it"
        );
        let lower = read(&GOOD.to_lowercase(), &[]).unwrap();
        let upper = read(&format!("0x{}", GOOD[2..].to_uppercase()), &[]).unwrap();
        assert!(!lower.has_checksum && !upper.has_checksum);
        assert_eq!(lower.address, upper.address);
        // Each single letter in the other case, and each digit that was mistyped.
        for at in 2..GOOD.len() {
            let mut typed = GOOD.to_owned().into_bytes();
            let byte = typed[at];
            typed[at] = if byte.is_ascii_alphabetic() {
                byte ^ 0x20
            } else {
                b'0' + (byte - b'0' + 1) % 10
            };
            let typed = String::from_utf8(typed).unwrap();
            let refused = read(&typed, &[]).unwrap_err();
            assert!(refused.message.contains("checksum"), "{typed}: {}", refused.message);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "0x",
            "alice.eth",
            &GOOD[2..],
            &GOOD[..41],
            &format!("{GOOD}0"),
            "0xzz2C639c533813f4Aa9D7837CAf62653d097Ff85",
        ] {
            let refused = read(text, &[]).unwrap_err();
            assert_eq!(refused.code, ErrorCode::InvalidInput, "{text}");
        }
    }

    #[test]
    fn nobody_sends_to_where_money_is_lost() {
        let address: Address = GOOD.parse().unwrap();
        let refused = read(GOOD, &[(address, "it is the escrow")]).unwrap_err();
        assert!(refused.message.contains("it is the escrow"), "{}", refused.message);
        for text in [
            "0x0000000000000000000000000000000000000000",
            "0x0000000000000000000000000000000000000001",
            "0x4200000000000000000000000000000000000015",
        ] {
            let refused = read(text, &[]).unwrap_err();
            assert!(
                refused.message.contains("the chain itself"),
                "{text}: {}",
                refused.message
            );
        }
    }
}
