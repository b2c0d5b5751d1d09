"""What works on this machine, and what to do about what does not.

Needs no other package, so that it can say which are missing: `python -m robustpo.doctor` runs even
where the command does not start.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

from robustpo.base.finding import Finding, one_line
from robustpo.base.json_text import to_json
from robustpo.doctor.machine import (
    check_cache,
    check_cores,
    check_memory,
    check_runs,
    check_temporary,
)
from robustpo.doctor.packages import check_extras, check_packages, check_python
from robustpo.doctor.trials import check_rendering, check_simulators, check_training

Check = Callable[[], Finding]

CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "Python": check_python,
        "packages": check_packages,
        "extras": check_extras,
        "cores": check_cores,
        "memory": check_memory,
        "compilation cache": check_cache,
        "temporary files": check_temporary,
        "runs": check_runs,
        "simulators": check_simulators,
        "rendering": check_rendering,
        "training": check_training,
    }
)
COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}
STATUS_WIDTH = 6
NAME_WIDTH = 2 + max(map(len, CHECKS))


def diagnose(*, as_json: bool = False, checks: Mapping[str, Check] = CHECKS) -> int:
    """Run all checks and print each when it ends.

    Args:
        as_json: whether to print one JSON object at the end instead.
        checks: what to check, by name.

    Returns:
        The exit code: 1 if a check failed, otherwise 0.
    """
    console = None if as_json else _terminal()
    findings = []
    for name, check in checks.items():
        waiting = console.status(f"{name} ...") if console else contextlib.nullcontext()
        with waiting:
            findings.append(examine(name, check))
        if not as_json:
            _show(findings[-1], console)
    found = [finding.status for finding in findings]
    worst = "fail" if "fail" in found else "warn" if "warn" in found else "ok"
    if as_json:
        listed = [dataclasses.asdict(finding) for finding in findings]
        summary = {"robustpo": version("robustpo"), "status": worst, "checks": listed}
        print(to_json(summary, indent=2))
    else:
        print(f"\n{found.count('fail')} failed, {found.count('warn')} to look at, of {len(found)}")
    return int(worst == "fail")


def examine(name: str, check: Check) -> Finding:
    """Run one check; what it did not expect is a finding too."""
    try:
        finding = check()
    except Exception as error:
        finding = Finding(
            "fail",
            one_line(error),
            "mend what is wrong above; if nothing is, report this line, it should not be",
        )
    return dataclasses.replace(finding, name=name)


def _terminal() -> Any:
    """Return rich's console, or None where there is no terminal or no rich."""
    try:
        from robustpo.base.console import make_console
    except ImportError:
        return None
    console = make_console()
    return console if console.is_terminal else None


def _show(finding: Finding, console: Any) -> None:
    """Print a finding: wrapped and coloured in a terminal, in whole lines elsewhere."""
    if console is None:
        print(f"{finding.status:<{STATUS_WIDTH}}{finding.name:<{NAME_WIDTH}}{finding.detail}")
        if finding.advice:
            print(f"{'':<{STATUS_WIDTH}}-> {finding.advice}")
        sys.stdout.flush()
        return
    from rich.table import Table
    from rich.text import Text

    row = Table.grid()
    row.add_column(width=STATUS_WIDTH)
    row.add_column(width=NAME_WIDTH)
    row.add_column(overflow="fold")
    status = Text(finding.status, style=COLOURS[finding.status])
    row.add_row(status, Text(finding.name), Text(finding.detail))
    console.print(row)
    if finding.advice:
        # Not wrapped here, so that a command can be copied whole.
        console.print(Text(f"{'':<{STATUS_WIDTH}}-> {finding.advice}"), soft_wrap=True)
