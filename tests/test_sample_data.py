"""The sample face model and the sample archives: anatomy, topology, layout, exact fits, determinism."""

import io
import zipfile
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.io import loadmat

from prnet.commands import make_sample_data as script
from prnet.commands.terminal import run_script
from prnet.common.errors import UserError
from prnet.formats.face_model_file import load_face_model
from prnet.formats.fit_files import read_fit
from prnet.formats.pairs import PairSource
from prnet.generating.samples import faces as sample_faces
from prnet.generating.samples.archives import (
    archive_pictures,
    landmark_pixels,
    make_sample_data,
    mirrored_view,
    training_files,
)
from prnet.generating.samples.faces import contact_sheet, draw_view, render_view
from prnet.generating.samples.model import (
    EXPRESSION_NAMES,
    IDENTITY_NAMES,
    UNITS_PER_MM,
    make_sample_head,
)
from prnet.generating.samples.people import draw_expression, draw_person
from prnet.geometry.face_model import face_vertices
from prnet.geometry.mesh import boundary_loops, vertex_normals
from prnet.geometry.pose import fit_to_pixels

MIRROR_ORDER = np.r_[
    16:-1:-1, 26:16:-1, 27:31, 35:30:-1, 45:41:-1, 47:45:-1, 39:35:-1, 41:39:-1, 54:47:-1, 59:54:-1, 64:59:-1, 67:64:-1
]
"""The landmark on the other side of the face for each of the 68."""


@pytest.fixture(scope="module")
def head():
    return make_sample_head()


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    make_sample_data(folder, train=10, val=3, seed=0)
    return folder


def millimetres(head, landmark_only=True, **coefficients):
    """Landmarks (68, 3) or vertices (V, 3) in mm of the mean face with the named expressions."""
    values = np.zeros(head.model.coefficient_count, dtype=np.float32)
    for name, value in coefficients.items():
        values[len(IDENTITY_NAMES) + EXPRESSION_NAMES.index(name.replace("_", " "))] = value
    subset = head.model.landmark_vertices[:, 0] if landmark_only else slice(None)
    return face_vertices(head.model, values, subset) / UNITS_PER_MM


# The face model


def test_size_and_types(head):
    model = head.model
    assert 5000 <= len(model.mean) <= 12000
    assert model.shape_basis.shape[2] == len(IDENTITY_NAMES) >= 20
    assert model.expression_basis.shape[2] == len(EXPRESSION_NAMES) >= 10
    assert np.isfinite(model.shape_basis).all()
    assert np.isfinite(model.expression_basis).all()
    assert np.all(model.shape_deviation > 0)
    assert np.all(model.expression_deviation > 0)
    assert np.ptp(model.mean[model.landmark_vertices[:, 0], 1]) == pytest.approx(138 * UNITS_PER_MM, rel=0.1)
    assert len(np.unique(model.landmark_vertices[:, 0])) == 68


def test_it_is_the_same_every_time(head):
    again = make_sample_head().model
    assert again.identity == head.model.identity
    np.testing.assert_array_equal(again.mean_texture, head.model.mean_texture)
    np.testing.assert_array_equal(again.region_weights, head.model.region_weights)


def test_the_mesh_is_a_disk_with_the_mouth_as_its_only_hole(head):
    triangles = head.model.triangles
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    unique, used = np.unique(edges, axis=0, return_counts=True)
    assert used.max() == 2
    assert len(np.unique(triangles)) == len(head.model.mean)
    assert len(head.model.mean) - len(unique) + len(triangles) == 0  # Euler characteristic of a disk with one hole
    outer, mouth = boundary_loops(triangles)
    assert len(outer) > len(mouth)
    lips = head.rest[head.model.landmark_vertices[:, 0][60:68]]
    assert np.all(np.abs(head.rest[mouth][:, :2] - lips[:, :2].mean(axis=0)) < (25, 3))


