"""Arrays meet only in the types and ranks that the code names."""

import jax
import optax
import pytest

from robustpo.algorithm import learner


@pytest.fixture(scope="module", autouse=True)
def strict_promotion():
    with pytest.MonkeyPatch.context() as patch:
        make = learner.make_optimizer
        patch.setattr(learner, "make_optimizer", lambda norm: lenient(make(norm)))
        with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
            yield


def lenient(optimizer):
    """Leave Optax its own promotion: it takes powers of floats to the count of its steps."""

    def update(updates, state, params=None):
        with jax.numpy_dtype_promotion("standard"):
            return optimizer.update(updates, state, params)

    return optax.GradientTransformation(optimizer.init, update)
