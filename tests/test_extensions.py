"""Extensions: used by name, kept by name, and imported only where a person has named them."""

import json
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import robustpo
from robustpo.algorithm.losses import LossTerm, loss_rows, minibatch_keys
from robustpo.base import registry
from robustpo.base.registry import NOISES
from robustpo.config.definitions import find_method
from robustpo.config.run import RunConfig, make_config
from robustpo.config.settings import NUMBER_FIELDS, SETTING_NAMES, Settings
from robustpo.config.shape import Shape
from robustpo.errors import ConfigError
from robustpo.execution.extensions import require_usable
from robustpo.runs.identity import config_from_identity, plain
from robustpo.runs.record import RunRecord
from robustpo.studies.grid import parse_method, write_method
from robustpo.training.population import coefficients_at
from training.populations import small, train

EXAMPLE = Path(__file__).parents[1] / "examples" / "my_lab.py"
METHODS = (
    "my_lab:mine",
    "rpo:distribution=my_lab:logistic,alpha_schedule=my_lab:steps",
    "rpo:estimator=my_lab:antithetic,losses=my_lab:action_l2,loss_weights=0.01",
)
STUDY = """\
tasks = ["Pendulum-v1"]
methods = ["my_lab:mine"]
seeds = [0]
steps = 1024
num_steps = 512
num_minibatches = 2
update_epochs = 1
noise = "my_lab:student"
"""
TINY = ("--steps", 1024, "--num-steps", 512, "--num-minibatches", 2, "--update-epochs", 1)
# Says that it was imported.
TRAP = "print('imported a trap')\nraise SystemExit('sprung')\n"


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch):
    monkeypatch.setattr(registry, "_named", {})


@pytest.fixture
def example(monkeypatch):
    """Have the example on the path of this process."""
    monkeypatch.syspath_prepend(EXAMPLE.parent)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, robustpo_command):
    """A directory in which a comparison has trained each extension by name."""
    place = tmp_path_factory.mktemp("lab")
    shutil.copy(EXAMPLE, place)
    arguments = ("compare", "Pendulum-v1", "--methods", *METHODS, "--seeds", "0", *TINY)
    done = robustpo_command(*arguments, "--noise", "my_lab:student", cwd=place, timeout=400)
    assert done.returncode == 0, done.stderr
    return place


def run_of(place, word):
    return next((place / "runs" / "Pendulum-v1").glob(f"*{word}*/seed-0"))


def test_each_extension_is_trained_by_its_name(trained):
    identity = json.loads((run_of(trained, "logistic") / "config.json").read_text())
    assert identity["identity"]["shape"]["distribution"] == "my_lab:logistic"
    assert identity["identity"]["settings"]["alpha_schedule"] == "my_lab:steps"
    # A digest of the source stands beside the identity, for each name.
    assert len(set(identity["extensions"].values())) == 1
    assert set(identity["extensions"]) == {"my_lab:logistic", "my_lab:steps", "my_lab:student"}
    mine = json.loads((run_of(trained, "my-lab-mine") / "config.json").read_text())["identity"]
    assert (mine["method"], mine["settings"]["alpha"]) == ("my_lab:mine", 0.2)
    rows = (run_of(trained, "antithetic") / "metrics.jsonl").read_text().splitlines()
    assert all(json.loads(row)["extra_loss"] >= 0 for row in rows)


def test_the_schedule_is_the_users(trained):
    rows = (run_of(trained, "logistic") / "metrics.jsonl").read_text().splitlines()
    # Two iterations, before which no half and one half of the updates are done: ½⁰ and ½².
    assert [json.loads(row)["alpha"] for row in rows] == [0.5, 0.125]


def test_a_policy_of_ones_own_family_acts_once_it_is_named(trained, example):
    run = run_of(trained, "logistic")
    with pytest.raises(ConfigError, match="--allow my_lab:logistic"):
        robustpo.evaluate(run, episodes=1)
    found = robustpo.evaluate(run, episodes=1, allow=["my_lab:logistic"])
    assert np.isfinite(found.as_dict()["mean"])


