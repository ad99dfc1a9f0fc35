"""The class that turns photos into faces: a network, its UV layout and a detector, loaded once."""

from collections.abc import Sequence

import numpy as np

from prnet.common.errors import UserError
from prnet.configure.config import CROPS
from prnet.formats.photo_arrays import Photo, as_photo
from prnet.geometry.crop import Box
from prnet.geometry.five_points import crop_box
from prnet.geometry.uv_layout import mirror_maps
from prnet.model.parameters import FaceParameters
from prnet.model.runtimes import open_runtime
from prnet.reconstructing.detection import as_box, box_of_image, chosen_detector, find_faces
from prnet.reconstructing.face import face_grid, prepare_crop, restore_face
from prnet.reconstructing.photo_face import PhotoFace, in_photo
from prnet.reconstructing.settings import DETECTORS, MODEL_PATH

BATCH_SIZE = 16
"""Crops that go through the network together."""

FARTHEST = 1e6
"""Crop pixels, beyond which a network's map is no map."""

FILTER_WIDTH = 1.0
"""Texels, of the Gaussian that smooths a surface which is free at every texel (docs/reconstruction.md)."""


class FaceReconstructor:
    """Photos to faces.

    model : what `load_network` opens, or an `.onnx` file; None for the network that comes with the package.
    detector : "libfacedetection", "mtcnn", "auto" for the first of them that is installed, or "none", which takes the
    whole photo for one face.
    runtime, threads : "keras", "onnx", or "auto", as `prnet.model.runtimes.open_runtime` chooses.
    mirrored : the network also sees every crop mirrored, and the mean counts, of the maps and, where the network has
    them, of expressions (left and right swapped) and rotation; identity is that of the crop as it is. For networks
    trained on mirrored samples.
    refined : faces that the detector found are reconstructed once more, from the box of the landmarks found first: a
    crop nearer to those that networks are trained on, for twice the network's time.
    crop : "five-points" does the same with Deep3DFaceReconstruction's crop about five of the landmarks, for networks
    that were trained on such crops (`build_dataset` with that `crop`).
    surface_filter : the meshes of networks that are free at every texel (`prnet`, `lprnet`), and so are rough, are
    smoothed; landmarks, pose and position map stay as the network says.

    Raises `UserError` for a file that is no such network.

    >>> reconstructor = prnet.FaceReconstructor()
    >>> image = prnet.read_image("photo.jpg")
    >>> boxes = reconstructor.detect(image)
    >>> [face] = reconstructor.reconstruct(image, boxes)
    >>> [again] = reconstructor.reconstruct("photo.jpg", [(180, 80, 86, 110)])  # or where another detector found it

    Where the network has named parameters (`prnet.network_parameters`), the faces have `expressions` and `identity`,
    and `parameters.rotation` is the network's own; their `pose` is the similarity to the mean face.

    `detect` and `reconstruct` are all that one photo needs. A server that gathers the crops of several requests calls
    `prnet.reconstructing.face.prepare_crop`, `predict_faces` and `prnet.reconstructing.face.restore_face` itself.
    """

    def __init__(
        self,
        model=None,
        detector: str = "auto",
        *,
        mirrored: bool = False,
        refined: bool = False,
        surface_filter: bool = True,
        crop: str = "box",
        runtime: str = "auto",
        threads: int = 0,
    ):
        if crop not in CROPS:
            raise UserError(f"unknown crop {crop!r}; choose from {', '.join(CROPS)}")
        if detector not in DETECTORS:
            raise UserError(f"unknown detector {detector!r}; choose from {', '.join(DETECTORS)}")
        self.model = MODEL_PATH if model is None else model
        self.runtime = open_runtime(self.model, runtime, threads)
        self.network, self.layout, self.image_size = self.runtime.network, self.runtime.layout, self.runtime.image_size
        width = FILTER_WIDTH if surface_filter and self.runtime.free_surface else 0.0
        self.grid = face_grid(self.layout, self.image_size, self.runtime.shapes(), width)
        self._detector, self._mirrored, self._crop = chosen_detector(detector), mirrored, crop
        self._refined = refined or crop != CROPS[0]

    def detect(self, image: Photo) -> list[Box]:
        """Boxes of the faces in a photo, the largest first; none where none is found. image : see `as_photo`."""
        image = as_photo(image)
        if self._detector == "none":
            return [box_of_image(*image.shape[:2])]
        return [face.box for face in find_faces(image, self._detector)]

    def reconstruct(self, image: Photo, boxes: Sequence[Box | Sequence[float]] | None = None) -> list[PhotoFace]:
        """Faces of one photo, in the order of `boxes`, or of those that `detect` finds.

        image : a path, a Pillow image or an array (`prnet.formats.photo_arrays.as_photo`). boxes :
        `prnet.geometry.crop.landmark_box(landmarks)` where landmarks are known, (x, y, width, height) in pixels for a
        face detector's rectangle.
        """
        return self.reconstruct_batch([image], None if boxes is None else [boxes])[0]

    def reconstruct_batch(
        self, images: Sequence[Photo], boxes: Sequence[Sequence[Box | Sequence[float]]] | None = None
    ) -> list[list[PhotoFace]]:
        """Faces of several photos, each photo's as `reconstruct` returns them; crops share the network's batches."""
        photos = [as_photo(image) for image in images]
        if boxes is None:
            boxes = [self.detect(photo) for photo in photos]
            if self._refined:
                first = self.reconstruct_batch(photos, boxes)
                boxes = [[crop_box(face.landmarks, self._crop) for face in found] for found in first]
        owners = [(number, box) for number, of_image in enumerate(boxes) for box in map(as_box, of_image)]
        faces: list[list[PhotoFace]] = [[] for _ in photos]
        for start in range(0, len(owners), BATCH_SIZE):
            batch = owners[start : start + BATCH_SIZE]
            crops, transforms = zip(*(prepare_crop(photos[n], box, self.image_size) for n, box in batch), strict=True)
            found = self.predict_faces(np.stack(crops))
            for (number, box), to_crop, (crop_map, parameters) in zip(batch, transforms, found, strict=True):
                face = restore_face(crop_map, box, to_crop, self.grid, parameters)
                faces[number].append(in_photo(face, photos[number]))
        return faces

    def predict(self, crops: np.ndarray) -> np.ndarray:
        """Position maps of crops: (B, S, S, 3) float32 in 0 to 1, to (B, S, S, 3) float32 crop pixels, all finite.

        Raises `UserError` where the network is broken and returns values that are not.
        """
        return self._predict(crops)[0]

    def predict_faces(self, crops: np.ndarray) -> list[tuple[np.ndarray, FaceParameters | None]]:
        """For each crop what `predict` returns, (S, S, 3), and the parameters that the network read with it, if any."""
        maps, parameters = self._predict(crops)
        return [(crop_map, None if parameters is None else parameters[n]) for n, crop_map in enumerate(maps)]

    def _predict(self, crops: np.ndarray) -> tuple[np.ndarray, FaceParameters | None]:
        maps, parameters = self.runtime(crops)
        mirrored = None
        if self._mirrored:
            seen_mirrored, mirrored = self.runtime(np.ascontiguousarray(crops[:, :, ::-1]))
            maps = (maps + mirror_maps(seen_mirrored, self.image_size)) / 2
        if not (np.abs(maps) < FARTHEST).all():  # nor NaN
            raise UserError(f"{self.model}: returns places that are in no crop, or NaN; train the network again")
        if parameters is not None and mirrored is not None:
            parameters = parameters.mean_with_mirrored(mirrored)
        return maps, parameters
