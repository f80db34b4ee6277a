// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../../src/types/Lease.sol";
import {ClaimLeg, OpenLeg} from "../../../src/types/Legs.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";
import {Signature} from "../../utils/Signature.sol";

contract DrawManyTest is EscrowTest {
    uint96 private constant EARNED = 30 ether;

    bytes32[3] private ids;

    function setUp() public override {
        super.setUp();
        ids = openThree();
    }

    function claims() private view returns (ClaimLeg[] memory legs) {
        legs = new ClaimLeg[](3);
        for (uint256 i = 0; i < 3; ++i) {
            legs[i] = claimLeg(termsOf(i), EARNED, EARNED);
        }
    }

    /// @dev All providers have one signer.
    function draw(ClaimLeg[] memory legs) private {
        vm.prank(providerSigner);
        escrow.drawMany(legs);
    }

    function assertDrawn(uint256 i, uint96 amount) private view {
        assertLease(ids[i], uint96(DEPOSIT * (i + 1)), amount, expiry + uint40(i), Status.Open);
        assertBalance(termsOf(i).provider, amount - amount / 20, "the provider");
    }

    /// @dev The second leg is skipped, the others are drawn on.
    function skips(ClaimLeg[] memory legs, bytes4 reason) private {
        expectSkipped(escrow.leaseIdOf(legs[1].terms), reason);
        draw(legs);
        assertDrawn(0, EARNED);
        assertDrawn(2, EARNED);
        assertBalance(builder, 3 ether, "the builder");
    }

    function test_RevertWhen_ThereAreNoLegs() public {
        expectRevert(abi.encodeWithSelector(IEscrow.NoLegs.selector));
        draw(new ClaimLeg[](0));
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
        assertDrawn(1, 0);
    }

    function test_WhenItsSignatureIsWrong() public {
        ClaimLeg[] memory legs = claims();
        legs[1].vs = bytes32(uint256(legs[1].vs) ^ 1);
        skips(legs, IEscrow.WrongReceiptSigner.selector);
        assertDrawn(1, 0);
    }

    function test_WhenNothingIsDueOnIt() public {
        ClaimLeg[] memory legs = claims();
        legs[1] = claimLeg(termsOf(1), 0, 0);
        skips(legs, IEscrow.NothingToDraw.selector);
        assertDrawn(1, 0);
    }

    function test_WhenALeaseIsNamedTwice() public {
        ClaimLeg[] memory legs = claims();
        legs[1] = legs[0];
        skips(legs, IEscrow.NothingToDraw.selector);
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
        draw(legs);
    }

    function test_WhenAllIsWell() public {
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectEmit(address(escrow));
            emit IEscrow.LeaseDrawn(ids[i], 28.5 ether, 1.5 ether, EARNED);
        }
        draw(claims());
        for (uint256 i = 0; i < 3; ++i) {
            assertDrawn(i, EARNED);
        }
        assertBalance(builder, 4.5 ether, "the builder");
    }
}
