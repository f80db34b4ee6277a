// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Status, Terms} from "../types/Lease.sol";
import {ClaimLeg, CloseLeg, JobTerms, OpenLeg, TopUpLeg} from "../types/Legs.sol";

/// @title IEscrow
/// @notice Holds the deposit of each lease apart from every other, pays the provider what the renter's newest
/// receipt owes, and gives the rest back. It has no owner, no pause, no upgrade and no fee of its own.
///
/// Every call names a lease by its full `Terms`; the lease id is their hash. All amounts are in units of the
/// lease's token. Money leaves a lease only by `draw` and `settle` (the provider, at any time while it is open),
/// by `close` (the renter, with an amount that the provider signed) and by `reclaim` (the renter, once
/// `expiry + grace` has passed); all but `draw` close it for ever. So a provider can collect the highest receipt it
/// holds through `expiry + grace`, whatever anybody else does.
///
/// Each call exists for one lease and for many. Opening many is all or none. Every other call for many does what it
/// can: a leg that cannot be done is skipped, with a `LegSkipped` that names what the call for one lease would have
/// reverted with, and the other legs are done. What reverts such a call is: no legs, an encoding that is not canonical,
/// a payment that fails with too little gas, a caller that is not the renter of the job that it names, and, for
/// `topUpMany`, whatever else the caller itself got wrong. Payments of one call that have the same token and payee, and
/// follow each other, are made as one.
///
/// An exit never fails because a payee cannot be paid: a payment that fails with the 200,000 gas it is given is
/// credited to that payee instead, who takes it later by `withdraw`.
interface IEscrow {
    // ---------------------------------------------------------------- events

    /// @notice A lease was opened and its deposit received. The rest of its terms is in the call that opened it.
    event LeaseOpened(
        bytes32 indexed leaseId,
        address indexed renter,
        address indexed provider,
        address token,
        uint96 deposit,
        uint40 expiry
    );

    /// @notice Money was added to a lease, or its expiry was moved, or both.
    /// @param from Who paid.
    /// @param amount What was added.
    /// @param deposit The lease's new deposit.
    /// @param expiry The lease's new expiry.
    event LeaseToppedUp(bytes32 indexed leaseId, address from, uint96 amount, uint96 deposit, uint40 expiry);

    /// @notice The provider collected and the lease was closed. `paid + builderPaid + refund` is what the lease
    /// still held.
    /// @param paid What the provider got.
    /// @param builderPaid What the builder got.
    /// @param refund What the renter got back.
    event LeaseSettled(bytes32 indexed leaseId, uint96 paid, uint96 builderPaid, uint96 refund);

    /// @notice The provider collected and the lease stays open.
    /// @param paid What the provider got.
    /// @param builderPaid What the builder got.
    /// @param claimed All that was ever claimed of the lease.
    event LeaseDrawn(bytes32 indexed leaseId, uint96 paid, uint96 builderPaid, uint96 claimed);

    /// @notice The renter closed the lease with the provider's closing amount. `paid + builderPaid + refund` is what the
    /// lease still held.
    /// @param paid What the provider got.
    /// @param builderPaid What the builder got.
    /// @param refund What the renter got back.
    event LeaseClosed(bytes32 indexed leaseId, uint96 paid, uint96 builderPaid, uint96 refund);

    /// @notice One lease of a call for many was left as it was.
    /// @param reason The selector of the error with which the call for this lease alone would have reverted.
    event LegSkipped(bytes32 indexed leaseId, bytes4 reason);

    /// @notice The renter took back what was unclaimed after `expiry + grace`, and the lease was closed.
    event LeaseReclaimed(bytes32 indexed leaseId, uint96 refund);

    /// @notice A payee could not be paid and was credited.
    event Credited(address indexed token, address indexed payee, uint256 amount);

    /// @notice A payee was paid its credit.
    event Withdrawn(address indexed token, address indexed payee, uint256 amount);

    // ---------------------------------------------------------------- errors

    /// @notice Only the renter of the terms may do this.
    error CallerNotRenter(address caller, address renter);

    /// @notice Only the provider or its signer may do this.
    error CallerNotProvider(address caller, address provider, address providerSigner);

    /// @notice The provider, its signer or the receipt key is the zero address.
    error PartyIsZero();

    /// @notice The terms give a share to nobody.
    error BuilderIsZero(uint16 builderBps);

    /// @notice The builder's share is above the maximum.
    error BuilderShareTooHigh(uint16 builderBps, uint16 maximum);

    /// @notice The grace is longer than the maximum.
    error GraceTooLong(uint32 grace, uint32 maximum);

    /// @notice A lease with this id was opened before; ids are used once.
    error LeaseExists(bytes32 leaseId, Status status);

    /// @notice The lease is not open: it never was, or it is closed.
    error LeaseNotOpen(bytes32 leaseId, Status status);

    /// @notice The amount must not be zero.
    error AmountIsZero();

    /// @notice A lease cannot hold this much.
    error DepositTooLarge(uint256 deposit, uint256 maximum);

