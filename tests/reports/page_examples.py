"""Studies for the tests of the page, made up but of the size and shape of real ones."""

import math
import random
from collections.abc import Sequence
from typing import Any

from robustpo.reports.page_data import PageData, pack_line, run_address

STEPS = 8_000_000


def example_study(
    tasks: Sequence[tuple[str, str]],
    methods: Sequence[str],
    *,
    seeds: int = 5,
    points: int = 200,
) -> PageData:
    """Make a study up; `tasks` are (suite, id), the first method is the reference."""
    random_numbers = random.Random(0)
    suites = list(dict.fromkeys(suite for suite, _ in tasks))
    pairs = [(task, index, name) for _, task in tasks for index, name in enumerate(methods)]
    curves = [
        example_curve(task, name, i, seeds, points, random_numbers) for task, i, name in pairs
    ]
    return {
        "name": "table-3",
        "measure": {
            "noun": "final return",
            "title": "Final returns",
            "column": "return",
            "tests": "Welch's test, then of the permutation test",
            "reached": True,
        },
        "quantities": [
            {"name": "return", "title": "episodic return (training)", "digits": None},
            {"name": "entropy", "title": "policy entropy (nats)", "digits": 2},
        ],
        "title": "RPO against PPO on continuous control",
        "sentence": (
            f"Of {len(tasks)} tasks, {methods[-1]} could be shown to be above {methods[0]} on 2 "
            f"and below on none, by final return with Holm-adjusted Welch tests."
        ),
        "setup": f"8M steps, {seeds} seeds, time limit terminal",
        "worth": "What a verdict of few seeds is worth.",
        "notes": [],
        "command": "robustpo study table-3 --out runs/table-3",
        "provenance": {
            "generated": "2026-03-04 12:00 UTC",
            "versions": {"robustpo": "0.1.0", "jax": "0.10.2", "envpool": "1.2.5"},
            "machine": "2 cores, x86_64, Linux",
        },
        "methods": [
            {"id": name, "label": name, "reference": name == methods[0], "dash": ""}
            for name in methods
        ],
        "settings": [
            {"name": "alpha", "values": [str(0.5 * index) for index in range(len(methods))]},
            {"name": "learning_rate", "values": ["0.0003"] * len(methods)},
        ],
        "tasks": [{"id": task, "suite": suite, "digits": 0} for suite, task in tasks],
        "cells": [
            example_cell(task, name, methods[0], ends)
            for (task, _, name), (_, ends) in zip(pairs, curves, strict=True)
        ],
        "steps": [[STEPS * (point + 1) // points for point in range(points)]],
        "curves": [curve for curve, _ in curves],
        "suites": [example_suite(suite, tasks, methods, seeds) for suite in suites],
        "rules": [
            "Final return: the mean of the last 100 training episodes.",
            "Win: the Holm-adjusted p-value of Welch's t test is below 0.05, the mean is higher.",
            "Published: numbers of other people's runs, as they report them.",
        ],
    }


def example_curve(
    task: str, method: str, index: int, seeds: int, points: int, numbers: random.Random
) -> tuple[dict[str, Any], list[float]]:
    """Learn up to some return between 200 and 900 along a noisy exponential; say where it ends."""
    ceiling = numbers.uniform(200, 700) + 60 * index
    steps = [STEPS * (point + 1) // points for point in range(points)]
    returns, entropies = [], []
    for _ in range(seeds):
        own, speed = ceiling + numbers.gauss(0, 50), numbers.uniform(2, 6)
        returns.append(
            [own * (1 - math.exp(-speed * s / STEPS)) + numbers.gauss(0, 15) for s in steps]
        )
        end = -1.5 + 1.6 * index
        entropies.append([end + (8.5 - end) * math.exp(-3 * s / STEPS) for s in steps])
        entropies[-1] = [value + numbers.gauss(0, 0.05) for value in entropies[-1]]
    lines = {"return": example_lines(returns), "entropy": example_lines(entropies)}
    ends = [line[-1] for line in returns]
    return {"task": task, "method": method, "steps": 0, **lines}, ends


def example_lines(values: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return seeds, their mean and about its interval."""
    columns = list(zip(*values, strict=True))
    means = [sum(column) / len(column) for column in columns]
    spreads = [max(column) - min(column) for column in columns]
    low = [mean - 0.5 * spread for mean, spread in zip(means, spreads, strict=True)]
    high = [mean + 0.5 * spread for mean, spread in zip(means, spreads, strict=True)]
    return {
        "mean": pack_line(means),
        "low": pack_line(low),
        "high": pack_line(high),
        "seeds": [{"seed": seed, "values": pack_line(line)} for seed, line in enumerate(values)],
    }


def example_cell(task: str, method: str, reference: str, finals: list[float]) -> dict[str, Any]:
    """Return a cell of these final returns, with a made-up comparison."""
    mean = sum(finals) / len(finals)
    std = math.sqrt(sum((value - mean) ** 2 for value in finals) / max(1, len(finals) - 1))
    size = len(task) + 7 * len(method)
    verdicts = ("win", "tie", "loss")
    verdict = verdicts[size % 3] if len(finals) >= 5 else "none"
    gap = {"win": 140.0, "tie": 8.0, "loss": -120.0, "none": 30.0}[verdict]
    compared = method != reference
    published = [{"source": "paper, table 3", "mean": mean - 30, "std": std}]
    return {
        "task": task,
        "method": method,
        "seeds": len(finals),
        "left_out": "",
        "few": len(finals) < 5,
        "mean": mean,
        "std": std,
        "low": mean - 1.2 * std,
        "high": mean + 1.2 * std,
        "entropy": 1.5,
        "returns": [
            {"seed": seed, "value": value, "path": path, "address": run_address(path)}
            for seed, value in enumerate(finals)
            if (path := f"runs/{task}/{method}/seed-{seed}")
        ],
        "difference": {
            "mean": gap,
            "low": gap - 90,
            "high": gap + 90,
            "p": {"tie": 0.21, "none": None}.get(verdict, 0.004),
            "pText": {"tie": "p = 0.21", "none": ""}.get(verdict, "p = 0.004"),
            "permutation": {"tie": 0.22, "none": None}.get(verdict, 0.008),
            "permutationText": {"tie": "p = 0.22", "none": ""}.get(verdict, "p = 0.008"),
            "verdict": verdict,
        }
        if compared
        else None,
        "improvement": {"value": 0.5 + gap / 300, "low": 0.3 + gap / 400, "high": 0.6 + gap / 400}
        if compared
        else None,
        "statistics": [{"title": "mean return over training", "digits": None, "value": 0.8 * mean}],
        "reached": 3_200_000 if compared and verdict == "win" else None,
        "published": published if method in ("ppo", "rpo") else [],
        "command": f"robustpo train {task} --method {method} --seeds 0-{len(finals) - 1}",
    }


def example_suite(
    suite: str, tasks: Sequence[tuple[str, str]], methods: Sequence[str], seeds: int
) -> dict[str, Any]:
    """Return made-up aggregates of a suite in which later methods are better."""
    count = sum(one == suite for one, _ in tasks)
    tau = [point / 50 for point in range(51)]
    lines = []
    for index, method in enumerate(methods):
        value = [1 / (1 + math.exp(9 * (t - 0.42 - 0.09 * index))) for t in tau]
        lines.append(
            {
                "method": method,
                "value": pack_line(value),
                "low": pack_line([max(0.0, v - 0.06) for v in value]),
                "high": pack_line([min(1.0, v + 0.06) for v in value]),
            }
        )
    return {
        "suite": suite,
        "tasks": count,
        "scale": "Scores are returns divided by 1000, the greatest return of these tasks.",
        "rows": [
            {
                "method": method,
                "runs": seeds * count,
                "iqm": {"value": 0.42 + 0.09 * i, "low": 0.38 + 0.09 * i, "high": 0.47 + 0.09 * i},
                "mean": {"value": 0.44 + 0.08 * i, "low": 0.4 + 0.08 * i, "high": 0.48 + 0.08 * i},
                "gap": {"value": 0.56 - 0.08 * i, "low": 0.52 - 0.08 * i, "high": 0.6 - 0.08 * i},
                "improvement": {
                    "value": 0.5 + 0.1 * i,
                    "low": 0.42 + 0.1 * i,
                    "high": 0.6 + 0.1 * i,
                }
                if i
                else None,
                "wins": min(i, count),
                "ties": count - min(i, count) if i else 0,
                "losses": 0,
                "undecided": 0,
            }
            for i, method in enumerate(methods)
        ],
        "profile": {"tau": tau, "methods": lines},
    }
