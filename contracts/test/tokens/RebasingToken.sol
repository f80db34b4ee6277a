// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @dev A token whose balances all grow and shrink together.
contract RebasingToken {
    uint256 public percent = 100;
    mapping(address account => uint256) private _shares;

    function mint(address to, uint256 amount) external {
        _shares[to] += amount * 100 / percent;
    }

    function rebase(uint256 to) external {
        percent = to;
    }

    function balanceOf(address account) public view returns (uint256) {
        return _shares[account] * percent / 100;
    }

    function transfer(address to, uint256 value) external returns (bool) {
        return _move(msg.sender, to, value);
    }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        return _move(from, to, value);
    }

    function _move(address from, address to, uint256 value) private returns (bool) {
        uint256 shares = value * 100 / percent;
        _shares[from] -= shares;
        _shares[to] += shares;
        return true;
    }
}
