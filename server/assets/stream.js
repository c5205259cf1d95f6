// Feeds one video element with a fragmented MP4 that the server makes while it sends it.
//
// MediaSource where there is one, ManagedMediaSource where only that exists (phones), and where
// neither plays this codec, the whole recording as one Blob. Bytes stay in memory and go when
// the page goes.

import { proofHeader } from "./binding.js";

/** A stream that ended badly, with words for the person. */
export class StreamError extends Error {}

/**
 * Streams `url` into `video`. Resolves when all bytes have been handed over.
 * `onBytes(n)` is called with the number of bytes received so far.
 */
export async function stream({ url, codec, video, length, signal, onBytes }) {
  const source = mediaSourceFor(codec);
  const attached = source ? attach(source, video, codec, length) : null;
  const body = await request(url, signal);
  const sink = attached ? await attached : blobSink(video, codec);
  const reader = body.getReader();
  let received = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      received += value.byteLength;
      onBytes(received);
      await sink.append(value);
    }
  } catch (error) {
    if (signal.aborted) throw error;
    throw error instanceof StreamError ? error : new StreamError("The connection broke off in the middle of the recording.");
  }
  if (received === 0) throw new StreamError("The server sent no picture for this camera.");
  await sink.end();
}

function mediaSourceFor(codec) {
  for (const Kind of [globalThis.MediaSource, globalThis.ManagedMediaSource]) {
    if (Kind?.isTypeSupported(codec)) return new Kind();
  }
  return null;
}

async function request(url, signal) {
  let answer;
  try {
    const headers = await proofHeader("GET", url);
    answer = await fetch(url, { credentials: "same-origin", headers, signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new StreamError("The server cannot be reached.");
  }
  if (answer.ok && answer.body) return answer.body;
  let words = null;
  try {
    words = (await answer.json()).error;
  } catch {
    // Not JSON: a proxy answered.
  }
  if (typeof words === "string") throw new StreamError(words);
  throw new StreamError(
    answer.status === 503
      ? "The server shows as many recordings as it can at this moment. Try again in a minute."
      : answer.status === 404 || answer.status === 401
        ? "This view has ended. Reload the page to open a new one."
        : `The server did not send this camera (${answer.status}).`,
  );
}

async function attach(source, video, codec, length) {
  const url = URL.createObjectURL(source);
  video.src = url;
  if (source.readyState !== "open") await once(source, "sourceopen");
  URL.revokeObjectURL(url);
  const buffer = source.addSourceBuffer(codec);
  source.duration = length;
  const idle = () => (buffer.updating ? once(buffer, "updateend") : Promise.resolve());
  return {
    async append(bytes) {
      await idle();
      if (source.readyState !== "open") throw new StreamError("The browser stopped playing this camera.");
      try {
        buffer.appendBuffer(bytes);
      } catch (error) {
        throw new StreamError(
          error.name === "QuotaExceededError"
            ? "The recording is longer than this browser can hold."
            : "The browser cannot play this recording.",
        );
      }
      await idle();
      if (video.error) throw new StreamError("The browser cannot play this recording.");
    },
    async end() {
      await idle();
      if (source.readyState === "open") source.endOfStream();
    },
  };
}

function blobSink(video, codec) {
  const parts = [];
  return {
    async append(bytes) {
      parts.push(bytes);
    },
    async end() {
      const url = URL.createObjectURL(new Blob(parts, { type: codec.split(";")[0] }));
      video.addEventListener("loadeddata", () => URL.revokeObjectURL(url), { once: true });
      video.src = url;
    },
  };
}

function once(target, name) {
  return new Promise((resolve) => target.addEventListener(name, resolve, { once: true }));
}
