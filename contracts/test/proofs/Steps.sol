// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../src/types/Lease.sol";
import {ClaimLeg, CloseLeg, JobTerms, NodeTerms, OpenLeg, TopUpLeg} from "../../src/types/Legs.sol";
import {Signature} from "../utils/Signature.sol";
import {Deed, Picture, Proof} from "./Proof.sol";

/// @dev One call of each kind, by anybody, with any arguments, in any state; then `judge` compares the world before and
/// after. A property that holds for every step holds for every history. A call that reverts changes nothing.
abstract contract Steps is Proof {
    /// @dev Fails if the step was wrong. `exit` says that the call was a draw, settle, close or reclaim.
    function judge(Picture memory before, Picture memory afterwards, Deed memory deed, bool exit) internal view virtual;

    function begin() internal returns (Picture memory before, Deed memory deed) {
        before = picture();
        assumeSound(before);
        deed.caller = anybody();
    }

    function end(Picture memory before, Deed memory deed, bool exit) internal view {
        Picture memory afterwards = picture();
        assert(isSound(afterwards) == 1);
        judge(before, afterwards, deed, exit);
    }

    // -------------------------------------------------------------- deposits

    function check_open() external {
        (Picture memory before, Deed memory deed) = begin();
        vm.prank(deed.caller);
        escrow.open(terms(), someAmount("deposit"), uint40(svm.createUint(40, "expiry")));
        end(before, deed, false);
    }

    function check_openWithPermit() external {
        (Picture memory before, Deed memory deed) = begin();
        vm.prank(deed.caller);
        escrow.openWithPermit(terms(), someAmount("deposit"), uint40(svm.createUint(40, "expiry")), 0, 0, 0, 0);
        end(before, deed, false);
    }

    function check_openWithAuthorization() external {
        (Picture memory before, Deed memory deed) = begin();
        Signature memory some = someSignature();
        bytes memory signature = abi.encodePacked(some.r, some.vs, uint8(svm.createUint(8, "v")));
        vm.prank(deed.caller);
        escrow.openWithAuthorization(
            terms(), someAmount("deposit"), uint40(svm.createUint(40, "expiry")), 0, 0, signature
        );
        end(before, deed, false);
    }

    function check_topUp() external {
        (Picture memory before, Deed memory deed) = begin();
        vm.prank(deed.caller);
        escrow.topUp(terms(), someAmount("more"), uint40(svm.createUint(40, "expiry")));
        end(before, deed, false);
    }

    function check_topUpWithPermit() external {
        (Picture memory before, Deed memory deed) = begin();
        vm.prank(deed.caller);
        escrow.topUpWithPermit(terms(), someAmount("more"), uint40(svm.createUint(40, "expiry")), 0, 0, 0, 0);
        end(before, deed, false);
    }

    function check_openMany() external {
        (Picture memory before, Deed memory deed) = begin();
        OpenLeg[] memory legs = new OpenLeg[](1);
        legs[0] = OpenLeg(node(), someAmount("deposit"), uint40(svm.createUint(40, "expiry")));
        vm.prank(deed.caller);
        escrow.openMany(job(), legs);
        end(before, deed, false);
    }

    function check_openManyWithPermit() external {
        (Picture memory before, Deed memory deed) = begin();
        OpenLeg[] memory legs = new OpenLeg[](1);
        legs[0] = OpenLeg(node(), someAmount("deposit"), uint40(svm.createUint(40, "expiry")));
        vm.prank(deed.caller);
        escrow.openManyWithPermit(job(), legs, 0, 0, 0, 0);
        end(before, deed, false);
    }

    function check_openManyWithAuthorization() external {
        (Picture memory before, Deed memory deed) = begin();
        OpenLeg[] memory legs = new OpenLeg[](1);
        legs[0] = OpenLeg(node(), someAmount("deposit"), uint40(svm.createUint(40, "expiry")));
        Signature memory some = someSignature();
        bytes memory signature = abi.encodePacked(some.r, some.vs, uint8(svm.createUint(8, "v")));
        vm.prank(deed.caller);
        escrow.openManyWithAuthorization(job(), legs, 0, 0, signature);
        end(before, deed, false);
    }

    function check_topUpMany() external {
        (Picture memory before, Deed memory deed) = begin();
        TopUpLeg[] memory legs = new TopUpLeg[](1);
        legs[0] = TopUpLeg(node(), someAmount("more"), uint40(svm.createUint(40, "expiry")));
        vm.prank(deed.caller);
        escrow.topUpMany(job(), legs);
        end(before, deed, false);
    }

    function check_topUpManyWithPermit() external {
        (Picture memory before, Deed memory deed) = begin();
        TopUpLeg[] memory legs = new TopUpLeg[](1);
        legs[0] = TopUpLeg(node(), someAmount("more"), uint40(svm.createUint(40, "expiry")));
        vm.prank(deed.caller);
        escrow.topUpManyWithPermit(job(), legs, 0, 0, 0, 0);
        end(before, deed, false);
    }

    // ----------------------------------------------------------------- exits

    function claim(Deed memory deed)
        private
        returns (uint96 amount, uint96 cumulative, Signature memory signature)
    {
        (amount, cumulative) = (someAmount("amount"), someAmount("cumulative"));
        signature = someSignature();
        deed.amount = amount;
        deed.receiptSigned = one(amount <= cumulative) & signed(escrow.receiptDigest(id, cumulative), signature, KEY);
    }

    function check_draw() external {
        (Picture memory before, Deed memory deed) = begin();
        (uint96 amount, uint96 cumulative, Signature memory signature) = claim(deed);
        vm.prank(deed.caller);
        escrow.draw(terms(), amount, cumulative, signature.r, signature.vs);
        end(before, deed, true);
    }

    function check_settle() external {
        (Picture memory before, Deed memory deed) = begin();
        (uint96 amount, uint96 cumulative, Signature memory signature) = claim(deed);
        vm.prank(deed.caller);
        escrow.settle(terms(), amount, cumulative, signature.r, signature.vs);
        end(before, deed, true);
    }

    function check_close() external {
        (Picture memory before, Deed memory deed) = begin();
        (uint96 amount,, Signature memory signature) = claim(deed);
        deed.receiptSigned = 0;
        deed.closingSigned = signed(escrow.closingDigest(id, amount), signature, SIGNER);
        vm.prank(deed.caller);
        escrow.close(terms(), amount, signature.r, signature.vs);
        end(before, deed, true);
    }

    function check_reclaim() external {
        (Picture memory before, Deed memory deed) = begin();
        vm.prank(deed.caller);
        escrow.reclaim(terms());
        end(before, deed, true);
    }

    function claimLegs(Deed memory deed) private returns (ClaimLeg[] memory legs) {
        legs = new ClaimLeg[](1);
        (uint96 amount, uint96 cumulative, Signature memory signature) = claim(deed);
        legs[0] = ClaimLeg(terms(), amount, cumulative, signature.r, signature.vs);
    }

    function check_drawMany() external {
        (Picture memory before, Deed memory deed) = begin();
        ClaimLeg[] memory legs = claimLegs(deed);
        vm.prank(deed.caller);
        escrow.drawMany(legs);
        end(before, deed, true);
    }

    function check_settleMany() external {
        (Picture memory before, Deed memory deed) = begin();
        ClaimLeg[] memory legs = claimLegs(deed);
        vm.prank(deed.caller);
        escrow.settleMany(legs);
        end(before, deed, true);
    }

    function check_closeMany() external {
        (Picture memory before, Deed memory deed) = begin();
        (uint96 amount,, Signature memory signature) = claim(deed);
        deed.receiptSigned = 0;
        deed.closingSigned = signed(escrow.closingDigest(id, amount), signature, SIGNER);
        CloseLeg[] memory legs = new CloseLeg[](1);
        legs[0] = CloseLeg(node(), amount, signature.r, signature.vs);
        vm.prank(deed.caller);
        escrow.closeMany(job(), legs);
        end(before, deed, true);
    }

    function check_reclaimMany() external {
        (Picture memory before, Deed memory deed) = begin();
        Terms[] memory legs = new Terms[](1);
        legs[0] = terms();
        vm.prank(deed.caller);
        escrow.reclaimMany(legs);
        end(before, deed, true);
    }

    function check_withdraw() external {
        (Picture memory before, Deed memory deed) = begin();
        uint256 payee = svm.createUint(2, "payee");
        vm.prank(deed.caller);
        escrow.withdraw(address(token), payee == 0 ? RENTER : payee == 1 ? PROVIDER : BUILDER);
        end(before, deed, false);
    }
}
