"""Very many photos: shards that do not depend on who makes them, go on where they stopped, and name what failed."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from prnet.commands.reconstruct_many import main
from prnet.common.errors import UserError
from prnet.geometry.position_map import layout_of_model
from prnet.model.saved_network import save_network
from prnet.reconstructing.many import reconstruct_many
from prnet.reconstructing.reconstructor import FaceReconstructor
from prnet.reconstructing.shards import list_photos
from tests.helpers.serving_stand_in import SIZE, build_mean_face_network, image_file

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def model(sample_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "mean.keras"
    layout = layout_of_model(sample_model)
    save_network(build_mean_face_network(layout, SIZE), layout, path)
    return str(path)


@pytest.fixture
def photos(tmp_path):
    """A folder of five photos, two of them further down, of which one is none."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, side in (("a", 90), ("b", 120), ("more/c", 70), ("more/d", 64)):
        photo = rng.integers(0, 255, (side, side + 9, 3), dtype=np.uint8)
        (folder / f"{name}.png").write_bytes(image_file(photo, "PNG"))
    (folder / "broken.jpg").write_bytes(b"no photo")
    (folder / "notes.txt").write_text("no photo either")
    return folder


def rows(folder) -> list[dict]:
    parquet = pytest.importorskip("pyarrow.parquet", reason="shards need pyarrow")
    return [row for path in sorted(folder.glob("*.parquet")) for row in parquet.read_table(path).to_pylist()]


def test_folders_archives_and_lists_name_the_same_photos(photos, tmp_path):
    names = ["a.png", "b.png", "broken.jpg", "more/c.png", "more/d.png"]
    assert list_photos(photos) == names
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in [*reversed(names), "notes.txt"]:
            archive.write(photos / name, name)
    assert list_photos(tmp_path / "photos.zip") == names
    with pytest.raises(UserError, match=r"notes\.txt: no folder, \.zip archive or"):
        list_photos(photos / "notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: holds no photo"):
        list_photos(tmp_path / "empty")