def test_reports_import_nothing(trained, tmp_path):
    """A module that ends whoever imports it stands in for the one that was trained with."""
    shutil.copytree(trained / "runs", tmp_path / "runs")
    (tmp_path / "my_lab.py").write_text(TRAP)
    code = "import robustpo; print(robustpo.load_summary('runs').height)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.split()[:1] == ["3"], done.stderr


def test_a_study_names_nothing_by_itself(trained, tmp_path, robustpo_command):
    (tmp_path / "mine.toml").write_text(STUDY)
    (tmp_path / "my_lab.py").write_text(TRAP)
    refused = robustpo_command("study", "run", "mine.toml", cwd=tmp_path)
    assert refused.returncode == 2
    assert "--allow my_lab:mine" in refused.stderr and "trap" not in refused.stdout
    assert not (tmp_path / "runs").exists()
    # The same study, named, in a directory that has the real module, and again to keep its runs.
    shutil.copy(EXAMPLE, tmp_path)
    run = ("study", "run", "mine.toml", "--allow", "my_lab:mine")
    assert robustpo_command(*run, cwd=tmp_path, timeout=300).returncode == 0
    (tmp_path / "my_lab.py").write_text(EXAMPLE.read_text() + "# changed\n")
    kept = robustpo_command(*run, cwd=tmp_path)
    assert kept.returncode == 0
    assert "the source of my_lab:student is not what" in kept.stderr
    # Neither how far it is nor its page takes the module.
    (tmp_path / "my_lab.py").write_text(TRAP)
    for words in (("study", "status", "mine.toml"), ("study", "report", "mine.toml")):
        done = robustpo_command(*words, cwd=tmp_path)
        assert done.returncode == 0 and "trap" not in done.stdout, done.stderr


