// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @dev A token for proofs: every word of its storage is arbitrary, so it has any balances and allowances, and answers
/// each payee in any way: pays and says so, does nothing and says anything, or reverts. What it does not do is to lie:
/// when it answers 1 the money has moved, and it moves none otherwise.
contract ProofToken {
    mapping(address account => uint256) public balanceOf;
    mapping(address owner => mapping(address spender => uint256)) public allowance;

    /// @dev What a transfer to an account answers; it is done only for 1.
    mapping(address to => uint256) public answers;

    /// @dev Whether a transfer to an account reverts.
    mapping(address to => bool) public reverts;

    /// @dev Whether an owner's permits and authorisations are good.
    mapping(address owner => bool) public signs;

    error Refused();

    function transfer(address to, uint256 value) external returns (uint256) {
        if (reverts[to]) revert Refused();
        if (answers[to] == 1) _move(msg.sender, to, value);
        return answers[to];
    }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        allowance[from][msg.sender] -= value;
        _move(from, to, value);
        return true;
    }

    function permit(address owner, address spender, uint256 value, uint256, uint8, bytes32, bytes32) external {
        if (!signs[owner]) revert Refused();
        allowance[owner][spender] = value;
    }

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
        _receive(from, to, value);
    }

    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256,
        uint256,
        bytes32,
        bytes calldata
    ) external {
        _receive(from, to, value);
    }

    function _receive(address from, address to, uint256 value) private {
        if (msg.sender != to || !signs[from]) revert Refused();
        _move(from, to, value);
    }

    function _move(address from, address to, uint256 value) private {
        balanceOf[from] -= value;
        balanceOf[to] += value;
    }
}
