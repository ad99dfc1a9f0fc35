"""The script from end to end: a perfect prediction scores 0, failures are reported, a stop costs nothing, old numbers
do not come back, and bad input gets one line.
"""

import csv
from dataclasses import replace

import numpy as np
import pytest

from prnet.commands import evaluate_model
from prnet.common.errors import UserError
from prnet.evaluating import evaluation, pictures
from prnet.evaluating.methods import NetworkMethod, PredictionFile, write_predictions
from prnet.evaluating.protocols import PROTOCOLS
from prnet.evaluating.reports import write_comparison
from prnet.evaluating.results import load_results
from prnet.evaluating.scoring import Column, Failure
from prnet.evaluating.subjects import DatasetSubjects, PairSubjects, Subject
from prnet.evaluating.types import EvaluationType
from prnet.formats.face_model_file import save_face_model
from prnet.formats.pairs import find_pairs
from prnet.generating.builder import build_dataset
from prnet.generating.dataset import open_dataset
from prnet.geometry.crop import Box, crop_transform, transform_points
from prnet.geometry.position_map import layout_of_model
from prnet.geometry.uv_layout import face_mask
from tests.helpers.perfect_network import mean_face_map, save_mean_face_network
from tests.helpers.small_faces import make_small_model, small_files, write_folder
from tests.helpers.tiny_data import write_tiny_data

COUNT = 7


@pytest.fixture(scope="module")
def model():
    """A small face model whose face is 9,216 texels of the grid."""
    weights = np.zeros((256, 256), np.float32)
    weights[80:176, 80:176] = 3
    return replace(make_small_model(), region_weights=weights)


@pytest.fixture(scope="module")
def face(model):
    return np.flatnonzero(face_mask(layout_of_model(model), 256))


@pytest.fixture(scope="module")
def data(tmp_path_factory, model):
    """A folder with val.hdf5 of 7 faces and face_model.hdf5."""
    folder = tmp_path_factory.mktemp("data")
    write_tiny_data(folder, model, count=COUNT, file="val.hdf5")
    return folder


@pytest.fixture(scope="module")
def truth(data, model, face):
    """Names, true landmarks (N, 68, 3) and true face vertices (N, V, 3) of the data."""
    with open_dataset(data / "val.hdf5") as dataset:
        found = DatasetSubjects(dataset, model, layout_of_model(model)).read(np.arange(COUNT))
    landmarks = np.stack([subject.truth.landmarks for subject in found])
    return [subject.name for subject in found], landmarks, np.stack([subject.truth.mesh[face] for subject in found])


@pytest.fixture(autouse=True)
def drawn(request, monkeypatch):
    """Names of the pictures that were asked for; they are drawn only in the tests that look at them."""
    names = []
    if not request.node.name.startswith(("test_a_network_from_file", "test_landmarks_are_drawn")):
        for name in dir(pictures):
            if name.startswith("draw_"):
                monkeypatch.setattr(pictures, name, lambda *_, name=name: names.append(name))
    return names


def write_npz(path, names, landmarks, vertices=None):
    vertices = {} if vertices is None else {"vertices": vertices}
    np.savez(path, names=np.array(names), landmarks=landmarks, **vertices)
    return str(path)


def arguments(data, output, *more):
    return [
        *more,
        "--hdf5",
        str(data / "val.hdf5"),
        "--facemodel",
        str(data / "face_model.hdf5"),
        "--outputdir",
        str(output),
    ]


def means(folder):
    """Mean over images of each type in benchmark.csv."""
    with open(folder / "benchmark.csv", newline="", encoding="utf-8") as file:
        return {(row["method"], row["type"]): float(row["mean"]) for row in csv.DictReader(file)}


def test_the_truth_given_as_predictions_scores_0(data, truth, tmp_path):
    file = write_npz(tmp_path / "perfect.npz", *truth)
    assert evaluate_model.main(arguments(data, tmp_path, "--predictions", file)) == 0
    found = {title: mean for (method, title), mean in means(tmp_path).items() if method == "perfect"}
    assert len(found) == 10
    assert max(found.values()) <= 2e-4


