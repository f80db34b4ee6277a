// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @notice The fixed words of a lease. Their hash, with the chain and the escrow, is the lease id, so none of
/// them is stored and none can change after the deposit.
/// @param renter Who pays, may extend, gets the refund and may reclaim.
/// @param receiptKey The key whose signature makes a receipt good.
/// @param provider Who is paid.
/// @param providerSigner A hot key that may settle in the provider's name and signs closing amounts.
/// @param token The ERC-20 that deposit, payment and refund are made in.
/// @param builder Who gets a share of what the provider claims; zero when nobody does.
/// @param builderBps That share in basis points, rounded down; the provider gets the rest.
/// @param grace Seconds after the expiry during which only the provider can close the lease.
/// @param salt Makes the terms unique: the hash of the provider's quote.
struct Terms {
    address renter;
    address receiptKey;
    address provider;
    address providerSigner;
    address token;
    address builder;
    uint16 builderBps;
    uint32 grace;
    bytes32 salt;
}

/// @notice Where a lease stands. `Closed` is for ever: no id opens twice.
enum Status {
    None,
    Open,
    Closed
}

/// @notice What is stored of a lease: one word, from the lowest bit `deposit u96 | claimed u96 | expiry u40 |
/// status u8`, which is how the compiler would lay out a struct of these four. It is a value type because the
/// compiler writes such a struct field by field: that costs a lease 1 % more gas over its life.
type Lease is uint256;

using {depositOf, claimedOf, expiryOf, statusOf, isIn} for Lease global;

/// @notice Puts a lease into its word.
/// @param deposit All that was ever paid in, in units of the token; it only grows.
/// @param claimed All that was ever paid out to provider and builder; it only grows and is at most `deposit`.
/// @param expiry Block time in seconds after which the grace begins to run; it only grows.
/// @param status Where the lease stands.
function packLease(uint96 deposit, uint96 claimed, uint40 expiry, Status status) pure returns (Lease) {
    return Lease.wrap(
        uint256(deposit) | (uint256(claimed) << 96) | (uint256(expiry) << 192) | (uint256(uint8(status)) << 232)
    );
}

/// @dev Cheaper than comparing `statusOf`, which checks that the word holds a status at all.
function isIn(Lease lease, Status status) pure returns (bool) {
    return Lease.unwrap(lease) >> 232 == uint8(status);
}

// In each of these the cast keeps the low bits on purpose.
// forge-lint: disable-start(unsafe-typecast)

function depositOf(Lease lease) pure returns (uint96) {
    return uint96(Lease.unwrap(lease));
}

function claimedOf(Lease lease) pure returns (uint96) {
    return uint96(Lease.unwrap(lease) >> 96);
}

function expiryOf(Lease lease) pure returns (uint40) {
    return uint40(Lease.unwrap(lease) >> 192);
}

function statusOf(Lease lease) pure returns (Status) {
    return Status(uint8(Lease.unwrap(lease) >> 232));
}

// forge-lint: disable-end(unsafe-typecast)
