"""`fit_photos.py` from files to files: sources, reports, and everything that a person can get wrong."""

import csv
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from prnet.commands import build_dataset, fit_photos, make_profile_views
from prnet.common.errors import UserError
from prnet.fitting.fit_set import make_fit_set
from prnet.fitting.landmark_files import read_landmark_file
from prnet.fitting.landmark_sources import LandmarkSource
from prnet.fitting.output import stem_in_set
from prnet.formats.face_model_file import save_face_model
from prnet.formats.fit_files import read_fit
from prnet.formats.ict import read_ict_model
from prnet.generating.dataset import open_dataset
from prnet.geometry.face_model import at_landmarks, face_vertices
from prnet.geometry.pose import fit_to_pixels, fitted_landmarks
from prnet.geometry.rasterise import render

ROOT = Path(__file__).resolve().parents[1]
SIDE = 160
NAMES = ("people/anna_0", "people/anna_1", "bert_0")


def face(model, seed):
    """Coefficients and `Pose_Para` of one photo; anna's two share their identity."""
    random = np.random.default_rng(seed)
    person = np.random.default_rng(min(seed, 1))
    identity = person.normal(size=model.shape_basis.shape[2]) * model.shape_deviation / 2
    expression = random.normal(size=model.expression_basis.shape[2]) * model.expression_deviation / 2
    size = np.ptp(at_landmarks(model, model.mean)[:, 1])
    pose = np.array([0, 0.3 * seed - 0.3, 0.05, SIDE / 2, SIDE / 2, 0, SIDE / 2.2 / size])
    return np.concatenate([identity, expression]).astype(np.float32), pose


@pytest.fixture(scope="module")
def photos(sample_model, tmp_path_factory):
    """Pictures of three sample faces in a folder, their landmarks (3, 68, 3), and the face model's file."""
    folder = tmp_path_factory.mktemp("photos")
    save_face_model(sample_model, folder / "model.hdf5")
    landmarks = []
    for seed, name in enumerate(NAMES):
        coefficients, pose = face(sample_model, seed)
        to_pixels = fit_to_pixels(pose, SIDE)
        points = (face_vertices(sample_model, coefficients) @ to_pixels[:, :3].T + to_pixels[:, 3]).astype(np.float32)
        paper = np.full((SIDE, SIDE, 3), 90, np.uint8)
        picture = render(points, sample_model.triangles, 255 * sample_model.mean_texture, paper)
        path = folder / "images" / f"{name}{'.png' if seed == 2 else '.jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        landmarks.append(at_landmarks(sample_model, points))
    return folder, np.array(landmarks)


def write_npz(path, names, **arrays):
    np.savez(path, names=names, **arrays)
    return path


def fit(photos, landmarks, output, *more):
    folder = photos[0]
    flags = ["--images", str(folder / "images"), "--facemodel", str(folder / "model.hdf5"), "--workers", "1", *more]
    return fit_photos.main([*flags, "--landmarks", *map(str, landmarks), "--outputdir", str(output)])


def table(output):
    with open(output / "fits.csv", encoding="utf-8") as stream:
        return {row["photo"]: row for row in csv.DictReader(stream)}


@pytest.fixture(scope="module")
def fitted(photos, tmp_path_factory):
    output = tmp_path_factory.mktemp("fits")
    source = write_npz(output / "landmarks.npz", NAMES, landmarks68=photos[1])
    assert fit(photos, [source], output / "out") == 0
    return output / "out"


def test_photos_come_with_their_fits_in_300w_lps_layout(fitted, photos, sample_model):
    stems = ("300W_LP/people/anna_0", "300W_LP/people/anna_1", "300W_LP/images/bert_0")
    for stem, landmarks in zip(stems, photos[1], strict=True):
        image = cv2.imread(str(fitted / f"{stem}.jpg"))
        assert image.shape == (SIDE, SIDE, 3)
        found = read_fit(fitted / f"{stem}.mat")
        placed = fitted_landmarks(sample_model, found.coefficients, found.pose, SIDE)
        assert np.linalg.norm((placed - landmarks)[:, :2], axis=1).mean() < 0.8
    first = photos[0] / "images" / "people" / "anna_0.jpg"
    assert (fitted / "300W_LP/people/anna_0.jpg").read_bytes() == first.read_bytes()


