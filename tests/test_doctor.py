"""`robustpo doctor` as a user types it, and each check against something that is really wrong."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
import venv
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from robustpo.base.devices import accelerator
from robustpo.base.finding import Finding, one_line
from robustpo.doctor import doctor, machine, packages, trials
from robustpo.execution import limits
from robustpo.execution.limits import available_cores

ROOT = Path(__file__).parents[1]
GIB = 2**30


class Falling(gymnasium.Env):
    """Its return is not a number, which is no training."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action) -> Any:
        return np.zeros(1, np.float32), float("nan"), False, True, {}


class Dying(Falling):
    """Compiled code that does not work ends its process like this."""

    def step(self, action):
        os.kill(os.getpid(), signal.SIGSEGV)


class Hanging(Falling):
    """Says which process steps it, and never returns."""

    def step(self, action):
        if mark := os.environ.get("HANGING_MARK"):
            partial = Path(mark + ".partial")
            partial.write_text(str(os.getpid()))
            partial.rename(mark)
        time.sleep(600)


@pytest.fixture
def own_tasks(monkeypatch):
    """Let processes import the tasks of this file."""
    places = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))


def by_name(stdout):
    return {found["name"]: SimpleNamespace(**found) for found in json.loads(stdout)["checks"]}


def test_everything_is_tried_and_shown_in_plain_lines(robustpo_command, tmp_path):
    done = robustpo_command("doctor", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "" and "\x1b" not in done.stdout
    *lines, blank, summary = done.stdout.splitlines()
    lines = [line for line in lines if not line.startswith(" " * 6 + "-> ")]
    for name, line in zip(doctor.CHECKS, lines, strict=True):
        assert re.match(rf"(ok|warn)\s+{re.escape(name)}\s", line)
    assert blank == "" and summary.startswith("0 failed, ")
    trained = re.search(
        r"([\d,]+) steps/s in one worker, first iteration after ([\d.]+) s", lines[-1]
    )
    assert trained and int(trained[1].replace(",", "")) > 100
    # Without compilation, importing and a process to start, it is none.
    assert 0.5 < float(trained[2]) < 120
    assert "DeepMind Control, MuJoCo, Box2D, classic control, Gymnasium step" in done.stdout
    assert str(tmp_path / "runs") in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_is_named_with_what_to_do(robustpo_command, tmp_path):
    (tmp_path / "runs").write_text("a file")
    # What is on this path comes before what is installed.
    (tmp_path / "envpool.py").write_text(
        "raise ImportError('libz.so.9: cannot open shared object')"
    )
    cache = tmp_path / "runs" / "cache"
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = robustpo_command(
        "doctor", "--json", cwd=tmp_path, ROBUSTPO_CACHE=str(cache), PYTHONPATH=path
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["status"] == "fail"
    assert json.loads(done.stdout)["robustpo"] == metadata.version("robustpo")
    found = by_name(done.stdout)
    assert list(found) == list(doctor.CHECKS)
    assert {name for name in found if found[name].status == "fail"} == {"simulators", "training"}
    # Gymnasium's own simulators do without; the cause is told once.
    assert found["simulators"].detail == (
        "DeepMind Control (dm_control/cartpole-balance-v0), MuJoCo (HalfCheetah-v4), Box2D "
        "(BipedalWalker-v3), classic control (Pendulum-v1): ImportError: libz.so.9: cannot open "
        "shared object"
    )
    assert "--no-deps envpool==" in found["simulators"].advice
    assert "ImportError: libz.so.9" in found["training"].detail
    assert "Traceback" not in done.stdout
    cannot = f"{cache} cannot be written (Not a directory: {tmp_path / 'runs'})"
    assert (found["compilation cache"].status, found["compilation cache"].detail) == (
        "warn",
        cannot,
    )
    assert "ROBUSTPO_CACHE" in found["compilation cache"].advice
    assert found["runs"].status == "warn" and "--out" in found["runs"].advice


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Return a Python that has the wheel and none of its dependencies, and the packages' place."""
    place = tmp_path_factory.mktemp("bare")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place, ROOT]
    done = subprocess.run(build, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = place.glob("*.whl")
    venv.create(place / "env", with_pip=False, symlinks=True)
    python = place / "env" / "bin" / "python"
    install = ["--python", python, "install", "--no-deps", "--no-index", "-q", wheel]
    subprocess.run([*pip, *install], check=True, timeout=120)
    (site,) = (place / "env" / "lib").glob("python*/site-packages")
    return SimpleNamespace(python=python, site=site)


def test_the_wheel_brings_every_lock(bare):
    locks = {file.name: file.read_bytes() for file in (ROOT / "locks").glob("py3*.txt")}
    assert len(locks) >= 3
    assert {f.name: f.read_bytes() for f in (bare.site / "robustpo" / "locks").iterdir()} == locks


def test_it_runs_where_nothing_is_installed(bare, tmp_path):
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [bare.python, "-m", "robustpo.doctor"]
    json_run = subprocess.run(
        [*command, "--json"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    assert (json_run.returncode, json_run.stderr) == (1, "")
    found = by_name(json_run.stdout)
    assert found["packages"].status == found["training"].status == "fail"
    missing = re.search(r"not installed: (.*) and (\d+) more", found["packages"].detail)
    needed = [line for line in metadata.requires("robustpo") or () if "extra ==" not in line]
    assert missing and len(missing[1].split(", ")) + int(missing[2]) == len(needed)
    locked = packages.read_lock(packages.lock_file())
    assert found["packages"].advice.startswith(f"{bare.python} -m pip install ")
    for name in ("optax", "jax", "tyro"):
        assert f"{name}=={locked[name]}" in found["packages"].advice
    assert "not installed: box2d, dev, dm-control, envpool, frames, mjx" in found["extras"].detail
    assert "not installed" in found["rendering"].detail and found["rendering"].status == "ok"
    assert "No module named" in found["simulators"].detail
    assert "packages" in found["simulators"].advice


def test_the_lock_of_this_python_is_met_by_direct_and_indirect_packages():
    installed = packages.core_packages()
    # jax needs jaxlib, gymnasium cloudpickle; pytest comes with an extra only.
    assert {"jax", "jaxlib", "cloudpickle", "numpy"} <= set(installed)
    assert not {"envpool", "polars", "pytest", "tensorboardx", "robustpo"} & set(installed)
    assert all(installed[name] == metadata.version(name) for name in ("jax", "jaxlib"))


def test_other_versions_than_the_locked_are_a_warning_with_the_command(tmp_path):
    text = packages.lock_file().read_text()
    for name in ("jaxlib", "optax"):
        text = re.sub(rf"^{name}==\S+", f"{name}==0.0.1", text, flags=re.MULTILINE)
    (tmp_path / "py311.txt").write_text(text)
    found = packages.check_packages(tmp_path / "py311.txt")
    assert found.status == "warn"
    assert f"jaxlib {metadata.version('jaxlib')} (tested: 0.0.1)" in found.detail
    # Others of this environment may differ from the real lock too.
    assert {"optax==0.0.1", "jaxlib==0.0.1"} <= set(found.advice.split())
    assert found.advice.startswith(f"{sys.executable} -m pip install ")


def test_a_python_without_a_lock_is_a_warning(tmp_path):
    found = packages.check_packages(tmp_path / "py399.txt")
    assert found.status == "warn" and "no py399.txt" in found.detail


@pytest.mark.parametrize(
    ("version", "system", "status", "words"),
    [
        ((3, 11, 0), "linux", "ok", ""),
        ((3, 13, 2), "linux", "ok", ""),
        ((3, 10, 9), "linux", "fail", "3.11 or newer"),
        ((3, 12, 0), "darwin", "warn", "gymnasium/<id>"),
    ],
)
def test_python_and_platform(version, system, status, words):
    found = packages.check_python(version, system)
    assert found.status == status and words in found.advice


def machine_files(root, *, available, groups, files):
    """Write what Linux says about a machine with 64 GiB."""
    (root / "proc/self").mkdir(parents=True)
    lines = f"MemTotal: {64 * GIB // 1024} kB\nMemAvailable: {available // 1024} kB\n"
    (root / "proc/meminfo").write_text(lines)
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


VERSION_2 = {
    "job/memory.max": "max\n",
    "job/memory.current": str(9 * GIB),
    "job/cpu.max": "max 100000\n",
    # The group above binds: 4 GiB, of which 3 are used, 2.5 by files that can be dropped.
    "memory.max": str(4 * GIB),
    "memory.current": str(3 * GIB),
    "memory.stat": f"anon 1\ninactive_file {GIB * 5 // 2}\n",
    "cpu.max": "50000 100000\n",
}
VERSION_1 = {
    "memory/job/memory.limit_in_bytes": str(4 * GIB),
    "memory/job/memory.usage_in_bytes": str(3 * GIB),
    "memory/job/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB * 5 // 2}\n",
    "memory/memory.limit_in_bytes": "9223372036854771712",
    "cpu/job/cpu.cfs_quota_us": "50000",
    "cpu/job/cpu.cfs_period_us": "100000",
    "cpu/cpu.cfs_quota_us": "-1",
    "cpu/cpu.cfs_period_us": "100000",
}


@pytest.mark.parametrize(
    ("groups", "files"),
    [("0::/job\n", VERSION_2), ("4:memory:/job\n1:cpu,cpuacct:/job\n0::/\n", VERSION_1)],
)
def test_limits_of_control_groups_are_found(tmp_path, groups, files):
    root = machine_files(tmp_path, available=40 * GIB, groups=groups, files=files)
    # 4 − (3 − 2.5) GiB.
    assert machine.memory(root) == (3.5 * GIB, 4 * GIB)
    assert machine.cpu_quota(root) == 0.5
    assert available_cores(root) == 1
    found = machine.check_cores(root)
    assert found.status == "ok" and found.detail.startswith("1 of ") and "of 0.5)" in found.detail
    found = machine.check_memory(root)
    # Three times 0.9 GiB is less than 3.5 GiB, four times is more.
    assert found.detail.startswith("3.5 GiB available within a control group's 4.0 GiB")
    assert "enough for 3 workers" in found.detail
    assert found.status == "ok"


def test_too_little_memory_is_a_warning_with_the_workers_that_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "available_cores", lambda root: 4)
    monkeypatch.setattr(machine, "available_cores", lambda root: 4)
    root = machine_files(tmp_path, available=2 * GIB, groups="", files={})
    found = machine.check_memory(root)
    assert found.status == "warn" and "2 of 4 workers" in found.advice
    assert machine.cpu_quota(root) is None
    count, note = limits.default_workers(root)
    assert count == 2 and note and "2.0 GiB" in note and "--workers 4" in note
    (root / "proc/meminfo").write_text("MemTotal: 4000000 kB\nMemAvailable: 500000 kB\n")
    found = machine.check_memory(root)
    assert found.status == "warn" and "1 of 4 workers" in found.advice
    assert "fewer seeds" in found.advice


@pytest.mark.parametrize("asked", ["cuda", "CUDA,cpu", "rocm"])
def test_an_accelerator_has_one_worker(monkeypatch, asked):
    monkeypatch.setenv("JAX_PLATFORMS", asked)
    count, note = limits.default_workers()
    assert count == 1 and note and f"asks for {asked.split(',')[0].lower()}" in note
    for none in ("", "cpu", "cpu,cuda"):
        monkeypatch.setenv("JAX_PLATFORMS", none)
        assert accelerator() is None


def test_this_machine_has_memory_and_cores():
    room, limit = machine.memory()
    assert room is not None and room > 2**20
    assert limit is None or limit >= room
    assert machine.check_cores().detail.startswith(f"{available_cores()} of ")


def test_places_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    assert machine.check_cache(tmp_path / "file" / "xla").status == "warn"
    assert machine.check_runs(Path("/proc/runs")).status == "warn"
    code = (
        "import os, tempfile; from robustpo.doctor.machine import check_temporary\n"
        "os.chdir('/proc'); tempfile._candidate_tempdir_list = lambda: ['/proc']\n"
        "found = check_temporary(); print(found.status, found.detail, '|', found.advice)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("warn No usable temporary directory"), done.stderr
    assert "TMPDIR" in done.stdout
    assert machine.check_runs(tmp_path / "new" / "runs").status == "ok"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    monkeypatch.setattr(machine, "SMALLEST_FREE_GIB", 1e9)
    found = machine.check_runs(tmp_path / "runs")
    assert found.status == "warn" and f"make room in {tmp_path}" in found.advice


def test_a_simulator_that_ends_its_process_hides_no_other(own_tasks):
    tasks = {
        "first": "test_doctor:Falling",
        "second": "test_doctor:Dying",
        "third": "gymnasium/Pendulum-v1",
        "fourth": "test_doctor:Lost",
    }
    found = trials.check_simulators(tasks)
    assert found.status == "fail"
    first, second, fourth = found.detail.split("; ", 2)
    assert first.endswith("a reward is not finite")
    assert second == "second (test_doctor:Dying): the process was ended by signal 11 (SIGSEGV)"
    assert fourth.startswith("fourth (test_doctor:Lost): ConfigError")


def test_a_simulator_that_hangs_is_given_up(own_tasks):
    start = time.monotonic()
    found = trials.check_simulators({"slow": "test_doctor:Hanging"}, timeout=2)
    assert found.status == "fail" and re.search("did not end within [12] s", found.detail)
    assert time.monotonic() - start < 20


def test_rendering_without_a_driver_names_the_packages(monkeypatch):
    pytest.importorskip("mujoco")
    # The library that hands out drivers finds none there.
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_DIRS", "/proc")
    found = trials.check_rendering(["egl", "nothing"])
    assert found.status == "warn"
    assert "egl: " in found.detail and "nothing: " in found.detail
    assert "apt-get install libegl1 libgl1" in found.advice


def test_rendering_that_is_told_to_use_what_does_not_work(monkeypatch):
    pytest.importorskip("mujoco")
    if trials.check_rendering(["egl"]).status != "ok":
        pytest.skip("this machine has no EGL")
    monkeypatch.setenv("MUJOCO_GL", "nothing")
    found = trials.check_rendering(["egl"])
    assert found.status == "warn" and found.advice == "export MUJOCO_GL=egl"


def test_an_encoder_that_does_not_work_is_named(monkeypatch):
    pytest.importorskip("imageio_ffmpeg")
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/bin/false")
    found = trials.check_rendering(["egl"])
    assert found.status == "warn" and "/bin/false: exit code 1" in found.detail
    assert "imageio-ffmpeg" in found.advice


def test_training_whose_worker_dies_fails(own_tasks):
    found = trials.check_training("test_doctor:Dying", steps=2048)
    assert found.status == "fail"
    assert "1 is not finished" in found.detail and "signal 11" in found.detail
    assert "goes on" not in found.detail
    assert "robustpo train test_doctor:Dying" in found.advice


def test_ctrl_c_leaves_no_worker(own_tasks, monkeypatch, tmp_path):
    mark = tmp_path / "worker"
    monkeypatch.setenv("HANGING_MARK", str(mark))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code = "from robustpo.doctor import trials; trials.check_training('test_doctor:Hanging')"
    running = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not mark.exists():
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    assert running.communicate(timeout=20)[1].strip().endswith("KeyboardInterrupt")
    time.sleep(0.5)
    worker = Path("/proc") / mark.read_text() / "cmdline"
    # A process nobody has waited for yet has an empty command.
    assert not worker.exists() or worker.read_bytes() == b""
    assert not list(tmp_path.glob("robustpo-doctor-*"))


def test_a_check_that_raises_is_a_failure(capsys):
    def careless():
        raise KeyError("two\nlines")

    checks = {"careless": careless, "next": lambda: Finding("ok", "fine")}
    assert doctor.diagnose(checks=checks) == 1
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"fail  careless +KeyError: 'two\\nlines'", lines[0])
    assert lines[1].startswith("      -> ")
    assert re.fullmatch(r"ok    next +fine", lines[2])
    assert lines[-1] == "1 failed, 0 to look at, of 2"


def test_warnings_are_no_failure(capsys):
    checks = {"some": lambda: Finding("warn", "so so", "do this")}
    assert doctor.diagnose(checks=checks) == 0
    assert doctor.diagnose(as_json=True, checks=checks) == 0
    assert '"status": "warn"' in capsys.readouterr().out


def test_one_line_of_bearable_length():
    assert one_line(OSError("a\n  b")) == "OSError: a b"
    assert one_line(NotImplementedError()) == "NotImplementedError"
    assert len(one_line("x" * 999)) == 300


IN_A_TERMINAL = """
from robustpo.doctor import doctor
from robustpo.base.finding import Finding
found = Finding("warn", "detail " * 30, "command " * 30)
doctor.diagnose(checks={"something": lambda: found})
"""


def test_a_terminal_gets_colours_and_commands_that_can_be_copied():
    reader, terminal = pty.openpty()
    env = os.environ | {"COLUMNS": "60", "TERM": "xterm-256color"}
    command = [sys.executable, "-c", IN_A_TERMINAL]
    subprocess.run(command, stdout=terminal, stderr=terminal, env=env, check=True, timeout=60)
    os.close(terminal)
    shown = os.read(reader, 100_000).decode()
    os.close(reader)
    assert "\x1b[33mwarn" in shown
    lines = [re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", line) for line in shown.splitlines()]
    wrapped = [line for line in lines if "detail" in line]
    assert len(wrapped) > 3 and all(len(line) <= 60 for line in wrapped)
    assert all(line.startswith(" " * 25) for line in wrapped[1:])
    (advice,) = [line for line in lines if "command" in line]
    assert advice.count("command") == 30
