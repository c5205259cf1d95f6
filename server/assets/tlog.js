// The checks of a transparency log (RFC 6962, C2SP signed notes and tlog-proof), with WebCrypto alone.
// Nothing here believes the server: what it says is hashed and compared.

const text = new TextEncoder();

const fromBase64 = (line) => Uint8Array.from(atob(line), (c) => c.charCodeAt(0));
const same = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);

async function sha256(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return new Uint8Array(await crypto.subtle.digest('SHA-256', all));
}

const leafHash = (leaf) => sha256(Uint8Array.of(0), leaf);
const nodeHash = (left, right) => sha256(Uint8Array.of(1), left, right);

function number(line) {
  if (!/^(0|[1-9][0-9]{0,14})$/.test(line)) throw new Error('a size is not a number');
  return Number(line);
}

function hash(line) {
  const bytes = fromBase64(line);
  if (bytes.length !== 32) throw new Error('a line is not a hash');
  return bytes;
}

// Origin, size, root and signatures of a signed note; the signatures are not checked here.
export function parseCheckpoint(note) {
  const blank = note.lastIndexOf('\n\n');
  if (blank < 0 || !note.endsWith('\n')) throw new Error('the checkpoint is no signed note');
  const body = note.slice(0, blank + 1);
  const [origin, size, root] = body.split('\n');
  const signatures = note.slice(blank + 2).split('\n').slice(0, -1).map((line) => {
    const [dash, name, rest, more] = line.split(' ');
    if (dash !== '\u2014' || !rest || more !== undefined) throw new Error('a signature is none');
    const bytes = fromBase64(rest);
    return { name, id: bytes.slice(0, 4), signature: bytes.slice(4) };
  });
  return { note, body, origin, size: number(size), root: hash(root), signatures };
}

export async function parseKey(vkey) {
  const [name, id, ...rest] = vkey.trim().split('+');
  const bytes = fromBase64(rest.join('+'));
  const wanted = (await sha256(text.encode(`${name}\n`), bytes)).slice(0, 4);
  const hex = [...wanted].map((b) => b.toString(16).padStart(2, '0')).join('');
  if (bytes.length !== 33 || bytes[0] !== 1 || hex !== id) throw new Error('the key is none');
  return { name, id: wanted, key: bytes.slice(1) };
}

// true and false; null where this browser cannot check such signatures.
export async function checkSignature(checkpoint, key) {
  if (checkpoint.origin !== key.name) return false;
  const of = (s) => s.name === key.name && same(s.id, key.id);
  const found = checkpoint.signatures.find(of);
  if (!found) return false;
  let imported;
  try {
    imported = await crypto.subtle.importKey('raw', key.key, { name: 'Ed25519' }, false, ['verify']);
  } catch {
    return null;
  }
  const { signature } = found;
  return crypto.subtle.verify({ name: 'Ed25519' }, imported, signature, text.encode(checkpoint.body));
}

export function parseProof(proof) {
  const blank = proof.indexOf('\n\n');
  const lines = proof.slice(0, Math.max(blank, 0)).split('\n');
  const [first, extra, index, ...path] = lines;
  if (first !== 'c2sp.org/tlog-proof@v1' || !extra?.startsWith('extra ')
      || !index?.startsWith('index ')) {
    throw new Error('the proof is none');
  }
  return {
    leaf: fromBase64(extra.slice(6)),
    index: number(index.slice(6)),
    path: path.map(hash),
    checkpoint: parseCheckpoint(proof.slice(blank + 2)),
  };
}

// RFC 9162, 2.1.3.2. Numbers stay below 2^53: no bit operations.
export async function checkInclusion({ leaf, index, path, checkpoint }) {
  let [fn, sn] = [index, checkpoint.size - 1];
  if (fn > sn) return false;
  let root = await leafHash(leaf);
  for (const step of path) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      root = await nodeHash(step, root);
      while (fn % 2 === 0 && fn !== 0) {
        fn /= 2;
        sn = Math.floor(sn / 2);
      }
    } else {
      root = await nodeHash(root, step);
    }
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  return sn === 0 && same(root, checkpoint.root);
}

// RFC 9162, 2.1.4.2: the tree of `old` is the beginning of that of `now`.
export async function checkConsistency(old, now, lines) {
  if (old.size > now.size) return false;
  if (old.size === now.size) return lines.length === 0 && same(old.root, now.root);
  if (old.size === 0) return lines.length === 0 && same(old.root, await sha256());
  const path = lines.map(hash);
  let [fn, sn] = [old.size - 1, now.size - 1];
  while (fn % 2 === 1) {
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  // A whole tree is its own first step.
  if (fn === 0) path.unshift(old.root);
  if (path.length === 0) return false;
  let [fr, sr] = [path[0], path[0]];
  for (const step of path.slice(1)) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      fr = await nodeHash(step, fr);
      sr = await nodeHash(step, sr);
      while (fn % 2 === 0 && fn !== 0) {
        fn /= 2;
        sn = Math.floor(sn / 2);
      }
    } else {
      sr = await nodeHash(sr, step);
    }
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  return sn === 0 && same(fr, old.root) && same(sr, now.root);
}
