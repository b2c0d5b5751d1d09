"""A study's table in the paper's form, mean ± standard deviation: Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io

from robustpo.reports.formats import format_value
from robustpo.reports.page_data import Cell, PageData, Task
from robustpo.reports.spreadsheet import csv_cell
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
        cells = [_text(_find(page, task, m["id"]), task, " ± ") for m in methods]
        lines.append(f"| {_escape(task['id'])} | " + " | ".join(cells) + " |")
    lines_below = [line for line in (*page["notes"], page["worth"], *page["rules"]) if line]
    rules = "\n".join(f"- {_escape(line)}" for line in lines_below)
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
        cells = [_text(_find(page, task, m["id"]), task, r" $\pm$ ") for m in methods]
        cells = [cell.replace("*", "$^*$").replace("†", r"$^\dagger$") for cell in cells]
        lines.append(f"{_latex(task['id'])} & " + " & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}", ""])


def csv_of(page: PageData) -> str:
    """Return one line per task and method, everything the page's table shows."""
    stream = io.StringIO()
    names = ["task", "method", "seeds", "left_out", "mean", "std", "low", "high", "entropy"]
    more = ["difference", "difference_low", "difference_high", "p", "p_permutation", "verdict"]
    last = ["improvement", "improvement_low", "improvement_high", "area", "reached", "published"]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*names, *more, *last, "command"])
    for cell in page["cells"]:
        difference, improvement = cell["difference"], cell["improvement"]
        keys = ("mean", "low", "high", "p", "permutation", "verdict")
        numbers = [difference[key] for key in keys] if difference else [""] * len(keys)
        ends = [improvement[key] for key in ("value", "low", "high")] if improvement else [""] * 3
        published = "; ".join(
            f"{one['mean']} ± {one['std']} ({one['source']})" for one in cell["published"]
        )
        row = [cell[name] for name in names] + [*numbers, *ends]
        row += [cell["area"], cell["reached"], published, cell["command"]]
        writer.writerow([csv_cell(one) if isinstance(one, str) else one for one in row])
    return stream.getvalue()


def _find(page: PageData, task: Task, method: str) -> Cell | None:
    found = (c for c in page["cells"] if (c["task"], c["method"]) == (task["id"], method))
    return next(found, None)


def _text(cell: Cell | None, task: Task, between: str) -> str:
    if cell is None or cell["mean"] is None:
        return "-"
    text = format_value(cell["mean"], task["digits"])
    if cell["std"] is not None:
        text += f"{between}{format_value(cell['std'], task['digits'])}"
    verdict = cell["difference"]["verdict"] if cell["difference"] else "none"
    mark = {"win": " *", "loss": " †"}.get(verdict, "")
    return text + mark + (f" ({cell['left_out']})" if cell["left_out"] else "")


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)
