// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @title TestUsdc
/// @notice A stand-in for USDC on the devnet and in tests: 6 decimals, EIP-2612 permits, EIP-3009 authorisations to
/// receive, in both forms that USDC has since version 2.2, and anybody may mint.
contract TestUsdc is ERC20Permit {
    /// @notice What is signed to let `to`, and nobody else, take money.
    bytes32 public constant RECEIVE_WITH_AUTHORIZATION_TYPEHASH = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );

    /// @notice Whether an account has used a nonce.
    mapping(address authorizer => mapping(bytes32 nonce => bool)) public authorizationState;

    /// @notice A nonce was used.
    event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);

    /// @notice Only the payee of an authorisation may use it.
    error CallerNotPayee(address caller, address payee);

    /// @notice The block time is not strictly between the two bounds of the authorisation.
    error AuthorizationNotInTime(uint256 blockTime, uint256 validAfter, uint256 validBefore);

    /// @notice The nonce was used before.
    error AuthorizationUsedBefore(address authorizer, bytes32 nonce);

    /// @notice The authorisation was not signed by the account whose money it is.
    error WrongAuthorizationSigner(address from);

    constructor() ERC20("Test USD Coin", "USDC") ERC20Permit("Test USD Coin") {}

    /// @notice Makes `amount` units for `to` out of nothing.
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    /// @notice Moves money that its owner has signed for to the caller.
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        _receive(from, to, value, validAfter, validBefore, nonce, abi.encodePacked(r, s, v));
    }

    /// @notice The same with a signature of any length, so that a contract can be the owner (EIP-1271).
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes memory signature
    ) external {
        _receive(from, to, value, validAfter, validBefore, nonce, signature);
    }

    /// @notice USDC counts in millionths.
    function decimals() public pure override returns (uint8) {
        return 6;
    }

    function _receive(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes memory signature
    ) private {
        if (msg.sender != to) revert CallerNotPayee(msg.sender, to);
        if (block.timestamp <= validAfter || block.timestamp >= validBefore) {
            revert AuthorizationNotInTime(block.timestamp, validAfter, validBefore);
        }
        if (authorizationState[from][nonce]) revert AuthorizationUsedBefore(from, nonce);
        bytes32 digest = _hashTypedDataV4(
            keccak256(abi.encode(RECEIVE_WITH_AUTHORIZATION_TYPEHASH, from, to, value, validAfter, validBefore, nonce))
        );
        if (!SignatureChecker.isValidSignatureNow(from, digest, signature)) revert WrongAuthorizationSigner(from);
        authorizationState[from][nonce] = true;
        emit AuthorizationUsed(from, nonce);
        _transfer(from, to, value);
    }
}
