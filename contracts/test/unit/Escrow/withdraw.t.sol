// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {Terms} from "../../../src/types/Lease.sol";
import {OddToken} from "../../tokens/OddToken.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";

contract WithdrawTest is EscrowTest {
    OddToken private odd;

    function setUp() public override {
        super.setUp();
        odd = new OddToken();
        odd.mint(renter, 1000 ether);
        vm.prank(renter);
        odd.approve(address(escrow), type(uint256).max);
        credit("first", 30 ether);
    }

    /// @dev Settles a lease whose provider the token denies.
    function credit(string memory salt, uint96 amount) private {
        Terms memory terms = plainTerms();
        terms.token = address(odd);
        terms.salt = keccak256(bytes(salt));
        open(terms);
        odd.deny(provider, OddToken.Denial.Revert);
        settle(terms, amount);
    }

    function test_RevertGiven_ThePayeeHasNoCredit() public {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NothingCredited.selector, address(odd), stranger));
        escrow.withdraw(address(odd), stranger);
    }

    function test_RevertGiven_ThePayeeStillCannotBePaid() public {
        vm.expectRevert(abi.encodeWithSelector(OddToken.Denied.selector, provider));
        escrow.withdraw(address(odd), provider);
        assertEq(escrow.creditOf(address(odd), provider), 30 ether, "the credit");
    }

    function test_RevertGiven_ThePayeeWasPaidBefore() public {
        odd.deny(provider, OddToken.Denial.None);
        escrow.withdraw(address(odd), provider);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NothingCredited.selector, address(odd), provider));
        escrow.withdraw(address(odd), provider);
    }

    function test_WhenAStrangerCalls() public {
        odd.deny(provider, OddToken.Denial.None);
        vm.prank(stranger);
        escrow.withdraw(address(odd), provider);
        assertEq(odd.balanceOf(provider), 30 ether, "the payee");
        assertEq(odd.balanceOf(stranger), 0, "the stranger was paid");
    }

    function test_GivenSeveralLeasesCreditedThePayee() public {
        credit("second", 12 ether);
        odd.deny(provider, OddToken.Denial.None);
        escrow.withdraw(address(odd), provider);
        assertEq(odd.balanceOf(provider), 42 ether, "the payee");
    }

    function test_GivenThePayeeCanBePaidAgain() public {
        odd.deny(provider, OddToken.Denial.None);
        vm.expectEmit(address(escrow));
        emit IEscrow.Withdrawn(address(odd), provider, 30 ether);
        escrow.withdraw(address(odd), provider);
        assertEq(odd.balanceOf(provider), 30 ether, "the payee");
        assertEq(escrow.creditOf(address(odd), provider), 0, "the credit");
        assertEq(odd.balanceOf(address(escrow)), 0, "the escrow kept something");
    }
}
