//! What somebody needs who sends money to the wallet of a folder: read without a daemon, a password or a chain.

use crate::{
    config::{ChainChoice, target},
    dir::DaemonDir,
    wallet::{WalletError, wallet_address},
};
use gpux_api::AddressView;

/// The wallet's address, as a link where the configuration says on which chain: `ethereum:ADDRESS@CHAIN` (EIP-681). The link names no
/// token and no amount: a program that does not know tokens would send coin to the token's contract.
///
/// # Errors
/// When there is no wallet, or it cannot be read.
pub fn receive(dir: &DaemonDir) -> Result<AddressView, WalletError> {
    let address = wallet_address(dir)?;
    // A configuration that cannot be used says nothing about the chain; the address is right all the same.
    let Ok(target) = target(&dir.config(), ChainChoice::default()) else {
        return Ok(AddressView::from(address));
    };
    Ok(AddressView {
        uri: Some(format!("ethereum:{address}@{}", target.chain_id)),
        chain_id: Some(target.chain_id),
        chain: target.known.map(|known| known.title.to_owned()),
        token_address: target.token.map(|token| token.to_string()),
        ..AddressView::from(address)
    })
}
