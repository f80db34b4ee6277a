// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title TestUsdc
/// @notice A stand-in for USDC on the devnet and in tests: 6 decimals, EIP-2612 permits, and anybody may mint.
contract TestUsdc is ERC20Permit {
    constructor() ERC20("Test USD Coin", "USDC") ERC20Permit("Test USD Coin") {}

    /// @notice Makes `amount` units for `to` out of nothing.
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    /// @notice USDC counts in millionths.
    function decimals() public pure override returns (uint8) {
        return 6;
    }
}
