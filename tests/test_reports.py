"""Tables, results files and pictures: what they say, what they refuse, and that they are drawn."""

import csv
import io
from dataclasses import replace

import cv2
import numpy as np
import pytest

from prnet.common.errors import UserError
from prnet.evaluating import pictures
from prnet.evaluating.baseline import CONSTANT, constant_errors, constant_landmarks
from prnet.evaluating.csv_tables import csv_of_images, csv_report
from prnet.evaluating.openings import landmark_agreements
from prnet.evaluating.protocols import PROTOCOLS
from prnet.evaluating.references import REFERENCES, references_for
from prnet.evaluating.results import Origin, Results, load_results, require_comparable
from prnet.evaluating.scoring import Column, Failure
from prnet.evaluating.tables import closing_lines, markdown_report
from prnet.evaluating.types import EvaluationType
from prnet.geometry.crop import Box, crop_transform, landmark_box, transform_points
from prnet.geometry.position_map import layout_of_model
from tests.helpers.small_faces import make_small_model


def make_results(count=20, method="ours", types=(0, 1, 3, 4, 5), names=None, protocol=PROTOCOLS["standard"], seed=0):
    """Results of invented errors; the last image has none."""
    random = np.random.default_rng(seed)
    types = tuple(map(EvaluationType, types))
    origin = Origin(method, f"hash of {method}", "hash of images", protocol, types, "pt3d_68 of each sample")
    results = Results(origin, names or [f"photo_{number}" for number in range(count)], random.uniform(-90, 90, count))
    results.errors[:] = random.gamma(4, 1, results.errors.shape)
    results.landmark_errors[:] = random.gamma(4, 1, results.landmark_errors.shape)
    results.map_errors[:] = 0.75, 0.95
    results.true_landmarks[:] = random.uniform(50, 150, results.true_landmarks.shape)
    results.landmarks[:] = results.true_landmarks + random.normal(0, 3, results.landmarks.shape)
    results.normalisers[:] = 100
    for row, landmarks in enumerate(results.true_landmarks):
        box = landmark_box(landmarks)
        results.boxes[row] = *box.centre, box.side
    results.vertex_error_sum[:] = 5 * count
    results.vertex_error_count = count
    results.done[:] = True
    results.landmark_errors[-1] = results.landmarks[-1] = np.nan
    results.set_failure(count - 1, Failure("no face found"))
    return results


def table_rows(markdown, title):
    """The cells of the rows of the first table below a heading."""
    lines = markdown.split(f"## {title}\n")[1].split("\n## ")[0].splitlines()
    return [
        [cell.strip() for cell in line.strip("|").replace("\\|", "!").split("|")] for line in lines if line[:1] == "|"
    ]


def test_the_table_says_what_was_measured_and_how():
    results = make_results()
    text = markdown_report([results])
    rows = table_rows(text, "NME in per cent")
    columns = [column.title for column in results.columns]
    assert [row[0] for row in rows[2:]] == [*columns, f"{CONSTANT}, sparse 2D", f"{CONSTANT}, sparse 3D"]
    errors = results.of(Column(EvaluationType.SPARSE_2D))[:-1]
    assert rows[2][5] == f"{errors.mean():.2f} ± {errors.std():.2f}"
    assert rows[2][6:8] == ["1", f"{100 * (np.sum(errors > 10) + 1) / 20:.1f} %"]
    assert "n = " in rows[0][1]
    parts = landmark_agreements(results.landmarks, results.true_landmarks)
    assert rows[0][-2:] == ["mouth", "eyes"]
    assert rows[2][-2:] == rows[3][-2:] == [each.text for each in parts.values()]
    assert [row[-1] != "" for row in rows[2:]] == ["sparse" in row[0] for row in rows[2:]]
    assert rows[-1][-2:] == [each.text for each in constant_parts(results).values()]
    for part in (
        *results.origin.protocol.statement,
        "hash of ours",
        "hash of images",
        "0.75 % sparse 2D",
        "no face found",
    ):
        assert part in text


def constant_parts(results):
    return landmark_agreements(constant_landmarks(results), results.true_landmarks)


