// The panel behind a number: its single seeds, their runs, the command, what others published.

function openDetail(taskId, methodId) {
  const task = TASKS.get(taskId);
  const method = methodOf(methodId);
  const cell = cellOf(taskId, methodId);
  const parts = [cellSummary(cell, task.digits), seedTable(cell, task.digits), commandBox(cell.command)];
  if (method !== REFERENCE) parts.push(...referenceParts(task));
  if (cell.published.length > 0) parts.push(publishedBox(cell, task.digits));
  openPanel([methodLabel(method), " on ", nameOf(taskId)], parts);
}

function openSuiteDetail(suite, methodId) {
  const method = methodOf(methodId);
  const tasks = STUDY.tasks.filter((task) => task.suite === suite.suite && cellOf(task.id, methodId));
  const rows = tasks.map((task) => {
    const cell = cellOf(task.id, methodId);
    return make("tr", {}, make("th", { scope: "row" }, nameOf(task.id)),
      make("td", {}, numberButton(formatMean(cell, task.digits), task, method)), make("td", { class: "figure" }, String(cell.seeds)));
  });
  openPanel(
    [methodLabel(method), " on ", nameOf(suite.suite)],
    [make("p", { class: "quiet" }, "The tasks behind the aggregates; each return leads to its runs and command."),
      simpleTable(["task", "return", "seeds"], rows)],
  );
}

function openPanel(title, parts) {
  const panel = document.getElementById("detail");
  const close = make("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => panel.close() }, "✕");
  panel.replaceChildren(
    make("div", { class: "panel-head" }, make("h2", { id: "detail-title" }, title), close),
    make("div", { class: "panel-body" }, parts),
  );
  if (!panel.open) panel.showModal();
  panel.querySelector(".panel-body").scrollTop = 0;
}

// A click beside the panel closes it; its own padding is zero, so only the backdrop is its target.
function closeOnBackdrop() {
  const panel = document.getElementById("detail");
  panel.addEventListener("click", (event) => event.target === panel && panel.close());
}

function cellSummary(cell, digits) {
  const entries = [
    [STUDY.measure.noun, `${formatMean(cell, digits)}, 95% interval ${formatInterval(cell, digits)}`],
    ["seeds", String(cell.seeds) + (cell.left_out ? ` (${cell.left_out})` : "")],
    [`difference to ${REFERENCE.label}`, differenceText(cell, digits)],
    [`P(better than ${REFERENCE.label})`, cell.improvement && `${formatValue(cell.improvement.value, 2)} (${formatInterval(cell.improvement, 2)})`],
    ...cell.statistics.map((one) => [one.title, isNumber(one.value) ? formatValue(one.value, one.digits ?? digits) : null]),
    STUDY.measure.reached && [`reached ${REFERENCE.label}'s final return`, isNumber(cell.reached) ? `after ${formatCount(cell.reached)} steps` : null],
    ["entropy at the end", isNumber(cell.entropy) ? `${formatValue(cell.entropy, 2)} nats` : null],
  ];
  const shown = entries.filter(Boolean).filter(([, text]) => text);
  return make("dl", {}, shown.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
}

function differenceText(cell, digits) {
  const difference = cell.difference;
  if (!difference) return null;
  const parts = [formatInterval(difference, digits), testsText(difference)].filter(Boolean).join(", ");
  return `${formatSigned(difference.mean, digits)} (${parts}): ${verdictOf(cell)}`;
}

function seedTable(cell, digits) {
  const rows = cell.returns.map((one) => make(
    "tr", {},
    make("td", { class: "figure" }, String(one.seed)),
    make("td", { class: "figure" }, formatValue(one.value, digits)),
    make("td", {}, make("a", { href: one.address }, nameOf(one.path))),
  ));
  return rows.length === 0 ? make("p", {}, "No completed runs.") : simpleTable(["seed", STUDY.measure.noun, "run"], rows);
}

function simpleTable(head, rows) {
  const titles = make("tr", {}, head.map((title) => make("th", { scope: "col" }, title)));
  return make("div", { class: "scroll" }, make("table", { class: "simple" }, make("thead", {}, titles), make("tbody", {}, rows)));
}

function commandBox(command) {
  const code = make("code", {}, command);
  const copy = make("button", { type: "button", class: "copy", onclick: () => copyCommand(command, code, copy) }, "Copy");
  return make("div", { class: "command" }, make("h3", {}, "Repeat it"), make("pre", {}, code), copy);
}

async function copyCommand(command, code, button) {
  try {
    await navigator.clipboard.writeText(command);
    button.textContent = "Copied";
  } catch {
    // Some browsers deny the clipboard to files from the disk.
    getSelection().selectAllChildren(code);
    button.textContent = "Selected: press Ctrl+C";
  }
}

function referenceParts(task) {
  const cell = cellOf(task.id, REFERENCE.id);
  if (!cell) return [];
  const title = make("h3", { class: "against" }, "Compared with ", methodLabel(REFERENCE), `: ${formatMean(cell, task.digits)}`);
  return [title, seedTable(cell, task.digits), commandBox(cell.command)];
}

function publishedBox(cell, digits) {
  const lines = cell.published.map((one) => make("li", {}, nameOf(one.source), `: ${formatMean(one, digits)}`));
  return make("div", { class: "published box" }, make("h3", {}, "Published by others, not run here"), make("ul", {}, lines));
}
