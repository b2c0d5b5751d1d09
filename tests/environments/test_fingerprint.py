"""What is recorded of an environment, and what is noticed when it is another one."""

import copy
import functools
import json
import subprocess
import sys
import threading
import time
from typing import Any

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import NormalizeObservation, NormalizeReward, TransformReward

from environments.test_jax_task import Walk
from robustpo import check_environment
from robustpo.environments import fingerprint as fingerprints
from robustpo.environments import probe
from robustpo.environments.constructors import task_name
from robustpo.environments.fingerprint import fingerprint
from robustpo.environments.gymnasium import GymnasiumEnvironment
from robustpo.environments.jax_environment import JaxEnvironment
from robustpo.environments.jax_task import operations
from robustpo.environments.make import look, make_environment, resolve
from robustpo.environments.pickling import pickled
from robustpo.environments.processes import ProcessEnvironment
from robustpo.environments.sameness import compare, difference
from robustpo.errors import ConfigError, EnvironmentMismatch

WORDS = ("recorded", "now")
PARTS: dict[str, spaces.Space[Any]] = {
    "place": spaces.Box(-9, 9, (1,)),
    "start": spaces.Box(-1, 1, (1,)),
}


class Line(gymnasium.Env):
    """Moves by its action along a line; ends every seventh step."""

    observation_space = spaces.Dict(PARTS)
    action_space = spaces.Box(-1, 1, (1,))

    def __init__(self, reward: Any = 1.0, bonus_from=0, length=7):
        self.reward, self.bonus_from, self.length = reward, bonus_from, length
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.place = 0, self.np_random.uniform(-1, 1, 1)
        self.start = self.place
        return self.look(), {}

    def look(self):
        return {"place": self.place, "start": self.start}

    def step(self, action):
        self.steps += 1
        self.place = self.place + 0.1 * action
        reward = self.reward if self.steps > self.bonus_from else 1.0
        return self.look(), reward, self.steps == self.length, False, {}


def of(task):
    """Return a fingerprint as it comes back from a record."""
    return json.loads(json.dumps(look(task)[1]))


def why(then, now):
    return compare(of(then), of(now), WORDS).decisive()


def make(**options):
    return functools.partial(Line, **options)


def test_an_equal_environment_is_the_same_one():
    comparison = compare(of(Line), of(make()), WORDS)
    assert comparison.decisive() is None and comparison.compared
    # The very same constructor makes no remark either.
    assert compare(of(Line), of(Line), WORDS).mild() == []


def test_the_first_number_that_differs_is_named():
    # Both have the same arguments, so that only what they do tells them apart.
    two, late = Line(reward=2.0), Line(reward=2.0, bonus_from=2)

    def again(env):
        return lambda: copy.deepcopy(env)

    assert why(again(Line()), again(two)) == "reward of step 1: 1 recorded, 2 now"
    assert why(again(Line()), again(late)) == "reward of step 3: 1 recorded, 2 now"
    assert why(again(Line()), again(Line(length=5))) == "ends of step 5: . recorded, terminated now"


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (make(reward=2.0), "arguments reward: none recorded, 2.0 now"),
        (lambda: gymnasium.wrappers.TimeLimit(Line(), 20), "time limit: none recorded, 20 now"),
        (
            lambda: TransformReward(Line(), lambda r: r),
            "wrappers: [] recorded, ['TransformReward']",
        ),
        (lambda: widened(Line()), "action: [1] float32 from -1 to 1 recorded, [1] float32 from -2"),
        (lambda: turned(Line()), "order of observation: ['place', 'start'] recorded, ['start', "),
    ],
)
def test_what_an_environment_says_of_itself_is_compared(other, words):
    assert words in (why(Line, other) or "")


def widened(env):
    env.action_space = spaces.Box(-2, 2, (1,))
    return env


def turned(env):
    env.observation_space = spaces.Dict(list(reversed(PARTS.items())))
    return env


def test_rounding_is_no_difference():
    rows = ["reset 1e+06 0.001 0", "1 . 1e+06 0.002 1e-17"]
    assert difference(rows, ["reset 1000001 0.001 0", "1 . 1000001 0.002 -1e-17"], 1e-5) is None
    # A share of 1e-5 of a place whose largest number is 0.002.
    assert difference(rows, ["reset 1e+06 0.001 0", "1 . 1e+06 0.0020001 0"], 1e-5) is not None
    assert "observation 0 of step 1" in (
        difference(rows, [rows[0], "1 . 1000021 0.002 0"], 1e-5) or ""
    )


