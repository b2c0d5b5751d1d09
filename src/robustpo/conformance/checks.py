"""All checks, in the order in which they are carried out."""

from __future__ import annotations

from robustpo.conformance import collection, draws, update
from robustpo.conformance.check import Check
from robustpo.conformance.subject import GRADIENTS, LEARNERS, SEEDS, TARGET_KL

CHECKS = (
    Check("first-rollout", "the first rollout equals PPO's bit for bit", collection.first_rollout),
    Check("stored-log-prob", "what is stored is the plain policy's", collection.stored_log_prob),
    Check("rollout-actions", "actions are drawn from the plain policy", collection.rollout_actions),
    Check("evaluation", "evaluation acts by the plain policy", collection.evaluation),
    Check("denominator", "the ratio's denominator is what was stored", collection.denominator),
    Check("within-alpha", "no draw is larger than alpha", draws.within_alpha),
    Check("uniform", "z is uniform over the whole interval", draws.uniform),
    Check("fresh-rows", "every row of a minibatch has noise of its own", draws.fresh_rows),
    Check("fresh-minibatches", "every minibatch draws anew", draws.fresh_minibatches),
    Check("fresh-epochs", "every epoch draws anew", draws.fresh_epochs),
    Check("fresh-iterations", "every iteration draws anew", draws.fresh_iterations),
    Check("over-dimensions", "dimensions are independent", draws.over_dimensions),
    Check("over-learners", "distributed learners are independent", draws.over_learners, LEARNERS),
    Check("first-moment", "the log-ratio's mean shift is the formula's", update.first_moment),
    Check("second-moment", "it varies as the formula says", update.second_moment),
    Check("mean-gradient", "the mean's gradient is the formula's", update.mean_gradient, GRADIENTS),
    Check("log-std-gradient", "log σ's gradient is it too", update.log_std_gradient, GRADIENTS),
    Check("alpha-zero", "alpha 0 is PPO bit for bit", update.alpha_zero, SEEDS),
    Check("same-seed", "the same seed gives the same parameters", update.same_seed, SEEDS),
    Check("alpha-acts", "alpha changes the parameters", update.alpha_acts),
    Check("kl-control", "KL control sees no noise", update.kl_control, TARGET_KL),
)
