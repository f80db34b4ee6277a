// Measures the gas of a lease's whole life in GPUX's escrow and in Sablier Flow, transaction by transaction, from
// the receipts of one local chain, and prints the ratio. `README.md` says what is compared and why it is fair.
//
//   node bench.mjs            prints a table and writes results.json beside this file
//   node bench.mjs --check    also fails when the goal is missed or a figure differs from the committed one
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  createPublicClient, createTestClient, createWalletClient, defineChain, encodeDeployData, encodeFunctionData, http,
  maxUint256, parseEventLogs, parseSignature, zeroAddress,
} from 'viem';
import { mnemonicToAccount } from 'viem/accounts';

const HERE = dirname(fileURLToPath(import.meta.url));
const CONTRACTS = join(HERE, '..', '..', 'contracts');
const RESULTS = join(HERE, 'results.json');
const GOAL = 0.5;
const START = 1_800_000_000;
const HOUR = 3600;
// Sablier counts a rate in 18 decimals whatever the token. About a quarter of all the money is earned in the hour
// between deposit and end, on either side.
const RATE_PER_SECOND = 10n ** 16n;
const TOKENS = { TestDai: 18n, TestUsdc: 6n };

const json = (...path) => JSON.parse(readFileSync(join(...path), 'utf8'));
const ours = (name) => {
  const { abi, bytecode } = json(CONTRACTS, 'abi', `${name}.json`);
  return { abi, bytecode };
};
const theirs = (pkg, name) => {
  const { abi, bytecode } = json(HERE, 'node_modules', '@sablier', pkg, 'artifacts', `${name}.json`);
  return { abi, bytecode: bytecode.object };
};

/** Starts anvil on a free loopback port and returns its URL and a function that ends it. */
async function startChain() {
  const program = process.env.GPUX_ANVIL ?? join(CONTRACTS, 'tools', 'anvil');
  const args = ['--optimism', '--port', '0', '--timestamp', String(START), '--slots-in-an-epoch', '1'];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const url = await new Promise((resolve, reject) => {
    let output = '';
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`anvil ended with ${code}`)));
    child.stdout.on('data', (data) => {
      output += data;
      const found = output.match(/Listening on (\S+)/);
      if (found) resolve(`http://${found[1]}`);
    });
  });
  return { url, stop: () => child.removeAllListeners('exit').kill() };
}

/** A chain with its clients and the few steps that every measurement is made of. */
class Bench {
  constructor(url, chainId) {
    const chain = defineChain({
      id: chainId, name: 'devnet', nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
      rpcUrls: { default: { http: [url] } },
    });
    const transport = http(url);
    this.chainId = chainId;
    this.reader = createPublicClient({ chain, transport, pollingInterval: 10 });
    this.wallet = createWalletClient({ chain, transport });
    this.clock = createTestClient({ chain, transport, mode: 'anvil' });
    this.now = START;
  }

  /** Sends one transaction in a block of its own, a second after the last one, and returns its receipt. */
  async send(from, to, data) {
    this.now += 1;
    await this.clock.setNextBlockTimestamp({ timestamp: BigInt(this.now) });
    const hash = await this.wallet.sendTransaction({ account: from, to, data, gas: 12_000_000n });
    const receipt = await this.reader.waitForTransactionReceipt({ hash });
    if (receipt.status !== 'success') throw new Error(`transaction ${hash} reverted`);
    return receipt;
  }

  call(from, contract, functionName, args) {
    return this.send(from, contract.address, encodeFunctionData({ abi: contract.abi, functionName, args }));
  }

  read(contract, functionName, args = []) {
    return this.reader.readContract({ ...contract, functionName, args });
  }

  async deploy(from, { abi, bytecode }, args = []) {
    const receipt = await this.send(from, undefined, encodeDeployData({ abi, bytecode, args }));
    return { abi, address: receipt.contractAddress };
  }
}

