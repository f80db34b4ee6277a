// Writes terms.json and settlement.json, the test vectors that the contracts (contracts/test/vectors) and the Rust
// crates both check. The values come from a third implementation, viem, and from plain big integers.
//
//   (cd bench/gas && npm ci) && node docs/spec/vectors/generate.mjs           writes the files
//   node docs/spec/vectors/generate.mjs --check                               fails when they differ
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));
const require = createRequire(join(HERE, '..', '..', '..', 'bench', 'gas', 'package.json'));
const { encodeAbiParameters, hashTypedData, keccak256, maxUint256, stringToHex, toHex, zeroAddress } = require('viem');
const { privateKeyToAccount } = require('viem/accounts');

const MAX_U96 = 2n ** 96n - 1n;
const ONE = 10n ** 18n;

// Keys for tests only: everybody knows them.
const RECEIPT_PRIVATE_KEY = `0x${'11'.repeat(32)}`;
const SIGNER_PRIVATE_KEY = `0x${'22'.repeat(32)}`;
const receiptAccount = privateKeyToAccount(RECEIPT_PRIVATE_KEY);
const signerAccount = privateKeyToAccount(SIGNER_PRIVATE_KEY);
const address = (name) => `0x${keccak256(stringToHex(name)).slice(-40)}`;

const TERMS = [
  { name: 'renter', type: 'address' }, { name: 'receiptKey', type: 'address' }, { name: 'provider', type: 'address' },
  { name: 'providerSigner', type: 'address' }, { name: 'token', type: 'address' }, { name: 'builder', type: 'address' },
  { name: 'builderBps', type: 'uint16' }, { name: 'grace', type: 'uint32' }, { name: 'salt', type: 'bytes32' },
];

const BASE = {
  renter: address('renter'), receiptKey: receiptAccount.address.toLowerCase(), provider: address('provider'),
  providerSigner: signerAccount.address.toLowerCase(), token: address('token'), builder: zeroAddress, builderBps: 0,
  grace: 86_400, salt: keccak256(stringToHex('quote')),
};
const ESCROW = address('escrow');

const CASES = [
  { name: 'plain lease on OP Mainnet', chainId: 10, terms: {}, cumulative: 33n * ONE, amount: 30n * ONE },
  { name: 'plain lease on the devnet', chainId: 31_337, terms: {}, cumulative: 1n, amount: 0n },
  { name: 'another escrow', chainId: 10, escrow: address('another escrow'), terms: {}, cumulative: 33n * ONE, amount: 30n * ONE },
  { name: 'builder with 5 %', chainId: 10, terms: { builder: address('builder'), builderBps: 500 }, cumulative: 7n * ONE, amount: 7n * ONE },
  { name: 'builder with the highest share', chainId: 10, terms: { builder: address('builder'), builderBps: 1000 }, cumulative: 1_234_567n, amount: 1_234_566n },
  { name: 'builder without a share', chainId: 10, terms: { builder: address('builder') }, cumulative: 5n, amount: 5n },
  { name: 'no grace and a salt of zero', chainId: 10, terms: { grace: 0, salt: toHex(0n, { size: 32 }) }, cumulative: 2n ** 64n, amount: 2n ** 64n - 1n },
  { name: 'the longest grace and the highest salt', chainId: 10, terms: { grace: 2_592_000, salt: toHex(maxUint256, { size: 32 }) }, cumulative: MAX_U96, amount: MAX_U96 },
  { name: 'the highest 32-bit grace and 16-bit share, which no escrow opens', chainId: 1, terms: { builder: address('builder'), builderBps: 65_535, grace: 4_294_967_295 }, cumulative: 0n, amount: 0n },
  { name: 'the highest chain id that every JSON reader carries', chainId: 9_007_199_254_740_991, terms: {}, cumulative: 33n * ONE, amount: 1n },
  { name: 'the renter is also builder and provider', chainId: 10, terms: { provider: address('renter'), builder: address('renter'), builderBps: 1 }, cumulative: 9_999n, amount: 10_000n },
];

