"""Vectors of other people's environments: each way of resetting, each kind of array, each fault."""

import functools
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import (
    AsyncVectorEnv,
    AutoresetMode,
    SyncVectorEnv,
    VectorEnv,
    VectorWrapper,
)

from robustpo.environments.base import RestartedEnvironment
from robustpo.environments.check import check_environment
from robustpo.environments.gymnasium import GymnasiumEnvironment
from robustpo.environments.information import of_batch
from robustpo.environments.make import (
    look,
    make_environment,
    make_host_environment,
    resolve,
)
from robustpo.environments.vector import VectorEnvironment
from robustpo.errors import ConfigError, SimulatorError

SEEDS = [11, 12, 13, 14, 15, 16]
MODES = tuple(AutoresetMode)


class Walk(gymnasium.Env):
    """A point that drifts; an episode lasts as many steps as its first draw says.

    It is terminal at an even number of steps, and cut at an odd one.
    """

    observation_space: Any = spaces.Box(-100, 100, (3,), np.float64)
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.length, self.t = int(self.np_random.integers(1, 6)), 0
        self.x = self.np_random.uniform(-1, 1, 3)
        return self.observe(), {"begun": 1.0}

    def step(self, action):
        self.t += 1
        self.x = self.x + 0.1 * np.array([*action, self.np_random.normal()])
        ended = self.t == self.length
        cut = ended and self.t % 2 == 1
        said = {"length": self.t, "drift": self.x.sum()} if ended else {}
        return self.observe(), float(self.x.sum()), ended and not cut, cut, said

    def observe(self):
        return self.x.copy()


class Parts(Walk):
    """The same, observed in parts."""

    observation_space = spaces.Dict(
        {
            "where": spaces.Box(-100, 100, (3,), np.float64),
            "t": spaces.Discrete(6),
            "both": spaces.Tuple((spaces.Box(0, 6, (), np.float32), spaces.MultiBinary(2))),
        }
    )

    def observe(self) -> Any:
        return {
            "both": (np.float32(self.length), np.array([self.t % 2, 1], np.int8)),
            "t": self.t,
            "where": self.x.copy(),
        }


def vector(mode, kind=Walk, num_envs=3):
    return VectorWrapper(SyncVectorEnv([kind] * num_envs, autoreset_mode=mode))


def processes(mode, num_envs=3):
    return AsyncVectorEnv([Walk] * num_envs, autoreset_mode=mode, context="forkserver")


def plain(mode=AutoresetMode.SAME_STEP, num_envs=3):
    return SyncVectorEnv([Walk] * num_envs, autoreset_mode=mode)


def actions_of(index, size=2):
    """Return an endless stream of actions for one environment."""
    rng = np.random.default_rng([7, index])
    while True:
        yield rng.uniform(-1, 1, size).astype(np.float32)


def transitions(environment, count=40):
    """Step with each environment's own stream of actions; return its valid transitions.

    An action is used up where it was carried out, so that environments may reset in rows of their
    own or not.
    """
    streams = [actions_of(i) for i in range(environment.num_envs)]
    found: list[list[tuple]] = [[] for _ in streams]
    obs, given = environment.reset(), [next(stream) for stream in streams]
    for _ in range(count):
        step = environment.step(np.stack(given))
        for i in np.flatnonzero(step.valid):
            flags = bool(step.terminated[i]), bool(step.truncated[i])
            found[i].append((obs[i], given[i], step.reward[i], *flags, step.final_obs[i]))
            given[i] = next(streams[i])
        obs = step.obs
    environment.close()
    return found


def require_equal(found, expected):
    """Hold transitions of each environment against each other, as far as both go."""
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        count = min(len(mine), len(theirs))
        # Each way of an episode's end, several times.
        assert count > 20 and {row[3:5] for row in mine[:count]} >= {(True, False), (False, True)}
        for a, b in zip(mine[:count], theirs[:count], strict=True):
            for x, y in zip(a, b, strict=True):
                np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [Walk, Parts])
