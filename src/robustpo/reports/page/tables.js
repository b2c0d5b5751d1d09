// The aggregate table of a suite and the sortable table of all tasks.

const DESCENDING_FIRST = { task: false, return: true, difference: true, improvement: true, p: false };

function suiteSection(suite) {
  const rows = suite.rows.filter((row) => view.methods.has(row.method));
  const profile = chartPlace(() => profileSpec(suite));
  return make(
    "article", { class: "suite" },
    make("h3", {}, nameOf(suite.suite), make("small", {}, countOf(suite.tasks, "task"))),
    make("p", { class: "quiet", dir: "auto" }, suite.scale),
    make("div", { class: "suite-parts" },
      make("div", { class: "scroll" }, aggregateTable(suite, rows)),
      make("figure", {}, make("figcaption", {}, "Fraction of runs that score above τ"), profile)),
  );
}

function aggregateTable(suite, rows) {
  const columns = [["iqm", "interquartile mean"], ["mean", "mean"], ["gap", "optimality gap"], ["improvement", `P(better than ${REFERENCE.label})`]];
  const scales = new Map(columns.map(([name]) => [name, estimateScale(rows.map((row) => row[name]), name)]));
  const head = ["method", "runs", ...columns.map(([, title]) => title), "win / tie / loss"];
  const body = rows.map((row) => make(
    "tr", { "data-method": row.method },
    make("th", { scope: "row" }, methodLabel(methodOf(row.method))),
    make("td", { class: "figure" }, String(row.runs)),
    ...columns.map(([name]) => make("td", {}, estimate(row, name, scales.get(name), suite))),
    make("td", { class: "figure" }, outcomes(row)),
  ));
  return make(
    "table", { class: "aggregate" },
    make("thead", {}, make("tr", {}, head.map((title) => make("th", { scope: "col" }, title)))),
    make("tbody", {}, body),
  );
}

function outcomes(row) {
  if (row.method === REFERENCE.id) return "reference";
  const undecided = row.undecided ? `, ${row.undecided} undecided` : "";
  return `${row.wins} / ${row.ties} / ${row.losses}${undecided}`;
}

// One scale per column, so that its bars can be compared by eye.
function estimateScale(estimates, name) {
  if (name === "improvement") return [0, 1];
  const [low, high] = extent(estimates.flatMap((one) => (one ? [one.value, one.low, one.high] : [])).filter(isNumber));
  const room = (high - low) * 0.06 || 0.05;
  return [low - room, high + room];
}

function estimate(row, name, [low, high], suite) {
  const one = row[name];
  if (!one || !isNumber(one.value)) return make("span", { class: "quiet" }, "–");
  const open = () => openSuiteDetail(suite, row.method);
  const label = `${formatValue(one.value, 2)}, ${formatInterval(one, 2)}, show the runs`;
  const button = make("button", { type: "button", class: "number", "aria-label": label, onclick: open }, make("b", {}, formatValue(one.value, 2)));
  const position = (value) => (100 * (value - low)) / (high - low);
  return make(
    "div", { class: "estimate" },
    make("div", {}, button, make("small", {}, formatInterval(one, 2))),
    intervalBar(one, position, methodOf(row.method).colour, name === "improvement"),
  );
}

