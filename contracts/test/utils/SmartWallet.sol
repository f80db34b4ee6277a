// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @dev An account without a key of its own: its owner signs for it (EIP-1271), with a label behind the 65 bytes or
/// without.
contract SmartWallet is IERC1271 {
    address private immutable OWNER;

    constructor(address owner) {
        OWNER = owner;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature) external view override returns (bytes4) {
        bool good = signature.length >= 65 && ECDSA.recover(hash, signature[:65]) == OWNER;
        return good ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }

    /// @dev What its owner tells it to do.
    function run(address target, bytes calldata call) external {
        require(msg.sender == OWNER, "SmartWallet: not the owner");
        (bool success, bytes memory why) = target.call(call);
        if (!success) {
            assembly ("memory-safe") {
                revert(add(why, 32), mload(why))
            }
        }
    }
}
