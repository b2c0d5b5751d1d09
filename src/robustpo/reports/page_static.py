"""The parts of a study's page that need no JavaScript: header, plain table, rules, provenance."""

from __future__ import annotations

from html import escape

from robustpo.reports.page_data import Cell, PageData, Provenance
from robustpo.reports.page_pack import task_digits
from robustpo.reports.statistics import MIN_SEEDS
from robustpo.reports.verdict import format_p, format_value


def static_parts(data: PageData) -> dict[str, str]:
    """Return the HTML of every placeholder of `page.html` that is text; all of it is escaped."""
    return {
        "title": escape(data["title"]),
        "sentence": escape(data["sentence"]),
        "setup": escape(data["setup"]),
        "notes": _notes(data["notes"]),
        "plain_table": _plain_table(data),
        "rules": _items(data["rules"]),
        "provenance": _provenance(data["provenance"]),
    }


def _notes(notes: list[str]) -> str:
    if not notes:
        return ""
    heading = '<h2 class="visually-hidden">Read this first</h2>'
    return f'<section class="notes">{heading}<ul>{_items(notes)}</ul></section>'


def _items(lines: list[str]) -> str:
    return "".join(f'<li dir="auto">{escape(line)}</li>' for line in lines)


def _plain_table(data: PageData) -> str:
    """Return all final returns as a table: a row per task, a column per method."""
    cells = {(cell["task"], cell["method"]): cell for cell in data["cells"]}
    digits = task_digits(data["cells"])
    head = "".join(f'<th scope="col">{_name(m["label"])}</th>' for m in data["methods"])
    rows = []
    for task in data["tasks"]:
        found = [cells.get((task["id"], method["id"])) for method in data["methods"]]
        texts = [_cell_text(cell, digits.get(task["id"], 0)) for cell in found]
        columns = "".join(f"<td>{escape(text)}</td>" for text in texts)
        rows.append(f'<tr><th scope="row">{_name(task["id"])}</th>{columns}</tr>')
    return (
        '<div class="scroll"><table class="plain"><caption>Final return, mean ± standard deviation '
        f"over seeds. Curves and single runs need JavaScript.</caption><thead><tr>"
        f'<th scope="col">task</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _cell_text(cell: Cell | None, digits: int) -> str:
    if cell is None or cell["mean"] is None:
        return "no runs"
    text = format_value(cell["mean"], digits)
    if cell["std"] is not None:
        text += f" ± {format_value(cell['std'], digits)}"
    difference = cell["difference"]
    if cell["seeds"] < MIN_SEEDS or (difference and difference["verdict"] == "none"):
        return f"{text} (n = {cell['seeds']}, no verdict)"
    if difference is not None and difference["p"] is not None:
        text += f" ({difference['verdict']}, {format_p(difference['p'])})"
    return text


def _name(text: str) -> str:
    # Text that runs from right to left must not reorder what stands beside it.
    return f"<bdi>{escape(text)}</bdi>"


def _provenance(provenance: Provenance) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in provenance["versions"].items())
    entries = {
        "Repeat the study": f"<code>{escape(provenance['command'])}</code>",
        "Generated": escape(provenance["generated"]),
        "Versions": escape(versions),
        "Machine": escape(provenance["machine"]),
    }
    return "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in entries.items())
