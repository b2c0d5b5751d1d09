"""Which room may know which, and how large a thing may grow (docs/design.md draws the rooms)."""

import ast
import graphlib
from pathlib import Path

import pytest

import robustpo

SOURCE = Path(robustpo.__file__).parent
# Each room may import from those before it.
ORDER = (
    "errors",
    "base",
    "policy",
    "environments",
    "config",
    "algorithm",
    "exporting",
    "evaluation",
    "training",
    "runs",
    "execution",
    "studies",
    "statistics",
    "stress",
    "reports",
    "tuning",
    "theory",
    "torch",
    "jax",
    "integrations",
    "conformance",
    "api",
    "__init__",
    "doctor",
    "cli",
    "__main__",
)
# What knows arrays and files only.
ALONE = {
    "statistics": {"errors"},
    "policy": {"errors", "base"},
    "base": {"errors"},
    # Of policies it takes what a family is able to do.
    "algorithm": {"errors", "base", "config", "policy"},
}
WRITERS = {"open", "write_text", "write_bytes", "mkdir", "unlink", "rename", "replace_file"}
MAX_LINES, MAX_FUNCTION = 370, 50


def _modules():
    """Return every module's file by its name below `robustpo`."""
    found = {}
    for file in SOURCE.rglob("*.py"):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        if parts[-1] == "__init__" and len(parts) > 1:
            parts = parts[:-1]
        found[".".join(parts)] = file
    return found


MODULES = _modules()
TREES = {name: ast.parse(file.read_text()) for name, file in MODULES.items()}


def _of_types(tree):
    """Return the nodes that only a type checker sees."""
    guards = (n for n in ast.walk(tree) if isinstance(n, ast.If))
    guarded = (n for n in guards if "TYPE_CHECKING" in ast.unparse(n.test))
    return {id(inner) for guard in guarded for inner in ast.walk(guard)}


def _imports(tree):
    """Yield what a module imports of robustpo, at any depth, and whether for its types only."""
    types = _of_types(tree)
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] == "robustpo":
                yield _module(name), id(node) in types


def _module(name):
    """Return the module that a dotted name is of or in."""
    inner = name.partition(".")[2] or "__init__"
    while inner and inner not in MODULES:
        inner = inner.rpartition(".")[0]
    return inner or "__init__"


IMPORTS = {name: set(_imports(tree)) for name, tree in TREES.items()}


def _room(name):
    return name.partition(".")[0]


def test_every_room_has_its_place():
    assert {_room(name) for name in MODULES} == set(ORDER)


def test_arrows_point_one_way():
    wrong = [
        f"{name} -> {other}"
        for name, others in IMPORTS.items()
        for other, _ in others
        if ORDER.index(_room(other)) > ORDER.index(_room(name))
    ]
    assert wrong == []


def test_no_files_know_each_other_in_a_circle():
    graph = {
        name: {other for other, types in others if not types and other != name}
        for name, others in IMPORTS.items()
    }
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("room", ALONE)
def test_rooms_that_stand_on_little(room):
    known = {
        _room(other)
        for name, others in IMPORTS.items()
        if _room(name) == room
        for other, _ in others
    }
    assert known <= ALONE[room] | {room}


def test_a_circle_and_a_wrong_arrow_would_be_found():
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()
    tree = ast.parse("def f():\n    from robustpo.cli import main")
    assert dict(_imports(tree)) in ({"cli": False}, {"cli.main": False})
    assert "config" in {_room(other) for other, _ in IMPORTS["training.trainer"]}


@pytest.mark.parametrize("room", ["algorithm", "training", "statistics"])
def test_what_trains_and_computes_writes_no_file(room):
    calls = {
        (name, called)
        for name, tree in TREES.items()
        # It makes the directory of JAX's compiled programs.
        if _room(name) == room and name != "training.compilation"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for called in [getattr(node.func, "attr", getattr(node.func, "id", ""))]
        if called in WRITERS
    }
    assert calls == set()
    wrote = {name for name in MODULES if _room(name) == room and _imports_writing(name)}
    assert wrote == set()


def _imports_writing(name):
    return any(other == "base.writing" for other, _ in IMPORTS[name])


def test_files_stay_short():
    long = {n: len(f.read_text().splitlines()) for n, f in MODULES.items()}
    assert {n: lines for n, lines in long.items() if lines > MAX_LINES} == {}


def test_functions_stay_short():
    """Lines of a function but its docstring, which for the public ones is their manual."""
    long = {}
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = _lines(node)
                if ast.get_docstring(node) is not None:
                    lines -= _lines(node.body[0])
                if lines > MAX_FUNCTION:
                    long[f"{name}.{node.name}"] = lines
    assert long == {}


def _lines(node):
    return (node.end_lineno or node.lineno) - node.lineno + 1
