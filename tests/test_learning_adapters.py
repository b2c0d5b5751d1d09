"""Learning on BallBalance, MuJoCo Playground and PyBullet: short runs, one seed, a stated margin.

`test_learning.py` has EnvPool, `training/test_jax_training.py` a simulator in plain JAX, and
`training/test_host_training.py` a Gymnasium environment. PyBullet's Ant makes some 400 steps a
second with its learner, and no run short enough for a test learns beyond doubt; so it is another
task of the same engine that learns here.
"""

import polars as pl
import pytest

import robustpo
from robustpo.environments.availability import is_installed
from robustpo.environments.catalog import CATALOG

pytestmark = pytest.mark.slow

# Task, options, and what the last tenth of the rows has to pay on average. Beside it stand what an
# untrained policy earns and what two or three other seeds had earned by then.
RUNS = {
    # Random actions earn 17 ± 12; two seeds had 90 to 145 after a million steps.
    "mujoco": ("isaac/BallBalance-v0", {"steps": 1_000_000, "num_envs": 1024}, 50),
    # The first episodes earn 225 to 310 of 1,000; three seeds ended at 924 to 975.
    "playground": (
        "playground/CartpoleBalance",
        {"steps": 1_000_000, "num_envs": 256, "preset": "isaac"},
        600,
    ),
    # The first episodes earn 22 to 25 of 1,000; three seeds ended at 940 to 1,000.
    "pybullet": (
        "pybullet_envs_gymnasium:InvertedPendulumBulletEnv-v0",
        {"steps": 61_440, "learning_rate": 1e-3},
        400,
    ),
}


@pytest.mark.parametrize("adapter", RUNS)
def test_a_short_run_learns(adapter, tmp_path):
    task, options, wanted = RUNS[adapter]
    extra = CATALOG[task].extra if task in CATALOG else adapter
    if extra and not is_installed(extra):
        pytest.skip(f"pip install 'robustpo[{extra}]'")
    if "num_envs" in options:
        options = options | {"num_minibatches": 2}
    robustpo.train(task, seeds=5, out=tmp_path, progress=False, **options)
    rows = robustpo.load_results(tmp_path).drop_nulls("return_mean").sort("step")
    ended = rows.tail(max(1, len(rows) // 10)).select(pl.col("return_mean").mean()).item()
    first = rows["return_mean"][0]
    print(f"{task}: {first:.0f} at first, {ended:.0f} in the end, wanted {wanted}")
    assert ended > wanted > first
