// The page: what is chosen on it, what the server answers, and what is shown of that.

import { Chart } from "./chart.js";
import { clockOf, csvOf, decimalsOf, dialectOf, figure, listed, offsetsOf, placeIn, placeOf, timeWords } from "./tables.js";

const at = (id) => document.getElementById(id);
const CELLS = ["lstm", "gru", "rnn"];
const OTHERS = ["other-1", "other-2", "other-3"];
const STOPS = 1500; // steps that the chart lets read at a time
const SAMPLE = 5; // lines
const JUDGED = 1e6; // bytes of a CSV file by which its marks are told

const make = (name, attributes = {}, ...inside) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...inside);
  return element;
};

const state = {
  models: [], // {name, version, cell, default, schema, tone, columns: text that models which read alike share}
  ticked: new Set(),
  source: null, // {label, blob, name, made: null, or the columns that it is made up for}
  reads: new Map(), // columns -> promise of series by name
  series: null, // the one that is shown, as the first ticked model reads it
  cutoff: 0, // its row
  level: "80",
  span: "near",
  decimals: 2, // of the values that are shown
  forecasts: new Map(), // name of model -> what is shown of it: {row, places, ds, median, intervals, key}
  failed: new Map(), // name of model -> key of what it gave no forecast of
  problems: new Map(), // where -> words
};
let generation = 0; // of the source; what comes late for another one is dropped
let sources = 0; // that were opened so far
let apiKey = null; // of this page alone

/* ---- asking ---------------------------------------------------------------------------------------------------- */

class Problem extends Error {}
class Outdated extends Problem {} // the server has no such model any more, or another version of it

const problemOf = async (response) => {
  try {
    const { error } = await response.json();
    return new (error.code === "model-unknown" ? Outdated : Problem)(error.message ?? String(error));
  } catch {
    return new Problem(`the server answers ${response.status} ${response.statusText}`);
  }
};

let asked = null; // the promise of a key, while its dialog is open

const askKey = (again) => {
  if (asked !== null) return asked;
  at("key-words").textContent = again
    ? "The server does not accept that key. Another?"
    : "It stays in this page’s memory until the page is closed.";
  const dialog = at("key-dialog");
  asked = new Promise((resolve, reject) => {
    dialog.onclose = () => {
      const given = at("key").value.trim();
      at("key").value = "";
      asked = null;
      if (dialog.returnValue !== "given" || given === "") reject(new Problem("an API key is needed; open a file or the example to give one"));
      else { apiKey = given; resolve(); }
    };
  });
  dialog.returnValue = "";
  dialog.showModal();
  return asked;
};
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  at("key-dialog").close("given");
});

const ask = async (path, options = {}) => {
  for (;;) {
    const used = apiKey;
    // A header holds bytes: those of the key in UTF-8, as a terminal would send them.
    const bytes = used === null ? [] : new TextEncoder().encode(used);
    const headers = used === null ? {} : { "X-API-Key": String.fromCharCode(...bytes) };
    let response;
    try {
      response = await fetch(path, { ...options, headers: { ...headers, ...options.headers } });
    } catch {
      throw new Problem("the server cannot be reached; is it still running?");
    }
    if (response.status === 401) {
      if (used === apiKey) await askKey(used !== null);
      continue;
    }
    if (!response.ok) throw await problemOf(response);
    return response;
  }
};

const modelPath = (name, what) => `v1/models/${encodeURIComponent(name)}/${what}`;

/* ---- problems -------------------------------------------------------------------------------------------------- */

const tell = (where, error) => {
  if (error === null) state.problems.delete(where);
  else if (error instanceof Problem) state.problems.set(where, error.message);
  else { state.problems.set(where, "the page made a mistake; reload it"); console.error(error); }
  const all = [...new Set(state.problems.values())];
  at("problem").textContent = all.join(" · ");
  at("problem").hidden = all.length === 0;
};

/* ---- models ---------------------------------------------------------------------------------------------------- */

const tickedModels = () => state.models.filter((model) => state.ticked.has(model.name));
const leader = () => tickedModels()[0] ?? state.models[0];
const shownModels = () => (state.ticked.size > 0 ? tickedModels() : [leader()]);
const levelsOf = (models) => models[0].schema.levels.filter((level) => models.every((model) => model.schema.levels.includes(level)));