class NoSeed(Line):
    def reset(self, *, seed=None, options=None):
        return super().reset()


class Sleepy(Line):
    def step(self, action):
        time.sleep(0.05)
        return super().step(action)


class Fragile(Line):
    def step(self, action):
        raise RuntimeError("too soon")


def random_line():
    return Line(reward=float(np.random.default_rng().uniform()))


@pytest.mark.parametrize(
    ("task", "count", "words"),
    [
        (NoSeed, 1, "do not lead to the same numbers"),
        (Sleepy, 1, "take more than 0 s"),
        (Fragile, 1, "too soon"),
        (random_line, 2, "does not make the same environment twice"),
    ],
)
def test_what_a_walk_cannot_say_is_said(monkeypatch, task, count, words):
    monkeypatch.setattr(probe, "SECONDS", 0.4 if task is Sleepy else 60.0)
    environment = GymnasiumEnvironment(task, list(range(count)))
    found = fingerprint(environment, task)
    assert found["behaviour"] is None and words in found["skipped"]
    # The code then decides.
    other = found | {"constructor": found["constructor"][:-1] + "_"}
    assert "the code that makes it has changed" in (compare(found, other, WORDS).decisive() or "")
    assert compare(found, found, WORDS).decisive() is None


def test_other_code_of_the_same_behaviour_is_only_mentioned():
    comparison = compare(of(Line), of(lambda: Line()), WORDS)
    assert comparison.decisive() is None
    assert comparison.mild() == ["the code that makes it has changed"]


def test_training_begins_as_if_nobody_had_looked():
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 3, 1)).astype(np.float32)

    def walk(environment):
        rows = [environment.reset()]
        for action in actions:
            step = environment.step(action)
            rows += [step.obs, step.reward, step.terminated, step.valid]
        return rows

    plain, looked_at = (GymnasiumEnvironment("Pendulum-v1", [4, 5, 6]) for _ in range(2))
    assert fingerprint(looked_at, Line)["behaviour"]
    for a, b in zip(walk(plain), walk(looked_at), strict=True):
        np.testing.assert_array_equal(a, b)


def test_processes_say_the_same():
    environment = ProcessEnvironment(Line, [1, 2, 3], 2)
    try:
        assert fingerprint(environment, Line) == look(Line)[1]
    finally:
        environment.close()


def test_an_environment_is_made_once_to_be_looked_at():
    made = []

    def count():
        made.append(1)
        return Line()

    look(count)
    assert len(made) == 1
    environment = make_environment(count, [1, 2])
    assert len(made) == 3 and environment.num_envs == 2


class Faster(Walk):
    def step(self, state, action, *, key):
        result = super().step(state, action, key=key)
        return result._replace(reward=jnp.asarray(result.reward) + 0.5)


def test_tasks_in_jax_are_walked_too(monkeypatch):
    one, other = (fingerprint(JaxEnvironment(t(), [3]), t) for t in (Walk, Faster))
    assert len(one["behaviour"]["steps"]) == 1 + probe.STEPS
    assert "reward of step 1" in (compare(one, other, WORDS).behaviour or "")
    # One that would take long to compile is judged by its code.
    monkeypatch.setattr(fingerprints, "MAX_OPERATIONS", operations(Walk()) - 1)
    one, other = (fingerprint(JaxEnvironment(t(), [3]), t) for t in (Walk, Faster))
    assert one["behaviour"] is None and "compiling" in one["skipped"]
    assert "the code that makes it has changed" in (compare(one, other, WORDS).decisive() or "")


def test_other_versions_of_packages_are_only_mentioned():
    found = of(Line)
    comparison = compare(found | {"packages": {"gymnasium": "0.1"}}, found, WORDS)
    assert comparison.decisive() is None
    said = f"packages have changed (gymnasium: 0.1 recorded, {gymnasium.__version__} now)"
    assert comparison.mild() == [said]


def test_a_catalogued_task_is_not_made():
    spec, found = look("dm_control/walker-walk-v0")
    assert spec == resolve("dm_control/walker-walk-v0")
    assert found["description"]["observation"] == {
        "orientations": 14,
        "height": 1,
        "velocity": 9,
    }
    assert "envpool" in found["packages"] and "behaviour" not in found


