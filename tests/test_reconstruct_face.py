"""From a position map to a face, and the script from photo to files."""

import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from prnet.common.errors import UserError
from prnet.configure.config import CROP_MARGIN
from prnet.geometry.crop import Box, compose, crop_transform, landmark_box, lift_transform, transform_points
from prnet.geometry.five_points import crop_box
from prnet.geometry.pose import fit_to_pixels
from prnet.geometry.position_map import position_maps
from prnet.geometry.uv_layout import sample_landmarks
from prnet.reconstructing.detection import RULES, box_of_image, box_of_rectangle
from prnet.reconstructing.drawing import depth_map, draw_landmarks, draw_mesh, draw_sheet
from prnet.reconstructing.face import prepare_crop, restore_face
from prnet.reconstructing.outputs import save_face
from prnet.reconstructing.places import read_landmarks
from prnet.reconstructing.reconstructor import FaceReconstructor
from prnet.reconstructing.texture import uv_texture, vertex_colours, visible_vertices
from tests.helpers.damaged_files import damage, examine
from tests.helpers.perfect_network import constant_network, mean_face_map, save_mean_face_network

SIZE = 128


@pytest.fixture(scope="module")
def portrait():
    from skimage.data import astronaut

    return astronaut()


@pytest.fixture(scope="module")
def model_path(layout, tmp_path_factory):
    return save_mean_face_network(layout, tmp_path_factory.mktemp("network") / "mean.keras", SIZE)


@pytest.fixture(scope="module")
def reconstructor(model_path):
    return FaceReconstructor(model_path)


def fit_of(sample_model, angles, side=200.0, centre=(150.0, 130.0), height=300):
    """`fit_to_pixels` of the mean face turned by angles (degrees), about `side` pixels wide, around `centre`."""
    reach = np.ptp(sample_model.mean[:, 0])
    return fit_to_pixels(np.array([*np.radians(angles), centre[0], height - centre[1], 3.0, side / reach]), height)


def face_of(sample_model, basis, grid, angles, **where):
    """A face as a perfect network would find it, and its true landmarks in the photo."""
    to_pixels = fit_of(sample_model, angles, **where)
    vertices = sample_model.mean[sample_model.landmark_vertices[:, 0]] @ to_pixels[:, :3].T + to_pixels[:, 3]
    box = landmark_box(vertices)
    to_crop = crop_transform(box, SIZE)
    nothing = np.zeros((1, sample_model.coefficient_count))
    crop_map = position_maps(basis, nothing, compose(lift_transform(to_crop), to_pixels)[None])[0]
    return restore_face(crop_map, box, to_crop, grid), vertices


@pytest.mark.parametrize("angles", [(0, 0, 0), (12, -35, 20), (-20, 60, -5), (5, -85, 40), (30, 10, 170)])
def test_the_pose_of_a_turned_mesh_is_recovered(sample_model, basis, grid, angles):
    face, _ = face_of(sample_model, basis, grid, angles)
    found = (face.pose.pitch, face.pose.yaw, face.pose.roll)
    np.testing.assert_allclose(found, angles, atol=0.1)
    assert face.misfit < 0.01
    posed = grid.canonical @ face.pose.matrix[:, :3].T + face.pose.matrix[:, 3]
    np.testing.assert_allclose(posed, face.vertices, atol=1.0)


def test_landmarks_to_map_to_landmarks(sample_model, basis, grid):
    face, truth = face_of(sample_model, basis, grid, (5, 25, -10))
    apart = face.landmarks - truth
    apart[:, 2] -= apart[:, 2].mean()  # a position map knows depth but for its origin
    assert np.linalg.norm(apart, axis=1).mean() < 0.5  # a texel is 1.6 pixels wide
    assert np.linalg.norm(apart, axis=1).max() < 4
    nearest = np.linalg.norm(face.landmarks - face.vertices[grid.landmark_vertices], axis=1)
    assert nearest.max() < 5


