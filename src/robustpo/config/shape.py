"""Shape of an agent: what a population shares, because it changes the compiled program."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, get_args

from robustpo.base.registry import ESTIMATORS, LOSSES, NOISES, Kind, is_extension
from robustpo.base.validation import MAX_COUNT, make_plain, require, require_choice, require_count
from robustpo.config.options import option
from robustpo.errors import ConfigError
from robustpo.policy.families import FAMILIES, MLP, NETWORKS

Activation = Literal["tanh", "relu", "elu", "swish"]
NoiseOn = Literal["location", "parameters"]
NoiseIn = Literal["update", "collection", "both"]
Augmentation = Literal["none", "rad", "drac"]
AugmentationPer = Literal["state", "dimension"]
AugmentationOf = Literal["normalized", "raw"]
ActionScale = Literal["raw", "bounds"]

MAX_DRAWS = 1024
NO_NOISE = "none"


@dataclass(frozen=True)
class Shape:
    """What all agents of a population share because it changes the compiled program.

    Raises:
        ConfigError: if a value is out of range, two contradict each other, or the minibatches do
            not divide the batch.
    """

    hidden_sizes: tuple[int, ...] = option((64, 64), "Widths of the hidden layers.")
    critic_hidden_sizes: tuple[int, ...] = option(
        (), "Widths of the critic's hidden layers, where they are not those of hidden_sizes."
    )
    activation: Activation = option("tanh", "Activation of the hidden layers.")
    layer_norm: bool = option(
        False, "Normalise what each hidden layer puts out before its activation (arXiv 1607.06450)."
    )
    network: str = option(
        MLP,
        "Actor's and critic's network: layers as above (mlp), or module:name of your own.",
        kind=NETWORKS,
    )
    shared_network: bool = option(
        False, "Let actor and critic share their hidden layers instead of having their own."
    )
    distribution: str = option("gaussian", "Family of the action distribution.", kind=FAMILIES)
    action_scale: ActionScale = option(
        "raw",
        "Units of the policy's actions, and of alpha: the environment's own (raw, as published) or "
        "±1 of its bounds, in every dimension that has two finite ones (bounds).",
    )
    noise: str = option(
        "uniform",
        "Family of the perturbation; none compiles the update without any.",
        kind=NOISES,
        but=(NO_NOISE,),
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
    estimator: str = option(
        "sampled",
        "Perturbed log-density: of one draw (the paper's algorithm), of num_draws draws whose "
        "clipped losses are averaged (sampled-k), of the exact mixture (marginal, paper, eq. 5), "
        "or its expectation (expected, paper, eq. 13).",
        kind=ESTIMATORS,
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
    losses: tuple[str, ...] = option(
        (),
        "Loss terms of your own, module:name of each; loss_weights says what they weigh.",
        kind=LOSSES,
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
        for name in ("hidden_sizes", "critic_hidden_sizes"):
            widths = getattr(self, name)
            require(isinstance(widths, tuple), name, widths, "widths such as (64, 64)")
            for width in widths:
                require_count(name, width)
        require(len(self.hidden_sizes) > 0, "hidden_sizes", self.hidden_sizes, "one width or more")
        for name, choices in _CHOICES.items():
            require_choice(name, getattr(self, name), get_args(choices))
        self._require_names()
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
    def critic_sizes(self) -> tuple[int, ...]:
        """Widths of the critic's hidden layers, where it does not share the actor's."""
        return self.critic_hidden_sizes or self.hidden_sizes

    @property
    def batch_size(self) -> int:
        """Rows of one rollout of one agent."""
        return self.num_envs * self.num_steps

    @property
    def minibatch_size(self) -> int:
        """Rows of one minibatch."""
        return self.batch_size // self.num_minibatches

    @property
    def update_noise(self) -> str:
        """Family of the noise that the update shifts the location by."""
        here = self.noise_in != "collection" and self.noise_on == "location"
        return self.noise if here else "none"

    @property
    def collection_noise(self) -> str:
        """Family of the noise that collection shifts the location by."""
        return "none" if self.noise_in == "update" else self.noise

    @property
    def parameter_noise(self) -> str:
        """Family of the noise that the update moves all parameters by."""
        return self.noise if self.noise_on == "parameters" else "none"

    @property
    def perturbs_update(self) -> bool:
        """Whether the update has noise of any kind."""
        return (self.update_noise, self.parameter_noise) != ("none", "none")

    @property
    def loss_terms(self) -> tuple[str, ...]:
        """Names of the loss terms beside the clipped surrogate's, in their order."""
        return ("drac",) * (self.augmentation == "drac") + self.losses

    @property
    def draws(self) -> int:
        """Draws of the perturbation per minibatch."""
        return self.num_draws if self.estimator == "sampled-k" else 1

    def _require_names(self) -> None:
        """Put full names for those of entry points; raise `ConfigError` for one that is unknown."""
        require(isinstance(self.losses, tuple), "losses", self.losses, "names such as module:name")
        for declared in dataclasses.fields(self):
            kind, value = declared.metadata.get("kind"), getattr(self, declared.name)
            if kind is None:
                continue
            names = value if isinstance(value, tuple) else (value,)
            full = tuple(map(kind.full_name, names))
            for name in full:
                choices = (*kind, *declared.metadata.get("but", ()))
                if kind is LOSSES:
                    # An augmentation brings its own.
                    choices = tuple(x for x in kind if x not in get_args(Augmentation))
                kind.require(declared.name, name, choices)
            once = len(set(full)) == len(full)
            require(once, declared.name, value, "no name twice")
            object.__setattr__(self, declared.name, full if value is names else full[0])

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
        if self.layer_norm and self.network != MLP:
            raise ConfigError(
                f"layer_norm=True is about layers, and network={self.network!r} is a network of "
                "its own; choose one of them"
            )
        if self.shared_network and self.network != MLP:
            raise ConfigError(
                f"network={self.network!r} is a network of its own for actor and critic each, and "
                "shared_network=True lets them share layers; choose one of them"
            )
        if self.shared_network and self.critic_hidden_sizes:
            raise ConfigError(
                f"critic_hidden_sizes={self.critic_hidden_sizes} are the critic's own layers, and "
                "shared_network=True lets it have none; choose one of them"
            )
        if not self.extensions:
            require_abilities(self)

    @property
    def extensions(self) -> tuple[str, ...]:
        """Names of all that is not built in: `module:name`."""
        names = (self.network, self.distribution, self.noise, self.estimator, *self.losses)
        return tuple(filter(is_extension, names))


