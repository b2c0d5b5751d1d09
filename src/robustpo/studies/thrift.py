"""Reads the descriptions in a Parquet file, of its table and of its pages, into dictionaries.

They are structures of Thrift's compact protocol; the numbers of fields are those of
`parquet.thrift` in apache/parquet-format. Nothing here is bounded by what a file states, only by
the bytes it has.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

MAX_DEPTH = 12

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


def read_structure(content: bytes, start: int, end: int) -> tuple[dict[int, Any], int]:
    """Read one structure.

    Args:
        content: bytes in which it lies.
        start: where it begins.
        end: where it ends at the latest.

    Returns:
        Its fields by their numbers: whole numbers, text as bytes, lists, and structures of the same
        kind, none of which may be changed; and where it ends.

    Raises:
        ValueError: if it is none, or goes on beyond `end`.
    """
    try:
        fields, length = _struct(content[start:end], 0, 0)
    except IndexError as error:
        raise ValueError("it ends too early") from error
    return fields, start + length


def read_page_header(content: bytes, start: int, end: int) -> tuple[dict[int, Any], int]:
    """Return what `read_structure` returns, sooner for the pages that polars writes for numbers."""
    match = _PAGE.match(content, start, end)
    if not match:
        return read_structure(content, start, end)
    unpacked, packed, values, encoding = map(_short, match.groups())
    described = {1: values, 2: encoding, 3: 3, 4: 3}
    return {1: 0, 2: unpacked, 3: packed, 5: described}, match.end()


def _struct(content: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """Read a structure of Thrift's compact protocol: whole numbers, text, lists and structures.

    What Parquet does not use, or two readers could understand in two ways, is an error. Short
    numbers, the most frequent, are read right here.

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
