// The browser's own key: made here, used here, and never read out. The session is bound to it when
// the person signs in; whoever asks for pictures shows with it that this is still the same browser.

const STORE = "keys";
const NAME = "browser";
const CURVE = { name: "ECDSA", namedCurve: "P-256" };
/** The server takes a nonce for two minutes; half of it leaves room for a slow connection. */
const NONCE_MS = 60_000;

const hex = (bytes) => Array.from(new Uint8Array(bytes), (b) => b.toString(16).padStart(2, "0")).join("");

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function store(mode) {
  const open = indexedDB.open("temoin", 1);
  open.onupgradeneeded = () => open.result.createObjectStore(STORE);
  const database = await settled(open);
  return database.transaction(STORE, mode).objectStore(STORE);
}

async function stored() {
  return settled((await store("readonly")).get(NAME));
}

/** The public half as hexadecimal digits; a key is made where there is none yet. */
export async function publicKey() {
  let pair = await stored();
  if (!pair) {
    pair = await crypto.subtle.generateKey(CURVE, false, ["sign"]);
    await settled((await store("readwrite")).put(pair, NAME));
  }
  return hex(await crypto.subtle.exportKey("raw", pair.publicKey));
}

let nonce = { text: "", at: -Infinity };

async function freshNonce() {
  if (Math.abs(Date.now() - nonce.at) > NONCE_MS) {
    const at = Date.now();
    const answer = await fetch("/session/nonce", { credentials: "same-origin" });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    nonce = { text: await answer.text(), at };
  }
  return nonce.text;
}

/** The proof for one request. */
export async function prove(method, path) {
  const pair = await stored();
  if (!pair) throw new Error("no key");
  const given = await freshNonce();
  const number = hex(crypto.getRandomValues(new Uint8Array(16)));
  const text = ["temoin proof v1", method, path, given, number].join("\n");
  const signature = await crypto.subtle.sign(
    { name: "ECDSA", hash: "SHA-256" }, pair.privateKey, new TextEncoder().encode(text));
  return `${given}.${number}.${hex(signature)}`;
}

/** The same as a header; none where it cannot be made: the server then says what to do. */
export async function proofHeader(method, path) {
  try {
    return { "x-temoin-proof": await prove(method, path) };
  } catch {
    return {};
  }
}

/** Fills a hidden field when its form is sent, then sends it. */
export function fillOnSubmit(field, make) {
  let filled = false;
  field.form.addEventListener("submit", async (submit) => {
    if (filled) {
      filled = false;
      return;
    }
    submit.preventDefault();
    const button = submit.submitter;
    try {
      field.value = await make();
    } catch {
      // Without it the form does what it can.
      field.value = "";
    }
    filled = true;
    field.form.requestSubmit(button);
  });
}
