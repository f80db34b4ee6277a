// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../../src/types/Lease.sol";
import {CloseLeg, JobTerms, OpenLeg} from "../../../src/types/Legs.sol";
import {OddToken} from "../../tokens/OddToken.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";
import {Signature} from "../../utils/Signature.sol";

contract CloseManyTest is EscrowTest {
    uint96 private constant EARNED = 30 ether;

    bytes32[3] private ids;

    function setUp() public override {
        super.setUp();
        ids = openThree();
    }

    function closings() private view returns (CloseLeg[] memory legs) {
        legs = new CloseLeg[](3);
        for (uint256 i = 0; i < 3; ++i) {
            legs[i] = closeLeg(termsOf(i), EARNED);
        }
    }

    function close(CloseLeg[] memory legs) private {
        vm.prank(renter);
        escrow.closeMany(job(), legs);
    }

    function assertClosed(uint256 i) private view {
        assertLease(ids[i], uint96(DEPOSIT * (i + 1)), EARNED, expiry + uint40(i), Status.Closed);
        assertBalance(termsOf(i).provider, 28.5 ether, "the provider");
    }

    function assertOpen(uint256 i) private view {
        assertLease(ids[i], uint96(DEPOSIT * (i + 1)), 0, expiry + uint40(i), Status.Open);
    }

    /// @dev The leg of `skipped` is skipped, the others are closed.
    function skips(CloseLeg[] memory legs, bytes32 skipped, bytes4 reason) private {
        uint256 before = dai.balanceOf(renter);
        expectSkipped(skipped, reason);
        close(legs);
        assertClosed(0);
        assertClosed(2);
        assertBalance(renter, before + 4 * DEPOSIT - 2 * EARNED, "the renter");
    }

    function test_RevertWhen_ThereAreNoLegs() public {
        expectRevert(abi.encodeWithSelector(IEscrow.NoLegs.selector));
        close(new CloseLeg[](0));
    }

    function test_GivenItsLeaseIsSettled() public {
        settle(termsOf(1), 1);
        skips(closings(), ids[1], IEscrow.LeaseNotOpen.selector);
    }

    function test_RevertWhen_TheCallerIsNotTheRenter() public {
        CloseLeg[] memory legs = closings();
        expectRevert(abi.encodeWithSelector(IEscrow.CallerNotRenter.selector, stranger, renter));
        vm.prank(stranger);
        escrow.closeMany(job(), legs);
    }

    function test_WhenItsSignatureIsWrong() public {
        CloseLeg[] memory legs = closings();
        legs[1].amount -= 1;
        skips(legs, ids[1], IEscrow.WrongClosingSigner.selector);
        assertOpen(1);
    }

    function test_WhenItsSignatureHasAHighS() public {
        CloseLeg[] memory legs = closings();
        Signature memory high = signWith(HIGHEST_S + 1, SIGNER_KEY, escrow.closingDigest(ids[1], EARNED));
        (legs[1].r, legs[1].vs) = (high.r, high.vs);
        skips(legs, ids[1], IEscrow.WrongClosingSigner.selector);
        assertOpen(1);
    }

    function test_WhenALeaseIsNamedTwice() public {
        CloseLeg[] memory legs = closings();
        legs[1] = legs[0];
        skips(legs, ids[0], IEscrow.LeaseNotOpen.selector);
        assertOpen(1);
    }

    function test_GivenOneProviderIsDenied() public {
        OddToken odd = new OddToken();
        odd.mint(renter, 6 * DEPOSIT);
        vm.prank(renter);
        odd.approve(address(escrow), 6 * DEPOSIT);
        OpenLeg[] memory opening = openLegs(3);
        CloseLeg[] memory legs = new CloseLeg[](3);
        for (uint256 i = 0; i < 3; ++i) {
            Terms memory terms = termsOf(i);
            terms.token = address(odd);
            legs[i] = closeLeg(terms, EARNED);
        }
        JobTerms memory odds = job();
        odds.token = address(odd);
        vm.prank(renter);
        escrow.openMany(odds, opening);
        odd.deny(legs[1].node.provider, OddToken.Denial.BurnAllGas);
        vm.prank(renter);
        escrow.closeMany(odds, legs);
        assertEq(odd.balanceOf(legs[0].node.provider), 28.5 ether, "the first provider");
        assertEq(escrow.creditOf(address(odd), legs[1].node.provider), 28.5 ether, "the second provider's credit");
        assertEq(odd.balanceOf(legs[2].node.provider), 28.5 ether, "the third provider");
        assertEq(odd.balanceOf(renter), 510 ether, "the renter");
    }

    function test_GivenTheProviderSignerHasCode() public {
        vm.etch(providerSigner, abi.encodePacked(hex"ef0100", address(dai)));
        close(closings());
        assertClosed(1);
    }

    function test_WhenAllIsWell() public {
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectEmit(address(escrow));
            emit IEscrow.LeaseClosed(ids[i], 28.5 ether, 1.5 ether, uint96(DEPOSIT * (i + 1)) - EARNED);
        }
        vm.expectCall(address(dai), abi.encodeCall(IERC20.transfer, (builder, 4.5 ether)), 1);
        vm.expectCall(address(dai), abi.encodeCall(IERC20.transfer, (renter, 510 ether)), 1);
        close(closings());
        for (uint256 i = 0; i < 3; ++i) {
            assertClosed(i);
        }
        assertBalance(address(escrow), 0, "the escrow kept something");
    }
}