def test_no_triangle_is_degenerate_and_all_face_outward(head):
    corners = head.rest[head.model.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).max(axis=1)
    area = np.linalg.norm(normals, axis=1) / 2
    assert area.min() > 0.05  # mm^2
    assert (2 * area / longest).min() > 0.05  # mm
    outward = vertex_normals(head.rest, head.model.triangles) * (head.rest - (0, -40, -90))
    assert np.mean(outward.sum(axis=1) > 0) > 0.95


def test_the_face_is_mirror_symmetric(head):
    model, mirror = head.model, head.mirror
    np.testing.assert_array_equal(mirror[mirror], np.arange(len(mirror)))
    np.testing.assert_array_equal(model.mean[mirror], model.mean * np.float32([-1, 1, 1]))
    np.testing.assert_array_equal(mirror[model.landmark_vertices[:, 0]], model.landmark_vertices[:, 0][MIRROR_ORDER])
    assert {tuple(sorted(triangle)) for triangle in mirror[model.triangles]} == {
        tuple(sorted(triangle)) for triangle in model.triangles
    }
    np.testing.assert_allclose(model.uv[mirror], model.uv * (-1, 1) + (1, 0), atol=2e-3)


def test_mirror_signs_say_what_mirroring_does_to_each_component(head):
    bases = np.concatenate([head.model.shape_basis, head.model.expression_basis], axis=2)
    reflected = bases[head.mirror] * np.array([-1, 1, 1])[:, None]
    np.testing.assert_allclose(reflected, bases * head.mirror_signs, atol=1e-6 * np.abs(bases).max())
    assert set(head.mirror_signs) == {-1, 1}


def test_landmarks_lie_on_their_features(head):
    x, y, z = millimetres(head).T
    assert np.all(np.diff(x[:17]) > 0)  # jaw, from the image's left to its right
    assert np.all(np.diff(y[:9]) < 0)
    assert np.all(np.diff(x[17:27]) > 0)
    assert np.argmax(z) == 30  # tip of the nose
    assert np.all(np.diff(y[27:31]) < 0)
    assert np.all(np.diff(x[31:36]) > 0)
    for corner, upper_1, upper_2, other, lower_1, lower_2 in (range(36, 42), range(42, 48)):
        assert x[corner] < x[upper_1] < x[upper_2] < x[other]
        assert x[lower_1] > x[lower_2]
        assert min(y[upper_1], y[upper_2]) > max(y[lower_1], y[lower_2]) + 5
        assert np.all(y[17:27] > y[upper_1])
    assert np.all(np.diff(x[48:55]) > 0)
    assert np.all(np.diff(x[54:60]) < 0)
    assert y[51] > y[62] > y[66] > y[57] > y[8]
    assert y[30] > y[33] > y[51]
    assert head.eyes[head.model.landmark_vertices[:, 0]].sum() == 0


def test_texture_has_lips_irises_and_brows(head):
    texture, landmarks = head.model.mean_texture, head.model.landmark_vertices[:, 0]
    cheek = texture[np.argmin(np.abs(head.rest[:, :2] - (45, -45)).sum(axis=1))]
    lips = texture[np.argmin(np.linalg.norm(head.rest[:, :2] - (0, -77), axis=1))]
    iris = texture[np.argmin(np.linalg.norm(head.rest[:, :2] - (35, 0.4), axis=1))]
    white = texture[np.argmin(np.linalg.norm(head.rest[:, :2] - (40, 0.6), axis=1))]
    assert lips[0] - lips[1] > 1.15 * (cheek[0] - cheek[1])
    assert iris.mean() < 0.5 * white.mean()
    assert texture[landmarks[19:25]].mean() < 0.8 * cheek.mean()


