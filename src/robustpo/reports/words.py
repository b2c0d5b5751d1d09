"""What is said of a summary in words: the finding, how runs were made, what is left out, rules."""

from __future__ import annotations

from robustpo.base.amounts import format_count
from robustpo.reports.decision import decision_rule
from robustpo.reports.formats import count_seeds
from robustpo.reports.left_out import WAITING, count_states, list_runs
from robustpo.reports.origins import differing_origins
from robustpo.reports.published_results import PROTOCOL
from robustpo.reports.rows import EFFICIENCY_RULES
from robustpo.reports.suite import SUITE_RULES
from robustpo.reports.summary import Summary
from robustpo.reports.verdict import suite_sentence, task_sentence
from robustpo.statistics.improvement import IMPROVEMENT_RULE

LISTED = 8


def sentence(summary: Summary) -> str:
    """Say what the study decides, how it was run, and that runs are left out."""
    return f"{finding(summary)} {setup_text(summary)}.{_omission(summary)}"


def finding(summary: Summary) -> str:
    """Say what the study decides; where it is shown, so is `setup_text`."""
    if summary.has_one_task:
        (task,) = summary.study.tasks
        return task_sentence(task, summary.decisions, summary.labels, summary.digits[task])
    others = [variant for variant in summary.variants if variant != summary.reference]
    asked = {one: sum(row.variant == one for row in summary.rows) for one in others}
    return suite_sentence(summary.decisions, asked, summary.reference, summary.labels)


def setup_text(summary: Summary) -> str:
    """Say steps, seeds and time-limit mode of what was run."""
    steps = [format_count(n) for n in sorted({c.total_steps for c in summary.directories})]
    counts = sorted({len(row.seeds) for row in summary.rows})
    seeds = count_seeds(counts[-1])
    if len(counts) > 1:
        seeds = f"{counts[0]} to {seeds}"
    if summary.left_out:
        seeds = seeds.replace(" seed", " finished seed")
    each = " each" if len(counts) == 1 and len(summary.rows) > 1 else ""
    span = steps[0] if len(set(steps)) == 1 else f"{steps[0]} to {steps[-1]}"
    all_with = f", all with {', '.join(summary.shared)}" if summary.shared else ""
    name = summary.quantity.name
    judged = f", judged by {name}" if name else ""
    return f"{span} steps, {seeds}{each}, time limit: {_time_limits(summary)}{all_with}{judged}"


def _time_limits(summary: Summary) -> str:
    modes: dict[str, list[str]] = {}
    for config in summary.directories:
        modes.setdefault(config.settings.time_limit, []).append(summary.labels[config.variant])
    if len(modes) == 1:
        return next(iter(modes))
    return " and ".join(
        f"{mode} ({', '.join(dict.fromkeys(labels))})" for mode, labels in sorted(modes.items())
    )


def _omission(summary: Summary) -> str:
    unfinished = [run for run in summary.left_out if run.state != WAITING]
    if not unfinished:
        return ""
    verb = "is" if len(unfinished) == 1 else "are"
    runs = len(summary.directories)
    return f" {len(unfinished)} of {runs} runs {verb} left out of these numbers."


def left_out_lines(summary: Summary) -> list[str]:
    """Return a line for each run that has left something that cannot be used."""
    return list_runs(summary.left_out, summary.labels, tasks=not summary.has_one_task)


def notes(summary: Summary) -> list[str]:
    """Say what a reader must know before trusting the numbers."""
    found = [note for note in (summary.study.note, *summary.study.notes) if note]
    if summary.left_out:
        words = count_states(summary.left_out)
        found.append(f"Left out of the numbers, of {len(summary.directories)} runs: {words}.")
    lines = left_out_lines(summary)
    found += [f"Left out: {line}." for line in lines[:LISTED]]
    if len(lines) > LISTED:
        found.append(f"Left out: {len(lines) - LISTED} more; robustpo study status lists them.")
    return found + differing_origins(one.run.path for one in summary.runs)


def rules(summary: Summary) -> list[str]:
    """Say what the columns mean, and when a variant wins, ties or loses."""
    reference = summary.labels[summary.reference]
    return [
        *([f"{summary.quantity.rule}."] if summary.quantity.name else ()),
        decision_rule(reference, len(summary.decisions), summary.quantity),
        IMPROVEMENT_RULE,
        *(SUITE_RULES if summary.suites else ()),
        *(EFFICIENCY_RULES[1:] if summary.quantity.name else EFFICIENCY_RULES),
        f"Published: other people's numbers ({PROTOCOL}), shown beside and never mixed.",
    ]
