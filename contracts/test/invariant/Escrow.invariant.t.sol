// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {Checks} from "./Checks.sol";
import {Handler} from "./Handler.sol";

/// @dev The invariants over sequences of actions that the fuzzer draws.
contract EscrowInvariantTest is Checks {
    Handler private _handler;

    function setUp() public {
        vm.warp(1_800_000_000);
        _handler = new Handler(IEscrow(deployed("Escrow")));
    }

    /// @dev Forge calls the handler and nothing else.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_Conservation() external view {
        checkConservation(_handler);
    }

    function invariant_Solvency() external view {
        checkSolvency(_handler);
    }

    function invariant_Entitlement() external {
        checkEntitlement(_handler);
    }

    function invariant_RenterBound() external view {
        checkRenterBound(_handler);
    }

    function invariant_BuilderBound() external view {
        checkBuilderBound(_handler);
    }

    function invariant_NoThirdPartyClose() external view {
        checkNoThirdPartyClose(_handler);
    }

    function invariant_Liveness() external {
        checkLiveness(_handler);
    }

    function invariant_Idempotence() external view {
        checkIdempotence(_handler);
    }

    function invariant_ClosedForEver() external view {
        checkClosedForEver(_handler);
    }
}