def test_turning_to_the_front_undoes_the_pose(sample_model, basis, grid):
    face, _ = face_of(sample_model, basis, grid, (10, 40, 15))
    np.testing.assert_allclose(face.frontal_vertices, grid.canonical, atol=0.5)
    assert face.frontal_vertices[grid.landmark_vertices[8], 1] < face.frontal_vertices[grid.landmark_vertices[27], 1]


def test_normals_point_outwards(sample_model, basis, grid):
    face, _ = face_of(sample_model, basis, grid, (0, 0, 0))
    nose_tip, chin = grid.landmark_vertices[[30, 8]]
    assert face.normals[nose_tip, 2] > 0.7
    assert face.normals[chin, 1] > 0  # y points down


def test_the_camera_sees_the_near_cheek_only(sample_model, basis, grid):
    face, _ = face_of(sample_model, basis, grid, (0, 60, 0))
    left, right = grid.uv[:, 0] < 0.25, grid.uv[:, 0] > 0.75
    seen = visible_vertices(face)
    near, far = (left, right) if face.normals[left, 2].mean() > face.normals[right, 2].mean() else (right, left)
    assert seen[near].mean() > 0.8
    assert seen[far].mean() < 0.2


def test_colours_come_from_the_photo(sample_model, basis, grid):
    face, _ = face_of(sample_model, basis, grid, (0, 20, 0))
    row, column = np.mgrid[:300, :300]
    photo = np.stack([column // 2, row // 2, np.full_like(row, 7)], axis=-1).astype(np.uint8)
    expected = np.clip(face.vertices[:, :2], 0, 299) / 2
    colours = vertex_colours(face, photo)
    assert np.abs(colours[:, :2] - expected).max() <= 1.01
    assert (colours[:, 2] == 7).all()
    assert uv_texture(face, photo, 512).shape == (512, 512, 3)


def test_colours_of_a_large_photo_are_averages(sample_model, basis, grid):
    face, _ = face_of(sample_model, basis, grid, (0, 0, 0), side=1600.0, centre=(1000.0, 1000.0), height=2000)
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3)).astype(np.uint8)
    assert vertex_colours(face, noise).std() < 20  # of single pixels 74
    row, column = np.mgrid[:2000, :2000]
    ramp = np.stack([column // 8, row // 8, column // 8], axis=-1).astype(np.uint8)
    expected = np.clip(face.vertices[:, :2], 0, 1999) / 8
    inside = ((face.vertices[:, :2] > 20) & (face.vertices[:, :2] < 1980)).all(axis=1)
    assert np.abs(vertex_colours(face, ramp)[inside, :2] - expected[inside]).max() <= 1.5


def test_a_texture_reaches_beyond_a_photo_of_great_width(sample_model, basis, grid):
    face, _ = face_of(sample_model, basis, grid, (0, 0, 0), centre=(39_900.0, 20.0), height=40)
    photo = np.zeros((40, 40_000, 3), np.uint8) + np.uint8([10, 20, 30])
    assert (vertex_colours(face, photo) == [10, 20, 30]).all()


def test_depth_lies_on_the_surface(sample_model, basis, grid):
    face, _ = face_of(sample_model, basis, grid, (0, 0, 0))
    depth = depth_map(face, 300, 260)
    x, y, z = face.vertices[grid.landmark_vertices[30]]
    assert abs(depth[round(y), round(x)] - z) < 2
    assert np.isnan(depth[:, -1]).all()
    large, _ = face_of(sample_model, basis, grid, (0, 0, 0), side=2400.0, centre=(1500.0, 1300.0), height=3000)
    x, y, z = large.vertices[grid.landmark_vertices[30]]
    assert abs(depth_map(large, 3000, 3000)[round(y), round(x)] - z) < 20


def test_pictures_show_the_face_where_it_is(sample_model, basis, grid):
    face, _ = face_of(sample_model, basis, grid, (0, 0, 0), side=120.0)
    photo = np.full((300, 300, 3), 90, np.uint8)
    for picture in (draw_landmarks(photo, face.landmarks), draw_mesh(photo, face.vertices, face.triangles)):
        changed = (picture != photo).any(axis=2)
        rows, columns = np.nonzero(changed)
        box = landmark_box(face.landmarks)
        assert abs(columns.mean() - box.centre[0]) < 0.1 * box.side
        assert abs(rows.mean() - box.centre[1]) < 0.3 * box.side
        assert not changed[:5].any()
    assert draw_sheet(face, photo).shape == (712, 1672, 3)


def test_the_whole_image_is_the_crop_without_a_detector():
    to_crop = crop_transform(box_of_image(101, 201), SIZE)
    corners = transform_points(to_crop, np.array([[0.0, 50.0], [200.0, 50.0]]))
    np.testing.assert_allclose(corners, [[0, 63.5], [127, 63.5]])


def test_a_refined_face_is_cropped_about_the_landmarks_found_first(layout, tmp_path, portrait):
    from prnet.model.saved_network import save_network

    small = 0.6 * mean_face_map(layout, SIZE) + 9  # smaller than a crop about it would show it
    save_network(constant_network(small.astype(np.float32)), layout, tmp_path / "small.keras")
    (first,) = FaceReconstructor(tmp_path / "small.keras", "none").reconstruct(portrait)
    refined = FaceReconstructor(tmp_path / "small.keras", "none", refined=True)
    (again,) = refined.reconstruct(portrait)
    assert again.box.side == first.tracked_box.side < 0.7 * first.box.side
    np.testing.assert_array_equal(again.box.centre, first.tracked_box.centre)
    (given,) = refined.reconstruct(portrait, [first.box])  # who gives a box knows better
    assert given.box is first.box
    (aligned,) = FaceReconstructor(tmp_path / "small.keras", "none", crop="five-points").reconstruct(portrait)
    np.testing.assert_allclose(aligned.box.side, crop_box(first.landmarks, "five-points").side)


def test_the_box_of_a_rectangle():
    box = box_of_rectangle(10, 20, 101, 101)
    assert box.side == pytest.approx(101 * RULES["mtcnn"].factor)
    np.testing.assert_allclose(box.centre, [60 + RULES["mtcnn"].shift[0] * 101, 70 + RULES["mtcnn"].shift[1] * 101])


def test_a_face_is_found_where_the_crop_was(reconstructor, layout, portrait):
    truth = mean_face_map(layout, SIZE)
    boxes = [Box(np.array([220.0, 120.0]), 100.0), Box(np.array([300.0, 300.0]), 37.0)]
    faces = reconstructor.reconstruct(portrait, boxes)
    for face, box in zip(faces, boxes, strict=True):
        zoom = CROP_MARGIN * box.side / (SIZE - 1)
        expected = sample_landmarks(truth, layout)[:, :2] * zoom + box.centre - CROP_MARGIN * box.side / 2
        np.testing.assert_allclose(face.landmarks[:, :2], expected, atol=0.02)
        np.testing.assert_allclose([face.pose.pitch, face.pose.yaw, face.pose.roll], 0, atol=0.1)
        np.testing.assert_allclose(face.tracked_box.centre, box.centre, atol=0.02 * box.side)


def test_batches_keep_their_order(reconstructor, portrait):
    box = [Box(np.array([20.0 * number, 100.0]), 50.0 + number) for number in range(40)]
    per_image = [box[:17], [], box[17:]]
    faces = reconstructor.reconstruct_batch([portrait] * 3, per_image)
    assert [[face.box for face in of_image] for of_image in faces] == per_image
    assert reconstructor.reconstruct(portrait, []) == []


def test_a_float_photo_gives_the_same_crop(portrait):
    box = Box(np.array([220.0, 120.0]), 100.0)
    from_bytes, _ = prepare_crop(portrait, box, SIZE)
    from_floats, _ = prepare_crop(portrait.astype(np.float32) / 255, box, SIZE)
    np.testing.assert_allclose(from_bytes, from_floats, atol=1 / 255)


def test_the_detector_finds_the_portrait_and_its_reduction(reconstructor, portrait):
    (box,) = reconstructor.detect(portrait)
    np.testing.assert_allclose(box.centre, (224, 122), atol=15)
    assert 80 < box.side < 130
    tiny = cv2.resize(portrait[:240, 100:340], (24, 24), interpolation=cv2.INTER_AREA)  # too small for MTCNN as it is
    (found,) = reconstructor.detect(tiny)
    np.testing.assert_allclose(10 * found.centre + (100, 0), box.centre, atol=25)
    assert reconstructor.detect(np.zeros((9, 9, 3), np.uint8)) == []
    assert reconstructor.detect(np.zeros((1, 1, 3), np.uint8)) == []


def test_a_network_that_is_none_of_ours_is_refused(layout, tmp_path):
    import keras

    from prnet.model.saved_network import save_network

    image = keras.Input((8, 16, 3))
    save_network(keras.Model(image, keras.layers.Conv2D(3, 1)(image)), layout, tmp_path / "other.keras")
    with pytest.raises(UserError, match=r"other\.keras: maps .* not a square crop"):
        FaceReconstructor(tmp_path / "other.keras")
    with pytest.raises(UserError, match="unknown detector 'dlib'"):
        FaceReconstructor(tmp_path / "other.keras", "dlib")


def test_a_face_is_saved_in_every_form(reconstructor, portrait, tmp_path):
    (face,) = reconstructor.reconstruct(portrait, [Box(np.array([220.0, 120.0]), 100.0)])
    for suffix in ("obj", "ply", "glb", "mat", "txt", "json", "npy", "png"):
        save_face(face, tmp_path / f"face.{suffix}")
        assert (tmp_path / f"face.{suffix}").stat().st_size > 1000
    np.testing.assert_array_equal(np.load(tmp_path / "face.npy"), face.position_map)
    record = json.loads((tmp_path / "face.json").read_text())
    np.testing.assert_allclose(record["landmarks"], face.landmarks, atol=1e-3)
    with pytest.raises(UserError, match=r"face\.stl: unknown form '\.stl'; choose from \.obj"):
        save_face(face, tmp_path / "face.stl", portrait)


def test_a_broken_network_and_an_array_that_is_no_photo_are_named(layout, tmp_path, portrait):
    from prnet.model.saved_network import save_network

    for place in (1e9, np.nan):
        save_network(constant_network(np.full((SIZE, SIZE, 3), place, np.float32)), layout, tmp_path / "nan.keras")
        broken = FaceReconstructor(tmp_path / "nan.keras", detector="none")
        with pytest.raises(UserError, match=r"nan\.keras: returns places that are in no crop, or NaN"):
            broken.reconstruct(portrait)
    with pytest.raises(UserError, match=r"a photo is an array \(H, W, 3\) of RGB, not one of shape \(512, 512, 2\)"):
        broken.reconstruct(portrait[..., :2])


@pytest.fixture
def photos(tmp_path, portrait):
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.jpg"), portrait[:256, 100:356, ::-1])
    cv2.imwrite(str(folder / "a.png"), cv2.cvtColor(portrait[:256, 100:356], cv2.COLOR_RGB2GRAY))
    two = np.concatenate([portrait[:256, 100:356], portrait[:256, 100:356]], axis=1)
    cv2.imwrite(str(folder / "two.bmp"), two[..., ::-1])
    return folder


def run(model_path, *arguments) -> int:
    from prnet.commands.reconstruct_face import main

    return main(["--model", str(model_path), *map(str, arguments)])


def test_a_photo_of_the_same_name_elsewhere_loses_nothing(model_path, photos, tmp_path, terminal):
    output = tmp_path / "out"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.jpg").write_bytes((photos / "a.jpg").read_bytes())
    assert [run(model_path, photos / "a.jpg", "--output-dir", output) for _ in range(2)] == [0, 0]
    written = {path.name: path.read_bytes() for path in output.iterdir()}
    assert run(model_path, tmp_path / "other" / "a.jpg", "--output-dir", output) == 1
    assert {path.name: path.read_bytes() for path in output.iterdir()} == written
    assert f"a.json is of {photos / 'a.jpg'}; choose another --output-dir, or --overwrite" in terminal.readouterr().err
    assert run(model_path, tmp_path / "other" / "a.jpg", "--output-dir", output, "--overwrite") == 0
    assert json.loads((output / "a.json").read_text())["source"] == str(tmp_path / "other" / "a.jpg")


def test_packed_landmarks_are_not_unpacked(tmp_path):
    with gzip.open(tmp_path / "packed.txt.gz", "wt") as file:
        file.write("1 2\n" * 68)
    with pytest.raises(UserError, match="not landmarks"):
        read_landmarks(tmp_path / "packed.txt.gz")


def test_a_reader_that_ends_early_stops_no_work(model_path, photos, tmp_path):
    """`| head -1`: each later photo was an error."""
    command = [sys.executable, "-m", "prnet", "reconstruct", photos, "--model", model_path]
    command += ["--detector", "none", "--output-dir", tmp_path / "out"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], text=True, **pipes) as program:
        program.stdout.close()
        errors = program.stderr.read()
        assert program.wait(120) == 0, errors
    assert "rror: " not in errors
    assert len(list((tmp_path / "out").glob("*.json"))) == len(list(photos.iterdir()))


def test_a_folder_of_photos(model_path, photos, tmp_path, terminal):
    (photos / "broken.jpg").write_bytes((photos / "a.jpg").read_bytes()[:3000])
    cv2.imwrite(str(photos / "empty.png"), np.zeros((50, 60, 3), np.uint8))
    output = tmp_path / "out"
    assert run(model_path, "--image", photos, "--outputdir", output, "--mat", "--frontal") == 1
    errors = terminal.readouterr().err.splitlines()
    assert len([line for line in errors if line.startswith("error: ")]) == 2
    assert any("broken.jpg: damaged or cut short" in line for line in errors)
    assert any("empty.png: no face found" in line for line in errors)

    names = {path.name for path in output.iterdir()}
    assert {"a_jpg.json", "a_png.json", "two.json"} == {name for name in names if name.endswith(".json")}
    for face in ("a_jpg_face0", "a_png_face0", "two_face0", "two_face1"):
        endings = ("_landmarks.txt", "_sheet.png", "_depth.png", "_uv_map.npy", "_texture.png", "_texture_visible.png")
        endings += (".obj", ".mtl", ".ply", ".glb", ".mat", "_frontal.obj", "_frontal.ply", "_frontal.glb")
        assert {f"{face}{ending}" for ending in endings} <= names

    record = json.loads((output / "two.json").read_text())
    assert (record["width"], record["height"], len(record["faces"])) == (512, 256, 2)
    first, second = (np.array(face["landmarks"]) for face in record["faces"])
    assert abs(abs(first[30, 0] - second[30, 0]) - 256) < 10
    np.testing.assert_allclose(np.loadtxt(output / "two_face0_landmarks.txt"), first, atol=1e-3)
    assert set(record["faces"][0]["files"].values()) <= names
    depth = cv2.imread(str(output / "two_face0_depth.png"), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.uint16
    assert depth.max() == 65535
    assert depth.shape == (256, 512)
    far, near = record["faces"][0]["depth_range"]
    assert near > far


def test_a_face_whose_place_is_known(model_path, photos, tmp_path, sample_model):
    from scipy.io import savemat

    from prnet.formats.face_model_file import save_face_model

    photo, output = photos / "a.jpg", tmp_path / "out"
    assert run(model_path, "--image", photo, "--outputdir", output, "--bbox", 80, 50, 90, 120) == 0
    landmarks = np.loadtxt(output / "a_face0_landmarks.txt")
    again = tmp_path / "landmarks.npy"
    np.save(again, landmarks)
    assert run(model_path, "--image", photo, "--outputdir", output, "--landmarks", again) == 0
    np.testing.assert_allclose(np.loadtxt(output / "a_face0_landmarks.txt"), landmarks, atol=0.5)

    pose = np.array([[0, 0, 0, 130, 256 - 110, 0, 100 / np.ptp(sample_model.mean[:, 0])]])
    shape, expression = sample_model.shape_basis.shape[2], sample_model.expression_basis.shape[2]
    fit = {"Shape_Para": np.zeros((shape, 1)), "Exp_Para": np.zeros((expression, 1)), "Pose_Para": pose}
    savemat(tmp_path / "fit.mat", fit)
    save_face_model(sample_model, tmp_path / "face_model.hdf5")
    arguments = ("--image", photo, "--outputdir", output, "--fit", tmp_path / "fit.mat", "--facemodel")
    assert run(model_path, *arguments, tmp_path / "face_model.hdf5") == 0
    assert abs(np.loadtxt(output / "a_face0_landmarks.txt")[:, 0].mean() - 129) < 3
    with pytest.raises(UserError, match=r"fit\.mat: has no pt3d_68; give the face model"):
        run(model_path, *arguments, tmp_path / "nowhere.hdf5")
    savemat(tmp_path / "fit.mat", {**fit, "pt3d_68": landmarks.T + [[1], [1], [0]]})
    assert run(model_path, *arguments, tmp_path / "nowhere.hdf5") == 0
    np.testing.assert_allclose(np.loadtxt(output / "a_face0_landmarks.txt"), landmarks, atol=0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--image", "nowhere"), "nowhere: no such file or folder"),
        (("--image", "{empty}"), "holds no photo and no video"),
        (("--image", "{photos}", "--bbox", "1", "2", "3", "4"), "^`box`: says .* in one photo, but 3 inputs"),
        (("--image", "{photos}/a.jpg", "--bbox", "1", "2", "0", "4"), "width and height must be above 0"),
        (("--image", "{photos}/a.jpg", "--landmarks", "{photos}/a.jpg"), "a.jpg: not landmarks"),
        (("--image", "{photos}/a.jpg", "--landmarks", "nowhere.txt"), "nowhere.txt: no such landmark file"),
        (("--image", "{photos}/a.jpg", "--model", "nowhere.keras"), "nowhere.keras: no such model file"),
    ],
)
def test_bad_requests_are_one_line(model_path, photos, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    arguments = [argument.format(photos=photos, empty=tmp_path / "empty") for argument in arguments]
    with pytest.raises(UserError, match=message) as error:
        run(model_path, *arguments, "--outputdir", tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_network_that_learned_nothing_is_doubted(photos, layout, tmp_path, terminal):
    from prnet.model.saved_network import save_network

    crumpled = np.random.default_rng(0).uniform(0, SIZE, (SIZE, SIZE, 3)).astype(np.float32)
    save_network(constant_network(crumpled), layout, tmp_path / "fresh.keras")
    assert run(tmp_path / "fresh.keras", "--image", photos / "a.jpg", "--outputdir", tmp_path / "out") == 0
    assert "a.jpg: face 0 hardly is one: its mesh differs from a mean face by" in terminal.readouterr().err


def test_a_place_that_cannot_be_is_one_line(model_path, photos, tmp_path, terminal):
    long = tmp_path / f"{'n' * 246}.jpg"
    long.write_bytes((photos / "a.jpg").read_bytes())
    for photo, output, words in (
        (photos / "a.jpg", photos / "a.jpg", "a.jpg: is a file, and no folder to write to"),
        (long, tmp_path / "out", "File name too long; give a shorter name"),
    ):
        assert run(model_path, "--image", photo, "--outputdir", output) == 1
        assert words in terminal.readouterr().err


@pytest.mark.parametrize(
    "box",
    [
        (1e300, 0, 10, 10),
        (0, 0, 1e300, 1e300),
        (5, 5, 1e-300, 1e-300),
        (300, 10, 20, 20),
        (0, 0, 9000, 9000),
        (0, -90, 9, 9),
    ],
)
def test_a_box_that_is_no_face_of_this_photo_is_one_line(model_path, photos, tmp_path, terminal, box):
    command = ("--image", photos / "a.jpg", "--outputdir", tmp_path / "out", "--bbox", *box)
    assert run(model_path, *command) == 1
    (line,) = [line for line in terminal.readouterr().err.splitlines() if line.startswith("error: ")]
    assert f"{photos / 'a.jpg'}: has 256 x 256 pixels, and no face in a square of" in line
    assert not (tmp_path / "out").exists()


def npy_header(shape: str, kind: str = "<f8") -> bytes:
    with io.BytesIO() as file:
        np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": (68, 2)})
        return file.getvalue().replace(b"(68, 2)", shape.encode())


def landmark_files(folder) -> dict[str, bytes]:
    """Files that claim to hold landmarks and do not, by name."""
    made = {}
    for name, content in {
        "strings": np.full((68, 2), "10"),
        "objects": np.full((68, 2), None),
        "complex": np.ones((68, 2), complex),
        "nan": np.full((68, 2), np.nan),
        "point": np.array(1.0),
        "records": np.zeros(68, [("x", "f8"), ("y", "f8")]),
        "few": np.ones((67, 2)),
    }.items():
        np.save(folder / "made.npy", content)
        made[f"{name}.npy"] = (folder / "made.npy").read_bytes()
    np.savez(folder / "made.npz", landmarks=np.ones((68, 2)))
    return made | {
        "archive.npy": (folder / "made.npz").read_bytes(),
        "huge.npy": npy_header("(10000000000000, 2)"),
        "beyond.npy": npy_header("(99999999999999999999999999, 2)"),
        "negative.npy": npy_header("(-68, 2)"),
        "short.npy": npy_header("(68, 2)") + bytes(100),
        "empty.npy": b"",
        "empty.txt": b"",
        "words.txt": b"one two\n" * 68,
        "long.txt": b"1 2\n" * 200_000,
        "binary.txt": bytes(range(256)) * 9,
        "infinite.txt": b"inf 1e999\n" * 68,
    }


def test_files_that_hold_no_landmarks_are_one_line(tmp_path):
    for name, content in landmark_files(tmp_path).items():
        (tmp_path / name).write_bytes(content)
        assert examine(read_landmarks, tmp_path / name) is None, name
        with pytest.raises(UserError, match=rf"{name}: "):
            read_landmarks(tmp_path / name)


@pytest.mark.parametrize("count", [300, pytest.param(6000, marks=pytest.mark.large)])
def test_damaged_landmark_files_are_read_or_refused(tmp_path, count):
    np.save(tmp_path / "whole.npy", np.random.default_rng(0).uniform(0, 99, (68, 2)))
    np.savetxt(tmp_path / "whole.txt", np.ones((68, 3)))
    whole = [(".npy", (tmp_path / "whole.npy").read_bytes()), (".txt", (tmp_path / "whole.txt").read_bytes())]
    whole += [(".npy", content) for content in landmark_files(tmp_path).values() if len(content) < 9000]
    for number in range(count):
        suffix, content = whole[number % len(whole)]
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(damage(content, np.random.default_rng([0, number])))
        assert examine(read_landmarks, path) is None, number


def test_the_detectors_crops_cover_the_real_faces(shared_data):
    """The rule of docs/detector_crop.md, fitted on other photos, on the six of AFLW2000-3D."""
    from prnet.formats.fit_files import read_fit
    from prnet.formats.photos import read_image
    from prnet.reconstructing.detection import find_faces

    for path in sorted((shared_data / "AFLW2000").glob("*.jpg")):
        found = find_faces(read_image(path))
        assert len(found) == 1, path.name
        landmarks = read_fit(path.with_suffix(".mat")).landmarks
        in_crop = transform_points(crop_transform(found[0].box, 256), landmarks)
        assert (in_crop[:, :2] >= 0).all(), path.name
        assert (in_crop[:, :2] <= 255).all(), path.name
        true_box = landmark_box(landmarks)
        assert np.linalg.norm(found[0].box.centre - true_box.centre) < 0.14 * true_box.side
        assert found[0].box.side == pytest.approx(true_box.side, rel=0.12)


def test_an_untrained_light_network_goes_through(layout, tmp_path, portrait):
    from prnet.model.networks import build_network
    from prnet.model.saved_network import save_network

    save_network(build_network("lprnet", SIZE), layout, tmp_path / "lprnet.keras")
    (face,) = FaceReconstructor(tmp_path / "lprnet.keras", detector="none").reconstruct(portrait)
    assert face.position_map.shape == (SIZE, SIZE, 3)
    assert face.landmarks.shape == (68, 3)
    assert constant_network(mean_face_map(layout, SIZE)).output_shape == (None, SIZE, SIZE, 3)
