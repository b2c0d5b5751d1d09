"""`python -m robustpo.conformance my_module:Subject`: a table, and 1 if a check fails."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from robustpo.base.files import one_line
from robustpo.base.registry import load_attribute
from robustpo.base.validation import require_number
from robustpo.conformance.check import Runs
from robustpo.conformance.checks import CHECKS
from robustpo.conformance.report import FAILED, as_text, results
from robustpo.errors import ConfigError


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the subject that is named; return the exit code: 1 if a check failed, 2 if refused."""
    parser = argparse.ArgumentParser(
        prog="python -m robustpo.conformance",
        description="Prove an implementation of RPO right, check by check.",
        epilog="; ".join(f"{check.name}: {check.proves}" for check in CHECKS),
    )
    parser.add_argument("subject", help="module:Subject, a class without arguments or an object")
    parser.add_argument("--alpha", type=float, default=0.5, help="half the width of the noise")
    parser.add_argument("--seed", type=int, default=1, help="of most trainings")
    asked = parser.parse_args(arguments)
    try:
        require_number("alpha", asked.alpha, 0.0, open_low=True)
        subject = _load(asked.subject)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found = []
    for one in results(Runs(subject, asked.alpha, asked.seed)):
        found.append(one)
        print(f"{len(found)}/{len(CHECKS)} {one.check.name}: {one.outcome}", file=sys.stderr)
    print(as_text(found))
    return int(any(one.outcome == FAILED for one in found))


def _load(name: str):
    """Return the subject at `module:name`, made if it is a class."""
    sys.path.insert(0, os.getcwd())
    if ":" not in name:
        raise ConfigError(f"subject={name!r} is not valid; expected module:Subject")
    try:
        found = load_attribute(name)
        found = found() if isinstance(found, type) else found
    except Exception as error:
        raise ConfigError(
            f"subject {name!r} cannot be made: {type(error).__name__}: {one_line(error)}"
        ) from error
    if not callable(getattr(found, "train", None)) or not hasattr(found, "unsupported"):
        raise ConfigError(
            f"subject {name!r} has no train or says not what is unsupported; see "
            "robustpo.conformance.Subject"
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
