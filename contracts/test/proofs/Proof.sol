// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Escrow} from "../../src/Escrow.sol";
import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../src/types/Lease.sol";
import {JobTerms, NodeTerms} from "../../src/types/Legs.sol";
import {Signature} from "../utils/Signature.sol";
import {ProofToken} from "./ProofToken.sol";

/// @dev The cheat codes that the proofs use.
interface Vm {
    function assume(bool condition) external pure;
    function load(address target, bytes32 slot) external view returns (bytes32);
    function prank(address sender) external;
    function warp(uint256 time) external;
}

/// @dev Those of Halmos alone.
interface Svm {
    function enableSymbolicStorage(address target) external;
    function createAddress(string calldata name) external returns (address);
    function createBytes32(string calldata name) external returns (bytes32);
    function createUint(uint256 bits, string calldata name) external returns (uint256);
}

/// @dev What is known of the lease and of everybody's money at one moment.
struct Picture {
    uint256 deposit;
    uint256 claimed;
    uint256 expiry;
    Status status;
    uint256 owed; // what the escrow holds for the lease
    uint256 vault; // the escrow's balance
    uint256 credits; // of the three payees
    uint256 renter; // what a payee has, in hand or as a credit
    uint256 provider;
    uint256 builder;
    bytes32 others; // a lease and a credit that the call does not name
}

/// @dev Whom a call came from and what was signed for it.
struct Deed {
    address caller;
    uint256 amount; // that the caller claims
    uint256 receiptSigned; // 1 if the receipt key signed for at least that amount
    uint256 closingSigned; // 1 if the provider's signer signed that amount as the closing amount
}

/// @dev The world of a proof: an escrow and a token with arbitrary storage, so with any history behind them; a lease of
/// five different parties with any grace; any block time. `README.md` says what that covers.
abstract contract Proof {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    Svm internal constant svm = Svm(0xF3993A62377BCd56AE39D773740A5390411E8BC9);

    /// @dev Half of the order of the curve: the highest s that a signature may have.
    uint256 private constant HIGHEST_S = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    address internal constant RENTER = address(0xA1);
    address internal constant KEY = address(0xA2);
    address internal constant PROVIDER = address(0xA3);
    address internal constant SIGNER = address(0xA4);
    address internal constant BUILDER = address(0xA5);

    IEscrow internal escrow;
    ProofToken internal token;
    uint16 internal bps;
    uint32 internal grace;
    bytes32 internal id;
    bytes32 private _otherId;
    address private _otherPayee;

    /// @dev A twin puts its broken escrow here.
    function deploy() internal virtual returns (IEscrow) {
        return new Escrow();
    }

    /// @dev The builder's share. `Share.sol` is about those that are not zero.
    function share() internal virtual returns (uint16) {
        return 0;
    }

    /// @dev How the token refuses payees.
    function refusesByReverting() internal virtual returns (bool) {
        return false;
    }

    function setUp() public {
        escrow = deploy();
        token = new ProofToken(refusesByReverting());
        svm.enableSymbolicStorage(address(escrow));
        svm.enableSymbolicStorage(address(token));
        bps = share();
        grace = uint32(svm.createUint(32, "grace"));
        vm.warp(svm.createUint(40, "now"));
        id = escrow.leaseIdOf(terms());
        _otherId = svm.createBytes32("other lease");
        vm.assume(_otherId != id);
        _otherPayee = svm.createAddress("other payee");
        vm.assume(_otherPayee != RENTER && _otherPayee != PROVIDER && _otherPayee != BUILDER);
    }

    function terms() internal view returns (Terms memory) {
        return Terms(RENTER, KEY, PROVIDER, SIGNER, address(token), BUILDER, bps, grace, bytes32("quote"));
    }

    function job() internal view returns (JobTerms memory) {
        return JobTerms(RENTER, KEY, address(token), BUILDER, bps, grace);
    }

    function node() internal pure returns (NodeTerms memory) {
        return NodeTerms(PROVIDER, SIGNER, bytes32("quote"));
    }

    /// @dev A caller who is anybody but the escrow, which calls nobody but tokens.
    function anybody() internal returns (address caller) {
        caller = svm.createAddress("caller");
        vm.assume(caller != address(escrow));
    }

    function someAmount(string memory name) internal returns (uint96) {
        return uint96(svm.createUint(96, name));
    }

    /// @dev Any two words.
    function someSignature() internal returns (Signature memory) {
        return Signature(svm.createBytes32("r"), svm.createBytes32("vs"));
    }

    /// @dev 1 if somebody's key made the signature: it recovers that key, and s is in the lower half. Halmos knows of
    /// `ecrecover` only that equal arguments give equal results: whatever holds for every such function holds for the real
    /// one. So a proof that needs a signature to be absent says so by its result.
    function signed(bytes32 digest, Signature memory signature, address signer) internal pure returns (uint256) {
        uint256 s = uint256(signature.vs) & (type(uint256).max >> 1);
        uint8 v = uint8((uint256(signature.vs) >> 255) + 27);
        return one(s <= HIGHEST_S) & one(ecrecover(digest, v, signature.r, bytes32(s)) == signer);
    }

    function held(address who) internal view returns (uint256) {
        unchecked {
            return token.balanceOf(who) + escrow.creditOf(address(token), who);
        }
    }

    function picture() internal view returns (Picture memory now_) {
        (now_.deposit, now_.claimed, now_.expiry, now_.status) = escrow.leaseOf(id);
        now_.vault = token.balanceOf(address(escrow));
        unchecked {
            now_.owed = now_.status == Status.Open ? now_.deposit - now_.claimed : 0;
            now_.credits = escrow.creditOf(address(token), RENTER) + escrow.creditOf(address(token), PROVIDER)
                + escrow.creditOf(address(token), BUILDER);
        }
        (now_.renter, now_.provider, now_.builder) = (held(RENTER), held(PROVIDER), held(BUILDER));
        (uint96 deposit, uint96 claimed, uint40 expiry, Status status) = escrow.leaseOf(_otherId);
        now_.others =
            keccak256(abi.encode(deposit, claimed, expiry, status, escrow.creditOf(address(token), _otherPayee)));
    }

    /// @dev The lease's word as it is stored: the mapping of leases is in slot 2.
    function word() private view returns (uint256) {
        return uint256(vm.load(address(escrow), keccak256(abi.encode(id, uint256(2)))));
    }

    /// @dev 1 if the lease's word is one that the escrow writes: nothing in the spare bits, no more claimed than deposited.
    function isSound(Picture memory moment) internal view returns (uint256) {
        return one(word() >> 240 == 0) & one(moment.claimed <= moment.deposit);
    }

    /// @dev Arbitrary storage holds other words as well. None is ever written: the steps show that a sound word stays so.
    function assumeSound(Picture memory moment) internal view {
        vm.assume(isSound(moment) == 1);
        vm.assume(one(moment.status != Status.None) | one(moment.deposit == 0) == 1);
    }

    /// @dev 1 for true. Conditions are joined by `&` and `|` on such numbers: `&&` and `||` would make two paths of one.
    function one(bool condition) internal pure returns (uint256 result) {
        assembly ("memory-safe") {
            result := condition
        }
    }
}
