"""build_dataset.py from command line to file: what goes in, what is left out and said, what is never lost."""

import io
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image

from prnet.commands import build_dataset as script
from prnet.commands.terminal import run_script
from prnet.common.errors import UserError
from prnet.configure.config import MAP_SIZE
from prnet.formats.face_model_file import save_face_model
from prnet.formats.image_files import decode_image
from prnet.formats.pairs import find_pairs
from prnet.generating import builder as builder_module
from prnet.generating.builder import SampleMaker, build_dataset, describe, find_sources
from prnet.generating.dataset import open_dataset
from prnet.generating.dataset_writer import DatasetWriter
from prnet.generating.split import group_name, split_by_group
from prnet.geometry.crop import landmark_box
from prnet.geometry.face_model import face_vertices
from prnet.geometry.pose import fit_to_pixels
from prnet.geometry.position_map import layout_of_model, map_basis, position_maps
from tests.helpers.small_faces import (
    PHOTO_SIDE,
    fit_fields,
    make_small_model,
    mat_bytes,
    small_files,
    small_photo,
    write_folder,
    write_zip,
)

STEMS = [
    *(f"300W_LP/AFW/AFW_{photo}_1_{view}" for photo in range(12) for view in range(2)),
    *(f"300W_LP/AFW_Flip/AFW_{photo}_1_{view}" for photo in range(12) for view in range(2)),
    *(f"300W_LP/HELEN/HELEN_{photo}_1_0" for photo in range(8)),
]


@pytest.fixture(scope="module")
def model():
    return make_small_model()


@pytest.fixture
def downloads(tmp_path, model):
    """A folder with 300W-LP.zip, AFLW2000-3D.zip and a face model."""
    folder = tmp_path / "downloads"
    write_zip(
        folder / "300W-LP.zip", small_files(STEMS) | {"300W_LP/Code/model.mat": b"", "300W_LP/landmarks/a.mat": b""}
    )
    write_zip(folder / "AFLW2000-3D.zip", small_files([f"AFLW2000/image{n:05d}" for n in range(6)], landmarks=True))
    save_face_model(model, folder / "face_model.hdf5")
    return folder


def run(capsys, downloads, *arguments, source="--zipDir", mode="train") -> tuple[int, str, str]:
    """Exit status and output of the script."""
    arguments = [source, downloads, "--hdf5dir", downloads / "out", "--buildmode", mode, *arguments]
    arguments += ["--facemodel", downloads / "face_model.hdf5"]
    with pytest.raises(SystemExit) as caught:
        run_script(lambda: script.main([str(argument) for argument in arguments]))
    captured = capsys.readouterr()
    return caught.value.code or 0, captured.out, captured.err


def complaints(errors: str) -> list[str]:
    return [line for line in errors.splitlines() if line.startswith(("left out: ", "error: "))]


def test_train_and_val_are_built_from_archives(capsys, downloads, model):
    status, output, errors = run(capsys, downloads)
    assert (status, complaints(errors)) == (0, [])
    assert [line.split() for line in output.splitlines()[:3]] == [["AFW", "24"], ["AFW_Flip", "24"], ["HELEN", "8"]]
    assert f"{downloads / 'out' / 'train.hdf5'}: 56 samples" in output
    assert "0 files left out" in output
    with open_dataset(downloads / "out" / "train.hdf5") as dataset:
        assert dataset.data_mode == 5
        assert dataset.model_identity == model.identity
        assert dataset.layout_identity == layout_of_model(model).identity
        assert sorted(f"300W_LP/{f}/{n}" for f, n in zip(dataset.folders, dataset.names, strict=True)) == sorted(STEMS)
        assert 0 < dataset.validation.sum() <= 4
    status, output, _ = run(capsys, downloads, mode="val")
    assert status == 0
    with open_dataset(downloads / "out" / "val.hdf5") as dataset:
        assert len(dataset) == 6
        assert not dataset.validation.any()
        assert np.isfinite(dataset.landmarks).all()