def test_what_systems_put_beside_photos_is_none(photos, tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in ("a.png", "__MACOSX/._a.png", ".hidden/b.png", "d.jpg/"):
            archive.writestr(name, b"")
    assert list_photos(tmp_path / "photos.zip") == ["a.png"]


def test_a_damaged_entry_of_an_archive_is_a_row(photos, tmp_path, model):
    pytest.importorskip("pyarrow", reason="shards need pyarrow")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.png", "b.png", "more/c.png"):
            archive.write(photos / name, name)
    content = bytearray((tmp_path / "photos.zip").read_bytes())
    content[60:90] = bytes(30)
    (tmp_path / "photos.zip").write_bytes(content)
    assert reconstruct_many(tmp_path / "photos.zip", tmp_path / "faces", model=model, detector="none") == 1
    found = rows(tmp_path / "faces")
    assert [row["face"] for row in found] == [None, 0, 0]
    assert "a.png: cannot be read" in found[0]["problem"]


@pytest.mark.parametrize("name", ["UP.ZIP", "archive"])
def test_an_archive_is_one_by_its_content(photos, tmp_path, model, name):
    """By another name than .zip, the photos beside it were read in place of its own."""
    pytest.importorskip("pyarrow", reason="shards need pyarrow")
    with zipfile.ZipFile(photos / name, "w") as archive:
        archive.write(photos / "b.png", "a.png")
    assert reconstruct_many(photos / name, tmp_path / "faces", model=model, detector="none") == 0
    (row,) = rows(tmp_path / "faces")
    (face,) = FaceReconstructor(model, "none").reconstruct(photos / "b.png")
    np.testing.assert_allclose(np.reshape(row["landmarks"], (68, 3)), face.landmarks, atol=1e-4)


def test_pipes_and_devices_are_rows(photos, tmp_path, model):
    pytest.importorskip("pyarrow", reason="shards need pyarrow")
    os.mkfifo(photos / "e.jpg")
    (photos / "f.jpg").symlink_to("/dev/zero")
    assert reconstruct_many(photos, tmp_path / "faces", model=model, detector="none") == 3
    problems = [row["problem"] for row in rows(tmp_path / "faces") if row["image"] in ("e.jpg", "f.jpg")]
    assert [problem.rpartition(": ")[2] for problem in problems] == ["is not a plain file"] * 2


def test_large_photos_take_turns(photos, tmp_path, model, monkeypatch):
    """32 of 100 megapixels are 9.6 GB."""
    pytest.importorskip("pyarrow", reason="shards need pyarrow")
    together, reconstruct = [], FaceReconstructor.reconstruct_batch

    def counted(self, images, *arguments):
        together.append(len(images))
        return reconstruct(self, images, *arguments)

    monkeypatch.setattr(FaceReconstructor, "reconstruct_batch", counted)
    monkeypatch.setattr("prnet.reconstructing.many.MAX_BYTES", 70 * 79 * 3)
    assert reconstruct_many(photos, tmp_path / "faces", model=model, detector="none") == 1
    assert together == [1, 1, 2]  # a, b, then c with d
    assert [row["image"] for row in rows(tmp_path / "faces")] == list_photos(photos)


def test_no_photo_is_blamed_for_lack_of_memory(photos, tmp_path, model, monkeypatch):
    pytest.importorskip("pyarrow", reason="shards need pyarrow")

    def hungry(*_):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("prnet.formats.photos.decode_photo", hungry)
        with pytest.raises(UserError, match=r"a\.png: takes more memory than there is"):
            reconstruct_many(photos, tmp_path / "faces", model=model, detector="none")
    assert not list((tmp_path / "faces").glob("*.parquet"))
    assert reconstruct_many(photos, tmp_path / "faces", model=model, detector="none") == 1


def test_a_damaged_record_and_a_list_of_no_paths_are_one_line(photos, tmp_path, model):
    pyarrow = pytest.importorskip("pyarrow", reason="shards need pyarrow")
    from pyarrow import parquet

    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "shards.json").write_text('{"sour')
    with pytest.raises(UserError, match=r"shards\.json: is damaged; choose another"):
        reconstruct_many(photos, tmp_path / "faces", model=model)
    parquet.write_table(pyarrow.table({"path": ["a.png", None]}), photos / "list.parquet")
    with pytest.raises(UserError, match=r"list\.parquet: row 1 of its column path holds None"):
        list_photos(photos / "list.parquet")


def test_what_is_not_installed_is_named(photos, tmp_path, model, monkeypatch):
    monkeypatch.setattr("prnet.reconstructing.shards.find_spec", lambda module: None)
    with pytest.raises(UserError, match=r"needs pyarrow; install it by pip install 'prnet\[scale\]'"):
        reconstruct_many(photos, tmp_path / "faces", model=model)


def test_every_photo_has_a_row(photos, tmp_path, model, capsys):
    pytest.importorskip("pyarrow", reason="shards need pyarrow")
    arguments = [str(photos), "--output-dir", str(tmp_path / "faces"), "--model", model, "--detector", "none"]
    assert main([*arguments, "--shard-size", "2"]) == 1
    found = rows(tmp_path / "faces")
    assert [row["image"] for row in found] == ["a.png", "b.png", "broken.jpg", "more/c.png", "more/d.png"]
    assert [row["face"] for row in found] == [0, 0, None, 0, 0]
    assert "broken.jpg" in found[2]["problem"]
    (face,) = FaceReconstructor(model, "none").reconstruct(photos / "more" / "c.png")
    np.testing.assert_allclose(np.reshape(found[3]["landmarks"], (68, 3)), face.landmarks, atol=1e-4)
    np.testing.assert_allclose(found[3]["yaw"], face.pose.yaw, atol=1e-4)
    assert found[3]["expressions"] is None


