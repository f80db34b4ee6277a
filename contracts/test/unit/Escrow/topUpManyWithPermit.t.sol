// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Status} from "../../../src/types/Lease.sol";
import {TopUpLeg} from "../../../src/types/Legs.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";

contract TopUpManyWithPermitTest is EscrowTest {
    uint96 private constant MORE = 7 ether;

    bytes32[3] private ids;
    uint8 private v;
    bytes32 private r;
    bytes32 private s;

    function setUp() public override {
        super.setUp();
        ids = openThree();
        vm.prank(renter);
        dai.approve(address(escrow), 0);
        (v, r, s) = signPermit(RENTER_KEY, 3 * MORE, block.timestamp);
    }

    function topUp() private {
        TopUpLeg[] memory legs = new TopUpLeg[](3);
        for (uint256 i = 0; i < 3; ++i) {
            legs[i] = topUpLeg(termsOf(i), MORE, 0);
        }
        vm.prank(renter);
        escrow.topUpManyWithPermit(job(), legs, block.timestamp, v, r, s);
    }

    function assertAdded(uint256 i) private view {
        assertLease(ids[i], uint96(DEPOSIT * (i + 1)) + MORE, 0, expiry + uint40(i), Status.Open);
    }

    function test_WhenThePermitIsOverTheSum() public {
        topUp();
        assertAdded(0);
        assertAdded(1);
        assertAdded(2);
        assertEq(dai.allowance(renter, address(escrow)), 0, "an allowance is left");
    }

    function test_GivenOneLeaseIsClosed() public {
        settle(termsOf(1), 1);
        uint256 before = dai.balanceOf(renter);
        topUp();
        assertAdded(0);
        assertAdded(2);
        assertBalance(renter, before - 2 * MORE, "the renter");
        assertEq(dai.allowance(renter, address(escrow)), MORE, "what is left of the permit");
    }

    function test_WhenOneUnitIsAdded() public {
        TopUpLeg[] memory legs = new TopUpLeg[](1);
        legs[0] = topUpLeg(termsOf(0), 1, 0);
        (v, r, s) = signPermit(RENTER_KEY, 1, block.timestamp);
        uint256 before = dai.balanceOf(address(escrow));
        vm.prank(renter);
        escrow.topUpManyWithPermit(job(), legs, block.timestamp, v, r, s);
        assertLease(ids[0], DEPOSIT + 1, 0, expiry, Status.Open);
        assertBalance(address(escrow), before + 1, "the escrow");
    }

    function test_GivenSomebodyElseHasUsedThePermit() public {
        vm.prank(stranger);
        dai.permit(renter, address(escrow), 3 * MORE, block.timestamp, v, r, s);
        topUp();
        assertAdded(2);
    }

    function test_GivenNoLeaseIsOpen() public {
        for (uint256 i = 0; i < 3; ++i) {
            settle(termsOf(i), 1);
        }
        uint256 before = dai.balanceOf(renter);
        topUp();
        assertBalance(renter, before, "the renter");
    }
}
