// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title INodeDirectory
/// @notice A place to find a first peer: nodes announce themselves in events, and nothing is stored.
/// @dev An announcement proves nothing about its endpoint. A reader trusts a peer only once that peer has proven
/// its endpoint key on the connection and its wallet by the signature in its offer.
interface INodeDirectory {
    /// @notice A node can be reached.
    /// @param announcer The account that announced it.
    /// @param endpoint The node's ed25519 endpoint key.
    /// @param addr How to reach it, in the encoding of the wire specification; opaque here.
    event Announced(address indexed announcer, bytes32 indexed endpoint, bytes addr);

    /// @notice The address is longer than a reader has to accept.
    error AddressTooLong(uint256 length, uint256 maximum);

    /// @notice The endpoint key is zero.
    error EndpointIsZero();

    /// @notice Announces a node. Anybody may, as often as they pay for it; the newest one of an announcer counts.
    /// @param endpoint The node's ed25519 endpoint key; not zero.
    /// @param addr How to reach it; at most 1,024 bytes, and empty to say "no longer here".
    function announce(bytes32 endpoint, bytes calldata addr) external;
}
