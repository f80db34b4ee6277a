// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @notice What a provider leaves with a watch-tower: a draw that its signer allows, and the receipt that the draw needs.
/// Signatures are in the form of EIP-2098: `r`, and `s` with the parity in its highest bit.
/// @param amount What is claimed over the lease's life; at most `receiptCumulative`.
/// @param receiptCumulative What the receipt says is owed.
/// @param receiptR With `receiptVs` the lease's receipt key's signature over it.
/// @param notBefore Block time in seconds before which nobody may use this.
/// @param reward The most that whoever uses this gets, in units of the token; never more than a hundredth of what comes in.
/// @param r With `vs` the signature of the collector's signer over lease id, amount, `notBefore` and reward.
struct Handover {
    uint96 amount;
    uint96 receiptCumulative;
    bytes32 receiptR;
    bytes32 receiptVs;
    uint40 notBefore;
    uint96 reward;
    bytes32 r;
    bytes32 vs;
}
