// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../../src/types/Lease.sol";
import {OpenLeg} from "../../../src/types/Legs.sol";
import {OddToken} from "../../tokens/OddToken.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";

contract OpenManyTest is EscrowTest {
    function refuses(OpenLeg[] memory legs, bytes memory why) private {
        expectRevert(why);
        vm.prank(renter);
        escrow.openMany(legs);
        for (uint256 i = 0; i < legs.length; ++i) {
            assertLease(escrow.leaseIdOf(termsOf(i)), 0, 0, 0, Status.None);
        }
    }

    function test_RevertWhen_ThereAreNoLegs() public {
        refuses(new OpenLeg[](0), abi.encodeWithSelector(IEscrow.NoLegs.selector));
    }

    function test_RevertWhen_TheCallerIsNotTheRenterOfOneLeg() public {
        OpenLeg[] memory legs = openLegs(3);
        legs[2].terms.renter = stranger;
        refuses(legs, abi.encodeWithSelector(IEscrow.CallerNotRenter.selector, renter, stranger));
    }

    function test_RevertWhen_ALegIsInAnotherToken() public {
        OpenLeg[] memory legs = openLegs(3);
        legs[1].terms.token = address(new OddToken());
        refuses(legs, abi.encodeWithSelector(IEscrow.TokensDiffer.selector, legs[1].terms.token, address(dai)));
    }

    function test_RevertWhen_ALegIsBad() public {
        OpenLeg[] memory legs = openLegs(3);
        legs[2].deposit = 0;
        refuses(legs, abi.encodeWithSelector(IEscrow.AmountIsZero.selector));
        legs = openLegs(3);
        legs[0].expiry = uint40(block.timestamp);
        refuses(legs, abi.encodeWithSelector(IEscrow.ExpiryInPast.selector, block.timestamp, block.timestamp));
        legs = openLegs(3);
        legs[1].terms.builderBps = 1001;
        refuses(legs, abi.encodeWithSelector(IEscrow.BuilderShareTooHigh.selector, 1001, 1000));
    }

    function test_RevertGiven_OneOfTheLeasesExists() public {
        bytes32 id = open(termsOf(1));
        expectRevert(abi.encodeWithSelector(IEscrow.LeaseExists.selector, id, Status.Open));
        vm.prank(renter);
        escrow.openMany(openLegs(3));
        assertLease(escrow.leaseIdOf(termsOf(0)), 0, 0, 0, Status.None);
        assertBalance(address(escrow), DEPOSIT, "money was pulled");
    }

    function test_RevertWhen_ALeaseIsNamedTwice() public {
        OpenLeg[] memory legs = openLegs(3);
        legs[2] = legs[0];
        refuses(legs, abi.encodeWithSelector(IEscrow.LeaseExists.selector, escrow.leaseIdOf(termsOf(0)), Status.Open));
    }

    function test_RevertGiven_TheMoneyIsShortOfTheSum() public {
        vm.prank(renter);
        dai.approve(address(escrow), 6 * DEPOSIT - 1);
        OpenLeg[] memory legs = openLegs(3);
        vm.expectRevert();
        vm.prank(renter);
        escrow.openMany(legs);
        assertLease(escrow.leaseIdOf(termsOf(0)), 0, 0, 0, Status.None);
    }

    function test_RevertGiven_TheTokenTakesAFee() public {
        OddToken odd = new OddToken();
        odd.mint(renter, 6 * DEPOSIT);
        odd.setFee(100);
        vm.prank(renter);
        odd.approve(address(escrow), 6 * DEPOSIT);
        OpenLeg[] memory legs = openLegs(3);
        for (uint256 i = 0; i < 3; ++i) {
            legs[i].terms.token = address(odd);
        }
        refuses(legs, abi.encodeWithSelector(IEscrow.DepositNotReceived.selector, 6 * DEPOSIT, 0, 594 ether));
    }

    /// @dev Each of the nine words of the terms, with a bit where its type has none.
    function test_RevertWhen_AWordOfALegIsNotCanonicallyEncoded() public {
        for (uint256 word = 0; word < 8; ++word) {
            bytes memory call = abi.encodeCall(IEscrow.openMany, (openLegs(2)));
            // Selector, offset, length, the eleven words of the first leg.
            call[4 + 64 + 11 * 32 + word * 32] = 0x01;
            vm.prank(renter);
            (bool success,) = address(escrow).call(call);
            assertTrue(!success, string.concat("an id that no terms have: word ", vm.toString(word)));
        }
    }

    /// @dev The encoding says where the legs begin: the escrow hashes what it reads, wherever that is.
    function test_WhenTheLegsDoNotStandWhereTheyUsuallyDo() public {
        bytes memory usual = abi.encodeCall(IEscrow.openMany, (openLegs(2)));
        bytes memory call = new bytes(usual.length + 64);
        for (uint256 i = 0; i < usual.length; ++i) {
            call[i < 36 ? i : i + 64] = usual[i];
        }
        call[35] = 0x60;
        vm.prank(renter);
        (bool success,) = address(escrow).call(call);
        assertTrue(success, "refused");
        for (uint256 i = 0; i < 2; ++i) {
            uint96 deposit = uint96(DEPOSIT * (i + 1));
            assertLease(escrow.leaseIdOf(termsOf(i)), deposit, 0, expiry + uint40(i), Status.Open);
        }
    }

    function test_WhenAllIsWell() public {
        OpenLeg[] memory legs = openLegs(3);
        for (uint256 i = 0; i < 3; ++i) {
            Terms memory terms = termsOf(i);
            bytes32 id = escrow.leaseIdOf(terms);
            vm.expectEmit(address(escrow));
            emit IEscrow.LeaseOpened(id, renter, terms.provider, address(dai), legs[i].deposit, legs[i].expiry);
        }
        vm.expectEmit(address(dai));
        emit Transfer(renter, address(escrow), 6 * DEPOSIT);
        vm.prank(renter);
        escrow.openMany(legs);
        for (uint256 i = 0; i < 3; ++i) {
            assertLease(escrow.leaseIdOf(termsOf(i)), legs[i].deposit, 0, legs[i].expiry, Status.Open);
        }
        assertBalance(address(escrow), 6 * DEPOSIT, "the escrow");
    }

    event Transfer(address indexed from, address indexed to, uint256 value);
}
