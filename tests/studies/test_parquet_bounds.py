"""Parquet files that ask a reader for more than they hold; made by hand, byte by byte."""

import gzip
import io
import re
import struct
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from robustpo.studies import thrift
from robustpo.studies.parquet_bounds import Extent, require_modest
from robustpo.studies.run_files import METRICS_SCHEMA, read_metrics

ROWS, BYTES = 10_000, 16 * 2**20
# Thrift's compact protocol: what a field holds.
WHOLE, TEXT, LIST, STRUCT = 6, 8, 9, 12
DATA, DICTIONARY = 0, 2
PLAIN, INDICES = 0, 8
RAW, GZIP = 0, 2


def varint(number):
    groups = [number >> shift & 127 for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(group | 128 for group in groups[:-1]), groups[-1]])


def whole(number):
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def encode(value):
    """Return the kind of a value and its bytes; a dictionary is a structure."""
    if isinstance(value, int):
        return WHOLE, whole(value)
    if isinstance(value, bytes):
        return TEXT, varint(len(value)) + value
    if isinstance(value, list):
        items = [encode(item) for item in value]
        return LIST, bytes([0xF0 | items[0][0]]) + varint(len(items)) + b"".join(
            content for _, content in items
        )
    fields = ((number, *encode(item)) for number, item in value.items())
    return STRUCT, b"".join(bytes([k]) + whole(n) + c for n, k, c in fields) + b"\0"


def page(kind, content, count, encoding, unpacked=None, packed=None):
    packed = content if packed is None else packed
    size = len(content) if unpacked is None else unpacked
    described = {5: {1: count, 2: encoding, 3: 3, 4: 3}} if kind == DATA else {7: {1: count, 2: 0}}
    return encode({1: kind, 2: size, 3: len(packed)} | described)[1] + packed


def parquet(pages, rows, *, group_rows=None, values=None, codec=RAW, changes=None):
    """Make a file of one column `step`; `changes` are made to what the footer says of it."""
    content = b"PAR1" + b"".join(pages)
    data = {
        1: 2,
        2: [PLAIN, INDICES],
        3: [b"step"],
        4: codec,
        5: rows if values is None else values,
    }
    data |= {6: 100, 7: len(content) - 4, 9: 4 + sum(map(len, pages[:-1]))}
    data |= {11: 4} if len(pages) > 1 else {}
    column = {2: 4, 3: data | (changes or {})}
    group = {1: [column], 2: 100, 3: rows if group_rows is None else group_rows}
    schema = [{4: b"root", 5: 1}, {1: 2, 3: 0, 4: b"step"}]
    footer = encode({1: 1, 2: schema, 3: rows, 4: [group]})[1]
    return content + footer + struct.pack("<I", len(footer)) + b"PAR1"


THREE = struct.pack("<3q", 5, 6, 7)
HUGE, LARGE = 2**30, 2**27


def run_of(count):
    """`count` times the first value of a dictionary, in a few bytes."""
    return b"\1" + varint(count << 1) + b"\0"


def dictionary():
    return page(DICTIONARY, struct.pack("<q", 7), 1, PLAIN)


