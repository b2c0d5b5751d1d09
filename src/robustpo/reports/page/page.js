// The page: filters, aggregates, the table of tasks, learning and entropy curves.

start();

function start() {
  const curves = make("section", { id: "curves" }, curvesHead(), make("div", { class: "cards" }));
  const tasks = make("section", { id: "tasks" },
    make("h2", {}, STUDY.measure.title),
    make("p", { class: "quiet" }, tableGuide()),
    make("div", { id: "table-scroll", class: "scroll tall", tabindex: 0, role: "region", "aria-label": STUDY.measure.title }));
  // One task is read from its curves; many are found in a table.
  const parts = SINGLE ? [curves, tasks] : [make("section", { id: "aggregates" }), tasks, curves];
  document.getElementById("app").append(filterBar(), ...parts);
  STUDY.tasks.forEach((task) => document.querySelector("#curves .cards").append(curveCard(task)));
  setUpTheme();
  closeOnBackdrop();
  render();
}

function tableGuide() {
  const numbers = `Mean ± standard deviation over seeds; differences to ${REFERENCE.label} and P(better) with 95% intervals; p of ${STUDY.measure.tests}. `;
  return numbers + (SINGLE ? "" : "Headers sort. ") + "Numbers open their runs and the command that repeats them.";
}

function render() {
  renderFilters();
  if (!SINGLE) renderAggregates();
  renderTable();
  renderCurves();
}

function filterBar() {
  const search = make("input", {
    type: "search", id: "search", placeholder: "find a task", "aria-label": "Find a task",
    oninput: (event) => choose(() => { view.search = event.target.value; }),
  });
  const suites = suiteNames();
  return make(
    "nav", { class: "filters", "aria-label": "Filters" },
    make("div", { role: "group", "aria-label": "Methods", class: "chips" }, METHODS.map((method) => chip("methods", method.id, methodLabel(method)))),
    suites.length > 1 ? make("div", { role: "group", "aria-label": "Suites", class: "chips" }, suites.map((suite) => chip("suites", suite, nameOf(suite)))) : null,
    SINGLE ? null : search,
    make("span", { id: "count", role: "status", hidden: SINGLE }),
  );
}

// A button that shows or hides what it names.
function chip(kind, name, label) {
  const toggle = () => choose(() => {
    if (!view[kind].delete(name)) view[kind].add(name);
  });
  return make("button", { type: "button", class: "chip", "data-kind": kind, "data-name": name, "aria-pressed": "true", onclick: toggle }, label);
}

function choose(change) {
  change();
  render();
}

function renderFilters() {
  for (const button of document.querySelectorAll(".chip")) {
    button.setAttribute("aria-pressed", String(view[button.dataset.kind].has(button.dataset.name)));
  }
  const shown = STUDY.tasks.filter(isShown).length;
  document.getElementById("count").textContent = shown === STUDY.tasks.length
    ? countOf(shown, "task") : `${shown} of ${countOf(STUDY.tasks.length, "task")}`;
}

function renderAggregates() {
  const section = document.getElementById("aggregates");
  const suites = STUDY.suites.filter((suite) => view.suites.has(suite.suite));
  section.querySelectorAll(".chart").forEach((place) => forgetChart(place));
  section.hidden = suites.length === 0 || view.methods.size === 0;
  section.replaceChildren(
    make("h2", {}, "Over all tasks of a suite"),
    ...suites.map(suiteSection),
    make("p", { class: "quiet" }, "Finding single tasks does not change these numbers: they are over all tasks of the suite. Bars: 95% intervals; the thin mark stands at even odds. A lower optimality gap is better."),
  );
}

function renderTable() {
  const isEmpty = view.methods.size === 0 || !STUDY.tasks.some(isShown);
  const nothing = "Nothing is selected: choose a method and a suite, or clear the search.";
  const content = isEmpty ? make("p", { class: "empty" }, nothing) : SINGLE ? singleTable(STUDY.tasks[0]) : mainTable();
  document.getElementById("table-scroll").replaceChildren(content);
}

function curvesHead() {
  const toggle = make("input", { type: "checkbox", id: "single-seeds", checked: view.singleSeeds, onchange: (event) => choose(() => { view.singleSeeds = event.target.checked; }) });
  return make(
    "div", { class: "curves-head" },
    make("h2", {}, "Learning and entropy curves"),
    make("label", { class: "toggle" }, toggle, "single seeds"),
    make("p", { class: "quiet" }, "Mean over seeds with its 95% interval. Point at a chart, touch it or use the arrow keys to read values."),
  );
}

function curveCard(task) {
  const few = !SINGLE && METHODS.some((method) => cellOf(task.id, method.id)?.few);
  return make(
    "article", { class: SINGLE ? "card large" : "card", "data-task": task.id },
    make("h3", {}, nameOf(task.id), few ? make("span", { class: "tag few" }, "too few seeds for some verdict") : null),
    make("div", { class: "legend" }),
    make("div", { class: "pair" },
      STUDY.quantities.map((quantity) => figure(quantity.title, () => curveSpec(task, quantity)))),
  );
}

function figure(title, describe) {
  return make("figure", {}, make("figcaption", {}, title), chartPlace(describe));
}

function renderCurves() {
  for (const card of document.querySelectorAll("#curves .card")) {
    card.hidden = view.methods.size === 0 || !isShown(TASKS.get(card.dataset.task));
    card.querySelector(".legend").replaceChildren(...shownMethods().map(methodLabel));
  }
  redrawCharts();
}

function curveSpec(task, quantity) {
  const lines = shownMethods().flatMap((method) => {
    const curve = CURVES.get(pairKey(task.id, method.id));
    return curve ? [curveLine(method, STUDY.steps[curve.steps], curve[quantity.name])] : [];
  });
  const digits = quantity.digits ?? task.digits;
  return {
    label: task.id, x: "environment steps", y: quantity.title.replace(/ \(.*\)$/, ""), lines,
    height: SINGLE ? 380 : undefined, xFrom: 0, xFormat: (step) => `${formatCount(step)} steps`, yFormat: (value) => formatValue(value, digits),
  };
}

function curveLine(method, steps, packed) {
  const line = { method, x: steps, seeds: [] };
  line.value = unpackLine(packed.mean);
  line.low = unpackLine(packed.low);
  line.high = unpackLine(packed.high);
  if (view.singleSeeds) line.seeds = packed.seeds.map((one) => unpackLine(one.values));
  return line;
}

// The system's choice until the reader makes another.
function setUpTheme() {
  const button = document.getElementById("theme");
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (prefersDark.matches ? "dark" : "light")) === "dark";
  const label = () => { button.textContent = isDark() ? "☀ Light" : "☾ Dark"; };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    label();
  });
  prefersDark.addEventListener("change", label);
  button.hidden = false;
  label();
}