function intervalBar(one, position, colour, hasMiddle) {
  const bar = makeSvg("svg", { class: "interval", viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" });
  bar.append(makeSvg("rect", { class: "rail", x: 0, y: 5.5, width: 100, height: 1 }));
  if (hasMiddle) bar.append(makeSvg("rect", { class: "half", x: 49.6, y: 0, width: 0.8, height: 12 }));
  const add = (x, y, width, height, opacity) => {
    const part = makeSvg("rect", { x, y, width, height, opacity });
    part.style.fill = colour;
    bar.append(part);
  };
  if (isNumber(one.low) && isNumber(one.high)) add(position(one.low), 3.5, position(one.high) - position(one.low), 5, 0.45);
  add(position(one.value) - 1, 0.5, 2, 11, 1);
  return bar;
}

function profileSpec(suite) {
  const profile = suite.profile;
  const lines = profile.methods.filter((line) => view.methods.has(line.method)).map((line) => ({
    method: methodOf(line.method), x: profile.tau, seeds: [],
    value: unpackLine(line.value), low: unpackLine(line.low), high: unpackLine(line.high),
  }));
  return {
    label: `${suite.suite}, performance profile`, x: "normalised score τ", y: "fraction of runs above τ", lines,
    yRange: [0, 1.02], xFormat: (tau) => `τ = ${formatValue(tau, 2)}`, yFormat: (part) => formatValue(part, 2),
  };
}

function mainTable() {
  const methods = shownMethods();
  const sources = publishedSources();
  const tasks = sortedTasks(STUDY.tasks.filter(isShown));
  return make(
    "table", { id: "results" },
    make("caption", { class: "visually-hidden" }, `${STUDY.measure.title} of every task; headers are buttons that sort.`),
    make("thead", {}, headRow(methods, sources), sortRow(methods, sources)),
    make("tbody", {}, tasks.map((task) => taskRow(task, methods, sources))),
  );
}

function publishedSources() {
  return [...new Set(STUDY.cells.flatMap((cell) => cell.published.map((one) => one.source)))];
}

function headRow(methods, sources) {
  const groups = methods.map((method) => make(
    "th", { scope: "colgroup", colspan: method === REFERENCE ? 1 : 2, "data-method": method.id }, methodLabel(method),
  ));
  const published = sources.length === 0 ? null : make(
    "th", { scope: "colgroup", colspan: sources.length, class: "published" }, "published by others, not run here",
  );
  return make("tr", {}, make("td", {}), groups, published);
}

function sortRow(methods, sources) {
  const columns = methods.flatMap((method) => {
    const returns = sortHeader(method, [["return", STUDY.measure.column]]);
    if (method === REFERENCE) return [returns];
    const others = [["difference", "difference"], ["p", "p"], ["improvement", "P(better)"]];
    return [returns, sortHeader(method, others)];
  });
  const published = sources.map((source) => make("th", { scope: "col", class: "published" }, nameOf(source)));
  return make("tr", {}, sortHeader(null, [["task", "task"]]), columns, published);
}

// A header of one column or, where a column holds several numbers, a button for each.
function sortHeader(method, keys) {
  const { column, descending } = view.sort;
  const isSorted = (key) => key === column && (method?.id ?? null) === view.sort.method;
  const buttons = keys.map(([key, title]) => {
    const arrow = isSorted(key) ? (descending ? " ▼" : " ▲") : "";
    const attributes = { type: "button", class: "sort", "data-sort": key, "data-method": method?.id ?? null, onclick: () => sortBy(key, method) };
    return make("button", attributes, title, make("span", { "aria-hidden": "true" }, arrow));
  });
  const direction = keys.some(([key]) => isSorted(key)) ? (descending ? "descending" : "ascending") : "none";
  return make("th", { scope: "col", "aria-sort": direction, "data-method": method?.id ?? null }, buttons);
}

function sortBy(column, method) {
  const same = view.sort.column === column && view.sort.method === (method?.id ?? null);
  const descending = same ? !view.sort.descending : DESCENDING_FIRST[column];
  view.sort = { column, method: method?.id ?? null, descending };
  renderTable();
  const again = [...document.querySelectorAll("#results button.sort")].find(
    (button) => button.dataset.sort === column && (button.dataset.method ?? null) === view.sort.method,
  );
  again.focus();
}

// What is missing comes last in either direction; equal values stay in the study's order.
function sortedTasks(tasks) {
  const { column, method, descending } = view.sort;
  const sign = descending ? -1 : 1;
  const keyed = tasks.map((task) => [task, column === "task" ? task.id : sortValue(cellOf(task.id, method), column)]);
  const isMissing = (value) => typeof value !== "string" && !isNumber(value);
  keyed.sort(([, one], [, other]) => {
    if (isMissing(one) || isMissing(other)) return isMissing(one) - isMissing(other);
    return sign * (typeof one === "string" ? one.localeCompare(other, "en", { numeric: true }) : one - other);
  });
  return keyed.map(([task]) => task);
}

function sortValue(cell, column) {
  if (column === "return") return cell?.mean;
  if (column === "improvement") return cell?.improvement?.value;
  return column === "p" ? cell?.difference?.p : cell?.difference?.mean;
}

function taskRow(task, methods, sources) {
  const numbers = methods.flatMap((method) => {
    const cell = cellOf(task.id, method.id);
    const returns = make("td", { "data-method": method.id }, cell ? returnParts(task, method, cell) : "–");
    if (method === REFERENCE) return [returns];
    return [returns, make("td", { "data-method": method.id }, cell ? differenceParts(task, method, cell) : "–")];
  });
  const name = make("th", { scope: "row" }, make("div", { class: "task-name" }, nameOf(task.id)), make("small", {}, nameOf(task.suite)));
  const published = sources.map((source) => make("td", { class: "published" }, publishedParts(task, source, methods)));
  return make("tr", { "data-task": task.id }, name, numbers, published);
}

function returnParts(task, method, cell) {
  const few = cell.few ? make("span", { class: "tag few" }, `${countOf(cell.seeds, "seed")}: no verdict`) : null;
  const left = cell.left_out ? make("small", { dir: "auto" }, cell.left_out) : null;
  return [numberButton(formatMean(cell, task.digits), task, method), few, left];
}

function numberButton(text, task, method) {
  const open = () => openDetail(task.id, method.id);
  const label = `${text}, ${method.label} on ${task.id}, show runs and command`;
  return make("button", { type: "button", class: "number", "aria-label": label, onclick: open }, text);
}

function differenceParts(task, method, cell) {
  const { difference, improvement } = cell;
  if (!difference || !isNumber(difference.mean)) return [make("span", { class: "quiet" }, "–")];
  const mark = verdictOf(cell);
  const better = improvement && isNumber(improvement.value)
    ? `P(better) ${formatValue(improvement.value, 2)} (${formatInterval(improvement, 2)})` : null;
  return [
    make("div", { class: "difference" },
      numberButton(formatSigned(difference.mean, task.digits), task, method),
      make("span", { class: `tag ${mark.replace(" ", "-")}` }, mark)),
    make("small", {}, [formatInterval(difference, task.digits), testsText(difference)].filter(Boolean).join(", ")),
    better && make("small", {}, better),
  ];
}

// One task: a row for each method.
function singleTable(task) {
  const sources = publishedSources();
  const head = ["method", "seeds", STUDY.measure.noun, "95% interval", `difference to ${REFERENCE.label}`, "entropy"];
  const published = sources.map((source) => make("th", { scope: "col", class: "published" }, nameOf(source), make("small", {}, "by others, not run here")));
  const rows = shownMethods().map((method) => singleRow(task, method, sources));
  return make(
    "table", { id: "results", class: "single" },
    make("caption", { class: "visually-hidden" }, `${STUDY.measure.title} of every method.`),
    make("thead", {}, make("tr", {}, head.map((title) => make("th", { scope: "col" }, title)), published)),
    make("tbody", {}, rows),
  );
}

function singleRow(task, method, sources) {
  const cell = cellOf(task.id, method.id);
  const name = make("th", { scope: "row" }, methodLabel(method));
  if (!cell) return make("tr", { "data-method": method.id }, name, make("td", { colspan: 5 + sources.length }, "–"));
  return make(
    "tr", { "data-method": method.id }, name,
    make("td", { class: "figure" }, String(cell.seeds), cell.left_out ? make("small", { dir: "auto" }, cell.left_out) : null),
    make("td", {}, returnParts(task, method, { ...cell, left_out: "" })),
    make("td", { class: "figure" }, formatInterval(cell, task.digits)),
    make("td", {}, method === REFERENCE ? "reference" : differenceParts(task, method, cell)),
    make("td", { class: "figure" }, isNumber(cell.entropy) ? formatValue(cell.entropy, 2) : "–"),
    sources.map((source) => make("td", { class: "published" }, publishedParts(task, source, [method]))),
  );
}

function publishedParts(task, source, methods) {
  return methods.flatMap((method) => {
    const found = cellOf(task.id, method.id)?.published.filter((one) => one.source === source) ?? [];
    return found.map((one) => make("div", {}, swatch(method), make("span", { class: "visually-hidden" }, `${method.label}: `), formatMean(one, task.digits)));
  });
}
