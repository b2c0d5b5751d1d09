"""The process in which something is tried: reports are lines of JSON on standard output.

A trial that fails ends with a line that has the key `failure`. One that takes the process with it
cannot, and is known by its exit code.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from robustpo.base.finding import one_line

HOST_STEPS = 5
PICTURE = """
<mujoco>
  <worldbody><light pos="0 0 3"/><geom size="0.1"/></worldbody>
</mujoco>
"""


def simulators(*tasks: str) -> Iterator[dict[str, Any]]:
    """Step each task and report its error, or None."""
    for task in tasks:
        try:
            _step(task)
        except Exception as error:
            yield {"error": one_line(error)}
        else:
            yield {"error": None}


def _step(task: str) -> None:
    import numpy as np

    from robustpo.environments.make import make_host_environment

    environment = make_host_environment(task, [1, 2])
    try:
        obs = environment.reset()
        action = np.zeros((2, environment.spec.action_size), np.float32)
        for _ in range(HOST_STEPS):
            obs, reward, *_ = environment.step(action)
            if not (np.isfinite(obs).all() and np.isfinite(reward).all()):
                raise ArithmeticError("an observation or a reward is not finite")
    finally:
        environment.close()


def render() -> Iterator[dict[str, Any]]:
    """Draw a lit ball with the renderer that the variable MUJOCO_GL names."""
    # Without its types: they are made when it is imported, where no checker sees them.
    mujoco: Any = import_module("mujoco")

    model = mujoco.MjModel.from_xml_string(PICTURE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    renderer = mujoco.Renderer(model, 32, 32)
    renderer.update_scene(data)
    if renderer.render().std() == 0:
        raise RuntimeError("the picture is empty")
    renderer.close()
    yield {}


def encode() -> Iterator[dict[str, Any]]:
    """Encode a second of a test picture with the FFmpeg that videos are made with."""
    # As above.
    imageio_ffmpeg: Any = import_module("imageio_ffmpeg")

    film = ["-f", "lavfi", "-i", "testsrc=d=1", "-c:v", "libx264", "-f", "null", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *film]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:]
        raise RuntimeError(f"{command[0]}: {''.join(said) or f'exit code {done.returncode}'}")
    yield {}


def cache() -> Iterator[dict[str, Any]]:
    """Report where compiled programs are kept, None if nowhere."""
    from robustpo.base.places import cache_directory

    found = cache_directory()
    yield {"directory": None if found is None else str(found)}


def training(task: str, steps: str, place: str) -> Iterator[dict[str, Any]]:
    """Train, read what was recorded, and act; report the speed."""
    started, first = time.perf_counter(), []

    import numpy as np

    import robustpo
    from robustpo.runs.store import find_runs, metrics_of

    def note(event: dict[str, Any]) -> None:
        del event
        if not first:
            first.append(time.perf_counter() - started)

    (run,) = robustpo.train(
        task, steps=int(steps), out=place, workers=1, progress=False, callback=note
    )
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    ((recorded, _),) = find_runs(place)
    returns = [x for x in metrics_of(recorded)["return_mean"].tolist() if not math.isnan(x)]
    if not returns or not all(map(math.isfinite, returns)):
        raise ArithmeticError(f"the returns are {returns or 'missing'}, not finite numbers")
    policy = robustpo.load_policy(run)
    action = policy(np.zeros(policy.observation_size, np.float32))
    if not np.isfinite(action).all():
        raise ArithmeticError(f"the policy's action is {action.tolist()}, not finite")
    yield {"steps": result["steps"], "seconds": result["seconds"], "first_iteration": first[0]}


TRIALS: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
    "simulators": simulators,
    "render": render,
    "encode": encode,
    "cache": cache,
    "training": training,
}


def main(trial: str, *arguments: str) -> int:
    """Run one trial; return the exit code."""
    # Whatever a simulator prints is no report.
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    try:
        for report in TRIALS[trial](*arguments):
            reports.write(json.dumps(report) + "\n")
    except Exception as error:
        reports.write(json.dumps({"failure": one_line(error)}) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    # Simulators and graphics may fail in the interpreter's teardown; all is reported by now.
    code = main(*sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)
