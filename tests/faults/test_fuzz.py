"""Files from strangers: whatever a file holds, a reader returns what is clean or says one thing.

The long form is `ROBUSTPO_FUZZ_EXAMPLES=150000 pytest tests/faults/test_fuzz.py`.
"""

import json
import logging
import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import polars as pl
import pytest
import safetensors.numpy

from faults.fuzzing import fuzz, inputs, one_clear_error, refused, say_how_many
from faults.mutations import mutate_bytes, mutate_data, mutate_safetensors, to_json
from robustpo.base.files import (
    digest,
    parse_json,
    parse_tensors,
    read_state,
    read_tensors,
    write_tensors,
)
from robustpo.config.methods import METHODS
from robustpo.config.run import RunConfig, make_config
from robustpo.config.settings import Settings
from robustpo.config.shape import Shape
from robustpo.evaluation.evaluate import recorded_task
from robustpo.execution.standing import examine
from robustpo.policy.policy import Policy, load_policy, parse_policy, save_policy
from robustpo.runs.frames import (
    METRICS_SCHEMA,
    RESULTS_SCHEMA,
    SUMMARY_SCHEMA,
    load_results,
    load_summary,
)
from robustpo.runs.identity import config_from_identity
from robustpo.runs.metrics_table import columns_of, write_table
from robustpo.runs.record import RunRecord
from robustpo.studies.manifest import FILE, extend, load_manifest, save_manifest, study_directory
from robustpo.studies.study import Part, Study
from robustpo.training.agent import Agent
from robustpo.training.population import take_agent
from robustpo.training.trainer import Trainer