def test_components_are_smooth(head):
    """No edge is stretched to more than it can bear; expressions may fold lids and lips, but nothing else."""
    edges = np.concatenate([head.model.triangles[:, [0, 1]], head.model.triangles[:, [1, 2]]])
    length = np.linalg.norm(head.rest[edges[:, 0]] - head.rest[edges[:, 1]], axis=1)
    identity = head.model.shape_basis * head.model.shape_deviation / UNITS_PER_MM
    strain = np.linalg.norm(identity[edges[:, 0]] - identity[edges[:, 1]], axis=1) / length[:, None]
    assert strain.max() < 0.6
    expression = head.model.expression_basis / UNITS_PER_MM
    eye_or_mouth = np.linalg.norm((np.abs(head.rest[:, :2]) - (31, 0)) / (24, 15), axis=1) < 1
    eye_or_mouth |= np.linalg.norm((head.rest[:, :2] - (0, -72)) / (30, 16), axis=1) < 1
    calm = ~eye_or_mouth[edges].any(axis=1)
    strain = np.linalg.norm(expression[edges[:, 0]] - expression[edges[:, 1]], axis=1)[calm] / length[calm, None]
    assert strain.max() < 1.2


def test_jaw_opens(head):
    moved = millimetres(head, jaw_open=1.0) - millimetres(head)
    assert moved[8, 1] < -12
    assert moved[66, 1] < -12
    assert np.abs(moved[[27, 30, 33, 36, 45, 19, 24, 62]]).max() < 0.5
    assert np.all(np.diff(moved[[60, 61, 62], 1]) >= 0)
    half = millimetres(head, jaw_open=0.5)
    assert half[62, 1] - half[66, 1] > 6


def test_eyes_close(head):
    closed, calm = millimetres(head, eyes_closed=1.0), millimetres(head)
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        assert np.linalg.norm(closed[upper] - closed[lower]) < 0.12 * np.linalg.norm(calm[upper] - calm[lower])
    corners = [36, 39, 42, 45]
    np.testing.assert_allclose(closed[corners], calm[corners], atol=1.0)
    vertices = millimetres(head, landmark_only=False, eyes_closed=1.0)
    skin_above = (np.abs(head.rest[:, 0] - 31) < 5) & (head.rest[:, 1] > 8) & (head.rest[:, 1] < 9.5)
    assert np.all(vertices[skin_above, 1] < millimetres(head, landmark_only=False)[skin_above, 1] - 4)
    eye = vertices[head.eyes & (head.rest[:, 0] > 0)]
    lids = closed[[43, 44, 46, 47], 1]
    assert np.mean((eye[:, 1] > lids.min() - 1.5) & (eye[:, 1] < lids.max() + 1.5)) > 0.9


def test_smile_pucker_and_brows(head):
    calm, smile = millimetres(head), millimetres(head, smile=1.0)
    assert smile[54, 0] - smile[48, 0] > calm[54, 0] - calm[48, 0] + 6
    assert np.all(smile[[48, 54], 1] > calm[[48, 54], 1] + 4)
    pucker = millimetres(head, pucker=1.0)
    assert pucker[54, 0] - pucker[48, 0] < 0.8 * (calm[54, 0] - calm[48, 0])
    assert pucker[62, 2] > calm[62, 2] + 3
    assert np.all(millimetres(head, brows_up=1.0)[18:26, 1] > calm[18:26, 1] + 3)
    assert np.all(millimetres(head, brows_down=1.0)[19:25, 1] < calm[19:25, 1] - 1)
    one = millimetres(head, one_brow_up=1.0) - calm
    assert one[24, 1] > 2
    assert one[19, 1] < -2


# Pictures


def picture_of(head, yaw, seed, size=400):
    generator = np.random.default_rng(seed)
    person = draw_person(head, generator)
    view = draw_view(head, person, yaw, generator)
    factor = np.float32([1, 1, 1, *[size / view.size] * 4])
    return person, sample_faces.View(size, view.coefficients, view.pose * factor, view.gaze, view.seed)