def test_csv_holds_the_same_numbers():
    results = make_results()
    rows = list(csv.DictReader(io.StringIO(csv_report([results]))))
    assert [row["type"] for row in rows[: len(results.columns)]] == [column.title for column in results.columns]
    assert float(rows[0]["mean"]) == pytest.approx(results.of(Column(EvaluationType.SPARSE_2D))[:-1].mean(), abs=1e-4)
    assert (rows[0]["protocol"], rows[0]["z_origin"], rows[0]["without_result"]) == ("standard", "min", "1")
    assert (rows[0]["method_hash"], rows[0]["images_hash"]) == ("hash of ours", "hash of images")
    mouth = landmark_agreements(results.landmarks, results.true_landmarks)["mouth"]
    assert (float(rows[0]["mouth_slope"]), float(rows[0]["mouth_error"])) == (
        pytest.approx(mouth.slope, abs=1e-4),
        pytest.approx(mouth.error, abs=1e-4),
    )
    assert rows[2]["type"] == "dense 3D"
    assert rows[2]["eyes_error"] == ""
    published = list(csv.DictReader(io.StringIO(csv_report([aflw2000()]))))[-1]
    assert (published["method"], published["type"], published["mean"]) == ("SADRNet", "reconstruction 3D", "3.25")
    images = list(csv.DictReader(io.StringIO(csv_of_images(results))))
    assert (images[-1]["sparse 2D"], images[-1]["problem"]) == ("inf", "no face found")
    assert images[-1]["mouth"] == "nan"
    assert float(images[3]["true eyes"]) > 0
    assert float(images[3]["dense 3D"]) == pytest.approx(results.of(Column(EvaluationType.DENSE_3D))[3], abs=1e-4)


def test_the_constant_map_is_the_best_constant():
    results = make_results(types=(0, 1))
    errors = constant_errors(results)
    crops = [crop_transform(Box(box[:2], box[2]), 256) for box in results.boxes]
    inside = np.stack(
        [transform_points(crop, points) for crop, points in zip(crops, results.true_landmarks, strict=True)]
    )
    constant = inside.mean(axis=0)
    scales = np.array([np.sqrt(np.linalg.det(crop[:, :2])) for crop in crops])
    expected = np.linalg.norm(constant[:, :2] - inside[..., :2], axis=-1).mean(axis=1) / scales
    np.testing.assert_allclose(errors[Column(EvaluationType.SPARSE_2D)], expected, rtol=1e-4)
    assert (errors[Column(EvaluationType.SPARSE_3D)] > errors[Column(EvaluationType.SPARSE_2D)]).all()
    assert f"{CONSTANT}: {expected.mean():.2f} %" in closing_lines(results)[0]


def test_a_constant_face_costs_the_constant_map_nothing():
    results = make_results(types=(0, 1))
    face = results.true_landmarks[0]
    for row in range(len(results.names)):
        results.true_landmarks[row] = face * np.float32(1 + 0.1 * row) + np.float32([5 * row, -3 * row, 7 * row])
        box = landmark_box(results.true_landmarks[row])
        results.boxes[row] = *box.centre, box.side
    for errors in constant_errors(results).values():
        np.testing.assert_allclose(errors, 0, atol=1e-4)


def aflw2000(**options):
    return make_results(2000, names=[f"image{number:05d}" for number in range(2000)], **options)


def test_published_rows_stand_only_beside_numbers_of_their_protocol():
    standard, other = PROTOCOLS["standard"], PROTOCOLS["prnet-keras"]
    shown = {reference.protocol for reference in references_for(aflw2000())}
    assert shown == {"standard"}
    assert {reference.protocol for reference in references_for(aflw2000(protocol=other))} == {"prnet-keras"}
    assert references_for(make_results()) == []  # other images
    assert references_for(make_results(6, names=[f"image{number:05d}" for number in range(6)])) == []  # a few of them
    assert references_for(aflw2000(protocol=replace(standard, landmarks="reannotated.npy"))) == []
    by_file = references_for(aflw2000(protocol=replace(standard, yaw="new.pose.npy")))
    assert by_file
    assert all(reference.bins is None for reference in by_file)
    by_mean = references_for(aflw2000(protocol=replace(standard, depth_origin="mean")))
    assert {reference.type for reference in by_mean} == {EvaluationType.SPARSE_2D, EvaluationType.DENSE_2D}
    text = markdown_report([aflw2000()])
    assert "| *SynergyNet* (Wu et al., 3DV 2021) | 2.65 | 3.30 | 4.27 | 3.41 |" in text
    assert "PRNet-keras" not in text
    assert "Published results are not shown" in markdown_report([make_results()])
    assert all(reference.protocol in PROTOCOLS for reference in REFERENCES)


