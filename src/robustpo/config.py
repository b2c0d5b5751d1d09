"""Settings, shapes and methods: everything that says what is trained, validated on construction.

A *setting* is a number that may differ between the agents of one population; a *shape* is what
must be equal because it changes the compiled program. See `Settings` and `Shape`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from robustpo.errors import ConfigError
from robustpo.naming import short_count, short_hash, slug
from robustpo.validation import (
    MAX_COUNT,
    require,
    require_choice,
    require_count,
    require_number,
)

TimeLimit = Literal["terminal", "bootstrap"]
LearningRateSchedule = Literal["linear", "constant"]
Activation = Literal["tanh", "relu", "elu", "swish"]
Distribution = Literal["gaussian"]
Noise = Literal["uniform", "none"]

MAX_SEED = 2**31 - 1
MAX_STEPS = 2**53


def _option(default: Any, text: str) -> Any:
    """Declare a field with its help text, which the command line shows."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Settings:
    """Numbers of one agent that may differ inside a population.

    Defaults are the paper's Table 2 (arXiv 2212.07536) and the PPO implementation it builds on.

    Raises:
        ConfigError: if a value is out of range.
    """

    seed: int = _option(0, "Seed of the agent and of its simulators.")
    alpha: float = _option(
        0.5,
        "Half-width of the uniform perturbation of the policy's location, in the environment's "
        "action units (paper, eq. 4); 0 is PPO.",
    )
    entropy_coef: float = _option(0.0, "Weight of the entropy bonus.")
    learning_rate: float = _option(3e-4, "Initial learning rate of Adam.")
    learning_rate_schedule: LearningRateSchedule = _option(
        "linear", "Anneal the learning rate to zero over training, or keep it constant."
    )
    gamma: float = _option(0.99, "Discount factor.")
    gae_lambda: float = _option(0.95, "Lambda of generalised advantage estimation.")
    clip_coef: float = _option(0.2, "Clipping range of the probability ratio and of the value.")
    value_coef: float = _option(0.5, "Weight of the value loss.")
    max_grad_norm: float = _option(0.5, "Largest global norm of a gradient.")
    target_kl: float | None = _option(
        None, "Stop the epochs of an update once the approximate KL exceeds this."
    )
    time_limit: TimeLimit = _option(
        "terminal",
        "What a truncated episode bootstraps: nothing (terminal, as published) or the value of "
        "its final observation (bootstrap).",
    )

    def __post_init__(self) -> None:
        require_count("seed", self.seed, 0)
        require(self.seed <= MAX_SEED, "seed", self.seed, f"at most {MAX_SEED}")
        require_number("alpha", self.alpha, 0.0)
        require_number("entropy_coef", self.entropy_coef, 0.0)
        require_number("learning_rate", self.learning_rate, 0.0, open_low=True)
        require_choice(
            "learning_rate_schedule", self.learning_rate_schedule, get_args(LearningRateSchedule)
        )
        require_number("gamma", self.gamma, 0.0, 1.0)
        require_number("gae_lambda", self.gae_lambda, 0.0, 1.0)
        require_number("clip_coef", self.clip_coef, 0.0, open_low=True)
        require_number("value_coef", self.value_coef, 0.0)
        require_number("max_grad_norm", self.max_grad_norm, 0.0, open_low=True)
        if self.target_kl is not None:
            require_number("target_kl", self.target_kl, 0.0, open_low=True)
        require_choice("time_limit", self.time_limit, get_args(TimeLimit))