const loadModels = async () => {
  const { models } = await (await ask("v1/models")).json();
  const schemas = await Promise.all(models.map(async ({ name }) => (await ask(modelPath(name, "schema"))).json()));
  const used = new Set();
  let others = 0;
  state.models = models.map((model, place) => {
    const schema = schemas[place];
    const tone = CELLS.includes(model.cell) && !used.has(model.cell) ? model.cell : OTHERS[others++ % OTHERS.length];
    used.add(tone);
    return { ...model, schema, tone, columns: JSON.stringify(schema.columns) };
  });
  state.ticked = new Set(state.models.map(({ name }) => name).filter((name) => state.ticked.has(name)));
  if (state.ticked.size === 0) tickFirst();
  showModels();
  showLevels();
  showAbout();
};

const tickFirst = () => {
  const first = state.models.find((model) => model.default) ?? state.models[0];
  const alike = state.models.filter((model) => model.columns === first.columns && model.schema.horizon === first.schema.horizon);
  // Side by side from the start: the default model, and one of each other cell that reads the same tables.
  for (const model of [first, ...alike]) {
    if (![...state.ticked].some((name) => state.models.find((one) => one.name === name).cell === model.cell)) state.ticked.add(model.name);
  }
};

/** Does its work with the models that the server has now, and tells which are others than the page knew. */
const renew = async (work) => {
  const before = new Map(state.models.map(({ name, version }) => [name, version]));
  await loadModels();
  state.reads = new Map();
  state.forecasts.clear();
  state.failed.clear();
  examples.clear();
  try { await work(); } finally { refresh(); }
  const others = state.models.filter(({ name, version }) => before.has(name) && before.get(name) !== version);
  const told = others.map((model) => `${model.name} is now version ${model.version} (${cellWords(model)})`);
  if (told.length > 0) tell("models", new Problem(listed(told)));
};

const showModels = () => {
  const chips = state.models.map((model) => {
    const box = make("input", { type: "checkbox", value: model.name });
    box.checked = state.ticked.has(model.name);
    box.addEventListener("change", () => tick(box));
    const cell = model.name.toLowerCase() === model.cell ? cellWords(model) : `${model.name} (${cellWords(model)})`;
    return make("label", { class: `chip tone-${model.tone}` }, box, make("span", { class: "dot" }), make("span", { class: "name" }, cell));
  });
  at("models").replaceChildren(...chips);
};

const cellWords = ({ cell }) => (CELLS.includes(cell) ? cell.toUpperCase() : cell);
const titleOf = (model) => (model.name.toLowerCase() === model.cell ? cellWords(model) : model.name);

const tick = async (box) => {
  document.body.dataset.drawn = "no";
  if (box.checked) state.ticked.add(box.value); else state.ticked.delete(box.value);
  state.forecasts.delete(box.value);
  tell(box.value, null);
  if (state.ticked.size > 0) await reread();
  else refresh();
};

const showAbout = () => {
  const models = state.models;
  const range = ({ training_range: known }) => (known ? `${timeWords(cleanStamp(known.start))} to ${timeWords(cleanStamp(known.end))}` : "not told");
  const columns = ({ columns: own }) => listed([own.id_col, ...(own.time_col ?? ["ds"]), ...(own.target_col ?? ["y"])].filter(Boolean));
  const covariates = ({ columns: own }) => listed([...own.past_covariates, ...own.future_covariates.map((name) => `${name} (known ahead)`),
    ...own.static_covariates.categorical, ...own.static_covariates.numeric]) || "none";
  const rows = {
    Cell: cellWords,
    Version: (model) => model.version,
    "Forecasts": (model) => `${model.schema.horizon} steps, from the last ${model.schema.context_length}`,
    "Step": (model) => String(model.schema.columns.freq),
    "Season": (model) => (model.schema.season_length > 1 ? `${model.schema.season_length} steps` : "none"),
    "Trained on": (model) => range(model.schema),
    "Evaluated": (model) => (model.schema.evaluated ? "yes, on data it has not seen" : "no: it was trained on all the data"),
    "Intervals": (model) => `${[...model.schema.levels].sort((a, b) => a - b).join(", ")} %${model.schema.calibrated ? ", calibrated" : ", not calibrated"}`,
    "Columns": (model) => columns(model.schema),
    "Covariates": (model) => covariates(model.schema),
  };
  const head = make("tr", {}, make("td"), ...models.map((model) =>
    make("th", { scope: "col" }, make("span", { class: `swatch tone-${model.tone}` }), titleOf(model))));
  const body = Object.entries(rows).map(([name, of]) =>
    make("tr", {}, make("th", { scope: "row" }, name), ...models.map((model) => make("td", {}, of(model)))));
  at("about").replaceChildren(make("thead", {}, head), make("tbody", {}, ...body));
};

