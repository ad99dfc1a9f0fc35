"""Views rotated in depth: the geometry, the pictures, and the whole tool on a handful of photos."""

import zipfile

import cv2
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from prnet.commands.make_profile_views import main
from prnet.common.errors import UserError
from prnet.formats.face_model_file import save_face_model
from prnet.generating.builder import build_dataset
from prnet.generating.dataset import open_dataset
from prnet.generating.views.plan import (
    MAX_PITCH_CHANGE,
    MAX_TURN_BACK,
    MAX_VIEWS,
    NEAR_FRONT,
    ViewSettings,
    plan_expressions,
    plan_views,
)
from prnet.generating.views.profiling import render_view, view_angles, view_pose, view_transform
from prnet.generating.views.relief import FRAME_MARGIN, make_face_grid, make_relief, with_expression
from prnet.geometry.crop import landmark_box
from prnet.geometry.face_model import face_vertices, landmark_model
from prnet.geometry.mesh import vertex_normals
from prnet.geometry.pose import fit_to_pixels, rotation_from_angles
from prnet.geometry.rasterise import rasterise, render

SIDE = 320
VIEWS = [(0, 40), (0, -70), (25, 10), (-25, -40)]


@pytest.fixture(scope="module", params=["sample_model", "stand_in_model"])
def model(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def grid(model):
    return make_face_grid(model)


@pytest.fixture(scope="module")
def sample_grid(sample_model):
    return make_face_grid(sample_model)


def some_fit(model, yaw=0.1, seed=0):
    """Coefficients and a pose that puts the face into the middle of a photo of side SIDE."""
    random = np.random.default_rng(seed)
    deviations = np.concatenate([model.shape_deviation, model.expression_deviation])
    coefficients = (0.3 * random.normal(size=len(deviations)) * deviations).astype(np.float32)
    scale = 0.35 * SIDE / np.ptp(model.mean[model.landmark_vertices[:, 0], 0])
    pose = np.array([0.05, yaw, 0.1, 0.0, 0.0, 0.0, scale])
    box = landmark_box(project(model, coefficients, pose, SIDE)[model.landmark_vertices[:, 0]])
    pose[3:5] = SIDE / 2 - box.centre[0], box.centre[1] - SIDE / 2
    return coefficients, pose


def project(model, coefficients, pose, height):
    transform = fit_to_pixels(pose, height)
    return face_vertices(model, coefficients) @ transform[:, :3].T + transform[:, 3]


def pose_of_view(relief, pitch, yaw):
    angles = np.array([np.radians(pitch), np.radians(yaw), relief.angles[2]])
    transform = view_transform(relief, angles)
    return transform, view_pose(transform, angles, len(relief.picture))


def plainly_seen(model, points, picture_side):
    """Which vertices (V,) bool face the camera and are not covered."""
    points = points.astype(np.float32)
    depth = rasterise(points, model.triangles, picture_side, picture_side).depth
    column, row = np.clip(np.rint(points[:, :2]), 0, picture_side - 1).astype(int).T
    return (-vertex_normals(points, model.triangles)[:, 2] > 0.35) & (points[:, 2] > depth[row, column] - 2)


def marked_photos(points, landmarks, picture_side):
    """Black photos with three landmarks each, one to a channel, as soft spots; yields the photo and which they are."""
    row, column = np.mgrid[:picture_side, :picture_side]
    for start in range(0, len(landmarks), 3):
        photo = np.zeros((picture_side, picture_side, 3))
        for channel, landmark in enumerate(landmarks[start : start + 3]):
            x, y = points[landmark, :2]
            photo[..., channel] = 255 * np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * 1.5**2))
        yield np.rint(photo).astype(np.uint8), landmarks[start : start + 3]


