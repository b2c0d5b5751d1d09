"""An agent of any shape is the same to the last bit whatever population it is in."""

import pytest

from training.populations import assert_same_bits, small, train


# Half a minute each; `test_population_independence.py` has what changes no program.
@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"augmentation": "drac", "estimator": "marginal", "augmentation_of": "raw"},
        {"distribution": "tanh-gaussian"},
        {"distribution": "beta", "noise": "none"},
        {"distribution": "gumbel", "noise": "gumbel", "estimator": "sampled-k"},
        {"augmentation": "rad", "augmentation_of": "raw", "noise_in": "both"},
        {"noise_on": "parameters", "alpha": 0.01, "distribution": "laplace"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_agents_of_every_shape_do_not_depend_on_their_population(options):
    first, second, third = (small(seed=seed, **options) for seed in range(3))
    together = dict(zip((first, second, third), train([first, second, third]), strict=True))
    # Alone, and with another neighbour in another place.
    for members in ([first], [third, second]):
        for config, result in zip(members, train(members), strict=True):
            assert_same_bits(result, together[config])
