"""Policy files: acting without JAX, saving and loading, and files that are no policies."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import robustpo
from robustpo.algorithm.networks import ACTIVATIONS, AgentParams, Dense, mlp
from robustpo.algorithm.normalization import RunningMoments, normalize_observation
from robustpo.config.run import make_config
from robustpo.environments.base import TaskSpec
from robustpo.errors import ConfigError
from robustpo.evaluation.evaluate import recorded_task
from robustpo.policy.families import ACTIVATIONS as NUMPY_ACTIVATIONS
from robustpo.policy.policy import POLICY_FILE, Policy, load_policy, save_policy
from robustpo.training.snapshot import make_policy

OBS, ACTIONS = 5, 3
LOW, HIGH = (-1.0, -0.5, -np.inf), (1.0, 2.0, np.inf)
SPEC = TaskSpec("task", "suite", OBS, LOW, HIGH, 100, "envpool")


def make_agent(activation="tanh", normalize=True, seed=0, **options):
    """Return an agent as trained and the policy frozen of it."""
    rng = np.random.default_rng(seed)

    def layers(*sizes):
        return tuple(
            Dense(jnp.float32(rng.normal(size=(a, b))), jnp.float32(rng.normal(size=b)))
            for a, b in zip(sizes[:-1], sizes[1:], strict=True)  # noqa: RUF007
        )

    params = AgentParams(
        actor=layers(OBS, 8, 7, ACTIONS),
        log_std=jnp.float32(rng.normal(size=ACTIONS)),
        critic=layers(OBS, 8, 7, 1),
    )
    mean, variance = rng.normal(size=OBS), rng.uniform(0.1, 4.0, OBS)
    zero = jnp.zeros(OBS)
    moments = RunningMoments(jnp.float32(mean), jnp.float32(variance), zero, zero, jnp.int32(1000))
    settings: dict[str, Any] = {"preset": "paper"} | options
    config = make_config(
        "task",
        hidden_sizes=(8, 7),
        activation=activation,
        normalize_observations=normalize,
        **settings,
    )
    return params, moments, make_policy(config, SPEC, params, moments)


def observations(rows=20, scale=3.0):
    return np.random.default_rng(9).normal(0, scale, (rows, OBS)).astype(np.float32)


def test_both_implementations_know_the_same_activations():
    assert NUMPY_ACTIVATIONS.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_a_policy_acts_as_the_trained_network_does(activation, normalize):
    params, moments, policy = make_agent(activation, normalize)
    obs = observations(scale=30.0)  # some standard scores are clipped
    seen = normalize_observation(jnp.asarray(obs), moments) if normalize else jnp.asarray(obs)
    if normalize:
        assert (np.abs(seen) == 10).any()
    raw = np.asarray(mlp(params.actor, seen, activation))
    expected = np.clip(raw, np.asarray(LOW, np.float32), np.asarray(HIGH, np.float32))
    assert (raw != expected).any()
    np.testing.assert_allclose(policy(obs), expected, rtol=1e-5, atol=1e-5)


def test_a_batch_is_its_observations_one_by_one():
    _, _, policy = make_agent()
    obs = observations()
    together = policy(obs)
    assert together.shape == (20, ACTIONS) and together.dtype == np.float32
    one_by_one = np.stack([policy(o) for o in obs])
    assert policy(obs[0]).shape == (ACTIONS,) and policy(obs[0]).dtype == np.float32
    np.testing.assert_allclose(together, one_by_one, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(policy(obs.tolist()), together)


def test_samples_spread_around_the_mode_with_the_policys_deviation():
    params, _, policy = make_agent()
    obs = np.tile(observations(1), (50_000, 1))
    noisy = policy(obs, deterministic=False, rng=np.random.default_rng(0))
    free = ACTIONS - 1  # the dimension without bounds
    std = float(np.exp(params.log_std[free]))
    deviation = noisy[:, free] - policy(obs[0])[free]
    assert abs(deviation.mean()) < 4.5 * std / np.sqrt(50_000)
    assert abs(deviation.std() / std - 1) < 4.5 / np.sqrt(2 * 50_000)
    low, high = np.asarray(LOW, np.float32), np.asarray(HIGH, np.float32)
    assert (noisy >= low).all() and (noisy <= high).all()
    assert noisy.dtype == np.float32
    again = policy(obs, deterministic=False, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(noisy, again)


def test_acting_knows_no_perturbation():
    calm, wild = (make_agent(alpha=alpha)[2] for alpha in (0.0, 5.0))
    for deterministic in (True, False):
        actions = [
            policy(observations(), deterministic=deterministic, rng=np.random.default_rng(1))
            for policy in (calm, wild)
        ]
        np.testing.assert_array_equal(actions[0], actions[1])


@pytest.mark.parametrize("shape", [(), (OBS + 1,), (2, OBS - 1), (1, 2, OBS)])
def test_observations_of_another_size_are_refused(shape):
    _, _, policy = make_agent()
    with pytest.raises(ValueError, match=r"obs\.shape="):
        policy(np.zeros(shape))


def test_a_saved_policy_is_loaded_as_it_was(tmp_path):
    _, _, policy = make_agent()
    file = tmp_path / POLICY_FILE
    save_policy(file, policy)
    assert [path.name for path in tmp_path.iterdir()] == [POLICY_FILE]
    for place in (file, tmp_path, str(file)):
        loaded = load_policy(place)
        assert loaded.tensors.keys() == policy.tensors.keys()
        for name, tensor in policy.tensors.items():
            np.testing.assert_array_equal(loaded.tensors[name], tensor)
        np.testing.assert_array_equal(loaded(observations()), policy(observations()))
        assert policy.metadata.items() <= loaded.metadata.items()
    assert (loaded.observation_size, loaded.action_size) == (OBS, ACTIONS)


def test_the_same_policy_is_the_same_file(tmp_path):
    for name in ("one", "two"):
        save_policy(tmp_path / name, make_agent()[2])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_loading_and_acting_import_no_jax(tmp_path):
    save_policy(tmp_path / POLICY_FILE, make_agent()[2])
    code = (
        "import sys, robustpo\n"
        "from robustpo.policy.policy import load_policy\n"
        f"print(load_policy({str(tmp_path)!r})([0.0] * {OBS}).shape)\n"
        "heavy = {'jax', 'optax', 'envpool', 'torch', 'polars'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    source = str(Path(robustpo.__file__).parents[1])
    environment = {"PYTHONPATH": source, "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"({ACTIONS},)"


def _parts():
    policy = make_agent()[2]
    metadata = {"format": 1, "activation": "tanh", "distribution": "gaussian"}
    return dict(policy.tensors), metadata


def _digest(tensors, text):
    """The digest of a file, from its description: the text, then every array by its name."""
    parts = [text.encode()]
    for name in sorted(tensors):
        array = tensors[name]
        parts += [f"\n{name} {array.dtype} {array.shape}\n".encode(), array.tobytes()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _write(file, tensors, metadata):
    """Write a file by the library alone; `metadata` is data, or a text in its place."""
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    tensors = {name: np.array(array, order="C") for name, array in tensors.items()}
    header = {"robustpo": f"{_digest(tensors, text)} {text}"}
    file.write_bytes(safetensors.numpy.save(tensors, header))


def test_the_parts_of_a_policy_make_a_policy(tmp_path):
    tensors, metadata = _parts()
    # No network but the actor is needed to act, and no normaliser.
    actor = {k: v for k, v in tensors.items() if not k.startswith(("critic", "observation"))}
    for parts in (tensors, actor):
        _write(tmp_path / "policy", parts, metadata)
        assert load_policy(tmp_path / "policy").tensors.keys() == parts.keys()


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"format": None},
        {"format": True},
        {"format": 1.0},
        {"activation": "gelu"},
        {"activation": None},
        {"activation": []},
        {"activation": {}},
        {"distribution": "normal"},
        {"distribution": []},
        {"task": 3},
        {"task": ["Pendulum-v1"]},
        {"task": "P" * 1001},
        {"method": None},
        {"variant": {}},
        {"seed": "0"},
        {"seed": True},
        {"seed": 1.0},
        {"seed": -1},
        {"seed": 10**400},
    ],
    ids=lambda change: str(change)[:40],
)
def test_files_with_unknown_metadata_are_refused(tmp_path, change):
    tensors, metadata = _parts()
    _write(tmp_path / "policy", tensors, metadata | change)
    with pytest.raises(ConfigError, match="not a policy of robustpo"):
        load_policy(tmp_path / "policy")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "1",
        '"text"',
        "null",
        "[" * 100_000,
        # Two readers may see two formats in it.
        '{"format": 1, "activation": "tanh", "distribution": "gaussian", "format": 1}',
    ],
    ids=len,
)
def test_files_with_other_metadata_are_refused(tmp_path, text):
    _write(tmp_path / "policy", _parts()[0], text)
    with pytest.raises(ConfigError, match="not a readable file"):
        load_policy(tmp_path / "policy")


def test_files_without_metadata_are_refused(tmp_path):
    safetensors.numpy.save_file(_parts()[0], tmp_path / "policy")
    with pytest.raises(ConfigError, match="not a readable file"):
        load_policy(tmp_path / "policy")


def test_files_without_their_own_digest_are_refused(tmp_path):
    tensors, metadata = _parts()
    text = json.dumps(metadata)
    whole = safetensors.numpy.save(tensors, {"robustpo": f"{_digest(tensors, text)} {text}"})
    changed = whole[:-1] + bytes([whole[-1] ^ 1])
    other = safetensors.numpy.save(tensors, {"robustpo": f"{'0' * 64} {text}"})
    none = safetensors.numpy.save(tensors, {"robustpo": f" {text}"})
    for content in (changed, other, none):
        (tmp_path / "policy").write_bytes(content)
        with pytest.raises(ConfigError, match="damaged"):
            load_policy(tmp_path / "policy")


NAN, INF = np.float32("nan"), np.float32("inf")


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("actor.0.weight", None),
        ("actor.0.weight", np.zeros((OBS,), np.float32)),
        ("actor.0.weight", np.zeros((OBS, 4), np.float32)),
        ("actor.0.weight", np.zeros((0, 8), np.float32)),
        ("actor.1.weight", None),
        ("actor.1.weight", np.zeros((8, 0), np.float32)),
        ("actor.1.bias", None),
        ("actor.1.bias", np.zeros((8,), np.float32)),
        ("actor.4.weight", np.zeros((ACTIONS, ACTIONS), np.float32)),
        ("actor.00.weight", np.zeros((OBS, 8), np.float32)),
        ("critic.0.weight", None),
        ("critic.0.weight", np.zeros((OBS + 1, 8), np.float32)),
        ("critic.1.bias", np.zeros((8,), np.float32)),
        ("critic.2.bias", None),
        ("critic.3.weight", np.zeros((1, 2), np.float32)),
        ("log_std", None),
        ("log_std", np.zeros((ACTIONS + 1,), np.float32)),
        ("action.low", None),
        ("action.low", np.full(ACTIONS, NAN)),
        ("action.high", np.array([1, 2, NAN], np.float32)),
        ("action.low", np.full(ACTIONS, 1.5, np.float32)),
        ("action.high", np.zeros((1,), np.float32)),
        ("action.high", np.full(ACTIONS, -2, np.float32)),
        ("observation.mean", None),
        ("observation.variance", np.ones((OBS + 1,), np.float32)),
        ("observation.variance", np.array([1, 1, -1e-9, 1, 1], np.float32)),
        ("observation.variance", np.full(OBS, NAN)),
        ("observation.count", np.zeros((1,), np.float32)),
        ("observation.count", np.float32(-1)),
        ("observation.count", NAN),
        ("observation.count", INF),
        ("observation.deviation", np.ones((OBS,), np.float32)),
        ("noise", np.zeros((), np.float32)),
        ("", np.zeros((), np.float32)),
        ("log_std", np.zeros((ACTIONS,), np.float64)),
        ("log_std", np.zeros((ACTIONS,), np.int32)),
    ],
)
def test_files_with_missing_or_misfitting_tensors_are_refused(tmp_path, name, tensor):
    tensors, metadata = _parts()
    tensors.pop(name, None)
    if tensor is not None:
        tensors[name] = np.asarray(tensor)
    _write(tmp_path / "policy", tensors, metadata)
    with pytest.raises(ConfigError, match="not a policy of robustpo"):
        load_policy(tmp_path / "policy")


@pytest.mark.parametrize("wrong", [NAN, INF, -INF])
def test_numbers_that_are_not_finite_are_refused_by_the_name_of_their_tensor(tmp_path, wrong):
    tensors, metadata = _parts()
    units = {"action.centre": np.zeros(ACTIONS), "action.half": np.ones(ACTIONS)}
    origin = {"observation.origin": np.zeros(OBS)}
    tensors |= {name: np.float32(tensor) for name, tensor in (units | origin).items()}
    _write(tmp_path / "policy", tensors, metadata)
    load_policy(tmp_path / "policy")
    # One dimension of the action is unbounded: only there may an infinity stand.
    for name in sorted(tensors.keys() - {"action.low", "action.high"}):
        spoilt = np.array(tensors[name])
        spoilt.flat[-1] = wrong
        _write(tmp_path / "policy", tensors | {name: spoilt}, metadata)
        with pytest.raises(ConfigError, match=rf"{re.escape(name)} (holds|is not)"):
            load_policy(tmp_path / "policy")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("log_std", 81.0, "log_std holds 81"),
        ("action.half", 0.0, r"action\.half is not above 0"),
        ("action.centre", None, r"action\.centre has shape None"),
        ("observation.origin", np.zeros(OBS + 1), r"observation\.origin has shape"),
    ],
)
def test_numbers_that_no_policy_has_are_refused(tmp_path, name, value, words):
    tensors, metadata = _parts()
    tensors |= {n: np.ones(ACTIONS, np.float32) for n in ("action.centre", "action.half")}
    tensors.pop(name, None)
    if value is not None:
        shape = np.shape(value) or (ACTIONS,)
        tensors[name] = np.broadcast_to(np.float32(value), shape)
    _write(tmp_path / "policy", tensors, metadata)
    with pytest.raises(ConfigError, match=words):
        load_policy(tmp_path / "policy")


def test_tensors_of_types_that_numpy_lacks_are_refused(tmp_path):
    metadata = _parts()[1]
    header = {
        "__metadata__": {"robustpo": json.dumps(metadata)},
        "log_std": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]},
    }
    text = json.dumps(header).encode()
    (tmp_path / "policy").write_bytes(len(text).to_bytes(8, "little") + text + bytes(2))
    with pytest.raises(ConfigError):
        load_policy(tmp_path / "policy")


def test_files_that_are_cut_or_something_else_are_refused(tmp_path):
    save_policy(tmp_path / "whole", make_agent()[2])
    whole = (tmp_path / "whole").read_bytes()
    endless = bytes([255] * 8) + whole[8:]
    parts = [b"", b"no policy", whole[:7], whole[:100], whole[:-1], whole + b"\0", endless]
    for number, content in enumerate(parts):
        file = tmp_path / str(number)
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=f"{re.escape(str(file))} is not a readable file"):
            load_policy(file)


def test_files_that_are_too_large_are_refused_unread(tmp_path):
    file = tmp_path / "policy"
    with open(file, "wb") as sparse:
        sparse.truncate(256 * 2**20 + 1)
    with pytest.raises(ConfigError, match="larger than 256 MiB"):
        load_policy(file)
    # A header of 2 MiB: the state is a text that long.
    tensors, metadata = _parts()
    _write(file, tensors, metadata | {"note": " " * 2**21})
    with pytest.raises(ConfigError, match="a header of 2"):
        load_policy(file)


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for place in (tmp_path / "pipe", tmp_path / "loop", "/dev/zero"):
        with pytest.raises(ConfigError, match="no policy at"):
            load_policy(place)


@pytest.mark.parametrize("task", ["os:getcwd", "gymnasium/os:x", "ale_py:ALE/Pong-v5", ":", "a:"])
def test_a_file_does_not_decide_what_is_imported(tmp_path, task, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tensors, metadata = _parts()
    Path("trap.py").write_text("raise SystemExit('imported')\n")
    for name in (task, "trap:make", "gymnasium/trap:make"):
        _write(Path("policy"), tensors, metadata | {"task": name})
        with pytest.raises(ConfigError, match="give it again as --task"):
            robustpo.evaluate("policy", episodes=1)
    # Whoever names it wants it; that the trap springs shows that it was one.
    with pytest.raises(ConfigError, match=r"sys\.exit with 'imported'"):
        robustpo.evaluate("policy", episodes=1, task="trap:make")
    assert recorded_task(Policy(tensors, {"task": "gymnasium/Pendulum-v1"})) == (
        "gymnasium/Pendulum-v1"
    )


def test_a_policy_without_a_task_needs_one_to_be_evaluated(tmp_path):
    _write(tmp_path / "policy", *_parts())
    with pytest.raises(ConfigError, match="--task"):
        robustpo.evaluate(tmp_path / "policy", episodes=1)


def test_a_place_without_a_policy_is_refused(tmp_path):
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigError, match="no policy at"):
            load_policy(place)


def test_a_policy_needs_no_normaliser():
    _, _, policy = make_agent(normalize=False)
    assert not any(name.startswith("observation") for name in policy.tensors)
    obs = observations()
    np.testing.assert_array_equal(policy.normalize(obs), obs)
    assert isinstance(policy, Policy)
