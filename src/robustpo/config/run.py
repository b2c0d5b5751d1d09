"""One run: a task, a method, all its numbers and its length; and what it is called on disk."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

from robustpo.base.naming import fit, short_count, short_hash, slug
from robustpo.base.registry import ESTIMATORS, LOSSES, NOISES, allow_named, is_extension
from robustpo.base.validation import make_plain, plain, require, require_choice, require_count
from robustpo.config.definitions import require_allowed
from robustpo.config.methods import METHODS
from robustpo.config.presets import PRESETS
from robustpo.config.published import default_preset, published_preset, task_options
from robustpo.config.schedules import SCHEDULES
from robustpo.config.settings import SCHEDULE_OF, SETTING_NAMES, Settings
from robustpo.config.shape import NO_NOISE, SHAPE_NAMES, Shape, require_abilities
from robustpo.environments.task_arguments import canonical
from robustpo.errors import ConfigError
from robustpo.policy.families import FAMILIES

# Checkpoints are named by twelve digits; iterations are counted in 32 bits.
MAX_STEPS = 10**12 - 1
MAX_ITERATIONS = 2**31 - 1


@dataclass(frozen=True)
class RunConfig:
    """One run: a task, a method, all its numbers and its length.

    Attributes:
        task: id of the task, `module:callable`, or the name of a constructor.
        method: name of the method the numbers started from.
        preset: name of the preset that the method was laid over.
        settings: the per-agent numbers.
        shape: what the agent shares with its population.
        steps: requested simulator steps; floored to whole iterations (`total_steps`).
        eval_every: steps between evaluations during training, 0 for none.
        eval_episodes: episodes of each of those evaluations.
        init_policy: path of a policy file that training starts from, or None.
        extends: directory of the variant whose run of the same seed this one goes on with, or None.

    Raises:
        ConfigError: if steps are fewer than one rollout, a count is not valid, or a setting makes
            no sense with the shape.
    """

    task: str
    method: str = "rpo"
    settings: Settings = Settings()
    shape: Shape = Shape()
    steps: int = 8_000_000
    eval_every: int = 0
    eval_episodes: int = 10
    init_policy: str | None = None
    preset: str = "paper"
    extends: str | None = None

    def __post_init__(self) -> None:
        make_plain(self)
        is_text = isinstance(self.task, str) and self.task != ""
        require(is_text, "task", self.task, "the name of a task")
        object.__setattr__(self, "task", canonical(self.task))
        METHODS.require("method", self.method)
        require_choice("preset", self.preset, tuple(PRESETS))
        is_path = self.init_policy is None or isinstance(self.init_policy, str)
        require(is_path, "init_policy", self.init_policy, "the path of a policy, or None")
        is_path = self.extends is None or isinstance(self.extends, str)
        require(is_path, "extend", self.extends, "the directory of a run, or None")
        both = self.extends is not None and self.init_policy is not None
        require(not both, "init_policy", self.init_policy, "none where a run is extended")
        require_count("steps", self.steps, high=MAX_STEPS)
        require_count("eval_every", self.eval_every, 0, high=MAX_STEPS)
        require_count("eval_episodes", self.eval_episodes)
        if self.steps < self.shape.batch_size:
            raise ConfigError(
                f"steps={self.steps} is smaller than one rollout of "
                f"num_envs*num_steps={self.shape.batch_size}; train for at least that many"
            )
        if self.num_iterations > MAX_ITERATIONS:
            raise ConfigError(
                f"steps={self.steps} makes {self.num_iterations} iterations of "
                f"num_envs*num_steps={self.shape.batch_size}, expected at most {MAX_ITERATIONS}; "
                "choose longer rollouts or fewer steps"
            )
        if not self.extensions:
            self._require_fitting()
        count = len(self.shape.losses)
        weights = self.settings.loss_weights
        require(len(weights) == count, "loss_weights", weights, f"{count}, one for each of losses")

    def _require_fitting(self) -> None:
        """Raise `ConfigError` if a setting makes no sense with what the shape names."""
        schedule = self.settings.alpha_schedule
        if SCHEDULES[schedule].relative and self.shape.noise_on == "parameters":
            raise ConfigError(
                f"alpha_schedule={schedule!r} measures alpha in the policy's standard deviations, "
                "which noise_on='parameters' has none of; choose another schedule"
            )
        family = self.shape.distribution
        if self.settings.log_std_min is not None and not FAMILIES[family].has_scale:
            raise ConfigError(
                f"log_std_min={self.settings.log_std_min} needs a scale to keep above it, and "
                f"distribution={family!r} has none; leave it out or choose another distribution"
            )

    def require_usable(self) -> None:
        """Import the extensions that the run names; see that they can do what is asked of them.

        Raises:
            ConfigError: if one may not be imported, or cannot.
        """
        for number, name in SCHEDULE_OF.items():
            schedule = getattr(self.settings, name)
            if number not in SCHEDULES[schedule].of:
                raise ConfigError(
                    f"{name}={schedule!r} is not made for {number}, but for "
                    f"{' and '.join(SCHEDULES[schedule].of)}; choose another schedule"
                )
        for loss in self.shape.losses:
            if LOSSES[loss].weight is not None:
                raise ConfigError(
                    f"losses={loss!r} weighs {LOSSES[loss].weight}, and what losses names weighs "
                    "what loss_weights says; leave its weight out"
                )
        # Importing says whether they are there at all.
        _ = FAMILIES[self.shape.distribution].load(), ESTIMATORS[self.shape.estimator]
        _ = [NOISES[name] for name in {self.shape.noise} - {NO_NOISE}]
        require_abilities(self.shape)
        self._require_fitting()

    @property
    def extensions(self) -> tuple[str, ...]:
        """Names of all that is not built in and that training it takes: `module:name`."""
        schedules = (getattr(self.settings, name) for name in SCHEDULE_OF.values())
        return (*self.shape.extensions, *filter(is_extension, schedules))

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
        return fit("_".join([slug(self.method), *self._slugs()]))

    @property
    def changed(self) -> dict[str, Any]:
        """Settings and shape, but the seed, that are not the method's own under this preset."""
        default = build_config(self.task, self.method, preset=self.preset)
        found = {}
        parts = (
            (self.settings, default.settings, SETTING_NAMES),
            (self.shape, default.shape, SHAPE_NAMES),
        )
        for mine, theirs, names in parts:
            for name in names:
                value = getattr(mine, name)
                if name != "seed" and value != getattr(theirs, name):
                    found[name] = value
        return found

    def _slugs(self) -> list[str]:
        slugs = [] if self.preset == published_preset(self.task) else [self.preset]
        slugs += [f"{name.replace('_', '-')}-{slug(x)}" for name, x in self.changed.items()]
        if self.steps != RunConfig.steps:
            slugs.append(f"steps-{short_count(self.steps)}")
        if self.init_policy is not None:
            # The whole path could be longer than a file's name may be; a hash stands for it.
            name = slug(Path(self.init_policy).stem)[:40]
            slugs.append(f"init-{name}-{short_hash(self.init_policy)}")
        if self.extends is not None:
            slugs.append(f"extends-{short_hash(self.extends)}")
        return slugs

    def identity(self) -> dict[str, Any]:
        """Return what decides whether two runs are the same experiment, as plain data."""
        data = dataclasses.asdict(self)
        if self.extends is None:
            # There was no such thing when most runs were recorded.
            del data["extends"]
        # As JSON has them.
        for name in ("hidden_sizes", "critic_hidden_sizes", "losses"):
            data["shape"][name] = list(getattr(self.shape, name))
        data["settings"]["loss_weights"] = list(self.settings.loss_weights)
        return data


