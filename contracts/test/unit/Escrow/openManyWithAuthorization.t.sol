// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {TestUsdc} from "../../../src/test/TestUsdc.sol";
import {Status} from "../../../src/types/Lease.sol";
import {OpenLeg} from "../../../src/types/Legs.sol";
import {OddToken} from "../../tokens/OddToken.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";
import {SmartWallet} from "../../utils/SmartWallet.sol";

contract OpenManyWithAuthorizationTest is EscrowTest {
    TestUsdc private usdc;
    OpenLeg[] private legs;
    uint256 private until;
    bytes private signature;

    function setUp() public override {
        super.setUp();
        usdc = new TestUsdc();
        usdc.mint(renter, 1000 ether);
        until = block.timestamp + 1 hours;
        useLegs(3);
        signature = sign(6 * DEPOSIT);
    }

    function useLegs(uint256 count) private {
        delete legs;
        OpenLeg[] memory made = openLegs(count);
        for (uint256 i = 0; i < count; ++i) {
            made[i].terms.token = address(usdc);
            legs.push(made[i]);
        }
    }

    function nonce() private view returns (bytes32) {
        bytes memory words;
        for (uint256 i = 0; i < legs.length; ++i) {
            bytes32 id = escrow.leaseIdOf(legs[i].terms);
            words = abi.encodePacked(words, id, uint256(legs[i].deposit), uint256(legs[i].expiry));
        }
        return keccak256(words);
    }

    function sign(uint256 sum) private view returns (bytes memory) {
        return signAuthorization(usdc, RENTER_KEY, sum, nonce());
    }

    function relay() private {
        vm.prank(stranger);
        escrow.openManyWithAuthorization(legs, 0, until, signature);
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
            assertLease(escrow.leaseIdOf(legs[i].terms), legs[i].deposit, 0, legs[i].expiry, Status.Open);
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

    function test_RevertWhen_ALegIsOfAnotherRenter() public {
        legs[2].terms.renter = stranger;
        refuses(abi.encodeWithSelector(IEscrow.RentersDiffer.selector, stranger, renter));
    }

    function test_RevertWhen_ALegIsInAnotherToken() public {
        legs[1].terms.token = address(new OddToken());
        refuses(abi.encodeWithSelector(IEscrow.TokensDiffer.selector, legs[1].terms.token, address(usdc)));
    }

    function test_RevertWhen_ALeaseIsNamedTwice() public {
        legs.push(legs[0]);
        signature = sign(7 * DEPOSIT);
        bytes32 id = escrow.leaseIdOf(legs[0].terms);
        refuses(abi.encodeWithSelector(IEscrow.LeaseExists.selector, id, Status.Open));
    }

    function test_WhenThereIsOneLeg() public {
        useLegs(1);
        bytes32 single = keccak256(abi.encode(escrow.leaseIdOf(legs[0].terms), legs[0].deposit, legs[0].expiry));
        assertEq(nonce(), single, "the nonce");
        signature = sign(DEPOSIT);
        vm.prank(stranger);
        escrow.openWithAuthorization(legs[0].terms, DEPOSIT, expiry, 0, until, signature);
        assertOpen();
    }

    function test_GivenTheRenterIsASmartAccount() public {
        vm.etch(renter, address(new SmartWallet(renter)).code);
        signature = abi.encodePacked(signature, "signed by the owner");
        relay();
        assertOpen();
    }
}
