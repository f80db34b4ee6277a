//! The contracts of this build: where they are on every chain, what deploys them, and whether the code at an address is theirs.
//!
//! `connect` asks before anything is signed for a contract, `deploy` and the devnet put them on chains. The code is what
//! `contracts/abi` holds, which is what the tests of the contracts ran. Nothing here talks to a chain.

use alloy::{
    primitives::{Address, B256, Bytes, U256, address, keccak256},
    sol_types::Eip712Domain,
};
use serde::Deserialize;
use std::sync::LazyLock;

/// The deterministic deployment proxy: a contract that deploys what it is sent behind a salt, at an address that follows from these
/// alone. OP chains have it from their first block on (a preinstall of the OP stack), and anvil too.
/// <https://github.com/Arachnid/deterministic-deployment-proxy>
pub(crate) const PROXY: Address = address!("0x4e59b44847b379578588920cA78FbF26c0B4956C");

/// A contract of this build that takes no words of its own to construct, and so has one address on every chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Contract {
    /// Holds the deposit of each lease.
    Escrow,
    /// Where nodes announce themselves.
    NodeDirectory,
    /// The devnet's token of 18 digits.
    TestDai,
    /// The devnet's token of 6 digits.
    TestUsdc,
}

/// Code that is not that of this build's contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeMismatch {
    /// There is none.
    #[error("there is no contract")]
    Absent,
    /// It is longer or shorter.
    #[error("its code has {found} bytes, that of this build has {expected}")]
    Length {
        /// This build's.
        expected: usize,
        /// What is there.
        found: usize,
    },
    /// Another instruction.
    #[error("byte {offset} of its code is {found:#04x}, in this build it is {expected:#04x}")]
    Code {
        /// The first byte that differs.
        offset: usize,
        /// This build's.
        expected: u8,
        /// What is there.
        found: u8,
    },
    /// A word that the constructor wrote is not what it must be for this chain and this address.
    #[error("its {name} is {found}, here it must be {expected}")]
    Immutable {
        /// Which.
        name: &'static str,
        /// What it must be.
        expected: B256,
        /// What is there.
        found: B256,
    },
}

/// The words that a contract with a signing domain keeps in its code, in the order in which OpenZeppelin's `EIP712` declares them.
const DOMAIN_WORDS: [&str; 7] = [
    "domain separator",
    "chain id",
    "own address",
    "hash of the domain's name",
    "hash of the domain's version",
    "domain's name",
    "domain's version",
];

/// What `contracts/tools/abi` writes of a contract.
#[derive(Deserialize)]
struct Built {
    bytecode: Bytes,
    #[serde(rename = "deployedBytecode")]
    deployed: Bytes,
    /// The places of each immutable, in the order of declaration.
    immutables: Vec<Vec<usize>>,
}

impl Built {
    fn read(text: &str) -> Self {
        serde_json::from_str(text).expect("the build's own files are whole: a test reads each of them")
    }
}

static ESCROW: LazyLock<Built> = LazyLock::new(|| Built::read(include_str!("../../../contracts/abi/Escrow.json")));
static NODE_DIRECTORY: LazyLock<Built> =
    LazyLock::new(|| Built::read(include_str!("../../../contracts/abi/NodeDirectory.json")));
static TEST_DAI: LazyLock<Built> = LazyLock::new(|| Built::read(include_str!("../../../contracts/abi/TestDai.json")));
static TEST_USDC: LazyLock<Built> = LazyLock::new(|| Built::read(include_str!("../../../contracts/abi/TestUsdc.json")));

impl Contract {
    /// Those that a market needs, whatever its token.
    pub const OF_A_MARKET: [Self; 2] = [Self::Escrow, Self::NodeDirectory];

    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Escrow => "escrow",
            Self::NodeDirectory => "node directory",
            Self::TestDai => "test DAI",
            Self::TestUsdc => "test USDC",
        }
    }

    /// Where it is on every chain, once the deployment proxy has deployed it there.
    #[must_use]
    pub fn address(self) -> Address {
        PROXY.create2_from_code(B256::ZERO, &self.built().bytecode)
    }

    /// What the deployment proxy is sent.
    pub(crate) fn deployment(self) -> Bytes {
        deployment(&self.built().bytecode)
    }

    /// Whether `code`, found at `at` on this chain, is the contract of this build to the last byte, with the words that its
    /// constructor writes there.
    ///
    /// # Errors
    /// What differs first.
    pub fn check(self, code: &[u8], chain_id: u64, at: Address) -> Result<(), CodeMismatch> {
        let built = self.built();
        if code.is_empty() {
            return Err(CodeMismatch::Absent);
        }
        if code.len() != built.deployed.len() {
            return Err(CodeMismatch::Length {
                expected: built.deployed.len(),
                found: code.len(),
            });
        }
        let words = self.words(chain_id, at);
        let mut expected = built.deployed.to_vec();
        for (places, (_, word)) in built.immutables.iter().zip(&words) {
            for place in places {
                if let Some(hole) = expected.get_mut(*place..*place + 32) {
                    hole.copy_from_slice(word.as_slice());
                }
            }
        }
        let mut bytes = expected.iter().zip(code).enumerate();
        let Some((offset, (expected, found))) = bytes.find(|(_, (expected, found))| expected != found) else {
            return Ok(());
        };
        let in_word = built.immutables.iter().zip(&words).find_map(|(places, word)| {
            let place = places.iter().find(|place| (**place..**place + 32).contains(&offset))?;
            Some((word, code.get(*place..*place + 32)?))
        });
        Err(match in_word {
            Some(((name, word), found)) => CodeMismatch::Immutable {
                name,
                expected: *word,
                found: B256::from_slice(found),
            },
            None => CodeMismatch::Code {
                offset,
                expected: *expected,
                found: *found,
            },
        })
    }

    fn built(self) -> &'static Built {
        match self {
            Self::Escrow => &ESCROW,
            Self::NodeDirectory => &NODE_DIRECTORY,
            Self::TestDai => &TEST_DAI,
            Self::TestUsdc => &TEST_USDC,
        }
    }

    /// The name and version of its signing domain.
    const fn domain(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Escrow => Some(("GPUX", "1")),
            Self::NodeDirectory => None,
            Self::TestDai => Some(("Test Dai", "1")),
            Self::TestUsdc => Some(("Test USD Coin", "1")),
        }
    }

    /// What each of its immutables must be.
    fn words(self, chain_id: u64, at: Address) -> Vec<(&'static str, B256)> {
        let Some((name, version)) = self.domain() else {
            return Vec::new();
        };
        let domain = Eip712Domain::new(
            Some(name.into()),
            Some(version.into()),
            Some(U256::from(chain_id)),
            Some(at),
            None,
        );
        let words = [
            domain.separator(),
            U256::from(chain_id).into(),
            at.into_word(),
            keccak256(name),
            keccak256(version),
            short_string(name),
            short_string(version),
        ];
        DOMAIN_WORDS.into_iter().zip(words).collect()
    }
}

