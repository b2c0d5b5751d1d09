"""Studies of strangers, and of several commands at once: refused in one line, or kept whole."""

import os
import subprocess
import sys
import time

import pytest

from robustpo.cli import main
from robustpo.errors import ConfigError
from robustpo.runs.locks import RunLocks
from robustpo.runs.record import run_directory
from robustpo.studies.manifest import FILE, load_manifest, save_manifest, study_directory
from robustpo.studies.study import MAX_RUNS, Part, Study
from robustpo.studies.study_file import read_study

GOOD = 'tasks = ["Pendulum-v1"]\nmethods = ["ppo", "rpo"]\nseeds = "0:2"\nsteps = 100_000\n'
MANY = ", ".join(f'"rpo:alpha=0.{i}"' for i in range(1, 12))


def changed(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


REFUSED = {
    "nested": (GOOD + "title = " + "[" * 500 + "]" * 500, "nested too deeply"),
    "nested less": (GOOD + "hidden_sizes = " + "[" * 150 + "]" * 150, "hidden_sizes="),
    "list of lists": (changed('"0:2"', "[[]]"), r"line 3: seeds=\[\[\]\] is not valid"),
    "truths": (changed('"0:2"', "[true]"), r"line 3: seeds=\[True\] is not valid"),
    "truth": (changed('"0:2"', "true"), "line 3: seeds=True is not valid"),
    "digits": (changed("100_000", "9" * 5000), "more digits than any"),
    "digits in text": (changed("0:2", "9" * 5000), "line 3: seeds='999"),
    "digits in hexadecimal": (changed("100_000", "0x" + "f" * 5000), "20000 bits"),
    "digits of an option": (GOOD + "gamma = 0b" + "1" * 30_000, "30000 bits"),
    "a date": (changed('"0:2"', "2020-01-01"), "line 3: seeds=datetime"),
    "too many runs": (
        changed('"rpo"', MANY).replace('"0:2"', '"0:10000"'),
        f"120,000 runs; at most {MAX_RUNS:,}",
    ),
    "a key that steers": (GOOD + '"\\u001b[2J" = 1', r"key='\\x1b\[2J' is unknown"),
}


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED)
def test_a_file_is_refused_at_once_in_one_line(tmp_path, text, words):
    (tmp_path / "mine.toml").write_text(text)
    began = time.monotonic()
    with pytest.raises(ConfigError, match=words) as refusal:
        read_study(tmp_path / "mine.toml")
    assert time.monotonic() - began < 5
    line = str(refusal.value)
    assert len(line) < 1000 and "\n" not in line and "\x1b" not in line


@pytest.mark.skipif(os.name != "posix", reason="special files as POSIX has them")
@pytest.mark.parametrize("kind", ["pipe", "device", "directory", "sparse", "absent"])
def test_nothing_but_a_small_regular_file_is_read(tmp_path, kind):
    file = tmp_path / "mine.toml"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "directory":
        file.mkdir()
    elif kind == "sparse":
        file.touch()
        os.truncate(file, 20 * 2**30)
    with pytest.raises(ConfigError, match=r"cannot be read|larger than 1 MiB"):
        read_study(file)


@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_a_mark_in_front_is_no_part_of_the_text_and_other_codes_are_named(tmp_path, code):
    file = tmp_path / "mine.toml"
    file.write_bytes((GOOD + 'title = "Größe"\r\n').encode(code))
    if code.startswith("utf-8"):
        assert read_study(file).title == "Größe"
    else:
        with pytest.raises(ConfigError, match="save it as UTF-8"):
            read_study(file)


def study(*seeds):
    return Study("s", "title", (Part(("Pendulum-v1",), ("ppo",), seeds, 4096),))


@pytest.mark.parametrize("key", ["parts", "tasks", "methods", "seeds"])
def test_a_definition_that_asks_for_nothing_is_damaged(tmp_path, key):
    file = save_manifest(tmp_path, study(0)) / FILE
    text = file.read_text()
    begin = text.index(f'"{key}": [')
    end = text.rindex("]") if key == "parts" else text.index("]", begin)
    file.write_text(f'{text[:begin]}"{key}": [{text[end:]}')
    with pytest.raises(ConfigError, match="is damaged"):
        load_manifest(tmp_path, "s")


def test_eight_commands_at_once_lose_no_seed(tmp_path):
    code = """
import sys, time
from pathlib import Path
from robustpo.studies.manifest import save_manifest
from robustpo.studies.study import Part, Study
out, number = Path(sys.argv[1]), int(sys.argv[2])
print(flush=True)
while not (out.parent / "go").exists():
    time.sleep(0.001)
for seed in range(3 * number, 3 * number + 3):
    save_manifest(out, Study("s", "title", (Part(("Pendulum-v1",), ("ppo",), (seed,), 4096),)))
"""
    out = tmp_path / "out"
    commands = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(out), str(number)], stdout=subprocess.PIPE
        )
        for number in range(8)
    ]
    for command in commands:
        assert command.stdout is not None and command.stdout.readline()
    (tmp_path / "go").touch()
    assert [command.wait(timeout=60) for command in commands] == [0] * 8
    for command in commands:
        command.communicate()
    recorded = load_manifest(out, "s")
    assert recorded is not None
    seeds = sorted(seed for part in recorded.parts for seed in part.seeds)
    assert seeds == list(range(24))
    # No locks and no partial files.
    assert os.listdir(study_directory(out, "s")) == [FILE]


def test_a_refused_command_leaves_nothing_behind(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text(GOOD)
    command = ["study", "run", "s.toml", "--out", "out"]
    refused = [
        # Another command writes to the last of the runs.
        ([], "is being written by process"),
        (["--steps", "5"], "smaller than one rollout"),
        (["--workers", "0"], "workers=0"),
    ]
    last = read_study(tmp_path / "s.toml").configs()[-1]
    with RunLocks() as locks:
        locks.acquire([run_directory(tmp_path / "out", last)], tmp_path / "out")
        before = sorted(map(str, tmp_path.rglob("*")))
        for options, words in refused:
            assert main([*command, *options]) == 2
            assert words in capsys.readouterr().err
            assert sorted(map(str, tmp_path.rglob("*"))) == before
    assert os.listdir(tmp_path) == ["s.toml"]
    # Other steps than what has been asked for before.
    file = save_manifest(tmp_path / "out", read_study(tmp_path / "s.toml")) / FILE
    before = file.read_bytes()
    assert main([*command, "--steps", "4096"]) == 2
    assert "steps=100,000, now 4,096" in capsys.readouterr().err
    assert file.read_bytes() == before and os.listdir(tmp_path / "out") == ["studies"]
