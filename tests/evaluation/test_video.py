"""Films of policies: decoded again, they show what was played."""

import ctypes.util
import functools
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import robustpo
from environments import hostile
from robustpo.environments.catalog import CATALOG
from robustpo.environments.make import make_host_environment
from robustpo.environments.rendering import make_rendering
from robustpo.errors import ConfigError, StorageError
from robustpo.evaluation import video
from robustpo.evaluation.video import record_video
from robustpo.policy.policy import Policy, save_policy

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="pip install 'robustpo[video]'")
needs_gl = pytest.mark.skipif(
    not (ctypes.util.find_library("EGL") or ctypes.util.find_library("OSMesa")),
    reason="MuJoCo cannot draw here: apt-get install libegl1 libgl1",
)
TASKS = [
    pytest.param("dm_control/walker-walk-v0", 40, marks=needs_gl),
    pytest.param("HalfCheetah-v4", 20, marks=needs_gl),
    pytest.param("Hopper-v5", 125, marks=needs_gl),
    pytest.param("isaac/BallBalance-v0", 100, marks=needs_gl),
    ("BipedalWalker-v3", 50),
    ("LunarLanderContinuous-v2", 50),
    ("LunarLanderContinuous-v3", 50),
    ("Pendulum-v1", 30),
    ("AntBulletEnv-v0", 60),
    ("MinitaurBulletEnv-v0", 100),
]


def idle(task, push=0.3):
    """Return a policy that always does the same, a little."""
    entry = CATALOG[task]
    size = len(entry.action_low)
    tensors = {
        "actor.0.weight": np.zeros((entry.observation_size, size), np.float32),
        "actor.0.bias": np.full(size, push, np.float32),
        "log_std": np.zeros(size, np.float32),
        "action.low": np.array(entry.action_low, np.float32),
        "action.high": np.array(entry.action_high, np.float32),
    }
    return Policy(tensors, {"activation": "tanh", "distribution": "gaussian", "task": task})


def decode(path):
    """Return the pictures of a film, `[T, H, W, 3]`, and its pictures per second."""
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path)]
    about = subprocess.run(ffmpeg, capture_output=True, text=True).stderr
    ((width, height),) = re.findall(r"Video: h264.*?, (\d+)x(\d+)[, ]", about)
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    pixels = subprocess.run([*ffmpeg, *raw], capture_output=True).stdout
    frames = np.frombuffer(pixels, np.uint8).reshape(-1, int(height), int(width), 3)
    return frames, float(re.findall(r"([\d.]+) fps", about)[0])