@pytest.mark.slow
def test_ray_trains_what_the_command_names(tmp_path, robustpo_command):
    pytest.importorskip("ray")
    shutil.copy(EXAMPLE, tmp_path)
    words = ("train", "Pendulum-v1", "--noise", "my_lab:student", *TINY, "--ray", "auto")
    done = robustpo_command(*words, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr


def test_a_run_that_was_stopped_goes_on(tmp_path, robustpo_command):
    """Its checkpoint and its record name the extension; the command names it again."""
    shutil.copy(EXAMPLE, tmp_path)
    code = (
        "import robustpo\n"
        "def stop(event):\n"
        "    if event.get('step'): raise SystemError('enough')\n"
        "robustpo.train('Pendulum-v1', noise='my_lab:student', callback=stop, steps=10240,\n"
        "    num_steps=512, num_minibatches=2, update_epochs=1)"
    )
    stopped = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert "SystemError: enough" in stopped.stderr
    words = ("train", "Pendulum-v1", "--noise", "my_lab:student", "--steps", 10240, *TINY[2:])
    done = robustpo_command(*words, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    config = json.loads((run_of(tmp_path, "student") / "config.json").read_text())
    assert [0 < begun["step"] < 10240 for begun in config["resumed"]] == [True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": "my_lab:logistic"}, "a noise has to be a robustpo.NoiseFamily"),
        ({"noise": "my_lab:nothing"}, "has no attribute 'nothing'"),
        ({"noise": "no_such_lab:x"}, "No module named 'no_such_lab'"),
        ({"noise": "my_lab:student", "estimator": "marginal"}, "uniform or gaussian"),
        ({"distribution": "my_lab:logistic", "estimator": "expected"}, "Gaussian policies only"),
        ({"distribution": "my_lab:logistic", "augmentation": "drac"}, "needs a divergence"),
        ({"entropy_schedule": "my_lab:steps"}, "made for entropy_coef, but for alpha"),
        ({"noise": "lapalce"}, "did you mean laplace"),
        ({"losses": ("drac",)}, "module:name of a loss of your own"),
        ({"losses": ("my_lab:action_l2",)}, "loss_weights=.* expected 1"),
        ({"losses": ("my_lab:a", "my_lab:a"), "loss_weights": (1, 2)}, "no name twice"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(example, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        robustpo.train("Pendulum-v1", out=tmp_path / "runs", progress=False, **options)
    assert not (tmp_path / "runs").exists()


def test_an_entry_point_is_named_by_being_installed(example, monkeypatch, tmp_path):
    info = tmp_path / "their_lab-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-lab\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[robustpo.noise]\nstudent = my_lab:student\n")
    monkeypatch.syspath_prepend(tmp_path)
    # The identity has the module and the name, not the word that stands for them.
    assert Shape(noise="student").noise == "my_lab:student"
    # χ² with 5 degrees of freedom in the denominator: 5/(5 − 2).
    assert registry.NOISES["my_lab:student"].variance == pytest.approx(5 / 3)
    with pytest.raises(ConfigError, match="did you mean student"):
        Shape(noise="studnet")


def test_a_module_that_only_a_file_names_is_not_imported(monkeypatch, tmp_path, capsys):
    (tmp_path / "trap.py").write_text(TRAP)
    monkeypatch.syspath_prepend(tmp_path)
    identity = plain(RunConfig("Pendulum-v1", shape=Shape(noise="trap:noise")).identity())
    config = config_from_identity(identity)
    assert config.variant.startswith("rpo_noise-trap-noise-")
    with pytest.raises(ConfigError, match="--allow trap:noise"):
        config.require_usable()
    assert find_method("trap:method").overrides == {}
    assert "trap" not in sys.modules and capsys.readouterr().out == ""
    robustpo.allow(["trap:noise"])
    with pytest.raises(ConfigError, match="cannot be imported: SystemExit: sprung"):
        config.require_usable()


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("my_lab:mine", "my_lab:mine", {}),
        ("a.b:mine:alpha=0.1,noise=a.b:c", "a.b:mine", {"alpha": 0.1, "noise": "a.b:c"}),
        (
            "rpo:losses=a:b/c.d:e,loss_weights=0.1/1e-05,hidden_sizes=8x8,log_std_min=none",
            "rpo",
            {
                "losses": ("a:b", "c.d:e"),
                "loss_weights": (0.1, 1e-5),
                "hidden_sizes": (8, 8),
                "log_std_min": None,
            },
        ),
        ("rpo:noise=my_lab:student", "rpo", {"noise": "my_lab:student"}),
    ],
)
def test_methods_are_written_as_they_are_read(text, name, options):
    assert parse_method(text) == (name, options)
    assert write_method(name, options) == text


def test_an_own_method_is_what_it_sets_wherever_it_is_made(example):
    config = make_config("Pendulum-v1", "my_lab:mine", steps=4096)
    assert (config.shape.noise, config.settings.alpha) == ("my_lab:student", 0.2)
    with pytest.raises(ConfigError, match="by definition has noise my_lab:student"):
        make_config("Pendulum-v1", "my_lab:mine", noise="laplace")


def test_terms_weigh_what_their_places_say():
    def per_row(params, policy, value, batch, coefficients, shape, *, key):
        return value + jax.random.uniform(key, value.shape) * 0

    def squared(*given, key):
        return per_row(*given, key=key) ** 2

    terms = {"a:x": LossTerm(per_row), "a:y": LossTerm(squared)}
    value = jnp.array([1.0, 3.0])
    shape = Shape(losses=("a:x", "a:y"))
    config = RunConfig("Pendulum-v1", settings=Settings(loss_weights=(2, 0.5)), shape=shape)
    coefficients = jax.tree.map(lambda x: x[0], coefficients_at([config], [0]))
    noise_key, keys = minibatch_keys(shape, key=jax.random.key(0))
    words = {tuple(np.asarray(jax.random.key_data(key)).tolist()) for key in (noise_key, *keys)}
    assert len(words) == 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("robustpo.algorithm.losses.LOSSES", terms)
        rows, weights = loss_rows(coefficients, shape, keys, None, None, value, None)
    # 2 v + ½ v²
    np.testing.assert_allclose(rows["extra_loss"], [2.5, 10.5], rtol=1e-6)
    assert weights == {"extra_loss": 1.0}


def test_a_term_that_is_built_in_is_used_by_its_name(monkeypatch):
    """So a new one is its module and its line in the registry."""

    def per_row(params, policy, value, batch, coefficients, shape, *, key):
        return value

    monkeypatch.setitem(registry.LOSSES._builtins, "value", LossTerm(per_row))
    shape = Shape(losses=("value",), augmentation="drac")
    assert shape.loss_terms == ("drac", "value") and shape.extensions == ()
    with pytest.raises(ConfigError, match="losses='drac' is unknown; choose one of value"):
        Shape(losses=("drac",))
    with pytest.raises(ConfigError, match="give both"):
        LossTerm(per_row, weight="entropy_coef")
    with pytest.raises(ConfigError, match="give both"):
        LossTerm(per_row, metric="drac_loss")


FAULTY = """
import jax
import jax.numpy as jnp
import robustpo

per_dimension = robustpo.NoiseFamily(lambda size, *, key: jax.random.uniform(key, size[-1:]))
one_for_all = robustpo.NoiseFamily(lambda size, *, key: jax.random.uniform(key))
without_key = robustpo.NoiseFamily(lambda size: jnp.zeros(size))
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("per_dimension", r"drew an array of shape \(3,\) where \(2, 3\) was asked for"),
        ("one_for_all", r"drew an array of shape \(\) where"),
        ("without_key", "cannot be drawn: TypeError: .*'key'"),
    ],
)
def test_noise_of_another_shape_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, name, message
):
    (tmp_path / "faulty_lab.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=f"noise 'faulty_lab:{name}' {message}"):
        robustpo.train("Pendulum-v1", noise=f"faulty_lab:{name}", out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_every_source_that_a_run_was_trained_with_counts(example, tmp_path):
    """It was begun and gone on with one source, in between with another."""
    config = make_config("Pendulum-v1", noise="my_lab:student")
    robustpo.allow(["my_lab:student"])
    RunRecord(tmp_path, config).save_checkpoint({}, {"step": 2048})
    assert require_usable({config: tmp_path}) == []
    RunRecord(tmp_path, config)
    record = json.loads((tmp_path / "config.json").read_text())
    (resumed,) = record["resumed"]
    assert resumed["extensions"] == record["extensions"] != {}
    resumed["extensions"]["my_lab:student"] = "0" * 64
    (tmp_path / "config.json").write_text(json.dumps(record))
    (note,) = require_usable({config: tmp_path})
    assert "the source of my_lab:student is not what" in note


@pytest.mark.parametrize("noise_in", ["update", "collection"])
def test_what_is_defined_anew_under_its_name_is_what_trains(monkeypatch, noise_in):
    lab = types.ModuleType("anew_lab")
    monkeypatch.setitem(sys.modules, "anew_lab", lab)
    robustpo.allow(["anew_lab:mine"])

    def learned(noise):
        (found,) = train([small(noise=noise, noise_in=noise_in)])
        return found["policy"]

    for name in ("uniform", "laplace"):
        monkeypatch.setattr(lab, "mine", NOISES[name], raising=False)
        mine, built_in = learned("anew_lab:mine"), learned(name)
        assert all(np.array_equal(x, mine[key]) for key, x in built_in.items())


def test_every_number_of_the_settings_reaches_the_program():
    numbers = {field.name for field in NUMBER_FIELDS}
    changed: dict[str, Any] = dict.fromkeys(numbers - {"scale_high"}, 0.25)
    found = coefficients_at([RunConfig("Pendulum-v1", settings=Settings(**changed))], [0])
    for name in changed:
        np.testing.assert_array_equal(getattr(found, name), np.array([0.25], np.float32))
    off = coefficients_at([RunConfig("Pendulum-v1")], [0])
    assert (off.log_std_min, off.target_kl) == (-np.inf, np.inf)
    # Runs are named by what was changed, in this order.
    assert SETTING_NAMES[:4] == ("seed", "alpha", "alpha_schedule", "noise_location")
