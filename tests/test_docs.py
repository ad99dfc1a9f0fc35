"""README and docs say what is there: their commands parse, their links and paths exist, the site shows every page."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

import prnet
from prnet.commands.run import make_parser
from prnet.configure.programs import PROGRAMS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
SCRIPTS = {f"{script}.py": name for name, script in PROGRAMS.items()}
PROGRAM = re.compile(r"(?:(?:\S*python3? )(?P<script>\w+\.py)|(?:\.venv/bin/)?prnet (?P<name>[a-z-]+)) ")
FOLDERS = "common|configure|evaluating|exporting|fitting|formats|generating|geometry|model|reconstructing|serving|tests"


def commands(page: Path) -> list[str]:
    """The lines of a page's code that call a program, without prompts and comments."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    (.*)$", page.read_text("utf-8"), re.MULTILINE)
    lines = [line.strip() for block in fenced for line in block.splitlines()] + indented
    return list(dict.fromkeys(line for line in lines if PROGRAM.match(f"{line} ")))


CASES = [pytest.param(line, id=f"{page.name}: {line[:60]}") for page in PAGES for line in commands(page)]


def test_there_are_commands_to_check():
    assert len(CASES) > 40


@pytest.mark.parametrize("line", CASES)
def test_a_command_parses(line):
    words = shlex.split(line, comments=True)
    called = PROGRAM.match(f"{line} ")
    arguments = words[words.index(called["script"] or called["name"]) + 1 :]
    name = called["name"] or SCRIPTS.get(called["script"])
    if "..." in arguments or name is None:  # a shortened line; a script that the page itself gives
        assert name or f"{called['script']}`" in "".join(page.read_text("utf-8") for page in PAGES)
        return
    make_parser().parse_args([name])
    importlib.import_module(f"prnet.commands.{PROGRAMS[name]}").make_parser().parse_args(arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_lead_somewhere(page):
    text = page.read_text("utf-8")
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        assert "://" in link or (page.parent / link).exists(), link
    for path in re.findall(rf"`((?:prnet|docs|benchmarks|{FOLDERS})/[\w/]+\.\w+)`", text):
        assert "NAME" in path or (ROOT / path).exists(), path


def test_every_page_is_on_the_site():
    site = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert all(page.name in site for page in (ROOT / "docs").glob("*.md"))


def test_the_api_reference_has_every_public_name():
    shown = set(re.findall(r"^::: ([\w.]+)$", (ROOT / "docs/api.md").read_text("utf-8"), re.MULTILINE))
    assert {f"prnet.{name}" for name in prnet.__all__} - {"prnet.RECIPES"} <= shown
    assert "prnet.configure.recipes" in shown


def test_the_changelog_begins_with_this_version():
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)[1] == prnet.__version__
