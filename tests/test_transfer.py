"""A policy trained on EnvPool does as well in the benchmark's own implementation of its task."""

from dataclasses import dataclass

import numpy as np
import pytest

import robustpo
from robustpo.environments.make import make_host_environment
from robustpo.statistics.means import welch

pytestmark = pytest.mark.slow
RANDOM_EPISODES = 20


@dataclass(frozen=True)
class Case:
    """A task, what it needs, and how its policy is trained and judged.

    Attributes:
        task: id in the catalog.
        module: what its own implementation is made of.
        extra: which extra brings that.
        steps: of the training, at a learning rate ten times the default.
        gamma: discount of the training.
        episodes: on either side.
        margin: by which the mean return exceeds that of random actions, on both sides.
    """

    task: str
    module: str
    extra: str
    steps: int
    gamma: float
    episodes: int
    margin: float


# With n episodes a side and standard deviations σ of about 300, 160 and 7, nine in ten differences
# of (3.6 + 1.3) σ √(2/n) fall outside the 99.9% interval: 210, 250 and 11, where learning gained
# 1,000, 540 and 145.
CASES = [
    Case("Pendulum-v1", "gymnasium", "", 80_000, 0.9, 100, 500),
    Case("HalfCheetah-v5", "mujoco", "mujoco", 80_000, 0.99, 20, 300),
    Case("dm_control/cartpole-balance-v0", "dm_control", "dm-control", 60_000, 0.99, 20, 100),
]


def random_return(task):
    """Mean return of uniform random actions over whole episodes."""
    environment = make_host_environment(task, range(RANDOM_EPISODES))
    spec, rng = environment.spec, np.random.default_rng(0)
    environment.reset()
    total, truncated = np.zeros(RANDOM_EPISODES), np.zeros(RANDOM_EPISODES, bool)
    assert spec.episode_limit
    for _ in range(spec.episode_limit):
        shape = (RANDOM_EPISODES, spec.action_size)
        step = environment.step(rng.uniform(spec.action_low, spec.action_high, shape).astype("f"))
        total, truncated = total + step.reward, step.truncated
    assert truncated.all()
    environment.close()
    return total.mean()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.task)
def test_returns_are_the_same_on_both_sides(case, tmp_path):
    pytest.importorskip(case.module, reason=f"pip install 'robustpo[{case.extra}]'")
    run = robustpo.train(
        case.task,
        steps=case.steps,
        learning_rate=3e-3,
        gamma=case.gamma,
        out=tmp_path,
        progress=False,
    )[0]
    envpool = robustpo.evaluate(run, episodes=case.episodes, seed=1)
    own = robustpo.evaluate(run, episodes=case.episodes, seed=2, task=f"gymnasium/{case.task}")
    at_random = random_return(case.task)
    difference = welch(envpool.returns, own.returns, confidence=0.999)
    print(f"{case.task}: random {at_random:.0f}, EnvPool {envpool.mean:.0f} ± {envpool.std:.0f}, ")
    print(f"its own {own.mean:.0f} ± {own.std:.0f}, difference {difference}")
    assert min(envpool.mean, own.mean) > at_random + case.margin
    assert difference.low < 0 < difference.high