def test_landmarks_lie_on_the_features_of_a_view(model, grid):
    """Spots painted on a photo's landmarks are found where a view's own `Pose_Para` projects those landmarks, of all
    landmarks that are plainly seen, with their surroundings, in both."""
    coefficients, pose = some_fit(model)
    source = project(model, coefficients, pose, SIDE)
    landmarks = model.landmark_vertices[:, 0][17:68:2]
    around = np.linalg.norm(source[landmarks, None] - source, axis=-1) < 4
    relief = make_relief(np.zeros((SIDE, SIDE, 3), np.uint8), coefficients, pose, grid)
    side = len(relief.picture)
    views = []
    for pitch, yaw in VIEWS:
        transform, new_pose = pose_of_view(relief, pitch, yaw)
        points = project(model, coefficients, new_pose, side)
        seen = plainly_seen(model, source, SIDE) & plainly_seen(model, points, side)
        views.append(
            (
                transform,
                points,
                dict(zip(landmarks, (around & seen).sum(axis=1) > 0.9 * around.sum(axis=1), strict=True)),
            )
        )

    errors = []
    for photo, chosen in marked_photos(source, landmarks, SIDE):
        relief = make_relief(photo, coefficients, pose, grid)
        for transform, points, seen in views:
            view = render_view(relief, transform).astype(float)
            for channel, landmark in enumerate(chosen):
                if seen[landmark]:
                    weight = view[..., channel]
                    found = [(weight * axis).sum() / weight.sum() for axis in np.mgrid[:side, :side][::-1]]
                    errors.append(np.hypot(*(found - points[landmark, :2])))
    assert len(errors) > 35
    assert np.median(errors) < 0.4
    assert np.max(errors) < 1.5


def test_the_head_turns_about_the_camera_and_stays_in_the_middle(sample_model, sample_grid):
    """At pitch 0 a view is the photo's pose turned about the camera's vertical axis; size and middle stay."""
    coefficients, pose = some_fit(sample_model)
    pose[0] = 0.0
    relief = make_relief(np.zeros((SIDE, SIDE, 3), np.uint8), coefficients, pose, sample_grid)
    transform, new_pose = pose_of_view(relief, 0.0, 50.0)
    side = len(relief.picture)
    np.testing.assert_allclose(fit_to_pixels(new_pose, side), transform, atol=1e-9)
    np.testing.assert_allclose(np.degrees(new_pose[:3]), [0, 50, np.degrees(pose[2])])
    turn = rotation_from_angles([0, np.radians(50) - pose[1], 0])
    np.testing.assert_allclose(
        transform[:, :3] / new_pose[6] * [[1], [-1], [1]], turn @ rotation_from_angles(pose[:3]), atol=1e-9
    )
    landmarks = relief.landmarks @ transform[:, :3].T + transform[:, 3]
    np.testing.assert_allclose(landmark_box(landmarks).centre, (side - 1) / 2)
    zoom = (side - 1) / (
        FRAME_MARGIN
        * landmark_box(project(sample_model, coefficients, pose, SIDE)[sample_model.landmark_vertices[:, 0]]).side
    )
    assert new_pose[6] == pytest.approx(pose[6] * zoom)


def test_the_photo_s_own_pose_gives_the_photo(sample_model, sample_grid):
    coefficients, pose = some_fit(sample_model)
    noise = np.random.default_rng(0).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    photo = cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    relief = make_relief(photo, coefficients, pose, sample_grid)
    difference = np.abs(render_view(relief, relief.transform).astype(int) - relief.picture)
    assert np.mean(difference <= 1) > 0.7
    assert np.mean(difference > 20) < 0.05


@pytest.mark.parametrize(("pitch", "yaw"), [(3, 30), (3, 85), (3, -85), (35, 10), (-35, 10), (25, -60)])
def test_no_background_on_the_face_and_no_face_on_the_background(sample_model, sample_grid, pitch, yaw):
    coefficients, pose = some_fit(sample_model)
    points = project(sample_model, coefficients, pose, SIDE)
    red, blue = np.array([255, 0, 0], np.uint8), np.array([0, 0, 255], np.uint8)
    head = render(points, sample_model.triangles, np.tile(red, (len(points), 1)), np.tile(blue, (SIDE, SIDE, 1)))
    relief = make_relief(head, coefficients, pose, sample_grid)
    transform, new_pose = pose_of_view(relief, pitch, yaw)
    view = render_view(relief, transform)
    side = len(view)

    turned = project(sample_model, coefficients, new_pose, side)
    truth = (rasterise(turned, sample_model.triangles, side, side, two_sided=True).triangle >= 0).astype(np.uint8)
    inside, beyond = cv2.erode(truth, np.ones((7, 7))) > 0, cv2.dilate(truth, np.ones((25, 25))) == 0
    assert np.mean(view[inside][:, 2] > 128) < 0.02
    assert np.mean(view[beyond][:, 0] > 128) < 0.005


