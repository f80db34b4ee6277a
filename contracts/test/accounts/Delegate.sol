// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Account} from "@openzeppelin/contracts/account/Account.sol";
import {ERC7821} from "@openzeppelin/contracts/account/extensions/draft-ERC7821.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ERC7739} from "@openzeppelin/contracts/utils/cryptography/signers/draft-ERC7739.sol";
import {SignerEIP7702} from "@openzeppelin/contracts/utils/cryptography/signers/SignerEIP7702.sol";

/// @dev The account that OpenZeppelin's library makes for keys that delegate to code (EIP-7702): the key signs, in typed
/// data that name the account (ERC-7739), and the account makes several calls in one transaction (ERC-7821).
contract Delegate is Account, SignerEIP7702, ERC7739, ERC7821 {
    constructor() EIP712("Delegate", "1") {}
}