def test_a_sample_holds_photo_fit_box_yaw_and_landmarks_of_its_files(capsys, downloads, model):
    run(capsys, downloads, mode="val")
    with open_dataset(downloads / "out" / "val.hdf5") as dataset, find_pairs(downloads / "AFLW2000-3D.zip") as pairs:
        for index, pair in enumerate(pairs):
            fields = fit_fields(index, landmarks=True)
            assert (dataset.names[index], dataset.folders[index]) == (pair.name, "AFLW2000")
            assert dataset.encoded_image(index).tobytes() == pair.image_bytes()
            np.testing.assert_array_equal(dataset.image(index), decode_image(pair.image_bytes(), pair.name))
            np.testing.assert_allclose(dataset.coefficients[index][:3], fields["Shape_Para"][:, 0], rtol=1e-6)
            np.testing.assert_allclose(dataset.coefficients[index][3:], fields["Exp_Para"][:, 0], rtol=1e-6)
            np.testing.assert_array_equal(dataset.poses[index], fields["Pose_Para"][0])
            np.testing.assert_allclose(dataset.yaw[index], np.rad2deg(fields["Pose_Para"][0, 1]), rtol=1e-6)
            np.testing.assert_allclose(dataset.landmarks[index], fields["pt3d_68"].T - [1, 1, 0], atol=1e-5)
            assert (dataset.image_heights[index], dataset.image_widths[index]) == (PHOTO_SIDE, PHOTO_SIDE)
            transform = fit_to_pixels(dataset.poses[index], PHOTO_SIDE)
            vertices = face_vertices(model, dataset.coefficients[index], model.landmark_vertices[:, 0])
            box = landmark_box(vertices @ transform[:, :3].T + transform[:, 3])
            np.testing.assert_allclose(dataset.boxes[index], [*box.centre, box.side], rtol=1e-4)


def test_height_and_width_of_a_photo_are_told_apart(tmp_path, model):
    wide = cv2.imencode(".jpg", np.zeros((PHOTO_SIDE, 2 * PHOTO_SIDE, 3), np.uint8))[1].tobytes()
    files = {"a_0.jpg": wide, "a_0.mat": mat_bytes(fit_fields() | {"Pose_Para": [[0, 0, 0, 100, 20, 0, 16]]})}
    report = build_dataset([write_folder(tmp_path / "data", files)], tmp_path / "train.hdf5", model, progress=False)
    with open_dataset(report.path) as dataset:
        assert (dataset.image_heights[0], dataset.image_widths[0]) == (PHOTO_SIDE, 2 * PHOTO_SIDE)
        assert dataset.image(0).shape == (PHOTO_SIDE, 2 * PHOTO_SIDE, 3)
        assert abs(dataset.boxes[0][0] - 99) < 8
        assert abs(dataset.boxes[0][1] - (PHOTO_SIDE - 20)) < 8


def test_the_box_of_real_samples_is_that_of_their_ground_truth(shared_data, stand_in_model, tmp_path):
    report = build_dataset([shared_data / "AFLW2000"], tmp_path / "val.hdf5", stand_in_model, progress=False)
    with open_dataset(report.path) as dataset:
        for landmarks, (x, y, side) in zip(dataset.landmarks, dataset.boxes, strict=True):
            truth = landmark_box(landmarks)
            assert np.linalg.norm(truth.centre - [x, y]) < 0.03 * truth.side
            assert abs(truth.side - side) < 0.05 * truth.side


@pytest.mark.parametrize(
    "options", [["--batch", "1", "--bufsize", "1"], ["--batch", "7", "--bufsize", "3", "--workers", "5"]]
)
def test_the_result_depends_neither_on_batches_nor_on_workers(capsys, downloads, options):
    run(capsys, downloads)
    with open_dataset(downloads / "out" / "train.hdf5") as dataset:
        identity = dataset.identity
    assert run(capsys, downloads, *options, "--overwrite")[0] == 0
    with open_dataset(downloads / "out" / "train.hdf5") as dataset:
        assert dataset.identity == identity


