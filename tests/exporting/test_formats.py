"""What is exported acts as the policy does: ONNX in onnxruntime, C under sanitizers, StableHLO."""

import json
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import robustpo
from exporting.policies import ACTIVATIONS, DISTRIBUTIONS, LAYOUTS, observe, random_policy
from robustpo.errors import ConfigError
from robustpo.exporting.c import write_c
from robustpo.exporting.onnx import write_onnx
from robustpo.exporting.plan import plan_of
from robustpo.exporting.stablehlo import write_stablehlo
from robustpo.policy.policy import Policy, save_policy

KINDS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "distribution": st.sampled_from(DISTRIBUTIONS),
        "activation": st.sampled_from(ACTIVATIONS),
        "normalised": st.booleans(),
        "layer_norm": st.booleans(),
        "scaled": st.booleans(),
        "bounded": st.booleans(),
        "hidden": st.sampled_from([(), (4,), (7, 5), (3, 9, 2)]),
        "layout": st.sampled_from(LAYOUTS),
    }
)
# Every format's own number of examples: a compiler or a tracer takes its time for each.
PROFILE: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}
HARNESS = r"""
#include <stdio.h>
#include "policy.h"
int main(void) {
    OBSERVED obs[POLICY_OBSERVATIONS];
    float action[POLICY_ACTIONS];
    while (fread(obs, sizeof obs, 1, stdin) == 1) {
        policy_act(obs, action);
        fwrite(action, sizeof action, 1, stdout);
    }
    return 0;
}
"""


def named(obs, name="obs"):
    """Return the parts of an observation by their names in ONNX."""
    if isinstance(obs, dict):
        return {k: v for key, part in obs.items() for k, v in named(part, f"{name}.{key}").items()}
    if isinstance(obs, tuple):
        return {k: v for i, part in enumerate(obs) for k, v in named(part, f"{name}.{i}").items()}
    return {name: obs}


def in_onnxruntime(policy, obs):
    runtime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
    pytest.importorskip("onnx", reason="pip install 'robustpo[onnx]'")
    from pathlib import Path

    session = runtime.InferenceSession(write_onnx(plan_of(policy), Path("policy.onnx")))
    return session.run(["action"], named(obs))[0]


def in_c(policy, flat, tmp_path):
    """Compile strictly, with sanitizers, and act row by row."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    (tmp_path / "policy.h").write_text(write_c(plan_of(policy)))
    (tmp_path / "main.c").write_text(HARNESS)
    kind = "double" if policy.origin is not None else "float"
    flags = "-std=c99 -O1 -Wall -Wextra -Werror -pedantic -fsanitize=undefined,address"
    command = ["cc", *flags.split(), "-fno-sanitize-recover", f"-DOBSERVED={kind}"]
    subprocess.run([*command, "main.c", "-o", "main", "-lm"], cwd=tmp_path, check=True)
    rows = flat.astype(np.float64 if kind == "double" else np.float32)
    done = subprocess.run([tmp_path / "main"], input=rows.tobytes(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return np.frombuffer(done.stdout, np.float32).reshape(len(flat), -1)


def in_stablehlo(policy, flat):
    from jax import export

    loaded = export.deserialize(bytearray(write_stablehlo(plan_of(policy))))
    return np.asarray(loaded.call(flat.astype(np.float32)))


def require_close(found, policy, obs, share):
    """Hold actions against the policy's, as a share of their range."""
    expected = policy(obs)
    low, high = policy.tensors["action.low"], policy.tensors["action.high"]
    span = np.where(np.isfinite(high - low), high - low, 1 + np.abs(expected).max())
    assert found.dtype == np.float32 and found.shape == expected.shape
    assert (np.abs(found - expected) <= share * span).all()
    # A random policy that acts the same everywhere would say nothing.
    assert len(np.unique(expected)) > 1


@given(kind=KINDS)
@settings(max_examples=150, **PROFILE)
def test_onnx(kind):
    policy = random_policy(**kind)
    obs = observe(kind["layout"], 9, np.random.default_rng(kind["seed"]))
    require_close(in_onnxruntime(policy, obs), policy, obs, 3e-5)


@given(kind=KINDS)
@settings(max_examples=25, **PROFILE)
def test_c(tmp_path_factory, kind):
    policy = random_policy(**kind)
    obs = observe(kind["layout"], 9, np.random.default_rng(kind["seed"]))
    found = in_c(policy, policy.vector(obs), tmp_path_factory.mktemp("c"))
    require_close(found, policy, obs, 1e-5)


@given(kind=KINDS)
@settings(max_examples=25, **PROFILE)
def test_stablehlo(kind):
    policy = random_policy(**kind)
    obs = observe(kind["layout"], 9, np.random.default_rng(kind["seed"]))
    require_close(in_stablehlo(policy, policy.vector(obs)), policy, obs, 1e-5)


