"""What progress says, with a clock that is set by hand and consoles that write to memory."""

import io
import math

import pytest
from rich.console import Console

from robustpo.execution.progress import Progress, variant_table
from robustpo.execution.progress_state import (
    ProgressState,
    format_count,
    format_duration,
)

TOTAL = 100_000
TOTALS = {"rpo": TOTAL, "ppo": TOTAL}


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def step(variant="rpo", seed=0, at=0, returned=None, entropy=None):
    values = {"step": at, "total_steps": TOTAL, "return_mean": returned, "entropy": entropy}
    return {"kind": "progress", "variant": variant, "seed": seed} | values


def piped():
    return Console(file=io.StringIO(), force_terminal=False, width=80)


def terminal(width):
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)


def said(console):
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (130, "2 min 10 s"),
        (3599.7, "1 h 0 min"),
        (3900, "1 h 5 min"),
        (86_399, "1 d 0 h"),
        (183_600, "2 d 3 h"),
        (math.inf, "unknown"),
        (math.nan, "unknown"),
    ],
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (950, "950"),
        (999.6, "1k"),
        (2048, "2.05k"),
        (10_600, "10.6k"),
        (999_999, "1M"),
        (1_500_000, "1.5M"),
        (7_999_488, "8M"),
        (2_000_000_000, "2B"),
        (5e12, "5000B"),
        (-1500, "-1.5k"),
    ],
)
def test_counts(count, text):
    assert format_count(count) == text


def test_speed_share_and_time_left_by_hand():
    clock = Clock()
    state = ProgressState({"rpo": 2, "ppo": 1}, TOTALS, clock)
    for second in range(11):
        clock.now = 1000.0 + second
        for seed in range(2):
            state.progress(step(seed=seed, at=1000 * (second + 1)))
    # Two seeds at 1,000 steps/s each; 11,000 of 100,000 steps made by two of three agents.
    assert state.steps_per_second() == pytest.approx(2000)
    assert state.remaining_steps() == 2 * 89_000 + 100_000
    assert state.share() == pytest.approx(22_000 / 300_000)
    assert state.share("ppo") == 0
    assert state.overall() == "7% | 2k steps/s | elapsed 10 s | time left 2 min 19 s"


def test_speed_follows_the_recent_past():
    clock = Clock()
    state = ProgressState({"rpo": 1}, TOTALS, clock)
    at = 0
    for second in range(200):
        clock.now += 1
        at += 100 if second < 100 else 300
        state.progress(step(at=at))
    assert state.steps_per_second() == pytest.approx(300)


def test_resumed_and_already_finished_runs_do_not_count_as_speed():
    clock = Clock()
    state = ProgressState({"rpo": 2}, TOTALS, clock)
    state.progress(step(seed=0, at=50_000))
    clock.now += 10
    state.ended({"variant": "rpo", "seed": 1, "final_return": 3.0}, "finished")
    state.progress(step(seed=0, at=51_000))
    assert state.steps_per_second() == pytest.approx(100)
    assert state.share() == pytest.approx(151_000 / 200_000)


def test_failed_seeds_are_counted_and_left_out_of_the_mean():
    state = ProgressState({"rpo": 3}, TOTALS, Clock())
    for seed, value in enumerate((10.0, 20.0, 900.0)):
        state.progress(step(seed=seed, at=10_000, returned=value, entropy=1.0))
    state.ended({"variant": "rpo", "seed": 2, "step": 10_000, "text": "nan"}, "failed")
    assert state.value("rpo", "return_mean") == pytest.approx((15.0, math.sqrt(50)))
    assert state.seeds("rpo") == "2 running, 1 failed of 3"
    # It makes no more steps, so 30,000 are made of 10,000 + 2 · 100,000.
    assert state.share() == pytest.approx(30_000 / 210_000)
    for seed in range(2):
        state.ended({"variant": "rpo", "seed": seed, "final_return": 7.0}, "finished")
    assert state.seeds("rpo") == "2 done, 1 failed of 3"
    assert state.value("rpo", "return_mean") == (7.0, 0.0)
    assert state.share() == 1.0


def test_done_running_and_waiting_seeds_are_told_apart():
    state = ProgressState({"rpo": 4}, TOTALS, Clock())
    assert state.seeds("rpo") == "4 waiting"
    state.progress(step(seed=0, at=10_000))
    state.progress(step(seed=1, at=10_000))
    assert state.seeds("rpo") == "2 running of 4"
    state.ended({"variant": "rpo", "seed": 0, "final_return": 7.0}, "finished")
    assert state.seeds("rpo") == "1 done, 1 running of 4"


