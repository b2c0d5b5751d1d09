"""The search: who goes on, what is trained, and that nothing is lost when it is stopped."""

import dataclasses
import math

import numpy as np
import pytest

import robustpo.tuning.search
from robustpo.errors import ConfigError
from robustpo.execution.manner import Execution
from robustpo.runs.record import run_directory
from robustpo.tuning.samplers import GridSampler, OptunaSampler, RandomSampler
from robustpo.tuning.search import Search, best_of, places, run_search
from robustpo.tuning.space import Dimension
from robustpo.tuning.trials import PARTS, Journal, Trial, keep

ALPHA = Dimension("alpha", 0.01, 1.0)
SEARCH = Search(
    "isaac/Cartpole-v0",
    "rpo",
    ("alpha",),
    (0, 1),
    8 * 512,
    {"preset": "paper", "num_steps": 512, "num_minibatches": 4},
)
BEST = 0.2


def value_of(config, step):
    """What a run returns: best near 0.2, more with every step, and its seed's luck."""
    return step / 512 - 10 * abs(config.settings.alpha - BEST) + 0.1 * config.settings.seed


class Trainings:
    """Stands in for the training of runs; may be stopped after so many events."""

    def __init__(self, stop_after=None, breaks=lambda config: False):
        self.left, self.breaks = stop_after, breaks
        self.steps, self.at = 0, {}

    def __call__(self, configs, execution, *, callback, pause_at):
        begun = {c: self.at.get((c.variant, c.settings.seed), 0) for c in configs}
        # As in a population: all go on until the last has come to its pause.
        ahead = max(pause_at[c] - begun[c] for c in configs)
        for _ in range(0, ahead, 512):
            for config in configs:
                key = config.variant, config.settings.seed
                if self.at.get(key, 0) >= config.total_steps or self.breaks(config):
                    continue
                if self.left is not None:
                    self.left -= 1
                    if self.left < 0:
                        raise KeyboardInterrupt
                self.at[key] = self.at.get(key, 0) + 512
                self.steps += 512
                callback(
                    {
                        "variant": key[0],
                        "seed": key[1],
                        "step": self.at[key],
                        "return_mean": value_of(config, self.at[key]),
                    }
                )


class Few:
    """A sampler that has no more than so many settings."""

    def __init__(self, inner, count):
        self.inner, self.count, self.prunes = inner, count, inner.prunes

    def ask(self, number):
        return self.inner.ask(number) if number < self.count else None

    def tell(self, trial):
        self.inner.tell(trial)


def search(tmp_path, monkeypatch, sampler, trainings, budget=1e9, workers=1):
    monkeypatch.setattr(robustpo.tuning.search, "execute", trainings)
    return run_search(
        SEARCH,
        sampler,
        Journal(tmp_path, tmp_path),
        Execution(out=tmp_path / "selection"),
        workers=workers,
        budget=budget,
        say=lambda text: None,
    )


def test_half_of_those_that_came_to_a_rung_go_on():
    trials = [Trial(i, {}, parts=1, values=[v]) for i, v in enumerate((5.0, 1.0, 3.0, None))]
    trials[0].values.append(0.0)
    # 3 known values, of which two may go on; the failed one does not count.
    assert keep(trials, 1) == {0, 2}
    assert keep(trials, 2) == {0}
    # Of equal ones the earlier.
    assert keep([Trial(i, {}, values=[1.0]) for i in range(3)], 1) == {0, 1}


def test_as_many_are_trained_side_by_side_as_fit_a_population():
    assert [places(seeds, 2) for seeds in (1, 2, 3, 5, 9)] == [10, 4, 2, 2, 2]


def test_a_grid_is_trained_to_the_end(tmp_path, monkeypatch):
    trainings = Trainings()
    trials = search(tmp_path, monkeypatch, GridSampler([ALPHA], 5), trainings)
    assert [trial.state for trial in trials] == ["done"] * 5
    assert trainings.steps == 5 * 2 * 8 * 512
    # 0.01, 0.0316, 0.1, 0.316 and 1: the third is 0.1 from the best, the fourth 0.116.
    assert best_of(trials).setting == {"alpha": 0.1}
    assert best_of(trials).value == pytest.approx(8 - 10 * 0.1 + 0.05)


def test_halving_finds_as_good_a_setting_for_less(tmp_path, monkeypatch):
    def run(prunes, name):
        trainings = Trainings()
        inner = RandomSampler([ALPHA], 3, prunes=prunes)
        place = tmp_path / name
        place.mkdir()
        trials = search(place, monkeypatch, Few(inner, 16), trainings)
        return best_of(trials), trials, trainings.steps

    best, all_done, steps = run(False, "random")
    pruned_best, trials, fewer = run(True, "halving")
    assert pruned_best.setting == best.setting
    assert [t.setting for t in trials] == [t.setting for t in all_done]
    assert fewer < 0.7 * steps
    assert {trial.state for trial in trials} == {"done", "pruned"}


@pytest.mark.parametrize("stop_after", [1, 5, 17, 40, 63, 90])
def test_a_search_that_was_stopped_ends_like_one_that_was_not(tmp_path, monkeypatch, stop_after):
    def sampler():
        return Few(RandomSampler([ALPHA], 3, prunes=True), 8)

    whole, parted = tmp_path / "whole", tmp_path / "parted"
    whole.mkdir()
    parted.mkdir()
    expected = search(whole, monkeypatch, sampler(), Trainings())
    trainings = Trainings(stop_after)
    with pytest.raises(KeyboardInterrupt):
        search(parted, monkeypatch, sampler(), trainings)
    with (parted / "trials.jsonl").open("a") as file:
        file.write('{"kind": "judged", "par')  # the last line was torn
        file.write("\n")
    trainings.left = None
    assert search(parted, monkeypatch, sampler(), trainings) == expected
    # Nothing is trained once more, but what was ahead of its part when it stopped.
    again = Trainings()
    search(parted, monkeypatch, sampler(), again)
    assert again.steps == 0


