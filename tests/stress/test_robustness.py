"""From policies to a report: measured once, paired, and right where nothing differs."""

import json
import math
import re
import shutil
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import robustpo
from robustpo.errors import ConfigError
from robustpo.policy.policy import Policy, load_policy, save_policy
from robustpo.reports.robustness import markdown
from robustpo.stress.measure import Terms
from robustpo.stress.plan import plan
from robustpo.stress.results import load_results
from robustpo.stress.store import Store
from robustpo.stress.study import measure_all
from robustpo.stress.subjects import Subject

TASK = "robust_envs:Track"
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setenv("PYTHONPATH", str(HERE))


def write_policy(path, gain, task=TASK):
    """Write a policy that pushes `gain` times the first observation."""
    tensors = {
        "actor.0.weight": np.array([[gain], [0.0]], np.float32),
        "actor.0.bias": np.zeros(1, np.float32),
        "log_std": np.zeros(1, np.float32),
        "action.low": np.array([-1.0], np.float32),
        "action.high": np.array([1.0], np.float32),
    }
    metadata = {"activation": "tanh", "distribution": "gaussian", "task": task}
    save_policy(path, Policy(tensors, metadata))
    return path


def measured(report, shift):
    (panel,) = [p for p in report.results.panels if p.shift == shift]
    return panel, report.results.of(panel)


def test_it_is_right_where_the_answer_is_known(tmp_path):
    policy = write_policy(tmp_path / "policy.safetensors", 1.0)
    said = []
    report = robustpo.robustness(
        policy,
        task=TASK,
        shifts=["action-scale=0,0.5,1", "env.length=0.5,1,2", "observation-delay=0,1"],
        episodes=3,
        workers=1,
        progress=lambda done, of: said.append((done, of)),
    )
    # The perfect policy earns `length` a step, for 20 steps.
    panel, (found,) = measured(report, "env.length")
    assert [point.mean for point in found.curve] == pytest.approx([10.0, 20.0, 40.0])
    # (10 + 20) / 2 over 0.5, and 30 over 1.
    assert found.area.mean == pytest.approx((15 * 0.5 + 30 * 1) / 1.5)
    # Pushing s times the target misses |1 - s| |target|, of a mean of a half.
    panel, (found,) = measured(report, "action-scale")
    means = [point.mean for point in found.curve]
    assert means[2] == pytest.approx(20.0)
    assert 20 - means[0] == pytest.approx(2 * (20 - means[1]))
    assert means[0] == pytest.approx(10.0, rel=0.15)
    # At random |a - t| of two uniform numbers within ±1 is 2/3.
    assert panel.random == pytest.approx(20 / 3, rel=0.25)
    # An old target is as good as any.
    panel, (found,) = measured(report, "observation-delay")
    assert found.curve[1].mean == pytest.approx(20 / 3, rel=0.4)
    assert said[-1][0] == said[-1][1] > 0

    again = []
    robustpo.robustness(
        policy,
        task=TASK,
        shifts=["env.length=0.5,1,2"],
        episodes=3,
        workers=1,
        progress=lambda done, of: again.append((done, of)),
    )
    assert again == [(0, 0)]


def test_a_level_that_breaks_the_simulator_is_marked_and_the_rest_goes_on(tmp_path):
    policy = write_policy(tmp_path / "policy.safetensors", 1.0)
    report = robustpo.robustness(
        policy, task=TASK, shifts="env.length=1,2,5,50", episodes=2, workers=2
    )
    _, (found,) = measured(report, "env.length")
    means = [point.mean for point in found.curve]
    assert means[:2] == pytest.approx([20.0, 40.0])
    assert all(math.isnan(mean) for mean in means[2:])
    assert found.broken == 2
    (note,) = report.results.notes
    assert note.startswith(f"{TASK}, env.length: 2 measurements broke, such as at 5: ")
    assert "unstable" in note
    alone = robustpo.robustness(policy, task=TASK, shifts="env.length=1,50", episodes=2, workers=1)
    assert "exit code 7" in alone.results.notes[0]
    assert "2 broke" in markdown(report.results)