    /// @notice The token delivered another amount than it was asked to, such as one that takes a fee. The balances
    /// are this contract's, before and after.
    error DepositNotReceived(uint256 expected, uint256 balanceBefore, uint256 balanceAfter);

    /// @notice The expiry is not in the future.
    error ExpiryInPast(uint40 expiry, uint256 blockTime);

    /// @notice The expiry is too far in the future.
    error ExpiryTooFar(uint40 expiry, uint256 latest);

    /// @notice An expiry is never brought forward.
    error ExpiryShortened(uint40 expiry, uint40 current);

    /// @notice The provider claims more than the receipt owes.
    error AmountAboveReceipt(uint96 amount, uint96 receiptCumulative);

    /// @notice The receipt was not signed by the receipt key. `recovered` is zero when it is no signature.
    error WrongReceiptSigner(address recovered, address receiptKey);

    /// @notice The closing amount was not signed by the provider's signer. `recovered` is zero when it is no
    /// signature.
    error WrongClosingSigner(address recovered, address providerSigner);

    /// @notice There is nothing to draw: `amount`, bounded by the deposit, is not above what was claimed before.
    error NothingToDraw(uint96 amount, uint96 claimed, uint96 deposit);

    /// @notice A call for many leases needs at least one.
    error NoLegs();

    /// @notice The renter can reclaim only when the block time is later than `expiry + grace`.
    error ReclaimTooEarly(uint256 blockTime, uint256 expiryPlusGrace);

    /// @notice A payment failed that was not given enough gas to tell why; send the call again with more.
    error PaymentGasTooLow(uint256 available, uint256 required);

    /// @notice The token called back and asked for another deposit or top-up while one was being received.
    error PullReentered();

    /// @notice The payee has no credit in that token.
    error NothingCredited(address token, address payee);

    // ------------------------------------------------------------ calls: one

    /// @notice Opens a lease and pulls its deposit from the caller, who must be the renter and have approved it.
    /// @param terms The fixed words of the lease; their id must never have been used. The receipt key, the provider
    /// and its signer are not zero, the builder's share is at most 1,000 basis points and zero without a builder, and
    /// the grace is at most 30 days.
    /// @param deposit Units of the token to pull; not zero.
    /// @param expiry Block time in seconds; in the future, at most 90 days ahead.
    function open(Terms calldata terms, uint96 deposit, uint40 expiry) external;

