// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ICollector} from "../../src/interfaces/ICollector.sol";
import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {Handover} from "../../src/types/Handover.sol";
import {Status, Terms} from "../../src/types/Lease.sol";
import {OddToken} from "../tokens/OddToken.sol";
import {HandoverMaker} from "../utils/HandoverMaker.sol";
import {Signature} from "../utils/Signature.sol";

/// @dev Everything that anybody can try with a collector and the leases that it is the provider of, chosen by numbers that the
/// fuzzer draws. The ledger records what each use of a handover moved to its caller. No action here ever reverts.
contract CollectorHandler is HandoverMaker {
    uint256 private constant RECEIPT_KEY = 0x4ECE1;
    uint256 private constant SIGNER_KEY = 0x9402;
    uint256 private constant FORGER_KEY = 0xF0463;
    uint256 private constant LEASES = 3;
    uint96 private constant DEPOSIT = 1_000_000;
    uint32 private constant GRACE = 1 days;

    ICollector public immutable COLLECTOR;
    IEscrow public immutable ESCROW;
    OddToken public immutable ODD;
    address public immutable PAYOUT = vm.addr(0x9405);
    address public immutable RENTER = vm.addr(0xA11CE);

    Terms[] private _terms;
    mapping(uint256 lease => Handover[]) private _left;

    /// @dev What was sent to the collector for nothing.
    uint256 public gifts;
    /// @dev What callers of a draw got for it.
    uint256 public rewards;
    /// @dev Whether a caller once got more than a hundredth of what its draw claimed, or than the signer allowed.
    bool public overpaid;
    /// @dev Whether a draw was once done with what the signer had not signed, or before its time.
    bool public unsigned;

    constructor(ICollector collector) {
        (COLLECTOR, ESCROW) = (collector, collector.escrow());
        ODD = new OddToken();
        ODD.mint(RENTER, 1e12);
        vm.prank(RENTER);
        ODD.approve(address(ESCROW), type(uint256).max);
        for (uint256 i = 0; i < LEASES; ++i) {
            _terms.push(
                Terms({
                    renter: RENTER,
                    receiptKey: vm.addr(RECEIPT_KEY),
                    provider: address(collector),
                    providerSigner: vm.addr(SIGNER_KEY),
                    token: address(ODD),
                    builder: address(0),
                    builderBps: 0,
                    grace: GRACE,
                    salt: bytes32(i)
                })
            );
            vm.prank(RENTER);
            ESCROW.open(_terms[i], DEPOSIT, uint40(block.timestamp + 1 hours));
        }
    }

    function callers() public pure returns (address[3] memory) {
        return [vm.addr(0x70E4), vm.addr(0x70E5), vm.addr(0xBAD)];
    }

    function leases() external pure returns (uint256) {
        return LEASES;
    }

    function termsOf(uint256 lease) public view returns (Terms memory) {
        return _terms[lease];
    }

    function claimedOf(uint256 lease) public view returns (uint96 claimed) {
        (, claimed,,) = ESCROW.leaseOf(ESCROW.leaseIdOf(_terms[lease]));
    }

    function claimedInAll() public view returns (uint256 sum) {
        for (uint256 i = 0; i < LEASES; ++i) {
            sum += claimedOf(i);
        }
    }

    /// @dev The highest amount that was left for a lease; nothing if none was.
    function newest(uint256 lease) external view returns (Handover memory best) {
        Handover[] storage left = _left[lease];
        for (uint256 i = 0; i < left.length; ++i) {
            if (left[i].amount > best.amount) best = left[i];
        }
    }

    // --------------------------------------------------------------- actions

    /// @dev The provider leaves what a renter signed.
    function handOver(uint256 lease, uint96 amount, uint96 reward) external {
        lease %= LEASES;
        (,, uint40 expiry,) = ESCROW.leaseOf(ESCROW.leaseIdOf(_terms[lease]));
        Handover memory words;
        amount = uint96(bound(amount, 1, DEPOSIT + DEPOSIT / 2));
        (words.amount, words.receiptCumulative) = (amount, amount + amount / 100);
        (words.notBefore, words.reward) = (expiry + GRACE / 2, uint96(bound(reward, 0, DEPOSIT)));
        _left[lease].push(handoverOf(COLLECTOR, _terms[lease], words, RECEIPT_KEY, SIGNER_KEY));
    }

    /// @dev Anybody uses any of it, or a copy with a word changed, or one that is signed by somebody else.
    function use(uint256 lease, uint256 which, uint256 caller, uint256 twist) external {
        lease %= LEASES;
        if (_left[lease].length == 0) return;
        Handover memory words = _left[lease][which % _left[lease].length];
        twist %= 8;
        if (twist == 1) words.amount = words.amount / 2 + 1;
        if (twist == 2) words.reward += 1_000;
        if (twist == 3) words.notBefore = uint40(block.timestamp);
        if (twist == 4) words = handoverOf(COLLECTOR, _terms[lease], words, RECEIPT_KEY, FORGER_KEY);
        _use(lease, words, callers()[caller % 3], twist == 0 || twist > 4);
    }

    function _use(uint256 lease, Handover memory words, address caller, bool untouched) private {
        (uint256 had, uint256 claimed) = (ODD.balanceOf(caller), claimedOf(lease));
        vm.prank(caller);
        try COLLECTOR.draw(_terms[lease], words) {
            if (!untouched && words.amount + words.reward != 0 && !_wasLeft(lease, words)) unsigned = true;
            if (block.timestamp < words.notBefore) unsigned = true;
            uint256 got = ODD.balanceOf(caller) - had;
            rewards += got;
            if (got > (claimedOf(lease) - claimed) / 100 || got > words.reward) overpaid = true;
        } catch {}
    }

    /// @dev Whether the signer signed these words; a changed word may be what it was.
    function _wasLeft(uint256 lease, Handover memory words) private view returns (bool) {
        for (uint256 i = 0; i < _left[lease].length; ++i) {
            Handover storage left = _left[lease][i];
            bool same = left.amount == words.amount && left.notBefore == words.notBefore && left.reward == words.reward;
            if (same && left.r == words.r && left.vs == words.vs) return true;
        }
        return false;
    }

    function sweep(uint256 caller) external {
        vm.prank(callers()[caller % 3]);
        try COLLECTOR.sweep(address(ODD)) {} catch {}
    }

    /// @dev The provider's signer draws at the escrow, as it does while it lives.
    function ownDraw(uint256 lease, uint96 amount) external {
        lease %= LEASES;
        amount = uint96(bound(amount, 1, DEPOSIT / 4));
        bytes32 leaseId = ESCROW.leaseIdOf(_terms[lease]);
        Signature memory signature = signCompact(RECEIPT_KEY, ESCROW.receiptDigest(leaseId, amount));
        vm.prank(vm.addr(SIGNER_KEY));
        try ESCROW.draw(_terms[lease], amount, amount, signature.r, signature.vs) {} catch {}
    }

    function extend(uint256 lease, uint40 by) external {
        lease %= LEASES;
        (,, uint40 expiry,) = ESCROW.leaseOf(ESCROW.leaseIdOf(_terms[lease]));
        vm.prank(RENTER);
        try ESCROW.topUp(_terms[lease], 0, expiry + uint40(bound(by, 0, 3 days))) {} catch {}
    }

    function reclaim(uint256 lease) external {
        vm.prank(RENTER);
        try ESCROW.reclaim(_terms[lease % LEASES]) {} catch {}
    }

    function give(uint96 amount) external {
        amount = uint96(bound(amount, 1, DEPOSIT));
        ODD.mint(address(COLLECTOR), amount);
        gifts += amount;
    }

    function withdraw() external {
        try ESCROW.withdraw(address(ODD), address(COLLECTOR)) {} catch {}
    }

    /// @dev The token denies the collector or the payout address, or stops doing so.
    function deny(uint256 whom, uint256 how) external {
        OddToken.Denial denial = how % 3 == 0 ? OddToken.Denial.Revert : OddToken.Denial.None;
        ODD.deny(whom % 2 == 0 ? PAYOUT : address(COLLECTOR), denial);
    }

    function pass(uint256 time) external {
        vm.warp(block.timestamp + bound(time, 1, 8 hours));
    }
}
