// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Status} from "../../src/types/Lease.sol";
import {Deed, Picture} from "./Proof.sol";
import {Steps} from "./Steps.sol";

/// @dev The properties of one step; each is zero if it holds. Sums of balances are compared modulo 2^256, in which they
/// cannot overflow.
abstract contract Properties is Steps {
    function was(Picture memory moment, Status status) private pure returns (uint256) {
        return one(moment.status == status);
    }

    function byProvider(Deed memory deed) private pure returns (uint256) {
        return one(deed.caller == PROVIDER) | one(deed.caller == SIGNER);
    }

    function isLate(Picture memory before) private view returns (uint256) {
        return one(block.timestamp > before.expiry + grace);
    }

    /// @dev What is added to a lease is owed by it; what leaves it reaches its parties, each their own part of it.
    function conservation(Picture memory before, Picture memory afterwards, bool exit) internal pure returns (uint256) {
        unchecked {
            uint256 claimed = afterwards.claimed - before.claimed;
            uint256 added = afterwards.deposit - before.deposit;
            if (!exit) return one(afterwards.owed != before.owed + added) | one(claimed != 0);
            bool closed = before.status == Status.Open && afterwards.status == Status.Closed;
            uint256 refund = closed ? afterwards.deposit - afterwards.claimed : 0;
            uint256 earned = (afterwards.provider - before.provider) + (afterwards.builder - before.builder);
            return one(added != 0) | one(earned != claimed) | one(afterwards.renter - before.renter != refund);
        }
    }

    /// @dev What the escrow has grows exactly with what it owes, and what else it owes stays as it was. Written as
    /// differences: what is equal on both sides then cancels before a solver sees it.
    function solvency(Picture memory before, Picture memory afterwards) internal pure returns (uint256) {
        unchecked {
            uint256 gained = (afterwards.vault - before.vault) + (before.owed - afterwards.owed);
            return one(gained != afterwards.credits - before.credits) | one(afterwards.others != before.others);
        }
    }

    /// @dev Until expiry + grace nobody but the provider's side takes anything from what a receipt can collect.
    function entitlement(Picture memory before, Picture memory afterwards, Deed memory deed)
        internal
        view
        returns (uint256)
    {
        uint256 lost = (1 - was(afterwards, Status.Open)) | one(afterwards.claimed != before.claimed)
            | one(afterwards.deposit < before.deposit) | one(afterwards.expiry < before.expiry);
        return
            was(before, Status.Open) & (1 - isLate(before)) & (1 - byProvider(deed)) & (1 - deed.closingSigned) & lost;
    }

    /// @dev A lease is closed by its provider's side, or by its renter: late, or with the provider's signature.
    function thirdPartyClose(Picture memory before, Picture memory afterwards, Deed memory deed)
        internal
        view
        returns (uint256)
    {
        uint256 mayClose = byProvider(deed) | (one(deed.caller == RENTER) & (deed.closingSigned | isLate(before)));
        return was(before, Status.Open) & was(afterwards, Status.Closed) & (1 - mayClose);
    }

    /// @dev Nothing is claimed that was not signed for.
    function consent(Picture memory before, Picture memory afterwards, Deed memory deed)
        internal
        pure
        returns (uint256)
    {
        uint256 agreed =
            (deed.receiptSigned | deed.closingSigned) & one(afterwards.claimed <= deed.amount);
        return was(before, Status.Open) & one(afterwards.claimed != before.claimed) & (1 - agreed);
    }

    /// @dev A closed lease never changes, and no lease goes back.
    function closedForEver(Picture memory before, Picture memory afterwards) internal pure returns (uint256) {
        uint256 changed = one(afterwards.deposit != before.deposit) | one(afterwards.claimed != before.claimed)
            | one(afterwards.expiry != before.expiry);
        return one(uint8(afterwards.status) < uint8(before.status)) | (was(before, Status.Closed) & changed);
    }
}

/// @dev Every property of every step of the real escrow.
contract StepsProof is Properties {
    function judge(Picture memory before, Picture memory afterwards, Deed memory deed, bool exit)
        internal
        view
        override
    {
        assert(conservation(before, afterwards, exit) == 0);
        assert(solvency(before, afterwards) == 0);
        assert(entitlement(before, afterwards, deed) == 0);
        assert(thirdPartyClose(before, afterwards, deed) == 0);
        assert(consent(before, afterwards, deed) == 0);
        assert(closedForEver(before, afterwards) == 0);
    }
}
