"""A process that measures: it reads a request a line and answers each with a line.

A level may end a simulator's process, and with it no more than one measurement.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from robustpo.base.json_text import to_json
from robustpo.base.registry import allow
from robustpo.environments.watchdog import limit
from robustpo.errors import RobustpoError
from robustpo.policy.policy import Policy, load_policy
from robustpo.stress.measure import Terms, measure
from robustpo.stress.plan import Condition


def main() -> None:
    """Answer the requests on standard input until it ends."""
    # The terminal's Ctrl-C is for the parent, which ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What simulators print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    policies: dict[str, Policy] = {}
    for line in sys.stdin:
        answers.write(to_json(_answer(json.loads(line), policies)) + "\n")
        answers.flush()


def _answer(request: dict[str, Any], known: dict[str, Policy]) -> dict[str, Any]:
    allow(request["allow"])
    limit(request["step_timeout"])
    try:
        policies = [None if path is None else _policy(path, known) for path in request["policies"]]
        scale = request["scale"]
        scores = measure(
            Condition(**request["condition"]),
            policies,
            Terms(**request["terms"]),
            scale=None if scale is None else np.array(scale),
            together=request["together"],
        )
    except RobustpoError as error:
        return {"refused": str(error)}
    return {"scores": [vars(score) for score in scores]}


def _policy(path: str, known: dict[str, Policy]) -> Policy:
    if path not in known:
        known[path] = load_policy(Path(path))
    return known[path]


if __name__ == "__main__":
    main()