    /// @notice The same as `open`, after an EIP-2612 permit over `deposit` from the caller to this contract. The
    /// permit is tried and never relied on: one that fails, or that somebody else has used before, leaves the
    /// standing allowance to decide.
    function openWithPermit(
        Terms calldata terms,
        uint96 deposit,
        uint40 expiry,
        uint256 permitDeadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// @notice Opens a lease for a renter that has signed an EIP-3009 authorisation for its deposit. Anybody may send it
    /// and nobody can change it: the authorisation is good for this escrow, this lease, this deposit and this expiry
    /// only, because its nonce is `keccak256(abi.encode(leaseId, deposit, expiry))`.
    /// @param validAfter Block time after which the authorisation is good; part of what was signed.
    /// @param validBefore Block time before which it is good; part of what was signed.
    /// @param signature The renter's signature over the token's `ReceiveWithAuthorization(address from,address to,uint256
    /// value,uint256 validAfter,uint256 validBefore,bytes32 nonce)`. 65 bytes (r, s, v) are passed on as `v, r, s`; any
    /// other length as bytes, to tokens that ask smart accounts (EIP-1271).
    function openWithAuthorization(
        Terms calldata terms,
        uint96 deposit,
        uint40 expiry,
        uint256 validAfter,
        uint256 validBefore,
        bytes calldata signature
    ) external;

    /// @notice Adds money to an open lease, pulled from the caller, and moves its expiry. Anybody may add money;
    /// whatever is not claimed goes to the renter. Only the renter may move the expiry, and only later.
    /// @param terms The fixed words of the lease.
    /// @param amount Units of the token to pull; may be zero only when the expiry is moved.
    /// @param newExpiry Block time in seconds, not before the present expiry and at most 90 days ahead; zero leaves
    /// it as it is.
    function topUp(Terms calldata terms, uint96 amount, uint40 newExpiry) external;

    /// @notice The same as `topUp`, after an EIP-2612 permit over `amount`, tried as in `openWithPermit`.
    function topUpWithPermit(
        Terms calldata terms,
        uint96 amount,
        uint40 newExpiry,
        uint256 permitDeadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// @notice Pays the provider and the builder what a receipt owes them so far; the lease stays open. The provider or
    /// its signer may call it at any time while the lease is open.
    /// @dev Pays as `settle` does. Reverts when that is nothing.
    /// @param terms The fixed words of the lease.
    /// @param amount What the provider claims over the lease's life so far; at most `receiptCumulative`.
    /// @param receiptCumulative What the receipt says is owed.
    /// @param r As for `settle`.
    /// @param vs As for `settle`.
    function draw(Terms calldata terms, uint96 amount, uint96 receiptCumulative, bytes32 r, bytes32 vs) external;

    /// @notice Pays the provider and the builder, refunds the renter and closes the lease. The provider or its
    /// signer may call it at any time while the lease is open, also after `expiry + grace` if the renter has not
    /// reclaimed.
    /// @dev Pays `min(amount, deposit)` less what was claimed before, of which the builder gets
    /// `floor(claimed * builderBps / 10000)` over the lease's life and the provider the rest.
    /// @param terms The fixed words of the lease.
    /// @param amount What the provider claims over the lease's life; at most `receiptCumulative`.
    /// @param receiptCumulative What the receipt says is owed.
    /// @param r The first word of the receipt key's signature over `Receipt(leaseId, receiptCumulative)`. Not looked at
    /// when `receiptCumulative` is zero.
    /// @param vs The second word of it, as EIP-2098 packs it: `s`, at most half of the group's order, and in the highest
    /// bit `v - 27`.
    function settle(Terms calldata terms, uint96 amount, uint96 receiptCumulative, bytes32 r, bytes32 vs) external;

    /// @notice Pays the provider and the builder the amount that the provider signed for, refunds the renter and closes
    /// the lease. Only the renter may call it, at any time while the lease is open.
    /// @dev Pays as `settle` does: `min(amount, deposit)` less what was claimed before, and nothing if that is more.
    /// @param terms The fixed words of the lease.
    /// @param amount The provider's closing amount: all that it claims over the lease's life.
    /// @param r With `vs` the provider signer's signature over `Closing(leaseId, amount)`, in the form that `settle` takes.
    /// @param vs See `r`.
    function close(Terms calldata terms, uint96 amount, bytes32 r, bytes32 vs) external;

    /// @notice Gives the renter all that was not claimed and closes the lease; only the renter, and only once the
    /// block time is later than `expiry + grace`.
    function reclaim(Terms calldata terms) external;

    /// @notice Pays a credited payee its whole credit in a token. Anybody may call it; only the payee is paid.
    function withdraw(address token, address payee) external;

    // ----------------------------------------------------------- calls: many

    /// @notice `open` for many leases of one job, all or none; the sum of the deposits is pulled once.
    function openMany(JobTerms calldata job, OpenLeg[] calldata legs) external;

    /// @notice The same, after a permit over the sum, tried as in `openWithPermit`.
    function openManyWithPermit(
        JobTerms calldata job,
        OpenLeg[] calldata legs,
        uint256 permitDeadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// @notice `openWithAuthorization` for many leases of one job, all or none. The authorisation is over the sum of the
    /// deposits; its nonce is the hash of three words for each leg in their order: `leaseId`, `deposit`, `expiry`.
    function openManyWithAuthorization(
        JobTerms calldata job,
        OpenLeg[] calldata legs,
        uint256 validAfter,
        uint256 validBefore,
        bytes calldata signature
    ) external;

    /// @notice `topUp` for many leases of one job. Leases that are not open are skipped, and only what the others get is
    /// pulled, at once. Whatever else `topUp` would refuse reverts: that does not change behind the caller's back.
    function topUpMany(JobTerms calldata job, TopUpLeg[] calldata legs) external;

    /// @notice The same, after a permit over the sum of all legs, skipped ones included, tried as in `openWithPermit`.
    /// What is left of it stays as an allowance, which only the caller itself can use here.
    function topUpManyWithPermit(
        JobTerms calldata job,
        TopUpLeg[] calldata legs,
        uint256 permitDeadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// @notice `close` for many leases of one job, each alone.
    function closeMany(JobTerms calldata job, CloseLeg[] calldata legs) external;

    /// @notice `draw` on many leases, each alone.
    function drawMany(ClaimLeg[] calldata legs) external;

    /// @notice `settle` for many leases, each alone.
    function settleMany(ClaimLeg[] calldata legs) external;

    /// @notice `reclaim` for many leases, each alone.
    function reclaimMany(Terms[] calldata legs) external;

    // ----------------------------------------------------------------- views

    /// @notice What is stored of a lease. The deposit and what was claimed stay readable after it is closed.
    function leaseOf(bytes32 leaseId)
        external
        view
        returns (uint96 deposit, uint96 claimed, uint40 expiry, Status status);

    /// @notice The id of the lease with these terms: `keccak256(abi.encode(terms, chainId, escrow))`.
    function leaseIdOf(Terms calldata terms) external view returns (bytes32);

    /// @notice What a payee can withdraw of a token.
    function creditOf(address token, address payee) external view returns (uint256);

    /// @notice The EIP-712 digest that the receipt key signs for a receipt.
    function receiptDigest(bytes32 leaseId, uint96 cumulative) external view returns (bytes32);

    /// @notice The EIP-712 digest that the provider's signer signs for a closing amount.
    function closingDigest(bytes32 leaseId, uint96 amount) external view returns (bytes32);
}
