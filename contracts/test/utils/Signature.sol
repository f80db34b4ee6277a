// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @dev A signature as the escrow takes it: two words (EIP-2098).
struct Signature {
    bytes32 r;
    bytes32 vs;
}

/// @dev The same signature from the three numbers that `vm.sign` gives, packed here without the library that unpacks it.
function compact(uint8 v, bytes32 r, bytes32 s) pure returns (Signature memory) {
    return Signature({r: r, vs: bytes32(uint256(s) | (uint256(v - 27) << 255))});
}