def test_beyond_the_photo_s_border_the_picture_goes_on(sample_model, sample_grid):
    """A crop as tight as the face fills its frame, unrotated and turned, without a black border."""
    coefficients, pose = some_fit(sample_model)
    box = landmark_box(project(sample_model, coefficients, pose, SIDE)[sample_model.landmark_vertices[:, 0]])
    left, top = np.rint(box.centre - 0.7 * box.side).astype(int)
    size = round(1.4 * box.side)
    pose[3] -= left
    pose[4] -= SIDE - top - size
    relief = make_relief(np.full((size, size, 3), 200, np.uint8), coefficients, pose, sample_grid)
    landmarks = relief.landmarks @ relief.transform[:, :3].T + relief.transform[:, 3]
    np.testing.assert_allclose(landmark_box(landmarks).centre, (len(relief.picture) - 1) / 2, atol=1e-6)
    for view in (relief.picture, render_view(relief, pose_of_view(relief, 10, 60)[0])):
        assert np.abs(view.astype(int) - 200).max() <= 2


def test_a_fit_that_misses_the_photo_is_refused(sample_model, sample_grid):
    coefficients, pose = some_fit(sample_model)
    pose[3] += 3 * SIDE
    with pytest.raises(ValueError, match="outside the photo"):
        make_relief(np.zeros((SIDE, SIDE, 3), np.uint8), coefficients, pose, sample_grid)


def test_the_plan_evens_out_the_yaw_histogram():
    random = np.random.default_rng(3)
    pitch, yaw = random.normal(-5, 10, 800), random.normal(0, 15, 800)
    plan = plan_views(pitch, yaw, ViewSettings())
    rotated = np.concatenate(plan)
    assert max(map(len, plan)) + 1 <= MAX_VIEWS
    counts = np.histogram(np.append(yaw, rotated[:, 1]), np.arange(-90, 91, 10))[0]
    assert counts.max() - counts.min() <= 1
    assert np.abs(rotated[:, 0]).max() <= 40
    assert np.abs(rotated[:, 1]).max() <= 90
    assert np.histogram(rotated[:, 0], np.arange(-40, 41, 10))[0].min() > 0.04 * len(rotated)


def test_views_turn_away_from_the_front_and_keep_to_the_limits():
    pitch, yaw = np.array([0.0, 38.0, -52.0, 10.0, 0.0]), np.array([0.0, 40.0, -30.0, 14.0, 80.0])
    plan = plan_views(pitch, yaw, ViewSettings(max_yaw=60, max_pitch=50, views=25))
    assert [len(views) for views in plan] == [24, 24, 24, 24, 0]
    for own_pitch, own_yaw, views in zip(pitch, yaw, plan, strict=True):
        assert (np.abs(views) <= [50, 60]).all()
        back = own_yaw - views[:, 1] if own_yaw > 0 else views[:, 1] - own_yaw
        if abs(own_yaw) > MAX_TURN_BACK:
            assert (back <= MAX_TURN_BACK + 1e-9).all()
        elif own_yaw:
            assert back.max() > 60
        assert (np.abs(views[:, 0] - own_pitch) <= MAX_PITCH_CHANGE + 1e-9).all()
    assert not np.array_equal(
        plan[0], plan_views(pitch, yaw, ViewSettings(max_yaw=60, max_pitch=50, views=25, seed=1))[0]
    )


def with_open_mouth(model, coefficients):
    """The expression of most gap between the lips, three deviations strong, and its gap in model units."""
    lips = model.landmark_vertices[[62, 66], 0]
    at = int(np.argmax(np.abs(np.diff(model.expression_basis[lips, 1], axis=0)[0] * model.expression_deviation)))
    opened = coefficients.copy()
    opened[model.shape_basis.shape[2] :] = 0
    shut = opened.copy()
    opened[model.shape_basis.shape[2] + at] = 3 * model.expression_deviation[at]
    if -np.diff(face_vertices(model, opened)[lips, 1]) < -np.diff(face_vertices(model, shut)[lips, 1]):
        opened[model.shape_basis.shape[2] + at] *= -1
    return shut, opened


