// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ICollector} from "../../src/interfaces/ICollector.sol";
import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {Handover} from "../../src/types/Handover.sol";
import {Terms} from "../../src/types/Lease.sol";
import {Signature} from "./Signature.sol";
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
        bytes32 digest = collector.escrow().receiptDigest(leaseId, words.receiptCumulative);
        Signature memory receipt = signCompact(receiptKey, digest);
        digest = collector.handoverDigest(leaseId, words.amount, words.notBefore, words.reward);
        Signature memory signature = signCompact(signerKey, digest);
        (words.receiptR, words.receiptVs, words.r, words.vs) = (receipt.r, receipt.vs, signature.r, signature.vs);
        return words;
    }
}
