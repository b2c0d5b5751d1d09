"""Settings and shape of an agent: every number of it, documented, validated on construction.

A *setting* may differ between the agents of one population; a *shape* is what must be equal because
it changes the compiled program.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from robustpo.errors import ConfigError
from robustpo.validation import (
    MAX_COUNT,
    require,
    require_choice,
    require_count,
    require_number,
)

TimeLimit = Literal["terminal", "bootstrap"]
LearningRateSchedule = Literal["linear", "constant"]
AlphaSchedule = Literal["constant", "linear", "cosine", "std"]
EntropySchedule = Literal["constant", "linear"]
Activation = Literal["tanh", "relu", "elu", "swish"]
Distribution = Literal["gaussian", "laplace", "gumbel", "tanh-gaussian", "beta"]
Noise = Literal["uniform", "laplace", "gumbel", "gumbel-centered", "gaussian", "none"]
NoiseOn = Literal["location", "parameters"]
NoiseIn = Literal["update", "collection", "both"]
Estimator = Literal["sampled", "sampled-k", "marginal", "expected"]
Augmentation = Literal["none", "rad", "drac"]
AugmentationPer = Literal["state", "dimension"]
AugmentationOf = Literal["normalized", "raw"]

MAX_SEED = 2**31 - 1
# A perturbation this large has long drowned the policy; squares of it stay within float32.
MAX_NOISE = 1e6
MAX_DRAWS = 1024


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
        "Magnitude of the perturbation of the policy's location, in the environment's action "
        "units: half-width of uniform noise (paper, eq. 4), scale of the other families "
        "(Table 1); 0 is PPO.",
    )
    alpha_schedule: AlphaSchedule = _option(
        "constant",
        "Keep alpha, anneal it to zero over training (linear: paper, section 6.2; or cosine), or "
        "multiply it by the policy's own standard deviation (std).",
    )
    noise_location: float = _option(
        0.0, "Constant added to the noise: the mu of Gumbel(mu, beta) in the paper's Table 1."
    )
    entropy_coef: float = _option(0.0, "Weight of the entropy bonus.")
    entropy_schedule: EntropySchedule = _option(
        "constant", "Keep the weight of the entropy bonus or anneal it to zero over training."
    )
    log_std_min: float | None = _option(
        None, "Floor of the policy's log scale, kept by projection after every gradient step."
    )
    drac_coef: float = _option(
        0.1, "Weight of DrAC's regularisation of policy and value (arXiv 2006.12862)."
    )
    scale_low: float = _option(0.6, "Smallest factor of the random amplitude scaling.")
    scale_high: float = _option(1.2, "Largest factor of the random amplitude scaling.")
    learning_rate: float = _option(3e-4, "Initial learning rate of Adam.")
    learning_rate_schedule: LearningRateSchedule = _option(
        "linear", "Anneal the learning rate to zero over training, or keep it constant."
    )
    kl_target: float = _option(
        0.008,
        "Where the learning rate adapts: it shrinks once the policy's KL from the one that "
        "collected is more than twice this, in nats, and grows while it is less than half of it.",
    )
    reward_scale: float = _option(1.0, "Factor of the rewards that are learned from.")
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
        require_number("alpha", self.alpha, 0.0, MAX_NOISE)
        require_choice("alpha_schedule", self.alpha_schedule, get_args(AlphaSchedule))
        require_number("noise_location", self.noise_location, -MAX_NOISE, MAX_NOISE)
        require_number("entropy_coef", self.entropy_coef, 0.0)
        require_choice("entropy_schedule", self.entropy_schedule, get_args(EntropySchedule))
        if self.log_std_min is not None:
            require_number("log_std_min", self.log_std_min, -20.0, 20.0)
        require_number("drac_coef", self.drac_coef, 0.0)
        require_number("scale_low", self.scale_low, 0.0, open_low=True)
        require_number("scale_high", self.scale_high, self.scale_low)
        require_number("learning_rate", self.learning_rate, 0.0, open_low=True)
        require_choice(
            "learning_rate_schedule", self.learning_rate_schedule, get_args(LearningRateSchedule)
        )
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


@dataclass(frozen=True)
class Shape:
    """What all agents of a population share because it changes the compiled program.

    Raises:
        ConfigError: if a value is out of range, two contradict each other, or the minibatches do
            not divide the batch.
    """

    hidden_sizes: tuple[int, ...] = _option((64, 64), "Widths of the hidden layers.")
    activation: Activation = _option("tanh", "Activation of the hidden layers.")
    shared_network: bool = _option(
        False, "Let actor and critic share their hidden layers instead of having their own."
    )
    distribution: Distribution = _option("gaussian", "Family of the action distribution.")
    noise: Noise = _option(
        "uniform", "Family of the perturbation; none compiles the update without any."
    )
    noise_on: NoiseOn = _option(
        "location",
        "What the update perturbs: the policy's location (the method as practised) or all "
        "parameters (the theory as written, paper, appendix C).",
    )
    noise_in: NoiseIn = _option(
        "update",
        "Where the location is perturbed: in the update only (the method), in collection only, "
        "or in both (controls).",
    )
    estimator: Estimator = _option(
        "sampled",
        "Perturbed log-density: of one draw (the paper's algorithm), of num_draws draws whose "
        "clipped losses are averaged (sampled-k), of the exact mixture (marginal, paper, eq. 5), "
        "or its expectation (expected, paper, eq. 13).",
    )
    num_draws: int = _option(4, "Draws of the estimator sampled-k.")
    augmentation: Augmentation = _option(
        "none",
        "Random amplitude scaling of observations: of all that enters the agent (rad, arXiv "
        "2004.14990), or in a regularisation of the update (drac, arXiv 2006.12862).",
    )
    augmentation_per: AugmentationPer = _option(
        "state", "Draw one factor per state or one per dimension of it."
    )
    augmentation_of: AugmentationOf = _option(
        "normalized", "Scale the normalised observation or the one before normalisation."
    )
    num_envs: int = _option(1, "Environments per agent.")
    num_steps: int = _option(2048, "Steps per environment and rollout.")
    num_minibatches: int = _option(32, "Minibatches per epoch.")
    update_epochs: int = _option(10, "Epochs per update.")
    adaptive_learning_rate: bool = _option(
        False,
        "After every epoch, divide or multiply the learning rate by 1.5 so that kl_target is kept.",
    )
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
        for name, choices in _CHOICES.items():
            require_choice(name, getattr(self, name), get_args(choices))
        for name in ("num_envs", "num_steps", "num_minibatches", "update_epochs"):
            require_count(name, getattr(self, name))
        require_count("num_draws", self.num_draws, high=MAX_DRAWS)
        for option in dataclasses.fields(self):
            value = getattr(self, option.name)
            if isinstance(option.default, bool):
                require(isinstance(value, bool), option.name, value, "True or False")
        self._require_divisor()
        self._require_sense()

    @property
    def batch_size(self) -> int:
        """Rows of one rollout of one agent."""
        return self.num_envs * self.num_steps

    @property
    def minibatch_size(self) -> int:
        """Rows of one minibatch."""
        return self.batch_size // self.num_minibatches

    @property
    def update_noise(self) -> Noise:
        """Family of the noise that the update shifts the location by."""
        here = self.noise_in != "collection" and self.noise_on == "location"
        return self.noise if here else "none"

    @property
    def collection_noise(self) -> Noise:
        """Family of the noise that collection shifts the location by."""
        return "none" if self.noise_in == "update" else self.noise

    @property
    def parameter_noise(self) -> Noise:
        """Family of the noise that the update moves all parameters by."""
        return self.noise if self.noise_on == "parameters" else "none"

    @property
    def draws(self) -> int:
        """Draws of the perturbation per minibatch."""
        return self.num_draws if self.estimator == "sampled-k" else 1

    def _require_divisor(self) -> None:
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

    def _require_sense(self) -> None:
        """Raise `ConfigError` if a choice cannot be had together with another."""
        if self.distribution == "beta" and (self.update_noise, self.collection_noise) != (
            "none",
            "none",
        ):
            raise ConfigError(
                f"distribution='beta' has no location that noise={self.noise!r} could shift; "
                "choose --noise none, the method ppo-beta, or another distribution"
            )
        if self.noise == "none" and (self.noise_on, self.noise_in) != ("location", "update"):
            raise ConfigError(
                f"noise_on={self.noise_on!r} and noise_in={self.noise_in!r} say where noise acts, "
                "but noise='none'; choose a family such as --noise uniform"
            )
        if self.noise_on == "parameters" and self.noise_in != "update":
            raise ConfigError(
                f"noise_in={self.noise_in!r} is about the policy's location; with "
                "noise_on='parameters' choose --noise-in update"
            )
        if self.estimator in ("marginal", "expected"):
            self._require_closed_form()

    def _require_closed_form(self) -> None:
        families = {"marginal": ("uniform", "gaussian")}.get(
            self.estimator, ("uniform", "laplace", "gumbel", "gumbel-centered", "gaussian")
        )
        if self.distribution not in ("gaussian", "tanh-gaussian"):
            raise ConfigError(
                f"estimator={self.estimator!r} has a closed form for Gaussian policies only, not "
                f"for distribution={self.distribution!r}; choose --estimator sampled-k"
            )
        if self.noise_on != "location" or self.update_noise not in families:
            raise ConfigError(
                f"estimator={self.estimator!r} has a closed form for noise "
                f"{' or '.join(families)} on the location in the update, not for "
                f"noise={self.noise!r}, noise_on={self.noise_on!r}, noise_in={self.noise_in!r}; "
                "choose --estimator sampled-k"
            )


_CHOICES = {
    "activation": Activation,
    "distribution": Distribution,
    "noise": Noise,
    "noise_on": NoiseOn,
    "noise_in": NoiseIn,
    "estimator": Estimator,
    "augmentation": Augmentation,
    "augmentation_per": AugmentationPer,
    "augmentation_of": AugmentationOf,
}

SETTING_NAMES = tuple(f.name for f in dataclasses.fields(Settings))
SHAPE_NAMES = tuple(f.name for f in dataclasses.fields(Shape))
