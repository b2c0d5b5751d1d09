"""The Python interface: the command line's words, and what only Python offers."""

import dataclasses
import inspect
import json
import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import robustpo
from robustpo.config.run import make_config
from robustpo.environments.make import resolve
from robustpo.errors import ConfigError
from robustpo.evaluation.episodes import Evaluations
from robustpo.execution.estimate import learner_products, seconds_per_step
from robustpo.execution.manner import Execution
from robustpo.training.trainer import Trainer

PENDULUM = "dm_control/pendulum-swingup-v0"


@pytest.fixture(scope="module")
def adorned(tmp_path_factory, tiny):
    """One run with everything on: small networks, two environments, evaluations, tracking."""
    out, events = tmp_path_factory.mktemp("adorned"), []
    (run,) = robustpo.train(
        PENDULUM,
        method="ppo-entropy",
        seeds=5,
        out=out,
        hidden_sizes=(24, 12),
        activation="relu",
        num_envs=2,
        eval_every=2048,
        eval_episodes=3,
        track="tensorboard",
        target_kl=0.05,
        time_limit="bootstrap",
        learning_rate_schedule="constant",
        callback=events.append,
        progress=False,
        **tiny.options | {"steps": 8192},
    )
    return run, events


def read_lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_evaluations_are_recorded_as_often_as_asked(adorned):
    run, _ = adorned
    rows = read_lines(run / "evaluations.jsonl")
    assert [row["step"] for row in rows] == [2048, 4096, 6144, 8192]
    assert all(row["episodes"] == 3 and row["length_mean"] == 1000 for row in rows)
    assert all(0 <= row["min"] <= row["mean"] <= row["max"] <= 1000 for row in rows)


def test_the_best_policy_is_kept(adorned):
    run, _ = adorned
    rows = read_lines(run / "evaluations.jsonl")
    means = [row["mean"] for row in rows]
    first_best = means.index(max(means))
    best = robustpo.load_policy(run / "policy_best.safetensors")
    last = robustpo.load_policy(run)
    # 1,024 steps an iteration and one observation more at the start, in two environments each.
    count = float(best.tensors["observation.count"])
    assert count == rows[first_best]["step"] + 2
    same = all(np.array_equal(best.tensors[k], last.tensors[k]) for k in best.tensors)
    assert same == (first_best == len(rows) - 1)
    by_name = robustpo.evaluate(run, best=True, episodes=2, seed=1)
    by_path = robustpo.evaluate(run / "policy_best.safetensors", episodes=2, seed=1)
    assert by_name == by_path


def test_networks_have_the_shape_asked_for(adorned):
    run, _ = adorned
    policy = robustpo.load_policy(run)
    shapes = {name: tensor.shape for name, tensor in policy.tensors.items()}
    assert [shapes[f"actor.{i}.weight"] for i in range(3)] == [(3, 24), (24, 12), (12, 1)]
    assert [shapes[f"critic.{i}.weight"] for i in range(3)] == [(3, 24), (24, 12), (12, 1)]
    assert policy.metadata["activation"] == "relu"
    obs = np.array([0.3, -0.2, 0.5], np.float32)
    x = policy.normalize(obs)
    for i in range(2):
        x = np.maximum(
            x @ policy.tensors[f"actor.{i}.weight"] + policy.tensors[f"actor.{i}.bias"], 0
        )
    x = x @ policy.tensors["actor.2.weight"] + policy.tensors["actor.2.bias"]
    np.testing.assert_allclose(policy(obs), np.clip(x, -1, 1), rtol=1e-5)


def test_settings_reach_the_learner(adorned):
    run, events = adorned
    rows = read_lines(run / "metrics.jsonl")
    assert {row["alpha"] for row in rows} == {0.0}
    assert [row["learning_rate"] for row in rows] == pytest.approx([3e-4] * 8, rel=1e-6)
    identity = json.loads((run / "config.json").read_text())["identity"]
    assert identity["settings"]["entropy_coef"] == 0.01
    assert identity["settings"]["time_limit"] == "bootstrap"
    assert identity["settings"]["target_kl"] == 0.05
    assert [event["step"] for event in events] == [1024 * i for i in range(1, 9)]


def test_tensorboard_tells_what_the_metrics_tell(adorned):
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    run, _ = adorned
    (file,) = (run / "tensorboard").iterdir()
    scalars = {}
    for record in records_of(file.read_bytes()):
        event = event_pb2.Event.FromString(record)
        for value in event.summary.value:
            scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
    rows = read_lines(run / "metrics.jsonl")
    for name in ("entropy", "policy_loss", "approx_kl", "learning_rate"):
        written = scalars[f"train/{name}"]
        assert [step for step, _ in written] == [row["step"] for row in rows]
        np.testing.assert_allclose([x for _, x in written], [r[name] for r in rows], rtol=1e-5)


