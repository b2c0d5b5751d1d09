"""What was found, as one JSON file that reports are drawn from again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from robustpo.base.files import one_line, parse_json, read_bytes
from robustpo.base.json_text import to_json
from robustpo.base.writing import make_directory, write_atomically
from robustpo.errors import ConfigError
from robustpo.statistics.means import Difference, MeanInterval
from robustpo.stress.findings import Finding, find
from robustpo.stress.measure import Terms
from robustpo.stress.study import Measured

DIRECTORY = "robustness"
FILE = "findings.json"
FORMAT = 1
MAX_BYTES = 64 * 2**20
# JSON has no word for what is infinite.
_BEYOND = "beyond the levels"


@dataclass(frozen=True)
class Panel:
    """One shift of one task, which all variants are shown under.

    Attributes:
        task: the task.
        shift: its name.
        unit: what a level counts.
        nominal: the level at which nothing differs.
        levels: those that were measured.
        random: mean return of random actions where nothing differs.
        simulated: what was simulated.
    """

    task: str
    shift: str
    unit: str
    nominal: float
    levels: tuple[float, ...]
    random: float
    simulated: str


@dataclass(frozen=True)
class Results:
    """All that was found of some policies.

    Attributes:
        reference: the variant that others are compared with.
        terms: how it was measured.
        panels: task by task, shift by shift.
        findings: of every panel and variant.
        notes: what a reader must know besides, a sentence each.
        command: what measures it again.
    """

    reference: str
    terms: Terms
    panels: tuple[Panel, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    command: str = ""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, each once."""
        return tuple(dict.fromkeys(panel.task for panel in self.panels))

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants, each once."""
        return tuple(dict.fromkeys(finding.variant for finding in self.findings))

    def of(self, panel: Panel) -> list[Finding]:
        """Return what was found of a panel, a finding for each variant."""
        place = (panel.task, panel.shift)
        return [one for one in self.findings if (one.task, one.shift) == place]


def results_of(
    measured: Sequence[Measured],
    reference: str,
    terms: Terms,
    notes: Sequence[str] = (),
    command: str = "",
) -> Results:
    """Say what measurements come to, and in which of them the simulator broke."""
    notes = [*notes, *(text for one in measured if (text := _broken(one)))]
    return Results(
        reference,
        terms,
        tuple(_panel(one) for one in measured),
        tuple(find(measured, reference)),
        tuple(notes),
        command,
    )


def save_results(results: Results, directory: Path, root: Path) -> Path:
    """Write `findings.json`.

    Raises:
        StorageError: if it could not be written.
    """
    make_directory(directory, root)
    data = asdict(results)
    for one in data["findings"]:
        for name in ("half_below", "half_above"):
            one[name] = _BEYOND if math.isinf(one[name]) else one[name]
    file = directory / FILE
    write_atomically(file, (to_json({"format": FORMAT} | data) + "\n").encode(), root)
    return file


def load_results(directory: Path) -> Results | None:
    """Read what `save_results` wrote; None if there is nothing.

    Raises:
        ConfigError: if it is damaged.
    """
    file = directory / FILE
    if not file.is_file():
        return None
    try:
        data = parse_json(read_bytes(file, MAX_BYTES))
        if data["format"] != FORMAT:
            raise ValueError("another format")
        if not data["panels"] or not data["findings"]:
            raise ValueError("nothing was found")
        return Results(
            str(data["reference"]),
            Terms(**data["terms"]),
            tuple(
                _of(Panel, one, levels=tuple(map(float, one["levels"]))) for one in data["panels"]
            ),
            tuple(_loaded(one) for one in data["findings"]),
            tuple(map(str, data["notes"])),
            str(data["command"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{file} is damaged ({type(error).__name__}); remove it, and measure again: what was "
            "measured is kept beside it"
        ) from error


def _broken(one: Measured) -> str:
    """Say in how many measurements the simulator broke, and how in the first."""
    found = [
        (level, score.error)
        for seeds in one.scores.values()
        for scores in seeds.values()
        for level, score in zip(one.levels, scores, strict=True)
        if score.error is not None
    ]
    if not found:
        return ""
    level, error = found[0]
    count = f"{len(found)} measurement{'s' if len(found) > 1 else ''}"
    return f"{one.task}, {one.shift.name}: {count} broke, such as at {level:g}: {one_line(error)}."


def _panel(one: Measured) -> Panel:
    shift, levels = one.shift, tuple(map(float, one.levels))
    nominal = float(shift.nominal)
    return Panel(one.task, shift.name, shift.unit, nominal, levels, one.random, one.simulated)


def _loaded(one: dict[str, Any]) -> Finding:
    signs = {"half_below": -math.inf, "half_above": math.inf}
    halves = {name: sign if one[name] == _BEYOND else one[name] for name, sign in signs.items()}
    return _of(
        Finding,
        one | halves,
        seeds=tuple(one["seeds"]),
        curve=tuple(_of(MeanInterval, point) for point in one["curve"]),
        area=_of(MeanInterval, one["area"]),
        **{
            name: None if one[name] is None else _of(Difference, one[name])
            for name in ("better", "loses_less")
        },
    )


def _of(kind: Any, data: dict[str, Any], **parts: Any) -> Any:
    """Make a value of its fields; numbers that JSON could not hold are nan again."""
    found = {}
    for field in fields(kind):
        value = parts.get(field.name, data[field.name])
        if field.type in ("float", float):
            value = math.nan if value is None else float(value)
        elif field.type in ("str", str):
            value = str(value)
        elif field.type in ("int", int):
            value = int(value)
        found[field.name] = value
    return kind(**found)
