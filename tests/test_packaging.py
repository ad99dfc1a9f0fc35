"""What `pip install` makes of the checkout: its parts, its requirements, and an installation that works anywhere."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import prnet

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NOT_PINNED = {"huggingface-hub", "jax", "ray"}
"""Optional parts that `requirements.txt` leaves out."""


def pinned() -> dict[str, str]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    exact = map(Requirement, filter(None, lines))
    return {requirement.name: str(requirement.specifier).removeprefix("==") for requirement in exact}


def ranges() -> list[Requirement]:
    extras = PROJECT["project"]["optional-dependencies"].values()
    given = map(Requirement, [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)])
    return [requirement for requirement in given if requirement.name != "prnet"]


def test_ranges_and_exact_versions_are_of_the_same_packages():
    names = [requirement.name for requirement in ranges()]
    assert len(names) == len(set(names))
    assert set(names) - NOT_PINNED == set(pinned())
    assert not NOT_PINNED & set(pinned())


def test_ranges_begin_where_the_tests_are_run():
    for requirement in ranges():
        assert {part.operator for part in requirement.specifier} == {">=", "<"}
        if requirement.name not in NOT_PINNED:
            version = pinned()[requirement.name]
            assert requirement.specifier.contains(version)
            lowest = next(part.version for part in requirement.specifier if part.operator == ">=")
            assert version == lowest or version.startswith(f"{lowest}.")


def folder_of(package: str) -> str:
    """Where setuptools takes a package from."""
    mapped = PROJECT["tool"]["setuptools"]["package-dir"]
    parent, _, name = package.rpartition(".")
    return mapped.get(package) or (f"{folder_of(parent)}/{name}" if parent else name)


def test_every_package_is_installed():
    tracked = subprocess.run(["git", "ls-files", "*/__init__.py"], cwd=ROOT, capture_output=True, text=True).stdout
    there = {str(Path(name).parent) for name in tracked.split()} - {"benchmarks", "tests", "tests/helpers"}
    assert {folder_of(package) for package in PROJECT["tool"]["setuptools"]["packages"]} == there | {"resource"}


def test_the_version_stands_in_one_place():
    assert re.fullmatch(r"\d+\.\d+\.\d+", prnet.__version__)
    assert PROJECT["project"]["dynamic"] == ["version"]
    files = [ROOT / name for name in tracked_files() if name.endswith(".py")]
    holders = [path for path in files if path.is_file() and re.search(r"^__version__", path.read_text("utf-8"), re.M)]
    assert [path.relative_to(ROOT) for path in holders] == [Path("prnet/__init__.py")]


def tracked_files() -> list[str]:
    """What git tracks: `pip install .` leaves a folder build/ with copies."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return list(filter(None, names.split("\0")))


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with the package as pip installs it, made from the files that git tracks."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in tracked_files():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    result = subprocess.run([*pip, "--target", target, source], capture_output=True, text=True, timeout=600)
    if "No matching distribution found for setuptools" in result.stderr:
        pytest.skip("setuptools cannot be fetched to build the package")
    assert result.returncode == 0, result.stderr
    return target


def run_installed(installed: Path, folder: Path, *arguments) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(installed), "HOME": str(folder / "home")}
    environment.pop("PRNET_FACE_MODEL", None)
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.large
def test_an_installation_has_weights_page_and_types(installed):
    place = installed / "prnet"
    for name in ("py.typed", "resource/weights/morphnet.keras", "serving/static/index.html", "LICENSE"):
        found = list(installed.rglob("LICENSE")) if name == "LICENSE" else [place / name]
        assert found[0].is_file(), name
    tracked = subprocess.run(["git", "ls-files", "serving/static"], cwd=ROOT, capture_output=True, text=True).stdout
    assert all((place / name).is_file() for name in tracked.split())
    assert (installed / "bin" / "prnet").is_file()
    assert {path.name for path in installed.iterdir()} == {"prnet", "bin", f"prnet-{prnet.__version__}.dist-info"}


@pytest.mark.large
def test_an_installation_reconstructs_a_photo_from_another_folder(installed, tmp_path):
    from skimage import data_dir

    result = run_installed(installed, tmp_path, "-m", "prnet", "reconstruct", f"{data_dir}/astronaut.png")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout.splitlines()[-1] == "open: output/faces/astronaut_face0_sheet.png"
    assert (tmp_path / "output/faces/astronaut_face0.glb").stat().st_size > 100_000


@pytest.mark.large
def test_an_installation_writes_its_face_model_to_the_home_folder_and_finds_it(installed, tmp_path):
    missing = run_installed(installed, tmp_path, "-m", "prnet", "train", "--hdf5-dir", "data")
    path = tmp_path / "home" / ".prnet" / "face_model.hdf5"
    assert missing.stderr.startswith(f"error: {path}: no such face model; make one with prnet build-face-model, or")
    made = run_installed(installed, tmp_path, "-m", "prnet", "build-face-model", "--sample")
    assert made.stdout.splitlines()[-1] == f"open: {path}"
    found = run_installed(installed, tmp_path, "-m", "prnet", "train", "--hdf5-dir", "data")
    assert found.stderr == "error: data/train.hdf5: no such file; build it with prnet build-dataset\n"