@pytest.fixture(scope="module", autouse=True)
def report(pytestconfig: pytest.Config) -> Iterator[None]:
    yield from say_how_many(pytestconfig)


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Whether arrays are equal by name, type, shape and bits."""
    return one.keys() == other.keys() and all(
        (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        for a, b in ((one[name], other[name]) for name in one)
    )


def good_policy() -> Policy:
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    tensors = {}
    for name, last in (("actor", 2), ("critic", 1)):
        for i, (inside, outside) in enumerate(((3, 4), (4, last))):
            tensors[f"{name}.{i}.weight"] = draw(inside, outside)
            tensors[f"{name}.{i}.bias"] = draw(outside)
    tensors |= {
        "log_std": draw(2),
        "action.low": np.array([-1, -np.inf], np.float32),
        "action.high": np.array([1, np.inf], np.float32),
        "observation.mean": draw(3),
        "observation.variance": draw(3) ** 2,
        "observation.count": np.float32(100),
    }
    metadata = {"task": "Pendulum-v1", "method": "rpo", "variant": "rpo", "seed": 0}
    return Policy(tensors, metadata | {"activation": "tanh", "distribution": "gaussian"})


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[bytes, Any]:
    """Two good files: a policy, and arrays of all types with a nested state, like a checkpoint."""
    place = tmp_path_factory.mktemp("good")
    save_policy(place / "policy", good_policy())
    arrays = {
        "count": np.int32(7),
        "key": np.arange(2, dtype=np.uint32),
        "empty": np.zeros((0, 3), np.float64),
        "done": np.array([True, False]),
        "bytes": np.arange(5, dtype=np.uint8),
        "steps['a'].long": np.arange(4).reshape(2, 2),
        "mean": np.linspace(0, 1, 6, dtype=np.float32),
    }
    state = {"step": 2048, "rows": [{"step": 1024, "entropy": None}, {"step": 2048}], "é": [1.5]}
    write_tensors(place / "state", {k: np.asarray(v) for k, v in arrays.items()}, state)
    contents = [(place / name).read_bytes() for name in ("policy", "state")]
    return {content: parse_tensors(content, "good") for content in contents}


@fuzz("tensors")
def test_a_changed_file_is_refused_or_says_the_same(stored, place, seed):
    contents, file = list(stored), place / "tensors"

    def make(rng: random.Random) -> tuple[bytes, bytes]:
        one, other = rng.sample(contents, 2)
        return one, mutate_safetensors(one, other, rng)

    for source, content in inputs("tensors", seed, make):
        with one_clear_error("tensors"):
            arrays, state = parse_tensors(content, "file")
            # What a whole file says is read at its head too.
            file.write_bytes(content)
            assert json.dumps(read_state(file, 2**20)) == json.dumps(state)
            # A splice may have given back the other file whole.
            assert any(
                same(arrays, known) and json.dumps(state) == json.dumps(said)
                for known, said in stored.values()
            ), source


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def hostile_policy(rng: random.Random) -> bytes:
    """Return a policy file with a right digest of wrong content."""
    policy = good_policy()
    tensors, data = dict(policy.tensors), {"format": 1, **policy.metadata}
    for _ in range(rng.choice([0, 1, 1, 2])):
        name = rng.choice(list(tensors))
        action = rng.randrange(7)
        if action == 0:
            del tensors[name]
        elif action == 1:
            other = rng.choice(["critic.2.weight", "actor.01.bias", "action", "\ud7ff", "x" * 300])
            tensors[other] = tensors.pop(name)
        elif action == 2:
            kind = rng.choice([np.float64, np.float16, np.int32, np.uint8, np.bool_])
            with np.errstate(all="ignore"):
                tensors[name] = np.asarray(tensors[name]).astype(kind)
        elif action == 3:
            size = rng.choice([(), (0,), (1,), (3, 0), (4, 4), (1, 1, 1), (1,) * 40])
            tensors[name] = np.zeros(size, np.float32)
        else:
            special = rng.choice([np.nan, np.inf, -np.inf, -1, 3e38, 1e-40, 0])
            with np.errstate(all="ignore"):
                changed = np.array(tensors[name], np.float32)
            changed.reshape(-1)[rng.randrange(changed.size + 1) :] = special
            tensors[name] = changed
    for _ in range(rng.choice([0, 1, 1, 2])):
        data = mutate_data(data, rng) if isinstance(data, dict) else data
    text = to_json(data, rng).decode("utf-8", "replace")
    arrays = {name: np.array(array, order="C") for name, array in tensors.items()}
    return safetensors.numpy.save(arrays, {"robustpo": f"{digest(arrays, text)} {text}"})


@fuzz("policy")
def test_a_policy_is_refused_or_acts(seed):
    for content in inputs("policy", seed, hostile_policy):
        with one_clear_error("policy"):
            policy = parse_policy(content, "file")
            # Weights may be infinite, as those of anybody's policy may.
            with np.errstate(all="ignore"):
                action = policy(np.zeros((5, policy.observation_size)), deterministic=False)
            assert (action.shape, action.dtype) == ((5, policy.action_size), np.float32)
            assert ":" not in recorded_task(policy)


@pytest.mark.parametrize(
    "load",
    [load_policy, partial(read_tensors, max_bytes=2**20), partial(read_state, max_bytes=2**20)],
)
def test_files_are_read_as_their_content_is(stored, place, load):
    rng = random.Random(0)
    whole = next(iter(stored))
    for _ in range(100):
        (place / "file").write_bytes(mutate_safetensors(whole, whole[::-1], rng))
        with one_clear_error("files"):
            load(place / "file")


CONFIG = make_config("Pendulum-v1", "rpo", seed=3, steps=8192, hidden_sizes=(8,), num_steps=512)


def hostile_json(data: Any, rng: random.Random) -> bytes:
    for _ in range(rng.choice([0, 1, 1, 1, 2, 5])):
        data = mutate_data(data, rng)
    content = to_json(data, rng)
    return mutate_bytes(content, content[::-1], rng) if rng.random() < 0.15 else content


STUDY = Study(
    "mine",
    "title",
    (
        Part(("Pendulum-v1",), ("ppo", "rpo:alpha=0.1"), (0, 1), 4096, {"hidden_sizes": (8, 8)}),
        Part(("HalfCheetah-v4",), ("rpo",), (0,), 8192, {"gamma": 0.9, "clip_value_loss": False}),
    ),
)


@fuzz("study")
def test_the_definition_of_a_study_is_refused_or_whole(tmp_path_factory, seed):
    out = tmp_path_factory.getbasetemp()
    (study_directory(out, "mine") / FILE).unlink(missing_ok=True)
    file = save_manifest(out, STUDY) / FILE
    good = json.loads(file.read_bytes())

    for content in inputs("study", seed, lambda rng: hostile_json(good, rng)):
        file.write_bytes(content)
        with one_clear_error("study"):
            study = load_manifest(out, "mine")
            assert study is not None and study.name == "mine"
            configs = extend(study, STUDY, out).configs()
            assert {config.task for config in STUDY.configs()} <= {c.task for c in configs}


@fuzz("identity")
def test_an_identity_is_refused_or_a_configuration(seed):
    def make(rng: random.Random) -> bytes:
        return hostile_json(CONFIG.identity(), rng)

    for content in inputs("identity", seed, make):
        try:
            data = parse_json(content)
        except ValueError:
            continue
        with one_clear_error("identity"):
            config = config_from_identity(data)
            assert isinstance(config, RunConfig)
            assert isinstance(config.task, str) and config.method in METHODS
            assert config.init_policy is None or isinstance(config.init_policy, str)
            assert 0 < len(config.variant) < 4000


@fuzz("state")
def test_the_state_of_a_directory_is_said_or_refused(place, seed):
    run = place / "seed-3"
    run.mkdir(exist_ok=True)
    data = {"identity": CONFIG.identity(), "variant": CONFIG.variant, "total_steps": 8192}
    for content in inputs("state", seed, lambda rng: hostile_json(data, rng)):
        (run / "config.json").write_bytes(content)
        with one_clear_error("state"):
            state = examine({CONFIG: run}, fresh=False)[CONFIG].run
            assert state.run is not None
            # Only the same experiment is gone on from. What its settings do not name is default.
            wanted, found = (
                json.loads(json.dumps(CONFIG.identity())),
                json.loads(content)["identity"],
            )
            for part, default in (("settings", Settings()), ("shape", Shape())):
                for name in wanted[part].keys() - found[part].keys():
                    assert wanted[part].pop(name) == json.loads(json.dumps(getattr(default, name)))
            if "preset" not in found:
                assert wanted.pop("preset") == "paper"
            assert found == wanted


@pytest.fixture(scope="module")
def checkpointed(tmp_path_factory):
    """A run that was stopped after two rollouts, what it is made of, and its checkpoint."""
    config = make_config(
        "gymnasium/Pendulum-v1", steps=512, num_steps=64, num_minibatches=2, hidden_sizes=(4,)
    )
    directory = tmp_path_factory.mktemp("checkpointed") / "seed-0"
    asked = iter([False, False, True])
    trainer = Trainer(
        [config], records=[RunRecord(directory, config)], should_stop=lambda: next(asked)
    )
    trainer.run()
    population = trainer.population
    like = (take_agent(population.learners, 0), take_agent(population.collector, 0))
    tensors, state = read_tensors(next((directory / "checkpoint").iterdir()), 2**20)
    return SimpleNamespace(
        config=config, spec=trainer.spec, like=like, tensors=tensors, state=state
    )


def hostile_tensors(tensors: dict[str, np.ndarray], rng: random.Random) -> dict[str, np.ndarray]:
    changed = dict(tensors)
    for name in rng.sample(sorted(changed), rng.choice([0, 0, 1, 3])):
        array = changed[name]
        changed[name] = rng.choice(
            [
                array.ravel()[:0],
                np.concatenate([array.ravel(), array.ravel()]),
                array.astype(np.float64),
                np.full_like(array, rng.choice([-(2**31), -1, 0, 2**31 - 1])),
                array.astype(np.float32) * np.float32(np.nan),
            ]
        )
        if rng.random() < 0.2:
            del changed[name]
    return changed


@fuzz("checkpoint")
def test_a_checkpoint_with_a_right_digest_is_refused_or_gone_on_from(place, checkpointed, seed):
    run, c = place / "seed-0", checkpointed

    def make(rng: random.Random) -> tuple[bytes, int]:
        return hostile_json(c.state, rng), rng.getrandbits(32)

    for content, number in inputs("checkpoint", seed, make):
        try:
            state = parse_json(content)
        except ValueError:
            continue
        if not isinstance(state, dict):
            continue
        shutil.rmtree(run, ignore_errors=True)
        (run / "checkpoint").mkdir(parents=True)
        tensors = hostile_tensors(c.tensors, random.Random(number))
        write_tensors(run / "checkpoint" / "step-000000000128.safetensors", tensors, state)
        with one_clear_error("checkpoint"):
            record = RunRecord(run, c.config)
            if record.checkpoint is None:
                refused["checkpoint"] += 1
                continue
            agent = Agent(c.config, record, c.spec)
            learner, saved = agent.load(c.like[0], c.like[1], None)
            for found, wanted in zip((learner, saved.state), c.like, strict=True):
                assert jax.tree.map(np.shape, found) == jax.tree.map(np.shape, wanted)
            assert 0 <= agent.log.step <= c.config.total_steps
            # What would be replayed is bounded by what the run has made.
            assert saved.resets.max() <= 513 and sum(map(len, saved.tails)) <= 512
            record.write_table()


ROW = {name: 1024 if dtype is int else 0.5 for name, dtype in METRICS_SCHEMA.items()}
ROWS = [{**ROW, "step": 512 * i} for i in range(1, 9)]
RESULT = {"status": "completed", "final_return": 1.5, "episodes": 3, "steps": 4096, "seconds": 2}


def write_run(directory: Path, contents: dict[str, bytes]) -> None:
    directory.mkdir(parents=True)
    for name, content in contents.items():
        (directory / name).write_bytes(content)


@pytest.fixture(scope="module")
def good_run(place: Path) -> dict[str, bytes]:
    identity = {**CONFIG.identity(), "task": "good"}
    write_table(place / "table", columns_of(ROWS))
    return {
        "config.json": json.dumps({"identity": identity, "variant": "rpo"}).encode(),
        "metrics.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
        "metrics.safetensors": (place / "table").read_bytes(),
        "result.json": json.dumps(RESULT | {"error": None}).encode(),
    }


def hostile_table(good: bytes, rng: random.Random) -> bytes:
    """Return a table of metrics that is damaged, or holds other columns with a right digest."""
    if rng.random() < 0.5:
        return mutate_safetensors(good, good, rng)
    columns, state = parse_tensors(good, "table")
    columns, text = hostile_tensors(columns, rng), json.dumps(state)
    return safetensors.numpy.save(columns, {"robustpo": f"{digest(columns, text)} {text}"})


def hostile_run(good: dict[str, bytes], rng: random.Random) -> tuple[tuple[str, bytes], ...]:
    """Return the files of a run of which some are hostile."""
    files = dict(good)
    for name in rng.choice([[name] for name in files] + [list(files)]):
        if rng.random() < 0.1:
            del files[name]
        elif name == "metrics.safetensors":
            files[name] = hostile_table(files[name], rng)
        elif name == "metrics.jsonl":
            lines = files[name].splitlines(keepends=True)
            i = rng.randrange(len(lines))
            lines[i] = hostile_json(json.loads(lines[i]), rng) + b"\n"
            files[name] = b"".join(lines)
        else:
            files[name] = hostile_json(json.loads(files[name]), rng)
    return tuple(files.items())


@fuzz("runs")
def test_hostile_runs_spoil_no_other(place, good_run, seed):
    logging.disable(logging.WARNING)
    root = place / "runs"
    shutil.rmtree(root, ignore_errors=True)
    write_run(root / "good", good_run)
    made = list(inputs("runs", seed, lambda rng: hostile_run(good_run, rng)))
    for number, files in enumerate(made):
        write_run(root / f"hostile-{number:02}", dict(files))
    try:
        with one_clear_error("runs") as outcome:
            results, summary = load_results(root), load_summary(root)
            assert results.schema == pl.Schema(RESULTS_SCHEMA)
            assert summary.schema == pl.Schema(SUMMARY_SCHEMA)
            assert len(summary) <= 1 + len(made)
            refused["runs"] += 1 + len(made) - len(summary)
            own = summary.filter(pl.col("path") == str(root / "good"))
            assert own.select(list(RESULT)).row(0, named=True) == RESULT
            # A hostile run may say that it is the good one; it is not lost for that.
            found = results.filter(task="good", seed=3, variant="rpo").select(list(METRICS_SCHEMA))
            assert set(pl.DataFrame(ROWS, schema=METRICS_SCHEMA).rows()) <= set(found.rows())
        assert not outcome.refused
    finally:
        logging.disable(logging.NOTSET)


def large_files(good: dict[str, bytes]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield runs whose files take many times their length once read, or state that they do."""
    config, lists = good["config.json"], b"[" + b"[]," * (2**22 // 3 - 1) + b"[]]"
    yield "lists in config.json", {"config.json": config[:-1] + b', "x": ' + lists + b"}"}
    yield "an object of lists", {"config.json": b'{"x": ' + lists[: 2**22 - 12] + b"[]]}"}
    yield "lists in a line", good | {"metrics.jsonl": b'{"step": ' + lists + b"}\n"}
    yield "lists in lines", good | {"metrics.jsonl": (lists[: 2**16 - 50] + b"]\n") * 900}
    yield "empty lines", good | {"metrics.jsonl": b"\n" * 2**26}
    yield "short lines", good | {"metrics.jsonl": b'{"step":1}\n' * 5_000_000}
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    huge = empty | {"shape": [2**38], "data_offsets": [0, 2**40]}
    for length, header in (
        (None, {"log_std": huge}),
        (2**63, {"log_std": huge}),
        (None, {str(i): empty for i in range(200_000)}),
    ):
        text = json.dumps(header).encode()
        stated = struct.pack("<Q", len(text) if length is None else length)
        yield f"{len(text)} {length}", {"policy.safetensors": stated + text}


def test_no_file_takes_much_more_memory_than_its_size(tmp_path, good_run):
    for name, files in large_files(good_run):
        write_run(tmp_path / name, {k: v for k, v in files.items() if k != "metrics.safetensors"})
    # A file without end in all but name: it takes no place on the disk.
    for name in ("config.json", "policy.safetensors"):
        write_run(tmp_path / f"endless {name}", {name: b"{"})
        os.truncate(tmp_path / f"endless {name}" / name, 2**40)
    code = """
import resource, sys
from pathlib import Path
from robustpo import ConfigError, load_policy, load_results, load_summary
root = Path(sys.argv[1])
(root / "empty").mkdir()
load_results(root / "empty")
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
assert load_results(root).is_empty()
load_summary(root)
for path in root.iterdir():
    try:
        load_policy(path)
    except ConfigError:
        continue
    raise AssertionError(path)
print(peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    # MiB: a file of 64, or one of 4 that is a million lists.
    assert float(done.stdout) < 200
