"""What is said where a part of the installation is not there."""

import json
import re
import sys
from importlib.machinery import PathFinder

import pytest

import robustpo
from robustpo import ConfigError
from robustpo.cli import main
from robustpo.environments.availability import missing_extra
from robustpo.environments.catalog import CATALOG
from robustpo.environments.make import make_environment, make_host_environment, resolve
from robustpo.environments.rendering import make_rendering
from robustpo.runs.provenance import environment_of_bits, inexact

PENDULUM = "Pendulum-v1"
ENVPOOL = "needs envpool, which is not installed; pip install 'robustpo[envpool]'"


@pytest.fixture
def light(monkeypatch):
    """Hide EnvPool and Polars, as in a core installation."""
    hidden = ("envpool", "polars")
    for name in [name for name in sys.modules if name.split(".")[0] in hidden]:
        monkeypatch.delitem(sys.modules, name)
    find = PathFinder.find_spec

    def find_spec(name, path=None, target=None):
        return None if name.split(".")[0] in hidden else find(name, path, target)

    monkeypatch.setattr(PathFinder, "find_spec", find_spec)


@pytest.mark.parametrize(
    "use",
    [
        resolve,
        lambda task: make_environment(task, [0]),
        lambda task: make_host_environment(task, [0]),
        lambda task: robustpo.train(task, steps=2048, out="runs", progress=False),
    ],
)
def test_a_catalogued_task_says_what_to_install(light, use, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=re.escape(f"task {PENDULUM!r} {ENVPOOL}")):
        use(PENDULUM)
    assert list(tmp_path.iterdir()) == []


def test_the_check_says_what_to_install(light):
    (finding,) = robustpo.check_environment(PENDULUM)
    assert finding.status == "fail"
    assert finding.detail == f"task {PENDULUM!r} {ENVPOOL}"


def test_gymnasiums_own_need_none_of_it(light):
    assert resolve("gymnasium/Pendulum-v1").simulator == "gymnasium"
    assert missing_extra(CATALOG["isaac/Cartpole-v0"]) is None
    assert missing_extra(CATALOG[PENDULUM]) == "envpool"


def test_the_list_of_tasks_says_what_to_install(light, capsys):
    assert main(["envs", "Pendulum-v1"]) == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.split()[:1] == [PENDULUM]]
    assert line.endswith("needs: pip install 'robustpo[envpool]'")
    assert main(["envs", PENDULUM, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["extra"], told["installed"]) == ("envpool", False)


def test_a_picture_that_envpool_draws_says_what_to_install(light):
    with pytest.raises(ConfigError, match=re.escape(f"a picture of 'Pusher-v4' {ENVPOOL}")):
        make_rendering("Pusher-v4", 0)


@pytest.mark.parametrize("load", [robustpo.load_results, robustpo.load_summary])
def test_frames_say_what_to_install(light, load, tmp_path):
    with pytest.raises(ConfigError, match=r"Polars.*pip install 'robustpo\[frames\]'"):
        load(tmp_path)


def test_what_is_not_installed_makes_no_run_inexact():
    then = environment_of_bits()
    for name in ("envpool", "gymnasium"):
        changed = then | {"versions": then["versions"] | {name: "not installed"}}
        assert inexact(changed) is None
    changed = then | {"versions": then["versions"] | {"envpool": "0.1"}}
    assert "(was 0.1)" in (inexact(changed) or "")
