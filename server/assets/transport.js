// The one set of controls for all cameras: buttons, scrubber, keyboard, and the line of words
// under them.

const RATES = [0.25, 0.5, 1, 1.5, 2];

export class Transport {
  #players;
  #event;
  #scrubbing = false;
  #parts;
  #said = "";

  constructor({ root, players, length, event }) {
    this.#players = players;
    this.#event = event;
    const part = (id) => document.getElementById(id);
    this.#parts = {
      root, play: part("play"), now: part("now"), scrub: part("scrub"), loaded: part("loaded"),
      speed: part("speed"), status: part("status"), again: part("again"),
    };
    const { scrub, play, speed, again } = this.#parts;
    part("length").textContent = clock(length);
    scrub.max = String(length);
    const band = part("band");
    band.style.left = `${(event[0] / length) * 100}%`;
    band.style.width = `${((event[1] - event[0]) / length) * 100}%`;

    play.addEventListener("click", () => players.toggle());
    part("back-frame").addEventListener("click", () => players.step(-1));
    part("on-frame").addEventListener("click", () => players.step(1));
    part("to-event").addEventListener("click", () => this.#toEvent());
    speed.addEventListener("change", () => {
      players.rate = Number(speed.value);
    });
    again.addEventListener("click", () => players.retry());
    scrub.addEventListener("input", () => players.seek(Number(scrub.value)));
    scrub.addEventListener("pointerdown", () => {
      this.#scrubbing = true;
    });
    for (const name of ["pointerup", "pointercancel", "change"]) {
      scrub.addEventListener(name, () => {
        this.#scrubbing = false;
      });
    }
    document.addEventListener("keydown", (key) => this.#key(key));
    this.show();
  }

  /** Shows where the players are. */
  show() {
    const { root, play, now, scrub, loaded, status, again } = this.#parts;
    const players = this.#players;
    root.classList.toggle("playing", players.playing);
    play.setAttribute("aria-label", players.playing ? "Pause" : "Play");
    now.textContent = clock(players.time);
    if (!this.#scrubbing) scrub.value = String(players.time);
    scrub.setAttribute("aria-valuetext", `${players.time.toFixed(1)} of ${players.length.toFixed(1)} seconds`);
    loaded.style.width = `${Math.min(100, (players.loaded / players.length) * 100)}%`;
    again.hidden = !players.failed;
    if (players.status !== this.#said) {
      this.#said = players.status;
      // A screen reader is told of a new state, not of every percent.
      status.setAttribute("aria-live", /%/.test(this.#said) ? "off" : "polite");
      status.textContent = this.#said;
    }
  }

  #toEvent() {
    // A little before it, so that one sees it come.
    this.#players.seek(Math.max(0, this.#event[0] - 1));
  }

  #faster(by) {
    const { speed } = this.#parts;
    const at = RATES.indexOf(Number(speed.value)) + by;
    if (at < 0 || at >= RATES.length) return;
    speed.value = String(RATES[at]);
    this.#players.rate = RATES[at];
  }

  #key(key) {
    if (key.altKey || key.ctrlKey || key.metaKey || key.defaultPrevented) return;
    const target = key.target;
    const typing = target.closest("input:not([type=range]), select, textarea, summary, a");
    if (typing) return;
    if (key.key === " " && target.closest("button")) return;
    const players = this.#players;
    const acts = {
      " ": () => players.toggle(),
      k: () => players.toggle(),
      ArrowLeft: () => players.seek(players.time - 1),
      ArrowRight: () => players.seek(players.time + 1),
      ",": () => players.step(-1),
      ".": () => players.step(1),
      Home: () => players.seek(0),
      End: () => players.seek(players.length),
      e: () => this.#toEvent(),
      "<": () => this.#faster(-1),
      ">": () => this.#faster(1),
    };
    const act = acts[key.key.length === 1 ? key.key.toLowerCase() : key.key];
    if (!act) return;
    key.preventDefault();
    act();
  }
}

/** `1:05.3` for 65.3 seconds. */
function clock(s) {
  const tenths = Math.max(0, Math.round(s * 10));
  const minutes = Math.floor(tenths / 600);
  const rest = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
  return `${minutes}:${rest}`;
}
