// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title LeaseMath
/// @notice The arithmetic of paying out a lease. Pure and total over its documented domain; every amount is in
/// units of the lease's token, and every unit that leaves the deposit goes to exactly one payee.
library LeaseMath {
    /// @dev What one basis point is a part of.
    uint256 internal constant BPS = 10_000;

    /// @notice How one payment divides.
    /// @param claimed The lease's new running total of what provider and builder were paid.
    /// @param toProvider What the provider gets now.
    /// @param toBuilder What the builder gets now.
    /// @param left What remains of the deposit.
    struct Split {
        uint96 claimed;
        uint96 toProvider;
        uint96 toBuilder;
        uint96 left;
    }

    /// @notice Divides what is due when the provider claims `amount` in all.
    /// @dev Needs `claimed <= deposit` and `builderBps <= BPS`. An amount above the deposit claims the deposit,
    /// an amount below what was claimed before claims nothing more. The builder's running total is
    /// `builderTotal(claimed)`, so that many small claims pay it what one large claim does.
    function split(uint96 deposit, uint96 claimed, uint96 amount, uint16 builderBps)
        internal
        pure
        returns (Split memory)
    {
        uint96 total = amount < deposit ? amount : deposit;
        if (total < claimed) total = claimed;
        uint96 toBuilder = builderTotal(total, builderBps) - builderTotal(claimed, builderBps);
        return
            Split({
                claimed: total, toProvider: total - claimed - toBuilder, toBuilder: toBuilder, left: deposit - total
            });
    }

    /// @notice The builder's share of all that was claimed, rounded down.
    function builderTotal(uint96 claimed, uint16 builderBps) internal pure returns (uint96) {
        // forge-lint: disable-next-line(unsafe-typecast) -- builderBps <= BPS: the quotient is at most `claimed`
        return uint96(uint256(claimed) * builderBps / BPS);
    }
}