const cleanStamp = (stamp) => (typeof stamp === "number" ? stamp : String(stamp).slice(0, 19));
/** When a model's training data ends, as its series tell the time. */
const learntUntil = ({ columns, training_range: known }) =>
  (typeof columns.freq === "number" ? Number(known.end) : cleanStamp(known.end));

const showLevels = () => {
  const levels = levelsOf(shownModels());
  if (!levels.includes(state.level) && state.level !== "none") state.level = levels.includes("80") ? "80" : levels[0] ?? "none";
  const options = [...levels].sort((a, b) => a - b).map((level) => make("option", { value: level }, `${level} %`));
  at("level").replaceChildren(...options, make("option", { value: "none" }, "none"));
  at("level").value = state.level;
};

const showNeeds = async () => {
  const { schema, name } = leader();
  const own = schema.columns;
  const code = (text) => make("code", {}, text);
  const codes = (names) => names.flatMap((one, place) => (place ? [", ", code(one)] : [code(one)]));
  const parts = own.id_col ? ["the series’ name in ", code(own.id_col), ", "] : [];
  parts.push("the time in ", ...codes(own.time_col ?? ["ds"]));
  parts.push(" (a step is ", code(String(own.freq)), "), and the values in ");
  parts.push(...codes(own.target_col ?? ["y"]));
  const beside = [...own.past_covariates, ...own.future_covariates, ...own.static_covariates.categorical, ...own.static_covariates.numeric];
  if (beside.length > 0) parts.push("; beside them ", ...codes(beside));
  parts.push(". Or call them ", code("unique_id"), ", ", code("ds"), " and ", code("y"), ".");
  const ahead = own.future_covariates;
  if (ahead.length > 0) {
    parts.push(" To forecast beyond the last value, put rows with ", ...codes(ahead),
      ` and no value after it, one for each of the ${schema.horizon} steps ahead.`);
  }
  at("needs").replaceChildren(`${titleOf(leader())} reads `, ...parts);
  const text = await exampleOf(name);
  at("sample").textContent = `${text.split("\n").slice(0, SAMPLE).join("\n")}\n…`;
};

const examples = new Map();
const exampleOf = async (name) => {
  if (!examples.has(name)) examples.set(name, await (await ask(modelPath(name, "example"))).text());
  return examples.get(name);
};

/* ---- the source and its series --------------------------------------------------------------------------------- */

const openFile = async (file) => open({ label: file.name, name: file.name, blob: file, made: null });

const openExample = async () => {
  const { name, columns } = leader();
  const text = await exampleOf(name);
  await open({ label: "example", name: "example.csv", blob: new Blob([text], { type: "text/csv" }), made: columns });
};

const open = async (source) => {
  const before = { source: state.source, reads: state.reads };
  state.source = source;
  state.reads = new Map();
  const earlier = generation, mine = ++sources;
  generation = mine;
  at("source").textContent = `Reading ${source.label} …`;
  try {
    await readBy(leader());
  } catch (error) {
    if (mine !== generation) return;
    Object.assign(state, before); // the chart stays as it is
    generation = earlier;
    throw error;
  }
  if (mine !== generation) return;
  state.forecasts.clear();
  state.problems.clear();
  tell("file", null);
  await chooseSeries(null);
};

/** The series of the source by name, as a model reads them. */
const readBy = (model) => {
  const { source, reads } = state;
  if (!reads.has(model.columns)) reads.set(model.columns, read(source, model));
  return reads.get(model.columns);
};

const read = async (source, model) => {
  const form = new FormData();
  form.append("history", source.blob, source.name);
  form.append("model", model.name);
  form.append("version", model.version);
  if (/\.csv$/i.test(source.name)) {
    const dialect = dialectOf(await source.blob.slice(0, JUDGED).arrayBuffer());
    for (const [option, value] of Object.entries(dialect)) form.append(option, value);
  }
  const answer = await (await ask("v1/series", { method: "POST", body: form })).json();
  return new Map(answer.series.map((series) => [series.unique_id, {
    ...series, places: series.ds.map(placeOf), offsets: offsetsOf(series.ds),
  }]));
};