def test_extracted_folders_give_the_same_data_set(capsys, downloads):
    run(capsys, downloads)
    with open_dataset(downloads / "out" / "train.hdf5") as dataset:
        identity = dataset.identity
    with zipfile.ZipFile(downloads / "300W-LP.zip") as archive:
        archive.extractall(downloads)
    for source in (downloads, downloads / "300W_LP"):
        assert run(capsys, downloads, "--overwrite", "--extractdir", source, source="--extractdir")[0] == 0
        with open_dataset(downloads / "out" / "train.hdf5") as dataset:
            assert dataset.identity == identity


def test_mirrored_photos_can_be_left_out_and_share_their_original_s_group(capsys, downloads):
    run(capsys, downloads)
    with open_dataset(downloads / "out" / "train.hdf5") as dataset:
        by_name = {}
        for name, group, held_out in zip(dataset.names, dataset.groups, dataset.validation, strict=True):
            by_name.setdefault(group_name(name), set()).add((group, held_out))
        assert len(by_name) == 20
        assert all(len(members) == 1 for members in by_name.values())
    status, output, _ = run(capsys, downloads, "--no-flips", "--overwrite")
    assert status == 0
    assert "24 mirrored photos not taken" in output
    with open_dataset(downloads / "out" / "train.hdf5") as dataset:
        assert set(dataset.folders) == {"AFW", "HELEN"}


def test_extended_data_joins_the_training_set(capsys, downloads):
    status, _, errors = run(capsys, downloads, "--extenddata")
    assert status == 0
    assert "no AFLW2000_augment there: no data are added" in errors
    assert run(capsys, downloads, "--extenddata", mode="val")[0] == 2
    extension = small_files(["AFLW2000_augment/image00001-v01"])
    write_zip(downloads / "AFLW2000_augment.zip", extension)
    assert run(capsys, downloads, "--extenddata", "--overwrite")[0] == 0
    with open_dataset(downloads / "out" / "train.hdf5") as dataset:
        assert len(dataset) == len(STEMS) + 1
        assert "AFLW2000_augment" in dataset.folders
    write_folder(downloads, small_files(["300W_LP/AFW/AFW_1_1_0"]) | extension)
    assert run(capsys, downloads, "--extenddata", "--overwrite", source="--extractdir")[0] == 0
    with open_dataset(downloads / "out" / "train.hdf5") as dataset:
        assert dataset.folders == ["AFW", "AFLW2000_augment"]


BROKEN = {
    "AFW/truncated_1_0": (small_photo()[:-200], mat_bytes(fit_fields()), "truncated_1_0.jpg: is damaged or cut short"),
    "AFW/text_1_0": (b"<html>not found</html>", mat_bytes(fit_fields()), "text_1_0.jpg: is not a JPEG or PNG"),
    "AFW/empty_1_0": (b"", mat_bytes(fit_fields()), "empty_1_0.jpg: is not a JPEG or PNG"),
    "AFW/nan_1_0": (small_photo(), mat_bytes(fit_fields() | {"Exp_Para": [[np.nan], [0]]}), "nan_1_0.mat: Exp_Para"),
    "AFW/fields_1_0": (small_photo(), mat_bytes({"pt2d": 1}), "fields_1_0.mat: has no Shape_Para, no Exp_Para"),
    "AFW/cut_1_0": (small_photo(), mat_bytes(fit_fields())[:-50], "cut_1_0.mat: is damaged or cut short"),
    "AFW/model_1_0": (small_photo(), mat_bytes(fit_fields() | {"Shape_Para": np.ones((9, 1))}), "has 9 identity and 2"),
    "AFW/outside_1_0": (
        small_photo(),
        mat_bytes(fit_fields() | {"Pose_Para": [[0, 0, 0, 500, 30, 0, 16]]}),
        "outside_1_0.mat: puts the face outside the photo",
    ),
}


