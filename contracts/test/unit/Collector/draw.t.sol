// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ICollector} from "../../../src/interfaces/ICollector.sol";
import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Handover} from "../../../src/types/Handover.sol";
import {Status, Terms} from "../../../src/types/Lease.sol";
import {OddToken, TokenHook} from "../../tokens/OddToken.sol";
import {SilentToken} from "../../tokens/SilentToken.sol";
import {CollectorTest} from "../../utils/CollectorTest.sol";
import {Signature} from "../../utils/Signature.sol";

/// @dev A payee that uses the moment in which it is paid to call somebody.
contract CallingPayee is TokenHook {
    address private _target;
    bytes private _call;

    function callWhenPaid(address target, bytes calldata call) external {
        (_target, _call) = (target, call);
    }

    function tokenMoved(address, address to, uint256) external override {
        if (to != address(this)) return;
        (bool success,) = _target.call(_call);
        require(success, "CallingPayee: refused");
    }
}

contract CollectorDrawTest is CollectorTest {
    function refuses(Terms memory which, Handover memory words, bytes memory why) private {
        vm.warp(notBefore);
        expectRevert(why);
        vm.prank(tower);
        collector.draw(which, words);
    }

    /// @dev The signature recovers some key that is not the signer: which one does not matter.
    function refusesSigner(Handover memory words) private {
        vm.warp(notBefore);
        try collector.draw(terms, words) {
            assertTrue(false, "a wrong signature was accepted");
        } catch (bytes memory why) {
            assertTrue(bytes4(why) == ICollector.WrongSigner.selector, "another error");
        }
    }

    function closed() private view returns (bytes memory) {
        return abi.encodeWithSelector(IEscrow.LeaseNotOpen.selector, leaseId, Status.Closed);
    }

    function nothing(uint96 amount, uint96 claimed) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IEscrow.NothingToDraw.selector, amount, claimed, DEPOSIT);
    }

    // ---------------------------------------------------------- time and keys

    function test_RevertWhen_ItIsOneSecondTooEarly() public {
        Handover memory words = handover(EARNED);
        vm.warp(notBefore - 1);
        expectRevert(abi.encodeWithSelector(ICollector.TooEarly.selector, notBefore - 1, notBefore));
        collector.draw(terms, words);
    }

    function test_RevertWhen_TheHandoverIsSignedByAnotherKey() public {
        Handover memory words = handover(EARNED);
        words = handoverOf(collector, terms, words, RECEIPT_KEY, STRANGER_KEY);
        refuses(terms, words, abi.encodeWithSelector(ICollector.WrongSigner.selector, stranger, providerSigner));
    }

    function test_RevertWhen_AWordOfTheHandoverWasChanged() public {
        Handover memory words = handover(EARNED);
        words.amount -= 1;
        refusesSigner(words);
        words = handover(EARNED);
        words.notBefore -= 1;
        refusesSigner(words);
        words = handover(EARNED);
        words.reward += 1;
        refusesSigner(words);
    }

    function test_RevertWhen_TheHandoverIsForAnotherLease() public {
        Handover memory words = handover(EARNED);
        terms.salt = keccak256("another quote");
        open(terms);
        refusesSigner(words);
    }

    function test_RevertWhen_TheHandoverIsForAnotherCollector() public {
        Handover memory words = handover(EARNED);
        collector = ICollector(deployed("Collector", abi.encode(address(escrow), vm.addr(SIGNER_KEY), payout)));
        refusesSigner(words);
    }

    function test_RevertWhen_TheHandoverIsForAnotherChain() public {
        Handover memory words = handover(EARNED);
        vm.chainId(block.chainid + 1);
        refusesSigner(words);
    }

    function test_RevertWhen_TheSignatureFitsNoKey() public {
        Handover memory words = handover(EARNED);
        (words.r, words.vs) = (0, 0);
        refuses(terms, words, abi.encodeWithSelector(ICollector.WrongSigner.selector, address(0), providerSigner));
    }

    // -------------------------------------------------------------- the escrow

    function test_RevertWhen_TheReceiptIsSignedByAnotherKey() public {
        Handover memory words = handoverOf(collector, terms, handover(EARNED), STRANGER_KEY, SIGNER_KEY);
        refuses(terms, words, abi.encodeWithSelector(IEscrow.WrongReceiptSigner.selector, stranger, receiptKey));
    }

    function test_RevertWhen_TheAmountIsAboveTheReceipt() public {
        Handover memory words = handover(EARNED);
        words.receiptCumulative -= 1;
        words = handoverOf(collector, terms, words, RECEIPT_KEY, SIGNER_KEY);
        refuses(terms, words, abi.encodeWithSelector(IEscrow.AmountAboveReceipt.selector, EARNED, EARNED - 1));
    }

    function test_RevertGiven_TheTermsNameAnotherProvider() public {
        provider = stranger;
        terms = plainTerms();
        open(terms);
        bytes memory why =
            abi.encodeWithSelector(IEscrow.CallerNotProvider.selector, address(collector), stranger, providerSigner);
        refuses(terms, handover(EARNED), why);
    }

    function test_RevertGiven_TheProviderHasSettled() public {
        settle(terms, EARNED);
        refuses(terms, handover(EARNED), closed());
    }

    function test_RevertGiven_TheRenterHasReclaimed() public {
        Handover memory words = handover(EARNED);
        notBefore = uint40(uint256(expiry) + GRACE + 1);
        vm.warp(notBefore);
        vm.prank(renter);
        escrow.reclaim(terms);
        refuses(terms, words, closed());
    }

    function test_RevertWhen_ItIsUsedTwice() public {
        use(handover(EARNED));
        refuses(terms, handover(EARNED), nothing(EARNED, EARNED));
    }

    function test_RevertGiven_ANewerOneWasUsed() public {
        use(handover(EARNED));
        refuses(terms, handover(EARNED / 2), nothing(EARNED / 2, EARNED));
    }

    function test_GivenAnOlderOneWasUsed() public {
        use(handover(EARNED / 3));
        assertLease(leaseId, DEPOSIT, EARNED / 3, expiry, Status.Open);
        use(handover(EARNED));
        assertBalance(tower, 2 * REWARD, "each brought its reward");
        assertBalance(payout, EARNED - 2 * REWARD, "nothing is stranded");
    }

    function test_GivenTheRenterHasMovedTheExpiry() public {
        Handover memory words = handover(EARNED);
        vm.prank(renter);
        escrow.topUp(terms, 0, expiry + 60 days);
        use(words);
        assertBalance(payout, EARNED - REWARD, "the renter cannot put it off");
    }

    function test_GivenTheProviderHasDrawnBefore() public {
        Signature memory receipt = signReceipt(terms, EARNED / 3);
        vm.prank(providerSigner);
        escrow.draw(terms, EARNED / 3, EARNED / 3, receipt.r, receipt.vs);
        use(handover(EARNED));
        assertBalance(tower, REWARD, "the reward");
        assertBalance(payout, EARNED - REWARD, "with what lay here");
    }

    function test_GivenTheDepositIsLessThanWasEarned() public {
        use(handover(2 * DEPOSIT));
        assertBalance(payout, DEPOSIT - REWARD, "the deposit");
    }

    // -------------------------------------------------------------- the money

    function test_WhenTheRewardIsAboveAHundredthOfWhatComesIn() public {
        use(handover(199, REWARD));
        assertBalance(tower, 1, "a hundredth of 199, rounded down");
        assertBalance(payout, 198, "the rest");
    }

    function test_WhenThereIsNoReward() public {
        use(handover(EARNED, 0));
        assertBalance(tower, 0, "the caller");
        assertBalance(payout, EARNED, "all");
    }

    function test_WhenASingleUnitComesIn() public {
        use(handover(1, REWARD));
        assertBalance(tower, 0, "less than a hundredth of it is nothing");
        assertBalance(payout, 1, "the unit");
    }

    function test_GivenABuilderHasAShare() public {
        terms = builderTerms();
        leaseId = open(terms);
        use(handover(1000, REWARD));
        assertBalance(builder, 50, "the builder");
        assertBalance(tower, 9, "a hundredth of 950, rounded down");
        assertBalance(payout, 941, "the rest");
    }

    function test_GivenMoneyLayHereBefore() public {
        dai.mint(address(collector), 1 ether);
        use(handover(1000, REWARD));
        assertBalance(tower, 10, "a hundredth of what came in");
        assertBalance(payout, 1 ether + 990, "everything else");
        assertBalance(address(collector), 0, "nothing stays");
    }

    function test_GivenTheTokenSaysNothingOnTransfer() public {
        SilentToken silent = new SilentToken();
        silent.mint(renter, DEPOSIT);
        terms.token = address(silent);
        leaseId = open(terms);
        use(handover(EARNED));
        assertEq(silent.balanceOf(tower), REWARD, "the reward");
        assertEq(silent.balanceOf(payout), EARNED - REWARD, "the rest");
    }

    function test_GivenThePayoutAddressCannotBePaid() public {
        openOdd();
        for (uint256 how = 1; how < 8; ++how) {
            uint256 snapshot = vm.snapshotState();
            odd.deny(payout, OddToken.Denial(how));
            vm.warp(notBefore);
            Handover memory words = handover(EARNED);
            vm.prank(tower);
            collector.draw{gas: 3_000_000}(terms, words);
            bool paid = OddToken.Denial(how) == OddToken.Denial.NeedAllGas;
            assertOdd(tower, REWARD, "the reward");
            assertOdd(payout, paid ? EARNED - REWARD : 0, "the payout address");
            assertOdd(address(collector), paid ? 0 : EARNED - REWARD, "here");
            odd.deny(payout, OddToken.Denial.None);
            if (!paid) collector.sweep(address(odd));
            assertOdd(payout, EARNED - REWARD, "later");
            vm.revertToStateAndDelete(snapshot);
        }
    }

    function test_RevertGiven_TheCallerCannotBePaid() public {
        openOdd();
        odd.deny(tower, OddToken.Denial.Revert);
        refuses(terms, handover(EARNED), abi.encodeWithSelector(OddToken.Denied.selector, tower));
        use(handover(EARNED, 0));
        assertOdd(payout, EARNED, "without a reward it can");
    }

    function test_GivenTheEscrowCannotPayTheCollector() public {
        openOdd();
        odd.deny(address(collector), OddToken.Denial.Revert);
        use(handover(EARNED));
        assertOdd(tower, 0, "nothing came in");
        assertEq(escrow.creditOf(address(odd), address(collector)), EARNED, "the credit");
        odd.deny(address(collector), OddToken.Denial.None);
        escrow.withdraw(address(odd), address(collector));
        collector.sweep(address(odd));
        assertOdd(payout, EARNED, "all of it");
    }

    // --------------------------------------------------------------- callbacks

    function callsBack(bytes memory call) private {
        CallingPayee payee = new CallingPayee();
        builder = address(payee);
        terms = builderTerms();
        openOdd();
        odd.mint(address(collector), 1 ether);
        odd.setHook(builder, payee);
        payee.callWhenPaid(address(collector), call);
        use(handover(1000, REWARD));
        assertEq(escrow.creditOf(address(odd), builder), 50, "its payment failed");
        assertOdd(tower, 9, "a hundredth of 950");
        assertOdd(payout, 1 ether + 941, "everything else");
    }

    function test_WhenItSweepsInTheMiddle() public {
        callsBack(abi.encodeCall(ICollector.sweep, (address(odd))));
    }

    function test_WhenItDrawsInTheMiddle() public {
        callsBack(abi.encodeCall(ICollector.draw, (terms, handover(EARNED))));
    }

    // -------------------------------------------------------------- all is well

    function test_WhenAllIsWell() public {
        Handover memory words = handover(EARNED);
        vm.warp(notBefore);
        vm.expectEmit(address(collector));
        emit ICollector.Collected(leaseId, tower, EARNED, REWARD);
        vm.expectEmit(address(collector));
        emit ICollector.Swept(address(dai), EARNED - REWARD);
        vm.prank(tower);
        collector.draw(terms, words);
        assertBalance(tower, REWARD, "the reward");
        assertBalance(payout, EARNED - REWARD, "the payout address");
        assertBalance(address(collector), 0, "nothing stays");
        assertLease(leaseId, DEPOSIT, EARNED, expiry, Status.Open);

        uint256 before = dai.balanceOf(renter);
        vm.warp(uint256(expiry) + GRACE + 1);
        vm.prank(renter);
        escrow.reclaim(terms);
        assertBalance(renter, before + DEPOSIT - EARNED, "the refund");
    }

    function testFuzz_EveryUnitGoesToTheCallerOrThePayout(uint96 amount, uint96 reward, uint96 here, uint40 early)
        public
    {
        amount = uint96(bound(amount, 1, type(uint96).max));
        dai.mint(address(collector), here);
        uint256 came = amount < DEPOSIT ? amount : DEPOSIT;
        use(handover(amount, reward));
        uint256 most = came / 100;
        assertBalance(tower, reward < most ? reward : most, "the caller");
        assertBalance(payout, here + came - dai.balanceOf(tower), "the payout address");

        Handover memory words = handover(amount, reward);
        early = uint40(bound(early, 0, notBefore - 1));
        vm.warp(early);
        expectRevert(abi.encodeWithSelector(ICollector.TooEarly.selector, early, notBefore));
        collector.draw(terms, words);
    }
}
