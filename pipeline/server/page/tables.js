// Numbers, times and CSV as people and files write them.

const MINUTE = 60e3, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** What the clock of a timestamp shows, in milliseconds; or the whole number that it is. */
export const clockOf = (stamp) => {
  if (typeof stamp === "number") return stamp;
  if (stamp.length <= 10) return Date.parse(stamp + "T00:00:00Z");
  const [fraction] = /^\.\d+/.exec(stamp.slice(19)) ?? ["."];
  return Date.parse(stamp.slice(0, 19) + "Z") + Number(`0${fraction}0`) * 1000;
};

/** How far that clock is ahead of UTC, in milliseconds; null where the timestamp has no zone. */
const offsetOf = (stamp) => {
  const found = /T[^+-]*([+-])(\d\d):(\d\d)(?::(\d\d))?/.exec(stamp);
  if (found === null) return null;
  const [, sign, hours, minutes, seconds = 0] = found;
  return Number(`${sign}1`) * (hours * HOUR + minutes * MINUTE + seconds * 1e3);
};

/** A place on the axis of time: milliseconds of UTC; without a zone of the clock, or the whole number it is. */
export const placeOf = (stamp) => clockOf(stamp) - (offsetOf(stamp) ?? 0);

/** Where the clock of a series changes: {from: place, offset}; empty without a zone. */
export const offsetsOf = (stamps) => {
  const changes = [];
  for (const stamp of stamps) {
    const offset = offsetOf(stamp);
    if (offset !== null && offset !== changes[changes.length - 1]?.offset) changes.push({ from: placeOf(stamp), offset });
  }
  return changes;
};

const offsetAt = (offsets, place) => (offsets.findLast(({ from }) => from <= place) ?? offsets[0])?.offset ?? 0;

/** The place of a timestamp on the axis of a series; where only one of them has a zone, that of the same clock. */
export const placeIn = ({ offsets }, stamp) =>
  (offsets.length > 0) === (offsetOf(stamp) !== null) ? placeOf(stamp) : clockOf(stamp) - offsetAt(offsets, clockOf(stamp));

/** A timestamp without a midnight that says nothing. */
export const timeWords = (stamp) =>
  typeof stamp === "number" ? String(stamp) : stamp.replace(/T00:00:00$/, "").replace("T", " ").replace(/:00$/, "");

/** A number with so many digits after the point; if that is left open, with four significant ones. */
export const figure = (value, decimals = null) => {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const power = Math.floor(Math.log10(size));
  if (size >= 1e9 || decimals > 8 || (size !== 0 && decimals === null && size < 1e-4)) {
    return value.toExponential(Math.max(3, Math.min(12, decimals === null ? 0 : decimals + power))).replaceAll("-", "−");
  }
  const digits = Math.max(0, decimals ?? (size === 0 ? 0 : 3 - power));
  const least = decimals === null ? 0 : digits;
  const told = value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: least });
  return told.replace("-", "−");
};

/**
 * How many digits after the point tell values apart, and the ends of intervals: some hundredths of their range, some
 * tenths of the median width. Less than none where those are tens and more.
 */
export const decimalsOf = (values, widths) => {
  const seen = values.filter((value) => value !== null);
  const low = Math.min(...seen), high = Math.max(...seen), least = 1e-6 * Math.max(Math.abs(low), Math.abs(high));
  const width = widths.toSorted((a, b) => a - b)[widths.length >> 1] ?? 0;
  const sizes = [high - low, 10 * width].filter((size) => size > least); // what is less is rounding
  return sizes.length > 0 ? 2 - Math.floor(Math.log10(Math.min(...sizes))) : 2;
};

