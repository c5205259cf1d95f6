// 'Check the proof': is this entry in the log, is the log's head signed, and did the log only grow since
// this device looked the last time? The head that was seen, and the key, stay on this device.
// Without script the link gives the proof as a file, for temoin-verify.
import {
  checkConsistency, checkInclusion, checkSignature, parseCheckpoint, parseKey, parseProof,
} from "./tlog.js";

const KEPT = 'temoin-log';

/** Something is wrong with the log, with what proves it. */
class Wrong extends Error {
  constructor(message, evidence = []) {
    super(message);
    this.evidence = evidence;
  }
}

async function get(path) {
  const answer = await fetch(path, { headers: { accept: 'text/plain' } });
  return { status: answer.status, text: await answer.text() };
}

async function must(path) {
  const { status, text } = await get(path);
  if (status !== 200) throw new Error(`the server answers ${status} for ${path}`);
  return text;
}

function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEPT));
  } catch {
    return null;
  }
}

async function grew(old, now) {
  if (old.size === now.size) return { good: await checkConsistency(old, now, []), cut: false };
  const { status, text } = await get(`/log/consistency?from=${old.size}&to=${now.size}`);
  if (status === 404) return { good: false, cut: true };
  if (status !== 200) throw new Error(`the server answers ${status} when asked whether it only grew`);
  return { good: await checkConsistency(old, now, text.split('\n').slice(0, -1)), cut: false };
}

async function check(index) {
  if (!globalThis.crypto?.subtle) throw new Error('this browser cannot compute hashes here');
  const [text, vkey] = await Promise.all([must(`/access-log/${index}/proof`), must('/log/key')]);
  const before = kept();
  if (before && before.key !== vkey.trim()) {
    throw new Wrong('The log has another key than the one that this device saw before.', [
      ['key-seen-before.txt', before.key], ['key-now.txt', vkey],
    ]);
  }
  let proof;
  let good;
  let signed;
  try {
    proof = parseProof(text);
    good = proof.index === Number(index) && await checkInclusion(proof);
    signed = await checkSignature(proof.checkpoint, await parseKey(vkey));
  } catch (error) {
    throw new Wrong(`What the server gave is no proof: ${error.message}.`, [['proof.txt', text]]);
  }
  const now = proof.checkpoint;
  if (!good) throw new Wrong('The proof does not lead to the log.', [['proof.txt', text]]);
  if (signed === false) {
    throw new Wrong('The checkpoint is not signed by the log.', [['proof.txt', text]]);
  }
  const words = [`This entry is in the log (entry ${proof.index} of ${now.size}).`];
  let newest = now;
  if (before) {
    const old = parseCheckpoint(before.note);
    const [shorter, longer] = old.size <= now.size ? [old, now] : [now, old];
    const { good: only, cut } = await grew(shorter, longer);
    if (!only) {
      const what = cut
        ? `The log has become shorter: this device has seen ${longer.size} entries.`
        : 'The log has two histories: it is not the one that this device saw before.';
      throw new Wrong(what, [
        ['checkpoint-seen-before.txt', before.note], ['checkpoint-now.txt', now.note],
      ]);
    }
    newest = longer;
    words.push(`The log has only grown since ${day(before.first)} on this device.`);
  } else {
    words.push('This device keeps what it has seen, and compares the next time.');
  }
  words.push(signed
    ? 'The log\u2019s signature holds.'
    : 'This browser cannot check signatures: use another one, or temoin-verify.');
  const first = before?.first ?? Date.now();
  localStorage.setItem(KEPT, JSON.stringify({ key: vkey.trim(), note: newest.note, first }));
  return words.join(' ');
}

const day = (ms) => new Date(ms).toLocaleDateString('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });

// Where the answer stands: in a table, over the whole width behind the row; else behind the link.
function result(link) {
  const row = link.closest('tr');
  const last = (row ?? link).nextElementSibling;
  const there = last?.matches('.proof-row, .proof-result') && last;
  if (there) return there.matches('.proof-row') ? there.querySelector('.proof-result') : there;
  const box = document.createElement('div');
  box.className = 'proof-result';
  box.dataset.testid = 'proof-result';
  box.setAttribute('role', 'status');
  if (row) {
    const under = document.createElement('tr');
    under.className = 'proof-row';
    under.setAttribute('role', 'row');
    const cell = document.createElement('td');
    cell.setAttribute('role', 'cell');
    cell.colSpan = row.cells.length;
    cell.append(box);
    under.append(cell);
    row.after(under);
  } else {
    link.after(box);
  }
  return box;
}

function show(box, kind, words, evidence = []) {
  box.className = `proof-result ${kind}`;
  const p = document.createElement('p');
  p.textContent = words;
  box.replaceChildren(p);
  for (const [name, content] of evidence) {
    const a = document.createElement('a');
    a.textContent = `Keep ${name}`;
    a.download = name;
    a.href = URL.createObjectURL(new Blob([content], { type: 'text/plain' }));
    a.dataset.testid = 'evidence';
    box.append(a);
  }
}

document.addEventListener('click', async (click) => {
  const link = click.target.closest('a[data-proof]');
  if (!link) return;
  click.preventDefault();
  const box = result(link);
  show(box, 'waits', 'Checking\u2026');
  try {
    show(box, 'good', await check(link.dataset.proof));
  } catch (error) {
    if (error instanceof Wrong) {
      box.setAttribute('role', 'alert');
      show(box, 'wrong', `Warning: ${error.message} Keep these files and show them to your works council.`, error.evidence);
    } else {
      show(box, 'waits', `Could not be checked: ${error.message}.`);
    }
  }
});
