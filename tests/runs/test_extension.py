"""A finished run is gone on with as one that was planned that long would have gone on."""

import json
import shutil
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import robustpo
from robustpo.errors import ConfigError
from robustpo.runs.run_files import read_metrics

# What the length of a run changes.
CONSTANT = {"learning_rate_schedule": "constant"}
# Of time, or of how often rows are written.
TIMES = ("seconds",)


def train(task, out, **options) -> Any:
    return robustpo.train(task, out=out, progress=False, workers=1, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny):
    """Two seeds of half the length, with a network and an alpha of their own."""
    options = tiny.options | CONSTANT | {"steps": 2048, "alpha": 0.1, "hidden_sizes": (16,)}
    home = tmp_path_factory.mktemp("finished")
    return home, options, train(tiny.task, home, seeds="0:2", **options)


@pytest.mark.parametrize("task", ["isaac/Cartpole-v0", "Pendulum-v1", "gymnasium/Pendulum-v1"])
def test_it_is_the_run_that_was_planned_that_long(tmp_path, tiny, task):
    options = tiny.options | CONSTANT | {"alpha": 0.1, "hidden_sizes": (16,), "seeds": "0:2"}
    short = train(task, tmp_path, **options | {"steps": 2048})
    planned = train(task, tmp_path, **options)
    # Method, preset, alpha and shape are those of the run; seeds too.
    extended = train(task, tmp_path, extend=short[0].parent, steps=4096)
    assert len({*short, *planned, *extended}) == 6
    for origin, whole, both in zip(short, planned, extended, strict=True):
        expected, found = (load_file(place / "policy.safetensors") for place in (whole, both))
        assert expected.keys() == found.keys()
        for name, tensor in expected.items():
            np.testing.assert_array_equal(found[name], tensor, err_msg=name)
        curves, kept = read_metrics(whole), read_metrics(both)
        # Rows of what was made before, and of what followed.
        last = {name: column[-1] for name, column in curves.items() if name not in TIMES}
        assert {name: kept[name][-1] for name in last} == pytest.approx(last, nan_ok=True)
        assert kept["step"][0] == read_metrics(origin)["step"][0] and kept["step"][-1] == 4096
        config = json.loads((both / "config.json").read_text())
        assert config["extends"] == str(origin) and config["total_steps"] == 4096
        assert (both / "final.safetensors").is_file()
        # The origin is as it was, and the extension is not trained twice.
        assert json.loads((origin / "result.json").read_text())["steps"] == 2048
    before = (extended[0] / "policy.safetensors").stat().st_mtime_ns
    assert train(task, tmp_path, extend=short[0].parent, steps=4096) == extended
    assert (extended[0] / "policy.safetensors").stat().st_mtime_ns == before
    # One of them is extended by itself, as that same run.
    assert train(task, tmp_path, extend=short[1], steps=4096) == [extended[1]]


def test_what_schedules_and_settings_become_is_said(finished, tmp_path, capfd):
    _, _, runs = finished
    robustpo.train(
        "isaac/Cartpole-v0",
        out=tmp_path,
        extend=runs[0],
        steps=8192,
        workers=1,
        learning_rate_schedule="linear",
        gamma=0.9,
    )
    said = " ".join(capfd.readouterr().err.split())
    # 2,048 of 8,192 are made: three quarters of 3e-4 are left.
    assert "learning_rate (linear over all 8.19k) goes on at 0.000225" in said
    assert "gamma 0.99 there, 0.9 asked" in said and "2.05k steps are made, 6.14k follow" in said


def test_an_extension_goes_on_and_begins_anew(finished, tmp_path):
    def stop(event):
        return event["step"] < 3072

    _, _, runs = finished
    options = {"extend": runs[0], "steps": 4096, "checkpoint_every": 512}
    (run,) = train("isaac/Cartpole-v0", tmp_path, callback=stop, **options)
    assert not (run / "result.json").exists()
    (same,) = train("isaac/Cartpole-v0", tmp_path, **options)
    whole = load_file(run / "policy.safetensors")
    assert same == run and (run / "result.json").exists()
    assert train("isaac/Cartpole-v0", tmp_path, fresh=True, **options) == [run]
    again = load_file(run / "policy.safetensors")
    assert all(np.array_equal(whole[name], again[name]) for name in whole)
    # Without its checkpoint it does not begin from nothing, but where it began before.
    for name in ("result.json", "final.safetensors"):
        (run / name).unlink()
    assert train("isaac/Cartpole-v0", tmp_path, **options) == [run]
    again = load_file(run / "policy.safetensors")
    assert all(np.array_equal(whole[name], again[name]) for name in whole)


