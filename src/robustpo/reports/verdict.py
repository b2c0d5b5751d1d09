"""What a comparison says in words: the sentence that is read first, and what it is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from robustpo.reports.decision import Decision
from robustpo.reports.formats import format_p, format_value, join_words
from robustpo.statistics.means import coverage_of_two_outcomes

ENOUGH_SEEDS = 10
_SOLVED = 0.7


def task_sentence(
    task: str, decisions: Sequence[Decision], labels: Mapping[str, str], digits: int
) -> str:
    """Say what is decided on one task, without how it was run.

    Args:
        task: its id.
        decisions: on every variant against the reference, in order.
        labels: of the variants.
        digits: decimals that returns are written with.
    """
    if not decisions:
        return (
            f"On {task}, no verdict: {join_words(list(labels.values()))} alone, nothing to compare."
        )
    judged = [one for one in decisions if one.outcome != "none"]
    undecided = [one for one in decisions if one.outcome == "none"]
    if len(decisions) == 1 or not judged:
        parts = [_one(one, labels, digits) for one in decisions]
    elif len(judged) == 1:
        parts = [_one(judged[0], labels, digits), *(_without(one, labels) for one in undecided)]
    else:
        parts = [_groups(judged, labels), *(_without(one, labels) for one in undecided)]
    text = f"On {task}, {'; '.join(parts)}."
    return text + (_best(judged, labels, digits) if len(judged) > 1 else "")


def suite_sentence(
    decisions: Sequence[Decision],
    variants: Mapping[str, int],
    reference: str,
    labels: Mapping[str, str],
) -> str:
    """Say of each variant what is decided on several tasks, without how they were run.

    Args:
        decisions: of all variants on all tasks; a task without one has no verdict.
        variants: those that are compared with the reference, in order, and on how many tasks.
        reference: that one.
        labels: of the variants.
    """
    if not variants:
        return f"{labels[reference]} alone: nothing to compare."
    parts, alike = [], {}
    for variant, tasks in variants.items():
        own = [one for one in decisions if one.variant == variant]
        ties = [one for one in own if one.outcome == "tie"]
        if len(ties) == tasks:
            alike[variant] = (tasks, sum(one.difference.mean > 0 for one in ties))
        else:
            parts.append(_over_tasks(labels[variant], labels[reference], own, tasks))
    parts += _not_told_apart(alike, labels[reference], labels)
    text = "; ".join(parts)
    # The name of a method is written as it is, at the beginning of a sentence too.
    return f"{f'N{text[1:]}' if text.startswith('no ') else text}."


def _not_told_apart(
    alike: Mapping[str, tuple[int, int]], reference: str, labels: Mapping[str, str]
) -> list[str]:
    """Name variants that are told from the reference on no task: of how many, on how many above."""
    parts = []
    for count in dict.fromkeys(tasks for tasks, _ in alike.values()):
        names = [labels[variant] for variant, (tasks, _) in alike.items() if tasks == count]
        higher = [str(above) for tasks, above in alike.values() if tasks == count]
        text = f"no difference between {reference} and {join_words(names, 'or')} shown on "
        text += f"{_tasks(count)}; "
        text += f"{names[0]}'s mean is" if len(names) == 1 else "their means are"
        parts.append(f"{text} higher on {join_words(higher)}")
    return parts


def worth(decisions: Sequence[Decision]) -> str:
    """Say what verdicts of so few seeds are worth; nothing where none is of few.

    Args:
        decisions: all of a study.
    """
    judged = [one for one in decisions if one.outcome != "none"]
    seeds = min((min(one.seeds, one.reference_seeds) for one in judged), default=ENOUGH_SEEDS)
    if seeds >= ENOUGH_SEEDS:
        return ""
    least = format_p(2 / math.comb(2 * seeds, seeds)).removeprefix("p ").removeprefix("= ")
    if judged[0].quantity.proportion:
        return (
            f"What a verdict of {seeds} seeds is worth: with {seeds} runs against {seeds} the "
            f"permutation test's p is at least {least}. Where no difference is shown there may be "
            f"one: {ENOUGH_SEEDS} seeds or more show smaller ones."
        )
    covered = coverage_of_two_outcomes(seeds, _SOLVED)
    return (
        f"What a verdict of {seeds} seeds is worth: where returns scatter around one value, a 95% "
        f"interval holds the truth 95 times in 100. Where a run either solves the task or does "
        f"not, and {_SOLVED * 10:.0f} in 10 do, the interval of a mean holds it "
        f"{100 * covered:.0f} times in 100, because {seeds} runs often all end alike. So Welch's "
        f"test, which needs the first, is believed only where the permutation test agrees, which "
        f"assumes no shape; with {seeds} runs against {seeds} its p is at least {least}. Where no "
        f"difference is shown there may be one: {ENOUGH_SEEDS} seeds or more show smaller ones."
    )


def _one(one: Decision, labels: Mapping[str, str], digits: int) -> str:
    name, reference = labels[one.variant], labels[one.reference]
    noun, plural = one.quantity.noun, one.quantity.plural
    mean = f"mean {noun} is {_size(one, digits)}"
    if one.outcome in ("win", "loss"):
        word = "better" if one.outcome == "win" else "worse"
        return f"{name} is {word} than {reference}: its {mean} {_evidence(one, digits)}"
    if one.outcome == "tie":
        mean = f"{name}'s {mean}" if one.difference.mean else f"their mean {plural} are equal"
        text = f"no difference between {name} and {reference} was shown: {mean}"
        return f"{text} {_evidence(one, digits)}"
    if not one.has_enough_seeds:
        return _without(one, labels)
    test = f"permutation test {format_p(one.permutation)}"
    return f"{_without(one, labels)}; {name}'s {mean} ({test})"


def _without(one: Decision, labels: Mapping[str, str]) -> str:
    name, reference = labels[one.variant], labels[one.reference]
    return f"no verdict on {name} against {reference}: {one.missing(labels)}"


def _groups(judged: Sequence[Decision], labels: Mapping[str, str]) -> str:
    """Name the variants that are better, those that are worse, and those that cannot be told."""
    reference, parts = labels[judged[0].reference], []
    for outcome, word in (("win", "better"), ("loss", "worse")):
        names = [labels[one.variant] for one in judged if one.outcome == outcome]
        if names:
            verb = "is" if len(names) == 1 else "are"
            parts.append(f"{join_words(names)} {verb} {word} than {reference}")
    if ties := [labels[one.variant] for one in judged if one.outcome == "tie"]:
        parts.append(f"no difference between {reference} and {join_words(ties, 'or')} was shown")
    return "; ".join(parts)


def _size(one: Decision, digits: int) -> str:
    mean = one.difference.mean
    text = format_value(abs(mean), digits)
    return f"{text} {'higher' if mean >= 0 else 'lower'}"


def _evidence(one: Decision, digits: int, *, adjusted: bool = False) -> str:
    difference = one.difference
    test = f"Welch's test {'(Holm-adjusted) ' if adjusted else ''}{format_p(difference.p_adjusted)}"
    tests = f"{test}, permutation test {format_p(one.permutation)}"
    if one.quantity.proportion:
        tests = test.replace("Welch's test", "permutation test over seeds")
    if not math.isnan(difference.low):
        low, high = (format_value(end, digits) for end in (difference.low, difference.high))
        tests = f"95% interval of the difference {low} to {high}; {tests}"
    if one.is_disputed:
        tests += "; only one of the two tests would show it"
    return f"({tests})"


def _best(judged: Sequence[Decision], labels: Mapping[str, str], digits: int) -> str:
    """Give the numbers of the best of several, which are said to be those of the best."""
    best = max(judged, key=lambda one: one.quantity.sign * one.difference.mean)
    return (
        f" Of these {len(judged)}, {labels[best.variant]} has the best mean, {_size(best, digits)} "
        f"than {labels[best.reference]}'s {_evidence(best, digits, adjusted=True)}."
    )


def _over_tasks(name: str, reference: str, own: Sequence[Decision], tasks: int) -> str:
    found = {
        outcome: [one for one in own if one.outcome == outcome]
        for outcome in ("win", "loss", "tie")
    }
    wins, losses, ties = (len(found[outcome]) for outcome in ("win", "loss", "tie"))
    undecided = tasks - wins - losses - ties
    higher = sum(one.difference.mean > 0 for one in found["tie"])
    if not wins and not losses and not ties:
        return f"no verdict on {name} on any of {tasks} tasks"
    without = f"no verdict on {undecided}" if undecided else ""
    if not wins and not losses:
        text = f"no difference between {reference} and {name} shown on {_tasks(ties)}"
        return f"{text}; {name}'s mean is higher on {higher} ({without})"
    parts = [f"better than {reference} on {wins}"] if wins else []
    parts += [f"worse {'' if wins else f'than {reference} '}on {losses}"] if losses else []
    text = f"{name} is {join_words(parts)} of {_tasks(tasks)}"
    if ties:
        text += f", with no difference shown on {ties} (its mean is higher on {higher})"
    return f"{text}, and {without}" if without else text


def _tasks(count: int) -> str:
    return f"{count} task{'' if count == 1 else 's'}"