@pytest.mark.parametrize("limits", [(1, 1 << 28), (1 << 25, 1)])
def test_large_photos_fill_units_and_buffer_before_their_number_does(tmp_path, model, monkeypatch, limits):
    written, units = [], []
    append, make = DatasetWriter.append, SampleMaker.__call__
    monkeypatch.setattr(DatasetWriter, "append", lambda self, held: written.append(len(held)) or append(self, held))
    monkeypatch.setattr(SampleMaker, "__call__", lambda self, pairs: units.append(len(pairs)) or make(self, pairs))
    monkeypatch.setattr(builder_module, "UNIT_BYTES", limits[0])
    monkeypatch.setattr(builder_module, "BUFFER_BYTES", limits[1])
    source = write_folder(tmp_path / "data", small_files([f"AFW/a_{number}" for number in range(6)]))
    build_dataset([source], tmp_path / "train.hdf5", model, batch=2, buffer=100, progress=False)
    assert (units, written) == (([1] * 6, [6]) if limits[0] == 1 else ([2] * 3, [2] * 3))


def test_only_a_few_units_are_made_ahead():
    taken = []
    results = builder_module._made(lambda unit: unit, (taken.append(n) or n for n in range(100)), workers=2)
    assert [next(results), next(results)] == [0, 1]
    assert len(taken) <= 5
    assert list(results) == list(range(2, 100))


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_what_is_broken_is_left_out_by_name_and_the_rest_is_built(tmp_path, model, write):
    files = small_files(["AFW/good_1_0", "AFW/good_2_0"]) | {"AFW/alone.jpg": small_photo(), "AFW/alone_too.mat": b""}
    for stem, (photo, fit, _) in BROKEN.items():
        files |= {f"{stem}.jpg": photo, f"{stem}.mat": fit}
    source = write(tmp_path / "data", files)
    report = build_dataset([source], tmp_path / "train.hdf5", model, progress=False)
    assert report.counts == {"AFW": 2}
    reasons = [*(reason for _, _, reason in BROKEN.values()), "alone.jpg: has no .mat", "alone_too.mat: has no photo"]
    assert len(report.left_out) == len(reasons)
    for reason in reasons:
        (line,) = (line for line in report.left_out if reason in line)
        assert line.startswith(f"{source}/AFW/")
        assert "\n" not in line
    assert "10 files left out" in describe(report)


def test_the_exit_status_tells_that_something_was_left_out(capsys, downloads):
    with zipfile.ZipFile(downloads / "300W-LP.zip", "a") as archive:
        archive.writestr("300W_LP/AFW/AFW_99_1_0.jpg", small_photo()[:300])
        archive.writestr("300W_LP/AFW/AFW_99_1_0.mat", mat_bytes(fit_fields()))
        archive.writestr("300W_LP/AFW/AFW_98_1_0.jpg", small_photo())
    status, output, errors = run(capsys, downloads)
    assert status == 1
    assert "56 samples" in output
    assert "2 files left out" in output
    unpaired, truncated = complaints(errors)
    assert unpaired == f"left out: {downloads}/300W-LP.zip/300W_LP/AFW/AFW_98_1_0.jpg: has no .mat"
    assert truncated.startswith(
        f"left out: {downloads}/300W-LP.zip/300W_LP/AFW/AFW_99_1_0.jpg: is damaged or cut short"
    )


@pytest.mark.parametrize("mode", ["train", "val"])
def test_an_empty_folder_is_one_line(capsys, downloads, mode):
    (downloads / "empty").mkdir()
    status, _, errors = run(capsys, downloads, "--extractdir", downloads / "empty", source="--extractdir", mode=mode)
    expected = f"error: {downloads}/empty: no .jpg with a .mat of the same name beside it"
    assert (status, complaints(errors)) == (2, [expected])


def test_a_cut_archive_is_one_line_and_nothing_is_written(capsys, downloads):
    path = downloads / "300W-LP.zip"
    path.write_bytes(path.read_bytes()[:5000])
    status, _, errors = run(capsys, downloads)
    assert (status, len(complaints(errors))) == (2, 1)
    assert f"{path}: is not a zip archive, or is cut short" in errors
    assert not (downloads / "out").exists()