async function vector({ name, chainId, escrow = ESCROW, terms: changes, cumulative, amount }) {
  const terms = { ...BASE, ...changes };
  const leaseId = keccak256(encodeAbiParameters(
    [{ type: 'tuple', components: TERMS }, { type: 'uint256' }, { type: 'address' }], [terms, BigInt(chainId), escrow],
  ));
  const domain = { name: 'GPUX', version: '1', chainId, verifyingContract: escrow };
  const receipt = {
    domain, primaryType: 'Receipt', message: { leaseId, cumulative },
    types: { Receipt: [{ name: 'leaseId', type: 'bytes32' }, { name: 'cumulative', type: 'uint96' }] },
  };
  const closing = {
    domain, primaryType: 'Closing', message: { leaseId, amount },
    types: { Closing: [{ name: 'leaseId', type: 'bytes32' }, { name: 'amount', type: 'uint96' }] },
  };
  return {
    name, chainId, escrow, terms, leaseId,
    receipt: {
      cumulative: String(cumulative), digest: hashTypedData(receipt), signature: await receiptAccount.signTypedData(receipt),
    },
    closing: { amount: String(amount), digest: hashTypedData(closing), signature: await signerAccount.signTypedData(closing) },
  };
}

const SETTLEMENTS = [
  ['no receipt: everything back', 100n, 0n, 0n, 1000],
  ['without a builder', 100n * ONE, 0n, 30n * ONE, 0],
  ['a builder with 5 %', 100n * ONE, 0n, 30n * ONE, 500],
  ['the share is rounded down', 10_000n, 0n, 9_999n, 1],
  ['one unit leaves nothing for the builder', 10n, 0n, 1n, 1000],
  ['the receipt is above the deposit', 100n, 0n, 101n, 1000],
  ['all of the deposit', 100n, 0n, 100n, 1000],
  ['the highest numbers', MAX_U96, 0n, MAX_U96, 1000],
  ['after a draw, the rest', 1_000n, 333n, 777n, 1000],
  ['after a draw, the builder keeps to its running total', 1_000n, 9n, 10n, 1000],
  ['after a draw, less than was drawn claims nothing more', 1_000n, 500n, 400n, 1000],
  ['after a draw of everything', 1_000n, 1_000n, 2_000n, 777],
];

function settlement([name, deposit, claimed, amount, builderBps]) {
  const min = (a, b) => (a < b ? a : b);
  const max = (a, b) => (a > b ? a : b);
  const share = (total) => (total * BigInt(builderBps)) / 10_000n;
  const total = max(claimed, min(amount, deposit));
  const toBuilder = share(total) - share(claimed);
  const words = { deposit, claimed, amount };
  const out = { claimed: total, toProvider: total - claimed - toBuilder, toBuilder, refund: deposit - total };
  const text = (object) => Object.fromEntries(Object.entries(object).map(([key, value]) => [key, String(value)]));
  return { name, ...text(words), builderBps, after: text(out) };
}

const files = {
  'terms.json': {
    version: 1,
    about: 'Terms, lease ids and EIP-712 digests: see docs/spec/terms-and-receipts.md. The keys are for tests only.',
    receiptPrivateKey: RECEIPT_PRIVATE_KEY, providerSignerPrivateKey: SIGNER_PRIVATE_KEY,
    vectors: await Promise.all(CASES.map(vector)),
  },
  'settlement.json': {
    version: 1,
    about: 'What settle pays: see docs/spec/terms-and-receipts.md. Amounts are decimal strings in units of the token.',
    vectors: SETTLEMENTS.map(settlement),
  },
};

let stale = false;
for (const [name, content] of Object.entries(files)) {
  const file = join(HERE, name);
  const rendered = `${JSON.stringify(content, null, 2)}\n`;
  if (!process.argv.includes('--check')) writeFileSync(file, rendered);
  else if (readFileSync(file, 'utf8') !== rendered) {
    stale = true;
    console.error(`${name} differs: run node docs/spec/vectors/generate.mjs`);
  }
}
process.exit(stale ? 1 : 0);
