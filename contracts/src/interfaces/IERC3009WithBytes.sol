// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title IERC3009WithBytes
/// @notice The form of an EIP-3009 transfer that newer tokens, such as USDC since version 2.2, have beside the standard
/// one: the signature may be of any length, so that smart accounts can sign (EIP-1271).
interface IERC3009WithBytes {
    /// @notice See the EIP-3009 function of the same name.
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;
}
