"""What people type who come from other programs, and what it is called here."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Iterable
from typing import Any

# Stable-Baselines3, CleanRL, skrl, rsl_rl and rl_games, with dashes.
OPTIONS = {
    "steps": "timesteps total-timesteps num-timesteps total-steps num-total-steps max-steps",
    "seeds": "seed",
    "method": "methods algo algorithm agent",
    "methods": "method algos algorithms",
    "out": "output output-dir out-dir log-dir logdir save-dir run-dir",
    "workers": "jobs n-jobs num-workers processes",
    "init-policy": "checkpoint load-path pretrained",
    "alpha": "rpo-alpha",
    "learning-rate": "lr step-size",
    "learning-rates": "lrs",
    "learning-rate-schedule": "anneal-lr lr-schedule learning-rate-scheduler schedule",
    "entropy-coef": "ent-coef entropy-loss-scale entropy-coefficient",
    "value-coef": "vf-coef value-loss-scale value-loss-coef critic-coef",
    "clip-coef": "clip-range clip-param ratio-clip e-clip epsilon",
    "clip-value-loss": "clip-vloss clip-range-vf use-clipped-value-loss clip-value",
    "normalize-advantages": "norm-adv normalize-advantage",
    "normalize-observations": "norm-obs normalize-obs normalize-input",
    "normalize-rewards": "norm-reward normalize-reward",
    "gae-lambda": "lam lambda tau",
    "gamma": "discount discount-factor",
    "kl-target": "desired-kl kl-threshold",
    "max-grad-norm": "grad-norm-clip grad-norm",
    "update-epochs": "n-epochs epochs learning-epochs num-learning-epochs mini-epochs",
    "num-envs": "n-envs envs num-actors",
    "num-steps": "n-steps rollouts num-steps-per-env horizon-length rollout-length",
    "num-minibatches": "mini-batches num-mini-batches batch-size minibatch-size",
    "hidden-sizes": "net-arch hidden-dims units layers",
    "env-kwargs": "env-args environment-kwargs",
}
COMMANDS = {
    "train": "run learn fit",
    "compare": "bench benchmark",
    "tune": "sweep optimize optimise hpo search",
    "evaluate": "eval test",
    "record": "video film play enjoy render",
    "envs": "env tasks environments list",
    "doctor": "check info version",
}
_TASK = ("env", "env-id", "task", "environment", "env-name")


def meant_option(typed: str, taken: Collection[str]) -> str:
    """Say which option was meant, as the end of a sentence; empty if nothing is like it.

    Args:
        typed: the option as it was typed, such as `--lr`.
        taken: names that the command takes, with underscores.
    """
    word = typed.lstrip("-").partition("=")[0].replace("_", "-").lower()
    known = [name.replace("_", "-") for name in taken]
    for name, others in OPTIONS.items():
        if name in known and word in others.split():
            return f"; did you mean --{name}?"
    if word in _TASK and "task" in known:
        return "; the task stands alone, after the command"
    like = difflib.get_close_matches(word, known, 1)
    return f"; did you mean --{like[0]}?" if like else ""


def meant_command(typed: str, commands: Iterable[str]) -> str:
    """Say which command was meant, as the end of a sentence."""
    for name, others in COMMANDS.items():
        if typed in others.split():
            return f"; did you mean {name}?"
    like = difflib.get_close_matches(typed, list(commands), 1)
    return f"; did you mean {like[0]}?" if like else f"; choose {' or '.join(commands)}"


def option_fields(command: Any) -> list[dataclasses.Field[Any]]:
    """Return the fields of a command, and of its groups of options in the place of these."""
    found = []
    for declared in dataclasses.fields(command):
        group = declared.default_factory
        found += option_fields(group) if dataclasses.is_dataclass(group) else [declared]
    return found
