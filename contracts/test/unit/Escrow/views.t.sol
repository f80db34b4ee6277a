// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Status, Terms} from "../../../src/types/Lease.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";

contract ViewsTest is EscrowTest {
    function test_WhenLeaseOfIsAskedAboutAnUnknownLease() public view {
        assertLease(keccak256("unknown"), 0, 0, 0, Status.None);
    }

    function test_WhenLeaseOfIsAskedAboutAClosedLease() public {
        bytes32 leaseId = open(plainTerms());
        settle(plainTerms(), 1 ether);
        assertLease(leaseId, DEPOSIT, 1 ether, expiry, Status.Closed);
    }

    function test_WhenLeaseIdOfIsAsked() public view {
        Terms memory terms = builderTerms();
        bytes memory words = abi.encode(
            terms.renter,
            terms.receiptKey,
            terms.provider,
            terms.providerSigner,
            terms.token,
            terms.builder,
            uint256(terms.builderBps),
            uint256(terms.grace),
            terms.salt,
            block.chainid,
            address(escrow)
        );
        assertEq(words.length, 11 * 32, "eleven words");
        assertEq(escrow.leaseIdOf(terms), keccak256(words), "the id");
    }

    function test_WhenOneWordOfTheTermsDiffers() public view {
        Terms memory terms = builderTerms();
        bytes32 id = escrow.leaseIdOf(terms);
        for (uint256 word = 0; word < 9; ++word) {
            Terms memory other = builderTerms();
            if (word == 0) other.renter = stranger;
            if (word == 1) other.receiptKey = stranger;
            if (word == 2) other.provider = stranger;
            if (word == 3) other.providerSigner = stranger;
            if (word == 4) other.token = stranger;
            if (word == 5) other.builder = stranger;
            if (word == 6) other.builderBps = 501;
            if (word == 7) other.grace = GRACE + 1;
            if (word == 8) other.salt = keccak256("another");
            assertTrue(escrow.leaseIdOf(other) != id, string.concat("the same id without word ", vm.toString(word)));
        }
    }

    function test_WhenLeaseIdOfIsAskedOnAnotherChain() public {
        bytes32 id = escrow.leaseIdOf(plainTerms());
        vm.chainId(block.chainid + 1);
        assertTrue(escrow.leaseIdOf(plainTerms()) != id, "the same id");
    }

    function test_WhenReceiptDigestIsAsked() public view {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("GPUX"),
                keccak256("1"),
                block.chainid,
                address(escrow)
            )
        );
        bytes32 id = keccak256("some lease");
        bytes32 receipt = keccak256(abi.encode(keccak256("Receipt(bytes32 leaseId,uint96 cumulative)"), id, uint256(7)));
        bytes32 digest = keccak256(abi.encodePacked("\x19\x01", domain, receipt));
        assertEq(escrow.receiptDigest(id, 7), digest, "the digest");
    }

    function test_WhenReceiptDigestIsAskedOnAnotherChain() public {
        bytes32 digest = escrow.receiptDigest(keccak256("some lease"), 7);
        vm.chainId(block.chainid + 1);
        assertTrue(escrow.receiptDigest(keccak256("some lease"), 7) != digest, "the same digest");
    }

    function test_WhenClosingDigestIsAsked() public view {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("GPUX"),
                keccak256("1"),
                block.chainid,
                address(escrow)
            )
        );
        bytes32 id = keccak256("some lease");
        bytes32 closing = keccak256(abi.encode(keccak256("Closing(bytes32 leaseId,uint96 amount)"), id, uint256(7)));
        bytes32 digest = keccak256(abi.encodePacked("\x19\x01", domain, closing));
        assertEq(escrow.closingDigest(id, 7), digest, "the digest");
    }

    function test_WhenCreditOfIsAskedAboutNobody() public view {
        assertEq(escrow.creditOf(address(dai), stranger), 0, "a credit");
    }
}
