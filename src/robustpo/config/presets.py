"""Presets by name: the settings and shape of a published program, which methods are laid over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A named set of defaults.

    Attributes:
        name: what it is called on the command line and in directories.
        source: where the numbers are published.
        options: what differs from the defaults of `Settings` and `Shape`.
    """

    name: str
    source: str
    options: dict[str, Any]


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("paper", "Table 2 of arXiv 2212.07536", {}),
        # For tasks that nobody has published numbers of: no unit and no time limit of theirs is
        # known to suit the published settings.
        Preset(
            "own",
            "Table 2 of arXiv 2212.07536, in units of the task's own bounds",
            {
                "action_scale": "bounds",
                "time_limit": "bootstrap",
                "reward_return_reset": "time-limit",
            },
        ),
        # Left out of it: values normalised by running moments, a penalty of 0.0001 on actions out
        # of bounds, PyTorch's default initialisation; the rate adapts per epoch, not per minibatch.
        Preset(
            "isaac",
            "CartpolePPO.yaml of IsaacGymEnvs, for rl_games",
            {
                "hidden_sizes": (32, 32),
                "activation": "elu",
                "shared_network": True,
                "num_envs": 512,
                "num_steps": 16,
                "num_minibatches": 1,
                "update_epochs": 8,
                "learning_rate_schedule": "constant",
                "adaptive_learning_rate": True,
                "kl_target": 0.008,
                "max_grad_norm": 1.0,
                "value_coef": 4.0,
                "reward_scale": 0.1,
                "normalize_rewards": False,
                "time_limit": "bootstrap",
            },
        ),
    )
}