/** Another model leads: it may read the source in another way. */
const reread = async () => {
  const mine = generation;
  showLevels();
  // An example is made up for one kind of table, so another kind has one of its own; and it stands in for no file.
  if (state.source?.made !== null && state.source?.made !== leader().columns) return run("file", openExample);
  return run("file", async () => {
    await readBy(leader());
    if (mine === generation) await chooseSeries(state.series?.unique_id ?? null, state.series?.ds[state.cutoff]);
  });
};

/** The row of a series at a time, or -1. */
const rowAt = (series, stamp) => series.places.indexOf(placeIn(series, stamp));

const chooseSeries = async (name, stamp = null) => {
  const mine = generation;
  const known = await readBy(leader());
  if (mine !== generation) return;
  state.series = known.get(name) ?? known.values().next().value;
  at("series").replaceChildren(...[...known.keys()].map((one) => make("option", { value: one }, one)));
  at("series").value = state.series.unique_id;
  at("series-field").hidden = known.size < 2;
  const found = stamp === null ? -1 : rowAt(state.series, stamp);
  setCutoff(found < 0 ? lastCutoff() : found);
  showSource();
  await showNeeds();
};

/** Steps that the file has to hold after a cutoff, because covariates are known ahead. */
const stepsAhead = () =>
  Math.max(0, ...tickedModels().map(({ schema }) => (schema.columns.future_covariates.length > 0 ? schema.horizon : 0)));

/** The last row to forecast from. */
const lastCutoff = () => Math.max(0, state.series.ds.length - 1 - stepsAhead());

const setCutoff = (row) => {
  state.cutoff = Math.min(Math.max(row, 0), lastCutoff());
  refresh();
};

const showSource = () => {
  const { source, series } = state;
  if (series === null) {
    at("source").textContent = "Nothing to show yet.";
    return;
  }
  at("title").textContent = source.made !== null ? "A made-up series" : series.unique_id;
  document.title = `${source.made !== null ? "Example" : series.unique_id} – Gatecast`;
  const stamps = `${timeWords(series.ds[0])} to ${timeWords(series.ds[series.ds.length - 1])}`;
  const steps = `${series.ds.length.toLocaleString("en")} steps from ${stamps}`;
  at("source").textContent = source.made
    ? `${steps}, to try the page with. Open or drop a file of your own.`
    : `${source.label}: ${steps}.`;
};

/* ---- forecasts ------------------------------------------------------------------------------------------------- */

const busy = new Map(); // name of model -> key that it works on

const keyOf = () => JSON.stringify([generation, state.series.unique_id, state.series.ds[state.cutoff]]);

/** Asks each model for the forecast of now: one request of each at a time, and the last wish next. */
const forecastAll = () => { for (const model of tickedModels()) if (!busy.has(model.name)) void forecast(model); };

