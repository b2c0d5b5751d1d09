"""Simulators stepped on the host train through the same learner, and so do several of each."""

import itertools
import json
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import robustpo
from robustpo.algorithm.networks import AgentParams
from robustpo.config.run import make_config
from robustpo.errors import ConfigError
from robustpo.policy.policy import Policy, save_policy
from robustpo.training.trainer import Trainer


class Reach(gymnasium.Env):
    """Twenty steps that cost the squared distance of the action from half the observed target.

    Keeps what it showed and what it was told, in one list for all.
    """

    observation_space = spaces.Dict(
        {"clock": spaces.Box(0, 1, (1,)), "target": spaces.Box(-1, 1, (1,))}
    )
    action_space = spaces.Box(-2, 2, (1,))
    length = 20
    seen: ClassVar[list[list[float]]] = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.target = 0, self.np_random.uniform(-1, 1)
        return self._observe(), {}

    def step(self, action):
        self.seen.append([self.count / self.length, self.target, float(action[0])])
        self.count += 1
        reward = -float((action[0] - 0.5 * self.target) ** 2)
        return self._observe(), reward, False, self.count == self.length, {}

    def _observe(self):
        # The order of the keys is the space's, alphabetical, whatever it is here.
        return {
            "target": np.array([self.target], np.float32),
            "clock": np.array([self.count / self.length], np.float32),
        }


@pytest.fixture(autouse=True)
def forget_what_was_seen():
    Reach.seen.clear()