def make_config(
    task: str,
    method: str = "rpo",
    *,
    steps: SupportsIndex = 8_000_000,
    eval_every: SupportsIndex = 0,
    eval_episodes: SupportsIndex = 10,
    init_policy: str | None = None,
    extends: str | None = None,
    preset: str | None = None,
    **overrides: Any,
) -> RunConfig:
    """Build the configuration of one run from a method's name and any setting or shape by name.

    What is not given comes from the method, then from the preset: the task's own, unless another
    is named.

    Raises:
        ConfigError: if the method, the preset or an option is unknown, a value is not valid, or an
            option contradicts what the method is.
    """
    METHODS.require("method", method)
    method = METHODS.full_name(method)
    allow_named([method], overrides)
    for name, value in overrides.items():
        require_allowed(method, name, plain(value))
    overrides = METHODS[method].overrides | overrides
    return build_config(
        task,
        method,
        steps=steps,
        eval_every=eval_every,
        eval_episodes=eval_episodes,
        init_policy=init_policy,
        extends=extends,
        preset=preset,
        **overrides,
    )


def build_config(task: str, method: str, *, preset: str | None = None, **given: Any) -> RunConfig:
    """Build a configuration as `make_config` does, but of whatever may have been recorded.

    Earlier versions let an option make another method of the one that it was given to.

    Raises:
        ConfigError: if a name is unknown or a value is not valid.
    """
    preset = default_preset(task) if preset is None else preset
    METHODS.require("method", method)
    require_choice("preset", preset, tuple(PRESETS))
    own = {name: given.pop(name) for name in _OF_RUNS if name in given}
    # What an extension sets is written out wherever it is used, so that no file needs it again.
    own_options = {} if is_extension(method) else METHODS[method].overrides
    options = PRESETS[preset].options | task_options(task, preset) | own_options | given
    for name in options:
        require_choice("option", name, SETTING_NAMES + SHAPE_NAMES)
    return RunConfig(
        task=task,
        method=method,
        settings=Settings(**{k: v for k, v in options.items() if k in SETTING_NAMES}),
        shape=Shape(**{k: v for k, v in options.items() if k in SHAPE_NAMES}),
        preset=preset,
        **own,
    )


_OF_RUNS = ("steps", "eval_every", "eval_episodes", "init_policy", "extends")