@pytest.mark.parametrize("origin", ["min", "mean", "none"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_truth_scores_0_under_every_protocol(parts, truth, tmp_path, protocol, origin):
    with PredictionFile(write_npz(tmp_path / "perfect.npz", *truth)) as method:
        chosen = replace(PROTOCOLS[protocol], depth_origin=origin)
        results = run_evaluation(parts, method, tmp_path, protocol=chosen)
    assert results.errors.shape == (COUNT, 4)
    assert results.errors.max() <= 2e-4


def test_a_network_from_file_to_tables_and_pictures(data, tmp_path, capsys, model, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    save_mean_face_network(layout_of_model(model), run / "best.keras")
    output, saved = tmp_path / "out", tmp_path / "saved.npz"
    more = ["--modeldir", str(run), "--batchsize", "3", "--save-predictions", str(saved), "--with-vertices"]
    more += ["--evalidxs", "0", "1", "2", "3", "4", "5", "--serverlog", "0", "--shiftZ", "1"]
    assert evaluate_model.main(arguments(data, output, *more)) == 0
    printed = capsys.readouterr().out
    assert "run, sparse 2D:" in printed
    assert "constant mean map:" in printed
    wanted = ["benchmark.csv", "benchmark.md", "ced.png", "contact_sheet.png", "error_map.png", "examples.png"]
    wanted += ["images.csv", "landmark_errors.png", "results.npz", "yaw_errors.png"]
    assert sorted(path.name for path in output.iterdir()) == wanted
    assert [path.name for path in tmp_path.glob("saved*")] == ["saved.npz"]

    numbers = {title: mean for (method, title), mean in means(output).items() if method == "run"}
    assert 5 < numbers["sparse 2D"] < 60  # a face that always looks ahead
    monkeypatch.setattr(
        "prnet.evaluating.reports.write_report", lambda folder, results, *_: write_comparison(folder, [results])
    )
    again = tmp_path / "again"
    assert evaluate_model.main(arguments(data, again, "--predictions", str(saved), "--name", "run")) == 0
    repeated = means(again)
    for title, mean in numbers.items():
        assert repeated["run", title] == pytest.approx(mean, rel=1e-3)

    assert evaluate_model.main(["--compare", str(output), str(again), "--outputdir", str(tmp_path / "both")]) == 0
    assert (tmp_path / "both" / "ced.png").stat().st_size > 0
    assert "## Reconstruction 3D" in (tmp_path / "both" / "benchmark.md").read_text(encoding="utf-8")


class Perfect(NetworkMethod):
    """A network that knows the truth of the crops it is shown, in the order of the data."""

    def __init__(self, subjects, layout, size=256):
        super().__init__("perfect", "perfect", None, layout, size)
        self._subjects = subjects
        self.seen = []

    def predict_maps(self, subjects):
        self.seen += [subject.name for subject in subjects]
        found = []
        for subject in subjects:
            crop = crop_transform(subject.box, self.size)
            found.append((transform_points(crop, subject.truth.mesh).reshape(256, 256, 3), crop))
        return found


@pytest.fixture
def parts(data, model):
    layout = layout_of_model(model)
    with open_dataset(data / "val.hdf5") as dataset:
        yield DatasetSubjects(dataset, model, layout), layout


def run_evaluation(parts, method, folder, **options):
    subjects, layout = parts
    chosen = {"types": (0, 1, 2, 3), "protocol": PROTOCOLS["standard"], "batch_size": 2} | options
    return evaluation.evaluate(subjects, method, layout=layout, path=folder / "results.npz", **chosen)


def test_a_perfect_network_pays_what_the_map_costs_and_nothing_else(parts, tmp_path):
    results = run_evaluation(parts, Perfect(*parts), tmp_path, types=range(6))
    np.testing.assert_allclose(results.of(Column(EvaluationType.SPARSE_2D)), results.map_errors[:, 0], atol=1e-3)
    np.testing.assert_allclose(results.of(Column(EvaluationType.SPARSE_3D)), results.map_errors[:, 1], atol=1e-3)
    assert results.errors[:, 2:].max() < 2e-4
    assert results.vertex_error_count == COUNT
    assert results.vertex_error_sum.max() < 1e-2


def test_the_depth_of_true_landmarks_begins_where_the_maps_does(parts, tmp_path):
    for subject in parts[0].read(np.arange(COUNT)):
        assert subject.truth.mesh[:, 2].min() == 0
        depth, expected = subject.truth.landmarks[:, 2], subject.truth.mesh_landmarks[:, 2]
        assert depth.mean() == pytest.approx(expected.mean(), abs=1e-3)
    unmoved = replace(PROTOCOLS["standard"], depth_origin="none")
    results = run_evaluation(parts, Perfect(*parts), tmp_path, protocol=unmoved)
    np.testing.assert_allclose(results.of(Column(EvaluationType.SPARSE_3D)), results.map_errors[:, 1], atol=1e-3)
    assert results.of(Column(EvaluationType.SPARSE_3D)).max() < 5


@pytest.mark.parametrize("white", [np.full((90, 90, 3), 255, np.uint8), np.ones((90, 90, 3), np.float32)])
def test_a_network_is_shown_the_crop_in_0_to_1(parts, white):
    seen = []

    def predict(images):
        seen.append(images)
        return np.zeros_like(images)

    subject = Subject("white", white, Box(np.array([45.0, 45.0]), 30.0))
    NetworkMethod("eye", "", predict, parts[1], 128).predict([subject])
    assert (seen[0].shape, seen[0].dtype) == ((1, 128, 128, 3), np.float32)
    np.testing.assert_allclose(seen[0], 1, atol=1e-6)


def test_a_stopped_evaluation_resumes_where_it_was(parts, tmp_path, monkeypatch):
    whole = run_evaluation(parts, Perfect(*parts), tmp_path / "whole")
    monkeypatch.setattr(evaluation, "SAVE_EVERY", 0)
    method = Perfect(*parts)

    def stop(results):
        if results.done.sum() >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_evaluation(parts, method, tmp_path, progress=stop)
    assert method.seen == parts[0].names[:4]
    method = Perfect(*parts)
    results = run_evaluation(parts, method, tmp_path)
    assert method.seen == parts[0].names[4:]
    np.testing.assert_array_equal(results.errors, whole.errors)
    np.testing.assert_array_equal(results.landmarks, whole.landmarks)
    np.testing.assert_allclose(results.vertex_error_sum, whole.vertex_error_sum)
    method = Perfect(*parts)
    run_evaluation(parts, method, tmp_path)
    assert method.seen == []  # finished: nothing to do


def test_vertices_of_a_stopped_evaluation_are_all_there(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "SAVE_EVERY", 0)
    path = tmp_path / "saved.npz"
    options = {"predictions_path": path, "with_vertices": True}

    def stop(results):
        if results.done.sum() >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_evaluation(parts, Perfect(*parts), tmp_path, progress=stop, **options)
    assert not path.exists()
    run_evaluation(parts, Perfect(*parts), tmp_path, **options)
    with PredictionFile(path) as method:
        results = run_evaluation(parts, method, tmp_path / "again")
    assert results.errors[:, 2:].max() < 2e-4
    assert [file.name for file in tmp_path.glob("saved*")] == ["saved.npz"]


@pytest.mark.parametrize(
    "before", ["without vertices", "stopped, then without vertices", "stopped, then its file removed"]
)
def test_vertices_that_nobody_wrote_are_not_taken_for_kept_ones(parts, tmp_path, monkeypatch, before):
    """A file of zeros lies there after a kill in its first seconds; results of other runs are no sign of vertices."""
    path = tmp_path / "saved.npz"
    options = {"predictions_path": path, "with_vertices": True}

    def stop(results):
        raise KeyboardInterrupt

    if before.startswith("stopped"):
        with pytest.raises(KeyboardInterrupt):
            run_evaluation(parts, Perfect(*parts), tmp_path, progress=stop, **options)
    if before.endswith("removed"):
        next(tmp_path.glob(".saved.npz.*.partial.npy")).unlink()
    else:
        origin = run_evaluation(parts, Perfect(*parts), tmp_path).origin
        kept = tmp_path / f".saved.npz.{origin.key}.partial.npy"
        assert kept.exists() == before.startswith("stopped")
        kept.touch()
    run_evaluation(parts, Perfect(*parts), tmp_path, **options)
    with PredictionFile(path) as method:
        results = run_evaluation(parts, method, tmp_path / "again")
    assert results.errors[:, 2:].max() < 2e-4


def test_a_finished_evaluation_with_vertices_has_nothing_to_do(parts, tmp_path):
    options = {"predictions_path": tmp_path / "saved.npz", "with_vertices": True}
    run_evaluation(parts, Perfect(*parts), tmp_path, **options)
    first, method = options["predictions_path"].read_bytes(), Perfect(*parts)
    run_evaluation(parts, method, tmp_path, **options)
    assert method.seen == []
    assert options["predictions_path"].read_bytes()[:1000] == first[:1000]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["results.npz", "saved.npz"]
    options["predictions_path"].write_bytes(b"something else")
    run_evaluation(parts, method, tmp_path, **options)
    assert method.seen == parts[0].names


def test_what_had_no_result_is_tried_again(parts, tmp_path):
    whole = run_evaluation(parts, Perfect(*parts), tmp_path / "whole")
    method = Perfect(*parts)
    correct = method.predict_maps
    method.predict_maps = lambda subjects: [
        Failure("no memory") if subject.name == "tiny_3" else found
        for subject, found in zip(subjects, correct(subjects), strict=True)
    ]
    results = run_evaluation(parts, method, tmp_path)
    assert (results.problems, np.isinf(results.errors[3]).all()) == ({"tiny_3": "no memory"}, True)
    method = Perfect(*parts)
    results = run_evaluation(parts, method, tmp_path)
    assert method.seen == ["tiny_3"]
    assert results.problems == {}
    np.testing.assert_allclose(results.errors, whole.errors, atol=1e-5)
    np.testing.assert_allclose(results.vertex_error_sum, whole.vertex_error_sum, atol=1e-4)


@pytest.mark.parametrize("change", ["method", "images", "protocol"])
def test_nothing_is_taken_from_an_older_run_of_something_else(parts, tmp_path, change):
    run_evaluation(parts, Perfect(*parts), tmp_path)
    method, options = Perfect(*parts), {}
    if change == "method":
        method.identity = "another"
    elif change == "images":
        parts[0].identity = "others"
    else:
        options = {"protocol": PROTOCOLS["prnet-keras"]}
    run_evaluation(parts, method, tmp_path, **options)
    assert method.seen == parts[0].names


def test_a_file_without_a_photo_or_with_nan_is_a_failure(data, truth, tmp_path):
    names, landmarks, _ = truth
    landmarks = landmarks.copy()
    landmarks[2, 5, 0] = np.nan
    file = write_npz(tmp_path / "some.npz", names[:-1], landmarks[:-1])
    assert evaluate_model.main(arguments(data, tmp_path, "--predictions", file, "--evalidxs", "0")) == 1
    results = load_results(tmp_path)
    assert sorted(results.problems) == sorted([names[2], names[-1]])
    np.testing.assert_array_equal(
        np.isinf(results.of(Column(EvaluationType.SPARSE_2D))), [name in results.problems for name in names]
    )
    text = (tmp_path / "benchmark.md").read_text(encoding="utf-8")
    assert f"- {names[-1]}: {file} has no {names[-1]}" in text


def test_a_network_that_gives_nan_or_a_point_is_a_failure(parts, tmp_path):
    method = Perfect(*parts)
    correct = method.predict_maps

    def predict_maps(subjects):
        found = correct(subjects)
        return [
            Failure("the network's output is not finite")
            if subject.name == "tiny_1"
            else (np.zeros_like(map_), crop)
            if subject.name == "tiny_2"
            else (map_, crop)
            for subject, (map_, crop) in zip(subjects, found, strict=True)
        ]

    method.predict_maps = predict_maps
    results = run_evaluation(parts, method, tmp_path, types=range(6))
    assert set(results.problems) == {"tiny_1", "tiny_2"}
    assert np.isinf(results.errors[1:3]).all()
    assert np.isfinite(results.errors[3:]).all()


def small_folder(folder):
    return write_folder(folder, small_files([f"AFLW2000/image{number:05d}" for number in range(4)], landmarks=True))


def test_a_folder_is_read_without_a_face_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos = small_folder(tmp_path / "photos")
    with find_pairs(photos) as source:
        subjects = PairSubjects(source, None, None)
        landmarks = np.stack([subject.truth.landmarks for subject in subjects.read(np.arange(4))])
        names = subjects.names
    file = write_npz(tmp_path / "other.npz", names, landmarks + np.float32([1, 0, 0]))
    command = ["--predictions", file, "--datadir", str(photos), "--outputdir", str(tmp_path / "out")]
    assert evaluate_model.main([*command, "--evalidxs", "0", "1"]) == 0
    width, height = np.moveaxis(np.ptp(landmarks[..., :2], axis=1), -1, 0)
    expected = np.mean(100 / np.sqrt(width * height))
    assert means(tmp_path / "out")["other", "sparse 2D"] == pytest.approx(expected, abs=1e-3)
    with pytest.raises(UserError, match=r"^`types` 2 3 4 5 \(dense 2D, .*needs the true mesh; give `face_model`"):
        evaluate_model.main(command)
    with pytest.raises(UserError, match="`protocol` prnet-keras.*`face_model`"):
        evaluate_model.main([*command, "--evalidxs", "0", "--protocol", "prnet-keras"])


def test_other_photos_are_other_subjects(tmp_path):
    photos = small_folder(tmp_path / "photos")
    before = _pairs_identity(photos)
    assert _pairs_identity(photos) == before
    photo = photos / "AFLW2000" / "image00001.jpg"
    content = photo.read_bytes()
    photo.write_bytes(content + b"\0")
    assert _pairs_identity(photos) != before
    photo.write_bytes(content[:-1] + b"\0")  # as long as before
    assert _pairs_identity(photos) != before


def _pairs_identity(folder) -> str:
    with find_pairs(folder) as source:
        return PairSubjects(source, None, None).identity


def test_photos_of_one_name_in_folders_of_one_name_are_told_apart(tmp_path, model):
    folder = write_folder(tmp_path / "photos", small_files(["A/x/img", "B/x/img", "B/y/img", "c"], landmarks=True))
    with find_pairs(folder) as source:
        assert PairSubjects(source, None, None).names == ["A/x/img", "B/x/img", "y/img", "c"]
    build_dataset([folder], tmp_path / "val.hdf5", model, progress=False)
    with open_dataset(tmp_path / "val.hdf5") as dataset:
        assert DatasetSubjects(dataset, model, None).names == ["x/img", "x/img (2)", "y/img", "c"]


def test_landmarks_are_measured_beside_a_face_model_of_other_photos(tmp_path, monkeypatch, sample_model, caplog):
    """The default one, which nobody named; one that is named is meant."""
    photos = small_folder(tmp_path / "photos")
    save_face_model(sample_model, tmp_path / "other.hdf5")
    with find_pairs(photos) as source:
        subjects = PairSubjects(source, None, None)
        landmarks = np.stack([subject.truth.landmarks for subject in subjects.read(np.arange(4))])
    file = write_npz(tmp_path / "same.npz", subjects.names, landmarks)
    command = ["--predictions", file, "--datadir", str(photos), "--outputdir", str(tmp_path / "out")]
    monkeypatch.setattr(evaluate_model, "FACE_MODEL_PATH", str(tmp_path / "other.hdf5"))
    assert evaluate_model.main([*command, "--types", "0", "1"]) == 0
    assert "not the face model of these fits" in caplog.text
    with pytest.raises(UserError, match="give the face model that the photos were fitted with"):
        evaluate_model.main([*command, "--types", "0", "1", "--face-model", str(tmp_path / "other.hdf5")])
    with pytest.raises(UserError, match="give the face model that the photos were fitted with"):
        evaluate_model.main([*command, "--types", "2"])


def test_a_photo_and_its_mirror_image_have_names_of_their_own(tmp_path, model):
    names = [f"300W_LP/{folder}/{name}" for folder in ("AFW", "AFW_Flip") for name in ("a_1", "b_1")]
    folder = write_folder(tmp_path / "photos", small_files([*names, "300W_LP/AFW/c_1"], landmarks=True))
    expected = ["AFW/a_1", "AFW/b_1", "c_1", "AFW_Flip/a_1", "AFW_Flip/b_1"]
    with find_pairs(folder) as source:
        assert PairSubjects(source, None, None).names == expected
    build_dataset([folder], tmp_path / "val.hdf5", model, progress=False)
    with open_dataset(tmp_path / "val.hdf5") as dataset:
        assert DatasetSubjects(dataset, model, None).names == expected


def test_folder_and_data_set_give_the_same_numbers(tmp_path, model):
    from prnet.commands import build_dataset

    folder = small_folder(tmp_path / "photos")
    save_face_model(model, tmp_path / "face_model.hdf5")
    build = ["--extractdir", str(folder), "--hdf5dir", str(tmp_path), "--buildmode", "val"]
    build_dataset.main([*build, "--facemodel", str(tmp_path / "face_model.hdf5")])
    layout = layout_of_model(model)
    with open_dataset(tmp_path / "val.hdf5") as dataset, find_pairs(folder) as source:
        stored, read = DatasetSubjects(dataset, model, layout, 128), PairSubjects(source, model, layout, 128)
        assert stored.names == read.names
        np.testing.assert_allclose(stored.yaw, read.yaw, atol=1e-4)
        for one, other in zip(stored.read(np.arange(4)), read.read(np.arange(4)), strict=True):
            np.testing.assert_array_equal(one.photo, other.photo)
            np.testing.assert_allclose([*one.box.centre, one.box.side], [*other.box.centre, other.box.side], rtol=1e-5)
            for name in ("landmarks", "mesh", "mesh_landmarks", "grid_landmarks"):
                np.testing.assert_allclose(getattr(one.truth, name), getattr(other.truth, name), atol=2e-4)


def test_data_sets_of_every_mode_give_the_same_numbers(tmp_path, model):
    from prnet.commands import build_dataset

    folder = small_folder(tmp_path / "photos")
    save_face_model(model, tmp_path / "face_model.hdf5")
    layout = layout_of_model(model)
    constant = mean_face_map(layout, 256)
    method = NetworkMethod("constant", "", lambda images: np.broadcast_to(constant, images.shape), layout, 256)
    errors = []
    for mode in (5, 4, 1, 0):
        build = ["--extractdir", str(folder), "--hdf5dir", str(tmp_path), "--buildmode", "val", "--overwrite"]
        build_dataset.main([*build, "--facemodel", str(tmp_path / "face_model.hdf5"), "--datamode", str(mode)])
        with open_dataset(tmp_path / "val.hdf5") as dataset:
            subjects = DatasetSubjects(dataset, model, layout)
            results = run_evaluation((subjects, layout), method, tmp_path / f"mode{mode}")
        errors.append(results.errors)
    for other in errors[1:]:
        np.testing.assert_allclose(other, errors[0], rtol=5e-3)


def test_a_broken_photo_is_a_failure_and_a_broken_fit_is_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos = small_folder(tmp_path / "photos")
    with find_pairs(photos) as source:
        subjects = PairSubjects(source, None, None)
        landmarks = np.stack([subject.truth.landmarks for subject in subjects.read(np.arange(4))])
    broken = photos / "AFLW2000" / "image00001.jpg"
    broken.write_bytes(broken.read_bytes()[:500])
    (photos / "AFLW2000" / "image00002.mat").write_bytes(b"no fit")
    file = write_npz(tmp_path / "other.npz", subjects.names, landmarks)
    command = ["--predictions", file, "--datadir", str(photos), "--evalidxs", "0", "--outputdir", str(tmp_path / "out")]
    assert evaluate_model.main(command) == 1
    results = load_results(tmp_path / "out")
    assert results.names == ["image00000", "image00001", "image00003"]
    assert list(results.problems) == ["image00001"]
    text = (tmp_path / "out" / "benchmark.md").read_text(encoding="utf-8")
    assert "image00002.mat" in text.split("## Left out")[1]


def test_golden_values_of_2000_images_through_the_script(shared_data, tmp_path):
    """Original landmarks as predictions against the re-annotated truth and the reverse; see the README of the data."""
    folder = shared_data / "landmarks"
    reannotated = np.load(folder / "AFLW2000-3D-Reannotated.pts68.npy").transpose(0, 2, 1) - 1
    names = [f"image{number:05d}" for number in range(2000)]
    file = write_npz(tmp_path / "reannotated.npz", names, reannotated)
    command = ["--predictions", file, "--landmarkfile", str(folder / "AFLW2000-3D.pts68.npy"), "--evalidxs", "0"]
    for yaw, mean_of_bins in (("AFLW2000-3D.pose.npy", 3.3806), ("AFLW2000-3D-new.pose.npy", 3.4471)):
        output = tmp_path / yaw
        assert evaluate_model.main([*command, "--yawfile", str(folder / yaw), "--outputdir", str(output)]) == 0
        with open(output / "benchmark.csv", newline="", encoding="utf-8") as found:
            row = next(csv.DictReader(found))
        assert (float(row["mean"]), float(row["mean_of_bins"])) == (3.0884, mean_of_bins)


def test_landmark_files_replace_the_truth(data, truth, tmp_path):
    names, landmarks, _ = truth
    moved = landmarks[..., :2] + np.float32([4, 3])
    np.save(tmp_path / "new.npy", moved.transpose(0, 2, 1) + 1)
    np.save(tmp_path / "yaw.npy", np.full(COUNT, 70.0))
    file = write_npz(tmp_path / "perfect.npz", names, landmarks)
    more = ["--predictions", file, "--evalidxs", "0", "--landmarkfile", str(tmp_path / "new.npy")]
    assert evaluate_model.main(arguments(data, tmp_path, *more, "--yawfile", str(tmp_path / "yaw.npy"))) == 0
    results = load_results(tmp_path)
    width, height = np.moveaxis(np.ptp(moved, axis=1), -1, 0)
    np.testing.assert_allclose(results.of(Column(EvaluationType.SPARSE_2D)), 500 / np.sqrt(width * height), rtol=1e-4)
    assert (results.yaw == 70).all()
    assert (results.origin.protocol.landmarks, results.origin.protocol.yaw) == ("new.npy", "yaw.npy")
    np.save(tmp_path / "yaw.npy", np.zeros(3))
    with pytest.raises(UserError, match=r"yaw\.npy: has 3 rows for 7 images"):
        evaluate_model.main(arguments(data, tmp_path, *more, "--yawfile", str(tmp_path / "yaw.npy")))
    with pytest.raises(UserError, match="sparse 3D"):
        evaluate_model.main(arguments(data, tmp_path, *more[:3], "1", *more[4:]))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda names, landmarks, vertices: {"landmarks": landmarks}, "has no array names"),
        (lambda names, landmarks, vertices: {"names": names, "landmarks": landmarks[:, :5]}, "landmarks must be"),
        (lambda names, landmarks, vertices: {"names": names[:3], "landmarks": landmarks}, "landmarks must be"),
        (lambda names, landmarks, vertices: {"names": ["a"] * 7, "landmarks": landmarks}, "a name twice"),
        (
            lambda names, landmarks, vertices: {"names": ["a\n", *names[1:]], "landmarks": landmarks},
            "not text in one line",
        ),
        (
            lambda names, landmarks, vertices: {"names": ["\ud800", *names[1:]], "landmarks": landmarks},
            "not text in one",
        ),
        (
            lambda names, landmarks, vertices: {"names": [f"{name}.jpg" for name in names], "landmarks": landmarks},
            "without suffix",
        ),
        (
            lambda names, landmarks, vertices: {"names": names, "landmarks": landmarks, "vertices": vertices[:, :9]},
            "vertices must be of shape",
        ),
        (
            lambda names, landmarks, vertices: {"names": names, "landmarks": landmarks, "vertices": vertices[:3]},
            "vertices must be floats",
        ),
    ],
)
def test_bad_predictions_get_one_line(data, truth, tmp_path, spoil, message):
    path = tmp_path / "bad.npz"
    np.savez(path, **spoil(*truth))
    types = ["2"] if "vertices" in message else ["0"]
    with pytest.raises(UserError, match=message) as error:
        evaluate_model.main(arguments(data, tmp_path, "--predictions", str(path), "--evalidxs", *types))
    assert "\n" not in str(error.value)


