//! What can be said of a call's bytes without asking anybody: how much gas it takes at most, and whether doing it twice
//! does it once. The sender asks, before it believes a chain node, and of bytes that were signed before a restart too.

use super::RawCall;
use crate::abi::Escrow;
use alloy::{primitives::U256, sol_types::SolCall};
use gpux_types::Address;

/// What any call of ours may take: three payments of which each uses all that the escrow gives it (`PAYMENT_GAS`), and
/// less than a third of that for the rest.
const GAS_OF_A_CALL: u64 = 600_000;
/// What each byte may take besides. A leg of a call for many leases has 160 bytes or more, and takes less than 50,000.
const GAS_OF_A_BYTE: u64 = 1_000;
/// No transaction takes more, by the rules of Ethereum (EIP-7825).
const GAS_OF_A_TRANSACTION: u64 = 16_777_216;

impl RawCall {
    /// The highest gas limit that is believed for it: a chain node that asks for more lies, and others would refuse the
    /// bytes for ever.
    pub(crate) fn most_gas(&self) -> u64 {
        let bytes = u64::try_from(self.input.len()).unwrap_or(u64::MAX);
        GAS_OF_A_CALL
            .saturating_add(bytes.saturating_mul(GAS_OF_A_BYTE))
            .min(GAS_OF_A_TRANSACTION)
    }

    /// True when the escrow itself does it once, however many transactions ask for it: a lease is opened and closed once,
    /// drawn up to an amount, and a credit paid once. A top-up, a transfer and an allowance are not so.
    pub(crate) fn is_once_by_itself(&self, escrow: Address) -> bool {
        const ONCE: [[u8; 4]; 11] = [
            Escrow::openCall::SELECTOR,
            Escrow::openWithPermitCall::SELECTOR,
            Escrow::openManyCall::SELECTOR,
            Escrow::openManyWithPermitCall::SELECTOR,
            Escrow::drawCall::SELECTOR,
            Escrow::settleCall::SELECTOR,
            Escrow::closeCall::SELECTOR,
            Escrow::closeManyCall::SELECTOR,
            Escrow::reclaimCall::SELECTOR,
            Escrow::reclaimManyCall::SELECTOR,
            Escrow::withdrawCall::SELECTOR,
        ];
        let is_one = |selector: &[u8; 4]| self.input.starts_with(selector);
        self.to == escrow && self.value == U256::ZERO && ONCE.iter().any(is_one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Call;
    use gpux_types::Amount;

    const ESCROW: Address = Address::repeat_byte(1);

    fn raw(call: &Call) -> RawCall {
        call.encode(ESCROW, Address::repeat_byte(2), None).unwrap()
    }

    #[test]
    fn only_what_the_escrow_does_once_is_once_by_itself() {
        let (token, to, amount) = (Address::repeat_byte(3), ESCROW, Amount::MAX);
        let withdraw = raw(&Call::Withdraw { token, payee: to });
        assert!(withdraw.is_once_by_itself(ESCROW));
        assert!(!withdraw.is_once_by_itself(token), "another contract");
        for call in [
            Call::TransferNative { to, wei: 0 },
            Call::TransferToken { token, to, amount },
            Call::Approve { token, amount },
        ] {
            assert!(!raw(&call).is_once_by_itself(ESCROW), "{call:?}");
        }
    }

    #[test]
    fn the_most_gas_grows_with_the_call_and_stays_below_what_a_transaction_may_take() {
        let call = |bytes: usize| RawCall {
            to: ESCROW,
            value: U256::ZERO,
            input: vec![0; bytes].into(),
        };
        assert_eq!(call(0).most_gas(), 600_000);
        assert_eq!(call(516).most_gas(), 1_116_000);
        assert_eq!(call(1_000_000).most_gas(), GAS_OF_A_TRANSACTION);
    }
}
