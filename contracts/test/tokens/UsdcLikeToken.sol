// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {TestUsdc} from "../../src/test/TestUsdc.sol";

/// @dev What USDC can do to those who use it: stop everybody, or one account, in either direction.
contract UsdcLikeToken is TestUsdc {
    error Paused();
    error Blacklisted(address account);

    bool public paused;
    mapping(address account => bool) public blacklisted;

    function setPaused(bool to) external {
        paused = to;
    }

    function setBlacklisted(address account, bool to) external {
        blacklisted[account] = to;
    }

    function _update(address from, address to, uint256 value) internal override {
        if (paused) revert Paused();
        if (blacklisted[from]) revert Blacklisted(from);
        if (blacklisted[to]) revert Blacklisted(to);
        super._update(from, to, value);
    }
}
