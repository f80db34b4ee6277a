// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {Status} from "../../src/types/Lease.sol";
import {Test} from "../utils/Test.sol";
import {Entry, Handler} from "./Handler.sol";

/// @dev The invariants, each one function that reverts when it is broken. `README.md` says them in words.
abstract contract Checks is Test {
    function checkConservation(Handler handler) public view {
        Entry[] memory entries = handler.entries();
        for (uint256 i = 0; i < entries.length; ++i) {
            Entry memory entry = entries[i];
            (uint96 deposit,,,) = handler.ESCROW().leaseOf(entry.id);
            assertEq(deposit, entry.paidIn, "conservation: the deposit is not what was paid in");
            assertEq(entry.paidOut, entry.closed ? entry.paidIn : 0, "conservation: paid out is not paid in");
        }
    }

    function checkSolvency(Handler handler) public view {
        checkSolvencyOf(handler, address(handler.USDC()));
        checkSolvencyOf(handler, address(handler.ODD()));
    }

    function checkSolvencyOf(Handler handler, address token) private view {
        uint256 owed = handler.donated(token);
        Entry[] memory entries = handler.entries();
        for (uint256 i = 0; i < entries.length; ++i) {
            (uint96 deposit, uint96 claimed,, Status status) = handler.ESCROW().leaseOf(entries[i].id);
            if (entries[i].terms.token == token && status == Status.Open) owed += deposit - claimed;
        }
        address[] memory people = handler.people();
        for (uint256 i = 0; i < people.length; ++i) {
            owed += handler.ESCROW().creditOf(token, people[i]);
        }
        assertEq(IERC20(token).balanceOf(address(handler.ESCROW())), owed, "solvency: balance and what is owed differ");
    }

    /// @dev Lets each provider collect its newest receipt, sees what it gets, and undoes it.
    function checkEntitlement(Handler handler) public {
        Entry[] memory entries = handler.entries();
        for (uint256 i = 0; i < entries.length; ++i) {
            Entry memory entry = entries[i];
            bool collected = entry.closed && handler.isProvider(entry, entry.closedBy);
            uint256 end = uint256(entry.expiry) + entry.terms.grace;
            bool lapsed = block.timestamp > end && (!entry.closed || entry.closedAt > end);
            if (collected || lapsed || entry.cumulatives.length == 0) continue;

            uint256 snapshot = vm.snapshotState();
            uint256 got = collect(handler, entry);
            vm.revertToStateAndDelete(snapshot);
            uint96 receipt = handler.highestReceipt(entry);
            uint256 due = receipt < entry.paidIn ? receipt : entry.paidIn;
            assertEq(got, due, "entitlement: the newest receipt cannot be collected");
        }
    }

    function collect(Handler handler, Entry memory entry) private returns (uint256) {
        IEscrow escrow = handler.ESCROW();
        uint256 newest = entry.cumulatives.length - 1;
        uint96 cumulative = entry.cumulatives[newest];
        uint256 before = heldByEarners(handler, entry);
        vm.prank(entry.terms.providerSigner);
        try escrow.settle(entry.terms, cumulative, cumulative, entry.signatures[newest]) {
            return heldByEarners(handler, entry) - before;
        } catch {
            return type(uint256).max;
        }
    }

    function heldByEarners(Handler handler, Entry memory entry) private view returns (uint256) {
        uint256 held = handler.heldBy(entry.terms.token, entry.terms.provider);
        if (entry.terms.builder == address(0)) return held;
        return held + handler.heldBy(entry.terms.token, entry.terms.builder);
    }

    function checkNoThirdPartyClose(Handler handler) public view {
        Entry[] memory entries = handler.entries();
        for (uint256 i = 0; i < entries.length; ++i) {
            Entry memory entry = entries[i];
            (,,, Status status) = handler.ESCROW().leaseOf(entry.id);
            assertTrue((status == Status.Closed) == entry.closed, "close: a lease was closed by no call of its own");
            if (!entry.closed || handler.isProvider(entry, entry.closedBy)) continue;
            assertEq(entry.closedBy, entry.terms.renter, "close: by a third party");
            assertTrue(entry.closedAt > uint256(entry.expiry) + entry.terms.grace, "close: by the renter, too early");
        }
    }

    function checkClosedForEver(Handler handler) public view {
        Entry[] memory entries = handler.entries();
        for (uint256 i = 0; i < entries.length; ++i) {
            Entry memory entry = entries[i];
            if (!entry.closed) continue;
            (uint96 deposit, uint96 claimed,, Status status) = handler.ESCROW().leaseOf(entry.id);
            assertEq(uint8(status), uint8(Status.Closed), "closed: a closed lease was opened");
            assertEq(deposit, entry.depositAtClose, "closed: the deposit changed");
            assertEq(claimed, entry.claimedAtClose, "closed: what was claimed changed");
        }
    }
}
