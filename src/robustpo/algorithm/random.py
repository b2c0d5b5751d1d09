"""Random keys for the hot path: Threefry-2x32, unrolled.

JAX lowers its own Threefry to a rolled loop on the CPU, which makes random bits four times dearer
than they need be; at 320 minibatches per update they were a quarter of the learner's time. This is
the same cipher (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", 20 rounds) as a
key type of its own; everything in `jax.random` works with its keys.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.extend.random import define_prng_impl
from jaxtyping import Array, Int32, UInt32

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def make_key(seed: int | Array) -> Array:
    """Return the key of a seed in [0, 2³¹)."""
    return jax.random.key(seed, impl=THREEFRY)


def threefry(
    key: UInt32[Array, "2"], x0: UInt32[Array, "*N"], x1: UInt32[Array, "*N"]
) -> tuple[UInt32[Array, "*N"], UInt32[Array, "*N"]]:
    """Encrypt counters `(x0, x1)`: five groups of four rounds, the key injected after each."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(PARITY))
    x0, x1 = x0 + schedule[0], x1 + schedule[1]
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = (x1 << jnp.uint32(rotation)) | (x1 >> jnp.uint32(32 - rotation))
            x1 = x0 ^ x1
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + jnp.uint32(group + 1)
    return x0, x1


def permutation(count: int, *, key: Array) -> Int32[Array, "{count}"]:
    """Return a uniform random permutation of `range(count)`.

    Sorts 32 random bits with the index packed beneath them: sorting one array of integers is an
    order of magnitude faster on the CPU than sorting pairs.
    """
    bits = jax.random.bits(key, (count,))
    with jax.enable_x64(True):
        packed = (bits.astype(jnp.uint64) << jnp.uint64(32)) | jax.lax.iota(jnp.uint64, count)
        return (jnp.sort(packed) & jnp.uint64(0xFFFFFFFF)).astype(jnp.int32)


def _seed(seed: Array) -> Array:
    return jnp.stack([jnp.zeros((), jnp.uint32), seed.astype(jnp.uint32)])


def _counters(count: int) -> Array:
    return jax.lax.iota(jnp.uint32, count)


def _bits(key: Array, bit_width: int, size: tuple[int, ...]) -> Array:
    if bit_width != 32:
        raise TypeError(f"bit_width={bit_width} is not supported; draw 32-bit values")
    count = math.prod(size)
    half = (count + 1) // 2
    counters = _counters(half)
    words = jnp.concatenate(threefry(key, counters, counters + jnp.uint32(half)))
    return words[:count].reshape(size)


def _split(key: Array, size: tuple[int, ...]) -> Array:
    counters = _counters(math.prod(size))
    return jnp.stack(threefry(key, jnp.zeros_like(counters), counters), -1).reshape(*size, 2)


def _fold_in(key: Array, data: Array | int) -> Array:
    # The high word keeps folded keys apart from split ones and from random bits.
    high = jnp.full((), 0x80000000, jnp.uint32)
    return jnp.stack(threefry(key, high, jnp.asarray(data).astype(jnp.uint32)))


THREEFRY = define_prng_impl(
    key_shape=(2,),
    seed=_seed,
    split=_split,
    random_bits=_bits,
    fold_in=_fold_in,
    name="threefry2x32_unrolled",
    tag="tfu",
)
