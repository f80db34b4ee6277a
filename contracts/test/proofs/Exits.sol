// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../src/types/Lease.sol";
import {ClaimLeg, CloseLeg, NodeTerms} from "../../src/types/Legs.sol";
import {Signature} from "../utils/Signature.sol";
import {Picture, Proof} from "./Proof.sol";

/// @dev Liveness: whoever may make an exit can make it, whichever payees the token refuses, here by reverting. The one
/// failure that is left is a payment that was sent too little gas: Halmos does not count gas, so it tries that too.
abstract contract Exits is Proof {
    function refusesByReverting() internal pure override returns (bool) {
        return true;
    }

    function begin() internal view returns (Picture memory before) {
        before = picture();
        vm.assume(before.status == Status.Open);
        assumeSound(before);
        // More than all the money there is: a credit cannot overflow.
        vm.assume(escrow.creditOf(address(token), RENTER) < 1 << 200);
        vm.assume(escrow.creditOf(address(token), PROVIDER) < 1 << 200);
        vm.assume(escrow.creditOf(address(token), BUILDER) < 1 << 200);
    }

    /// @dev Whether the call was done, or not for its gas alone.
    function tried(address caller, bytes memory data) internal returns (bool done) {
        bytes memory answer;
        vm.prank(caller);
        (done, answer) = address(escrow).call(data);
        assert(done || bytes4(answer) == IEscrow.PaymentGasTooLow.selector);
    }

    function goodSignature(bytes32 digest, address signer) internal returns (Signature memory signature) {
        signature = someSignature();
        vm.assume(signed(digest, signature, signer) == 1);
    }

    function providersSide() internal returns (address) {
        return svm.createUint(1, "by the signer") == 1 ? SIGNER : PROVIDER;
    }

    /// @dev A provider with a receipt collects `min(receipt, deposit)`, at any time.
    function check_settle() external {
        Picture memory before = begin();
        uint96 cumulative = someAmount("cumulative");
        Signature memory good = goodSignature(escrow.receiptDigest(id, cumulative), KEY);
        bytes memory call = abi.encodeCall(escrow.settle, (terms(), cumulative, cumulative, good.r, good.vs));
        if (!tried(providersSide(), call)) return;
        Picture memory afterwards = picture();
        assert(afterwards.status == Status.Closed);
        uint256 due = cumulative < before.deposit ? cumulative : before.deposit;
        assert(afterwards.claimed == (due < before.claimed ? before.claimed : due));
        unchecked {
            uint256 earned = afterwards.provider - before.provider + afterwards.builder - before.builder;
            assert(earned == afterwards.claimed - before.claimed);
        }
    }

    function check_draw() external {
        Picture memory before = begin();
        uint96 cumulative = someAmount("cumulative");
        vm.assume(cumulative > before.claimed && before.deposit > before.claimed);
        Signature memory good = goodSignature(escrow.receiptDigest(id, cumulative), KEY);
        bytes memory call = abi.encodeCall(escrow.draw, (terms(), cumulative, cumulative, good.r, good.vs));
        if (!tried(providersSide(), call)) return;
        Picture memory afterwards = picture();
        assert(afterwards.claimed == (cumulative < before.deposit ? cumulative : before.deposit));
        unchecked {
            uint256 earned = afterwards.provider - before.provider + afterwards.builder - before.builder;
            assert(earned == afterwards.claimed - before.claimed);
        }
    }

    function check_close() external {
        begin();
        uint96 amount = someAmount("amount");
        Signature memory good = goodSignature(escrow.closingDigest(id, amount), SIGNER);
        if (!tried(RENTER, abi.encodeCall(escrow.close, (terms(), amount, good.r, good.vs)))) return;
        assert(picture().status == Status.Closed);
    }

    function check_reclaim() external {
        Picture memory before = begin();
        vm.assume(block.timestamp > before.expiry + grace);
        if (!tried(RENTER, abi.encodeCall(escrow.reclaim, (terms())))) return;
        assert(picture().status == Status.Closed);
    }

    /// @dev Once the token pays the payee again, and has the money, as solvency says that it does.
    function check_withdraw() external {
        uint256 credit = escrow.creditOf(address(token), PROVIDER);
        vm.assume(credit != 0 && !token.refuses(PROVIDER) && token.balanceOf(address(escrow)) >= credit);
        uint256 balance = token.balanceOf(PROVIDER);
        vm.assume(balance <= type(uint256).max - credit);
        assert(tried(anybody(), abi.encodeCall(escrow.withdraw, (address(token), PROVIDER))));
        assert(token.balanceOf(PROVIDER) == balance + credit && escrow.creditOf(address(token), PROVIDER) == 0);
    }

    /// @dev A leg that cannot be done, whatever its lease and its signature are, stops no other.
    function check_settleManyWithABadLeg() external {
        begin();
        ClaimLeg[] memory legs = new ClaimLeg[](2);
        legs[0].terms = terms();
        legs[0].terms.provider = address(0xBAD);
        legs[0].terms.providerSigner = address(0xBAD);
        legs[1].terms = terms();
        if (!tried(providersSide(), abi.encodeCall(escrow.settleMany, (legs)))) return;
        assert(picture().status == Status.Closed);
    }

    function check_closeManyWithABadLeg() external {
        Picture memory before = begin();
        CloseLeg[] memory legs = new CloseLeg[](2);
        legs[0].node = NodeTerms(address(0xBAD), address(0xBAD), 0); // nobody signed for it
        legs[1].node = node();
        legs[1].amount = uint96(before.claimed);
        Signature memory good = goodSignature(escrow.closingDigest(id, legs[1].amount), SIGNER);
        (legs[1].r, legs[1].vs) = (good.r, good.vs);
        legs[0].vs = bytes32(type(uint256).max);
        if (!tried(RENTER, abi.encodeCall(escrow.closeMany, (job(), legs)))) return;
        assert(picture().status == Status.Closed);
    }

    function check_reclaimManyWithABadLeg() external {
        Picture memory before = begin();
        vm.assume(block.timestamp > before.expiry + grace);
        Terms[] memory legs = new Terms[](2);
        legs[0] = terms();
        legs[0].renter = address(0xBAD);
        legs[1] = terms();
        if (!tried(RENTER, abi.encodeCall(escrow.reclaimMany, (legs)))) return;
        assert(picture().status == Status.Closed);
    }
}

/// @dev Every exit of the real escrow.
contract ExitsProof is Exits {}
