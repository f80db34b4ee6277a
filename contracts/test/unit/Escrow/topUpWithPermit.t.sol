// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../../src/types/Lease.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";

contract TopUpWithPermitTest is EscrowTest {
    uint96 private constant MORE = 7 ether;

    Terms private terms;
    bytes32 private leaseId;

    function setUp() public override {
        super.setUp();
        terms = plainTerms();
        leaseId = open(terms);
        vm.prank(renter);
        dai.approve(address(escrow), 0);
        dai.mint(stranger, MORE);
    }

    function test_WhenThePermitIsGood() public {
        (uint8 v, bytes32 r, bytes32 s) = signPermit(RENTER_KEY, MORE, block.timestamp);
        vm.prank(renter);
        escrow.topUpWithPermit(terms, MORE, expiry + 1, block.timestamp, v, r, s);
        assertLease(leaseId, DEPOSIT + MORE, 0, expiry + 1, Status.Open);
        assertEq(dai.allowance(renter, address(escrow)), 0, "an allowance is left");
    }

    function test_WhenOneUnitIsAdded() public {
        (uint8 v, bytes32 r, bytes32 s) = signPermit(RENTER_KEY, 1, block.timestamp);
        vm.prank(renter);
        escrow.topUpWithPermit(terms, 1, 0, block.timestamp, v, r, s);
        assertLease(leaseId, DEPOSIT + 1, 0, expiry, Status.Open);
        assertBalance(address(escrow), DEPOSIT + 1, "the escrow");
    }

    function test_WhenThePermitBelongsToTheStrangerWhoPays() public {
        (uint8 v, bytes32 r, bytes32 s) = signPermit(STRANGER_KEY, MORE, block.timestamp);
        vm.prank(stranger);
        escrow.topUpWithPermit(terms, MORE, 0, block.timestamp, v, r, s);
        assertLease(leaseId, DEPOSIT + MORE, 0, expiry, Status.Open);
        assertBalance(stranger, 0, "the stranger paid another amount");
    }

    function test_GivenSomebodyElseHasUsedThePermit() public {
        (uint8 v, bytes32 r, bytes32 s) = signPermit(RENTER_KEY, MORE, block.timestamp);
        vm.prank(stranger);
        dai.permit(renter, address(escrow), MORE, block.timestamp, v, r, s);
        vm.prank(renter);
        escrow.topUpWithPermit(terms, MORE, 0, block.timestamp, v, r, s);
        assertLease(leaseId, DEPOSIT + MORE, 0, expiry, Status.Open);
    }

    function test_RevertWhen_ThePermitIsBadAndThereIsNoAllowance() public {
        vm.expectRevert();
        vm.prank(renter);
        escrow.topUpWithPermit(terms, MORE, 0, block.timestamp, 27, bytes32(uint256(1)), bytes32(uint256(2)));
        assertLease(leaseId, DEPOSIT, 0, expiry, Status.Open);
    }

    function test_RevertWhen_AStrangerWithAPermitMovesTheExpiry() public {
        (uint8 v, bytes32 r, bytes32 s) = signPermit(STRANGER_KEY, MORE, block.timestamp);
        expectRevert(abi.encodeWithSelector(IEscrow.CallerNotRenter.selector, stranger, renter));
        vm.prank(stranger);
        escrow.topUpWithPermit(terms, MORE, expiry + 1, block.timestamp, v, r, s);
    }
}
