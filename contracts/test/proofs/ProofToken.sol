// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @dev A token whose whole storage is arbitrary in a proof: any balances, any allowances, and any payees are
/// refused. What it never does is to lie: it moves money exactly when it says so. Balances
/// wrap: a balance that does not suffice is one more reason to refuse, and the refusals are arbitrary already.
contract ProofToken {
    mapping(address account => uint256) public balanceOf;
    mapping(address owner => mapping(address spender => uint256)) public allowance;
    mapping(address to => bool) public refuses;
    mapping(address owner => bool) private _signs;

    bool private immutable _REVERTS;

    error Refused();

    /// @param reverts Whether a refused transfer reverts; otherwise it answers false.
    constructor(bool reverts) {
        _REVERTS = reverts;
    }

    function transfer(address to, uint256 value) external returns (bool) {
        if (refuses[to]) {
            if (_REVERTS) revert Refused();
            return false;
        }
        _move(msg.sender, to, value);
        return true;
    }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        uint256 allowed = allowance[from][msg.sender];
        if (allowed < value) revert Refused();
        unchecked {
            allowance[from][msg.sender] = allowed - value;
        }
        _move(from, to, value);
        return true;
    }

    /// @dev An owner's permits are all good or all bad: which one was signed is the token's affair.
    function permit(address owner, address spender, uint256 value, uint256, uint8, bytes32, bytes32) external {
        if (!_signs[owner]) revert Refused();
        allowance[owner][spender] = value;
    }

    /// @dev The same holds for authorisations.
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
        if (msg.sender != to || !_signs[from]) revert Refused();
        _move(from, to, value);
    }

    function _move(address from, address to, uint256 value) private {
        unchecked {
            balanceOf[from] -= value;
            balanceOf[to] += value;
        }
    }
}