const forecast = async (model) => {
  const key = keyOf();
  if (state.forecasts.get(model.name)?.key === key || state.failed.get(model.name) === key) return;
  busy.set(model.name, key);
  try {
    const found = await forecastNow(model);
    if (state.models.includes(model)) { // and no other version of it has come meanwhile
      if (key === keyOf()) tell(model.name, null);
      state.forecasts.set(model.name, { ...found, key });
      state.failed.delete(model.name);
    }
  } catch (error) {
    const known = state.models.includes(model);
    if (known && error instanceof Outdated) return run("models", () => renew(reread));
    if (known && key === keyOf()) {
      state.failed.set(model.name, key);
      state.forecasts.delete(model.name);
      const told = error instanceof Problem ? new Problem(`${titleOf(model)}: ${error.message}`) : error;
      tell(model.name, state.ticked.has(model.name) ? told : null);
    }
  } finally {
    busy.delete(model.name);
  }
  draw();
  forecastAll();
};
const forecastNow = async (model) => {
  const { unique_id: name } = state.series;
  const stamp = state.series.ds[state.cutoff];
  const { made } = state.source;
  if (made !== null && made !== model.columns) throw new Problem("it reads tables of another kind than the example; open a file that has both, or tick it alone");
  const series = (await readBy(model)).get(name);
  const row = series === undefined ? -1 : rowAt(series, stamp);
  if (row < 0) throw new Problem(`it reads no series ${name} with a step at ${timeWords(stamp)} in this file`);
  const { context_length: context, horizon, columns } = model.schema;
  const table = (from, to, names) => ({
    unique_id: Array(to - from).fill(name),
    ds: series.ds.slice(from, to),
    ...Object.fromEntries(names.map((one) => [one, series.covariates[one].slice(from, to)])),
  });
  const start = Math.max(0, row + 1 - context), end = row + 1;
  const history = { ...table(start, end, Object.keys(series.covariates)), y: series.y.slice(start, end) };
  for (const [one, value] of Object.entries(series.static_covariates)) history[one] = Array(end - start).fill(value);
  const body = { model: model.name, version: model.version, history };
  if (columns.future_covariates.length > 0) body.future = table(end, Math.min(series.ds.length, end + horizon), columns.future_covariates);
  const answer = await (await ask("v1/forecast", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  })).json();
  const { ds, median, intervals, cutoff } = answer.series[0];
  const { series: shown } = state;
  return { row: rowAt(shown, stamp), ds, places: ds.map((one) => placeIn(shown, one)), offsets: offsetsOf(ds), median, intervals, cutoff };
};

/** A value of the series that is shown. */
const valueWords = (value) => figure(value, state.decimals);

/** Digits for values near the cutoff: a trend or a spike elsewhere would round the intervals away. */
const decimalsNow = (now) => {
  const { series, cutoff, level } = state;
  const context = Math.max(leader().schema.context_length, ...tickedModels().map(({ schema }) => schema.context_length));
  const bands = now.flatMap(({ intervals }) => intervals[level] ?? []);
  const widths = bands.flatMap(({ lo, hi }) => hi.map((value, step) => value - lo[step]));
  return decimalsOf(series.y.slice(Math.max(0, cutoff + 1 - context), cutoff + 1), widths);
};

/* ---- showing --------------------------------------------------------------------------------------------------- */

const current = () => tickedModels().filter((model) => state.forecasts.get(model.name)?.key === keyOf())
  .map((model) => ({ model, ...state.forecasts.get(model.name) }));

const bandsOf = (intervals, levels) => levels.filter((level) => level in intervals).map((level) => intervals[level]);

const viewOf = () => {
  const { series: { places }, cutoff } = state;
  const horizon = Math.max(...shownModels().map(({ schema }) => schema.horizon));
  const context = Math.max(...shownModels().map(({ schema }) => schema.context_length));
  const count = places.length, step = count > 1 ? (places[count - 1] - places[0]) / (count - 1) : 1;
  // Room for the forecast after the last step; a row may lie beyond the history.
  const placeAt = (row) => (row < count ? places[Math.max(0, row)] : places[count - 1] + (row - count + 1) * step);
  const ends = [...state.forecasts.values()].filter(({ key }) => key === keyOf()).map(({ places: own }) => own[own.length - 1]);
  if (state.span === "all") return [places[0], Math.max(placeAt(count - 1 + horizon), ...ends)];
  const past = state.span === "near" ? Math.max(context / 2, 4 * horizon) : Math.max(3 * context, 16 * horizon);
  // Near the end the view stays as it is while the cutoff moves through it; further back it goes along.
  const last = count - 1 - cutoff <= 3 * horizon ? count - 1 + horizon : cutoff + 4 * horizon;
  return [placeAt(Math.max(0, Math.round(last - past - horizon))), Math.max(placeAt(last), ...(last > count - 1 ? ends : []))];
};

const stopsOf = (view, forecasts) => {
  const { series } = state, stops = new Map();
  const inView = (place) => place >= view[0] && place <= view[1];
  series.places.forEach((place, row) => {
    if (inView(place)) stops.set(place, { place, stamp: series.ds[row], value: series.y[row], forecasts: [] });
  });
  for (const { model, places, ds, median, intervals } of forecasts) {
    places.forEach((place, step) => {
      if (!stops.has(place)) stops.set(place, { place, stamp: ds[step], value: null, forecasts: [] });
      stops.get(place).forecasts.push({ model, value: median[step], interval: intervals[state.level], step });
    });
  }
  const sorted = [...stops.values()].sort((a, b) => a.place - b.place);
  const each = Math.ceil(sorted.length / STOPS);
  const kept = sorted.filter((stop, number) => stop.forecasts.length > 0 || number % each === 0);
  for (const stop of kept) {
    stop.marks = stop.forecasts.map(({ model, value }) => ({ value, tone: model.tone }));
    if (stop.value !== null) stop.marks.unshift({ value: stop.value, tone: "plain" });
  }
  return kept;
};

