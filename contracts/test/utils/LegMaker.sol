// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Terms} from "../../src/types/Lease.sol";
import {JobTerms, NodeTerms} from "../../src/types/Legs.sol";

/// @dev Takes terms apart, as calls for many leases want them.
abstract contract LegMaker {
    function jobOf(Terms memory terms) internal pure returns (JobTerms memory) {
        return JobTerms({
            renter: terms.renter,
            receiptKey: terms.receiptKey,
            token: terms.token,
            builder: terms.builder,
            builderBps: terms.builderBps,
            grace: terms.grace
        });
    }

    function nodeOf(Terms memory terms) internal pure returns (NodeTerms memory) {
        return NodeTerms({provider: terms.provider, providerSigner: terms.providerSigner, salt: terms.salt});
    }
}
