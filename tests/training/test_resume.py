"""A run that is stopped and goes on ends like one that was never touched, to the last bit."""

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import probes
import robustpo
from robustpo.base.files import read_tensors, write_tensors
from robustpo.config.run import make_config
from robustpo.execution.evaluations import evaluator
from robustpo.runs.record import RunRecord
from robustpo.training import restore, simulators
from robustpo.training.bookkeeping import COLUMNS
from robustpo.training.trainer import Trainer

TASK = "dm_control/pendulum-swingup-v0"
ROLLOUT = 384  # episodes of 1,000 steps end in the middle of rollouts
OPTIONS = {"num_steps": ROLLOUT, "num_minibatches": 4, "update_epochs": 2, "hidden_sizes": (16, 16)}
ITERATIONS = 8
AGENTS: tuple[dict[str, Any], ...] = (
    {"seed": 0},
    {"seed": 1, "alpha": 0.1},
    {"seed": 2, "learning_rate_schedule": "constant"},
)


def configs_of(task, agents, **options):
    batch = ROLLOUT * options.get("num_envs", 1)
    return [
        make_config(task, steps=ITERATIONS * batch, **(OPTIONS | options | agent))
        for agent in agents
    ]


def place_of(out, config):
    return out / f"seed-{config.settings.seed}"


def run(out, configs, *, iterations=None, constructor=None, every=0):
    """Train a population in this process, for so many iterations; return its trainer and events."""
    events, left = [], iterations

    def should_stop():
        nonlocal left
        if left is None:
            return False
        left -= 1
        return left < 0

    records = [RunRecord(place_of(out, config), config) for config in configs]
    trainer = Trainer(
        configs,
        records=records,
        emit=events.append,
        should_stop=should_stop,
        constructor=constructor,
        checkpoint_every=every,
        evaluate=evaluator(constructor or configs[0].task, should_stop),
    )
    trainer.run()
    return trainer, events


def rows_of(place, name="metrics.jsonl"):
    rows = [json.loads(line) for line in (place / name).read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def assert_same_run(one, other):
    first, second = (robustpo.load_policy(place).tensors for place in (one, other))
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert rows_of(one) == rows_of(other)
    results = [json.loads((place / "result.json").read_text()) for place in (one, other)]
    assert all(result.pop("seconds") > 0 for result in results)
    assert results[0] == results[1]
    assert results[0]["status"] == "completed"


def assert_same_runs(configs, one, other):
    for config in configs:
        assert_same_run(place_of(one, config), place_of(other, config))
        assert not (place_of(other, config) / "checkpoint").exists()


@pytest.fixture(scope="module")
def configs():
    return configs_of(TASK, AGENTS)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory, configs):
    out = tmp_path_factory.mktemp("untouched")
    run(out, configs)
    return out


@pytest.mark.parametrize(
    "stops",
    [
        (1,),
        pytest.param((3,), marks=pytest.mark.slow),
        pytest.param((7,), marks=pytest.mark.slow),
        (2, 1, 3),
    ],
)
def test_a_stopped_run_ends_like_one_that_was_not(tmp_path, configs, untouched, stops):
    for iterations in stops:
        run(tmp_path, configs, iterations=iterations)
    made = sum(stops) * ROLLOUT
    for config in configs:
        place = place_of(tmp_path, config)
        assert not (place / "result.json").exists()
        assert [path.name for path in (place / "checkpoint").iterdir()][-1:] != []
        newest = max((place / "checkpoint").iterdir()).name
        assert newest == f"step-{made:012d}.safetensors"
    run(tmp_path, configs)
    assert_same_runs(configs, untouched, tmp_path)
    resumed = json.loads((place_of(tmp_path, configs[0]) / "config.json").read_text())["resumed"]
    assert [entry["step"] for entry in resumed] == [
        ROLLOUT * sum(stops[: i + 1]) for i in range(len(stops))
    ]


