// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Execution} from "@openzeppelin/contracts/interfaces/draft-IERC7579.sol";

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {TestUsdc} from "../../src/test/TestUsdc.sol";
import {Status, Terms} from "../../src/types/Lease.sol";
import {OpenLeg} from "../../src/types/Legs.sol";
import {EscrowTest} from "../utils/EscrowTest.sol";
import {Signature} from "../utils/Signature.sol";
import {Delegate} from "./Delegate.sol";
import {ISafe, SafeMaker} from "./SafeMaker.sol";

/// @dev Accounts that people have, as their authors make them: a Safe (EIP-1271) and a key that delegates to code
/// (EIP-7702). Decision 7 says who signs what.
abstract contract AccountTest is EscrowTest {
    uint96 internal constant SUM = 100e6;
    uint96 internal constant EARNED = 30e6;

    TestUsdc internal usdc;

    function setUp() public virtual override {
        super.setUp();
        usdc = TestUsdc(deployed("TestUsdc"));
    }

    function termsOfRenter(address account) internal view returns (Terms memory terms) {
        terms = plainTerms();
        terms.renter = account;
        terms.token = address(usdc);
    }

    function structOf(address account, uint256 sum, bytes32 nonce) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                usdc.RECEIVE_WITH_AUTHORIZATION_TYPEHASH(),
                account,
                address(escrow),
                sum,
                uint256(0),
                block.timestamp + 1 hours,
                nonce
            )
        );
    }

    /// @dev What an account signs to let the escrow receive `sum`.
    function digestOf(address account, uint256 sum, bytes32 nonce) internal view returns (bytes32) {
        return keccak256(abi.encodePacked("\x19\x01", usdc.DOMAIN_SEPARATOR(), structOf(account, sum, nonce)));
    }

    function nonceOf(Terms memory terms) internal view returns (bytes32) {
        return keccak256(abi.encode(escrow.leaseIdOf(terms), SUM, expiry));
    }

    function relay(Terms memory terms, bytes memory signature) internal {
        vm.prank(stranger);
        escrow.openWithAuthorization(terms, SUM, expiry, 0, block.timestamp + 1 hours, signature);
    }

    function assertOpen(Terms memory terms) internal view {
        assertLease(escrow.leaseIdOf(terms), SUM, 0, expiry, Status.Open);
    }

    function refusesAccount(address account) internal {
        expectRevert(abi.encodeWithSelector(TestUsdc.WrongAuthorizationSigner.selector, account));
    }
}