def test_methods_are_compared_only_where_they_were_measured_alike():
    ours, theirs = make_results(), make_results(method="theirs", seed=1)
    require_comparable([ours, theirs])
    rows = table_rows(markdown_report([ours, theirs]), "Sparse 2D")
    assert [row[0] for row in rows[2:]] == ["ours", "theirs", CONSTANT]
    otherwise = make_results(method="theirs", protocol=PROTOCOLS["prnet-keras"])
    with pytest.raises(UserError, match="another protocol"):
        require_comparable([ours, otherwise])
    theirs.origin = replace(theirs.origin, subjects_identity="other images")
    with pytest.raises(UserError, match="other images"):
        require_comparable([ours, theirs])
    ours.done[3] = False
    with pytest.raises(UserError, match="not finished"):
        require_comparable([ours])


def test_results_come_back_from_their_file(tmp_path):
    results = make_results()
    results.save(tmp_path / "results.npz")
    found = load_results(tmp_path)
    assert found.origin == results.origin
    assert found.origin.key == results.origin.key
    assert (found.names, found.problems) == (results.names, results.problems)
    for name in ("errors", "landmarks", "true_landmarks", "boxes", "done", "vertex_error_sum", "map_errors", "yaw"):
        np.testing.assert_array_equal(getattr(found, name), getattr(results, name))
    assert markdown_report([found]) == markdown_report([results])


def test_the_key_changes_with_each_of_the_three():
    origin = make_results().origin
    changes = [
        {"method_identity": "another"},
        {"subjects_identity": "another"},
        {"protocol": replace(origin.protocol, depth_origin="mean")},
        {"types": (0,)},
    ]
    keys = {origin.key} | {replace(origin, **change).key for change in changes}
    assert len(keys) == 5
    assert replace(origin, method="another name").key == origin.key


@pytest.mark.parametrize("content", [b"", b"not a zip archive"])
def test_a_damaged_results_file_is_named(tmp_path, content):
    (tmp_path / "results.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"results\.npz: is no readable results file"):
        load_results(tmp_path)
    with pytest.raises(UserError, match="no such results"):
        load_results(tmp_path / "elsewhere")


@pytest.mark.parametrize("yaw", [np.zeros(1), np.array(["a", "b"]), np.zeros((2, 2))])
def test_results_of_another_shape_or_kind_are_damaged(tmp_path, yaw):
    Results(Origin("method", "1", "2", PROTOCOLS["standard"], (0, 3), "a file"), ["a", "b"], np.zeros(2)).save(
        tmp_path / "results.npz"
    )
    with np.load(tmp_path / "results.npz") as arrays:
        np.savez(tmp_path / "results.npz", **{**arrays, "yaw": yaw})
    with pytest.raises(UserError, match=r"results\.npz: is no readable results file.*yaw is"):
        load_results(tmp_path)


def is_drawn(path):
    """Whether a picture has more than one colour and is not mostly one line of them."""
    picture = cv2.imread(str(path))
    return picture is not None and min(picture.shape[:2]) > 200 and picture.std() > 5


def test_pictures_are_drawn(tmp_path):
    layout = layout_of_model(make_small_model())
    results = make_results()
    pictures.draw_curves([results], tmp_path / "one.png")
    pictures.draw_curves([results, make_results(method="theirs", seed=1)], tmp_path / "two.png")
    pictures.draw_landmark_errors(results, layout, tmp_path / "landmarks.png")
    pictures.draw_landmark_errors(results, None, tmp_path / "plain.png")
    pictures.draw_yaw_errors(results, tmp_path / "yaw.png")
    pictures.draw_error_map(results, layout, tmp_path / "map.png")
    drawn = sorted(path.name for path in tmp_path.iterdir() if is_drawn(path))
    assert drawn == ["landmarks.png", "map.png", "one.png", "plain.png", "two.png", "yaw.png"]


def test_pictures_of_nothing_do_not_fail(tmp_path):
    results = make_results(3)
    for index in range(3):
        results.set_failure(index, Failure("no face found"))
    results.landmark_errors[:] = np.nan
    results.vertex_error_count = 0
    pictures.draw_curves([results], tmp_path / "ced.png")
    pictures.draw_yaw_errors(results, tmp_path / "yaw.png")
    pictures.draw_landmark_errors(results, None, tmp_path / "landmarks.png")
    pictures.draw_error_map(results, layout_of_model(make_small_model()), tmp_path / "map.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ced.png", "yaw.png"]


def test_examples_are_spread_over_yaw_and_not_the_best():
    results = make_results(50)
    chosen = pictures.example_indices(results, 5)
    yaw = np.abs(results.yaw[chosen])
    assert len(set(chosen)) == 5
    assert (np.diff(yaw) > 0).all()
    assert 49 not in chosen  # the image without a result
    assert yaw[0] == np.abs(results.yaw[:-1]).min()
    assert yaw[-1] == np.abs(results.yaw[:-1]).max()
