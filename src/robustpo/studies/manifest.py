"""What of a study has been asked for in a directory of runs; kept beside them as plain data.

`<out>/studies/<name>/study.json` is what `status` and `report` go by, and what keeps runs of
different definitions apart: more tasks, methods or seeds extend a study, other steps or settings
are another one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from robustpo.base.files import one_line, parse_json, read_bytes
from robustpo.base.writing import write_atomically
from robustpo.errors import ConfigError
from robustpo.runs.locks import exclusive
from robustpo.studies.preset_choice import settle_study
from robustpo.studies.study import Part, Study
from robustpo.studies.study_file import OPTIONS, SHOWN

FILE = "study.json"
FORMAT = 1
MAX_BYTES = 16 * 2**20


def study_directory(out: Path, name: str) -> Path:
    """Return where a study's definition and reports lie; its runs lie with all others in `out`."""
    return out / "studies" / name


def load_manifest(out: Path, name: str) -> Study | None:
    """Return the study as it has been asked for so far, or None if it has not.

    Raises:
        ConfigError: if the file is damaged, from a later version, or asks for what cannot be run.
    """
    file = study_directory(out, name) / FILE
    if not os.path.lexists(file):
        return None
    try:
        data = parse_json(read_bytes(file, MAX_BYTES))
        if data["format"] != FORMAT:
            raise ConfigError(
                f"{file} has format {one_line(data['format'], 20)}, this version reads {FORMAT}; "
                "use the version that wrote it"
            )
        parts = tuple(_part(part) for part in data.pop("parts"))
        texts = {key: str(data[key]) for key in ("title", "source", "shows", "note")}
        aliases = tuple(map(str, data["aliases"]))
        # The name is also the directory that reports are written to.
        notes = _all(str, data["notes"]) if data.get("notes") else ()
        judged_by = str(data.get("judged_by", ""))
        study = Study(
            name=name, parts=parts, aliases=aliases, notes=notes, judged_by=judged_by, **texts
        )
        if not parts or study.shows not in SHOWN:
            raise ValueError("it asks for nothing")
        study.check()
        return settle_study(study, out)[0]
    except ConfigError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{file} is damaged ({type(error).__name__}); remove it, the runs stay"
        ) from error


def save_manifest(out: Path, asked: Study) -> Path:
    """Write down what a study asks for beside what it has been asked for before.

    Commands that do so at once wait for each other, and none loses what another has written.

    Returns:
        The study's directory.

    Raises:
        ConfigError: as `load_manifest` and `extend`; nothing is written then.
        StorageError: if it could not be written.
    """
    directory = study_directory(out, asked.name)
    with exclusive(directory / f".{FILE}.lock", out):
        study = extend(load_manifest(out, asked.name), asked, out)
        data = {"format": FORMAT, **asdict(study)}
        content = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
        write_atomically(directory / FILE, content.encode("utf-8"), out)
    return directory


def extend(recorded: Study | None, asked: Study, out: Path) -> Study:
    """Return what a study asks for in all: what was asked before, and what is asked now.

    Raises:
        ConfigError: if a task would be trained under other steps or settings than before.
    """
    if recorded is None:
        return asked
    for part in asked.parts:
        for old in recorded.parts:
            common = [task for task in part.tasks if task in old.tasks]
            changes = _changes(old, part) if common else []
            if changes and not any(
                _same_terms(part, other) and common[0] in other.tasks for other in recorded.parts
            ):
                raise ConfigError(
                    f"study {asked.name!r} was made in {out} with {'; '.join(changes)} (task "
                    f"{one_line(common[0], 60)}); runs of different length or settings are not "
                    "mixed, because schedules run over all steps: choose another --out, or what "
                    "was asked before"
                )
    parts = list(recorded.parts)
    parts += [part for part in asked.parts if part not in parts]
    # What earlier runs of it were made with stays true of them.
    notes = tuple(dict.fromkeys([*recorded.notes, *asked.notes]))
    return replace(asked, parts=tuple(parts), notes=notes)


def _changes(old: Part, new: Part) -> list[str]:
    changes = [] if old.steps == new.steps else [f"steps={old.steps:,}, now {new.steps:,}"]
    for key in dict.fromkeys([*old.options, *new.options]):
        before, now = old.options.get(key, "its default"), new.options.get(key, "its default")
        if before != now:
            changes.append(f"{key}={one_line(before, 60)}, now {one_line(now, 60)}")
    return changes


def _same_terms(one: Part, other: Part) -> bool:
    return not _changes(one, other)


def _part(data: Mapping[str, Any]) -> Part:
    if unknown := set(data["options"]) - set(OPTIONS):
        raise ValueError(f"{unknown} are no options")
    return Part(
        _all(str, data["tasks"]),
        _all(str, data["methods"]),
        _all(int, data["seeds"]),
        _all(int, [data["steps"]])[0],
        {k: tuple(v) if isinstance(v, list) else v for k, v in data["options"].items()},
    )


def _all(kind: type, values: Any) -> tuple:
    """Return the values of a list that are all of one type."""
    if not isinstance(values, list) or any(type(value) is not kind for value in values):
        raise ValueError(f"expected a list of {kind.__name__}")
    if not values or len(set(values)) != len(values):
        raise ValueError("expected some values, none twice")
    return tuple(values)
