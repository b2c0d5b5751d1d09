// Line charts with interval bands, single seeds, a legend of its own and a crosshair.

const MARGIN = { top: 8, right: 12, bottom: 36, left: 46 };
const HEIGHT = 220;
const drawings = new Map();

const onResize = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const drawing = drawings.get(target);
    if (drawing.width !== target.clientWidth) redraw(target);
  }
});

// A place for a chart. `describe` returns {label, x, y, xFormat, yFormat, lines} when it is drawn.
function chartPlace(describe) {
  const place = make("div", { class: "chart" });
  drawings.set(place, { describe, width: 0 });
  onResize.observe(place);
  return place;
}

function forgetChart(place) {
  onResize.unobserve(place);
  drawings.delete(place);
}

// All at once and not when they come near the screen: a picture of the whole page, or paper, shows
// what no reader has scrolled to.
function redrawCharts() {
  drawings.forEach((_, place) => redraw(place));
}

function redraw(place) {
  const drawing = drawings.get(place);
  const width = place.clientWidth;
  drawing.width = width;
  if (width === 0) return;
  const spec = drawing.describe();
  const lines = spec.lines.filter((line) => line.value.some(isNumber) || line.seeds.length > 0);
  if (lines.length === 0) {
    place.replaceChildren(make("p", { class: "empty" }, `${spec.y}: nothing recorded`));
    return;
  }
  place.replaceChildren(...drawChart({ ...spec, lines }, width));
}

function drawChart(spec, width) {
  const frame = frameOf(spec, width);
  const svg = makeSvg("svg", {
    width, height: frame.height, viewBox: `0 0 ${width} ${frame.height}`, role: "img", tabindex: 0, "aria-label": spoken(spec),
  });
  const clip = `clip-${drawChart.count = (drawChart.count ?? 0) + 1}`;
  const area = { x: MARGIN.left, y: MARGIN.top, width: frame.innerWidth, height: frame.innerHeight };
  svg.append(makeSvg("clipPath", { id: clip }, makeSvg("rect", area)), drawAxes(spec, frame));
  const plot = makeSvg("g", { "clip-path": `url(#${clip})` });
  spec.lines.forEach((line) => plot.append(...drawBand(line, frame)));
  spec.lines.forEach((line) => plot.append(...drawSeeds(line, frame)));
  spec.lines.forEach((line) => plot.append(...drawMean(line, frame)));
  svg.append(plot);
  return [svg, addCrosshair(svg, spec, frame)];
}

function spoken(spec) {
  const ends = spec.lines.map((line) => {
    const last = line.value.findLast(isNumber);
    return `${line.method.label} ends at ${isNumber(last) ? spec.yFormat(last) : "n/a"}`;
  });
  return `${spec.label}, ${spec.y} by ${spec.x}: ${ends.join(", ")}. Arrow keys read single points.`;
}

function frameOf(spec, width) {
  const height = spec.height ?? HEIGHT;
  const innerWidth = width - MARGIN.left - MARGIN.right;
  const innerHeight = height - MARGIN.top - MARGIN.bottom;
  const right = Math.max(...spec.lines.map((line) => line.x.at(-1) ?? 0));
  const left = spec.xFrom ?? Math.min(...spec.lines.map((line) => line.x[0] ?? 0));
  const [low, high] = spec.yRange ?? valueLimits(spec.lines);
  return {
    width, height, innerWidth, innerHeight, left, right, low, high,
    toX: (value) => MARGIN.left + (innerWidth * (value - left)) / (right - left || 1),
    toY: (value) => MARGIN.top + (innerHeight * (high - value)) / (high - low || 1),
  };
}

// Every seed, and as much of the intervals as leaves the seeds readable: with two or three seeds an
// interval may be many times wider than all the data. The same rule as in the figures.
function valueLimits(lines) {
  const values = lines.flatMap((line) => [line.value, ...line.seeds].flat()).filter(isNumber);
  const ends = lines.flatMap((line) => [...line.low, ...line.high]).filter(isNumber);
  const [low, high] = extent(values);
  const [lowEnd, highEnd] = extent([...ends, low, high]);
  const span = high - low || Math.max(1, Math.abs(high)) * 0.1;
  return [Math.max(lowEnd, low - 0.15 * span) - 0.04 * span, Math.min(highEnd, high + 0.15 * span) + 0.04 * span];
}

function extent(values) {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}

// Round numbers, about `wanted` of them: 0, 2M, 4M.
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at += 1) found.push(at * step);
  return found.map((value) => Number(value.toPrecision(12)));
}

// As short as counts are written, unless two ticks would then read alike.
function tickTexts(values) {
  const short = values.map(formatCount);
  if (new Set(short).size === values.length) return short;
  const digits = Math.max(...values.map((value) => (String(value).split(".")[1] || "").length));
  return values.map((value) => formatValue(value, Math.min(digits, 8)));
}