def test_a_vector_gives_the_rows_of_its_environments_stepped_singly(mode, kind):
    single = transitions(GymnasiumEnvironment(kind, SEEDS))
    environment = VectorEnvironment(functools.partial(vector, mode, kind), SEEDS)
    assert environment.num_envs == 6
    expected = "next_step" if mode is AutoresetMode.NEXT_STEP else "same_step"
    assert environment.autoreset == expected
    require_equal(transitions(environment), single)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_vector_of_processes_gives_them_too(mode):
    single = transitions(GymnasiumEnvironment(Walk, SEEDS))
    environment = VectorEnvironment(functools.partial(processes, mode), SEEDS)
    require_equal(transitions(environment), single)


def test_a_plain_sync_vector_is_stepped_singly_and_brought_back_exactly():
    environment = make_environment(plain, SEEDS, per_agent=3)
    assert isinstance(environment, GymnasiumEnvironment)
    require_equal(transitions(environment), transitions(GymnasiumEnvironment(Walk, SEEDS)))
    assert resolve(plain).num_envs == 3


def test_what_was_said_of_episodes_is_that_of_the_episodes_that_ended():
    """By hand: an episode's `length` is the number of its transitions, at whichever end."""
    for mode in MODES:
        environment = VectorEnvironment(functools.partial(vector, mode), SEEDS)
        assert environment.take_information() == []
        found = transitions(environment, 30)
        said = environment.take_information()
        for index in range(6):
            ends = [i for i, row in enumerate(found[index]) if row[3] or row[4]]
            lengths = np.diff([-1, *ends])
            told = [
                float(one.values["length"][row])
                for one in said
                for row in np.flatnonzero(one.index == index)
            ]
            assert told == lengths.tolist()
        assert all("begun" not in one.values or np.isnan(one.values["begun"]).all() for one in said)
        assert environment.take_information() == []


class Tensor:
    """As a tensor of PyTorch on an accelerator that requires gradients behaves to NumPy."""

    def __init__(self, array, steps=("detach", "cpu")):
        self._array, self._steps = array, steps

    def detach(self):
        return Tensor(self._array, self._steps[1:])

    def cpu(self):
        assert self._steps == ("cpu",)
        return Tensor(self._array, ())

    def __array__(self, dtype=None, copy=None):
        if self._steps:
            raise TypeError("can't convert to NumPy")
        return np.asarray(self._array, dtype)


class Batched(VectorEnv):
    """A simulator that steps batches itself, as GPU simulators do: one buffer, which is reused.

    Every state is a number that grows by one a step; environment `i` ends after `3 + i` steps, and
    `ending` says whether that is a time limit. It takes one seed for all.
    """

    num_envs = 4

    def __init__(self, make=np.asarray, ending="truncated", finals=True):
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = spaces.Box(-100, 100, (2,), np.float32)
        self.single_action_space = spaces.Box(-1, 1, (1,), np.float32)
        self.observation_space = spaces.Box(-100, 100, (4, 2), np.float32)
        self.action_space = spaces.Box(-1, 1, (4, 1), np.float32)
        self.make, self.ending, self.finals = make, ending, finals
        self.state = np.zeros((4, 4), np.float32)
        self.seeds: list[Any] = []

    def reset(self, *, seed=None, options=None):
        if seed is not None and not isinstance(seed, int):
            raise TypeError("seed must be an int")
        self.seeds.append(seed)
        self.state[:] = (seed or 0) % 7
        self.t = np.zeros(4, int)
        return self.make(self._view()), {}

    def _view(self):
        # Strided: every other column of the buffer.
        return self.state[:, ::2]

    def step(self, actions):
        self.t += 1
        self.state += 1
        ended = self.t == 3 + np.arange(4)
        info: dict[str, Any] = {"final_observation": self.make(self._view().copy())}
        if not self.finals:
            info = {}
        info["success"] = self.make(np.arange(4) % 2 == 0)
        self.state[ended], self.t[ended] = -1, 0
        flags = {"terminated": np.zeros(4, bool), "truncated": np.zeros(4, bool)}
        flags[self.ending] = ended
        reward = np.arange(4, dtype=np.float64)[:, None]
        return (
            self.make(self._view()),
            self.make(reward),
            *(self.make(flags[name]) for name in ("terminated", "truncated")),
            info,
        )


