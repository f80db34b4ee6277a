// Calls for many leases against as many single ones, and the example of three nodes, counted on the chain.
import { encodeAbiParameters, keccak256, numberToHex, parseEventLogs } from 'viem';
import {
  HOUR, account, deployOurs, makeTerms, signClosing, signPermit, signReceipt, spaced,
} from './chain.mjs';

const ONE = 10n ** 18n;
const DEPOSIT = 100n * ONE;
const TOP_UP = 50n * ONE;
const EARNED = 36n * ONE;
const GOALS = { 3: 0.52, 10: 0.35, 100: 0.29 };

/** The leases of one job: a provider and a signer of its own each, everything else shared. */
function leasesOf(bench, world, count, job) {
  const parts = [{ type: 'address' }, { type: 'address' }, { type: 'address' }, { type: 'address' }, { type: 'address' },
    { type: 'address' }, { type: 'uint16' }, { type: 'uint32' }, { type: 'bytes32' }, { type: 'uint256' },
    { type: 'address' }];
  return Array.from({ length: count }, (_, index) => {
    const people = { ...world.people, provider: account(100 + index), signer: account(500 + index) };
    const salt = keccak256(numberToHex(job * 1000 + index, { size: 32 }));
    const terms = makeTerms(people, world.token, salt, true);
    const words = [...Object.values(terms), BigInt(bench.chainId), world.escrow.address];
    return { terms, people, leaseId: keccak256(encodeAbiParameters(parts, words)) };
  });
}

/** What calls for many leases say once, and what they say of each. */
const jobOf = ([{ terms: { renter, receiptKey, token, builder, builderBps, grace } }]) => (
  { renter, receiptKey, token, builder, builderBps, grace }
);
const nodeOf = ({ terms: { provider, providerSigner, salt } }) => ({ provider, providerSigner, salt });

const permitFor = (bench, { token, escrow, people }, sum) => (
  signPermit(bench, token, people.renter, escrow.address, sum, BigInt(bench.now + HOUR))
);

/** One job whose leases are opened, topped up and closed together: three transactions of the renter. */
async function batchedLife(bench, world, leases) {
  const { escrow, people: { renter } } = world;
  const count = BigInt(leases.length);
  const expiry = bench.now + 2 * HOUR;
  const open = await bench.call(renter, escrow, 'openManyWithPermit', [
    jobOf(leases), leases.map((lease) => ({ node: nodeOf(lease), deposit: DEPOSIT, expiry })),
    ...await permitFor(bench, world, count * DEPOSIT),
  ]);
  const topUp = await bench.call(renter, escrow, 'topUpManyWithPermit', [
    jobOf(leases), leases.map((lease) => ({ node: nodeOf(lease), amount: TOP_UP, newExpiry: expiry + HOUR })),
    ...await permitFor(bench, world, count * TOP_UP),
  ]);
  bench.now += HOUR;
  const legs = await Promise.all(leases.map(async (lease) => {
    const [r, vs] = await signClosing(bench, escrow, lease.people.signer, lease.leaseId, EARNED);
    return { node: nodeOf(lease), amount: EARNED, r, vs };
  }));
  const close = await bench.call(renter, escrow, 'closeMany', [jobOf(leases), legs]);
  const closed = parseEventLogs({ abi: escrow.abi, logs: close.logs, eventName: 'LeaseClosed' });
  if (closed.length !== leases.length) throw new Error('a lease was not closed');
  for (const { args: { paid, builderPaid, refund } } of closed) {
    if (paid + builderPaid !== EARNED || refund !== DEPOSIT + TOP_UP - EARNED) throw new Error('escrow paid wrongly');
  }
  return { open, topUp, close };
}

