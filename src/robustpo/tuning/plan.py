"""How a budget of time is spent: how long runs are, and what is left to confirm."""

from __future__ import annotations

import re
from dataclasses import dataclass

from robustpo.base.amounts import format_duration
from robustpo.config.run import RunConfig
from robustpo.errors import ConfigError
from robustpo.execution.packing import MAX_AGENTS
from robustpo.tuning.trials import PARTS

# So many whole runs' worth of settings are to be tried, of which halving makes more.
WHOLE_TRIALS = 8
# Starting processes and compiling, in a round.
OVERHEAD = 12.0
MOST_STEPS = 8_000_000
FEWEST_ITERATIONS = 20
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Plan:
    """What a budget allows.

    Attributes:
        steps: of a whole run.
        selection: seconds for trying settings.
    """

    steps: int
    selection: float


def parse_budget(text: str) -> float:
    """Return the seconds of `90s`, `30m`, `2h` or `1d`.

    Raises:
        ConfigError: if it is none of these.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if not found or float(found[1]) == 0:
        raise ConfigError(f"budget={text!r} is not valid; expected a time such as 90s, 30m or 2h")
    return float(found[1]) * _UNITS[found[2]]


def make_plan(
    config: RunConfig,
    *,
    budget: float,
    per_step: float | None,
    workers: int,
    seeds: int,
    confirmed: int,
    steps: int | None,
) -> Plan:
    """Say at which length settings are tried.

    Args:
        config: one run, of any length.
        budget: seconds for all of it.
        per_step: seconds of one simulator step of one agent; None where that is not known.
        workers: processes.
        seeds: selection seeds of each setting.
        confirmed: runs that are trained at the end, to confirm.
        steps: of a whole run, if a person has chosen.

    Raises:
        ConfigError: if the budget is too small for one round, or the length has to be chosen.
    """
    batch = config.shape.batch_size
    if steps is not None and steps < PARTS * batch:
        raise ConfigError(
            f"steps={steps} is not valid; a run is compared after each of {PARTS} parts, of one "
            f"rollout of {batch} steps at least: {PARTS * batch}"
        )
    if per_step is None:
        if steps is None:
            raise ConfigError(
                f"how fast {config.task!r} trains is not known before it is compiled; choose how "
                "long a run is with --steps"
            )
        return Plan(steps, budget)
    # Confirming takes as long as so many runs, side by side.
    runs = WHOLE_TRIALS * seeds + confirmed
    chosen = steps or int(budget * workers / (per_step * runs))
    least = FEWEST_ITERATIONS * batch
    chosen = steps or max(least, min(MOST_STEPS, chosen))
    chosen -= chosen % batch
    side_by_side = min(MAX_AGENTS, max(1, MAX_AGENTS // seeds) * seeds)
    first = chosen / PARTS * per_step * side_by_side + OVERHEAD
    confirm = chosen * per_step * confirmed / workers + OVERHEAD
    if first + confirm > budget:
        fits = int((budget - 2 * OVERHEAD) / (first + confirm - 2 * OVERHEAD) * chosen)
        fits -= fits % batch
        shorter = f"--steps {fits} would fit, or " if fits >= batch * PARTS else ""
        raise ConfigError(
            f"budget={format_duration(budget)} is too small: one comparison after a quarter of "
            f"{chosen:,} steps and the confirmation take about {format_duration(first + confirm)}; "
            f"{shorter}give that much"
        )
    return Plan(chosen, budget - confirm)
