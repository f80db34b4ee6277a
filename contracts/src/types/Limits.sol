// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @dev How far ahead of the block time an expiry may be, in seconds.
uint256 constant MAX_EXPIRY_AHEAD = 90 days;

/// @dev The longest grace, in seconds: how long a provider that never settles can keep a renter waiting.
uint32 constant MAX_GRACE = 30 days;

/// @dev The highest builder's share, in basis points.
uint16 constant MAX_BUILDER_BPS = 1000;

/// @dev The gas that a payment to one payee may use; a payee that needs more is credited. Several times what
/// stablecoins behind a proxy with deny lists need.
uint256 constant PAYMENT_GAS = 200_000;

/// @dev What must be left before a payment for it to get all of `PAYMENT_GAS`: a call passes on at most 63/64 of
/// the gas (203,175 of it here), after paying for a cold account and for building its arguments.
uint256 constant GAS_BEFORE_PAYMENT = 210_000;

/// @dev The longest address that can be announced in the node directory, in bytes.
uint256 constant MAX_ADDRESS_LENGTH = 1024;

/// @dev Whoever collects for a provider gets at most one part in so many of what came in: a fee is far below that, and a
/// provider that is gone loses no more.
uint256 constant REWARD_DIVISOR = 100;