/** The same with a transaction for each step of each lease; each provider settles its own. */
async function singleLives(bench, world, leases) {
  const { escrow, people: { renter, receiptKey } } = world;
  const expiry = bench.now + 2 * HOUR;
  for (const { terms } of leases) {
    await bench.call(renter, escrow, 'openWithPermit', [terms, DEPOSIT, expiry, ...await permitFor(bench, world, DEPOSIT)]);
  }
  for (const { terms } of leases) {
    const permit = await permitFor(bench, world, TOP_UP);
    await bench.call(renter, escrow, 'topUpWithPermit', [terms, TOP_UP, expiry + HOUR, ...permit]);
  }
  bench.now += HOUR;
  for (const { terms, people, leaseId } of leases) {
    const receipt = await signReceipt(bench, escrow, receiptKey, leaseId, EARNED);
    await bench.call(people.provider, escrow, 'settle', [terms, EARNED, EARNED, ...receipt]);
  }
}

/** How many transactions went to the escrow since a block, from the blocks themselves. */
async function transactionsSince(bench, escrow, first) {
  const last = await bench.reader.getBlockNumber({ cacheTime: 0 });
  let count = 0;
  for (let blockNumber = first + 1n; blockNumber <= last; blockNumber += 1n) {
    const { transactions } = await bench.reader.getBlock({ blockNumber, includeTransactions: true });
    count += transactions.filter(({ to }) => to?.toLowerCase() === escrow.address.toLowerCase()).length;
  }
  return count;
}

/** Three nodes: deposits, top-ups, settlements that refund; every coin is where it belongs afterwards, either way. */
async function threeNodes(bench, world, job, live) {
  const leases = leasesOf(bench, world, 3, job);
  const { token, escrow, people: { renter, builder } } = world;
  const who = [renter, builder, ...leases.map(({ people }) => people.provider), escrow];
  const balances = () => Promise.all(who.map(({ address }) => bench.read(token, 'balanceOf', [address])));
  const before = await balances();
  const first = await bench.reader.getBlockNumber({ cacheTime: 0 });
  await live(bench, world, leases);
  const after = await balances();
  const share = EARNED / 20n;
  const wanted = [-3n * EARNED, 3n * share, EARNED - share, EARNED - share, EARNED - share, 0n];
  wanted.forEach((change, index) => {
    if (after[index] - before[index] !== change) throw new Error(`three nodes: balance ${index} is wrong`);
  });
  return transactionsSince(bench, escrow, first);
}

/** `singles` is what one lease costs alone, with permits and a builder. */
export async function measureBatches(bench, singles) {
  const world = await deployOurs(bench, 'TestDai', ONE);
  await world.allow(world.escrow, 0n);
  // Nobody is new to the token, and the renter has used a permit before.
  for (let index = 0; index < 100; index += 1) {
    await bench.call(world.admin, world.token, 'mint', [account(100 + index).address, 1n]);
    await bench.clock.setBalance({ address: account(100 + index).address, value: ONE });
  }
  const single = await threeNodes(bench, world, 1, singleLives);
  const batched = await threeNodes(bench, world, 2, batchedLife);
  const many = [];
  for (const nodes of [3, 10, 100]) {
    const life = await batchedLife(bench, world, leasesOf(bench, world, nodes, 10 + nodes));
    const operations = Object.fromEntries(Object.entries(life).map(([name, { gasUsed }]) => [name, Number(gasUsed)]));
    const total = Object.values(operations).reduce((sum, gas) => sum + gas, 0);
    const ratio = Number((total / (nodes * singles)).toFixed(4));
    many.push({ nodes, operations, total, singles: nodes * singles, ratio, goal: GOALS[nodes] });
  }
  return { threeNodes: { single, batched }, many };
}

export function printBatches({ threeNodes: { single, batched }, many }) {
  console.log('Many leases with permit and builder, opened, topped up and closed together, against single ones (TestDai)');
  for (const { nodes, operations, total, singles, ratio, goal } of many) {
    const parts = Object.entries(operations).map(([operation, gas]) => `${operation} ${spaced(gas)}`).join(' + ');
    const verdict = `${ratio.toFixed(4)} goal <= ${goal}: ${ratio <= goal ? 'met' : 'MISSED'}`;
    console.log(`  ${String(nodes).padStart(3)} nodes ${spaced(total).padStart(10)} / ${spaced(singles).padStart(10)}   ${verdict}   ${parts}`);
  }
  console.log(`  three nodes, counted on the chain: ${single} transactions single, ${batched} batched\n`);
}
