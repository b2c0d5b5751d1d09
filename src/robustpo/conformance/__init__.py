"""Proof that an implementation of RPO is right, whatever stack it is made for.

Write a `Subject`, then `python -m robustpo.conformance my_module:Subject`; in pytest, `fixtures`.
"""

from robustpo.conformance.check import Check, NotConforming, Runs
from robustpo.conformance.checks import CHECKS
from robustpo.conformance.report import Result, as_text, conformance
from robustpo.conformance.subject import Minibatch, Rollout, Subject, Trace

__all__ = [
    "CHECKS",
    "Check",
    "Minibatch",
    "NotConforming",
    "Result",
    "Rollout",
    "Runs",
    "Subject",
    "Trace",
    "as_text",
    "conformance",
]
