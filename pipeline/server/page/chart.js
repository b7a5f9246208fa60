// A chart of one history and the forecasts of it, in SVG.

import { numberTicks, timeTicks } from "./tables.js";

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { top: 22, right: 10, bottom: 26 };

const put = (parent, name, attributes = {}, text = "") => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== "") element.textContent = text;
  parent.append(element);
  return element;
};

const firstAt = (places, place) => {
  let low = 0, high = places.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (places[middle] < place) low = middle + 1; else high = middle;
  }
  return low;
};

/** The rows that a line needs: where several share a pixel, the lowest and the highest of them, and gaps. */
export const thinned = (places, values, from, to, columns) => {
  const rows = [];
  const per = (to - from) / (2 * Math.max(1, columns));
  if (per <= 1) {
    for (let row = from; row < to; row += 1) rows.push(row);
    return rows;
  }
  for (let start = from; start < to; start += 2 * per) {
    let low = -1, high = -1, gap = -1;
    for (let row = Math.floor(start); row < Math.min(to, Math.floor(start + 2 * per)); row += 1) {
      if (values[row] === null) { gap = row; continue; }
      if (low < 0 || values[row] < values[low]) low = row;
      if (high < 0 || values[row] > values[high]) high = row;
    }
    if (low < 0) { if (gap >= 0) rows.push(gap); continue; }
    rows.push(...(low === high ? [low] : [Math.min(low, high), Math.max(low, high)]));
  }
  return rows;
};

const line = (rows, x, y) => {
  let path = "", pen = "M";
  for (const row of rows) {
    const height = y(row);
    if (height === null) { pen = "M"; continue; }
    path += `${pen}${x(row).toFixed(1)} ${height.toFixed(1)}`;
    pen = "L";
  }
  return path;
};

export class Chart {
  /**
   * @param host the element that it fills.
   * @param onRead is told which stop is read, or null; and whether by keyboard.
   */
  constructor(host, onRead) {
    this.host = host;
    this.onRead = onRead;
    this.svg = put(host, "svg", { "aria-hidden": "true" });
    this.scene = null;
    this.reading = null;
    new ResizeObserver(() => this.draw()).observe(host);
    host.addEventListener("pointermove", (event) => this.readAt(event.clientX));
    host.addEventListener("pointerdown", (event) => this.readAt(event.clientX));
    host.addEventListener("pointerleave", () => this.read(null));
    host.addEventListener("blur", () => this.read(null));
    host.addEventListener("keydown", (event) => this.readByKey(event));
  }

  /**
   * @param scene places and values of the history, `cutoff` (its row), the view [from, to], whether places are
   *   whole numbers, the offsets of its clock, forecasts with places, median, bands and tone, `until` when the last of them goes, and stops: the sorted places that can be read,
   *   each with marks {value, tone}.
   */
  show(scene) {
    this.scene = scene;
    if (this.reading !== null && this.reading >= scene.stops.length) this.reading = null;
    this.draw();
  }

  draw() {
    const { scene, svg } = this, { width, height } = this.host.getBoundingClientRect();
    if (scene === null || width === 0) return;
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const [from, to] = scene.view;
    const begin = Math.max(0, firstAt(scene.places, from) - 1);
    const end = Math.min(scene.places.length, firstAt(scene.places, to) + 1);
    const [low, high] = this.range(begin, end);
    const rows = numberTicks(low, high, height / 58);
    const left = 14 + 7.2 * Math.max(2, ...rows.map((tick) => tick.label.length));
    const x = (place) => left + ((place - from) / (to - from || 1)) * (width - left - MARGIN.right);
    const y = (value) => height - MARGIN.bottom - ((value - low) / (high - low)) * (height - MARGIN.top - MARGIN.bottom);
    this.x = x;

    const bottom = height - MARGIN.bottom, now = x(scene.places[scene.cutoff]);
    const start = Math.max(now, left), right = Math.min(x(scene.until), width - MARGIN.right);
    const top = MARGIN.top - 8;
    if (right > start) put(svg, "rect", { class: "ahead", x: start, y: top, width: right - start, height: bottom - top });
    for (const tick of rows) {
      put(svg, "line", { class: "grid", x1: left, x2: width - MARGIN.right, y1: y(tick.at), y2: y(tick.at) });
      put(svg, "text", { class: "tick", x: left - 8, y: y(tick.at) + 4, "text-anchor": "end" }, tick.label);
    }
    const most = (width - left) / (scene.whole ? 80 : 58);
    for (const tick of (scene.whole ? numberTicks : timeTicks)(from, to, most, scene.offsets)) {
      const at = x(tick.at), half = tick.label.length * 3.6;
      if (at - half < left - 12 || at + half > width) continue;
      put(svg, "line", { class: "grid", x1: at, x2: at, y1: bottom, y2: bottom + 5 });
      put(svg, "text", { class: tick.strong ? "tick strong" : "tick", x: at, y: bottom + 19, "text-anchor": "middle" }, tick.label);
    }
    if (now >= left) put(svg, "line", { class: "now", x1: now, x2: now, y1: MARGIN.top - 8, y2: bottom });
    const clip = put(svg, "clipPath", { id: "inside" });
    put(clip, "rect", { x: left - 2, y: 0, width: Math.max(0, width - left - MARGIN.right + 6), height });
    const inside = put(svg, "g", { "clip-path": "url(#inside)" });
    for (const forecast of scene.forecasts) this.drawBands(inside, forecast, x, y);
    const px = (row) => x(scene.places[row]);
    const py = (row) => (scene.values[row] === null ? null : y(scene.values[row]));
    const cut = scene.cutoff + 1;
    const columns = width - left;
    put(inside, "path", { class: "seen", d: line(thinned(scene.places, scene.values, begin, Math.min(end, cut), columns), px, py) });
    for (const forecast of scene.forecasts) this.drawMedian(inside, forecast, x, y);
    if (end > cut) {
      const later = thinned(scene.places, scene.values, Math.max(begin, cut - 1), end, columns);
      put(inside, "path", { class: "later", d: line(later, px, py) });
    }
    if (end - begin < columns / 9) {
      for (let row = begin; row < end; row += 1) {
        if (scene.values[row] !== null) put(inside, "circle", { class: "point", cx: px(row), cy: py(row), r: 1.9, opacity: row < cut ? 1 : 0.75 });
      }
    }
    this.cursor = put(inside, "g");
    this.y = y;
    this.bottom = bottom;
    this.drawCursor();
  }

