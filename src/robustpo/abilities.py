"""Whether what a shape names can do what is asked of it; the objects say so themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustpo.errors import ConfigError
from robustpo.policy_families import FAMILIES
from robustpo.registry import ESTIMATORS, LOSSES, NOISES, Kind

if TYPE_CHECKING:
    from robustpo.shape import Shape


def require_abilities(shape: Shape) -> None:
    """Raise `ConfigError` if an object that a shape names lacks what another needs.

    Extensions are imported, if they have been named.
    """
    family = FAMILIES[shape.distribution]
    noises = {shape.update_noise, shape.collection_noise} - {"none"}
    if noises and not family.shifts:
        raise ConfigError(
            f"distribution={shape.distribution!r} has no location that noise={shape.noise!r} could "
            "shift; choose --noise none, the method ppo-beta, or another distribution"
        )
    # The default takes whatever there is; it need not be imported to know that.
    if shape.estimator != type(shape).estimator:
        _require_closed_form(shape)
    if not family.diverges:
        _require_divergence(shape)


def _require_closed_form(shape: Shape) -> None:
    needs = ESTIMATORS[shape.estimator].needs
    if not needs:
        return
    if not FAMILIES[shape.distribution].gaussian:
        raise ConfigError(
            f"estimator={shape.estimator!r} has a closed form for Gaussian policies only, not "
            f"for distribution={shape.distribution!r}; choose --estimator sampled-k"
        )
    fitting = [name for name in NOISES if _has(NOISES, name, needs)]
    usable = shape.update_noise != "none" and _has(NOISES, shape.update_noise, needs)
    if not usable:
        raise ConfigError(
            f"estimator={shape.estimator!r} has a closed form for noise "
            f"{' or '.join(fitting)} on the location in the update, not for "
            f"noise={shape.noise!r}, noise_on={shape.noise_on!r}, noise_in={shape.noise_in!r}; "
            "choose --estimator sampled-k"
        )


def _has(kind: Kind, name: str, needs: tuple[str, ...]) -> bool:
    return all(getattr(kind[name], need) is not None for need in needs)


def _require_divergence(shape: Shape) -> None:
    asked = [name for name in shape.loss_terms if LOSSES[name].diverges]
    asked += ["adaptive_learning_rate"] * shape.adaptive_learning_rate
    if asked:
        raise ConfigError(
            f"{asked[0]} needs a divergence, which distribution={shape.distribution!r} has none "
            "of; choose another distribution"
        )