def test_what_did_not_come_to_an_end_is_tried_again(tmp_path):
    policy = write_policy(tmp_path / "policy.safetensors", 1.0)

    def measurements(**options):
        said = []
        robustpo.robustness(
            policy,
            task=TASK,
            shifts="env.length=2,50",
            episodes=1,
            workers=1,
            progress=lambda done, of: said.append(of),
            **options,
        )
        return said[-1]

    # Three levels, and what acts at random where nothing differs.
    assert measurements() == 4
    assert measurements() == 1
    # A line that was torn, and lines that are none, cost themselves alone.
    points = tmp_path / "robustness" / "points.jsonl"
    lines = points.read_text().splitlines()
    odd = [lines[0].replace('"level": 0.0', '"level": [0]'), lines[1].replace(TASK, "x")]
    points.write_text("\n".join([*lines[:-1], *odd, lines[-1][:30]]))
    assert measurements() == 2
    assert measurements() == 1


def test_noise_is_measured_anew_if_it_is_of_another_size(tmp_path):
    for name, variance in (("a", 1.0), ("b", 9.0)):
        (tmp_path / name).mkdir()
        path = write_policy(tmp_path / name / "policy.safetensors", 1.0)
        policy = load_policy(path)
        moments = {
            "observation.mean": np.zeros(2, np.float32),
            "observation.variance": np.full(2, variance, np.float32),
        }
        save_policy(path, Policy(policy.tensors | moments, policy.metadata))
    store = Store(tmp_path / "robustness", tmp_path)
    subjects = [Subject(TASK, n, 0, tmp_path / n / "policy.safetensors") for n in ("a", "b")]

    def curve(which):
        both = measure_all(which, ["observation-noise=0.3"], Terms(2), store, workers=1)
        return {name: scores[0][1].mean or 0.0 for name, scores in both[0].scores.items()}

    alone, beside = curve(subjects[:1]), curve(subjects)
    # A mean of 1 and 3 instead of 1: more noise.
    assert min(*alone.values(), *beside.values()) > 0
    assert beside["a"] < alone["a"]
    assert curve(subjects) == beside


def test_two_policies_that_would_stand_for_one_are_refused(comparison, tmp_path):
    for place in ("one", "two"):
        shutil.copytree(comparison.run("ppo", 0), tmp_path / place)
    with pytest.raises(ConfigError, match="are both ppo"):
        robustpo.robustness(tmp_path, shifts="action-noise=1")


def test_a_policy_of_another_size_is_refused(tmp_path):
    write_policy(tmp_path / "policy.safetensors", 1.0)
    with pytest.raises(ConfigError, match="takes 2 observations"):
        robustpo.robustness(tmp_path / "policy.safetensors", task="Pendulum-v1")


def test_the_nominal_level_is_what_evaluate_says(comparison, tmp_path):
    runs = [comparison.run(method, seed) for method in ("ppo", "rpo") for seed in (0, 1)]
    root = tmp_path / "runs"
    for run in runs:
        target = root / run.relative_to(comparison.out)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(run, target)
    report = robustpo.robustness(root, shifts=["action-noise=0.5"], episodes=3, workers=1)
    panel, findings = measured(report, "action-noise")
    for finding in findings:
        alone = [
            robustpo.evaluate(run, episodes=3).mean
            for run in runs
            if run.parent.name == finding.variant
        ]
        assert finding.curve[0].mean == pytest.approx(np.mean(alone), rel=1e-12)
        assert finding.seeds == (0, 1)
    assert panel.levels == (0.0, 0.5)
    assert [finding.better is None for finding in findings] == [True, False]
    assert "no verdict on rpo" in report.sentences[0]


def test_a_shift_that_a_task_lacks_is_refused_with_those_it_has(tmp_path):
    policy = write_policy(tmp_path / "policy.safetensors", 1.0)
    with pytest.raises(
        ConfigError, match=r"no shift 'gravity'; it has observation-noise, .*env\.NAME"
    ):
        robustpo.robustness(policy, task=TASK, shifts="gravity")
    with pytest.raises(ConfigError, match=r"env\.height: .*not trained with a number"):
        robustpo.robustness(policy, task=TASK, shifts="env.height=1,2")
    with pytest.raises(ConfigError, match="asked for twice"):
        robustpo.robustness(policy, task=TASK, shifts=["action-noise=1", "action-noise=2"])
    with pytest.raises(ConfigError, match=r"env\.length=inf is not valid"):
        robustpo.robustness(policy, task=TASK, shifts="env.length=inf")
    with pytest.raises(ConfigError, match="needs its levels"):
        robustpo.robustness(policy, task=TASK, shifts="env.length")
    with pytest.raises(ConfigError, match="is not valid; expected a whole number"):
        robustpo.robustness(policy, task=TASK, shifts="action-delay=0.5")
    with pytest.raises(ConfigError, match="does not decide which module"):
        robustpo.robustness(policy)
    assert not (tmp_path / "robustness").exists()


