"""The whole check, in this process and from the command line."""

import json

import numpy as np
import pytest

from robustpo.errors import ConfigError
from robustpo.theory.findings import Effort
from robustpo.theory.theory import check_theory

TASK = "dm_control/pendulum-swingup-v0"
LITTLE = Effort(points=3, draws=6, pairs=4, probes=4, max_exact=0, iterations=5, directions=1)
NAMES = ("bias", "penalty", "smoothing", "sharpness", "directions")


def refuse(name):
    raise AssertionError(f"{name} is no number of strict JSON")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("theory") / "report"
    return check_theory(TASK, seeds="0:2", steps=3 * 2048, out=out, progress=False, effort=LITTLE)


@pytest.mark.slow
def test_all_files_are_written(report):
    expected = {f"{name}.{kind}" for name in NAMES for kind in ("png", "svg", "pdf")}
    assert {file.name for file in report.files} == expected | {"theory.md", "theory.json"}
    assert all(file.stat().st_size > 1000 for file in report.files)


@pytest.mark.slow
def test_the_numbers_are_strict_json(report):
    path = next(file for file in report.files if file.name == "theory.json")
    data = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert data["setup"]["task"] == TASK and data["setup"]["steps"] == 6144
    assert len(data["biases"]) == 3 * 5 and len(data["smoothings"]) == 3
    steps = sorted({one["step"] for one in data["sharpness"]})
    assert steps == [0, 2048, 4096] and len(data["sharpness"]) == 3 * 4
    first = {(x["method"], x["seed"]): x for x in data["sharpness"] if x["step"] == 0}
    # Before any update PPO and RPO are the same agent.
    for seed in (0, 1):
        assert first["ppo", seed]["trace"] == first["rpo", seed]["trace"]
        assert first["ppo", seed]["sigma"] == 1.0
    last = {(x["method"], x["seed"]): x for x in data["sharpness"] if x["step"] == 4096}
    assert last["ppo", 0]["trace"] != last["rpo", 0]["trace"]


@pytest.mark.slow
def test_the_text_says_what_was_found(report):
    text = next(f for f in report.files if f.name == "theory.md").read_text(encoding="utf-8")
    assert all(sentence in text for sentence in report.sentences)
    assert "No verdict" in report.sentences[-1] and "nan" not in text
    assert all(f"![{name}]({name}.png)" in text for name in NAMES)


@pytest.mark.slow
def test_the_ratio_is_one_at_the_parameters_that_collected(report):
    """So the plain gradients of ratio and weighted log-likelihood agree."""
    by_objective = {
        one.objective: one for one in report.findings.biases if one.policy == "RPO, trained"
    }
    weighted = by_objective["log-likelihood × advantage"]
    for name in ("ratio × advantage", "clipped ratio × advantage"):
        np.testing.assert_allclose(by_objective[name].gradient_norm, weighted.gradient_norm)
        np.testing.assert_allclose(
            by_objective[name].log_std[0].plain, weighted.log_std[0].plain, rtol=1e-6
        )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"alpha": 0}, "alpha=0 perturbs nothing"),
        ({"alpha": -1}, "alpha"),
        ({"steps": 100}, "steps=100"),
        ({"task": "nowhere-v0"}, "nowhere-v0"),
        ({"seeds": "x"}, "seeds"),
        ({"init_policy": "nowhere"}, "nowhere"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_before_training(options, text, tmp_path):
    task = options.pop("task", TASK)
    with pytest.raises(ConfigError, match=text):
        check_theory(task, out=tmp_path, progress=False, **options)


def test_a_place_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written to"):
        check_theory(TASK, out=tmp_path / "file" / "out", progress=False)


def test_an_unknown_task_is_one_line_on_the_command_line(robustpo_command, tmp_path):
    done = robustpo_command("theory", "dm_control/pendulum-swingup", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("robustpo: error: ")
    assert list(tmp_path.iterdir()) == []
