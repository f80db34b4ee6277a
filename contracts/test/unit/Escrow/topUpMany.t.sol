// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../../src/types/Lease.sol";
import {TopUpLeg} from "../../../src/types/Legs.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";

contract TopUpManyTest is EscrowTest {
    uint96 private constant MORE = 7 ether;

    bytes32[3] private ids;

    function setUp() public override {
        super.setUp();
        ids = openThree();
        fund(stranger, 1000 ether);
    }

    /// @dev 7, 14 and 21 coins and an hour more for each.
    function topUps() private view returns (TopUpLeg[] memory legs) {
        legs = new TopUpLeg[](3);
        for (uint256 i = 0; i < 3; ++i) {
            legs[i] = topUpLeg(termsOf(i), uint96(MORE * (i + 1)), expiry + uint40(i) + 1 hours);
        }
    }

    function topUp(address caller, TopUpLeg[] memory legs) private {
        vm.prank(caller);
        escrow.topUpMany(job(), legs);
    }

    function refuses(address caller, TopUpLeg[] memory legs, bytes memory why) private {
        expectRevert(why);
        topUp(caller, legs);
        assertUnchanged(0);
    }

    function assertUnchanged(uint256 i) private view {
        assertLease(ids[i], uint96(DEPOSIT * (i + 1)), 0, expiry + uint40(i), Status.Open);
    }

    function assertAdded(uint256 i) private view {
        uint96 deposit = uint96((DEPOSIT + MORE) * (i + 1));
        assertLease(ids[i], deposit, 0, expiry + uint40(i) + 1 hours, Status.Open);
    }

    function test_RevertWhen_ThereAreNoLegs() public {
        refuses(renter, new TopUpLeg[](0), abi.encodeWithSelector(IEscrow.NoLegs.selector));
    }

    function test_RevertWhen_ALegHasNeitherMoneyNorANewExpiry() public {
        TopUpLeg[] memory legs = topUps();
        legs[1] = topUpLeg(termsOf(1), 0, 0);
        refuses(renter, legs, abi.encodeWithSelector(IEscrow.AmountIsZero.selector));
    }

    function test_RevertWhen_AStrangerMovesAnExpiry() public {
        refuses(stranger, topUps(), abi.encodeWithSelector(IEscrow.CallerNotRenter.selector, stranger, renter));
    }

    function test_RevertWhen_ANewExpiryIsEarlier() public {
        TopUpLeg[] memory legs = topUps();
        legs[2].newExpiry = expiry + 1;
        refuses(renter, legs, abi.encodeWithSelector(IEscrow.ExpiryShortened.selector, expiry + 1, expiry + 2));
    }

    function test_WhenAStrangerAddsMoney() public {
        TopUpLeg[] memory legs = topUps();
        for (uint256 i = 0; i < 3; ++i) {
            legs[i].newExpiry = 0;
        }
        topUp(stranger, legs);
        assertLease(ids[2], (DEPOSIT + MORE) * 3, 0, expiry + 2, Status.Open);
        assertBalance(stranger, 1000 ether - 6 * MORE, "the stranger");
    }

    function test_GivenOneLeaseIsClosed() public {
        settle(termsOf(1), 1);
        uint256 before = dai.balanceOf(renter);
        expectSkipped(ids[1], IEscrow.LeaseNotOpen.selector);
        topUp(renter, topUps());
        assertAdded(0);
        assertLease(ids[1], 2 * DEPOSIT, 1, expiry + 1, Status.Closed);
        assertAdded(2);
        assertBalance(renter, before - 4 * MORE, "the renter");
    }

    function test_GivenOneLeaseWasNeverOpened() public {
        TopUpLeg[] memory legs = topUps();
        legs[0].node.salt = keccak256("never opened");
        Terms memory terms = termsOf(0);
        terms.salt = keccak256("never opened");
        bytes32 never = escrow.leaseIdOf(terms);
        expectSkipped(never, IEscrow.LeaseNotOpen.selector);
        topUp(renter, legs);
        assertLease(never, 0, 0, 0, Status.None);
        assertUnchanged(0);
        assertAdded(2);
    }

    function test_GivenNoLeaseIsOpen() public {
        for (uint256 i = 0; i < 3; ++i) {
            settle(termsOf(i), 1);
        }
        uint256 before = dai.balanceOf(renter);
        topUp(renter, topUps());
        assertBalance(renter, before, "the renter");
    }

    function test_WhenALeaseIsNamedTwice() public {
        TopUpLeg[] memory legs = topUps();
        legs[2] = legs[0];
        topUp(renter, legs);
        assertLease(ids[0], DEPOSIT + 2 * MORE, 0, expiry + 1 hours, Status.Open);
        assertBalance(address(escrow), 6 * DEPOSIT + 4 * MORE, "the escrow");
    }

    function test_WhenOnlyExpiriesAreMoved() public {
        TopUpLeg[] memory legs = topUps();
        for (uint256 i = 0; i < 3; ++i) {
            legs[i].amount = 0;
        }
        vm.prank(renter);
        dai.approve(address(escrow), 0);
        topUp(renter, legs);
        assertLease(ids[2], 3 * DEPOSIT, 0, expiry + 2 + 1 hours, Status.Open);
    }

    function test_RevertGiven_TheMoneyIsShortOfTheSum() public {
        vm.prank(renter);
        dai.approve(address(escrow), 6 * MORE - 1);
        TopUpLeg[] memory legs = topUps();
        vm.expectRevert();
        topUp(renter, legs);
        assertUnchanged(0);
        assertUnchanged(2);
    }

    function test_RevertGiven_ADepositWouldExceed96Bits() public {
        TopUpLeg[] memory legs = topUps();
        uint96 most = type(uint96).max;
        legs[1].amount = most;
        bytes memory why = abi.encodeWithSelector(IEscrow.DepositTooLarge.selector, uint256(2 * DEPOSIT) + most, most);
        refuses(renter, legs, why);
    }

    function test_WhenAllIsWell() public {
        uint256 before = dai.balanceOf(renter);
        for (uint256 i = 0; i < 3; ++i) {
            uint96 amount = uint96(MORE * (i + 1));
            uint96 deposit = uint96((DEPOSIT + MORE) * (i + 1));
            vm.expectEmit(address(escrow));
            emit IEscrow.LeaseToppedUp(ids[i], renter, amount, deposit, expiry + uint40(i) + 1 hours);
        }
        vm.expectCall(address(dai), abi.encodeCall(IERC20.transferFrom, (renter, address(escrow), 6 * MORE)), 1);
        topUp(renter, topUps());
        for (uint256 i = 0; i < 3; ++i) {
            assertAdded(i);
        }
        assertBalance(renter, before - 6 * MORE, "the renter");
    }

    /// @dev Whichever leases are closed, what is pulled is what the open ones get.
    function testFuzz_PullsWhatTheLiveLeasesGet(uint8 dead, uint96[3] memory amounts) public {
        TopUpLeg[] memory legs = topUps();
        uint256 live;
        for (uint256 i = 0; i < 3; ++i) {
            legs[i].amount = uint96(bound(amounts[i], 1, 300 ether));
            if (dead >> i & 1 == 1) settle(termsOf(i), 1);
            else live += legs[i].amount;
        }
        uint256 before = dai.balanceOf(renter);
        uint256 held = dai.balanceOf(address(escrow));
        topUp(renter, legs);
        assertBalance(renter, before - live, "the renter");
        assertBalance(address(escrow), held + live, "the escrow");
    }
}
