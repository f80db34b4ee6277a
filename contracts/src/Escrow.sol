// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {IEscrow} from "./interfaces/IEscrow.sol";
import {LeaseHash} from "./libraries/LeaseHash.sol";
import {LeaseMath} from "./libraries/LeaseMath.sol";
import {Lease, Status, Terms, packLease} from "./types/Lease.sol";
import {GAS_BEFORE_PAYMENT, MAX_BUILDER_BPS, MAX_EXPIRY_AHEAD, MAX_GRACE, PAYMENT_GAS} from "./types/Limits.sol";

/// @title Escrow
/// @notice See {IEscrow}.
/// @dev Owns the money and one storage word per lease. Everything fixed about a lease is in the preimage of its
/// id. No running total per token is kept: it would cost every call a storage write and guard nothing that the
/// per-lease words do not; the invariant tests sum the words instead.
///
/// Every call checks, then writes its word, then moves money, so a token or payee that calls back finds a
/// finished state. The one thing a callback could spoil is the balance that `_pull` measures; that is guarded.
contract Escrow is IEscrow, EIP712 {
    using SafeERC20 for IERC20;

    mapping(bytes32 leaseId => Lease) private _leases;
    mapping(address token => mapping(address payee => uint256)) private _credits;

    /// @dev Not zero while `_pull` measures a balance.
    uint256 private transient _pulling;

    constructor() EIP712("GPUX", "1") {}

    // ----------------------------------------------------------------- calls

    /// @inheritdoc IEscrow
    function open(Terms calldata terms, uint96 deposit, uint40 expiry) external override {
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
    ) external override {
        _tryPermit(terms.token, deposit, permitDeadline, v, r, s);
        _open(terms, deposit, expiry);
    }

    /// @inheritdoc IEscrow
    function topUp(Terms calldata terms, uint96 amount, uint40 newExpiry) external override {
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
    ) external override {
        _tryPermit(terms.token, amount, permitDeadline, v, r, s);
        _topUp(terms, amount, newExpiry);
    }

    /// @inheritdoc IEscrow
    function settle(Terms calldata terms, uint96 amount, uint96 receiptCumulative, bytes calldata receiptSignature)
        external
        override
    {
        address provider = terms.provider;
        if (msg.sender != provider && msg.sender != terms.providerSigner) {
            revert CallerNotProvider(msg.sender, provider, terms.providerSigner);
        }
        bytes32 leaseId = _leaseIdOfCall();
        Lease lease = _openLease(leaseId);
        if (amount > receiptCumulative) revert AmountAboveReceipt(amount, receiptCumulative);
        if (receiptCumulative != 0) _checkReceipt(leaseId, receiptCumulative, receiptSignature, terms.receiptKey);

        (uint96 claimed, uint96 paid, uint96 builderPaid, uint96 refund) =
            LeaseMath.split(lease.depositOf(), lease.claimedOf(), amount, terms.builderBps);
        _close(leaseId, lease, claimed);
        emit LeaseSettled(leaseId, paid, builderPaid, refund);

        address token = terms.token;
        if (paid != 0) _pay(token, provider, paid);
        if (builderPaid != 0) _pay(token, terms.builder, builderPaid);
        if (refund != 0) _pay(token, terms.renter, refund);
    }

    /// @inheritdoc IEscrow
    function reclaim(Terms calldata terms) external override {
        if (msg.sender != terms.renter) revert CallerNotRenter(msg.sender, terms.renter);
        bytes32 leaseId = _leaseIdOfCall();
        Lease lease = _openLease(leaseId);
        uint256 end = uint256(lease.expiryOf()) + terms.grace;
        if (block.timestamp <= end) revert ReclaimTooEarly(block.timestamp, end);

        uint96 refund = lease.depositOf() - lease.claimedOf();
        _close(leaseId, lease, lease.claimedOf());
        emit LeaseReclaimed(leaseId, refund);

        if (refund != 0) _pay(terms.token, msg.sender, refund);
    }

    /// @inheritdoc IEscrow
    function withdraw(address token, address payee) external override {
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
        Lease lease = _leases[leaseId];
        return (lease.depositOf(), lease.claimedOf(), lease.expiryOf(), lease.statusOf());
    }

    /// @inheritdoc IEscrow
    function leaseIdOf(Terms calldata terms) external view override returns (bytes32) {
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
        address provider = terms.provider;
        if (provider == address(0)) revert PartyIsZero();
        _checkTerms(terms);
        if (deposit == 0) revert AmountIsZero();
        if (expiry <= block.timestamp) revert ExpiryInPast(expiry, block.timestamp);
        _checkNotTooFar(expiry);
        bytes32 leaseId = _leaseIdOfCall();
        Lease lease = _leases[leaseId];
        if (!lease.isIn(Status.None)) revert LeaseExists(leaseId, lease.statusOf());

        _leases[leaseId] = packLease(deposit, 0, expiry, Status.Open);
        address token = terms.token;
        emit LeaseOpened(leaseId, msg.sender, provider, token, deposit, expiry);

        _pull(token, deposit);
    }

    function _topUp(Terms calldata terms, uint96 amount, uint40 newExpiry) private {
        bytes32 leaseId = _leaseIdOfCall();
        Lease lease = _openLease(leaseId);
        uint256 deposit;
        unchecked {
            deposit = uint256(lease.depositOf()) + amount; // two numbers of 96 bits
        }
        if (deposit > type(uint96).max) revert DepositTooLarge(deposit, type(uint96).max);
        uint40 expiry = lease.expiryOf();
        if (newExpiry != 0) {
            if (msg.sender != terms.renter) revert CallerNotRenter(msg.sender, terms.renter);
            if (newExpiry < expiry) revert ExpiryShortened(newExpiry, expiry);
            _checkNotTooFar(newExpiry);
            expiry = newExpiry;
        } else if (amount == 0) {
            revert AmountIsZero();
        }

        // forge-lint: disable-next-line(unsafe-typecast) -- compared with the maximum above
        _leases[leaseId] = packLease(uint96(deposit), lease.claimedOf(), expiry, Status.Open);
        // forge-lint: disable-next-line(unsafe-typecast) -- compared with the maximum above
        emit LeaseToppedUp(leaseId, msg.sender, amount, uint96(deposit), expiry);

        if (amount != 0) _pull(terms.token, amount);
    }

    /// @dev The one place where a lease is closed.
    function _close(bytes32 leaseId, Lease lease, uint96 claimed) private {
        _leases[leaseId] = packLease(lease.depositOf(), claimed, lease.expiryOf(), Status.Closed);
    }

    function _openLease(bytes32 leaseId) private view returns (Lease lease) {
        lease = _leases[leaseId];
        if (!lease.isIn(Status.Open)) revert LeaseNotOpen(leaseId, lease.statusOf());
    }

    /// @dev The id of the lease that the running call is about. Every call that names a lease takes its terms
    /// first, so that they are the nine words behind the selector: hashed in place they give what
    /// `LeaseHash.leaseId` does, for 500 gas less. Words with bits where their type has none give another id, but
    /// `_open` reads all of them and the decoder refuses such words, so no lease has an id of that kind.
    function _leaseIdOfCall() private view returns (bytes32) {
        return keccak256(abi.encodePacked(msg.data[4:292], block.chainid, uint256(uint160(address(this)))));
    }

    /// @dev With what `_open` reads itself, this reads every one of the terms.
    function _checkTerms(Terms calldata terms) private pure {
        if (terms.receiptKey == address(0) || terms.providerSigner == address(0)) {
            revert PartyIsZero();
        }
        uint16 builderBps = terms.builderBps;
        if (builderBps > MAX_BUILDER_BPS) revert BuilderShareTooHigh(builderBps, MAX_BUILDER_BPS);
        if (terms.builder == address(0) && builderBps != 0) revert BuilderIsZero(builderBps);
        uint32 grace = terms.grace;
        if (grace > MAX_GRACE) revert GraceTooLong(grace, MAX_GRACE);
    }

    function _checkNotTooFar(uint40 expiry) private view {
        uint256 latest;
        unchecked {
            latest = block.timestamp + MAX_EXPIRY_AHEAD; // block time has nowhere near 256 bits
        }
        if (expiry > latest) revert ExpiryTooFar(expiry, latest);
    }

    function _checkReceipt(bytes32 leaseId, uint96 cumulative, bytes calldata signature, address receiptKey)
        private
        view
    {
        // The library refuses lengths other than 65, a high s and a zero signer: it then recovers zero, which no
        // receipt key is.
        (address recovered,,) = ECDSA.tryRecoverCalldata(receiptDigest(leaseId, cumulative), signature);
        if (recovered != receiptKey) revert WrongReceiptSigner(recovered, receiptKey);
    }

    /// @dev A permit can be taken out of the mempool and used by anybody, so its failure says nothing.
    function _tryPermit(address token, uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) private {
        try IERC20Permit(token).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
    }

    /// @dev Takes `amount` from the caller and refuses a token that delivers any other amount. Refuses to run
    /// inside itself: a token that calls back could count one delivery for two leases.
    function _pull(address token, uint256 amount) private {
        if (_pulling != 0) revert PullReentered();
        _pulling = 1;
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        uint256 afterwards = IERC20(token).balanceOf(address(this));
        unchecked {
            // Wraps for a token that delivers less than nothing: refused like any other wrong amount.
            if (afterwards - before != amount) revert DepositNotReceived(amount, before, afterwards);
        }
        _pulling = 0;
    }

    /// @dev Pays, or credits a payee that cannot be paid. A payment gets a fixed allowance of gas, so that no
    /// payee can use up what the others need, and a failure counts only if all of that allowance was there, so
    /// that nobody can turn a payment into a credit by sending too little gas.
    function _pay(address token, address payee, uint256 amount) private {
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
