"""Measures a Parquet file before a library reads it.

Polars reserves what the headers of a file's pages ask for, whatever its statement of rows says:
122 bytes can make it reserve 2 GiB, and 136 bytes 8 GiB. So everything that decides about memory is
checked first: rows and values wherever they are stated, the unpacked size of every page, and the
encodings, of which only those are let through that robustpo's own files use. The numbers of fields
are those of `parquet.thrift` in apache/parquet-format.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from robustpo.studies.thrift import read_page_header, read_structure

MAX_FOOTER_BYTES = 2**18
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
    footer, _ = read_structure(content, end - length, end)
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
        page, position = read_page_header(content, position, last)
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
