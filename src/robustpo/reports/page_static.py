"""The parts of a study's page that need no JavaScript: header, plain table, rules, provenance."""

from __future__ import annotations

from html import escape

from robustpo.reports.formats import format_value
from robustpo.reports.page_data import PageData
from robustpo.reports.page_settings import Setting, stands_out

_WORTH_LINK = ' <a href="#worth">What a verdict of so few seeds is worth</a>'


def static_parts(data: PageData) -> dict[str, str]:
    """Return the HTML of every placeholder of `page.html` that is text; all of it is escaped."""
    return {
        "title": escape(data["title"]),
        "sentence": escape(data["sentence"]),
        "setup": escape(data["setup"]),
        "notes": _notes(data["notes"]),
        "plain_table": _plain_table(data),
        "worth": _worth(data["worth"]),
        "worth_link": _WORTH_LINK if data["worth"] else "",
        "settings": _settings(data),
        "command": escape(data["command"]),
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


def _worth(text: str) -> str:
    return f'<p class="worth" id="worth">{escape(text)}</p>' if text else ""


def _settings(data: PageData) -> str:
    """Return a table of the settings that differ between methods, and a list of all others."""
    out, shared = [], []
    for setting in data["settings"]:
        (out if stands_out(setting) else shared).append(setting)
    head = "".join(f'<th scope="col">{_name(m["label"])}</th>' for m in data["methods"])
    rows = "".join(_setting_row(setting) for setting in out)
    table = (
        f'<div class="scroll"><table class="simple"><thead><tr><th scope="col">setting</th>{head}'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )
    entries = "".join(
        f"<div><dt>{escape(_words(one))}</dt><dd>{escape(one['values'][0])}</dd></div>"
        for one in shared
    )
    return f'{table}<h3>The same for all methods</h3><dl class="shared">{entries}</dl>'


def _setting_row(setting: Setting) -> str:
    cells = "".join(f"<td>{escape(value)}</td>" for value in setting["values"])
    return f'<tr><th scope="row">{escape(_words(setting))}</th>{cells}</tr>'


def _words(setting: Setting) -> str:
    return setting["name"].replace("_", " ")


def _plain_table(data: PageData) -> str:
    """Return all final returns as a table: a row per task, a column per method."""
    cells = {(cell["task"], cell["method"]): cell for cell in data["cells"]}
    head = "".join(f'<th scope="col">{_name(m["label"])}</th>' for m in data["methods"])
    rows = []
    for task in data["tasks"]:
        found = [cells.get((task["id"], method["id"])) for method in data["methods"]]
        texts = [_cell_text(cell, task["digits"]) for cell in found]
        columns = "".join(f"<td>{escape(text)}</td>" for text in texts)
        rows.append(f'<tr><th scope="row">{_name(task["id"])}</th>{columns}</tr>')
    return (
        '<div class="scroll"><table class="plain"><caption>'
        f"{escape(data['measure']['title'])}, mean ± standard deviation over seeds. Curves and "
        "single runs need JavaScript.</caption><thead><tr>"
        f'<th scope="col">task</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _cell_text(cell: dict | None, digits: int) -> str:
    if cell is None or cell["mean"] is None:
        return "no runs"
    text = format_value(cell["mean"], digits)
    if cell["std"] is not None:
        text += f" ± {format_value(cell['std'], digits)}"
    parts = [f"n = {cell['seeds']}"]
    if difference := cell["difference"]:
        no_verdict = difference["verdict"] == "none"
        parts.append("no verdict" if no_verdict else difference["verdict"])
        if difference["pText"]:
            parts.append(difference["pText"])
    return f"{text} ({', '.join(parts)})"


def _name(text: str) -> str:
    # Text that runs from right to left must not reorder what stands beside it.
    return f"<bdi>{escape(text)}</bdi>"


def _provenance(provenance: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in provenance["versions"].items())
    entries = {
        "Generated": escape(provenance["generated"]),
        "Versions": escape(versions),
        "Machine": escape(provenance["machine"]),
    }
    return "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in entries.items())
