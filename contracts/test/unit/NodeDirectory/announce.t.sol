// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {NodeDirectory} from "../../../src/NodeDirectory.sol";
import {INodeDirectory} from "../../../src/interfaces/INodeDirectory.sol";
import {Test} from "../../utils/Test.sol";

contract AnnounceTest is Test {
    bytes32 private constant ENDPOINT = keccak256("endpoint");

    INodeDirectory private directory;

    function setUp() public {
        directory = NodeDirectory(deployed("NodeDirectory"));
    }

    function announces(bytes memory addr) private {
        vm.expectEmit(address(directory));
        emit INodeDirectory.Announced(address(this), ENDPOINT, addr);
        directory.announce(ENDPOINT, addr);
    }

    function test_RevertWhen_TheEndpointIsZero() public {
        vm.expectRevert(abi.encodeWithSelector(INodeDirectory.EndpointIsZero.selector));
        directory.announce(0, "somewhere");
    }

    function test_RevertWhen_TheAddressIsLongerThanTheMaximum() public {
        vm.expectRevert(abi.encodeWithSelector(INodeDirectory.AddressTooLong.selector, 1025, 1024));
        directory.announce(ENDPOINT, new bytes(1025));
    }

    function test_WhenTheAddressIsAsLongAsTheMaximum() public {
        announces(new bytes(1024));
    }

    function test_WhenTheAddressIsEmpty() public {
        announces("");
    }
}