def records_of(data):
    """Yield the records of an event file: length (8 bytes), its checksum (4), data, checksum."""
    while data:
        length = int.from_bytes(data[:8], "little")
        yield data[12 : 12 + length]
        data = data[12 + length + 4 :]


def test_options_have_the_same_names_in_the_directory(adorned):
    run, _ = adorned
    variant = run.parent.name
    assert variant.startswith("ppo-entropy_")
    for slug in ("hidden-sizes-24x12", "activation-relu", "num-envs-2", "target-kl-0.05"):
        assert slug in variant
    for slug in ("time-limit-bootstrap", "learning-rate-schedule-constant"):
        assert slug in variant
    assert run.name == "seed-5" and run.parent.parent.name == "pendulum-swingup-v0"


def test_compare_returns_what_the_command_prints(comparison, tiny):
    report = robustpo.compare(
        comparison.task,
        methods=["ppo", "rpo"],
        seeds=range(2),
        out=comparison.out,
        progress=False,
        **tiny.options,
    )
    assert "no verdict" in report.sentence
    assert " ".join(report.sentence.split()) in " ".join(comparison.stdout.split())
    assert "| ppo" in report.table and "| rpo" in report.table
    assert all(file.is_file() for file in report.files)


def test_numbers_of_numpy_and_a_home_are_taken(tmp_path, tiny, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    options: dict[str, Any] = {
        name: np.int64(value) if isinstance(value, int) else value
        for name, value in tiny.options.items()
    }
    options |= {"alpha": np.float32(0.25), "hidden_sizes": np.array([8, 8]), "progress": False}
    runs = robustpo.train(
        "Pendulum-v1", seeds=np.arange(1, 2), out="~/o", workers=np.int64(1), **options
    )
    # The preset is this task's own.
    slug = f"rpo_alpha-0.25_hidden-sizes-8x8_{tiny.slug.removeprefix('paper_')}"
    assert runs == [tmp_path / "o" / "Pendulum-v1" / slug / "seed-1"]
    # Plain numbers ask for the same run, and one method may be given as such.
    before = (runs[0] / "result.json").stat().st_mtime_ns
    plain = tiny.options | {"hidden_sizes": [8, 8], "progress": False}
    report = robustpo.compare(
        "Pendulum-v1",
        methods="rpo",
        seeds=np.int64(1),
        alphas=np.linspace(0.25, 1, 1),
        out="~/o",
        **plain,
    )
    assert (runs[0] / "result.json").stat().st_mtime_ns == before
    assert tmp_path / "o" in report.files[0].parents
    found = robustpo.evaluate("~/o/Pendulum-v1/" + slug + "/seed-1", episodes=np.int64(2))
    assert len(found.returns) == 2
    assert robustpo.load_results("~/o")["seed"].unique().to_list() == [1]
    with pytest.raises(robustpo.ConfigError, match=r"episodes=2\.0"):
        robustpo.evaluate(runs[0], episodes=2.0)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("function", [robustpo.train, robustpo.compare])
def test_every_option_of_an_execution_is_a_keyword_with_the_same_default(function):
    keywords = inspect.signature(function).parameters
    for option in dataclasses.fields(Execution):
        assert Path(str(keywords[option.name].default)) == Path(str(option.default)), option.name


def test_what_is_given_by_name_becomes_the_execution_whatever_stands_beside_it():
    given = {f.name: f.default for f in dataclasses.fields(Execution)}
    chosen = {"workers": np.int64(3), "env_processes": 2, "out": "~", "task": "beside"}
    execution = Execution.of(given | chosen)
    assert (execution.workers, type(execution.workers)) == (3, int)
    assert execution.out == Path.home()
    # Processes of a pinned worker would share its core.
    assert (execution.worker.pin, execution.worker.env_processes, execution.cores) == (False, 2, 3)
    assert Execution.of(given).worker.pin


def test_the_names_of_the_package_are_all_there():
    assert {"train", "compare", "evaluate", "load_policy", "load_results"} <= set(robustpo.__all__)
    for name in robustpo.__all__:
        assert getattr(robustpo, name).__doc__ or name == "METHODS"
        assert name in dir(robustpo)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        robustpo.trian  # noqa: B018


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (["walker-walk"], {}, "dm_control/walker-walk-v0"),
        ([None], {}, "task=None"),
        ([3], {}, "task=3"),
        ([PENDULUM], {"seeds": "many"}, "seeds='many'"),
        ([PENDULUM], {"seeds": []}, "seeds"),
        ([PENDULUM], {"method": "sac"}, "'sac'"),
        ([PENDULUM], {"aplha": 1.0}, "did you mean alpha"),
        ([PENDULUM], {"alpha": "0.5"}, "alpha='0.5'"),
        ([PENDULUM], {"steps": 1e6}, "steps=1000000.0"),
        ([PENDULUM], {"track": "wandb"}, "tensorboard"),
        ([PENDULUM], {"hidden_sizes": 64}, "hidden_sizes=64"),
        ([PENDULUM], {"init_policy": "lost"}, "no policy at lost"),
        ([PENDULUM], {"workers": 0}, "workers=0"),
        ([PENDULUM], {"workers": 1.5}, "workers=1.5"),
        ([PENDULUM], {"seeds": 2.0}, "seeds=2.0"),
        ([PENDULUM], {"seeds": [True]}, "seeds=[True]"),
        ([PENDULUM], {"seed": 3}, "seeds=..."),
        ([PENDULUM], {"steps": np.float64(1e6)}, "write 1000000"),
        ([PENDULUM], {"method": "ppo", "alpha": np.float64(0.3)}, "choose the method rpo"),
        ([PENDULUM], {"method": 3}, "method=3"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_written(
    tmp_path, tiny, arguments, options, words
):
    with pytest.raises(robustpo.ConfigError, match=re.escape(words)):
        robustpo.train(*arguments, out=tmp_path / "o", progress=False, **tiny.options | options)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"methods": []}, "methods"),
        ({"methods": [], "gamma": 0.9}, "methods"),
        ({"methods": ["rpo", "rpo"]}, "rpo twice"),
        ({"methods": "ppo", "alphas": 0.1}, "alpha=0.1 contradicts method"),
        (
            {"methods": ["ppo", "rpo"], "alphas": [0.1], "alpha": 0.2},
            "alpha=0.2 applies to none",
        ),
        ({"alphas": "0.1"}, "alphas='0.1'"),
        ({"alphas": [True]}, "alphas="),
        ({"alphas": np.array([0.1, 0.1])}, "alphas="),
    ],
    ids=str,
)
def test_comparisons_that_make_no_sense_are_refused(tmp_path, options, words):
    with pytest.raises(robustpo.ConfigError, match=re.escape(words)):
        robustpo.compare(PENDULUM, out=tmp_path / "o", **options)
    assert not (tmp_path / "o").exists()


