// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Terms} from "../../src/types/Lease.sol";
import {ClaimLeg, CloseLeg, OpenLeg} from "../../src/types/Legs.sol";
import {Signature} from "../utils/Signature.sol";
import {Picture, Proof} from "./Proof.sol";

/// @dev Idempotence: a call that was sent twice does what it does once. Alone it then reverts, among others it is
/// skipped. Top-ups are absent: sending one twice adds twice, as it says.
abstract contract Twice is Proof {
    function twice(address caller, bytes memory data, bool alone) internal {
        assumeSound(picture());
        vm.prank(caller);
        (bool done,) = address(escrow).call(data);
        vm.assume(done);
        bytes32 once = keccak256(abi.encode(picture()));
        vm.prank(caller);
        (done,) = address(escrow).call(data);
        assert(!(alone && done));
        assert(keccak256(abi.encode(picture())) == once);
    }

    function providersSide() internal returns (address) {
        return svm.createUint(1, "by the signer") == 1 ? SIGNER : PROVIDER;
    }

    function check_open() external {
        uint40 expiry = uint40(svm.createUint(40, "expiry"));
        twice(RENTER, abi.encodeCall(escrow.open, (terms(), someAmount("deposit"), expiry)), true);
    }

    function check_openMany() external {
        OpenLeg[] memory legs = new OpenLeg[](1);
        legs[0] = OpenLeg(node(), someAmount("deposit"), uint40(svm.createUint(40, "expiry")));
        twice(RENTER, abi.encodeCall(escrow.openMany, (job(), legs)), true);
    }

    function check_openManyWithPermit() external {
        OpenLeg[] memory legs = new OpenLeg[](1);
        legs[0] = OpenLeg(node(), someAmount("deposit"), uint40(svm.createUint(40, "expiry")));
        twice(RENTER, abi.encodeCall(escrow.openManyWithPermit, (job(), legs, 0, 0, 0, 0)), true);
    }

    function check_draw() external {
        Signature memory some = someSignature();
        uint96 amount = someAmount("amount");
        twice(providersSide(), abi.encodeCall(escrow.draw, (terms(), amount, amount, some.r, some.vs)), true);
    }

    function check_settle() external {
        Signature memory some = someSignature();
        uint96 amount = someAmount("amount");
        twice(providersSide(), abi.encodeCall(escrow.settle, (terms(), amount, amount, some.r, some.vs)), true);
    }

    function check_close() external {
        Signature memory some = someSignature();
        twice(RENTER, abi.encodeCall(escrow.close, (terms(), someAmount("amount"), some.r, some.vs)), true);
    }

    function check_reclaim() external {
        twice(RENTER, abi.encodeCall(escrow.reclaim, (terms())), true);
    }

    function check_withdraw() external {
        twice(anybody(), abi.encodeCall(escrow.withdraw, (address(token), PROVIDER)), true);
    }

    function claimLegs() private returns (ClaimLeg[] memory legs) {
        legs = new ClaimLeg[](1);
        uint96 amount = someAmount("amount");
        Signature memory some = someSignature();
        legs[0] = ClaimLeg(terms(), amount, amount, some.r, some.vs);
    }

    function check_drawMany() external {
        twice(providersSide(), abi.encodeCall(escrow.drawMany, (claimLegs())), false);
    }

    function check_settleMany() external {
        twice(providersSide(), abi.encodeCall(escrow.settleMany, (claimLegs())), false);
    }

    function check_closeMany() external {
        CloseLeg[] memory legs = new CloseLeg[](1);
        Signature memory some = someSignature();
        legs[0] = CloseLeg(node(), someAmount("amount"), some.r, some.vs);
        twice(RENTER, abi.encodeCall(escrow.closeMany, (job(), legs)), false);
    }

    function check_reclaimMany() external {
        Terms[] memory legs = new Terms[](1);
        legs[0] = terms();
        twice(RENTER, abi.encodeCall(escrow.reclaimMany, (legs)), false);
    }
}

/// @dev Every call of the real escrow that can be idempotent.
contract TwiceProof is Twice {}
