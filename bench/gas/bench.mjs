// Measures the gas of a lease's whole life in GPUX's escrow and in Sablier Flow, of calls for many leases against as many
// single ones, and of each operation against its counted floor, transaction by transaction, from the receipts of local
// chains. `README.md` says what is compared and why it is fair.
//
//   node bench.mjs            prints the tables and writes results.json beside this file
//   node bench.mjs --check    also fails when a goal is missed or a figure differs from the committed one
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { encodeFunctionData, maxUint256, parseEventLogs, zeroAddress } from 'viem';
import { measureBatches, printBatches } from './batch.mjs';
import { HERE, HOUR, deployOurs, json, makeTerms, onOwnChain, ours, signPermit, signReceipt, spaced } from './chain.mjs';
import { measureFloors, printFloors } from './floor.mjs';

const RESULTS = join(HERE, 'results.json');
const GOAL = 0.5;
// Sablier counts a rate in 18 decimals whatever the token. About a quarter of all the money is earned in the hour
// between deposit and end, on either side.
const RATE_PER_SECOND = 10n ** 16n;
const TOKENS = { TestDai: 18n, TestUsdc: 6n };

const theirs = (pkg, name) => {
  const { abi, bytecode } = json(HERE, 'node_modules', '@sablier', pkg, 'artifacts', `${name}.json`);
  return { abi, bytecode: bytecode.object };
};

/** The sums of one life in units of a token. */
function sumsOf(decimals) {
  const one = 10n ** decimals;
  return { one, deposit: 100n * one, topUp: 50n * one, earned: (RATE_PER_SECOND * BigInt(HOUR) * one) / 10n ** 18n };
}

/** One lease: open, top up with an hour more, and settle with a refund, each in one transaction. */
async function gpuxLife(bench, world, salt, { permit = false, builder = false } = {}) {
  const { escrow, token, people, sums } = world;
  const { renter, receiptKey, provider } = people;
  const terms = makeTerms(people, token, salt, builder);
  const leaseId = await bench.read(escrow, 'leaseIdOf', [terms]);
  const expiry = bench.now + 2 * HOUR;
  const pulled = async (name, value, until) => {
    if (!permit) return bench.call(renter, escrow, name, [terms, value, until]);
    const signed = await signPermit(bench, token, renter, escrow.address, value, BigInt(bench.now + HOUR));
    return bench.call(renter, escrow, `${name}WithPermit`, [terms, value, until, ...signed]);
  };

  const open = await pulled('open', sums.deposit, expiry);
  const topUp = await pulled('topUp', sums.topUp, expiry + HOUR);
  bench.now += HOUR;
  const { earned } = sums;
  const signature = await signReceipt(bench, escrow, receiptKey, leaseId, earned);
  const settle = await bench.call(provider, escrow, 'settle', [terms, earned, earned, ...signature]);
  const [event] = parseEventLogs({ abi: escrow.abi, logs: settle.logs, eventName: 'LeaseSettled' });
  const { paid, builderPaid, refund } = event.args;
  if (paid + builderPaid !== earned || refund !== sums.deposit + sums.topUp - earned) throw new Error('escrow paid wrongly');
  return { open, topUp, settle };
}

/** The same life as a Sablier Flow stream: what was streamed goes to the recipient, the rest back to the sender. */
async function sablierLife(bench, world) {
  const { flow, token, people, sums } = world;
  const { renter, provider } = people;
  const id = await bench.read(flow, 'nextStreamId');
  const create = await bench.call(renter, flow, 'createAndDeposit', [
    renter.address, provider.address, RATE_PER_SECOND, 0, token.address, true, sums.deposit,
  ]);
  const deposit = await bench.call(renter, flow, 'deposit', [id, sums.topUp, renter.address, provider.address]);
  bench.now += HOUR;
  const before = await bench.read(token, 'balanceOf', [flow.address]);
  const withdraw = await bench.call(provider, flow, 'withdrawMax', [id, provider.address]);
  const between = await bench.read(token, 'balanceOf', [flow.address]);
  const refund = await bench.call(renter, flow, 'refundMax', [id]);
  const after = await bench.read(token, 'balanceOf', [flow.address]);
  if (before - between < sums.earned || before - after > sums.deposit + sums.topUp) throw new Error('flow paid wrongly');
  return { createAndDeposit: create, deposit, withdrawMax: withdraw, refundMax: refund };
}

/** Deploys both sides and the token, and gives everybody what daily use would have given them. */
async function setUp(bench, tokenName) {
  const sums = sumsOf(TOKENS[tokenName]);
  const { admin, token, escrow, people, allow } = await deployOurs(bench, tokenName, sums.one);
  const comptroller = theirs('evm-utils', 'SablierComptroller');
  const implementation = await bench.deploy(admin, comptroller, [admin.address]);
  const noFee = encodeFunctionData({
    abi: comptroller.abi, functionName: 'initialize', args: [admin.address, 0n, 0n, 0n, 0n, zeroAddress],
  });
  const proxy = await bench.deploy(admin, theirs('evm-utils', 'ERC1967Proxy'), [implementation.address, noFee]);
  const descriptor = await bench.deploy(admin, theirs('flow', 'FlowNFTDescriptor'));
  const flow = await bench.deploy(admin, theirs('flow', 'SablierFlow'), [proxy.address, descriptor.address]);
  await bench.call(admin, token, 'mint', [flow.address, 1n]);
  await allow(flow, maxUint256);
  return { token, escrow, flow, people, sums, allow };
}

