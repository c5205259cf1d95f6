// Keeps the cameras in step on one time line.
//
// One camera is the master: its clock is the time of the recording. The others follow: a drift
// over 80 ms is corrected by playing a little faster or slower, one over 300 ms by a jump. Where
// any camera has no data for the next moment, all wait, so that they never show two moments at
// once. A camera that failed is left out and says why; the other goes on.

import { stream, StreamError } from "./stream.js";

/** Drift that is corrected by speed, and drift that is corrected by a jump, seconds. */
const DRIFT_S = 0.08;
const JUMP_S = 0.3;
/** How much faster or slower a camera plays while it catches up. */
const CATCH_UP = 0.12;
/** How much has to lie ahead before it goes on after a wait, so that it does not stutter, seconds. */
const AHEAD_S = 0.8;
const HAVE_CURRENT_DATA = 2;
const HAVE_FUTURE_DATA = 3;

export class Players extends EventTarget {
  #tracks;
  #wanted = false;
  #rate = 1;
  #frame;
  #abort = new AbortController();
  #autoplay = true;
  #stalled = true;
  #ticking = 0;

  constructor(tracks, { length, frame }) {
    super();
    this.length = length;
    this.#frame = frame;
    this.#tracks = tracks.map((track) => ({ ...track, received: 0, done: false, failed: null }));
    for (const { video } of this.#tracks) {
      for (const name of ["loadeddata", "canplay", "seeked", "waiting", "ended", "error", "progress"]) {
        video.addEventListener(name, () => this.#wake());
      }
    }
  }

  /** Starts the streams; plays as soon as every camera has a picture. */
  start() {
    for (const track of this.#tracks) if (!track.done) this.#run(track);
    this.#wake();
  }

  /** Streams again what failed. */
  retry() {
    for (const track of this.#tracks.filter((t) => t.failed)) {
      Object.assign(track, { failed: null, received: 0, done: false });
      this.#run(track);
    }
    this.#wake();
  }

  /** Ends every stream: the server stops working for this page. */
  stop() {
    this.#abort.abort();
    cancelAnimationFrame(this.#ticking);
    for (const { video } of this.#tracks) video.pause();
  }

  async #run(track) {
    track.say("Opening…");
    try {
      await stream({
        ...track,
        length: this.length,
        signal: this.#abort.signal,
        onBytes: (n) => {
          track.received = n;
        },
      });
      track.done = true;
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      track.failed = error instanceof StreamError ? error.message : "This camera cannot be shown.";
      track.say(track.failed, true);
      track.video.pause();
    }
    this.#wake();
  }

  get #live() {
    return this.#tracks.filter((t) => !t.failed);
  }

  get #master() {
    return this.#live[0]?.video;
  }

  /** Seconds from the start of the recording. */
  get time() {
    return Math.min(this.#master?.currentTime ?? 0, this.length);
  }

  /** Up to where every camera has data, seconds. */
  get loaded() {
    const ends = this.#live.map(({ video, done }) => {
      if (done && video.readyState > 0) return this.length;
      return video.buffered.length > 0 ? video.buffered.end(video.buffered.length - 1) : 0;
    });
    return ends.length > 0 ? Math.min(...ends) : 0;
  }

  /** Whether someone wants it to play, even while it waits for data. */
  get playing() {
    return this.#wanted;
  }

  get rate() {
    return this.#rate;
  }

