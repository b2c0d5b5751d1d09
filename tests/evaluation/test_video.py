"""Films of policies: decoded again, they show what was played."""

import ctypes.util
import re
import subprocess

import gymnasium
import numpy as np
import pytest

import robustpo
from robustpo.environments.catalog import CATALOG
from robustpo.environments.make import make_host_environment
from robustpo.errors import ConfigError
from robustpo.evaluation.video import record_video
from robustpo.policy import Policy, save_policy

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
        ("Pusher-v4", "film.mp4", "--task Pusher-v5"),
        ("isaac/Cartpole-v0", "film.mp4", "has no picture"),
        ("BipedalWalker-v3", "film.mp4", "record it on the task it was trained on"),
        (plain, "film.mp4", "let its constructor take render_mode"),
    ],
)
def test_what_cannot_be_filmed_is_said(tmp_path, task, out, message):
    with pytest.raises(ConfigError, match=message):
        record_video(idle("Pendulum-v1"), task, tmp_path / out)


def test_on_the_command_line(robustpo_command, tmp_path):
    save_policy(tmp_path / "idle.safetensors", idle("Pendulum-v1"))
    done = robustpo_command("record", "idle.safetensors", "--max-steps", 30, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("policy.mp4: 31 pictures, 1.0 s at 30 a second; return -")
    assert (tmp_path / "policy.mp4").stat().st_size > 1000
