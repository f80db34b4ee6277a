// Writes terms.json, settlement.json, openings.json and closing-records.json, the test vectors that the contracts (contracts/test/vectors) and the Rust
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
const { encodeAbiParameters, encodePacked, hashTypedData, keccak256, maxUint256, parseSignature, signatureToCompactSignature, stringToHex, toHex, zeroAddress } = require('viem');
const { privateKeyToAccount } = require('viem/accounts');

const MAX_U96 = 2n ** 96n - 1n;
const ONE = 10n ** 18n;

// Keys for tests only: everybody knows them.
const RECEIPT_PRIVATE_KEY = `0x${'11'.repeat(32)}`;
const SIGNER_PRIVATE_KEY = `0x${'22'.repeat(32)}`;
const RENTER_PRIVATE_KEY = `0x${'33'.repeat(32)}`;
const receiptAccount = privateKeyToAccount(RECEIPT_PRIVATE_KEY);
const signerAccount = privateKeyToAccount(SIGNER_PRIVATE_KEY);
const renterAccount = privateKeyToAccount(RENTER_PRIVATE_KEY);
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

const leaseIdOf = (terms, chainId, escrow) => keccak256(encodeAbiParameters(
  [{ type: 'tuple', components: TERMS }, { type: 'uint256' }, { type: 'address' }], [terms, BigInt(chainId), escrow],
));

/** A signature as it is sent between nodes, and as the calls of the escrow take it (EIP-2098). */
function inBothForms(signature) {
  const { r, yParityAndS: vs } = signatureToCompactSignature(parseSignature(signature));
  return { signature, r, vs };
}

async function vector({ name, chainId, escrow = ESCROW, terms: changes, cumulative, amount }) {
  const terms = { ...BASE, ...changes };
  const leaseId = leaseIdOf(terms, chainId, escrow);
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
      cumulative: String(cumulative), digest: hashTypedData(receipt), ...inBothForms(await receiptAccount.signTypedData(receipt)),
    },
    closing: { amount: String(amount), digest: hashTypedData(closing), ...inBothForms(await signerAccount.signTypedData(closing)) },
  };
}

// Deposits that a renter signs for and anybody sends (EIP-3009). Legs: which provider, deposit, seconds until the expiry.
const OPENED = 1_800_000_000;
const LONG = 90 * 86_400;
const OPENINGS = [
  { name: 'one lease', chainId: 10, legs: [[0, 100_000_000n, 3_600]] },
  { name: 'three leases of one job', chainId: 10, legs: [[0, 100_000_000n, 3_600], [1, 200_000_000n, 3_600], [2, 300_000_001n, 7_200]] },
  { name: 'the same three in another order', chainId: 10, legs: [[2, 300_000_001n, 7_200], [0, 100_000_000n, 3_600], [1, 200_000_000n, 3_600]] },
  { name: 'the highest deposit, the longest lease', chainId: 31_337, legs: [[0, MAX_U96, LONG]] },
  { name: 'the least: one unit, one second', chainId: 31_337, legs: [[0, 1n, 1]] },
];

async function opening({ name, chainId, legs }) {
  const made = legs.map(([node, deposit, seconds]) => {
    const terms = {
      ...BASE, renter: renterAccount.address.toLowerCase(), provider: address(`provider ${node}`), builder: address('builder'),
      builderBps: 500, salt: keccak256(stringToHex(`quote ${node}`)),
    };
    return { terms, leaseId: leaseIdOf(terms, chainId, ESCROW), deposit: String(deposit), expiry: OPENED + seconds };
  });
  const words = made.flatMap(({ leaseId, deposit, expiry }) => [leaseId, BigInt(deposit), BigInt(expiry)]);
  const nonce = keccak256(encodePacked(words.map((_, index) => (index % 3 === 0 ? 'bytes32' : 'uint256')), words));
  const value = made.reduce((sum, { deposit }) => sum + BigInt(deposit), 0n);
  const [validAfter, validBefore] = [OPENED - 60, OPENED + 60];
  const signed = {
    domain: { name: 'Test USD Coin', version: '1', chainId, verifyingContract: BASE.token }, primaryType: 'ReceiveWithAuthorization',
    types: { ReceiveWithAuthorization: [
      { name: 'from', type: 'address' }, { name: 'to', type: 'address' }, { name: 'value', type: 'uint256' },
      { name: 'validAfter', type: 'uint256' }, { name: 'validBefore', type: 'uint256' }, { name: 'nonce', type: 'bytes32' },
    ] },
    message: {
      from: renterAccount.address, to: ESCROW, value, validAfter: BigInt(validAfter), validBefore: BigInt(validBefore), nonce,
    },
  };
  return {
    name, chainId, escrow: ESCROW, blockTime: OPENED, count: made.length, legs: made, nonce,
    authorization: {
      value: String(value), validAfter, validBefore, digest: hashTypedData(signed), signature: await renterAccount.signTypedData(signed),
    },
  };
}