def test_a_setting_that_diverges_is_out_of_it_and_the_rest_goes_on(tmp_path, monkeypatch):
    def breaks(config):
        return config.settings.alpha > 0.5

    monkeypatch.setattr(robustpo.tuning.search, "_failed", lambda execution, c: breaks(c))
    trainings = Trainings(breaks=breaks)
    trials = search(tmp_path, monkeypatch, GridSampler([ALPHA], 5), trainings)
    assert [trial.state for trial in trials] == ["done"] * 4 + ["failed"]


def test_the_budget_ends_it_and_says_who_was_stopped(tmp_path, monkeypatch):
    clock = iter(range(0, 10**6, 10))
    monkeypatch.setattr(robustpo.tuning.search.time, "monotonic", lambda: next(clock))
    # A round takes ten seconds: three of them.
    trials = search(tmp_path, monkeypatch, GridSampler([ALPHA], 5), Trainings(), budget=30)
    assert [trial.parts for trial in trials] == [3, 3]
    assert [trial.state for trial in trials] == ["stopped", "stopped"]
    assert best_of(trials).share == 2 / PARTS
    with pytest.raises(ConfigError, match="larger --budget"):
        best_of([dataclasses.replace(trial, values=[]) for trial in trials])


def test_the_same_budget_again_trains_nothing_and_a_larger_one_takes_up_what_was_stopped(
    tmp_path, monkeypatch
):
    clock = iter(range(0, 10**6, 10))
    monkeypatch.setattr(robustpo.tuning.search.time, "monotonic", lambda: next(clock))
    trainings = Trainings()

    def go_on(budget):
        return search(tmp_path, monkeypatch, GridSampler([ALPHA], 5), trainings, budget=budget)

    first = go_on(33)
    steps = trainings.steps
    assert go_on(33) == first
    assert trainings.steps == steps
    trials = go_on(1000)
    assert [trial.state for trial in trials] == ["done"] * 5
    assert trainings.steps == 5 * 2 * 8 * 512


def test_what_was_not_heard_is_taken_from_the_record(tmp_path, monkeypatch):
    # All were trained to the end of their part, and nobody was there to hear it.
    def rows(directory):
        config = by_place[directory]
        steps = np.arange(512, 2 * 512 + 1, 512)
        returns = [value_of(config, step) for step in steps]
        return {"step": steps.astype(float), "return_mean": np.array(returns)}

    trials = [GridSampler([ALPHA], 5).ask(number) for number in range(5)]
    configs = [config for setting in trials for config in SEARCH.configs(setting or {})]
    by_place = {run_directory(tmp_path / "selection", config): config for config in configs}
    trainings = Trainings()
    trainings.at = {(c.variant, c.settings.seed): 2 * 512 for c in configs}
    monkeypatch.setattr(robustpo.tuning.search, "read_metrics", rows)
    found = search(tmp_path, monkeypatch, GridSampler([ALPHA], 5), trainings)
    other = tmp_path / "other"
    other.mkdir()
    empty = {"step": np.array([]), "return_mean": np.array([])}
    monkeypatch.setattr(robustpo.tuning.search, "read_metrics", lambda directory: empty)
    assert found == search(other, monkeypatch, GridSampler([ALPHA], 5), Trainings())


def test_parts_without_an_episode_decide_nothing(tmp_path, monkeypatch):
    known = value_of

    def unknown(config, step):
        return known(config, step) if step == config.total_steps else math.nan

    monkeypatch.setitem(globals(), "value_of", unknown)
    sampler = Few(RandomSampler([ALPHA], 3, prunes=True), 6)
    trials = search(tmp_path, monkeypatch, sampler, Trainings())
    assert [trial.state for trial in trials] == ["done"] * 6
    assert all(trial.values[:2] == [None, None] for trial in trials)
    nearest = min(trials, key=lambda trial: abs(trial.setting["alpha"] - BEST))
    assert best_of(trials) == nearest


def test_a_setting_that_was_tried_is_not_tried_again(tmp_path, monkeypatch):
    class Same:
        prunes = False

        def ask(self, number):
            return {"alpha": 0.1}

        def tell(self, trial):
            pass

    trials = search(tmp_path, monkeypatch, Few(Same(), 3), Trainings())
    assert [trial.state for trial in trials] == ["done", "repeated", "repeated"]


def test_optunas_model_learns_and_goes_on_from_its_journal(tmp_path, monkeypatch):
    pytest.importorskip("optuna")

    def sampler(place):
        return OptunaSampler([ALPHA], 0, place / "optuna.log")

    trials = search(tmp_path, monkeypatch, Few(sampler(tmp_path), 40), Trainings())
    distances = [abs(trial.setting["alpha"] - BEST) for trial in trials]
    assert sum(distances[-15:]) < 0.6 * sum(distances[:15])
    known = [trial.setting for trial in trials]
    again = sampler(tmp_path)
    assert [again.ask(number) for number in range(40)] == known
    with pytest.raises(ConfigError, match="not of this search"):
        sampler(tmp_path / "..").ask(40)
