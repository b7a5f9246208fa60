"""The report's style sheet, and the script that draws its charts."""

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1c2733; --muted: #5b6875; --rule: #e2e7ec; --paper: #ffffff; --wash: #f5f7f9; --accent: #0072b2;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --muted: #9aa6b2; --rule: #2b343e; --paper: #151b21; --wash: #1c242c; --accent: #5bb5ec; }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main, header, nav { max-width: 66rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 3.5rem; padding-bottom: 1.5rem; }
.kicker { margin: 0 0 .75rem; color: var(--accent); font-weight: 600; letter-spacing: .02em; }
h1 {
  margin: 0; max-width: 24em; overflow-wrap: anywhere; text-wrap: pretty;
  font-size: clamp(1.65rem, 1.25rem + 1.9vw, 2.5rem); line-height: 1.25; font-weight: 650; letter-spacing: -.015em;
}
p, figcaption { text-wrap: pretty; }
.standfirst { margin: 1rem 0 0; max-width: 42em; font-size: 1.12rem; color: var(--muted); overflow-wrap: anywhere; }
nav ul {
  display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; margin: 0; padding: .9rem 0; list-style: none;
  border-top: 1px solid var(--rule); font-size: .9rem;
}
a { color: var(--muted); text-decoration: none; }
a:hover, a:focus-visible { color: var(--accent); text-decoration: underline; }
section { padding: 2.25rem 0 .5rem; border-top: 1px solid var(--rule); scroll-margin-top: .5rem; }
h2 { margin: 0 0 .4rem; font-size: 1.4rem; line-height: 1.3; font-weight: 650; letter-spacing: -.01em; }
h3 { margin: 0 0 .5rem; font-size: 1rem; line-height: 1.4; font-weight: 600; overflow-wrap: anywhere; }
p { margin: 0 0 1rem; max-width: 44em; overflow-wrap: anywhere; }
.lead { color: var(--muted); margin-bottom: 1.5rem; }
dl {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1px; margin: 0 0 2rem;
  border: 1px solid var(--rule); border-radius: .6rem; overflow: hidden;
}
dl div { padding: .8rem 1rem; box-shadow: 1px 0 0 var(--rule), 0 1px 0 var(--rule); }
dt { font-size: .8rem; color: var(--muted); }
dd { margin: .1rem 0 0; font-size: 1.08rem; font-weight: 600; }
dt, dd { overflow-wrap: anywhere; }
figure { margin: 0 0 2.25rem; min-width: 0; }
p + figure { margin-top: 1.75rem; }
.row { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); gap: 0 2.5rem; }
.chart { width: 100%; }
figcaption { margin: .6rem 0 0; max-width: 46em; font-size: .9rem; line-height: 1.5; color: var(--muted); }
.wide { overflow-x: auto; border: 1px solid var(--rule); border-radius: .6rem; }
.wide:focus-visible { outline: 2px solid var(--accent); }
table { width: 100%; border-collapse: collapse; font-size: .9rem; line-height: 1.4; }
table, dd { font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .9rem; text-align: right; vertical-align: top; }
th { color: var(--muted); font-weight: 500; background: var(--wash); vertical-align: bottom; min-width: 5.5rem; }
tbody tr { border-top: 1px solid var(--rule); }
th:first-child, td:first-child { text-align: left; min-width: 9rem; }
td { white-space: nowrap; }
td:first-child { font-weight: 500; white-space: normal; overflow-wrap: anywhere; }
details { margin: 0 0 2rem; }
summary { cursor: pointer; padding: .4rem 0; font-weight: 600; }
summary:hover { color: var(--accent); }
details[open] summary { margin-bottom: .75rem; }
footer { max-width: 66rem; margin: 1.5rem auto 0; padding: 1.25rem 1.25rem 3rem; }
footer { font-size: .85rem; color: var(--muted); }
.js-plotly-plot .plotly .modebar { display: none; }
@media (max-width: 40rem) {
  header { padding-top: 2rem; }
  .standfirst { font-size: 1.02rem; }
  dl { grid-template-columns: repeat(2, 1fr); }
  dl div { padding: .65rem .8rem; }
  th, td { padding: .45rem .7rem; }
}
@page { margin: 16mm 14mm; }
@media print {
  :root { color-scheme: light; --ink: #1c2733; --muted: #5b6875; --rule: #d5dbe1; --paper: #fff; --wash: #f5f7f9; }
  body { font-size: 10.5pt; }
  nav { display: none; }
  header { padding-top: 0; }
  section { padding-top: 1.25rem; }
  figure { margin-bottom: 1.25rem; }
  footer { margin-top: 0; padding-bottom: 0; }
  main, header, footer { padding-left: 0; padding-right: 0; }
  figure, tr, dl, p { break-inside: avoid; }
  h2, h3, .lead { break-after: avoid; }
  .wide { overflow: visible; border: 0; }
  table { font-size: 7.5pt; }
  th, td { padding: 2pt 4pt; white-space: normal; min-width: 0 !important; }
}
body.printing .row { grid-template-columns: 1fr 1fr; gap: 0 20px; }
body.printing main, body.printing header { width: 660px; max-width: 660px; margin: 0; }
"""

# Figures come as JSON with the colours of a light page; for a dark one these are replaced in its text.
SCRIPT = """
(() => {
  "use strict";
  const read = (id) => document.getElementById(id).textContent;
  const charts = read("charts"), shades = JSON.parse(read("shades"));
  const night = matchMedia("(prefers-color-scheme: dark)"), touch = matchMedia("(pointer: coarse)").matches;
  const config = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: "reset" };
  let printing = false;
  const draw = () => {
    let text = charts;
    if (night.matches && !printing) for (const [light, dark] of shades) text = text.replaceAll(light, dark);
    JSON.parse(text).forEach((chart, number) => {
      const place = document.getElementById("chart-" + (number + 1));
      const height = chart.layout.height * (printing ? 0.75 : 1);
      place.style.height = height + "px";
      // A finger that moves over a chart scrolls the page.
      const layout = { ...chart.layout, height, autosize: true, dragmode: touch ? false : "zoom" };
      Plotly.react(place, chart.data, layout, config);
    });
  };
  draw();
  night.addEventListener("change", draw);
  const opened = [];
  addEventListener("beforeprint", () => {
    printing = true;
    document.body.classList.add("printing");
    document.querySelectorAll("details:not([open])").forEach((fold) => { fold.open = true; opened.push(fold); });
    draw();
  });
  addEventListener("afterprint", () => {
    printing = false;
    document.body.classList.remove("printing");
    opened.splice(0).forEach((fold) => { fold.open = false; });
    draw();
  });
  document.body.dataset.drawn = "yes";
})();
"""
