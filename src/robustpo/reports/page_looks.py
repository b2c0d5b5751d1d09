"""The colours and strokes of methods on a page, those of the figures, for light and for dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from robustpo.reports.style import PPO_COLOUR, RPO_COLOUR

# Okabe and Ito's palette in the order of the figures. On a dark page each is lightened until it
# stands out from the ground (contrast above 4.5); black becomes white.
_DARK = {
    "#009E73": "#2FC496",
    "#CC79A7": "#E093BE",
    "#E69F00": "#F2B632",
    "#56B4E9": "#A9DCFA",
    "#000000": "#F2F2F2",
    RPO_COLOUR: "#4C9EE8",
    PPO_COLOUR: "#F0803C",
}
_DASHES = ("", "7 3", "2 3")


@dataclass(frozen=True)
class MethodLook:
    """How a method is drawn: colours on light and dark ground, and SVG's stroke-dasharray."""

    light: str
    dark: str
    dash: str


def method_looks(ids: Sequence[str]) -> list[MethodLook]:
    """Give every method its look: PPO orange and RPO blue as in the figures, others in order."""
    named = {}
    for method, colour in (("ppo", PPO_COLOUR), ("rpo", RPO_COLOUR)):
        # The method as it is comes before the same with other settings, as in the figures.
        own = [name for name in ids if name.split("_")[0] == method]
        if own:
            named[method if method in own else own[0]] = colour
    palette = [colour for colour in _DARK if colour not in named.values()]
    looks = []
    others = 0
    for name in ids:
        colour, dash = named.get(name), ""
        if colour is None:
            colour = palette[others % len(palette)]
            dash = _DASHES[others // len(palette) % len(_DASHES)]
            others += 1
        looks.append(MethodLook(colour, _DARK[colour], dash))
    return looks


def colour_rules(ids: Sequence[str]) -> str:
    """Return the style sheet's variables `--method-0`, `--method-1`, … for these methods."""
    rules = [
        f"--method-{index}: light-dark({look.light}, {look.dark});"
        for index, look in enumerate(method_looks(ids))
    ]
    return f":root {{ {' '.join(rules)} }}\n"
