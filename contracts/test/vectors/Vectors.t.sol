// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {Escrow} from "../../src/Escrow.sol";
import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {LeaseHash} from "../../src/libraries/LeaseHash.sol";
import {LeaseMath} from "../../src/libraries/LeaseMath.sol";
import {TestDai} from "../../src/test/TestDai.sol";
import {Status, Terms} from "../../src/types/Lease.sol";
import {Test} from "../utils/Test.sol";

/// @dev Checks the vectors that the Rust crates check too. Each is put to the escrow's own code, placed at the
/// vector's address on the vector's chain.
contract VectorsTest is Test {
    string private json;
    bytes private escrowCode;

    function setUp() public {
        escrowCode = address(new Escrow()).code;
    }

    function read(string memory file) private returns (uint256 count) {
        json = vm.readFile(string.concat("../docs/spec/vectors/", file));
        while (vm.keyExistsJson(json, key(count, "name"))) ++count;
    }

    function key(uint256 index, string memory path) private pure returns (string memory) {
        return string.concat(".vectors[", vm.toString(index), "].", path);
    }

    function number(uint256 index, string memory path) private view returns (uint256) {
        return vm.parseJsonUint(json, key(index, path));
    }

    function account(uint256 index, string memory path) private view returns (address) {
        return vm.parseJsonAddress(json, key(index, path));
    }

    function word(uint256 index, string memory path) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, key(index, path));
    }

    function signature(uint256 index, string memory path) private view returns (bytes memory) {
        return vm.parseJsonBytes(json, key(index, path));
    }

    function termsOf(uint256 index) private view returns (Terms memory) {
        return Terms({
            renter: account(index, "terms.renter"),
            receiptKey: account(index, "terms.receiptKey"),
            provider: account(index, "terms.provider"),
            providerSigner: account(index, "terms.providerSigner"),
            token: account(index, "terms.token"),
            builder: account(index, "terms.builder"),
            builderBps: uint16(number(index, "terms.builderBps")),
            grace: uint32(number(index, "terms.grace")),
            salt: word(index, "terms.salt")
        });
    }

    /// @dev The escrow of a vector, on its chain.
    function escrowOf(uint256 index) private returns (IEscrow escrow) {
        escrow = IEscrow(account(index, "escrow"));
        vm.etch(address(escrow), escrowCode);
        vm.chainId(number(index, "chainId"));
    }

    function domainOf(uint256 index) private view returns (bytes32) {
        bytes32 typehash =
            keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        return keccak256(
            abi.encode(typehash, keccak256("GPUX"), keccak256("1"), number(index, "chainId"), account(index, "escrow"))
        );
    }

    function test_LeaseIdsAgree() public {
        uint256 count = read("terms.json");
        assertTrue(count >= 8, "at least 8 vectors");
        for (uint256 i = 0; i < count; ++i) {
            string memory name = key(i, "leaseId");
            assertEq(escrowOf(i).leaseIdOf(termsOf(i)), word(i, "leaseId"), name);
            bytes32 pure_ = LeaseHash.leaseId(termsOf(i), number(i, "chainId"), account(i, "escrow"));
            assertEq(pure_, word(i, "leaseId"), name);
        }
    }

    function test_ReceiptDigestsAndSignaturesAgree() public {
        uint256 count = read("terms.json");
        for (uint256 i = 0; i < count; ++i) {
            bytes32 digest = escrowOf(i).receiptDigest(word(i, "leaseId"), uint96(number(i, "receipt.cumulative")));
            assertEq(digest, word(i, "receipt.digest"), key(i, "receipt.digest"));
            address signer = ECDSA.recover(digest, signature(i, "receipt.signature"));
            assertEq(signer, account(i, "terms.receiptKey"), key(i, "receipt.signature"));
        }
    }

    function test_ClosingDigestsAndSignaturesAgree() public {
        uint256 count = read("terms.json");
        for (uint256 i = 0; i < count; ++i) {
            bytes32 closing = LeaseHash.closing(word(i, "leaseId"), uint96(number(i, "closing.amount")));
            bytes32 digest = keccak256(abi.encodePacked("\x19\x01", domainOf(i), closing));
            assertEq(digest, word(i, "closing.digest"), key(i, "closing.digest"));
            address signer = ECDSA.recover(digest, signature(i, "closing.signature"));
            assertEq(signer, account(i, "terms.providerSigner"), key(i, "closing.signature"));
        }
    }

    /// @dev The first vector lives a whole lease: its id is opened and its signature settles.
    function test_AVectorSettles() public {
        read("terms.json");
        IEscrow escrow = escrowOf(0);
        Terms memory terms = termsOf(0);
        uint96 cumulative = uint96(number(0, "receipt.cumulative"));
        vm.etch(terms.token, address(new TestDai()).code);
        TestDai(terms.token).mint(terms.renter, 100 ether);
        vm.prank(terms.renter);
        TestDai(terms.token).approve(address(escrow), 100 ether);
        vm.prank(terms.renter);
        escrow.open(terms, 100 ether, uint40(block.timestamp + 1 hours));
        vm.prank(terms.providerSigner);
        escrow.settle(terms, cumulative, cumulative, signature(0, "receipt.signature"));

        (uint96 deposit, uint96 claimed,, Status status) = escrow.leaseOf(word(0, "leaseId"));
        assertEq(deposit, 100 ether, "the deposit");
        assertEq(claimed, cumulative, "what was claimed");
        assertEq(uint8(status), uint8(Status.Closed), "the status");
        assertEq(TestDai(terms.token).balanceOf(terms.provider), cumulative, "the provider");
    }

    function test_SettlementsAgree() public {
        uint256 count = read("settlement.json");
        assertTrue(count >= 8, "at least 8 vectors");
        for (uint256 i = 0; i < count; ++i) {
            (uint96 claimed, uint96 toProvider, uint96 toBuilder, uint96 left) = LeaseMath.split(
                uint96(number(i, "deposit")),
                uint96(number(i, "claimed")),
                uint96(number(i, "amount")),
                uint16(number(i, "builderBps"))
            );
            assertEq(claimed, number(i, "after.claimed"), key(i, "after.claimed"));
            assertEq(toProvider, number(i, "after.toProvider"), key(i, "after.toProvider"));
            assertEq(toBuilder, number(i, "after.toBuilder"), key(i, "after.toBuilder"));
            assertEq(left, number(i, "after.refund"), key(i, "after.refund"));
        }
    }
}