def test_fits_keep_the_landmarks_that_they_were_made_of(fitted, photos, tmp_path):
    """As `pt3d_68`; a depth that nobody gave is the fit's, and where a point is missing none are told."""
    for name, landmarks in zip(("people/anna_0", "images/bert_0"), photos[1][[0, 2]], strict=True):
        np.testing.assert_allclose(read_fit(fitted / f"300W_LP/{name}.mat").landmarks, landmarks, atol=1e-4)
    flat = photos[1].copy()
    flat[1:, :, 2] = np.nan
    flat[2, 30] = np.nan
    source = write_npz(tmp_path / "flat.npz", NAMES, landmarks68=flat)
    assert fit(photos, [source], tmp_path / "out") == 0
    found = read_fit(tmp_path / "out/300W_LP/people/anna_1.mat").landmarks
    np.testing.assert_allclose(found[:, :2], photos[1][1][:, :2], atol=1e-4)
    depths = found[:, 2] - photos[1][1][:, 2]
    assert np.abs(depths - np.median(depths)).mean() < 3
    assert read_fit(tmp_path / "out/300W_LP/images/bert_0.mat").landmarks is None


def test_the_report_has_a_line_for_each_photo_and_pictures(fitted):
    rows = table(fitted)
    assert list(rows) == ["bert_0.png", "people/anna_0.jpg", "people/anna_1.jpg"]
    assert all(row["kept"] == "1" and float(row["residual"]) < 1 for row in rows.values())
    assert float(rows["bert_0.png"]["yaw"]) == pytest.approx(17, abs=3)
    assert cv2.imread(str(fitted / "fits.png")).shape[0] >= 2 * 192
    assert cv2.imread(str(fitted / "fits_statistics.png")) is not None


def test_the_builder_and_the_views_take_them(fitted, photos, tmp_path):
    model = str(photos[0] / "model.hdf5")
    built = ["--extractdir", str(fitted), "--hdf5dir", str(tmp_path / "data"), "--buildmode", "train"]
    assert not build_dataset.main([*built, "--facemodel", model])
    with open_dataset(tmp_path / "data" / "train.hdf5") as dataset:
        assert len(dataset) == 3
    views = ["--extractdir", str(fitted), "--outputdir", str(tmp_path / "views"), "--views", "2", "--workers", "1"]
    assert not make_profile_views.main([*views, "--facemodel", model])


def test_a_zip_holds_the_same_and_workers_do_not_matter(fitted, photos, tmp_path):
    source = write_npz(tmp_path / "landmarks.npz", NAMES, landmarks68=photos[1])
    assert fit(photos, [source], tmp_path / "out", "--zip", "--workers", "2") == 0
    with zipfile.ZipFile(tmp_path / "out" / "300W-LP.zip") as archive:
        files = sorted(path for path in fitted.rglob("*") if path.suffix in (".jpg", ".mat"))
        assert sorted(archive.namelist()) == [path.relative_to(fitted).as_posix() for path in files]
        for path in files:
            assert archive.read(path.relative_to(fitted).as_posix()) == path.read_bytes()
    before = (tmp_path / "out" / "300W-LP.zip").stat().st_mtime_ns
    with pytest.raises(UserError, match=r"300W-LP\.zip: is there already; give another folder"):
        fit(photos, [source], tmp_path / "out", "--zip")
    assert (tmp_path / "out" / "300W-LP.zip").stat().st_mtime_ns == before


def write_hdf5(path, landmarks):
    with h5py.File(path, "w") as file:
        file["names"] = [f"{name}.jpg" for name in NAMES]
        file["landmarks68"] = np.rint(landmarks * 16).astype(np.int16)
        file["landmarks68"].attrs["unit"] = "1/16 pixel, 0-based"
    return path


