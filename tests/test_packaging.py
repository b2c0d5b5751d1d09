"""The wheel, in an environment that has only what acting with a policy needs."""

import ast
import email
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import robustpo

ROOT = Path(__file__).parents[1]
# What `load_policy` needs. They are linked, not downloaded: tests must run without a network.
NEEDED = ("numpy", "safetensors", "jaxtyping", "wadler_lindig")

ACT = """
import json, sys
import robustpo
imported = sorted({name.partition(".")[0] for name in sys.modules})
policy = robustpo.load_policy(sys.argv[1])
action = policy(json.loads(sys.argv[2]))
late = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([robustpo.__file__, robustpo.__version__, imported, late, action.tolist()]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = out.glob("*.whl")
    return file


def test_the_source_archive_has_what_its_pages_and_its_tests_need(tmp_path):
    code = (
        "import sys; from hatchling.builders.sdist import SdistBuilder as S; print(*S('.').build("
    )
    code += "directory=sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with tarfile.open(done.stdout.strip()) as archive:
        names = {Path(*Path(name).parts[1:]).as_posix() for name in archive.getnames()}
    own = {file.name for file in ROOT.iterdir() if file.is_file() and file.name[0] != "."}
    assert {"SECURITY.md", "Makefile", "LICENSE"} <= own <= names
    for page in ("README.md", "SECURITY.md"):
        links = re.findall(r"\]\(([\w./-]+)\)", (ROOT / page).read_text())
        assert set(links) <= names


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """Return the Python of a new environment with the wheel and nothing else."""
    place = tmp_path_factory.mktemp("empty")
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    install = ["install", "--no-deps", "--no-index", "--quiet", wheel]
    done = subprocess.run([*pip, *install], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return python


def packages_of(python):
    (packages,) = (python.parents[1] / "lib").glob("python*/site-packages")
    return packages


def run_python(python, *arguments, cwd):
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [python, *map(str, arguments)],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def acting_environment(environment):
    """Add the few packages that a policy needs."""
    target = packages_of(environment)
    for name in NEEDED:
        distribution = metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."}
        for top in tops - {"__pycache__"}:
            source = Path(str(distribution.locate_file(top)))
            if not (target / top).exists():
                (target / top).symlink_to(source)
    return environment


def test_the_wheel_holds_every_file_of_the_package_and_no_more(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = [path for path in (ROOT / "src").rglob("*") if path.is_file()]
    sources = {str(p.relative_to(ROOT / "src")) for p in package if p.parent.name != "__pycache__"}
    locks = {f"robustpo/locks/{path.name}" for path in (ROOT / "locks").glob("py3*.txt")}
    assert names == sources | locks
    assert {"robustpo/py.typed", "robustpo/reports/page/page.js"} < names


def test_the_wheel_names_its_licence_and_its_dependencies(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (file,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        about = email.message_from_bytes(archive.read(file))
    assert about["Name"] == "robustpo"
    assert about["License-Expression"] == "MIT"
    assert any(name.endswith("licenses/LICENSE") for name in names)
    core = [line for line in about.get_all("Requires-Dist", []) if "extra ==" not in line]
    for name in ("jax", "gymnasium", "optax", "safetensors", "tyro"):
        assert any(line.startswith(f"{name}>=") for line in core)
    # Three fifths of what everything weighs.
    assert not any(line.startswith(("envpool", "polars")) for line in core)
    assert "tensorboard" in about.get_all("Provides-Extra", [])


def imported(node, depth=0):
    """Yield the packages that code imports, and whether only once a function is called."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        names = []
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom) and child.module:
            names = [child.module]
        yield from ((name.partition(".")[0], depth > 0) for name in names)
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from imported(child, depth + inside)


# What is installed in an environment of its own only, by what brings it.
STACKS = {
    "rsl_rl": ["rsl-rl-lib"],
    "sb3_contrib": ["sb3-contrib"],
    "stable_baselines3": ["stable-baselines3"],
    "tensordict": ["torchrl"],
}


def normal(name):
    return re.split(r"[^\w-]", name)[0].lower().replace("_", "-")


def test_what_is_imported_is_declared_and_what_an_extra_brings_only_when_it_is_needed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {normal(line) for line in project["dependencies"]}
    extras = {
        normal(line)
        for name, lines in project["optional-dependencies"].items()
        if name != "dev"
        for line in lines
    }
    providers = dict(metadata.packages_distributions()) | STACKS
    of_stacks = {"torch.py", *(f.name for f in (ROOT / "src/robustpo/integrations").iterdir())}
    found = {
        (package, late, file.name)
        for file in (ROOT / "src").rglob("*.py")
        for package, late in imported(ast.parse(file.read_text()))
        if package not in {*sys.stdlib_module_names, "robustpo"}
    }
    assert ("jax", False, "learner.py") in found and ("polars", True, "frames.py") in found
    for package, late, file in found:
        names = {normal(name) for name in providers.get(package, [package])}
        # Only who has the stack imports its module.
        declared = core | extras if late or file in of_stacks else core
        if (package, file) == ("pytest", "fixtures.py"):
            continue
        assert names & declared, f"{file} imports {package}, which is not declared"


def test_a_policy_acts_where_there_is_no_jax(acting_environment, comparison, tmp_path):
    run = comparison.run("rpo", 0)
    batch = np.random.default_rng(0).normal(size=(4, 4)).round(3).tolist()
    done = run_python(acting_environment, "-c", ACT, run, json.dumps(batch), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    file, version, imported, late, action = json.loads(done.stdout)
    assert Path(file).is_relative_to(packages_of(acting_environment))
    assert version == metadata.version("robustpo")
    heavy = {"jax", "jaxlib", "envpool", "gymnasium", "optax", "polars", "scipy", "matplotlib"}
    assert not heavy & set(imported) and not heavy & set(late)
    np.testing.assert_array_equal(action, robustpo.load_policy(run)(batch))


def test_importing_the_package_imports_no_jax_where_there_is_one(tmp_path):
    code = "import sys, robustpo; robustpo.load_policy; print('jax' in sys.modules)"
    assert run_python(sys.executable, "-c", code, cwd=tmp_path).stdout == "False\n"


def test_the_installed_command_works_among_its_dependencies(wheel, tmp_path):
    venv.create(tmp_path / "full", with_pip=False, symlinks=True)
    python = tmp_path / "full" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "-q", wheel], check=True)
    # The dependencies of this environment come after the wheel, and its editable install does
    # not count: .pth files in a directory that is added by one are not read.
    home = Path(str(metadata.distribution("numpy").locate_file("")))
    (packages_of(python) / "dependencies.pth").write_text(f"{home}\n")
    place = run_python(python, "-c", "import robustpo; print(robustpo.__file__)", cwd=tmp_path)
    assert Path(place.stdout.strip()).is_relative_to(packages_of(python))
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python.with_name("robustpo"), "--version"]
    shown = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == f"robustpo {metadata.version('robustpo')}\n"
    listed = subprocess.run(
        [python.with_name("robustpo"), "envs", "walker-walk", "--json"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert [task["id"] for task in json.loads(listed.stdout)] == ["dm_control/walker-walk-v0"]
