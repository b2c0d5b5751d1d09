"""Folders from strangers: links, special files, study files and texts that mean harm.

The long form is `ROBUSTPO_FUZZ_EXAMPLES=150000 pytest tests/faults/test_fuzz_folders.py`.
"""

import contextlib
import io
import json
import logging
import os
import random
import shutil
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faults.fuzzing import fuzz, inputs, one_clear_error, say_how_many
from faults.mutations import mutate_bytes
from faults.planting import contents, make_home, plant
from robustpo.base.writing import make_directory, write_atomically
from robustpo.cli import main
from robustpo.config.run import make_config
from robustpo.execution.standing import examine
from robustpo.policy.policy import Policy, save_policy
from robustpo.runs.frames import METRICS_SCHEMA, load_results, load_summary
from robustpo.runs.locks import RunLocks
from robustpo.runs.record import RunRecord, run_directory, set_aside
from robustpo.studies.manifest import load_manifest, save_manifest, study_directory
from robustpo.studies.status import run_statuses
from robustpo.studies.study import Part, Study
from robustpo.studies.study_file import read_study

CONFIG = make_config("Pendulum-v1", "rpo", seed=3, steps=8192, hidden_sizes=(8,), num_steps=512)
STUDY = Study(
    "mine",
    "title",
    (
        Part(("Pendulum-v1",), ("ppo", "rpo:alpha=0.1"), (0, 1), 4096, {"hidden_sizes": (8, 8)}),
        Part(("HalfCheetah-v4",), ("rpo",), (0,), 8192, {"gamma": 0.9, "clip_value_loss": False}),
    ),
)


@pytest.fixture(scope="module", autouse=True)
def report(pytestconfig: pytest.Config) -> Iterator[None]:
    yield from say_how_many(pytestconfig)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Wait for no disk, and hear no warnings of what is left out."""
    logging.disable(logging.WARNING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


TOML = """title = "RPO"  # of a dozen lines
note = "more"
shows = "return"
tasks = ["Pendulum-v1", "dm_control/walker-walk-v0"]
methods = ["ppo", "rpo", "rpo:alpha=0.1"]
seeds = "0:5"
steps = 1_000_000
time_limit = "terminal"
hidden_sizes = [64, 64]
gamma = 0.99

[[parts]]
tasks = ["HalfCheetah-v4"]
seeds = [1, 2]
"""
TOML_LINES = (
    "[[parts]]",
    "[parts]",
    "[a.b]",
    "[[tasks]]",
    "'\x1b' = 1",
    "x",
    'seeds."\\u0000" = 1',
)
TOML_VALUES = (
    *("[]", "[[]]", "{}", "[{}]", "true", "-1", "0", "nan", "inf", "-0.0", "1e400", '""'),
    *('"0:9999"', '"9999999:0"', "2020-01-01", "07:32:00", "'''\n\n'''", '"../.."', '"os:system"'),
    *("0x" + "f" * 4000, "9" * 4000, "9" * 5000, "0b" + "1" * 99, '"' + "x" * 5000 + '"'),
    *('"\\u001b[2J"', '"\\ud800"', '"x" = 1', "[1, 'a', [], {}]", "{a=" * 300 + "1" + "}" * 300),
    *("[" * 50 + "]" * 50, "[" * 500 + "]" * 500),
)


def hostile_toml(rng: random.Random) -> bytes:
    """Return a study's file with values, lines or bytes of another kind."""
    lines: list[str] = list(TOML.splitlines())
    for _ in range(rng.choice([0, 1, 1, 1, 2, 5])):
        i = rng.randrange(len(lines))
        action = rng.randrange(6)
        key, _, _ = lines[i].partition(" = ")
        if action == 0 and len(lines) > 1:
            del lines[i]
        elif action == 1:
            lines.insert(i, rng.choice(TOML_LINES))
        elif action == 2:
            lines.append(rng.choice(lines))
        else:
            lines[i] = f"{key} = {rng.choice(TOML_VALUES)}"
    code = rng.choice(["utf-8"] * 8 + ["utf-8-sig", "utf-16", "latin-1"])
    content = "\n".join(lines).encode(code)
    return mutate_bytes(content, content[::-1], rng) if rng.random() < 0.2 else content