const gasOf = (life) => {
  const operations = Object.fromEntries(Object.entries(life).map(([name, receipt]) => [name, Number(receipt.gasUsed)]));
  return { operations, total: Object.values(operations).reduce((sum, gas) => sum + gas, 0) };
};

const salt = (number) => `0x${'5a'.repeat(31)}${number.toString(16).padStart(2, '0')}`;

/** All lives with one token, on a chain of their own. */
async function measure(bench, tokenName) {
  const world = await setUp(bench, tokenName);
  const compare = async (number) => {
    const gpux = gasOf(await gpuxLife(bench, world, salt(number)));
    const sablier = gasOf(await sablierLife(bench, world));
    return { gpux, sablier, ratio: Number((gpux.total / sablier.total).toFixed(4)) };
  };
  // Neither side's contract is new to the token: Sablier's first stream of a token pays for a slot once.
  await sablierLife(bench, { ...world, people: { ...world.people, provider: world.people.builder } });
  const firstMeeting = await compare(1);
  const sameParties = await compare(2);
  const builder = gasOf(await gpuxLife(bench, world, salt(3), { builder: true }));
  await world.allow(world.escrow, 0n);
  await gpuxLife(bench, world, salt(4), { permit: true }); // the first permit of an owner also pays for its nonce
  const permit = gasOf(await gpuxLife(bench, world, salt(5), { permit: true }));
  const permitAndBuilder = gasOf(await gpuxLife(bench, world, salt(6), { permit: true, builder: true }));
  return { compared: { firstMeeting, sameParties }, gpux: { builder, permit, permitAndBuilder } };
}

const row = (name, { operations, total }) => {
  const parts = Object.entries(operations).map(([operation, gas]) => `${operation} ${spaced(gas)}`);
  return `  ${name.padEnd(34)} ${spaced(total).padStart(9)}   ${parts.join(' + ')}`;
};

function print({ goal, tokens }) {
  for (const [token, { compared, gpux }] of Object.entries(tokens)) {
    console.log(`${token}: gas of one life, full transactions`);
    for (const [name, title] of [['firstMeeting', 'first time'], ['sameParties', 'same parties again']]) {
      console.log(row(`GPUX, ${title}`, compared[name].gpux));
      console.log(row(`Sablier Flow, ${title}`, compared[name].sablier));
      const verdict = compared[name].ratio <= goal ? 'met' : 'MISSED';
      console.log(`  ${'ratio'.padEnd(34)} ${compared[name].ratio.toFixed(4).padStart(9)}   goal <= ${goal}: ${verdict}`);
    }
    console.log(row('GPUX with builder', gpux.builder));
    console.log(row('GPUX with permit', gpux.permit));
    console.log(row('GPUX with permit and builder', gpux.permitAndBuilder));
    console.log('');
  }
}

const results = { version: 2, goal: GOAL, against: '@sablier/flow 3.0.1', tokens: {} };
for (const token of Object.keys(TOKENS)) results.tokens[token] = await onOwnChain((bench) => measure(bench, token));
print(results);
const singles = results.tokens.TestDai.gpux.permitAndBuilder.total;
results.batches = await onOwnChain((bench) => measureBatches(bench, singles));
printBatches(results.batches);
results.floors = await onOwnChain(measureFloors);
printFloors(results.floors);

const missed = [];
const goal = (name, figure, most) => {
  if (figure > most) missed.push(`${name}: ${figure} is above ${most}`);
};
for (const [token, { compared }] of Object.entries(results.tokens)) {
  for (const [name, { ratio }] of Object.entries(compared)) goal(`${token}, ${name}`, ratio, GOAL);
}
for (const { nodes, ratio, goal: most } of results.batches.many) goal(`${nodes} nodes`, ratio, most);
for (const { operation, ratio, goal: most } of results.floors.gas) goal(`${operation} against its floor`, ratio, most);
for (const { operation, fjord, goal: most } of results.floors.sizes) goal(`bytes of ${operation}`, fjord.calldata, most);
const { single, batched } = results.batches.threeNodes;
if (single !== 9 || batched !== 3) missed.push(`three nodes took ${single} and ${batched} transactions`);

const rendered = `${JSON.stringify(results, null, 2)}\n`;
if (process.argv.includes('--check')) {
  if (missed.length !== 0) throw new Error(`goals missed:\n  ${missed.join('\n  ')}`);
  if (readFileSync(RESULTS, 'utf8') !== rendered) throw new Error('results.json differs: run `node bench.mjs` and commit it');
} else {
  for (const miss of missed) console.log(`MISSED ${miss}`);
  writeFileSync(RESULTS, rendered);
}