export const listed = (words) =>
  words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words[words.length - 1]}`;

/** Round places on an axis of numbers. */
export const numberTicks = (low, high, most) => {
  const rough = (high - low) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const ticks = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at += 1) {
    const value = at * step;
    const label = decimals > 6 || Math.abs(value) >= 1e9 ? value.toExponential(1)
      : value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
    ticks.push({ at: value, label: label.replace("-", "−"), strong: false });
  }
  return ticks;
};

const EQUAL = [1e3, 5e3, 15e3, 30e3, MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR,
  DAY, 2 * DAY, 7 * DAY];
const MONTHLY = [1, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 2400];
const MONDAY = 4 * DAY; // the first one after 1970 began

const clockLabel = (date, step) => {
  const two = (number) => String(number).padStart(2, "0");
  const midnight = date.getTime() % DAY === 0;
  if (midnight || step >= DAY) return { label: `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`, strong: midnight && step < DAY };
  const seconds = step < MINUTE ? `:${two(date.getUTCSeconds())}` : "";
  return { label: `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}${seconds}`, strong: false };
};

/** Places on an axis of time where a clock or a calendar turns over: that of the series, if it tells its offsets. */
export const timeTicks = (low, high, most, offsets = []) => {
  const before = offsetAt(offsets, low);
  return clockTicks(low + before, high + offsetAt(offsets, high), most)
    .map((tick) => ({ ...tick, clock: tick.at, at: tick.at - offsetAt(offsets, tick.at - before) }))
    .filter(({ clock, at }) => at + offsetAt(offsets, at) === clock) // the others are in an hour that the clock skips
    .map(({ clock, ...tick }) => tick);
};

const clockTicks = (low, high, most) => {
  const rough = (high - low) / Math.max(1, most);
  const step = EQUAL.find((size) => size >= rough);
  const ticks = [];
  if (step !== undefined) {
    const origin = step === 7 * DAY ? MONDAY : 0;
    for (let at = Math.ceil((low - origin) / step) * step + origin; at <= high; at += step) {
      ticks.push({ at, ...clockLabel(new Date(at), step) });
    }
    return ticks;
  }
  const months = MONTHLY.find((count) => count * 30.4 * DAY >= rough) ?? MONTHLY[MONTHLY.length - 1];
  const first = new Date(low);
  const begin = Math.floor((first.getUTCFullYear() * 12 + first.getUTCMonth()) / months) * months;
  for (let month = begin; ; month += months) {
    const at = Date.UTC(Math.floor(month / 12), month % 12, 1);
    if (at > high) return ticks;
    if (at < low) continue;
    const january = month % 12 === 0;
    ticks.push({ at, label: january ? String(month / 12) : MONTHS[month % 12], strong: january && months < 12 });
  }
};

const WITH_COMMA = /^[+-]?\d*,\d+(e[+-]?\d+)?$/i;
const WITH_POINT = /^[+-]?\d*\.\d+(e[+-]?\d+)?$/i;
const THOUSANDS = /^[+-]?[1-9]\d{0,2},\d{3}$/;

/** How a CSV is written, judged by its first bytes; its delimiter is the mark that its header has most of. */
export const dialectOf = (bytes) => {
  const order = { "255,254": "utf-16le", "254,255": "utf-16be" }[String(new Uint8Array(bytes.slice(0, 2)))];
  const lines = new TextDecoder(order).decode(bytes).split(/\r?\n/).filter((line) => line !== "");
  const header = lines[0] ?? "";
  const delimiter = [",", ";", "\t", "|"].reduce((best, mark) =>
    header.split(mark).length > header.split(best).length ? mark : best);
  const fields = lines.slice(1).join("\n").match(new RegExp(`"[^"]*"|[^"\n${delimiter}]+`, "g")) ?? [];
  const cells = fields.map((field) => field.replaceAll('"', "").trim());
  // Between quotes in a file of commas, 1,234 may be either.
  const comma = cells.some((text) => WITH_COMMA.test(text) && (delimiter !== "," || !THOUSANDS.test(text)));
  const point = cells.some((text) => WITH_POINT.test(text));
  return { delimiter, decimal: comma && !point ? "," : ".", encoding: order === undefined ? "utf-8" : "utf-16" };
};

const cell = (value) => {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

export const csvOf = (names, rows) => [names, ...rows].map((row) => row.map(cell).join(",") + "\n").join("");
