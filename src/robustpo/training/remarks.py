"""What training says of its agents where something is not as it should be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robustpo.environments.base import Replayed, RestartedEnvironment
from robustpo.errors import SimulatorError
from robustpo.training.agent import Agent, Event


def located(error: SimulatorError, agents: Sequence[Agent]) -> SimulatorError:
    """Say whose simulator it was and at which of its steps, if that is known."""
    if error.index is None:
        return error
    num_envs = agents[0].config.shape.num_envs
    agent = agents[error.index // num_envs]
    step = agent.log.step + error.row * num_envs + 1
    who = f"{agent.config.variant}, seed {agent.config.settings.seed}, step {step:,}"
    return SimulatorError(f"{who}: {error}", error.index)


def diverged(agent: Agent, step: int, quantity: str) -> str:
    """Say that an agent has failed: what was not finite, and when."""
    return (
        f"{_named(agent)}: {quantity} not finite at step {step:,}; this agent stops, its record is "
        "kept"
    )


def not_exact(agent: Agent, environment: Any) -> str:
    """Say that an agent goes on without its simulators being where they were, and why."""
    if isinstance(environment, Replayed) and environment.random_step:
        why = "its simulator draws random numbers in every step and cannot be brought back"
    elif isinstance(environment, RestartedEnvironment):
        why = environment.why
    else:
        why = "replaying its simulator did not lead to where it stood"
    return f"{_named(agent)}: {why}; it goes on with a new episode, no longer exact to the bit"


def endless(agents: Sequence[Agent]) -> Event | None:
    """Say, once, of which agents not one episode has ended."""
    found = [
        agent
        for agent in agents
        if agent.log.step >= agent.config.total_steps and not agent.log.episodes
    ]
    if not found:
        return None
    others = f" and {len(found) - 1} beside it" if found[1:] else ""
    text = (
        f"{_named(found[0])}{others}: no episode ended within {found[0].log.step:,} steps, so "
        "there is no return to report; give the task a time limit, or train for longer"
    )
    return found[0].event("note", text=text)


def _named(agent: Agent) -> str:
    config = agent.config
    return f"{config.task}, {config.variant}, seed {config.settings.seed}"
