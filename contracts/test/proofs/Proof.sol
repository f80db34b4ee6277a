// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Escrow} from "../../src/Escrow.sol";
import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {LeaseMath} from "../../src/libraries/LeaseMath.sol";
import {Status, Terms} from "../../src/types/Lease.sol";
import {ProofToken} from "./ProofToken.sol";

/// @dev The cheat codes that the proofs use.
interface Vm {
    function assume(bool condition) external pure;
    function prank(address sender) external;
    function warp(uint256 time) external;
}

/// @dev Halmos's own.
interface Svm {
    function createCalldata(string calldata contractName) external returns (bytes memory);
    function enableSymbolicStorage(address target) external;
    function createAddress(string calldata name) external returns (address);
    function createUint(uint256 bits, string calldata name) external returns (uint256);
}

abstract contract Proof {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    Svm internal constant svm = Svm(0xF3993A62377BCd56AE39D773740A5390411E8BC9);

    IEscrow internal escrow;
    ProofToken internal token;

    function deploy() internal virtual returns (IEscrow) {
        return new Escrow();
    }

    function setUp() public {
        escrow = deploy();
        token = new ProofToken();
        svm.enableSymbolicStorage(address(escrow));
        svm.enableSymbolicStorage(address(token));
    }

    function owed(bytes32 id) internal view returns (uint256) {
        (uint96 deposit, uint96 claimed,, Status status) = escrow.leaseOf(id);
        return status == Status.Open ? deposit - claimed : 0;
    }

    function assumeTerms(Terms memory terms) internal view {
        terms.token = address(token);
        vm.assume(terms.builderBps <= 1000);
    }
}

contract SolvencyProof is Proof {
    function check_settle(Terms memory terms, uint96 amount, uint96 cumulative, bytes memory signature, address caller) external {
        assumeTerms(terms);
        bytes32 id = escrow.leaseIdOf(terms);
        (uint96 deposit, uint96 claimed,, ) = escrow.leaseOf(id);
        vm.assume(claimed <= deposit);
        uint256 before = token.balanceOf(address(escrow));
        uint256 owedBefore = owed(id);
        uint256 creditP = escrow.creditOf(address(token), terms.provider);
        vm.assume(terms.provider != address(escrow) && terms.renter != address(escrow) && terms.builder != address(escrow));
        vm.assume(terms.provider != terms.renter && terms.renter != terms.builder && terms.builder != terms.provider);
        vm.assume(terms.builderBps == 0);

        vm.prank(caller);
        escrow.settle(terms, amount, cumulative, signature);
        assert(token.balanceOf(address(escrow)) <= before);
        assert(owed(id) == 0);
        uint256 creditP2 = escrow.creditOf(address(token), terms.provider);
        unchecked {
        assert(creditP2 - creditP <= owedBefore);
        }
    }
}
