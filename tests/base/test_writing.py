"""Writing below a root: never through a link, never into a file that has a second name."""

import errno
import os

import pytest

from robustpo.base import writing
from robustpo.base.files import read_bytes
from robustpo.base.writing import (
    append_line,
    is_partial,
    make_directory,
    new_partial,
    remove_directories,
    remove_files,
    write_atomically,
)
from robustpo.errors import ConfigError, StorageError
from robustpo.runs.locks import RunLocks, is_locked

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and pipes as POSIX has them")


@pytest.fixture
def home(tmp_path):
    """What must stay as it is: a directory that is no part of any results."""
    home = tmp_path / "home"
    (home / "checkpoint").mkdir(parents=True)
    (home / ".bashrc").write_text("alias ll='ls -l'\n")
    (home / "checkpoint" / "step-000000000001.safetensors").write_text("mine")
    return home


@pytest.fixture(params=[True, False], ids=["descriptors", "names"])
def out(request, tmp_path, monkeypatch):
    """A folder of results; on a system that can open files below a directory, and on others."""
    monkeypatch.setattr(writing, "_HAS_DESCRIPTORS", request.param)
    out = tmp_path / "out"
    (out / "task").mkdir(parents=True)
    return out


def listing(place):
    return sorted((str(p), p.is_file() and p.read_text()) for p in place.rglob("*"))


def test_a_link_in_a_files_place_is_replaced_and_not_followed(home, out):
    before = listing(home)
    for name in ("dangling", ".bashrc"):
        file = out / "task" / "table.csv"
        file.unlink(missing_ok=True)
        file.symlink_to(home / name)
        # The name that earlier versions wrote to first.
        (out / "task" / ".table.csv.partial").unlink(missing_ok=True)
        (out / "task" / ".table.csv.partial").symlink_to(home / name)
        write_atomically(file, b"numbers", out)
        assert not file.is_symlink() and file.read_text() == "numbers"
    assert listing(home) == before
    assert sorted(os.listdir(out / "task")) == [".table.csv.partial", "table.csv"]


def test_no_directory_below_the_root_is_a_link(home, out):
    before = listing(home)
    (out / "linked").symlink_to(home, target_is_directory=True)
    for write in (
        lambda: write_atomically(out / "linked" / "a", b"", out),
        lambda: write_atomically(out / "linked" / "checkpoint" / "a", b"", out),
        lambda: write_atomically(out / "linked" / "a", b""),
        lambda: append_line(out / "linked" / ".bashrc", "x", out),
        lambda: make_directory(out / "linked" / "new", out),
    ):
        with pytest.raises(ConfigError, match=r"linked is a link, and robustpo writes through"):
            write()
    with pytest.raises(ConfigError, match="leaves"):
        make_directory(out / ".." / "home" / "new", out)
    remove_files(out / "linked" / "checkpoint", lambda name: True, out)
    remove_directories([out / "linked"])
    assert listing(home) == before


def test_the_root_itself_may_be_a_link(home, out):
    (home / "large").symlink_to(out, target_is_directory=True)
    root = home / "large"
    made = make_directory(root / "task" / "rpo" / "seed-0", root)
    assert made == [root / "task" / "rpo", root / "task" / "rpo" / "seed-0"]
    write_atomically(made[-1] / "a", b"text", root)
    write_atomically(root / "b", b"text", root)
    assert (out / "task" / "rpo" / "seed-0" / "a").read_text() == "text" == read_text(out / "b")


def read_text(path):
    return read_bytes(path, 100).decode()


@pytest.mark.parametrize("kind", ["link", "second name", "pipe", "directory"])
def test_only_a_plain_file_is_appended_to_or_locked(home, out, kind):
    before = listing(home)
    names = (out / "task" / "metrics.jsonl", out / "task" / ".seed-0.lock")
    for file in names:
        if kind == "link":
            file.symlink_to(home / ".bashrc")
        elif kind == "second name":
            os.link(home / ".bashrc", file)
        elif kind == "pipe":
            os.mkfifo(file)
        else:
            file.mkdir()
    with pytest.raises((ConfigError, StorageError)) as refusal:
        append_line(names[0], "x", out)
    assert str(names[0]) in str(refusal.value)
    with (
        pytest.raises((ConfigError, StorageError)) as refusal,
        RunLocks() as locks,
    ):
        locks.acquire([out / "task" / "seed-0"], out)
    assert str(names[1]) in str(refusal.value)
    assert not is_locked(out / "task" / "seed-0")
    assert listing(home) == before


def test_only_files_with_names_of_ours_are_deleted(out):
    place = out / "task"
    partial = f".result.json.{'0123456789abcdef'}.partial"
    for name in (partial, ".result.json.partial", "result.partial", ".bashrc", ".partial"):
        (place / name).write_text("")
    (place / ".directory.partial").mkdir()
    remove_files(place, is_partial, out)
    assert sorted(os.listdir(place)) == [
        ".bashrc",
        ".directory.partial",
        ".partial",
        "result.partial",
    ]


def test_a_partial_file_goes_when_writing_fails(out, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_atomically(out / "a", b"old", out)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"a could not be written \(No space left on device\)"):
        write_atomically(out / "a", b"new", out)
    assert read_text(out / "a") == "old" and sorted(os.listdir(out)) == ["a", "task"]


def test_a_file_for_another_program_has_a_name_of_its_own(out):
    one, other = new_partial(out / "film.mp4"), new_partial(out / "film.mp4")
    assert one != other and one.suffix == ".mp4" and one.exists() and other.exists()


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EACCES, "get the right to write there or choose another --out"),
        (errno.EPERM, "get the right to write there or choose another --out"),
        (errno.EROFS, "choose an --out that can be written"),
        (errno.ENAMETOOLONG, "choose a shorter name"),
        (errno.EIO, "mend that"),
    ],
)
def test_the_advice_follows_the_number_of_the_error(number, advice):
    text = str(StorageError("file", OSError(number, os.strerror(number))))
    assert advice in text and ("make room" in text) == (advice == "make room")


def test_locks_that_were_refused_leave_no_directories(out):
    with RunLocks() as first:
        first.acquire([out / "new" / "rpo" / "seed-0"], out)
        with pytest.raises(ConfigError, match="is being written"), RunLocks() as second:
            second.acquire([out / "other" / "seed-1", out / "new" / "rpo" / "seed-0"], out)
        assert sorted(os.listdir(out)) == ["new", "task"]
        assert is_locked(out / "new" / "rpo" / "seed-0")
    assert os.listdir(out) == ["task"]
