"""Makes hostile files out of good ones: bytes, JSON values, and headers of safetensors."""

import copy
import json
import random
import struct
from typing import Any

# Values that a reader of JSON may trip over, each for a reason of its own.
HOSTILE: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**53 + 1,
    2**63,
    -(2**64),
    10**400,
    10**4000,
    0.5,
    1e308,
    -0.0,
    float("nan"),
    float("inf"),
    "",
    "0",
    "NaN",
    "\ud800",
    "zero\0byte",
    "line\nand \x1b[2J",
    "../../../etc/passwd",
    "os:system",
    "gymnasium/os:system",
    "Pendulum-v1",
    "x" * 5000,
    "𝄞" * 300,
    [],
    [[]],
    ["uniform"],
    list(range(1000)),
    {},
    {"": {}},
    {"__class__": "os.system", "seed": 0},
]


# Stand for values nested too deeply for Python to copy or to write.
DEEP = {f"@{depth} {kind}": (kind, depth) for depth in (50, 500, 900) for kind in ("[]", '{"a":}')}


def hostile(rng: random.Random) -> Any:
    """Return one value that is probably not expected."""
    return rng.choice(list(DEEP)) if rng.random() < 0.1 else copy.copy(rng.choice(HOSTILE))


def places(data: Any, before: tuple = ()) -> list[tuple]:
    """Return the path of every value in nested objects and lists."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(data, dict):
        pairs = list(data.items())
    elif isinstance(data, list):
        pairs = list(enumerate(data))
    found = [before]
    for key, value in pairs:
        found += places(value, (*before, key))
    return found


def mutate_data(data: Any, rng: random.Random) -> Any:
    """Return nested data with one value replaced, removed, renamed, added or moved."""
    data = copy.deepcopy(data)
    *path, last = rng.choice([place for place in places(data) if place] or [(None,)])
    if last is None:
        return hostile(rng)
    parent = data
    for key in path:
        parent = parent[key]
    action = rng.randrange(8)
    if action == 0 and isinstance(parent, dict):
        del parent[last]
    elif action == 1 and isinstance(parent, dict):
        parent[rng.choice(["", "seed", "task", "__init__", "A" * 300, "\ud800"])] = parent.pop(last)
    elif action == 2 and isinstance(parent, dict):
        parent[rng.choice(["extra", "self", "settings", "0"])] = hostile(rng)
    elif action == 3:
        *other, name = rng.choice([place for place in places(data) if place])
        source = data
        for key in other:
            source = source[key]
        parent[last] = copy.deepcopy(source[name])
    else:
        parent[last] = hostile(rng)
    return data


def to_json(data: Any, rng: random.Random) -> bytes:
    """Write JSON as somebody might who wants it to be read wrongly."""
    text = json.dumps(data, ensure_ascii=rng.random() < 0.8, indent=rng.choice([None, 2]))
    for name, (kind, depth) in DEEP.items():
        deep = kind[:-1] * depth + "0" + kind[-1] * depth
        text = text.replace(json.dumps(name), deep)
    form = rng.randrange(20)
    if form == 0 and text.startswith("{"):
        text = text[:-1].rstrip() + ', "identity": 0, "identity": {}}'
    elif form == 1:
        text += rng.choice([" ", "\n\n", "0", "}", "\0"])
    elif form == 2:
        return text.encode(rng.choice(["utf-16", "utf-8-sig", "utf-32-le"]), "surrogatepass")
    return text.encode("utf-8", "surrogatepass")


def mutate_bytes(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """Return bytes flipped, cut, doubled, spliced with another file's, or made of nothing."""
    action = rng.randrange(9)
    size = len(content)
    start = rng.randrange(size + 1)
    # Both a few bytes and most of the file.
    end = min(size, start + rng.choice([1, 2, 8, 64, size]))
    if action == 0:
        return content[:start]
    if action == 1:
        return content[:start] + content[end:]
    if action == 2:
        return content[:end] + content[start:]
    if action == 3:
        return content[:start] + rng.randbytes(rng.choice([1, 8, 100])) + content[start:]
    if action == 4:
        return content[:start] + other[rng.randrange(len(other) + 1) :]
    if action == 5 and rng.random() < 0.3:
        return rng.randbytes(rng.choice([0, 1, 7, 8, 9, 100, 1000]))
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 10]) if changed else 0):
        place = rng.randrange(size)
        if action == 6:
            changed[place] = rng.choice([0, 1, 127, 128, 255])
        elif action == 7:
            number = rng.choice([0, 1, -1, 2**31 - 1, 2**62, -(2**63)])
            changed[place : place + 8] = struct.pack("<q", number)
        else:
            changed[place] ^= 1 << rng.randrange(8)
    return bytes(changed)


def mutate_safetensors(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """Return a safetensors file with other bytes, another header, or another length of it."""
    action = rng.randrange(10)
    if action < 4:
        return mutate_bytes(content, other, rng)
    (length,) = struct.unpack_from("<Q", content)
    header, arrays = json.loads(content[8 : 8 + length]), content[8 + length :]
    if action == 4:
        wrong = rng.choice(
            [0, 1, length - 1, length + 1, 10**8, 2**31, 2**32 - 1, 2**63, 2**64 - 1]
        )
        return struct.pack("<Q", wrong) + content[8:]
    if action == 5:
        pairs = list(header.items())
        rng.shuffle(pairs)
        header = dict(pairs)
    elif action == 6:
        header = mutate_data(header, rng)
    else:
        name = rng.choice([name for name in header if name != "__metadata__"])
        part = rng.choice(["dtype", "shape", "data_offsets"])
        values = {
            "dtype": ["F32", "F64", "F16", "BF16", "I64", "U8", "BOOL", "C64", "F4", "f32", "", 32],
            "shape": [
                [],
                [0],
                [1],
                [-1],
                [2**62, 4],
                [2**32, 2**32],
                [0, 2**63],
                [1] * 70,
                [2**64],
            ],
            "data_offsets": [[], [0], [0, 0], [8, 4], [0, 2**40], [-4, 0], [0, 4, 8], [0, 2**64]],
        }
        header[name][part] = rng.choice(values[part])
    text = to_json(header, rng)
    text += b" " * (-len(text) % 8 if rng.random() < 0.9 else 0)
    return struct.pack("<Q", len(text)) + text + arrays
