"""`robustpo envs`: what can be trained here, what it needs, and whether it works."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Annotated, Any

import tyro
from tyro.conf import Positional

from robustpo.base.json_text import to_json
from robustpo.cli.options import EnvKwargs
from robustpo.cli.streams import prints_on_stderr
from robustpo.config.published import published_preset, published_tables
from robustpo.environments.availability import missing_extra
from robustpo.environments.catalog import CATALOG
from robustpo.environments.entry import Entry
from robustpo.environments.task_arguments import parse_arguments, with_arguments
from robustpo.errors import ConfigError

MORE = (
    "Any other Gymnasium id, gymnasium/<id> for the benchmark's own implementation, brax/<name>, "
    "playground/<name> and module:callable train too."
)
# Making and compiling one takes half a minute at most.
SECONDS_PER_TASK = 60.0


@dataclass(frozen=True)
class Envs:
    """List what can be trained here, or make and step it."""

    search: Annotated[str, Positional] = ""
    """Show only ids and suites that contain this; with --check also module:callable."""
    env_kwargs: EnvKwargs = ()
    check: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Make and step every task shown whose extra is installed; the exit code is 1 if one fails."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print a list of JSON objects."""

    def __call__(self) -> int:
        """Print the catalog or what the check found."""
        task = with_arguments(self.search, parse_arguments(self.env_kwargs))
        found = [
            entry
            for entry in CATALOG.values()
            if task.lower() in f"{entry.id} {entry.suite}".lower()
        ]
        if self.check and not found:
            return _check_own(task, as_json=self.json)
        if not found and not self.json:
            raise ConfigError(f"no task matches {self.search!r}; `robustpo envs` lists all")
        if self.check:
            return _check(found, as_json=self.json)
        if self.json:
            print(to_json([_as_data(entry) for entry in found], indent=2))
        else:
            _print_tasks(found)
        return 0


def _as_data(entry: Entry) -> dict[str, Any]:
    """Return what programs may want to know of a task."""
    names = ("id", "suite", "simulator", "observation_size", "action_low", "action_high")
    data = {name: getattr(entry, name) for name in names}
    return data | {
        "action_size": len(entry.action_low),
        "observation": dict(entry.observation),
        "episode_limit": entry.episode_limit,
        "ends_early": entry.ends_early,
        "preset": published_preset(entry.id),
        "published": published_tables(entry),
        "note": entry.note,
        "extra": entry.extra,
        "installed": missing_extra(entry) is None,
    }


def _print_tasks(entries: Sequence[Entry]) -> None:
    notes: dict[str, int] = {}
    for suite, tasks in groupby(entries, key=lambda entry: entry.suite):
        print(f"\n{suite}")
        print(f"  {'id':<44}{'observations':>13}{'actions':>9}{'steps':>7}  ends early")
        for entry in tasks:
            sizes = f"{entry.observation_size:>13}{len(entry.action_low):>9}"
            remarks = ["yes" if entry.ends_early else "no"]
            if entry.note:
                remarks.append(f"[{notes.setdefault(entry.note, len(notes) + 1)}]")
            if extra := missing_extra(entry):
                remarks.append(f"needs: pip install 'robustpo[{extra}]'")
            print(f"  {entry.id:<44}{sizes}{entry.episode_limit:>7}  {'  '.join(remarks)}")
    for note, number in notes.items():
        print(f"\n[{number}] {note}.")
    print(f"\n{MORE}")


def _check_own(task: str, *, as_json: bool) -> int:
    """Say what is wrong with an environment of the user's."""
    from robustpo.environments.check import check_environment

    with prints_on_stderr():
        findings = check_environment(task)
    if as_json:
        print(to_json([asdict(finding) for finding in findings], indent=2))
    for finding in () if as_json else findings:
        print(f"{finding.status:<6}{finding.name:<13}{finding.detail}")
        if finding.advice:
            print(f"{'':<6}-> {finding.advice}")
    return int(any(finding.status == "fail" for finding in findings))


@dataclass(frozen=True)
class _Checked:
    """What making and stepping one task came to; the error is None if it works."""

    id: str
    status: str
    seconds: float
    error: str | None


def _check(entries: Sequence[Entry], *, as_json: bool) -> int:
    """Make and step each task in a process of its own, and report it."""
    results = []
    for entry in entries:
        extra = missing_extra(entry)
        if extra:
            result = _Checked(entry.id, "skipped", 0.0, f"pip install 'robustpo[{extra}]'")
        else:
            result = _try(entry)
        results.append(result)
        if not as_json:
            why = f"  {result.error}" if result.error else ""
            print(f"{result.status:<8}{result.id:<44}{result.seconds:>6.1f} s{why}", flush=True)
    failed = [result for result in results if result.status == "failed"]
    if as_json:
        print(to_json([asdict(result) for result in results], indent=2))
    else:
        counts = {s: sum(r.status == s for r in results) for s in ("ok", "failed", "skipped")}
        print("\n" + ", ".join(f"{count} {status}" for status, count in counts.items()))
    return int(bool(failed))


def _try(entry: Entry) -> _Checked:
    """Make and step a task apart, because what is broken in compiled code ends its process."""
    from robustpo.doctor.trials import try_apart

    start = time.perf_counter()
    reports, failure = try_apart("simulators", entry.id, timeout=SECONDS_PER_TASK)
    error = reports[0]["error"] if reports else failure or "nothing was reported"
    return _Checked(
        entry.id, "failed" if error else "ok", round(time.perf_counter() - start, 1), error
    )
