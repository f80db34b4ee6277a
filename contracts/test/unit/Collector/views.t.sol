// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Collector} from "../../../src/Collector.sol";
import {ICollector} from "../../../src/interfaces/ICollector.sol";
import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {CollectorTest} from "../../utils/CollectorTest.sol";

contract CollectorViewsTest is CollectorTest {
    function test_WhenEscrowIsAsked() public view {
        assertEq(address(collector.escrow()), address(escrow), "the escrow");
    }

    function test_WhenSignerIsAsked() public view {
        assertEq(collector.signer(), providerSigner, "the signer");
    }

    function test_WhenPayoutIsAsked() public view {
        assertEq(collector.payout(), payout, "the payout address");
    }

    function test_WhenHandoverDigestIsAsked() public view {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("GPUX collector"),
                keccak256("1"),
                block.chainid,
                address(collector)
            )
        );
        bytes32 words = keccak256(
            abi.encode(
                keccak256("Handover(bytes32 leaseId,uint96 amount,uint40 notBefore,uint96 reward)"),
                leaseId,
                EARNED,
                notBefore,
                REWARD
            )
        );
        bytes32 digest = keccak256(abi.encodePacked("\x19\x01", domain, words));
        assertEq(collector.handoverDigest(leaseId, EARNED, notBefore, REWARD), digest, "the digest");
    }

    function test_RevertWhen_OneOfItsWordsIsZero() public {
        for (uint256 zero = 0; zero < 4; ++zero) {
            bool refused;
            try new Collector(
                zero == 0 ? IEscrow(address(0)) : escrow,
                zero == 1 ? address(0) : provider,
                zero == 2 ? address(0) : payout
            ) {}
            catch (bytes memory why) {
                refused = keccak256(why) == keccak256(abi.encodeWithSelector(ICollector.PartyIsZero.selector));
            }
            assertTrue(refused == (zero < 3), "refused for each word that is zero, and for nothing else");
        }
    }
}
