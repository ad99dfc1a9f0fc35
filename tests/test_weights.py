"""The shipped network on real photos, as a person gets it: no face model, no data set."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.model_card import sparse_nme
from prnet.formats.fit_files import read_fit
from prnet.formats.image_files import decode_image
from prnet.formats.pairs import find_pairs
from prnet.geometry.crop import landmark_box
from prnet.geometry.uv_layout import mirror_maps
from prnet.reconstructing.detection import find_faces
from prnet.reconstructing.face import prepare_crop
from prnet.reconstructing.reconstructor import FaceReconstructor
from prnet.reconstructing.settings import MODEL_PATH

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = ROOT.parent / "shared" / "data" / "AFLW2000"
FIVE_POINTS = {
    "left_eye": (range(36, 42), 0.05),
    "right_eye": (range(42, 48), 0.05),
    "nose": ([30], 0.05),
    "mouth_left": ([48], 0.09),
    "mouth_right": ([54], 0.09),
}
"""Of our 68, those whose mean is each point of the detector, and how far off, in sides of the face's box, they may be:
smiles are the network's weak side (docs/model_card.md)."""


def test_the_file_is_small_and_for_light_hardware(shipped):
    assert (ROOT / MODEL_PATH).stat().st_size <= 10e6
    assert shipped.network.name == "morphnet"
    assert shipped.image_size == 128


def test_the_astronaut_has_her_landmarks_where_another_program_sees_them(shipped):
    """The five points are MTCNN's own (the package `mtcnn`), which knows nothing of our network."""
    from mtcnn import MTCNN
    from skimage.data import astronaut

    photo = astronaut()
    (face,) = shipped.reconstruct(photo)
    (seen,) = MTCNN().detect_faces(photo)
    for name, (members, most) in FIVE_POINTS.items():
        apart = np.linalg.norm(face.landmarks[list(members), :2].mean(axis=0) - seen["keypoints"][name])
        assert apart < most * face.tracked_box.side, name
    assert abs(face.pose.yaw) < 8
    assert abs(face.pose.pitch) < 15
    assert abs(face.pose.roll) < 8
    nose, ears = face.landmarks[30, 2], face.landmarks[[0, 16], 2]
    assert (nose > ears).all()


def test_with_mirroring_a_mirrored_photo_gives_the_mirrored_map(shipped):
    from skimage.data import astronaut

    photo, both = astronaut(), FaceReconstructor(ROOT / MODEL_PATH, "none", mirrored=True)
    crop, _ = prepare_crop(photo, find_faces(photo)[0].box, 128)
    crops = np.stack([crop, crop[:, ::-1]])
    one, other = both.predict(crops)
    np.testing.assert_allclose(other, mirror_maps(one, 128), atol=1e-3)
    alone, mirrored = shipped.predict(crops)
    np.testing.assert_allclose(one, (alone + mirror_maps(mirrored, 128)) / 2, atol=1e-3)
    assert 0.1 < np.abs(one - alone)[shipped.grid.mask].mean() < 3


@pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"the photos of AFLW2000-3D are not in {PHOTOS}")
def test_six_photos_of_the_test_set(shipped):
    """The bar set before training: cropped by the true landmarks, at most 5.0 % in the mean and none above 8 %; cropped
    by the detector, at most 0.5 worse."""
    scores, detected = [], []
    with find_pairs(PHOTOS) as pairs:
        for pair in pairs:
            truth = read_fit(pair.fit_bytes(), pair.fit_file).landmarks
            image = decode_image(pair.image_bytes(), pair.image_file)
            (face,) = shipped.reconstruct(image, [landmark_box(truth)])
            scores.append(sparse_nme(face.landmarks, truth))
            detected.append(min(sparse_nme(found.landmarks, truth) for found in shipped.reconstruct(image)))
    assert len(scores) == 6
    assert np.mean(scores) <= 5.0
    assert max(scores) <= 8.0
    assert np.mean(detected) <= np.mean(scores) + 0.5
