"""All agents updated at once, as an accelerator does it, against one after the other."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robustpo.algorithm.random import THREEFRY
from robustpo.config.methods import METHODS
from robustpo.config.run import make_config
from robustpo.environments import jax_environment
from robustpo.environments.isaac.cartpole import Cartpole
from robustpo.studies.grid import make_grid
from robustpo.training import rollout as collection
from robustpo.training.population import learn_population
from robustpo.training.trainer import Trainer

TASK = "isaac/Cartpole-v0"
SMALL = {"preset": "paper", "num_steps": 64, "num_minibatches": 4, "update_epochs": 2}
ULP = 2.0**-23


def started(methods):
    """Return what the first update of a population takes."""
    return first_rollout([make_config(TASK, m, seed=1, steps=6400, **SMALL) for m in methods])


def first_rollout(configs):
    trainer = Trainer(configs)
    trainer.compile()
    population, numbers = trainer.population, trainer._coefficients()
    given = (population.learners.params, population.collector, population.keys, numbers)
    _, rollout = trainer._collector.collect(*given, [0] * len(configs))
    return trainer.shape, (population.learners, rollout, numbers, population.keys)


def learned(shape, given, vectorized):
    learners, *rest = jax.tree.map(jnp.copy, given)
    agents = len(given[-1])
    index, count = np.zeros(agents, np.int32), np.int32(agents)
    learners, metrics = learn_population(
        shape, learners, *rest, index, count, vectorized=vectorized
    )
    return flat(learners.params), metrics


def flat(params):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])


def nudged(given, seed):
    """Move what is learned from by its last bit, up or down."""
    rng = np.random.default_rng(seed)
    learners, rollout, *rest = given

    def nudge(leaf):
        if leaf.dtype != jnp.float32:
            return leaf
        return leaf * jnp.asarray(1 + ULP * rng.choice([-1.0, 1.0], leaf.shape), jnp.float32)

    params = jax.tree.map(nudge, learners.params)
    rows = jax.tree.map(nudge, rollout)
    return type(learners)(params, learners.optimizer, learners.rate_factor), rows, *rest


def shapes():
    """Return the methods of each shape: what they have in common is compiled once."""
    found = {}
    for method in sorted(METHODS):
        found.setdefault(make_config(TASK, method, **SMALL).shape, []).append(method)
    return [pytest.param(methods, id=methods[0]) for methods in found.values()]


@pytest.mark.slow
@pytest.mark.parametrize("methods", shapes())
def test_at_once_learns_what_one_by_one_does(methods):
    """As near as rounding lets it: not farther than sums of last bits move the update.

    A sum of n numbers is wrong by at most n last bits, whatever its order. So the two ways may be
    as far apart as the rows of a minibatch times what one last bit of the input does.
    """
    shape, given = started(methods)
    one_by_one, metrics = learned(shape, given, vectorized=False)
    at_once, other = learned(shape, given, vectorized=True)
    nearby = [learned(shape, nudged(given, seed), vectorized=False)[0] for seed in range(3)]
    by_a_bit = max(np.abs(found - one_by_one).max() for found in nearby)
    moved = np.abs(flat(given[0].params) - one_by_one).max()
    allowed = shape.minibatch_size * by_a_bit
    assert np.abs(at_once - one_by_one).max() <= allowed < 0.2 * moved
    for name, values in metrics.items():
        np.testing.assert_allclose(other[name], values, rtol=1e-3, atol=1e-5, err_msg=name)


def test_each_agent_has_its_own_numbers_when_they_learn_at_once():
    """One stops early, one has no noise: they do not wait for or hear of each other."""
    options = [
        {"method": "rpo", "target_kl": 1e-9},
        {"method": "rpo", "alpha": 3.0},
        {"method": "ppo"},
    ]
    shape, inputs = first_rollout([make_config(TASK, steps=6400, **SMALL, **o) for o in options])
    _, one_by_one = learned(shape, inputs, vectorized=False)
    _, at_once = learned(shape, inputs, vectorized=True)
    assert np.asarray(at_once["epochs"]).tolist() == [1.0, 2.0, 2.0]
    for name, values in one_by_one.items():
        np.testing.assert_allclose(at_once[name], values, rtol=1e-2, atol=1e-4, err_msg=name)


def test_it_learns(monkeypatch):
    """As on an accelerator: environments, draws and agents all at once."""
    for module in (jax_environment, collection):
        monkeypatch.setattr(module, "on_accelerator", lambda: True)
    events = []
    configs = make_grid(TASK, ["ppo", "rpo"], range(2), steps=40 * 8192)
    Trainer(configs, emit=events.append, vectorized=True).run()
    first = [e["return_mean"] for e in events if e["kind"] == "iteration" and e["step"] == 2 * 8192]
    last = [e["final_return"] for e in events if e["kind"] == "finished"]
    # Episodes of an untrained policy end after some twenty steps.
    assert max(first) < 40 and min(last) > 150


def test_all_environments_at_once_do_what_groups_of_eight_do(monkeypatch):
    def stepped():
        environment = jax_environment.JaxEnvironment(Cartpole(), list(range(20)))
        state, obs = environment.init()
        actions = jax.random.uniform(jax.random.key(1), (100, 20, 1), minval=-1.0)
        _, steps = jax.lax.scan(environment.step, state, actions)
        return obs, steps

    grouped = stepped()
    monkeypatch.setattr(jax_environment, "on_accelerator", lambda: True)
    whole = stepped()
    # They fall within the hundred steps, and are reset to the same places.
    assert int(grouped[1].terminated.sum()) > 20
    for one, two in zip(jax.tree.leaves(grouped), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-3)


def test_what_is_drawn_at_once_has_the_same_bits(monkeypatch):
    configs = make_grid(TASK, ["rad-ppo"], range(3), **SMALL)
    keys = jax.vmap(partial(jax.random.key, impl=THREEFRY))(jnp.arange(3))

    def drawn():
        # Traced anew: what it goes by is no argument.
        draw = jax.jit(lambda *a: collection.draw_rollout(*a), static_argnums=(2, 3, 4))
        return draw(keys, jnp.arange(3), configs[0].shape, 4, 1)

    one_by_one = drawn()
    monkeypatch.setattr(collection, "on_accelerator", lambda: True)
    for one, two in zip(jax.tree.leaves(one_by_one), jax.tree.leaves(drawn()), strict=True):
        np.testing.assert_array_equal(one, two)
