// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Terms} from "./Lease.sol";

// What calls for many leases are made of. Every member has a fixed size, so a leg has one encoding. Signatures stand in it as
// they do in the calls for one lease: two words, `r` and `vs` (EIP-2098).
//
// The leases of one job have six of their nine terms in common. What a renter does to many of them names those once:
// that is a quarter of the gas of a leg. What a provider does is about leases of many renters and names them in full.

/// @notice The terms that all leases of one job share. With `NodeTerms` they make `Terms`, which says what each word means.
struct JobTerms {
    address renter;
    address receiptKey;
    address token;
    address builder;
    uint16 builderBps;
    uint32 grace;
}

/// @notice The terms in which the leases of one job differ.
struct NodeTerms {
    address provider;
    address providerSigner;
    bytes32 salt;
}

/// @notice A lease to open.
/// @param deposit Units of the token to pull; not zero.
/// @param expiry Block time in seconds; in the future, at most 90 days ahead.
struct OpenLeg {
    NodeTerms node;
    uint96 deposit;
    uint40 expiry;
}

/// @notice A lease to add to.
/// @param amount Units of the token to pull; may be zero only when the expiry is moved.
/// @param newExpiry Block time in seconds, or zero to leave the expiry as it is.
struct TopUpLeg {
    NodeTerms node;
    uint96 amount;
    uint40 newExpiry;
}

/// @notice A lease to close.
/// @param amount The provider's closing amount.
/// @param r With `vs` the provider signer's signature over it.
struct CloseLeg {
    NodeTerms node;
    uint96 amount;
    bytes32 r;
    bytes32 vs;
}

/// @notice A lease to draw on or to settle.
/// @param amount What the provider claims over the lease's life; at most `receiptCumulative`.
/// @param receiptCumulative What the receipt says is owed.
/// @param r With `vs` the receipt key's signature; not looked at when `receiptCumulative` is zero.
struct ClaimLeg {
    Terms terms;
    uint96 amount;
    uint96 receiptCumulative;
    bytes32 r;
    bytes32 vs;
}
