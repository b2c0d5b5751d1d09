"""What reaches a terminal: text, and rich's own colours; nothing that a stranger means for it."""

import io
import sys
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from robustpo.base import console as console_module
from robustpo.base.console import make_console
from robustpo.base.terminal import clean, clean_streams, plain_stream

# ECMA-48's one-character forms, the longer ones, a hyperlink, a title, and marks of direction.
HOSTILE = (
    "a\x1b[2J\x9b31m\x1b]8;;http://x\x07link\x1b]0;title\x07\u202edcba\u2066\u200f\x85b\r\x08\0"
)


def steers(text):
    """Whether a text holds a sign that is not seen but obeyed, by Unicode's own tables."""
    return any(
        unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") and sign not in "\n\t"
        for sign in text
    )


def test_every_sign_that_steers_is_replaced_and_all_others_stay():
    assert steers(HOSTILE) and not steers(clean(HOSTILE))
    every = "".join(map(chr, range(0x3000)))
    assert not steers(clean(every))
    for sign in every:
        seen = unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp")
        assert clean(sign) == (sign if seen or sign in "\n\t" else "?"), hex(ord(sign))


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(text=st.text(alphabet=st.characters(), max_size=60))
def test_nothing_that_is_printed_or_drawn_steers(text):
    out, before = io.StringIO(), sys.stdout
    sys.stdout = out
    try:
        with clean_streams():
            print(text)
            sys.stdout.writelines([text])
            console = make_console()
            table = Table(title=text)
            table.add_column(text)
            table.add_row(text, Text(text))
            console.print(table)
            console.print(text, f"[bold]{text}[/bold] :smile: [link=http://x]y[/link]")
    finally:
        sys.stdout = before
    said = out.getvalue()
    assert not steers(said)
    if text.isalnum():
        assert said.startswith(f"{text}\n{text}")


def test_markup_of_a_stranger_is_text_and_rich_keeps_its_colours(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    with clean_streams():
        console = make_console()
    assert plain_stream(sys.stdout) is stream and console.file is stream
    terminal = console_module._CleanConsole(
        file=stream, force_terminal=True, highlight=False, markup=False, emoji=False, width=60
    )
    assert isinstance(terminal, Console)
    with Live(Text(f"table {HOSTILE}"), console=terminal, auto_refresh=False):
        terminal.print(Text(f"bold {HOSTILE}", style="bold"))
    terminal.print("[red]not red[/red] :smile:")
    said = stream.getvalue()
    assert "\x1b[1m" in said and "[red]not red[/red] :smile:" in said
    for part in ("\x1b[2J", "\x9b", "\x1b]", "\x07", "\u202e"):
        assert part not in said


def test_streams_are_put_back_and_closed_ones_stay_closed(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    before = sys.stdout
    with clean_streams():
        assert sys.stderr is None and sys.stdout is not before
        assert sys.stdout.encoding == before.encoding
        with clean_streams():
            assert plain_stream(sys.stdout) is before
    assert sys.stdout is before
