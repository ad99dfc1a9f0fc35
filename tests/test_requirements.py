"""What is installed: exact versions with hashes, of every package; direct ones are those of requirements.txt."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("3.11", "3.12", "3.13")


def entries(file: str) -> list[tuple[Requirement, list[str]]]:
    """Requirements of a file with their hashes."""
    text = (ROOT / file).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.partition("#")[0] for line in text.splitlines()]
    return [
        (Requirement(line.partition("--hash")[0]), re.findall(r"--hash=(\S+)", line)) for line in lines if line.strip()
    ]


@pytest.fixture(scope="module")
def locked():
    return entries("requirements.lock")


def test_every_package_has_one_version_and_its_hashes(locked):
    assert len(locked) > 60
    for requirement, hashes in locked:
        assert re.fullmatch(r"==[0-9][^*,]*", str(requirement.specifier)), requirement
        assert requirement.url is None
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), requirement


@pytest.mark.parametrize("version", VERSIONS)
def test_each_python_gets_the_direct_versions_and_one_of_each(locked, version):
    environment = {"python_version": version, "python_full_version": f"{version}.0", "sys_platform": "linux"}
    chosen = [found for found, _ in locked if found.marker is None or found.marker.evaluate(environment)]
    by_name = {found.name: str(found.specifier) for found in chosen}
    assert len(by_name) == len(chosen)
    for wanted, _ in entries("requirements.txt"):
        assert by_name.get(wanted.name) == str(wanted.specifier), f"{wanted}: requirements.lock is older; run make lock"


def test_the_lock_names_no_index_and_make_uses_it():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "make lock" in lock.splitlines()[1]
    assert "://" not in lock
    assert not re.search(r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links|--trusted-host)", lock, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "--require-hashes -r requirements.lock" in makefile
    assert "-r requirements.txt" not in makefile


def test_nothing_of_weight_comes_along_unasked(locked):
    """Extras, GPU libraries and other backends are a person's choice."""
    names = {requirement.name for requirement, _ in locked}
    assert not [
        name for name in names if name.startswith(("nvidia", "torch", "jax", "triton", "opencv-python-headless-"))
    ]
    assert "opencv-python" not in names
