// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../../src/types/Lease.sol";
import {JobTerms, OpenLeg} from "../../../src/types/Legs.sol";
import {OddToken} from "../../tokens/OddToken.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";

contract OpenManyTest is EscrowTest {
    function refuses(OpenLeg[] memory legs, bytes memory why) private {
        refuses(job(), legs, why);
    }

    function refuses(JobTerms memory bad, OpenLeg[] memory legs, bytes memory why) private {
        expectRevert(why);
        vm.prank(renter);
        escrow.openMany(bad, legs);
        for (uint256 i = 0; i < legs.length; ++i) {
            assertLease(escrow.leaseIdOf(termsOf(i)), 0, 0, 0, Status.None);
        }
    }

    function test_RevertWhen_ThereAreNoLegs() public {
        refuses(new OpenLeg[](0), abi.encodeWithSelector(IEscrow.NoLegs.selector));
    }

    function test_RevertWhen_TheCallerIsNotTheRenter() public {
        JobTerms memory other = job();
        other.renter = stranger;
        refuses(other, openLegs(3), abi.encodeWithSelector(IEscrow.CallerNotRenter.selector, renter, stranger));
    }

    function test_RevertWhen_TheTermsOfTheJobAreBad() public {
        JobTerms memory bad = job();
        bad.receiptKey = address(0);
        refuses(bad, openLegs(3), abi.encodeWithSelector(IEscrow.PartyIsZero.selector));
        bad = job();
        bad.builderBps = 1001;
        refuses(bad, openLegs(3), abi.encodeWithSelector(IEscrow.BuilderShareTooHigh.selector, 1001, 1000));
        bad = job();
        bad.builder = address(0);
        refuses(bad, openLegs(3), abi.encodeWithSelector(IEscrow.BuilderIsZero.selector, 500));
        bad = job();
        bad.grace = 30 days + 1;
        refuses(bad, openLegs(3), abi.encodeWithSelector(IEscrow.GraceTooLong.selector, 30 days + 1, 30 days));
    }

    function test_RevertWhen_ALegIsBad() public {
        OpenLeg[] memory legs = openLegs(3);
        legs[2].deposit = 0;
        refuses(legs, abi.encodeWithSelector(IEscrow.AmountIsZero.selector));
        legs = openLegs(3);
        legs[0].expiry = uint40(block.timestamp);
        refuses(legs, abi.encodeWithSelector(IEscrow.ExpiryInPast.selector, block.timestamp, block.timestamp));
        legs = openLegs(3);
        legs[1].node.provider = address(0);
        refuses(legs, abi.encodeWithSelector(IEscrow.PartyIsZero.selector));
        legs = openLegs(3);
        legs[1].node.providerSigner = address(0);
        refuses(legs, abi.encodeWithSelector(IEscrow.PartyIsZero.selector));
    }

    function test_RevertGiven_OneOfTheLeasesExists() public {
        bytes32 id = open(termsOf(1));
        expectRevert(abi.encodeWithSelector(IEscrow.LeaseExists.selector, id, Status.Open));
        vm.prank(renter);
        escrow.openMany(job(), openLegs(3));
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
        escrow.openMany(job(), legs);
        assertLease(escrow.leaseIdOf(termsOf(0)), 0, 0, 0, Status.None);
    }

    function test_RevertGiven_TheTokenTakesAFee() public {
        OddToken odd = new OddToken();
        odd.mint(renter, 6 * DEPOSIT);
        odd.setFee(100);
        vm.prank(renter);
        odd.approve(address(escrow), 6 * DEPOSIT);
        JobTerms memory odds = job();
        odds.token = address(odd);
        refuses(
            odds, openLegs(3), abi.encodeWithSelector(IEscrow.DepositNotReceived.selector, 6 * DEPOSIT, 0, 594 ether)
        );
    }

    /// @dev Each word that has a type of less than 32 bytes, with a bit where its type has none.
    function test_RevertWhen_AWordIsNotCanonicallyEncoded() public {
        for (uint256 word = 0; word < 13; ++word) {
            // Six words of the job, offset and length of the legs, two legs of five words.
            if (word == 6 || word == 7 || word == 10) continue;
            bytes memory call = abi.encodeCall(IEscrow.openMany, (job(), openLegs(2)));
            call[4 + word * 32] = 0x01;
            vm.prank(renter);
            (bool success,) = address(escrow).call(call);
            assertTrue(!success, string.concat("an id that no terms have: word ", vm.toString(word)));
        }
    }

    /// @dev The encoding says where the legs begin: the escrow reads them there, wherever that is.
    function test_WhenTheLegsDoNotStandWhereTheyUsuallyDo() public {
        bytes memory usual = abi.encodeCall(IEscrow.openMany, (job(), openLegs(2)));
        bytes memory call = new bytes(usual.length + 64);
        uint256 start = 4 + 7 * 32;
        for (uint256 i = 0; i < usual.length; ++i) {
            call[i < start ? i : i + 64] = usual[i];
        }
        call[start - 2] = 0x01;
        call[start - 1] = 0x20;
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
        escrow.openMany(job(), legs);
        for (uint256 i = 0; i < 3; ++i) {
            assertLease(escrow.leaseIdOf(termsOf(i)), legs[i].deposit, 0, legs[i].expiry, Status.Open);
        }
        assertBalance(address(escrow), 6 * DEPOSIT, "the escrow");
    }

    event Transfer(address indexed from, address indexed to, uint256 value);
}