def test_origins_are_subtracted_in_double_precision(tmp_path):
    policy = random_policy(1, origin=True)
    obs = observe(None, 9, np.random.default_rng(0), origin=policy.origin)
    # In float32 it would not be told from the origin.
    assert not np.allclose(obs.astype(np.float32), obs, rtol=1e-9)
    require_close(in_onnxruntime(policy, obs), policy, obs, 3e-5)
    require_close(in_c(policy, obs, tmp_path), policy, obs, 1e-5)
    relative = policy.without_origin()
    found = in_stablehlo(policy, obs - policy.origin)
    require_close(found, relative, (obs - policy.origin).astype(np.float32), 1e-5)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_is_not_a_number_comes_out_as_none(tmp_path, distribution, activation):
    policy = random_policy(2, distribution=distribution, activation=activation)
    obs = observe(None, 3, np.random.default_rng(0))
    obs[1, 2] = np.nan
    # NumPy's softplus complains of what it hands on.
    with np.errstate(invalid="ignore"):
        expected = policy(obs)
    assert np.isnan(expected[1]).all() and np.isfinite(expected[0]).all()
    found = [in_onnxruntime(policy, obs), in_stablehlo(policy, obs)]
    if activation == "relu":
        found.append(in_c(policy, obs, tmp_path))
    for actions in found:
        assert np.isnan(actions[1]).all() and np.isfinite(actions[[0, 2]]).all()


def test_far_observations_are_clipped():
    policy = random_policy(3)
    obs = np.full((1, 5), 1e30, np.float32)
    require_close_at = policy(obs)
    np.testing.assert_allclose(in_onnxruntime(policy, obs), require_close_at, atol=1e-5)
    np.testing.assert_allclose(in_stablehlo(policy, obs), require_close_at, atol=1e-5)


def test_metadata_travels_with_onnx(tmp_path):
    onnx = pytest.importorskip("onnx", reason="pip install 'robustpo[onnx]'")
    policy = random_policy(0, layout=LAYOUTS[4])
    path = robustpo.export(policy, "onnx", out=tmp_path)
    model = onnx.load(path)
    found = {entry.key: entry.value for entry in model.metadata_props}
    assert found["task"] == "T" and json.loads(found["seed"]) == 3
    assert json.loads(found["observation"]) == LAYOUTS[4]
    (batch, size) = model.graph.output[0].type.tensor_type.shape.dim
    assert batch.dim_param == "batch" and size.dim_value == 3


def test_names_in_a_comment_end_nothing(tmp_path):
    policy = random_policy(0)
    metadata = policy.metadata | {"task": "*/ #error \\ ??/ ü\n", "variant": "/* x"}
    odd = Policy(policy.tensors, metadata)
    obs = observe(None, 2, np.random.default_rng(0))
    require_close(in_c(odd, obs, tmp_path), policy, obs, 1e-5)


def test_two_headers_live_in_one_program(tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    for name in ("left-arm", "2nd"):
        robustpo.export(random_policy(0), "c", out=tmp_path / f"{name}.h")
    text = (
        '#include "left-arm.h"\n#include "2nd.h"\nint main(void) { float o[5] = {0}, a[3]; '
        "left_arm_act(o, a); p2nd_act(o, a); return LEFT_ARM_ACTIONS - P2ND_ACTIONS; }\n"
    )
    (tmp_path / "main.c").write_text(text)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    subprocess.run(["cc", *flags, "main.c", "-o", "main", "-lm"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "main"]).returncode == 0


def test_where_a_file_goes(tmp_path):
    policy = random_policy(0)
    save_policy(tmp_path / "policy.safetensors", policy)
    assert robustpo.export(tmp_path, "c") == tmp_path / "policy.h"
    assert robustpo.export(tmp_path / "policy.safetensors", "c") == tmp_path / "policy.h"
    own = tmp_path / "mine.h"
    assert robustpo.export(policy, "c", out=own) == own
    assert "static inline void mine_act" in own.read_text()
    odd: tuple[tuple[dict[str, Any], str], ...] = (
        ({"to": "tflite", "out": tmp_path}, "to='tflite' is unknown"),
        ({"to": "c", "out": tmp_path / "lost" / "x.h"}, "there is no directory"),
        ({"to": "c"}, "name a file"),
    )
    for arguments, words in odd:
        with pytest.raises(ConfigError, match=words):
            robustpo.export(policy, **arguments)


def test_what_no_format_can_hold_is_refused(tmp_path, monkeypatch):
    policy = random_policy(0)
    for name, value in (("distribution", "my_lab:logistic"), ("network", "my_lab:residual")):
        odd = Policy(policy.tensors, policy.metadata | {name: value})
        with pytest.raises(ConfigError, match=f"{name}='{value}' is an extension"):
            robustpo.export(odd, "c", out=tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"onnx.*pip install 'robustpo\[onnx\]'"):
        robustpo.export(policy, "onnx", out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_on_the_command_line(tmp_path, robustpo_command):
    save_policy(tmp_path / "policy.safetensors", random_policy(0))
    done = robustpo_command("export", ".", "--to", "c", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "policy.h" and (tmp_path / "policy.h").is_file()
    done = robustpo_command("export", "lost", cwd=tmp_path)
    assert done.returncode == 2 and "no policy at lost" in done.stderr