def lines_of(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def random_tensors(observation_size, hidden, seed=0, std=0.5):
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, last in (("actor", 1), ("critic", 1)):
        sizes = (observation_size, *hidden, last)
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            weight = rng.normal(size=(fan_in, fan_out)) / fan_in**0.5
            tensors[f"{name}.{i}.weight"] = weight.astype(np.float32)
            tensors[f"{name}.{i}.bias"] = rng.normal(size=fan_out).astype(np.float32) * 0.1
    return tensors | {
        "log_std": np.log(np.full(1, std, np.float32)),
        "action.low": np.full(1, -2, np.float32),
        "action.high": np.full(1, 2, np.float32),
        "observation.mean": np.array([0.4, -0.1], np.float32),
        "observation.variance": np.array([0.2, 0.5], np.float32),
        # So many that the rollout's own observations hardly move the moments.
        "observation.count": np.float32(1e8),
    }


def write_policy(path, hidden=(64, 64), activation="tanh", **options):
    policy = Policy(
        random_tensors(2, hidden, **options),
        {"activation": activation, "distribution": "gaussian"},
    )
    save_policy(path, policy)
    return policy


@pytest.fixture(scope="module")
def reached(tmp_path_factory, tiny):
    """A dictionary-observing constructor, trained in this process with two environments each."""
    events = []
    runs = robustpo.train(
        Reach,
        seeds="0:2",
        out=tmp_path_factory.mktemp("reach"),
        learning_rate=3e-3,
        num_envs=2,
        callback=events.append,
        progress=False,
        **tiny.options | {"steps": 20_480, "update_epochs": 10},
    )
    return runs, events


def test_a_constructor_trains_and_reports_every_iteration(reached, tiny):
    runs, events = reached
    assert [run.name for run in runs] == ["seed-0", "seed-1"]
    # 1,024 steps an iteration: 512 in each of two environments.
    assert sorted((e["seed"], e["step"]) for e in events) == [
        (seed, 1024 * i) for seed in (0, 1) for i in range(1, 21)
    ]
    assert all(e["task"].endswith(":Reach") for e in events)


def test_rows_that_only_reset_are_counted_as_steps_alone(reached):
    runs, _ = reached
    for run in runs:
        rows = lines_of(run)
        # In each environment every 21st of its n rows only resets, and an episode ends before.
        each = np.arange(512, 10_241, 512)
        assert [row["transitions"] for row in rows] == [2 * (n - n // 21) for n in each]
        assert [row["episodes"] for row in rows] == [2 * ((n + 1) // 21) for n in each]
        assert {row["length_mean"] for row in rows} == {20.0}


def test_training_on_the_host_learns(reached):
    # The untrained policy is N(0, 1): it costs 20 · (1 + ⅓ · ¼) = 21.7 an episode; what is left
    # after learning is mostly the noise of exploration.
    runs, _ = reached
    for run in runs:
        rows = lines_of(run)
        assert rows[0]["return_mean"] == pytest.approx(-21.7, rel=0.25)
        assert rows[-1]["return_mean"] > -13
        assert robustpo.evaluate(run, task=Reach, episodes=20).mean > -2.5


def test_dictionaries_are_read_in_the_order_of_the_space(reached):
    runs, _ = reached
    mean = robustpo.load_policy(runs[0]).tensors["observation.mean"]
    # The clock runs from 0 to 1 through 21 observations; targets are centred on 0.
    assert mean[0] == pytest.approx(0.5, abs=0.02)
    assert mean[1] == pytest.approx(0.0, abs=0.15)


def test_gymnasiums_own_pendulum_in_a_worker(tmp_path, tiny):
    (run,) = robustpo.train(
        "gymnasium/Pendulum-v1",
        out=tmp_path,
        num_envs=2,
        workers=1,
        progress=False,
        **tiny.options | {"num_minibatches": 8},
    )
    assert run.relative_to(tmp_path).parts[:2] == ("gymnasium", "Pendulum-v1")
    rows = lines_of(run)
    assert [row["step"] for row in rows] == [1024, 2048, 3072, 4096]
    # 2,048 rows in each of two environments; 200 steps an episode, every 201st row only resets.
    assert rows[-1]["episodes"] == 2 * (2049 // 201)
    assert rows[-1]["transitions"] == 2 * (2048 - 2048 // 201)
    # Between the worst cost of a step and standing still upright.
    assert all(-200 * (np.pi**2 + 6.4 + 0.004) < row["return_mean"] < 0 for row in rows)
    result = robustpo.evaluate(run, episodes=2)
    assert result.lengths == (200, 200)


def test_a_warm_start_acts_as_the_policy_it_starts_from(tmp_path, tiny):
    policy = write_policy(tmp_path / "start.safetensors", std=1e-6)
    robustpo.train(
        Reach,
        out=tmp_path / "o",
        init_policy=str(tmp_path / "start.safetensors"),
        progress=False,
        **tiny.options | {"steps": 512},
    )
    # The estimate of the time steps other environments before; the rollout is the last.
    # Of its 512 rows 512 // 21 = 24 only reset and reach no environment.
    seen = np.array(Reach.seen[-(512 - 24) :], np.float32)
    np.testing.assert_allclose(seen[:, 2:], policy(seen[:, :2]), atol=1e-4)
    assert np.ptp(seen[:, 2]) > 0.1  # or it would say nothing


def params_of(trainer, index=0):
    params = trainer.population.learners.params
    assert isinstance(params, AgentParams)
    return {
        **{
            f"{name}.{i}.{part}": np.asarray(getattr(layer, part)[index])
            for name in ("actor", "critic")
            for i, layer in enumerate(getattr(params, name))
            for part in ("weight", "bias")
        },
        "log_std": np.asarray(params.log_std[index]),
    }


def test_a_warm_start_takes_networks_and_moments_of_its_own_agent_only(tmp_path, tiny):
    policy = write_policy(tmp_path / "start.safetensors")
    configs = [
        make_config("reach", seed=0, **tiny.options),
        make_config(
            "reach", seed=0, init_policy=str(tmp_path / "start.safetensors"), **tiny.options
        ),
    ]
    trainer = Trainer(configs, constructor=Reach)
    plain, warm = params_of(trainer, 0), params_of(trainer, 1)
    for name in plain:
        np.testing.assert_array_equal(warm[name], policy.tensors[name])
        different = not np.array_equal(plain[name], warm[name])
        assert different
    moments = trainer.population.collector.obs_moments
    np.testing.assert_array_equal(moments.mean[1], policy.tensors["observation.mean"])
    np.testing.assert_array_equal(moments.variance[1], policy.tensors["observation.variance"])
    assert int(moments.count[0]) == 0 and int(moments.count[1]) == 10**8


@pytest.mark.parametrize(
    ("stored", "options", "words"),
    [
        ({"hidden": (32, 32)}, {}, "32"),
        ({"hidden": (64,)}, {}, "init_policy"),
        ({"hidden": (64, 64, 64)}, {}, "init_policy"),
        ({"activation": "relu"}, {}, "relu"),
    ],
)
def test_a_policy_of_another_network_is_refused(tmp_path, tiny, stored, options, words):
    write_policy(tmp_path / "start.safetensors", **stored)
    with pytest.raises(ConfigError, match=words):
        robustpo.train(
            Reach,
            out=tmp_path / "o",
            init_policy=str(tmp_path / "start.safetensors"),
            progress=False,
            **tiny.options | options,
        )
    assert not (tmp_path / "o").exists()


def test_target_kl_ends_an_update_early(tiny):
    # Any change exceeds so small a KL: one epoch each, as if only one had been asked for. And
    # nothing exceeds the other: two epochs, as if there were no target.
    def train(**options):
        agents = [{"target_kl": kl} for kl in options.pop("kls")]
        configs = [
            make_config("reach", seed=0, **tiny.options | {"steps": 1024} | options | agent)
            for agent in agents
        ]
        trainer = Trainer(configs, constructor=Reach)
        trainer.run()
        return [params_of(trainer, i) for i in range(len(configs))]

    small, large, absent = train(kls=(1e-12, 1e12, None))
    (one_epoch,) = train(kls=(None,), update_epochs=1)
    for name in small:
        np.testing.assert_allclose(small[name], one_epoch[name], atol=1e-6)
        np.testing.assert_array_equal(large[name], absent[name])
    assert not np.allclose(small["actor.0.weight"], large["actor.0.weight"], atol=1e-6)