@pytest.mark.parametrize(("task", "rate"), TASKS)
def test_a_film_shows_something_that_moves(tmp_path, task, rate):
    film = record_video(idle(task), task, tmp_path / "film.mp4", max_steps=36)
    frames, fps = decode(film.path)
    # A short episode may end early; of more than 60 steps a second only so many are shown.
    assert film.fps == min(rate, 60) == fps
    assert len(frames) == film.frames <= -(-37 * film.fps // rate)
    assert film.frames >= 8
    assert min(frame.std() for frame in frames) > 5
    moved = np.abs(frames[-1].astype(int) - frames[0]).max(-1) > 30
    assert moved.sum() > 50
    assert list(tmp_path.iterdir()) == [film.path]


@needs_gl
@pytest.mark.parametrize("task", ["HalfCheetah-v4", "Ant-v5", "Swimmer-v4"])
def test_the_camera_follows_the_robot(task):
    rendering = make_rendering(task, 0)
    rendering.environment.reset()
    env: Any = rendering.environment
    inner = env._envs[0].unwrapped
    position = inner.data.qpos.copy()
    position[0] = 60.0
    inner.set_state(position, inner.data.qvel.copy())
    frame = rendering.frame()
    # The robot is in the middle, where an empty floor has few colours.
    height, width = frame.shape[0] // 4, frame.shape[1] // 4
    middle = frame[height:-height, width:-width].reshape(-1, 3)
    assert len(np.unique(middle, axis=0)) > 300
    env.close()


def test_returns_are_those_of_the_environment(tmp_path):
    policy = idle("Pendulum-v1")
    film = record_video(policy, "Pendulum-v1", tmp_path / "film.mp4", episodes=2, seed=3)
    environment = make_host_environment("gymnasium/Pendulum-v1", [3])
    expected = []
    for _ in range(2):
        obs, total = environment.reset(), 0.0
        for _ in range(200):
            step = environment.step(policy(obs))
            obs, total = step.obs, total + float(step.reward[0])
        expected.append(total)
    assert film.returns == pytest.approx(expected)
    assert film.frames == 2 * 201


class Breaks(gymnasium.Wrapper):
    def __init__(self, render_mode=None):
        super().__init__(gymnasium.make("Pendulum-v1", render_mode=render_mode))

    def step(self, action):
        raise RuntimeError("a joint broke")


def plain():
    return gymnasium.make("Pendulum-v1")


def test_nothing_is_left_of_a_film_that_failed(tmp_path):
    with pytest.raises(robustpo.RobustpoError, match="a joint broke"):
        record_video(idle("Pendulum-v1"), Breaks, tmp_path / "film.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("task", "out", "message"),
    [
        ("Pendulum-v1", "film.avi", r"ends in \.mp4"),
        ("isaac/Cartpole-v0", "film.mp4", "has no picture"),
        ("BipedalWalker-v3", "film.mp4", "record it on the task it was trained on"),
        (plain, "film.mp4", "let its constructor take render_mode"),
    ],
)
def test_what_cannot_be_filmed_is_said(tmp_path, task, out, message):
    with pytest.raises(ConfigError, match=message):
        record_video(idle("Pendulum-v1"), task, tmp_path / out)


def test_films_are_at_least_one_step_long(tmp_path):
    with pytest.raises(ConfigError, match="max_steps=0"):
        record_video(idle("Pendulum-v1"), "Pendulum-v1", tmp_path / "film.mp4", max_steps=0)


class Shown(hostile.Slide):
    """Draws a column that moves, in one kind of picture."""

    def __init__(self, kind, render_mode=None):
        super().__init__(render_mode)
        self.kind = kind

    def render(self):
        picture = np.zeros((16, 20, 3), np.uint8)
        picture[:, self.t : self.t + 4] = (250, 250, 250)
        return self.kind(picture, self.t)


KINDS = {
    "bytes": lambda picture, t: picture,
    "floats": lambda picture, t: picture / 255,
    "single floats": lambda picture, t: (picture / 255).astype(np.float32),
    "whole numbers": lambda picture, t: picture.astype(np.int64),
    "alpha": lambda picture, t: np.dstack([picture, np.full((16, 20), 9, np.uint8)]),
    "grey": lambda picture, t: picture[..., 0],
    "one channel": lambda picture, t: picture[..., :1],
    "lists": lambda picture, t: picture.tolist(),
    "upside down": lambda picture, t: picture[::-1],
}


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_of_pictures_become_the_same_film(tmp_path, kind):
    make = functools.partial(Shown, KINDS[kind])
    film = record_video(hostile.save_idle_policy(None), make, tmp_path / "film.mp4")
    frames, fps = decode(film.path)
    assert (len(frames), fps, film.frames, film.returns, film.cut) == (11, 25, 11, (10.0,), 0)
    # The column stands where the step says; colours are coded in blocks.
    for t, frame in enumerate(frames):
        bright = np.flatnonzero(frame.mean((0, 2)) > 128)
        assert bright.min() == pytest.approx(t, abs=1) and len(bright) == pytest.approx(4, abs=2)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (lambda picture, t: picture if t < 3 else picture[:-4, :-2], "20x16 and then of 18x12"),
        (lambda picture, t: picture[:1, :1], "1x1, too small for a film"),
        (lambda picture, t: picture * 1.0, "float64 from 0.0 to 250.0; expected uint8"),
        (lambda picture, t: picture.astype(int) - 300, "int64 from -300 to -50"),
        (lambda picture, t: np.full((16, 20, 3), np.nan), "float64 from nan to nan"),
        (lambda picture, t: picture > 9, "draws bool"),
        (lambda picture, t: [picture, picture], r"array of shape \(2, 16, 20, 3\)"),
        (lambda picture, t: "a picture", "draws"),
        (lambda picture, t: [[1], [2, 3]], "draws"),
        (lambda picture, t: None, "draws no picture"),
        (lambda picture, t: sys.exit(), "render ended the program"),
    ],
)
def test_what_is_no_picture_is_said_in_one_line(tmp_path, kind, words):
    with pytest.raises(robustpo.RobustpoError, match=words) as caught:
        record_video(
            hostile.save_idle_policy(None), functools.partial(Shown, kind), tmp_path / "film.mp4"
        )
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_film_of_an_episode_that_goes_on_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr("robustpo.evaluation.episodes.MAX_STEPS", 30)
    film = record_video(hostile.save_idle_policy(None), hostile.Endless, tmp_path / "film.mp4")
    assert (film.frames, film.returns, film.cut) == (31, (30.0,), 1)


