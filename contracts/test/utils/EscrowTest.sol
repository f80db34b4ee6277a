// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {TestDai} from "../../src/test/TestDai.sol";
import {TestUsdc} from "../../src/test/TestUsdc.sol";
import {Status, Terms} from "../../src/types/Lease.sol";
import {ClaimLeg, CloseLeg, JobTerms, OpenLeg, TopUpLeg} from "../../src/types/Legs.sol";
import {LegMaker} from "./LegMaker.sol";
import {Signature, compact} from "./Signature.sol";
import {Test} from "./Test.sol";

/// @dev An escrow, a token, the parties of one lease, and the steps that most tests begin with.
abstract contract EscrowTest is Test, LegMaker {
    uint256 internal constant RENTER_KEY = 0xA11CE;
    uint256 internal constant RECEIPT_KEY = 0x4ECE1;
    uint256 internal constant STRANGER_KEY = 0xBAD;
    uint256 internal constant SIGNER_KEY = 0x9402;
    /// @dev Half of the order of the curve: the highest `s` that a signature may have.
    uint256 internal constant HIGHEST_S = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;
    address private constant ECRECOVER = address(1);
    uint96 internal constant DEPOSIT = 100 ether;
    uint32 internal constant GRACE = 1 days;

    IEscrow internal escrow;
    TestDai internal dai;

    address internal renter = vm.addr(RENTER_KEY);
    address internal receiptKey = vm.addr(RECEIPT_KEY);
    address internal provider = vm.addr(0x9401);
    address internal providerSigner = vm.addr(SIGNER_KEY);
    address internal builder = vm.addr(0xB1);
    address internal stranger = vm.addr(STRANGER_KEY);
    uint40 internal expiry;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        expiry = uint40(block.timestamp + 1 hours);
        escrow = IEscrow(deployed("Escrow"));
        dai = TestDai(deployed("TestDai"));
        fund(renter, 1_000_000 ether);
        vm.label(renter, "renter");
        vm.label(provider, "provider");
        vm.label(providerSigner, "providerSigner");
        vm.label(builder, "builder");
        vm.label(stranger, "stranger");
    }

    // ----------------------------------------------------------------- given

    /// @dev Terms without a builder.
    function plainTerms() internal view returns (Terms memory) {
        return Terms({
            renter: renter,
            receiptKey: receiptKey,
            provider: provider,
            providerSigner: providerSigner,
            token: address(dai),
            builder: address(0),
            builderBps: 0,
            grace: GRACE,
            salt: keccak256("quote")
        });
    }

    /// @dev Terms that give a builder 5 %.
    function builderTerms() internal view returns (Terms memory terms) {
        terms = plainTerms();
        terms.builder = builder;
        terms.builderBps = 500;
    }

    function fund(address who, uint256 amount) internal {
        dai.mint(who, amount);
        vm.prank(who);
        dai.approve(address(escrow), type(uint256).max);
    }

    function open(Terms memory terms) internal returns (bytes32 leaseId) {
        leaseId = escrow.leaseIdOf(terms);
        vm.prank(terms.renter);
        escrow.open(terms, DEPOSIT, expiry);
    }

    function settle(Terms memory terms, uint96 amount) internal {
        Signature memory signature = signReceipt(terms, amount);
        vm.prank(terms.provider);
        escrow.settle(terms, amount, amount, signature.r, signature.vs);
    }

    function signReceipt(Terms memory terms, uint96 cumulative) internal view returns (Signature memory) {
        return signReceiptWith(RECEIPT_KEY, terms, cumulative);
    }

    function signReceiptWith(uint256 key, Terms memory terms, uint96 cumulative)
        internal
        view
        returns (Signature memory)
    {
        return signCompact(key, escrow.receiptDigest(escrow.leaseIdOf(terms), cumulative));
    }

    /// @dev A signature with an `s` of one's own choice, from which the key is recovered all the same: to find a real one
    /// close to half of the order would take 2^127 tries.
    function signWith(uint256 s, uint256 key, bytes32 digest) internal returns (Signature memory) {
        (uint8 v, bytes32 r,) = vm.sign(key, digest);
        vm.mockCall(ECRECOVER, abi.encode(digest, v, r, s), abi.encode(vm.addr(key)));
        return compact(v, r, bytes32(s));
    }

    function signPermit(uint256 key, uint256 value, uint256 deadline)
        internal
        view
        returns (uint8 v, bytes32 r, bytes32 s)
    {
        address owner = vm.addr(key);
        bytes32 typehash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 permit = keccak256(abi.encode(typehash, owner, address(escrow), value, dai.nonces(owner), deadline));
        return vm.sign(key, keccak256(abi.encodePacked("\x19\x01", dai.DOMAIN_SEPARATOR(), permit)));
    }

    function signClosing(Terms memory terms, uint96 amount) internal view returns (Signature memory) {
        return signClosingWith(SIGNER_KEY, terms, amount);
    }

    function signClosingWith(uint256 key, Terms memory terms, uint96 amount) internal view returns (Signature memory) {
        return signCompact(key, escrow.closingDigest(escrow.leaseIdOf(terms), amount));
    }

    /// @dev The renter's EIP-3009 authorisation for the escrow to receive `value`, with a nonce.
    function signAuthorization(TestUsdc usdc, uint256 key, uint256 value, bytes32 nonce)
        internal
        view
        returns (bytes memory)
    {
        bytes32 words = keccak256(
            abi.encode(
                usdc.RECEIVE_WITH_AUTHORIZATION_TYPEHASH(),
                vm.addr(key),
                address(escrow),
                value,
                uint256(0),
                block.timestamp + 1 hours,
                nonce
            )
        );
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(key, keccak256(abi.encodePacked("\x19\x01", usdc.DOMAIN_SEPARATOR(), words)));
        return abi.encodePacked(r, s, v);
    }

    // ------------------------------------------------------------------ legs

    /// @dev Terms of one of several leases of one job: another provider each, one signer.
    function termsOf(uint256 index) internal view returns (Terms memory terms) {
        terms = builderTerms();
        terms.provider = vm.addr(0x9500 + index);
        terms.salt = keccak256(abi.encode("quote", index));
    }

    /// @dev What the leases of `termsOf` share.
    function job() internal view returns (JobTerms memory) {
        return jobOf(termsOf(0));
    }

    /// @dev Openings of `DEPOSIT`, twice that, and so on.
    function openLegs(uint256 count) internal view returns (OpenLeg[] memory legs) {
        legs = new OpenLeg[](count);
        for (uint256 i = 0; i < count; ++i) {
            legs[i] =
                OpenLeg({node: nodeOf(termsOf(i)), deposit: uint96(DEPOSIT * (i + 1)), expiry: expiry + uint40(i)});
        }
    }

    function openThree() internal returns (bytes32[3] memory ids) {
        OpenLeg[] memory legs = openLegs(3);
        vm.prank(renter);
        escrow.openMany(job(), legs);
        for (uint256 i = 0; i < 3; ++i) {
            ids[i] = escrow.leaseIdOf(termsOf(i));
        }
    }

    function topUpLeg(Terms memory terms, uint96 amount, uint40 newExpiry) internal pure returns (TopUpLeg memory) {
        return TopUpLeg({node: nodeOf(terms), amount: amount, newExpiry: newExpiry});
    }

    function claimLeg(Terms memory terms, uint96 amount, uint96 cumulative) internal view returns (ClaimLeg memory) {
        Signature memory signature = signReceipt(terms, cumulative);
        return ClaimLeg({terms: terms, amount: amount, receiptCumulative: cumulative, r: signature.r, vs: signature.vs});
    }

    function closeLeg(Terms memory terms, uint96 amount) internal view returns (CloseLeg memory) {
        Signature memory signature = signClosing(terms, amount);
        return CloseLeg({node: nodeOf(terms), amount: amount, r: signature.r, vs: signature.vs});
    }

    function expectSkipped(bytes32 leaseId, bytes4 reason) internal {
        vm.expectEmit(address(escrow));
        emit IEscrow.LegSkipped(leaseId, reason);
    }

    // ------------------------------------------------------------------ then

    function expectRevert(bytes memory data) internal {
        vm.expectRevert(data);
    }

    function assertLease(bytes32 leaseId, uint96 deposit, uint96 claimed, uint40 until, Status status) internal view {
        (uint96 gotDeposit, uint96 gotClaimed, uint40 gotExpiry, Status gotStatus) = escrow.leaseOf(leaseId);
        assertEq(gotDeposit, deposit, "deposit");
        assertEq(gotClaimed, claimed, "claimed");
        assertEq(gotExpiry, until, "expiry");
        assertEq(uint8(gotStatus), uint8(status), "status");
    }

    function assertBalance(address who, uint256 amount, string memory reason) internal view {
        assertEq(dai.balanceOf(who), amount, reason);
    }
}
