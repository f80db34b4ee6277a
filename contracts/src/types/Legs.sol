// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Terms} from "./Lease.sol";

// One lease's part in a call for many leases. Every member has a fixed size, so a leg has one encoding and signatures
// stand in it as `v`, `r` and `s`, in the form that `ecrecover` takes.

/// @notice A lease to open.
/// @param deposit Units of the token to pull; not zero.
/// @param expiry Block time in seconds; in the future, at most 90 days ahead.
struct OpenLeg {
    Terms terms;
    uint96 deposit;
    uint40 expiry;
}

/// @notice A lease to add to.
/// @param amount Units of the token to pull; may be zero only when the expiry is moved.
/// @param newExpiry Block time in seconds, or zero to leave the expiry as it is.
struct TopUpLeg {
    Terms terms;
    uint96 amount;
    uint40 newExpiry;
}

/// @notice A lease to draw on or to settle.
/// @param amount What the provider claims over the lease's life; at most `receiptCumulative`.
/// @param receiptCumulative What the receipt says is owed.
/// @param v With `r` and `s` the receipt key's signature; not looked at when `receiptCumulative` is zero.
struct ClaimLeg {
    Terms terms;
    uint96 amount;
    uint96 receiptCumulative;
    uint8 v;
    bytes32 r;
    bytes32 s;
}

/// @notice A lease to close.
/// @param amount The provider's closing amount.
/// @param v With `r` and `s` the provider signer's signature over it.
struct CloseLeg {
    Terms terms;
    uint96 amount;
    uint8 v;
    bytes32 r;
    bytes32 s;
}