def test_agents_that_stand_at_different_steps_go_on_in_another_packing(
    tmp_path, configs, untouched
):
    run(tmp_path, configs[:2], iterations=5)
    run(tmp_path, configs[1:], iterations=1)  # the second goes on, the third begins
    run(tmp_path, [configs[2], configs[0], configs[1]])
    assert_same_runs(configs, untouched, tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"distribution": "tanh-gaussian", "alpha_schedule": "linear"},
        {"distribution": "beta", "noise": "none", "log_std_min": None},
        {"augmentation": "rad", "noise_in": "both", "alpha_schedule": "cosine"},
    ],
    ids=["tanh", "beta", "rad"],
)
@pytest.mark.slow
def test_other_methods_go_on_exactly_too(tmp_path, options):
    configs = configs_of(TASK, [{"seed": 0}], **options)
    run(tmp_path / "untouched", configs)
    run(tmp_path / "stopped", configs, iterations=4)
    _, events = run(tmp_path / "stopped", configs)
    assert not [event for event in events if event["kind"] == "note"]
    assert_same_runs(configs, tmp_path / "untouched", tmp_path / "stopped")


@pytest.mark.parametrize(
    ("task", "method"),
    [
        (TASK, "rpo-both"),
        pytest.param(TASK, "ppo-noisy-collection", marks=pytest.mark.slow),
        pytest.param("dm_control/walker-walk-v0", "rpo-both", marks=pytest.mark.slow),
        pytest.param("dm_control/walker-walk-v0", "ppo-noisy-collection", marks=pytest.mark.slow),
    ],
)
def test_what_noisy_collection_executed_is_replayed(tmp_path, task, method):
    # Stopped after 768 of an episode's 1,000 steps; the run ends in the next episode.
    options: dict[str, Any] = OPTIONS | {"update_epochs": 1}
    configs = [
        make_config(task, method, steps=3 * ROLLOUT, **(options | agent)) for agent in AGENTS[:2]
    ]
    run(tmp_path / "untouched", configs)
    run(tmp_path / "stopped", configs, iterations=2)
    _, events = run(tmp_path / "stopped", configs)
    assert not [event for event in events if event["kind"] == "note"]
    assert_same_runs(configs, tmp_path / "untouched", tmp_path / "stopped")


def test_the_moment_of_a_checkpoint_changes_nothing(tmp_path, configs, untouched):
    run(tmp_path, configs, every=ROLLOUT)
    assert_same_runs(configs, untouched, tmp_path)


def test_two_checkpoints_are_kept_and_the_rows_with_them(tmp_path, configs):
    run(tmp_path, configs[:1], iterations=5, every=ROLLOUT)
    place = place_of(tmp_path, configs[0])
    names = sorted(path.name for path in (place / "checkpoint").iterdir())
    assert names == [f"step-{n * ROLLOUT:012d}.safetensors" for n in (4, 5)]
    rows = rows_of(place)
    (place / "metrics.jsonl").write_text("{cut in the midd")
    record = RunRecord(place, configs[0])
    assert record.checkpoint is not None and record.checkpoint.step == 5 * ROLLOUT
    assert rows_of(place) == rows


def test_time_goes_on_where_it_stood(tmp_path, configs):
    run(tmp_path, configs[:1], iterations=4)
    before = json.loads(
        (place_of(tmp_path, configs[0]) / "metrics.jsonl").read_text().splitlines()[-1]
    )
    run(tmp_path, configs[:1])
    lines = (place_of(tmp_path, configs[0]) / "metrics.jsonl").read_text().splitlines()
    seconds = [json.loads(line)["seconds"] for line in lines]
    assert seconds == sorted(seconds) and seconds[4] > before["seconds"]


# Two rollouts, an evaluation of a thousand steps, and so on, four times: it stops inside the first
# evaluation, and inside the last one, which is all that is left then.
@pytest.mark.parametrize("asked", [5, pytest.param(3508, marks=pytest.mark.slow)])
def test_evaluations_and_the_best_policy_are_the_same(tmp_path, asked):
    configs = configs_of(TASK, AGENTS[:1], eval_every=2 * ROLLOUT, eval_episodes=2)
    run(tmp_path / "whole", configs)
    run(tmp_path / "parts", configs, iterations=asked)
    assert not (place_of(tmp_path / "parts", configs[0]) / "result.json").exists()
    run(tmp_path / "parts", configs)
    one, other = (place_of(tmp_path / name, configs[0]) for name in ("whole", "parts"))
    assert_same_run(one, other)
    assert rows_of(one, "evaluations.jsonl") == rows_of(other, "evaluations.jsonl")
    assert len(rows_of(one, "evaluations.jsonl")) == 4
    name = "policy_best.safetensors"
    assert (one / name).read_bytes() == (other / name).read_bytes()