def test_an_opened_mouth_is_dark_between_the_lips_and_nowhere_else(sample_model, sample_grid):
    coefficients, pose = some_fit(sample_model)
    shut, opened = with_open_mouth(sample_model, coefficients)
    relief = make_relief(np.full((SIDE, SIDE, 3), 200, np.uint8), shut, pose, sample_grid)
    moved = with_expression(relief, opened, sample_grid)
    for yaw in (6, 30):
        transform, new_pose = pose_of_view(moved, 3, yaw)
        dark = render_view(moved, transform)[..., 0] < 130
        points = project(sample_model, opened, new_pose, len(dark))
        x, y = points[sample_model.landmark_vertices[60:68, 0], :2].T
        row, column = np.nonzero(dark)
        gap, seen = y[6] - y[2], row[column == round((x[2] + x[6]) / 2)]
        assert gap > 8
        np.testing.assert_allclose(len(seen), gap, atol=1.5)
        np.testing.assert_allclose(seen.mean(), (y[6] + y[2]) / 2, atol=1)
        np.testing.assert_allclose([column.min(), column.max()], [x.min(), x.max()], atol=4)
    same = with_expression(relief, shut, sample_grid)
    np.testing.assert_allclose(same.points, relief.points, atol=1e-3)
    assert (render_view(same, transform)[..., 0] < 130).sum() < 0.1 * dark.sum()


def test_a_surface_takes_its_colours_with_it(model, grid):
    """Marks on the chin of a photo lie on the chin of its view with another expression."""
    coefficients, pose = some_fit(model)
    shut, opened = with_open_mouth(model, coefficients)
    mark = model.landmark_vertices[8:9, 0]
    ((photo, _),) = marked_photos(project(model, shut, pose, SIDE), mark, SIDE)
    moved = with_expression(make_relief(photo, shut, pose, grid), opened, grid)
    transform, new_pose = pose_of_view(moved, 3, 6)
    weight = render_view(moved, transform)[..., 0] * 1.0
    found = [(weight * axis).sum() / weight.sum() for axis in np.mgrid[: len(weight), : len(weight)][::-1]]
    chin = project(model, opened, new_pose, len(weight))[mark[0], :2]
    assert np.hypot(*(found - chin)) < 1
    assert np.hypot(*(project(model, shut, new_pose, len(weight))[mark[0], :2] - chin)) > 3


def test_an_upright_profile_stays_upright_when_it_turns():
    """Close to a profile pitch and roll cancel: to keep the roll and bound the pitch would tip the head over."""
    photo, poses = np.radians([-88.4, -77.1, 82.2]), np.radians([[-40.0, yaw] for yaw in (-77.1, -60, -30, 0, 70)])
    before, angles = rotation_from_angles(photo), view_angles(photo, poses, np.radians(40))
    np.testing.assert_allclose(angles[:, 1], poses[:, 1], atol=1e-12)
    np.testing.assert_allclose(angles[0], photo, atol=1e-9)
    heights = rotation_from_angles(angles)[:, 1]  # of the head's axes over the horizon
    np.testing.assert_allclose(heights, np.tile(before[1], (len(poses), 1)), atol=1e-9)
    usual = view_angles(np.radians([30.0, -77.1, 10.0]), poses, np.radians(40))
    np.testing.assert_allclose(usual, np.column_stack([poses, np.full(len(poses), np.radians(10))]))


def test_what_lies_before_an_opened_mouth_hides_it(sample_model, sample_grid):
    coefficients, pose = some_fit(sample_model)
    shut, opened = with_open_mouth(sample_model, coefficients)
    relief = with_expression(
        make_relief(np.full((SIDE, SIDE, 3), 200, np.uint8), shut, pose, sample_grid), opened, sample_grid
    )
    front, profile = (
        render_view(relief, view_transform(relief, np.array([0.05, np.radians(yaw), relief.angles[2]])))
        for yaw in (5, 100)
    )
    assert (profile[..., 0] < 130).sum() < 0.1 * (front[..., 0] < 130).sum()


