// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ICollector} from "../../src/interfaces/ICollector.sol";
import {CollectorChecks} from "./CollectorChecks.sol";
import {CollectorHandler} from "./CollectorHandler.sol";

/// @dev The invariants over sequences of actions that the fuzzer draws.
contract CollectorInvariantTest is CollectorChecks {
    CollectorHandler private _handler;

    function setUp() public {
        vm.warp(1_800_000_000);
        bytes memory words = abi.encode(deployed("Escrow"), vm.addr(0x9402), vm.addr(0x9405));
        _handler = new CollectorHandler(ICollector(deployed("Collector", words)));
    }

    /// @dev Forge calls the handler and nothing else.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_NothingElsewhere() external view {
        checkNothingElsewhere(_handler);
    }

    function invariant_RewardBound() external view {
        checkRewardBound(_handler);
    }

    function invariant_OnlySigned() external view {
        checkOnlySigned(_handler);
    }

    function invariant_NewestCollectable() external {
        checkNewestCollectable(_handler);
    }
}
