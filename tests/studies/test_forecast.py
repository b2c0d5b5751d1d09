"""How long a study is said to take, from rates that are known."""

import pytest

from robustpo.errors import ConfigError
from robustpo.execution import estimate
from robustpo.studies.forecast import forecast
from robustpo.studies.grid import make_grid


def test_the_times_of_all_runs_are_added_up_and_shared_by_the_workers(monkeypatch):
    measured, told = [], []

    def seconds_per_step(config, agents, task):
        measured.append((task, config.shape.hidden_sizes, agents))
        if task == "AntBulletEnv-v0":
            raise ConfigError("it is not installed")
        return {"Pendulum-v1": 1e-4, "HalfCheetah-v4": 2e-3}.get(task)

    monkeypatch.setattr(estimate, "seconds_per_step", seconds_per_step)
    steps = {"steps": 2048 * 10}
    configs = [
        *make_grid("Pendulum-v1", ["ppo", "rpo"], range(5), **steps),
        *make_grid("Pendulum-v1", ["ppo"], range(2), hidden_sizes=(8,), **steps),
        *make_grid("HalfCheetah-v4", ["ppo"], range(3), **steps),
        *make_grid("isaac/Cartpole-v0", ["ppo"], [0], steps=81_920),
        *make_grid("AntBulletEnv-v0", ["ppo"], [0], **steps),
    ]
    found = forecast(configs, 2, told.append)
    # 12 runs of Pendulum and 3 of HalfCheetah, on two workers.
    assert found.seconds == pytest.approx((12 * 1e-4 + 3 * 2e-3) * 20_480 / 2)
    assert found.unknown == ("isaac/Cartpole-v0", "AntBulletEnv-v0")
    # Each shape is measured once, as a worker trains it; each task is told once.
    assert measured[:2] == [("Pendulum-v1", (64, 64), 5), ("Pendulum-v1", (8,), 1)]
    assert len(measured) == 5
    assert told == ["Pendulum-v1", "HalfCheetah-v4", "isaac/Cartpole-v0", "AntBulletEnv-v0"]