@pytest.mark.parametrize(("yaw", "size"), [(0, 200), (-50, 333), (85, 450)])
def test_every_pixel_of_the_face_is_where_the_fit_puts_it(head, monkeypatch, yaw, size):
    """Painted with its own place in the picture, each pixel of the face reads its own coordinates."""
    person, view = picture_of(head, yaw, seed=4, size=size)
    transform = fit_to_pixels(view.pose, size)
    placed = face_vertices(head.model, view.coefficients) @ transform[:, :3].T + transform[:, 3]

    def place(normals, *_):
        values = np.zeros((len(normals), 3))
        values[: len(placed)] = np.column_stack([placed[:, :2], np.ones(len(placed))])
        return values

    monkeypatch.setattr(sample_faces, "shade", place)
    monkeypatch.setattr(sample_faces, "detail_atlas", lambda: np.ones((768, 4 * 768)))
    monkeypatch.setattr(sample_faces, "draw_background", lambda _, side: np.zeros((side, side, 3)))
    monkeypatch.setattr(sample_faces, "photograph", lambda picture, _: picture)
    picture = render_view(head, person, view)
    row, column = np.nonzero(picture[..., 2] > 0.999)
    assert len(row) > 0.05 * size**2
    np.testing.assert_allclose(picture[row, column, :2], np.column_stack([column, row]), atol=0.5)
    assert np.abs(picture[row, column, :2] - np.column_stack([column, row])).mean() < 0.1


def test_landmarks_are_rendered_where_the_fit_puts_them(head, monkeypatch):
    """One landmark's vertex at a time is painted white on a black face: it shows within half a pixel."""
    person, view = picture_of(head, 0, seed=5, size=450)
    person = replace(person, parts=[])
    expected = landmark_pixels(view, head)
    monkeypatch.setattr(sample_faces, "photograph", lambda picture, generator: picture)

    def painted(values):
        monkeypatch.setattr(sample_faces, "paint", lambda *_: np.tile(values[:, None], 3))
        return render_view(head, person, view)[..., 1]

    dark = np.full(len(head.rest), 0.02)
    unmarked = painted(dark)
    for landmark in (17, 21, 26, 30, 36, 45, 48, 54, 57):
        marked = dark.copy()
        marked[head.model.landmark_vertices[:, 0][landmark]] = 1.0
        weight = np.maximum(painted(marked) - unmarked, 0) ** 5
        row, column = np.mgrid[: view.size, : view.size]
        centre = np.array([(weight * column).sum(), (weight * row).sum()]) / weight.sum()
        assert np.linalg.norm(centre - expected[landmark, :2]) < 0.5, landmark


def test_a_picture_depends_on_its_view_alone(head):
    person, view = picture_of(head, 20, seed=3, size=200)
    first = render_view(head, person, view)
    np.testing.assert_array_equal(first, render_view(head, person, view))
    assert first.shape == (200, 200, 3)
    assert first.dtype == np.uint8
    assert first.std() > 15


def test_people_differ_and_stay_within_the_model(head):
    people = [draw_person(head, np.random.default_rng(seed)) for seed in range(12)]
    identities = np.array([person.identity for person in people]) / head.model.shape_deviation
    assert np.abs(identities).max() <= 2.2 + 1e-6
    assert np.all(identities.std(axis=0) > 0.3)
    assert len({person.skin.tone for person in people}) == 12
    expressions = np.array([draw_expression(head, np.random.default_rng(seed)) for seed in range(200)])
    assert expressions.shape[1] == len(EXPRESSION_NAMES)
    assert np.all(expressions[:, EXPRESSION_NAMES.index("jaw open")] >= 0)
    assert expressions[:, EXPRESSION_NAMES.index("smile")].max() > 0.8


def test_contact_sheet_has_one_square_for_each_picture():
    pictures = [np.full((40, 50, 3), 10 * number, dtype=np.uint8) for number in range(5)]
    sheet = contact_sheet(pictures, columns=3, side=20)
    assert sheet.shape == (40, 60, 3)
    assert np.all(sheet[20:, 20:40] == 40)
    assert np.all(sheet[20:, 40:] == 255)


# Archives


