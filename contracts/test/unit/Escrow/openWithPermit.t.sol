// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../../src/types/Lease.sol";
import {OddToken} from "../../tokens/OddToken.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";

contract OpenWithPermitTest is EscrowTest {
    function setUp() public override {
        super.setUp();
        allow(0);
    }

    function allow(uint256 amount) private {
        vm.prank(renter);
        dai.approve(address(escrow), amount);
    }

    function openWith(Terms memory terms, uint8 v, bytes32 r, bytes32 s) private {
        vm.prank(renter);
        escrow.openWithPermit(terms, DEPOSIT, expiry, block.timestamp, v, r, s);
    }

    function assertOpen(Terms memory terms) private view {
        assertLease(escrow.leaseIdOf(terms), DEPOSIT, 0, expiry, Status.Open);
    }

    function test_WhenThePermitIsGood() public {
        (uint8 v, bytes32 r, bytes32 s) = signPermit(RENTER_KEY, DEPOSIT, block.timestamp);
        openWith(plainTerms(), v, r, s);
        assertOpen(plainTerms());
        assertBalance(address(escrow), DEPOSIT, "the deposit is not there");
        assertEq(dai.allowance(renter, address(escrow)), 0, "an allowance is left");
    }

    function test_GivenSomebodyElseHasUsedThePermit() public {
        (uint8 v, bytes32 r, bytes32 s) = signPermit(RENTER_KEY, DEPOSIT, block.timestamp);
        vm.prank(stranger);
        dai.permit(renter, address(escrow), DEPOSIT, block.timestamp, v, r, s);
        openWith(plainTerms(), v, r, s);
        assertOpen(plainTerms());
    }

    function test_GivenAStandingAllowance() public {
        allow(DEPOSIT);
        openWith(plainTerms(), 27, bytes32(uint256(1)), bytes32(uint256(2)));
        assertOpen(plainTerms());
    }

    function test_RevertGiven_NoAllowance() public {
        vm.expectRevert();
        openWith(plainTerms(), 27, bytes32(uint256(1)), bytes32(uint256(2)));
    }

    function test_GivenTheTokenKnowsNoPermits() public {
        OddToken odd = new OddToken();
        odd.mint(renter, DEPOSIT);
        vm.prank(renter);
        odd.approve(address(escrow), DEPOSIT);
        Terms memory terms = plainTerms();
        terms.token = address(odd);
        openWith(terms, 0, 0, 0);
        assertOpen(terms);
    }

    function test_RevertWhen_TheCallerOfOpenWithPermitIsNotTheRenter() public {
        (uint8 v, bytes32 r, bytes32 s) = signPermit(RENTER_KEY, DEPOSIT, block.timestamp);
        expectRevert(abi.encodeWithSelector(IEscrow.CallerNotRenter.selector, stranger, renter));
        vm.prank(stranger);
        escrow.openWithPermit(plainTerms(), DEPOSIT, expiry, block.timestamp, v, r, s);
    }
}