_CHOICES = {
    "activation": Activation,
    "action_scale": ActionScale,
    "noise_on": NoiseOn,
    "noise_in": NoiseIn,
    "augmentation": Augmentation,
    "augmentation_per": AugmentationPer,
    "augmentation_of": AugmentationOf,
}

SHAPE_NAMES = tuple(f.name for f in dataclasses.fields(Shape))


def require_abilities(shape: Shape) -> None:
    """Raise `ConfigError` if an object that a shape names lacks what another needs.

    Extensions are imported, if they have been named.
    """
    if shape.network != MLP:
        NETWORKS[shape.network]
    family = FAMILIES[shape.distribution]
    noises = {shape.update_noise, shape.collection_noise} - {"none"}
    if noises and not family.shifts:
        raise ConfigError(
            f"distribution={shape.distribution!r} has no location that noise={shape.noise!r} could "
            "shift; choose --noise none, the method ppo-beta, or another distribution"
        )
    # The default takes whatever there is; it need not be imported to know that.
    if shape.estimator != type(shape).estimator:
        _require_closed_form(shape)
    if not family.diverges:
        _require_divergence(shape)


def _require_closed_form(shape: Shape) -> None:
    needs = ESTIMATORS[shape.estimator].needs
    if not needs:
        return
    if not FAMILIES[shape.distribution].gaussian:
        raise ConfigError(
            f"estimator={shape.estimator!r} has a closed form for Gaussian policies only, not "
            f"for distribution={shape.distribution!r}; choose --estimator sampled-k"
        )
    fitting = [name for name in NOISES if _has(NOISES, name, needs)]
    usable = shape.update_noise != "none" and _has(NOISES, shape.update_noise, needs)
    if not usable:
        raise ConfigError(
            f"estimator={shape.estimator!r} has a closed form for noise "
            f"{' or '.join(fitting)} on the location in the update, not for "
            f"noise={shape.noise!r}, noise_on={shape.noise_on!r}, noise_in={shape.noise_in!r}; "
            "choose --estimator sampled-k"
        )


def _has(kind: Kind, name: str, needs: tuple[str, ...]) -> bool:
    return all(getattr(kind[name], need) is not None for need in needs)


def _require_divergence(shape: Shape) -> None:
    asked = [name for name in shape.loss_terms if LOSSES[name].diverges]
    asked += ["adaptive_learning_rate"] * shape.adaptive_learning_rate
    if asked:
        raise ConfigError(
            f"{asked[0]} needs a divergence, which distribution={shape.distribution!r} has none "
            "of; choose another distribution"
        )
