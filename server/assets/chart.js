// Speed and acceleration over the clip's time, with the event marked and a playhead to drag.
// SVG, drawn again whenever the width changes; colours come from the style sheet.

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 44;
const RIGHT = 10;
const SPEED_HEIGHT = 96;
const ACCELERATION_HEIGHT = 112;
const GAP = 38;
const TOP = 20;
const BOTTOM = 22;
const KMH = 3.6;
/** Beyond this distance in time a value says nothing about the moment, seconds. */
const STALE_S = 1;

export class SignalChart {
  #box;
  #options;
  #signals = null;
  #time = 0;
  #playhead = null;
  #svg = null;
  #values = {};
  #width = 0;

  constructor(box, options) {
    this.#box = box;
    this.#options = options;
    new ResizeObserver(() => {
      const width = Math.floor(this.#box.clientWidth);
      if (this.#signals && width !== this.#width) this.#draw();
    }).observe(box);
  }

  /** Words instead of a drawing. */
  say(text) {
    const p = document.createElement("p");
    p.className = "muted";
    p.textContent = text;
    this.#box.replaceChildren(p);
  }

  /** `{speed: [[ms, mps]], acceleration: [[ms, longitudinal g, lateral g]]}`. */
  setSignals(signals) {
    const inClip = ([ms]) => ms >= 0 && ms <= this.#options.length * 1000;
    const speed = (signals.speed ?? []).filter(inClip).map(([ms, mps]) => [ms / 1000, mps * KMH]);
    const acceleration = (signals.acceleration ?? []).filter(inClip);
    this.#signals = {
      speed,
      long: acceleration.map(([ms, g]) => [ms / 1000, g]),
      lat: acceleration.map(([ms, , g]) => [ms / 1000, g]),
    };
    if (speed.length === 0 && acceleration.length === 0) {
      this.#signals = null;
      this.say("The unit recorded no speed and no acceleration with this clip.");
      return;
    }
    this.#legend();
    this.#draw();
  }

  setTime(s) {
    this.#time = s;
    this.#movePlayhead();
  }

  #legend() {
    const rows = [
      ["speed", "Speed", "s-speed"],
      ["long", "Forwards (braking is below 0)", "s-long"],
      ["lat", "Sideways (left is above 0)", "s-lat"],
    ].filter(([name]) => this.#signals[name].length > 0);
    this.#options.legend.replaceChildren(
      ...rows.map(([name, text, className]) => {
        const li = document.createElement("li");
        const svg = make("svg", { viewBox: "0 0 22 8", "aria-hidden": "true" });
        svg.append(make("path", { d: "M1 4H21", class: className }));
        const value = document.createElement("b");
        this.#values[name] = value;
        li.append(svg, text, value);
        return li;
      }),
    );
  }

  #draw() {
    const { length, event, kind, thresholdG, limitKmh } = this.#options;
    const width = Math.floor(this.#box.clientWidth - padding(this.#box));
    this.#width = Math.floor(this.#box.clientWidth);
    if (width < 80) return;
    const { speed, long, lat } = this.#signals;
    const height = TOP + SPEED_HEIGHT + GAP + ACCELERATION_HEIGHT + BOTTOM;
    const x = (s) => LEFT + (s / length) * (width - LEFT - RIGHT);
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img" });
    svg.append(labelled("title", this.#summary()));

    // The event, behind everything.
    const bandLeft = x(event[0]);
    const bandWidth = Math.max(3, x(event[1]) - bandLeft);
    svg.append(make("rect", { class: "band", x: bandLeft, y: TOP - 4, width: bandWidth, height: height - TOP - BOTTOM + 8 }));
    const middle = bandLeft + bandWidth / 2;
    const anchor = middle < LEFT + 30 ? "start" : middle > width - 40 ? "end" : "middle";
    svg.append(label("event", middle, TOP - 9, anchor, "band-label"));

    const speedTop = Math.max(10, ...speed.map(([, v]) => v), limitKmh ?? 0);
    const speedScale = niceScale(0, speedTop, 3);
    const ySpeed = linear(speedScale, TOP, TOP + SPEED_HEIGHT);
    this.#axes(svg, speedScale, ySpeed, width, "km/h");
    const most = Math.max(0.2, thresholdG ?? 0, ...long.map(([, v]) => Math.abs(v)), ...lat.map(([, v]) => Math.abs(v)));
    const gScale = niceScale(-most, most, 5);
    const gTop = TOP + SPEED_HEIGHT + GAP;
    const yG = linear(gScale, gTop, gTop + ACCELERATION_HEIGHT);
    this.#axes(svg, gScale, yG, width, "g");

    // Seconds under everything.
    const step = [1, 2, 5, 10, 15, 30, 60].find((s) => (length / s) * 46 < width - LEFT - RIGHT) ?? 120;
    for (let s = 0; s <= length + 1e-6; s += step) {
      svg.append(label(`${s} s`, x(s), height - 5, s === 0 ? "start" : "middle"));
    }

    const limits = [];
    if (kind === "speeding" && limitKmh) limits.push([ySpeed(limitKmh), `limit ${limitKmh.toFixed(0)}`]);
    if (thresholdG) {
      if (kind !== "harsh_acceleration") limits.push([yG(-thresholdG), `−${thresholdG.toFixed(2)}`]);
      if (kind !== "harsh_braking") limits.push([yG(thresholdG), thresholdG.toFixed(2)]);
    }
    for (const [y, text] of limits) {
      svg.append(make("line", { class: "limit", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }));
      svg.append(label(text, width - RIGHT, y - 4, "end", "limit-label"));
    }
    svg.append(make("path", { class: "s-lat", d: path(lat, x, yG) }));
    svg.append(make("path", { class: "s-long", d: path(long, x, yG) }));
    svg.append(make("path", { class: "s-speed", d: path(speed, x, ySpeed) }));

    const head = make("g", { class: "playhead" });
    head.append(make("line", { y1: TOP - 4, y2: height - BOTTOM + 4 }));
    head.append(make("rect", { class: "grip", x: -5, y: height - BOTTOM - 2, width: 10, height: 10, rx: 3 }));
    svg.append(head);
    svg.append(make("rect", { class: "hit", x: LEFT, y: 0, width: width - LEFT - RIGHT, height }));
    this.#playhead = { head, x };
    this.#drag(svg, width);
    this.#svg = svg;
    this.#box.replaceChildren(svg);
    this.#movePlayhead();
  }

  #axes(svg, scale, y, width, unit) {
    for (const v of scale.ticks) {
      const at = y(v);
      svg.append(make("line", { class: v === 0 ? "zero" : "grid", x1: LEFT, x2: width - RIGHT, y1: at, y2: at }));
      svg.append(label(tick(v), LEFT - 8, at + 4, "end"));
    }
    svg.append(label(unit, LEFT - 8, y(scale.max) - 9, "end"));
  }

  #drag(svg, width) {
    const { length, onSeek } = this.#options;
    const seek = (pointer) => {
      const box = svg.getBoundingClientRect();
      const at = ((pointer.clientX - box.left) / box.width) * width;
      onSeek(Math.max(0, Math.min(length, ((at - LEFT) / (width - LEFT - RIGHT)) * length)));
    };
    svg.addEventListener("pointerdown", (pointer) => {
      svg.setPointerCapture(pointer.pointerId);
      seek(pointer);
    });
    svg.addEventListener("pointermove", (pointer) => {
      if (svg.hasPointerCapture(pointer.pointerId)) seek(pointer);
    });
  }

