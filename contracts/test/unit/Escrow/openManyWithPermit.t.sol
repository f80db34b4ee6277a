// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Status} from "../../../src/types/Lease.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";

contract OpenManyWithPermitTest is EscrowTest {
    uint8 private v;
    bytes32 private r;
    bytes32 private s;

    function setUp() public override {
        super.setUp();
        allow(0);
        (v, r, s) = signPermit(RENTER_KEY, 6 * DEPOSIT, block.timestamp);
    }

    function allow(uint256 amount) private {
        vm.prank(renter);
        dai.approve(address(escrow), amount);
    }

    function openAll() private {
        vm.prank(renter);
        escrow.openManyWithPermit(job(), openLegs(3), block.timestamp, v, r, s);
    }

    function assertOpen() private view {
        for (uint256 i = 0; i < 3; ++i) {
            uint96 deposit = uint96(DEPOSIT * (i + 1));
            assertLease(escrow.leaseIdOf(termsOf(i)), deposit, 0, expiry + uint40(i), Status.Open);
        }
        assertBalance(address(escrow), 6 * DEPOSIT, "the escrow");
    }

    function test_WhenThePermitIsOverTheSum() public {
        openAll();
        assertOpen();
        assertEq(dai.allowance(renter, address(escrow)), 0, "an allowance is left");
    }

    function test_GivenSomebodyElseHasUsedThePermit() public {
        vm.prank(stranger);
        dai.permit(renter, address(escrow), 6 * DEPOSIT, block.timestamp, v, r, s);
        openAll();
        assertOpen();
    }

    function test_RevertWhen_ThePermitIsOverLessThanTheSum() public {
        (v, r, s) = signPermit(RENTER_KEY, 6 * DEPOSIT - 1, block.timestamp);
        vm.expectRevert();
        openAll();
        assertLease(escrow.leaseIdOf(termsOf(0)), 0, 0, 0, Status.None);
    }

    function test_WhenThePermitIsBadAndAnAllowanceStands() public {
        allow(6 * DEPOSIT);
        (v, r, s) = (27, bytes32(uint256(1)), bytes32(uint256(2)));
        openAll();
        assertOpen();
    }
}
