"""A study's table in the paper's form, mean ± standard deviation: Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io

from robustpo.reports.page_data import Cell, PageData
from robustpo.reports.tables import _escape

_LATEX = {
    "\\": r"\textbackslash{}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def markdown_of(page: PageData) -> str:
    """Return title, sentence, table and what the columns mean, as Markdown."""
    methods = page["methods"]
    lines = ["| task | " + " | ".join(_escape(m["label"]) for m in methods) + " |"]
    lines.append("| --- |" + " ---: |" * len(methods))
    for task in page["tasks"]:
        cells = [_text(_find(page, task["id"], m["id"]), " ± ") for m in methods]
        lines.append(f"| {_escape(task['id'])} | " + " | ".join(cells) + " |")
    rules = "\n".join(f"- {_escape(rule)}" for rule in (*page["notes"], *page["rules"]))
    return (
        f"# {_escape(page['title'])}\n\n{_escape(page['sentence'])}\n\n"
        f"{_escape(page['setup'])}. Mean ± standard deviation of the final return over seeds; "
        "* better, † worse than the reference (see below).\n\n"
        + "\n".join(lines)
        + f"\n\n{rules}\n"
    )


def latex_of(page: PageData) -> str:
    """Return the table as a LaTeX tabular."""
    methods = page["methods"]
    lines = [
        f"% {page['setup']}",
        rf"\begin{{tabular}}{{l{'r' * len(methods)}}}",
        r"\hline",
        "Task & " + " & ".join(_latex(m["label"]) for m in methods) + r" \\ \hline",
    ]
    for task in page["tasks"]:
        cells = [_text(_find(page, task["id"], m["id"]), r" $\pm$ ") for m in methods]
        cells = [cell.replace("*", "$^*$").replace("†", r"$^\dagger$") for cell in cells]
        lines.append(f"{_latex(task['id'])} & " + " & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}", ""])


def csv_of(page: PageData) -> str:
    """Return one line per task and method, everything the page's table shows."""
    stream = io.StringIO()
    names = ["task", "method", "seeds", "left_out", "mean", "std", "low", "high", "entropy"]
    more = ["difference", "difference_low", "difference_high", "p", "verdict", "improvement"]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*names, *more, "area", "reached", "published", "command"])
    for cell in page["cells"]:
        difference, improvement = cell["difference"], cell["improvement"]
        numbers = [""] * 5
        if difference is not None:
            numbers = [difference[key] for key in ("mean", "low", "high", "p", "verdict")]
        published = "; ".join(
            f"{one['mean']} ± {one['std']} ({one['source']})" for one in cell["published"]
        )
        writer.writerow(
            [cell[name] for name in names]
            + [*numbers, improvement["value"] if improvement else ""]
            + [cell["area"], cell["reached"], published, cell["command"]]
        )
    return stream.getvalue()


def _find(page: PageData, task: str, method: str) -> Cell | None:
    found = (c for c in page["cells"] if (c["task"], c["method"]) == (task, method))
    return next(found, None)


def _text(cell: Cell | None, between: str) -> str:
    if cell is None or cell["mean"] is None:
        return "-"
    digits = 0 if abs(cell["mean"]) >= 100 else 1 if abs(cell["mean"]) >= 10 else 2
    text = f"{cell['mean']:,.{digits}f}"
    if cell["std"] is not None:
        text += f"{between}{cell['std']:,.{digits}f}"
    verdict = cell["difference"]["verdict"] if cell["difference"] else "none"
    mark = {"win": " *", "loss": " †"}.get(verdict, "")
    return text + mark + (f" ({cell['left_out']})" if cell["left_out"] else "")


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)
