"""Small populations that are trained here and now, and what became of them."""

from typing import Any

import jax
import numpy as np

from robustpo.config.run import make_config
from robustpo.training.agent import Agent
from robustpo.training.trainer import Trainer

TASK = "dm_control/cartpole-balance-v0"
SMALL: dict[str, Any] = {
    "hidden_sizes": (16, 16),
    "num_steps": 64,
    "num_minibatches": 4,
    "update_epochs": 2,
    "steps": 3 * 64,
}


def small(method="rpo", **options):
    return make_config(TASK, method, **(SMALL | options))


def tensors_of(agent: Agent) -> dict[str, np.ndarray]:
    """Return the tensors of the policy that an agent has become."""
    assert agent.policy is not None
    return agent.policy.tensors


def train(configs):
    """Train a population; return what each agent has become and all that it has reported."""
    events = []
    trainer = Trainer(configs, emit=events.append)
    trainer.run()
    results = []
    for index, agent in enumerate(trainer.agents):
        learner = jax.tree.map(lambda x, i=index: np.asarray(x[i]), trainer.population.learners)
        results.append(
            {
                "policy": tensors_of(agent),
                # Agents that are done are carried along; what they do then does not count.
                "learner": learner if agent.config.steps == configs[0].steps else None,
                "returns": np.array(agent.log.recent_returns),
                "reported": _reports(events, agent.config),
            }
        )
    return results


def _reports(events, config):
    """Return the numbers of every iteration of one agent, in order, without the clock's."""
    mine = [
        e
        for e in events
        if e["kind"] == "iteration"
        and e["seed"] == config.settings.seed
        and e["variant"] == config.variant
    ]
    return [{k: v for k, v in e.items() if isinstance(v, float) and k != "seconds"} for e in mine]


def assert_same_bits(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)
