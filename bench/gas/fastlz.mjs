// The size that OP Stack chains charge a transaction's L1 data by since the Fjord upgrade:
// max(100, 0.8365 x FastLZ length of the signed transaction - 42.5856) bytes. `node fastlz.mjs` runs its self-test.
import { pathToFileURL } from 'node:url';

/** The length of `data` under FastLZ level 1. */
export function fastlzLength(data) {
  const seen = new Uint32Array(8192);
  const three = (at) => data[at] | (data[at + 1] << 8) | (data[at + 2] << 16);
  const slot = (word) => (Math.imul(2654435769, word) >>> 19) & 0x1fff;
  const literals = (count) => 33 * Math.floor(count / 32) + (count % 32 === 0 ? 0 : (count % 32) + 1);
  const match = (count) => 3 * Math.floor((count - 1) / 262) + ((count - 1) % 262 >= 6 ? 3 : 2);

  const limit = Math.max(data.length - 13, 0);
  let length = 0;
  let done = 0;
  for (let at = 2; at < limit;) {
    let found;
    for (;;) {
      const word = three(at);
      found = seen[slot(word)];
      seen[slot(word)] = at;
      if (at >= limit || (at - found <= 0x1fff && word === three(found))) break;
      at += 1;
    }
    if (at >= limit) break;
    if (at > done) length += literals(at - done);
    let same = 0;
    while (at + 3 + same < limit + 9 && data[found + 3 + same] === data[at + 3 + same]) same += 1;
    // The comparison of the original counts one more, unless it ran to the end.
    const run = at + 3 + same < limit + 9 ? same + 1 : same;
    length += match(run);
    at += run;
    for (let i = 0; i < 2; i += 1) seen[slot(three(at))] = at++;
    done = at;
  }
  return length + literals(data.length - done);
}

/** The charged size of a signed transaction, in bytes, rounded up. */
export function fjordSize(data) {
  return Math.ceil(Math.max(100, 0.8365 * fastlzLength(data) - 42.5856));
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const same = (byte) => fastlzLength(new Uint8Array(1000).fill(byte));
  if (fastlzLength(new Uint8Array(0)) !== 0 || same(0) !== 21 || same(1) !== 21) throw new Error('FastLZ is wrong');
  console.log('FastLZ lengths are the published ones');
}
