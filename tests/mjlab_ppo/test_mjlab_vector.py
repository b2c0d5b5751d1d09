"""mjlab's simulator as a task: the class of the documentation, stepped as training steps it."""

import re
from pathlib import Path

import numpy as np
import pytest

from robustpo.environments.vector import VectorEnvironment

pytestmark = pytest.mark.filterwarnings("default")
PAGE = Path(__file__).parents[2] / "docs" / "environments.md"


def documented():
    """Return the class that the documentation shows."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (block,) = (text for text in blocks if "class Mjlab" in text)
    scope: dict = {}
    exec(block, scope)
    return scope["Mjlab"]


def test_its_rows_are_those_of_its_episodes():
    made = documented()

    def make():
        vector = made(num_envs=4)
        # Episodes of five steps; the clock of the first environment is ahead.
        vector.env.cfg.episode_length_s = 5 * vector.env.step_dt
        return vector

    environment = VectorEnvironment(make, [1, 2, 3, 4])
    assert environment.autoreset == "same_step" and environment.spec.num_envs == 4
    first = environment.reset()
    rng = np.random.default_rng(0)
    before, ends = first, 0
    for _ in range(12):
        step = environment.step(rng.uniform(-1, 1, (4, 1)).astype(np.float32))
        ended = step.terminated | step.truncated
        ends += int(ended.sum())
        assert step.valid.all() and np.isfinite(step.obs).all()
        # What was handed over is where the action led, not where the next episode begins.
        np.testing.assert_array_equal(step.obs[~ended], step.final_obs[~ended])
        if ended.any():
            # A step moves it less than the draw of a new episode.
            moved = np.abs(step.final_obs - before)[ended].max()
            assert moved < np.abs(step.obs - before)[ended].max()
        before = step.obs
    assert ends == 8
    assert environment.remark is None
    environment.close()
