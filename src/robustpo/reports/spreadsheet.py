"""Text that a spreadsheet takes for a formula, made plain text."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_cell(text: str) -> str:
    """Put an apostrophe before text that a spreadsheet would run, such as `=HYPERLINK(…)`.

    Names and errors come from files of others. A spreadsheet takes the apostrophe for a sign of
    text and does not show it. Numbers are not text and are never given to this.
    """
    return f"'{text}" if text.startswith(_FORMULA) else text
