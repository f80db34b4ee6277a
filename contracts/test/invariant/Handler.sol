// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {TestUsdc} from "../../src/test/TestUsdc.sol";
import {Status, Terms} from "../../src/types/Lease.sol";
import {OddToken} from "../tokens/OddToken.sol";
import {Test} from "../utils/Test.sol";

/// @dev What this test knows about a lease from watching the parties' money, never from the escrow's own fields.
struct Entry {
    Terms terms;
    bytes32 id;
    uint40 expiry;
    uint256 paidIn;
    uint256 paidOut;
    uint96[] cumulatives;
    bytes[] signatures;
    bool closed;
    address closedBy;
    uint256 closedAt;
    uint96 depositAtClose;
    uint96 claimedAtClose;
}

/// @dev Everything that anybody can try, chosen by numbers that the fuzzer draws: each action is tried by any
/// party on any lease, allowed or not, and the ledger records what the money did. No action here ever reverts.
contract Handler is Test {
    uint256 private constant RECEIPT_KEY = 0x4ECE1;
    uint256 private constant MOST_LEASES = 6;

    IEscrow public immutable ESCROW;
    TestUsdc public immutable USDC;
    OddToken public immutable ODD;

    address[] private _people;
    Entry[] private _entries;
    mapping(address token => uint256) public donated;

    constructor(IEscrow escrow) {
        ESCROW = escrow;
        USDC = new TestUsdc();
        ODD = new OddToken();
        // 0, 1: renters. 2, 3: providers. 4: signer of both. 5: builder. 6: a stranger.
        for (uint256 i = 0; i < 7; ++i) {
            address person = vm.addr(0xACE0 + i);
            _people.push(person);
            USDC.mint(person, 1e15);
            ODD.mint(person, 1e15);
            vm.prank(person);
            USDC.approve(address(escrow), type(uint256).max);
            vm.prank(person);
            ODD.approve(address(escrow), type(uint256).max);
        }
    }

    // --------------------------------------------------------------- actions

    function open(uint256 who, uint256 what, uint96 deposit, uint40 ahead, uint32 grace) external {
        if (_entries.length == MOST_LEASES) return;
        address builder = what & 1 == 0 ? address(0) : _people[5];
        Terms memory terms = Terms({
            renter: _people[who % 2],
            receiptKey: vm.addr(RECEIPT_KEY),
            provider: _people[2 + what % 2],
            providerSigner: _people[4],
            token: what & 2 == 0 ? address(USDC) : address(ODD),
            builder: builder,
            builderBps: builder == address(0) ? 0 : uint16(what % 1001),
            grace: uint32(bound(grace, 0, 1 days)),
            salt: bytes32(_entries.length)
        });
        deposit = uint96(bound(deposit, 1, 1e12));
        uint40 expiry = uint40(block.timestamp + bound(ahead, 1, 12 hours));
        uint256 before = IERC20(terms.token).balanceOf(terms.renter);
        vm.prank(terms.renter);
        try ESCROW.open(terms, deposit, expiry) {
            Entry storage entry = _entries.push();
            entry.terms = terms;
            entry.id = ESCROW.leaseIdOf(terms);
            entry.expiry = expiry;
            entry.paidIn = before - IERC20(terms.token).balanceOf(terms.renter);
        } catch {}
    }

    /// @dev Opens a lease a second time.
    function openAgain(uint256 which, uint96 deposit) external {
        if (_entries.length == 0) return;
        Entry storage entry = _entries[which % _entries.length];
        vm.prank(entry.terms.renter);
        try ESCROW.open(entry.terms, uint96(bound(deposit, 1, 1e12)), uint40(block.timestamp + 1 days)) {} catch {}
    }

    function topUp(uint256 which, uint256 who, uint96 amount, uint40 ahead) external {
        if (_entries.length == 0) return;
        Entry storage entry = _entries[which % _entries.length];
        address caller = someone(entry, who);
        uint40 expiry = ahead % 3 == 0 ? 0 : uint40(block.timestamp + bound(ahead, 0, 1 days));
        uint256 before = IERC20(entry.terms.token).balanceOf(caller);
        vm.prank(caller);
        try ESCROW.topUp(entry.terms, uint96(bound(amount, 0, 1e12)), expiry) {
            entry.paidIn += before - IERC20(entry.terms.token).balanceOf(caller);
            if (expiry != 0) entry.expiry = expiry;
        } catch {}
    }

    /// @dev The renter signs one more receipt, not below the last one, and possibly above the deposit.
    function sign(uint256 which, uint96 more) external {
        if (_entries.length == 0) return;
        Entry storage entry = _entries[which % _entries.length];
        uint96 cumulative = highestReceipt(entry) + uint96(bound(more, 1, 1e12));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(RECEIPT_KEY, ESCROW.receiptDigest(entry.id, cumulative));
        entry.cumulatives.push(cumulative);
        entry.signatures.push(abi.encodePacked(r, s, v));
    }

    /// @dev Anybody settles with any receipt that was ever signed, for any part of it.
    function settle(uint256 which, uint256 who, uint256 receipt, uint96 amount) external {
        if (_entries.length == 0) return;
        Entry storage entry = _entries[which % _entries.length];
        address caller = someone(entry, who);
        // A provider that settles for less than it holds gives the rest away: that is not tried here.
        if (isProvider(entry, caller)) return;
        uint256 count = entry.cumulatives.length;
        if (count == 0) return settleWith(entry, caller, 0, 0, "");
        uint96 cumulative = entry.cumulatives[receipt % count];
        amount = uint96(bound(amount, 0, cumulative));
        settleWith(entry, caller, amount, cumulative, entry.signatures[receipt % count]);
    }

    /// @dev The provider or its signer settles with the newest receipt.
    function collect(uint256 which, bool signer) external {
        if (_entries.length == 0) return;
        Entry storage entry = _entries[which % _entries.length];
        address caller = signer ? entry.terms.providerSigner : entry.terms.provider;
        uint256 count = entry.cumulatives.length;
        if (count == 0) return settleWith(entry, caller, 0, 0, "");
        uint96 cumulative = entry.cumulatives[count - 1];
        settleWith(entry, caller, cumulative, cumulative, entry.signatures[count - 1]);
    }

    function settleWith(Entry storage entry, address caller, uint96 amount, uint96 cumulative, bytes memory signature)
        private
    {
        uint256 before = heldByParties(entry);
        vm.prank(caller);
        try ESCROW.settle(entry.terms, amount, cumulative, signature) {
            recordClose(entry, caller, before);
        } catch {}
    }

    function reclaim(uint256 which, uint256 who) external {
        if (_entries.length == 0) return;
        Entry storage entry = _entries[which % _entries.length];
        address caller = someone(entry, who);
        uint256 before = heldByParties(entry);
        vm.prank(caller);
        try ESCROW.reclaim(entry.terms) {
            recordClose(entry, caller, before);
        } catch {}
    }

    /// @dev Everybody's credits are withdrawn, as far as the tokens let them.
    function withdraw() external {
        for (uint256 i = 0; i < _people.length; ++i) {
            try ESCROW.withdraw(address(USDC), _people[i]) {} catch {}
            try ESCROW.withdraw(address(ODD), _people[i]) {} catch {}
        }
    }

    function pass(uint256 time) external {
        vm.warp(block.timestamp + bound(time, 1, 8 hours));
    }

    /// @dev The odd token denies one more person, or nobody any more.
    function deny(uint256 who, uint256 how) external {
        if (how % 3 != 0) {
            ODD.deny(_people[who % 6], OddToken.Denial(how % 3));
        } else {
            for (uint256 i = 0; i < 6; ++i) {
                ODD.deny(_people[i], OddToken.Denial.None);
            }
        }
    }

    function donate(uint256 token, uint96 amount) external {
        amount = uint96(bound(amount, 1, 1e6));
        if (token % 2 == 0) USDC.mint(address(ESCROW), amount);
        else ODD.mint(address(ESCROW), amount);
        donated[token % 2 == 0 ? address(USDC) : address(ODD)] += amount;
    }

    // ---------------------------------------------------------------- ledger

    function entries() external view returns (Entry[] memory) {
        return _entries;
    }

    function people() external view returns (address[] memory) {
        return _people;
    }

    /// @dev Anybody, but half of the time somebody whom the lease names.
    function someone(Entry memory entry, uint256 seed) private view returns (address) {
        if (seed % 6 == 0) return entry.terms.renter;
        if (seed % 6 == 1) return entry.terms.provider;
        if (seed % 6 == 2) return entry.terms.providerSigner;
        return _people[seed / 6 % _people.length];
    }

    function isProvider(Entry memory entry, address who) public pure returns (bool) {
        return who == entry.terms.provider || who == entry.terms.providerSigner;
    }

    function highestReceipt(Entry memory entry) public pure returns (uint96) {
        uint256 count = entry.cumulatives.length;
        return count == 0 ? 0 : entry.cumulatives[count - 1];
    }

    /// @dev What the payees of a lease have of its token, in hand or as a credit.
    function heldByParties(Entry memory entry) public view returns (uint256) {
        Terms memory terms = entry.terms;
        uint256 held = heldBy(terms.token, terms.renter) + heldBy(terms.token, terms.provider);
        return terms.builder == address(0) ? held : held + heldBy(terms.token, terms.builder);
    }

    function heldBy(address token, address who) public view returns (uint256) {
        return IERC20(token).balanceOf(who) + ESCROW.creditOf(token, who);
    }

    function recordClose(Entry storage entry, address caller, uint256 heldBefore) private {
        entry.paidOut += heldByParties(entry) - heldBefore;
        if (entry.closed) return;
        (uint96 deposit, uint96 claimed,, Status status) = ESCROW.leaseOf(entry.id);
        entry.closed = status == Status.Closed;
        entry.closedBy = caller;
        entry.closedAt = block.timestamp;
        entry.depositAtClose = deposit;
        entry.claimedAtClose = claimed;
    }
}
