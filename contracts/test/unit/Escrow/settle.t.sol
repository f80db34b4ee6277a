// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../../src/types/Lease.sol";
import {OddToken, TokenHook} from "../../tokens/OddToken.sol";
import {SilentToken} from "../../tokens/SilentToken.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";
import {Signature} from "../../utils/Signature.sol";

/// @dev A provider that uses the moment in which it is paid to make one more call to the escrow.
contract PaidHook is TokenHook {
    address private immutable ESCROW;
    bytes private _call;

    constructor(IEscrow escrow) {
        ESCROW = address(escrow);
    }

    function callWhenPaid(bytes calldata call) external {
        _call = call;
    }

    function run(bytes calldata call) external {
        _forward(call);
    }

    function tokenMoved(address, address to, uint256) external override {
        if (to == address(this) && _call.length != 0) _forward(_call);
    }

    function _forward(bytes memory call) private {
        (bool success, bytes memory why) = ESCROW.call(call);
        if (!success) {
            assembly ("memory-safe") {
                revert(add(why, 32), mload(why))
            }
        }
    }
}

contract SettleTest is EscrowTest {
    uint96 private constant EARNED = 30 ether;

    Terms private terms;
    bytes32 private leaseId;
    OddToken private odd;
    uint256 private renterBefore;

    function setUp() public override {
        super.setUp();
        odd = new OddToken();
        odd.mint(renter, 1000 ether);
        vm.prank(renter);
        odd.approve(address(escrow), type(uint256).max);
        terms = builderTerms();
        leaseId = open(terms);
        renterBefore = dai.balanceOf(renter);
    }

    function refuses(address caller, uint96 amount, uint96 cumulative, Signature memory signature, bytes memory why)
        private
    {
        expectRevert(why);
        vm.prank(caller);
        escrow.settle(terms, amount, cumulative, signature.r, signature.vs);
    }

    function settlement() private view returns (bytes memory) {
        Signature memory signature = signReceipt(terms, EARNED);
        return abi.encodeCall(IEscrow.settle, (terms, EARNED, EARNED, signature.r, signature.vs));
    }

    /// @dev The signature recovers some key that is not the receipt key: which one does not matter.
    function refusesSignature(Signature memory signature) private {
        vm.prank(provider);
        try escrow.settle(terms, EARNED, EARNED, signature.r, signature.vs) {
            assertTrue(false, "a wrong signature was accepted");
        } catch (bytes memory why) {
            assertTrue(bytes4(why) == IEscrow.WrongReceiptSigner.selector, "another error");
        }
        assertLease(leaseId, DEPOSIT, 0, expiry, Status.Open);
    }

    // ------------------------------------------------------------------- who

    function test_RevertWhen_TheCallerIsTheRenter() public {
        bytes memory why = abi.encodeWithSelector(IEscrow.CallerNotProvider.selector, renter, provider, providerSigner);
        refuses(renter, EARNED, EARNED, signReceipt(terms, EARNED), why);
    }

    function test_RevertWhen_TheCallerIsAStranger() public {
        bytes memory why =
            abi.encodeWithSelector(IEscrow.CallerNotProvider.selector, stranger, provider, providerSigner);
        refuses(stranger, EARNED, EARNED, signReceipt(terms, EARNED), why);
    }

    function test_WhenTheCallerIsTheProviderSigner() public {
        Signature memory signature = signReceipt(terms, EARNED);
        vm.prank(providerSigner);
        escrow.settle(terms, EARNED, EARNED, signature.r, signature.vs);
        assertBalance(provider, 28.5 ether, "the provider");
        assertBalance(providerSigner, 0, "the signer was paid");
    }

    // ------------------------------------------------------------------ when

    function refusesNotOpen(Status status) private {
        bytes32 id = escrow.leaseIdOf(terms);
        bytes memory why = abi.encodeWithSelector(IEscrow.LeaseNotOpen.selector, id, status);
        refuses(provider, EARNED, EARNED, signReceipt(terms, EARNED), why);
    }

    function test_RevertGiven_ThereIsNoLease() public {
        terms.salt = keccak256("never opened");
        refusesNotOpen(Status.None);
    }

    function test_RevertGiven_TheLeaseIsSettled() public {
        settle(terms, 1);
        refusesNotOpen(Status.Closed);
    }

    function test_RevertGiven_TheLeaseIsReclaimed() public {
        vm.warp(uint256(expiry) + GRACE + 1);
        vm.prank(renter);
        escrow.reclaim(terms);
        refusesNotOpen(Status.Closed);
    }

    function test_GivenTheLeaseIsPastItsExpiryAndGraceButNotReclaimed() public {
        vm.warp(uint256(expiry) + GRACE + 1000 days);
        settle(terms, EARNED);
        assertBalance(provider, 28.5 ether, "the provider");
    }

    // --------------------------------------------------------------- receipt

    function test_RevertWhen_TheAmountIsAboveTheReceipt() public {
        bytes memory why = abi.encodeWithSelector(IEscrow.AmountAboveReceipt.selector, EARNED + 1, EARNED);
        refuses(provider, EARNED + 1, EARNED, signReceipt(terms, EARNED), why);
    }

    function test_RevertWhen_AnAmountComesWithoutAReceipt() public {
        refuses(provider, 1, 0, Signature(0, 0), abi.encodeWithSelector(IEscrow.AmountAboveReceipt.selector, 1, 0));
    }

    function test_RevertWhen_TheSignatureIsByAnotherKey() public {
        bytes memory why = abi.encodeWithSelector(IEscrow.WrongReceiptSigner.selector, stranger, receiptKey);
        refuses(provider, EARNED, EARNED, signReceiptWith(STRANGER_KEY, terms, EARNED), why);
        why = abi.encodeWithSelector(IEscrow.WrongReceiptSigner.selector, renter, receiptKey);
        refuses(provider, EARNED, EARNED, signReceiptWith(RENTER_KEY, terms, EARNED), why);
    }

    function test_RevertWhen_TheSignatureIsOverAnotherAmount() public {
        refusesSignature(signReceipt(terms, EARNED - 1));
    }

    function test_RevertWhen_TheSignatureIsForAnotherLease() public {
        Terms memory other = terms;
        other.salt = keccak256("another");
        refusesSignature(signReceipt(other, EARNED));
    }

    function test_RevertWhen_TheSignatureIsForAnotherChain() public {
        // The same lease id under another chain's domain. (The optimizer takes the chain id for a constant, so the
        // number to come back to is written out.)
        vm.chainId(10);
        Signature memory signature = signCompact(RECEIPT_KEY, escrow.receiptDigest(leaseId, EARNED));
        vm.chainId(31_337);
        refusesSignature(signature);
    }

    function test_RevertWhen_TheSignatureIsForAnotherEscrow() public {
        // The same lease id under another escrow's domain.
        IEscrow other = IEscrow(deployed("Escrow"));
        refusesSignature(signCompact(RECEIPT_KEY, other.receiptDigest(leaseId, EARNED)));
    }

    function test_RevertWhen_TheSignatureHasAHighS() public {
        Signature memory high = signWith(HIGHEST_S + 1, RECEIPT_KEY, escrow.receiptDigest(leaseId, EARNED));
        bytes memory why = abi.encodeWithSelector(IEscrow.WrongReceiptSigner.selector, address(0), receiptKey);
        refuses(provider, EARNED, EARNED, high, why);
    }

    function test_WhenTheSignatureHasTheHighestSThereIs() public {
        Signature memory highest = signWith(HIGHEST_S, RECEIPT_KEY, escrow.receiptDigest(leaseId, EARNED));
        vm.prank(provider);
        escrow.settle(terms, EARNED, EARNED, highest.r, highest.vs);
        assertBalance(provider, 28.5 ether, "the provider");
    }

    function test_RevertWhen_TheSignatureHasTheOtherParity() public {
        Signature memory other = signReceipt(terms, EARNED);
        other.vs ^= bytes32(uint256(1) << 255);
        refusesSignature(other);
    }

    function test_RevertWhen_ThereIsNoSignature() public {
        bytes memory why = abi.encodeWithSelector(IEscrow.WrongReceiptSigner.selector, address(0), receiptKey);
        refuses(provider, EARNED, EARNED, Signature(0, 0), why);
        Signature memory good = signReceipt(terms, EARNED);
        refuses(provider, EARNED, EARNED, Signature(0, good.vs), why);
        refuses(provider, EARNED, EARNED, Signature(good.r, 0), why);
    }

    // --------------------------------------------------------------- amounts

    function test_WhenThereIsNoReceipt() public {
        vm.prank(provider);
        escrow.settle(terms, 0, 0, 0, 0);
        assertLease(leaseId, DEPOSIT, 0, expiry, Status.Closed);
        assertBalance(renter, renterBefore + DEPOSIT, "the renter");
    }

    function test_WhenAReceiptSaysMore() public {
        Signature memory signature = signReceipt(terms, EARNED);
        vm.prank(provider);
        escrow.settle(terms, 0, EARNED, signature.r, signature.vs);
        assertLease(leaseId, DEPOSIT, 0, expiry, Status.Closed);
        assertBalance(renter, renterBefore + DEPOSIT, "the renter");
    }

    function test_WhenLessThanTheReceiptIsClaimed() public {
        Signature memory signature = signReceipt(terms, EARNED);
        vm.prank(provider);
        escrow.settle(terms, EARNED - 10 ether, EARNED, signature.r, signature.vs);
        assertLease(leaseId, DEPOSIT, EARNED - 10 ether, expiry, Status.Closed);
        assertBalance(provider, 19 ether, "the provider");
    }

    function test_WhenTheReceiptIsAboveTheDeposit() public {
        settle(terms, DEPOSIT + 1);
        assertLease(leaseId, DEPOSIT, DEPOSIT, expiry, Status.Closed);
        assertBalance(provider, 95 ether, "the provider");
        assertBalance(builder, 5 ether, "the builder");
        assertBalance(renter, renterBefore, "the renter");
    }

    function test_WhenAllButOneUnitIsClaimed() public {
        settle(terms, DEPOSIT - 1);
        assertLease(leaseId, DEPOSIT, DEPOSIT - 1, expiry, Status.Closed);
        assertBalance(renter, renterBefore + 1, "the renter");
        assertBalance(address(escrow), 0, "the escrow kept something");
    }

    function test_GivenABuilderHasAShare() public {
        settle(terms, 30 ether + 19);
        assertBalance(builder, 1.5 ether, "the builder: 0.95 of a unit is rounded away");
        assertBalance(provider, 28.5 ether + 19, "the provider");
        assertBalance(renter, renterBefore + 70 ether - 19, "the renter");
    }

    function test_WhenAllIsWell() public {
        Signature memory signature = signReceipt(terms, EARNED);
        vm.expectEmit(address(escrow));
        emit IEscrow.LeaseSettled(leaseId, 28.5 ether, 1.5 ether, 70 ether);
        vm.prank(provider);
        escrow.settle(terms, EARNED, EARNED, signature.r, signature.vs);
        assertLease(leaseId, DEPOSIT, EARNED, expiry, Status.Closed);
        assertBalance(provider, 28.5 ether, "the provider");
        assertBalance(builder, 1.5 ether, "the builder");
        assertBalance(renter, renterBefore + 70 ether, "the renter");
        assertBalance(address(escrow), 0, "the escrow kept something");
    }

    // --------------------------------------------------- payees and the token

    /// @dev Goes on with a lease in the odd token.
    function useOddToken() private {
        terms.token = address(odd);
        leaseId = open(terms);
    }

    function assertOdd(uint256 toProvider, uint256 toBuilder, uint256 toRenter) private view {
        assertEq(odd.balanceOf(provider), toProvider, "the provider");
        assertEq(odd.balanceOf(builder), toBuilder, "the builder");
        assertEq(odd.balanceOf(renter), 900 ether + toRenter, "the renter");
        assertEq(escrow.creditOf(address(odd), provider), 28.5 ether - toProvider, "the provider's credit");
        assertEq(escrow.creditOf(address(odd), builder), 1.5 ether - toBuilder, "the builder's credit");
        assertEq(escrow.creditOf(address(odd), renter), 70 ether - toRenter, "the renter's credit");
        assertLease(leaseId, DEPOSIT, EARNED, expiry, Status.Closed);
    }

    function test_GivenTheProviderIsDenied() public {
        useOddToken();
        odd.deny(provider, OddToken.Denial.Revert);
        Signature memory signature = signReceipt(terms, EARNED);
        vm.expectEmit(address(escrow));
        emit IEscrow.Credited(address(odd), provider, 28.5 ether);
        vm.prank(provider);
        escrow.settle(terms, EARNED, EARNED, signature.r, signature.vs);
        assertOdd(0, 1.5 ether, 70 ether);
    }

    function test_GivenTheBuilderIsDenied() public {
        useOddToken();
        odd.deny(builder, OddToken.Denial.Revert);
        settle(terms, EARNED);
        assertOdd(28.5 ether, 0, 70 ether);
    }

    function test_GivenTheRenterIsDenied() public {
        useOddToken();
        odd.deny(renter, OddToken.Denial.Revert);
        settle(terms, EARNED);
        assertOdd(28.5 ether, 1.5 ether, 0);
    }

    function test_GivenTheTokenReturnsFalse() public {
        useOddToken();
        odd.deny(renter, OddToken.Denial.ReturnFalse);
        settle(terms, EARNED);
        assertOdd(28.5 ether, 1.5 ether, 0);
    }

    function test_GivenTheTokenReturnsNeitherTrueNorFalse() public {
        useOddToken();
        odd.deny(builder, OddToken.Denial.ReturnGarbage);
        settle(terms, EARNED);
        assertOdd(28.5 ether, 0, 70 ether);
    }

    function test_GivenAPayeeBurnsAllTheGasItGets() public {
        useOddToken();
        odd.deny(provider, OddToken.Denial.BurnAllGas);
        odd.deny(builder, OddToken.Denial.BurnAllGas);
        odd.deny(renter, OddToken.Denial.BurnAllGas);
        Signature memory signature = signReceipt(terms, EARNED);
        // Three payments of 200,000 gas each burnt, three credits, and the rest: one million is enough.
        vm.prank(provider);
        escrow.settle{gas: 1_000_000}(terms, EARNED, EARNED, signature.r, signature.vs);
        assertOdd(0, 0, 0);
    }

    function test_RevertGiven_APaymentFailsWithTooLittleGas() public {
        useOddToken();
        odd.deny(provider, OddToken.Denial.Revert);
        Signature memory signature = signReceipt(terms, EARNED);
        vm.prank(provider);
        try escrow.settle{gas: 200_000}(terms, EARNED, EARNED, signature.r, signature.vs) {
            assertTrue(false, "a payment that had too little gas was credited");
        } catch (bytes memory why) {
            assertTrue(bytes4(why) == IEscrow.PaymentGasTooLow.selector, "another error");
        }
    }

    /// @dev What is left before a payment that fails, as the escrow says it; nothing if it credited the payee.
    function leftAfterFailing(uint256 gasLimit, bytes memory call) private returns (uint256 available) {
        uint256 snapshot = vm.snapshotState();
        vm.prank(provider);
        (bool success, bytes memory why) = address(escrow).call{gas: gasLimit}(call);
        vm.revertToStateAndDelete(snapshot);
        if (success) return 0;
        uint256 wanted;
        assembly ("memory-safe") {
            available := mload(add(why, 36))
            wanted := mload(add(why, 68))
        }
        bytes memory expected = abi.encodeWithSelector(IEscrow.PaymentGasTooLow.selector, available, wanted);
        assertEq(keccak256(why), keccak256(expected), "another error");
        assertEq(wanted, 210_000, "what a payment needs");
    }

    function test_GivenAPaymentFailsWithJustEnoughGas() public {
        useOddToken();
        odd.deny(provider, OddToken.Denial.Revert);
        bytes memory call = settlement();
        uint256 available = leftAfterFailing(200_000, call);
        uint256 enough = 200_000 + 210_000 - available;
        assertEq(leftAfterFailing(enough - 1, call), 209_999, "one unit less");
        assertEq(leftAfterFailing(enough, call), 0, "just enough");
    }

    /// @dev With a token that can pay everybody, no gas limit makes the escrow credit anybody.
    function testFuzz_NoGasLimitTurnsAPaymentIntoACredit(uint256 gasLimit) public {
        useOddToken();
        Signature memory signature = signReceipt(terms, EARNED);
        gasLimit = bound(gasLimit, 30_000, 400_000);
        vm.cool(address(odd));
        vm.prank(provider);
        try escrow.settle{gas: gasLimit}(terms, EARNED, EARNED, signature.r, signature.vs) {
            assertOdd(28.5 ether, 1.5 ether, 70 ether);
        } catch {
            assertLease(leaseId, DEPOSIT, 0, expiry, Status.Open);
        }
    }

    /// @dev Nor with a token that pays only when it finds nearly all of the gas that a payment gets.
    function testFuzz_NoGasLimitTurnsADearPaymentIntoACredit(uint256 gasLimit) public {
        useOddToken();
        odd.deny(provider, OddToken.Denial.NeedAllGas);
        odd.deny(builder, OddToken.Denial.NeedAllGas);
        odd.deny(renter, OddToken.Denial.NeedAllGas);
        Signature memory signature = signReceipt(terms, EARNED);
        gasLimit = bound(gasLimit, 150_000, 800_000);
        vm.cool(address(odd));
        vm.prank(provider);
        try escrow.settle{gas: gasLimit}(terms, EARNED, EARNED, signature.r, signature.vs) {
            assertOdd(28.5 ether, 1.5 ether, 70 ether);
        } catch {
            assertLease(leaseId, DEPOSIT, 0, expiry, Status.Open);
        }
    }

    function test_GivenTheTokenSaysNothingOnTransfer() public {
        SilentToken silent = new SilentToken();
        silent.mint(renter, DEPOSIT);
        terms.token = address(silent);
        leaseId = open(terms);
        settle(terms, EARNED);
        assertEq(silent.balanceOf(provider), 28.5 ether, "the provider");
        assertEq(silent.balanceOf(builder), 1.5 ether, "the builder");
        assertEq(silent.balanceOf(renter), 70 ether, "the renter");
        assertEq(escrow.creditOf(address(silent), provider), 0, "what was paid is owed as well");
    }

    function hookedProvider() private returns (PaidHook hook) {
        hook = new PaidHook(escrow);
        odd.setHook(address(hook), hook);
        terms.provider = address(hook);
        terms.builder = address(0);
        terms.builderBps = 0;
        useOddToken();
    }

    function test_WhenItSettlesTheSameLeaseAgain() public {
        PaidHook hook = hookedProvider();
        bytes memory again = settlement();
        hook.callWhenPaid(again);
        hook.run(again);
        assertEq(odd.balanceOf(address(hook)), 0, "the payee was paid");
        assertEq(escrow.creditOf(address(odd), address(hook)), EARNED, "the payee's credit");
        assertEq(odd.balanceOf(address(escrow)), EARNED, "the escrow holds the credit and nothing else");
    }

    function test_WhenItOpensAnotherLease() public {
        PaidHook hook = hookedProvider();
        vm.prank(address(hook));
        odd.approve(address(escrow), type(uint256).max);
        Terms memory inner = terms;
        inner.renter = address(hook);
        bytes memory opening = abi.encodeCall(IEscrow.open, (inner, EARNED, expiry));
        hook.callWhenPaid(opening);
        hook.run(settlement());
        assertLease(escrow.leaseIdOf(inner), EARNED, 0, expiry, Status.Open);
        assertEq(odd.balanceOf(address(escrow)), EARNED, "the escrow holds the new deposit and nothing else");
    }

    /// @dev For any deposit, receipt, claim and share: every unit goes to one payee, and the shares are the formula's.
    function testFuzz_EveryUnitGoesToOnePayee(uint96 deposit, uint96 cumulative, uint96 amount, uint16 bps) public {
        deposit = uint96(bound(deposit, 1, 900_000 ether));
        cumulative = uint96(bound(cumulative, 1, type(uint96).max));
        amount = uint96(bound(amount, 0, cumulative));
        terms.builderBps = uint16(bound(bps, 0, 1000));
        terms.salt = keccak256("fuzz");
        vm.prank(renter);
        escrow.open(terms, deposit, expiry);
        uint256 before = dai.balanceOf(renter);
        Signature memory signature = signReceipt(terms, cumulative);
        vm.prank(provider);
        escrow.settle(terms, amount, cumulative, signature.r, signature.vs);

        uint256 claimed = amount < deposit ? amount : deposit;
        uint256 share = claimed * terms.builderBps / 10_000;
        assertBalance(builder, share, "the builder");
        assertBalance(provider, claimed - share, "the provider");
        assertBalance(renter, before + deposit - claimed, "the renter");
    }
}
