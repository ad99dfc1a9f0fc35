"""Fits and the .mat reader: the same numbers as SciPy's, and one line for whatever is wrong."""

import io
import re
import struct
import time
import tracemalloc
import zlib

import h5py
import numpy as np
import pytest
from scipy.io import loadmat

from prnet.common.errors import UserError
from prnet.formats.fit_files import read_fit, require_model
from prnet.formats.mat_files import ArraysTooLarge, read_mat_arrays
from prnet.formats.pairs import find_pairs
from tests.helpers.small_faces import fit_fields, make_small_model, mat_bytes

FORMATS = [{}, {"do_compression": True}, {"format": "4"}]


def element(kind: int, data: bytes, order: str) -> bytes:
    return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)


def version_5_file(arrays: dict, order: str = ">", flags: int = 6) -> bytes:
    """A MATLAB 5 file written by hand."""
    content = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(f"{order}HH", 0x0100, 0x4D49)
    for name, array in arrays.items():
        parts = [
            element(6, struct.pack(f"{order}II", flags, 0), order),
            element(5, struct.pack(f"{order}{array.ndim}i", *array.shape), order),
            element(1, name.encode(), order),
            element(9, array.astype(f"{order}f8").tobytes(order="F"), order),
        ]
        content += element(14, b"".join(parts), order)
    return content


def version_4_file(arrays: dict, order: str = ">") -> bytes:
    content = b""
    for name, array in arrays.items():
        code = 1000 if order == ">" else 0
        content += struct.pack(f"{order}5I", code, *array.shape, 0, len(name) + 1) + name.encode() + b"\0"
        content += array.astype(f"{order}f8").tobytes(order="F")
    return content


def refusal(content: bytes) -> str:
    """The one line with which a fit is refused."""
    with pytest.raises(UserError) as caught:
        read_fit(content, "folder/face.mat")
    message = str(caught.value)
    assert message.startswith("folder/face.mat: ")
    assert "\n" not in message
    return message.removeprefix("folder/face.mat: ")


@pytest.mark.parametrize("options", FORMATS)
def test_arrays_are_those_that_scipy_reads(options):
    fields = fit_fields(landmarks=True) | {
        "integers": np.arange(6, dtype=np.int16).reshape(2, 3),
        "bytes": np.arange(5, dtype=np.uint8)[None],
        "empty": np.zeros((0, 3)),
    }
    content = mat_bytes(fields, **options)
    expected = {name: array for name, array in loadmat(io.BytesIO(content)).items() if name[0] != "_"}
    found = read_mat_arrays(content)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_real_fits_are_those_that_scipy_reads(shared_data):
    for folder in ("AFLW2000", "300W_LP"):
        for pair in find_pairs(shared_data / folder):
            expected, fit = loadmat(io.BytesIO(pair.fit_bytes())), read_fit(pair.fit_bytes())
            np.testing.assert_array_equal(fit.shape, expected["Shape_Para"].ravel().astype(np.float32))
            np.testing.assert_array_equal(fit.expression, expected["Exp_Para"].ravel().astype(np.float32))
            np.testing.assert_array_equal(fit.pose, expected["Pose_Para"].ravel())
            assert (fit.landmarks is None) == (folder == "300W_LP")
            assert len(fit.coefficients) == 228


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("write", [version_4_file, version_5_file])
def test_either_byte_order_is_read(write, order):
    fields = fit_fields(landmarks=True)
    fit = read_fit(write(fields, order))
    np.testing.assert_array_equal(
        fit.coefficients,
        np.concatenate([fields["Shape_Para"], fields["Exp_Para"]], axis=None, dtype=np.float32, casting="same_kind"),
    )
    np.testing.assert_allclose(fit.pose, fields["Pose_Para"][0])


def test_landmarks_become_zero_based_pixels():
    fields = fit_fields(landmarks=True)
    expected = fields["pt3d_68"].T - [1, 1, 0]
    np.testing.assert_allclose(read_fit(mat_bytes(fields)).landmarks, expected, atol=1e-5)
    assert read_fit(mat_bytes(fit_fields())).landmarks is None


def test_a_file_is_named_by_its_path(tmp_path):
    (tmp_path / "face.mat").write_bytes(mat_bytes({"Shape_Para": np.ones((3, 1))}))
    with pytest.raises(UserError, match=r"face\.mat: has no Exp_Para, no Pose_Para"):
        read_fit(tmp_path / "face.mat")


@pytest.mark.parametrize("field", ["Shape_Para", "Exp_Para", "Pose_Para", "pt3d_68"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -1e300])
def test_numbers_that_are_none_are_refused_by_field(field, value):
    fields = fit_fields(landmarks=True)
    fields[field] = fields[field].astype(np.float64)
    fields[field].flat[1] = value
    assert field in refusal(mat_bytes(fields))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Pose_Para": np.ones((1, 6))}, "Pose_Para must be 7 numbers, but is 6"),
        ({"Pose_Para": -np.ones((1, 7))}, "the scale -1"),
        ({"Pose_Para": np.zeros((0, 0))}, "Pose_Para must be 7 numbers, but is 0"),
        ({"pt3d_68": np.ones((68, 3))}, "pt3d_68 must be 3 x 68, but is 68 x 3"),
        ({"Shape_Para": "text"}, "has no Shape_Para"),
        ({"Shape_Para": np.array([[1], ["two"]], dtype=object)}, "has no Shape_Para"),
        ({"Shape_Para": {"field": 1.0}}, "has no Shape_Para"),
        ({"Exp_Para": np.ones((2, 1)) * 1j}, "has no Exp_Para"),
    ],
)
def test_fields_of_another_kind_or_length_are_named(change, message):
    assert message in refusal(mat_bytes(fit_fields() | change))


