// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../src/types/Lease.sol";
import {ClaimLeg, CloseLeg} from "../../src/types/Legs.sol";
import {OddToken} from "../tokens/OddToken.sol";
import {LegMaker} from "../utils/LegMaker.sol";
import {Signature} from "../utils/Signature.sol";
import {Test} from "../utils/Test.sol";
import {Entry, Handler} from "./Handler.sol";

/// @dev The invariants, each one function that reverts when it is broken. `README.md` says them in words.
abstract contract Checks is Test, LegMaker {
    function checkConservation(Handler handler) public view {
        assertEq(handler.discrepancies(), 0, "conservation: a call moved other money than its leases say");
        Entry[] memory entries = handler.entries();
        for (uint256 i = 0; i < entries.length; ++i) {
            Entry memory entry = entries[i];
            (uint96 deposit, uint96 claimed,,) = handler.ESCROW().leaseOf(entry.id);
            assertEq(deposit, entry.paidIn, "conservation: the deposit is not what was paid in");
            assertTrue(claimed <= deposit, "conservation: more was claimed than deposited");
            assertEq(entry.paidOut, entry.closed ? entry.paidIn : claimed, "conservation: paid out is not paid in");
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
            // Closed by the provider, or with an amount that it signed: that much is in `checkNoThirdPartyClose`.
            bool collected = entry.closed && !isReclaim(entry);
            uint256 end = uint256(entry.expiry) + entry.terms.grace;
            bool lapsed = block.timestamp > end && (!entry.closed || entry.closedAt > end);
            if (collected || lapsed || entry.cumulatives.length == 0) continue;

            uint96 receipt = handler.highestReceipt(entry);
            uint256 due = receipt < entry.paidIn ? receipt : entry.paidIn;
            due = due > entry.paidOut ? due - entry.paidOut : 0;
            uint256 snapshot = vm.snapshotState();
            uint256 got = collect(handler, entry);
            vm.revertToStateAndDelete(snapshot);
            assertEq(got, due, "entitlement: the newest receipt cannot be collected");
        }
    }

    function isReclaim(Entry memory entry) private pure returns (bool) {
        return entry.closedWith == IEscrow.reclaim.selector || entry.closedWith == IEscrow.reclaimMany.selector;
    }

    function collect(Handler handler, Entry memory entry) private returns (uint256) {
        IEscrow escrow = handler.ESCROW();
        uint256 newest = entry.cumulatives.length - 1;
        uint96 cumulative = entry.cumulatives[newest];
        uint256 before = heldByEarners(handler, entry);
        Signature memory signed = entry.signatures[newest];
        vm.prank(entry.terms.providerSigner);
        try escrow.settle(entry.terms, cumulative, cumulative, signed.r, signed.vs) {
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

    /// @dev What was claimed of a lease is in a receipt of the renter, or in a closing amount that the renter itself sent.
    function checkRenterBound(Handler handler) public view {
        Entry[] memory entries = handler.entries();
        for (uint256 i = 0; i < entries.length; ++i) {
            Entry memory entry = entries[i];
            (, uint96 claimed,,) = handler.ESCROW().leaseOf(entry.id);
            uint96 most = handler.highestReceipt(entry);
            if (entry.closed && isClose(entry) && entry.closing > most) most = entry.closing;
            assertTrue(claimed <= most, "renter's bound: more was claimed than the renter signed");
        }
    }

    function isClose(Entry memory entry) private pure returns (bool) {
        return entry.closedWith == IEscrow.close.selector || entry.closedWith == IEscrow.closeMany.selector;
    }

    /// @dev The builder has its share of what was claimed, rounded down for each lease, and nothing else.
    function checkBuilderBound(Handler handler) public view {
        checkBuilderBoundOf(handler, address(handler.USDC()));
        checkBuilderBoundOf(handler, address(handler.ODD()));
    }

    function checkBuilderBoundOf(Handler handler, address token) private view {
        uint256 shares;
        Entry[] memory entries = handler.entries();
        for (uint256 i = 0; i < entries.length; ++i) {
            (, uint96 claimed,,) = handler.ESCROW().leaseOf(entries[i].id);
            if (entries[i].terms.token == token) shares += uint256(claimed) * entries[i].terms.builderBps / 10_000;
        }
        uint256 held = handler.heldBy(token, handler.people()[handler.BUILDER()]);
        assertEq(held, handler.FUNDS() + shares, "builder's bound: it got another amount than its share");
    }

    function checkNoThirdPartyClose(Handler handler) public view {
        Entry[] memory entries = handler.entries();
        for (uint256 i = 0; i < entries.length; ++i) {
            Entry memory entry = entries[i];
            (,,, Status status) = handler.ESCROW().leaseOf(entry.id);
            assertTrue((status == Status.Closed) == entry.closed, "close: a lease was closed by no call of its own");
            if (!entry.closed) continue;
            if (isReclaim(entry)) {
                assertEq(entry.closedBy, entry.terms.renter, "close: reclaimed by a third party");
                assertTrue(entry.closedAt > uint256(entry.expiry) + entry.terms.grace, "close: reclaimed too early");
            } else if (isClose(entry)) {
                assertEq(entry.closedBy, entry.terms.renter, "close: closed by a third party");
                assertTrue(entry.closingSigned, "close: the provider signed nothing");
                uint96 claimed = entry.closing < entry.depositAtClose ? entry.closing : entry.depositAtClose;
                if (claimed < entry.drawnBeforeClose) claimed = entry.drawnBeforeClose;
                assertEq(entry.claimedAtClose, claimed, "close: the provider signed another amount");
            } else {
                assertTrue(handler.isProvider(entry, entry.closedBy), "close: settled by a third party");
            }
        }
    }

    /// @dev Tries every way out of one of the open leases, with every payee denied, and undoes it. Which one changes with
    /// whatever changes the leases: all of them at every step would take most of the time of all tests.
    function checkLiveness(Handler handler) public {
        Entry[] memory entries = handler.entries();
        uint256 start = uint256(keccak256(abi.encode(entries, block.timestamp)));
        for (uint256 i = 0; i < entries.length; ++i) {
            Entry memory entry = entries[addmod(start, i, entries.length)];
            if (entry.closed) continue;
            uint256 snapshot = vm.snapshotState();
            for (uint256 person = 0; person < 6; ++person) {
                handler.ODD().deny(handler.people()[person], OddToken.Denial.Revert);
            }
            address provider = entry.terms.provider;
            tryExit(handler, entry, provider, abi.encodeCall(IEscrow.settle, (entry.terms, 0, 0, 0, 0)));
            tryExit(handler, entry, provider, settleManyBesideJunk(entry));
            Signature memory signed = handler.signClosingOf(entry, 7);
            bytes memory closing = abi.encodeCall(IEscrow.close, (entry.terms, 7, signed.r, signed.vs));
            tryExit(handler, entry, entry.terms.renter, closing);
            tryExit(handler, entry, entry.terms.renter, closeManyBesideJunk(entry, signed));
            uint256 end = uint256(entry.expiry) + entry.terms.grace;
            if (block.timestamp <= end) vm.warp(end + 1);
            tryExit(handler, entry, entry.terms.renter, abi.encodeCall(IEscrow.reclaim, (entry.terms)));
            Terms[] memory legs = new Terms[](2);
            legs[1] = entry.terms;
            tryExit(handler, entry, entry.terms.renter, abi.encodeCall(IEscrow.reclaimMany, (legs)));
            vm.revertToStateAndDelete(snapshot);
            return;
        }
    }

    function tryExit(Handler handler, Entry memory entry, address caller, bytes memory call) private {
        IEscrow escrow = handler.ESCROW();
        uint256 snapshot = vm.snapshotState();
        vm.prank(caller);
        (bool done,) = address(escrow).call(call);
        (,,, Status status) = escrow.leaseOf(entry.id);
        vm.revertToStateAndDelete(snapshot);
        assertTrue(done && status == Status.Closed, "liveness: a way out is shut");
    }

    function settleManyBesideJunk(Entry memory entry) private pure returns (bytes memory) {
        ClaimLeg[] memory legs = new ClaimLeg[](2);
        legs[1].terms = entry.terms;
        return abi.encodeCall(IEscrow.settleMany, (legs));
    }

    function closeManyBesideJunk(Entry memory entry, Signature memory signed) private pure returns (bytes memory) {
        CloseLeg[] memory legs = new CloseLeg[](2);
        legs[1].node = nodeOf(entry.terms);
        legs[1].amount = 7;
        (legs[1].r, legs[1].vs) = (signed.r, signed.vs);
        return abi.encodeCall(IEscrow.closeMany, (jobOf(entry.terms), legs));
    }

    function checkIdempotence(Handler handler) public view {
        assertEq(handler.replays(), 0, "idempotence: an exit that was sent again moved something");
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
