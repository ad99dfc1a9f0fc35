"""Scores of what a mesh cannot show: from a file, with a data set, through training, in the answer."""

from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest

from prnet.commands import train_model
from prnet.common.errors import UserError
from prnet.common.sides import other_side
from prnet.configure.config import NO_AUGMENTATION, SCORE_NAMES, LossTerms
from prnet.configure.recipes import morphnet
from prnet.formats.face_model_file import save_face_model
from prnet.formats.score_files import read_scores
from prnet.generating.builder import build_dataset
from prnet.generating.dataset import open_dataset
from prnet.generating.sequence import FaceSequence
from prnet.geometry.position_map import map_basis
from prnet.model.face_space import face_space
from prnet.model.feeds import learned_scores
from prnet.model.losses import score_error
from prnet.model.networks import build_network, predict_faces
from prnet.model.parameters import ParameterNames
from prnet.model.saved_network import load_network, save_network
from prnet.reconstructing.reconstructor import FaceReconstructor
from tests.helpers.tiny_data import write_tiny_pairs

SIZE = 128
TEACHER = ("_neutral", *SCORE_NAMES, "jawOpen")


def write_scores(path, photos, values=None):
    """Scores of photos: of the n-th, its number and the score's in hundredths. The last photo was not found."""
    values = np.add.outer(np.arange(len(photos)) * 10, np.arange(len(TEACHER))) / 255 if values is None else values
    found = np.arange(len(photos)) < len(photos) - 1
    with h5py.File(path, "w") as file:
        file["names"] = np.array([name.encode() for name in photos])
        file["blendshape_names"] = np.array([name.encode() for name in TEACHER])
        file["blendshapes"] = np.rint(values * 255).astype(np.uint8)
        file["mediapipe_found"] = found
    return path


@pytest.fixture(scope="module")
def built(sample_model, tmp_path_factory):
    """A data set of tiny photos with scores of all but the last of them."""
    folder = tmp_path_factory.mktemp("scores")
    photos = write_tiny_pairs(folder / "300W_LP", sample_model)
    scores = read_scores(write_scores(folder / "labels.hdf5", photos))
    build_dataset([folder / "300W_LP"], folder / "train.hdf5", sample_model, progress=False, scores=scores)
    return folder, photos


def test_scores_are_of_photos_and_of_their_views(tmp_path):
    scores = read_scores(write_scores(tmp_path / "labels.hdf5", ["a_0", "b_0", "c_0"]))
    assert scores.names == TEACHER
    found = scores.of(["b_0-v03", "a_0", "c_0", "unknown"])
    np.testing.assert_allclose(found[:2] * 255, [10 + np.arange(10), np.arange(10)], atol=1e-4)
    assert np.isnan(found[2:]).all()
    with pytest.raises(UserError, match=r"labels\.hdf5: has scores of none of the photos; their names are such as x"):
        scores.of(["x", "y"])


def test_an_npz_file_says_the_same(tmp_path):
    scores = read_scores(write_scores(tmp_path / "labels.hdf5", ["a_0", "b_0"]))
    np.savez(tmp_path / "labels.npz", names=["a_0", "b_0"], blendshape_names=TEACHER, blendshapes=scores.values)
    np.testing.assert_array_equal(read_scores(tmp_path / "labels.npz").values, scores.values)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"blendshapes": np.zeros((3, 2), np.uint8)}, "shape (3, 2)"),
        ({"blendshapes": np.full((2, 10), 1.5)}, "beyond 0 to 1"),
        ({"blendshapes": None}, "has no blendshapes"),
        ({"mediapipe_found": np.ones(7, bool)}, "that belong"),
        ({"names": "a"}, "not lists of names"),
        ({"names": h5py.Empty("f")}, "has no names"),
        ({"blendshapes": h5py.ExternalLink("elsewhere.hdf5", "/blendshapes")}, "blendshapes lies outside of the file"),
    ],
)
def test_bad_scores_are_refused_in_one_line(tmp_path, change, complaint):
    path = write_scores(tmp_path / "labels.hdf5", ["a_0", "b_0"])
    with h5py.File(path, "a") as file:
        for name, values in change.items():
            del file[name]
            if values is not None:
                file[name] = values
    with pytest.raises(UserError) as caught:
        read_scores(path)
    assert complaint in str(caught.value)
    assert "labels.hdf5" in str(caught.value)
    assert "\n" not in str(caught.value)
    (tmp_path / "broken.hdf5").write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"broken\.hdf5: not a readable"):
        read_scores(tmp_path / "broken.hdf5")
    with pytest.raises(UserError, match=r"absent\.npz: no such scores"):
        read_scores(tmp_path / "absent.npz")