def test_it_says_that_it_compiles_and_for_how_long():
    clock, console = Clock(), piped()
    with Progress({"rpo": 1}, TOTALS, console=console, clock=clock) as progress:
        progress.update({"kind": "compiling"})
        clock.now += 224
        assert progress.state.overall() == "0% | compiling | elapsed 3 min 44 s"
        progress.update({"kind": "started", "agents": 1})
        assert progress.state.overall() == "0% | measuring speed | elapsed 3 min 44 s"
    assert said(console).startswith("0% | compiling | elapsed 0 s")


def test_values_not_known_yet_or_not_finite_do_not_replace_known_ones():
    state = ProgressState({}, TOTALS, Clock())
    state.progress(step(at=1))
    assert state.value("rpo", "return_mean") is None
    state.progress(step(at=2, returned=5.0))
    state.progress(step(at=3, returned=math.nan))
    state.progress(step(at=4))
    known = state.value("rpo", "return_mean")
    assert known is not None
    mean, deviation = known
    assert mean == 5.0
    assert math.isnan(deviation)


def test_lines_are_few_and_whole_when_piped():
    clock, console = Clock(), piped()
    with Progress({"rpo": 1}, TOTALS, console=console, clock=clock) as progress:
        for second in range(1, 1001):
            clock.now += 1
            progress.update(step(at=100 * second, returned=1.0))
        progress.update({"kind": "finished", "variant": "rpo", "seed": 0, "final_return": 42.0})
    lines = said(console).splitlines()
    # 1,000 s of steady work: one line per 5% (50 s), the first at once, one at the end.
    assert 20 <= len(lines) <= 22
    assert lines[10].startswith("50% | 100 steps/s | elapsed 8 min 21 s | time left 8 min 19 s")
    assert lines[-1].startswith("100% | ")
    assert lines[-1].endswith("rpo 42.0 (1/1 done)")


def test_a_quick_run_prints_hardly_anything_and_a_slow_one_is_not_silent():
    clock, console = Clock(), piped()
    with Progress({"rpo": 1}, TOTALS, console=console, clock=clock) as progress:
        for second in range(9):
            clock.now += 1
            progress.update(step(at=10_000 * second))
        assert len(said(console).splitlines()) == 1
        for _ in range(60):
            clock.now += 10
            progress.update(step(at=80_001))
    assert 5 <= len(said(console).splitlines()) <= 8


def test_notes_and_failures_are_printed_as_they_are():
    console = piped()
    with Progress(console=console, clock=Clock()) as progress:
        progress.update({"kind": "note", "text": "[bold]2 cores[/bold] " + "x" * 200})
        failed = {"kind": "failed", "variant": "rpo", "seed": 3, "step": 2048, "text": "loss: nan"}
        progress.update(failed)
    lines = said(console).splitlines()
    assert lines[0] == "[bold]2 cores[/bold] " + "x" * 200
    assert lines[1] == "loss: nan"


def test_an_unknown_event_is_refused():
    with pytest.raises(
        ValueError, match="kind='done' is unknown; send compiling, started, progress, note"
    ):
        Progress(console=piped()).update({"kind": "done"})


@pytest.mark.parametrize("width", [1, 10, 20, 40, 60, 80, 120, 300])
def test_live_table_at_any_width(width):
    console = terminal(width)
    names = ["ppo", "rpo_alpha-0.1_learning-rate-0.001_hidden-sizes-256x256", "[red]odd[/red]"]
    with Progress(
        dict.fromkeys(names, 5), dict.fromkeys(names, TOTAL), console=console
    ) as progress:
        for name in names:
            progress.update(step(name, at=50_000, returned=321.0, entropy=1.25))
        failed = {"kind": "failed", "variant": "ppo", "seed": 1, "step": 7, "text": "[/oops]"}
        progress.update(failed)
        progress.update({"kind": "note", "text": "hello [/x]"})
    if width >= 60:
        assert "[/oops]" in said(console)
        assert "321" in said(console)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_numbers_stay_readable_beside_long_names(width):
    state = ProgressState({}, TOTALS, Clock())
    for seed, value in enumerate((1234.0, 1250.0)):
        state.progress(step("rpo_" + "x" * 200, seed, 50_000, value, 3.25))
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(variant_table(state, width))
    lines = console.export_text().splitlines()
    assert len(lines) == 2
    assert "1242 ± 11" in lines[1]
    assert "50%" in lines[1]
    assert ("3.25" in lines[1]) == (width >= 56)
