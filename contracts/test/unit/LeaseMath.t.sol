// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {LeaseMath} from "../../src/libraries/LeaseMath.sol";
import {Lease, Status, packLease} from "../../src/types/Lease.sol";
import {Test} from "../utils/Test.sol";

/// @dev The arithmetic alone, over its whole documented domain.
contract LeaseMathTest is Test {
    function testFuzz_NothingIsLostOrMade(uint96 deposit, uint96 claimed, uint96 amount, uint16 bps) public pure {
        claimed = uint96(bound(claimed, 0, deposit));
        bps = uint16(bound(bps, 0, 10_000));
        (uint96 total, uint96 toProvider, uint96 toBuilder, uint96 left) =
            LeaseMath.split(deposit, claimed, amount, bps);
        assertEq(uint256(claimed) + toProvider + toBuilder + left, deposit, "the parts are not the whole");
        assertEq(total, uint256(claimed) + toProvider + toBuilder, "the total is not what was paid");
        assertTrue(total >= claimed && total <= deposit, "the total is out of range");
        assertTrue(total <= amount || total == claimed, "more than was asked");
    }

    function testFuzz_ManyClaimsPayTheBuilderWhatOneDoes(uint96 deposit, uint96 first, uint96 second, uint16 bps)
        public
        pure
    {
        bps = uint16(bound(bps, 0, 10_000));
        second = uint96(bound(second, 0, deposit));
        first = uint96(bound(first, 0, second));
        (uint96 total,, uint96 builderFirst,) = LeaseMath.split(deposit, 0, first, bps);
        (,, uint96 builderSecond,) = LeaseMath.split(deposit, total, second, bps);
        (,, uint96 builderOnce,) = LeaseMath.split(deposit, 0, second, bps);
        assertEq(uint256(builderFirst) + builderSecond, builderOnce, "the builder lost or gained by a draw");
    }

    function testFuzz_TheShareIsRoundedDown(uint96 claimed, uint16 bps) public pure {
        bps = uint16(bound(bps, 0, 10_000));
        uint256 share = LeaseMath.builderTotal(claimed, bps);
        uint256 exact = uint256(claimed) * bps;
        assertTrue(share * 10_000 <= exact && exact < (share + 1) * 10_000, "not the floor");
    }

    function testFuzz_ALeaseComesBackFromItsWord(uint96 deposit, uint96 claimed, uint40 expiry, uint8 status)
        public
        pure
    {
        Status of_ = Status(bound(status, 0, 2));
        Lease lease = packLease(deposit, claimed, expiry, of_);
        assertEq(lease.depositOf(), deposit, "deposit");
        assertEq(lease.claimedOf(), claimed, "claimed");
        assertEq(lease.expiryOf(), expiry, "expiry");
        assertEq(uint8(lease.statusOf()), uint8(of_), "status");
        for (uint8 other = 0; other <= 2; ++other) {
            assertTrue(lease.isIn(Status(other)) == (Status(other) == of_), "isIn");
        }
    }
}