def write_pts(folder, landmarks):
    for name, points in zip(NAMES, landmarks, strict=True):
        path = folder / f"{name}.pts"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = "\n".join(f"{x + 1:.3f} {y + 1:.3f}" for x, y in points[:, :2])
        path.write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")
    return folder


@pytest.mark.parametrize("kind", ["hdf5", "pts", "names alone", "flat"])
def test_each_kind_of_file_says_the_same(fitted, photos, sample_model, tmp_path, kind):
    landmarks = photos[1]
    source = {
        "hdf5": lambda: write_hdf5(tmp_path / "landmarks.hdf5", landmarks),
        "pts": lambda: write_pts(tmp_path / "pts", landmarks),
        "names alone": lambda: write_npz(
            tmp_path / "l.npz", [name.split("/")[-1] for name in NAMES], landmarks68=landmarks
        ),
        "flat": lambda: write_npz(tmp_path / "l.npz", NAMES, landmarks68=landmarks[..., :2]),
    }[kind]()
    assert fit(photos, [source], tmp_path / "out") == 0
    for path in fitted.rglob("*.mat"):
        there, here = (read_fit(each / path.relative_to(fitted)) for each in (tmp_path / "out", fitted))
        assert np.degrees(np.abs(there.pose[:3] - here.pose[:3])).max() < (4 if kind in ("pts", "flat") else 0.2)


def test_photos_of_a_person_share_an_identity(photos, tmp_path):
    source = write_npz(tmp_path / "landmarks.npz", NAMES, landmarks68=photos[1])
    assert fit(photos, [source], tmp_path / "out", "--group") == 0
    first, second = (read_fit(tmp_path / f"out/300W_LP/people/anna_{number}.mat") for number in (0, 1))
    np.testing.assert_array_equal(first.shape, second.shape)
    assert not np.array_equal(first.expression, second.expression)


def test_what_is_left_out_is_listed_with_its_reason(photos, tmp_path, capsys):
    landmarks = photos[1].copy()
    landmarks[0, 5] = np.nan  # one point that is not known hurts nobody
    landmarks[1] += (500, 0, 0)
    source = write_npz(tmp_path / "l.npz", [*NAMES[:2], "nobody"], landmarks68=landmarks)
    assert fit(photos, [source], tmp_path / "out") == 1
    rows = table(tmp_path / "out")
    assert rows["people/anna_0.jpg"]["kept"] == "1"
    assert "outside the photo of 160 x 160" in rows["people/anna_1.jpg"]["reason"]
    assert rows["bert_0.png"]["reason"] == "no landmarks of this photo were given"
    assert rows[f"{source}: nobody"]["reason"] == "landmarks without a photo"
    assert "1 photos fitted, 2 left out, 1 landmarks without a photo" in capsys.readouterr().out
    assert not (tmp_path / "out/300W_LP/people/anna_1.mat").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda points: np.full_like(points, np.nan), "fewer than 20 known points"),
        (lambda points: np.where(points > 0, np.inf, points), "far outside the photo"),
        (lambda points: points * 1e4, "far outside the photo"),
        (lambda points: points[:, np.random.default_rng(0).permutation(68)], "residual"),
        (lambda points: np.full_like(points, 80), "one place or line"),
    ],
)
def test_hopeless_landmarks_are_an_error_that_says_why(photos, tmp_path, change, reason):
    source = write_npz(tmp_path / "l.npz", NAMES, landmarks68=change(photos[1]))
    with pytest.raises(UserError, match=reason):
        fit(photos, [source], tmp_path / "out")
    assert not list(tmp_path.glob("out/*300W*"))


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"landmarks68": np.zeros((3, 67, 2))}, "has shape 3 x 67 x 2 and not 3 x 68 x 2 or 3 x 68 x 3"),
        ({"landmarks68": np.zeros((2, 68, 2))}, "has shape 2 x 68 x 2"),
        ({"mediapipe": np.zeros((3, 400, 3))}, "and not 3 x 468 x 3 or 3 x 478 x 3"),
        ({"points": np.zeros((3, 68, 2))}, "neither landmarks68 nor mediapipe"),
        ({"landmarks68": np.zeros((3, 68, 2)), "names": ["a", "a", "b"]}, "the photo a twice"),
        ({"mediapipe": np.zeros((3, 468, 3))}, "does not know where MediaPipe's points lie"),
        ({"landmarks68": np.zeros((3, 68, 2)), "names": ["x", "y", "z"]}, "no landmarks of this photo were given"),
    ],
)
def test_wrong_files_are_named(photos, tmp_path, arrays, complaint):
    source = write_npz(tmp_path / "l.npz", **({"names": NAMES} | arrays))
    with pytest.raises(UserError, match=complaint):
        fit(photos, [source], tmp_path / "out")


