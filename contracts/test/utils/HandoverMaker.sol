// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ICollector} from "../../src/interfaces/ICollector.sol";
import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {Handover} from "../../src/types/Handover.sol";
import {Terms} from "../../src/types/Lease.sol";
import {Test} from "./Test.sol";

/// @dev Signs handovers.
abstract contract HandoverMaker is Test {
    /// @dev A handover over all of a receipt, signed by both keys.
    function handoverOf(
        ICollector collector,
        Terms memory terms,
        Handover memory words,
        uint256 receiptKey,
        uint256 signerKey
    ) internal view returns (Handover memory) {
        bytes32 leaseId = collector.escrow().leaseIdOf(terms);
        (words.receiptR, words.receiptVs) =
            compact(receiptKey, collector.escrow().receiptDigest(leaseId, words.receiptCumulative));
        (words.r, words.vs) =
            compact(signerKey, collector.handoverDigest(leaseId, words.amount, words.notBefore, words.reward));
        return words;
    }

    /// @dev A signature in the form of EIP-2098.
    function compact(uint256 key, bytes32 digest) internal pure returns (bytes32 r, bytes32 vs) {
        uint8 v;
        (v, r, vs) = vm.sign(key, digest);
        vs |= bytes32(uint256(v - 27) << 255);
    }
}
