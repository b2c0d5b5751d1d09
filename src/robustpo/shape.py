"""Shape of an agent: what a population shares, because it changes the compiled program."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, get_args

from robustpo.errors import ConfigError
from robustpo.options import option
from robustpo.validation import MAX_COUNT, make_plain, require, require_choice, require_count

Activation = Literal["tanh", "relu", "elu", "swish"]
Distribution = Literal["gaussian", "laplace", "gumbel", "tanh-gaussian", "beta"]
Noise = Literal["uniform", "laplace", "gumbel", "gumbel-centered", "gaussian", "none"]
NoiseOn = Literal["location", "parameters"]
NoiseIn = Literal["update", "collection", "both"]
Estimator = Literal["sampled", "sampled-k", "marginal", "expected"]
Augmentation = Literal["none", "rad", "drac"]
AugmentationPer = Literal["state", "dimension"]
AugmentationOf = Literal["normalized", "raw"]
ActionScale = Literal["raw", "bounds"]

MAX_DRAWS = 1024


@dataclass(frozen=True)
class Shape:
    """What all agents of a population share because it changes the compiled program.

    Raises:
        ConfigError: if a value is out of range, two contradict each other, or the minibatches do
            not divide the batch.
    """

    hidden_sizes: tuple[int, ...] = option((64, 64), "Widths of the hidden layers.")
    activation: Activation = option("tanh", "Activation of the hidden layers.")
    shared_network: bool = option(
        False, "Let actor and critic share their hidden layers instead of having their own."
    )
    distribution: Distribution = option("gaussian", "Family of the action distribution.")
    action_scale: ActionScale = option(
        "raw",
        "Units of the policy's actions, and of alpha: the environment's own (raw, as published) or "
        "±1 of its bounds, in every dimension that has two finite ones (bounds).",
    )
    noise: Noise = option(
        "uniform", "Family of the perturbation; none compiles the update without any."
    )
    noise_on: NoiseOn = option(
        "location",
        "What the update perturbs: the policy's location (the method as practised) or all "
        "parameters (the theory as written, paper, appendix C).",
    )
    noise_in: NoiseIn = option(
        "update",
        "Where the location is perturbed: in the update only (the method), in collection only, "
        "or in both (controls).",
    )
    estimator: Estimator = option(
        "sampled",
        "Perturbed log-density: of one draw (the paper's algorithm), of num_draws draws whose "
        "clipped losses are averaged (sampled-k), of the exact mixture (marginal, paper, eq. 5), "
        "or its expectation (expected, paper, eq. 13).",
    )
    num_draws: int = option(4, "Draws of the estimator sampled-k.")
    augmentation: Augmentation = option(
        "none",
        "Random amplitude scaling of observations: of all that enters the agent (rad, arXiv "
        "2004.14990), or in a regularisation of the update (drac, arXiv 2006.12862).",
    )
    augmentation_per: AugmentationPer = option(
        "state", "Draw one factor per state or one per dimension of it."
    )
    augmentation_of: AugmentationOf = option(
        "normalized", "Scale the normalised observation or the one before normalisation."
    )
    num_envs: int = option(1, "Environments per agent.")
    num_steps: int = option(2048, "Steps per environment and rollout.")
    num_minibatches: int = option(32, "Minibatches per epoch.")
    update_epochs: int = option(10, "Epochs per update.")
    adaptive_learning_rate: bool = option(
        False,
        "After every epoch, divide or multiply the learning rate by 1.5 so that kl_target is kept.",
    )
    normalize_observations: bool = option(True, "Normalise observations by running moments.")
    normalize_rewards: bool = option(
        True, "Divide rewards by the running standard deviation of the discounted return."
    )
    normalize_advantages: bool = option(True, "Normalise advantages per minibatch.")
    clip_value_loss: bool = option(True, "Clip the value loss like the ratio.")

    def __post_init__(self) -> None:
        make_plain(self)
        is_list = isinstance(self.hidden_sizes, tuple)
        require(is_list, "hidden_sizes", self.hidden_sizes, "widths such as (64, 64)")
        for width in self.hidden_sizes:
            require_count("hidden_sizes", width)
        require(len(self.hidden_sizes) > 0, "hidden_sizes", self.hidden_sizes, "one width or more")
        for name, choices in _CHOICES.items():
            require_choice(name, getattr(self, name), get_args(choices))
        for name in ("num_envs", "num_steps", "num_minibatches", "update_epochs"):
            require_count(name, getattr(self, name))
        require_count("num_draws", self.num_draws, high=MAX_DRAWS)
        for declared in dataclasses.fields(self):
            value = getattr(self, declared.name)
            if isinstance(declared.default, bool):
                require(isinstance(value, bool), declared.name, value, "True or False")
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
    def perturbs_update(self) -> bool:
        """Whether the update has noise of any kind."""
        return (self.update_noise, self.parameter_noise) != ("none", "none")

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
    "action_scale": ActionScale,
    "noise": Noise,
    "noise_on": NoiseOn,
    "noise_in": NoiseIn,
    "estimator": Estimator,
    "augmentation": Augmentation,
    "augmentation_per": AugmentationPer,
    "augmentation_of": AugmentationOf,
}

SHAPE_NAMES = tuple(f.name for f in dataclasses.fields(Shape))
