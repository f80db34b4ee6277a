// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../../src/types/Lease.sol";
import {OddToken} from "../../tokens/OddToken.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";

contract TopUpTest is EscrowTest {
    uint96 private constant MORE = 7 ether;

    Terms private terms;
    bytes32 private leaseId;

    function setUp() public override {
        super.setUp();
        terms = plainTerms();
        leaseId = open(terms);
        fund(stranger, 1000 ether);
    }

    function refuses(address caller, uint96 amount, uint40 until, bytes memory why) private {
        expectRevert(why);
        vm.prank(caller);
        escrow.topUp(terms, amount, until);
    }

    function test_RevertGiven_ThereIsNoLease() public {
        terms.salt = keccak256("never opened");
        bytes32 id = escrow.leaseIdOf(terms);
        refuses(renter, MORE, 0, abi.encodeWithSelector(IEscrow.LeaseNotOpen.selector, id, Status.None));
    }

    function test_RevertGiven_TheLeaseIsClosed() public {
        settle(terms, 1);
        refuses(renter, MORE, 0, abi.encodeWithSelector(IEscrow.LeaseNotOpen.selector, leaseId, Status.Closed));
    }

    function test_RevertWhen_ThereIsNeitherMoneyNorANewExpiry() public {
        refuses(renter, 0, 0, abi.encodeWithSelector(IEscrow.AmountIsZero.selector));
    }

    function test_WhenItOnlyAddsMoney() public {
        vm.prank(stranger);
        escrow.topUp(terms, MORE, 0);
        assertLease(leaseId, DEPOSIT + MORE, 0, expiry, Status.Open);
        assertBalance(stranger, 1000 ether - MORE, "the stranger paid another amount");
    }

    function test_RevertWhen_ItAlsoMovesTheExpiry() public {
        bytes memory why = abi.encodeWithSelector(IEscrow.CallerNotRenter.selector, stranger, renter);
        refuses(stranger, MORE, expiry + 1, why);
    }

    function test_RevertWhen_TheNewExpiryIsEarlier() public {
        bytes memory why = abi.encodeWithSelector(IEscrow.ExpiryShortened.selector, expiry - 1, expiry);
        refuses(renter, MORE, expiry - 1, why);
    }

    function test_RevertWhen_TheNewExpiryIsMoreThan90DaysAhead() public {
        uint40 latest = uint40(block.timestamp + 90 days);
        refuses(renter, 0, latest + 1, abi.encodeWithSelector(IEscrow.ExpiryTooFar.selector, latest + 1, latest));
    }

    function test_WhenTheNewExpiryIsExactly90DaysAhead() public {
        uint40 latest = uint40(block.timestamp + 90 days);
        vm.prank(renter);
        escrow.topUp(terms, MORE, latest);
        assertLease(leaseId, DEPOSIT + MORE, 0, latest, Status.Open);
    }

    function test_WhenTheNewExpiryIsThePresentOne() public {
        vm.prank(renter);
        escrow.topUp(terms, MORE, expiry);
        assertLease(leaseId, DEPOSIT + MORE, 0, expiry, Status.Open);
    }

    function test_WhenOnlyTheExpiryIsMoved() public {
        vm.prank(renter);
        escrow.topUp(terms, 0, expiry + 1);
        assertLease(leaseId, DEPOSIT, 0, expiry + 1, Status.Open);
        assertBalance(address(escrow), DEPOSIT, "money was pulled");
    }

    function test_GivenTheLeaseIsPastItsExpiryAndGrace() public {
        vm.warp(uint256(expiry) + GRACE + 1);
        vm.prank(stranger);
        escrow.topUp(terms, MORE, 0);
        assertLease(leaseId, DEPOSIT + MORE, 0, expiry, Status.Open);
    }

    function test_RevertWhen_TheDepositWouldExceed96Bits() public {
        uint96 most = type(uint96).max;
        bytes memory why = abi.encodeWithSelector(IEscrow.DepositTooLarge.selector, uint256(DEPOSIT) + most, most);
        refuses(renter, most, 0, why);
    }

    function test_WhenTheDepositComesToExactly96Bits() public {
        uint96 more = type(uint96).max - DEPOSIT;
        dai.mint(renter, more);
        vm.prank(renter);
        escrow.topUp(terms, more, 0);
        assertLease(leaseId, type(uint96).max, 0, expiry, Status.Open);
    }

    function test_RevertGiven_TheAllowanceIsTooSmall() public {
        vm.prank(renter);
        dai.approve(address(escrow), MORE - 1);
        vm.expectRevert();
        vm.prank(renter);
        escrow.topUp(terms, MORE, expiry + 1);
        assertLease(leaseId, DEPOSIT, 0, expiry, Status.Open);
    }

    function test_RevertGiven_TheTokenNowTakesAFee() public {
        OddToken odd = new OddToken();
        odd.mint(renter, 2 * DEPOSIT);
        vm.prank(renter);
        odd.approve(address(escrow), 2 * DEPOSIT);
        terms.token = address(odd);
        open(terms);
        odd.setFee(1000);
        uint256 got = DEPOSIT - DEPOSIT / 10;
        bytes memory why = abi.encodeWithSelector(IEscrow.DepositNotReceived.selector, DEPOSIT, DEPOSIT, DEPOSIT + got);
        refuses(renter, DEPOSIT, 0, why);
    }

    function test_WhenMoneyAndExpiryAreAdded() public {
        vm.expectEmit(address(escrow));
        emit IEscrow.LeaseToppedUp(leaseId, renter, MORE, DEPOSIT + MORE, expiry + 1 hours);
        vm.prank(renter);
        escrow.topUp(terms, MORE, expiry + 1 hours);
        assertLease(leaseId, DEPOSIT + MORE, 0, expiry + 1 hours, Status.Open);
        assertBalance(address(escrow), DEPOSIT + MORE, "the escrow got another amount");
    }

    /// @dev Whatever anybody tries, deposit and expiry never shrink.
    function testFuzz_DepositAndExpiryOnlyGrow(bool byRenter, uint96 amount, uint40 until) public {
        amount = uint96(bound(amount, 0, 900 ether));
        vm.prank(byRenter ? renter : stranger);
        try escrow.topUp(terms, amount, until) {
            (uint96 deposit,, uint40 newExpiry,) = escrow.leaseOf(leaseId);
            assertEq(deposit, DEPOSIT + amount, "the deposit");
            assertEq(newExpiry, until == 0 ? expiry : until, "the expiry");
            assertTrue(newExpiry >= expiry, "the expiry shrank");
        } catch {
            assertLease(leaseId, DEPOSIT, 0, expiry, Status.Open);
        }
    }
}
