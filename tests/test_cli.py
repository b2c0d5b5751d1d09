"""The command line as a user types it: in a process of its own, but for most refusals."""

import dataclasses
import json
import math
import os
import re
import shutil

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from robustpo.config.settings import Settings
from robustpo.config.shape import Shape

PENDULUM = "dm_control/pendulum-swingup-v0"


class Unbounded(gymnasium.Env):
    """Twenty steps that cost the squared distance of an unlimited action from 3."""

    observation_space = spaces.Box(-1, 1, (2,))
    action_space = spaces.Box(-np.inf, np.inf, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return np.ones(2, np.float32), {}

    def step(self, action):
        self.count += 1
        cost = float((action[0] - 3) ** 2)
        return np.ones(2, np.float32), -cost, False, self.count == 20, {}


class Images(Unbounded):
    observation_space = spaces.Box(0, 255, (8, 8, 3), np.uint8)


class Raising(Unbounded):
    def __init__(self):
        raise OSError("model.xml\nis missing")


def options_of(*classes):
    names = [option.name for kind in classes for option in dataclasses.fields(kind)]
    return {f"--{name.replace('_', '-')}" for name in names if name != "seed"}


RUN_OPTIONS = {
    "--steps",
    "--out",
    "--workers",
    "--pin",
    "--no-pin",
    "--fresh",
    "--eval-every",
    "--eval-episodes",
    "--init-policy",
    "--track",
    "--seeds",
}
TRAINING_OPTIONS = RUN_OPTIONS | options_of(Settings, Shape)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["train"], TRAINING_OPTIONS | {"TASK", "--method"}),
        (
            ["compare"],
            TRAINING_OPTIONS
            | {"TASK", "--methods", "--alphas", "--learning-rates", "--entropy-coefs"},
        ),
        (["evaluate"], {"--episodes", "--stochastic", "--json", "--best", "--seed", "--task"}),
        (["envs"], {"--json"}),
        ([], {"train", "compare", "evaluate", "envs"}),
    ],
)
def test_help_names_every_setting(robustpo_command, tmp_path, command, expected):
    done = robustpo_command(*command, "--help-all", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    words = set(re.findall(r"[-\w]+", done.stdout))
    assert expected - words == set()


def test_exit_codes_are_explained(robustpo_command, tmp_path):
    words = " ".join(robustpo_command("--help", cwd=tmp_path).stdout.split())
    assert "0 if all that was asked for is finished, 1 if something failed or is missing" in words
    assert "2 if the command was refused" in words and "130 or 143" in words


def test_version(robustpo_command, tmp_path):
    done = robustpo_command("--version", cwd=tmp_path)
    assert done.returncode == 0
    assert re.fullmatch(r"robustpo \d+\.\d+\.\d+\S*\n", done.stdout)


def test_envs_as_json(robustpo_command, tmp_path):
    done = robustpo_command("envs", "--json", cwd=tmp_path)
    tasks = {task["id"]: task for task in json.loads(done.stdout)}
    needed = {"id", "suite", "observation_size", "action_size", "episode_limit"}
    assert done.returncode == 0
    assert all(needed <= set(task) for task in tasks.values())
    # dm_control's walker: 14 orientations, a height and 9 velocities; 6 joints; 1,000 steps.
    walker = tasks["dm_control/walker-walk-v0"]
    assert [walker[key] for key in sorted(needed - {"id", "suite"})] == [6, 1000, 24]
    assert {"HalfCheetah-v4", "Pendulum-v1", "BipedalWalker-v3"} <= set(tasks)


def test_envs_are_searched(robustpo_command, tmp_path):
    done = robustpo_command("envs", "WALKER", "--json", cwd=tmp_path)
    found = {task["id"] for task in json.loads(done.stdout)}
    assert all("walker" in name.lower() for name in found)
    assert {"dm_control/walker-run-v0", "Walker2d-v4", "BipedalWalker-v3"} <= found
    shown = robustpo_command("envs", "walker", cwd=tmp_path)
    assert shown.returncode == 0
    assert all(name in shown.stdout for name in found)


def test_compare_ends_with_a_table_and_pictures(comparison):
    words = " ".join(comparison.stdout.split())
    assert "final return" in words and "95% interval" in words
    assert all(
        re.search(rf"{name}[^,]*, single seeds: -?[\d.]+, -?[\d.]+", words)
        for name in ("ppo", "rpo")
    )
    (page,) = re.findall("written: (.*),", comparison.stdout)
    assert comparison.stdout.endswith(f"{page}, figures and tables beside it\n")
    written = list((comparison.home / page).parent.iterdir())
    assert all(file.stat().st_size > 100 for file in written)
    names = {file.name for file in written}
    kinds = ("png", "svg", "pdf")
    curves = {f"{what}_curves.{kind}" for what in ("learning", "entropy") for kind in kinds}
    assert names == curves | {"index.html", "table.md", "summary.csv"}
    heads = {file.suffix: file.read_bytes()[:5] for file in written}
    assert heads[".png"] == b"\x89PNG\r" and heads[".svg"] == b"<?xml" and heads[".pdf"] == b"%PDF-"


def test_compare_gives_no_verdict_below_five_seeds(comparison):
    text = " ".join(comparison.stdout.split())
    assert "no verdict" in text
    assert "at least 5" in text
    assert "better" not in text


def test_a_report_that_cannot_be_written_is_a_failure_and_not_a_refusal(
    comparison, tiny, robustpo_command, tmp_path
):
    shutil.copytree(comparison.out, tmp_path / "runs")
    (place,) = (tmp_path / "runs" / comparison.task).glob("comparison_*")
    shutil.rmtree(place)
    place.write_text("in the way")
    flags = ["--methods", "ppo", "rpo", "--seeds", "0:2", *tiny.flags, "--out", "runs"]
    done = robustpo_command("compare", comparison.task, *flags, cwd=tmp_path)
    assert done.returncode == 1
    assert "could not be written (Not a directory)" in done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def swung(tmp_path_factory, robustpo_command, tiny):
    """A run of dm_control's pendulum, and what was said: its episodes are of 1,000 steps."""
    home = tmp_path_factory.mktemp("swung")
    done = robustpo_command("train", PENDULUM, *tiny.flags, "--seeds", 0, "--out", "o", cwd=home)
    assert done.returncode == 0, done.stderr
    (run,) = (home / "o" / PENDULUM).glob("*/seed-0")
    return run, done.stderr


def test_training_is_announced_and_followed_in_plain_lines(comparison, swung):
    assert any("estimate: about" in line for line in swung[1].splitlines())
    lines = comparison.stderr.splitlines()
    assert any(line.startswith("100% |") for line in lines)
    assert "\x1b" not in comparison.stderr
    assert all(re.search(rf"{name}.*\(2/2 done\)", lines[-1]) for name in ("ppo", "rpo"))


def test_evaluate_in_json(robustpo_command, swung, tmp_path):
    done = robustpo_command("evaluate", swung[0], "--episodes", 3, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["episodes"] == 3
    assert result["length_mean"] == 1000
    assert result["min"] <= result["mean"] <= result["max"]
    # Rewards of dm_control lie in [0, 1].
    assert result["min"] >= 0 and result["max"] <= 1000
    # Three episodes: t has two degrees of freedom, and t(0.975; 2) = 4.3027 in any table.
    half = 4.30265 * result["std"] / math.sqrt(3)
    assert result["interval_low"] == pytest.approx(result["mean"] - half, rel=1e-4)
    assert result["interval_high"] == pytest.approx(result["mean"] + half, rel=1e-4)


def test_evaluate_in_words(robustpo_command, swung, tmp_path):
    policy = swung[0] / "policy.safetensors"
    flags = ["--episodes", 2, "--stochastic", "--seed", 7]
    done = robustpo_command("evaluate", policy, *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    numbers = r"return -?[\d.]+ ± [\d.]+ \(mean ± standard deviation over 2 sampled episodes\)"
    assert re.search(numbers, done.stdout)
    assert "mean length 1000" in done.stdout


def test_one_episode_in_json_has_no_deviation(robustpo_command, comparison):
    run = comparison.run("ppo", 1)
    done = robustpo_command("evaluate", run, "--episodes", 1, "--json", cwd=comparison.home)
    result = json.loads(done.stdout)
    assert result["std"] is None and result["interval_low"] is None
    assert result["mean"] == result["min"] == result["max"]


def test_the_same_command_keeps_finished_runs(robustpo_command, comparison, tiny):
    before = {file: file.stat().st_mtime_ns for file in comparison.out.rglob("seed-*/*")}
    flags = ["--seeds", "0:2", *tiny.flags, "--out", comparison.out]
    done = robustpo_command("train", tiny.task, *flags, cwd=comparison.home)
    assert done.returncode == 0, done.stderr
    assert [*map(str, (comparison.run("rpo", 0), comparison.run("rpo", 1)))] == (
        done.stdout.splitlines()
    )
    assert "2 of 2 runs are recorded already and are kept" in done.stderr
    assert before == {file: file.stat().st_mtime_ns for file in comparison.out.rglob("seed-*/*")}


def test_unbounded_actions_and_spare_workers_are_noted(robustpo_command, tmp_path, tiny):
    cores = len(os.sched_getaffinity(0))
    flags = ["--workers", cores + 1, *tiny.flags, "--steps", 1100, "--num-envs", 2]
    done = robustpo_command("train", "test_cli:Unbounded", *flags, "--out", "o", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the actions of test_cli:Unbounded are unbounded; they go unclipped" in done.stderr
    assert f"{cores + 1} workers on {cores} cores" in done.stderr
    assert "1,100 steps are floored to whole rollouts: 1,024" in done.stderr
    directory = tmp_path / done.stdout.strip()
    assert directory.relative_to(tmp_path / "o").parts[0] == "test_cli_Unbounded"
    assert json.loads((directory / "result.json").read_text())["steps"] == 1024


def test_what_several_methods_share_leaves_ppo_what_it_is(robustpo_command, tmp_path, tiny):
    flags = ["--methods", "ppo", "rpo", "--alpha", 0.1, "--seeds", 0, *tiny.flags, "--out", "o"]
    done = robustpo_command("compare", "Pendulum-v1", *flags, "--workers", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "alpha=0.1 applies to rpo alone: ppo has alpha 0 by definition" in done.stderr
    alphas = {
        identity["method"]: identity["settings"]["alpha"]
        for file in tmp_path.rglob("config.json")
        for identity in [json.loads(file.read_text())["identity"]]
    }
    assert alphas == {"ppo": 0.0, "rpo": 0.1}
    (page,) = tmp_path.rglob("index.html")
    assert "alpha=0.1 applies to rpo alone" in page.read_text()


def test_signs_that_the_terminal_lacks_end_nothing(robustpo_command, comparison, tiny):
    ascii = {"PYTHONIOENCODING": "ascii"}
    run, home = comparison.run("rpo", 0), comparison.home
    done = robustpo_command("evaluate", run, "--episodes", 2, cwd=home, **ascii)
    assert done.returncode == 0 and re.match(r"return \S+ \? \S+ \(mean", done.stdout), done.stderr
    flags = ["--seeds", "0:2", *tiny.flags, "--out", "runs"]
    done = robustpo_command("compare", tiny.task, *flags, cwd=home, **ascii)
    assert done.returncode == 0 and "no verdict" in done.stdout, done.stderr
    # Python's own choice under a locale without letters, where it does not help itself.
    bare = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = robustpo_command("methods", cwd=home, **bare)
    assert done.returncode == 0 and "rpo-annealed" in done.stdout, done.stderr
    assert done.stdout.isascii()


def test_home_is_found_where_the_shell_does_not_look(robustpo_command, tmp_path):
    for arguments in (
        ["evaluate", "~/runs"],
        ["study", "status", "table-3", "--out=~/runs"],
        ["study", "show", "~/runs.toml"],
        ["theory", "--out=/proc/x", "--init-policy=~/runs"],
    ):
        done = robustpo_command(*arguments, cwd=tmp_path, HOME=tmp_path / "home")
        assert_refused(done, str(tmp_path / "home" / "runs"))
    assert not (tmp_path / "~").exists()


BAD_INPUT = {
    "unknown task": (["train", "walker-wlk"], "dm_control/walker-walk-v0"),
    "empty task": (["train", ""], "expected the name of a task"),
    "unknown module": (["train", "no_such_module:Env"], "no_such_module"),
    "module without it": (["train", "test_cli:Nothing"], "Unbounded"),
    "constructor raises": (["train", "test_cli:Raising"], "OSError: model.xml is missing"),
    "discrete actions": (["train", "CartPole-v1"], "discrete action space"),
    "images": (["train", "test_cli:Images"], "(8, 8, 3)"),
    "alpha negative": (["train", PENDULUM, "--alpha", "-0.1"], "alpha=-0.1"),
    "alpha nan": (["train", PENDULUM, "--alpha", "nan"], "alpha=nan"),
    "alpha infinite": (["train", PENDULUM, "--alpha", "inf"], "alpha=inf"),
    "alpha for ppo": (["train", PENDULUM, "--method", "ppo", "--alpha", "0.3"], "the method rpo"),
    "alpha of ppo": (["train", PENDULUM, "--method", "ppo:alpha=0.3"], "the method rpo"),
    "no alpha for beta": (["train", PENDULUM, "--method", "ppo-beta", "--alpha", "1"], "location"),
    "alpha for ppo alone": (
        ["compare", PENDULUM, "--methods", "ppo", "ppo-laplace", "--alpha", "0.1"],
        "alpha=0.1 applies to none",
    ),
    "alphas for ppo alone": (
        ["compare", PENDULUM, "--methods", "ppo", "--alphas", "0.1"],
        "alpha=0.1 contradicts method 'ppo', which by definition has alpha 0",
    ),
    "method twice": (["compare", PENDULUM, "--methods", "rpo", "rpo"], "rpo twice"),
    "method twice in a study": (["study", "run", "table-3", "--methods", "rpo", "rpo"], "twice"),
    "home of nobody": (["train", PENDULUM, "--out=~nobody-of-this-name/runs"], "./~nobody"),
    "swept alpha negative": (["compare", PENDULUM, "--alphas", "0.1", "-1"], "alpha=-1"),
    "minibatches": (["train", PENDULUM, "--num-minibatches", "30"], "such as 32"),
    "seeds in words": (["train", PENDULUM, "--seeds", "three"], "0:10"),
    "seeds empty": (["train", PENDULUM, "--seeds", "5:5"], "seeds='5:5'"),
    "seeds twice": (["compare", PENDULUM, "--seeds", "1,1"], "none twice"),
    "seeds negative": (["train", PENDULUM, "--seeds=-1"], "seeds='-1'"),
    "few steps": (["train", PENDULUM, "--steps", "2047"], "2048"),
    "steps in words": (["train", PENDULUM, "--steps", "many"], "--steps"),
    "no workers": (["train", PENDULUM, "--workers", "0"], "workers=0"),
    "unknown method": (["train", PENDULUM, "--method", "rp"], "did you mean rpo?"),
    "unknown methods": (["compare", PENDULUM, "--methods", "ppo", "sac"], "'sac'"),
    "no methods": (["compare", PENDULUM, "--methods"], "methods"),
    "unknown option": (
        ["train", PENDULUM, "--alpa", "1"],
        "unknown option or command --alpa, 1; did you mean --alpha?\n",
    ),
    "unknown command": (["trian", PENDULUM], "train"),
    "no task": (["train"], "TASK"),
    "unknown activation": (["train", PENDULUM, "--activation", "sine"], "tanh"),
    "no such policy": (["train", PENDULUM, "--init-policy", "lost"], "no policy at lost"),
    "below a file": (["train", PENDULUM, "--out", "file/runs"], "file"),
    "no permission": (["train", PENDULUM, "--out", "/proc/runs"], "cannot be written"),
    "nothing to evaluate": (["evaluate", "lost"], "no policy at lost"),
    "no such choice": (
        ["train", PENDULUM, "--normalize-rewards", "maybe"],
        "--normalize-rewards does not take 'maybe', which is neither on nor off\n",
    ),
    "no value": (["train", PENDULUM, "--steps"], "--steps needs a value\n"),
    "option of another command": (
        ["study", "report", "table-3", "--allow", "a:b"],
        "unknown option or command --allow a:b\n",
    ),
    "a dot for a colon": (
        ["train", PENDULUM, "--noise", "my_lab.student"],
        "did you mean my_lab:student?",
    ),
    "no task found": (["envs", "zzz"], "'zzz'"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_gets_one_line(command_here, tmp_path, name):
    arguments, expected = BAD_INPUT[name]
    (tmp_path / "file").write_text("not a directory")
    done = command_here(*arguments, cwd=tmp_path)
    assert_refused(done, expected)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "not a directory"


def assert_refused(done, *expected):
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.strip()]) == 1, done.stderr
    assert done.stderr.startswith("robustpo: error: ")
    assert done.stdout == ""
    for words in expected:
        assert words in done.stderr


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission_is_refused(robustpo_command, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    done = robustpo_command("train", PENDULUM, "--out", "closed/runs", cwd=tmp_path)
    assert_refused(done, "cannot be written")


def snapshot(directory):
    return {p: p.stat().st_mtime_ns for p in directory.rglob("*") if p.is_file()}


def test_a_different_experiment_is_not_overwritten(command_here, comparison, tiny):
    before = snapshot(comparison.home)
    flags = [*tiny.flags, "--eval-every", 1024, "--out", comparison.out]
    done = command_here("train", tiny.task, *flags, cwd=comparison.home)
    assert_refused(done, "a different experiment", "eval_every 0 there, 1024 asked", "--fresh")
    assert snapshot(comparison.home) == before


def test_a_directory_that_is_no_run_is_not_written_to(command_here, tmp_path):
    place = tmp_path / "o" / PENDULUM / "rpo" / "seed-0"
    place.mkdir(parents=True)
    (place / "thesis.txt").write_text("years of work")
    done = command_here("train", PENDULUM, "--out", "o", cwd=tmp_path)
    assert_refused(done, "not empty", str(place.relative_to(tmp_path)))
    assert [path.name for path in place.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--episodes", "0"], "episodes=0"),
        (["--seed", "-1"], "seed=-1"),
        (["--best"], "policy_best.safetensors"),
        (["--task", PENDULUM], "takes 4 observations"),
    ],
)
def test_evaluation_that_cannot_be_is_refused(command_here, comparison, flags, expected):
    done = command_here("evaluate", comparison.run("rpo", 0), *flags, cwd=comparison.home)
    assert_refused(done, expected)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        # Cartpole has four observations, pendulum three.
        ([], "takes 4 observations"),
        (["--task", "same", "--hidden-sizes", "32", "32"], "(64, 64)"),
        (["--task", "same", "--hidden-sizes", "64"], "hidden"),
        (["--task", "same", "--activation", "relu"], "tanh"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(
    command_here, comparison, tiny, tmp_path, flags, expected
):
    task = comparison.task if flags else PENDULUM
    flags = [*tiny.flags, *flags[2:], "--init-policy", comparison.run("rpo", 0)]
    done = command_here("train", task, *flags, "--out", tmp_path / "o", cwd=tmp_path)
    assert_refused(done, expected)
    assert not (tmp_path / "o").exists()