const RECORD_TYPES = {
  ClosingRecord: [
    { name: 'leaseId', type: 'bytes32' }, { name: 'reason', type: 'string' }, { name: 'by', type: 'string' },
    { name: 'meteredMs', type: 'uint64' }, { name: 'exits', type: 'Exit[]' }, { name: 'otherParts', type: 'uint32' },
    { name: 'lastLog', type: 'LastLog[]' }, { name: 'signedAmount', type: 'uint96' }, { name: 'deposit', type: 'uint96' },
    { name: 'toppedUp', type: 'uint96' }, { name: 'earned', type: 'uint96' }, { name: 'builderEarned', type: 'uint96' },
    { name: 'refund', type: 'uint96' }, { name: 'moves', type: 'Move[]' }, { name: 'movesOmitted', type: 'uint32' },
    { name: 'date', type: 'uint64' },
  ],
  Exit: [{ name: 'code', type: 'int32' }, { name: 'parts', type: 'uint32' }],
  LastLog: [
    { name: 'part', type: 'uint32' }, { name: 'attempt', type: 'uint32' }, { name: 'length', type: 'uint64' },
    { name: 'hash', type: 'bytes32' },
  ],
  Move: [{ name: 'kind', type: 'string' }, { name: 'transactionHash', type: 'bytes32' }, { name: 'amount', type: 'uint96' }],
};

const hash = (name) => keccak256(stringToHex(name));
const moved = (kind, amount) => ({ kind, transactionHash: hash(`${kind} ${amount}`), amount });
const RECORDS = [
  { name: 'a lease that did its work', chainId: 10, statement: {
    reason: 'completed', by: 'renter', meteredMs: 61_500n, exits: [{ code: 0, parts: 48 }], otherParts: 0,
    lastLog: [{ part: 47, attempt: 1, length: 70_000n, hash: hash('the last log') }], signedAmount: 6n * ONE,
    deposit: 10n * ONE, toppedUp: 2n * ONE, earned: 5n * ONE, builderEarned: ONE / 2n, refund: 13n * ONE / 2n,
    moves: [moved('deposit', 10n * ONE), moved('top_up', 2n * ONE), moved('settlement', 11n * ONE / 2n)], movesOmitted: 0,
    date: 1_795_000_000n,
  } },
  { name: 'a lease that never worked', chainId: 31_337, statement: {
    reason: 'node_unreachable', by: 'network', meteredMs: 0n, exits: [], otherParts: 0, lastLog: [], signedAmount: 0n,
    deposit: 1n, toppedUp: 0n, earned: 0n, builderEarned: 0n, refund: 1n, moves: [moved('deposit', 1n), moved('reclaim', 1n)],
    movesOmitted: 0, date: 0n,
  } },
  { name: 'the highest numbers', chainId: 9_007_199_254_740_991, statement: {
    reason: 'shim_lost', by: 'provider', meteredMs: 2n ** 64n - 1n, exits: [{ code: -2_147_483_648, parts: 4_294_967_295 },
      { code: 0, parts: 1 }, { code: 137, parts: 2 }], otherParts: 4_294_967_295,
    lastLog: [{ part: 4_294_967_295, attempt: 4_294_967_295, length: 2n ** 64n - 1n, hash: toHex(maxUint256, { size: 32 }) }],
    signedAmount: MAX_U96, deposit: MAX_U96, toppedUp: MAX_U96, earned: MAX_U96, builderEarned: MAX_U96, refund: MAX_U96,
    moves: [moved('deposit', MAX_U96), moved('draw', 7n), moved('closing', MAX_U96)], movesOmitted: 4_294_967_295,
    date: 2n ** 64n - 1n,
  } },
];

async function record({ name, chainId, statement }) {
  const terms = BASE;
  const leaseId = keccak256(encodeAbiParameters(
    [{ type: 'tuple', components: TERMS }, { type: 'uint256' }, { type: 'address' }], [terms, BigInt(chainId), ESCROW],
  ));
  const typed = {
    domain: { name: 'GPUX closing record', version: '1', chainId, verifyingContract: ESCROW },
    primaryType: 'ClosingRecord', types: RECORD_TYPES, message: { leaseId, ...statement },
  };
  const plain = JSON.parse(JSON.stringify(statement, (_, value) => (typeof value === 'bigint' ? String(value) : value)));
  return {
    name, chainId, escrow: ESCROW, terms, leaseId, statement: plain, digest: hashTypedData(typed),
    provider: await signerAccount.signTypedData(typed), renter: await receiptAccount.signTypedData(typed),
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
  'openings.json': {
    version: 1,
    about: 'EIP-3009 authorisations that open leases, and their nonces: see docs/spec/terms-and-receipts.md. The key is for tests only.',
    renterPrivateKey: RENTER_PRIVATE_KEY,
    vectors: await Promise.all(OPENINGS.map(opening)),
  },
  'closing-records.json': {
    version: 1,
    about: 'Closing records as typed data: see docs/spec/receipts.md. Signed with the keys of terms.json. 64-bit numbers and amounts are decimal strings.',
    vectors: await Promise.all(RECORDS.map(record)),
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