  set rate(rate) {
    this.#rate = rate;
    for (const { video } of this.#live) video.playbackRate = rate;
  }

  get frame() {
    return this.#frame;
  }

  /** What keeps the person waiting, in words; empty where nothing does. */
  get status() {
    const failed = this.#tracks.filter((t) => t.failed);
    if (failed.length === this.#tracks.length) return "The recording cannot be shown.";
    if (failed.length > 0) return "One camera cannot be shown. The other goes on.";
    if (this.#live.some((t) => t.video.readyState < HAVE_CURRENT_DATA && t.received === 0)) {
      return "Waiting for the server to open the recording…";
    }
    if (this.#wanted && !this.#ready()) return "Waiting for the next pictures…";
    if (this.#live.some((t) => !t.done)) {
      const percent = Math.min(99, Math.floor((this.loaded / this.length) * 100));
      return `The server marks and sends the recording: ${percent} %`;
    }
    return "All of the recording is here.";
  }

  get failed() {
    return this.#tracks.some((t) => t.failed);
  }

  play() {
    this.#autoplay = false;
    if (this.#atEnd()) this.seek(0);
    this.#wanted = true;
    this.#wake();
  }

  pause() {
    this.#autoplay = false;
    this.#wanted = false;
    for (const { video } of this.#live) video.pause();
    this.#align();
    this.#wake();
  }

  toggle() {
    if (this.#wanted) this.pause();
    else this.play();
  }

  /** Goes to `s` seconds; beyond what has arrived it waits there. */
  seek(s) {
    const to = Math.max(0, Math.min(s, this.length - this.#frame / 2));
    for (const { video } of this.#live) {
      video.pause();
      video.currentTime = to;
    }
    this.#wake();
  }

  /** Pauses and goes `frames` frames on (negative: back). */
  step(frames) {
    this.pause();
    // The middle of a frame, so that rounding never shows the neighbour.
    const index = Math.floor(this.time / this.#frame + 1e-3) + frames;
    this.seek(Math.max(0, index + 0.5) * this.#frame);
  }

  #atEnd() {
    return this.time >= this.length - this.#frame || (this.#master?.ended ?? false);
  }

  #ready() {
    const need = (video) => (video.ended || this.#nearEnd(video) ? HAVE_CURRENT_DATA : HAVE_FUTURE_DATA);
    const data = this.#live.length > 0
      && this.#live.every(({ video }) => !video.seeking && video.readyState >= need(video));
    if (!data) this.#stalled = true;
    else if (this.loaded >= Math.min(this.length - 2 * this.#frame, this.time + AHEAD_S)) this.#stalled = false;
    return data && !this.#stalled;
  }

  #nearEnd(video) {
    return video.currentTime >= this.length - 2 * this.#frame;
  }

  #align() {
    const time = this.time;
    for (const { video } of this.#live.slice(1)) {
      if (Math.abs(video.currentTime - time) > this.#frame / 2 && video.readyState > 0) video.currentTime = time;
    }
  }

  /** Looks once more at everything soon; runs on every frame while something moves. */
  #wake() {
    if (this.#ticking === 0) this.#ticking = requestAnimationFrame(() => this.#tick());
  }

  #tick() {
    this.#ticking = 0;
    if (this.#abort.signal.aborted) return;
    const ready = this.#ready();
    if (this.#autoplay && ready && !this.#wanted) {
      this.#autoplay = false;
      this.#wanted = true;
    }
    if (this.#wanted && this.#atEnd() && ready) {
      this.#wanted = false;
      for (const { video } of this.#live) video.pause();
    }
    for (const { video } of this.#live) {
      if (this.#wanted && ready && video.paused && !video.ended) {
        video.playbackRate = this.#rate;
        video.play().catch(() => {
          // The browser wants a gesture first: the play button is one.
          this.#wanted = false;
          this.#wake();
        });
      } else if (!ready && !video.paused) {
        video.pause();
      }
    }
    if (this.#wanted && ready) this.#follow();
    for (const track of this.#live) {
      track.say(
        track.video.readyState >= HAVE_CURRENT_DATA && !track.video.seeking
          ? ""
          : track.received > 0 ? "Waiting for pictures…" : "Opening…",
      );
    }
    this.dispatchEvent(new Event("time"));
    if (this.#wanted || this.#live.some((t) => !t.done)) this.#wake();
  }

  #follow() {
    const master = this.#master;
    for (const { video } of this.#live.slice(1)) {
      if (video.ended || video.seeking) continue;
      const drift = video.currentTime - master.currentTime;
      if (Math.abs(drift) > JUMP_S) video.currentTime = master.currentTime;
      const correct = Math.abs(drift) > DRIFT_S || (video.playbackRate !== this.#rate && Math.abs(drift) > DRIFT_S / 4);
      const rate = correct ? this.#rate * (1 - Math.sign(drift) * CATCH_UP) : this.#rate;
      if (video.playbackRate !== rate) video.playbackRate = rate;
    }
  }
}
