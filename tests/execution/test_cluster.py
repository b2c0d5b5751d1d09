"""Ray trains the same bits as this machine does, whatever dies while it does."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import gymnasium
import pytest

from faults.killing import assert_same_runs, kill, workers_in
from robustpo.config.run import make_config
from robustpo.environments import availability
from robustpo.errors import ConfigError, TrainingError
from robustpo.execution import cluster_connection
from robustpo.execution.cluster import run_shards_on_ray
from robustpo.execution.cluster_mailbox import Mailbox
from robustpo.execution.cluster_worker import Job, _require_shared_storage
from robustpo.execution.local import run_shards
from robustpo.execution.manner import Execution
from robustpo.execution.worker_process import Shard
from robustpo.runs.record import run_directory

ray = pytest.importorskip("ray", reason="pip install 'robustpo[ray]'")

# Other tests may have started JAX in this process, and Ray's nodes of these tests are made by
# forks, which JAX warns of; they are followed by another program at once.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")

TASK = "dm_control/cartpole-balance-v0"
# Sixty rollouts of 512 steps, a checkpoint after every second.
SMALL = {
    "steps": 30720,
    "num_steps": 512,
    "num_minibatches": 4,
    "update_epochs": 1,
    "hidden_sizes": (16, 16),
}
HERE = Execution(pin=False, checkpoint_every=1024, ray="auto")
LONG_BEFORE_THE_END = 4096
STORE_BYTES = 80 * 2**20


class Broken(gymnasium.Env):
    """Cannot be reset."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        raise RuntimeError("a wire has come loose")


def shards(*groups, task=TASK, **options):
    """Return a shard per group of seeds."""
    populations = [
        [make_config(task, "rpo", seed=seed, **(SMALL | options)) for seed in group]
        for group in groups
    ]
    return [Shard(p, [run_directory(Path("runs"), c) for c in p]) for p in populations]


def ray_processes():
    """Return Ray's processes that this one has started, with all below them."""
    parents, names = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parents[place.name] = (place / "stat").read_text().rpartition(")")[2].split()[1]
            names[place.name] = (place / "cmdline").read_bytes()
        except OSError:
            continue
    mine = {str(os.getpid())}
    while more := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= more
    return [pid for pid in mine if b"ray" in names.get(pid, b"").split(b"\0")[0]]


@pytest.fixture(scope="module", autouse=True)
def private_token():
    """Let only these tests talk to the Rays that they start, and leave the home alone."""
    from ray import _raylet

    before = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    # Ray has read the environment when it was imported.
    vars(_raylet)["Config"].initialize("")
    yield
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    assert ray_processes() == []


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """Two runs side by side in one worker process of this machine."""
    home = tmp_path_factory.mktemp("untouched")
    before = os.getcwd()
    os.chdir(home)
    try:
        assert run_shards(shards([0, 1]), workers=1, options=HERE.worker) is None
    finally:
        os.chdir(before)
    return home / "runs"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def running_cluster():
    """A head without cores, and no nodes yet; its files are where nobody looks for a cluster."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    with contextlib.ExitStack() as stack:
        place = tempfile.mkdtemp(prefix="robustpo-test-ray-", dir="/tmp")
        stack.callback(shutil.rmtree, place)
        Path(place, "ray").mkdir()
        stack.enter_context(pytest.MonkeyPatch.context()).setenv("RAY_TMPDIR", place)
        cluster = Cluster(initialize_head=True, head_node_args=head)
        stack.callback(cluster.shutdown)
        yield cluster


@pytest.fixture
def cluster(running_cluster):
    """Beside the head two nodes of one core each."""
    while len(running_cluster.worker_nodes) < 2:
        running_cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    return running_cluster


class Heard:
    """Remembers all events; does something once, when training is well on its way."""

    def __init__(self, act=lambda: None):
        self.events, self.act = [], act

    def __call__(self, event, directory):
        self.events.append((event, directory))
        if event["kind"] == "iteration" and event["step"] >= LONG_BEFORE_THE_END and self.act:
            act, self.act = self.act, None
            act()

    def texts(self, kind):
        return [event["text"] for event, _ in self.events if event["kind"] == kind]


def resumed_at(home):
    """Return where runs have gone on, by seed."""
    files = (home / "runs").rglob("config.json")
    return {f.parent.name: [r["step"] for r in json.loads(f.read_text())["resumed"]] for f in files}


@pytest.mark.slow
def test_ray_on_this_machine_alone_trains_the_same_bits(home, untouched, capfd):
    before = signal.getsignal(signal.SIGTERM)
    heard = Heard()
    left = {path.name for path in Path("/tmp").glob("*ray*")}
    assert run_shards_on_ray(shards([1], [0]), HERE, on_event=heard) is None
    assert capfd.readouterr() == ("", "")
    assert signal.getsignal(signal.SIGTERM) is before
    assert not ray.is_initialized() and ray_processes() == []
    assert {path.name for path in Path("/tmp").glob("*ray*")} == left
    assert list((home / "runs").rglob(".ray-*")) == []
    assert_same_runs(untouched, home / "runs")
    for seed in (0, 1):
        mine = [(e, d) for e, d in heard.events if e.get("seed") == seed]
        assert {d for _, d in mine} == {d for s in shards([seed]) for d in s.directories}
        steps = [e["step"] for e, _ in mine if e["kind"] == "iteration"]
        assert steps == list(range(512, SMALL["steps"] + 1, 512))
        assert [e["kind"] for e, _ in mine][-1] == "finished"


def node_that_trains(cluster, home):
    """Return the node whose raylet is the parent of a worker process's parent."""
    above = next(iter(workers_in(home)))
    for _ in range(2):
        status = Path(f"/proc/{above}/stat").read_text()
        above = int(status.rpartition(")")[2].split()[1])
    raylets = {n.all_processes["raylet"][0].process.pid: n for n in cluster.worker_nodes}
    return raylets[above]


