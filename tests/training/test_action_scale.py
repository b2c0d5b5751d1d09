"""Actions in units of their bounds: the same training as in ±1, and the same policy everywhere."""

import json
import math
from collections.abc import Callable
from typing import Any, ClassVar

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import robustpo
from robustpo.config.run import make_config
from robustpo.config.shape import Shape
from robustpo.environments.base import TaskSpec
from robustpo.errors import ConfigError
from robustpo.execution.preflight import check_bounds, preset_note
from robustpo.training.action_units import action_units
from robustpo.training.agent import Agent
from robustpo.training.trainer import Trainer
from training.populations import tensors_of

TINY: dict[str, Any] = {
    "hidden_sizes": (16, 16),
    "num_steps": 64,
    "num_minibatches": 4,
    "update_epochs": 2,
    "steps": 4 * 64,
}
# Half the ranges are powers of two, by which Gymnasium divides without rounding.
LOW, HIGH = np.array([[0, -0.25], [4, 0.25]], np.float32)


class Push(gymnasium.Env):
    """Thirty steps of a point that is pushed and turned; keeps what it was told."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space = spaces.Box(LOW, HIGH)
    told: ClassVar[list[np.ndarray]] = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.place = 0, self.np_random.uniform(-1, 1, 2)
        return np.float32(self.place), {}

    def step(self, action):
        assert self.action_space.contains(action)
        Push.told.append(np.array(action))
        self.count += 1
        self.place = 0.9 * self.place + 0.1 * (action - np.array([2, 0]))
        return np.float32(self.place), -float(self.place @ self.place), False, self.count == 30, {}


def rescaled():
    return gymnasium.wrappers.RescaleAction(Push(), np.float32(-1), np.float32(1))


def trained(constructor, method="rpo", **options):
    Push.told.clear()
    configs = [make_config("push", method, seed=s, **(TINY | options)) for s in (0, 1)]
    trainer = Trainer(configs, constructor=constructor)
    trainer.run()
    return trainer, np.array(Push.told)


@pytest.fixture(scope="module")
def scaled():
    return trained(Push, action_scale="bounds")


def test_it_is_training_in_units_of_one_bit_for_bit(scaled):
    trainer, told = scaled
    other, also_told = trained(rescaled, action_scale="raw")
    np.testing.assert_array_equal(told, also_told)
    assert (told == HIGH).any() and (told == LOW).any() and len(np.unique(told)) > 50
    for mine, theirs in zip(trainer.agents, other.agents, strict=True):
        found = tensors_of(mine)
        for name, tensor in tensors_of(theirs).items():
            if not name.startswith("action."):
                np.testing.assert_array_equal(found[name], tensor, err_msg=name)


def test_the_policy_acts_in_the_environments_units(scaled, tmp_path):
    trainer, _ = scaled
    policy = trainer.agents[0].policy
    obs = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    plain = policy.tensors | {
        "action.low": np.full(2, -np.inf, np.float32),
        "action.high": np.full(2, np.inf, np.float32),
    }
    del plain["action.centre"], plain["action.half"]
    raw = robustpo.Policy(plain, policy.metadata)
    for deterministic in (True, False):
        found, unit = (
            p(obs, deterministic=deterministic, rng=np.random.default_rng(1)) for p in (policy, raw)
        )
        expected = np.clip([2, 0] + np.array([2, 0.25]) * unit, LOW, HIGH)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_what_is_replayed_is_what_was_executed(scaled):
    trainer, told = scaled
    # 4 · 64 rows, every 31st of which only resets: 8 of them, the last one at row 248.
    for index, agent in enumerate(trainer.agents):
        (tail,) = agent.replay.tails()
        assert len(tail) == 4 * 64 - 248
        np.testing.assert_array_equal(tail, told.reshape(-1, 2, 2)[-len(tail) :, index])


def test_entropies_are_judged_in_the_policys_units(scaled):
    trainer, _ = scaled
    # A hundredth of, and ten times, an interval of two in either dimension.
    limits = trainer.agents[0].limits
    assert limits.low == pytest.approx(2 * math.log(0.02))
    assert limits.high == pytest.approx(2 * math.log(20))


def test_a_bound_that_means_none_raises_no_alarm_and_stretches_nothing():
    largest = 3.4028234663852886e38
    spec = TaskSpec("t", "s", 1, (-largest,), (largest,), None, "gymnasium")
    limits = Agent(make_config("t", preset="paper"), None, spec).limits
    # As for no bounds at all: a new policy's entropy is 1.42.
    assert limits.low == pytest.approx(math.log(0.02)) and limits.judge(1.42) is None
    squashed = make_config("t", "ppo-tanh")
    with pytest.raises(ConfigError, match=r"1e\+10 and more counts as none"):
        check_bounds([squashed], {"t": spec})


@pytest.mark.parametrize("family", ["tanh-gaussian", "beta"])
def test_a_stretched_distribution_needs_no_units(family):
    spec = TaskSpec("t", "s", 1, (0.0,), (4.0,), None, "gymnasium")
    assert (
        action_units(spec, Shape(distribution=family, noise="none", action_scale="bounds")) is None
    )


def test_a_dimension_without_bounds_acts_raw():
    spec = TaskSpec("t", "s", 1, (0.0, -math.inf, 0.0), (5.0, 3.0, 1e300), None, "gymnasium")
    units = action_units(spec, Shape(action_scale="bounds"))
    assert units is not None
    np.testing.assert_array_equal(units, [[2.5, 0, 0], [2.5, 1, 1]])
    assert action_units(spec, Shape()) is None
    note = preset_note(make_config("my:make"), spec)
    assert note == (
        "task my:make gets the preset own: actions scaled to the bounds (0..5; raw where there are "
        "none), time limits bootstrapped; --preset paper is the published protocol"
    )
    assert preset_note(make_config("my:make", preset="paper"), spec) is None


def test_what_the_compiled_program_gives_is_the_formula():
    spec = TaskSpec("t", "s", 2, (0.0, -0.35), (5.0, 0.35), 30, "gymnasium")
    trainer = Trainer([make_config("push", **TINY)], constructor=Push)
    collector = trainer._collector
    collector._low = np.array(spec.action_low, np.float32)
    collector._high = np.array(spec.action_high, np.float32)
    collector._units = action_units(spec, Shape(action_scale="bounds"))
    raw = np.random.default_rng(2).normal(size=(8, 1, 2)).astype(np.float32)
    raw[0, 0] = [np.nan, 1e38]
    found = np.asarray(collector.to_environment(jnp.asarray(raw)))
    expected = np.clip(
        [2.5, 0] + np.array([2.5, 0.35]) * raw[:1, 0].astype(float),
        *map(np.array, (spec.action_low, spec.action_high)),
    )
    expected[0, 0] = 2.5  # a broken agent acts in the middle
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_warm_start_in_other_units_is_refused(tmp_path, scaled):
    trainer, _ = scaled
    from robustpo.policy.policy import save_policy

    start = tmp_path / "start.safetensors"
    save_policy(start, trainer.agents[0].policy)

    def go_on(constructor: Callable[[], gymnasium.Env] = Push, **options):
        return robustpo.train(
            constructor,
            init_policy=str(start),
            out=tmp_path / "o",
            progress=False,
            **TINY | options,
        )

    with pytest.raises(ConfigError, match="--action-scale bounds"):
        go_on(preset="paper")
    with pytest.raises(ConfigError, match=r"other bounds.*±1"):
        go_on(rescaled)
    assert not (tmp_path / "o").exists()
    (run,) = go_on()
    assert json.loads((run / "result.json").read_text())["status"] == "completed"


def test_records_of_before_keep_their_settings_and_that_is_said(tmp_path, capfd):
    def train(**options):
        capfd.readouterr()
        (run,) = robustpo.train(Push, out=tmp_path, **TINY | options)
        config = json.loads((run / "config.json").read_text())
        return run, config, capfd.readouterr().err

    slug = make_config("push", preset="paper", **TINY).variant
    old, config, _ = train(preset="paper")
    assert old.parent.name == slug
    # As it was written before there were presets and units.
    del config["identity"]["preset"], config["identity"]["shape"]["action_scale"]
    (old / "config.json").write_text(json.dumps(config))
    again, _, said = train()
    assert again == old
    assert "keeps the preset paper" in said and "--preset own" in said
    assert "recorded already and are kept" in said
    new, config, said = train(preset="own")
    assert new.parent.name == slug.replace("rpo", "rpo_own", 1)
    assert (config["identity"]["preset"], config["identity"]["shape"]["action_scale"]) == (
        "own",
        "bounds",
    )
    assert config["identity"]["settings"]["time_limit"] == "bootstrap"
    assert "gets the preset own: actions scaled to the bounds (0..4, ±0.25)" in " ".join(
        said.split()
    )