@pytest.mark.parametrize(
    "garbage",
    [
        {},
        {"description": 3, "behaviour": [], "constructor": {}, "packages": None},
        {"description": {"action": {"a": []}}, "behaviour": {"steps": ["\x1b[31m", "", 4]}},
        {"behaviour": {"steps": ["reset nan 1e999 x", ""], "tolerance": "1"}},
        {"description": {"time limit": "\x1b]0;" + 10_000 * "x"}},
    ],
)
def test_a_strangers_record_is_no_accident(garbage):
    text = str(compare(garbage, of(Line), WORDS).decisive())
    assert len(text) < 1000 and text.isprintable()


@pytest.mark.parametrize("wrapper", [NormalizeObservation, NormalizeReward])
def test_normalising_wrappers_are_refused(wrapper):
    def wrapped():
        return TransformReward(wrapper(gymnasium.make("Pendulum-v1")), lambda r: r)

    for refuse in (resolve, lambda task: make_environment(task, [1])):
        with pytest.raises(ConfigError, match=f"{wrapper.__name__}.*remove the wrapper"):
            refuse(wrapped)
    (finding,) = check_environment(wrapped)
    assert finding.status == "fail" and wrapper.__name__ in finding.detail


def test_statistics_of_other_wrappers_are_noticed_and_frozen_ones_are_not():
    class Own(gymnasium.Wrapper):
        def __init__(self, env):
            super().__init__(env)
            self.obs_rms = np.zeros(3)

    with pytest.raises(ConfigError, match="Own"):
        resolve(lambda: Own(gymnasium.make("Pendulum-v1")))

    def frozen():
        env = NormalizeObservation(gymnasium.make("Pendulum-v1"))
        env.update_running_mean = False
        return env

    assert resolve(frozen).observation_size == 3


def test_one_shared_instance_is_refused():
    shared = Line()

    def wrapped():
        return gymnasium.wrappers.TimeLimit(shared, 5)

    with pytest.raises(EnvironmentMismatch, match=r"the same Line twice.*a new environment"):
        make_environment(wrapped, [1, 2])
    findings = check_environment(wrapped)
    assert findings[-1].status == "fail" and "the same Line twice" in findings[-1].detail
    other = Line()
    with pytest.raises(ConfigError, match="the same Line twice"):
        # Both of a process's environments.
        ProcessEnvironment(lambda: other, [1, 2, 3], 2)


def lambda_of(gravity):
    return lambda: gymnasium.make("Pendulum-v1", g=gravity)


class Factory:
    def __init__(self, gravity):
        self.gravity = gravity

    def __call__(self):
        return gymnasium.make("Pendulum-v1", g=self.gravity)

    def make(self):
        return self()


@pytest.mark.parametrize(
    "ways",
    [
        lambda g: lambda_of(g),
        lambda g: functools.partial(Factory, g),
        lambda g: functools.partial(Factory, gravity={"all": [g, np.ones(2) * g]}),
        lambda g: Factory(g),
        lambda g: Factory(g).make,
        lambda g: type("Local", (Line,), {"gravity": g, "__module__": __name__}),
    ],
)
def test_names_of_callables_do_not_collide(ways):
    assert task_name(ways(10.0)) == task_name(ways(10.0)) != task_name(ways(0.0))
    head, _, tail = task_name(ways(10.0)).rpartition("-")
    assert head and len(tail) == 8 and set(tail) <= set("0123456789abcdef")


def test_functions_and_classes_of_modules_keep_their_names():
    assert task_name(random_line) == f"{__name__}:random_line"
    assert task_name(Line) == f"{__name__}:Line"
    assert task_name("Pendulum-v1") == "Pendulum-v1"


def test_a_callable_keeps_its_name_and_may_hold_anything():
    made, deep = [], []
    for _ in range(5000):
        deep = [deep]

    def task():
        made.append(deep)
        return Line()

    name = task_name(task)
    task()
    assert task_name(task) == name


def test_names_are_the_same_in_every_process():
    script = (
        "import threading, functools; from robustpo.environments.constructors import task_name\n"
        "words, lock, g = {'a', 'bc', 'def'}, threading.Lock(), 3\n"
        "def make(*a): return (words, lock, a)\n"
        "print(task_name(lambda: make(g, words, lock, {'x', 'y', 'zz'})),\n"
        "      task_name(functools.partial(make, words, lock)))"
    )
    names = {subprocess.check_output([sys.executable, "-c", script]) for _ in range(3)}
    assert len(names) == 1


def test_what_cannot_be_pickled_is_named():
    lock = threading.Lock()
    held = Line()
    vars(held)["box"] = {"key": [lock]}
    for value in (lambda: lock, functools.partial(Line, lock), lambda: held):
        with pytest.raises(ConfigError, match=r"task 'x' cannot be sent.*_thread\.lock"):
            pickled(value, "x")