contract SafeTest is AccountTest, SafeMaker {
    ISafe private safe;
    Terms private terms;

    function setUp() public override {
        super.setUp();
        useSafe(2);
    }

    function useSafe(uint256 threshold) private {
        safe = makeSafe(threshold);
        usdc.mint(address(safe), 1000e6);
        terms = termsOfRenter(address(safe));
    }

    /// @dev What the owners sign for the Safe to open the lease.
    function message() private view returns (bytes32) {
        return messageOf(safe, digestOf(address(safe), SUM, nonceOf(terms)));
    }

    function run(address target, bytes memory data) private {
        execute(safe, target, data, false);
    }

    function test_BothOwnersSignAndAnybodyOpens() public {
        bytes memory signature = signedByBoth(message());
        assertEq(signature.length, 130, "the signature's length");
        relay(terms, signature);
        assertOpen(terms);
        assertEq(usdc.balanceOf(address(safe)), 900e6, "the Safe");
        assertEq(usdc.allowance(address(safe), address(escrow)), 0, "an allowance");
    }

    function test_OneOwnerOfOneSignsIn65Bytes() public {
        useSafe(1);
        bytes memory signature = signatureOf(SECOND_OWNER_KEY, message());
        assertEq(signature.length, 65, "the signature's length");
        relay(terms, signature);
        assertOpen(terms);
    }

    function test_OneOwnerOfTwoIsNotEnough() public {
        bytes32 digest = message();
        refusesAccount(address(safe));
        relay(terms, signatureOf(FIRST_OWNER_KEY, digest));
        refusesAccount(address(safe));
        relay(terms, abi.encodePacked(signatureOf(FIRST_OWNER_KEY, digest), signatureOf(FIRST_OWNER_KEY, digest)));
    }

    function test_OwnersSignForTheirSafeOnly() public {
        bytes memory signature = signedByBoth(digestOf(address(safe), SUM, nonceOf(terms)));
        refusesAccount(address(safe));
        relay(terms, signature);
    }

    function test_WhatTheyDidNotSignIsNotOpened() public {
        bytes memory signature = signedByBoth(message());
        terms.provider = stranger;
        refusesAccount(address(safe));
        relay(terms, signature);
    }

    /// @dev A Safe can also sign in a transaction; its signature is then empty.
    function test_ItSignedOnTheChainAndAnybodyOpens() public {
        address library_ = published("libraries/SignMessageLib.sol/SignMessageLib.json");
        bytes memory content = abi.encode(digestOf(address(safe), SUM, nonceOf(terms)));
        refusesAccount(address(safe));
        relay(terms, "");
        execute(safe, library_, abi.encodeWithSignature("signMessage(bytes)", content), true);
        relay(terms, "");
        assertOpen(terms);
    }

    function test_BothOwnersSignOnceForManyLeases() public {
        OpenLeg[] memory legs = openLegs(3);
        bytes memory words;
        uint256 sum;
        for (uint256 i = 0; i < legs.length; ++i) {
            legs[i].deposit = SUM + uint96(i);
            sum += legs[i].deposit;
            words = abi.encodePacked(
                words, escrow.leaseIdOf(legTerms(i)), uint256(legs[i].deposit), uint256(legs[i].expiry)
            );
        }
        bytes memory signature = signedByBoth(messageOf(safe, digestOf(address(safe), sum, keccak256(words))));
        vm.prank(stranger);
        escrow.openManyWithAuthorization(jobOf(legTerms(0)), legs, 0, block.timestamp + 1 hours, signature);
        assertEq(usdc.balanceOf(address(escrow)), sum, "the escrow");
        for (uint256 i = 0; i < legs.length; ++i) {
            assertLease(escrow.leaseIdOf(legTerms(i)), legs[i].deposit, 0, legs[i].expiry, Status.Open);
        }
    }

    function legTerms(uint256 index) private view returns (Terms memory made) {
        made = termsOf(index);
        made.renter = address(safe);
        made.token = address(usdc);
    }

    /// @dev As a caller it is a renter like any other: a life of a lease, and one that nobody settles.
    function test_ItOpensTopsUpClosesAndReclaimsItself() public {
        run(address(usdc), abi.encodeCall(usdc.approve, (address(escrow), type(uint256).max)));
        run(address(escrow), abi.encodeCall(IEscrow.open, (terms, SUM, expiry)));
        run(address(escrow), abi.encodeCall(IEscrow.topUp, (terms, SUM, expiry + 1)));
        assertLease(escrow.leaseIdOf(terms), 2 * SUM, 0, expiry + 1, Status.Open);
        Signature memory closing = signClosing(terms, EARNED);
        run(address(escrow), abi.encodeCall(IEscrow.close, (terms, EARNED, closing.r, closing.vs)));
        assertEq(usdc.balanceOf(provider), EARNED, "the provider");
        assertEq(usdc.balanceOf(address(safe)), 1000e6 - EARNED, "the refund");

        terms.salt = keccak256("another");
        run(address(escrow), abi.encodeCall(IEscrow.open, (terms, SUM, expiry)));
        vm.warp(uint256(expiry) + GRACE + 1);
        run(address(escrow), abi.encodeCall(IEscrow.reclaim, (terms)));
        assertEq(usdc.balanceOf(address(safe)), 1000e6 - EARNED, "what was reclaimed");
    }

    /// @dev Receipts and closing amounts are signed by plain keys: no Safe is asked, and one of its owners is not the Safe.
    function test_ItSignsNoReceipts() public {
        terms.receiptKey = address(safe);
        relay(terms, signedByBoth(message()));
        Signature memory receipt = signCompact(FIRST_OWNER_KEY, escrow.receiptDigest(escrow.leaseIdOf(terms), EARNED));
        address owner = vm.addr(FIRST_OWNER_KEY);
        expectRevert(abi.encodeWithSelector(IEscrow.WrongReceiptSigner.selector, owner, address(safe)));
        vm.prank(provider);
        escrow.settle(terms, EARNED, EARNED, receipt.r, receipt.vs);
    }
}

