"""An agent is the same to the last bit whatever population it is in; alpha 0 is no noise at all."""

import numpy as np
import pytest

from robustpo.config.run import make_config
from training.populations import TASK, assert_same_bits, small, train

AGENTS = [
    small(seed=0),
    small("ppo", seed=0),
    small(seed=1),
    small(seed=2, alpha=3.0),
    small("ppo-entropy", seed=2),
    small(seed=3, learning_rate=1e-2, learning_rate_schedule="constant"),
    small(seed=4, gamma=0.9, gae_lambda=0.5),
    small(seed=5, time_limit="bootstrap"),
    small(seed=6, clip_coef=0.05, value_coef=2.0),
    small(seed=7, target_kl=1e-4),
    small(seed=8, max_grad_norm=0.01),
    small(seed=9, steps=64),  # done after the first of three iterations
    small(seed=10, learning_rate=1e30),  # breaks down at once
    small("rpo-annealed", seed=11),
    small(seed=12, alpha_schedule="std", noise_location=0.1),
    small("ppo-std-floor", seed=13, log_std_min=-1e-3, entropy_schedule="linear"),
]


@pytest.fixture(scope="module")
def all_agents():
    return dict(zip(AGENTS, train(AGENTS), strict=True))


def test_agents_differ_where_their_settings_do(all_agents):
    weights = [tuple(x["policy"]["log_std"].tolist()) for x in all_agents.values()]
    assert len(set(weights)) == len(weights)
    reported = [len(x["reported"]) for x in all_agents.values()]
    assert reported[:11] == [3] * 11 and reported[11] == 1 and reported[13:] == [3] * 3


@pytest.mark.parametrize(
    "members",
    [
        [0],
        [5],
        [7, 0, 10],  # another place, other neighbours
        [12, 2, 1],  # beside one that breaks down
        [14, 15, 13],
        # A full eight, in another order.
        pytest.param([6, 8, 3, 4, 5, 0, 9, 11], marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_an_agent_does_not_depend_on_its_population(all_agents, members):
    configs = [AGENTS[i] for i in members]
    for config, result in zip(configs, train(configs), strict=True):
        expected = all_agents[config]
        if result["learner"] is None or expected["learner"] is None:
            result, expected = result | {"learner": None}, expected | {"learner": None}
        assert_same_bits(result, expected)


def test_the_same_agent_twice_is_the_same_agent(all_agents):
    first, second, other = train([AGENTS[0], AGENTS[0], AGENTS[2]])
    for twin in (first, second):
        assert_same_bits(twin["learner"], all_agents[AGENTS[0]]["learner"])
        assert_same_bits(twin["policy"], all_agents[AGENTS[0]]["policy"])
    assert not np.array_equal(first["policy"]["log_std"], other["policy"]["log_std"])


def test_alpha_zero_trains_as_a_program_without_noise():
    seeds = range(3)
    with_noise = train([small("ppo", seed=seed) for seed in seeds])
    without = train([small("rpo", seed=seed, noise="none") for seed in seeds])
    for one, other in zip(with_noise, without, strict=True):
        assert_same_bits(one["learner"], other["learner"])
        assert_same_bits(one["policy"], other["policy"])
        for report in one["reported"] + other["reported"]:
            for name in ("noise_clip_fraction", "noise_kl", "sigma_alpha", "perturbed_kl"):
                report.pop(name, None)  # what is said of the noise itself
        alphas = [report.pop("alpha") for report in one["reported"] + other["reported"]]
        assert alphas == [0.0] * 3 + [0.5] * 3
        assert_same_bits(one["reported"], other["reported"])


def test_collection_does_not_know_alpha():
    plain, mild, wild = train([small(seed=0, alpha=alpha, steps=64) for alpha in (0.0, 0.5, 9.0)])
    for perturbed in (mild, wild):
        # The moments are those of every state visited; the first rollout precedes any update.
        for name in ("observation.mean", "observation.variance"):
            assert_same_bits(perturbed["policy"][name], plain["policy"][name])
        assert not np.array_equal(perturbed["policy"]["log_std"], plain["policy"]["log_std"])


@pytest.mark.parametrize(
    ("method", "counts"),
    [
        ("rpo-both", (1, 2, 4)),
        pytest.param("rpo-both", (1, 2, 3, 4, 5), marks=pytest.mark.slow),
        pytest.param("ppo-noisy-collection", (1, 2, 3, 4, 5), marks=pytest.mark.slow),
    ],
)
def test_noise_in_collection_is_rounded_alike_in_every_population(method, counts):
    # Six dimensions of actions, in which two and four agents were once rounded differently.
    tiny = {"num_steps": 64, "steps": 128, "num_minibatches": 4, "hidden_sizes": (16, 16)}
    walkers = [
        make_config("dm_control/walker-walk-v0", method, seed=seed, update_epochs=1, **tiny)
        for seed in range(max(counts))
    ]
    together = train(walkers)
    for count in counts[:-1]:
        assert_same_bits(train(walkers[:count]), together[:count])


@pytest.mark.slow
def test_agents_of_the_papers_shape_do_not_depend_on_their_population():
    configs = [make_config(TASK, seed=seed, steps=2 * 2048) for seed in range(5)]
    together = train(configs)
    for index in (0, 4):
        assert_same_bits(train([configs[index]])[0], together[index])
