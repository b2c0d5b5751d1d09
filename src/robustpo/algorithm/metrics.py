"""What an update reports, named once: in gradient steps, and as columns of a run's metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from robustpo.config.shape import Shape


@dataclass(frozen=True)
class Metric:
    """A number that is reported of every update.

    Attributes:
        name: what it is called, in the program and in files.
        step: of which shapes gradient steps report it; None if something else does.
        column: whether runs record it, averaged over iterations; older records have null there.
    """

    name: str
    step: Callable[[Shape], bool] | None = None
    column: bool = True


def _always(shape: Shape) -> bool:
    del shape
    return True


METRICS = (
    Metric("entropy", _always),
    Metric("action_std"),
    Metric("alpha"),
    Metric("learning_rate"),
    Metric("policy_loss", _always),
    Metric("value_loss", _always),
    Metric("approx_kl", _always),
    Metric("perturbed_kl", lambda shape: shape.perturbs_update),
    Metric("clip_fraction", _always),
    Metric("explained_variance"),
    Metric("noise_clip_fraction"),
    Metric("noise_kl"),
    Metric("sigma_alpha"),
    Metric("drac_loss", lambda shape: shape.augmentation == "drac"),
    Metric("extra_loss", lambda shape: shape.losses != ()),
    Metric("grad_norm", _always, column=False),
    Metric("policy_kl", lambda shape: shape.adaptive_learning_rate, column=False),
)
AVERAGED = tuple(metric.name for metric in METRICS if metric.column)


def metric_names(shape: Shape) -> tuple[str, ...]:
    """Name what a gradient step reports, as one vector: a kernel per number would cost more."""
    return tuple(metric.name for metric in METRICS if metric.step and metric.step(shape))