def test_archives_have_the_layout_of_the_real_ones(archives):
    with zipfile.ZipFile(archives / "300W-LP.zip") as archive:
        names = archive.namelist()
    assert "300W_LP/AFW/AFW_0000_1_0.jpg" in names
    assert "300W_LP/AFW_Flip/AFW_0000_1_0.mat" in names
    assert "300W_LP/HELEN/HELEN_0001_1_0.jpg" in names
    assert "300W_LP/landmarks/AFW/AFW_0000_1_0_pts.mat" in names
    assert any(name.startswith("300W_LP/Code/") for name in names)
    with zipfile.ZipFile(archives / "AFLW2000-3D.zip") as archive:
        assert {"AFLW2000/image00001.jpg", "AFLW2000/image00003.mat"} <= set(archive.namelist())
    assert load_face_model(archives / "face_model.hdf5").identity == make_sample_head().model.identity


def test_a_reader_finds_the_pairs_and_nothing_else(archives):
    training = PairSource(archives / "300W-LP.zip")
    assert len(training) == 10
    assert training.left_out == []
    assert sorted({pair.folder for pair in training}) == ["AFW", "AFW_Flip", "HELEN", "HELEN_Flip"]
    assert len({pair.name.rpartition("_")[0] for pair in training}) == 2
    test = PairSource(archives / "AFLW2000-3D.zip")
    assert [pair.name for pair in test] == ["image00001", "image00002", "image00003"]
    for pair in [*training, *test]:
        fit = read_fit(pair.fit_bytes(), pair.name)
        assert len(fit.shape) == len(IDENTITY_NAMES)
        assert len(fit.expression) == len(EXPRESSION_NAMES)


def test_fit_files_have_the_real_fields(archives, head):
    size = {"Shape_Para": (len(IDENTITY_NAMES), 1), "Exp_Para": (len(EXPRESSION_NAMES), 1), "Pose_Para": (1, 7)}
    size |= {"roi": (1, 4), "Illum_Para": (1, 10), "Color_Para": (1, 7), "Tex_Para": (len(IDENTITY_NAMES), 1)}
    kinds = {"Pose_Para": "float32", "Color_Para": "float32", "roi": "int16", "Shape_Para": "float64"}
    with (
        zipfile.ZipFile(archives / "300W-LP.zip") as training,
        zipfile.ZipFile(archives / "AFLW2000-3D.zip") as test,
    ):
        one = loadmat(io.BytesIO(training.read("300W_LP/AFW/AFW_0000_1_0.mat")))
        other = loadmat(io.BytesIO(test.read("AFLW2000/image00001.mat")))
        height = cv2.imdecode(np.frombuffer(test.read("AFLW2000/image00001.jpg"), np.uint8), cv2.IMREAD_COLOR).shape[0]
    for fields in (one, other):
        assert {name: fields[name].shape for name in size} == size
        assert {name: str(fields[name].dtype) for name in kinds} == kinds
    assert one["pt2d"].shape == (2, 68)
    assert other["pt2d"].shape == (2, 21)
    assert other["pt3d_68"].dtype == np.float32
    coefficients = np.concatenate([other["Shape_Para"].ravel(), other["Exp_Para"].ravel()])
    transform = fit_to_pixels(other["Pose_Para"][0], height)
    placed = face_vertices(head.model, coefficients, head.model.landmark_vertices[:, 0]) @ transform[:, :3].T
    np.testing.assert_allclose(other["pt3d_68"].T - (1, 1, 0), placed + transform[:, 3], atol=1e-3)


