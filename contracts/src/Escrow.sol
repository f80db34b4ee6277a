// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {IEscrow} from "./interfaces/IEscrow.sol";
import {IERC3009WithBytes} from "./interfaces/IERC3009WithBytes.sol";
import {LeaseHash} from "./libraries/LeaseHash.sol";
import {LeaseMath} from "./libraries/LeaseMath.sol";
import {Lease, Status, Terms, packLease} from "./types/Lease.sol";
import {ClaimLeg, CloseLeg, JobTerms, NodeTerms, OpenLeg, TopUpLeg} from "./types/Legs.sol";
import {GAS_BEFORE_PAYMENT, MAX_BUILDER_BPS, MAX_EXPIRY_AHEAD, MAX_GRACE, PAYMENT_GAS} from "./types/Limits.sol";

/// @title Escrow
/// @notice See {IEscrow}.
/// @dev Owns the money and one storage word per lease. Everything fixed about a lease is in the preimage of its
/// id. No running total per token is kept: it would cost every call a storage write and guard nothing that the
/// per-lease words do not; the invariant tests sum the words instead.
///
/// Longer than other files: whoever entrusts money to it reads one contract, top to bottom, and half of it is the same
/// calls for many leases.
///
/// Every call checks, then writes its words, then moves money, so a token or payee that calls back finds a
/// finished state. The one thing a callback could spoil is the balance that `measured` compares; that is guarded.
///
/// What a call does to one lease stands in one function, used by the call for one lease and by the call for many. Its
/// `alone` says which: alone, a lease on which it cannot be done reverts the call; among others it is skipped.
contract Escrow is IEscrow, EIP712 {
    using SafeERC20 for IERC20;

    /// @dev Payments of one call that have the same token and payee and follow each other, made at once.
    struct Payment {
        address token;
        address payee;
        uint256 amount;
    }

    /// @dev One running payment for each kind of payee that a lease has.
    struct Payments {
        Payment provider;
        Payment builder;
        Payment renter;
    }

    mapping(bytes32 leaseId => Lease) private _leases;
    mapping(address token => mapping(address payee => uint256)) private _credits;

    /// @dev Not zero while a deposit is being received.
    uint256 private transient _receiving;

    constructor() EIP712("GPUX", "1") {}

    /// @dev Refuses a token that delivers another amount than the call asks for. Refuses to run inside itself: a token
    /// that calls back could count one delivery for two leases.
    modifier measured(address token, uint256 amount) {
        if (_receiving != 0) revert PullReentered();
        _receiving = 1;
        uint256 before = IERC20(token).balanceOf(address(this));
        _;
        uint256 afterwards = IERC20(token).balanceOf(address(this));
        unchecked {
            // Wraps for a token that delivers less than nothing: refused like any other wrong amount.
            if (afterwards - before != amount) revert DepositNotReceived(amount, before, afterwards);
        }
        _receiving = 0;
    }

    // ------------------------------------------------------------ calls: one

    /// @inheritdoc IEscrow
    function open(Terms calldata terms, uint96 deposit, uint40 expiry) external override {
        _openAsRenter(terms, deposit, expiry);
        _pull(terms.token, deposit);
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
        _openAsRenter(terms, deposit, expiry);
        _tryPermit(terms.token, deposit, permitDeadline, v, r, s);
        _pull(terms.token, deposit);
    }

    /// @inheritdoc IEscrow
    function openWithAuthorization(
        Terms calldata terms,
        uint96 deposit,
        uint40 expiry,
        uint256 validAfter,
        uint256 validBefore,
        bytes calldata signature
    ) external override {
        address renter = terms.renter;
        bytes32 leaseId = _openOne(terms, renter, deposit, expiry);
        bytes32 nonce = LeaseHash.opening(leaseId, deposit, expiry);
        _pullAuthorized(terms.token, renter, deposit, validAfter, validBefore, nonce, signature);
    }

    /// @inheritdoc IEscrow
    function topUp(Terms calldata terms, uint96 amount, uint40 newExpiry) external override {
        _topUp(LeaseHash.idOfCalldata(terms), terms.renter, amount, newExpiry, true);
        if (amount != 0) _pull(terms.token, amount);
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
        _topUp(LeaseHash.idOfCalldata(terms), terms.renter, amount, newExpiry, true);
        _tryPermit(terms.token, amount, permitDeadline, v, r, s);
        if (amount != 0) _pull(terms.token, amount);
    }

    /// @inheritdoc IEscrow
    function draw(Terms calldata terms, uint96 amount, uint96 receiptCumulative, bytes32 r, bytes32 vs)
        external
        override
    {
        (bytes32 leaseId, Lease lease,) = _claimable(terms, amount, receiptCumulative, true);
        _checkReceipt(leaseId, receiptCumulative, r, vs, terms.receiptKey);
        (, uint96 paid, uint96 builderPaid) = _draw(leaseId, lease, amount, terms.builderBps, true);

        _payAll(terms, paid, builderPaid, 0);
    }

    /// @inheritdoc IEscrow
    function settle(Terms calldata terms, uint96 amount, uint96 receiptCumulative, bytes32 r, bytes32 vs)
        external
        override
    {
        (bytes32 leaseId, Lease lease,) = _claimable(terms, amount, receiptCumulative, true);
        _checkReceipt(leaseId, receiptCumulative, r, vs, terms.receiptKey);
        (uint96 paid, uint96 builderPaid, uint96 refund) = _divide(leaseId, lease, amount, terms.builderBps);
        emit LeaseSettled(leaseId, paid, builderPaid, refund);

        _payAll(terms, paid, builderPaid, refund);
    }

    /// @inheritdoc IEscrow
    function close(Terms calldata terms, uint96 amount, bytes32 r, bytes32 vs) external override {
        _checkRenter(terms.renter);
        bytes32 leaseId = LeaseHash.idOfCalldata(terms);
        (Lease lease,) = _openLease(leaseId, true);
        address wanted = terms.providerSigner;
        (address recovered,,) = ECDSA.tryRecover(closingDigest(leaseId, amount), r, vs);
        if (recovered != wanted) revert WrongClosingSigner(recovered, wanted);
        (uint96 paid, uint96 builderPaid, uint96 refund) = _divide(leaseId, lease, amount, terms.builderBps);
        emit LeaseClosed(leaseId, paid, builderPaid, refund);

        _payAll(terms, paid, builderPaid, refund);
    }

    /// @inheritdoc IEscrow
    function reclaim(Terms calldata terms) external override {
        (, uint96 refund) = _reclaim(terms, true);
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

    // ----------------------------------------------------------- calls: many

    /// @inheritdoc IEscrow
    function openMany(JobTerms calldata job, OpenLeg[] calldata legs) external override {
        _pull(job.token, _openManyAsRenter(job, legs));
    }

    /// @inheritdoc IEscrow
    function openManyWithPermit(
        JobTerms calldata job,
        OpenLeg[] calldata legs,
        uint256 permitDeadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external override {
        uint256 sum = _openManyAsRenter(job, legs);
        _tryPermit(job.token, sum, permitDeadline, v, r, s);
        _pull(job.token, sum);
    }

    /// @inheritdoc IEscrow
    function openManyWithAuthorization(
        JobTerms calldata job,
        OpenLeg[] calldata legs,
        uint256 validAfter,
        uint256 validBefore,
        bytes calldata signature
    ) external override {
        bytes32[] memory words = new bytes32[](legs.length * 3);
        uint256 sum = _openMany(job, legs, words);
        bytes32 nonce = LeaseHash.openings(words);
        _pullAuthorized(job.token, job.renter, sum, validAfter, validBefore, nonce, signature);
    }

    /// @inheritdoc IEscrow
    function topUpMany(JobTerms calldata job, TopUpLeg[] calldata legs) external override {
        (, uint256 live) = _topUpMany(job, legs);
        if (live != 0) _pull(job.token, live);
    }

    /// @inheritdoc IEscrow
    function topUpManyWithPermit(
        JobTerms calldata job,
        TopUpLeg[] calldata legs,
        uint256 permitDeadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external override {
        (uint256 sum, uint256 live) = _topUpMany(job, legs);
        _tryPermit(job.token, sum, permitDeadline, v, r, s);
        if (live != 0) _pull(job.token, live);
    }

    /// @inheritdoc IEscrow
    function drawMany(ClaimLeg[] calldata legs) external override {
        _checkLegs(legs.length);
        Payments memory due;
        for (uint256 i = 0; i < legs.length; ++i) {
            ClaimLeg calldata leg = legs[i];
            Terms calldata terms = leg.terms;
            (bytes32 leaseId, Lease lease, bool good) = _claimableByLeg(leg);
            if (!good) continue;
            (bool drawn, uint96 paid, uint96 builderPaid) = _draw(leaseId, lease, leg.amount, terms.builderBps, false);
            if (!drawn) continue;
            _addPayment(due.provider, terms.token, terms.provider, paid);
            _addPayment(due.builder, terms.token, terms.builder, builderPaid);
        }
        _payDue(due);
    }

    /// @inheritdoc IEscrow
    function settleMany(ClaimLeg[] calldata legs) external override {
        _checkLegs(legs.length);
        Payments memory due;
        for (uint256 i = 0; i < legs.length; ++i) {
            ClaimLeg calldata leg = legs[i];
            Terms calldata terms = leg.terms;
            (bytes32 leaseId, Lease lease, bool good) = _claimableByLeg(leg);
            if (!good) continue;
            (uint96 paid, uint96 builderPaid, uint96 refund) = _divide(leaseId, lease, leg.amount, terms.builderBps);
            emit LeaseSettled(leaseId, paid, builderPaid, refund);
            _addPayment(due.provider, terms.token, terms.provider, paid);
            _addPayment(due.builder, terms.token, terms.builder, builderPaid);
            _addPayment(due.renter, terms.token, terms.renter, refund);
        }
        _payDue(due);
    }

    /// @inheritdoc IEscrow
    function closeMany(JobTerms calldata job, CloseLeg[] calldata legs) external override {
        _checkLegs(legs.length);
        _checkRenter(job.renter);
        Terms memory terms = _termsOfJob(job);
        Payments memory due; // of one job only the providers differ
        due.builder = Payment(job.token, job.builder, 0);
        due.renter = Payment(job.token, msg.sender, 0);
        for (uint256 i = 0; i < legs.length; ++i) {
            CloseLeg calldata leg = legs[i];
            uint96 amount = leg.amount;
            bytes32 leaseId = _leaseIdOfNode(terms, leg.node);
            (Lease lease, bool good) = _openLease(leaseId, false);
            if (!good) continue;
            (address recovered,,) = ECDSA.tryRecover(closingDigest(leaseId, amount), leg.r, leg.vs);
            if (recovered != terms.providerSigner) {
                emit LegSkipped(leaseId, WrongClosingSigner.selector);
                continue;
            }
            (uint96 paid, uint96 builderPaid, uint96 refund) = _divide(leaseId, lease, amount, terms.builderBps);
            emit LeaseClosed(leaseId, paid, builderPaid, refund);
            _addPayment(due.provider, terms.token, terms.provider, paid);
            due.builder.amount += builderPaid;
            due.renter.amount += refund;
        }
        _payDue(due);
    }

    /// @inheritdoc IEscrow
    function reclaimMany(Terms[] calldata legs) external override {
        _checkLegs(legs.length);
        Payment memory due;
        for (uint256 i = 0; i < legs.length; ++i) {
            (bool good, uint96 refund) = _reclaim(legs[i], false);
            if (good) _addPayment(due, legs[i].token, msg.sender, refund);
        }
        _payOne(due);
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

    /// @inheritdoc IEscrow
    function closingDigest(bytes32 leaseId, uint96 amount) public view override returns (bytes32) {
        return _hashTypedDataV4(LeaseHash.closing(leaseId, amount));
    }

    // ------------------------------------------------------- within: deposits

    function _openAsRenter(Terms calldata terms, uint96 deposit, uint40 expiry) private {
        _checkRenter(terms.renter);
        _openOne(terms, msg.sender, deposit, expiry);
    }

    function _openOne(Terms calldata terms, address renter, uint96 deposit, uint40 expiry)
        private
        returns (bytes32 leaseId)
    {
        _checkJob(terms.receiptKey, terms.builder, terms.builderBps, terms.grace);
        leaseId = LeaseHash.idOfCalldata(terms);
        _open(leaseId, renter, terms.provider, terms.providerSigner, terms.token, deposit, expiry);
    }

    /// @dev Writes a lease whose deposit the caller of this function pulls next.
    function _open(
        bytes32 leaseId,
        address renter,
        address provider,
        address providerSigner,
        address token,
        uint96 deposit,
        uint40 expiry
    ) private {
        if (provider == address(0) || providerSigner == address(0)) revert PartyIsZero();
        if (deposit == 0) revert AmountIsZero();
        if (expiry <= block.timestamp) revert ExpiryInPast(expiry, block.timestamp);
        _checkNotTooFar(expiry);
        Lease lease = _leases[leaseId];
        if (!lease.isIn(Status.None)) revert LeaseExists(leaseId, lease.statusOf());

        _leases[leaseId] = packLease(deposit, 0, expiry, Status.Open);
        emit LeaseOpened(leaseId, renter, provider, token, deposit, expiry);
    }

    function _openManyAsRenter(JobTerms calldata job, OpenLeg[] calldata legs) private returns (uint256 sum) {
        _checkRenter(job.renter);
        return _openMany(job, legs, new bytes32[](0));
    }

    /// @dev Notes what was opened in `words`, three for each leg, where there is room.
    function _openMany(JobTerms calldata job, OpenLeg[] calldata legs, bytes32[] memory words)
        private
        returns (uint256 sum)
    {
        _checkLegs(legs.length);
        _checkJob(job.receiptKey, job.builder, job.builderBps, job.grace);
        Terms memory terms = _termsOfJob(job);
        for (uint256 i = 0; i < legs.length; ++i) {
            OpenLeg calldata leg = legs[i];
            (uint96 deposit, uint40 expiry) = (leg.deposit, leg.expiry);
            bytes32 leaseId = _leaseIdOfNode(terms, leg.node);
            _open(leaseId, terms.renter, terms.provider, terms.providerSigner, terms.token, deposit, expiry);
            sum += deposit;
            if (words.length != 0) {
                words[i * 3] = leaseId;
                words[i * 3 + 1] = bytes32(uint256(deposit));
                words[i * 3 + 2] = bytes32(uint256(expiry));
            }
        }
    }

    /// @dev False if the lease is not open and was skipped. Whatever else is wrong is the caller's own doing.
    function _topUp(bytes32 leaseId, address renter, uint96 amount, uint40 newExpiry, bool alone)
        private
        returns (bool)
    {
        (Lease lease, bool good) = _openLease(leaseId, alone);
        if (!good) return false;
        uint256 deposit;
        unchecked {
            deposit = uint256(lease.depositOf()) + amount; // two numbers of 96 bits
        }
        if (deposit > type(uint96).max) revert DepositTooLarge(deposit, type(uint96).max);
        uint40 expiry = lease.expiryOf();
        if (newExpiry != 0) {
            _checkRenter(renter);
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
        return true;
    }

    function _topUpMany(JobTerms calldata job, TopUpLeg[] calldata legs) private returns (uint256 sum, uint256 live) {
        _checkLegs(legs.length);
        Terms memory terms = _termsOfJob(job);
        for (uint256 i = 0; i < legs.length; ++i) {
            TopUpLeg calldata leg = legs[i];
            uint96 amount = leg.amount;
            sum += amount;
            if (_topUp(_leaseIdOfNode(terms, leg.node), terms.renter, amount, leg.newExpiry, false)) live += amount;
        }
    }

    /// @dev The terms of a job's leases, but for the words that `_leaseIdOfNode` fills in.
    function _termsOfJob(JobTerms calldata job) private pure returns (Terms memory terms) {
        terms.renter = job.renter;
        terms.receiptKey = job.receiptKey;
        terms.token = job.token;
        terms.builder = job.builder;
        terms.builderBps = job.builderBps;
        terms.grace = job.grace;
    }

    function _leaseIdOfNode(Terms memory terms, NodeTerms calldata node) private view returns (bytes32) {
        terms.provider = node.provider;
        terms.providerSigner = node.providerSigner;
        terms.salt = node.salt;
        return LeaseHash.idOfMemory(terms);
    }

    function _checkRenter(address renter) private view {
        if (msg.sender != renter) revert CallerNotRenter(msg.sender, renter);
    }

    function _checkLegs(uint256 count) private pure {
        if (count == 0) revert NoLegs();
    }

    function _checkJob(address receiptKey, address builder, uint16 builderBps, uint32 grace) private pure {
        if (receiptKey == address(0)) revert PartyIsZero();
        if (builderBps > MAX_BUILDER_BPS) revert BuilderShareTooHigh(builderBps, MAX_BUILDER_BPS);
        if (builder == address(0) && builderBps != 0) revert BuilderIsZero(builderBps);
        if (grace > MAX_GRACE) revert GraceTooLong(grace, MAX_GRACE);
    }

    function _checkNotTooFar(uint40 expiry) private view {
        uint256 latest;
        unchecked {
            latest = block.timestamp + MAX_EXPIRY_AHEAD; // block time has nowhere near 256 bits
        }
        if (expiry > latest) revert ExpiryTooFar(expiry, latest);
    }

    /// @dev The lease, if it is open; not `good` if it was skipped.
    function _openLease(bytes32 leaseId, bool alone) private returns (Lease lease, bool good) {
        lease = _leases[leaseId];
        good = lease.isIn(Status.Open);
        if (!good) {
            if (alone) revert LeaseNotOpen(leaseId, lease.statusOf());
            emit LegSkipped(leaseId, LeaseNotOpen.selector);
        }
    }

    // ---------------------------------------------------------- within: exits

    /// @dev The lease that the caller, its provider, claims `amount` of, if it may but for the receipt's signature.
    function _claimable(Terms calldata terms, uint96 amount, uint96 receiptCumulative, bool alone)
        private
        returns (bytes32 leaseId, Lease lease, bool good)
    {
        leaseId = LeaseHash.idOfCalldata(terms);
        if (msg.sender != terms.provider && msg.sender != terms.providerSigner) {
            if (alone) revert CallerNotProvider(msg.sender, terms.provider, terms.providerSigner);
            emit LegSkipped(leaseId, CallerNotProvider.selector);
            return (leaseId, lease, false);
        }
        (lease, good) = _openLease(leaseId, alone);
        if (good && amount > receiptCumulative) {
            if (alone) revert AmountAboveReceipt(amount, receiptCumulative);
            emit LegSkipped(leaseId, AmountAboveReceipt.selector);
            good = false;
        }
    }

    /// @dev The same, with the receipt's signature.
    function _claimableByLeg(ClaimLeg calldata leg) private returns (bytes32 leaseId, Lease lease, bool good) {
        uint96 cumulative = leg.receiptCumulative;
        (leaseId, lease, good) = _claimable(leg.terms, leg.amount, cumulative, false);
        if (good && cumulative != 0) {
            (address recovered,,) = ECDSA.tryRecover(receiptDigest(leaseId, cumulative), leg.r, leg.vs);
            if (recovered != leg.terms.receiptKey) {
                emit LegSkipped(leaseId, WrongReceiptSigner.selector);
                good = false;
            }
        }
    }

    /// @dev Does not look at a receipt over nothing: it claims nothing.
    function _checkReceipt(bytes32 leaseId, uint96 cumulative, bytes32 r, bytes32 vs, address receiptKey) private view {
        if (cumulative == 0) return;
        // Two words leave no room for another `v`, but for s up to 2^255: the library refuses what is above half of the
        // order, and a zero signer. It then recovers zero, which no receipt key is. It never looks whether the key has
        // code: one that does (EIP-7702) still signs as a key.
        (address recovered,,) = ECDSA.tryRecover(receiptDigest(leaseId, cumulative), r, vs);
        if (recovered != receiptKey) revert WrongReceiptSigner(recovered, receiptKey);
    }

    /// @dev Divides what an open lease holds once `amount` is claimed of it, and closes it.
    function _divide(bytes32 leaseId, Lease lease, uint96 amount, uint16 builderBps)
        private
        returns (uint96 paid, uint96 builderPaid, uint96 refund)
    {
        uint96 claimed;
        (claimed, paid, builderPaid, refund) = LeaseMath.split(lease.depositOf(), lease.claimedOf(), amount, builderBps);
        _close(leaseId, lease, claimed);
    }

    /// @dev The one place where a lease is closed.
    function _close(bytes32 leaseId, Lease lease, uint96 claimed) private {
        _leases[leaseId] = packLease(lease.depositOf(), claimed, lease.expiryOf(), Status.Closed);
    }

    function _draw(bytes32 leaseId, Lease lease, uint96 amount, uint16 builderBps, bool alone)
        private
        returns (bool good, uint96 paid, uint96 builderPaid)
    {
        uint96 claimed;
        (claimed, paid, builderPaid,) = LeaseMath.split(lease.depositOf(), lease.claimedOf(), amount, builderBps);
        if (claimed == lease.claimedOf()) {
            if (alone) revert NothingToDraw(amount, claimed, lease.depositOf());
            emit LegSkipped(leaseId, NothingToDraw.selector);
            return (false, 0, 0);
        }
        _leases[leaseId] = packLease(lease.depositOf(), claimed, lease.expiryOf(), Status.Open);
        emit LeaseDrawn(leaseId, paid, builderPaid, claimed);
        good = true;
    }

    function _reclaim(Terms calldata terms, bool alone) private returns (bool good, uint96 refund) {
        bytes32 leaseId = LeaseHash.idOfCalldata(terms);
        if (msg.sender != terms.renter) {
            if (alone) revert CallerNotRenter(msg.sender, terms.renter);
            emit LegSkipped(leaseId, CallerNotRenter.selector);
            return (false, 0);
        }
        Lease lease;
        (lease, good) = _openLease(leaseId, alone);
        if (!good) return (false, 0);
        uint256 end = uint256(lease.expiryOf()) + terms.grace;
        if (block.timestamp <= end) {
            if (alone) revert ReclaimTooEarly(block.timestamp, end);
            emit LegSkipped(leaseId, ReclaimTooEarly.selector);
            return (false, 0);
        }
        refund = lease.depositOf() - lease.claimedOf();
        _close(leaseId, lease, lease.claimedOf());
        emit LeaseReclaimed(leaseId, refund);
    }

    // ---------------------------------------------------------- within: money

    /// @dev A permit can be taken out of the mempool and used by anybody, so its failure says nothing.
    function _tryPermit(address token, uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) private {
        try IERC20Permit(token).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
    }

    /// @dev Takes money from the caller, and from nobody else.
    function _pull(address token, uint256 amount) private measured(token, amount) {
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @dev Takes money that the renter has signed for. A signature of 65 bytes goes in the form that every token of
    /// this kind knows, any other length in the form of those that ask smart accounts.
    function _pullAuthorized(
        address token,
        address renter,
        uint256 amount,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) private measured(token, amount) {
        if (signature.length == 65) {
            IERC3009(token)
                .receiveWithAuthorization(
                    renter,
                    address(this),
                    amount,
                    validAfter,
                    validBefore,
                    nonce,
                    uint8(signature[64]),
                    bytes32(signature[:32]),
                    bytes32(signature[32:64])
                );
        } else {
            IERC3009WithBytes(token)
                .receiveWithAuthorization(renter, address(this), amount, validAfter, validBefore, nonce, signature);
        }
    }

    function _payAll(Terms calldata terms, uint96 paid, uint96 builderPaid, uint96 refund) private {
        address token = terms.token;
        if (paid != 0) _pay(token, terms.provider, paid);
        if (builderPaid != 0) _pay(token, terms.builder, builderPaid);
        if (refund != 0) _pay(token, terms.renter, refund);
    }

    /// @dev Adds to the running payment, after making it if it was to somebody else or in another token.
    function _addPayment(Payment memory due, address token, address payee, uint256 amount) private {
        if (amount == 0) return;
        if (due.payee != payee || due.token != token) {
            _payOne(due);
            (due.token, due.payee, due.amount) = (token, payee, amount);
        } else {
            due.amount += amount;
        }
    }

    function _payDue(Payments memory due) private {
        _payOne(due.provider);
        _payOne(due.builder);
        _payOne(due.renter);
    }

    function _payOne(Payment memory due) private {
        if (due.amount != 0) _pay(due.token, due.payee, due.amount);
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

    /// @dev True if the token says, in the standard way or by saying nothing, that it transferred. Takes one word of
    /// what it says, however much that is: a copy of all of it would cost gas that no allowance bounds.
    function _tryTransfer(address token, address payee, uint256 amount) private returns (bool paid) {
        bytes4 selector = IERC20.transfer.selector;
        assembly ("memory-safe") {
            let arguments := mload(0x40)
            mstore(arguments, selector)
            mstore(add(arguments, 4), shr(96, shl(96, payee)))
            mstore(add(arguments, 36), amount)
            paid := call(PAYMENT_GAS, token, 0, arguments, 68, 0, 32)
            if paid {
                switch returndatasize()
                case 0 { paid := iszero(iszero(extcodesize(token))) }
                default { paid := and(gt(returndatasize(), 31), eq(mload(0), 1)) }
            }
        }
    }
}