def test_a_run_that_stopped_goes_on_and_no_other_is_mixed_with_it(photos, tmp_path, model):
    pytest.importorskip("pyarrow", reason="shards need pyarrow")
    folder, plan = tmp_path / "faces", {"model": model, "detector": "none", "shard_size": 2}
    assert reconstruct_many(photos, folder, **plan) == 1
    shards = sorted(folder.glob("faces-*.parquet"))
    assert len(shards) == 3
    kept, before = shards[0].stat().st_mtime_ns, rows(folder)
    shards[1].unlink()
    assert reconstruct_many(photos, folder, **plan) == 1  # the broken photo's shard is made again
    assert shards[0].stat().st_mtime_ns == kept
    assert rows(folder) == before
    (folder / ".faces-00001.1.partial.parquet").write_bytes(b"of a run that was killed")
    shards[1].unlink()
    assert reconstruct_many(photos, folder, **plan) == 1
    assert not list(folder.glob(".*"))
    assert reconstruct_many(photos, folder, **plan) == 1  # the broken photo is still broken
    with pytest.raises(UserError, match="holds shards of other photos or settings"):
        reconstruct_many(photos, folder, **{**plan, "shard_size": 3})
    (photos / "e.png").write_bytes((photos / "a.png").read_bytes())
    with pytest.raises(UserError, match="holds shards of other photos or settings"):
        reconstruct_many(photos, folder, **plan)
    assert json.loads((folder / "shards.json").read_text())["shard_size"] == 2


def test_zip_and_list_give_the_folders_rows(photos, tmp_path, model):
    pyarrow = pytest.importorskip("pyarrow", reason="shards need pyarrow")
    from pyarrow import parquet

    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in list_photos(photos):
            archive.write(photos / name, name)
    parquet.write_table(pyarrow.table({"path": list_photos(photos)}), photos / "list.parquet")
    parquet.write_table(pyarrow.table({"file": ["a.png"]}), photos / "other.parquet")
    for source in (photos, tmp_path / "photos.zip", photos / "list.parquet"):
        reconstruct_many(source, tmp_path / f"faces-{source.suffix}", model=model, detector="none")
    expected = [(row["image"], row["landmarks"]) for row in rows(tmp_path / "faces-")]
    for suffix in (".zip", ".parquet"):
        assert [(row["image"], row["landmarks"]) for row in rows(tmp_path / f"faces-{suffix}")] == expected
    with pytest.raises(UserError, match=r"other\.parquet: no Parquet file with a column called path"):
        list_photos(photos / "other.parquet")


@pytest.mark.large
@pytest.mark.filterwarnings("default")  # Ray warns of itself
def test_two_workers_of_ray_write_what_one_process_writes(shared_data, tmp_path):
    """2,000 photos, by the shipped network in ONNX Runtime: the same rows to the bit."""
    pytest.importorskip("ray", reason="the environment of `make test-scale` has Ray")
    from prnet.exporting.export import export_network
    from prnet.model.saved_network import load_network

    with (
        zipfile.ZipFile(shared_data / "faces" / "300W-LP.zip") as archive,
        zipfile.ZipFile(tmp_path / "photos.zip", "w") as some,
    ):
        for name in sorted(name for name in archive.namelist() if name.endswith(".jpg"))[:2000]:
            some.writestr(Path(name).name, archive.read(name))
        some.writestr("broken.jpg", b"no photo")
    model = tmp_path / "morphnet.onnx"
    export_network(*load_network(ROOT / "resource" / "weights" / "morphnet.keras"), model, "onnx")
    for workers in (1, 2):
        folder = tmp_path / f"by{workers}"
        assert reconstruct_many(tmp_path / "photos.zip", folder, model=str(model), shard_size=100, workers=workers) >= 1
    assert len(list((tmp_path / "by2").glob("*.parquet"))) == 21
    assert rows(tmp_path / "by1") == rows(tmp_path / "by2")