def test_rare_expressions_go_to_shut_mouths_and_open_eyes(sample_model):
    """Of 600 photos every tenth has an open mouth: more than a third of what is drawn, and only for others to take."""
    random = np.random.default_rng(0)
    coefficients, _ = some_fit(sample_model)
    shut, opened = with_open_mouth(sample_model, 0 * coefficients)
    is_open = np.arange(600) % 10 == 0
    fits = np.where(is_open[:, None], opened, shut)
    turned = random.uniform(-90, 90, 600)
    plan = plan_expressions(landmark_model(sample_model), fits, np.zeros(600), turned, ViewSettings(expressions=2))
    takes = ~is_open & (np.abs(turned) < NEAR_FRONT)
    assert [len(drawn) for drawn in plan] == list(2 * takes)
    assert 0.35 < is_open[np.concatenate(plan)].mean() < 0.65


def write_photos(folder, model):
    """300W_LP/TEST with three photos and fits, one more with a NaN, one cut short."""
    folder.mkdir(parents=True)
    for number, yaw in enumerate((0.0, 0.5, -0.2, 0.1, 0.2)):
        coefficients, pose = some_fit(model, yaw, seed=number)
        points = project(model, coefficients, pose, SIDE)
        photo = render(points, model.triangles, 255 * model.mean_texture, np.full((SIDE, SIDE, 3), 90, np.uint8))
        encoded = cv2.imencode(".jpg", photo[..., ::-1])[1].tobytes()
        count = model.shape_basis.shape[2]
        fields = {
            "Shape_Para": coefficients[:count, None],
            "Exp_Para": coefficients[count:, None],
            "Pose_Para": pose[None].astype(np.float32),
            "Tex_Para": np.ones((5, 1)),
            "Color_Para": np.full((1, 7), number, np.float32),
            "roi": np.array([[1, 1, SIDE, SIDE]], np.int16),
            "pt2d": np.zeros((2, 68)),
        }
        if number == 3:
            fields["Pose_Para"][0, 2] = np.nan
        if number == 4:
            encoded = encoded[: len(encoded) // 2]
        (folder / f"TEST_{number}_0.jpg").write_bytes(encoded)
        savemat(folder / f"TEST_{number}_0.mat", fields)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_tool_makes_a_set_that_the_builder_reads(tmp_path, sample_model, capsys):
    write_photos(tmp_path / "photos" / "300W_LP" / "TEST", sample_model)
    with zipfile.ZipFile(tmp_path / "300W-LP.zip", "w") as archive:
        for path in sorted((tmp_path / "photos").rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path / "photos"))
    save_face_model(sample_model, tmp_path / "model.hdf5")
    common = ["--facemodel", str(tmp_path / "model.hdf5"), "--views", "3"]
    folder, zipped = tmp_path / "views", tmp_path / "views_of_zip"
    assert main(["--extractdir", str(tmp_path / "photos"), "--outputdir", str(folder), "--workers", "2", *common]) == 1
    errors = capsys.readouterr().err
    assert "TEST_3_0.mat" in errors
    assert "TEST_4_0.jpg" in errors
    assert main(["--zipDir", str(tmp_path), "--outputdir", str(zipped), "--workers", "1", *common]) == 1
    assert contents(folder) == contents(zipped)
    assert sorted(path.name for path in folder.rglob("*.jpg")) == [
        f"TEST_{photo}_0-v{view:02d}.jpg" for photo in range(3) for view in range(3)
    ]

    fit = loadmat(folder / "300W_LP" / "TEST" / "TEST_1_0-v02.mat")
    picture = cv2.imread(str(folder / "300W_LP" / "TEST" / "TEST_1_0-v02.jpg"))
    coefficients = np.concatenate([fit["Shape_Para"], fit["Exp_Para"]]).ravel()
    points = project(sample_model, coefficients, fit["Pose_Para"][0], len(picture))[
        sample_model.landmark_vertices[:, 0]
    ]
    np.testing.assert_allclose(fit["pt2d"] - 1, points[:, :2].T, atol=1e-2)
    assert fit["Tex_Para"].shape == (5, 1)
    assert fit["Color_Para"].dtype == np.float32
    assert fit["roi"].shape == (1, 4)
    assert np.degrees(fit["Pose_Para"][0, 1]) > np.degrees(0.5) - MAX_TURN_BACK

    build_dataset([folder], tmp_path / "train.hdf5", sample_model, validation_share=0.34, progress=False)
    with open_dataset(tmp_path / "train.hdf5") as dataset:
        assert len(dataset) == 9
        assert [len(set(dataset.groups[start : start + 3])) for start in (0, 3, 6)] == [1, 1, 1]
        assert len(set(dataset.groups)) == 3


