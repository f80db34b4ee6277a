// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {TestUsdc} from "../../../src/test/TestUsdc.sol";
import {Status, Terms} from "../../../src/types/Lease.sol";
import {JobTerms, OpenLeg} from "../../../src/types/Legs.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";
import {SmartWallet} from "../../utils/SmartWallet.sol";

contract OpenManyWithAuthorizationTest is EscrowTest {
    TestUsdc private usdc;
    JobTerms private common;
    OpenLeg[] private legs;
    uint256 private until;
    bytes private signature;

    function setUp() public override {
        super.setUp();
        usdc = TestUsdc(deployed("TestUsdc"));
        usdc.mint(renter, 1000 ether);
        until = block.timestamp + 1 hours;
        common = job();
        common.token = address(usdc);
        useLegs(3);
        signature = sign(6 * DEPOSIT);
    }

    function useLegs(uint256 count) private {
        delete legs;
        OpenLeg[] memory made = openLegs(count);
        for (uint256 i = 0; i < count; ++i) {
            legs.push(made[i]);
        }
    }

    function idOf(uint256 index) private view returns (bytes32) {
        Terms memory terms = Terms({
            renter: common.renter,
            receiptKey: common.receiptKey,
            provider: legs[index].node.provider,
            providerSigner: legs[index].node.providerSigner,
            token: common.token,
            builder: common.builder,
            builderBps: common.builderBps,
            grace: common.grace,
            salt: legs[index].node.salt
        });
        return escrow.leaseIdOf(terms);
    }

    function nonce() private view returns (bytes32) {
        bytes memory words;
        for (uint256 i = 0; i < legs.length; ++i) {
            words = abi.encodePacked(words, idOf(i), uint256(legs[i].deposit), uint256(legs[i].expiry));
        }
        return keccak256(words);
    }

    function sign(uint256 sum) private view returns (bytes memory) {
        return signAuthorization(usdc, RENTER_KEY, sum, nonce());
    }

    function relay() private {
        vm.prank(stranger);
        escrow.openManyWithAuthorization(common, legs, 0, until, signature);
    }

    function refuses(bytes memory why) private {
        expectRevert(why);
        relay();
    }

    function refusesRenter() private {
        refuses(abi.encodeWithSelector(TestUsdc.WrongAuthorizationSigner.selector, renter));
    }

    function assertOpen() private view {
        for (uint256 i = 0; i < legs.length; ++i) {
            assertLease(idOf(i), legs[i].deposit, 0, legs[i].expiry, Status.Open);
        }
    }

    function test_RevertWhen_ThereAreNoLegs() public {
        useLegs(0);
        refuses(abi.encodeWithSelector(IEscrow.NoLegs.selector));
    }

    function test_WhenARelayerSendsWhatTheRenterSigned() public {
        relay();
        assertOpen();
        assertEq(usdc.balanceOf(address(escrow)), 6 * DEPOSIT, "the escrow");
        assertEq(usdc.balanceOf(renter), 400 ether, "the renter");
    }

    function test_RevertWhen_TheRelayerLeavesALegOut() public {
        legs.pop();
        refusesRenter();
    }

    function test_RevertWhen_TheRelayerSendsTheLegsInAnotherOrder() public {
        OpenLeg memory first = legs[0];
        legs[0] = legs[2];
        legs[2] = first;
        refusesRenter();
    }

    function test_RevertWhen_TheRelayerMovesMoneyFromOneLegToAnother() public {
        legs[0].deposit += 1;
        legs[1].deposit -= 1;
        refusesRenter();
    }

    function test_RevertWhen_TheRelayerChangesAnExpiry() public {
        legs[1].expiry += 1;
        refusesRenter();
    }

    function test_RevertWhen_TheRelayerChangesAWordOfTheJob() public {
        JobTerms memory good = common;
        for (uint256 word = 0; word < 6; ++word) {
            common = good;
            if (word == 0) common.renter = stranger;
            if (word == 1) common.receiptKey = stranger;
            if (word == 2) common.token = deployed("TestUsdc");
            if (word == 3) common.builder = stranger;
            if (word == 4) common.builderBps = 501;
            if (word == 5) common.grace = GRACE - 1;
            refuses(abi.encodeWithSelector(TestUsdc.WrongAuthorizationSigner.selector, common.renter));
        }
    }

    function test_RevertWhen_TheRelayerChangesAWordOfALeg() public {
        legs[1].node.provider = stranger;
        refusesRenter();
        useLegs(3);
        legs[1].node.providerSigner = stranger;
        refusesRenter();
        useLegs(3);
        legs[1].node.salt = keccak256("another");
        refusesRenter();
    }

    function test_RevertWhen_ALeaseIsNamedTwice() public {
        legs.push(legs[0]);
        signature = sign(7 * DEPOSIT);
        bytes32 id = idOf(0);
        refuses(abi.encodeWithSelector(IEscrow.LeaseExists.selector, id, Status.Open));
    }

    function test_WhenThereIsOneLeg() public {
        useLegs(1);
        bytes32 single = keccak256(abi.encode(idOf(0), legs[0].deposit, legs[0].expiry));
        assertEq(nonce(), single, "the nonce");
        signature = sign(DEPOSIT);
        Terms memory terms = termsOf(0);
        terms.token = address(usdc);
        vm.prank(stranger);
        escrow.openWithAuthorization(terms, DEPOSIT, expiry, 0, until, signature);
        assertOpen();
    }

    function test_GivenTheRenterIsASmartAccount() public {
        vm.etch(renter, address(new SmartWallet(renter)).code);
        signature = abi.encodePacked(signature, "signed by the owner");
        relay();
        assertOpen();
    }
}
