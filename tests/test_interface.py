"""The public names: docstrings that run, photos in every form, faces as programs and notebooks take them."""

import doctest
import inspect
import io
import json
import pathlib
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

import prnet
from prnet.common.errors import UserError
from prnet.formats.photo_arrays import as_photo
from prnet.geometry.crop import Box
from prnet.reconstructing.detection import as_box, box_of_rectangle
from prnet.reconstructing.settings import MODEL_PATH
from tests.helpers.tiny_data import write_tiny_data

ROOT = pathlib.Path(__file__).resolve().parents[1]
FUNCTIONS = [name for name in prnet.__all__ if name not in ("RECIPES", "Run", "Training")]
LARGE = {"train": pytest.mark.large}


@pytest.fixture(scope="module")
def portrait():
    from skimage.data import astronaut

    return astronaut()


@pytest.fixture(scope="module")
def folder(portrait, sample_model, tmp_path_factory):
    """What the examples of the docstrings find in their folder."""
    folder = tmp_path_factory.mktemp("examples")
    for name in ("photos", "data"):
        (folder / name).mkdir()
    Image.fromarray(portrait).save(folder / "photo.jpg", quality=95)
    shutil.copy(folder / "photo.jpg", folder / "photos")
    cv2.imwrite(str(folder / "photos" / "empty.png"), np.full((64, 64, 3), 200, np.uint8))
    shutil.copy(MODEL_PATH, folder / "morphnet.keras")
    write_tiny_data(folder / "data", sample_model)
    write_tiny_data(folder / "data", sample_model, count=4, validation=0, file="val.hdf5")
    return folder


@pytest.fixture(scope="module")
def face(portrait, shipped):
    return shipped.reconstruct(portrait)[0]


class Checker(doctest.OutputChecker):
    """An example that promises no output may report its progress."""

    def check_output(self, want, got, optionflags):
        return not want or super().check_output(want, got, optionflags)


@pytest.mark.parametrize("name", [pytest.param(name, marks=LARGE.get(name, ())) for name in FUNCTIONS])
def test_the_docstring_of_every_public_name_runs(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    parts = getattr(prnet, name), *(getattr(prnet, name).__mro__[1:-1] if name == "PhotoFace" else ())
    for part in parts:
        names = {"prnet": prnet, "pathlib": pathlib}
        test = doctest.DocTestParser().get_doctest(inspect.getdoc(part), names, name, None, 0)
        assert test.examples
        said = io.StringIO()
        assert doctest.DocTestRunner(Checker()).run(test, out=said.write).failed == 0, said.getvalue()


def test_importing_the_package_loads_nothing_else():
    code = "import sys, prnet; print(sorted({'numpy', 'keras', 'tensorflow'} & set(sys.modules)), len(dir(prnet)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.stdout.startswith("[] "), result.stderr


def test_every_public_name_is_where_a_type_checker_looks_for_it():
    source = (ROOT / "prnet" / "__init__.py").read_text(encoding="utf-8")
    typed = source.partition("if TYPE_CHECKING:")[2].partition("__version__")[0]
    for name in prnet.__all__:
        module = f"prnet.{prnet._MODULES[name]}"
        (line,) = [line for line in typed.splitlines() if f"from {module} import" in line and name in line]
        assert name in [part.strip() for part in line.partition(" import ")[2].split(",")]
    assert set(prnet._MODULES) == set(prnet.__all__)
    assert prnet.__all__ == sorted(prnet.__all__, key=lambda name: (not name.isupper(), name))


def test_geometry_is_reached_from_the_package_alone():
    code = "import prnet; print(prnet.geometry.crop.landmark_box.__name__, hasattr(prnet.geometry, 'nothing'))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.stdout == "landmark_box False\n", result.stderr
    with pytest.raises(AttributeError, match="no attribute 'reconstrct'"):
        prnet.reconstrct  # noqa: B018


def test_a_photo_may_be_a_path_a_picture_or_an_array(portrait, tmp_path):
    Image.fromarray(portrait).save(tmp_path / "photo.png")
    for photo in (
        tmp_path / "photo.png",
        str(tmp_path / "photo.png"),
        Image.fromarray(portrait),
        portrait,
        portrait / 255,
        np.float32(portrait / 255),
        np.float16(portrait / 255),
        np.dstack([portrait, np.full(portrait.shape[:2], 255, np.uint8)]),
    ):
        np.testing.assert_array_equal(as_photo(photo), portrait)
    assert as_photo(portrait) is portrait


def test_grey_deep_transparent_and_turned_photos():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for photo in (grey, grey[..., None], grey / 255, Image.fromarray(grey), Image.fromarray(np.uint16(grey) * 257)):
        np.testing.assert_array_equal(as_photo(photo), np.repeat(grey[..., None], 3, axis=2))
    clear = np.zeros((4, 4, 4), np.uint8)
    clear[0, 0] = (10, 20, 30, 255)
    for photo in (clear, Image.fromarray(clear), clear / 255):
        assert as_photo(photo)[0, 0].tolist() == [10, 20, 30]
        assert (as_photo(photo)[1:] == 255).all()
    turned = Image.fromarray(np.repeat(grey[:8, :, None], 3, axis=2))
    turned.getexif()[0x0112] = 6
    assert as_photo(turned).shape == (16, 8, 3)


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        (np.full((4, 4, 3), 180.0), "a photo of floats holds 0 to 1, but this one 180 to 180; divide it by 255"),
        (np.linspace(-1, 1, 48).reshape(4, 4, 3), "holds 0 to 1, but this one -1 to 1"),
        (np.full((4, 4, 3), np.nan), "holds 0 to 1, but this one nan"),
        (np.zeros((4, 4, 3), np.uint16), "not of uint16; convert it"),
        (np.zeros((4, 4, 3), int), "not of int64; convert it"),
        (np.zeros(3), r"shape \(3,\)"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        ("nowhere.jpg", "nowhere.jpg: no such image file"),
        (None, r"shape \(\)"),
    ],
)
def test_what_is_no_photo_is_refused_in_a_sentence(photo, message):
    with pytest.raises(UserError, match=message):
        as_photo(photo)