@pytest.mark.slow
def test_a_node_and_a_process_that_die_change_no_bit(home, untouched, cluster, capfd):
    def kill_process():
        kill(workers_in(home)[0])
        heard.act = kill_node

    def kill_node():
        if not heard.texts("note"):
            # Said by the attempt that has just been killed.
            heard.act = kill_node
            return
        worker = workers_in(home)[0]
        node = node_that_trains(cluster, home)
        cluster.remove_node(node, allow_graceful=False)
        # It does not survive its node, beside whose next attempt it would write.
        deadline = time.monotonic() + 10
        while worker in workers_in(home):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    heard = Heard(kill_process)
    capfd.readouterr()
    run_shards_on_ray(shards([0, 1]), replace(HERE, ray=cluster.address), on_event=heard)
    assert capfd.readouterr() == ("", "")
    assert heard.act is None and heard.texts("failed") == []
    notes = heard.texts("note")
    assert ["attempt 2" in notes[0], "attempt 3" in notes[1], len(notes)] == [True, True, 2]
    for steps in resumed_at(home).values():
        # A resume after which no checkpoint was written is forgotten with what came after it.
        assert len(steps) in (1, 2)
        assert all(LONG_BEFORE_THE_END - 1024 <= step < SMALL["steps"] for step in steps)
    assert_same_runs(untouched, home / "runs")
    # Given again, nothing is trained again.
    times = {path: path.stat().st_mtime_ns for path in (home / "runs").rglob("*.safetensors")}
    again = Heard()
    run_shards_on_ray(shards([0], [1]), replace(HERE, ray=cluster.address), on_event=again)
    said = sorted((event["kind"], event["seed"]) for event, _ in again.events)
    assert said == [("finished", 0), ("finished", 1)]
    assert times == {path: path.stat().st_mtime_ns for path in times}


@pytest.mark.slow
def test_ctrl_c_stops_in_order_and_the_next_command_goes_on(home, untouched, cluster):
    def interrupt():
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    heard = Heard(interrupt)
    try:
        stopped = run_shards_on_ray(
            # Two fit; the third is still queued and never begins.
            shards([0], [1], [2]),
            replace(HERE, ray=cluster.address, checkpoint_every=10**9),
            on_event=heard,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert isinstance(stopped, KeyboardInterrupt)
    assert heard.texts("note") == ["stopping; what was recorded is kept"]
    assert heard.texts("failed") == [] and workers_in(home) == []
    assert not ray.is_initialized()
    # Whichever came first interrupted; the other may still have compiled, with nothing to keep.
    reached = {d.name: e["step"] for e, d in heard.events if e["kind"] == "iteration"}
    assert LONG_BEFORE_THE_END <= max(reached.values()) < SMALL["steps"]
    saved = (home / "runs").rglob("step-*.safetensors")
    assert {p.parts[-3]: int(p.stem.removeprefix("step-")) for p in saved} == reached
    assert "seed-2" not in {place.name for place in (home / "runs").rglob("seed-*")}
    run_shards_on_ray(shards([0, 1]), replace(HERE, ray=cluster.address))
    assert {name: at[0] for name, at in resumed_at(home).items() if at} == reached
    assert_same_runs(untouched, home / "runs")


@pytest.mark.slow
def test_a_second_ctrl_c_kills(home, cluster):
    def interrupt(event, directory):
        if event["kind"] in ("iteration", "note"):
            raise KeyboardInterrupt

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_shards_on_ray(
            shards([0], steps=10**9), replace(HERE, ray=cluster.address), on_event=interrupt
        )
    assert time.monotonic() - begin < 120
    assert workers_in(home) == [] and not ray.is_initialized()


def test_an_error_of_a_run_is_said_once_and_not_tried_again(home, cluster):
    heard = Heard()
    broken = shards([0, 1], task="execution.test_cluster:Broken")
    run_shards_on_ray(broken, replace(HERE, ray=cluster.address), on_event=heard)
    failed = [(e["text"], e["lost"], d) for e, d in heard.events if e["kind"] == "failed"]
    assert [d for _, _, d in failed] == broken[0].directories
    assert "a wire has come loose" in failed[0][0] and failed[1][0] is None
    assert heard.texts("note") == []


def test_without_the_package_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(availability, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"ray, .*pip install 'robustpo\[ray\]'"):
        run_shards_on_ray(shards([0]), HERE)


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "elsewhere"])
def test_a_cluster_that_does_not_answer_is_refused_at_once(home, address):
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]
    begin = time.monotonic()
    with pytest.raises(ConfigError, match=r"no Ray cluster can be reached at .*ray start") as error:
        run_shards_on_ray(shards([0]), replace(HERE, ray=address.format(port)))
    assert time.monotonic() - begin < 10 and "\n" not in str(error.value)
    assert list(home.iterdir()) == []