@pytest.mark.parametrize("make", [np.asarray, Tensor])
def test_batches_of_any_kind_are_copied_rows(make):
    """By hand: environment 1 counts 0, 1, 2, 3, 4, begins again at −1, and so on."""
    environment = VectorEnvironment(functools.partial(Batched, make), [14, 2, 3, 4])
    first = environment.reset()
    steps = [environment.step(np.zeros((4, 1), np.float32)) for _ in range(6)]
    # The buffers have been written since.
    np.testing.assert_array_equal(first, np.zeros((4, 2)))
    np.testing.assert_array_equal([step.obs[1, 0] for step in steps], [1, 2, 3, -1, 0, 1])
    np.testing.assert_array_equal([step.final_obs[1, 0] for step in steps], [1, 2, 3, 4, 0, 1])
    np.testing.assert_array_equal([step.truncated[1] for step in steps], [0, 0, 0, 1, 0, 0])
    np.testing.assert_array_equal(steps[0].reward, [0, 1, 2, 3])
    assert {array.dtype for step in steps for array in step} == {
        np.dtype("float32"),
        np.dtype(bool),
    }
    # Environments 0 to 3 have ended in their steps 3 to 6; every other one succeeds, and the first
    # ends again in step 6.
    told = [(int(i), v) for one in environment.take_information() for i, v in _pairs(one)]
    assert told == [(0, 1.0), (1, 0.0), (2, 1.0), (0, 1.0), (3, 0.0)]
    assert environment.remark is None


def _pairs(one):
    return zip(one.index, one.values["success"].tolist(), strict=True)


def test_a_vector_that_takes_one_seed_gets_that_of_its_first_environment():
    made = []

    def make():
        made.append(Batched())
        return made[-1]

    environment = VectorEnvironment(make, [5, 6, 7, 8, 9, 10, 11, 12])
    environment.reset()
    environment.reset()
    assert [one.seeds for one in made] == [[5, None], [9, None]]


def test_without_a_final_observation_the_one_before_stands_in_and_it_is_said():
    kept = VectorEnvironment(functools.partial(Batched, finals=False), [14, 2, 3, 4])
    kept.reset()
    steps = [kept.step(np.zeros((4, 1), np.float32)) for _ in range(4)]
    np.testing.assert_array_equal([step.final_obs[1, 0] for step in steps], [1, 2, 3, 3])
    assert kept.remark is not None and "no final_obs" in kept.remark
    # A terminal state's value is not read.
    terminal = VectorEnvironment(
        functools.partial(Batched, ending="terminated", finals=False), [1, 2, 3, 4]
    )
    terminal.reset()
    for _ in range(4):
        terminal.step(np.zeros((4, 1), np.float32))
    assert terminal.remark is None


def test_seeds_that_do_not_fill_a_vector_are_made_up():
    make = functools.partial(vector, AutoresetMode.SAME_STEP)
    environment = make_host_environment(make, SEEDS[:4], copies=2)
    assert environment.num_envs == 12
    obs = environment.reset()
    np.testing.assert_array_equal(obs[:6], obs[6:])
    single = GymnasiumEnvironment(Walk, SEEDS[:4]).reset()
    np.testing.assert_array_equal(obs[:4], single)
    assert len(np.unique(obs[:6], axis=0)) == 6
    environment.close()


def test_a_restarted_vector_begins_episodes_that_it_has_not_had():
    environment = VectorEnvironment(functools.partial(vector, AutoresetMode.SAME_STEP), SEEDS)
    assert isinstance(environment, RestartedEnvironment)
    first = environment.reset()
    which = np.array([False] * 3 + [True] * 3)
    once = environment.restart(which, np.full(6, 1))
    again = environment.restart(which, np.full(6, 2))
    assert (once[:3] == 0).all() and not np.isin(once[3:], first).any()
    assert not np.isin(again[3:], once).any()
    np.testing.assert_array_equal(environment.restart(which, np.full(6, 1)), once)


def test_origins_are_subtracted_in_double_precision():
    class Far(Walk):
        def observe(self):
            return self.x + 1e8

    for mode in MODES:
        environment = VectorEnvironment(functools.partial(vector, mode, Far), SEEDS)
        exact = environment.reset_exact()
        origin = np.full((6, 3), 1e8)
        environment.set_origin(origin)
        step = environment.step(np.zeros((6, 2), np.float32))
        reference = GymnasiumEnvironment(Walk, SEEDS)
        np.testing.assert_allclose(exact - origin, reference.reset(), atol=1e-6)
        rows = reference.step(np.zeros((6, 2), np.float32))
        np.testing.assert_allclose(step.final_obs, rows.final_obs, atol=1e-6)


