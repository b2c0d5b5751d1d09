"""What runs are judged by: their final return, or what their environments said of episodes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from robustpo.base.files import one_line
from robustpo.base.naming import short_hash
from robustpo.environments.information import is_name
from robustpo.errors import ConfigError
from robustpo.runs.store import End, LoadedRun, Said
from robustpo.training.information_log import PREFIX, RECENT_EPISODES

_LESS = ":min"


@dataclass(frozen=True)
class Quantity:
    """One number of each run that is done.

    Attributes:
        name: what the environments call it; empty for the return.
        less: whether less of it is better.
        proportion: whether it is 0 or 1 for every episode, and so a proportion for a run.
        episodes: that the number of a run is of, at least.
    """

    name: str = ""
    less: bool = False
    proportion: bool = False
    episodes: int = RECENT_EPISODES

    def of(self, end: End) -> float:
        """Return the number of a run, nan if it has none."""
        value = end.final_return
        if self.name:
            said = end.information.get(self.name)
            value = None if said is None else said.mean
        return math.nan if value is None else float(value)

    @property
    def noun(self) -> str:
        """What it is called: `final return`, or what the environments call it."""
        return self.name or "final return"

    @property
    def plural(self) -> str:
        """The same of several runs."""
        return self.name or "final returns"

    @property
    def file(self) -> str:
        """The same as part of a file's name, another one for every name."""
        plain = re.sub(r"[^A-Za-z0-9_.]+", "-", self.noun)[:40]
        whole = plain == self.noun and not self.less
        return plain if whole else f"{plain}-{short_hash(f'{self.name}{_LESS * self.less}')}"

    @property
    def key(self) -> str:
        """The name of its curves."""
        return f"{PREFIX}{self.name}" if self.name else "return"

    @property
    def sign(self) -> float:
        """1 where more is better, else -1."""
        return -1.0 if self.less else 1.0

    @property
    def rule(self) -> str:
        """Say what the number of a run is."""
        if not self.name:
            return "Final return: mean of the last 100 training episodes"
        share = "share of" if self.proportion else "mean over"
        better = "; less is better" if self.less else ""
        return (
            f"{self.name}: what the environment says at the end of an episode, {share} the last "
            f"100 training episodes that had it{better}"
        )


RETURN = Quantity()


def parse_quantity(text: str) -> Quantity:
    """Read what to judge by: a name from `info`, with `:min` behind it where less is better.

    Nothing stands for the return.

    Raises:
        ConfigError: if it is no name.
    """
    name = text.removesuffix(_LESS)
    if text and not is_name(name):
        raise ConfigError(
            f"judge_by={one_line(repr(text), 60)} is not valid; expected the name of a number in "
            f"info such as is_success, or distance{_LESS} where less is better"
        )
    return Quantity(name, less=text.endswith(_LESS))


def quantity_of(text: str, runs: Sequence[LoadedRun]) -> Quantity:
    """Return what runs are judged by, knowing what theirs is.

    Raises:
        ConfigError: if none of those that have ended says it, or it is text; what they say is
            named.
    """
    quantity = parse_quantity(text)
    if not quantity.name:
        return RETURN
    ended = [one.end.information for one in runs if one.end.information]
    said = [own[quantity.name] for own in ended if quantity.name in own]
    if ended and all(one.mean is None for one in said):
        why = "is text, which is no metric" if said else "is said by none of the runs"
        if any(not one.text for one in said):
            why = "is larger than any number that can be measured"
        others = _names(ended)
        there = f"they say {one_line(', '.join(others), 200)}" if others else "they say no number"
        raise ConfigError(f"judge_by={quantity.name!r} {why}; {there} at the end of an episode")
    if not ended and any(one.end.status == "completed" for one in runs):
        raise ConfigError(
            f"judge_by={quantity.name!r} is said by none of the runs: their environments put no "
            "number into info at the end of an episode"
        )
    known = [one for one in said if one.mean is not None]
    return replace(
        quantity,
        proportion=bool(known) and all(one.proportion for one in known),
        episodes=min((one.episodes for one in known), default=RECENT_EPISODES),
    )


def said_by(runs: Iterable[LoadedRun]) -> list[str]:
    """Return the columns of what environments said, in all runs together."""
    return list(
        dict.fromkeys(name for one in runs for name in one.metrics if name.startswith(PREFIX))
    )


def _names(ended: Sequence[Mapping[str, Said]]) -> list[str]:
    known = (name for own in ended for name, one in own.items() if one.mean is not None)
    return list(dict.fromkeys(known))
