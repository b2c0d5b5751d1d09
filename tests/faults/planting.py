"""Plants links, pipes and second names in a folder, as a stranger might who hands it on."""

import os
import random
from pathlib import Path

# What an attacker may know beforehand of the names that are written, by where they are.
PREDICTABLE = {
    "Pendulum-v1/*": (".seed-3.lock", ".seed-3.old-1", "seed-3"),
    "Pendulum-v1/*/seed-3": (
        *("checkpoint", "tensorboard", "result.json", "evaluations.jsonl", "policy.safetensors"),
        *("final.safetensors", ".config.json.partial", "metrics.jsonl", "metrics.safetensors"),
    ),
    "Pendulum-v1/*/seed-3/checkpoint": (
        *("step-000000000512.safetensors", "step-000000001024.safetensors"),
        ".step-000000000512.safetensors.partial",
    ),
    "studies/*": (
        "index.html",
        "return.png",
        "table.csv",
        ".table.csv.partial",
        ".study.json.lock",
    ),
    "studies": ("mine",),
}
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
    """Put something else in the place of one file or directory, there already or to come."""
    places = [path for path in sorted(root.rglob("*")) if not path.is_symlink()]
    if rng.random() < 0.7:
        places = [
            directory / name
            for pattern, names in PREDICTABLE.items()
            for directory in sorted(root.glob(pattern))
            if _is_real(directory, root)
            for name in names
        ] or places
    if not places:
        # All that was there is links by now.
        return
    place = rng.choice(places)
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


def _is_real(directory: Path, root: Path) -> bool:
    """Whether a directory below a root is one, and no link is on the way to it."""
    below = root.resolve() / directory.relative_to(root)
    return directory.is_dir() and directory.resolve() == below
