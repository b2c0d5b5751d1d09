"""Action distributions of a policy: sample, log-density, entropy, mode, and a shifted location.

A distribution is a pytree built from what the networks put out. Its *raw* actions live in a space
of its own; `execute` turns them into the environment's. To add one, write a class with these
members and enter it in `FAMILIES` of `robustpo.policy.families`, which acts without JAX.
"""

from __future__ import annotations

from robustpo.algorithm.distributions.base import ActionDistribution
from robustpo.algorithm.distributions.beta import Beta
from robustpo.algorithm.distributions.location_scale import Gaussian, Gumbel, Laplace
from robustpo.algorithm.distributions.tanh_gaussian import TanhGaussian
from robustpo.base.registry import View
from robustpo.policy.families import FAMILIES, DistributionFamily

# The classes of `robustpo.policy.families`, by the same names.
DISTRIBUTIONS: View[DistributionFamily, type[ActionDistribution]] = View(
    FAMILIES, DistributionFamily.load
)

__all__ = [
    "DISTRIBUTIONS",
    "ActionDistribution",
    "Beta",
    "Gaussian",
    "Gumbel",
    "Laplace",
    "TanhGaussian",
]
