"""What a run leaves on disk, column by column."""

import json
import os
import re
import shutil
import time
import sys
import subprocess
import socket
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

import robustpo
from robustpo.base.files import read_tensors, write_tensors
from robustpo.config.run import make_config
from robustpo.errors import ConfigError, StorageError
from robustpo.execution.standing import examine, remove_outlived
from robustpo.runs.identity import config_from_identity
from robustpo.runs.locks import _is_orphaned
from robustpo.runs.record import (
    RunRecord,
    find_checkpoint,
    run_directory,
    set_aside,
    task_directory,
)
from robustpo.runs.run_state import RunState, run_state

INTEGERS = ("step", "transitions", "episodes")
COLUMNS = [
    "step",
    "transitions",
    "seconds",
    "episodes",
    "return_mean",
    "length_mean",
    "entropy",
    "action_std",
    "alpha",
    "learning_rate",
    "policy_loss",
    "value_loss",
    "approx_kl",
    "perturbed_kl",
    "clip_fraction",
    "explained_variance",
    "noise_clip_fraction",
    "noise_kl",
    "sigma_alpha",
    "drac_loss",
    "extra_loss",
]
TENSORS = {"metrics.safetensors", "policy.safetensors", "final.safetensors"}
FILES = {"config.json", "metrics.jsonl", "result.json"} | TENSORS


