// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {TestUsdc} from "../../src/test/TestUsdc.sol";
import {Status, Terms} from "../../src/types/Lease.sol";
import {ClaimLeg, CloseLeg, OpenLeg, TopUpLeg} from "../../src/types/Legs.sol";
import {OddToken} from "../tokens/OddToken.sol";
import {LegMaker} from "../utils/LegMaker.sol";
import {Signature} from "../utils/Signature.sol";
import {Test} from "../utils/Test.sol";

/// @dev What this test knows about a lease. What was paid in and out is taken from the parties' money; see `_record`.
struct Entry {
    Terms terms;
    bytes32 id;
    uint40 expiry;
    uint256 paidIn;
    uint256 paidOut;
    uint96[] cumulatives;
    Signature[] signatures;
    bool closingSigned;
    uint96 closing;
    bool closed;
    bytes4 closedWith;
    address closedBy;
    uint256 closedAt;
    uint96 drawnBeforeClose;
    uint96 depositAtClose;
    uint96 claimedAtClose;
}

/// @dev What everybody has and how some leases stand, before a call.
struct Before {
    uint256[] held;
    uint96[] claimed;
    Status[] status;
}

/// @dev Everything that anybody can try, chosen by numbers that the fuzzer draws: each action is tried by any
/// party on any lease, or on many, allowed or not, and the ledger records what the money did. No action here ever reverts.
contract Handler is Test, LegMaker {
    uint256 internal constant RECEIPT_KEY = 0x4ECE1;
    uint256 private constant FORGER_KEY = 0xF0463;
    uint256 private constant FIRST_KEY = 0xACE0;
    uint256 private constant MOST_LEASES = 8;
    uint256 public constant FUNDS = 1e15;
    uint256 public constant SIGNER = 4;
    uint256 public constant BUILDER = 5;

    IEscrow public immutable ESCROW;
    TestUsdc public immutable USDC;
    OddToken public immutable ODD;

    address[] private _people;
    Entry[] private _entries;
    mapping(address token => uint256) public donated;

    /// @dev How often money went to somebody else, or was another amount, than the leases of a call say.
    uint256 public discrepancies;

    /// @dev How often an exit that was sent again moved something.
    uint256 public replays;

    constructor(IEscrow escrow) {
        ESCROW = escrow;
        USDC = TestUsdc(deployed("TestUsdc"));
        ODD = new OddToken();
        // 0, 1: renters. 2, 3: providers. 4: signer of both. 5: builder. 6: a stranger.
        for (uint256 i = 0; i < 7; ++i) {
            address person = vm.addr(FIRST_KEY + i);
            _people.push(person);
            USDC.mint(person, FUNDS);
            ODD.mint(person, FUNDS);
            vm.prank(person);
            USDC.approve(address(escrow), type(uint256).max);
            vm.prank(person);
            ODD.approve(address(escrow), type(uint256).max);
        }
    }

    // ----------------------------------------------------------- one lease

    function open(uint256 who, uint256 what, uint96 deposit, uint40 ahead) external {
        if (_entries.length >= MOST_LEASES) return;
        Terms memory terms = _newTerms(who, what, _entries.length);
        deposit = uint96(bound(deposit, 1, 1e12));
        uint40 expiry = _expiry(ahead);
        vm.prank(terms.renter);
        try ESCROW.open(terms, deposit, expiry) {
            _opened(terms, deposit, expiry);
        } catch {}
    }

    /// @dev Anybody relays what the renter has signed, or changes the deposit.
    function openAuthorized(uint256 who, uint256 what, uint96 deposit, uint40 ahead) external {
        if (_entries.length >= MOST_LEASES) return;
        Terms memory terms = _newTerms(who, what & ~uint256(2), _entries.length);
        deposit = uint96(bound(deposit, 1, 1e12));
        uint40 expiry = _expiry(ahead);
        bytes32 nonce = keccak256(abi.encode(ESCROW.leaseIdOf(terms), deposit, expiry));
        bytes memory signature = _authorize(who % 2, terms.renter, deposit, nonce);
        if (what % 5 == 0) deposit += 1;
        vm.prank(_people[6]);
        try ESCROW.openWithAuthorization(terms, deposit, expiry, 0, type(uint256).max, signature) {
            _opened(terms, deposit, expiry);
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
        address caller = _payer(entry, who);
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
        if (entry.closingSigned) return;
        uint96 cumulative = highestReceipt(entry) + uint96(bound(more, 1, 1e12));
        entry.cumulatives.push(cumulative);
        entry.signatures.push(signCompact(RECEIPT_KEY, ESCROW.receiptDigest(entry.id, cumulative)));
    }

    /// @dev The provider signs what it still wants, once.
    function signClosing(uint256 which, uint96 amount) external {
        if (_entries.length == 0) return;
        Entry storage entry = _entries[which % _entries.length];
        if (entry.closingSigned) return;
        entry.closingSigned = true;
        entry.closing = uint96(bound(amount, 0, highestReceipt(entry)));
    }

    /// @dev Anybody settles with any receipt that was ever signed, for any part of it.
    function settle(uint256 which, uint256 who, uint256 receipt, uint96 amount) external {
        if (_entries.length == 0) return;
        uint256 index = which % _entries.length;
        address caller = _someone(_entries[index], who);
        // A provider that settles for less than it holds gives the rest away: that is not tried here.
        if (isProvider(_entries[index], caller)) return;
        (Terms memory terms, uint96 claim, uint96 cumulative, Signature memory signed) = _claim(index, receipt, amount);
        _attempt(caller, abi.encodeCall(IEscrow.settle, (terms, claim, cumulative, signed.r, signed.vs)), _only(index));
    }

    /// @dev The provider or its signer settles with the newest receipt.
    function collect(uint256 which, bool signer) external {
        if (_entries.length == 0) return;
        uint256 index = which % _entries.length;
        uint256 count = _entries[index].cumulatives.length;
        (Terms memory terms, uint96 claim, uint96 cumulative, Signature memory signed) =
            _claim(index, count == 0 ? 0 : count - 1, type(uint96).max);
        address caller = signer ? terms.providerSigner : terms.provider;
        _attempt(caller, abi.encodeCall(IEscrow.settle, (terms, claim, cumulative, signed.r, signed.vs)), _only(index));
    }

    /// @dev Anybody draws on any receipt, for any part of it.
    function draw(uint256 which, uint256 who, uint256 receipt, uint96 amount) external {
        if (_entries.length == 0) return;
        uint256 index = which % _entries.length;
        (Terms memory terms, uint96 claim, uint96 cumulative, Signature memory signed) = _claim(index, receipt, amount);
        address caller = _someone(_entries[index], who);
        _attempt(caller, abi.encodeCall(IEscrow.draw, (terms, claim, cumulative, signed.r, signed.vs)), _only(index));
    }

    /// @dev A provider asks for more than any receipt says, with a signature of its own making.
    function forge(uint256 which, uint96 amount, uint256 how) external {
        if (_entries.length == 0) return;
        uint256 index = which % _entries.length;
        Entry storage entry = _entries[index];
        amount = uint96(bound(amount, highestReceipt(entry), 1e13));
        Signature memory signed = signCompact(FORGER_KEY, ESCROW.receiptDigest(entry.id, amount));
        ClaimLeg[] memory legs = new ClaimLeg[](1);
        legs[0] = ClaimLeg(entry.terms, amount, amount, signed.r, signed.vs);
        bytes memory call = abi.encodeCall(IEscrow.settle, (entry.terms, amount, amount, signed.r, signed.vs));
        if (how % 4 == 1) call = abi.encodeCall(IEscrow.draw, (entry.terms, amount, amount, signed.r, signed.vs));
        if (how % 4 == 2) call = abi.encodeCall(IEscrow.settleMany, (legs));
        if (how % 4 == 3) call = abi.encodeCall(IEscrow.drawMany, (legs));
        _attempt(entry.terms.provider, call, _only(index));
    }

    /// @dev Anybody closes with what the provider signed, or with a signature that it did not make.
    function close(uint256 which, uint256 who, uint96 amount) external {
        if (_entries.length == 0) return;
        uint256 index = which % _entries.length;
        CloseLeg memory leg = _closeLeg(index, amount);
        address caller = _someone(_entries[index], who);
        bytes memory call = abi.encodeCall(IEscrow.close, (_entries[index].terms, leg.amount, leg.r, leg.vs));
        _attempt(caller, call, _only(index));
    }

    function reclaim(uint256 which, uint256 who) external {
        if (_entries.length == 0) return;
        uint256 index = which % _entries.length;
        address caller = _someone(_entries[index], who);
        _attempt(caller, abi.encodeCall(IEscrow.reclaim, (_entries[index].terms)), _only(index));
    }

    // ---------------------------------------------------------- many leases

    function openMany(uint256 who, uint256 what, uint256 count, uint96 deposit, uint40 ahead) external {
        count = bound(count, 1, 3);
        if (_entries.length + count > MOST_LEASES) return;
        OpenLeg[] memory legs = new OpenLeg[](count);
        Terms[] memory all = new Terms[](count);
        uint40 expiry = _expiry(ahead);
        for (uint256 i = 0; i < count; ++i) {
            all[i] = _newTerms(who, what, _entries.length + i);
            all[i].provider = _people[2 + i % 2];
            uint96 part = uint96(bound(deposit, 1, 1e12)) + uint96(i);
            legs[i] = OpenLeg({node: nodeOf(all[i]), deposit: part, expiry: expiry});
        }
        vm.prank(all[0].renter);
        try ESCROW.openMany(jobOf(all[0]), legs) {
            for (uint256 i = 0; i < count; ++i) {
                _opened(all[i], legs[i].deposit, expiry);
            }
        } catch {}
    }

    /// @dev Anybody adds to some of a job's leases, open or not.
    function topUpMany(uint256 which, uint256 who, uint256 mask, uint96 amount, uint40 ahead) external {
        if (_entries.length == 0) return;
        uint256[] memory chosen = _siblings(which % _entries.length, mask);
        Entry storage first = _entries[chosen[0]];
        address caller = _payer(first, who);
        amount = uint96(bound(amount, 1, 1e12));
        uint40 expiry = ahead % 2 == 0 ? 0 : uint40(block.timestamp + bound(ahead, 0, 1 days));
        TopUpLeg[] memory legs = new TopUpLeg[](chosen.length);
        bool[] memory live = new bool[](chosen.length);
        uint256 sum;
        for (uint256 i = 0; i < chosen.length; ++i) {
            Entry storage entry = _entries[chosen[i]];
            legs[i] = TopUpLeg({node: nodeOf(entry.terms), amount: amount, newExpiry: expiry});
            live[i] = !entry.closed;
            if (live[i]) sum += amount;
        }
        uint256 before = IERC20(first.terms.token).balanceOf(caller);
        vm.prank(caller);
        try ESCROW.topUpMany(jobOf(first.terms), legs) {
            if (before - IERC20(first.terms.token).balanceOf(caller) != sum) ++discrepancies;
            for (uint256 i = 0; i < chosen.length; ++i) {
                if (!live[i]) continue;
                _entries[chosen[i]].paidIn += amount;
                if (expiry != 0) _entries[chosen[i]].expiry = expiry;
            }
        } catch {}
    }

    /// @dev The signer settles some leases with their newest receipts, one of them twice; somebody else tries the same.
    function settleMany(uint256 mask, uint256 who) external {
        uint256[] memory chosen = _some(mask);
        if (chosen.length == 0) return;
        address caller = who % 3 == 0 ? _people[who / 3 % _people.length] : _people[SIGNER];
        _attempt(caller, abi.encodeCall(IEscrow.settleMany, (_newestClaims(chosen))), chosen);
    }

    function drawMany(uint256 mask, uint256 who) external {
        uint256[] memory chosen = _some(mask);
        if (chosen.length == 0) return;
        address caller = who % 3 == 0 ? _people[who / 3 % _people.length] : _people[SIGNER];
        _attempt(caller, abi.encodeCall(IEscrow.drawMany, (_newestClaims(chosen))), chosen);
    }

    /// @dev Some of a job's leases, of which the provider has signed for some only.
    function closeMany(uint256 which, uint256 who, uint256 mask, uint96 amount) external {
        if (_entries.length == 0) return;
        uint256[] memory chosen = _siblings(which % _entries.length, mask);
        CloseLeg[] memory legs = new CloseLeg[](chosen.length);
        for (uint256 i = 0; i < chosen.length; ++i) {
            legs[i] = _closeLeg(chosen[i], amount);
        }
        Entry storage first = _entries[chosen[0]];
        address caller = _someone(first, who);
        _attempt(caller, abi.encodeCall(IEscrow.closeMany, (jobOf(first.terms), legs)), chosen);
    }

    function reclaimMany(uint256 mask, uint256 who) external {
        uint256[] memory chosen = _some(mask);
        if (chosen.length == 0) return;
        Terms[] memory legs = new Terms[](chosen.length);
        for (uint256 i = 0; i < chosen.length; ++i) {
            legs[i] = _entries[chosen[i]].terms;
        }
        address caller = who % 2 == 0 ? _people[who / 2 % _people.length] : legs[0].renter;
        _attempt(caller, abi.encodeCall(IEscrow.reclaimMany, (legs)), chosen);
    }

    // ------------------------------------------------------------- the world

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

    // -------------------------------------------------------------- questions

    function entries() external view returns (Entry[] memory) {
        return _entries;
    }

    function people() external view returns (address[] memory) {
        return _people;
    }

    function isProvider(Entry memory entry, address who) public pure returns (bool) {
        return who == entry.terms.provider || who == entry.terms.providerSigner;
    }

    function highestReceipt(Entry memory entry) public pure returns (uint96) {
        uint256 count = entry.cumulatives.length;
        return count == 0 ? 0 : entry.cumulatives[count - 1];
    }

    /// @dev What somebody has of a token, in hand or as a credit.
    function heldBy(address token, address who) public view returns (uint256) {
        return IERC20(token).balanceOf(who) + ESCROW.creditOf(token, who);
    }

    function signClosingOf(Entry memory entry, uint96 amount) public view returns (Signature memory) {
        return signCompact(FIRST_KEY + SIGNER, ESCROW.closingDigest(entry.id, amount));
    }

    // ---------------------------------------------------------------- choices

    /// @dev A job is one of a few, so that leases of one job are common.
    function _newTerms(uint256 who, uint256 what, uint256 salt) private view returns (Terms memory) {
        address builder = what & 1 == 0 ? address(0) : _people[BUILDER];
        return Terms({
            renter: _people[who % 2],
            receiptKey: vm.addr(RECEIPT_KEY),
            provider: _people[2 + what / 8 % 2],
            providerSigner: _people[SIGNER],
            token: what & 2 == 0 ? address(USDC) : address(ODD),
            builder: builder,
            builderBps: builder == address(0) ? 0 : uint16(333),
            grace: what & 4 == 0 ? 6 hours : 0,
            salt: bytes32(salt)
        });
    }

    function _expiry(uint40 ahead) private view returns (uint40) {
        return uint40(block.timestamp + bound(ahead, 1, 12 hours));
    }

    /// @dev Anybody, but half of the time somebody whom the lease names.
    function _someone(Entry memory entry, uint256 seed) private view returns (address) {
        if (seed % 6 == 0) return entry.terms.renter;
        if (seed % 6 == 1) return entry.terms.provider;
        if (seed % 6 == 2) return entry.terms.providerSigner;
        return _people[seed / 6 % _people.length];
    }

    /// @dev The same, but not the builder: what it has is what it earned.
    function _payer(Entry memory entry, uint256 seed) private view returns (address caller) {
        caller = _someone(entry, seed);
        if (caller == _people[BUILDER]) caller = _people[6];
    }

    function _only(uint256 index) private pure returns (uint256[] memory list) {
        list = new uint256[](1);
        list[0] = index;
    }

    function _some(uint256 mask) private view returns (uint256[] memory) {
        uint256[] memory none;
        return _filter(mask, none);
    }

    /// @dev One lease, and some of those of the same job.
    function _siblings(uint256 index, uint256 mask) private view returns (uint256[] memory) {
        return _filter(mask, _only(index));
    }

    function _filter(uint256 mask, uint256[] memory first) private view returns (uint256[] memory list) {
        uint256[] memory found = new uint256[](_entries.length);
        uint256 count;
        if (first.length != 0) found[count++] = first[0];
        for (uint256 i = 0; i < _entries.length; ++i) {
            if (mask >> i & 1 == 0) continue;
            if (first.length != 0 && (i == first[0] || !_sameJob(i, first[0]))) continue;
            found[count++] = i;
        }
        list = new uint256[](count);
        for (uint256 i = 0; i < count; ++i) {
            list[i] = found[i];
        }
    }

    function _sameJob(uint256 left, uint256 right) private view returns (bool) {
        return keccak256(abi.encode(jobOf(_entries[left].terms))) == keccak256(abi.encode(jobOf(_entries[right].terms)));
    }

    /// @dev A claim on one of the receipts of a lease, or on nothing when there is none.
    function _claim(uint256 index, uint256 receipt, uint96 amount)
        private
        view
        returns (Terms memory terms, uint96 claim, uint96 cumulative, Signature memory signed)
    {
        Entry storage entry = _entries[index];
        terms = entry.terms;
        uint256 count = entry.cumulatives.length;
        if (count == 0) return (terms, 0, 0, signed);
        cumulative = entry.cumulatives[receipt % count];
        signed = entry.signatures[receipt % count];
        claim = amount > cumulative ? cumulative : amount;
    }

    /// @dev The first of the leases twice.
    function _newestClaims(uint256[] memory chosen) private view returns (ClaimLeg[] memory legs) {
        legs = new ClaimLeg[](chosen.length + 1);
        for (uint256 i = 0; i < chosen.length; ++i) {
            Entry storage entry = _entries[chosen[i]];
            legs[i].terms = entry.terms;
            uint256 count = entry.cumulatives.length;
            if (count == 0) continue;
            legs[i].amount = entry.cumulatives[count - 1];
            legs[i].receiptCumulative = legs[i].amount;
            (legs[i].r, legs[i].vs) = (entry.signatures[count - 1].r, entry.signatures[count - 1].vs);
        }
        legs[chosen.length] = legs[0];
    }

    /// @dev What the provider signed, or a forgery over `amount`.
    function _closeLeg(uint256 index, uint96 amount) private view returns (CloseLeg memory leg) {
        Entry storage entry = _entries[index];
        uint256 key = entry.closingSigned ? FIRST_KEY + SIGNER : FORGER_KEY;
        leg.node = nodeOf(entry.terms);
        leg.amount = entry.closingSigned ? entry.closing : uint96(bound(amount, 0, 1e13));
        Signature memory signed = signCompact(key, ESCROW.closingDigest(entry.id, leg.amount));
        (leg.r, leg.vs) = (signed.r, signed.vs);
    }

    function _authorize(uint256 person, address from, uint256 value, bytes32 nonce)
        private
        view
        returns (bytes memory)
    {
        bytes32 words = keccak256(
            abi.encode(
                USDC.RECEIVE_WITH_AUTHORIZATION_TYPEHASH(),
                from,
                address(ESCROW),
                value,
                uint256(0),
                type(uint256).max,
                nonce
            )
        );
        bytes32 digest = keccak256(abi.encodePacked("\x19\x01", USDC.DOMAIN_SEPARATOR(), words));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(FIRST_KEY + person, digest);
        return abi.encodePacked(r, s, v);
    }

    // ----------------------------------------------------------------- ledger

    function _opened(Terms memory terms, uint96 deposit, uint40 expiry) private {
        Entry storage entry = _entries.push();
        entry.terms = terms;
        entry.id = ESCROW.leaseIdOf(terms);
        entry.expiry = expiry;
        entry.paidIn = deposit;
    }

    /// @dev Makes an exit, records what it did, and makes it again.
    function _attempt(address caller, bytes memory call, uint256[] memory chosen) private {
        Before memory before = _observe(chosen);
        vm.prank(caller);
        (bool done,) = address(ESCROW).call(call);
        if (!done) return;
        _record(chosen, before, caller, bytes4(call));

        before = _observe(chosen);
        vm.prank(caller);
        (done,) = address(ESCROW).call(call);
        Before memory afterwards = _observe(chosen);
        if (keccak256(abi.encode(before)) != keccak256(abi.encode(afterwards))) ++replays;
    }

    function _observe(uint256[] memory chosen) private view returns (Before memory before) {
        before.held = new uint256[](2 * _people.length);
        for (uint256 i = 0; i < _people.length; ++i) {
            before.held[2 * i] = heldBy(address(USDC), _people[i]);
            before.held[2 * i + 1] = heldBy(address(ODD), _people[i]);
        }
        before.claimed = new uint96[](chosen.length);
        before.status = new Status[](chosen.length);
        for (uint256 i = 0; i < chosen.length; ++i) {
            (, before.claimed[i],, before.status[i]) = ESCROW.leaseOf(_entries[chosen[i]].id);
        }
    }

    /// @dev What each lease says it paid, and whether exactly that has reached everybody.
    function _record(uint256[] memory chosen, Before memory before, address caller, bytes4 selector) private {
        uint256[] memory wanted = before.held;
        for (uint256 i = 0; i < chosen.length; ++i) {
            Entry storage entry = _entries[chosen[i]];
            (uint96 deposit, uint96 claimed,, Status status) = ESCROW.leaseOf(entry.id);
            uint256 token = entry.terms.token == address(USDC) ? 0 : 1;
            uint256 earned = uint256(claimed) - before.claimed[i];
            uint256 share = uint256(claimed) * entry.terms.builderBps / 10_000 - uint256(before.claimed[i])
                * entry.terms.builderBps / 10_000;
            wanted[2 * _personOf(entry.terms.provider) + token] += earned - share;
            wanted[2 * BUILDER + token] += share;
            entry.paidOut += earned;
            if (status != Status.Closed || before.status[i] != Status.Open) continue;
            wanted[2 * _personOf(entry.terms.renter) + token] += deposit - claimed;
            entry.paidOut += deposit - claimed;
            entry.closed = true;
            entry.closedWith = selector;
            entry.closedBy = caller;
            entry.closedAt = block.timestamp;
            entry.drawnBeforeClose = before.claimed[i];
            entry.depositAtClose = deposit;
            entry.claimedAtClose = claimed;
        }
        uint256[] memory held = _observe(chosen).held;
        if (keccak256(abi.encode(held)) != keccak256(abi.encode(wanted))) ++discrepancies;
    }

    function _personOf(address who) private view returns (uint256 index) {
        while (_people[index] != who) ++index;
    }
}