def test_evaluations_go_on_too(tmp_path, tiny):
    options = tiny.options | CONSTANT | {"seeds": 0, "eval_every": 512, "eval_episodes": 2}
    (short,) = train(tiny.task, tmp_path, **options | {"steps": 2048})
    (planned,) = train(tiny.task, tmp_path, **options)
    (extended,) = train(tiny.task, tmp_path, extend=short, steps=4096)
    rows = [(run / "evaluations.jsonl").read_text().splitlines() for run in (planned, extended)]
    assert len(rows[0]) == 8 and rows[0] == rows[1]
    best = [load_file(run / "policy_best.safetensors") for run in (planned, extended)]
    assert all(np.array_equal(best[0][name], best[1][name]) for name in best[0])
    # Evaluations of another kind begin anew.
    (other,) = train(tiny.task, tmp_path, extend=short, steps=3072, eval_episodes=1)
    steps = [json.loads(x)["step"] for x in (other / "evaluations.jsonl").read_text().splitlines()]
    assert steps == [2048, 2560, 3072] and (other / "policy_best.safetensors").is_file()


def test_it_is_the_same_run_from_wherever_its_origin_is_named(
    finished, tmp_path, monkeypatch, command_here
):
    run = finished[2][0]
    (first,) = train("isaac/Cartpole-v0", tmp_path, extend=run, steps=4096)
    monkeypatch.chdir(run.parents[2])
    relative = run.relative_to(run.parents[2])
    assert train("isaac/Cartpole-v0", tmp_path, extend=relative, steps=4096) == [first]
    # So does the file that repeats it.
    path = tmp_path / "again.toml"
    path.write_text(command_here("config", first, cwd=tmp_path).stdout)
    again = command_here("train", "--config", path, "--out", tmp_path, cwd=tmp_path)
    assert again.stdout.strip() == str(first), again.stderr


def copied(finished, tmp_path):
    home = tmp_path / "copy"
    shutil.copytree(finished[2][0].parent, home)
    return home / "seed-0"


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"hidden_sizes": (8,)}, "another task or shape .*hidden_sizes"),
        ({"steps": 2048}, "steps=2048 is not more than the 2,048 that .* has made"),
        ({"method": "ppo"}, "method='ppo' is not that of .*, rpo; leave it out"),
        ({"seeds": 0, "method": "rpo", "steps": 4096, "shared_network": True}, "shared_network"),
        ({"seeds": 5}, r"seeds=\[5\] are not among those of .*, \[0\]"),
        ({"init_policy": "p"}, "init_policy='p' is not valid; expected none where"),
        ({"extend": "lost"}, "no configuration in lost"),
    ],
)
def test_what_cannot_be_is_refused(finished, tmp_path, changed, error):
    asked = {"extend": finished[2][0], "steps": 4096} | changed
    with pytest.raises(ConfigError, match=error):
        train("isaac/Cartpole-v0", tmp_path, **asked)
    assert not list(tmp_path.rglob("config.json"))


def test_only_a_finished_run_that_kept_its_last_state_is_extended(finished, tmp_path):
    run = copied(finished, tmp_path)
    (run / "final.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"kept no final\.safetensors, as runs of earlier"):
        train("isaac/Cartpole-v0", tmp_path, extend=run, steps=4096)
    (run / "result.json").unlink()
    with pytest.raises(ConfigError, match="is not finished; only a finished run is extended"):
        train("isaac/Cartpole-v0", tmp_path, extend=run, steps=4096)


def test_on_the_command_line(finished, tmp_path, robustpo_command):
    words = ["train", "isaac/Cartpole-v0", "--extend", finished[2][0].parent, "--steps", "4096"]
    done = robustpo_command(*words, "--workers", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 2 and "seed 1 goes on with" in done.stderr
