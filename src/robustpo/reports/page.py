"""One self-contained HTML page of a study, which opens from the disk and needs no network."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from matplotlib.figure import Figure

from robustpo.base.writing import write_atomically
from robustpo.reports.page_data import PageData, embedded_json
from robustpo.reports.page_static import static_parts
from robustpo.reports.style import house_style, method_looks

# Joined into one script, in this order.
_SCRIPTS = ("model.js", "charts.js", "tables.js", "details.js", "page.js")


def write_page(data: PageData, path: Path, robustness: str = "") -> Path:
    """Write a study's page, replacing an older one in one step, and return its path.

    Args:
        data: all that the page shows; paths of runs in it are relative to the page's directory.
        path: the HTML file; its directory exists.
        robustness: its section, as HTML; empty if it has not been measured.

    Raises:
        ValueError: if a number is not finite; a missing one is None.
        StorageError: if the file could not be written.
    """
    write_atomically(path, render_page(data, robustness).encode("utf-8", "xmlcharrefreplace"))
    return path


def render_page(data: PageData, robustness: str = "") -> str:
    """Return the page's HTML.

    Every text of `data` is either escaped here or set as text by the script, and the page's
    Content-Security-Policy allows no other style, script or address than the two inline ones.

    Raises:
        ValueError: if a number is not finite.
    """
    style = colour_rules([method["id"] for method in data["methods"]]) + _asset("page.css")
    script = _joined_scripts()
    template = Template(_asset("page.html"))
    return template.substitute(
        static_parts(data),
        robustness=robustness,
        policy=_policy(style, script, pictures=bool(robustness)),
        style=style,
        script=script,
        data=embedded_json(data),
    )


def plain_page(title: str, body: str) -> str:
    """Return a page in the house's style that needs no script.

    Args:
        title: what it is called.
        body: HTML, in which all text is escaped.
    """
    style = _asset("page.css")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, pictures=True)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(title)}</title>'
        f"<style>{style}</style></head><body><header><h1>{escape(title)}</h1></header>"
        f"<main>{body}</main></body></html>\n"
    )


def embedded_figure(figure: Figure, text: str) -> str:
    """Return a figure as a picture that is part of the page; `text` says what it shows."""
    content = io.BytesIO()
    with house_style():
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    address = base64.b64encode(content.getvalue()).decode()
    return f'<p><img alt="{escape(text)}" src="data:image/svg+xml;base64,{address}"></p>'


def simple_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return texts as a table of HTML."""
    titles = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in body
    )
    return (
        f'<div class="scroll"><table class="simple"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def command_line(text: str) -> str:
    """Return a command as HTML."""
    return f'<div class="command"><pre><code>{escape(text)}</code></pre></div>'


def colour_rules(ids: Sequence[str]) -> str:
    """Return the style sheet's variables `--method-0`, `--method-1`, … for these methods."""
    rules = [
        f"--method-{index}: light-dark({look.light}, {look.dark});"
        for index, look in enumerate(method_looks(ids))
    ]
    return f":root {{ {' '.join(rules)} }}\n"


def _policy(style: str, script: str | None = None, *, pictures: bool) -> str:
    """Return the policy that allows exactly this style and script, and pictures in the page."""
    images = "img-src data:; " if pictures else ""
    scripts = "'none'" if script is None else f"'{_source_hash(script)}'"
    return (
        f"default-src 'none'; style-src '{_source_hash(style)}'; script-src {scripts}; "
        f"{images}base-uri 'none'; form-action 'none'"
    )


def _source_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _joined_scripts() -> str:
    parts = "\n".join(_asset(name) for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}\n}})();'


def _asset(name: str) -> str:
    file = resources.files("robustpo.reports").joinpath("page", name)
    return file.read_text(encoding="utf-8")
