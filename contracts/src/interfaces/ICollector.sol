// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Handover} from "../types/Handover.sol";
import {Terms} from "../types/Lease.sol";
import {IEscrow} from "./IEscrow.sol";

/// @title ICollector
/// @notice Is paid in a provider's place, so that somebody else can collect for it when its machine is gone. It is the
/// `provider` of the terms of that provider's leases: whatever it has goes to one payout address, and a bounded reward to
/// whoever sent a draw for it. It has no owner, no upgrade and no way to change any of its three words.
///
/// The provider's signer settles at the escrow directly and needs none of this while it lives. What it leaves with a
/// watch-tower is a `Handover`, which can only draw: a lease stays open after it, so one that is old takes nothing from a
/// newer one, and using one twice does nothing. All amounts are in units of the lease's token.
interface ICollector {
    /// @notice Somebody collected what the provider had earned.
    /// @param caller Who sent it.
    /// @param received What the escrow paid.
    /// @param reward What of it the caller got.
    event Collected(bytes32 indexed leaseId, address indexed caller, uint256 received, uint256 reward);

    /// @notice Everything that was here of a token went to the payout address.
    event Swept(address indexed token, uint256 amount);

    /// @notice The escrow, the signer or the payout address is zero.
    error PartyIsZero();

    /// @notice A handover may be used only from its `notBefore` on.
    error TooEarly(uint256 blockTime, uint40 notBefore);

    /// @notice The handover was not signed by the signer. `recovered` is zero when the signature is malformed.
    error WrongSigner(address recovered, address signer);

    /// @notice There is nothing of this token here.
    error NothingToSweep(address token);

    /// @notice Draws on a lease with what its provider left, pays the caller its reward, and the payout address everything
    /// else of that token. Anybody may call it, from `notBefore` on.
    /// @dev Reverts with the escrow's error where the escrow refuses the draw. Where the payout address cannot be paid the
    /// money stays here, for `sweep`. Where the escrow could not pay this contract it has credited it, and nobody is
    /// rewarded: the escrow's `withdraw`, which anybody may call, brings the money here.
    function draw(Terms calldata terms, Handover calldata handover) external;

    /// @notice Pays the payout address all that is here of a token. Anybody may call it.
    function sweep(address token) external;

    /// @notice The escrow of the leases.
    function escrow() external view returns (IEscrow);

    /// @notice The key that signs handovers.
    function signer() external view returns (address);

    /// @notice Where all the money goes.
    function payout() external view returns (address);

    /// @notice What the signer signs to allow a draw: EIP-712, in this contract's own domain ("GPUX collector", "1").
    function handoverDigest(bytes32 leaseId, uint96 amount, uint40 notBefore, uint96 reward)
        external
        view
        returns (bytes32);
}
