// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {ICollector} from "./interfaces/ICollector.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";
import {LeaseHash} from "./libraries/LeaseHash.sol";
import {Handover} from "./types/Handover.sol";
import {Terms} from "./types/Lease.sol";
import {REWARD_DIVISOR} from "./types/Limits.sol";

/// @title Collector
/// @notice See {ICollector}.
/// @dev Stores nothing. Its address follows from its three words by CREATE2, so that money may be sent to it before it is
/// deployed, and anybody can deploy it when it is needed.
///
/// What came in is measured by the balance. A renter or builder whose token calls it in the middle of the draw must not
/// change that: nothing here runs inside itself.
contract Collector is ICollector, EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @dev Signed by the signer.
    bytes32 private constant HANDOVER_TYPEHASH =
        keccak256("Handover(bytes32 leaseId,uint96 amount,uint40 notBefore,uint96 reward)");

    IEscrow private immutable ESCROW;
    address private immutable SIGNER;
    address private immutable PAYOUT;

    constructor(IEscrow escrow_, address signer_, address payout_) EIP712("GPUX collector", "1") {
        if (address(escrow_) == address(0) || signer_ == address(0) || payout_ == address(0)) revert PartyIsZero();
        (ESCROW, SIGNER, PAYOUT) = (escrow_, signer_, payout_);
    }

    /// @inheritdoc ICollector
    function draw(Terms calldata terms, Handover calldata handover) external override nonReentrant {
        if (block.timestamp < handover.notBefore) revert TooEarly(block.timestamp, handover.notBefore);
        bytes32 leaseId = LeaseHash.leaseId(terms, block.chainid, address(ESCROW));
        _checkSigned(leaseId, handover);

        IERC20 token = IERC20(terms.token);
        uint256 before = token.balanceOf(address(this));
        // The escrow takes a draw from the terms' provider, which this contract is.
        ESCROW.draw(terms, handover.amount, handover.receiptCumulative, handover.receiptR, handover.receiptVs);
        uint256 received = token.balanceOf(address(this)) - before;
        uint256 reward = Math.min(handover.reward, received / REWARD_DIVISOR);
        emit Collected(leaseId, msg.sender, received, reward);

        if (reward != 0) token.safeTransfer(msg.sender, reward);
        uint256 rest = token.balanceOf(address(this));
        if (rest != 0 && token.trySafeTransfer(PAYOUT, rest)) emit Swept(address(token), rest);
    }

    /// @inheritdoc ICollector
    function sweep(address token) external override nonReentrant {
        uint256 amount = IERC20(token).balanceOf(address(this));
        if (amount == 0) revert NothingToSweep(token);
        emit Swept(token, amount);

        IERC20(token).safeTransfer(PAYOUT, amount);
    }

    /// @inheritdoc ICollector
    function escrow() external view override returns (IEscrow) {
        return ESCROW;
    }

    /// @inheritdoc ICollector
    function signer() external view override returns (address) {
        return SIGNER;
    }

    /// @inheritdoc ICollector
    function payout() external view override returns (address) {
        return PAYOUT;
    }

    /// @inheritdoc ICollector
    function handoverDigest(bytes32 leaseId, uint96 amount, uint40 notBefore, uint96 reward)
        public
        view
        override
        returns (bytes32)
    {
        return _hashTypedDataV4(keccak256(abi.encode(HANDOVER_TYPEHASH, leaseId, amount, notBefore, reward)));
    }

    function _checkSigned(bytes32 leaseId, Handover calldata handover) private view {
        bytes32 digest = handoverDigest(leaseId, handover.amount, handover.notBefore, handover.reward);
        (address recovered,,) = ECDSA.tryRecover(digest, handover.r, handover.vs);
        if (recovered != SIGNER) revert WrongSigner(recovered, SIGNER);
    }
}
