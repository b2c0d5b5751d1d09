"""The log-density under perturbation in PyTorch, against SciPy and against what it must not do."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
import torch
from torch import distributions as td
from torchrl.modules import TanhNormal

from robustpo.errors import ConfigError
from robustpo.torch import perturbed_log_prob, uniform_noise

ROWS, SIZE, ALPHA = 4000, 3, 0.5


def inputs(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(ROWS, SIZE, generator=generator).to(dtype)
    std = 0.5 + torch.rand(ROWS, SIZE, generator=generator).to(dtype)
    return mean, std, torch.randn(ROWS, SIZE, generator=generator).to(dtype)


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("family", "scipy_family"), [(td.Normal, scipy.stats.norm), (td.Laplace, scipy.stats.laplace)]
)
def test_it_is_the_density_at_a_shifted_location(family, scipy_family):
    mean, scale, action = inputs()
    found = perturbed_log_prob(family(mean, scale), action, ALPHA, generator=generator())
    z = uniform_noise(action, ALPHA, generator=generator())
    wanted = scipy_family.logpdf(action.double(), (mean + z).double(), scale.double())
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    summed = perturbed_log_prob(
        td.Independent(family(mean, scale), 1), action, ALPHA, generator=generator()
    )
    np.testing.assert_allclose(summed, wanted.sum(-1), rtol=1e-4, atol=1e-4)


def test_noise_is_uniform_and_fresh_everywhere():
    z = uniform_noise(torch.empty(ROWS, SIZE), ALPHA, generator=generator()).numpy()
    assert np.abs(z).max() <= ALPHA
    assert scipy.stats.kstest(z.ravel() / ALPHA, "uniform", args=(-1, 2)).pvalue > 1e-3
    assert len(np.unique(z)) > 0.99 * z.size
    assert np.abs(np.corrcoef(z.T) - np.eye(SIZE)).max() < 0.08


@pytest.mark.parametrize("kind", ["torch", "torchrl"])
def test_below_a_tanh_the_noise_shifts_what_is_squashed(kind):
    mean, scale, inner = inputs()
    base = td.Independent(td.Normal(mean, scale), 1)
    policy = td.TransformedDistribution(base, [td.TanhTransform()])
    if kind == "torchrl":
        policy = TanhNormal(mean, scale, tanh_loc=False)
    action = torch.tanh(0.5 * inner)
    found = perturbed_log_prob(policy, action, ALPHA, generator=generator())
    before = torch.atanh(action.double())
    z = uniform_noise(action, ALPHA, generator=generator()).double()
    density = scipy.stats.norm.logpdf(before, mean.double() + z, scale.double())
    jacobian = torch.log1p(-(action.double() ** 2))
    np.testing.assert_allclose(found, (density - jacobian.numpy()).sum(-1), rtol=1e-3, atol=1e-3)


def test_independent_may_stand_around_what_is_squashed():
    mean, scale, inner = inputs()
    squashed = td.TransformedDistribution(td.Normal(mean, scale), [td.TanhTransform()])
    action = torch.tanh(0.5 * inner)
    found = perturbed_log_prob(td.Independent(squashed, 1), action, ALPHA, generator=generator())
    before = torch.atanh(action.double())
    z = uniform_noise(action, ALPHA, generator=generator()).double()
    density = scipy.stats.norm.logpdf(before, mean.double() + z, scale.double())
    jacobian = torch.log1p(-(action.double() ** 2))
    np.testing.assert_allclose(found, (density - jacobian.numpy()).sum(-1), rtol=1e-3, atol=1e-3)


def test_gumbel_which_pytorch_makes_of_a_uniform_one():
    mean, scale, action = inputs()
    found = perturbed_log_prob(td.Gumbel(mean, scale), action, ALPHA, generator=generator())
    z = uniform_noise(action, ALPHA, generator=generator()).double()
    wanted = scipy.stats.gumbel_r.logpdf(action.double(), mean.double() + z, scale.double())
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_its_gradients_are_those_of_the_formula():
    mean, scale, action = inputs()
    mean.requires_grad_()
    log_scale = scale.log().requires_grad_()
    found = perturbed_log_prob(
        td.Normal(mean, log_scale.exp()), action, ALPHA, generator=generator()
    )
    found.sum().backward()
    z = uniform_noise(action, ALPHA, generator=generator())
    away = action - mean.detach() - z
    np.testing.assert_allclose(mean.grad, away / scale**2, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(log_scale.grad, away**2 / scale**2 - 1, rtol=1e-4, atol=1e-4)


def test_in_half_precision_the_noise_is_as_fine_as_it_can_be():
    mean, scale, action = inputs(torch.bfloat16)
    found = perturbed_log_prob(td.Normal(mean, scale), action, ALPHA, generator=generator())
    assert found.dtype == torch.bfloat16 and bool(torch.isfinite(found).all())
    z = uniform_noise(action, ALPHA, generator=generator())
    assert z.dtype == torch.bfloat16 and float(z.abs().max()) <= ALPHA
    # Drawn in bfloat16 there would be 256 values, near the ends steps of 2⁻⁸.
    assert len(z.unique()) > 1000


def test_alpha_zero_draws_nothing():
    mean, scale, action = inputs()
    before = torch.random.get_rng_state()
    policy = td.Normal(mean, scale)
    assert torch.equal(perturbed_log_prob(policy, action, 0.0), policy.log_prob(action))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_is_compiled_draws_anew_at_every_call():
    mean, scale, action = inputs()

    @torch.compile(fullgraph=True, backend="aot_eager")
    def compiled(mean, scale, action):
        return perturbed_log_prob(td.Normal(mean, scale, validate_args=False), action, ALPHA)

    first, second = compiled(mean, scale, action), compiled(mean, scale, action)
    assert float((first == second).float().mean()) < 0.01
    # z²/(2σ²) is α²/(6σ²) in the mean.
    shift = (first - td.Normal(mean, scale).log_prob(action)).mean()
    wanted = -(ALPHA**2 / (6 * scale**2)).mean()
    assert abs(float(shift - wanted)) < 6 * 0.5 / np.sqrt(ROWS * SIZE)


@pytest.mark.parametrize(
    ("policy", "action", "alpha", "words"),
    [
        (td.Normal(torch.zeros(4, 2), 1.0), torch.zeros(4, 1), 0.5, r"\(4, 1\), .* \(4, 2\)"),
        (td.Normal(torch.zeros(4, 1), 1.0), torch.zeros(4), 0.5, "one action for each row"),
        (td.Beta(torch.ones(4), torch.ones(4)), torch.full((4,), 0.5), 0.5, "Beta has no location"),
        (td.Categorical(torch.ones(4, 2)), torch.zeros(4), 0.5, "Categorical has no location"),
        (
            td.TransformedDistribution(
                td.Normal(torch.zeros(4), torch.ones(4)), [td.AffineTransform(1.0, 3.0)]
            ),
            torch.zeros(4),
            0.5,
            "gets its location from AffineTransform, which would stretch the noise",
        ),
        (td.Normal(torch.zeros(4), 1.0), torch.zeros(4), -0.1, "alpha=-0.1"),
        (td.Normal(torch.zeros(4), 1.0), torch.zeros(4), float("nan"), "alpha=nan"),
    ],
)
def test_what_cannot_be_is_refused(policy, action, alpha, words):
    with pytest.raises(ConfigError, match=words):
        perturbed_log_prob(policy, action, alpha)


def test_neither_core_imports_the_other_framework():
    code = "import sys; import robustpo.torch; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
