"""What a network of this project says of photos: landmarks where a person has no others, and the test of fits by it.

A network that was trained on mirrored photos as often as on others cannot have learned that faces lie to one side. So
the mean of what it says of a photo and, mirrored back, of the photo's mirror image shows where fits ought to be.
"""

import numpy as np

from prnet.common.errors import UserError
from prnet.fitting.evidence import Landmarks
from prnet.fitting.fit_set import FitSet
from prnet.formats.image_files import decode_image
from prnet.formats.pairs import MAX_IMAGE_BYTES, find_pairs
from prnet.geometry.crop import landmark_box
from prnet.geometry.face_model import FaceModel
from prnet.geometry.pose import fitted_landmarks

LOOKS = 2
"""The second look at a photo is at where the first found the face."""


class NetworkLandmarks:
    """The 68 landmarks of the largest face in each photo, mirrored images included."""

    needs_photo = True

    def __init__(self, model_path, detector: str, threads: int = 0):
        from prnet.reconstructing.reconstructor import FaceReconstructor

        self._reconstructor = FaceReconstructor(model_path, detector, mirrored=True, threads=threads)

    def of_photo(self, content: bytes, name: str) -> Landmarks:
        """Of an encoded photo. Raises UserError where no face is found."""
        photo = decode_image(content, name)
        boxes = self._reconstructor.detect(photo)[:1]
        if not boxes:
            raise UserError("no face found; cut the photo closer, or give `detector` none for photos of one face alone")
        for _ in range(LOOKS):
            (face,) = self._reconstructor.reconstruct(photo, boxes)
            boxes = [face.tracked_box]
        return Landmarks(face.landmarks)

    def unused(self) -> list[str]:
        return []


def fit_offsets(made: FitSet, face_model: FaceModel, model_path, most: int) -> np.ndarray:
    """How far the kept fits lie beside the network's landmarks, (n, 2): x right, y down, per cent of the box's side.

    At most `most` photos, spread evenly over the set.
    """
    from prnet.reconstructing.reconstructor import FaceReconstructor

    reconstructor = FaceReconstructor(model_path, "none", mirrored=True)
    kept = made.kept
    chosen = [kept[index] for index in np.unique(np.linspace(0, len(kept) - 1, min(most, len(kept))).astype(int))]
    offsets = np.empty((len(chosen), 2))
    with find_pairs(made.source) as source:
        for row, outcome in enumerate(chosen):
            photo = decode_image(source.read(outcome.photo, MAX_IMAGE_BYTES), outcome.photo)
            landmarks = fitted_landmarks(face_model, outcome.coefficients, outcome.pose, outcome.height)
            box = landmark_box(landmarks)
            (face,) = reconstructor.reconstruct(photo, [box])
            offsets[row] = 100 * (landmarks - face.landmarks)[:, :2].mean(axis=0) / box.side
    return offsets