def test_a_ray_that_does_not_start_is_one_line_and_leaves_nothing(home, monkeypatch):
    def die(*arguments, **options):
        # As Ray does when one of its own processes has died while it started.
        raise Exception("The current node timed out during startup.\nMore of it.")

    left = {path.name for path in Path("/tmp").glob("robustpo-ray-*")}
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(ray, "init", die)
    with pytest.raises(TrainingError, match=r"timed out during startup\.\); nothing") as error:
        run_shards_on_ray(shards([0]), replace(HERE, ray="local"))
    assert "\n" not in str(error.value) and signal.getsignal(signal.SIGTERM) is handler
    assert {path.name for path in Path("/tmp").glob("robustpo-ray-*")} == left
    assert list(home.iterdir()) == []


def test_a_ray_that_was_too_slow_is_started_once_more(tmp_path, monkeypatch):
    tried = []

    def start(address, **options):
        tried.append(options["_temp_dir"])
        if len(tried) == 1:
            raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", start)
    cluster_connection._start(str(tmp_path))
    assert tried == [str(tmp_path)] * 2


def test_a_node_that_does_not_see_the_storage_is_named(tmp_path):
    job = Job(HERE.worker, str(tmp_path), (), tmp_path / ".ray-1", "token", 0.0)
    with pytest.raises(ConfigError, match=f"does not see {tmp_path}"):
        _require_shared_storage(job)
    job.marker.write_text("another")
    with pytest.raises(ConfigError, match="storage that all nodes share"):
        _require_shared_storage(job)
    job.marker.write_text("token")
    _require_shared_storage(job)


def test_room_is_counted_node_by_node(monkeypatch):
    nodes = [{"CPU": 3.0}, {"CPU": 8.0, "GPU": 1.0}, {}]
    monkeypatch.setattr(cluster_connection, "_nodes", lambda: nodes)
    # 3 and 8 cores hold one shard of two cores and four; a GPU holds three thirds.
    assert cluster_connection.slots(2.0) == 1 + 4
    assert cluster_connection.slots(1.0, 1 / 3) == 3
    assert cluster_connection.require_room(8.0, 1.0, started=True) is None
    waiting = cluster_connection.require_room(9.0, 0.0, started=False)
    assert waiting and waiting.startswith("no node of the cluster has num_cpus=9")
    with pytest.raises(ConfigError, match="num_cpus=1 and num_gpus=2"):
        cluster_connection.require_room(1.0, 2.0, started=True)


def test_the_mailbox_keeps_what_was_not_heard_and_ignores_attempts_that_were_replaced():
    async def talk():
        mailbox = Mailbox(2)
        first = await mailbox.begin(0) or 0
        enough = asyncio.create_task(mailbox.enough(0, first))
        await mailbox.say(0, first, [{"n": 1}, {"n": 2}])
        assert await mailbox.listen(0) == [(0, {"n": 1}), (0, {"n": 2})]
        # The driver was interrupted after the first of them.
        assert await mailbox.listen(1) == [(0, {"n": 2})]
        second = await mailbox.begin(0) or 0
        assert await asyncio.wait_for(enough, 1.0)
        await mailbox.say(0, first, [{"n": 3}])
        await mailbox.say(0, second, [{"n": 4}])
        assert await mailbox.listen(2) == [(0, {"n": 4})]
        # The end of the first attempt is not the end of the second.
        await mailbox.end(0, first)
        assert await mailbox.stop() == {0}
        assert await mailbox.begin(1) is None
        assert not await asyncio.wait_for(mailbox.enough(0, second), 1.0)
        assert await mailbox.listen(3) == []

    asyncio.run(talk())
