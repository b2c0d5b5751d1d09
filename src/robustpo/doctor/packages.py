"""Python, and the installed packages against the lock of that Python."""

from __future__ import annotations

import platform
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from robustpo.base.finding import Finding

PROJECT = "robustpo"
OLDEST_PYTHON = (3, 11)
# More are counted, not named; the advice has them all.
NAMED = 5


def check_python(
    version: tuple[int, ...] = sys.version_info[:3], system: str = sys.platform
) -> Finding:
    """Check that this Python is new enough and that the system can run EnvPool inside XLA."""
    here = f"{'.'.join(map(str, version))} on {platform.system()} {platform.machine()}"
    if version < OLDEST_PYTHON:
        return Finding("fail", here, "install Python 3.11 or newer and robustpo into it")
    if system != "linux":
        return Finding(
            "warn",
            f"{here}: EnvPool runs inside XLA only on Linux",
            "train Gymnasium tasks here (gymnasium/<id>); for all others use Linux or a container",
        )
    return Finding("ok", here)


def check_packages(lock: Path | None = None) -> Finding:
    """Compare every package that robustpo needs, directly or not, with the lock."""
    lock = lock or lock_file()
    locked = read_lock(lock) if lock.is_file() else {}
    installed = core_packages()
    missing = [name for name, version in installed.items() if version is None]
    differing = {
        name: version
        for name, version in installed.items()
        if version is not None and version.partition("+")[0] != locked.get(name, version)
    }
    advice = pip_install(pinned(locked, [*missing, *differing]))
    if missing:
        return Finding("fail", f"not installed: {_some(missing)}", advice)
    if differing:
        shown = _some([f"{name} {v} (tested: {locked[name]})" for name, v in differing.items()])
        return Finding(
            "warn",
            f"{len(differing)} of {len(installed)} are not the tested version, so that results may "
            f"differ in their last bits: {shown}",
            advice,
        )
    if not locked:
        return Finding(
            "warn",
            f"{len(installed)} installed, but there is no {lock.name} to compare them with",
            "use Python 3.11, 3.12 or 3.13 for the versions that are tested together",
        )
    return Finding("ok", f"{len(installed)} installed, all as in {lock.name}")


def check_extras() -> Finding:
    """Name the optional parts that are and are not installed; neither is wrong."""
    extras = metadata.metadata(PROJECT).get_all("Provides-Extra") or []
    # An extra that asks for nothing on this Python has nothing that could be there.
    there = [e for e in extras if any(_needs(PROJECT, e)) and _has_extra(PROJECT, e)]
    absent = [extra for extra in extras if extra not in there]
    return Finding(
        "ok",
        f"installed: {', '.join(there) or 'none'}; not installed: {', '.join(absent) or 'none'}",
    )


def lock_file() -> Path:
    """Return the lock of this Python: inside the package, or in the checkout it is imported from.

    It need not exist: there is none for a Python newer than those that are tested.
    """
    package = Path(__file__).parents[1]
    shipped = package / "locks"
    directory = shipped if shipped.is_dir() else package.parents[1] / "locks"
    return directory / f"py{sys.version_info.major}{sys.version_info.minor}.txt"


def read_lock(lock: Path) -> dict[str, str]:
    """Return the version of each package that a lock pins, by its normalised name."""
    pins = re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    return {_normal(name): version for name, version in pins}


def pinned(locked: dict[str, str], names: Iterable[str]) -> list[str]:
    """Return requirements of the locked versions, or of any where there is no lock."""
    return [f"{name}=={locked[name]}" if name in locked else name for name in names]


def pip_install(arguments: Iterable[str]) -> str:
    """Return the command that installs something into this Python."""
    return shlex.join([sys.executable, "-m", "pip", "install", *arguments])


def core_packages() -> dict[str, str | None]:
    """Return the version of all that robustpo needs without extras; None where it is missing."""
    found: dict[str, str | None] = {}
    pending = [_Need(PROJECT, ())]
    while pending:
        name, extras = pending.pop()
        for need in (need for extra in ("", *extras) for need in _needs(name, extra)):
            if need.name not in found:
                found[need.name] = _version(need.name)
                pending += [need] if found[need.name] else []
    return dict(sorted(found.items()))


class _Need(NamedTuple):
    name: str
    extras: tuple[str, ...]


def _needs(name: str, extra: str) -> Iterator[_Need]:
    """Yield what a package needs on this machine for an extra, or for itself if that is empty."""
    for line in metadata.requires(name) or ():
        requirement, _, marker = line.partition(";")
        match = re.match(r"([\w.-]+)\s*(?:\[(.*?)\])?", requirement)
        if match and _applies(marker.strip(), extra):
            extras = (match[2] or "").split(",")
            yield _Need(_normal(match[1]), tuple(part.strip() for part in extras if part.strip()))


def _applies(marker: str, extra: str) -> bool:
    if bool(extra) != ("extra" in marker):
        return False
    if not marker:
        return True
    try:
        from packaging.markers import Marker
    except ImportError:
        # Some package is missing, then: other conditions are taken to hold, which is enough to
        # say so.
        only = re.fullmatch(r"(?:.* and )?extra == ['\"](.*)['\"]", marker)
        return only is not None and only[1] == extra
    return Marker(marker).evaluate({"extra": extra})


def _has_extra(name: str, extra: str) -> bool:
    return all(
        _version(need.name) is not None and all(_has_extra(need.name, e) for e in need.extras)
        for need in _needs(name, extra)
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _some(texts: list[str]) -> str:
    rest = f" and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return ", ".join(texts[:NAMED]) + rest