def test_floats_find_the_same_face_as_bytes(portrait, shipped, face):
    (found,) = shipped.reconstruct(portrait / 255)
    np.testing.assert_array_equal(found.landmarks, face.landmarks)
    with pytest.raises(UserError, match="divide it by 255"):
        shipped.reconstruct(portrait.astype(np.float32))
    with pytest.raises(UserError, match="divide it by 255"):
        shipped.detect(portrait.astype(np.float32))


def test_a_box_may_be_a_rectangle(portrait, shipped):
    rectangle = (180, 70, 90, 110)
    (face,), (same,), (again,) = (
        shipped.reconstruct(portrait, boxes)
        for boxes in ([rectangle], [box_of_rectangle(*rectangle)], np.float32([rectangle]))
    )
    np.testing.assert_array_equal(face.landmarks, same.landmarks)
    np.testing.assert_array_equal(face.landmarks, again.landmarks)
    box = Box(np.zeros(2), 1.0)
    assert as_box(box) is box
    for wrong in ((1, 2, 3), (0, 0, 0, 5), (0, 0, np.nan, 5), 7):
        with pytest.raises(UserError, match=r"a box is \(x, y, width, height\) in pixels"):
            shipped.reconstruct(portrait, [wrong])


def test_a_face_is_one_line_a_dictionary_and_a_picture(face, portrait, tmp_path):
    assert "\n" not in repr(face)
    assert len(repr(face)) < 120
    assert face.photo is portrait
    record = json.loads(json.dumps(face.to_dict()))
    np.testing.assert_allclose(record["landmarks"], face.landmarks, atol=1e-3)
    left, top, width, height = record["bounding_box"]
    assert left <= face.landmarks[:, 0].min() + 5
    assert left + width >= face.landmarks[:, 0].max() - 5
    picture = cv2.imdecode(np.frombuffer(face._repr_png_(), np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(picture, face.sheet())


def test_a_face_without_its_photo_asks_for_it(face, portrait, tmp_path):
    from prnet.reconstructing.face import place_face

    bare = place_face(face.position_map, face.box, face.to_crop, face.grid, face.parameters)
    with pytest.raises(UserError, match=r"face\.obj: the face does not hold its photo"):
        prnet.save_face(bare, tmp_path / "face.obj")
    prnet.save_face(bare, tmp_path / "a.glb", portrait)
    prnet.save_face(face, tmp_path / "b.glb")
    assert (tmp_path / "a.glb").read_bytes() == (tmp_path / "b.glb").read_bytes()


def test_choices_that_do_not_exist_are_named(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match="unknown recipe 'fast'; choose from default, paper"):
        prnet.train("data/train.hdf5", recipe="fast")
    with pytest.raises(UserError, match="unknown protocol 'own'; choose from standard"):
        prnet.evaluate("morphnet.keras", "data/val.hdf5", protocol="own")
    with pytest.raises(UserError, match="unknown type 6; choose from 0, 1, 2, 3, 4, 5"):
        prnet.evaluate("morphnet.keras", "data/val.hdf5", types=[6])


def test_pandas_takes_the_records_of_a_folder(folder):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(prnet.reconstruct_folder(folder / "photos"))
    assert table["face"].tolist()[1] == 0
    assert table["problem"].tolist()[0] == "no face found"
    assert table.select_dtypes("number").columns.tolist()[1:] == [
        "x",
        "y",
        "width",
        "height",
        "pitch",
        "yaw",
        "roll",
        "scale",
    ]
    with pytest.raises(UserError, match="holds no photo"):
        prnet.reconstruct_folder(folder / "data")
