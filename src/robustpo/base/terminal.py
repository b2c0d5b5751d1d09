"""What leaves the program for a terminal: text, and no signs that steer the terminal.

Names, titles and errors may come from a stranger's files. Whatever a command prints goes through
`clean_streams`; what rich draws, colours and all, goes through a console of `console.py`.
"""

from __future__ import annotations

import contextlib
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

# Line ends and tabs are text; so are all spaces, which are printable to Python only if plain.
_KEPT = frozenset("\n\t")


def clean(text: str) -> str:
    """Put a question mark in the place of every sign that is not seen but obeyed.

    These are control characters (escape sequences begin with one), marks that change the direction
    of writing, and what is no character at all.
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in _KEPT or unicodedata.category(sign) == "Zs" else "?"
        for sign in text
    )


class _CleanStream:
    """A text stream that takes clean text to another; everything else is the other's."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write clean text."""
        self.stream.write(clean(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write clean lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def clean_streams() -> Iterator[None]:
    """Clean what is written to standard output and standard error inside."""
    out, err = sys.stdout, sys.stderr
    # Standard streams can be closed, and are None then.
    sys.stdout, sys.stderr = (s and _CleanStream(plain_stream(s)) for s in (out, err))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err


def plain_stream(stream: Any) -> Any:
    """Return the stream behind one that `clean_streams` has put in its place."""
    return stream.stream if isinstance(stream, _CleanStream) else stream
