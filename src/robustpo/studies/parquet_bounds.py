"""Measures a Parquet file before a library reads it.

Polars reserves what the headers of a file's pages ask for, whatever its statement of rows says:
122 bytes can make it reserve 2 GiB, and 136 bytes 8 GiB. So everything that decides about memory is
checked first: rows and values wherever they are stated, the unpacked size of every page, and the
encodings, of which only those are let through that robustpo's own files use. The format is
`parquet.thrift` of apache/parquet-format in Thrift's compact protocol; the numbers of fields below
are its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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


def require_modest(content: bytes, max_rows: int, max_unpacked_bytes: int) -> None:
    """Let a file pass that states few rows everywhere and unpacks to little.

    Args:
        content: all of the file.
        max_rows: largest number of rows, and of values of a column.
        max_unpacked_bytes: largest size of all pages together, unpacked.

    Raises:
        ValueError: if it does not, or is no Parquet file.
    """
    length = int.from_bytes(content[-8:-4], "little")
    end = len(content) - 8
    if not content.startswith(MAGIC) or not content.endswith(MAGIC) or end - length < len(MAGIC):
        raise ValueError("it is no Parquet file")
    if length > MAX_FOOTER_BYTES:
        raise ValueError(f"its footer has {length} bytes")
    footer = _Reader(content, end - length, end).struct()
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
        reader = _Reader(content, position, last)
        page = reader.struct()
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
        position = reader.position + _number(page, 3, last - reader.position)


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


@dataclass
class _Reader:
    """Reads Thrift's compact protocol: whole numbers, text, lists and structures.

    What Parquet does not use, or two readers could understand in two ways, is an error.
    """

    content: bytes
    position: int
    end: int

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Return the fields of a structure by their numbers."""
        fields: dict[int, Any] = {}
        field = 0
        while (head := self._byte()) != 0:
            field = field + (head >> 4) if head >> 4 else self._whole()
            if field in fields or not 0 < field < 2**15:
                raise ValueError(f"field {field} is stated twice, or is none")
            kind = head & 15
            # The value of a field of true or false is in its kind.
            fields[field] = None if kind in (1, 2) else self._value(kind, depth + 1)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError("its structures are nested too deeply")
        if kind in (1, 2, 3):
            self._byte()
            return None
        if kind in (4, 5, 6):
            return self._whole()
        if kind == 7:
            return self._take(8)
        if kind == 8:
            return self._take(self._varint())
        if kind == 9:
            head = self._byte()
            count = self._varint() if head >> 4 == 15 else head >> 4
            return [self._value(head & 15, depth + 1) for _ in range(count)]
        if kind == 12:
            return self.struct(depth)
        raise ValueError(f"a value is of kind {kind}")

    def _take(self, count: int) -> bytes:
        start, self.position = self.position, self.position + count
        if self.position > self.end:
            raise ValueError("it ends too early")
        return self.content[start : self.position]

    def _byte(self) -> int:
        return self._take(1)[0]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number is too long")

    def _whole(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