def read_lines(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_a_run_is_found_under_task_variant_and_seed(comparison, tiny):
    place = comparison.out / tiny.task / f"rpo_{tiny.slug}" / "seed-1"
    assert {path.name for path in place.iterdir()} == FILES


def test_a_completed_run_keeps_its_last_state(comparison):
    place = comparison.run("rpo", 0)
    file = place / "final.safetensors"
    tensors, state = read_tensors(file, 2**24)
    policy = load_file(place / "policy.safetensors")
    networks = {name: policy[name] for name in policy if name[:6] in ("actor.", "critic", "log_st")}
    assert len(networks) == 2 * 3 * 2 + 1
    for name, array in networks.items():
        inner = re.sub(r"\.(\d)\.", r"[\1].", name)
        np.testing.assert_array_equal(tensors[f"learner.params.{inner}"], array)
    for name in ("count", "mean", "variance"):
        moments = tensors[f"collector.obs_moments.{name}"]
        np.testing.assert_array_equal(moments, policy[f"observation.{name}"])
    # 8 iterations of 2 epochs of 4 minibatches.
    assert int(tensors["learner.optimizer[1].count"]) == 8 * 2 * 4
    result = json.loads((place / "result.json").read_text())
    assert state["step"] == result["steps"] and state["log"]["step"] == result["steps"]
    assert "rows" not in state
    # Arrays, and a header that rows have no part in.
    assert file.stat().st_size < sum(array.nbytes for array in tensors.values()) + 2**14


def test_a_command_given_again_leaves_the_last_state(comparison, tiny, tmp_path):
    shutil.copytree(comparison.out, tmp_path / "runs")
    place = tmp_path / "runs" / comparison.run("rpo", 0).relative_to(comparison.out)
    before = {path: path.read_bytes() for path in place.iterdir()}
    robustpo.train(tiny.task, seeds=0, out=tmp_path / "runs", **tiny.options)
    assert {path: path.read_bytes() for path in place.iterdir()} == before


def test_a_run_that_is_trained_on_has_no_last_state(tmp_path):
    config = make_config("task")
    RunRecord(tmp_path, config).save_final({"x": np.arange(3)}, {"step": 4})
    tensors, state = read_tensors(tmp_path / "final.safetensors", 2**20)
    assert tensors["x"].tolist() == [0, 1, 2] and state["step"] == 4
    RunRecord(tmp_path, config)
    assert not (tmp_path / "final.safetensors").exists()


def test_metrics_have_the_promised_columns(comparison):
    table = load_file(comparison.run("rpo", 0) / "metrics.safetensors")
    # rpo has no loss terms, and what is not known of any row is left out.
    assert table.keys() == set(COLUMNS) - {"drac_loss", "extra_loss"}
    # 4096 steps, 512 a rollout, one row each.
    assert {(column.dtype.name, column.shape) for column in table.values()} == {("float64", (8,))}
    schema = robustpo.load_results(comparison.run("rpo", 0)).schema
    assert {n for n in COLUMNS if schema[n] == pl.Int64} == set(INTEGERS)


def test_lines_and_table_are_equal(comparison):
    directory = comparison.run("ppo", 1)
    table, lines = load_file(directory / "metrics.safetensors"), read_lines(directory)
    for name in COLUMNS:
        written = np.array([row[name] for row in lines], np.float64)
        unknown = np.full(len(lines), np.nan)
        np.testing.assert_array_equal(table.get(name, unknown), written)


@pytest.fixture(scope="module")
def balanced(tmp_path_factory, tiny):
    """Runs of a simulator of EnvPool, which spends a step on each reset."""
    out = tmp_path_factory.mktemp("balanced")
    task = "dm_control/cartpole-balance-v0"
    return robustpo.train(task, method="rpo", seeds="0:2", out=out, progress=False, **tiny.options)


def test_steps_transitions_and_episodes_are_counted(balanced):
    # Every episode lasts 1,000 steps, and the step after it only resets: rows 1001, 2002, …
    rows = read_lines(balanced[1])
    assert [row["step"] for row in rows] == [512 * i for i in range(1, 9)]
    assert [row["transitions"] for row in rows] == [n - n // 1001 for n in range(512, 4097, 512)]
    assert [row["episodes"] for row in rows] == [(n + 1) // 1001 for n in range(512, 4097, 512)]
    assert all(row["length_mean"] in (None, 1000.0) for row in rows)
    ended = np.diff([0] + [row["episodes"] for row in rows]) > 0
    assert [row["return_mean"] is not None for row in rows] == ended.tolist()
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds) and seconds[0] > 0


def test_the_learning_rate_falls_linearly(comparison):
    rows = read_lines(comparison.run("rpo", 0))
    expected = [3e-4 * (1 - i / 8) for i in range(8)]
    np.testing.assert_allclose([row["learning_rate"] for row in rows], expected, rtol=1e-6)


def test_quantities_are_what_they_say(comparison):
    for method, alpha in (("ppo", 0.0), ("rpo", 0.5)):
        rows = read_lines(comparison.run(method, 0))
        assert {row["alpha"] for row in rows} == {alpha}
        for row in rows:
            # The entropy of one Gaussian dimension is ½ log 2πe + log σ; its mean over the last
            # epoch is within a few minibatch steps of 3e-4 of the σ after the update.
            expected = 0.5 * np.log(2 * np.pi * np.e) + np.log(row["action_std"])
            assert row["entropy"] == pytest.approx(expected, abs=5e-3)
            assert 0 <= row["clip_fraction"] <= 1
            assert row["value_loss"] > 0
            assert row["explained_variance"] <= 1


def test_the_result_sums_the_run_up(balanced):
    for directory in balanced:
        result = json.loads((directory / "result.json").read_text())
        returns = [row["return_mean"] for row in read_lines(directory) if row["return_mean"]]
        assert result["status"] == "completed"
        assert (result["steps"], result["transitions"], result["episodes"]) == (4096, 4092, 4)
        assert result["final_return"] == pytest.approx(np.mean(returns))  # one episode a row
        assert result["error"] is None
        assert result["seconds"] == read_lines(directory)[-1]["seconds"]


def test_the_configuration_repeats_the_run(comparison, tiny):
    stored = json.loads((comparison.run("rpo", 1) / "config.json").read_text())
    asked = make_config(tiny.task, "rpo", seed=1, **tiny.options)
    assert config_from_identity(stored["identity"]) == asked
    assert stored["variant"] == f"rpo_{tiny.slug}"
    assert {"robustpo", "jax", "envpool", "python"} <= set(stored["versions"])
    assert stored["versions"]["robustpo"] == robustpo.__version__
    assert stored["machine"]["instruction_set"]


def test_the_policy_acts_within_bounds(comparison):
    policy = robustpo.load_policy(comparison.run("rpo", 0))
    assert (policy.observation_size, policy.action_size) == (4, 1)
    assert policy(np.zeros(4)).shape == (1,)
    far = policy(np.random.default_rng(0).normal(size=(50, 4)) * 100, deterministic=False)
    assert far.shape == (50, 1) and np.abs(far).max() <= 1
    # The moments have seen the first observation, one per step and those that ended an episode.
    ended = read_lines(comparison.run("rpo", 0))[-1]["episodes"]
    assert float(policy.tensors["observation.count"]) == 4096 + 1 + ended
    assert policy.metadata["seed"] == 0 and policy.metadata["method"] == "rpo"


def test_a_whole_study_is_read_in_one_call(comparison, tiny):
    results = robustpo.load_results(comparison.out)
    assert results.columns == ["task", "variant", "method", "seed", *COLUMNS]
    assert len(results) == 2 * 2 * 8
    last = results.group_by("method", "seed").agg(pl.col("step").max()).sort("method", "seed")
    assert last.rows() == [(m, s, 4096) for m in ("ppo", "rpo") for s in (0, 1)]
    one = results.filter(method="ppo", seed=1).drop("task", "variant", "method", "seed")
    assert one.to_dicts() == read_lines(comparison.run("ppo", 1))


def test_every_identity_survives_json(tiny):
    config = make_config(
        "HalfCheetah-v4",
        "ppo-entropy",
        seed=7,
        target_kl=0.02,
        time_limit="bootstrap",
        hidden_sizes=(32, 16),
        activation="elu",
        normalize_rewards=False,
        eval_every=1000,
        init_policy="a/policy.safetensors",
        **tiny.options,
    )
    assert config_from_identity(json.loads(json.dumps(config.identity()))) == config


@pytest.mark.parametrize("damage", [{"steps": "many"}, {"shape": {"width": 3}}, {"colour": "red"}])
def test_a_damaged_identity_is_refused(damage):
    with pytest.raises(ConfigError):
        config_from_identity(make_config("Pendulum-v1").identity() | damage)


def test_what_json_cannot_say_is_null(tmp_path):
    record = RunRecord(tmp_path / "run", make_config("Pendulum-v1"))
    record.add_row(dict.fromkeys(COLUMNS, 1) | {"return_mean": float("nan"), "entropy": np.inf})
    record.finish({"status": "completed", "final_return": float("nan")})
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert json.loads(text)["return_mean"] is None and json.loads(text)["entropy"] is None
    assert json.loads((tmp_path / "run" / "result.json").read_text())["final_return"] is None
    table = load_file(tmp_path / "run" / "metrics.safetensors")
    assert table.keys() == set(COLUMNS) - {"return_mean", "entropy"}


def stand(place, config):
    return examine({config: place}, fresh=False)[config]


def test_states_of_a_directory(tmp_path):
    config = make_config("Pendulum-v1")
    place = run_directory(tmp_path, config)
    assert place == tmp_path / "Pendulum-v1" / "rpo" / "seed-0"
    assert run_state(place) == RunState("waiting")
    place.mkdir(parents=True)
    assert run_state(place) == RunState("waiting")
    record = RunRecord(place, config)
    assert run_state(place).state == "stopped" and run_state(place).reason == ""
    with pytest.raises(ConfigError, match="eval_every 0 there, 4096 asked"):
        stand(place, make_config("Pendulum-v1", eval_every=4096))
    record.finish({"status": "completed", "steps": config.total_steps})
    assert run_state(place).done and stand(place, config).run.done


def test_a_kill_during_the_first_write_leaves_nothing_in_the_way(tmp_path):
    config = make_config("Pendulum-v1")
    place = run_directory(tmp_path, config)
    place.mkdir(parents=True)
    (place / ".config.json.partial").write_text('{"ident')
    assert run_state(place).state == "waiting"
    RunRecord(place, config)
    assert {path.name for path in place.iterdir()} == {"config.json"}


def test_a_record_without_rows_is_not_worth_moving_aside(tmp_path):
    config = make_config("Pendulum-v1")
    place = run_directory(tmp_path, config)
    record = RunRecord(place, config)
    assert stand(place, config).stale is False
    record.add_row(dict.fromkeys(COLUMNS, 1))
    assert stand(place, config).stale is True


def test_checkpoints_that_outlived_the_result_go(tmp_path):
    config = make_config("Pendulum-v1")
    place = run_directory(tmp_path, config)
    RunRecord(place, config).finish({"status": "completed", "steps": config.total_steps})
    (place / "checkpoint").mkdir()
    (place / "checkpoint" / "step-000000002048.safetensors").write_text("")
    state = stand(place, config)
    # Whoever asks deletes nothing, and a result without a policy is not how a run ends.
    remove_outlived({config: place}, {config: state})
    assert state.pending is False and (place / "checkpoint").exists()
    (place / "policy.safetensors").write_text("")
    remove_outlived({config: place}, {config: state})
    assert not (place / "checkpoint").exists()


def test_records_are_moved_aside_and_never_over_another(tmp_path):
    for text in ("first", "second"):
        place = tmp_path / "rpo" / "seed-0"
        place.mkdir(parents=True)
        (place / "note").write_text(text)
        moved = set_aside(place)
        assert not place.exists()
        assert (moved / "note").read_text() == text
    assert len(list((tmp_path / "rpo").iterdir())) == 2


def test_a_record_that_cannot_be_moved_is_one_line(tmp_path):
    # A name of 255 bytes is the longest there is, so nothing can be called after it.
    place = tmp_path / ("s" * 255)
    place.mkdir()
    with pytest.raises(StorageError) as caught:
        set_aside(place)
    assert str(place) in str(caught.value) and "\n" not in str(caught.value)
    assert place.is_dir()


def test_what_is_said_of_a_damaged_checkpoint_is_where_the_run_goes_on(tmp_path):
    config = make_config("Pendulum-v1")
    place = run_directory(tmp_path, config)
    record = RunRecord(place, config)
    for step in (2048, 4096):
        record.save_checkpoint({}, {"step": step})
    first, second = sorted((place / "checkpoint").iterdir())
    second.write_bytes(second.read_bytes()[:-1])
    assert (stand(place, config).step, stand(place, config).problems) == (2048, ())
    (problem,) = RunRecord(place, config).problems
    assert second.name in problem and problem.endswith("; the run goes on from step 2,048")
    second.write_bytes(b"")
    first.write_bytes(b"")
    state = stand(place, config)
    assert state.step is None and state.stale and len(state.problems) == 2
    assert not any("goes on" in problem for problem in state.problems)


def test_damage_that_the_head_of_a_checkpoint_does_not_show_is_found_by_who_trains(tmp_path):
    config = make_config("Pendulum-v1")
    place = run_directory(tmp_path, config)
    record = RunRecord(place, config)
    record.add_row(dict.fromkeys(COLUMNS, 1))
    for step in (2048, 4096):
        record.save_checkpoint({"weights": np.ones(3)}, {"step": step})
    first, second = sorted((place / "checkpoint").iterdir())
    flip_last_byte(second)
    assert stand(place, config).step == 4096
    record = RunRecord(place, config)
    (problem,) = record.problems
    assert record.checkpoint is not None and record.checkpoint.step == 2048
    assert second.name in problem and problem.endswith("; the run goes on from step 2,048")
    assert stand(place, config).step == 2048
    flip_last_byte(first)
    record = RunRecord(place, config)
    assert record.checkpoint is None and first.name in record.problems[0]
    assert ".seed-0.old-1" in record.problems[1] and len(record.problems) == 2
    # Nothing is lost, and what begins is new.
    assert (place.parent / ".seed-0.old-1" / "metrics.jsonl").read_text().count("\n") == 1
    assert {path.name for path in place.iterdir()} == {"config.json"}
    assert run_state(place).state == "stopped"


def flip_last_byte(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_a_record_that_does_not_say_which_run_it_is_is_not_gone_on_from(tmp_path):
    config = make_config("Pendulum-v1")
    place = run_directory(tmp_path, config)
    RunRecord(place, config).finish({"status": "completed", "steps": config.total_steps})
    whole = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(whole | {"variant": None}))
    assert run_state(place).state == "unreadable" and "variant" in run_state(place).reason
    with pytest.raises(ConfigError, match="lacks the task, variant, method or seed"):
        stand(place, config)


def test_fresh_moves_the_old_record_aside(comparison, tiny, tmp_path):
    shutil.copytree(comparison.out, tmp_path / "runs")
    place = tmp_path / "runs" / comparison.run("rpo", 0).relative_to(comparison.out)
    robustpo.train(tiny.task, seeds=0, out=tmp_path / "runs", fresh=True, **tiny.options)
    old = [path for path in place.parent.iterdir() if path.name.startswith(".")]
    assert len(old) == 1
    for name in ("metrics.jsonl", "policy.safetensors"):
        assert (old[0] / name).read_bytes() == (comparison.run("rpo", 0) / name).read_bytes()
    assert {path.name for path in place.iterdir()} == FILES
    assert len(robustpo.load_results(tmp_path / "runs")) == 2 * 2 * 8
    assert read_lines(place)[-1]["seconds"] != read_lines(old[0])[-1]["seconds"]


def test_a_record_from_before_an_option_existed_is_the_same_experiment(tmp_path):
    for changed, expected in ((False, True), (True, None)):
        place = tmp_path / str(changed)
        config = make_config("task", alpha_schedule="cosine" if changed else "constant")
        RunRecord(place, make_config("task"))
        file = place / "config.json"
        content = json.loads(file.read_text())
        del content["identity"]["settings"]["alpha_schedule"]
        file.write_text(json.dumps(content))
        if expected:
            assert stand(place, config).run.state == "stopped"
        else:
            with pytest.raises(ConfigError, match="'constant' there, 'cosine' asked"):
                stand(place, config)


def test_a_checkpoint_of_another_setting_is_none_of_this_run(tmp_path):
    config = make_config("task")
    RunRecord(tmp_path, config).save_checkpoint({}, {"step": 0})
    assert find_checkpoint(tmp_path, config)[1] == []
    (file,) = (tmp_path / "checkpoint").iterdir()
    tensors, state = read_tensors(file, 2**20)
    for change in ({"gamma": 0.5}, {"setting_of_a_later_version": 1}):
        identity = state["identity"] | {"settings": state["identity"]["settings"] | change}
        write_tensors(file, tensors, state | {"identity": identity})
        found, (problem,) = find_checkpoint(tmp_path, config)
        assert found is None and "it belongs to another experiment" in problem


def test_a_checkpoint_under_another_name_is_not_used_and_not_lost(tmp_path):
    config = make_config("task")
    record = RunRecord(tmp_path, config)
    for step in (0, 2048):
        record.save_checkpoint({}, {"step": step})
    place = tmp_path / "checkpoint"
    (place / "step-000000002048.safetensors").rename(place / "step-000000004096.safetensors")
    found, (problem,) = find_checkpoint(tmp_path, config)
    assert found is not None and found.step == 0 and "another step than it holds" in problem
    RunRecord(tmp_path, config)
    assert {file.name for file in place.iterdir()} == {
        "step-000000000000.safetensors",
        "step-000000004096.unusable",
    }


def test_all_tasks_lie_below_the_root():
    root = Path("runs")
    assert task_directory(root, "dm_control/a-v0") == root / "dm_control" / "a-v0"
    for task in ("/etc/a-v0", "../../etc/a-v0", "./etc//a-v0", "etc/../a-v0"):
        assert ".." not in task_directory(root, task).relative_to(root).parts


@pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")
def test_nothing_is_deleted_or_written_through_a_link(tmp_path):
    config = make_config("Pendulum-v1")
    place, elsewhere = run_directory(tmp_path / "out", config), tmp_path / "elsewhere"
    elsewhere.mkdir()
    names = ("step-000000000001.safetensors", "notes", ".x.partial", ".config.json.partial")
    for name in names:
        (elsewhere / name).write_text("mine")
    RunRecord(place, config).finish({"status": "completed", "steps": config.total_steps})
    (place / "checkpoint").symlink_to(elsewhere)
    assert stand(place, config).run.done
    (place / "result.json").unlink()
    (place / "checkpoint").unlink()
    record = RunRecord(place, config)
    (place / "checkpoint").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="checkpoint is a link"):
        record.save_checkpoint({}, {"step": 0})
    # What is behind it is no checkpoint of ours: the record goes out of the way, with the link.
    assert len(RunRecord(place, config).problems) == 2
    assert (place.parent / ".seed-0.old-1" / "checkpoint").is_symlink()
    # A directory of the run, or the run itself.
    for moved in (place, place.parent):
        moved.rename(tmp_path / "moved")
        moved.symlink_to(tmp_path / "moved")
        for call in (
            lambda: stand(place, config),
            lambda: examine({config: place}, fresh=True),
            lambda: RunRecord(place, config),
        ):
            with pytest.raises(ConfigError, match=f"{moved.name} is a link"):
                call()
        moved.unlink()
        (tmp_path / "moved").rename(moved)
    assert {file.name: file.read_text() for file in elsewhere.iterdir()} == dict.fromkeys(
        names, "mine"
    )


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes as Linux shows them")
def test_an_owner_that_died_unasked_is_no_owner():
    """Its parent has not waited for it, so its number is still taken."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = {"pid": process.pid, "host": socket.gethostname()}
    assert not _is_orphaned(owner)
    process.kill()
    deadline = time.monotonic() + 30
    while not _is_orphaned(owner) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _is_orphaned(owner)
    process.communicate()
    assert _is_orphaned(owner)
