"""Plants links, pipes and second names in a folder, as a stranger might who hands it on."""

import os
import random
from pathlib import Path

# What an attacker may know beforehand of the names that are written.
PREDICTABLE = (
    ".table.csv.partial",
    ".study.json.partial",
    ".study.json.lock",
    ".config.json.partial",
    ".seed-3.lock",
    ".seed-3.old-1",
    "checkpoint",
    "tensorboard",
    "result.json",
    "evaluations.jsonl",
    "policy.safetensors",
    "index.html",
    "return.png",
    "table.md",
)
KINDS = ("file", "directory", "dangling", "second name", "pipe", "loop", "up")


def make_home(home: Path) -> None:
    """Make what no command may change: files and directories with names like ours."""
    checkpoints = home / "checkpoint"
    checkpoints.mkdir(parents=True)
    for place in (home, checkpoints):
        for name in (".bashrc", "step-000000000512.safetensors", ".x.partial", "result.json"):
            (place / name).write_text(f"mine: {name}\n")
    (home / "empty").mkdir()


def contents(home: Path) -> dict[str, bytes | None]:
    """Return all that lies below a directory."""
    return {
        str(path.relative_to(home)): path.read_bytes() if path.is_file() else None
        for path in sorted(home.rglob("*"))
    }


def plant(root: Path, home: Path, rng: random.Random) -> None:
    """Put something else in the place of one file or directory below a root, or beside them."""
    there = [path for path in sorted(root.rglob("*")) if not path.is_symlink()]
    directories = [root, *(path for path in there if path.is_dir())]
    place = rng.choice(there) if rng.random() < 0.5 else None
    place = place or rng.choice(directories) / rng.choice(PREDICTABLE)
    if os.path.lexists(place):
        # Its parts stay somewhere, so that a link to them leads to a whole record.
        os.rename(place, root.parent / f"moved-{rng.getrandbits(64):x}")
    kind = rng.choice(KINDS)
    if kind == "second name":
        os.link(home / ".bashrc", place)
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        target = {
            "file": home / ".bashrc",
            "directory": rng.choice([home, home / "checkpoint", home / "empty"]),
            "dangling": home / "new",
            "loop": place,
            "up": root.parent,
        }[kind]
        place.symlink_to(target)