function drawAxes(spec, frame) {
  const group = makeSvg("g", { class: "axes" });
  const bottom = MARGIN.top + frame.innerHeight;
  const heights = ticks(frame.low, frame.high, 5);
  const texts = tickTexts(heights);
  for (const [index, value] of heights.entries()) {
    const y = frame.toY(value);
    group.append(makeSvg("line", { class: "grid", x1: MARGIN.left, x2: frame.width - MARGIN.right, y1: y, y2: y }));
    group.append(makeSvg("text", { x: MARGIN.left - 6, y: y + 4, "text-anchor": "end" }, texts[index]));
  }
  for (const value of ticks(frame.left, frame.right, Math.max(2, Math.min(5, frame.innerWidth / 55)))) {
    const x = frame.toX(value);
    group.append(makeSvg("line", { class: "tick", x1: x, x2: x, y1: bottom, y2: bottom + 4 }));
    group.append(makeSvg("text", { x, y: bottom + 16, "text-anchor": "middle" }, formatCount(value)));
  }
  group.append(makeSvg("line", { class: "tick", x1: MARGIN.left, x2: frame.width - MARGIN.right, y1: bottom, y2: bottom }));
  const middle = MARGIN.left + frame.innerWidth / 2;
  group.append(makeSvg("text", { class: "axis-title", x: middle, y: frame.height - 4, "text-anchor": "middle" }, spec.x));
  return group;
}

function drawBand(line, frame) {
  const inside = line.x.map((_, at) => at).filter((at) => isNumber(line.low[at]) && isNumber(line.high[at]));
  if (inside.length < 2) return [];
  const point = (values) => (at) => `${frame.toX(line.x[at]).toFixed(1)},${frame.toY(values[at]).toFixed(1)}`;
  const points = [...inside.map(point(line.high)), ...inside.toReversed().map(point(line.low))];
  const band = makeSvg("polygon", { class: "band", points: points.join(" ") });
  band.style.fill = line.method.colour;
  return [band];
}

function drawSeeds(line, frame) {
  return line.seeds.map((values) => stroke(line, values, frame, "seed"));
}

function drawMean(line, frame) {
  const present = line.value.flatMap((value, at) => (isNumber(value) ? [at] : []));
  if (present.length !== 1) return [stroke(line, line.value, frame, "mean")];
  // One point makes no line, so it needs a mark.
  const dot = makeSvg("circle", { class: "mean", r: 3.5, cx: frame.toX(line.x[present[0]]), cy: frame.toY(line.value[present[0]]) });
  dot.style.fill = line.method.colour;
  return [dot];
}

function stroke(line, values, frame, kind) {
  let pen = "M";
  let path = "";
  values.forEach((value, at) => {
    if (isNumber(value)) path += `${pen}${frame.toX(line.x[at]).toFixed(1)} ${frame.toY(value).toFixed(1)}`;
    // A gap stays a gap.
    pen = isNumber(value) ? "L" : "M";
  });
  const drawn = makeSvg("path", { class: kind, d: path, "stroke-dasharray": line.method.dash || null });
  drawn.style.stroke = line.method.colour;
  return drawn;
}

// A line that follows mouse, finger or arrow keys, and the values where it stands.
function addCrosshair(svg, spec, frame) {
  const bottom = MARGIN.top + frame.innerHeight;
  const cross = makeSvg("line", { class: "crosshair", y1: MARGIN.top, y2: bottom, visibility: "hidden" });
  const readout = make("div", { class: "readout", role: "status", hidden: true });
  const steps = [...new Set(spec.lines.flatMap((line) => line.x))].sort((one, other) => one - other);
  let at = steps.length - 1;
  svg.append(cross);
  const hide = () => {
    cross.setAttribute("visibility", "hidden");
    readout.hidden = true;
  };
  const show = (index) => {
    at = Math.max(0, Math.min(steps.length - 1, index));
    const x = frame.toX(steps[at]);
    for (const end of ["x1", "x2"]) cross.setAttribute(end, x);
    cross.setAttribute("visibility", "visible");
    readout.replaceChildren(...readoutRows(spec, steps[at]));
    readout.hidden = false;
    const room = frame.width - readout.offsetWidth;
    readout.style.left = `${Math.max(0, Math.min(room, x - readout.offsetWidth / 2))}px`;
  };
  const follow = (event) => show(nearest(steps, frame, event.clientX - svg.getBoundingClientRect().left));
  svg.addEventListener("pointermove", follow);
  svg.addEventListener("pointerdown", follow);
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Escape") hide();
    if (move === undefined) return;
    event.preventDefault();
    // The first step shows where it stands; Home and End go there at once.
    show(readout.hidden && Number.isFinite(move) ? at : at + move);
  });
  return readout;
}

function nearest(steps, frame, x) {
  let best = 0;
  steps.forEach((step, at) => {
    if (Math.abs(frame.toX(step) - x) < Math.abs(frame.toX(steps[best]) - x)) best = at;
  });
  return best;
}

function readoutRows(spec, step) {
  const rows = spec.lines.map((line) => {
    const at = line.x.indexOf(step);
    const value = at < 0 ? null : line.value[at];
    const interval = { low: line.low[at], high: line.high[at] };
    const known = isNumber(interval.low) && isNumber(interval.high);
    const range = known ? ` (${spec.yFormat(interval.low)} to ${spec.yFormat(interval.high)})` : "";
    return make("div", {}, methodLabel(line.method), make("b", {}, isNumber(value) ? spec.yFormat(value) : "n/a"), range);
  });
  return [make("div", { class: "at" }, spec.xFormat(step)), ...rows];
}
