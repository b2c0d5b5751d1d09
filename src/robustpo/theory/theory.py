"""Checks the paper's theory with numbers, for a fresh policy and for trained ones."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from robustpo.algorithm.experience import Coefficients
from robustpo.base.writing import write_atomically
from robustpo.environments.make import resolve
from robustpo.errors import ConfigError, TrainingError
from robustpo.runs.provenance import machine, versions
from robustpo.studies.grid import parse_seeds
from robustpo.theory.agents import Agents, Snapshot, make_configs, train_agents
from robustpo.theory.bias import Bias, measure_bias
from robustpo.theory.directions import measure_profile
from robustpo.theory.document import TerminalSummary, markdown
from robustpo.theory.figures import draw_figures
from robustpo.theory.findings import Effort, Findings, Setup
from robustpo.theory.flatness import compare_sharpness, flatness_verdict
from robustpo.theory.losses import prepare
from robustpo.theory.penalty import measure_penalties
from robustpo.theory.sentences import sentences
from robustpo.theory.sharpness import measure_all
from robustpo.theory.smoothing import Smoothing, measure_smoothing
from robustpo.training.compilation import own_settings

# Keys of the checks: all draws follow from these and from the arguments.
BIAS_KEY, PENALTY_KEY, SMOOTHING_KEY, SHARPNESS_KEY, DIRECTIONS_KEY = range(5)

Say = Callable[[str], None]


@dataclass(frozen=True)
class TheoryReport:
    """A written check of the theory.

    Attributes:
        findings: all numbers.
        files: paths of what was written.
        sentences: what was found, one check after the other; the verdict on flatness is the last.
        terminal: a rich renderable of tables and sentences.
    """

    findings: Findings
    files: tuple[Path, ...]
    sentences: tuple[str, ...]
    terminal: TerminalSummary


def check_theory(
    task: str,
    *,
    seeds: str | int | Iterable[int] = "0:5",
    steps: int = 500_000,
    alpha: float = 0.5,
    init_policy: str | None = None,
    out: str | os.PathLike[str] = "runs/theory",
    progress: bool = True,
    effort: Effort | None = None,
) -> TheoryReport:
    """Train PPO and RPO in this process and check the paper's equations on their policies.

    Writes `theory.md`, `theory.json` and the figures `bias`, `penalty`, `smoothing`, `sharpness`
    and `directions` (PNG, SVG and PDF).

    Args:
        task: id of the task.
        seeds: a seed, several, or text such as `"0:5"`; a verdict on flatness takes 5.
        steps: simulator steps of each agent.
        alpha: magnitude of the noise, in action units.
        init_policy: policy file or run directory that all agents start from, so that a trained
            policy is analysed in the place of the fresh one.
        out: directory to write to; made if it does not exist.
        progress: whether to report progress on standard error.
        effort: how much to draw.

    Raises:
        ConfigError: if the request cannot be carried out as written.
        TrainingError: if every agent of a method failed.
        StorageError: if the report cannot be written.
    """
    effort = effort or Effort()
    chosen = parse_seeds(seeds if isinstance(seeds, str | int) else list(seeds))
    configs = make_configs(task, chosen, steps, alpha, init_policy)
    resolve(task)
    directory = _make_directory(out)

    def say(text: str) -> None:
        if progress:
            print(f"theory: {text}", file=sys.stderr, flush=True)

    setup = Setup(task, chosen, configs[0].total_steps, alpha, init_policy, effort)
    with own_settings():
        agents = train_agents(configs, points=effort.points, say=say)
        with jax.enable_x64(True):
            findings = check_agents(agents, setup, say)
    say("writing the report")
    files = _write(findings, directory)
    return TheoryReport(findings, tuple(files), sentences(findings), TerminalSummary(findings))


def check_agents(agents: Agents, setup: Setup, say: Say) -> Findings:
    """Make all checks; 64-bit numbers have to be enabled.

    Raises:
        TrainingError: if every agent of a method failed.
    """
    effort = setup.effort
    biases, smoothings = check_policies(agents, setup, say)
    say("penalty")
    penalties = measure_penalties(key=_key(PENALTY_KEY))
    sharpness = measure_all(
        agents,
        key=_key(SHARPNESS_KEY),
        probes=effort.probes,
        iterations=effort.iterations,
        say=say,
    )
    last = agents.steps[-1]
    comparisons = compare_sharpness(sharpness)
    profiles = [
        measure_profile(
            one, agents.shape, key=_key(DIRECTIONS_KEY, one.seed), count=effort.directions
        )
        for method in ("ppo", "rpo")
        for one in agents.at(last, method)
    ]
    return Findings(
        setup=setup,
        returns=_returns(agents),
        failures=agents.failures,
        biases=tuple(biases),
        penalties=tuple(penalties),
        smoothings=tuple(smoothings),
        sharpness=tuple(sharpness),
        comparisons=tuple(comparisons),
        verdict=flatness_verdict(comparisons, last),
        profiles=tuple(profiles),
        provenance={"versions": versions(), "machine": machine()},
    )


def check_policies(agents: Agents, setup: Setup, say: Say) -> tuple[list[Bias], list[Smoothing]]:
    """Measure bias and smoothing of the policies that are looked at closely."""
    effort = setup.effort
    biases, smoothings = [], []
    for index, (name, snapshot) in enumerate(choose_policies(agents, setup)):
        say(f"bias and smoothing: {name}")
        params, rows = prepare(snapshot, agents.shape)
        own = {"key": _key(BIAS_KEY, index), "count": effort.draws}
        numbers = in_float64(snapshot.coefficients, setup.alpha)
        biases += measure_bias(name, params, rows, numbers, agents.shape, **own)
        smoothings.append(
            measure_smoothing(
                name,
                params,
                rows,
                agents.shape,
                key=_key(SMOOTHING_KEY, index),
                count=effort.pairs,
                probes=effort.probes,
                max_exact=effort.max_exact,
            )
        )
    return biases, smoothings


def choose_policies(agents: Agents, setup: Setup) -> list[tuple[str, Snapshot]]:
    """Return the policies that are looked at closely: the first, and the first seed's trained ones.

    Raises:
        TrainingError: if every agent of a method failed.
    """
    start = "fresh" if setup.init_policy is None else "given"
    first, last = agents.steps[0], agents.steps[-1]
    for method in ("ppo", "rpo"):
        if not agents.at(last, method):
            raise TrainingError(f"every {method} agent failed: {'; '.join(agents.failures)}")
    found = [(f"{start} policy", agents.at(first, "rpo")[0])]
    if last > first:
        found.append(("PPO, trained", agents.at(last, "ppo")[0]))
        found.append(("RPO, trained", agents.at(last, "rpo")[0]))
    return found


def in_float64(coefficients: Coefficients, alpha: float) -> Coefficients:
    """Return an agent's coefficients in float64 with uniform noise of a given alpha."""

    def convert(x: Any) -> jax.Array:
        values = np.asarray(x)
        return jnp.asarray(values, values.dtype if values.dtype == bool else jnp.float64)

    return replace(jax.tree.map(convert, coefficients), alpha=jnp.float64(alpha))


def _key(check: int, number: int = 0) -> jax.Array:
    # The package's own cipher makes 32 bits at a time; float64 draws take 64.
    return jax.random.fold_in(jax.random.key(check, impl="threefry2x32"), number)


def _returns(agents: Agents) -> dict[str, dict[str, float]]:
    return {
        name: {
            str(seed): value for (method, seed), value in agents.returns.items() if method == name
        }
        for name in ("ppo", "rpo")
    }


def _write(findings: Findings, directory: Path) -> list[Path]:
    files = draw_figures(findings, directory)
    for name, text in (("theory.md", markdown(findings)), ("theory.json", findings.to_json())):
        write_atomically(directory / name, text.encode(), directory)
        files.append(directory / name)
    return files


def _make_directory(out: str | os.PathLike[str]) -> Path:
    directory = Path(out)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"out={str(directory)!r} cannot be written to ({error.strerror or error}); choose a "
            "directory that can be created and written"
        ) from error
    return directory
