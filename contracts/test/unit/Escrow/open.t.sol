// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Status, Terms} from "../../../src/types/Lease.sol";
import {OddToken, TokenHook} from "../../tokens/OddToken.sol";
import {SilentToken} from "../../tokens/SilentToken.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";

/// @dev A payer whose token calls back in the middle of a deposit, to open a lease again.
contract OpeningHook is TokenHook {
    IEscrow private immutable ESCROW;
    Terms private _inner;
    bool private _armed;

    constructor(IEscrow escrow) {
        ESCROW = escrow;
    }

    function openTwice(Terms calldata outer, Terms calldata inner) external {
        _inner = inner;
        _armed = true;
        ESCROW.open(outer, 100, uint40(block.timestamp + 1));
    }

    function tokenMoved(address, address, uint256) external override {
        if (!_armed) return;
        _armed = false;
        ESCROW.open(_inner, 1, uint40(block.timestamp + 1));
    }
}

contract OpenTest is EscrowTest {
    function refuses(Terms memory terms, uint96 deposit, uint40 until, bytes memory why) private {
        expectRevert(why);
        vm.prank(renter);
        escrow.open(terms, deposit, until);
    }

    function test_RevertWhen_TheCallerIsNotTheRenter() public {
        expectRevert(abi.encodeWithSelector(IEscrow.CallerNotRenter.selector, stranger, renter));
        vm.prank(stranger);
        escrow.open(plainTerms(), DEPOSIT, expiry);
    }

    function test_RevertWhen_TheReceiptKeyIsZero() public {
        Terms memory terms = plainTerms();
        terms.receiptKey = address(0);
        refuses(terms, DEPOSIT, expiry, abi.encodeWithSelector(IEscrow.PartyIsZero.selector));
    }

    function test_RevertWhen_TheProviderIsZero() public {
        Terms memory terms = plainTerms();
        terms.provider = address(0);
        refuses(terms, DEPOSIT, expiry, abi.encodeWithSelector(IEscrow.PartyIsZero.selector));
    }

    function test_RevertWhen_TheProviderSignerIsZero() public {
        Terms memory terms = plainTerms();
        terms.providerSigner = address(0);
        refuses(terms, DEPOSIT, expiry, abi.encodeWithSelector(IEscrow.PartyIsZero.selector));
    }

    function test_RevertWhen_AShareGoesToNoBuilder() public {
        Terms memory terms = plainTerms();
        terms.builderBps = 1;
        refuses(terms, DEPOSIT, expiry, abi.encodeWithSelector(IEscrow.BuilderIsZero.selector, 1));
    }

    function test_RevertWhen_TheShareIsAboveTheMaximum() public {
        Terms memory terms = builderTerms();
        terms.builderBps = 1001;
        refuses(terms, DEPOSIT, expiry, abi.encodeWithSelector(IEscrow.BuilderShareTooHigh.selector, 1001, 1000));
    }

    function test_RevertWhen_TheGraceIsAboveTheMaximum() public {
        Terms memory terms = plainTerms();
        terms.grace = 30 days + 1;
        refuses(terms, DEPOSIT, expiry, abi.encodeWithSelector(IEscrow.GraceTooLong.selector, 30 days + 1, 30 days));
    }

    function test_WhenTheGraceIsExactlyTheMaximum() public {
        Terms memory terms = plainTerms();
        terms.grace = 30 days;
        assertLease(open(terms), DEPOSIT, 0, expiry, Status.Open);
    }

    function test_RevertWhen_AWordOfTheTermsHasBitsOutsideItsType() public {
        // The salt, the ninth word, has no such bits.
        for (uint256 word = 0; word < 8; ++word) {
            bytes memory call = abi.encodeCall(IEscrow.open, (plainTerms(), DEPOSIT, expiry));
            call[4 + 32 * word] = 0x01;
            vm.prank(renter);
            (bool success,) = address(escrow).call(call);
            assertTrue(!success, string.concat("a dirty word was accepted: ", vm.toString(word)));
        }
    }

    function test_RevertWhen_TheDepositIsZero() public {
        refuses(plainTerms(), 0, expiry, abi.encodeWithSelector(IEscrow.AmountIsZero.selector));
    }

    function test_RevertWhen_TheExpiryIsNow() public {
        uint40 now_ = uint40(block.timestamp);
        refuses(plainTerms(), DEPOSIT, now_, abi.encodeWithSelector(IEscrow.ExpiryInPast.selector, now_, now_));
    }

    function test_RevertWhen_TheExpiryIsMoreThan90DaysAhead() public {
        uint40 latest = uint40(block.timestamp + 90 days);
        bytes memory why = abi.encodeWithSelector(IEscrow.ExpiryTooFar.selector, latest + 1, latest);
        refuses(plainTerms(), DEPOSIT, latest + 1, why);
    }

    function test_WhenTheExpiryIsExactly90DaysAhead() public {
        uint40 latest = uint40(block.timestamp + 90 days);
        vm.prank(renter);
        escrow.open(plainTerms(), DEPOSIT, latest);
        assertLease(escrow.leaseIdOf(plainTerms()), DEPOSIT, 0, latest, Status.Open);
    }

    function test_RevertGiven_TheLeaseIsOpen() public {
        bytes32 leaseId = open(plainTerms());
        bytes memory why = abi.encodeWithSelector(IEscrow.LeaseExists.selector, leaseId, Status.Open);
        refuses(plainTerms(), DEPOSIT, expiry, why);
    }

    function test_RevertGiven_TheLeaseIsClosed() public {
        bytes32 leaseId = open(plainTerms());
        settle(plainTerms(), DEPOSIT);
        bytes memory why = abi.encodeWithSelector(IEscrow.LeaseExists.selector, leaseId, Status.Closed);
        refuses(plainTerms(), DEPOSIT, expiry, why);
    }

    function test_RevertGiven_TheAllowanceIsTooSmall() public {
        vm.prank(renter);
        dai.approve(address(escrow), DEPOSIT - 1);
        vm.prank(renter);
        vm.expectRevert();
        escrow.open(plainTerms(), DEPOSIT, expiry);
        assertLease(escrow.leaseIdOf(plainTerms()), 0, 0, 0, Status.None);
    }

    function test_RevertGiven_TheTokenHasNoCode() public {
        Terms memory terms = plainTerms();
        terms.token = address(0x7043);
        vm.prank(renter);
        vm.expectRevert();
        escrow.open(terms, DEPOSIT, expiry);
    }

    function test_RevertGiven_TheTokenTakesAFee() public {
        OddToken odd = new OddToken();
        odd.mint(renter, DEPOSIT);
        odd.setFee(100);
        vm.prank(renter);
        odd.approve(address(escrow), DEPOSIT);
        Terms memory terms = plainTerms();
        terms.token = address(odd);
        bytes memory why = abi.encodeWithSelector(IEscrow.DepositNotReceived.selector, DEPOSIT, 0, DEPOSIT * 99 / 100);
        refuses(terms, DEPOSIT, expiry, why);
    }

    function reentrant(bool same) private returns (OpeningHook hook, Terms memory outer, Terms memory inner) {
        OddToken odd = new OddToken();
        hook = new OpeningHook(escrow);
        odd.mint(address(hook), 1000);
        vm.prank(address(hook));
        odd.approve(address(escrow), 1000);
        odd.setHook(address(hook), hook);
        outer = plainTerms();
        outer.renter = address(hook);
        outer.token = address(odd);
        inner = plainTerms();
        inner.renter = outer.renter;
        inner.token = outer.token;
        if (!same) inner.salt = keccak256("another");
    }

    function test_RevertWhen_TheCallbackOpensAnotherLease() public {
        (OpeningHook hook, Terms memory outer, Terms memory inner) = reentrant(false);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.PullReentered.selector));
        hook.openTwice(outer, inner);
    }

    function test_RevertWhen_TheCallbackOpensTheSameLease() public {
        (OpeningHook hook, Terms memory outer, Terms memory inner) = reentrant(true);
        bytes32 leaseId = escrow.leaseIdOf(outer);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.LeaseExists.selector, leaseId, Status.Open));
        hook.openTwice(outer, inner);
    }

    function test_GivenTheTokenSaysNothing() public {
        SilentToken silent = new SilentToken();
        silent.mint(renter, DEPOSIT);
        Terms memory terms = plainTerms();
        terms.token = address(silent);
        assertLease(open(terms), DEPOSIT, 0, expiry, Status.Open);
        assertEq(silent.balanceOf(address(escrow)), DEPOSIT, "the deposit is not there");
    }

    function test_WhenTheBuilderHasANameButNoShare() public {
        Terms memory terms = plainTerms();
        terms.builder = builder;
        assertLease(open(terms), DEPOSIT, 0, expiry, Status.Open);
    }

    function test_WhenAllIsWell() public {
        Terms memory terms = builderTerms();
        bytes32 leaseId = escrow.leaseIdOf(terms);
        uint256 before = dai.balanceOf(renter);
        vm.expectEmit(address(escrow));
        emit IEscrow.LeaseOpened(leaseId, renter, provider, address(dai), DEPOSIT, expiry);
        vm.prank(renter);
        escrow.open(terms, DEPOSIT, expiry);

        assertLease(leaseId, DEPOSIT, 0, expiry, Status.Open);
        // Slot 2 holds the leases: `docs/spec/terms-and-receipts.md`.
        bytes32 word = vm.load(address(escrow), keccak256(abi.encode(leaseId, uint256(2))));
        assertEq(uint256(word), uint256(DEPOSIT) | (uint256(expiry) << 192) | (uint256(1) << 232), "the stored word");
        assertBalance(renter, before - DEPOSIT, "the renter paid another amount");
        assertBalance(address(escrow), DEPOSIT, "the escrow got another amount");
    }

    /// @dev Two deposits pull exactly what they say, whatever they are.
    function testFuzz_PullsExactlyTheDeposit(uint96 first, uint96 second) public {
        first = uint96(bound(first, 1, 400_000 ether));
        second = uint96(bound(second, 1, 400_000 ether));
        Terms memory terms = plainTerms();
        vm.prank(renter);
        escrow.open(terms, first, expiry);
        terms.salt = keccak256("another");
        vm.prank(renter);
        escrow.open(terms, second, expiry);
        assertBalance(address(escrow), uint256(first) + second, "the escrow holds another sum");
    }
}