def test_a_name_that_is_not_utf8_is_of_no_photo(data, truth, tmp_path):
    names, landmarks, _ = truth
    np.savez(tmp_path / "odd.npz", names=[b"\xff\xfe", *map(str.encode, names[1:])], landmarks=landmarks)
    command = arguments(data, tmp_path, "--predictions", str(tmp_path / "odd.npz"), "--evalidxs", "0")
    assert evaluate_model.main(command) == 1
    assert list(load_results(tmp_path).problems) == [names[0]]


def test_a_damaged_predictions_file_gets_one_line(data, truth, tmp_path):
    write_npz(tmp_path / "whole.npz", *truth)
    content = (tmp_path / "whole.npz").read_bytes()
    for name, bad in (("cut.npz", content[: len(content) // 2]), ("text.npz", b"hello"), ("empty.npz", b"")):
        (tmp_path / name).write_bytes(bad)
        with pytest.raises(UserError, match=rf"{name}: is not a readable"):
            evaluate_model.main(arguments(data, tmp_path, "--predictions", str(tmp_path / name)))


def test_requests_that_cannot_be_met_get_one_line(data, truth, tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, landmarks, _ = truth
    file = write_npz(tmp_path / "sparse.npz", names, landmarks)
    with pytest.raises(UserError, match="no vertices"):
        evaluate_model.main(arguments(data, tmp_path, "--predictions", file))
    with pytest.raises(UserError, match="nothing to measure on"):
        evaluate_model.main(["--predictions", file, "--outputdir", str(tmp_path)])
    with pytest.raises(UserError, match="no such"):
        evaluate_model.main(arguments(data, tmp_path, "--modeldir", str(tmp_path)))
    with pytest.raises(UserError, match="not 0, 1 or an address"):
        evaluate_model.main(arguments(data, tmp_path, "--predictions", file, "--serverlog", "there"))
    save_face_model(make_small_model(shape_count=4), tmp_path / "other.hdf5")
    with pytest.raises(UserError, match="another face model"):
        evaluate_model.main([*arguments(data, tmp_path, "--predictions", file), "--facemodel", "other.hdf5"])
    more = ["--predictions", file, "--evalidxs", "0", "--save-predictions", "a.npz", "--with-vertices"]
    with pytest.raises(UserError, match="leave it out"):
        evaluate_model.main(arguments(data, tmp_path, *more))


def test_a_network_for_another_uv_layout_is_refused_where_vertices_count(data, tmp_path, model):
    layout = layout_of_model(model)
    other = replace(layout, region_weights=np.roll(layout.region_weights, 3, axis=0))
    file = save_mean_face_network(other, tmp_path / "other.keras")
    with pytest.raises(UserError, match=r"other: was trained for another UV layout than the face model's"):
        evaluate_model.main(arguments(data, tmp_path / "out", "--model", str(file), "--evalidxs", "2"))
    assert evaluate_model.main(arguments(data, tmp_path / "out", "--model", str(file), "--evalidxs", "0")) == 0


@pytest.mark.parametrize("kind", ["network", "predictions"])
def test_landmarks_are_drawn_whatever_the_vertices_are(data, truth, tmp_path, model, kind):
    """Of a network for another UV layout, and of predictions of another mesh, whose numbers of vertices differ."""
    names, landmarks, vertices = truth
    layout = layout_of_model(model)
    smaller = replace(layout, region_weights=layout.region_weights * (np.arange(256) < 150))
    method = {
        "network": ["--model", str(save_mean_face_network(smaller, tmp_path / "other.keras"))],
        "predictions": ["--predictions", write_npz(tmp_path / "other.npz", names, landmarks, vertices[:, :99])],
    }[kind]
    more = [*method, "--evalidxs", "0", "1", "--name", "costs $ and $\\bad{$\n\ud800"]
    assert evaluate_model.main(arguments(data, tmp_path / "out", *more)) == 0
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"contact_sheet.png", "landmark_errors.png", "yaw_errors.png", "ced.png"} <= written
    assert "examples.png" not in written
    (name,) = {method for method, _ in means(tmp_path / "out")} - {"constant mean map"}
    assert name == "costs $ and $\\bad{$\\n\\ud800"


@pytest.mark.large
def test_landmarks_are_drawn_by_the_shipped_network_beside_another_layout(shared_data, stand_in_model, tmp_path):
    save_face_model(stand_in_model, tmp_path / "face_model.hdf5")
    more = ["--datadir", str(shared_data / "AFLW2000"), "--facemodel", str(tmp_path / "face_model.hdf5")]
    more += ["--model", "resource/weights/lprnet.keras", "--evalidxs", "0", "1", "--outputdir", str(tmp_path / "out")]
    assert evaluate_model.main(more) == 0
    assert (tmp_path / "out" / "contact_sheet.png").exists()


def test_a_data_set_of_maps_for_another_uv_layout_is_refused(tmp_path, model):
    from prnet.generating.builder import build_dataset

    path = tmp_path / "val.hdf5"
    build_dataset([small_folder(tmp_path / "photos")], path, model, data_mode=0, progress=False)
    layout = layout_of_model(model)
    other = replace(layout, landmark_uv=layout.landmark_uv[::-1])
    with open_dataset(path) as dataset:
        DatasetSubjects(dataset, None, layout)
        with pytest.raises(UserError, match=r"val\.hdf5: was built for another UV layout than the network's"):
            DatasetSubjects(dataset, None, other)


def test_progress_is_posted(data, truth, tmp_path, monkeypatch):
    posted = []
    monkeypatch.setattr(
        "prnet.common.progress.Poster.post", lambda self, path, record: posted.append((self.address, record))
    )
    names, landmarks, _ = truth
    file = write_npz(tmp_path / "perfect.npz", names, landmarks)
    more = ["--predictions", file, "--evalidxs", "0", "--batchsize", "4", "--serverlog", "http://localhost:9"]
    assert evaluate_model.main(arguments(data, tmp_path, *more)) == 0
    assert [(address, record["done"], record["total"]) for address, record in posted] == [
        ("http://localhost:9", 4, 7),
        ("http://localhost:9", 7, 7),
    ]


def test_predictions_are_read_row_by_row(truth, tmp_path):
    names, landmarks, vertices = truth
    np.save(tmp_path / "vertices.npy", vertices)
    write_predictions(tmp_path / "ours.npz", names, landmarks, tmp_path / "vertices.npy")
    np.savez_compressed(tmp_path / "packed.npz", names=names, landmarks=landmarks, vertices=vertices)
    for file in ("ours.npz", "packed.npz"):
        with PredictionFile(tmp_path / file) as method:
            for row in (4, 0, 6):
                np.testing.assert_array_equal(method._vertices.row(row), vertices[row])


def test_help_names_every_flag_of_the_readme(capsys):
    with pytest.raises(SystemExit):
        evaluate_model.main(["--help"])
    text = capsys.readouterr().out
    for flag in ("--modeldir", "--hdf5", "--batchsize", "--outputdir", "--evalidxs", "--serverlog", "--shiftZ"):
        assert flag in text
