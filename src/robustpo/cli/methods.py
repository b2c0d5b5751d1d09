"""`robustpo methods`: what can be trained and compared, with where it is described."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import tyro

from robustpo.base.json_text import to_json
from robustpo.base.naming import slug
from robustpo.config.methods import METHODS

HINT = (
    "Any option of `robustpo train --help` may be added, for one method alone like this: "
    "rpo:noise=laplace,alpha=0.1; what would make another method of it is refused."
)


@dataclass(frozen=True)
class Methods:
    """List the methods: what each is, where it is described and what it sets."""

    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print a list of JSON objects."""

    def __call__(self) -> int:
        """Print the methods."""
        if self.json:
            found = [asdict(method) | {"fixed": method.fixed} for method in METHODS.values()]
            print(to_json(found, indent=2))
            return 0
        from rich.table import Table

        from robustpo.base.console import make_console

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("method", no_wrap=True)
        for column in ("what it is", "described in", "sets"):
            table.add_column(column)
        for method in METHODS.values():
            sets = " ".join(f"{_flag(k)} {_word(v)}" for k, v in method.overrides.items())
            table.add_row(method.name, method.summary, method.source, sets or "the defaults")
        console = make_console()
        console.print(table)
        console.print(f"\nSections and equations are the paper's (arXiv 2212.07536). {HINT}")
        return 0


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _word(value: Any) -> str:
    return str(value) if isinstance(value, float) else slug(value)
