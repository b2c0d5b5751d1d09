"""What people write on the command line, and what they read there."""

import pytest

from robustpo.base.amounts import parse_count
from robustpo.cli.options import keywords
from robustpo.cli.parsing import COMMANDS, parse
from robustpo.errors import ConfigError


def options(*words):
    return keywords(parse(["train", "Pendulum-v1", *words], None))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("950", 950),
        ("1_000_000", 1_000_000),
        ("1e6", 1_000_000),
        ("1M", 1_000_000),
        ("1.1k", 1100),
        ("2.5m", 2_500_000),
        ("2B", 2_000_000_000),
        ("-3", -3),
        ("1.0", 1),
    ],
)
def test_counts_are_read_as_people_write_them(text, count):
    assert parse_count(text) == count
    assert options("--steps", text)["steps"] == count


@pytest.mark.parametrize("text", ["1.5", "1.2345k", "M", "", "1e", "nan", "inf", "1e400", "0x10"])
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(ValueError, match="is no whole number"):
        parse_count(text)
    with pytest.raises(ConfigError, match=r"--steps does not take '.*', which is no whole number"):
        options(f"--steps={text}")


@pytest.mark.parametrize("words", [("64,32",), ("64", "32"), ("64,", "32")])
def test_lists_have_spaces_or_commas(words):
    assert options("--hidden-sizes", *words)["hidden_sizes"] == (64, 32)
    command = parse(["compare", "Pendulum-v1", "--alphas", "0.1,0.5"], None)
    assert command.alphas == (0.1, 0.5)


@pytest.mark.parametrize(
    ("word", "value"), [("on", True), ("True", True), ("1", True), ("false", False), ("no", False)]
)
def test_switches_take_what_people_write(word, value):
    assert options("--normalize-rewards", word)["normalize_rewards"] is value


def test_what_is_not_given_is_left_to_the_method():
    given = options("--alpha", "3e-1")
    assert given["alpha"] == 0.3 and "gamma" not in given and "hidden_sizes" not in given


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["train", "T", "--lr", "1"], "did you mean --learning-rate?"),
        (["train", "T", "--total-timesteps", "1"], "did you mean --steps?"),
        (["train", "T", "--total_timesteps", "1"], "did you mean --steps?"),
        (["train", "T", "--seed", "1"], "did you mean --seeds?"),
        (["train", "T", "--methods", "rpo"], "did you mean --method?"),
        (["compare", "T", "--method", "rpo"], "did you mean --methods?"),
        (["train", "T", "--n_epochs=4"], "did you mean --update-epochs?"),
        (["train", "--env-id", "T"], "TASK is missing; it stands alone, after the command"),
        (["evaluate", "r", "--episode", "1"], "did you mean --episodes?"),
        (["eval", "r"], "did you mean evaluate?"),
        (["enjoy", "r"], "did you mean record?"),
        (["compair", "r"], "did you mean compare?"),
    ],
)
def test_a_slip_is_one_line_that_says_what_was_meant(words, meant):
    with pytest.raises(ConfigError) as refused:
        parse(words, None)
    assert str(refused.value).endswith(meant)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 120


def test_what_nobody_calls_anything_is_not_guessed():
    with pytest.raises(ConfigError) as refused:
        parse(["evaluate", "r", "--lr", "1"], None)
    assert "did you mean" not in str(refused.value)


def test_bare_robustpo_says_what_to_do_first(command_here, tmp_path):
    done = command_here(cwd=tmp_path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    # What it proposes is what the program takes.
    proposed = [line.strip().split("  ")[0].split() for line in lines if "  robustpo " in line]
    assert len(proposed) == 6
    for _, *words in proposed:
        parse(words, None)


def helped(capsys, monkeypatch, *words):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        parse(list(words), None)
    return capsys.readouterr().out


def test_help_begins_with_what_people_use(capsys, monkeypatch):
    for command in ("train", "compare"):
        short = helped(capsys, monkeypatch, command, "--help")
        whole = helped(capsys, monkeypatch, command, "--help-all")
        assert len(short.splitlines()) < 80 < len(whole.splitlines())
        assert "--steps" in short and "--gae-lambda" not in short and "--gae-lambda" in whole
        assert f"robustpo {command} --help-all" in short
        # The list of methods, once.
        assert whole.count("ppo-noisy-collection") == 1


@pytest.mark.parametrize("command", [*COMMANDS, "study run", "study show", "study report"])
def test_help_says_no_empty_default_and_no_name_of_the_code(command, capsys, monkeypatch):
    text = helped(capsys, monkeypatch, *command.split(), "--help-all")
    assert all(word not in text for word in ("default: )", "{None}", "command.", "command options"))
    assert all(len(line) <= 80 for line in text.splitlines() if line.startswith(("│", "╭", "╰")))
