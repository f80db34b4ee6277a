// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title TestDai
/// @notice A stand-in for DAI on the devnet and in tests: 18 decimals, EIP-2612 permits, and anybody may mint.
contract TestDai is ERC20Permit {
    constructor() ERC20("Test Dai", "DAI") ERC20Permit("Test Dai") {}

    /// @notice Makes `amount` units for `to` out of nothing.
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}
