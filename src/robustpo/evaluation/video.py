"""A policy on film: whole episodes, drawn step by step and handed to FFmpeg."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robustpo.base.descriptors import forget, keep_from_children
from robustpo.base.signals import held_back
from robustpo.base.writing import new_partial
from robustpo.environments.availability import require_extra
from robustpo.environments.frames import require_one_size
from robustpo.environments.inspection import Task
from robustpo.environments.rendering import Rendering, make_rendering
from robustpo.errors import ConfigError, StorageError
from robustpo.evaluation.episodes import require_action, require_finite, step_limit, use_origin
from robustpo.policy.policy import Policy

MAX_FPS = 60.0
VIDEO_STREAM = 0x71DE0
SUFFIXES = (".mp4", ".mkv")


@dataclass(frozen=True)
class Video:
    """What was filmed.

    Attributes:
        path: the file.
        returns: undiscounted raw return of each episode.
        cut: how many of them had not ended by themselves when they were cut.
        frames: pictures in the file.
        fps: pictures per second; the film runs as fast as the simulated world.
    """

    path: Path
    returns: tuple[float, ...]
    frames: int
    fps: float
    cut: int = 0


def record_video(
    policy: Policy,
    task: Task,
    out: str | os.PathLike[str],
    *,
    episodes: int = 1,
    deterministic: bool = True,
    seed: int = 0,
    max_steps: int | None = None,
) -> Video:
    """Film a policy.

    The file appears under its name only when it is whole.

    Args:
        policy: acts with its frozen statistics.
        task: id, `module:callable` or constructor.
        out: the file, `.mp4` or `.mkv`.
        episodes: whole episodes, one after the other.
        deterministic: the policy's mode; otherwise its samples.
        seed: seed of the simulator and of the samples.
        max_steps: steps after which an episode is cut that goes on; by default 10,000, or the
            task's own time limit if that is longer.

    Raises:
        ConfigError: if the task cannot be drawn or does not fit the policy, or the file's name
            does not say what kind of film it is to be.
        SimulatorError: if the simulator raises, or what it returns is not finite.
        StorageError: if the file could not be written.
    """
    path = Path(out)
    if path.suffix.lower() not in SUFFIXES:
        expected = " or ".join(SUFFIXES)
        raise ConfigError(
            f"out={str(path)!r} is not valid; expected a name that ends in {expected}"
        )
    if episodes < 1:
        raise ConfigError(f"episodes={episodes} is not valid; expected at least 1")
    # Before a simulator may change the directory.
    file = path.absolute()
    require_extra("video", "a video")
    rendering = make_rendering(task, seed)
    try:
        _require_fit(policy, rendering)
        policy = use_origin(policy, rendering.environment)
        limit = step_limit(rendering.environment.spec, max_steps)
        played: list[tuple[float, bool]] = []
        frames = _episodes(policy, rendering, episodes, deterministic, seed, limit, played)
        frames = _of_one_size(rendering.environment.spec.id, frames)
        fps = min(rendering.fps, MAX_FPS)
        count = _write(file, _thin_out(frames, rendering.fps, fps), fps)
    finally:
        rendering.environment.close()
    returns = tuple(total for total, _ in played)
    return Video(path, returns, count, fps, sum(cut for _, cut in played))


def _require_fit(policy: Policy, rendering: Rendering) -> None:
    spec = rendering.environment.spec
    if (spec.observation_size, spec.action_size) != (policy.observation_size, policy.action_size):
        raise ConfigError(
            f"the policy takes {policy.observation_size} observations and gives "
            f"{policy.action_size} actions, task {spec.id!r} has {spec.observation_size} and "
            f"{spec.action_size}; record it on the task it was trained on"
        )


def _episodes(
    policy: Policy,
    rendering: Rendering,
    episodes: int,
    deterministic: bool,
    seed: int,
    limit: int,
    played: list[tuple[float, bool]],
) -> Iterator[np.ndarray]:
    """Play whole episodes; yield every step's picture, append the return and whether it was cut."""
    rng = np.random.default_rng([VIDEO_STREAM, seed])
    for _ in range(episodes):
        obs, total, steps, done = rendering.environment.reset(), 0.0, 0, False
        require_finite(rendering.environment.spec, obs)
        while not done and steps < limit:
            yield rendering.frame()
            action = policy(obs, deterministic=deterministic, rng=rng)
            require_action(action)
            step = rendering.environment.step(action)
            require_finite(rendering.environment.spec, step.obs, step.reward)
            obs, steps = step.obs, steps + 1
            total += float(step.reward[0])
            done = bool(step.terminated[0] or step.truncated[0])
        yield rendering.frame()
        played.append((total, not done))


def _of_one_size(task: str, frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Pass pictures on; refuse those that have not the size of the first."""
    first: np.ndarray | None = None
    for frame in frames:
        first = frame if first is None else first
        require_one_size(task, first, frame)
        yield frame


def _thin_out(frames: Iterator[np.ndarray], rate: float, fps: float) -> Iterator[np.ndarray]:
    """Drop pictures evenly, so that `fps` of them show what took `rate` steps."""
    shown = -1
    for index, frame in enumerate(frames):
        if int(index * fps / rate) > shown:
            shown = int(index * fps / rate)
            yield frame


def _write(path: Path, frames: Iterator[np.ndarray], fps: float) -> int:
    """Hand pictures to FFmpeg one by one; return how many there were."""
    partial: Path | None = None
    encoder: _Encoder | None = None
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with held_back():
            partial = new_partial(path)
        for frame in frames:
            # The encoder takes even sizes only.
            height, width = (side // 2 * 2 for side in frame.shape[:2])
            if encoder is None:
                with held_back():
                    encoder = _Encoder(partial, width, height, fps)
            try:
                encoder.write(frame[:height, :width])
            except BrokenPipeError:
                # FFmpeg has ended, and says why below.
                break
            count += 1
        assert encoder is not None
        encoder.finish()
        os.replace(partial, path)
    except OSError as error:
        raise StorageError(path, error) from error
    finally:
        with held_back():
            if encoder is not None:
                encoder.kill()
            if partial is not None:
                partial.unlink(missing_ok=True)
    return count


class _Encoder:
    """FFmpeg, which makes a film of what it reads; not its package's own, which leaves pipes open.

    It ends when nobody can write to it any more, forks that an environment has left included.
    """

    def __init__(self, file: Path, width: int, height: int, fps: float) -> None:
        import imageio_ffmpeg

        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:g}"]
        film = ["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "20"]
        program = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error"]
        self._process = subprocess.Popen(
            [*program, *raw, "-i", "-", *film, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin
        keep_from_children([self._pipe.fileno()])

    def write(self, picture: np.ndarray) -> None:
        self._pipe.write(np.ascontiguousarray(picture).tobytes())

    def finish(self) -> None:
        """Wait for the film.

        Raises:
            OSError: if FFmpeg made none; it says why.
        """
        complaints = self._communicate().decode(errors="replace").strip().splitlines()[-1:]
        if code := self._process.returncode:
            raise OSError(f"FFmpeg: {''.join(complaints) or f'exit code {code}'}")

    def kill(self) -> None:
        self._process.kill()
        self._communicate()

    def _communicate(self) -> bytes:
        if not self._pipe.closed:
            forget(self._pipe.fileno())
        return self._process.communicate()[1]
