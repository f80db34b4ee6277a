// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Terms} from "../types/Lease.sol";

/// @title LeaseHash
/// @notice The lease id and the EIP-712 struct hashes of what is signed about a lease. Pure; the programs that
/// sign compute the same values, held together by `docs/spec/vectors/terms.json`.
library LeaseHash {
    /// @dev Signed by the lease's receipt key.
    bytes32 internal constant RECEIPT_TYPEHASH = keccak256("Receipt(bytes32 leaseId,uint96 cumulative)");

    /// @dev Signed by the provider's signer.
    bytes32 internal constant CLOSING_TYPEHASH = keccak256("Closing(bytes32 leaseId,uint96 amount)");

    /// @notice The id of the lease with these terms on one chain and in one escrow.
    function leaseId(Terms memory terms, uint256 chainId, address escrow) internal pure returns (bytes32) {
        return keccak256(abi.encode(terms, chainId, escrow));
    }

    /// @notice The id, on this chain and in this escrow, of terms in calldata, hashed where they lie: 500 gas less than
    /// `leaseId`, which every call pays.
    /// @dev Words with bits where their type has none give another id. Opening a lease reads every one of its terms, and
    /// the decoder refuses such words, so no lease has an id of that kind.
    function idOfCalldata(Terms calldata terms) internal view returns (bytes32 id) {
        // Memory-safe: it writes behind the free memory only, and leaves the pointer alone. Terms are nine words.
        assembly ("memory-safe") {
            let words := mload(0x40)
            calldatacopy(words, terms, 288)
            mstore(add(words, 288), chainid())
            mstore(add(words, 320), address())
            id := keccak256(words, 352)
        }
    }

    /// @notice The same for terms in memory, one word each there too.
    function idOfMemory(Terms memory terms) internal view returns (bytes32 id) {
        assembly ("memory-safe") {
            let words := mload(0x40)
            mcopy(words, terms, 288)
            mstore(add(words, 288), chainid())
            mstore(add(words, 320), address())
            id := keccak256(words, 352)
        }
    }

    /// @notice The nonce of the EIP-3009 authorisation that opens one lease, and no other, with one deposit and expiry.
    function opening(bytes32 id, uint96 deposit, uint40 expiry) internal pure returns (bytes32) {
        return keccak256(abi.encode(id, deposit, expiry));
    }

    /// @notice The same for many leases: three words for each, in their order.
    function openings(bytes32[] memory words) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(words));
    }

    /// @notice The struct hash of a receipt over `cumulative` units.
    function receipt(bytes32 id, uint96 cumulative) internal pure returns (bytes32) {
        return keccak256(abi.encode(RECEIPT_TYPEHASH, id, cumulative));
    }

    /// @notice The struct hash of a closing amount.
    function closing(bytes32 id, uint96 amount) internal pure returns (bytes32) {
        return keccak256(abi.encode(CLOSING_TYPEHASH, id, amount));
    }
}
