// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {TestUsdc} from "../../src/test/TestUsdc.sol";
import {Status, Terms} from "../../src/types/Lease.sol";
import {DaiLikeToken} from "../tokens/DaiLikeToken.sol";
import {OddToken} from "../tokens/OddToken.sol";
import {RebasingToken} from "../tokens/RebasingToken.sol";
import {UsdcLikeToken} from "../tokens/UsdcLikeToken.sol";
import {YesToken} from "../tokens/YesToken.sol";
import {EscrowTest} from "../utils/EscrowTest.sol";
import {Signature} from "../utils/Signature.sol";

/// @dev What tokens do to those who hold them, and that none of it reaches a lease in another token or shuts a way out.
/// Fees, false and missing answers and gas burners are in the tests of each call; calling back is in `Reentry.t.sol`.
contract HostileTokensTest is EscrowTest {
    uint96 private constant SUM = 100e6;
    uint96 private constant EARNED = 30e6;

    Terms private terms;

    /// @dev A lease in another token, which must be as it was at the end.
    modifier besideAnotherLease() {
        bytes32 id = open(plainTerms());
        _;
        assertLease(id, DEPOSIT, 0, expiry, Status.Open);
        settle(plainTerms(), 10 ether);
        assertBalance(provider, 10 ether, "the provider of the other lease");
    }

    function useToken(address token) private returns (bytes32 id) {
        terms = builderTerms();
        terms.token = token;
        terms.salt = keccak256("hostile");
        id = escrow.leaseIdOf(terms);
        vm.prank(renter);
        escrow.open(terms, SUM, expiry);
    }

    function useUsdcLike() private returns (UsdcLikeToken usdc, bytes32 id) {
        usdc = new UsdcLikeToken();
        usdc.mint(renter, 2 * SUM);
        vm.prank(renter);
        usdc.approve(address(escrow), type(uint256).max);
        id = useToken(address(usdc));
    }

    function assertCredits(address token, uint256 toProvider, uint256 toBuilder, uint256 toRenter) private view {
        assertEq(escrow.creditOf(token, provider), toProvider, "the provider's credit");
        assertEq(escrow.creditOf(token, builder), toBuilder, "the builder's credit");
        assertEq(escrow.creditOf(token, renter), toRenter, "the renter's credit");
    }

    function test_PausedTokenCreditsAllAndPaysWhenItGoesOn() public besideAnotherLease {
        (UsdcLikeToken usdc, bytes32 id) = useUsdcLike();
        usdc.setPaused(true);
        settle(terms, EARNED);
        assertLease(id, SUM, EARNED, expiry, Status.Closed);
        assertCredits(address(usdc), 28.5e6, 1.5e6, 70e6);

        expectRevert(abi.encodeWithSelector(UsdcLikeToken.Paused.selector));
        escrow.withdraw(address(usdc), provider);
        usdc.setPaused(false);
        escrow.withdraw(address(usdc), provider);
        escrow.withdraw(address(usdc), builder);
        escrow.withdraw(address(usdc), renter);
        assertEq(usdc.balanceOf(provider), 28.5e6, "the provider");
        assertEq(usdc.balanceOf(address(escrow)), 0, "the escrow kept something");
    }

    function test_BlacklistedRenterIsCreditedAndCannotPay() public besideAnotherLease {
        (UsdcLikeToken usdc,) = useUsdcLike();
        usdc.setBlacklisted(renter, true);
        vm.prank(renter);
        vm.expectRevert();
        escrow.topUp(terms, 1, 0);
        settle(terms, EARNED);
        assertEq(usdc.balanceOf(provider), 28.5e6, "the provider");
        assertCredits(address(usdc), 0, 0, 70e6);
    }

    function test_BlacklistedEscrowCreditsAllAndPaysLater() public besideAnotherLease {
        (UsdcLikeToken usdc, bytes32 id) = useUsdcLike();
        usdc.setBlacklisted(address(escrow), true);
        Signature memory signature = signClosing(terms, EARNED);
        vm.prank(renter);
        escrow.close(terms, EARNED, signature.r, signature.vs);
        assertLease(id, SUM, EARNED, expiry, Status.Closed);
        assertCredits(address(usdc), 28.5e6, 1.5e6, 70e6);
        usdc.setBlacklisted(address(escrow), false);
        escrow.withdraw(address(usdc), renter);
        assertEq(usdc.balanceOf(renter), 2 * SUM - EARNED, "the renter");
    }

    function test_TokenThatGrowsLeavesTheGrowth() public besideAnotherLease {
        RebasingToken token = new RebasingToken();
        token.mint(renter, SUM);
        useToken(address(token));
        token.rebase(150);
        settle(terms, 30e6);
        assertEq(token.balanceOf(provider), 28.5e6, "the provider");
        assertEq(token.balanceOf(renter), 70e6 - 1, "the renter, but for the token's own rounding");
    }

    /// @dev Who leaves first is paid; who leaves last is owed what the token took away. No other token is touched.
    function test_TokenThatShrinksCreditsWhatIsNotThere() public besideAnotherLease {
        RebasingToken token = new RebasingToken();
        token.mint(renter, SUM);
        bytes32 id = useToken(address(token));
        token.rebase(50);
        settle(terms, 30e6);
        assertLease(id, SUM, 30e6, expiry, Status.Closed);
        assertEq(token.balanceOf(provider), 28.5e6, "the provider");
        assertEq(token.balanceOf(builder), 1.5e6, "the builder");
        assertCredits(address(token), 0, 0, 70e6);
    }

    function test_RevertWhen_TakingSaysFalse() public {
        OddToken odd = new OddToken();
        odd.setTakesNothing(true);
        terms = plainTerms();
        terms.token = address(odd);
        vm.expectRevert();
        vm.prank(renter);
        escrow.open(terms, SUM, expiry);
    }

    function test_RevertWhen_ThereIsNoTokenAtAll() public {
        terms = plainTerms();
        terms.token = stranger;
        vm.expectRevert();
        vm.prank(renter);
        escrow.open(terms, SUM, expiry);
    }

    /// @dev What is not there any more cannot be paid in: it is credited, and the lease closes.
    function test_TokenThatDestroyedItselfCredits() public besideAnotherLease {
        (UsdcLikeToken usdc, bytes32 id) = useUsdcLike();
        vm.etch(address(usdc), "");
        settle(terms, EARNED);
        assertLease(id, SUM, EARNED, expiry, Status.Closed);
        assertCredits(address(usdc), 28.5e6, 1.5e6, 70e6);
    }

    /// @dev A long answer costs what it costs the token: nobody copies it.
    function test_LongAnswersCostNobodyElse() public besideAnotherLease {
        OddToken odd = new OddToken();
        odd.mint(renter, SUM);
        vm.prank(renter);
        odd.approve(address(escrow), SUM);
        useToken(address(odd));
        odd.deny(provider, OddToken.Denial.ReturnMuch);
        odd.deny(builder, OddToken.Denial.RevertMuch);
        odd.deny(renter, OddToken.Denial.ReturnMuch);
        Signature memory signature = signReceipt(terms, EARNED);
        vm.prank(provider);
        uint256 before = gasleft();
        escrow.settle(terms, EARNED, EARNED, signature.r, signature.vs);
        assertTrue(before - gasleft() < 720_000, "somebody paid for the copy of an answer");
        assertCredits(address(odd), 28.5e6, 1.5e6, 70e6);
    }

    function test_DaiLikePermitLeavesTheAllowanceToDecide() public {
        DaiLikeToken dais = new DaiLikeToken();
        dais.mint(renter, 2 * SUM);
        terms = plainTerms();
        terms.token = address(dais);
        vm.prank(renter);
        vm.expectRevert();
        escrow.openWithPermit(terms, SUM, expiry, block.timestamp, 27, bytes32(uint256(1)), bytes32(uint256(2)));
        vm.prank(renter);
        dais.approve(address(escrow), SUM);
        vm.prank(renter);
        escrow.openWithPermit(terms, SUM, expiry, block.timestamp, 27, bytes32(uint256(1)), bytes32(uint256(2)));
        assertLease(escrow.leaseIdOf(terms), SUM, 0, expiry, Status.Open);
    }

    function test_UsdcLikePermitOpens() public {
        TestUsdc usdc = new UsdcLikeToken();
        usdc.mint(renter, SUM);
        terms = plainTerms();
        terms.token = address(usdc);
        bytes32 words = keccak256(
            abi.encode(
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                renter,
                address(escrow),
                uint256(SUM),
                uint256(0),
                block.timestamp
            )
        );
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(RENTER_KEY, keccak256(abi.encodePacked("\x19\x01", usdc.DOMAIN_SEPARATOR(), words)));
        vm.prank(renter);
        escrow.openWithPermit(terms, SUM, expiry, block.timestamp, v, r, s);
        assertLease(escrow.leaseIdOf(terms), SUM, 0, expiry, Status.Open);
    }

    /// @dev A permit that says yes and does nothing changes nothing.
    function test_TokenThatSaysYesToPermitsStillNeedsAnAllowance() public {
        YesToken yes = new YesToken();
        yes.mint(renter, SUM);
        terms = plainTerms();
        terms.token = address(yes);
        vm.prank(renter);
        vm.expectRevert();
        escrow.openWithPermit(terms, SUM, expiry, block.timestamp, 27, 0, 0);
        vm.prank(renter);
        yes.approve(address(escrow), SUM);
        vm.prank(renter);
        escrow.openWithPermit(terms, SUM, expiry, block.timestamp, 27, 0, 0);
        settle(terms, EARNED);
        assertEq(yes.balanceOf(provider), EARNED, "the provider");
    }

    /// @dev From one unit to all that a lease can hold, whatever a unit is called.
    function testFuzz_UnitsAreUnits(uint96 deposit, uint96 receipt, bool six) public {
        deposit = uint96(bound(deposit, 1, type(uint96).max));
        receipt = uint96(bound(receipt, 1, type(uint96).max));
        address token = six ? deployed("TestUsdc") : address(dai);
        TestUsdc(token).mint(renter, deposit);
        terms = builderTerms();
        terms.token = token;
        terms.salt = keccak256("units");
        vm.prank(renter);
        IERC20(token).approve(address(escrow), deposit);
        vm.prank(renter);
        escrow.open(terms, deposit, expiry);
        settle(terms, receipt);
        uint256 claimed = receipt < deposit ? receipt : deposit;
        assertEq(IERC20(token).balanceOf(builder), claimed / 20, "the builder");
        assertEq(IERC20(token).balanceOf(provider), claimed - claimed / 20, "the provider");
        assertEq(IERC20(token).balanceOf(address(escrow)), 0, "the escrow kept something");
    }
}
