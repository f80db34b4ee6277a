// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title LeaseMath
/// @notice The arithmetic of paying out a lease. Pure and total over its documented domain; every amount is in
/// units of the lease's token, and every unit that leaves the deposit goes to exactly one payee.
library LeaseMath {
    /// @dev What one basis point is a part of.
    uint256 internal constant BPS = 10_000;

    /// @notice Divides what is due when the provider claims `amount` in all.
    /// @dev Needs `claimed <= deposit` and `builderBps <= BPS`. An amount above the deposit claims the deposit,
    /// an amount below what was claimed before claims nothing more. The builder's running total is
    /// `builderTotal(claimed)`, so that many small claims pay it what one large claim does.
    function split(uint96 deposit, uint96 claimed, uint96 amount, uint16 builderBps)
        internal
        pure
        returns (uint96 total, uint96 toProvider, uint96 toBuilder, uint96 left)
    {
        total = amount < deposit ? amount : deposit;
        if (total < claimed) total = claimed;
        // Nothing can underflow: claimed <= total <= deposit, and the builder's total grows with, and is at most
        // as steep as, what was claimed.
        unchecked {
            toBuilder = builderTotal(total, builderBps) - builderTotal(claimed, builderBps);
            toProvider = total - claimed - toBuilder;
            left = deposit - total;
        }
    }

    /// @notice The builder's share of all that was claimed, rounded down.
    function builderTotal(uint96 claimed, uint16 builderBps) internal pure returns (uint96) {
        unchecked {
            // forge-lint: disable-next-line(unsafe-typecast) -- builderBps <= BPS: at most `claimed`
            return uint96(uint256(claimed) * builderBps / BPS);
        }
    }
}
