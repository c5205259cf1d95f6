// The event page: opens a view, then ties players, transport and chart to one time line.
//
// What must hold: nothing is asked of the server before the person has chosen a purpose and
// pressed the button; every state that keeps someone waiting is said in words.

import { SignalChart } from "./chart.js";
import { Players } from "./players.js";
import { Transport } from "./transport.js";
import { proofHeader } from "./binding.js";
import { WATCH_KEY, localise } from "./portal.js";

const TRACK_WORDS = { road: "Road camera", cabin: "Cab camera" };

const stage = document.getElementById("stage");
const form = document.getElementById("open-view");
if (stage && form) {
  const button = document.getElementById("watch");
  button.disabled = false;
  form.addEventListener("submit", (submit) => {
    submit.preventDefault();
    open(new FormData(form), button);
  });
  if (takeWatchNote()) form.requestSubmit(button);
}

/** Whether the person came here by pressing 'Watch' on one of their own events. */
function takeWatchNote() {
  try {
    const noted = sessionStorage.getItem(WATCH_KEY);
    sessionStorage.removeItem(WATCH_KEY);
    return noted === stage.dataset.event && form.elements.purpose?.value === "own_review";
  } catch {
    return false;
  }
}

async function open(fields, button) {
  const problem = document.getElementById("gate-problem");
  problem.hidden = true;
  button.disabled = true;
  const words = button.lastChild;
  const before = words.textContent;
  words.textContent = "Writing the log entry…";
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      credentials: "same-origin",
      headers: {
        "accept": "application/json",
        "content-type": "application/json",
        "x-csrf-token": stage.dataset.csrf,
        ...(await proofHeader("POST", new URL(form.action).pathname)),
      },
      body: JSON.stringify({ purpose: fields.get("purpose") }),
    });
    if (!answer.ok) throw new Error(await refusal(answer));
    play(await answer.json());
  } catch (error) {
    problem.textContent = error instanceof TypeError
      ? "The server cannot be reached. Nothing was played. Check the connection and press again."
      : error.message;
    problem.hidden = false;
    button.disabled = false;
    words.textContent = before;
  }
}

/** The server's own words for why it refused, or the best there is. */
async function refusal(answer) {
  if (answer.status === 401 || answer.redirected) return "Your session has ended. Reload the page and sign in again.";
  try {
    const body = await answer.json();
    if (typeof body.error === "string") return body.error;
  } catch {
    // Not JSON: a proxy answered.
  }
  return `The server refused (${answer.status}). Nothing was played.`;
}

function play(view) {
  const length = view.duration_ms / 1000;
  const event = view.event_ms.map((ms) => ms / 1000);
  document.getElementById("gate").hidden = true;
  document.getElementById("player").hidden = false;

  const screens = document.getElementById("screens");
  const tracks = view.tracks.map((track) => {
    const screen = element("figure", "screen");
    screen.dataset.testid = `screen-${track.name}`;
    const video = element("video");
    video.muted = true;
    video.playsInline = true;
    video.disableRemotePlayback = true;
    video.disablePictureInPicture = true;
    video.dataset.testid = `video-${track.name}`;
    video.setAttribute("controlslist", "nodownload noremoteplayback");
    video.setAttribute("aria-label", TRACK_WORDS[track.name] ?? track.name);
    video.addEventListener("contextmenu", (menu) => menu.preventDefault());
    const caption = element("figcaption");
    caption.textContent = (TRACK_WORDS[track.name] ?? track.name) + (track.blurred ? " · face blurred" : "");
    const words = element("div", "words");
    const span = element("span");
    words.append(span);
    screen.append(video, caption, words);
    screens.append(screen);
    return {
      name: track.name,
      codec: track.codec,
      url: `/views/${encodeURIComponent(view.view_id)}/${encodeURIComponent(track.name)}.mp4`,
      video,
      say: (text, bad = false) => {
        span.textContent = text;
        screen.classList.toggle("bad", bad);
      },
    };
  });

  const players = new Players(tracks, { length, frame: (view.frame_ms ?? 1000 / 15) / 1000 });
  const transport = new Transport({
    root: document.getElementById("player"),
    players,
    length,
    event,
  });

  const card = document.getElementById("chart-card");
  const chart = new SignalChart(document.getElementById("chart"), {
    legend: document.getElementById("legend"),
    length,
    event,
    kind: stage.dataset.kind,
    thresholdG: Number(stage.dataset.thresholdG) || null,
    limitKmh: Number(stage.dataset.limitKmh) || null,
    onSeek: (s) => players.seek(s),
  });
  card.hidden = false;
  loadSignals(view.view_id, chart);

  players.addEventListener("time", () => {
    transport.show();
    chart.setTime(players.time);
  });
  addEventListener("pagehide", () => players.stop(), { once: true });
  players.addEventListener("time", function listed() {
    if (players.time < 1) return;
    players.removeEventListener("time", listed);
    showOwnView();
  });
  players.start();
  document.getElementById("play").focus({ preventScroll: true });
}

async function loadSignals(viewId, chart) {
  chart.say("Loading the signals…");
  try {
    const url = `/views/${encodeURIComponent(viewId)}/signals.json`;
    const answer = await fetch(url, { credentials: "same-origin", headers: await proofHeader("GET", url) });
    if (!answer.ok) throw new Error(String(answer.status));
    chart.setSignals(await answer.json());
  } catch {
    chart.say("Speed and acceleration could not be loaded. The pictures are not affected.");
  }
}

/** The list of who has seen this, with the view that just began: the server has it by now. */
async function showOwnView() {
  try {
    const answer = await fetch(location.href, { credentials: "same-origin" });
    if (!answer.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("[data-testid=seen-by]");
    if (!fresh) return;
    localise(fresh);
    document.querySelector("[data-testid=seen-by]").replaceWith(document.adoptNode(fresh));
  } catch {
    // The list is as old as the page: the next load has it.
  }
}

function element(name, className) {
  const made = document.createElement(name);
  if (className) made.className = className;
  return made;
}
