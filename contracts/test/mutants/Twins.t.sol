// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {Checks} from "../invariant/Checks.sol";
import {Handler} from "../invariant/Handler.sol";
import "./generated/All.sol";

/// @dev Shows that each invariant can fail: the same handler and the same check find the bug of a broken twin, and
/// find nothing in the real escrow over the same steps. Twins are deployed by name: there is one for each entry of
/// `mutants.json`, and `tools/trees` checks that each has its test.
contract TwinsTest is Checks {
    uint256 private constant EPISODES = 60;
    uint256 private constant EPISODES_OF_THE_REAL_ONE = 5;
    uint256 private constant STEPS = 60;

    uint256 private _random;

    function draw() private returns (uint256) {
        _random = uint256(keccak256(abi.encode(_random)));
        return _random;
    }

    function step(Handler handler) private {
        uint256 action = draw() % 28;
        if (action == 0) handler.open(draw(), draw(), uint96(draw()), uint40(draw()));
        else if (action == 1) handler.openAuthorized(draw(), draw(), uint96(draw()), uint40(draw()));
        else if (action <= 3) handler.openMany(draw(), draw(), draw(), uint96(draw()), uint40(draw()));
        else if (action == 4) handler.openAgain(draw(), uint96(draw()));
        else if (action == 5) handler.topUp(draw(), draw(), uint96(draw()), uint40(draw()));
        else if (action == 6) handler.topUpMany(draw(), draw(), draw(), uint96(draw()), uint40(draw()));
        else if (action <= 9) handler.sign(draw(), uint96(draw()));
        else if (action == 10) handler.signClosing(draw(), uint96(draw()));
        else if (action == 11) handler.settle(draw(), draw(), draw(), uint96(draw()));
        else if (action == 12) handler.collect(draw(), draw() % 2 == 0);
        else if (action <= 14) handler.draw(draw(), draw(), draw(), uint96(draw()));
        else if (action == 15) handler.forge(draw(), uint96(draw()), draw());
        else if (action == 16) handler.close(draw(), draw(), uint96(draw()));
        else if (action == 17) handler.reclaim(draw(), draw());
        else if (action == 18) handler.settleMany(draw(), draw());
        else if (action <= 20) handler.drawMany(draw(), draw());
        else if (action == 21) handler.closeMany(draw(), draw(), draw(), uint96(draw()));
        else if (action == 22) handler.reclaimMany(draw(), draw());
        else if (action == 23) handler.withdraw();
        else if (action <= 25) handler.deny(draw(), draw());
        else if (action == 26) handler.donate(draw(), uint96(draw()));
        else handler.pass(draw());
    }

    function made(string memory escrow) private returns (address) {
        bool isTheRealOne = keccak256(bytes(escrow)) == keccak256("Escrow");
        return isTheRealOne ? deployed(escrow) : vm.deployCode(string.concat(escrow, ".sol:", escrow));
    }

    /// @dev True if `check` fails somewhere in many short histories of one escrow.
    function finds(string memory escrow, function(Handler) external check) private returns (bool) {
        return finds(escrow, check, EPISODES);
    }

    function finds(string memory escrow, function(Handler) external check, uint256 episodes) private returns (bool) {
        for (uint256 episode = 0; episode < episodes; ++episode) {
            vm.warp(1_800_000_000);
            Handler handler = new Handler(IEscrow(made(escrow)));
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

    function test_ConservationFailsOnEscrowPaysBuilderTwice() public {
        assertTrue(finds("EscrowPaysBuilderTwice", this.checkConservation), "the planted bug was not found");
    }

    function test_ConservationFailsOnEscrowMixesPayees() public {
        assertTrue(finds("EscrowMixesPayees", this.checkConservation), "the planted bug was not found");
    }

    function test_SolvencyFailsOnEscrowKeepsCredit() public {
        assertTrue(finds("EscrowKeepsCredit", this.checkSolvency), "the planted bug was not found");
    }

    function test_SolvencyFailsOnEscrowPullsForDeadLegs() public {
        assertTrue(finds("EscrowPullsForDeadLegs", this.checkSolvency), "the planted bug was not found");
    }

    function test_EntitlementFailsOnEscrowForgetsGrace() public {
        assertTrue(finds("EscrowForgetsGrace", this.checkEntitlement), "the planted bug was not found");
    }

    function test_RenterBoundFailsOnEscrowTrustsAnyReceipt() public {
        assertTrue(finds("EscrowTrustsAnyReceipt", this.checkRenterBound), "the planted bug was not found");
    }

    function test_BuilderBoundFailsOnEscrowOverpaysBuilder() public {
        assertTrue(finds("EscrowOverpaysBuilder", this.checkBuilderBound), "the planted bug was not found");
    }

    function test_NoThirdPartyCloseFailsOnEscrowLetsAnybodySettle() public {
        assertTrue(finds("EscrowLetsAnybodySettle", this.checkNoThirdPartyClose), "the planted bug was not found");
    }

    function test_NoThirdPartyCloseFailsOnEscrowClosesUnsigned() public {
        assertTrue(finds("EscrowClosesUnsigned", this.checkNoThirdPartyClose), "the planted bug was not found");
    }

    function test_LivenessFailsOnEscrowLetsPayeesBlock() public {
        assertTrue(finds("EscrowLetsPayeesBlock", this.checkLiveness), "the planted bug was not found");
    }

    function test_LivenessFailsOnEscrowOneBadLegStopsAll() public {
        assertTrue(finds("EscrowOneBadLegStopsAll", this.checkLiveness), "the planted bug was not found");
    }

    function test_IdempotenceFailsOnEscrowForgetsDraws() public {
        assertTrue(finds("EscrowForgetsDraws", this.checkIdempotence), "the planted bug was not found");
    }

    function test_ClosedForEverFailsOnEscrowReopens() public {
        assertTrue(finds("EscrowReopens", this.checkClosedForEver), "the planted bug was not found");
    }

    function checkAll(Handler handler) external {
        checkConservation(handler);
        checkSolvency(handler);
        checkEntitlement(handler);
        checkRenterBound(handler);
        checkBuilderBound(handler);
        checkNoThirdPartyClose(handler);
        checkLiveness(handler);
        checkIdempotence(handler);
        checkClosedForEver(handler);
    }

    function test_NothingFailsOnTheRealEscrow() public {
        assertTrue(!finds("Escrow", this.checkAll, EPISODES_OF_THE_REAL_ONE), "an invariant failed on the real escrow");
    }
}
