"""Fits of very many photos: each shard's rows are the fits that `fit-photos` makes, and name what failed."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from prnet.commands.fit_photos import main
from prnet.common.errors import UserError
from prnet.fitting.fit_set import make_fit_set
from prnet.fitting.landmark_files import read_landmark_file
from prnet.fitting.landmark_sources import LandmarkSource
from prnet.fitting.many import fit_many
from prnet.formats.face_model_file import save_face_model
from prnet.geometry.face_model import at_landmarks, face_vertices
from prnet.geometry.pose import fit_to_pixels
from tests.helpers.serving_stand_in import image_file

SIDE = 120


@pytest.fixture(scope="module")
def photos(sample_model, tmp_path_factory):
    """A folder with six photos (grey: a fit looks at landmarks), face model and landmarks; one photo is broken, one
    has no landmarks, and of one they are of no face."""
    folder = tmp_path_factory.mktemp("photos")
    save_face_model(sample_model, folder / "model.hdf5")
    names = [f"{'deeper/' if number > 3 else ''}{number}" for number in range(6)]
    write_photos(folder / "images", sample_model, names)
    landmarks = np.array([landmarks_of(sample_model, number) for number in range(6)])
    landmarks[3] = np.random.default_rng(0).uniform(0, SIDE, (68, 3))
    (folder / "images" / "1.jpg").write_bytes(b"no photo")
    np.savez(folder / "landmarks.npz", names=names[:5], landmarks68=landmarks[:5])
    return folder


def write_photos(folder: Path, model, names) -> None:
    for name in names:
        path = folder / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_file(np.full((SIDE, SIDE, 3), 90, np.uint8), "JPEG"))


def landmarks_of(model, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    deviations = np.concatenate([model.shape_deviation, model.expression_deviation])
    coefficients = (random.normal(size=len(deviations)) * deviations / 2).astype(np.float32)
    scale = SIDE / 2.2 / np.ptp(at_landmarks(model, model.mean)[:, 1])
    to_pixels = fit_to_pixels(np.array([0, random.uniform(-0.4, 0.4), 0, SIDE / 2, SIDE / 2, 0, scale]), SIDE)
    return at_landmarks(model, face_vertices(model, coefficients) @ to_pixels[:, :3].T + to_pixels[:, 3])


def arguments(photos, **others) -> dict:
    given = {"face_model": photos / "model.hdf5", "landmarks": [str(photos / "landmarks.npz")]}
    return {**given, "model": "none", "detector": "none", **others}


def rows(folder) -> list[dict]:
    parquet = pytest.importorskip("pyarrow.parquet", reason="shards need pyarrow")
    return [row for path in sorted(folder.glob("fits-*.parquet")) for row in parquet.read_table(path).to_pylist()]


def test_one_photos_landmarks_are_not_those_of_another_of_its_name(photos, tmp_path, sample_model):
    pytest.importorskip("pyarrow", reason="shards need pyarrow")
    write_photos(tmp_path / "images", sample_model, ["a/x", "b/x"])
    np.savez(tmp_path / "bare.npz", names=["x"], landmarks68=landmarks_of(sample_model, 0)[None])
    given = arguments(photos, landmarks=[str(tmp_path / "bare.npz")])
    with pytest.raises(UserError, match="x would be both a/x and b/x"):
        fit_many(tmp_path / "images", tmp_path / "out", **given)
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_no_photo_is_blamed_for_lack_of_memory(photos, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="shards need pyarrow")

    def hungry(*_):
        raise MemoryError

    monkeypatch.setattr("prnet.formats.image_files.require_few_parts", hungry)
    with pytest.raises(UserError, match=r"0\.jpg: takes more memory than there is"):
        fit_many(photos / "images", tmp_path / "out", **arguments(photos))
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_every_photo_has_a_row_and_fits_are_those_of_the_folder(photos, tmp_path, sample_model, capsys):
    pytest.importorskip("pyarrow", reason="shards need pyarrow")
    flags = ["--images", str(photos / "images"), "--face-model", str(photos / "model.hdf5"), "--shard-size", "4"]
    flags += ["--landmarks", str(photos / "landmarks.npz"), "--output-dir", str(tmp_path / "fits")]
    assert main(flags) == 1
    assert len(list((tmp_path / "fits").glob("fits-*.parquet"))) == 2
    found = rows(tmp_path / "fits")
    source = LandmarkSource([read_landmark_file(photos / "landmarks.npz")])
    made = make_fit_set(photos / "images", source, tmp_path / "set", sample_model, workers=1)
    assert [row["image"] for row in found] == [outcome.photo for outcome in made.outcomes]
    assert [row["problem"] for row in found] == [outcome.reason for outcome in made.outcomes]
    assert "is not a JPEG or PNG" in found[1]["problem"]
    assert "no landmarks of this photo" in found[5]["problem"]
    assert found[3]["problem"] is not None
    for row, outcome in zip(found, made.outcomes, strict=True):
        if outcome.quality is None:
            assert row["pose"] is None
            continue
        np.testing.assert_allclose(row["pose"], outcome.pose, rtol=1e-5)
        np.testing.assert_allclose(row["expression"], outcome.expression, rtol=1e-4, atol=1e-6)
        assert row["residual"] == pytest.approx(outcome.quality.residual, rel=1e-4)
    placed = np.reshape(found[0]["landmarks"], (68, 3))
    assert np.linalg.norm((placed - landmarks_of(sample_model, 0))[:, :2], axis=1).mean() < 0.8


def test_a_run_of_fits_goes_on_and_others_are_refused(photos, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="shards need pyarrow")
    given = arguments(photos, shard_size=2)
    assert fit_many(photos / "images", tmp_path, **given) == 3
    kept, before = tmp_path / "fits-00000.parquet", rows(tmp_path)
    stamp = kept.stat().st_mtime_ns
    (tmp_path / "fits-00001.parquet").unlink()
    assert fit_many(photos / "images", tmp_path, **given) == 3
    assert kept.stat().st_mtime_ns == stamp
    assert rows(tmp_path) == before
    with pytest.raises(UserError, match="holds shards of other photos or settings"):
        fit_many(photos / "images", tmp_path, **{**given, "landmarks": ["network"]})


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--shard-size", "0"), "--shard-size 0: out of range"),
        (("--shard-size", "9", "--zip"), "--zip: not with --shard-size"),
        (("--shard-size", "9", "--group"), "--group: not with --shard-size"),
        (("--cluster", "auto"), "give --shard-size too"),
    ],
)
def test_what_shards_cannot_do_is_refused(photos, tmp_path, flags, complaint):
    given = ["--images", str(photos / "images"), "--landmarks", str(photos / "landmarks.npz")]
    with pytest.raises(UserError, match=complaint):
        main([*given, "--output-dir", str(tmp_path / "fits"), *flags])


@pytest.mark.large
@pytest.mark.filterwarnings("default")  # Ray warns of itself
def test_two_workers_of_ray_fit_what_one_process_fits(sample_model, tmp_path):
    """2,000 photos in an archive: the same rows to the bit."""
    pytest.importorskip("ray", reason="the environment of `make test-scale` has Ray")
    names = [f"{number:04d}" for number in range(2000)]
    write_photos(tmp_path / "images", sample_model, names)
    save_face_model(sample_model, tmp_path / "model.hdf5")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in names:
            archive.write(tmp_path / "images" / f"{name}.jpg", f"{name}.jpg")
        archive.writestr("broken.jpg", b"no photo")
    landmarks = np.array([landmarks_of(sample_model, number) for number in range(len(names))])
    np.savez(tmp_path / "landmarks.npz", names=names, landmarks68=landmarks)
    given = arguments(tmp_path, shard_size=100)
    for workers in (1, 2):
        assert fit_many(tmp_path / "photos.zip", tmp_path / f"by{workers}", workers=workers, **given) >= 1
    assert len(list((tmp_path / "by2").glob("*.parquet"))) == 21
    assert rows(tmp_path / "by1") == rows(tmp_path / "by2")
