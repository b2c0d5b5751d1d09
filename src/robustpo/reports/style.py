"""What all figures share: fonts, axes, files; and with pages, the colours of methods."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from robustpo.base.writing import write_atomically

# Of the palette of Okabe and Ito, told apart with any of the common colour vision deficiencies.
PPO_COLOUR, RPO_COLOUR = "#D55E00", "#0072B2"

# Okabe and Ito's palette without its yellow, which on white cannot be seen. On a dark page each is
# lightened until it stands out from the ground (contrast above 4.5); black becomes white.
_DARK = {
    "#009E73": "#2FC496",
    "#CC79A7": "#E093BE",
    "#E69F00": "#F2B632",
    "#56B4E9": "#A9DCFA",
    "#000000": "#F2F2F2",
    RPO_COLOUR: "#4C9EE8",
    PPO_COLOUR: "#F0803C",
}
_DASHES = ((), (7, 3), (2, 3))
_DPI = 150

STYLE = {
    "font.size": 11,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "svg.fonttype": "none",
    # Without a fixed salt the identifiers inside an SVG differ from one writing to the next.
    "svg.hashsalt": "robustpo",
}


@dataclass(frozen=True)
class MethodLook:
    """How a method is drawn: colours on light and dark ground, lengths of dashes and gaps."""

    light: str
    dark: str
    dash: tuple[int, ...]

    @property
    def line_style(self) -> object:
        """The stroke as Matplotlib has it."""
        return (0, self.dash) if self.dash else "-"


def method_looks(labels: Sequence[str]) -> list[MethodLook]:
    """Give every method its look: PPO orange and RPO blue wherever shown, others in order."""
    named = {}
    for method, colour in (("ppo", PPO_COLOUR), ("rpo", RPO_COLOUR)):
        # The method as it is comes before the same with other settings.
        own = [name for name in labels if name.split("_")[0] == method]
        if own:
            named[method if method in own else own[0]] = colour
    palette = [colour for colour in _DARK if colour not in named.values()]
    looks = []
    others = 0
    for name in labels:
        colour, dash = named.get(name), _DASHES[0]
        if colour is None:
            colour = palette[others % len(palette)]
            dash = _DASHES[others // len(palette) % len(_DASHES)]
            others += 1
        looks.append(MethodLook(colour, _DARK[colour], dash))
    return looks


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the house's style, whatever the user's configuration is."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)  # pyright: ignore[reportCallIssue, reportArgumentType]
        yield


def save_figure(figure: Figure, stem: Path, root: Path | None = None) -> list[Path]:
    """Write a figure as `<stem>` with `.png`, `.svg` and `.pdf`, without dates, versions, paths.

    Raises:
        ConfigError: if a directory below `root` is a link, as `write_atomically` has it.
        StorageError: if a file could not be written.
    """
    hidden = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in hidden]
    with house_style():
        for path, metadata in zip(paths, hidden.values(), strict=True):
            content = io.BytesIO()
            figure.savefig(content, dpi=_DPI, metadata=metadata, format=path.suffix[1:])
            write_atomically(path, content.getvalue(), root)
    return paths
