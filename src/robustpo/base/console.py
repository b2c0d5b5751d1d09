"""What rich draws for a terminal: clean text, in rich's own colours."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from robustpo.base.terminal import clean, plain_stream


def make_console(*, stderr: bool = False) -> Console:
    """Return a console for standard output or standard error that draws clean text.

    Nothing in a text is taken for markup, an emoji or something to colour.
    """
    stream = plain_stream(sys.stderr if stderr else sys.stdout)
    return _CleanConsole(file=stream, highlight=False, markup=False, emoji=False)


class _CleanConsole(Console):
    """Cleans text once it has been laid out; rich adds what steers the terminal after that."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield clean segments; everything that is printed comes through here."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(clean(segment.text), segment.style)
