"""How a task's name finds its simulator, and what is said when it does not."""

import gymnasium
import numpy as np
import pytest

from robustpo.environments.base import TaskSpec
from robustpo.environments.envpool import EnvPoolEnvironment, HostEnvPool
from robustpo.environments.gymnasium import GymnasiumEnvironment
from robustpo.environments.make import (
    list_tasks,
    make_environment,
    make_host_environment,
    resolve,
)
from robustpo.errors import ConfigError

MODULE = """
import gymnasium
gymnasium.register("Mine-v0", "gymnasium.envs.classic_control:PendulumEnv", max_episode_steps=7)
def short():
    return gymnasium.make("Pendulum-v1", max_episode_steps=5)
number = 3
"""


@pytest.fixture
def my_tasks(tmp_path, monkeypatch):
    """A module beside the person who types the command, not on the path."""
    (tmp_path / "my_tasks.py").write_text(MODULE)
    (tmp_path / "broken_tasks.py").write_text("import no_such_package_here")
    monkeypatch.setattr("sys.path", ["/nowhere", *__import__("sys").path])
    monkeypatch.chdir(tmp_path)


def test_the_catalog_comes_first_and_a_prefix_skips_it():
    assert resolve("Pendulum-v1").simulator == "envpool"
    assert resolve("gymnasium/Pendulum-v1").simulator == "gymnasium"
    assert resolve("gymnasium/Pendulum-v1").id == "gymnasium/Pendulum-v1"


@pytest.mark.parametrize(
    ("make", "task", "adapter"),
    [
        (make_environment, "Pendulum-v1", EnvPoolEnvironment),
        (make_host_environment, "Pendulum-v1", HostEnvPool),
        (make_environment, "gymnasium/Pendulum-v1", GymnasiumEnvironment),
        (make_host_environment, "gymnasium/Pendulum-v1", GymnasiumEnvironment),
    ],
)
def test_adapters(make, task, adapter):
    env = make(task, [1, 2])
    assert type(env) is adapter
    assert env.spec == resolve(task) and env.num_envs == 2 and env.autoreset == "next_step"


def test_modules_in_the_working_directory(my_tasks):
    assert resolve("my_tasks:short").episode_limit == 5
    assert resolve("my_tasks:Mine-v0").episode_limit == 7
    assert resolve("my_tasks:short").suite == "Custom"
    assert resolve("my_tasks:Mine-v0").suite == "Gymnasium"
    env = make_host_environment("my_tasks:short", [0])
    assert env.reset().shape == (1, 3) and env.spec.id == "my_tasks:short"


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("walker-walk", "unknown task 'walker-walk'; did you mean dm_control/walker-walk-v0 or "),
        ("CartPol-v1", "did you mean .*CartPole-v1"),
        ("Pendulum", r"did you mean Pendulum-v1\? `robustpo envs` lists all"),
        ("qqqqqqqq", "unknown task 'qqqqqqqq'; `robustpo envs` lists all"),
        ("", "unknown task ''"),
        ("CartPole-v1", r"discrete action space, Discrete\(2\)"),
        ("no_such_module:make", "module 'no_such_module' could not be imported"),
        ("broken_tasks:make", "ModuleNotFoundError: No module named 'no_such_package_here'"),
        ("my_tasks:shirt", "has no callable 'shirt'; it offers short$"),
        ("my_tasks:number", "has no callable 'number'"),
        ("my_tasks:", "has no callable ''"),
        (7, "task=7 is a int"),
    ],
)
def test_refusals_are_one_line_and_name_the_offender(my_tasks, task, message):
    with pytest.raises(ConfigError, match=message) as caught:
        resolve(task)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("default")  # Box2D's bindings crash when their warnings are errors
def test_car_racing_is_refused_for_its_images():
    pytest.importorskip("pygame")
    pytest.importorskip("Box2D")
    with pytest.raises(ConfigError, match=r"observes images of shape \(96, 96, 3\)"):
        resolve("CarRacing-v3")


def test_listed_tasks_resolve_to_themselves():
    tasks = list_tasks()
    assert len({spec.id for spec in tasks}) == len(tasks)
    assert all(spec.bounded and resolve(spec.id) == spec for spec in tasks)


@pytest.mark.parametrize("bound", [3.4028234663852886e38, 1e300, 1e10])
def test_a_bound_that_no_actuator_has_is_none(bound):
    def make():
        environment = gymnasium.make("Pendulum-v1")
        space = gymnasium.spaces.Box(-bound, bound, (1,), np.float64)
        return gymnasium.wrappers.TransformAction(environment, lambda action: action, space)

    spec = resolve(make)
    assert (spec.action_low, spec.action_high) == ((-np.inf,), (np.inf,))
    assert not spec.bounded
    assert TaskSpec("t", "s", 1, (0.0, -5e9), (bound, 5e9), None, "jax").action_high == (
        np.inf,
        5e9,
    )
