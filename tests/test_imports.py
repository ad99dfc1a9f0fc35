"""The structure that docs/architecture.md promises: imports run one way, and importing a module does nothing."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("configure", "common", "geometry", "formats", "generating", "model")
"""Each may import those before it."""
MAY_IMPORT = {layer: set(LAYERS[:number]) for number, layer in enumerate(LAYERS)}
MAY_IMPORT["configure"] = MAY_IMPORT["common"] = set()
MAY_IMPORT["evaluating"] = set(LAYERS) - {"model"}
MAY_IMPORT["reconstructing"] = set(LAYERS)
MAY_IMPORT["exporting"] = MAY_IMPORT["fitting"] = {*LAYERS, "reconstructing"}
MAY_IMPORT["serving"] = {*MAY_IMPORT["exporting"], "evaluating", "exporting"}
MAY_IMPORT["prnet"] = {*MAY_IMPORT, "commands", "interface"}
MODULES = sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))
EVERY_FILE = sorted(
    [*MODULES, *ROOT.glob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
)
WITHOUT_KERAS = sorted(
    ".".join(("prnet", *path.relative_to(ROOT).with_suffix("").parts)).replace("prnet.prnet", "prnet")
    for path in MODULES
    if path.parent.name not in ("model", "serving") and path.name not in ("sequence.py", "__init__.py")
)


def imported_names(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    ours = {name.split(".")[1] for name in imported_names(path) if name.startswith("prnet.")}
    assert ours <= MAY_IMPORT[package] | {package}


@pytest.mark.parametrize("path", EVERY_FILE, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_has_one_name(path):
    """`prnet.geometry.crop` and `geometry.crop` would be two modules with two of every class."""
    assert not {name.split(".")[0] for name in imported_names(path)} & (set(MAY_IMPORT) - {"prnet"})


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: path.stem)
def test_no_test_imports_a_test(path):
    """What tests share lies in `tests/helpers/`, and is imported as `from tests.helpers.NAME import ...`."""
    source = path.read_text(encoding="utf-8")
    assert not re.search(r"^\s*(?:from|import) +(?:tests\.test_|tests import|test_|helpers)", source, re.MULTILINE)
    assert "helpers" not in {name.split(".")[0] for name in imported_names(path)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_only_defines_things(path):
    allowed = (
        ast.Import,
        ast.ImportFrom,
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.ClassDef,
        ast.Assign,
        ast.AnnAssign,
    )
    if path.parent == ROOT / "prnet":
        allowed += (ast.If,)  # where the packages lie in a checkout; `python -m prnet`
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        assert isinstance(node, allowed) or is_docstring, f"line {node.lineno} runs at import"


def test_geometry_readers_and_metrics_do_without_keras():
    code = f"import sys\nfor name in {WITHOUT_KERAS!r}: __import__(name)\n"
    code += "print(sorted({'keras', 'tensorflow', 'matplotlib'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize("path", [*MODULES, *ROOT.glob("*.py")], ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_takes_one_system_for_granted(path):
    """What only POSIX or only Windows has is imported where it is used; processes are never forked."""
    source = path.read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            assert not names & {"fcntl", "grp", "msvcrt", "pwd", "resource", "termios", "winreg"}
    assert "os.fork" not in source
    assert source.count("multiprocessing.get_context") == source.count('multiprocessing.get_context("spawn")')
    assert not any(f"multiprocessing.{name}(" in source for name in ("Pool", "Process"))


def test_no_two_files_differ_only_in_case():
    tracked = [str(path.relative_to(ROOT)).lower() for path in MODULES]
    assert len(tracked) == len(set(tracked))


@pytest.mark.parametrize("path", EVERY_FILE, ids=lambda path: str(path.relative_to(ROOT)))
def test_pillow_is_told_which_formats_to_read(path):
    """It goes by content and would start Ghostscript for a photo.jpg that holds EPS."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "PIL.Image":
            assert "open" not in {alias.name for alias in node.names}, f"line {node.lineno} hides what opens"
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Image.open", "PIL.Image.open"):
            assert "formats" in {option.arg for option in node.keywords}, f"line {node.lineno} names no formats"