def test_a_missing_source_says_what_was_looked_for(capsys, downloads):
    (downloads / "300W-LP.zip").rename(downloads / "faces.zip")
    status, _, errors = run(capsys, downloads)
    assert (status, complaints(errors)) == (
        2,
        [f"error: {downloads}: holds no 300W-LP.zip or 300W_LP.zip; give the folder that it lies in"],
    )


def test_where_nothing_can_be_used_no_file_is_made(tmp_path, model):
    source = write_folder(tmp_path / "data", {"a_0.jpg": b"", "a_0.mat": b"", "b_0.jpg": b"", "b_0.mat": b""})
    with pytest.raises(UserError, match=r"b_0\.mat: .*\(nor can any other of the 2 pairs be used\)"):
        build_dataset([source], tmp_path / "out" / "train.hdf5", model, progress=False)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_older_file_stays_unless_it_is_to_be_replaced(capsys, downloads, tmp_path):
    run(capsys, downloads)
    path = downloads / "out" / "train.hdf5"
    before = path.read_bytes()
    status, _, errors = run(capsys, downloads, "--no-flips")
    assert (status, complaints(errors)) == (2, [f"error: {path}: is there already; --overwrite replaces it"])
    broken = write_zip(tmp_path / "broken" / "300W-LP.zip", {"a.jpg": b"", "a.mat": b""})
    assert run(capsys, downloads, "--overwrite", "--zipDir", broken.parent)[0] == 2
    assert path.read_bytes() == before
    assert run(capsys, downloads, "--no-flips", "--overwrite")[0] == 0
    assert path.read_bytes() != before


def test_an_output_that_cannot_be_made_is_one_line(capsys, downloads):
    (downloads / "out").write_bytes(b"a file, not a folder")
    status, _, errors = run(capsys, downloads)
    assert status == 2
    assert len(complaints(errors)) == 1
    assert "Traceback" not in errors


@pytest.mark.parametrize("spelling", ["300W_LP", "300w-lp", "300W-LP"])
def test_sources_are_found_by_name_whatever_the_case(tmp_path, spelling):
    write_folder(tmp_path, small_files([f"{spelling}/AFW/a_0", "AFLW2000/image1"]))
    write_zip(tmp_path / f"{spelling}.ZIP".lower(), {})
    assert find_sources(tmp_path, "train", archives=False) == [tmp_path / spelling]
    assert find_sources(tmp_path, "train", archives=True) == [tmp_path / f"{spelling.lower()}.zip"]
    assert find_sources(tmp_path / spelling, "train", archives=False) == [tmp_path / spelling]
    assert find_sources(tmp_path / f"{spelling.lower()}.zip", "train", archives=True)
    assert find_sources(tmp_path, "val", archives=False) == [tmp_path / "AFLW2000"]


def test_the_test_set_is_not_taken_for_training_data(tmp_path):
    write_folder(tmp_path, small_files(["AFLW2000/image1"]))
    with pytest.raises(UserError, match=r"holds no 300W-LP/ or 300W_LP/"):
        find_sources(tmp_path, "train", archives=False)
    with pytest.raises(UserError, match=r"absent: no such folder"):
        find_sources(tmp_path / "absent", "train", archives=False)


