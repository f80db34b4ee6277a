// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../../src/types/Lease.sol";
import {ClaimLeg, JobTerms, OpenLeg} from "../../../src/types/Legs.sol";
import {OddToken, TokenHook} from "../../tokens/OddToken.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";
import {Signature} from "../../utils/Signature.sol";

/// @dev A provider that, when it is paid, settles many leases again, and remembers what it had got by then.
contract SettlingHook is TokenHook {
    IEscrow private immutable ESCROW;
    OddToken private immutable TOKEN;
    bytes private _call;
    uint256 public heldInside;

    constructor(IEscrow escrow, OddToken token) {
        ESCROW = escrow;
        TOKEN = token;
    }

    function settle(ClaimLeg[] calldata legs) external {
        _call = abi.encodeCall(IEscrow.settleMany, (legs));
        ESCROW.settleMany(legs);
    }

    function tokenMoved(address, address to, uint256) external override {
        if (to != address(this)) return;
        (bool success,) = address(ESCROW).call(_call);
        require(success, "SettlingHook: refused");
        heldInside = TOKEN.balanceOf(address(this));
    }
}

contract SettleManyTest is EscrowTest {
    uint96 private constant EARNED = 30 ether;

    bytes32[3] private ids;
    uint256 private renterBefore;
    OddToken private odd;

    function setUp() public override {
        super.setUp();
        ids = openThree();
        renterBefore = dai.balanceOf(renter);
        odd = new OddToken();
        odd.mint(renter, 1000 ether);
        vm.prank(renter);
        odd.approve(address(escrow), type(uint256).max);
    }

    function claims() private view returns (ClaimLeg[] memory legs) {
        legs = new ClaimLeg[](3);
        for (uint256 i = 0; i < 3; ++i) {
            legs[i] = claimLeg(termsOf(i), EARNED, EARNED);
        }
    }

    function settle(ClaimLeg[] memory legs) private {
        vm.prank(providerSigner);
        escrow.settleMany(legs);
    }

    function assertSettled(uint256 i) private view {
        assertLease(ids[i], uint96(DEPOSIT * (i + 1)), EARNED, expiry + uint40(i), Status.Closed);
        assertBalance(termsOf(i).provider, 28.5 ether, "the provider");
    }

    function assertOpen(uint256 i) private view {
        assertLease(ids[i], uint96(DEPOSIT * (i + 1)), 0, expiry + uint40(i), Status.Open);
        assertBalance(termsOf(i).provider, 0, "the provider");
    }

    /// @dev The second leg is skipped, the others are settled.
    function skips(ClaimLeg[] memory legs, bytes4 reason) private {
        renterBefore = dai.balanceOf(renter);
        expectSkipped(escrow.leaseIdOf(legs[1].terms), reason);
        settle(legs);
        assertSettled(0);
        assertSettled(2);
        assertBalance(builder, 3 ether, "the builder");
        assertBalance(renter, renterBefore + 4 * DEPOSIT - 2 * EARNED, "the renter");
    }

    function test_RevertWhen_ThereAreNoLegs() public {
        expectRevert(abi.encodeWithSelector(IEscrow.NoLegs.selector));
        settle(new ClaimLeg[](0));
    }

    function test_GivenItsLeaseIsClosed() public {
        Signature memory signature = signClosing(termsOf(1), 0);
        vm.prank(renter);
        escrow.close(termsOf(1), 0, signature.r, signature.vs);
        skips(claims(), IEscrow.LeaseNotOpen.selector);
    }

    function test_WhenTheCallerIsNotItsProvider() public {
        Terms memory other = termsOf(7);
        other.providerSigner = stranger;
        open(other);
        ClaimLeg[] memory legs = claims();
        legs[1] = claimLeg(other, EARNED, EARNED);
        skips(legs, IEscrow.CallerNotProvider.selector);
        assertLease(escrow.leaseIdOf(other), DEPOSIT, 0, expiry, Status.Open);
    }

    function test_WhenItsAmountIsAboveItsReceipt() public {
        ClaimLeg[] memory legs = claims();
        legs[1].amount = EARNED + 1;
        skips(legs, IEscrow.AmountAboveReceipt.selector);
        assertOpen(1);
    }

    function test_WhenItsSignatureIsWrong() public {
        ClaimLeg[] memory legs = claims();
        legs[1].r = bytes32(uint256(legs[1].r) ^ 1);
        skips(legs, IEscrow.WrongReceiptSigner.selector);
        assertOpen(1);
    }

    function test_WhenItsSignatureHasAHighS() public {
        ClaimLeg[] memory legs = claims();
        Signature memory high = signWith(HIGHEST_S + 1, RECEIPT_KEY, escrow.receiptDigest(ids[1], EARNED));
        (legs[1].r, legs[1].vs) = (high.r, high.vs);
        skips(legs, IEscrow.WrongReceiptSigner.selector);
        assertOpen(1);
    }

    function test_WhenAllButOneUnitOfEveryLegIsClaimed() public {
        ClaimLeg[] memory legs = claims();
        for (uint256 i = 0; i < 3; ++i) {
            uint96 amount = uint96(DEPOSIT * (i + 1)) - 1;
            legs[i] = claimLeg(termsOf(i), amount, amount);
        }
        settle(legs);
        assertBalance(renter, renterBefore + 3, "the renter");
        assertBalance(address(escrow), 0, "the escrow kept something");
    }

    function test_WhenNoLegCanBeSettled() public {
        vm.prank(renter);
        escrow.settleMany(claims());
        assertOpen(0);
        assertOpen(1);
        assertOpen(2);
    }

    function test_WhenALegHasNoReceipt() public {
        ClaimLeg[] memory legs = claims();
        legs[1] = ClaimLeg({terms: termsOf(1), amount: 0, receiptCumulative: 0, r: 0, vs: 0});
        settle(legs);
        assertLease(ids[1], 2 * DEPOSIT, 0, expiry + 1, Status.Closed);
        assertBalance(renter, renterBefore + 6 * DEPOSIT - 2 * EARNED, "the renter");
    }

    function test_WhenALeaseIsNamedTwice() public {
        ClaimLeg[] memory legs = claims();
        legs[1] = legs[0];
        skips(legs, IEscrow.LeaseNotOpen.selector);
        assertOpen(1);
    }

    function test_GivenLeasesOfTwoTokensAndTwoRenters() public {
        fund(stranger, 1000 ether);
        Terms memory another = termsOf(7);
        another.renter = stranger;
        open(another);
        Terms memory odds = termsOf(8);
        odds.token = address(odd);
        open(odds);
        ClaimLeg[] memory legs = new ClaimLeg[](4);
        legs[0] = claimLeg(termsOf(0), EARNED, EARNED);
        legs[1] = claimLeg(another, EARNED, EARNED);
        legs[2] = claimLeg(odds, EARNED, EARNED);
        legs[3] = claimLeg(termsOf(2), EARNED, EARNED);
        settle(legs);
        assertSettled(0);
        assertSettled(2);
        assertBalance(stranger, 1000 ether - EARNED, "the other renter");
        assertBalance(renter, renterBefore + 4 * DEPOSIT - 2 * EARNED, "the renter");
        assertBalance(builder, 4.5 ether, "the builder");
        assertEq(odd.balanceOf(renter), 970 ether, "the renter, in the other token");
        assertEq(odd.balanceOf(another.provider), 0, "a provider, in the other token");
        assertEq(odd.balanceOf(odds.provider), 28.5 ether, "the provider, in the other token");
        assertEq(odd.balanceOf(builder), 1.5 ether, "the builder, in the other token");
    }

    function useOddToken() private returns (ClaimLeg[] memory legs) {
        OpenLeg[] memory opening = openLegs(3);
        legs = new ClaimLeg[](3);
        for (uint256 i = 0; i < 3; ++i) {
            Terms memory terms = termsOf(i);
            terms.token = address(odd);
            legs[i] = claimLeg(terms, EARNED, EARNED);
        }
        JobTerms memory odds = jobOf(legs[0].terms);
        vm.prank(renter);
        escrow.openMany(odds, opening);
    }

    function test_GivenOnePayeeIsDenied() public {
        ClaimLeg[] memory legs = useOddToken();
        odd.deny(legs[1].terms.provider, OddToken.Denial.Revert);
        odd.deny(renter, OddToken.Denial.ReturnFalse);
        settle(legs);
        assertEq(odd.balanceOf(legs[0].terms.provider), 28.5 ether, "the first provider");
        assertEq(escrow.creditOf(address(odd), legs[1].terms.provider), 28.5 ether, "the second provider's credit");
        assertEq(odd.balanceOf(legs[2].terms.provider), 28.5 ether, "the third provider");
        assertEq(odd.balanceOf(builder), 4.5 ether, "the builder");
        assertEq(escrow.creditOf(address(odd), renter), 510 ether, "the renter's credit");
    }

    function test_GivenPayeesBurnAllTheGasTheyGet() public {
        ClaimLeg[] memory legs = useOddToken();
        odd.deny(renter, OddToken.Denial.BurnAllGas);
        odd.deny(builder, OddToken.Denial.BurnAllGas);
        for (uint256 i = 0; i < 3; ++i) {
            odd.deny(legs[i].terms.provider, OddToken.Denial.BurnAllGas);
        }
        vm.prank(providerSigner);
        escrow.settleMany{gas: 1_950_000}(legs);
        assertEq(odd.balanceOf(address(escrow)), 6 * DEPOSIT, "the escrow");
        assertEq(escrow.creditOf(address(odd), renter), 510 ether, "the renter's credit");
    }

    function test_RevertGiven_APaymentFailsWithTooLittleGas() public {
        ClaimLeg[] memory legs = useOddToken();
        odd.deny(renter, OddToken.Denial.BurnAllGas);
        vm.prank(providerSigner);
        try escrow.settleMany{gas: 330_000}(legs) {
            assertTrue(false, "a payment that had too little gas was credited");
        } catch (bytes memory why) {
            assertTrue(bytes4(why) == IEscrow.PaymentGasTooLow.selector, "another error");
        }
    }

    function test_GivenTheReceiptKeyHasCode() public {
        vm.etch(receiptKey, abi.encodePacked(hex"ef0100", address(dai)));
        settle(claims());
        assertSettled(1);
    }

    /// @dev The words of all legs are written before the first payment that a leg behind it could still change.
    function test_GivenAPayeeCallsBackToSettleALaterLeg() public {
        SettlingHook hook = new SettlingHook(escrow, odd);
        odd.setHook(address(hook), hook);
        ClaimLeg[] memory legs = new ClaimLeg[](2);
        for (uint256 i = 0; i < 2; ++i) {
            Terms memory terms = termsOf(i);
            terms.token = address(odd);
            terms.provider = address(hook);
            open(terms);
            legs[i] = claimLeg(terms, EARNED, EARNED);
        }
        hook.settle(legs);
        assertEq(odd.balanceOf(address(hook)), 57 ether, "the provider");
        assertEq(hook.heldInside(), 57 ether, "what it had when it was called");
        assertEq(odd.balanceOf(address(escrow)), 0, "the escrow");
    }

    function test_WhenAllLegsHaveOneProvider() public {
        OpenLeg[] memory opening = openLegs(3);
        ClaimLeg[] memory legs = new ClaimLeg[](3);
        for (uint256 i = 0; i < 3; ++i) {
            Terms memory terms = termsOf(i);
            terms.provider = provider;
            opening[i].node = nodeOf(terms);
            legs[i] = claimLeg(terms, EARNED, EARNED);
        }
        vm.prank(renter);
        escrow.openMany(job(), opening);
        vm.expectCall(address(dai), abi.encodeCall(IERC20.transfer, (provider, 85.5 ether)), 1);
        vm.expectCall(address(dai), abi.encodeCall(IERC20.transfer, (builder, 4.5 ether)), 1);
        vm.expectCall(address(dai), abi.encodeCall(IERC20.transfer, (renter, 510 ether)), 1);
        settle(legs);
    }

    function test_WhenAllIsWell() public {
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectEmit(address(escrow));
            emit IEscrow.LeaseSettled(ids[i], 28.5 ether, 1.5 ether, uint96(DEPOSIT * (i + 1)) - EARNED);
        }
        vm.expectCall(address(dai), abi.encodeCall(IERC20.transfer, (renter, 510 ether)), 1);
        settle(claims());
        for (uint256 i = 0; i < 3; ++i) {
            assertSettled(i);
        }
        assertBalance(builder, 4.5 ether, "the builder");
        assertBalance(renter, renterBefore + 510 ether, "the renter");
        assertBalance(address(escrow), 0, "the escrow kept something");
    }
}
