// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Test} from "../utils/Test.sol";

/// @dev The calls of a Safe that the tests make.
interface ISafe {
    function setup(
        address[] calldata owners,
        uint256 threshold,
        address to,
        bytes calldata data,
        address fallbackHandler,
        address paymentToken,
        uint256 payment,
        address paymentReceiver
    ) external;

    function nonce() external view returns (uint256);
    function domainSeparator() external view returns (bytes32);
}

interface ISafeProxyFactory {
    function createProxyWithNonce(address singleton, bytes calldata initializer, uint256 saltNonce)
        external
        returns (address proxy);
}

/// @dev Makes Safes of two owners out of the bytecode that their authors publish (Safe 1.5.0): a singleton, its
/// handler of signatures and a proxy each, as they are deployed. No source of theirs is compiled here.
abstract contract SafeMaker is Test {
    string private constant ARTIFACTS = "node_modules/@safe-global/safe-smart-account/build/artifacts/contracts/";

    /// @dev The first owner has the lower address: a Safe wants signatures in that order.
    uint256 internal constant FIRST_OWNER_KEY = 0x5AFE1;
    uint256 internal constant SECOND_OWNER_KEY = 0x5AFE2;

    bytes32 private constant SAFE_MESSAGE_TYPEHASH = keccak256("SafeMessage(bytes message)");

    function published(string memory file) internal returns (address made) {
        bytes memory code = vm.parseJsonBytes(vm.readFile(string.concat(ARTIFACTS, file)), ".bytecode");
        assembly ("memory-safe") {
            made := create(0, add(code, 32), mload(code))
        }
        require(made != address(0), "SafeMaker: not deployed");
    }

    /// @dev A Safe whose two owners are `FIRST_OWNER_KEY` and `SECOND_OWNER_KEY`.
    function makeSafe(uint256 threshold) internal returns (ISafe) {
        address[] memory owners = new address[](2);
        (owners[0], owners[1]) = (vm.addr(FIRST_OWNER_KEY), vm.addr(SECOND_OWNER_KEY));
        require(owners[0] < owners[1], "SafeMaker: the owners are not in order");
        address handler = published("handler/CompatibilityFallbackHandler.sol/CompatibilityFallbackHandler.json");
        bytes memory setup =
            abi.encodeCall(ISafe.setup, (owners, threshold, address(0), "", handler, address(0), 0, address(0)));
        ISafeProxyFactory factory = ISafeProxyFactory(published("proxies/SafeProxyFactory.sol/SafeProxyFactory.json"));
        return ISafe(factory.createProxyWithNonce(published("Safe.sol/Safe.json"), setup, 0));
    }

    function signatureOf(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    /// @dev What an owner signs for the Safe to have signed `digest` (EIP-1271).
    function messageOf(ISafe safe, bytes32 digest) internal view returns (bytes32) {
        bytes32 message = keccak256(abi.encode(SAFE_MESSAGE_TYPEHASH, keccak256(abi.encode(digest))));
        return keccak256(abi.encodePacked("\x19\x01", safe.domainSeparator(), message));
    }

    function signedByBoth(bytes32 digest) internal pure returns (bytes memory) {
        return abi.encodePacked(signatureOf(FIRST_OWNER_KEY, digest), signatureOf(SECOND_OWNER_KEY, digest));
    }

    /// @dev Has the Safe make a call that both owners signed, or run foreign code as its own.
    function execute(ISafe safe, address target, bytes memory data, bool delegated) internal {
        uint256 operation = delegated ? 1 : 0;
        uint256[5] memory unpaid; // nobody is paid for the gas; five words of the call
        bytes memory ask = abi.encodeWithSignature(
            "getTransactionHash(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,uint256)",
            target,
            0,
            data,
            operation,
            unpaid,
            safe.nonce()
        );
        (bool good, bytes memory answer) = address(safe).call(ask);
        require(good, "SafeMaker: no hash");
        bytes memory signatures = signedByBoth(abi.decode(answer, (bytes32)));
        (good, answer) = address(safe)
            .call(
                abi.encodeWithSignature(
                    "execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)",
                    target,
                    0,
                    data,
                    operation,
                    unpaid,
                    signatures
                )
            );
        require(good && abi.decode(answer, (bool)), "SafeMaker: the Safe refused");
    }
}
