// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {INodeDirectory} from "./interfaces/INodeDirectory.sol";
import {MAX_ADDRESS_LENGTH} from "./types/Limits.sol";

/// @title NodeDirectory
/// @notice See {INodeDirectory}.
contract NodeDirectory is INodeDirectory {
    /// @inheritdoc INodeDirectory
    function announce(bytes32 endpoint, bytes calldata addr) external override {
        if (endpoint == 0) revert EndpointIsZero();
        if (addr.length > MAX_ADDRESS_LENGTH) revert AddressTooLong(addr.length, MAX_ADDRESS_LENGTH);
        emit Announced(msg.sender, endpoint, addr);
    }
}