def test_a_look_at_a_vector_finds_its_behaviour_and_changes_nothing():
    spec, found = look(functools.partial(vector, AutoresetMode.NEXT_STEP))
    assert spec.num_envs == 3
    assert found["description"]["wrappers"] == ["VectorWrapper"]
    assert found["description"]["environments"] == 3
    assert len(found["behaviour"]["steps"]) > 32


class Stepped(SyncVectorEnv):
    """Says that it resets in the next step, and does so in the same."""

    def __init__(self):
        super().__init__([Walk] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}


def odd(**changes):
    """Return what makes a vector with something else in it."""

    def make():
        env: Any = type("Odd", (SyncVectorEnv,), {})([Walk] * 3)
        for name, value in changes.items():
            setattr(env, name, value)
        return env

    return make


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (odd(metadata={}), "does not say how it resets"),
        (odd(metadata={"autoreset_mode": "sometimes"}), "does not say how it resets"),
        (odd(num_envs=0), "num_envs=0"),
        (
            odd(action_space=spaces.Box(np.array([[-1, -1], [-2, -1], [-1, -1]], np.float32), 1)),
            "vector of environments with unequal spaces: action_space",
        ),
        (
            odd(observation_space=spaces.Box(-1, 1, (3, 4), np.float64)),
            "vector of environments with unequal spaces: observation_space",
        ),
        (odd(single_action_space=spaces.Discrete(3)), "discrete action space"),
        (odd(single_observation_space=spaces.Box(0, 255, (8, 8, 3), np.uint8)), "images"),
        (
            lambda: gymnasium.wrappers.vector.NormalizeObservation(vector(MODES[0])),
            "wrapped in NormalizeObservation",
        ),
    ],
)
def test_a_vector_that_will_not_do_is_refused_in_one_line(make, words):
    for look_at in (resolve, lambda task: make_environment(task, [1, 2, 3])):
        with pytest.raises(ConfigError, match=words) as caught:
            look_at(make)
        assert "\n" not in str(caught.value)


def test_a_reset_other_than_declared_is_found():
    environment = VectorEnvironment(Stepped, [1, 2])
    environment.reset()
    with pytest.raises(SimulatorError, match="says NEXT_STEP"):
        for _ in range(10):
            environment.step(np.zeros((2, 2), np.float32))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"obs": np.zeros((3, 3), np.float32)}, r"shape \[3, 3\], expected \[4, 2\]"),
        ({"reward": 1.0}, "rewards of shape"),
        ({"terminated": np.full(4, 0.5)}, "expected booleans"),
        ({"obs": None}, "no array"),
        ({"info": [{}] * 4}, None),
    ],
)
def test_an_odd_answer_names_the_vector_and_what_was_expected(answer, words):
    class Wrong(Batched):
        def step(self, actions):
            rows = dict(
                zip(
                    ("obs", "reward", "terminated", "truncated", "info"),
                    super().step(actions),
                    strict=True,
                )
            )
            return tuple((rows | answer).values())

    environment = VectorEnvironment(Wrong, [1, 2, 3, 4, 5, 6, 7, 8], name="Wrong")
    environment.reset()
    if words is None:
        environment.step(np.zeros((8, 1), np.float32))
        return
    with pytest.raises(SimulatorError, match=words) as caught:
        environment.step(np.zeros((8, 1), np.float32))
    assert caught.value.index == 0 and "task 'Wrong'" in str(caught.value)


def test_the_second_agents_vector_is_named_by_its_first_environment():
    made: list[Any] = []

    class Breaks(Batched):
        def step(self, actions):
            if self is made[1]:
                raise RuntimeError("out of memory")
            return super().step(actions)

    def make():
        made.append(Breaks())
        return made[-1]

    environment = VectorEnvironment(make, list(range(8)))
    environment.reset()
    with pytest.raises(SimulatorError, match="out of memory") as caught:
        environment.step(np.zeros((8, 1), np.float32))
    assert caught.value.index == 4


def test_what_contradicts_a_vector_is_refused():
    with pytest.raises(ConfigError, match=r"num_envs=2 contradicts .* a vector of 3 environments"):
        make_environment(plain, SEEDS, per_agent=2)
    with pytest.raises(ConfigError, match="env_processes=2 does not apply"):
        make_environment(plain, SEEDS, per_agent=3, processes=2)


