"""How far a run is: one answer, for everything that asks."""

import json
import logging

import pytest

import robustpo
from robustpo.config.run import make_config
from robustpo.errors import UnfinishedError
from robustpo.execution.standing import examine, require_done
from robustpo.runs.locks import RunLocks
from robustpo.runs.record import RunRecord, run_directory
from robustpo.runs.run_state import STATES, run_state
from robustpo.runs.store import load_runs
from robustpo.studies.status import count_states, run_statuses

WHOLE = {"status": "completed", "final_return": 1.5, "steps": 4096, "error": None}
DIVERGED = {"status": "failed", "steps": 512, "error": "task, rpo, seed 0: reward not finite; kept"}

# What result.json holds; the state, what a summary says, and whether it is to be trained.
CASES = {
    "whole": (json.dumps(WHOLE), "done", "completed", False),
    "diverged": (json.dumps(DIVERGED), "failed", "failed", False),
    "missing": (None, "stopped", "incomplete", True),
    "cut": (json.dumps(WHOLE)[:20], "stopped", "incomplete", True),
    "short": (json.dumps(WHOLE | {"steps": 4095}), "stopped", "incomplete", True),
    "uncounted": (json.dumps(WHOLE | {"steps": None}), "stopped", "incomplete", True),
    "odd": (json.dumps(WHOLE | {"status": "interrupted"}), "stopped", "incomplete", True),
}


@pytest.fixture
def config():
    return make_config("Pendulum-v1", steps=4096, num_steps=512, num_minibatches=4)


@pytest.mark.parametrize("case", CASES)
def test_all_who_ask_get_one_answer(tmp_path, config, case):
    content, state, status, pending = CASES[case]
    place = run_directory(tmp_path, config)
    RunRecord(place, config)
    if content is not None:
        (place / "result.json").write_text(content)
    assert run_state(place).state == state
    assert robustpo.load_summary(tmp_path)["status"].to_list() == [status]
    (shown,) = run_statuses([config], tmp_path)
    assert (shown.state, shown.final_return) == (state, 1.5 if state == "done" else None)
    standing = examine({config: place}, fresh=False)[config]
    assert standing.pending is pending
    if state == "done":
        require_done({config: place}, {})
        return
    # A result that says otherwise than the rest is not passed over in silence.
    assert bool(shown.error) is (case != "missing")
    with pytest.raises(UnfinishedError, match="of 1 runs 1 ") as caught:
        require_done({config: place}, {})
    assert ("reward not finite" in str(caught.value)) is (state == "failed")


def test_what_waits_runs_or_cannot_be_read(tmp_path, config, caplog):
    place = run_directory(tmp_path, config)
    assert run_state(place).state == "waiting"
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "nowhere")
    assert "leads nowhere" in run_state(place).reason
    place.unlink()
    place.mkdir()
    (place / ".config.json.partial").write_text("{")
    assert run_state(place).state == "waiting"
    # A report does not take it for a damaged run.
    assert load_runs({config: place}).refused == {}
    RunRecord(place, config)
    with RunLocks() as locks:
        locks.acquire([place], tmp_path)
        assert run_state(place).state == "running"
    assert run_state(place).state == "stopped"
    (place / "config.json").write_text("{")
    assert run_state(place).state == "unreadable"
    assert list(load_runs({config: place}).refused) == [place]
    (shown,) = run_statuses([config], tmp_path)
    assert shown.state == "unreadable" and "config.json" in shown.error
    (place / "config.json").unlink()
    (place / "metrics.jsonl").write_text("{}")
    assert run_state(place).state == "unreadable"
    with caplog.at_level(logging.WARNING):
        assert robustpo.load_summary(tmp_path).height == 0
    assert "config.json cannot be read" in caplog.text
    assert count_states([shown]) == {state: int(state == "unreadable") for state in STATES}


def test_the_last_line_is_bounded_and_says_why(tmp_path):
    configs = [
        make_config("t" * 500, steps=4096, num_steps=512, num_minibatches=4, seed=seed)
        for seed in range(10)
    ]
    directories = {config: tmp_path / str(seed) for seed, config in enumerate(configs)}
    for config, place in directories.items():
        RunRecord(place, config).finish(WHOLE | {"steps": config.total_steps})
    require_done(directories, {})
    for seed in range(5):
        (tmp_path / str(seed) / "result.json").unlink()
    lost = {tmp_path / "1": "a wire\nhas come loose" * 100}
    with pytest.raises(UnfinishedError) as caught:
        require_done(directories, lost)
    text = str(caught.value)
    assert text.startswith("of 10 runs 5 are not finished (") and "and 2 more" in text
    assert "a wire has come loose" in text and len(text) < 2500 and "\n" not in text
    assert caught.value.directories == [tmp_path / str(seed) for seed in range(5, 10)]
