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

    /// @notice The struct hash of a receipt over `cumulative` units.
    function receipt(bytes32 id, uint96 cumulative) internal pure returns (bytes32) {
        return keccak256(abi.encode(RECEIPT_TYPEHASH, id, cumulative));
    }

    /// @notice The struct hash of a closing amount.
    function closing(bytes32 id, uint96 amount) internal pure returns (bytes32) {
        return keccak256(abi.encode(CLOSING_TYPEHASH, id, amount));
    }
}
