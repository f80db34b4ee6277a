// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../../src/types/Lease.sol";
import {OddToken} from "../../tokens/OddToken.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";
import {Signature} from "../../utils/Signature.sol";

contract ReclaimTest is EscrowTest {
    Terms private terms;
    bytes32 private leaseId;
    uint256 private end;

    function setUp() public override {
        super.setUp();
        terms = builderTerms();
        leaseId = open(terms);
        end = uint256(expiry) + GRACE;
    }

    function refuses(address caller, bytes memory why) private {
        expectRevert(why);
        vm.prank(caller);
        escrow.reclaim(terms);
    }

    function test_RevertWhen_TheCallerIsTheProvider() public {
        vm.warp(end + 1);
        refuses(provider, abi.encodeWithSelector(IEscrow.CallerNotRenter.selector, provider, renter));
    }

    function test_RevertWhen_TheCallerIsAStranger() public {
        vm.warp(end + 1);
        refuses(stranger, abi.encodeWithSelector(IEscrow.CallerNotRenter.selector, stranger, renter));
    }

    function test_RevertGiven_ThereIsNoLease() public {
        terms.salt = keccak256("never opened");
        bytes32 id = escrow.leaseIdOf(terms);
        refuses(renter, abi.encodeWithSelector(IEscrow.LeaseNotOpen.selector, id, Status.None));
    }

    function test_RevertGiven_TheLeaseIsSettled() public {
        settle(terms, 1);
        vm.warp(end + 1);
        refuses(renter, abi.encodeWithSelector(IEscrow.LeaseNotOpen.selector, leaseId, Status.Closed));
    }

    function test_RevertGiven_TheLeaseIsReclaimed() public {
        vm.warp(end + 1);
        vm.prank(renter);
        escrow.reclaim(terms);
        refuses(renter, abi.encodeWithSelector(IEscrow.LeaseNotOpen.selector, leaseId, Status.Closed));
    }

    function test_RevertGiven_TheExpiryHasNotCome() public {
        refuses(renter, abi.encodeWithSelector(IEscrow.ReclaimTooEarly.selector, block.timestamp, end));
    }

    function test_RevertGiven_ItIsTheLastSecondOfTheGrace() public {
        vm.warp(end);
        refuses(renter, abi.encodeWithSelector(IEscrow.ReclaimTooEarly.selector, end, end));
    }

    function test_RevertGiven_TheExpiryWasExtended() public {
        vm.prank(renter);
        escrow.topUp(terms, 0, expiry + 1 hours);
        vm.warp(end + 1 hours);
        refuses(renter, abi.encodeWithSelector(IEscrow.ReclaimTooEarly.selector, end + 1 hours, end + 1 hours));
    }

    function test_GivenOneUnitIsUnclaimed() public {
        Signature memory receipt = signReceipt(terms, DEPOSIT - 1);
        vm.prank(provider);
        escrow.draw(terms, DEPOSIT - 1, DEPOSIT - 1, receipt.r, receipt.vs);
        uint256 before = dai.balanceOf(renter);
        vm.warp(end + 1);
        vm.prank(renter);
        escrow.reclaim(terms);
        assertBalance(renter, before + 1, "the renter");
        assertBalance(address(escrow), 0, "the escrow kept something");
    }

    function test_GivenTheRenterIsDeniedByTheToken() public {
        OddToken odd = new OddToken();
        odd.mint(renter, DEPOSIT);
        vm.prank(renter);
        odd.approve(address(escrow), DEPOSIT);
        terms.token = address(odd);
        leaseId = open(terms);
        odd.deny(renter, OddToken.Denial.Revert);
        vm.warp(end + 1);
        vm.prank(renter);
        escrow.reclaim(terms);
        assertLease(leaseId, DEPOSIT, 0, expiry, Status.Closed);
        assertEq(escrow.creditOf(address(odd), renter), DEPOSIT, "the renter's credit");
    }

    function test_GivenTheGraceIsOver() public {
        uint256 before = dai.balanceOf(renter);
        vm.warp(end + 1);
        vm.expectEmit(address(escrow));
        emit IEscrow.LeaseReclaimed(leaseId, DEPOSIT);
        vm.prank(renter);
        escrow.reclaim(terms);
        assertLease(leaseId, DEPOSIT, 0, expiry, Status.Closed);
        assertBalance(renter, before + DEPOSIT, "the renter");
        assertBalance(address(escrow), 0, "the escrow kept something");
    }

    /// @dev Not one second early, whatever the expiry and the grace.
    function testFuzz_NeverEarly(uint40 ahead, uint32 grace, uint256 when) public {
        uint40 until = uint40(block.timestamp + bound(ahead, 1, 90 days));
        terms.grace = uint32(bound(grace, 0, 30 days));
        terms.salt = keccak256("fuzz");
        vm.prank(renter);
        escrow.open(terms, DEPOSIT, until);
        when = bound(when, block.timestamp, uint256(until) + terms.grace + 1 days);
        vm.warp(when);
        vm.prank(renter);
        try escrow.reclaim(terms) {
            assertTrue(when > uint256(until) + terms.grace, "reclaimed early");
        } catch {
            assertTrue(when <= uint256(until) + terms.grace, "refused after the grace");
        }
    }
}