def test_a_path_of_a_policy_may_be_long(comparison, tiny, tmp_path):
    place = tmp_path.joinpath(*["a-rather-long-name-of-a-directory"] * 8)
    place.mkdir(parents=True)
    source = comparison.run("rpo", 0) / "policy.safetensors"
    (place / source.name).write_bytes(source.read_bytes())
    variant = make_config(
        comparison.task, init_policy=str(place / source.name), **tiny.options
    ).variant
    assert len(variant.encode()) <= 255  # or no file system takes it


class Pendulums:
    """A constructor, which is trained in this process."""

    __name__ = "Pendulums"

    def __call__(self):
        return gymnasium.make("Pendulum-v1")


@pytest.mark.parametrize("task", ["gymnasium/Pendulum-v1", Pendulums()])
def test_a_callback_that_returns_false_stops_all_runs_in_order(tmp_path, tiny, task):
    seen = []

    def stop(event):
        if event["step"] == 1536:
            seen.append(event)
        return np.bool_(event["step"] < 1536)

    options = tiny.options | {"seeds": "0:2", "checkpoint_every": 512, "workers": 1}
    asked: dict[str, Any] = {"out": tmp_path / "runs", "progress": False, **options}
    runs = robustpo.train(task, callback=stop, **asked)
    # The second seed may have been told of, too, before both stopped; nothing went on for long.
    assert seen[0]["directory"] == runs[seen[0]["seed"]]
    for run in runs:
        assert not (run / "result.json").exists()
        assert 1 <= len(read_lines(run / "metrics.jsonl")) < 8
    # Of the last checkpoint while it trains, of its last step once it has stopped.
    policy = robustpo.load_policy(runs[0] / "policy.safetensors")
    assert seen[0]["policy"]()(np.zeros(3)) == policy(np.zeros(3))
    # The same call goes on, to where it would have come without.
    assert robustpo.train(task, **asked) == runs
    asked["out"] = tmp_path / "alone"
    alone = robustpo.train(task, **asked)
    for gone_on, whole in zip(runs, alone, strict=True):
        name = "policy.safetensors"
        assert (gone_on / name).read_bytes() == (whole / name).read_bytes()


def test_the_policy_in_the_event_is_that_of_the_last_checkpoint(tmp_path, tiny):
    found = {}

    def look(event):
        if event["step"] >= 1024:
            policy = event["policy"]()
            found.setdefault(event["step"], policy(np.ones(3)))

    options = tiny.options | {"seeds": 0, "checkpoint_every": 512, "steps": 4096}
    robustpo.train(Pendulums(), out=tmp_path, callback=look, progress=False, **options)
    # In this process the callback hears of an iteration before its checkpoint is written.
    assert len({float(action[0]) for action in found.values()}) == len(found) == 7


