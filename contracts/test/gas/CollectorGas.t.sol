// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Handover} from "../../src/types/Handover.sol";
import {CollectorTest} from "../utils/CollectorTest.sol";

/// @dev The full transaction gas of the collector's calls, as `GasTest` has the escrow's. Payees hold the token already.
contract CollectorGasTest is CollectorTest {
    string private constant GROUP = "Collector";

    function setUp() public override {
        super.setUp();
        dai.mint(address(escrow), 1);
        dai.mint(payout, 1);
        dai.mint(tower, 1);
    }

    function test_Draw() public {
        Handover memory words = handover(EARNED);
        vm.warp(notBefore);
        vm.prank(tower);
        collector.draw(terms, words);
        vm.snapshotGasLastCall(GROUP, "draw with reward");
    }

    function test_Sweep() public {
        dai.mint(address(collector), EARNED);
        collector.sweep(address(dai));
        vm.snapshotGasLastCall(GROUP, "sweep");
    }
}