def test_environments_of_gymnasium_go_on_exactly(tmp_path):
    configs = configs_of("gymnasium/Pendulum-v1", AGENTS[:2], num_envs=2)
    run(tmp_path / "whole", configs)
    run(tmp_path / "parts", configs, iterations=3)
    _, events = run(tmp_path / "parts", configs)
    assert [event for event in events if event["kind"] == "note"] == []
    assert_same_runs(configs, tmp_path / "whole", tmp_path / "parts")


def test_simulators_written_in_jax_save_their_state(tmp_path, monkeypatch):
    monkeypatch.setattr(
        simulators, "make_environment", lambda task, seeds, **_: probes.MarkedEnd(len(seeds))
    )
    configs = configs_of("probe", AGENTS, num_envs=2)
    run(tmp_path / "whole", configs)
    run(tmp_path / "parts", configs[:2], iterations=3)
    run(tmp_path / "parts", configs[2:], iterations=1)
    run(tmp_path / "parts", configs)
    assert_same_runs(configs, tmp_path / "whole", tmp_path / "parts")


class Noisy(gymnasium.Env):
    """Draws a random number in every step."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space = spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.length = 0
        return self._observe(), {}

    def step(self, action):
        self.length += 1
        return self._observe(), 1.0, False, self.length == 250, {}

    def _observe(self):
        return np.array([self.np_random.normal(), self.length / 250], np.float32)


def test_an_environment_that_cannot_be_brought_back_says_so_and_begins_an_episode(tmp_path):
    configs = configs_of("Noisy", AGENTS[:1])
    run(tmp_path, configs, iterations=1, constructor=Noisy)
    _, events = run(tmp_path, configs, constructor=Noisy)
    notes = [event["text"] for event in events if event["kind"] == "note"]
    assert notes == [
        "Noisy, rpo_" + configs[0].variant.split("_", 1)[1] + ", seed 0: replaying its simulator "
        "did not lead to where it stood; it goes on with a new episode, no longer exact to the bit"
    ]
    result = json.loads((place_of(tmp_path, configs[0]) / "result.json").read_text())
    assert (result["status"], result["steps"]) == ("completed", ITERATIONS * ROLLOUT)
    # Row 384 was step 133 of an episode that is given up; episodes of 250 steps and a reset each
    # follow: rows 250, 501, … of the 2,688 that are left.
    assert result["episodes"] == 1 + (7 * ROLLOUT + 1) // 251
    rows = rows_of(place_of(tmp_path, configs[0]))
    assert {row["length_mean"] for row in rows if row["length_mean"]} == {250.0}


def test_a_task_flagged_in_the_catalog_begins_an_episode(tmp_path):
    configs = configs_of("LunarLanderContinuous-v3", AGENTS[:1])
    run(tmp_path, configs, iterations=2)
    _, events = run(tmp_path, configs)
    notes = [event["text"] for event in events if event["kind"] == "note"]
    assert len(notes) == 1 and "draws random numbers in every step" in notes[0]
    result = json.loads((place_of(tmp_path, configs[0]) / "result.json").read_text())
    assert (result["status"], result["steps"]) == ("completed", ITERATIONS * ROLLOUT)


def change_checkpoints(place, change):
    """Rewrite every checkpoint with a right digest of what `change` makes of its state."""
    for path in (place / "checkpoint").iterdir():
        tensors, state = read_tensors(path, 2**30)
        write_tensors(path, tensors, change(state))


def test_checkpoints_of_an_earlier_version_are_gone_on_from_exactly(tmp_path, configs, untouched):
    run(tmp_path, configs, iterations=3)

    def without(state):
        """Return what a version wrote that had neither a setting, nor an option, nor a metric."""
        state = json.loads(json.dumps(state))
        assert state["identity"]["settings"].pop("noise_location") == 0.0
        assert state["identity"]["shape"].pop("noise_on") == "location"
        del state["identity"]["preset"]
        for row in state["rows"]:
            del row["noise_kl"]
            # A metric that this version does not have.
            row["surprise"] = 1.5
        for part in ("sums", "counts"):
            del state["log"][part]["noise_kl"]
        return state

    for config in configs:
        change_checkpoints(place_of(tmp_path, config), without)
    _, events = run(tmp_path, configs)
    assert [event for event in events if event["kind"] == "note"] == []
    for config in configs:
        one, other = (place_of(out, config) for out in (untouched, tmp_path))
        for place in (one, other):
            # Every row has the columns of this version, in its order.
            lines = (place / "metrics.jsonl").read_text().splitlines()
            assert {tuple(json.loads(line)) for line in lines} == {COLUMNS}
        rows, expected = rows_of(other), rows_of(one)
        assert [row.pop("noise_kl") for row in rows][:3] == [None] * 3
        assert [row.pop("noise_kl") for row in expected][3:] == [
            row["noise_kl"] for row in rows_of(other)[3:]
        ]
        assert rows == expected
        first, second = (robustpo.load_policy(place).tensors for place in (one, other))
        assert all((first[name] == second[name]).all() for name in first)


def test_what_cannot_be_used_takes_no_good_checkpoints_place(tmp_path, configs, untouched):
    config = configs[0]
    run(tmp_path, [config], iterations=2, every=ROLLOUT)
    place = place_of(tmp_path, config)
    for step in (6, 7):
        (place / "checkpoint" / f"step-{step * ROLLOUT:012d}.safetensors").write_text("nothing")
    run(tmp_path, [config], iterations=1, every=ROLLOUT)
    names = sorted(path.name for path in (place / "checkpoint").iterdir())
    good = [f"step-{n * ROLLOUT:012d}.safetensors" for n in (2, 3)]
    assert names == [*good, *(f"step-{n * ROLLOUT:012d}.unusable" for n in (6, 7))]
    # The steps of the bad ones are passed; all of them go in the end.
    run(tmp_path, [config])
    assert_same_runs([config], untouched, tmp_path)
    for name in ("config.json", "result.json"):
        one, other = (
            json.loads((place_of(out, config) / name).read_text()) for out in (untouched, tmp_path)
        )
        assert keys_of(one) == keys_of(other)


def keys_of(data):
    """Return the keys of nested objects in their order."""
    if type(data) is not dict:
        return None
    return [(key, keys_of(value)) for key, value in data.items()]


def test_more_resets_than_can_be_made_begin_a_new_episode(tmp_path, monkeypatch):
    # Episodes of 200 steps: 3 resets after two rollouts.
    configs = configs_of("gymnasium/Pendulum-v1", AGENTS[:1])
    run(tmp_path, configs, iterations=2)
    monkeypatch.setattr(restore, "MAX_RESETS", 2)
    _, events = run(tmp_path, configs)
    (note,) = (event["text"] for event in events if event["kind"] == "note")
    assert "it goes on with a new episode, no longer exact to the bit" in note
    result = json.loads((place_of(tmp_path, configs[0]) / "result.json").read_text())
    assert (result["status"], result["steps"]) == ("completed", ITERATIONS * ROLLOUT)


def test_a_checkpoint_of_another_network_is_refused(tmp_path, configs):
    run(tmp_path, configs[:1], iterations=1)
    place = place_of(tmp_path, configs[0])
    (newest,) = (place / "checkpoint").iterdir()
    tensors, state = read_tensors(newest, 2**30)
    name = max(tensors, key=lambda name: tensors[name].size if "actor" in name else 0)
    write_tensors(newest, tensors | {name: tensors[name][:1]}, state)
    with pytest.raises(robustpo.ConfigError, match=r"cannot be used: .*actor.*--fresh"):
        run(tmp_path, configs[:1])
    assert Path(newest).exists()


@pytest.mark.slow
def test_actions_in_units_of_the_bounds_are_replayed_as_they_were_executed(tmp_path):
    # Bounds of ±3: the last bit of what is executed is not that of the policy's own action.
    configs = configs_of("InvertedPendulum-v4", AGENTS[:2], action_scale="bounds")
    run(tmp_path / "whole", configs)
    run(tmp_path / "parts", configs[:1], iterations=3)
    run(tmp_path / "parts", configs)
    assert_same_runs(configs, tmp_path / "whole", tmp_path / "parts")
