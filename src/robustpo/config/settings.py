"""Settings of an agent: its numbers that may differ from those of others in its population."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, get_args, get_type_hints

from robustpo.base.validation import (
    make_plain,
    require,
    require_choice,
    require_count,
    require_number,
)
from robustpo.config.options import option
from robustpo.config.schedules import SCHEDULES

TimeLimit = Literal["terminal", "bootstrap"]
RewardReturnReset = Literal["episode", "time-limit"]

MAX_SEED = 2**31 - 1
# A perturbation this large has long drowned the policy; squares of it stay within float32.
MAX_NOISE = 1e6

N = TypeVar("N")
M = TypeVar("M")


@dataclass(frozen=True)
class Numbers(Generic[N, M]):
    """The settings that the compiled program takes as numbers, listed once.

    They are `float` in `Settings`, and traced in `Coefficients` (`robustpo.algorithm.experience`),
    where one that is None is what its option says.
    """

    alpha: N = option(
        0.5,
        "Magnitude of the perturbation of the policy's location, in its units of action (see "
        "action_scale): half-width of uniform noise (paper, eq. 4), scale of the other families "
        "(Table 1); 0 is PPO.",
    )
    noise_location: N = option(
        0.0, "Constant added to the noise: the mu of Gumbel(mu, beta) in the paper's Table 1."
    )
    entropy_coef: N = option(0.0, "Weight of the entropy bonus.")
    log_std_min: M = option(
        None,
        "Floor of the policy's log scale, kept by projection after every gradient step.",
        off=-math.inf,
    )
    drac_coef: N = option(
        0.1, "Weight of DrAC's regularisation of policy and value (arXiv 2006.12862)."
    )
    scale_low: N = option(0.6, "Smallest factor of the random amplitude scaling.")
    scale_high: N = option(1.2, "Largest factor of the random amplitude scaling.")
    learning_rate: N = option(3e-4, "Initial learning rate of Adam.")
    kl_target: N = option(
        0.008,
        "Where the learning rate adapts: it shrinks once the policy's KL from the one that "
        "collected is more than twice this, in nats, and grows while it is less than half of it.",
    )
    reward_scale: N = option(1.0, "Factor of the rewards that are learned from.")
    gamma: N = option(0.99, "Discount factor.")
    gae_lambda: N = option(0.95, "Lambda of generalised advantage estimation.")
    clip_coef: N = option(0.2, "Clipping range of the probability ratio and of the value.")
    value_coef: N = option(0.5, "Weight of the value loss.")
    max_grad_norm: N = option(0.5, "Largest global norm of a gradient.")
    target_kl: M = option(
        None,
        "Stop the epochs of an update once the approximate KL of the plain policy from the one "
        "that collected exceeds this, in nats.",
        off=math.inf,
    )


@dataclass(frozen=True)
class Settings(Numbers[float, float | None]):
    """Numbers of one agent that may differ inside a population.

    Defaults are the paper's Table 2 (arXiv 2212.07536) and the PPO implementation it builds on.

    Raises:
        ConfigError: if a value is out of range.
    """

    seed: int = option(0, "Seed of the agent and of its simulators.")
    alpha_schedule: str = option(
        "constant",
        "Keep alpha, anneal it to zero over training (linear: paper, section 6.2; or cosine), or "
        "multiply it by the policy's own standard deviation (std).",
        kind=SCHEDULES,
        of="alpha",
    )
    entropy_schedule: str = option(
        "constant",
        "Keep the weight of the entropy bonus or anneal it to zero over training.",
        kind=SCHEDULES,
        of="entropy_coef",
    )
    learning_rate_schedule: str = option(
        "linear",
        "Anneal the learning rate to zero over training, or keep it constant.",
        kind=SCHEDULES,
        of="learning_rate",
    )
    loss_weights: tuple[float, ...] = option(
        (), "Weights of the loss terms that losses names, one for each."
    )
    time_limit: TimeLimit = option(
        "terminal",
        "What a truncated episode bootstraps: nothing (terminal, as published) or the value of "
        "its final observation (bootstrap).",
    )
    reward_return_reset: RewardReturnReset = option(
        "episode",
        "Where the discounted return that scales rewards begins anew: at the end of every episode "
        "(episode, as published), or as time_limit says (time-limit), which goes on with it after "
        "a truncation that bootstraps.",
    )

    def __post_init__(self) -> None:
        make_plain(self)
        require_count("seed", self.seed, 0)
        require(self.seed <= MAX_SEED, "seed", self.seed, f"at most {MAX_SEED}")
        require_number("alpha", self.alpha, 0.0, MAX_NOISE)
        require_number("noise_location", self.noise_location, -MAX_NOISE, MAX_NOISE)
        require_number("entropy_coef", self.entropy_coef, 0.0)
        if self.log_std_min is not None:
            require_number("log_std_min", self.log_std_min, -20.0, 20.0)
        require_number("drac_coef", self.drac_coef, 0.0)
        require_number("scale_low", self.scale_low, 0.0, open_low=True)
        require_number("scale_high", self.scale_high, self.scale_low)
        require_number("learning_rate", self.learning_rate, 0.0, open_low=True)
        self._require_schedules()
        self._require_weights()
        require_number("kl_target", self.kl_target, 0.0, open_low=True)
        require_number("reward_scale", self.reward_scale, 0.0, open_low=True)
        require_number("gamma", self.gamma, 0.0, 1.0)
        require_number("gae_lambda", self.gae_lambda, 0.0, 1.0)
        require_number("clip_coef", self.clip_coef, 0.0, open_low=True)
        require_number("value_coef", self.value_coef, 0.0)
        require_number("max_grad_norm", self.max_grad_norm, 0.0, open_low=True)
        if self.target_kl is not None:
            require_number("target_kl", self.target_kl, 0.0, open_low=True)
        require_choice("time_limit", self.time_limit, get_args(TimeLimit))
        require_choice("reward_return_reset", self.reward_return_reset, get_args(RewardReturnReset))

    def _require_schedules(self) -> None:
        for number, name in SCHEDULE_OF.items():
            schedule = SCHEDULES.full_name(getattr(self, name))
            object.__setattr__(self, name, schedule)
            fitting = tuple(n for n, found in SCHEDULES.items() if number in found.of)
            SCHEDULES.require(name, schedule, fitting)

    def _require_weights(self) -> None:
        weights = self.loss_weights
        require(isinstance(weights, tuple), "loss_weights", weights, "weights such as (0.01,)")
        for weight in weights:
            require_number("loss_weights", weight, -math.inf)


NUMBER_FIELDS = dataclasses.fields(Numbers)
"""Fields of what the compiled program takes as a number."""

SCHEDULE_OF: dict[str, str] = {
    field.metadata["of"]: field.name
    for field in dataclasses.fields(Settings)
    if "of" in field.metadata
}
"""Names of the settings that say how a number changes, by the number's."""


def _in_order() -> tuple[dataclasses.Field[Any], ...]:
    """Return the fields with each schedule after its number, as people read and runs are named."""
    found = {field.name: field for field in dataclasses.fields(Settings)}
    names = ["seed"]
    for field in NUMBER_FIELDS:
        names += filter(None, (field.name, SCHEDULE_OF.get(field.name)))
    return tuple(found[name] for name in dict.fromkeys([*names, *found]))


SETTING_FIELDS = _in_order()
SETTING_NAMES = tuple(field.name for field in SETTING_FIELDS)
SETTING_TYPES: dict[str, Any] = {
    name: {N: float, M: float | None}.get(hint, hint)
    for name, hint in get_type_hints(Settings).items()
}
"""Types of the settings by name."""
