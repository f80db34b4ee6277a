// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../src/types/Lease.sol";
import {ClaimLeg, CloseLeg, OpenLeg, TopUpLeg} from "../../src/types/Legs.sol";
import {OddToken, TokenHook} from "../tokens/OddToken.sol";
import {EscrowTest} from "../utils/EscrowTest.sol";
import {Signature} from "../utils/Signature.sol";

/// @dev Renter and provider in one, who uses the moment in which its money moves to make one more call.
contract Actor is TokenHook {
    address private immutable ESCROW;
    bytes private _inner;
    bool public innerDone;
    bool public calledBack;

    constructor(IEscrow escrow, OddToken token) {
        ESCROW = address(escrow);
        token.approve(address(escrow), type(uint256).max);
    }

    function run(bytes calldata outer, bytes calldata inner) external returns (bool done) {
        _inner = inner;
        (innerDone, calledBack) = (false, false);
        (done,) = ESCROW.call(outer);
        _inner = "";
    }

    function tokenMoved(address, address, uint256) external override {
        if (_inner.length == 0) return;
        bytes memory call = _inner;
        _inner = "";
        calledBack = true;
        (innerDone,) = ESCROW.call(call);
    }
}

/// @dev Every call of the escrow, made from inside every call of the escrow that moves money: whatever comes of it, the
/// escrow holds to the unit what its open leases hold and what it owes, and everybody has what is theirs.
contract ReentryTest is EscrowTest {
    uint96 private constant SUM = 1000;
    uint96 private constant EARNED = 300;
    uint256 private constant STOCK = 1_000_000;

    OddToken private odd;
    Actor private actor;
    bytes32[] private ids;

    function setUp() public override {
        super.setUp();
        odd = new OddToken();
        actor = new Actor(escrow, odd);
        odd.mint(address(actor), STOCK);
        odd.mint(renter, STOCK);
        vm.prank(renter);
        odd.approve(address(escrow), type(uint256).max);

        // Somebody else's lease, whose money is what could be stolen.
        Terms memory bystander = plainTerms();
        bystander.token = address(odd);
        vm.prank(renter);
        escrow.open(bystander, 10 * SUM, expiry);
        ids.push(escrow.leaseIdOf(bystander));

        // 0 to 3 are open, 2 and 3 past their grace; 4 and 5 are new.
        for (uint256 i = 0; i < 6; ++i) {
            ids.push(escrow.leaseIdOf(leaseTerms(i)));
            if (i < 4) actor.run(abi.encodeCall(IEscrow.open, (leaseTerms(i), SUM, untilOf(i))), "");
        }
        vm.warp(expiry + GRACE + 1);
        odd.setHook(address(actor), actor);
    }

    function untilOf(uint256 i) private view returns (uint40) {
        return i == 2 || i == 3 ? expiry : expiry + 60 days;
    }

    function leaseTerms(uint256 i) private view returns (Terms memory terms) {
        terms = builderTerms();
        terms.renter = address(actor);
        terms.provider = address(actor);
        terms.token = address(odd);
        terms.salt = bytes32(i);
    }

    /// @dev Every call, on lease `open` that is open, `lapsed` that may be reclaimed, or `fresh` that is not yet there.
    function calls(uint256 live, uint256 lapsed, uint256 fresh) private view returns (bytes[] memory list) {
        Terms memory terms = leaseTerms(live);
        Signature memory receipt = signReceipt(terms, EARNED);
        ClaimLeg[] memory claims = new ClaimLeg[](1);
        claims[0] = claimLeg(terms, EARNED, EARNED);
        CloseLeg[] memory closings = new CloseLeg[](1);
        closings[0] = closeLeg(terms, EARNED);
        OpenLeg[] memory opens = new OpenLeg[](1);
        opens[0] = OpenLeg({node: nodeOf(leaseTerms(fresh)), deposit: SUM, expiry: expiry + 60 days});
        TopUpLeg[] memory topUps = new TopUpLeg[](1);
        topUps[0] = topUpLeg(terms, SUM, 0);
        Terms[] memory reclaims = new Terms[](1);
        reclaims[0] = leaseTerms(lapsed);
        Signature memory closing = signClosing(terms, EARNED);
        bytes memory any = new bytes(65);

        list = new bytes[](18);
        list[0] = abi.encodeCall(IEscrow.open, (leaseTerms(fresh), SUM, expiry + 60 days));
        list[1] = abi.encodeCall(IEscrow.openWithPermit, (leaseTerms(fresh), SUM, expiry + 60 days, 0, 0, 0, 0));
        list[2] = abi.encodeCall(IEscrow.openWithAuthorization, (leaseTerms(fresh), SUM, expiry + 60 days, 0, 0, any));
        list[3] = abi.encodeCall(IEscrow.topUp, (terms, SUM, 0));
        list[4] = abi.encodeCall(IEscrow.topUpWithPermit, (terms, SUM, 0, 0, 0, 0, 0));
        list[5] = abi.encodeCall(IEscrow.openMany, (jobOf(terms), opens));
        list[6] = abi.encodeCall(IEscrow.openManyWithPermit, (jobOf(terms), opens, 0, 0, 0, 0));
        list[7] = abi.encodeCall(IEscrow.openManyWithAuthorization, (jobOf(terms), opens, 0, 0, any));
        list[8] = abi.encodeCall(IEscrow.topUpMany, (jobOf(terms), topUps));
        list[9] = abi.encodeCall(IEscrow.topUpManyWithPermit, (jobOf(terms), topUps, 0, 0, 0, 0));
        list[10] = abi.encodeCall(IEscrow.draw, (terms, EARNED, EARNED, receipt.r, receipt.vs));
        list[11] = abi.encodeCall(IEscrow.settle, (terms, EARNED, EARNED, receipt.r, receipt.vs));
        list[12] = abi.encodeCall(IEscrow.close, (terms, EARNED, closing.r, closing.vs));
        list[13] = abi.encodeCall(IEscrow.reclaim, (leaseTerms(lapsed)));
        list[14] = abi.encodeCall(IEscrow.drawMany, (claims));
        list[15] = abi.encodeCall(IEscrow.settleMany, (claims));
        list[16] = abi.encodeCall(IEscrow.closeMany, (jobOf(terms), closings));
        list[17] = abi.encodeCall(IEscrow.reclaimMany, (reclaims));
    }

    /// @dev The escrow's balance is what it owes, and the actor and the builder have all the rest.
    function assertWhole(string memory name) private view {
        uint256 owed = escrow.creditOf(address(odd), address(actor)) + escrow.creditOf(address(odd), builder);
        uint256 claimedInAll;
        for (uint256 i = 0; i < ids.length; ++i) {
            (uint96 deposit, uint96 claimed,, Status status) = escrow.leaseOf(ids[i]);
            if (status == Status.Open) owed += deposit - claimed;
            claimedInAll += claimed / 20;
        }
        assertEq(odd.balanceOf(address(escrow)), owed, string.concat("solvency: ", name));
        assertEq(odd.balanceOf(builder), claimedInAll, string.concat("the builder: ", name));
        assertLease(ids[0], 10 * SUM, 0, expiry, Status.Open);
        assertEq(odd.balanceOf(renter), STOCK - 10 * SUM, string.concat("the bystander: ", name));
    }

    function test_EveryCallInsideEveryCall() public {
        bytes[] memory outers = calls(0, 2, 4);
        bytes[] memory others = calls(1, 3, 5);
        for (uint256 i = 0; i < outers.length; ++i) {
            for (uint256 j = 0; j < others.length; ++j) {
                tryPair(i, outers[i], others[j], string.concat(vm.toString(i), " around ", vm.toString(j)));
                tryPair(
                    i, outers[i], outers[j], string.concat(vm.toString(i), " around the same lease's ", vm.toString(j))
                );
            }
        }
    }

    function tryPair(uint256 outer, bytes memory call, bytes memory inner, string memory name) private {
        uint256 snapshot = vm.snapshotState();
        bool done = actor.run(call, inner);
        // A deposit stops when money moved inside it; an exit never does.
        if (outer >= 10) assertTrue(done, string.concat("an exit was stopped: ", name));
        if (done) assertTrue(actor.calledBack(), string.concat("nobody called back: ", name));
        if (done && outer < 10) assertTrue(!actor.innerDone(), string.concat("money moved inside a deposit: ", name));
        assertWhole(name);
        vm.revertToStateAndDelete(snapshot);
    }

    /// @dev A credit is withdrawn from inside the payment of another, and from inside its own withdrawal.
    function test_WithdrawalInsideAPayment() public {
        odd.deny(address(actor), OddToken.Denial.Revert);
        bytes[] memory list = calls(0, 2, 4);
        assertTrue(actor.run(list[10], ""), "the draw");
        odd.deny(address(actor), OddToken.Denial.None);
        uint256 credit = escrow.creditOf(address(odd), address(actor));
        assertEq(credit, 285, "the credit");
        bytes memory take = abi.encodeCall(IEscrow.withdraw, (address(odd), address(actor)));

        uint256 snapshot = vm.snapshotState();
        assertTrue(actor.run(calls(1, 3, 5)[11], take) && actor.innerDone(), "inside a settlement");
        assertWhole("inside a settlement");
        vm.revertToStateAndDelete(snapshot);
        assertTrue(actor.run(take, take) && !actor.innerDone(), "inside itself");
        assertWhole("inside itself");
        snapshot = vm.snapshotState();
        assertTrue(!actor.run(calls(1, 3, 5)[3], take) || !actor.innerDone(), "inside a deposit");
        assertWhole("inside a deposit");
    }
}