let stops = [];
const draw = () => {
  const { series } = state;
  if (series === null) return;
  const now = current(), view = viewOf();
  state.decimals = decimalsNow(now);
  const wanted = [...levelsOf(shownModels())].sort((a, b) => b - a);
  const several = state.ticked.size > 1;
  // One model has room for its narrower intervals too.
  const levels = state.level === "none" ? [] : several ? [state.level] : wanted.filter((level) => Number(level) <= Number(state.level));
  const shown = tickedModels().filter((model) => state.forecasts.has(model.name)).map((model) => {
    const { places, offsets, median, intervals, key, row } = state.forecasts.get(model.name);
    const value = row >= 0 && JSON.parse(key)[1] === series.unique_id ? series.y[row] : null;
    const from = value === null || value === undefined ? null : [series.places[row], value];
    return { places, offsets, median, bands: bandsOf(intervals, levels), tone: model.tone, stale: key !== keyOf(), from };
  });
  const offsets = [series, ...shown].flatMap(({ offsets: own }) => own).sort((one, other) => one.from - other.from);
  stops = stopsOf(view, now);
  chart.show({
    places: series.places, offsets, values: series.y, cutoff: state.cutoff, view, whole: typeof series.ds[0] === "number",
    forecasts: shown, stops, until: Math.max(...shown.filter(({ stale }) => !stale).map(({ places }) => places[places.length - 1]), view[0]),
  });
  describe(now);
  showReadout(chart.reading, false);
  showDone(now);
  showNumbers(now);
  at("download").disabled = now.length === 0;
  document.body.dataset.drawn = now.length === tickedModels().length ? "yes" : "no";
};

const describe = (now) => {
  const { series } = state;
  const ends = now.map(({ model, median }) => `${titleOf(model)} from ${valueWords(median[0])} to ${valueWords(median[median.length - 1])}`);
  const told = `History of ${series.unique_id} until ${timeWords(series.ds[state.cutoff])}`;
  at("chart").setAttribute("aria-label", ends.length > 0 ? `${told}, and forecasts: ${listed(ends)}` : told);
};

const observedAt = () => new Map(state.series.places.map((place, row) => [place, state.series.y[row]]));

const scoreOf = ({ model, places, median, intervals }, observed) => {
  let sum = 0, count = 0, inside = 0;
  const band = intervals[state.level];
  places.forEach((place, step) => {
    const value = observed.get(place);
    if (value === null || value === undefined) return;
    sum += Math.abs(value - median[step]);
    count += 1;
    if (band && value >= band.lo[step] && value <= band.hi[step]) inside += 1;
  });
  return { model, count, mae: count ? sum / count : null, inside };
};

/** The error of the simplest forecast: each value as it was a season before, as far as the cutoff lets know. */
const lastSeason = (observed, steps) => {
  const { series, cutoff } = state, season = Math.max(1, leader().schema.season_length ?? 1);
  let sum = 0, count = 0;
  for (let step = 1; step <= steps; step += 1) {
    const row = cutoff + step, before = row - season * Math.ceil(step / season);
    if (row >= series.y.length || before < 0 || series.y[row] === null || series.y[before] === null) continue;
    sum += Math.abs(series.y[row] - series.y[before]);
    count += 1;
  }
  return { name: season > 1 ? "The season before, again" : "The last value, again", count, mae: count ? sum / count : null };
};