/** Signs the EIP-2612 permit that lets `spender` take `value` of the token. */
async function signPermit(bench, token, owner, spender, value, deadline) {
  const [, name, version, chainId, verifyingContract] = await bench.read(token, 'eip712Domain');
  const nonce = await bench.read(token, 'nonces', [owner.address]);
  const signature = await owner.signTypedData({
    domain: { name, version, chainId, verifyingContract },
    primaryType: 'Permit',
    types: {
      Permit: [
        { name: 'owner', type: 'address' }, { name: 'spender', type: 'address' }, { name: 'value', type: 'uint256' },
        { name: 'nonce', type: 'uint256' }, { name: 'deadline', type: 'uint256' },
      ],
    },
    message: { owner: owner.address, spender, value, nonce, deadline },
  });
  const { r, s, yParity } = parseSignature(signature);
  return [deadline, 27 + yParity, r, s];
}

/** The terms of one lease; `salt` makes them unique. */
function makeTerms({ renter, receiptKey, provider, signer, builder }, token, salt, withBuilder) {
  return {
    renter: renter.address, receiptKey: receiptKey.address, provider: provider.address,
    providerSigner: signer.address, token: token.address, builder: withBuilder ? builder.address : zeroAddress,
    builderBps: withBuilder ? 500 : 0, grace: 86_400, salt,
  };
}

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
  const signature = await receiptKey.signTypedData({
    domain: { name: 'GPUX', version: '1', chainId: bench.chainId, verifyingContract: escrow.address },
    primaryType: 'Receipt',
    types: { Receipt: [{ name: 'leaseId', type: 'bytes32' }, { name: 'cumulative', type: 'uint96' }] },
    message: { leaseId, cumulative: earned },
  });
  const settle = await bench.call(provider, escrow, 'settle', [terms, earned, earned, signature]);
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
  const account = (index) => mnemonicToAccount('test test test test test test test test test test test junk', { addressIndex: index });
  const [admin, renter, receiptKey, provider, signer, builder] = [0, 1, 2, 3, 4, 5].map(account);
  const sums = sumsOf(TOKENS[tokenName]);
  const people = { renter, receiptKey, provider, signer, builder };
  const token = await bench.deploy(admin, ours(tokenName));
  const escrow = await bench.deploy(admin, ours('Escrow'));

  const comptroller = theirs('evm-utils', 'SablierComptroller');
  const implementation = await bench.deploy(admin, comptroller, [admin.address]);
  const noFee = encodeFunctionData({
    abi: comptroller.abi, functionName: 'initialize', args: [admin.address, 0n, 0n, 0n, 0n, zeroAddress],
  });
  const proxy = await bench.deploy(admin, theirs('evm-utils', 'ERC1967Proxy'), [implementation.address, noFee]);
  const descriptor = await bench.deploy(admin, theirs('flow', 'FlowNFTDescriptor'));
  const flow = await bench.deploy(admin, theirs('flow', 'SablierFlow'), [proxy.address, descriptor.address]);

  for (const who of [escrow, flow, provider, builder]) await bench.call(admin, token, 'mint', [who.address, 1n]);
  await bench.call(admin, token, 'mint', [renter.address, 1_000_000n * sums.one]);
  const allow = (spender, amount) => bench.call(renter, token, 'approve', [spender.address, amount]);
  await allow(escrow, maxUint256);
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

async function measureOnOwnChain(tokenName) {
  const chain = await startChain();
  try {
    const id = await createPublicClient({ transport: http(chain.url) }).getChainId();
    return await measure(new Bench(chain.url, id), tokenName);
  } finally {
    chain.stop();
  }
}

const spaced = (gas) => String(gas).replace(/\B(?=(\d{3})+$)/g, ',');
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

const results = { version: 1, goal: GOAL, against: '@sablier/flow 3.0.1', tokens: {} };
for (const token of Object.keys(TOKENS)) results.tokens[token] = await measureOnOwnChain(token);
print(results);

const rendered = `${JSON.stringify(results, null, 2)}\n`;
const ratios = Object.values(results.tokens).flatMap(({ compared }) => Object.values(compared).map(({ ratio }) => ratio));
if (process.argv.includes('--check')) {
  if (Math.max(...ratios) > GOAL) throw new Error(`the goal of ${GOAL} is missed`);
  if (readFileSync(RESULTS, 'utf8') !== rendered) throw new Error('results.json differs: run `node bench.mjs` and commit it');
} else {
  writeFileSync(RESULTS, rendered);
}