def test_mirrored_pairs_are_exact(archives, head):
    with zipfile.ZipFile(archives / "300W-LP.zip") as archive:
        for name in ("AFW_0000_1_0", "AFW_0000_1_3"):
            pictures, landmarks = [], []
            for folder in ("AFW", "AFW_Flip"):
                encoded = np.frombuffer(archive.read(f"300W_LP/{folder}/{name}.jpg"), np.uint8)
                pictures.append(cv2.imdecode(encoded, cv2.IMREAD_COLOR).astype(float))
                fit = read_fit(archive.read(f"300W_LP/{folder}/{name}.mat"), name)
                transform = fit_to_pixels(fit.pose, len(pictures[-1]))
                vertices = face_vertices(head.model, fit.coefficients)
                landmarks.append(vertices @ transform[:, :3].T + transform[:, 3])
            width = pictures[0].shape[1]
            assert np.abs(pictures[0][:, ::-1] - pictures[1]).mean() < 2
            expected = landmarks[0][head.mirror] * (-1, 1, 1) + (width - 1, 0, 0)
            np.testing.assert_allclose(landmarks[1], expected, atol=2e-3)


def test_mirroring_twice_gives_the_view_back(head):
    _, view = picture_of(head, 35, seed=8)
    again = mirrored_view(mirrored_view(view, head), head)
    np.testing.assert_array_equal(again.coefficients, view.coefficients)
    np.testing.assert_allclose(again.pose, view.pose, rtol=1e-6)


def test_a_picture_does_not_depend_on_how_many_are_made(archives, tmp_path):
    make_sample_data(tmp_path, train=3, val=0, seed=0)
    with (
        zipfile.ZipFile(tmp_path / "300W-LP.zip") as few,
        zipfile.ZipFile(archives / "300W-LP.zip") as many,
    ):
        pictures = [name for name in few.namelist() if "landmarks" not in name and "Code" not in name]
        assert len(pictures) == 6
        for name in few.namelist():
            assert few.read(name) == many.read(name)
    assert dict(training_files(1, 10, 0)) != dict(training_files(0, 10, 0))


@pytest.mark.large
def test_several_processes_write_the_same_files(tmp_path):
    make_sample_data(tmp_path / "one", train=6, val=6, seed=4)
    make_sample_data(tmp_path / "two", train=6, val=6, seed=4, workers=2)
    for name in ("300W-LP.zip", "AFLW2000-3D.zip"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    one, two = (load_face_model(tmp_path / folder / "face_model.hdf5") for folder in ("one", "two"))
    assert one.identity == two.identity  # the files hold the time too, as HDF5 writes it


# The script


def test_script_writes_everything_and_says_where(tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    script.main(
        [
            "--outdir",
            str(tmp_path),
            "--train",
            "1",
            "--val",
            "1",
            "--seed",
            "7",
            "--workers",
            "1",
            "--sheet",
            str(sheet),
        ]
    )
    told = capsys.readouterr().out
    for name in ("face_model.hdf5", "300W-LP.zip", "AFLW2000-3D.zip", "sheet.png"):
        assert str(tmp_path / name) in told
    assert "synthetic" in told
    assert len(archive_pictures(tmp_path / "300W-LP.zip", 5)) == 1
    assert cv2.imread(str(sheet)).shape == (160, 8 * 160, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["face_model.hdf5", "300W-LP.zip", "AFLW2000-3D.zip", "sheet.png"]
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--train", "-1"], "--train -1"),
        (["--val", "-2"], "--val -2"),
        (["--seed", "-3"], "--seed -3"),
        (["--sheet", "sheet.jpg"], "sheet.jpg"),
        (["--processes", "0"], "--processes 0"),
        (["--train", "0", "--val", "0", "--sheet", "sheet.png"], "contact sheet"),
    ],
)
def test_a_bad_flag_gets_one_line(tmp_path, flags, message):
    with pytest.raises(UserError, match=message) as error:
        script.main(["--outdir", str(tmp_path / "out"), *flags])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_file_in_place_of_the_folder_gets_one_line(tmp_path, capsys):
    (tmp_path / "taken").write_text("a file")
    flags = ["--outdir", str(tmp_path / "taken"), "--train", "1", "--val", "0", "--workers", "1"]
    with pytest.raises(SystemExit) as stopped:
        run_script(lambda: script.main(flags))
    told = capsys.readouterr().err.strip()
    assert stopped.value.code == 2
    assert "\n" not in told
    assert "taken" in told
    assert (tmp_path / "taken").read_text() == "a file"