@pytest.mark.parametrize("data_mode", range(5))
def test_stored_maps_are_those_of_the_fit(tmp_path, model, data_mode):
    source = write_folder(tmp_path / "data", small_files(["AFW/a_0", "AFW/b_0"], landmarks=True))
    stored, fits = (
        open_dataset(build_dataset([source], tmp_path / f"{mode}.hdf5", model, data_mode=mode, progress=False).path)
        for mode in (data_mode, 5)
    )
    with stored, fits:
        basis = map_basis(model, MAP_SIZE)
        for index in range(2):
            transform = fit_to_pixels(fits.poses[index], PHOTO_SIDE)[None]
            expected = position_maps(basis, fits.coefficients[[index]], transform)[0]
            found, x, y, side = stored.map(index), *fits.boxes[index]
            if data_mode < 4:
                zoom = (MAP_SIZE - 1) / (1.5 * side)
                expected = (expected - [x, y, 0]) * zoom + [(MAP_SIZE - 1) / 2, (MAP_SIZE - 1) / 2, 0]
                np.testing.assert_allclose(stored.boxes[index], [127.5, 127.5, 170], rtol=1e-5)
                landmarks = (fits.landmarks[index] - [x, y, 0]) * zoom + [127.5, 127.5, 0]
                np.testing.assert_allclose(stored.landmarks[index], landmarks, atol=1e-3)
                assert stored.image(index).shape == (MAP_SIZE, MAP_SIZE, 3)
                assert (stored.image_heights[index], stored.image_widths[index]) == (MAP_SIZE, MAP_SIZE)
                assert stored.image(index).max() > (100 if data_mode == 0 else 0.4)
                assert stored.image(index).max() <= (255 if data_mode == 0 else 1)
            else:
                np.testing.assert_array_equal(stored.image(index), fits.image(index))
                np.testing.assert_array_equal(stored.boxes[index], fits.boxes[index])
            half_precision = data_mode in (3, 4)
            np.testing.assert_allclose(found, expected, atol=0.13 if half_precision else 2e-3)


def test_many_maps_are_made_in_batches_and_in_order(tmp_path, model):
    source = write_folder(tmp_path / "data", small_files([f"AFW/a_{number:02d}" for number in range(21)]))
    modes = [
        build_dataset([source], tmp_path / f"{mode}.hdf5", model, data_mode=mode, progress=False) for mode in (4, 5)
    ]
    with open_dataset(modes[0].path) as stored, open_dataset(modes[1].path) as fits:
        basis = map_basis(model, MAP_SIZE)
        for index in (0, 15, 16, 20):
            transform = fit_to_pixels(fits.poses[index], PHOTO_SIDE)[None]
            expected = position_maps(basis, fits.coefficients[[index]], transform)[0]
            np.testing.assert_allclose(stored.map(index), expected, atol=0.04)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("AFW_134212_1_0", "AFW_134212_1"),
        ("AFW_134212_1_17", "AFW_134212_1"),
        ("AFW_134212_1_0-v03", "AFW_134212_1"),
        ("IBUG_image_008_1_0", "IBUG_image_008_1"),
        ("YTF_AbdullahGul_10", "YTF_AbdullahGul"),
        ("LFPW_image_test_0001_3", "LFPW_image_test_0001"),
        ("image00081", "image00081"),
        ("image00081-v12", "image00081"),
    ],
)
def test_the_group_is_the_photo_and_face(name, group):
    assert group_name(name) == group


def test_the_split_takes_whole_groups_and_its_share_whatever_the_order():
    names = [f"photo{photo}_{view}" for photo in range(200) for view in range(5)]
    groups, validation = split_by_group(names, 0.05)
    assert len(set(groups)) == 200
    assert len(set(groups[validation])) == 10
    assert not set(groups[validation]) & set(groups[~validation])
    order = np.random.default_rng(0).permutation(len(names))
    _, shuffled = split_by_group([names[index] for index in order], 0.05)
    np.testing.assert_array_equal(shuffled, validation[order])
    assert not split_by_group(names, 0.0)[1].any()
    hundred = [f"photo{number}_0" for number in range(100)]
    held_out = [name for name, held in zip(hundred, split_by_group(hundred, 0.05)[1], strict=True) if held]
    assert held_out == ["photo23_0", "photo46_0", "photo74_0", "photo85_0", "photo99_0"]
    assert split_by_group(["a_0", "b_0"], 0.05)[1].sum() == 1
    assert split_by_group(["a_0", "a_1"], 0.05)[1].sum() == 0


def encoded(image: np.ndarray, suffix: str = ".jpg", *parameters) -> bytes:
    return cv2.imencode(suffix, image, parameters)[1].tobytes()


def cmyk_photo() -> bytes:
    stream = io.BytesIO()
    Image.new("CMYK", (PHOTO_SIDE, PHOTO_SIDE)).save(stream, "JPEG")
    return stream.getvalue()