def bombs():
    """Return small files by what is wrong with them: stated sizes of GiB, true ones of 128 MiB."""
    zeros, packed = gzip.compress(bytes(LARGE), 9), gzip.compress(run_of(3))
    large_page = page(DATA, b"", 3, PLAIN, unpacked=LARGE, packed=zeros)
    large_dictionary = page(DICTIONARY, b"", LARGE // 8, PLAIN, unpacked=LARGE, packed=zeros)
    few, many = page(DATA, run_of(3), 3, INDICES, packed=packed), page(DATA, run_of(HUGE), HUGE, 8)
    text = io.BytesIO()
    pl.DataFrame({"step": [1], "entropy": ["0" * LARGE]}).write_parquet(text)
    return {
        "a page that says it unpacks to 2 GiB": parquet(
            [page(DATA, THREE, 3, PLAIN, unpacked=2**31 - 1)], 3, codec=GZIP
        ),
        "a page that unpacks to much": parquet([large_page], 3, codec=GZIP),
        "a dictionary that unpacks to much": parquet([large_dictionary, few], 3, codec=GZIP),
        "many rows": parquet([dictionary(), many], HUGE),
        "a group of many rows": parquet([dictionary(), many], 3, group_rows=HUGE, values=HUGE),
        "a column of many values": parquet([dictionary(), many], 3, values=HUGE),
        "one long text": text.getvalue(),
    }


def test_files_made_by_hand_are_files(tmp_path):
    # What follows is worth nothing unless the same hand can make a file that is read.
    plain = parquet([page(DATA, THREE, 3, PLAIN)], 3)
    packed = parquet([page(DATA, THREE, 3, PLAIN, packed=gzip.compress(THREE))], 3, codec=GZIP)
    for content in (plain, packed):
        (tmp_path / "metrics.parquet").write_bytes(content)
        assert read_metrics(tmp_path)["step"].to_list() == [5, 6, 7]
    repeated = parquet([dictionary(), page(DATA, run_of(9), 9, INDICES)], 9)
    require_modest(repeated, ROWS, BYTES)
    assert pl.read_parquet(io.BytesIO(repeated))["step"].to_list() == [7] * 9


def test_bombs_take_no_memory(tmp_path):
    for name, content in bombs().items():
        assert len(content) < 150_000
        with pytest.raises(ValueError, match=r"expected 0 to|unpacks to"):
            require_modest(content, ROWS, BYTES)
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.parquet").write_bytes(content)
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from robustpo.studies.run_files import read_metrics\n"
        "read_metrics(Path('nowhere'))\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = peak()\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    assert read_metrics(path).is_empty(), path\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 50  # MiB
    assert done.stderr.count("cannot be read") == 7


def test_what_robustpo_writes_passes(tmp_path):
    rows = {
        name: [1] * ROWS if dtype == pl.Int64 else [0.5, None] * (ROWS // 2)
        for name, dtype in METRICS_SCHEMA.items()
    }
    for count in (0, 1, 500, ROWS):
        frame = pl.DataFrame(rows, schema=METRICS_SCHEMA).head(count)
        content = io.BytesIO()
        frame.with_columns(step=pl.int_range(pl.len())).write_parquet(content)
        require_modest(content.getvalue(), ROWS, BYTES)
    frame = pl.DataFrame({"step": range(ROWS + 1)})
    frame.write_parquet(tmp_path / "metrics.parquet")
    with pytest.raises(ValueError, match="10001, expected 0 to 10000"):
        require_modest((tmp_path / "metrics.parquet").read_bytes(), ROWS, BYTES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({7: 10**9}, "expected 0 to"),
        ({7: -1}, "expected 0 to"),
        ({9: 0}, "outside of the file"),
        ({9: 2**62}, "expected 0 to"),
        ({11: -4}, "expected 0 to"),
        ({11: b"4"}, "expected 0 to"),
        ({5: 10_001}, "expected 0 to"),
    ],
    ids=str,
)
def test_columns_outside_of_the_file_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        require_modest(parquet([page(DATA, THREE, 3, PLAIN)], 3, changes=changes), ROWS, BYTES)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (page(DATA, THREE, 3, 5), "encoding 5|expected 0 to 8"),  # DELTA_BINARY_PACKED
        (page(DATA, THREE, 3, 7), "encoding 7"),  # DELTA_BYTE_ARRAY
        (page(1, THREE, 3, PLAIN), "kind 1"),  # an index
        (encode({1: DATA, 2: 24, 3: 24})[1] + THREE, "does not describe"),
        (b"\x18", "ends too early"),
        (b"\x11" * 9, "ends too early"),
        (b"\x15\0\x05\2\0\0", "stated twice"),
        (b"\x19" * 30, "nested too deeply"),
        (b"\x1b" * 30, "of kind 11"),
        (b"\x16" + b"\xff" * 30, "too long"),
    ],
)
def test_pages_that_are_not_ours_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        require_modest(parquet([bad], 3), ROWS, BYTES)


def test_pages_without_end_are_refused_in_time():
    # Each takes 10 bytes or so and unpacks to nothing.
    many = page(DATA, b"", 0, PLAIN) * 20_000
    with pytest.raises(ValueError, match="10001 pages"):
        require_modest(parquet([many], 3), ROWS, BYTES)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"PAR1\xff\xff\xff\xffPAR1"])
def test_what_is_no_parquet_is_refused(content):
    with pytest.raises(ValueError, match="no Parquet"):
        require_modest(content, ROWS, BYTES)


def test_shortcuts_change_no_answer(monkeypatch):
    rng = np.random.default_rng(0)
    columns = {
        name: np.arange(300) if kind == pl.Int64() else rng.normal(size=300).round(rng.integers(9))
        for name, kind in METRICS_SCHEMA.items()
    }
    file = io.BytesIO()
    pl.DataFrame(columns, schema=METRICS_SCHEMA).write_parquet(file, statistics=False)
    whole_file = file.getvalue()
    length = int.from_bytes(whole_file[-8:-4], "little")
    footer = range(len(whole_file) - 8 - length, len(whole_file) - 8)
    headers = [match.span() for match in thrift._PAGE.finditer(whole_file)]
    assert len(headers) == len(thrift._COLUMN.findall(whole_file)) == len(METRICS_SCHEMA)
    places = np.concatenate([footer, *(np.arange(*span) for span in headers)])

    def answers(contents):
        for content in contents:
            try:
                yield require_modest(content, ROWS, BYTES)
            except ValueError as error:
                yield str(error)

    changed = [whole_file]
    for place in rng.choice(places, 5_000):
        content = bytearray(whole_file)
        content[place] = rng.choice([content[place] ^ 1 << rng.integers(8), rng.integers(256)])
        changed.append(bytes(content))
    quick = list(answers(changed))
    monkeypatch.setattr(thrift, "_ALIKE", ())
    for name in ("_PAGE", "_COLUMN"):
        monkeypatch.setattr(thrift, name, re.compile(b"(?!)"))
    assert quick == list(answers(changed))
    # Both kinds of answer occur, for more than one reason.
    assert len({answer for answer in quick if isinstance(answer, str)}) > 20
    assert sum(isinstance(answer, Extent) for answer in quick) > 100
