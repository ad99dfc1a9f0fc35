"""The data set file: what is written is read, by any thread and by plain h5py; what is damaged is named."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from prnet.common.errors import UserError
from prnet.formats.image_files import decode_image
from prnet.generating import dataset_writer as writer_module
from prnet.generating.dataset import DATA_MODES, open_dataset
from prnet.generating.dataset_writer import dataset_writer
from tests.helpers.small_faces import small_photo
from tests.helpers.stored_samples import COUNT, make_samples, write_samples


@pytest.fixture
def written(tmp_path):
    return write_samples(tmp_path / "train.hdf5", 5, make_samples(5))


@pytest.mark.parametrize("data_mode", range(7))
@pytest.mark.parametrize("piece", [1, 3, 100])
def test_what_is_written_is_read(tmp_path, monkeypatch, data_mode, piece):
    monkeypatch.setattr(writer_module, "CHUNK_BYTES", 5000)
    samples = make_samples(data_mode)
    with open_dataset(write_samples(tmp_path / "train.hdf5", data_mode, samples, piece)) as dataset:
        assert len(dataset) == COUNT
        assert (dataset.data_mode, dataset.model_identity, dataset.layout_identity) == (data_mode, "model", "layout")
        assert dataset.names == [sample.name for sample in samples]
        assert dataset.folders == [sample.folder for sample in samples]
        assert dataset.groups.tolist() == [0, 0, 1, 1, 2, 2, 3]
        assert dataset.validation.tolist() == [True, True] + 5 * [False]
        np.testing.assert_array_equal(dataset.yaw, [sample.yaw for sample in samples])
        np.testing.assert_array_equal(dataset.boxes, [sample.box for sample in samples])
        np.testing.assert_array_equal(dataset.image_heights, [sample.image_height for sample in samples])
        assert dataset.landmarks.shape == (COUNT, 68, 3)
        for index, sample in enumerate(samples):
            if sample.landmarks is None:
                assert np.isnan(dataset.landmarks[index]).all()
            else:
                np.testing.assert_array_equal(dataset.landmarks[index], sample.landmarks)
            image = dataset.image(index)
            if DATA_MODES[data_mode].image is None:
                np.testing.assert_array_equal(dataset.encoded_image(index), np.frombuffer(sample.image, np.uint8))
                np.testing.assert_array_equal(image, decode_image(sample.image, sample.name))
            else:
                assert image.dtype == (np.uint8 if data_mode == 0 else np.float32)
                np.testing.assert_array_equal(image, sample.image.astype(image.dtype))
            assert dataset.stores_fits == (data_mode == 5)
            if dataset.stores_fits:
                coefficients, poses = dataset.fits([index])
                np.testing.assert_array_equal(coefficients, sample.label[None])
                np.testing.assert_array_equal(poses, sample.pose[None])
                np.testing.assert_array_equal(dataset.coefficients[index], sample.label)
                np.testing.assert_array_equal(dataset.poses[index], sample.pose)
            else:
                if DATA_MODES[data_mode].label:
                    assert dataset.map(index).dtype == np.float32
                    np.testing.assert_array_equal(dataset.map(index), sample.label.astype(np.float32))
                assert dataset.coefficients is dataset.poses is None
                with pytest.raises(UserError, match=r"train\.hdf5: is of data mode \d; give one with fits"):
                    dataset.fits([index])


def test_rows_are_indexed_as_arrays_are(written):
    with open_dataset(written) as dataset:
        rows, array = dataset.coefficients, np.asarray(dataset.coefficients)
        assert rows.shape == array.shape == (COUNT, 300)
        for index in (2, -1, np.int64(3), slice(1, 4), [4, 1, 1], np.array([], int), np.arange(COUNT) > 3):
            np.testing.assert_array_equal(rows[index], array[index])
        for index in (COUNT, -COUNT - 1, [COUNT]):
            with pytest.raises(IndexError):
                rows[index]


def test_threads_read_the_same_as_one(tmp_path):
    samples = make_samples(5, 60)
    with open_dataset(write_samples(tmp_path / "train.hdf5", 5, samples)) as dataset, ThreadPoolExecutor(8) as pool:
        order = np.random.default_rng(0).integers(0, 60, 2000).tolist()
        for index, content in zip(order, pool.map(dataset.encoded_image, order), strict=True):
            assert content.tobytes() == samples[index].image


def test_without_landmarks_none_are_stored(tmp_path):
    samples = [replace(sample, landmarks=None) for sample in make_samples(5)]
    path = write_samples(tmp_path / "train.hdf5", 5, samples)
    with h5py.File(path) as file:
        assert "landmarks" not in file
    with open_dataset(path) as dataset:
        assert dataset.landmarks.shape == (COUNT, 68, 3)
        assert np.isnan(dataset.landmarks).all()


def test_plain_h5py_reads_the_file(written):
    samples = make_samples(5)
    with h5py.File(written) as file:
        start, stop = file["offsets"][3:5]
        assert file["images"][start:stop].tobytes() == samples[3].image
        assert file["names"].asstr()[3] == samples[3].name
        np.testing.assert_array_equal(file["coefficients"][3], samples[3].label)
        assert file.attrs["data_mode"] == 5


def test_the_identity_tells_data_sets_apart(tmp_path):
    samples = make_samples(5)
    changed = [
        samples,
        [replace(samples[0], name="other"), *samples[1:]],
        [replace(samples[0], image=small_photo(99, 40)), *samples[1:]],
        [replace(samples[0], label=samples[0].label + 1), *samples[1:]],
        [replace(samples[0], box=(1.0, 2.0, 3.0)), *samples[1:]],
        [replace(samples[0], landmarks=np.ones((68, 3), np.float32)), *samples[1:]],
        [replace(samples[0], landmarks=np.zeros((68, 3), np.float32)), *samples[1:]],
        samples[1:],
    ]
    identities = set()
    for number, version in enumerate(changed):
        with open_dataset(write_samples(tmp_path / f"{number}.hdf5", 5, version)) as dataset:
            identities.add(dataset.identity)
    with open_dataset(write_samples(tmp_path / "again.hdf5", 5, samples, piece=2)) as dataset:
        assert dataset.identity in identities
    assert len(identities) == len(changed)


def test_a_failure_while_writing_leaves_the_older_file_and_nothing_else(written):
    before = written.read_bytes()
    samples = make_samples(5)

    def fail():
        with dataset_writer(written, data_mode=5, model_identity="a", layout_identity="b") as writer:
            writer.append(samples)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert written.read_bytes() == before
    assert [path.name for path in written.parent.iterdir()] == ["train.hdf5"]


FULL_DISK = """
import resource, sys
from prnet.commands.terminal import run_script
from tests.helpers.stored_samples import make_samples, write_samples
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
run_script(lambda: write_samples(sys.argv[1], 5, make_samples(5, 80), 10) and None)
"""


@pytest.mark.parametrize(
    "limit", [150_000, *(pytest.param(limit, marks=pytest.mark.large) for limit in range(0, 270_000, 9000))]
)
def test_a_full_disk_is_one_line_and_loses_nothing(written, limit):
    """HDF5 by itself ends in a segmentation fault here. A limit on file sizes stands for the full disk."""
    before = written.read_bytes()
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(written), str(limit)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"error: {written}: cannot be written: File too large\n"
    assert written.read_bytes() == before
    assert [path.name for path in written.parent.iterdir()] == ["train.hdf5"]


def refusal(path) -> str:
    with pytest.raises(UserError) as caught:
        open_dataset(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_what_is_no_data_set_is_refused(tmp_path):
    assert "no such file" in refusal(tmp_path / "absent.hdf5")
    assert "no such file" in refusal(tmp_path)
    for content in (b"", b"text", bytes(5000), b"\x89HDF\r\n\x1a\n" + bytes(500)):
        (tmp_path / "other.hdf5").write_bytes(content)
        assert "is no data set, or damaged or cut short" in refusal(tmp_path / "other.hdf5")
    with h5py.File(tmp_path / "else.hdf5", "w") as file:
        file["names"] = [1, 2]
    assert "is not a data set" in refusal(tmp_path / "else.hdf5")


def test_a_file_cut_short_anywhere_is_refused(written):
    content = written.read_bytes()
    for length in np.linspace(0, len(content) - 1, 40).astype(int):
        written.write_bytes(content[:length])
        assert refusal(written)


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("format_version", 2, "is of format version 2, this program reads 1"),
        ("format_version", 0, "is of format version 0, this program reads 1"),
        ("format", "face model", "is not a data set"),
        ("data_mode", 7, "is of data mode 7"),
        ("data_mode", -1, "is of data mode -1"),
        ("data_mode", 4, "set maps"),
        ("data_mode", 0, "set images"),
    ],
)
def test_another_version_or_kind_is_named(written, attribute, value, message):
    with h5py.File(written, "r+") as file:
        file.attrs[attribute] = value
    assert message in refusal(written)


SETS = ["names", "folders", "groups", "validation", "yaws", "boxes", "image_heights", "image_widths"]
SETS += ["images", "offsets", "checksums", "coefficients", "poses", "landmarks"]


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_checked(written, name):
    with h5py.File(written, "r+") as file:
        good = file[name][()]
        del file[name]
    if name != "landmarks":
        assert f"set {name}" in refusal(written)
    for bad in (good[:-1], good[None], np.zeros(good.shape, complex), 1.0):
        with h5py.File(written, "r+") as file:
            file.pop(name, None)
            file[name] = bad
        assert "build it again" in refusal(written)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("offsets", 1 << 40),
        ("offsets", -1),
        ("offsets", 0),
        ("boxes", np.nan),
        ("boxes", -1),
        ("image_heights", 0),
        ("image_widths", -5),
        ("poses", np.inf),
    ],
)
def test_impossible_values_are_named(written, name, value):
    with h5py.File(written, "r+") as file:
        file[name][-1] = value
    assert f"the set {name} holds impossible values" in refusal(written)


def test_compressed_sets_are_refused_since_rows_are_read_from_the_file(written):
    with h5py.File(written, "r+") as file:
        good = file["coefficients"][()]
        del file["coefficients"]
        file.create_dataset("coefficients", data=good, compression="gzip")
    assert "compressed" in refusal(written)


def test_a_set_that_claims_more_than_the_file_holds_is_refused_unread(written):
    with h5py.File(written, "r+") as file:
        del file["validation"]
        file.create_dataset("validation", shape=(10**10,), dtype=bool)
    assert refusal(written).startswith("the set validation is bool of shape (10000000000,)")


def test_a_set_with_parts_never_written_is_refused(written):
    with h5py.File(written, "r+") as file:
        good = file["coefficients"][()]
        del file["coefficients"]
        file.create_dataset("coefficients", shape=good.shape, chunks=(1, 300), dtype="float32")[3:] = good[3:]
    assert "parts of the set /coefficients are missing" in refusal(written)


def test_sets_copied_by_other_tools_are_read(written, tmp_path):
    """`h5copy` or `h5repack` may make the sets contiguous."""
    with h5py.File(written) as old, h5py.File(tmp_path / "copy.hdf5", "w") as new:
        new.attrs.update(old.attrs)
        for name in old:
            new[name] = old[name][()]
    with open_dataset(written) as one, open_dataset(tmp_path / "copy.hdf5") as other:
        np.testing.assert_array_equal(one.image(3), other.image(3))
        np.testing.assert_array_equal(one.coefficients[[1, 5]], other.coefficients[[1, 5]])


def test_a_damaged_image_is_named_when_it_is_read(written):
    with h5py.File(written, "r+") as file:
        file["images"][file["offsets"][4] + 50] ^= 4
    with open_dataset(written) as dataset:
        dataset.image(3)
        with pytest.raises(UserError, match=r"train\.hdf5: HELEN_Flip/face_ü_4: the stored image is damaged"):
            dataset.image(4)


@pytest.mark.parametrize("data_mode", [0, 3, 4, 5])
def test_no_flipped_bit_of_any_set_is_believed(tmp_path, data_mode):
    path = write_samples(tmp_path / "train.hdf5", data_mode, make_samples(data_mode, 3))
    whole, random, places = path.read_bytes(), np.random.default_rng(0), {}
    with h5py.File(path) as file:
        for name in file:
            stored = file[name]
            start = stored.id.get_chunk_info(0).byte_offset if stored.chunks else stored.id.get_offset()
            places[name] = start, min(np.prod(stored.chunks or stored.shape) * stored.dtype.itemsize, stored.nbytes)
    assert len(places) > 10
    for start, length in places.values():
        for place in random.integers(start, start + length, 5):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << random.integers(8)
            path.write_bytes(damaged)
            with pytest.raises(UserError, match=r"train\.hdf5: .*build"):
                read_all(path)
    path.write_bytes(whole)
    read_all(path)


def read_all(path):
    with open_dataset(path) as dataset:
        np.asarray(dataset.landmarks)
        for index in range(len(dataset)):
            dataset.image(index)
            if dataset.coefficients is None:
                dataset.map(index)
            else:
                dataset.coefficients[index]


def test_files_without_checksums_of_rows_are_read(written):
    """Those of older builds, that is."""
    with h5py.File(written, "r+") as file:
        del file["coefficients_checksums"], file["landmarks_checksums"]
        poses = file["poses"][()]
        del file["poses"]
        file["poses"] = poses
    with open_dataset(written) as dataset:
        np.testing.assert_array_equal(dataset.coefficients[3], make_samples(5)[3].label)


def test_a_file_cut_short_while_in_use_is_an_error(written):
    with open_dataset(written) as dataset:
        dataset.image(6)
        with written.open("r+b") as file:
            file.truncate(3000)
        with pytest.raises(UserError, match=r"train\.hdf5: was cut short while in use"):
            dataset.image(6)