def test_an_encoder_that_does_not_work_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/bin/false")
    with pytest.raises(StorageError, match="FFmpeg: exit code 1"):
        record_video(idle("Pendulum-v1"), "Pendulum-v1", tmp_path / "film.mp4", max_steps=3)
    assert list(tmp_path.iterdir()) == []


@needs_gl
def test_envpool_draws_what_gymnasium_no_longer_has(robustpo_command, tmp_path):
    # Its graphics library has to be loaded before EnvPool, which this process may have imported.
    save_policy(tmp_path / "idle.safetensors", idle("Pusher-v4"))
    options = ["--max-steps", 20, "--seed", 4]
    done = robustpo_command("record", "idle.safetensors", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    frames, fps = decode(tmp_path / "policy.mp4")
    assert (len(frames), fps) == (21, 20)
    assert (np.abs(frames[-1].astype(int) - frames[0]).max(-1) > 30).sum() > 50
    environment = make_host_environment("Pusher-v4", [4])
    obs, total = environment.reset(), 0.0
    for _ in range(20):
        step = environment.step(idle("Pusher-v4")(obs))
        obs, total = step.obs, total + float(step.reward[0])
    said = done.stdout.splitlines()
    assert said[0].endswith(f"return {total:.1f}")
    assert said[1].startswith("1 of 1 episodes had not ended")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_of_a_film_that_is_stopped(tmp_path, number):
    save_policy(tmp_path / "idle.safetensors", idle("Pendulum-v1"))
    command = [Path(sys.executable).with_name("robustpo"), "record", "idle.safetensors"]
    # Endless, unless it is stopped.
    command += ["--episodes", "100000", "--out", "film.mp4"]
    recording = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".film.*.partial.mp4")):
        assert time.monotonic() < deadline and recording.poll() is None
        time.sleep(0.1)
    recording.send_signal(number)
    assert recording.wait(timeout=30) == 128 + number
    assert [file.name for file in tmp_path.iterdir()] == ["idle.safetensors"]


@pytest.mark.parametrize("begun", ["new_partial", "_Encoder"])
def test_a_ctrl_c_while_something_is_begun_leaves_nothing(tmp_path, monkeypatch, begun):
    begin, made = getattr(video, begun), []

    def begin_and_press(*arguments):
        made.append(begin(*arguments))
        # Inside the call: whoever made it knows nothing of what was made.
        signal.raise_signal(signal.SIGINT)
        return made[-1]

    monkeypatch.setattr(video, begun, begin_and_press)
    with pytest.raises(KeyboardInterrupt):
        record_video(idle("Pendulum-v1"), "Pendulum-v1", tmp_path / "film.mp4", max_steps=5)
    assert list(tmp_path.iterdir()) == []
    assert begun == "new_partial" or made[0]._process.returncode is not None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_on_the_command_line(robustpo_command, tmp_path):
    save_policy(tmp_path / "idle.safetensors", idle("Pendulum-v1"))
    done = robustpo_command("record", "idle.safetensors", "--max-steps", 30, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("policy.mp4: 31 pictures, 1.0 s at 30 a second; return -")
    assert (tmp_path / "policy.mp4").stat().st_size > 1000