def test_steps_that_floor_to_the_same_count_are_one_run(tmp_path, tiny, capfd):
    def train(steps):
        asked: dict[str, Any] = {"out": tmp_path, "seeds": 0, **tiny.options, "steps": steps}
        return robustpo.train(tiny.task, **asked)

    (run,) = train(4096)
    before = (run / "policy.safetensors").stat().st_mtime_ns
    assert train(4100) == [run]
    assert "4,100 steps are the same whole rollouts as 4,096, under which" in capfd.readouterr().err
    assert (run / "policy.safetensors").stat().st_mtime_ns == before
    # One rollout more is another run.
    (other,) = train(4608)
    assert other != run and len(list(run.parents[1].iterdir())) == 2


def test_a_variant_a_run_and_a_policy_are_evaluated_alike(comparison, robustpo_command):
    runs = [comparison.run("rpo", seed) for seed in (0, 1)]
    asked: dict[str, Any] = {"episodes": 3, "max_steps": 20, "seed": 4}
    alone = [robustpo.evaluate(run, **asked) for run in runs]
    assert robustpo.evaluate(robustpo.load_policy(runs[0]), **asked) == alone[0]
    both = robustpo.evaluate(runs[0].parent, **asked)
    assert isinstance(both, Evaluations)
    assert both.runs == {"seed-0": alone[0], "seed-1": alone[1]}
    means = [one.mean for one in alone]
    assert both.mean == pytest.approx(np.mean(means)) and both.std == np.std(means, ddof=1)
    # Over two runs, not over six episodes: t at 97.5% with one degree of freedom is 12.706.
    half = (both.interval[1] - both.interval[0]) / 2
    assert half == pytest.approx(12.706 * both.std / 2**0.5, rel=1e-3)
    words = ["--episodes", 3, "--max-steps", 20, "--seed", 4]
    done = robustpo_command("evaluate", runs[0].parent, *words, cwd=comparison.home)
    assert [line.split()[0] for line in done.stdout.splitlines()[1:3]] == ["seed-0", "seed-1"]
    assert f"over 2 runs: {both.mean:.2f} ± {both.std:.2f}, 95% interval" in done.stdout


def test_runs_without_a_policy_are_named(comparison, tmp_path):
    variant = tmp_path / "rpo"
    for seed in (0, 10, 9):
        (variant / f"seed-{seed}").mkdir(parents=True)
    (variant / "seed-9" / "notes").mkdir()
    with pytest.raises(ConfigError, match=r"none of the 3 runs in .* holds"):
        robustpo.evaluate(variant)
    policy = (comparison.run("rpo", 0) / "policy.safetensors").read_bytes()
    (variant / "seed-10" / "policy.safetensors").write_bytes(policy)
    found = robustpo.evaluate(variant, episodes=1, max_steps=5)
    assert isinstance(found, Evaluations) and list(found.runs) == ["seed-10"]
    assert found.without_policy == ("seed-0", "seed-9") and np.isnan(found.std)


def test_an_exception_of_the_callback_ends_training(tmp_path, tiny):
    def stop(event):
        if event["step"] >= 1024:
            raise StopIteration("enough")

    with pytest.raises(StopIteration, match="enough"):
        robustpo.train(
            "gymnasium/Pendulum-v1",
            out=tmp_path,
            callback=stop,
            workers=1,
            progress=False,
            **tiny.options | {"steps": 10_000_000},
        )
    (run,) = [path.parent for path in tmp_path.rglob("config.json")]
    assert not (run / "result.json").exists()
    assert len(read_lines(run / "metrics.jsonl")) >= 1


def test_the_estimate_is_of_the_right_size(tiny):
    # In this process and right before, so that both meet the same machine; the first iteration
    # is left out, since some of its time is the start's. Factor 4, for machines are shared.
    config = make_config(PENDULUM, **tiny.options | {"steps": 40 * 512, "update_epochs": 10})
    seconds = []
    estimated = seconds_per_step(config, 1, PENDULUM)
    Trainer([config], emit=lambda event: seconds.append(event.get("seconds"))).run()
    times = [moment for moment in seconds if moment is not None]
    measured = (times[-1] - times[0]) / ((len(times) - 1) * 512)
    assert 1 / 4 < estimated / measured < 4


def test_the_estimate_counts_products_of_both_networks():
    shape, spec = make_config(PENDULUM).shape, resolve(PENDULUM)
    # Actor 3·64 + 64·64 + 64·1, and the critic the same; twice in collecting and taking values,
    # and forward and backward (thrice forward) in each of ten epochs.
    one_network = 3 * 64 + 64 * 64 + 64
    assert learner_products(shape, spec) == 2 * one_network * (2 + 3 * 10)
