"""What records decide of a study: above all which preset a task gets where none is named.

Tasks that nobody has published numbers of get `own`. Runs that were recorded before there was
that preset go on under `paper`, so that the same command still means the same experiment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from robustpo.config.published import default_preset
from robustpo.config.run import RunConfig
from robustpo.execution.preflight import preset_note
from robustpo.runs.record import CONFIG_FILE, task_directory
from robustpo.runs.run_files import as_dict, read_object
from robustpo.studies.steps_choice import settle_steps
from robustpo.studies.study import Part, Study

OWN, PAPER = "own", "paper"


def preset_notes(configs: Iterable[RunConfig]) -> list[str]:
    """Return a sentence for each task of a study that is trained under the preset `own`."""
    notes: dict[str, str] = {}
    for config in configs:
        if note := preset_note(config):
            notes.setdefault(config.task, f"{note[0].upper()}{note[1:]}.")
    return list(notes.values())


def settle_preset(task: str, out: Path) -> tuple[str, str | None]:
    """Return the preset of a task for which none is named, and a note if its records decided.

    Args:
        task: name of the task.
        out: directory that holds all runs.
    """
    preset = default_preset(task)
    directory = task_directory(out, task)
    if preset != OWN or _recorded_presets(directory) != {PAPER}:
        return preset, None
    note = (
        f"task {task} keeps the preset paper (actions in raw units, time limits terminal), because "
        f"runs under it are recorded in {directory}; for the preset own, which such tasks get now, "
        "choose --preset own or another --out"
    )
    return PAPER, note


def settle_study(study: Study, out: Path) -> tuple[Study, tuple[str, ...]]:
    """Name preset and steps of those tasks whose records decide them; return what to say too."""
    parts: list[Part] = []
    notes: dict[str, None] = {}
    for part in study.parts:
        if part.options.get("preset") is not None:
            parts.append(part)
            continue
        found = {task: settle_preset(task, out) for task in part.tasks}
        kept = tuple(task for task, (_, note) in found.items() if note)
        others = tuple(task for task in part.tasks if task not in kept)
        notes |= dict.fromkeys(note for _, note in found.values() if note)
        if others:
            parts.append(replace(part, tasks=others))
        if kept:
            parts.append(replace(part, tasks=kept, options=part.options | {"preset": PAPER}))
    settled, said = settle_steps(replace(study, parts=tuple(parts)), out)
    return settled, (*notes, *said)


def _recorded_presets(directory: Path) -> set[str]:
    """Return the presets `own` and `paper` as far as runs of a task are recorded under them."""
    found: set[str] = set()
    try:
        variants = sorted(path for path in directory.iterdir() if path.is_dir())
        # All seeds of a variant have one preset; some may hold no record that can be read.
        for variant in variants:
            for run in sorted(variant.glob("seed-*")):
                record = read_object(run / CONFIG_FILE)
                if record is not None:
                    # Before there were presets everything was trained as in the paper.
                    preset = as_dict(record.get("identity")).get("preset", PAPER)
                    found |= {name for name in (OWN, PAPER) if name == preset}
                    break
    except OSError:
        return found
    return found
