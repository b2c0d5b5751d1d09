"""`--config file.toml` and `robustpo config`."""

import json

import pytest

from robustpo.cli import main
from robustpo.cli.options import keywords
from robustpo.cli.parsing import parse
from robustpo.errors import ConfigError

FILE = """\
task = "Pendulum-v1"
seeds = "0:3"
steps = "1M"
hidden_sizes = [32, 16]
normalize_rewards = false
alpha = 0.25      # half of the default
pin = false
fresh = true
env_kwargs = { g = 5.0, name = "a" }
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(FILE)
    return path


def test_a_file_is_what_one_would_type(file):
    typed = ["train", "Pendulum-v1", "--seeds", "0:3", "--steps", "1M", "--hidden-sizes", "32"]
    typed += ["16", "--normalize-rewards", "off", "--alpha", "0.25", "--no-pin", "--fresh"]
    typed += ["--env-kwargs", "g=5.0", "name=a"]
    expected, found = parse(typed, None), parse(["train", "--config", str(file)], None)
    assert keywords(found) == keywords(expected)
    assert (found.task, found.seeds, found.env_kwargs) == (
        "Pendulum-v1",
        "0:3",
        ("g=5.0", "name=a"),
    )


@pytest.mark.parametrize(
    "form", [lambda path: ["--config", path], lambda path: [f"--config={path}"]]
)
def test_what_is_typed_overrides_the_file(file, form):
    words = ["--alpha", "1", "--hidden-sizes", "8", *form(str(file)), "--pin", "--seeds", "7"]
    for given in (["train", "Hopper-v4", *words], ["train", *words, "Hopper-v4"]):
        found = parse(given, None)
        options = keywords(found)
        assert (found.task, found.seeds) == ("Hopper-v4", "7")
        assert (options["alpha"], options["hidden_sizes"], options["pin"]) == (1.0, (8,), True)
        assert options["steps"] == 1_000_000 and options["normalize_rewards"] is False


def test_compare_takes_methods_and_sweeps(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('methods = ["ppo", "rpo:alpha=0.1"]\nalphas = [0.1, 1]\n')
    found = parse(["compare", "Pendulum-v1", "--config", str(path)], None)
    assert found.seeds == "0:10"
    path.write_text(path.read_text() + "seeds = [3, 4]\n")
    found = parse(["compare", "Pendulum-v1", "--config", str(path)], None)
    assert found.seeds == "3,4"
    assert found.methods == ("ppo", "rpo:alpha=0.1") and found.alphas == (0.1, 1.0)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("alpha = 1\nlr = 3\n", r"line 2: unknown setting 'lr'; did you mean learning_rate\?$"),
        ("alhpa = 1\n", r"line 1: unknown setting 'alhpa'; did you mean alpha\?$"),
        ("zzz = 1\n", r"line 1: unknown setting 'zzz'; expected names as in learning_rate"),
        ("methods = ['ppo']\n", r"unknown setting 'methods'; did you mean method\?$"),
        ("[agent]\nalpha = 1\n", "line 1: unknown setting 'agent'"),
        ("\n\nalpha = 'x'\n", "line 3: --alpha does not take 'x', which is no number"),
        ("steps = 1.5\n", "line 1: --steps does not take '1.5', which is no whole number"),
        ("alpha = [[1]]\n", r"line 1: alpha=\[1\] is not valid; expected a number, a text or"),
        ("alpha = 2020-01-01\n", "line 1: alpha=datetime.date"),
        ("allow = ['a:b']\n", "line 1: unknown setting 'allow'"),
        ("config = 'other.toml'\n", "line 1: unknown setting 'config'"),
        ("alpha = \n", "my.toml: Invalid value .at line 1, column 9"),
        (
            "noise = 'lab:student'\n",
            "noise names lab:student, and a file does not decide .* --allow",
        ),
        ("losses = ['lab:one']\n", "losses names lab:one, and a file does not"),
        ("method = 'lab:mine'\n", "method names lab:mine, and a file does not"),
        ("method = 'rpo:noise=lab:student'\n", "method names lab:student, and a file does not"),
        ("method = 'rpo:nois=laplace'\n", "line 1: .*did you mean noise"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_line(tmp_path, text, error):
    path = tmp_path / "my.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=error) as refused:
        parse(["train", "Pendulum-v1", "--config", str(path)], None)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_what_is_refused_later_is_said_with_its_line_too(tmp_path, capsys):
    path = tmp_path / "my.toml"
    path.write_text("# mine\nclip_coef = -1\n")
    words = ["train", "Pendulum-v1", "--config", str(path), "--out", str(tmp_path / "runs")]
    assert main(words) == 2
    assert f"{path}, line 2: clip_coef=-1.0 is not valid" in capsys.readouterr().err
    # What is typed stands in no line.
    assert main([*words, "--clip-coef=-2"]) == 2
    assert "error: clip_coef=-2.0 is not valid" in capsys.readouterr().err


def test_several_names_in_one_word_are_taken_apart(capsys):
    assert main(["compare", "Pendulum-v1", "--methods", "ppo,rpo"]) == 2
    assert "method='ppo,rpo' is several; part them by blanks: ppo rpo" in capsys.readouterr().err


def test_an_extension_is_taken_if_it_is_typed_too(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text("noise = 'lab:student'\n")
    words = ["train", "Pendulum-v1", "--config", str(path), "--allow", "lab:student"]
    assert keywords(parse(words, None))["noise"] == "lab:student"


def test_a_file_that_is_not_there_or_not_named(tmp_path):
    with pytest.raises(ConfigError, match=r"lost\.toml"):
        parse(["train", "Pendulum-v1", "--config", str(tmp_path / "lost.toml")], None)
    for words in (["--config"], ["--config", "--steps", "1"], ["--config="]):
        with pytest.raises(ConfigError, match="--config needs a value"):
            parse(["train", "Pendulum-v1", *words], None)
    with pytest.raises(ConfigError, match="TASK is missing"):
        parse(["train", "--seeds", "1"], None)


def test_the_file_of_a_run_repeats_it(comparison, command_here, tmp_path, tiny):
    for method, seeds in (("ppo", "0,1"), ("rpo", "1")):
        run = comparison.run(method, 1)
        done = command_here("config", run.parent if method == "ppo" else run, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        path = tmp_path / f"{method}.toml"
        path.write_text(done.stdout)
        # Everything is recorded already, so it only names the runs.
        words = ["train", "--config", path, "--out", comparison.home / "runs"]
        again = command_here(*words, cwd=tmp_path)
        assert again.returncode == 0, again.stderr
        named = [line.rpartition("-")[2] for line in again.stdout.split()]
        assert named == seeds.split(",") or named == ["0", "1"]
        assert all(str(run.parent.name) in line for line in again.stdout.split())
    identity = json.loads((run / "config.json").read_text())["identity"]
    assert f"steps = {identity['steps']}" in done.stdout and "update_epochs = 2" in done.stdout


def test_there_is_no_file_of_what_is_no_run(command_here, tmp_path):
    done = command_here("config", "lost", cwd=tmp_path)
    assert done.returncode == 2 and "no configuration in" in done.stderr


def test_the_task_of_an_extended_run_need_not_be_said(comparison, tmp_path):
    (run,) = (comparison.home / "runs").glob("**/rpo_*/seed-0")
    task = json.loads((run / "config.json").read_text())["identity"]["task"]
    for words in (["--extend", str(run)], [f"--extend={run}", "--steps", "2M"]):
        assert parse(["train", *words], None).task == task
    # A module is not imported because a record names it.
    own = tmp_path / "own" / "seed-0"
    own.mkdir(parents=True)
    text = (run / "config.json").read_text().replace(json.dumps(task), '"my_envs:Reach"')
    (own / "config.json").write_text(text)
    with pytest.raises(ConfigError, match="give it too: robustpo train my_envs:Reach"):
        parse(["train", "--extend", str(own)], None)
    with pytest.raises(ConfigError, match="lost"):
        parse(["train", "--extend", str(tmp_path / "lost")], None)