const showDone = (now) => {
  const observed = observedAt();
  const scores = now.map((one) => scoreOf(one, observed)).filter(({ count }) => count > 0);
  at("done-place").hidden = scores.length === 0;
  if (scores.length === 0) {
    const back = state.cutoff > 0 ? " Move it back to see how it would have done." : "";
    at("done-words").textContent = state.ticked.size === 0 ? "Tick a model to see its forecast."
      : now.length === 0 ? "No forecast to judge." : `Nothing has been observed after this forecast yet.${back}`;
    at("fairness").hidden = true;
    return;
  }
  const best = figure(Math.min(...scores.map(({ mae }) => mae)));
  const nearest = scores.filter(({ mae }) => figure(mae) === best).map(({ model }) => titleOf(model)); // as it is shown
  const verdict = nearest.length === scores.length ? "none was nearer than another"
    : `${listed(nearest)} ${nearest.length === 1 ? "was" : "were"} nearer`;
  const steps = Math.max(...scores.map(({ count }) => count));
  const after = `the ${steps === 1 ? "one step" : `${steps} steps`} after ${timeWords(state.series.ds[state.cutoff])}`;
  at("done-words").textContent = scores.length > 1
    ? `Against what came in ${after}, ${verdict}. One forecast is one draw: no verdict on the cells.`
    : `Against what came in ${after}.`;
  const level = state.level === "none" ? [] : [`Inside ${state.level} %`];
  const head = ["", "Mean absolute error", ...level].map((name) => (name ? make("th", { scope: "col" }, name) : make("td")));
  const rows = scores.map(({ model, mae, inside, count }) => make("tr", {},
    make("th", { scope: "row" }, make("span", { class: `swatch tone-${model.tone}` }), titleOf(model)),
    make("td", {}, figure(mae)), ...level.map(() => make("td", {}, `${inside} of ${count}`))));
  const simple = lastSeason(observed, steps);
  if (simple.count === steps) {
    rows.push(make("tr", {}, make("td", {}, simple.name), make("td", {}, figure(simple.mae)), ...level.map(() => make("td", {}, "–"))));
  }
  at("done").replaceChildren(make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
  showFairness(scores.map(({ model }) => model));
};

/** A forecast of what a model has learnt from is no test of it. */
const showFairness = (models) => {
  const from = clockOf(state.series.ds[state.cutoff]);
  const known = models.filter(({ schema }) => schema.training_range && from < clockOf(learntUntil(schema)));
  at("fairness").hidden = known.length === 0 || state.source.made !== null;
  if (known.length === 0) return;
  const until = timeWords(learntUntil(known[0].schema));
  at("fairness").textContent = `${listed(known.map(titleOf))} learnt from data until ${until}. If it was this series, errors before then flatter.`;
};

const showNumbers = (now) => {
  if (!at("numbers-fold").open || now.length === 0) return;
  const observed = observedAt(), places = [...new Set(now.flatMap((one) => one.places))].sort((a, b) => a - b);
  const level = state.level === "none" ? [] : [state.level];
  const names = ["Time", "Observed", ...now.flatMap(({ model }) => [titleOf(model), ...level.map((one) => `${one} %`)])];
  const stampAt = new Map(now.flatMap((one) => one.places.map((place, step) => [place, one.ds[step]])));
  const rows = places.map((place) => {
    const cells = now.flatMap(({ places: own, median, intervals }) => {
      const step = own.indexOf(place);
      if (step < 0) return ["–", ...level.map(() => "–")];
      return [valueWords(median[step]), ...level.map((one) => `${valueWords(intervals[one].lo[step])} to ${valueWords(intervals[one].hi[step])}`)];
    });
    return make("tr", {}, make("th", { scope: "row" }, timeWords(stampAt.get(place))), ...[valueWords(observed.get(place)), ...cells].map((text) => make("td", {}, text)));
  });
  at("numbers").replaceChildren(make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name)))), make("tbody", {}, ...rows));
};

const showReadout = (number, byKey) => {
  const stop = number === null ? undefined : stops[number];
  const parts = stop === undefined ? legend() : readingOf(stop);
  at("readout").replaceChildren(...parts);
  if (byKey) at("spoken").textContent = stop === undefined ? "" : parts.map((part) => part.textContent).join(", ");
};

const legend = () => {
  const { series, cutoff } = state;
  const last = series.y.slice(0, cutoff + 1).findLastIndex((value) => value !== null);
  const told = last < 0 ? "Nothing observed until " : "Observed until ";
  const parts = [make("span", {}, told, make("b", {}, timeWords(series.ds[last < 0 ? cutoff : last])))];
  for (const { model, median } of current()) {
    const end = `${valueWords(median[median.length - 1])} after ${median.length} steps`;
    parts.push(make("span", { class: `tone-${model.tone}` }, make("span", { class: "of" }, titleOf(model)), ` ${end}`));
  }
  return parts;
};