contract DelegatedKeyTest is AccountTest {
    Terms private terms;
    Delegate private delegate;

    function setUp() public override {
        vm.setEvmVersion("prague");
        super.setUp();
        delegate = new Delegate();
        usdc.mint(renter, 1000e6);
        terms = termsOfRenter(renter);
        delegates(RENTER_KEY);
    }

    /// @dev Gives a key's account code by an authorisation that the key signs.
    function delegates(uint256 key) private {
        vm.signAndAttachDelegation(address(delegate), key);
        vm.prank(stranger);
        usdc.decimals(); // the transaction that carries it
        bytes memory code = vm.addr(key).code;
        assertEq(keccak256(code), keccak256(abi.encodePacked(hex"ef0100", delegate)), "the account's code");
    }

    function batch(Execution[] memory calls) private {
        vm.prank(renter);
        Delegate(payable(renter)).execute(bytes32(uint256(1) << 248), abi.encode(calls));
    }

    /// @dev The signature of a delegated key as its code wants it: over the token's typed data, nested in the account's.
    function nested(uint256 key, bytes32 nonce) private view returns (bytes memory) {
        string memory type_ =
            "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)";
        bytes32 contents = structOf(renter, SUM, nonce);
        bytes32 typehash = keccak256(
            abi.encodePacked(
                "TypedDataSign(ReceiveWithAuthorization contents,string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)",
                type_
            )
        );
        bytes32 words = keccak256(
            abi.encode(typehash, contents, keccak256("Delegate"), keccak256("1"), block.chainid, renter, bytes32(0))
        );
        bytes32 separator = usdc.DOMAIN_SEPARATOR();
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, keccak256(abi.encodePacked("\x19\x01", separator, words)));
        return abi.encodePacked(r, s, v, separator, contents, type_, uint16(bytes(type_).length));
    }

    function test_ItAllowsAndOpensInOneTransaction() public {
        Execution[] memory calls = new Execution[](2);
        calls[0] = Execution(address(usdc), 0, abi.encodeCall(usdc.approve, (address(escrow), SUM)));
        calls[1] = Execution(address(escrow), 0, abi.encodeCall(IEscrow.open, (terms, SUM, expiry)));
        batch(calls);
        assertOpen(terms);
    }

    function test_ItsCodeVerifiesAndAnybodyOpens() public {
        relay(terms, nested(RENTER_KEY, nonceOf(terms)));
        assertOpen(terms);
    }

    function test_AnotherKeyDoesNotOpen() public {
        bytes memory signature = nested(STRANGER_KEY, nonceOf(terms));
        refusesAccount(renter);
        relay(terms, signature);
    }

    /// @dev What decision 7 says: a plain signature is the token's affair. One that asks the code refuses it.
    function test_ItsPlainSignatureIsTheTokensAffair() public {
        bytes memory signature = signAuthorization(usdc, RENTER_KEY, SUM, nonceOf(terms));
        refusesAccount(renter);
        relay(terms, signature);
    }

    function test_ItsReceiptsAndClosingsAreThoseOfAKey() public {
        terms.builder = builder;
        relay(terms, nested(RENTER_KEY, nonceOf(terms)));
        delegates(RECEIPT_KEY);
        delegates(SIGNER_KEY);
        Signature memory receipt = signReceipt(terms, EARNED);
        vm.prank(providerSigner);
        escrow.draw(terms, EARNED - 1, EARNED, receipt.r, receipt.vs);
        assertEq(usdc.balanceOf(provider), EARNED - 1, "what was drawn");
        Signature memory closing = signClosing(terms, EARNED);
        Execution[] memory calls = new Execution[](1);
        calls[0] = Execution(address(escrow), 0, abi.encodeCall(IEscrow.close, (terms, EARNED, closing.r, closing.vs)));
        batch(calls);
        assertEq(usdc.balanceOf(provider), EARNED, "the provider");
        assertEq(usdc.balanceOf(renter), 1000e6 - EARNED, "the refund");
    }

    function test_ItsReceiptSettles() public {
        relay(terms, nested(RENTER_KEY, nonceOf(terms)));
        delegates(RECEIPT_KEY);
        Signature memory byAnother = signReceiptWith(STRANGER_KEY, terms, EARNED);
        expectRevert(abi.encodeWithSelector(IEscrow.WrongReceiptSigner.selector, stranger, receiptKey));
        vm.prank(provider);
        escrow.settle(terms, EARNED, EARNED, byAnother.r, byAnother.vs);

        Signature memory receipt = signReceipt(terms, EARNED);
        vm.prank(provider);
        escrow.settle(terms, EARNED, EARNED, receipt.r, receipt.vs);
        assertLease(escrow.leaseIdOf(terms), SUM, EARNED, expiry, Status.Closed);
    }
}
