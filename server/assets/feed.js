// The open page of the access log: what is done now stands there within two seconds. Asks once a
// second while the page is looked at; what is new comes on top, what changed is changed in place.

import { localise } from "./portal.js";

const EVERY_MS = 1000;

const live = document.querySelector("[data-live-log]");
/** The rows as the server gave them the last time, by entry. */
const known = new Map();
let tag = "";

/** Puts rows in, newest first, and keeps where the keyboard is. */
function take(text) {
  const given = document.createElement("template");
  given.innerHTML = text;
  const body = live.querySelector("tbody");
  if (!body) {
    live.replaceChildren(given.content);
    localise(live);
    return;
  }
  let before = body.firstElementChild;
  for (const row of given.content.querySelectorAll("tr[data-entry]")) {
    const entry = row.dataset.entry;
    const html = row.innerHTML;
    const shown = body.querySelector(`tr[data-entry="${entry}"]`);
    if (!shown) {
      row.classList.add("fresh");
      body.insertBefore(row, before);
      localise(row);
    } else if (known.get(entry) !== html) {
      const focused = shown.contains(document.activeElement)
        ? document.activeElement.getAttribute("href") : null;
      shown.innerHTML = html;
      localise(shown);
      if (focused) shown.querySelector(`[href="${focused}"]`)?.focus();
    }
    before = (shown ?? row).nextElementSibling;
    while (before?.classList.contains("proof-row")) before = before.nextElementSibling;
    known.set(entry, html);
  }
}

async function ask() {
  if (document.visibilityState === "hidden") return;
  const answer = await fetch(live.dataset.liveLog, {
    headers: { accept: "application/json", ...(tag && { "if-none-match": tag }) },
  });
  if (answer.status === 401) location.reload();
  if (answer.status !== 200) return;
  tag = answer.headers.get("etag") ?? "";
  take(await answer.text());
}

async function follow() {
  for (;;) {
    try {
      await ask();
    } catch {
      // The server is away: the page stays as it is, and asks again.
    }
    await new Promise((done) => setTimeout(done, EVERY_MS));
  }
}

if (live) follow();
