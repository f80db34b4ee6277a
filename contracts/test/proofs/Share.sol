// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {LeaseMath} from "../../src/libraries/LeaseMath.sol";
import {Status} from "../../src/types/Lease.sol";
import {Signature} from "../utils/Signature.sol";
import {Picture, Proof} from "./Proof.sol";

/// @dev The builder's bound: over a lease's life the builder gets its share of all that was claimed, rounded down once,
/// and the provider all the rest. Halmos does not multiply unknown numbers by itself: what is assumed of the product is
/// what `arithmetic.py` proves of whole numbers, and that such a share is at most a tenth it proves as well.
abstract contract Share is Proof {
    function share() internal virtual override returns (uint16) {
        uint256 any = svm.createUint(16, "bps");
        vm.assume(any <= 1000);
        return uint16(any);
    }

    /// @dev The builder's total grows with what is claimed, and by no more than that.
    function assumeArithmetic(uint96 from, uint96 to, uint16 parts) internal pure {
        unchecked {
            uint256 low = LeaseMath.builderTotal(from, parts);
            uint256 high = LeaseMath.builderTotal(to, parts);
            vm.assume(one(to < from) | (one(low <= high) & one(high - low <= to - from)) == 1);
        }
    }

    /// @dev Every unit of a deposit goes to exactly one payee, for all deposits, claims and shares.
    function check_split(uint96 deposit, uint96 claimed, uint96 amount) external view {
        vm.assume(claimed <= deposit);
        assumeArithmetic(claimed, deposit, bps);
        assumeArithmetic(claimed, amount, bps);
        (uint96 total, uint96 toProvider, uint96 toBuilder, uint96 left) =
            LeaseMath.split(deposit, claimed, amount, bps);
        assert(total >= claimed && total <= deposit);
        assert(total == claimed || total == amount || total == deposit);
        assert(uint256(toProvider) + toBuilder == total - claimed);
        assert(uint256(total) + left == deposit);
        assert(uint256(LeaseMath.builderTotal(claimed, bps)) + toBuilder == uint256(LeaseMath.builderTotal(total, bps)));
    }

    /// @dev The escrow pays each its own part of such a split, here to payees that take it.
    function check_settle() external {
        Picture memory before = picture();
        vm.assume(before.status == Status.Open);
        assumeSound(before);
        vm.assume(!token.refuses(PROVIDER) && !token.refuses(BUILDER) && !token.refuses(RENTER));
        uint96 amount = someAmount("amount");
        Signature memory some = someSignature();
        (, uint96 toProvider, uint96 toBuilder, uint96 left) =
            LeaseMath.split(uint96(before.deposit), uint96(before.claimed), amount, bps);
        vm.prank(PROVIDER);
        escrow.settle(terms(), amount, amount, some.r, some.vs);
        Picture memory afterwards = picture();
        unchecked {
            assert(afterwards.provider - before.provider == toProvider);
            assert(afterwards.builder - before.builder == toBuilder);
            assert(afterwards.renter - before.renter == left);
        }
    }
}

/// @dev The share in the real escrow.
contract ShareProof is Share {}