def test_a_batch_has_the_scores_of_its_samples_mirrored_with_them(sample_model, built):
    folder, photos = built
    with open_dataset(folder / "train.hdf5") as dataset:
        assert dataset.score_names == TEACHER
        places = [dataset.names.index(name) for name in photos]
        assert np.isnan(dataset.scores[places[-1]]).all()
        np.testing.assert_allclose(dataset.scores[places[1]] * 255, 10 + np.arange(10), atol=1e-4)
        batch = {"basis": map_basis(sample_model, SIZE), "image_size": SIZE, "batch_size": 2, "scores": SCORE_NAMES}
        _, plain = FaceSequence(dataset, places[:2], **batch)[0]
        mirror = replace(NO_AUGMENTATION, mirror=1.0)
        _, mirrored = FaceSequence(dataset, places[:2], augmentation=mirror, **batch)[0]
    assert plain["maps"].shape == (2, SIZE, SIZE, 3)
    plain, mirrored = plain["scores"], mirrored["scores"]
    np.testing.assert_allclose(plain, dataset.scores[places[:2]][:, 1:9])
    left, right = SCORE_NAMES.index("eyeLookInLeft"), SCORE_NAMES.index("eyeLookInRight")
    np.testing.assert_allclose(mirrored[:, [left, right]], plain[:, [right, left]])
    assert (mirrored != plain).all()


def test_the_loss_counts_only_what_is_known():
    truth = np.array([[0.5, np.nan], [0.0, 1.0]], np.float32)
    prediction = keras.Variable(np.array([[0.1, 0.9], [0.2, 0.7]], np.float32))
    assert float(score_error(truth, prediction)) == pytest.approx((0.4**2 + 0.2**2 + 0.3**2) / 3)
    assert float(score_error(np.full((2, 2), np.nan, np.float32), prediction)) == 0.0


def test_the_other_side_of_a_name():
    assert other_side("eyeLookInLeft", SCORE_NAMES) == "eyeLookInRight"
    assert other_side("jawOpen", TEACHER) == "jawOpen"
    assert other_side("mouthLeft", ("mouthLeft",)) == "mouthLeft"


def test_names_of_older_files_have_no_scores():
    names = ParameterNames(2, ("a",), np.zeros(1, np.float32), np.ones(1, np.float32), ("eyeLookInLeft",))
    assert ParameterNames.from_json(names.to_json()).scores == ("eyeLookInLeft",)
    older = ParameterNames.from_json('{"identity_count": 2, "expressions": {"a": {"mean": 0, "deviation": 1}}}')
    assert (older.scores, older.count) == ((), 3)


def test_scores_are_learned_only_where_the_loss_has_them(built):
    with open_dataset(built[0] / "train.hdf5") as dataset:
        assert learned_scores(morphnet(), dataset) == SCORE_NAMES
        assert learned_scores(replace(morphnet(), terms=LossTerms(scores=0.0)), dataset) == ()


def test_scores_are_learned_saved_and_told_and_leave_the_surface_alone(
    sample_model, layout, basis, fits, built, tmp_path
):
    """From the command line, begun with a network that has none."""
    folder, _ = built
    save_face_model(sample_model, folder / "face_model.hdf5")
    without = build_network("morphnet", SIZE, space=face_space(sample_model, basis, layout, fits, 3))
    save_network(without, layout, tmp_path / "without.keras")
    flags = ("--recipe", "morphnet", "--identities", 3, "--balance", 0, "--batch-size", 4, "--epochs", 1)
    places = ("--hdf5-dir", folder, "--face-model", folder / "face_model.hdf5", "--output-dir", tmp_path / "with")
    start = ("--model", tmp_path / "without.keras", "--learning-rate", 1e-9)
    train_model.main([str(flag) for flag in (*flags, *places, *start)])
    network, _ = load_network(tmp_path / "with" / "last.keras")
    assert network.parameter_names.scores == SCORE_NAMES
    for mine, given in zip(*(each.get_layer("shape").get_weights() for each in (network, without)), strict=True):
        np.testing.assert_allclose(mine, given, atol=1e-6, err_msg="the face space is that of the start")
    crops = np.random.default_rng(0).random((2, SIZE, SIZE, 3), dtype=np.float32)
    maps, parameters = predict_faces(network, crops)
    assert parameters.scores.shape == (2, 8)
    assert ((parameters.scores > 0) & (parameters.scores < 1)).all()
    np.testing.assert_allclose(maps, predict_faces(without, crops)[0], atol=0.6)  # batch statistics move on

    face = FaceReconstructor(tmp_path / "with" / "last.keras", "none").reconstruct(np.uint8(crops[0] * 255))[0]
    assert face.scores.keys() == set(SCORE_NAMES)
    assert face.to_dict()["scores"] == {name: round(value, 3) for name, value in face.scores.items()}
    silent = FaceReconstructor(tmp_path / "without.keras", "none").reconstruct(np.uint8(crops[0] * 255))[0]
    assert silent.to_dict()["scores"] is None
