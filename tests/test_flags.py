"""The library knows no flags: its messages name settings as Python calls them, and programs put their flags there."""

import ast
import logging
import re
from importlib import import_module
from pathlib import Path

import pytest

from prnet.commands.terminal import FLAGS, in_flags, run_script
from prnet.common.errors import UserError
from prnet.configure.programs import PROGRAMS

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = (
    "common",
    "evaluating",
    "exporting",
    "fitting",
    "formats",
    "generating",
    "geometry",
    "model",
    "reconstructing",
    "serving",
)
MODULES = [path for package in LIBRARY for path in sorted((ROOT / package).rglob("*.py"))]


def texts(path: Path) -> list[str]:
    """The strings of a module that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in documentation)
    return [node.value for node in strings if isinstance(node.value, str)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_library_code_names_a_flag(path):
    for text in texts(path):
        assert not re.search(r"(?<!\w)--[a-z]", text), text
        assert set(re.findall(r"`(\w+)`", text)) <= set(FLAGS), text


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_library_code_prints(path):
    calls = (node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    assert not any(isinstance(called, ast.Name) and called.id == "print" for called in calls)


def test_every_setting_has_a_flag_that_some_program_takes():
    parsers = [import_module(f"prnet.commands.{script}").make_parser() for script in PROGRAMS.values()]
    taken = {spelling for parser in parsers for action in parser._actions for spelling in action.option_strings}
    assert set(FLAGS.values()) <= taken


def test_a_program_says_its_errors_and_warnings_in_flags(capsys):
    def main():
        log = logging.getLogger("prnet.somewhere")
        log.info("resuming after epoch 3")
        log.warning("lower `learning_rate`")
        raise UserError("photo `batch` of 8: does not fit; lower `batch_size`")

    before = logging.getLogger("prnet").handlers[:]
    with pytest.raises(SystemExit) as caught:
        run_script(main)
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == "resuming after epoch 3\n"
    assert (
        printed.err == "warning: lower --learning-rate\nerror: photo `batch` of 8: does not fit; lower --batch-size\n"
    )
    assert logging.getLogger("prnet").handlers == before


def test_what_is_no_setting_stays():
    assert in_flags("`rm -rf`.jpg and `types` 0 1") == "`rm -rf`.jpg and --types 0 1"
