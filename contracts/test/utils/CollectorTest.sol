// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ICollector} from "../../src/interfaces/ICollector.sol";
import {Handover} from "../../src/types/Handover.sol";
import {Terms} from "../../src/types/Lease.sol";
import {OddToken} from "../tokens/OddToken.sol";
import {EscrowTest} from "./EscrowTest.sol";
import {HandoverMaker} from "./HandoverMaker.sol";

/// @dev A collector, a lease of which it is the provider, and a watch-tower.
abstract contract CollectorTest is EscrowTest, HandoverMaker {
    uint96 internal constant EARNED = 30 ether;
    uint96 internal constant REWARD = 0.1 ether;

    ICollector internal collector;
    OddToken internal odd;
    address internal payout = vm.addr(0x9405);
    address internal tower = vm.addr(0x70E4);
    uint40 internal notBefore;
    Terms internal terms;
    bytes32 internal leaseId;

    function setUp() public virtual override {
        super.setUp();
        collector = ICollector(deployed("Collector", abi.encode(address(escrow), vm.addr(SIGNER_KEY), payout)));
        vm.label(address(collector), "collector");
        vm.label(payout, "payout");
        vm.label(tower, "tower");
        provider = address(collector);
        notBefore = expiry + GRACE / 2;
        odd = new OddToken();
        odd.mint(renter, 1000 ether);
        vm.prank(renter);
        odd.approve(address(escrow), type(uint256).max);
        terms = plainTerms();
        leaseId = open(terms);
    }

    /// @dev What the provider leaves when it has earned `amount`.
    function handover(uint96 amount) internal view returns (Handover memory) {
        return handover(amount, REWARD);
    }

    function handover(uint96 amount, uint96 reward) internal view returns (Handover memory words) {
        (words.amount, words.receiptCumulative, words.notBefore, words.reward) = (amount, amount, notBefore, reward);
        return handoverOf(collector, terms, words, RECEIPT_KEY, SIGNER_KEY);
    }

    /// @dev The tower uses it, in its first moment.
    function use(Handover memory words) internal {
        vm.warp(notBefore);
        vm.prank(tower);
        collector.draw(terms, words);
    }

    /// @dev A lease in the odd token instead.
    function openOdd() internal {
        terms.token = address(odd);
        leaseId = open(terms);
    }

    function assertOdd(address who, uint256 amount, string memory reason) internal view {
        assertEq(odd.balanceOf(who), amount, reason);
    }
}