def test_the_check_looks_at_a_vector():
    found = {one.name: one for one in check_environment(functools.partial(plain, num_envs=2))}
    assert {one.status for one in found.values()} == {"ok"}, found
    found = {
        one.name: one
        for one in check_environment(functools.partial(vector, AutoresetMode.SAME_STEP))
    }
    assert found["spaces"].detail.startswith("3 environments")
    assert "drift" in found["information"].detail and "length" in found["information"].detail
    found = {one.name: one for one in check_environment(functools.partial(Batched, finals=False))}
    assert found["episodes"].status == "warn" and "final_obs" in found["episodes"].detail
    found = {one.name: one for one in check_environment(odd(metadata={}))}
    assert found["constructor"].status == "fail"


def test_vectors_of_a_registered_id():
    spec = resolve("vector/Pendulum-v1:num_envs=2")
    assert (spec.num_envs, spec.episode_limit, spec.suite) == (2, 200, "Gymnasium")
    with pytest.raises(ConfigError, match="Pendulum-v1"):
        resolve("vector/Pendulun-v1")


def test_pictures_of_a_vector():
    class Drawn(Batched):
        render_mode = "rgb_array"

        def render(self) -> Any:
            return np.stack([np.full((4, 5, 3), 10 * i, np.uint8) for i in range(4)])

    environment = VectorEnvironment(Drawn, [1, 2, 3, 4])
    environment.reset()
    assert environment.render(2).tolist() == np.full((4, 5, 3), 20).tolist()
    with pytest.raises(ConfigError, match="draws no picture"):
        VectorEnvironment(Batched, [1, 2, 3, 4]).render()


class Huge(Walk):
    """Says at an episode's end what no array of Gymnasium's takes."""

    def step(self, action):
        obs, reward, terminated, truncated, said = super().step(action)
        return obs, reward, terminated, truncated, {"drift": 10**30} if said else {}


def test_a_vector_that_fails_in_the_middle_of_a_call_is_not_waited_for():
    def make():
        return AsyncVectorEnv([Huge] * 2, context="forkserver")

    environment = VectorEnvironment(make, [1, 2])
    environment.reset()
    with pytest.raises(SimulatorError, match="OverflowError"):
        for _ in range(8):
            environment.step(np.zeros((2, 2), np.float32))
    (batch,) = environment._batches
    inner: Any = batch.env
    processes = inner.processes
    environment.close()
    assert not any(process.is_alive() for process in processes)


@pytest.mark.parametrize("mode", MODES)
def test_statistics_of_a_wrapper_are_of_the_episodes_that_ended(mode):
    def make():
        return gymnasium.wrappers.vector.RecordEpisodeStatistics(
            SyncVectorEnv([Walk] * 3, autoreset_mode=mode)
        )

    environment = VectorEnvironment(make, SEEDS)
    found = transitions(environment, 30)
    said = environment.take_information()
    for index in range(6):
        ends = [i for i, row in enumerate(found[index]) if row[3] or row[4]]
        lengths = np.diff([-1, *ends]).tolist()
        told = [
            float(one.values["episode/l"][row])
            for one in said
            for row in np.flatnonzero(one.index == index)
        ]
        assert told == lengths


@pytest.mark.parametrize("mode", MODES)
def test_information_as_a_list_is_read_row_by_row(mode):
    def make():
        vector = SyncVectorEnv([Walk] * 3, autoreset_mode=mode)
        return gymnasium.wrappers.vector.DictInfoToList(vector)

    single = GymnasiumEnvironment(Walk, SEEDS)
    environment = VectorEnvironment(make, SEEDS)
    found = transitions(environment)
    require_equal(found, transitions(single))
    lengths = [one.values["length"] for one in environment.take_information()]
    ends = sum(row[3] or row[4] for rows in found for row in rows)
    assert np.isfinite(np.concatenate(lengths)).sum() == ends
    assert environment.remark is None


def test_one_environments_number_need_be_no_array():
    said = of_batch({"is_success": True, "x": np.float32(2), "how": "slowly"}, np.array([True]))
    assert said is not None and said.texts == {"how"}
    assert {name: value.tolist() for name, value in said.values.items()} == {
        "is_success": [1.0],
        "x": [2.0],
    }
    # Of several it is nobody's.
    assert of_batch({"is_success": True}, np.array([True, True])) is None