  #movePlayhead() {
    if (!this.#playhead) return;
    this.#playhead.head.setAttribute("transform", `translate(${this.#playhead.x(this.#time).toFixed(1)} 0)`);
    for (const [name, value] of Object.entries(this.#values)) {
      const v = nearest(this.#signals[name], this.#time);
      value.textContent = v === null ? "unknown" : name === "speed" ? `${v.toFixed(0)} km/h` : `${signed(v)} g`;
    }
  }

  #summary() {
    const { speed, long, lat } = this.#signals;
    const [from, to] = this.#options.event;
    const parts = [`The event lies between ${from.toFixed(1)} and ${to.toFixed(1)} seconds.`];
    if (speed.length > 0) {
      parts.push(`Speed from ${speed[0][1].toFixed(0)} to ${speed[speed.length - 1][1].toFixed(0)} km/h.`);
    }
    if (long.length > 0) parts.push(`Strongest braking ${signed(Math.min(...long.map(([, v]) => v)))} g.`);
    if (lat.length > 0) parts.push(`Strongest cornering ${Math.max(...lat.map(([, v]) => Math.abs(v))).toFixed(2)} g.`);
    return parts.join(" ");
  }
}

/** A round scale around low..high with about `count` steps. */
export function niceScale(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? 10 * power;
  const min = Math.floor(low / step + 1e-9) * step;
  const max = Math.ceil(high / step - 1e-9) * step;
  const ticks = [];
  for (let i = 0; min + i * step <= max + step / 2; i += 1) ticks.push(Number((min + i * step).toPrecision(6)));
  return { min, max, ticks };
}

/** The value nearest in time, or null where there is none within a second. */
export function nearest(points, s) {
  if (points.length === 0) return null;
  let [low, high] = [0, points.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < s) low = middle + 1;
    else high = middle;
  }
  const before = points[Math.max(0, low - 1)];
  const best = Math.abs(before[0] - s) < Math.abs(points[low][0] - s) ? before : points[low];
  return Math.abs(best[0] - s) <= STALE_S ? best[1] : null;
}

/** A line through the points, broken where nothing was measured for a second. */
function path(points, x, y) {
  let last = -Infinity;
  return points
    .map(([s, v]) => {
      const command = s - last > STALE_S ? "M" : "L";
      last = s;
      return `${command}${x(s).toFixed(1)} ${y(v).toFixed(1)}`;
    })
    .join("");
}

function linear({ min, max }, top, bottom) {
  return (v) => bottom - ((v - min) / (max - min)) * (bottom - top);
}

function signed(v) {
  const text = Math.abs(v).toFixed(2);
  return v <= -0.005 ? `−${text}` : text;
}

function tick(v) {
  return String(v).replace("-", "−");
}

function padding(box) {
  const style = getComputedStyle(box);
  return Number.parseFloat(style.paddingLeft) + Number.parseFloat(style.paddingRight);
}

function make(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function labelled(name, text) {
  const made = make(name, {});
  made.textContent = text;
  return made;
}

function label(text, x, y, anchor, className) {
  const made = make("text", { x, y, "text-anchor": anchor });
  if (className) made.setAttribute("class", className);
  made.textContent = text;
  return made;
}