const readingOf = (stop) => {
  const parts = [make("b", {}, timeWords(stop.stamp))];
  if (stop.value !== null) parts.push(make("span", {}, "observed ", make("b", {}, valueWords(stop.value))));
  for (const { model, value, interval, step } of stop.forecasts) {
    const ends = interval ? ` (${valueWords(interval.lo[step])} to ${valueWords(interval.hi[step])})` : "";
    parts.push(make("span", { class: `tone-${model.tone}` }, make("span", { class: "of" }, titleOf(model)), " ", make("b", {}, valueWords(value)), ends));
  }
  return parts;
};

const refresh = () => {
  if (state.series === null) return;
  const last = lastCutoff(), slider = at("cutoff"), stamp = timeWords(state.series.ds[state.cutoff]);
  slider.max = String(last);
  slider.value = String(state.cutoff);
  slider.setAttribute("aria-valuetext", stamp);
  at("cutoff-time").textContent = stamp;
  const back = state.series.ds.length - 1 - state.cutoff;
  const bound = state.cutoff === last && stepsAhead() > 0 ? ": further on, rows with what is known ahead are needed" : "";
  at("moved").textContent = back === 0 ? "the last step" : `${back.toLocaleString("en")} step${back === 1 ? "" : "s"} back${bound}`;
  at("back").disabled = state.cutoff === 0;
  at("on").disabled = state.cutoff === last;
  draw();
  forecastAll();
};

/* ---- what the user does ---------------------------------------------------------------------------------------- */

const download = () => {
  const now = current(), observed = observedAt(), { unique_id: name } = state.series;
  const columns = now.flatMap(({ model, median, intervals, places }) => [
    [model.name, places, median],
    ...Object.keys(intervals).map((level) => [`${model.name}-lo-${level}`, places, intervals[level].lo]),
    ...Object.keys(intervals).reverse().map((level) => [`${model.name}-hi-${level}`, places, intervals[level].hi]),
  ]);
  const longest = now.reduce((a, b) => (b.places.length > a.places.length ? b : a));
  const rows = longest.places.map((place, step) => [
    name, longest.ds[step], longest.cutoff, observed.get(place), ...columns.map(([, places, values]) => values[places.indexOf(place)]),
  ]);
  const text = csvOf(["unique_id", "ds", "cutoff", "y", ...columns.map(([one]) => one)], rows);
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  const stem = name.replaceAll(/[^\p{L}\p{N}._-]+/gu, "-");
  make("a", { href: address, download: `${stem}-forecast-${String(longest.cutoff).slice(0, 10)}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
};

const run = async (where, work) => {
  document.body.dataset.drawn = "no";
  try {
    tell(where, null);
    if (state.models.length === 0) await loadModels(); // the start may have failed
    try { await work(); } catch (error) {
      if (!(error instanceof Outdated)) throw error;
      await renew(work);
    }
  } catch (error) {
    tell(where, error);
    showSource();
    draw();
  }
};

const chart = new Chart(at("chart"), showReadout);

const horizonOf = () => leader().schema.horizon;
at("cutoff").addEventListener("input", (event) => setCutoff(Number(event.target.value)));
at("back").addEventListener("click", () => setCutoff(state.cutoff - horizonOf()));
at("on").addEventListener("click", () => setCutoff(state.cutoff + horizonOf()));
at("series").addEventListener("change", (event) => run("file", () => chooseSeries(event.target.value)));
at("level").addEventListener("change", (event) => { state.level = event.target.value; draw(); });
at("span").addEventListener("change", (event) => { state.span = event.target.value; draw(); });
at("numbers-fold").addEventListener("toggle", draw);
at("example").addEventListener("click", () => run("file", openExample));
at("download").addEventListener("click", download);
at("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) run("file", () => openFile(file));
  event.target.value = ""; // so that the same file can be chosen again
});

const hasFiles = (event) => event.dataTransfer !== null && [...event.dataTransfer.types].includes("Files");
addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  at("drop").hidden = false;
});
addEventListener("dragleave", (event) => { if (event.relatedTarget === null) at("drop").hidden = true; });
addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  at("drop").hidden = true;
  const [file] = event.dataTransfer.files;
  if (file) run("file", () => openFile(file));
});

await run("file", openExample);
