"""The record of one run on disk; see "On disk" in the design for what each file is for."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from robustpo.config import RunConfig
from robustpo.errors import ConfigError
from robustpo.policy import Policy, save_policy
from robustpo.training.bookkeeping import COLUMNS, COUNTS

CONFIG_FILE, RESULT_FILE = "config.json", "result.json"
METRICS_LINES, METRICS_TABLE = "metrics.jsonl", "metrics.parquet"
EVALUATIONS_FILE = "evaluations.jsonl"

VERSIONED = ("robustpo", "jax", "jaxlib", "optax", "envpool", "gymnasium", "numpy")


def task_directory(out: Path, task: str) -> Path:
    """Return `<out>/<task>`; the name of a constructor may hold signs that paths should not."""
    return out / re.sub(r"[^\w./+-]+", "_", task)


def run_directory(out: Path, config: RunConfig) -> Path:
    """Return `<out>/<task>/<variant>/seed-<k>`."""
    return task_directory(out, config.task) / config.variant / f"seed-{config.settings.seed}"


def _write_json(path: Path, data: Any) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(_finite(data), indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)


def _finite(data: Any) -> Any:
    """Replace what JSON cannot say (NaN, infinities) by null."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return data


@cache
def versions() -> dict[str, str]:
    """Return the versions that decide a run's bits."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


@cache
def machine() -> dict[str, Any]:
    """Return the instruction set and the kind of machine, without its name."""
    flags: set[str] = set()
    model = platform.processor() or platform.machine()
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("flags", "Features"):
                flags = set(value.split())
            elif key.strip() == "model name":
                model = value.strip()
    known = ("avx512f", "avx2", "fma", "avx", "asimd", "sve")
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": model,
        "instruction_set": [name for name in known if name in flags],
        "cores": os.cpu_count(),
    }


class RunRecord:
    """Writes one run's directory while it trains.

    Args:
        directory: where the run lives; it must be empty or absent.
        config: what is trained.
    """

    def __init__(self, directory: Path, config: RunConfig) -> None:
        self.directory = directory
        self.config = config
        self._rows: list[dict[str, Any]] = []
        directory.mkdir(parents=True, exist_ok=True)
        _write_json(
            directory / CONFIG_FILE,
            {
                "identity": config.identity(),
                "variant": config.variant,
                "total_steps": config.total_steps,
                "versions": versions(),
                "machine": machine(),
            },
        )

    def add_row(self, row: Mapping[str, Any]) -> None:
        """Append one row of metrics; at most one line is lost if the process dies."""
        clean = _finite({name: row[name] for name in COLUMNS})
        self._rows.append(clean)
        self._append(METRICS_LINES, clean)

    def add_evaluation(self, row: Mapping[str, Any]) -> None:
        """Append one evaluation made during training."""
        self._append(EVALUATIONS_FILE, _finite(dict(row)))

    def _append(self, name: str, data: Any) -> None:
        with open(self.directory / name, "a", encoding="utf-8") as file:
            file.write(json.dumps(data) + "\n")

    def save_policy(self, name: str, policy: Policy) -> None:
        """Write a policy beside the record."""
        save_policy(self.directory / name, policy)

    def write_table(self) -> None:
        """Rewrite the table of all rows so far, atomically."""
        import polars as pl

        schema = {name: pl.Int64 if name in COUNTS else pl.Float64 for name in COLUMNS}
        partial = self.directory / (METRICS_TABLE + ".partial")
        pl.DataFrame(self._rows, schema=schema).write_parquet(partial)
        os.replace(partial, self.directory / METRICS_TABLE)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the table and the result, whose presence says that nothing more will come."""
        self.write_table()
        _write_json(self.directory / RESULT_FILE, dict(result))


def existing_state(directory: Path, config: RunConfig) -> str:
    """Say what a directory holds of this run: `absent`, `incomplete` or `finished`.

    Raises:
        ConfigError: if it holds another experiment, or something that is no run at all.
    """
    if not directory.exists() or not any(directory.iterdir()):
        return "absent"
    file = directory / CONFIG_FILE
    try:
        identity = json.loads(file.read_text(encoding="utf-8"))["identity"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{directory} is not empty and holds no readable {CONFIG_FILE}; choose another --out"
        ) from error
    wanted = json.loads(json.dumps(config.identity()))
    if identity != wanted:
        raise ConfigError(
            f"{directory} holds a different experiment ({_difference(identity, wanted)}); "
            "choose another --out, or --fresh to move it aside"
        )
    return "finished" if (directory / RESULT_FILE).exists() else "incomplete"


def _difference(old: Any, new: Any) -> str:
    flat_old, flat_new = _flatten(old), _flatten(new)
    names = [n for n in flat_old | flat_new if flat_old.get(n) != flat_new.get(n)]
    shown = [f"{n} {flat_old.get(n)!r} there, {flat_new.get(n)!r} asked" for n in names[:3]]
    return "; ".join(shown) + ("; …" if len(names) > 3 else "")


def _flatten(data: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(data, dict):
        return {prefix.rstrip("."): data}
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flatten(value, f"{prefix}{key}.")
    return flat


def set_aside(directory: Path) -> Path:
    """Move an old record out of the way, beside where it was; return its new place."""
    number = 1
    while (target := directory.with_name(f".{directory.name}.old-{number}")).exists():
        number += 1
    os.replace(directory, target)
    return target


def config_from_identity(identity: Mapping[str, Any]) -> RunConfig:
    """Rebuild a configuration from `RunConfig.identity()`.

    Raises:
        ConfigError: if a value is not valid.
    """
    from robustpo.config import Settings, Shape

    fields = dict(identity)
    try:
        fields["settings"] = Settings(**fields["settings"])
        fields["shape"] = Shape(**fields["shape"])
        return RunConfig(**fields)
    except (TypeError, KeyError) as error:
        raise ConfigError(f"not a configuration of robustpo: {error}") from error
