// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../../src/types/Lease.sol";
import {OddToken} from "../../tokens/OddToken.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";
import {Signature} from "../../utils/Signature.sol";

contract ReclaimManyTest is EscrowTest {
    bytes32[3] private ids;
    uint256 private renterBefore;

    function setUp() public override {
        super.setUp();
        ids = openThree();
        renterBefore = dai.balanceOf(renter);
        vm.warp(uint256(expiry) + 2 + GRACE + 1);
    }

    function legs() private view returns (Terms[] memory terms) {
        terms = new Terms[](3);
        for (uint256 i = 0; i < 3; ++i) {
            terms[i] = termsOf(i);
        }
    }

    function reclaim(Terms[] memory terms) private {
        vm.prank(renter);
        escrow.reclaimMany(terms);
    }

    function assertReclaimed(uint256 i) private view {
        assertLease(ids[i], uint96(DEPOSIT * (i + 1)), 0, expiry + uint40(i), Status.Closed);
    }

    /// @dev The second leg is skipped, the others are reclaimed.
    function skips(Terms[] memory terms, bytes4 reason) private {
        renterBefore = dai.balanceOf(renter);
        expectSkipped(escrow.leaseIdOf(terms[1]), reason);
        reclaim(terms);
        assertReclaimed(0);
        assertReclaimed(2);
        assertBalance(renter, renterBefore + 4 * DEPOSIT, "the renter");
    }

    function test_RevertWhen_ThereAreNoLegs() public {
        expectRevert(abi.encodeWithSelector(IEscrow.NoLegs.selector));
        reclaim(new Terms[](0));
    }

    function test_GivenItsLeaseIsSettled() public {
        settle(termsOf(1), 1);
        skips(legs(), IEscrow.LeaseNotOpen.selector);
    }

    function test_GivenItsLeaseWasNeverOpened() public {
        Terms[] memory terms = legs();
        terms[1].salt = keccak256("never opened");
        skips(terms, IEscrow.LeaseNotOpen.selector);
        assertLease(escrow.leaseIdOf(terms[1]), 0, 0, 0, Status.None);
    }

    function test_WhenTheCallerIsNotItsRenter() public {
        fund(stranger, DEPOSIT);
        Terms[] memory terms = legs();
        terms[1].renter = stranger;
        vm.prank(stranger);
        escrow.open(terms[1], DEPOSIT, uint40(block.timestamp + 1));
        vm.warp(block.timestamp + 1 + GRACE + 1);
        skips(terms, IEscrow.CallerNotRenter.selector);
        assertBalance(stranger, 0, "the stranger");
    }

    function test_GivenItsGraceIsNotOver() public {
        uint40 until = uint40(block.timestamp + 1 hours);
        vm.prank(renter);
        escrow.topUp(termsOf(1), 0, until);
        vm.warp(until + GRACE);
        skips(legs(), IEscrow.ReclaimTooEarly.selector);
        assertLease(ids[1], 2 * DEPOSIT, 0, until, Status.Open);
    }

    function test_GivenAWholeDepositWasDrawn() public {
        Signature memory signature = signReceipt(termsOf(1), 2 * DEPOSIT);
        vm.prank(providerSigner);
        escrow.draw(termsOf(1), 2 * DEPOSIT, 2 * DEPOSIT, signature.r, signature.vs);
        vm.expectEmit(address(escrow));
        emit IEscrow.LeaseReclaimed(ids[1], 0);
        reclaim(legs());
        assertLease(ids[1], 2 * DEPOSIT, 2 * DEPOSIT, expiry + 1, Status.Closed);
        assertBalance(renter, renterBefore + 4 * DEPOSIT, "the renter");
    }

    function oddLease() private returns (OddToken odd, Terms[] memory terms) {
        odd = new OddToken();
        odd.mint(renter, DEPOSIT);
        vm.prank(renter);
        odd.approve(address(escrow), DEPOSIT);
        terms = legs();
        terms[1].token = address(odd);
        vm.prank(renter);
        escrow.open(terms[1], DEPOSIT, uint40(block.timestamp + 1));
        vm.warp(block.timestamp + 1 + GRACE + 1);
    }

    function test_GivenLeasesOfTwoTokens() public {
        (OddToken odd, Terms[] memory terms) = oddLease();
        reclaim(terms);
        assertEq(odd.balanceOf(renter), DEPOSIT, "the renter, in the other token");
        assertBalance(renter, renterBefore + 4 * DEPOSIT, "the renter");
    }

    function test_GivenTheRenterIsDeniedByTheToken() public {
        (OddToken odd, Terms[] memory terms) = oddLease();
        odd.deny(renter, OddToken.Denial.Revert);
        reclaim(terms);
        assertEq(escrow.creditOf(address(odd), renter), DEPOSIT, "the renter's credit");
        assertBalance(renter, renterBefore + 4 * DEPOSIT, "the renter");
    }

    function test_WhenAllIsWell() public {
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectEmit(address(escrow));
            emit IEscrow.LeaseReclaimed(ids[i], uint96(DEPOSIT * (i + 1)));
        }
        vm.expectCall(address(dai), abi.encodeCall(IERC20.transfer, (renter, 6 * DEPOSIT)), 1);
        reclaim(legs());
        for (uint256 i = 0; i < 3; ++i) {
            assertReclaimed(i);
        }
        assertBalance(address(escrow), 0, "the escrow kept something");
    }
}
