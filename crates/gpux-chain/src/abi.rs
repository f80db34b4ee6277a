//! Typed bindings of the contracts, made from their committed build output, and the conversions to our own types.

use alloy::primitives::{U256, Uint};
use gpux_lease::Terms;
use gpux_types::{Amount, UnixSeconds};

mod bindings {
    #![expect(
        clippy::too_many_arguments,
        reason = "the macro writes these types from the contracts' build output, where their words are documented"
    )]
    use alloy::sol;

    sol!(
        #[derive(Debug)]
        Escrow,
        "../../contracts/abi/Escrow.json"
    );
    sol!(
        #[derive(Debug)]
        NodeDirectory,
        "../../contracts/abi/NodeDirectory.json"
    );
    sol!(
        #[derive(Debug)]
        Collector,
        "../../contracts/abi/Collector.json"
    );
    sol!(TestDai, "../../contracts/abi/TestDai.json");
    sol! {
        #[derive(Debug)]
        /// What we ask of any ERC-20 token, and of one with EIP-2612 permits (EIP-5267 tells its domain).
        interface Token {
            error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
            error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed);
            function symbol() external view returns (string);
            function decimals() external view returns (uint8);
            function name() external view returns (string);
            function version() external view returns (string);
            function DOMAIN_SEPARATOR() external view returns (bytes32);
            function nonces(address owner) external view returns (uint256);
            function balanceOf(address owner) external view returns (uint256);
            function allowance(address owner, address spender) external view returns (uint256);
            function approve(address spender, uint256 amount) external returns (bool);
            function transfer(address to, uint256 amount) external returns (bool);
        }

        /// The OP predeploy that tells what L1 costs.
        interface L1Block {
            function basefee() external view returns (uint256);
            function blobBaseFee() external view returns (uint256);
            function baseFeeScalar() external view returns (uint32);
            function blobBaseFeeScalar() external view returns (uint32);
        }

        /// The text that a token owner signs to let somebody pull an amount (EIP-2612).
        struct Permit {
            address owner;
            address spender;
            uint256 value;
            uint256 nonce;
            uint256 deadline;
        }
    }
}

/// The escrow's own errors, one variant each, with the values that it compared.
pub type EscrowRevert = bindings::Escrow::EscrowErrors;
/// The node directory's own errors.
pub type DirectoryRevert = bindings::NodeDirectory::NodeDirectoryErrors;
/// A collector's own errors.
pub type CollectorRevert = bindings::Collector::CollectorErrors;
/// The errors of a token that follows OpenZeppelin's names.
pub type TokenRevert = bindings::Token::TokenErrors;

pub(crate) use bindings::{Collector, Escrow, L1Block, NodeDirectory, Permit, TestDai, Token};

/// The terms as the escrow takes them.
pub(crate) fn terms(terms: &Terms) -> Escrow::Terms {
    Escrow::Terms {
        renter: terms.renter,
        receiptKey: terms.receipt_key,
        provider: terms.provider,
        providerSigner: terms.provider_signer,
        token: terms.token,
        builder: terms.builder,
        builderBps: terms.builder_share.points(),
        grace: terms.grace_secs,
        salt: terms.salt,
    }
}

/// The escrow's width of an amount.
pub(crate) fn uint96(amount: Amount) -> Uint<96, 2> {
    Uint::from(amount.units())
}

/// The escrow's width of a time, cut to its end (the year 36,812).
pub(crate) fn uint40(time: UnixSeconds) -> Uint<40, 1> {
    Uint::saturating_from(time.0)
}

/// The amount in a field of 96 bits.
pub(crate) fn amount96(field: Uint<96, 2>) -> Amount {
    amount(field.to::<U256>())
}

/// An amount of any width, cut to the most that an escrow can hold.
pub(crate) fn amount(units: U256) -> Amount {
    u128::try_from(units)
        .ok()
        .and_then(|units| Amount::new(units).ok())
        .unwrap_or(Amount::MAX)
}

/// Wei of any width, cut to 128 bits: more than there is.
pub(crate) fn wei(units: U256) -> u128 {
    u128::try_from(units).unwrap_or(u128::MAX)
}

/// The time in a field of 40 bits.
pub(crate) fn time40(field: Uint<40, 1>) -> UnixSeconds {
    UnixSeconds(field.to::<u64>())
}
