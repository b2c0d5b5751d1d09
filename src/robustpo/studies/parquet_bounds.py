"""Measures a Parquet file before a library reads it.

Polars reserves what the headers of a file's pages ask for, whatever its statement of rows says:
122 bytes can make it reserve 2 GiB, and 136 bytes 8 GiB. So everything that decides about memory is
checked first: rows and values wherever they are stated, the unpacked size of every page, and the
encodings, of which only those are let through that robustpo's own files use. The format is
`parquet.thrift` of apache/parquet-format in Thrift's compact protocol; the numbers of fields below
are its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

MAX_FOOTER_BYTES = 2**18
MAX_DEPTH = 12
MAX_PAGES = 10_000
MAGIC = b"PAR1"
DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = 0, 2, 3
# For each kind of page: the field that describes its values, the encodings' field in it, and those
# that polars writes for numbers (plain, two names for indices of a dictionary, run lengths).
PAGES = {
    DATA_PAGE: (5, 2, {0, 2, 3, 8}),
    DICTIONARY_PAGE: (7, 2, {0, 2}),
    DATA_PAGE_V2: (8, 4, {0, 2, 3, 8}),
}

# A study has thousands of files with hundreds of numbers each, so there are three shortcuts to what
# the parser returns. One: the lists of a footer that are the same in all files of a program (the
# schema, the writer's own words, the order of each column); of each, the last bytes and what they
# say are kept.
_ALIKE = (2, 5, 7)
_seen: dict[int, tuple[bytes, Any]] = {}
# Two: the header of a data page of numbers. Its sizes unpacked and packed, number of values,
# encoding.
_NUMBER = rb"([\x80-\xff]{0,4}[\x00-\x7f])"
_PAGE = re.compile(
    rb"\x15\x00\x15N\x15N\x2c\x15N\x15N\x15\x06\x15\x06\x00\x00".replace(b"N", _NUMBER)
)
# Three: a column of numbers in the footer. Its place, physical type, encodings, length of the name,
# name, codec, number of values, sizes unpacked and packed, places of its data and dictionary, place
# and length of its index.
_COLUMN = re.compile(
    rb"\x26N\x1c\x15N\x19(\x15[\x00-\x7f]|\x25[\x00-\x7f]{2}|\x35[\x00-\x7f]{3})"
    rb"\x19\x18([\x00-\x7f])([a-z_]+)\x15N\x16N\x16N\x16N\x26N(?:\x26N)?\x00\x16N\x15N\x00".replace(
        b"N", _NUMBER
    )
)
# How deep in the footer those columns are listed.
_COLUMNS_DEPTH = 3


@dataclass(frozen=True)
class Extent:
    """What a Parquet file says of its table.

    Attributes:
        rows: number of rows.
        columns: name and physical type of each column, by the format's numbers.
    """

    rows: int
    columns: tuple[tuple[Any, Any], ...]


def require_modest(content: bytes, max_rows: int, max_unpacked_bytes: int) -> Extent:
    """Let a file pass that states few rows everywhere and unpacks to little.

    Args:
        content: all of the file.
        max_rows: largest number of rows, and of values of a column.
        max_unpacked_bytes: largest size of all pages together, unpacked.

    Returns:
        What the file says of its table.

    Raises:
        ValueError: if it does not, or is no Parquet file.
    """
    length = int.from_bytes(content[-8:-4], "little")
    end = len(content) - 8
    if not content.startswith(MAGIC) or not content.endswith(MAGIC) or end - length < len(MAGIC):
        raise ValueError("it is no Parquet file")
    if length > MAX_FOOTER_BYTES:
        raise ValueError(f"its footer has {length} bytes")
    footer, _ = _read(content, end - length, end)
    groups = _structs(footer, 4)
    rows = sum(_number(group, 3, max_rows) for group in groups)
    if rows != _number(footer, 3, max_rows):
        raise ValueError("its numbers of rows differ")
    pages = unpacked = 0
    for column in (column for group in groups for column in _structs(group, 1)):
        for size in _page_sizes(content, column, end - length, max_rows):
            pages, unpacked = pages + 1, unpacked + size
            if pages > MAX_PAGES or unpacked > max_unpacked_bytes:
                raise ValueError(f"it unpacks to {pages} pages or more, of {unpacked} bytes")
    return Extent(rows, tuple((column.get(4), column.get(1)) for column in _structs(footer, 2)[1:]))


def _page_sizes(content: bytes, column: dict[int, Any], end: int, max_rows: int) -> Iterator[int]:
    """Walk the pages of one column in one group of rows; yield their unpacked sizes."""
    # 1: the column is in another file; 8 and 9: it is encrypted.
    data = column.get(3)
    if not isinstance(data, dict) or column.keys() & {1, 8, 9}:
        raise ValueError("a column is not described as in our files")
    _number(data, 5, max_rows)
    position = _number(data, 11 if 11 in data else 9, end)
    last = position + _number(data, 7, end)
    if position < len(MAGIC) or last > end:
        raise ValueError("a column lies outside of the file")
    while position < last:
        page, position = _page(content, position, last)
        kind = _number(page, 1, max(PAGES))
        if kind not in PAGES:
            raise ValueError(f"a page is of kind {kind}")
        values, encoding, encodings = PAGES[kind]
        described = page.get(values)
        if not isinstance(described, dict):
            raise ValueError("a page does not describe its values")
        _number(described, 1, max_rows)
        if _number(described, encoding, max(encodings)) not in encodings:
            raise ValueError(f"a page has encoding {described[encoding]}")
        yield _number(page, 2, 2**31)
        position += _number(page, 3, last - position)


def _number(found: dict[int, Any], field: int, largest: int) -> int:
    value = found.get(field)
    if not isinstance(value, int) or not 0 <= value <= largest:
        raise ValueError(f"a number is {value!r}, expected 0 to {largest}")
    return value


def _structs(found: dict[int, Any], field: int) -> list[dict[int, Any]]:
    value = found.get(field)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"field {field} is no list of structures")
    return value


def _read(content: bytes, start: int, end: int) -> tuple[dict[int, Any], int]:
    """Return the fields of the structure that begins at `start`, and where it ends."""
    try:
        fields, length = _struct(content[start:end], 0, 0)
    except IndexError as error:
        raise ValueError("it ends too early") from error
    return fields, start + length


def _struct(content: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """Read a structure of Thrift's compact protocol: whole numbers, text, lists and structures.

    What Parquet does not use, or two readers could understand in two ways, is an error. A study has
    thousands of files with hundreds of numbers each, so the short ones are read right here.

    Returns:
        The fields by their numbers, and where the structure ends.

    Raises:
        IndexError: if it goes on beyond the content.
    """
    fields: dict[int, Any] = {}
    field = 0
    while head := content[at]:
        at += 1
        if head > 15:
            # A step onwards, so that no field comes twice.
            field += head >> 4
        else:
            before = field
            field, at = _whole(content, at)
            if not before < field < 2**15:
                raise ValueError(f"field {field} is stated twice, out of order, or is none")
        kind = head & 15
        if kind == 6 or kind == 5:
            number = content[at]
            at += 1
            if number > 127:
                second = content[at]
                if second < 128:
                    number, at = number & 127 | second << 7, at + 1
                else:
                    number, at = _varint(content, at - 1)
            fields[field] = (number >> 1) ^ -(number & 1)
        elif kind == 12 and depth < MAX_DEPTH:
            fields[field], at = _struct(content, at, depth + 1)
        elif kind == 1 or kind == 2:
            # The value of a field of true or false is in its kind.
            fields[field] = None
        elif depth == 0 and kind == 9 and field in _ALIKE:
            fields[field], at = _seen_list(content, at, field)
        else:
            fields[field], at = _value(content, at, kind, depth + 1)
    return fields, at + 1


def _seen_list(content: bytes, at: int, field: int) -> tuple[Any, int]:
    """Return what `_value` returns. What bytes say does not depend on those that follow them."""
    if field in _seen:
        known, value = _seen[field]
        if content.startswith(known, at):
            return value, at + len(known)
    value, end = _value(content, at, 9, 1)
    _seen[field] = content[at:end], value
    return value, end


def _page(content: bytes, start: int, end: int) -> tuple[dict[int, Any], int]:
    """Return what `_read` returns, sooner for the pages that polars writes for numbers."""
    match = _PAGE.match(content, start, end)
    if not match:
        return _read(content, start, end)
    unpacked, packed, values, encoding = map(_short, match.groups())
    described = {1: values, 2: encoding, 3: 3, 4: 3}
    return {1: DATA_PAGE, 2: unpacked, 3: packed, 5: described}, match.end()


def _column(content: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """Return what `_struct` returns, sooner for the columns that polars writes for numbers."""
    match = _COLUMN.match(content, at)
    if not match or match[4][0] != len(match[5]):
        return _struct(content, at, depth)
    place, kind, encodings, _, name, codec, values, *sizes, dictionary, index, length = (
        match.groups()
    )
    described = {
        1: _short(kind),
        2: _list(encodings),
        3: [name],
        4: _short(codec),
        5: _short(values),
        6: _short(sizes[0]),
        7: _short(sizes[1]),
        9: _short(sizes[2]),
    }
    if dictionary is not None:
        described[11] = _short(dictionary)
    return {2: _short(place), 3: described, 4: _short(index), 5: _short(length)}, match.end()


@lru_cache(2**14)
def _short(number: bytes) -> int:
    return _whole(number, 0)[0]


@lru_cache(2**10)
def _list(items: bytes) -> Any:
    return _value(items, 0, 9, 1)[0]


def _value(content: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if depth > MAX_DEPTH:
        raise ValueError("its structures are nested too deeply")
    if kind == 8:
        size, at = _varint(content, at)
        return _take(content, at, size)
    if kind == 9:
        head, at = content[at], at + 1
        count, kind = head >> 4, head & 15
        if count == 15:
            count, at = _varint(content, at)
        items = []
        for _ in range(count):
            if kind == 12 and depth == _COLUMNS_DEPTH:
                item, at = _column(content, at, depth + 1)
            else:
                item, at = _value(content, at, kind, depth + 1)
            items.append(item)
        return items, at
    if kind == 12:
        return _struct(content, at, depth)
    if kind in (4, 5, 6):
        return _whole(content, at)
    if kind in (1, 2, 3):
        return None, _take(content, at, 1)[1]
    if kind == 7:
        return _take(content, at, 8)
    raise ValueError(f"a value is of kind {kind}")


def _take(content: bytes, at: int, count: int) -> tuple[bytes, int]:
    if at + count > len(content):
        raise IndexError(at + count)
    return content[at : at + count], at + count


def _whole(content: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(content, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number is too long")
