// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ICollector} from "../../src/interfaces/ICollector.sol";
import {CollectorChecks} from "../invariant/CollectorChecks.sol";
import {CollectorHandler} from "../invariant/CollectorHandler.sol";
import "./generated/All.sol";

/// @dev Shows that each invariant of the collector can fail, as `TwinsTest` does for the escrow's.
contract CollectorTwinsTest is CollectorChecks {
    uint256 private constant EPISODES = 30;
    uint256 private constant EPISODES_OF_THE_REAL_ONE = 8;
    uint256 private constant STEPS = 60;

    uint256 private _random;

    function draw() private returns (uint256) {
        _random = uint256(keccak256(abi.encode(_random)));
        return _random;
    }

    function step(CollectorHandler handler) private {
        uint256 action = draw() % 20;
        if (action <= 3) handler.handOver(draw(), uint96(draw()), uint96(draw()));
        else if (action <= 10) handler.use(draw(), draw(), draw(), draw());
        else if (action == 11) handler.sweep(draw());
        else if (action == 12) handler.ownDraw(draw(), uint96(draw()));
        else if (action == 13) handler.extend(draw(), uint40(draw()));
        else if (action == 14) handler.reclaim(draw());
        else if (action == 15) handler.give(uint96(draw()));
        else if (action == 16) handler.withdraw();
        else if (action == 17) handler.deny(draw(), draw());
        else handler.pass(draw());
    }

    function made(string memory name) private returns (ICollector) {
        bytes memory words = abi.encode(deployed("Escrow"), vm.addr(0x9402), vm.addr(0x9405));
        if (keccak256(bytes(name)) == keccak256("Collector")) return ICollector(deployed(name, words));
        return ICollector(vm.deployCode(string.concat(name, ".sol:", name), words));
    }

    /// @dev True if `check` fails somewhere in many short histories of one collector.
    function finds(string memory name, function(CollectorHandler) external check, uint256 episodes)
        private
        returns (bool)
    {
        for (uint256 episode = 0; episode < episodes; ++episode) {
            vm.warp(1_800_000_000);
            CollectorHandler handler = new CollectorHandler(made(name));
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

    function test_NothingElsewhereFailsOnCollectorPaysWhoeverSweeps() public {
        assertTrue(finds("CollectorPaysWhoeverSweeps", this.checkNothingElsewhere, EPISODES), "the bug was not found");
    }

    function test_RewardBoundFailsOnCollectorForgetsTheHundredth() public {
        assertTrue(finds("CollectorForgetsTheHundredth", this.checkRewardBound, EPISODES), "the bug was not found");
    }

    function test_OnlySignedFailsOnCollectorTrustsAnySigner() public {
        assertTrue(finds("CollectorTrustsAnySigner", this.checkOnlySigned, EPISODES), "the bug was not found");
    }

    function test_OnlySignedFailsOnCollectorForgetsTheTime() public {
        assertTrue(finds("CollectorForgetsTheTime", this.checkOnlySigned, EPISODES), "the bug was not found");
    }

    function test_NewestCollectableFailsOnCollectorSettles() public {
        assertTrue(finds("CollectorSettles", this.checkNewestCollectable, EPISODES), "the bug was not found");
    }

    function test_NewestCollectableFailsOnCollectorNeedsItsPayout() public {
        assertTrue(finds("CollectorNeedsItsPayout", this.checkNewestCollectable, EPISODES), "the bug was not found");
    }

    function checkAll(CollectorHandler handler) external {
        checkNothingElsewhere(handler);
        checkRewardBound(handler);
        checkOnlySigned(handler);
        checkNewestCollectable(handler);
    }

    function test_NothingFailsOnTheRealCollector() public {
        assertTrue(!finds("Collector", this.checkAll, EPISODES_OF_THE_REAL_ONE), "an invariant failed on the real one");
    }
}