@fuzz("file of a study")
def test_the_file_of_a_study_is_refused_or_whole(place, seed):
    file = place / "mine.toml"
    for content in inputs("file of a study", seed, hostile_toml):
        file.write_bytes(content)
        with one_clear_error("file of a study"):
            study = read_study(file)
            study.check()
            # It can be written down and read again.
            out = place / "written"
            shutil.rmtree(out, ignore_errors=True)
            save_manifest(out, study)
            read = load_manifest(out, study.name)
            assert read is not None and read.parts == study.parts and read.title == study.title


def work_on(run: Path, out: Path, rng: random.Random) -> None:
    """Do to a folder of results one of the things that commands do."""
    action = rng.randrange(6)
    if action == 0:
        examine({CONFIG: run}, fresh=False)
    elif action == 1:
        if examine({CONFIG: run}, fresh=True)[CONFIG].stale:
            set_aside(run)
    elif action == 2:
        save_manifest(out, STUDY)
    elif action == 3:
        load_results(out)
        load_summary(out)
        run_statuses([CONFIG], out)
    elif action == 4:
        directory = study_directory(out, "mine")
        make_directory(directory, out)
        for name in ("index.html", "table.csv", "return.png"):
            write_atomically(directory / name, b"report")
    else:
        with RunLocks() as locks:
            locks.acquire([run], out)
            train(run, finish=rng.random() < 0.5)


def train(run: Path, *, finish: bool) -> None:
    """Write what a worker writes."""
    record = RunRecord(run, CONFIG)
    for step in (512, 1024, 1536):
        record.add_row(dict.fromkeys(METRICS_SCHEMA, step))
        record.add_evaluation({"step": step})
        record.save_checkpoint({"x": np.zeros(3)}, {"step": step})
    record.save_policy("policy.safetensors", Policy({"log_std": np.zeros(1)}, {}))
    if finish:
        record.finish({"status": "completed"})


@pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")
@fuzz("links")
def test_nothing_outside_a_folder_is_touched(place, seed):
    for number in inputs("links", seed, lambda rng: rng.getrandbits(64)):
        rng = random.Random(number)
        base = place / "links"
        shutil.rmtree(base, ignore_errors=True)
        home, out = base / "home", base / "out"
        make_home(home)
        run = run_directory(out, CONFIG)
        train(run, finish=rng.random() < 0.5)
        save_manifest(out, STUDY)
        for _ in range(rng.choice([1, 1, 2, 4])):
            plant(out, home, rng)
        before = contents(home)
        try:
            for _ in range(2):
                with one_clear_error("links"):
                    work_on(run, out, rng)
        finally:
            assert contents(home) == before


SCREEN = (
    *("\x1b[2J", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\", "\x9b31m", "\u202edlrow", "\u2066"),
    *("[red]x[/red]", "[/]", "[link=http://x]", ":smile:", "\r\n", "\b\b", "é𝄞", "\0"),
)
SMALL_TOML = 'tasks = ["Pendulum-v1"]\nmethods = ["ppo"]\nseeds = 1\nsteps = 4096\n'


@fuzz("screen")
def test_no_text_of_a_stranger_steers_the_terminal(place, seed):
    out, file = place / "screen", place / "screen.toml"
    for number in inputs("screen", seed, lambda rng: rng.getrandbits(64)):
        rng = random.Random(number)

        def text(rng: random.Random = rng) -> str:
            return "".join(rng.choices([*SCREEN, *"plain text"], k=rng.randrange(1, 12))) or "x"

        shutil.rmtree(out, ignore_errors=True)
        study = replace(STUDY, name="screen", title=text(), note=text(), source=text())
        save_manifest(out, study)
        texts = "".join(f"{key} = {json.dumps('a' + text())}\n" for key in ("title", "note"))
        file.write_text(texts + SMALL_TOML)
        for config in study.configs():
            record = RunRecord(run_directory(out, config), config)
            if rng.random() < 0.7:
                record.finish({"status": rng.choice(["failed", text()]), "error": text()})
        save_policy(out / "policy", Policy({}, {"task": text(), "variant": text()}))
        command = rng.choice(
            [
                ["study", "show", file],
                ["study", "status", file, "--out", out],
                ["study", "status", file, "--out", text()],
                ["study", "run", text(), "--out", out],
                ["evaluate", text()],
                ["evaluate", out / "policy"],
            ]
        )
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            assert main([str(word) for word in command]) in (0, 2)
        for sign in said.getvalue():
            assert sign == "\n" or unicodedata.category(sign) not in ("Cc", "Cf"), said.getvalue()
