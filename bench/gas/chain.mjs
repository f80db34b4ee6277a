// A local chain for measuring, its clients, and what both sides of a lease sign. Used by everything in this folder.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  createPublicClient, createTestClient, createWalletClient, defineChain, encodeDeployData, encodeFunctionData, http,
  maxUint256, parseSignature, serializeTransaction, signatureToCompactSignature, zeroAddress,
} from 'viem';
import { mnemonicToAccount } from 'viem/accounts';

export const HERE = dirname(fileURLToPath(import.meta.url));
const CONTRACTS = join(HERE, '..', '..', 'contracts');
export const HOUR = 3600;
const START = 1_800_000_000;
const MNEMONIC = 'test test test test test test test test test test test junk';

export const json = (...path) => JSON.parse(readFileSync(join(...path), 'utf8'));
export const ours = (name) => {
  const { abi, bytecode } = json(CONTRACTS, 'abi', `${name}.json`);
  return { abi, bytecode };
};
export const account = (index) => mnemonicToAccount(MNEMONIC, { addressIndex: index });

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

/** Runs `work` on a chain of its own. */
export async function onOwnChain(work) {
  const chain = await startChain();
  try {
    const id = await createPublicClient({ transport: http(chain.url) }).getChainId();
    return await work(new Bench(chain.url, id));
  } finally {
    chain.stop();
  }
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

  /** The calldata of a transaction and its signed bytes. */
  async bytesOf({ transactionHash: hash }) {
    const { r, s, yParity, ...transaction } = await this.reader.getTransaction({ hash });
    const signed = serializeTransaction({ ...transaction, data: transaction.input, type: 'eip1559' }, { r, s, yParity });
    const bytes = (hex) => Uint8Array.from(Buffer.from(hex.slice(2), 'hex'));
    return { calldata: bytes(transaction.input), signed: bytes(signed) };
  }
}

/** `[v, r, s]` of what an account signs: a permit's form. */
async function signed(account, typed) {
  const { r, s, yParity } = parseSignature(await account.signTypedData(typed));
  return [27 + yParity, r, s];
}

/** `[r, vs]` of what an account signs (EIP-2098): a receipt's form. */
async function signedCompactly(account, typed) {
  const { r, yParityAndS } = signatureToCompactSignature(parseSignature(await account.signTypedData(typed)));
  return [r, yParityAndS];
}

/** The EIP-2612 permit that lets `spender` take `value` of the token: `[deadline, v, r, s]`. */
export async function signPermit(bench, token, owner, spender, value, deadline) {
  const [, name, version, chainId, verifyingContract] = await bench.read(token, 'eip712Domain');
  const nonce = await bench.read(token, 'nonces', [owner.address]);
  const signature = await signed(owner, {
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
  return [deadline, ...signature];
}

const domain = (bench, escrow) => (
  { name: 'GPUX', version: '1', chainId: bench.chainId, verifyingContract: escrow.address }
);

/** A receipt: `[r, vs]`. */
export function signReceipt(bench, escrow, key, leaseId, cumulative) {
  return signedCompactly(key, {
    domain: domain(bench, escrow),
    primaryType: 'Receipt',
    types: { Receipt: [{ name: 'leaseId', type: 'bytes32' }, { name: 'cumulative', type: 'uint96' }] },
    message: { leaseId, cumulative },
  });
}

/** A closing amount: `[r, vs]`. */
export function signClosing(bench, escrow, key, leaseId, amount) {
  return signedCompactly(key, {
    domain: domain(bench, escrow),
    primaryType: 'Closing',
    types: { Closing: [{ name: 'leaseId', type: 'bytes32' }, { name: 'amount', type: 'uint96' }] },
    message: { leaseId, amount },
  });
}

/** The terms of one lease; `salt` makes them unique. */
export function makeTerms({ renter, receiptKey, provider, signer, builder }, token, salt, withBuilder) {
  return {
    renter: renter.address, receiptKey: receiptKey.address, provider: provider.address,
    providerSigner: signer.address, token: token.address, builder: withBuilder ? builder.address : zeroAddress,
    builderBps: withBuilder ? 500 : 0, grace: 86_400, salt,
  };
}

/** Deploys the token and the escrow, and gives everybody what daily use would have given them. */
export async function deployOurs(bench, tokenName, one) {
  const [admin, renter, receiptKey, provider, signer, builder] = [0, 1, 2, 3, 4, 5].map(account);
  const people = { renter, receiptKey, provider, signer, builder };
  const token = await bench.deploy(admin, ours(tokenName));
  const escrow = await bench.deploy(admin, ours('Escrow'));
  for (const who of [escrow, provider, builder]) await bench.call(admin, token, 'mint', [who.address, 1n]);
  await bench.call(admin, token, 'mint', [renter.address, 1_000_000n * one]);
  const allow = (spender, amount) => bench.call(renter, token, 'approve', [spender.address, amount]);
  await allow(escrow, maxUint256);
  return { admin, token, escrow, people, allow };
}

export const spaced = (gas) => String(gas).replace(/\B(?=(\d{3})+$)/g, ',');