def test_files_that_are_none_are_named(photos, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no such landmarks"):
        read_landmark_file(tmp_path / "absent.npz")
    for name in ("text.npz", "text.hdf5"):
        (tmp_path / name).write_text("text")
        with pytest.raises(UserError, match=f"{name}: not a readable"):
            read_landmark_file(tmp_path / name)
    (tmp_path / "a.pts").write_text("{ 1 2 3 }")
    with pytest.raises(UserError, match="not a .pts file"):
        read_landmark_file(tmp_path / "a.pts")
    (tmp_path / "a.pts").write_text("{ 1 2 3 4 }")
    with pytest.raises(UserError, match="has 2 points and not 68"):
        read_landmark_file(tmp_path)
    for content in ("{" * 1_000_000, "{ 1 2"):  # by a pattern the first took an hour
        (tmp_path / "a.pts").write_text(content)
        with pytest.raises(UserError, match="not a .pts file"):
            read_landmark_file(tmp_path / "a.pts")
    np.savez_compressed(tmp_path / "large.npz", names=np.zeros(1 << 20, np.uint8))
    monkeypatch.setattr("prnet.fitting.landmark_files.MAX_BYTES", 1 << 20)
    with pytest.raises(UserError, match="unpacks to more than"):
        read_landmark_file(tmp_path / "large.npz")
    os.mkfifo(tmp_path / "pipe.hdf5")
    with pytest.raises(UserError, match="is not a plain file"):
        read_landmark_file(tmp_path / "pipe.hdf5")
    with h5py.File(tmp_path / "integers.hdf5", "w") as file:
        file["names"] = ["a"]
        file["landmarks68"] = np.zeros((1, 68, 2), np.int16)
    with pytest.raises(UserError, match="without an attribute unit"):
        read_landmark_file(tmp_path / "integers.hdf5")
    with pytest.raises(UserError, match="stands alone"):
        fit(photos, ["network", "x"], tmp_path / "out")
    with pytest.raises(UserError, match="out of range"):
        fit(photos, ["x"], tmp_path / "out", "--workers", "0")


def test_fits_that_are_there_are_not_written_over(fitted, photos, tmp_path):
    source = write_npz(tmp_path / "l.npz", NAMES, landmarks68=photos[1])
    before = {path: path.read_bytes() for path in fitted.rglob("*.mat")}
    with pytest.raises(UserError, match="is there already"):
        fit(photos, [source], fitted)
    assert before == {path: path.read_bytes() for path in fitted.rglob("*.mat")}


def test_names_are_found_with_and_without_folders(tmp_path):
    source = write_npz(tmp_path / "l.npz", ["a/x.jpg", "b/x", "y.png"], landmarks68=np.zeros((3, 68, 2)))
    file = read_landmark_file(source)
    assert [file.row(stem) for stem in ("a/x", "b/x", "300W_LP/b/x", "x", "any/y", "z")] == [0, 1, 1, None, 2, None]
    assert stem_in_set("300W-LP/AFW/x.jpg", Path("s.zip")) == "300W_LP/AFW/x"
    assert stem_in_set("x.jpg", Path("mine.zip")) == "300W_LP/mine/x"


def test_one_photos_landmarks_are_not_those_of_another_of_its_name(photos, tmp_path):
    folder = tmp_path / "twice"
    for name in ("a/x.jpg", "b/x.jpg"):
        (folder / "images" / name).parent.mkdir(parents=True)
        shutil.copy(photos[0] / "images/people/anna_0.jpg", folder / "images" / name)
    shutil.copy(photos[0] / "model.hdf5", folder)
    bare = write_npz(tmp_path / "bare.npz", ["x.jpg"], landmarks68=photos[1][:1])
    with pytest.raises(UserError, match=r"bare.npz: x would be both a/x and b/x; name each with its folder"):
        fit((folder, None), [bare], tmp_path / "out")
    flags = ["--landmarks", str(bare), "--extractdir", str(folder / "images"), "--hdf5dir", str(tmp_path / "sets")]
    with pytest.raises(UserError, match="x would be both"):
        build_dataset.main([*flags, "--buildmode", "train", "--facemodel", str(folder / "model.hdf5")])
    named = write_npz(tmp_path / "named.npz", ["a/x.jpg"], landmarks68=photos[1][:1])
    assert fit((folder, None), [named], tmp_path / "out") == 1
    assert table(tmp_path / "out")["b/x.jpg"]["kept"] == "0"


def test_photos_that_would_lie_in_one_place_do_not_replace_each_other(photos, tmp_path, monkeypatch):
    folder = tmp_path / "images"
    for name in ("x.jpg", "images/x.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos[0] / "images/people/anna_0.jpg", folder / name)
    shutil.copy(photos[0] / "model.hdf5", tmp_path)
    source = write_npz(tmp_path / "l.npz", ["images/x", "x"], landmarks68=photos[1][[0, 0]])
    assert fit((tmp_path, None), [source], tmp_path / "out") == 1
    assert [row["kept"] for row in table(tmp_path / "out").values()].count("1") == 1
    assert "would be 300W_LP/images/x in the set" in table(tmp_path / "out")["x.jpg"]["reason"]
    monkeypatch.chdir(folder / "images")
    assert [stem_in_set("x.jpg", Path(source)) for source in (".", "..")] == ["300W_LP/images/x"] * 2


def test_a_face_from_behind_is_no_fit(photos, tmp_path):
    """Landmarks that count y upwards fit from behind as well as right ones do from ahead."""
    upwards = photos[1].copy()
    upwards[..., 1] = SIDE - 1 - upwards[..., 1]
    upwards[..., 2] = np.nan
    source = write_npz(tmp_path / "l.npz", NAMES, landmarks68=upwards)
    with pytest.raises(UserError, match="would be seen from behind; do the landmarks count y upwards"):
        fit(photos, [source], tmp_path / "out")


def test_a_depth_that_no_face_has_is_left_out(photos, tmp_path):
    deep = photos[1].copy()
    deep[0, ::2, 2] = np.finfo(np.float32).max
    assert fit(photos, [write_npz(tmp_path / "l.npz", NAMES, landmarks68=deep)], tmp_path / "out") == 1
    rows = table(tmp_path / "out")
    assert "lie far outside the photo" in rows[f"{NAMES[0]}.jpg"]["reason"]
    assert [row["kept"] for row in rows.values()].count("1") == 2


def test_the_shipped_network_can_start_it_and_check_it(photos, tmp_path, capsys):
    """On rendered faces its points are rough; what counts is that the first day needs no other tool."""
    assert fit(photos, ["network"], tmp_path / "out", "--detector", "none", "--check", "2") in (0, 1)
    assert re.search(r"mirror test on \d photos: the fits lie [+-]\d+\.\d\d \+- \d+\.\d\d %", capsys.readouterr().out)


def labels(shared_data, rows, tmp_path):
    """The first photos of the training set with what both teachers say of them: a folder and a file."""
    with h5py.File(shared_data / "faces" / "labels.hdf5") as file, h5py.File(tmp_path / "l.hdf5", "w") as target:
        for name in ("names", "landmarks68", "mediapipe", "mediapipe_found", "ict_pose", "ict_residual"):
            target[name] = file[name][:rows]
            target[name].attrs.update(file[name].attrs)
    with zipfile.ZipFile(shared_data / "faces" / "300W-LP.zip") as source, h5py.File(tmp_path / "l.hdf5") as file:
        for name in file["names"].asstr()[:]:
            source.extract(f"300W_LP/FACES/{name}.jpg", tmp_path / "images")
    return tmp_path / "images", tmp_path / "l.hdf5"


@pytest.fixture(scope="module")
def ict_model(shared_data):
    return read_ict_model(shared_data / "ict" / "ICT-FaceKit.zip", identity_count=60)


def test_photos_of_the_training_set_are_fitted_as_well_as_the_reference(shared_data, ict_model, tmp_path):
    images, source = labels(shared_data, 60, tmp_path)
    made = make_fit_set(images, LandmarkSource([read_landmark_file(source)]), tmp_path / "out", ict_model, workers=1)
    assert len(made.kept) == 60
    with h5py.File(source) as file:
        names = file["names"].asstr()[:].tolist()
        good, yaw = file["ict_residual"][:] < 1.2, np.degrees(file["ict_pose"][:, 1])
    row = [names.index(Path(outcome.photo).stem) for outcome in made.kept]
    apart = np.abs([outcome.quality.angles[1] for outcome in made.kept] - yaw[row])[good[row]]
    assert apart.max() < 2
    assert np.mean([outcome.quality.residual for outcome in made.kept]) < 0.8


def test_frames_of_one_person_get_one_identity(shared_data, ict_model, tmp_path):
    """YouTube Faces by the landmarks of their own `.mat` files, in two dimensions."""
    from scipy.io import loadmat

    with zipfile.ZipFile(shared_data / "ytf" / "300W-LP.zip") as source:
        names = sorted(name[:-4] for name in source.namelist() if name.endswith(".mat"))[:12]
        points = []
        for name in names:
            source.extract(f"{name}.jpg", tmp_path / "images")
            with source.open(f"{name}.mat") as stream:
                points.append(loadmat(stream)["pt2d"].T - 1)
    landmarks = write_npz(tmp_path / "l.npz", names, landmarks68=np.array(points, np.float32))
    made = make_fit_set(
        tmp_path / "images",
        LandmarkSource([read_landmark_file(landmarks)]),
        tmp_path / "out",
        ict_model,
        grouped=True,
        workers=1,
    )
    people = {}
    for outcome in made.kept:
        people.setdefault(outcome.photo.rpartition("_")[0], []).append(outcome.identity)
    assert len(made.kept) >= 10
    assert max(map(len, people.values())) > 1
    for identities in people.values():
        assert np.ptp(identities, axis=0).max() == 0


@pytest.mark.large
def test_fits_views_data_set_and_an_epoch_by_the_readmes_commands(shared_data, tmp_path):
    images, landmarks = labels(shared_data, 24, tmp_path)

    def script(*arguments):
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    model, fits, views, data = (tmp_path / name for name in ("model.hdf5", "fits", "views", "data"))
    ict = shared_data / "ict" / "ICT-FaceKit.zip"
    script("build_face_model.py", "--ict", ict, "--identity", 60, "--output", model)
    script("fit_photos.py", "--images", images, "--landmarks", landmarks, "--outputdir", fits, "--facemodel", model)
    script("make_profile_views.py", "--extractdir", fits, "--outputdir", views, "--views", 3, "--facemodel", model)
    build = ("build_dataset.py", "--extractdir", views, "--hdf5dir", data, "--buildmode", "train")
    script(*build, "--facemodel", model)
    train = ("train_model.py", "--hdf5dir", data, "--facemodel", model, "--outputdir", tmp_path / "run")
    script(*train, "--network", "lprnet", "--imagesize", 128, "--epochs", 1, "--batchsize", 8)
    assert list((tmp_path / "run").rglob("*.keras"))
