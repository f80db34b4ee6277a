// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ICollector} from "../../../src/interfaces/ICollector.sol";
import {OddToken} from "../../tokens/OddToken.sol";
import {SilentToken} from "../../tokens/SilentToken.sol";
import {CollectorTest} from "../../utils/CollectorTest.sol";

contract CollectorSweepTest is CollectorTest {
    function test_RevertGiven_ThereIsNothingHere() public {
        expectRevert(abi.encodeWithSelector(ICollector.NothingToSweep.selector, address(dai)));
        collector.sweep(address(dai));
    }

    function keeps(OddToken.Denial how) private {
        odd.mint(address(collector), EARNED);
        odd.deny(payout, how);
        vm.expectRevert();
        collector.sweep(address(odd));
        assertOdd(address(collector), EARNED, "it stays");
    }

    function test_RevertGiven_ThePayoutAddressCannotBePaid() public {
        keeps(OddToken.Denial.Revert);
    }

    function test_RevertGiven_TheTokenReturnsFalse() public {
        keeps(OddToken.Denial.ReturnFalse);
    }

    function test_GivenTheTokenSaysNothingOnTransfer() public {
        SilentToken silent = new SilentToken();
        silent.mint(address(collector), EARNED);
        collector.sweep(address(silent));
        assertEq(silent.balanceOf(payout), EARNED, "all");
    }

    function test_GivenTheProviderWasPaidAtTheEscrow() public {
        settle(terms, EARNED);
        vm.prank(stranger);
        collector.sweep(address(dai));
        assertBalance(payout, EARNED, "all");
        assertBalance(stranger, 0, "whoever calls");
    }

    function test_WhenAllIsWell() public {
        dai.mint(address(collector), EARNED);
        vm.expectEmit(address(collector));
        emit ICollector.Swept(address(dai), EARNED);
        collector.sweep(address(dai));
    }
}
