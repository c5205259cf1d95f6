// The checks of server/assets/tlog.js against trees and proofs made by the words of RFC 6962, for every
// pair of sizes; and changed ones, which must not hold. Run by tests/browser.rs, needs no browser.
import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import {
  checkConsistency, checkInclusion, checkSignature, parseCheckpoint, parseKey, parseProof,
} from '../../server/assets/tlog.js';

const sha = (...parts) => createHash('sha256').update(Buffer.concat(parts)).digest();
const leaf = (i) => Buffer.from(`entry ${i}`);
const split = (n) => 2 ** (Math.ceil(Math.log2(n)) - 1);
function root(l) {
  if (l.length === 0) return sha();
  if (l.length === 1) return sha(Buffer.of(0), l[0]);
  const k = split(l.length);
  return sha(Buffer.of(1), root(l.slice(0, k)), root(l.slice(k)));
}
function path(m, l) {
  if (l.length <= 1) return [];
  const k = split(l.length);
  return m < k
    ? [...path(m, l.slice(0, k)), root(l.slice(k))]
    : [...path(m - k, l.slice(k)), root(l.slice(0, k))];
}
function subproof(m, l, whole) {
  if (m === l.length) return whole ? [] : [root(l)];
  const k = split(l.length);
  return m <= k
    ? [...subproof(m, l.slice(0, k), whole), root(l.slice(k))]
    : [...subproof(m - k, l.slice(k), false), root(l.slice(0, k))];
}
const base64 = (b) => Buffer.from(b).toString('base64');
const leaves = (n, from = 0) => Array.from({ length: n }, (_, i) => leaf(from + i));
const MAX = 34;

for (let n = 1; n <= MAX; n += 1) {
  const l = leaves(n);
  const checkpoint = { size: n, root: root(l) };
  for (let i = 0; i < n; i += 1) {
    const proof = path(i, l);
    const holds = (more) => checkInclusion({ leaf: l[i], index: i, path: proof, checkpoint, ...more });
    assert.equal(await holds({}), true, `${i} of ${n}`);
    assert.equal(await holds({ leaf: leaf(99) }), false);
    assert.equal(await holds({ index: n }), false);
    if (n > 1) assert.equal(await holds({ index: (i + 1) % n }), false, `${i} of ${n} as another`);
    assert.equal(await holds({ path: [...proof, root(l)] }), false);
    assert.equal(await holds({ path: proof.slice(1) }), n === 1);
  }
  for (let m = 0; m <= n; m += 1) {
    const old = { size: m, root: root(leaves(m)) };
    const proof = m === 0 ? [] : subproof(m, l, true);
    const lines = proof.map(base64);
    assert.equal(await checkConsistency(old, checkpoint, lines), true, `${m} to ${n}`);
    const forked = { size: m, root: root(leaves(m, 50)) };
    if (m > 0) assert.equal(await checkConsistency(forked, checkpoint, lines), false, `${m} to ${n}`);
    const other = { size: n, root: root(leaves(n, 50)) };
    // The proof from the empty log says nothing: everything extends it.
    if (m > 0) assert.equal(await checkConsistency(old, other, lines), false);
    assert.equal(await checkConsistency(old, checkpoint, [...lines, lines[0] ?? base64(sha())]), false);
    if (lines.length > 0) {
      assert.equal(await checkConsistency(old, checkpoint, lines.slice(1)), false, `${m} to ${n}`);
      const bad = [...proof];
      bad[bad.length - 1] = sha(bad[bad.length - 1]);
      assert.equal(await checkConsistency(old, checkpoint, bad.map(base64)), false);
    }
    if (m < n) assert.equal(await checkConsistency(checkpoint, old, lines), false, 'shorter');
  }
}

// A signed note, and everything in it changed.
const { publicKey, privateKey } = generateKeyPairSync('ed25519');
const name = 'fleet.example/access-log';
const key = Buffer.concat([Buffer.of(1), publicKey.export({ type: 'spki', format: 'der' }).subarray(-32)]);
const id = sha(Buffer.from(`${name}\n`), key).subarray(0, 4);
const vkey = `${name}+${id.toString('hex')}+${base64(key)}`;
const body = `${name}\n3\n${base64(root(leaves(3)))}\n`;
const line = `\u2014 ${name} ${base64(Buffer.concat([id, sign(null, Buffer.from(body), privateKey)]))}\n`;
const witness = `\u2014 w.example/1 ${base64(Buffer.alloc(76))}\n`;
const parsed = await parseKey(vkey);
for (const note of [`${body}\n${line}`, `${body}\n${line}${witness}`, `${body}\n${witness}${line}`]) {
  assert.equal(await checkSignature(parseCheckpoint(note), parsed), true);
}
assert.equal(await checkSignature(parseCheckpoint(`${body}\n${witness}`), parsed), false);
const note = `${body}\n${line}`;
const bytes = Buffer.from(note);
for (let at = 0; at < bytes.length; at += 1) {
  const bad = Buffer.from(bytes);
  bad[at] ^= 1 << (at % 7);
  let good = false;
  try {
    good = await checkSignature(parseCheckpoint(bad.toString('utf8')), parsed);
  } catch {
    // Refused as no note at all.
  }
  assert.equal(good, false, `byte ${at}`);
}
const proof = `c2sp.org/tlog-proof@v1\nextra ${base64(leaf(1))}\nindex 1\n${path(1, leaves(3)).map(base64).join('\n')}\n\n${note}`;
assert.equal(await checkInclusion(parseProof(proof)), true);
for (const bad of ['', proof.replace('index 1', 'index 01'), proof.replace('extra', 'x'), proof.slice(0, 40)]) {
  assert.throws(() => parseProof(bad));
}
await assert.rejects(parseKey(vkey.replace('fleet', 'float')));
console.log('tlog: ok');
