// Each operation against the least gas conceivable for what it must do, counted by hand from the protocol's prices, and
// the bytes that the two commonest transactions are charged for on an OP Stack chain.
//
// A floor holds what the design needs and nothing else: no decoding, no checks, no arithmetic, no memory. It is counted
// for the choices made here: a closed lease keeps its word (so no gas comes back for clearing it), and a deposit is
// measured by two readings of the balance behind a transient guard.
import { keccak256, numberToHex } from 'viem';
import { HOUR, deployOurs, makeTerms, signClosing, signPermit, signReceipt, spaced } from './chain.mjs';
import { fjordSize } from './fastlz.mjs';

const ONE = 10n ** 18n;
const DEPOSIT = 100n * ONE;
const EARNED = 36n * ONE;
const GOAL = 1.1;
// The most bytes of calldata after compression.
const SIZES = { openWithPermit: 200, settle: 175 };

// Prices since the Cancun upgrade.
const INTRINSIC = 21_000;
const RECOVER = 3_000; // the ecrecover precompile
const COLD_ACCOUNT = 2_600;
const WARM = 100; // a call to, or a reading of, what was touched before
const UPDATE = 5_000; // a cold slot from one value to another: 2,100 + 2,900
const CREATE = 22_100; // a cold slot from zero to a value
const GUARD = 3 * 100; // TLOAD, TSTORE, TSTORE
const log = (topics, words) => 375 + 375 * topics + 8 * 32 * words;
const TRANSFER = log(3, 1);
const APPROVAL = log(3, 1);

// The token's nonce, the allowance from zero to the sum and back, and its event.
const PERMIT = RECOVER + UPDATE + CREATE + APPROVAL + 2 * WARM;
const ALLOWANCE_REFUND = 19_900;
// Two readings of the balance and one transfer from the renter: three more calls of a warm token, two balances.
const PULL = 3 * WARM + 2 * WARM + 2 * UPDATE + TRANSFER + GUARD;
// The first payment of a call finds the token and the escrow's balance cold, the others warm.
const FIRST_PAYMENT = COLD_ACCOUNT + 2 * UPDATE + TRANSFER;
const NEXT_PAYMENT = WARM + 2 * WARM + UPDATE + TRANSFER;

const FLOORS = {
  openWithPermit: { work: COLD_ACCOUNT + PERMIT + PULL + CREATE + log(4, 3), refund: ALLOWANCE_REFUND },
  topUpWithPermit: { work: COLD_ACCOUNT + PERMIT + PULL + UPDATE + log(2, 4), refund: ALLOWANCE_REFUND },
  draw: { work: RECOVER + UPDATE + FIRST_PAYMENT + log(2, 3), refund: 0 },
  settle: { work: RECOVER + UPDATE + FIRST_PAYMENT + NEXT_PAYMENT + log(2, 3), refund: 0 },
  close: { work: RECOVER + UPDATE + FIRST_PAYMENT + NEXT_PAYMENT + log(2, 3), refund: 0 },
  reclaim: { work: UPDATE + FIRST_PAYMENT + log(2, 1), refund: 0 },
};

function floorOf(operation, calldata) {
  const { work, refund } = FLOORS[operation];
  const bytes = calldata.reduce((gas, byte) => gas + (byte === 0 ? 4 : 16), 0);
  const spent = INTRINSIC + bytes + work;
  return spent - Math.min(refund, Math.floor(spent / 5));
}

/** One transaction of each operation, between parties that know each other, without a builder. */
async function operations(bench, world) {
  const { token, escrow, people } = world;
  const { renter, receiptKey, provider, signer } = people;
  const permit = () => signPermit(bench, token, renter, escrow.address, DEPOSIT, BigInt(bench.now + HOUR));
  const lease = async (salt) => {
    const terms = makeTerms(people, token, keccak256(numberToHex(salt, { size: 32 })), false);
    return { terms, leaseId: await bench.read(escrow, 'leaseIdOf', [terms]) };
  };
  const opened = async (salt) => {
    const { terms, leaseId } = await lease(salt);
    const open = await bench.call(renter, escrow, 'openWithPermit', [terms, DEPOSIT, bench.now + HOUR, ...await permit()]);
    return { terms, leaseId, open };
  };
  const receipt = (leaseId, amount) => signReceipt(bench, escrow, receiptKey, leaseId, amount);

  await opened(1); // the first permit of an owner also pays for its nonce
  const first = await opened(2);
  const topUpWithPermit = await bench.call(renter, escrow, 'topUpWithPermit', [
    first.terms, DEPOSIT, bench.now + 2 * HOUR, ...await permit(),
  ]);
  const half = [first.terms, EARNED / 2n, EARNED / 2n, ...await receipt(first.leaseId, EARNED / 2n)];
  const draw = await bench.call(provider, escrow, 'draw', half);
  const second = await opened(3);
  const settle = await bench.call(provider, escrow, 'settle', [second.terms, EARNED, EARNED, ...await receipt(second.leaseId, EARNED)]);
  const third = await opened(4);
  const closing = await signClosing(bench, escrow, signer, third.leaseId, EARNED);
  const close = await bench.call(renter, escrow, 'close', [third.terms, EARNED, ...closing]);
  const fourth = await opened(5);
  bench.now += 40 * 24 * HOUR;
  const reclaim = await bench.call(renter, escrow, 'reclaim', [fourth.terms]);
  return { openWithPermit: first.open, topUpWithPermit, draw, settle, close, reclaim };
}

export async function measureFloors(bench) {
  const world = await deployOurs(bench, 'TestDai', ONE);
  await world.allow(world.escrow, 0n);
  const gas = [];
  const sizes = [];
  for (const [operation, receipt] of Object.entries(await operations(bench, world))) {
    const { calldata, signed } = await bench.bytesOf(receipt);
    const floor = floorOf(operation, calldata);
    const measured = Number(receipt.gasUsed);
    gas.push({ operation, measured, floor, ratio: Number((measured / floor).toFixed(4)), goal: GOAL });
    const goal = SIZES[operation];
    if (goal === undefined) continue;
    const fjord = { calldata: fjordSize(calldata), signedTransaction: fjordSize(signed) };
    sizes.push({ operation, calldataBytes: calldata.length, fjord, goal });
  }
  return { gas, sizes };
}

export function printFloors({ gas, sizes }) {
  console.log('Each operation against its counted floor (TestDai, no builder)');
  for (const { operation, measured, floor, ratio, goal } of gas) {
    const verdict = `${ratio.toFixed(4)} goal <= ${goal}: ${ratio <= goal ? 'met' : 'MISSED'}`;
    console.log(`  ${operation.padEnd(16)} ${spaced(measured).padStart(8)} / ${spaced(floor).padStart(8)}   ${verdict}`);
  }
  console.log('Bytes that an OP Stack chain charges for since Fjord (a whole signed transaction in brackets)');
  for (const { operation, calldataBytes, fjord, goal } of sizes) {
    const verdict = `goal <= ${goal}: ${fjord.calldata <= goal ? 'met' : 'MISSED'}`;
    console.log(`  ${operation.padEnd(16)} ${fjord.calldata} (${fjord.signedTransaction}) of ${calldataBytes} bytes of calldata   ${verdict}`);
  }
  console.log('');
}
