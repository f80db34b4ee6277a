// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../../src/types/Lease.sol";
import {OddToken} from "../../tokens/OddToken.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";
import {Signature} from "../../utils/Signature.sol";

contract DrawTest is EscrowTest {
    uint96 private constant EARNED = 30 ether;

    Terms private terms;
    bytes32 private leaseId;

    function setUp() public override {
        super.setUp();
        terms = builderTerms();
        leaseId = open(terms);
    }

    function draw(uint96 amount) private {
        Signature memory signature = signReceipt(terms, amount);
        vm.prank(provider);
        escrow.draw(terms, amount, amount, signature.r, signature.vs);
    }

    function refuses(address caller, uint96 amount, uint96 cumulative, Signature memory signature, bytes memory why)
        private
    {
        expectRevert(why);
        vm.prank(caller);
        escrow.draw(terms, amount, cumulative, signature.r, signature.vs);
    }

    function nothing(uint96 amount, uint96 claimed) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IEscrow.NothingToDraw.selector, amount, claimed, DEPOSIT);
    }

    function test_RevertWhen_TheCallerIsTheRenter() public {
        bytes memory why = abi.encodeWithSelector(IEscrow.CallerNotProvider.selector, renter, provider, providerSigner);
        refuses(renter, EARNED, EARNED, signReceipt(terms, EARNED), why);
    }

    function test_RevertWhen_TheCallerIsAStranger() public {
        bytes memory why =
            abi.encodeWithSelector(IEscrow.CallerNotProvider.selector, stranger, provider, providerSigner);
        refuses(stranger, EARNED, EARNED, signReceipt(terms, EARNED), why);
    }

    function test_RevertGiven_ThereIsNoLease() public {
        terms.salt = keccak256("never opened");
        bytes32 id = escrow.leaseIdOf(terms);
        bytes memory why = abi.encodeWithSelector(IEscrow.LeaseNotOpen.selector, id, Status.None);
        refuses(provider, EARNED, EARNED, signReceipt(terms, EARNED), why);
    }

    function test_RevertGiven_TheLeaseIsClosed() public {
        settle(terms, 1);
        bytes memory why = abi.encodeWithSelector(IEscrow.LeaseNotOpen.selector, leaseId, Status.Closed);
        refuses(provider, EARNED, EARNED, signReceipt(terms, EARNED), why);
    }

    function test_RevertWhen_TheAmountIsAboveTheReceipt() public {
        bytes memory why = abi.encodeWithSelector(IEscrow.AmountAboveReceipt.selector, EARNED + 1, EARNED);
        refuses(provider, EARNED + 1, EARNED, signReceipt(terms, EARNED), why);
    }

    function test_RevertWhen_TheSignatureIsByAnotherKey() public {
        bytes memory why = abi.encodeWithSelector(IEscrow.WrongReceiptSigner.selector, renter, receiptKey);
        refuses(provider, EARNED, EARNED, signReceiptWith(RENTER_KEY, terms, EARNED), why);
    }

    /// @dev Even where one key plays both parts, a closing amount is no receipt.
    function test_RevertWhen_TheSignatureIsAClosingOfTheProvider() public {
        Signature memory signature = signClosingWith(RECEIPT_KEY, terms, EARNED);
        vm.prank(provider);
        try escrow.draw(terms, EARNED, EARNED, signature.r, signature.vs) {
            assertTrue(false, "a closing amount was taken for a receipt");
        } catch (bytes memory why) {
            assertTrue(bytes4(why) == IEscrow.WrongReceiptSigner.selector, "another error");
        }
    }

    function test_RevertWhen_NothingIsDrawn() public {
        refuses(provider, 0, 0, Signature(0, 0), nothing(0, 0));
        refuses(provider, 0, EARNED, signReceipt(terms, EARNED), nothing(0, 0));
    }

    function test_RevertGiven_AsMuchWasDrawnBefore() public {
        draw(EARNED);
        refuses(provider, EARNED, EARNED, signReceipt(terms, EARNED), nothing(EARNED, EARNED));
        assertLease(leaseId, DEPOSIT, EARNED, expiry, Status.Open);
    }

    function test_RevertGiven_MoreWasDrawnBefore() public {
        draw(EARNED);
        refuses(provider, EARNED - 1, EARNED - 1, signReceipt(terms, EARNED - 1), nothing(EARNED - 1, EARNED));
        assertLease(leaseId, DEPOSIT, EARNED, expiry, Status.Open);
    }

    function test_RevertWhen_ItDrawsWithAHigherReceipt() public {
        draw(DEPOSIT);
        refuses(provider, DEPOSIT + 1, DEPOSIT + 1, signReceipt(terms, DEPOSIT + 1), nothing(DEPOSIT + 1, DEPOSIT));
    }

    function test_WhenTheDepositIsToppedUp() public {
        draw(DEPOSIT + 10 ether);
        vm.prank(renter);
        escrow.topUp(terms, 4 ether, 0);
        draw(DEPOSIT + 10 ether);
        assertLease(leaseId, DEPOSIT + 4 ether, DEPOSIT + 4 ether, expiry, Status.Open);
        assertBalance(provider, 98.8 ether, "the provider");
        assertBalance(builder, 5.2 ether, "the builder");
    }

    function test_WhenTheReceiptIsAboveTheDeposit() public {
        draw(type(uint96).max);
        assertLease(leaseId, DEPOSIT, DEPOSIT, expiry, Status.Open);
        assertBalance(provider, 95 ether, "the provider");
    }

    function test_WhenTheCallerIsTheProviderSigner() public {
        Signature memory signature = signReceipt(terms, EARNED);
        vm.prank(providerSigner);
        escrow.draw(terms, EARNED, EARNED, signature.r, signature.vs);
        assertBalance(provider, 28.5 ether, "the provider");
        assertBalance(providerSigner, 0, "the signer was paid");
    }

    function test_GivenTheLeaseIsPastItsExpiryAndGraceButNotReclaimed() public {
        vm.warp(uint256(expiry) + GRACE + 1000 days);
        draw(EARNED);
        assertBalance(provider, 28.5 ether, "the provider");
    }

    function test_GivenTheProviderIsDeniedByTheToken() public {
        OddToken odd = new OddToken();
        odd.mint(renter, DEPOSIT);
        vm.prank(renter);
        odd.approve(address(escrow), DEPOSIT);
        terms.token = address(odd);
        leaseId = open(terms);
        odd.deny(provider, OddToken.Denial.Revert);
        draw(EARNED);
        assertLease(leaseId, DEPOSIT, EARNED, expiry, Status.Open);
        assertEq(escrow.creditOf(address(odd), provider), 28.5 ether, "the provider's credit");
        assertEq(odd.balanceOf(builder), 1.5 ether, "the builder");
    }

    /// @dev An account that EIP-7702 has given code still signs with its key.
    function test_GivenTheReceiptKeyHasCode() public {
        vm.etch(receiptKey, abi.encodePacked(hex"ef0100", address(dai)));
        draw(EARNED);
        assertBalance(provider, 28.5 ether, "the provider");
    }

    function test_WhenItDrawsSeveralTimes() public {
        for (uint96 i = 1; i <= 9; ++i) {
            draw(i * 19);
            assertLease(leaseId, DEPOSIT, i * 19, expiry, Status.Open);
            assertEq(dai.balanceOf(provider) + dai.balanceOf(builder), i * 19, "what was paid in all");
        }
        assertBalance(builder, 8, "the builder: floor(171 x 5 %), though each draw alone would round to nothing");
    }

    function test_WhenItDrawsAndSettles() public {
        uint256 before = dai.balanceOf(renter);
        draw(EARNED);
        settle(terms, EARNED + 10 ether);
        assertLease(leaseId, DEPOSIT, EARNED + 10 ether, expiry, Status.Closed);
        assertBalance(provider, 38 ether, "the provider");
        assertBalance(builder, 2 ether, "the builder");
        assertBalance(renter, before + 60 ether, "the renter");
    }

    function test_WhenItDrawsAndTheRenterReclaims() public {
        uint256 before = dai.balanceOf(renter);
        draw(EARNED);
        vm.warp(uint256(expiry) + GRACE + 1);
        vm.prank(renter);
        escrow.reclaim(terms);
        assertLease(leaseId, DEPOSIT, EARNED, expiry, Status.Closed);
        assertBalance(renter, before + 70 ether, "the renter");
        assertBalance(address(escrow), 0, "the escrow kept something");
    }

    function test_WhenAllIsWell() public {
        Signature memory signature = signReceipt(terms, EARNED + 1);
        vm.expectEmit(address(escrow));
        emit IEscrow.LeaseDrawn(leaseId, 28.5 ether, 1.5 ether, EARNED);
        vm.prank(provider);
        escrow.draw(terms, EARNED, EARNED + 1, signature.r, signature.vs);
        assertLease(leaseId, DEPOSIT, EARNED, expiry, Status.Open);
        assertBalance(provider, 28.5 ether, "the provider");
        assertBalance(builder, 1.5 ether, "the builder");
        assertBalance(address(escrow), 70 ether, "the escrow");
    }

    /// @dev However a claim is cut into draws, everybody gets what one settlement gives.
    function testFuzz_DrawsLoseNothing(uint96 deposit, uint96 first, uint96 second, uint16 bps) public {
        terms.salt = keccak256("fuzz");
        terms.builderBps = uint16(bound(bps, 0, 1000));
        deposit = uint96(bound(deposit, 1, 900_000 ether));
        first = uint96(bound(first, 1, type(uint96).max));
        second = uint96(bound(second, 1, type(uint96).max));
        vm.prank(renter);
        escrow.open(terms, deposit, expiry);
        uint256 before = dai.balanceOf(renter);
        draw(first);
        settle(terms, second);

        uint256 claimed = first > second ? first : second;
        if (claimed > deposit) claimed = deposit;
        uint256 share = claimed * terms.builderBps / 10_000;
        assertBalance(builder, share, "the builder");
        assertBalance(provider, claimed - share, "the provider");
        assertBalance(renter, before + deposit - claimed, "the renter");
    }
}
