"""The random keys: the cipher against published vectors, JAX's own, and counting."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.extend.random import threefry_2x32

from robustpo.algorithm.random import make_key, permutation, threefry

# Known answers of Threefry-2x32 with 20 rounds: key, counter, ciphertext (Random123,
# tests/kat_vectors).
KNOWN_ANSWERS = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


def words(keys):
    """Return keys as rows of two words."""
    return np.asarray(jax.random.key_data(keys)).reshape(-1, 2)


def as_set(pairs):
    return {tuple(pair) for pair in np.asarray(pairs).tolist()}


@pytest.mark.parametrize(("key", "counter", "expected"), KNOWN_ANSWERS)
def test_threefry_gives_the_published_answers(key, counter, expected):
    x0, x1 = (jnp.full(1, word, jnp.uint32) for word in counter)
    found = threefry(jnp.array(key, jnp.uint32), x0, x1)
    assert tuple(int(word[0]) for word in found) == expected


def test_threefry_is_the_cipher_that_jax_uses():
    rng = np.random.default_rng(0)
    for _ in range(5):
        key = jnp.asarray(rng.integers(0, 2**32, 2, dtype=np.uint32))
        counters = jnp.asarray(rng.integers(0, 2**32, 2000, dtype=np.uint32))
        found = jnp.concatenate(threefry(key, counters[:1000], counters[1000:]))
        np.testing.assert_array_equal(found, threefry_2x32(key, counters))


@pytest.mark.parametrize("count", [1, 2, 7, 64, 2048])
def test_a_permutation_has_every_index_once(count):
    order = permutation(count, key=make_key(count))
    assert order.dtype == jnp.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(count))


def test_permutations_are_uniform():
    keys = jax.random.split(make_key(11), 24_000)
    orders = np.asarray(jax.jit(jax.vmap(lambda key: permutation(4, key=key)))(keys))
    counts = [(orders == wanted).all(1).sum() for wanted in itertools.permutations(range(4))]
    assert sum(counts) == len(keys)
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_every_position_of_a_long_permutation_is_uniform():
    keys = jax.random.split(make_key(12), 20_000)
    orders = np.asarray(jax.jit(jax.vmap(lambda key: permutation(64, key=key)))(keys))
    for position in (0, 1, 31, 32, 63):
        counts = np.bincount(orders[:, position], minlength=64)
        assert scipy.stats.chisquare(counts).pvalue > 1e-3 / 5


def test_different_keys_permute_differently_and_the_same_key_equally():
    compiled = jax.jit(lambda key: permutation(32, key=key))
    assert len({tuple(np.asarray(compiled(make_key(seed)))) for seed in range(40)}) == 40
    np.testing.assert_array_equal(compiled(make_key(3)), permutation(32, key=make_key(3)))


def test_permuting_leaves_no_trace_of_64_bit_numbers():
    permutation(8, key=make_key(0))
    assert jnp.arange(3.0).dtype == jnp.float32
    assert jnp.asarray(2**20).dtype == jnp.int32


def test_seeds_give_different_keys():
    seeds = np.array([*range(2000), 2**31 - 1, 2**31 - 2, 2**16, 2**24])
    assert len(as_set(words(jax.jit(jax.vmap(make_key))(seeds)))) == len(seeds)
    np.testing.assert_array_equal(words(make_key(7)), words(jax.jit(make_key)(7)))


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_split_and_folded_keys_never_coincide(seed):
    key = make_key(seed)
    data = jnp.concatenate([jnp.arange(2000), jnp.array([2**31 - 1, 2**30, 2**16])])
    folded = as_set(words(jax.vmap(lambda d: jax.random.fold_in(key, d))(data)))
    split = as_set(words(jax.random.split(key, 2000)))
    assert len(folded) == len(data) and len(split) == 2000
    assert not folded & split
    assert tuple(words(key)[0]) not in folded | split


def test_folded_keys_are_no_random_bits_of_their_parent():
    key = make_key(4)
    bits = np.asarray(jax.random.bits(key, (4000,)))
    folded = words(jax.vmap(lambda d: jax.random.fold_in(key, d))(jnp.arange(2000)))
    # 4000 of 2³² words against 4000: the chance of even one coincidence is 0.4%.
    assert not set(bits.tolist()) & set(folded.ravel().tolist())


def test_the_order_of_folding_matters_and_children_do_not_meet():
    pairs = jnp.array(list(itertools.product(range(30), repeat=2)))

    def nested(pair):
        return jax.random.fold_in(jax.random.fold_in(make_key(0), pair[0]), pair[1])

    assert len(as_set(words(jax.jit(jax.vmap(nested))(pairs)))) == len(pairs)


def test_bits_are_even_and_independent_between_keys():
    keys = jax.random.split(make_key(9), 2)
    first, second = (np.asarray(jax.random.bits(key, (100_000,))) for key in keys)
    for drawn in (first, second, first ^ second):
        counts = np.bincount(drawn.view(np.uint8), minlength=256)
        assert scipy.stats.chisquare(counts).pvalue > 1e-3
        ones = np.unpackbits(drawn.view(np.uint8)).reshape(-1, 32).mean(0)
        assert np.abs(ones - 0.5).max() < 4.5 * 0.5 / np.sqrt(len(drawn))


@pytest.mark.parametrize("size", [(), (1,), (5,), (3, 4)])
def test_bits_have_the_shape_asked_for(size):
    assert jax.random.bits(make_key(0), size).shape == size


def test_draws_do_not_depend_on_how_they_are_compiled():
    keys = jax.random.split(make_key(10), 5)
    one_by_one = jnp.stack([jax.random.uniform(key, (7,)) for key in keys])
    together = jax.jit(jax.vmap(lambda key: jax.random.uniform(key, (7,))))(keys)
    mapped = jax.lax.map(lambda key: jax.random.uniform(key, (7,)), keys)
    np.testing.assert_array_equal(one_by_one, together)
    np.testing.assert_array_equal(one_by_one, mapped)


def test_other_widths_are_refused():
    with pytest.raises(TypeError, match="bit_width=8 is not supported"):
        jax.random.bits(make_key(0), (2,), dtype=jnp.uint8)
