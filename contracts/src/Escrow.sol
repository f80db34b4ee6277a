// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {IEscrow} from "./interfaces/IEscrow.sol";
import {LeaseHash} from "./libraries/LeaseHash.sol";
import {LeaseMath} from "./libraries/LeaseMath.sol";
import {Lease, Status, Terms} from "./types/Lease.sol";

/// @title Escrow
/// @notice See {IEscrow}.
/// @dev Owns the money and one storage slot per lease. Everything fixed about a lease is in the preimage of its
/// id. No running total per token is kept: it would cost each call a storage write and guard nothing that the
/// per-lease slots do not; the invariant tests sum the slots instead.
///
/// Every call checks, then writes its slot, then moves money. The guard is for tokens with hooks: it keeps a
/// hook from hiding a missing deposit behind another one in `_pull`.
contract Escrow is IEscrow, EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @inheritdoc IEscrow
    uint256 public constant override MAX_EXPIRY_AHEAD = 90 days;

    /// @inheritdoc IEscrow
    uint32 public constant override MAX_GRACE = 30 days;

    /// @inheritdoc IEscrow
    uint16 public constant override MAX_BUILDER_BPS = 1000;

    /// @inheritdoc IEscrow
    uint256 public constant override PAYMENT_GAS = 200_000;

    /// @dev What must be left before a payment for it to get all of `PAYMENT_GAS`: a call passes on at most
    /// 63/64 of the gas (203,175 here), after paying for a cold account and for building its arguments.
    uint256 private constant GAS_BEFORE_PAYMENT = 210_000;

    mapping(bytes32 leaseId => Lease) private _leases;
    mapping(address token => mapping(address payee => uint256)) private _credits;

    constructor() EIP712("GPUX", "1") {}

    // ----------------------------------------------------------------- calls

    /// @inheritdoc IEscrow
    function open(Terms calldata terms, uint96 deposit, uint40 expiry) external override nonReentrant {
        _open(terms, deposit, expiry);
    }

    /// @inheritdoc IEscrow
    function openWithPermit(
        Terms calldata terms,
        uint96 deposit,
        uint40 expiry,
        uint256 permitDeadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external override nonReentrant {
        _tryPermit(terms.token, deposit, permitDeadline, v, r, s);
        _open(terms, deposit, expiry);
    }

    /// @inheritdoc IEscrow
    function topUp(Terms calldata terms, uint96 amount, uint40 newExpiry) external override nonReentrant {
        _topUp(terms, amount, newExpiry);
    }

    /// @inheritdoc IEscrow
    function topUpWithPermit(
        Terms calldata terms,
        uint96 amount,
        uint40 newExpiry,
        uint256 permitDeadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external override nonReentrant {
        _tryPermit(terms.token, amount, permitDeadline, v, r, s);
        _topUp(terms, amount, newExpiry);
    }

    /// @inheritdoc IEscrow
    function settle(Terms calldata terms, uint96 amount, uint96 receiptCumulative, bytes calldata receiptSignature)
        external
        override
        nonReentrant
    {
        if (msg.sender != terms.provider && msg.sender != terms.providerSigner) {
            revert CallerNotProvider(msg.sender, terms.provider, terms.providerSigner);
        }
        bytes32 leaseId = leaseIdOf(terms);
        Lease memory lease = _openLease(leaseId);
        if (amount > receiptCumulative) revert AmountAboveReceipt(amount, receiptCumulative);
        if (receiptCumulative != 0) {
            _checkReceipt(leaseId, receiptCumulative, receiptSignature, terms.receiptKey);
        }

        LeaseMath.Split memory due = LeaseMath.split(lease.deposit, lease.claimed, amount, terms.builderBps);
        lease.claimed = due.claimed;
        _close(leaseId, lease);
        emit LeaseSettled(leaseId, due.toProvider, due.toBuilder, due.left);

        _pay(terms.token, terms.provider, due.toProvider);
        _pay(terms.token, terms.builder, due.toBuilder);
        _pay(terms.token, terms.renter, due.left);
    }

    /// @inheritdoc IEscrow
    function reclaim(Terms calldata terms) external override nonReentrant {
        if (msg.sender != terms.renter) revert CallerNotRenter(msg.sender, terms.renter);
        bytes32 leaseId = leaseIdOf(terms);
        Lease memory lease = _openLease(leaseId);
        uint256 end = uint256(lease.expiry) + terms.grace;
        if (block.timestamp <= end) revert ReclaimTooEarly(block.timestamp, end);

        uint96 refund = lease.deposit - lease.claimed;
        _close(leaseId, lease);
        emit LeaseReclaimed(leaseId, refund);

        _pay(terms.token, terms.renter, refund);
    }

    /// @inheritdoc IEscrow
    function withdraw(address token, address payee) external override nonReentrant {
        uint256 amount = _credits[token][payee];
        if (amount == 0) revert NothingCredited(token, payee);
        _credits[token][payee] = 0;
        emit Withdrawn(token, payee, amount);

        IERC20(token).safeTransfer(payee, amount);
    }

    // ----------------------------------------------------------------- views

    /// @inheritdoc IEscrow
    function leaseOf(bytes32 leaseId)
        external
        view
        override
        returns (uint96 deposit, uint96 claimed, uint40 expiry, Status status)
    {
        Lease memory lease = _leases[leaseId];
        return (lease.deposit, lease.claimed, lease.expiry, lease.status);
    }

    /// @inheritdoc IEscrow
    function leaseIdOf(Terms calldata terms) public view override returns (bytes32) {
        return LeaseHash.leaseId(terms, block.chainid, address(this));
    }

    /// @inheritdoc IEscrow
    function creditOf(address token, address payee) external view override returns (uint256) {
        return _credits[token][payee];
    }

    /// @inheritdoc IEscrow
    function receiptDigest(bytes32 leaseId, uint96 cumulative) public view override returns (bytes32) {
        return _hashTypedDataV4(LeaseHash.receipt(leaseId, cumulative));
    }

    // ---------------------------------------------------------------- within

    function _open(Terms calldata terms, uint96 deposit, uint40 expiry) private {
        if (msg.sender != terms.renter) revert CallerNotRenter(msg.sender, terms.renter);
        _checkTerms(terms);
        if (deposit == 0) revert AmountIsZero();
        if (expiry <= block.timestamp) revert ExpiryInPast(expiry, block.timestamp);
        _checkNotTooFar(expiry);
        bytes32 leaseId = leaseIdOf(terms);
        Status status = _leases[leaseId].status;
        if (status != Status.None) revert LeaseExists(leaseId, status);

        _leases[leaseId] = Lease({deposit: deposit, claimed: 0, expiry: expiry, status: Status.Open});
        emit LeaseOpened(
            leaseId,
            terms.renter,
            terms.provider,
            terms.token,
            deposit,
            expiry,
            terms.receiptKey,
            terms.providerSigner,
            terms.builder,
            terms.builderBps,
            terms.grace,
            terms.salt
        );

        _pull(terms.token, deposit);
    }

    function _topUp(Terms calldata terms, uint96 amount, uint40 newExpiry) private {
        bytes32 leaseId = leaseIdOf(terms);
        Lease memory lease = _openLease(leaseId);
        if (newExpiry != 0) {
            if (msg.sender != terms.renter) revert CallerNotRenter(msg.sender, terms.renter);
            if (newExpiry < lease.expiry) revert ExpiryShortened(newExpiry, lease.expiry);
            _checkNotTooFar(newExpiry);
            lease.expiry = newExpiry;
        } else if (amount == 0) {
            revert AmountIsZero();
        }
        uint256 deposit = uint256(lease.deposit) + amount;
        if (deposit > type(uint96).max) revert DepositTooLarge(deposit, type(uint96).max);

        // forge-lint: disable-next-line(unsafe-typecast) -- compared with the maximum just above
        lease.deposit = uint96(deposit);
        _leases[leaseId] = lease;
        emit LeaseToppedUp(leaseId, msg.sender, amount, lease.deposit, lease.expiry);

        if (amount != 0) _pull(terms.token, amount);
    }

    /// @dev The one place where a lease is closed.
    function _close(bytes32 leaseId, Lease memory lease) private {
        lease.status = Status.Closed;
        _leases[leaseId] = lease;
    }

    function _openLease(bytes32 leaseId) private view returns (Lease memory lease) {
        lease = _leases[leaseId];
        if (lease.status != Status.Open) revert LeaseNotOpen(leaseId, lease.status);
    }

    function _checkTerms(Terms calldata terms) private pure {
        if (terms.receiptKey == address(0) || terms.provider == address(0) || terms.providerSigner == address(0)) {
            revert PartyIsZero();
        }
        if (terms.builderBps > MAX_BUILDER_BPS) revert BuilderShareTooHigh(terms.builderBps, MAX_BUILDER_BPS);
        if (terms.builderBps != 0 && terms.builder == address(0)) revert BuilderIsZero(terms.builderBps);
        if (terms.grace > MAX_GRACE) revert GraceTooLong(terms.grace, MAX_GRACE);
    }

    function _checkNotTooFar(uint40 expiry) private view {
        uint256 latest = block.timestamp + MAX_EXPIRY_AHEAD;
        if (expiry > latest) revert ExpiryTooFar(expiry, latest);
    }

    function _checkReceipt(bytes32 leaseId, uint96 cumulative, bytes calldata signature, address receiptKey)
        private
        view
    {
        // The library refuses other lengths than 65, a high s and a zero signer, and then recovers zero.
        (address recovered,,) = ECDSA.tryRecoverCalldata(receiptDigest(leaseId, cumulative), signature);
        if (recovered != receiptKey) revert WrongReceiptSigner(recovered, receiptKey);
    }

    /// @dev A permit can be taken out of the mempool and used by anybody, so its failure says nothing.
    function _tryPermit(address token, uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) private {
        try IERC20Permit(token).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
    }

    /// @dev Takes `amount` from the caller and refuses a token that delivers any other amount.
    function _pull(address token, uint256 amount) private {
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        uint256 afterwards = IERC20(token).balanceOf(address(this));
        uint256 received = afterwards > before ? afterwards - before : 0;
        if (received != amount) revert DepositNotReceived(amount, received);
    }

    /// @dev Pays, or credits a payee that cannot be paid. The payment gets a fixed gas allowance, so that no
    /// payee can use up what the other payees need, and a failure counts only if all of that allowance was
    /// there, so that nobody can turn a payment into a credit by sending too little gas.
    function _pay(address token, address payee, uint256 amount) private {
        if (amount == 0) return;
        uint256 available = gasleft();
        if (_tryTransfer(token, payee, amount)) return;
        if (available < GAS_BEFORE_PAYMENT) revert PaymentGasTooLow(available, GAS_BEFORE_PAYMENT);

        _credits[token][payee] += amount;
        emit Credited(token, payee, amount);
    }

    /// @dev True if the token says, in the standard way or by saying nothing, that it transferred.
    function _tryTransfer(address token, address payee, uint256 amount) private returns (bool) {
        (bool success, bytes memory result) =
            token.call{gas: PAYMENT_GAS}(abi.encodeCall(IERC20.transfer, (payee, amount)));
        if (!success) return false;
        if (result.length == 0) return token.code.length != 0;
        // forge-lint: disable-next-line(unsafe-typecast) -- the first word is what is wanted
        return result.length >= 32 && uint256(bytes32(result)) == 1;
    }
}