GREY = np.tile(np.arange(PHOTO_SIDE, dtype=np.uint8) * 3, (PHOTO_SIDE, 1))
COLOUR = np.dstack([GREY, GREY.T, 255 - GREY])


@pytest.mark.parametrize(
    "photo",
    [
        encoded(GREY),
        encoded(COLOUR, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        encoded(COLOUR, ".png"),
        encoded(np.dstack([COLOUR, GREY]), ".png"),
        encoded(COLOUR.astype(np.uint16) * 257, ".png"),
        encoded(GREY.astype(np.uint16) * 257, ".png"),
    ],
    ids=["grey", "progressive", "png", "transparent", "16 bit", "16 bit grey"],
)
def test_what_can_be_used_is_used_whatever_its_suffix_says(tmp_path, model, photo):
    source = write_folder(tmp_path / "data", {"a_0.jpg": photo, "a_0.mat": mat_bytes(fit_fields())})
    report = build_dataset([source], tmp_path / "train.hdf5", model, progress=False)
    with open_dataset(report.path) as dataset:
        image = dataset.image(0)
    assert image.dtype == np.uint8
    is_grey = (image[..., 0] == image[..., 2]).all()
    expected = GREY[..., None] if is_grey else COLOUR[..., ::-1]
    assert np.abs(image.astype(int) - expected).mean() < 4


@pytest.mark.parametrize(
    ("photo", "reason"),
    [
        (cmyk_photo(), "is a CMYK image"),
        (encoded(GREY[:1, :1]), "puts the face outside the photo"),
        (encoded(GREY, ".webp"), "is not a JPEG or PNG"),
        (encoded(COLOUR, ".png")[:-100], "is damaged or cut short"),
        (encoded(COLOUR).replace(b"\x00\x40\x00\x40", b"\x4e\x20\x4e\x20"), "claims 20000 x 20000 pixels"),
        (encoded(COLOUR).replace(b"\x00\x40\x00\x40", b"\x00\x00\x00\x40"), "is damaged or cut short"),
    ],
    ids=["cmyk", "one pixel", "webp", "cut png", "huge", "no rows"],
)
def test_what_cannot_be_used_is_left_out(tmp_path, model, photo, reason):
    files = small_files(["b_0"]) | {"a_0.jpg": photo, "a_0.mat": mat_bytes(fit_fields())}
    report = build_dataset([write_folder(tmp_path / "data", files)], tmp_path / "train.hdf5", model, progress=False)
    (line,) = report.left_out
    assert reason in line


def test_an_orientation_tag_is_not_applied_since_the_fit_ignores_it(tmp_path, model):
    photo = encoded(COLOUR)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = photo[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + photo[2:]
    assert not np.array_equal(
        cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR_RGB), decode_image(photo, "")
    )
    np.testing.assert_array_equal(decode_image(turned, ""), decode_image(photo, ""))


@pytest.mark.large
def test_the_real_training_pairs_are_built_whole(shared_data, stand_in_model, tmp_path):
    """At most 1.06 x the bytes of images and parameters; reading at random takes well under 0.15 ms an image."""
    report = build_dataset(
        [shared_data / "ytf" / "300W-LP.zip"], tmp_path / "train.hdf5", stand_in_model, progress=False
    )
    assert report.counts == {"YTF": 3100}
    assert report.left_out == []
    with find_pairs(shared_data / "ytf" / "300W-LP.zip") as pairs, open_dataset(report.path) as dataset:
        content = sum(len(pair.image_bytes()) for pair in pairs) + 3100 * (228 * 4 + 7 * 8)
        assert report.size <= 1.06 * content
        people = {name.rsplit("_", 1)[0] for name in dataset.names}
        held_out = {
            name.rsplit("_", 1)[0] for name, held in zip(dataset.names, dataset.validation, strict=True) if held
        }
        assert len(held_out) == round(0.05 * len(people))
        order = np.random.default_rng(0).integers(0, 3100, 20_000).tolist()
        start = time.process_time()
        for index in order:
            dataset.encoded_image(index)
        assert (time.process_time() - start) / len(order) < 0.00015
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(dataset.image, range(3100)))
