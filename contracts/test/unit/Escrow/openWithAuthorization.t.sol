// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {TestUsdc} from "../../../src/test/TestUsdc.sol";
import {Status, Terms} from "../../../src/types/Lease.sol";
import {OddToken} from "../../tokens/OddToken.sol";
import {YesToken} from "../../tokens/YesToken.sol";
import {EscrowTest} from "../../utils/EscrowTest.sol";
import {SmartWallet} from "../../utils/SmartWallet.sol";

contract OpenWithAuthorizationTest is EscrowTest {
    uint96 private constant SUM = 100e6;

    TestUsdc private usdc;
    Terms private terms;
    uint256 private until;
    bytes private signature;

    function setUp() public override {
        super.setUp();
        usdc = TestUsdc(deployed("TestUsdc"));
        usdc.mint(renter, 1000e6);
        terms = builderTerms();
        terms.token = address(usdc);
        until = block.timestamp + 1 hours;
        signature = sign(RENTER_KEY);
    }

    function nonce() private view returns (bytes32) {
        return keccak256(abi.encode(escrow.leaseIdOf(terms), SUM, expiry));
    }

    function sign(uint256 key) private view returns (bytes memory) {
        return signAuthorization(usdc, key, SUM, nonce());
    }

    function relay() private {
        vm.prank(stranger);
        escrow.openWithAuthorization(terms, SUM, expiry, 0, until, signature);
    }

    function refuses(bytes memory why) private {
        expectRevert(why);
        relay();
    }

    function refusesRenter() private {
        refuses(abi.encodeWithSelector(TestUsdc.WrongAuthorizationSigner.selector, terms.renter));
    }

    function test_WhenARelayerSendsWhatTheRenterSigned() public {
        bytes32 id = escrow.leaseIdOf(terms);
        vm.expectEmit(address(escrow));
        emit IEscrow.LeaseOpened(id, renter, provider, address(usdc), SUM, expiry);
        relay();
        assertLease(id, SUM, 0, expiry, Status.Open);
        assertEq(usdc.balanceOf(renter), 900e6, "the renter");
        assertEq(usdc.balanceOf(address(escrow)), SUM, "the escrow");
        assertEq(usdc.allowance(renter, address(escrow)), 0, "an allowance");
    }

    function test_RevertWhen_TheRelayerChangesAWordOfTheTerms() public {
        Terms memory good = terms;
        for (uint256 word = 1; word < 9; ++word) {
            terms = good;
            if (word == 1) terms.receiptKey = stranger;
            if (word == 2) terms.provider = stranger;
            if (word == 3) terms.providerSigner = stranger;
            if (word == 5) terms.builder = stranger;
            if (word == 6) terms.builderBps = 501;
            if (word == 7) terms.grace = GRACE - 1;
            if (word == 8) terms.salt = keccak256("another");
            if (word != 4) refusesRenter();
        }
        terms = good;
        TestUsdc other = TestUsdc(deployed("TestUsdc"));
        other.mint(renter, SUM);
        terms.token = address(other);
        refusesRenter();
        terms = good;
        usdc.mint(stranger, SUM);
        terms.renter = stranger;
        refusesRenter();
    }

    function test_RevertWhen_TheRelayerChangesTheDeposit() public {
        bytes memory why = abi.encodeWithSelector(TestUsdc.WrongAuthorizationSigner.selector, renter);
        expectRevert(why);
        escrow.openWithAuthorization(terms, SUM - 1, expiry, 0, until, signature);
        expectRevert(why);
        escrow.openWithAuthorization(terms, SUM + 1, expiry, 0, until, signature);
    }

    function test_RevertWhen_TheRelayerChangesTheExpiry() public {
        expectRevert(abi.encodeWithSelector(TestUsdc.WrongAuthorizationSigner.selector, renter));
        escrow.openWithAuthorization(terms, SUM, expiry + 1, 0, until, signature);
    }

    function test_RevertWhen_TheRelayerChangesTheBoundsOfTheAuthorisation() public {
        bytes memory why = abi.encodeWithSelector(TestUsdc.WrongAuthorizationSigner.selector, renter);
        expectRevert(why);
        escrow.openWithAuthorization(terms, SUM, expiry, 0, until + 1, signature);
        expectRevert(why);
        escrow.openWithAuthorization(terms, SUM, expiry, 1, until, signature);
    }

    function test_RevertWhen_TheRelayerSendsItTwice() public {
        relay();
        refuses(abi.encodeWithSelector(IEscrow.LeaseExists.selector, escrow.leaseIdOf(terms), Status.Open));
    }

    function test_RevertWhen_TheRelayerTakesTheAuthorisationToTheToken() public {
        bytes32 wanted = nonce();
        expectRevert(abi.encodeWithSelector(TestUsdc.CallerNotPayee.selector, stranger, address(escrow)));
        vm.prank(stranger);
        usdc.receiveWithAuthorization(renter, address(escrow), SUM, 0, until, wanted, signature);
    }

    function test_RevertWhen_SomebodyElseSigned() public {
        signature = signAuthorization(usdc, STRANGER_KEY, SUM, nonce());
        refusesRenter();
    }

    function test_RevertWhen_TheAuthorisationWasGivenToAnotherEscrow() public {
        escrow = IEscrow(deployed("Escrow"));
        refusesRenter();
    }

    function test_RevertGiven_TheRenterOpenedTheLeaseItself() public {
        vm.prank(renter);
        usdc.approve(address(escrow), SUM);
        vm.prank(renter);
        escrow.open(terms, SUM, expiry);
        refuses(abi.encodeWithSelector(IEscrow.LeaseExists.selector, escrow.leaseIdOf(terms), Status.Open));
        assertTrue(!usdc.authorizationState(renter, nonce()), "the authorisation was used");
    }

    /// @dev Makes the renter a wallet whose owner is the key that signs.
    function useWallet(bytes memory label) private {
        SmartWallet wallet = new SmartWallet(renter);
        usdc.mint(address(wallet), SUM);
        terms.renter = address(wallet);
        bytes32 words = keccak256(
            abi.encode(
                usdc.RECEIVE_WITH_AUTHORIZATION_TYPEHASH(), wallet, address(escrow), uint256(SUM), 0, until, nonce()
            )
        );
        bytes32 digest = keccak256(abi.encodePacked("\x19\x01", usdc.DOMAIN_SEPARATOR(), words));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(RENTER_KEY, digest);
        signature = abi.encodePacked(r, s, v, label);
    }

    function test_WhenItsSignatureHas65Bytes() public {
        useWallet("");
        relay();
        assertLease(escrow.leaseIdOf(terms), SUM, 0, expiry, Status.Open);
    }

    function test_WhenItsSignatureIsLonger() public {
        useWallet("signed by the owner");
        relay();
        assertLease(escrow.leaseIdOf(terms), SUM, 0, expiry, Status.Open);
    }

    function test_RevertWhen_SomebodyElseThanItsOwnerSigned() public {
        useWallet("signed by the owner");
        terms.renter = address(new SmartWallet(stranger));
        usdc.mint(terms.renter, SUM);
        vm.expectRevert();
        relay();
    }

    /// @dev USDC asks an account's code when there is some: here a delegate that verifies by the account's own key.
    function test_GivenTheRenterHasCodeThatEIP7702GaveIt() public {
        vm.etch(renter, address(new SmartWallet(renter)).code);
        relay();
        assertLease(escrow.leaseIdOf(terms), SUM, 0, expiry, Status.Open);
    }

    function test_RevertWhen_TheSignatureHasAnotherLengthAndTheTokenKnows65BytesOnly() public {
        OddToken token = new OddToken();
        token.mint(renter, SUM);
        terms.token = address(token);
        relay();
        terms.salt = keccak256("another");
        token.mint(renter, SUM);
        signature = abi.encodePacked(signature, uint8(0));
        vm.expectRevert();
        relay();
    }

    function test_RevertGiven_TheTokenSaysYesToEverythingAndDoesNothing() public {
        terms.token = address(new YesToken());
        refuses(abi.encodeWithSelector(IEscrow.DepositNotReceived.selector, SUM, 0, 0));
    }

    function test_RevertGiven_TheTokenTakesAFee() public {
        OddToken token = new OddToken();
        token.mint(renter, SUM);
        token.setFee(100);
        terms.token = address(token);
        refuses(abi.encodeWithSelector(IEscrow.DepositNotReceived.selector, SUM, 0, 99e6));
    }

    function test_RevertWhen_TheTermsAreBad() public {
        terms.grace = 30 days + 1;
        refuses(abi.encodeWithSelector(IEscrow.GraceTooLong.selector, 30 days + 1, 30 days));
    }

    function test_RevertWhen_TheReceiptKeyIsNotCanonicallyEncoded() public {
        bytes memory call = abi.encodeCall(IEscrow.openWithAuthorization, (terms, SUM, expiry, 0, until, signature));
        call[4 + 32] = 0x01;
        (bool success,) = address(escrow).call(call);
        assertTrue(!success, "a lease was opened under an id that no terms have");
    }
}
