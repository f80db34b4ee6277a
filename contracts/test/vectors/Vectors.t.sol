// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {LeaseHash} from "../../src/libraries/LeaseHash.sol";
import {LeaseMath} from "../../src/libraries/LeaseMath.sol";
import {TestDai} from "../../src/test/TestDai.sol";
import {TestUsdc} from "../../src/test/TestUsdc.sol";
import {Status, Terms} from "../../src/types/Lease.sol";
import {JobTerms, OpenLeg} from "../../src/types/Legs.sol";
import {LegMaker} from "../utils/LegMaker.sol";
import {Test} from "../utils/Test.sol";

/// @dev Checks the vectors that the Rust crates check too. Each is put to the escrow's own code, placed at the
/// vector's address on the vector's chain.
contract VectorsTest is Test, LegMaker {
    string private json;
    bytes private escrowCode;

    function setUp() public {
        escrowCode = deployed("Escrow").code;
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
        return termsAt(index, "");
    }

    /// @dev The terms in some part of a vector.
    function termsAt(uint256 index, string memory part) private view returns (Terms memory) {
        return Terms({
            renter: account(index, string.concat(part, "terms.renter")),
            receiptKey: account(index, string.concat(part, "terms.receiptKey")),
            provider: account(index, string.concat(part, "terms.provider")),
            providerSigner: account(index, string.concat(part, "terms.providerSigner")),
            token: account(index, string.concat(part, "terms.token")),
            builder: account(index, string.concat(part, "terms.builder")),
            builderBps: uint16(number(index, string.concat(part, "terms.builderBps"))),
            grace: uint32(number(index, string.concat(part, "terms.grace"))),
            salt: word(index, string.concat(part, "terms.salt"))
        });
    }

    function legAt(uint256 leg) private pure returns (string memory) {
        return string.concat("legs[", vm.toString(leg), "].");
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
        vm.etch(terms.token, deployed("TestDai").code);
        TestDai(terms.token).mint(terms.renter, 100 ether);
        vm.prank(terms.renter);
        TestDai(terms.token).approve(address(escrow), 100 ether);
        vm.prank(terms.renter);
        escrow.open(terms, 100 ether, uint40(block.timestamp + 1 hours));
        (bytes32 r, bytes32 vs) = (word(0, "receipt.r"), word(0, "receipt.vs"));
        vm.prank(terms.providerSigner);
        escrow.settle(terms, cumulative, cumulative, r, vs);

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

    /// @dev The renter's authorisation of a vector, sent by somebody else, takes its sum and opens its leases.
    function test_AuthorisationsOpen() public {
        uint256 count = read("openings.json");
        assertTrue(count >= 5, "at least 5 vectors");
        for (uint256 i = 0; i < count; ++i) {
            (IEscrow escrow, JobTerms memory job, OpenLeg[] memory legs) = openingOf(i);
            uint256 snapshot = vm.snapshotState();
            escrow.openManyWithAuthorization(
                job,
                legs,
                number(i, "authorization.validAfter"),
                number(i, "authorization.validBefore"),
                signature(i, "authorization.signature")
            );
            assertOpened(i, escrow, legs);
            vm.revertToStateAndDelete(snapshot);
        }
    }

    /// @dev The call for one lease takes the same authorisation as the call for many with one leg.
    function test_AuthorisationsOpenOne() public {
        read("openings.json");
        (IEscrow escrow,, OpenLeg[] memory legs) = openingOf(0);
        escrow.openWithAuthorization(
            termsAt(0, legAt(0)),
            legs[0].deposit,
            legs[0].expiry,
            number(0, "authorization.validAfter"),
            number(0, "authorization.validBefore"),
            signature(0, "authorization.signature")
        );
        assertOpened(0, escrow, legs);
    }

    /// @dev The escrow of a vector at the vector's time, with a token in which the renter has what it signed for.
    function openingOf(uint256 index) private returns (IEscrow escrow, JobTerms memory job, OpenLeg[] memory legs) {
        escrow = escrowOf(index);
        vm.warp(number(index, "blockTime"));
        (job, legs) = openLegs(index);
        vm.etch(job.token, deployed("TestUsdc").code);
        TestUsdc(job.token).mint(job.renter, number(index, "authorization.value"));
    }

    function openLegs(uint256 index) private view returns (JobTerms memory job, OpenLeg[] memory legs) {
        legs = new OpenLeg[](number(index, "count"));
        for (uint256 i = 0; i < legs.length; ++i) {
            Terms memory terms = termsAt(index, legAt(i));
            if (i == 0) job = jobOf(terms);
            legs[i] = OpenLeg({
                node: nodeOf(terms),
                deposit: uint96(number(index, string.concat(legAt(i), "deposit"))),
                expiry: uint40(number(index, string.concat(legAt(i), "expiry")))
            });
        }
    }

    function assertOpened(uint256 index, IEscrow escrow, OpenLeg[] memory legs) private view {
        Terms memory terms = termsAt(index, legAt(0));
        bool used = TestUsdc(terms.token).authorizationState(terms.renter, word(index, "nonce"));
        assertTrue(used, key(index, "nonce"));
        for (uint256 i = 0; i < legs.length; ++i) {
            string memory path = string.concat(legAt(i), "leaseId");
            (uint96 deposit,, uint40 expiry, Status status) = escrow.leaseOf(word(index, path));
            assertEq(uint8(status), uint8(Status.Open), key(index, path));
            assertEq(deposit, legs[i].deposit, key(index, path));
            assertEq(expiry, legs[i].expiry, key(index, path));
        }
    }
}
