// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {NodeDirectory} from "../../src/NodeDirectory.sol";
import {Terms} from "../../src/types/Lease.sol";
import {EscrowTest} from "../utils/EscrowTest.sol";

/// @dev The full transaction gas of every call, written to `snapshots/`. Run with `--isolate`, so that each call
/// is a transaction of its own. Balances are as in daily use: the escrow and the payees hold the token already,
/// and the renter has given a standing allowance unless a permit is measured.
contract GasTest is EscrowTest {
    string private constant GROUP = "Escrow";

    function setUp() public override {
        super.setUp();
        dai.mint(address(escrow), 1);
        dai.mint(provider, 1);
        dai.mint(builder, 1);
    }

    function test_Open() public {
        open(plainTerms());
        vm.snapshotGasLastCall(GROUP, "open");
    }

    function test_OpenWithPermit() public {
        vm.prank(renter);
        dai.approve(address(escrow), 0);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(RENTER_KEY, DEPOSIT, block.timestamp);
        vm.prank(renter);
        escrow.openWithPermit(plainTerms(), DEPOSIT, expiry, block.timestamp, v, r, s);
        vm.snapshotGasLastCall(GROUP, "openWithPermit");
    }

    function test_TopUp() public {
        open(plainTerms());
        vm.prank(renter);
        escrow.topUp(plainTerms(), DEPOSIT, expiry + 1 hours);
        vm.snapshotGasLastCall(GROUP, "topUp");
    }

    function test_TopUpWithPermit() public {
        open(plainTerms());
        vm.prank(renter);
        dai.approve(address(escrow), 0);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(RENTER_KEY, DEPOSIT, block.timestamp);
        vm.prank(renter);
        escrow.topUpWithPermit(plainTerms(), DEPOSIT, expiry + 1 hours, block.timestamp, v, r, s);
        vm.snapshotGasLastCall(GROUP, "topUpWithPermit");
    }

    function test_Settle() public {
        open(plainTerms());
        settle(plainTerms(), DEPOSIT / 3);
        vm.snapshotGasLastCall(GROUP, "settle with refund");
    }

    function test_SettleWithBuilder() public {
        open(builderTerms());
        settle(builderTerms(), DEPOSIT / 3);
        vm.snapshotGasLastCall(GROUP, "settle with refund and builder");
    }

    function test_SettleNothing() public {
        open(plainTerms());
        vm.prank(provider);
        escrow.settle(plainTerms(), 0, 0, "");
        vm.snapshotGasLastCall(GROUP, "settle nothing");
    }

    function test_Reclaim() public {
        Terms memory terms = plainTerms();
        open(terms);
        vm.warp(uint256(expiry) + GRACE + 1);
        vm.prank(renter);
        escrow.reclaim(terms);
        vm.snapshotGasLastCall(GROUP, "reclaim");
    }

    function test_Announce() public {
        NodeDirectory directory = new NodeDirectory();
        directory.announce(keccak256("endpoint"), new bytes(64));
        vm.snapshotGasLastCall("NodeDirectory", "announce 64 bytes");
    }
}
