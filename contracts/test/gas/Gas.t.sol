// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {NodeDirectory} from "../../src/NodeDirectory.sol";
import {TestUsdc} from "../../src/test/TestUsdc.sol";
import {Terms} from "../../src/types/Lease.sol";
import {ClaimLeg, CloseLeg, OpenLeg, TopUpLeg} from "../../src/types/Legs.sol";
import {EscrowTest} from "../utils/EscrowTest.sol";
import {Signature} from "../utils/Signature.sol";

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
        escrow.settle(plainTerms(), 0, 0, 0, 0);
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

    function test_Draw() public {
        open(plainTerms());
        Signature memory signature = signReceipt(plainTerms(), DEPOSIT / 3);
        vm.prank(provider);
        escrow.draw(plainTerms(), DEPOSIT / 3, DEPOSIT / 3, signature.r, signature.vs);
        vm.snapshotGasLastCall(GROUP, "draw");
    }

    function test_Close() public {
        open(plainTerms());
        Signature memory signature = signClosing(plainTerms(), DEPOSIT / 3);
        vm.prank(renter);
        escrow.close(plainTerms(), DEPOSIT / 3, signature.r, signature.vs);
        vm.snapshotGasLastCall(GROUP, "close with refund");
    }

    function test_OpenWithAuthorization() public {
        TestUsdc usdc = TestUsdc(deployed("TestUsdc"));
        usdc.mint(renter, 2 * DEPOSIT);
        usdc.mint(address(escrow), 1);
        Terms memory terms = plainTerms();
        terms.token = address(usdc);
        bytes32 nonce = keccak256(abi.encode(escrow.leaseIdOf(terms), DEPOSIT, expiry));
        bytes memory signature = signAuthorization(usdc, RENTER_KEY, DEPOSIT, nonce);
        vm.prank(stranger);
        escrow.openWithAuthorization(terms, DEPOSIT, expiry, 0, block.timestamp + 1 hours, signature);
        vm.snapshotGasLastCall(GROUP, "openWithAuthorization");
    }

    /// @dev Three leases of one job, whose providers hold the token already.
    function three() private {
        for (uint256 i = 0; i < 3; ++i) {
            dai.mint(termsOf(i).provider, 1);
        }
        OpenLeg[] memory legs = openLegs(3);
        vm.prank(renter);
        escrow.openMany(job(), legs);
    }

    function test_OpenMany() public {
        three();
        vm.snapshotGasLastCall(GROUP, "openMany 3");
    }

    function test_TopUpMany() public {
        three();
        TopUpLeg[] memory legs = new TopUpLeg[](3);
        for (uint256 i = 0; i < 3; ++i) {
            legs[i] = topUpLeg(termsOf(i), DEPOSIT, expiry + 1 hours);
        }
        vm.prank(renter);
        escrow.topUpMany(job(), legs);
        vm.snapshotGasLastCall(GROUP, "topUpMany 3");
    }

    function claims() private view returns (ClaimLeg[] memory legs) {
        legs = new ClaimLeg[](3);
        for (uint256 i = 0; i < 3; ++i) {
            legs[i] = claimLeg(termsOf(i), DEPOSIT / 3, DEPOSIT / 3);
        }
    }

    function test_DrawMany() public {
        three();
        ClaimLeg[] memory legs = claims();
        vm.prank(providerSigner);
        escrow.drawMany(legs);
        vm.snapshotGasLastCall(GROUP, "drawMany 3 with builder");
    }

    function test_SettleMany() public {
        three();
        ClaimLeg[] memory legs = claims();
        vm.prank(providerSigner);
        escrow.settleMany(legs);
        vm.snapshotGasLastCall(GROUP, "settleMany 3 with refund and builder");
    }

    function test_CloseMany() public {
        three();
        CloseLeg[] memory legs = new CloseLeg[](3);
        for (uint256 i = 0; i < 3; ++i) {
            legs[i] = closeLeg(termsOf(i), DEPOSIT / 3);
        }
        vm.prank(renter);
        escrow.closeMany(job(), legs);
        vm.snapshotGasLastCall(GROUP, "closeMany 3 with refund and builder");
    }

    function test_ReclaimMany() public {
        three();
        Terms[] memory legs = new Terms[](3);
        for (uint256 i = 0; i < 3; ++i) {
            legs[i] = termsOf(i);
        }
        vm.warp(uint256(expiry) + 2 + GRACE + 1);
        vm.prank(renter);
        escrow.reclaimMany(legs);
        vm.snapshotGasLastCall(GROUP, "reclaimMany 3");
    }

    function test_Announce() public {
        NodeDirectory directory = NodeDirectory(deployed("NodeDirectory"));
        directory.announce(keccak256("endpoint"), new bytes(64));
        vm.snapshotGasLastCall("NodeDirectory", "announce 64 bytes");
    }
}
