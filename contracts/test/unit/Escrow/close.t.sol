// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../../src/types/Lease.sol";
import {OddToken} from "../../tokens/OddToken.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";
import {Signature} from "../../utils/Signature.sol";

contract CloseTest is EscrowTest {
    uint96 private constant EARNED = 30 ether;

    Terms private terms;
    bytes32 private leaseId;
    uint256 private renterBefore;

    function setUp() public override {
        super.setUp();
        terms = builderTerms();
        leaseId = open(terms);
        renterBefore = dai.balanceOf(renter);
    }

    function close(uint96 amount) private {
        Signature memory signature = signClosing(terms, amount);
        vm.prank(renter);
        escrow.close(terms, amount, signature.r, signature.vs);
    }

    function refuses(address caller, uint96 amount, Signature memory signature, bytes memory why) private {
        expectRevert(why);
        vm.prank(caller);
        escrow.close(terms, amount, signature.r, signature.vs);
    }

    /// @dev The signature recovers some key that is not the signer: which one does not matter.
    function refusesSignature(Signature memory signature) private {
        vm.prank(renter);
        try escrow.close(terms, EARNED, signature.r, signature.vs) {
            assertTrue(false, "a wrong signature was accepted");
        } catch (bytes memory why) {
            assertTrue(bytes4(why) == IEscrow.WrongClosingSigner.selector, "another error");
        }
        assertLease(leaseId, DEPOSIT, 0, expiry, Status.Open);
    }

    function test_RevertWhen_TheCallerIsTheProvider() public {
        bytes memory why = abi.encodeWithSelector(IEscrow.CallerNotRenter.selector, provider, renter);
        refuses(provider, EARNED, signClosing(terms, EARNED), why);
    }

    function test_RevertWhen_TheCallerIsAStranger() public {
        bytes memory why = abi.encodeWithSelector(IEscrow.CallerNotRenter.selector, stranger, renter);
        refuses(stranger, EARNED, signClosing(terms, EARNED), why);
    }

    function test_RevertGiven_ThereIsNoLease() public {
        terms.salt = keccak256("never opened");
        bytes32 id = escrow.leaseIdOf(terms);
        bytes memory why = abi.encodeWithSelector(IEscrow.LeaseNotOpen.selector, id, Status.None);
        refuses(renter, EARNED, signClosing(terms, EARNED), why);
    }

    function test_RevertGiven_TheLeaseIsClosed() public {
        close(1);
        bytes memory why = abi.encodeWithSelector(IEscrow.LeaseNotOpen.selector, leaseId, Status.Closed);
        refuses(renter, EARNED, signClosing(terms, EARNED), why);
    }

    function test_RevertWhen_TheSignatureIsByTheProviderAndNotItsSigner() public {
        bytes memory why = abi.encodeWithSelector(IEscrow.WrongClosingSigner.selector, provider, providerSigner);
        refuses(renter, EARNED, signClosingWith(0x9401, terms, EARNED), why);
    }

    function test_RevertWhen_TheSignatureIsOverAnotherAmount() public {
        refusesSignature(signClosing(terms, EARNED - 1));
    }

    function test_RevertWhen_TheSignatureIsForAnotherLease() public {
        Terms memory other = terms;
        other.salt = keccak256("another");
        refusesSignature(signClosing(other, EARNED));
    }

    function test_RevertWhen_TheSignatureIsForAnotherChain() public {
        vm.chainId(10);
        Signature memory signature = signCompact(SIGNER_KEY, escrow.closingDigest(leaseId, EARNED));
        vm.chainId(31_337);
        refusesSignature(signature);
    }

    function test_RevertWhen_TheSignatureIsForAnotherEscrow() public {
        IEscrow other = IEscrow(deployed("Escrow"));
        refusesSignature(signCompact(SIGNER_KEY, other.closingDigest(leaseId, EARNED)));
    }

    function test_RevertWhen_TheSignatureIsAReceipt() public {
        refusesSignature(signReceiptWith(SIGNER_KEY, terms, EARNED));
    }

    function test_RevertWhen_TheSignatureHasAHighS() public {
        Signature memory high = signWith(HIGHEST_S + 1, SIGNER_KEY, escrow.closingDigest(leaseId, EARNED));
        bytes memory why = abi.encodeWithSelector(IEscrow.WrongClosingSigner.selector, address(0), providerSigner);
        refuses(renter, EARNED, high, why);
    }

    function test_WhenTheSignatureHasTheHighestSThereIs() public {
        Signature memory highest = signWith(HIGHEST_S, SIGNER_KEY, escrow.closingDigest(leaseId, EARNED));
        vm.prank(renter);
        escrow.close(terms, EARNED, highest.r, highest.vs);
        assertLease(leaseId, DEPOSIT, EARNED, expiry, Status.Closed);
    }

    function test_RevertWhen_TheSignatureHasTheOtherParity() public {
        Signature memory other = signClosing(terms, EARNED);
        other.vs ^= bytes32(uint256(1) << 255);
        refusesSignature(other);
    }

    function test_RevertWhen_NothingIsSigned() public {
        bytes memory why = abi.encodeWithSelector(IEscrow.WrongClosingSigner.selector, address(0), providerSigner);
        refuses(renter, 0, Signature(0, 0), why);
    }

    function test_WhenZeroIsSigned() public {
        close(0);
        assertLease(leaseId, DEPOSIT, 0, expiry, Status.Closed);
        assertBalance(renter, renterBefore + DEPOSIT, "the renter");
    }

    function test_WhenTheAmountIsAboveTheDeposit() public {
        close(type(uint96).max);
        assertLease(leaseId, DEPOSIT, DEPOSIT, expiry, Status.Closed);
        assertBalance(provider, 95 ether, "the provider");
        assertBalance(builder, 5 ether, "the builder");
        assertBalance(renter, renterBefore, "the renter");
    }

    function drawn(uint96 amount) private {
        Signature memory signature = signReceipt(terms, amount);
        vm.prank(provider);
        escrow.draw(terms, amount, amount, signature.r, signature.vs);
    }

    function test_GivenMoreWasDrawnBefore() public {
        drawn(EARNED + 10 ether);
        close(EARNED);
        assertLease(leaseId, DEPOSIT, EARNED + 10 ether, expiry, Status.Closed);
        assertBalance(provider, 38 ether, "the provider");
        assertBalance(renter, renterBefore + 60 ether, "the renter");
    }

    function test_GivenLessWasDrawnBefore() public {
        drawn(10 ether);
        close(EARNED);
        assertLease(leaseId, DEPOSIT, EARNED, expiry, Status.Closed);
        assertBalance(provider, 28.5 ether, "the provider");
        assertBalance(renter, renterBefore + 70 ether, "the renter");
    }

    function test_GivenTheProviderIsDeniedByTheToken() public {
        OddToken odd = new OddToken();
        odd.mint(renter, DEPOSIT);
        vm.prank(renter);
        odd.approve(address(escrow), DEPOSIT);
        terms.token = address(odd);
        leaseId = open(terms);
        odd.deny(provider, OddToken.Denial.Revert);
        close(EARNED);
        assertEq(escrow.creditOf(address(odd), provider), 28.5 ether, "the provider's credit");
        assertEq(odd.balanceOf(renter), 70 ether, "the renter");
    }

    /// @dev An account that EIP-7702 has given code still signs with its key.
    function test_GivenTheProviderSignerHasCode() public {
        vm.etch(providerSigner, abi.encodePacked(hex"ef0100", address(dai)));
        close(EARNED);
        assertBalance(provider, 28.5 ether, "the provider");
    }

    function test_GivenTheLeaseIsPastItsExpiryAndGrace() public {
        vm.warp(uint256(expiry) + GRACE + 1);
        close(EARNED);
        assertBalance(provider, 28.5 ether, "the provider");
    }

    function test_WhenAllIsWell() public {
        Signature memory signature = signClosing(terms, EARNED);
        vm.expectEmit(address(escrow));
        emit IEscrow.LeaseClosed(leaseId, 28.5 ether, 1.5 ether, 70 ether);
        vm.prank(renter);
        escrow.close(terms, EARNED, signature.r, signature.vs);
        assertLease(leaseId, DEPOSIT, EARNED, expiry, Status.Closed);
        assertBalance(provider, 28.5 ether, "the provider");
        assertBalance(builder, 1.5 ether, "the builder");
        assertBalance(renter, renterBefore + 70 ether, "the renter");
        assertBalance(address(escrow), 0, "the escrow kept something");
    }

    /// @dev Every unit goes to one payee, and never less than what was drawn is claimed.
    function testFuzz_PaysTheHigherOfDrawnAndSigned(uint96 deposit, uint96 receipt, uint96 amount) public {
        terms.salt = keccak256("fuzz");
        deposit = uint96(bound(deposit, 1, 900_000 ether));
        receipt = uint96(bound(receipt, 1, type(uint96).max));
        vm.prank(renter);
        escrow.open(terms, deposit, expiry);
        uint256 before = dai.balanceOf(renter);
        drawn(receipt);
        close(amount);

        uint256 claimed = receipt > amount ? receipt : amount;
        if (claimed > deposit) claimed = deposit;
        assertEq(dai.balanceOf(provider) + dai.balanceOf(builder), claimed, "what was claimed");
        assertBalance(builder, claimed / 20, "the builder");
        assertBalance(renter, before + deposit - claimed, "the renter");
    }
}
