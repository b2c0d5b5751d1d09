"""Arguments in a task's name: read, written in one way, and refused where they are none."""

from pathlib import Path

import pytest

from robustpo.config.run import make_config
from robustpo.environments.constructors import find_constructor
from robustpo.environments.make import resolve
from robustpo.environments.task_arguments import (
    canonical,
    parse_arguments,
    split_arguments,
    with_arguments,
)
from robustpo.errors import ConfigError
from robustpo.runs.record import task_directory


@pytest.mark.parametrize(
    ("task", "name", "arguments"),
    [
        ("Pendulum-v1", "Pendulum-v1", {}),
        ("my_envs:make", "my_envs:make", {}),
        ("my_envs:make:length=2", "my_envs:make", {"length": 2}),
        ("gymnasium/Pendulum-v1:g=9.5", "gymnasium/Pendulum-v1", {"g": 9.5}),
        ("a:b:x=-1e-3,y=true,z=hard", "a:b", {"x": -0.001, "y": True, "z": "hard"}),
        ("a:b:x=nan,y=1_0", "a:b", {"x": "nan", "y": "1_0"}),
    ],
)
def test_a_name_is_taken_apart(task, name, arguments):
    assert split_arguments(task) == (name, arguments)
    found = split_arguments(task)[1]
    assert {k: type(v) for k, v in found.items()} == {k: type(v) for k, v in arguments.items()}


@pytest.mark.parametrize(
    ("task", "written"),
    [
        ("a:b:z=1,a=2", "a:b:a=2,z=1"),
        ("a:b:x=0.50", "a:b:x=0.5"),
        ("a:b:x=1e-7", "a:b:x=1e-07"),
        ("Pendulum-v1", "Pendulum-v1"),
    ],
)
def test_a_name_is_written_in_one_way(task, written):
    assert canonical(task) == written
    assert canonical(written) == written
    assert make_config(task, preset="own").task == written


@pytest.mark.parametrize(
    "words", [["g"], ["g="], ["=1"], ["1=2"], ["g=a b"], ["g=[1]"], ["g=1", "g=2"]]
)
def test_what_is_no_argument_is_refused(words):
    with pytest.raises(ConfigError, match="env_kwargs"):
        parse_arguments(words)


def test_arguments_that_a_name_cannot_hold_are_refused():
    for value in (None, [1], {"a": 1}, "two words", float("inf"), "1"):
        with pytest.raises(ConfigError, match="env_kwargs"):
            with_arguments("a:b", {"x": value})


def test_a_name_and_arguments_may_not_contradict():
    assert with_arguments("a:b:x=1", {"x": 1, "y": 2}) == "a:b:x=1,y=2"
    with pytest.raises(ConfigError, match="x=1 in its name"):
        with_arguments("a:b:x=1", {"x": 2})


def test_an_environment_is_made_with_them():
    assert find_constructor("gymnasium/Pendulum-v1:g=3.5")().unwrapped.g == 3.5
    assert find_constructor("Pendulum-v1:g=2")().unwrapped.g == 2
    assert resolve("Pendulum-v1:g=2").id == "Pendulum-v1:g=2"


def test_an_unknown_argument_is_said_in_one_line():
    with pytest.raises(ConfigError, match="unexpected keyword argument 'lenght'") as caught:
        resolve("Pendulum-v1:lenght=2")
    assert "\n" not in str(caught.value)


def test_tasks_of_other_arguments_lie_in_other_places():
    tasks = ["a:b:x=1,y=2", "a:b:x=1_y_2", "a:b:x=1", "a:b:x=-1", "a:b:x=p/q", "a:b"]
    places = [task_directory(Path("runs"), task) for task in tasks]
    assert len(set(places)) == len(tasks)
    assert {place.parent for place in places} == {Path("runs")}


def test_a_task_of_dm_control_takes_its_own():
    pytest.importorskip("dm_control")
    env = find_constructor("gymnasium/dm_control/pendulum-swingup-v0:time_limit=1")()
    env.reset(seed=0)
    steps = 1
    while not env.step(env.action_space.sample())[3]:
        steps += 1
    # A control step of the pendulum is 20 ms.
    assert steps == 50
