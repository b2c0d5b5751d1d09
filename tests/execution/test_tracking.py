"""TensorBoard over a crash: what is trained twice is shown once."""

import pytest

from robustpo.errors import ConfigError
from robustpo.execution.tracking import make_tracker

event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")


def events_of(file):
    """Yield the events of a file: length (8 bytes), its checksum (4), data, checksum (4)."""
    data = file.read_bytes()
    while data:
        length = int.from_bytes(data[:8], "little")
        yield event_pb2.Event.FromString(data[12 : 12 + length])
        data = data[12 + length + 4 :]


def shown(directory):
    """Return the steps of a curve as TensorBoard does: a start forgets what is at or after it."""
    steps = []
    files = (directory / "tensorboard").iterdir()
    for file in sorted(files, key=lambda file: file.stat().st_mtime_ns):
        for event in events_of(file):
            if event.session_log.status == event_pb2.SessionLog.START:
                steps = [step for step in steps if step < event.step]
            elif event.summary.value:
                steps.append(event.step)
    return steps


def test_a_run_that_goes_on_forgets_what_came_after_its_checkpoint(tmp_path):
    # Killed after step 1,536, its last checkpoint at 1,024.
    for first, last in ((1, 6), (5, 8)):
        tracker = make_tracker("tensorboard")
        assert tracker is not None
        for i in range(first, last + 1):
            event = {"kind": "iteration", "step": 256 * i, "entropy": 1.0 * i, "seconds": 0.5}
            tracker.update(event, tmp_path)
        tracker.close()
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
    assert shown(tmp_path) == [256 * i for i in range(1, 9)]


def test_events_are_written_through_no_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    run = tmp_path / "run"
    run.mkdir()
    (run / "tensorboard").symlink_to(tmp_path / "elsewhere")
    tracker = make_tracker("tensorboard")
    assert tracker is not None
    with pytest.raises(ConfigError, match="tensorboard is a link"):
        tracker.update({"kind": "iteration", "step": 1, "entropy": 1.0}, run)
    assert list((tmp_path / "elsewhere").iterdir()) == []
