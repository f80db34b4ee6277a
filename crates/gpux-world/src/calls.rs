//! Transactions of those who keep no journal of them: calls of the escrow, signed with a key of theirs and handed to the pool.

use crate::{
    chain::{CHAIN_ID, SimChain, word},
    rpc::SharedChain,
};
use alloy::{
    consensus::{SignableTransaction as _, TxEip1559},
    primitives::{Address, B256, Bytes, TxKind, U256},
};
use gpux_chain::{Signature, WalletKey};
use gpux_lease::Terms;
use std::{sync::PoisonError, time::Duration};

/// The words of the terms in a call's text.
pub(crate) const TERMS: &str = "(address,address,address,address,address,address,uint16,uint32,bytes32)";

pub(crate) fn address(address: Address) -> B256 {
    B256::left_padding_from(address.as_slice())
}

pub(crate) fn terms_words(terms: &Terms) -> Vec<B256> {
    let addresses = [
        terms.renter,
        terms.receipt_key,
        terms.provider,
        terms.provider_signer,
        terms.token,
        terms.builder,
    ];
    let mut words: Vec<B256> = addresses.into_iter().map(address).collect();
    words.push(word(u64::from(terms.builder_share.points())));
    words.push(word(u64::from(terms.grace_secs)));
    words.push(terms.salt);
    words
}

/// A signature in the two words that the escrow takes.
pub(crate) fn signed_words(signature: &Signature) -> [B256; 2] {
    let odd = U256::from(u8::from(signature.v())) << 255;
    [B256::from(signature.r()), B256::from(signature.s() | odd)]
}

/// Sends a call as the wallet's next transaction.
pub(crate) fn submit(chain: &SharedChain, wallet: &WalletKey, (to, input): (Address, Bytes), now: Duration) {
    let mut chain = chain.lock().unwrap_or_else(PoisonError::into_inner);
    let raw = signed(&chain, wallet, to, input);
    // A pool that does not want it gets the next one.
    let _ = chain.submit(&raw, now);
}

fn signed(chain: &SimChain, wallet: &WalletKey, to: Address, input: Bytes) -> Bytes {
    let transaction = TxEip1559 {
        chain_id: CHAIN_ID,
        nonce: chain.pending_count(wallet.address()),
        gas_limit: 400_000,
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 1_000_000,
        to: TxKind::Call(to),
        value: U256::ZERO,
        access_list: Default::default(),
        input,
    };
    let signature = wallet.sign_digest(transaction.signature_hash());
    let mut raw = Vec::new();
    transaction.into_signed(signature).eip2718_encode(&mut raw);
    raw.into()
}