def test_views_with_the_expressions_of_other_photos(tmp_path, sample_model, monkeypatch):
    write_photos(tmp_path / "photos" / "TEST", sample_model)
    save_face_model(sample_model, tmp_path / "model.hdf5")
    monkeypatch.setattr("prnet.generating.views.plan.SHUT_MOUTH", 9.0)
    monkeypatch.setattr("prnet.generating.views.plan.OPEN_EYES", 0.0)
    common = ["--extractdir", str(tmp_path / "photos"), "--facemodel", str(tmp_path / "model.hdf5"), "--views", "2"]
    main([*common, "--expressions", "2", "--outputdir", str(tmp_path / "views"), "--workers", "1"])
    views = {path.stem: loadmat(path) for path in (tmp_path / "views" / "TEST").glob("*.mat")}
    assert len(views) == 12
    photos = {path.stem: loadmat(path) for path in (tmp_path / "photos" / "TEST").glob("*.mat")}
    given = [fit["Exp_Para"].astype(np.float32) for fit in photos.values()]
    for name, fit in views.items():
        photo, view = name[:6], int(name[-2:])
        if view < 2:
            np.testing.assert_allclose(fit["Exp_Para"], photos[f"{photo}_0"]["Exp_Para"])
        else:
            assert any(np.array_equal(fit["Exp_Para"], expression) for expression in given)
            np.testing.assert_allclose(fit["Pose_Para"][0, :3], views[f"{photo}_0-v00"]["Pose_Para"][0, :3])
        coefficients = np.concatenate([fit["Shape_Para"], fit["Exp_Para"]]).ravel()
        height = cv2.imread(str(tmp_path / "views" / "TEST" / f"{name}.jpg")).shape[0]
        points = project(sample_model, coefficients, fit["Pose_Para"][0], height)[sample_model.landmark_vertices[:, 0]]
        np.testing.assert_allclose(fit["pt2d"] - 1, points[:, :2].T, atol=1e-2)


def test_fits_move_first(tmp_path, sample_model):
    write_photos(tmp_path / "photos" / "TEST", sample_model)
    save_face_model(sample_model, tmp_path / "model.hdf5")
    common = ["--extractdir", str(tmp_path / "photos"), "--facemodel", str(tmp_path / "model.hdf5"), "--views", "1"]
    for name, shift in (("as_they_are", "0"), ("moved", "10")):
        main([*common, "--outputdir", str(tmp_path / name), "--fitshift", shift, f"-{shift}"])
    before, after = (
        loadmat(tmp_path / name / "TEST" / "TEST_1_0-v00.mat")["roi"][0] for name in ("as_they_are", "moved")
    )
    side = (before[2] - before[0]) / FRAME_MARGIN
    np.testing.assert_allclose(after - before, side * np.array([0.1, -0.1, 0.1, -0.1]), atol=1)
    with pytest.raises(UserError, match="--fit-shift"):
        main([*common, "--outputdir", str(tmp_path / "far"), "--fitshift", "0", "51"])


def test_nothing_is_left_where_nothing_can_be_made(tmp_path, sample_model):
    save_face_model(sample_model, tmp_path / "model.hdf5")
    (tmp_path / "photos").mkdir()
    common = ["--extractdir", str(tmp_path / "photos"), "--facemodel", str(tmp_path / "model.hdf5")]
    with pytest.raises(UserError, match="no .jpg with a usable .mat"):
        main([*common, "--outputdir", str(tmp_path / "views")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.hdf5", "photos"]
    with pytest.raises(UserError, match="is there already"):
        main([*common, "--outputdir", str(tmp_path)])
    with pytest.raises(UserError, match="--max-yaw"):
        main([*common, "--outputdir", str(tmp_path / "views"), "--maxyaw", "nan"])