@dataclass(frozen=True)
class Shape:
    """What all agents of a population share because it changes the compiled program.

    Raises:
        ConfigError: if a value is out of range, or the minibatches do not divide the batch.
    """

    hidden_sizes: tuple[int, ...] = _option((64, 64), "Widths of the hidden layers.")
    activation: Activation = _option("tanh", "Activation of the hidden layers.")
    distribution: Distribution = _option("gaussian", "Family of the action distribution.")
    noise: Noise = _option(
        "uniform", "Family of the perturbation; none compiles the update without any."
    )
    num_envs: int = _option(1, "Environments per agent.")
    num_steps: int = _option(2048, "Steps per environment and rollout.")
    num_minibatches: int = _option(32, "Minibatches per epoch.")
    update_epochs: int = _option(10, "Epochs per update.")
    normalize_observations: bool = _option(True, "Normalise observations by running moments.")
    normalize_rewards: bool = _option(
        True, "Divide rewards by the running standard deviation of the discounted return."
    )
    normalize_advantages: bool = _option(True, "Normalise advantages per minibatch.")
    clip_value_loss: bool = _option(True, "Clip the value loss like the ratio.")

    def __post_init__(self) -> None:
        is_list = isinstance(self.hidden_sizes, tuple | list)
        require(is_list, "hidden_sizes", self.hidden_sizes, "widths such as (64, 64)")
        object.__setattr__(self, "hidden_sizes", tuple(self.hidden_sizes))
        for width in self.hidden_sizes:
            require_count("hidden_sizes", width)
        require(len(self.hidden_sizes) > 0, "hidden_sizes", self.hidden_sizes, "one width or more")
        require_choice("activation", self.activation, get_args(Activation))
        require_choice("distribution", self.distribution, get_args(Distribution))
        require_choice("noise", self.noise, get_args(Noise))
        for name in ("num_envs", "num_steps", "num_minibatches", "update_epochs"):
            require_count(name, getattr(self, name))
        for option in dataclasses.fields(self):
            value = getattr(self, option.name)
            if isinstance(option.default, bool):
                require(isinstance(value, bool), option.name, value, "True or False")
        expected = f"at most {MAX_COUNT}"
        require(self.batch_size <= MAX_COUNT, "num_envs*num_steps", self.batch_size, expected)
        if self.batch_size % self.num_minibatches:
            low = [n for n in range(1, math.isqrt(self.batch_size) + 1) if self.batch_size % n == 0]
            divisors = sorted({*low, *(self.batch_size // n for n in low)})
            nearest = min(divisors, key=lambda n: abs(n - self.num_minibatches))
            raise ConfigError(
                f"num_minibatches={self.num_minibatches} does not divide "
                f"num_envs*num_steps={self.batch_size}; choose a divisor such as {nearest}"
            )

    @property
    def batch_size(self) -> int:
        """Rows of one rollout of one agent."""
        return self.num_envs * self.num_steps

    @property
    def minibatch_size(self) -> int:
        """Rows of one minibatch."""
        return self.batch_size // self.num_minibatches


@dataclass(frozen=True)
class Method:
    """A named bundle of settings and shape."""

    name: str
    summary: str
    overrides: dict[str, Any]


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("rpo", "Robust Policy Optimization (paper, Algorithm 1), alpha 0.5", {}),
        Method("ppo", "Proximal Policy Optimization: rpo with alpha 0", {"alpha": 0.0}),
        Method(
            "ppo-entropy",
            "PPO with an entropy bonus (paper, section 5.3), coefficient 0.01",
            {"alpha": 0.0, "entropy_coef": 0.01},
        ),
    )
}

SETTING_NAMES = tuple(f.name for f in dataclasses.fields(Settings))
SHAPE_NAMES = tuple(f.name for f in dataclasses.fields(Shape))


@dataclass(frozen=True)
class RunConfig:
    """One run: a task, a method, all its numbers and its length.

    Attributes:
        task: id of the task, `module:callable`, or the name of a constructor.
        method: name of the method the numbers started from.
        settings: the per-agent numbers.
        shape: what the agent shares with its population.
        steps: requested simulator steps; floored to whole iterations (`total_steps`).
        eval_every: steps between evaluations during training, 0 for none.
        eval_episodes: episodes of each of those evaluations.
        init_policy: path of a policy file that training starts from, or None.

    Raises:
        ConfigError: if steps are fewer than one rollout, or a count is not valid.
    """

    task: str
    method: str = "rpo"
    settings: Settings = Settings()
    shape: Shape = Shape()
    steps: int = 8_000_000
    eval_every: int = 0
    eval_episodes: int = 10
    init_policy: str | None = None

    def __post_init__(self) -> None:
        is_text = isinstance(self.task, str) and self.task != ""
        require(is_text, "task", self.task, "the name of a task")
        require_choice("method", self.method, tuple(METHODS))
        is_path = self.init_policy is None or isinstance(self.init_policy, str)
        require(is_path, "init_policy", self.init_policy, "the path of a policy, or None")
        require_count("steps", self.steps, high=MAX_STEPS)
        require_count("eval_every", self.eval_every, 0, high=MAX_STEPS)
        require_count("eval_episodes", self.eval_episodes)
        if self.steps < self.shape.batch_size:
            raise ConfigError(
                f"steps={self.steps} is smaller than one rollout of "
                f"num_envs*num_steps={self.shape.batch_size}; train for at least that many"
            )

    @property
    def num_iterations(self) -> int:
        """Rollouts and updates of the run."""
        return self.steps // self.shape.batch_size

    @property
    def total_steps(self) -> int:
        """Simulator steps really made: `steps` floored to whole iterations."""
        return self.num_iterations * self.shape.batch_size

    @property
    def variant(self) -> str:
        """The method's name with a slug of what differs from its defaults; names the directory."""
        return "_".join([self.method, *self._slugs()])

    def _slugs(self) -> list[str]:
        default = make_config(self.task, self.method)
        slugs = []
        for part in ("settings", "shape"):
            mine, theirs = getattr(self, part), getattr(default, part)
            for option in dataclasses.fields(mine):
                value = getattr(mine, option.name)
                if option.name != "seed" and value != getattr(theirs, option.name):
                    slugs.append(f"{option.name.replace('_', '-')}-{slug(value)}")
        if self.steps != default.steps:
            slugs.append(f"steps-{short_count(self.steps)}")
        if self.init_policy is not None:
            # The whole path could be longer than a file's name may be; a hash stands for it.
            name = slug(Path(self.init_policy).stem)[:40]
            slugs.append(f"init-{name}-{short_hash(self.init_policy)}")
        return slugs

    def identity(self) -> dict[str, Any]:
        """Return what decides whether two runs are the same experiment, as plain data."""
        data = dataclasses.asdict(self)
        data["shape"]["hidden_sizes"] = list(self.shape.hidden_sizes)
        return data


def make_config(
    task: str,
    method: str = "rpo",
    *,
    steps: int = 8_000_000,
    eval_every: int = 0,
    eval_episodes: int = 10,
    init_policy: str | None = None,
    **overrides: Any,
) -> RunConfig:
    """Build the configuration of one run from a method's name and any setting or shape by name.

    Raises:
        ConfigError: if the method or an option is unknown, or a value is not valid.
    """
    require_choice("method", method, tuple(METHODS))
    options = METHODS[method].overrides | overrides
    for name in options:
        require_choice("option", name, SETTING_NAMES + SHAPE_NAMES)
    return RunConfig(
        task=task,
        method=method,
        settings=Settings(**{k: v for k, v in options.items() if k in SETTING_NAMES}),
        shape=Shape(**{k: v for k, v in options.items() if k in SHAPE_NAMES}),
        steps=steps,
        eval_every=eval_every,
        eval_episodes=eval_episodes,
        init_policy=init_policy,
    )
