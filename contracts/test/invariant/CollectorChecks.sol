// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Handover} from "../../src/types/Handover.sol";
import {Status} from "../../src/types/Lease.sol";
import {OddToken} from "../tokens/OddToken.sol";
import {Test} from "../utils/Test.sol";
import {CollectorHandler} from "./CollectorHandler.sol";

/// @dev The invariants of the collector; in words in the README of this folder.
abstract contract CollectorChecks is Test {
    function checkNothingElsewhere(CollectorHandler handler) public view {
        OddToken odd = handler.ODD();
        address collector = address(handler.COLLECTOR());
        uint256 credited = handler.ESCROW().creditOf(address(odd), collector);
        uint256 received = handler.claimedInAll() + handler.gifts() - credited;
        uint256 known = odd.balanceOf(handler.PAYOUT()) + odd.balanceOf(collector) + handler.rewards();
        assertEq(known, received, "payout, rewards and balance are what came in");
        address[3] memory callers = handler.callers();
        uint256 held;
        for (uint256 i = 0; i < 3; ++i) {
            held += odd.balanceOf(callers[i]);
        }
        assertEq(held, handler.rewards(), "callers have their rewards and no more");
    }

    function checkRewardBound(CollectorHandler handler) public view {
        assertTrue(!handler.overpaid(), "a caller got more than a hundredth, or than was allowed");
    }

    function checkOnlySigned(CollectorHandler handler) public view {
        assertTrue(!handler.unsigned(), "something was drawn that the signer had not signed, or too early");
    }

    /// @dev Tried for real, and undone.
    function checkNewestCollectable(CollectorHandler handler) public {
        for (uint256 lease = 0; lease < handler.leases(); ++lease) {
            Handover memory best = handler.newest(lease);
            (uint96 deposit, uint96 claimed, uint40 expiry, Status status) =
                handler.ESCROW().leaseOf(handler.ESCROW().leaseIdOf(handler.termsOf(lease)));
            uint96 due = best.amount < deposit ? best.amount : deposit;
            if (status == Status.Closed) {
                // Closed by its renter, then: the signer never settles here.
                uint256 end = uint256(expiry) + handler.termsOf(lease).grace;
                assertTrue(block.timestamp > end, "a lease was closed before its time");
            } else if (due > claimed) {
                collect(handler, lease, best, due);
            }
        }
    }

    function collect(CollectorHandler handler, uint256 lease, Handover memory best, uint96 due) private {
        uint256 snapshot = vm.snapshotState();
        if (block.timestamp < best.notBefore) vm.warp(best.notBefore);
        handler.COLLECTOR().draw(handler.termsOf(lease), best);
        assertEq(handler.claimedOf(lease), due, "the newest handover collects all that it says");
        vm.revertToStateAndDelete(snapshot);
    }
}
