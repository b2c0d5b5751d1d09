"""This package, one process and one core as all others."""

from __future__ import annotations

import json
import tempfile
import time

import robustpo
from stacks import task

DIFFERENCES = "the simulator is EnvPool's"


def train(alpha: float | None, seed: int, steps: int) -> tuple[float, float]:
    """Return the level and the steps per second, compilation left out."""
    seconds: list[tuple[int, float]] = []

    def note(event: dict) -> None:
        if "step" in event:
            seconds.append((event["step"], time.perf_counter()))

    with tempfile.TemporaryDirectory() as out:
        (run,) = robustpo.train(
            "Pendulum-v1",
            method="ppo" if alpha is None else "rpo",
            seeds=[seed],
            steps=steps,
            out=out,
            progress=False,
            callback=note,
            num_envs=task.ENVS,
            num_steps=task.ROLLOUT,
            num_minibatches=task.MINIBATCHES,
            update_epochs=task.EPOCHS,
            hidden_sizes=(task.WIDTH, task.WIDTH),
            learning_rate=task.RATE,
            learning_rate_schedule="constant",
            gamma=task.GAMMA,
            gae_lambda=task.LAMBDA,
            clip_coef=task.CLIP,
            value_coef=task.VALUE,
            max_grad_norm=task.NORM,
            clip_value_loss=False,
            normalize_observations=False,
            normalize_rewards=False,
            reward_scale=task.REWARD,
            time_limit="bootstrap",
            **({} if alpha is None else {"alpha": alpha}),
        )
        (first, began), (last, ended) = seconds[0], seconds[-1]
        result = json.loads((run / "result.json").read_text())
        return result["final_return"], (last - first) / (ended - began)
