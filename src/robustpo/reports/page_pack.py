"""A study's data in the form that its page carries: small, rounded, safe inside HTML.

Curves are nearly all of a page. Twelve tasks, four methods and five seeds at 200 points are 150,000
numbers, a megabyte in decimal figures. Each line is therefore stored in 4096 levels between its
least and its greatest value, which is finer than a screen, at two characters a point.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from robustpo.reports.formats import format_p
from robustpo.reports.page_data import Cell, Curve, Estimate, Lines, PageData, SeedReturn, Suite
from robustpo.reports.page_looks import method_looks

# In the order of base64, so that a level reads as two digits; `page.js` has the same.
ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
MISSING = ".."
_TOP_LEVEL = len(ALPHABET) ** 2 - 1
_SIGNIFICANT = 6


def embedded_json(data: PageData) -> str:
    """Write a study's data as JSON that no text in it can end the surrounding script with.

    Raises:
        ValueError: if a number is not finite.
    """
    text = json.dumps(pack(data), allow_nan=False, separators=(",", ":"))
    # JSON in ASCII has U+2028 and U+2029 escaped already.
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def pack(data: PageData) -> dict[str, Any]:
    """Return what `page.js` reads."""
    looks = method_looks([method["id"] for method in data["methods"]])
    methods = [
        {
            "id": method["id"],
            "label": method["label"],
            "reference": bool(method.get("reference")),
            "dash": look.dash,
        }
        for method, look in zip(data["methods"], looks, strict=True)
    ]
    steps: list[list[int]] = []
    curves = [_pack_curve(curve, steps) for curve in data["curves"]]
    return {
        "name": data["name"],
        "methods": methods,
        "tasks": data["tasks"],
        "cells": [_pack_cell(cell) for cell in data["cells"]],
        "suites": [_pack_suite(suite) for suite in data["suites"]],
        "steps": steps,
        "curves": curves,
    }


def run_address(path: str) -> str:
    """Return the address of a run's directory that a link on the page may have.

    A path that looks like an address (`javascript:…`, `//host`) stays a path.
    """
    absolute = path.startswith("/")
    address = quote(path.lstrip("/"), safe="/", errors="surrogatepass")
    return f"file:///{address}" if absolute else f"./{address}"


def pack_line(values: Sequence[float | None]) -> list[Any]:
    """Return a line as [least value, greatest value, two characters a point]."""
    present = [value for value in values if value is not None]
    low, high = (min(present), max(present)) if present else (0.0, 0.0)
    scale = _TOP_LEVEL / (high - low) if high > low else 0.0
    size = len(ALPHABET)
    parts = []
    for value in values:
        if value is None:
            parts.append(MISSING)
            continue
        level = round((value - low) * scale)
        parts.append(ALPHABET[level // size] + ALPHABET[level % size])
    return [_short(low), _short(high), "".join(parts)]


def _pack_curve(curve: Curve, steps: list[list[int]]) -> dict[str, Any]:
    """Pack a curve; nearly all curves of a study share their steps, which are stored once."""
    if curve["step"] not in steps:
        steps.append(curve["step"])
    return {
        "task": curve["task"],
        "method": curve["method"],
        "steps": steps.index(curve["step"]),
        "return": _pack_lines(curve["return"]),
        "entropy": _pack_lines(curve["entropy"]),
    }


def _pack_lines(lines: Lines) -> dict[str, Any]:
    return {
        "mean": pack_line(lines["mean"]),
        "low": pack_line(lines["low"]),
        "high": pack_line(lines["high"]),
        "seeds": [
            {"seed": one["seed"], "values": pack_line(one["values"])} for one in lines["seeds"]
        ],
    }


def _pack_cell(cell: Cell) -> dict[str, Any]:
    difference = cell["difference"]
    packed: dict[str, Any] = {**cell, "returns": [_pack_return(one) for one in cell["returns"]]}
    for name in ("mean", "std", "low", "high", "entropy", "area"):
        packed[name] = _short(packed[name])
    packed["improvement"] = _pack_estimate(cell["improvement"])
    if difference is not None:
        numbers = ("mean", "low", "high", "p", "permutation")
        packed["difference"] = {
            **{name: _short(difference[name]) for name in numbers},
            "pText": _p_text(difference["p"]),
            "permutationText": _p_text(difference["permutation"]),
            "verdict": difference["verdict"],
        }
    return packed


def _p_text(value: float | None) -> str:
    return "" if value is None else format_p(value)


def _pack_return(one: SeedReturn) -> dict[str, Any]:
    return {
        "seed": one["seed"],
        "value": _short(one["value"]),
        "path": one["path"],
        "address": run_address(one["path"]),
    }


def _pack_suite(suite: Suite) -> dict[str, Any]:
    rows = []
    for row in suite["rows"]:
        estimates = {
            name: _pack_estimate(row[name]) for name in ("iqm", "mean", "gap", "improvement")
        }
        rows.append({**row, **estimates})
    profile = suite["profile"]
    lines = [
        {
            "method": line["method"],
            **{name: pack_line(line[name]) for name in ("value", "low", "high")},
        }
        for line in profile["methods"]
    ]
    tau = [_short(value) for value in profile["tau"]]
    return {**suite, "rows": rows, "profile": {"tau": tau, "methods": lines}}


def _pack_estimate(estimate: Estimate | Mapping[str, float | None] | None) -> dict | None:
    if estimate is None:
        return None
    return {name: _short(estimate[name]) for name in ("value", "low", "high")}


def _short(value: float | None) -> float | int | None:
    """Round to the figures that any part of the page shows; whole numbers lose their `.0`."""
    if value is None:
        return None
    rounded = float(f"{value:.{_SIGNIFICANT}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded
