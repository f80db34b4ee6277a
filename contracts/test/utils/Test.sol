// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Signature, compact} from "./Signature.sol";
import {Vm} from "./Vm.sol";

/// @dev What every test contract stands on: the cheat codes, assertions that always say why, and `bound`.
abstract contract Test {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    /// @dev Forge runs a contract's tests when this is true.
    bool public constant IS_TEST = true;

    /// @dev Deploys a contract of `src` as it is built for the chain: tests are compiled in another way. Where that build is
    /// not wanted, because the source itself is looked at, the environment says so.
    function deployed(string memory name) internal returns (address) {
        return deployed(name, "");
    }

    /// @dev The same for a contract whose constructor takes `arguments`.
    function deployed(string memory name, bytes memory arguments) internal returns (address) {
        string memory folder = vm.envOr("GPUX_ARTIFACTS", string("out/"));
        bool asBuilt = bytes(folder).length != 0;
        return vm.deployCode(
            asBuilt ? string.concat(folder, name, ".sol/", name, ".json") : string.concat(name, ".sol:", name),
            arguments
        );
    }

    /// @dev A signature as the escrow and the collector take it.
    function signCompact(uint256 key, bytes32 digest) internal pure returns (Signature memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return compact(v, r, s);
    }

    function assertEq(uint256 left, uint256 right, string memory reason) internal pure {
        vm.assertEq(left, right, reason);
    }

    function assertEq(address left, address right, string memory reason) internal pure {
        vm.assertEq(left, right, reason);
    }

    function assertEq(bytes32 left, bytes32 right, string memory reason) internal pure {
        vm.assertEq(left, right, reason);
    }

    function assertTrue(bool condition, string memory reason) internal pure {
        vm.assertTrue(condition, reason);
    }

    /// @dev Maps any `value` into `[low, high]`, keeping values that are already there.
    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        require(low <= high, "bound: empty range");
        if (value >= low && value <= high) return value;
        uint256 size = high - low;
        if (size == type(uint256).max) return value;
        return low + value % (size + 1);
    }
}