  range(begin, end) {
    let low = Infinity, high = -Infinity;
    const stretch = (value) => {
      if (value === null || value === undefined) return;
      if (value < low) low = value;
      if (value > high) high = value;
    };
    for (let row = begin; row < end; row += 1) stretch(this.scene.values[row]);
    for (const forecast of this.scene.forecasts) {
      forecast.median.forEach(stretch);
      for (const band of forecast.bands) { band.lo.forEach(stretch); band.hi.forEach(stretch); }
    }
    if (low > high) return [0, 1];
    const size = Math.max(Math.abs(low), Math.abs(high)), spread = high - low;
    const pad = (spread > 1e-12 * size ? spread * 0.06 : 0) || size * 0.05 || 1; // what is less is rounding
    return [low - pad, high + pad];
  }

  drawBands(parent, { places, bands, tone, stale }, x, y) {
    for (const { lo, hi } of bands) {
      const upper = hi.map((value, step) => `${x(places[step]).toFixed(1)} ${y(value).toFixed(1)}`);
      const lower = lo.map((value, step) => `${x(places[step]).toFixed(1)} ${y(value).toFixed(1)}`).reverse();
      put(parent, "path", { class: `band tone-${tone}${stale ? " stale" : ""}`, d: `M${[...upper, ...lower].join("L")}Z` });
    }
  }

  drawMedian(parent, { places, median, tone, from, stale }, x, y) {
    const old = stale ? " stale" : "";
    if (from !== null) {
      put(parent, "path", { class: `join tone-${tone}${old}`, d: `M${x(from[0])} ${y(from[1])}L${x(places[0])} ${y(median[0])}` });
    }
    const rows = median.map((_, step) => step);
    put(parent, "path", { class: `median tone-${tone}${old}`, d: line(rows, (step) => x(places[step]), (step) => y(median[step])) });
    if (median.length === 1) put(parent, "circle", { class: `mark tone-${tone}${old}`, cx: x(places[0]), cy: y(median[0]), r: 4 });
  }

  drawCursor() {
    if (this.cursor === undefined) return;
    this.cursor.replaceChildren();
    const stop = this.reading === null ? null : this.scene.stops[this.reading];
    if (!stop) return;
    const at = this.x(stop.place);
    put(this.cursor, "line", { class: "cursor", x1: at, x2: at, y1: MARGIN.top - 8, y2: this.bottom });
    for (const { value, tone } of stop.marks) {
      put(this.cursor, "circle", { class: `mark tone-${tone}`, cx: at, cy: this.y(value), r: 4.5 });
    }
  }

  read(stop, byKey = false) {
    if (stop === this.reading) return;
    this.reading = stop;
    this.drawCursor();
    this.onRead(stop, byKey);
  }

  readAt(clientX) {
    if (this.scene === null || this.scene.stops.length === 0) return;
    const at = clientX - this.host.getBoundingClientRect().left;
    let best = 0;
    this.scene.stops.forEach((stop, number) => {
      if (Math.abs(this.x(stop.place) - at) < Math.abs(this.x(this.scene.stops[best].place) - at)) best = number;
    });
    this.read(best);
  }

  readByKey(event) {
    if (this.scene === null || this.scene.stops.length === 0) return;
    const last = this.scene.stops.length - 1;
    const first = this.scene.stops.findIndex((stop) => stop.place > this.scene.places[this.scene.cutoff]);
    const start = first < 0 ? last : first;
    const moves = {
      ArrowRight: () => (this.reading === null ? start : Math.min(last, this.reading + 1)),
      ArrowLeft: () => (this.reading === null ? start : Math.max(0, this.reading - 1)),
      Home: () => 0,
      End: () => last,
      Escape: () => null,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    this.read(moves[event.key](), true);
  }
}