def test_physics_are_changed_in_the_benchmarks_own_simulator():
    pytest.importorskip("dm_control")
    (planned,) = plan("dm_control/pendulum-swingup-v0", ["gravity=2"])
    own = "gymnasium/dm_control/pendulum-swingup-v0"
    assert [(level, c.task, c.shift) for level, c in planned.conditions] == [
        (1.0, own, ""),
        (2.0, own, "gravity"),
    ]
    (noise,) = plan("dm_control/pendulum-swingup-v0", ["action-noise=1"])
    assert {c.task for _, c in noise.conditions} == {"dm_control/pendulum-swingup-v0"}


def test_the_argument_that_training_had_is_nominal():
    (own,) = plan(f"{TASK}:length=3", ["env.length=2,4"])
    assert own.shift.nominal == 3.0
    assert [c.task for _, c in own.conditions] == [f"{TASK}:length={n}" for n in (2, 3, 4)]
    gymnasium.register("Heavy-v0", "gymnasium.envs.classic_control:PendulumEnv", kwargs={"g": 5.0})
    (heavy,) = plan("Heavy-v0", ["env.g=10"])
    assert [(level, c.task) for level, c in heavy.conditions] == [
        (5.0, "Heavy-v0"),
        (10.0, "Heavy-v0:g=10.0"),
    ]
    (gravity,) = plan("Pendulum-v1", ["env.g=5"])
    assert [(level, c.task) for level, c in gravity.conditions] == [
        (5.0, "Pendulum-v1:g=5.0"),
        (10.0, "Pendulum-v1"),
    ]


def test_what_is_written_is_read_back(tmp_path):
    policy = write_policy(tmp_path / "policy.safetensors", 1.0)
    report = robustpo.robustness(
        policy, task=TASK, shifts=["env.length=1,2,5", "action-noise=0.1"], episodes=1, workers=1
    )
    assert repr(load_results(tmp_path / "robustness")) == repr(report.results)
    file = tmp_path / "robustness" / "findings.json"
    whole = file.read_text()
    empty = json.dumps(json.loads(whole) | {"panels": [], "findings": []})
    for damaged in (whole[:-40], whole.replace('"random": ', '"random": "x", "y": '), empty):
        file.write_text(damaged)
        with pytest.raises(ConfigError, match="damaged"):
            load_results(tmp_path / "robustness")


def test_the_page_of_a_study_keeps_the_section(tmp_path, tiny, robustpo_command):
    options = "".join(f"{n} = {v!r}\n" for n, v in tiny.options.items() if n != "steps")
    (tmp_path / "mine.toml").write_text(
        f'title = "Mine"\ntasks = ["{tiny.task}"]\nmethods = ["ppo", "rpo"]\nseeds = [0]\n'
        f"steps = {tiny.options['steps']}\n{options}"
    )
    page = tmp_path / "runs" / "studies" / "mine" / "index.html"
    for words, there in (
        (("study", "run", "mine.toml", "--workers", 1), False),
        (("robustness", "mine.toml", "--shifts", "action-noise=1", "--episodes", 1), True),
        (("study", "report", "mine.toml"), True),
    ):
        done = robustpo_command(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        html = page.read_text()
        assert ('<section class="robustness">' in html) is there
        assert ("img-src data:" in html) is there


def test_the_command_prints_a_table_and_says_what_it_wrote(tmp_path, robustpo_command):
    policy = write_policy(tmp_path / "policy.safetensors", 1.0)
    words = ["robustness", policy, "--task", TASK, "--shifts", "env.length=1,2", "action-delay=1"]
    done = robustpo_command(
        *words,
        "--episodes",
        2,
        cwd=tmp_path,
        PYTHONPATH=str(HERE),
    )
    assert done.returncode == 0, done.stderr
    assert "env.length" in done.stdout and "30.0" in done.stdout
    assert "100% | " in done.stderr
    (page,) = re.findall("written: (.*),", done.stdout)
    assert page.endswith("robustness/index.html") and (tmp_path / page).is_file()