def test_a_fit_of_another_model_is_refused_with_both_numbers():
    fit = read_fit(mat_bytes(fit_fields()))
    require_model(fit, make_small_model(3, 2), "face.mat")
    for counts in ((199, 29), (3, 29), (199, 2)):
        expected = rf"^face.mat: has 3 identity and 2 expression parameters, .* has {counts[0]} and {counts[1]}"
        with pytest.raises(UserError, match=expected):
            require_model(fit, make_small_model(*counts), "face.mat")


def test_objects_beside_the_fit_do_no_harm():
    fields = fit_fields() | {"cells": np.array([1, "two"], dtype=object), "note": "text", "record": {"deep": [1, 2]}}
    assert len(read_fit(mat_bytes(fields)).coefficients) == 5


def test_an_object_of_a_class_of_matlab_s_own_is_passed_over():
    """A table or a string: laid out otherwise, its name where others have their shape."""
    parts = [element(6, struct.pack("<II", 17, 0), "<"), element(1, b"words", "<"), element(1, b"MCOS", "<")]
    content = version_5_file(fit_fields(), "<") + element(14, b"".join(parts), "<")
    assert len(read_fit(content).coefficients) == 5


def test_matlab_7_3_is_refused_by_name(tmp_path):
    with h5py.File(tmp_path / "face.mat", "w", userblock_size=512) as file:
        file["Shape_Para"] = np.ones(3)
    assert "7.3" in refusal((tmp_path / "face.mat").read_bytes())
    assert "7.3" in refusal(b"MATLAB 7.3 MAT-file".ljust(600))


@pytest.mark.parametrize("options", FORMATS)
def test_a_fit_cut_short_anywhere_is_refused(options):
    content = mat_bytes(fit_fields(landmarks=True), **options)
    for length in np.linspace(0, len(content) - 1, 50).astype(int):
        assert refusal(content[:length])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a matlab file" * 20,
        bytes(500),
        version_5_file(fit_fields(), flags=6) + b"\x01\x02",
        version_5_file({"Shape_Para": np.ones((3, 1))})[:-40] + b"\xff" * 40,
        version_5_file({"Shape_Para": np.ones((3, 1))}) * 2,
        version_5_file(fit_fields()) + version_5_file(fit_fields())[128:],
        version_4_file({"Shape_Para": np.ones((3, 1))}) * 2,
        struct.pack("<5I", 0, 1 << 31, 1 << 31, 0, 4) + b"big\0",
        struct.pack("<5I", 0, 3, 3, 0, 1 << 31) + b"big\0",
        bytes(1 << 19),
    ],
    ids=range(11),
)
def test_what_is_no_matlab_file_is_refused(content):
    assert refusal(content)


def test_a_bomb_is_refused_quickly_and_in_little_memory():
    """100 MB of zeros in 100 kB, as one compressed array; and a compressed array that claims 4 GB."""
    header = version_5_file({})
    inner = struct.pack(">II", 14, 100 << 20) + bytes(100 << 20)
    for bomb in (zlib.compress(inner, 9), zlib.compress(struct.pack(">II", 14, 0xFFFFFFFF) + bytes(64))):
        tracemalloc.start()
        start = time.process_time()
        assert re.search("decompressed|damaged", refusal(header + struct.pack(">II", 15, len(bomb)) + bomb))
        assert time.process_time() - start < 2
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
        tracemalloc.stop()


def compressed(content: bytes) -> bytes:
    packed = zlib.compress(content, 9)
    return struct.pack(">II", 15, len(packed)) + packed


def many_arrays(count: int, write=lambda array: array) -> bytes:
    """A version 5 file of that many arrays of 100 zeros, each written by `write`."""
    return version_5_file({}) + b"".join(
        write(version_5_file({f"a{number}": np.zeros((1, 100))})[128:]) for number in range(count)
    )


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda: many_arrays(1000, compressed), id="compressed arrays that are small one by one"),
        pytest.param(lambda: many_arrays(1100), id="plain arrays"),
        pytest.param(lambda: many_arrays(0) + element(14, element(6, bytes(8), ">"), ">") * 1100, id="passed over"),
        pytest.param(lambda: version_4_file({f"a{n}": np.zeros((1, 1)) for n in range(1100)}), id="version 4"),
    ],
)
def test_all_arrays_of_a_file_share_one_budget(content):
    with pytest.raises(ArraysTooLarge, match="more than 1 MiB when decompressed, or too many"):
        read_mat_arrays(content())


@pytest.mark.parametrize("kind", [6, 2])
def test_an_array_of_a_million_dimensions_is_refused_quickly(kind):
    """Their product alone would take minutes."""
    parts = struct.pack(">IIII", 6, 8, kind, 0) + element(5, struct.pack(">i", 0x7FFFFFFF) * 1_000_000, ">")
    start = time.process_time()
    with pytest.raises(ValueError, match="dimensions"):
        read_mat_arrays(version_5_file({}) + element(14, parts + element(1, b"a", ">"), ">"), 1 << 24)
    assert time.process_time() - start < 1


def test_a_name_with_line_breaks_is_shown_on_one_line():
    twice = version_5_file({"a\nb": np.ones((1, 1))})
    assert refusal(twice + twice[128:]).isprintable()
