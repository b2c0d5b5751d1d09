// The study's data unpacked and looked up, how its numbers are written, and elements made by name.

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const LEVELS = new Map([...ALPHABET].map((sign, level) => [sign, level]));
const SVG = "http://www.w3.org/2000/svg";
const STUDY = JSON.parse(document.getElementById("data").textContent);

// Names come from files, so they are never keys of plain objects ("__proto__").
const TASKS = new Map(STUDY.tasks.map((task) => [task.id, task]));
const CELLS = new Map(STUDY.cells.map((cell) => [pairKey(cell.task, cell.method), cell]));
const CURVES = new Map(STUDY.curves.map((curve) => [pairKey(curve.task, curve.method), curve]));
const METHODS = STUDY.methods.map((method, index) => ({
  ...method,
  index,
  colour: `var(--method-${index})`,
}));
const SINGLE = STUDY.tasks.length === 1;
const REFERENCE = METHODS.find((method) => method.reference) ?? METHODS[0];

// What the reader has chosen; everything on the page is drawn from it.
const view = {
  suites: new Set(suiteNames()),
  methods: new Set(METHODS.map((method) => method.id)),
  search: "",
  singleSeeds: SINGLE,
  sort: { column: "task", method: null, descending: false },
};

function pairKey(task, method) {
  return JSON.stringify([task, method]);
}

function suiteNames() {
  return [...new Set(STUDY.tasks.map((task) => task.suite))];
}

function cellOf(task, method) {
  return CELLS.get(pairKey(task, method)) ?? null;
}

function methodOf(id) {
  return METHODS.find((method) => method.id === id);
}

function shownMethods() {
  return METHODS.filter((method) => view.methods.has(method.id));
}

function isShown(task) {
  const found = task.id.toLowerCase().includes(view.search.trim().toLowerCase());
  return found && view.suites.has(task.suite);
}

// What is decided on a method, in the words of its tag.
function verdictOf(cell) {
  const verdict = cell.difference?.verdict ?? "none";
  return verdict === "none" ? "no verdict" : verdict;
}

// Both tests' p-values, as far as there are any: `p < 0.001 and 0.008`.
function testsText(difference) {
  return [difference.pText, difference.permutationText.replace(/^p (= )?/, "")].filter(Boolean).join(" and ");
}

// The inverse of `pack_line` in page_data.py.
function unpackLine([low, high, text]) {
  const values = [];
  for (let at = 0; at < text.length; at += 2) {
    const first = LEVELS.get(text[at]);
    const level = first === undefined ? null : first * 64 + LEVELS.get(text[at + 1]);
    values.push(level === null ? null : low + ((high - low) * level) / 4095);
  }
  return values;
}

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

function formatValue(value, digits) {
  if (!isNumber(value)) return "n/a";
  const text = Math.abs(value) >= 1e7 ? Number(value.toPrecision(3)).toExponential() : value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

function formatSigned(value, digits) {
  return value > 0 ? `+${formatValue(value, digits)}` : formatValue(value, digits);
}

function formatInterval(estimate, digits) {
  if (!isNumber(estimate.low) || !isNumber(estimate.high)) return "no interval";
  return `${formatValue(estimate.low, digits)} to ${formatValue(estimate.high, digits)}`;
}

function formatMean(cell, digits) {
  if (!isNumber(cell.mean)) return "no runs";
  const spread = isNumber(cell.std) ? ` ± ${formatValue(cell.std, digits)}` : "";
  return formatValue(cell.mean, digits) + spread;
}

// `950`, `10.6k`, `1.5M`, as in the figures and in the terminal.
function formatCount(count) {
  const rounded = Number(count.toPrecision(3));
  for (const [unit, letter] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(rounded) >= unit) return `${Number((rounded / unit).toPrecision(3))}${letter}`.replace("-", "−");
  }
  return String(rounded).replace("-", "−");
}

function countOf(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

// An HTML element; children are elements or texts, and texts stay texts.
function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function makeSvg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

// Text that runs from right to left must not reorder what stands beside it.
function nameOf(text) {
  return make("bdi", {}, text);
}

// The stroke of a method as it is in the charts, so that dashes are in the legend too.
function swatch(method) {
  const line = makeSvg("line", { x1: 0, y1: 5, x2: 22, y2: 5, "stroke-width": 4, "stroke-dasharray": method.dash || null });
  line.style.stroke = method.colour;
  return makeSvg("svg", { class: "swatch", viewBox: "0 0 22 10", width: 22, height: 10, "aria-hidden": "true" }, line);
}

function methodLabel(method) {
  return make("span", { class: "method" }, swatch(method), nameOf(method.label));
}