/// What the deployment proxy is sent to deploy `creation`.
pub(crate) fn deployment(creation: &[u8]) -> Bytes {
    [B256::ZERO.as_slice(), creation].concat().into()
}

/// A text of less than 32 bytes in one word, as OpenZeppelin keeps it: its bytes first, its length last.
fn short_string(text: &str) -> B256 {
    let mut word = B256::right_padding_from(text.as_bytes());
    if let (Some(last), Ok(length)) = (word.0.last_mut(), u8::try_from(text.len())) {
        *last = length;
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Contract; 4] = [
        Contract::Escrow,
        Contract::NodeDirectory,
        Contract::TestDai,
        Contract::TestUsdc,
    ];

    /// What the constructor leaves.
    fn deployed(contract: Contract, chain_id: u64, at: Address) -> Vec<u8> {
        let built = contract.built();
        let mut code = built.deployed.to_vec();
        for (places, (_, word)) in built.immutables.iter().zip(contract.words(chain_id, at)) {
            for place in places {
                code[*place..*place + 32].copy_from_slice(word.as_slice());
            }
        }
        code
    }

    #[test]
    fn every_immutable_of_the_build_has_a_word_and_its_places_are_empty_in_the_build() {
        for contract in ALL {
            let built = contract.built();
            let words = contract.words(10, Address::repeat_byte(1));
            assert_eq!(built.immutables.len(), words.len(), "{contract:?}");
            for place in built.immutables.iter().flatten() {
                assert_eq!(built.deployed[*place..*place + 32], [0; 32], "{contract:?}");
            }
            assert!(!built.bytecode.is_empty() && !built.deployed.is_empty());
        }
    }

    /// Escrows and tokens live at these addresses: when a contract changes, so does its address, and `chains.rs` must say again
    /// where it is deployed.
    #[test]
    fn the_addresses_of_this_build_are_known() {
        let addresses = ALL.map(|contract| contract.address().to_string());
        assert_eq!(
            addresses,
            [
                "0xcDa08436aaC8Cc653370b1DB5ae661990B3958b5",
                "0x76535C64d20F2cED30a8fc94b6E1D217D7d056De",
                "0x1005607F4dc0143bCB3f84A8D2852E369e6ec2D3",
                "0xea2bACA798eaB4B4773B16453eF713E280d9B453",
            ]
        );
    }

    #[test]
    fn code_of_another_chain_or_address_is_refused_by_the_word_that_differs() {
        let at = Contract::Escrow.address();
        let name = |chain_id, there| {
            let checked = Contract::Escrow.check(&deployed(Contract::Escrow, chain_id, there), 10, at);
            let Err(CodeMismatch::Immutable { name, .. }) = checked else {
                panic!("{checked:?}")
            };
            name
        };
        assert_eq!(
            Contract::Escrow.check(&deployed(Contract::Escrow, 10, at), 10, at),
            Ok(())
        );
        // All differ; the one that stands first in the code is told.
        assert!(DOMAIN_WORDS.contains(&name(11_155_420, at)));
        assert!(DOMAIN_WORDS.contains(&name(10, Address::repeat_byte(7))));
    }

    #[test]
    fn nothing_there_and_another_contract_are_told_apart() {
        let at = Address::repeat_byte(1);
        let check = |code: &[u8]| Contract::Escrow.check(code, 10, at);
        assert_eq!(check(&[]), Err(CodeMismatch::Absent));
        let other = deployed(Contract::TestDai, 10, at);
        assert!(matches!(check(&other), Err(CodeMismatch::Length { .. })));
    }

    proptest! {
        #[test]
        fn no_changed_byte_passes(which in 0..ALL.len(), place in any::<prop::sample::Index>(), flip in 1u8..) {
            let contract = ALL[which];
            let at = contract.address();
            let mut code = deployed(contract, 10, at);
            prop_assert_eq!(contract.check(&code, 10, at), Ok(()));
            let place = place.index(code.len());
            code[place] ^= flip;
            let refused = contract.check(&code, 10, at).unwrap_err();
            let told = match refused {
                CodeMismatch::Code { offset, .. } => offset == place,
                CodeMismatch::Immutable { .. } => true,
                CodeMismatch::Absent | CodeMismatch::Length { .. } => false,
            };
            prop_assert!(told, "{refused}");
        }
    }
}
