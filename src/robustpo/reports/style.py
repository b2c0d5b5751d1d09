"""What all figures share: fonts, axes and the colours of PPO and RPO."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl

# Of the palette of Okabe and Ito, told apart with any of the common colour vision deficiencies.
PPO_COLOUR, RPO_COLOUR = "#D55E00", "#0072B2"

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


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the house's style, whatever the user's configuration is."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)  # pyright: ignore[reportCallIssue, reportArgumentType]
        yield
