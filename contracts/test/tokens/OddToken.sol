// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @dev What `OddToken` calls when money moves from or to an account that asked for it, after the balances changed.
interface TokenHook {
    function tokenMoved(address from, address to, uint256 value) external;
}

/// @dev A token with every bad habit that the escrow must survive, each off until a test turns it on.
contract OddToken is ERC20 {
    enum Denial {
        None,
        Revert,
        ReturnFalse,
        BurnAllGas,
        ReturnGarbage,
        NeedAllGas,
        ReturnMuch,
        RevertMuch
    }

    error Denied(address to);

    /// @dev How a transfer to an account fails, or, for the last one, would with less gas than a payment gets.
    mapping(address to => Denial) public denials;

    /// @dev What each transfer takes for itself, in basis points.
    uint256 public feeBps;

    /// @dev Whether taking money says false instead of taking it.
    bool public takesNothing;

    /// @dev Whom to call when an account's money moves.
    mapping(address account => TokenHook) public hooks;

    constructor() ERC20("Odd", "ODD") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function deny(address to, Denial how) external {
        denials[to] = how;
    }

    function setFee(uint256 bps) external {
        feeBps = bps;
    }

    function setTakesNothing(bool to) external {
        takesNothing = to;
    }

    /// @dev The 65-byte form of EIP-3009, for whoever says so.
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256,
        uint256,
        bytes32,
        uint8,
        bytes32,
        bytes32
    ) external {
        _transfer(from, to, value);
    }

    function setHook(address account, TokenHook hook) external {
        hooks[account] = hook;
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        Denial how = denials[to];
        if (how == Denial.Revert) revert Denied(to);
        if (how == Denial.ReturnFalse) return false;
        if (how == Denial.BurnAllGas) {
            while (true) {}
        }
        if (how == Denial.ReturnGarbage) {
            assembly ("memory-safe") {
                mstore(0, 2)
                return(0, 32)
            }
        }
        if (how == Denial.ReturnMuch) {
            assembly ("memory-safe") {
                return(0, 250000)
            }
        }
        if (how == Denial.RevertMuch) {
            assembly ("memory-safe") {
                revert(0, 250000)
            }
        }
        if (how == Denial.NeedAllGas && gasleft() < 190_000) return false;
        return super.transfer(to, value);
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        return !takesNothing && super.transferFrom(from, to, value);
    }

    function _update(address from, address to, uint256 value) internal override {
        uint256 fee = from == address(0) ? 0 : value * feeBps / 10_000;
        super._update(from, to, value - fee);
        if (fee != 0) super._update(from, address(0xFEE), fee);
        _call(from, from, to, value);
        _call(to, from, to, value);
    }

    function _call(address account, address from, address to, uint256 value) private {
        TokenHook hook = hooks[account];
        if (address(hook) != address(0)) hook.tokenMoved(from, to, value);
    }
}
