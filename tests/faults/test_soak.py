"""Long runs: memory and open files stay where they were after the first minute."""

import os
import time
from pathlib import Path

import pytest

from faults.killing import end, kill, start, workers_in

STEPS = int(float(os.environ.get("ROBUSTPO_SOAK_STEPS", "50e6")))
TASK = "dm_control/pendulum-swingup-v0"


def resident_mebibytes(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the process has no memory")


def open_files(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.soak
def test_memory_is_flat_over_a_long_run(tmp_path):
    flags = ["--seeds", "0:5", "--workers", 1, "--steps", STEPS // 5]
    process = start("train", TASK, *flags, cwd=tmp_path)
    samples = []
    begin = time.monotonic()
    try:
        while process.poll() is None:
            time.sleep(5)
            for worker in workers_in(tmp_path):
                try:
                    sample = resident_mebibytes(worker), open_files(worker)
                except (OSError, AssertionError):
                    continue
                samples.append((time.monotonic() - begin, *sample, resident_mebibytes(process.pid)))
        _, stderr = process.communicate()
        assert process.returncode == 0, stderr
    finally:
        for worker in workers_in(tmp_path):
            kill(worker)
        end(process)
    # After a tenth of the run, everything has been allocated once.
    rest = samples[len(samples) // 10 :]
    early, late = rest[: len(rest) // 5], rest[-(len(rest) // 5) :]

    def mean(rows, column):
        return sum(row[column] for row in rows) / len(rows)

    print(
        f"{STEPS:,} steps in {samples[-1][0]:.0f} s: worker {mean(early, 1):.1f} MiB early, "
        f"{mean(late, 1):.1f} MiB late, largest {max(row[1] for row in samples):.1f}; open files "
        f"{rest[0][2]} early, {rest[-1][2]} late; parent {mean(early, 3):.1f} and "
        f"{mean(late, 3):.1f} MiB"
    )
    assert mean(late, 1) < mean(early, 1) + 10
    assert mean(late, 3) < mean(early, 3) + 10
    assert rest[-1][2] <= rest[0][2]
