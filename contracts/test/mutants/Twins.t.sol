// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Escrow} from "../../src/Escrow.sol";
import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {Checks} from "../invariant/Checks.sol";
import {Handler} from "../invariant/Handler.sol";
import {EscrowForgetsGrace} from "./generated/EscrowForgetsGrace.sol";
import {EscrowKeepsCredit} from "./generated/EscrowKeepsCredit.sol";
import {EscrowLetsAnybodySettle} from "./generated/EscrowLetsAnybodySettle.sol";
import {EscrowPaysBuilderTwice} from "./generated/EscrowPaysBuilderTwice.sol";
import {EscrowReopens} from "./generated/EscrowReopens.sol";

/// @dev Shows that each invariant can fail: the same handler and the same check find the bug of a broken twin, and
/// find nothing in the real escrow over the same steps.
contract TwinsTest is Checks {
    uint256 private constant EPISODES = 40;
    uint256 private constant STEPS = 60;

    uint256 private _random;

    function draw() private returns (uint256) {
        _random = uint256(keccak256(abi.encode(_random)));
        return _random;
    }

    function step(Handler handler) private {
        uint256 action = draw() % 16;
        if (action <= 1) handler.open(draw(), draw(), uint96(draw()), uint40(draw()), uint32(draw()));
        else if (action == 2) handler.openAgain(draw(), uint96(draw()));
        else if (action == 3) handler.topUp(draw(), draw(), uint96(draw()), uint40(draw()));
        else if (action <= 5) handler.sign(draw(), uint96(draw()));
        else if (action == 6) handler.settle(draw(), draw(), draw(), uint96(draw()));
        else if (action == 7) handler.collect(draw(), draw() % 2 == 0);
        else if (action == 8) handler.reclaim(draw(), draw());
        else if (action <= 10) handler.withdraw();
        else if (action <= 12) handler.deny(draw(), draw());
        else if (action == 13) handler.donate(draw(), uint96(draw()));
        else handler.pass(draw());
    }

    /// @dev True if `check` fails somewhere in many short histories of one escrow.
    function finds(function() external returns (IEscrow) deploy, function(Handler) external check)
        private
        returns (bool)
    {
        for (uint256 episode = 0; episode < EPISODES; ++episode) {
            vm.warp(1_800_000_000);
            Handler handler = new Handler(deploy());
            for (uint256 i = 0; i < STEPS; ++i) {
                step(handler);
                try check(handler) {}
                catch {
                    return true;
                }
            }
        }
        return false;
    }

    function real() external returns (IEscrow) {
        return new Escrow();
    }

    function paysBuilderTwice() external returns (IEscrow) {
        return new EscrowPaysBuilderTwice();
    }

    function keepsCredit() external returns (IEscrow) {
        return new EscrowKeepsCredit();
    }

    function forgetsGrace() external returns (IEscrow) {
        return new EscrowForgetsGrace();
    }

    function letsAnybodySettle() external returns (IEscrow) {
        return new EscrowLetsAnybodySettle();
    }

    function reopens() external returns (IEscrow) {
        return new EscrowReopens();
    }

    function test_ConservationFailsOnItsTwin() public {
        assertTrue(finds(this.paysBuilderTwice, this.checkConservation), "the planted bug was not found");
    }

    function test_SolvencyFailsOnItsTwin() public {
        assertTrue(finds(this.keepsCredit, this.checkSolvency), "the planted bug was not found");
    }

    function test_EntitlementFailsOnItsTwin() public {
        assertTrue(finds(this.forgetsGrace, this.checkEntitlement), "the planted bug was not found");
    }

    function test_NoThirdPartyCloseFailsOnItsTwin() public {
        assertTrue(finds(this.letsAnybodySettle, this.checkNoThirdPartyClose), "the planted bug was not found");
    }

    function test_ClosedForEverFailsOnItsTwin() public {
        assertTrue(finds(this.reopens, this.checkClosedForEver), "the planted bug was not found");
    }

    function checkAll(Handler handler) external {
        checkConservation(handler);
        checkSolvency(handler);
        checkEntitlement(handler);
        checkNoThirdPartyClose(handler);
        checkClosedForEver(handler);
    }

    function test_NothingFailsOnTheRealEscrow() public {
        assertTrue(!finds(this.real, this.checkAll), "an invariant failed on the real escrow");
    }
}
