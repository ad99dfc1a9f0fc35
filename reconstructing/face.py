"""One reconstructed face, and the two pure steps around the network: photo to crop, position map to face."""

from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from prnet.configure.config import MAP_SIZE
from prnet.geometry.alignment import align_directions
from prnet.geometry.contour import ClosedHoles, SmoothRim, closed_holes, smooth_rim, without_holes
from prnet.geometry.crop import Box, crop_image, crop_transform, invert_transform, landmark_box, lift_transform
from prnet.geometry.mesh import vertex_normals
from prnet.geometry.pose import pixels_to_fit
from prnet.geometry.surface_filter import smooth_map
from prnet.geometry.transforms import FLIP_Y, apply_transform
from prnet.geometry.uv_layout import (
    UVLayout,
    face_mask,
    grid_triangles,
    landmark_texels,
    resample_map,
    sample_landmarks,
)
from prnet.model.parameters import FaceParameters, FaceShapes
from prnet.reconstructing.expressions import BOUNDED

HARDLY_A_FACE = 0.35
"""`Face.misfit` above which a mesh is hardly one; of well-fitted faces it is 0.02 to 0.1."""


@dataclass(frozen=True)
class FaceGrid:
    """What is the same for every face of one network: its N texels of the face as vertices of a mesh."""

    layout: UVLayout
    mask: np.ndarray  # (S, S) bool, the face's texels; vertices are these in row-major order
    triangles: np.ndarray  # (T, 3) int32, counter-clockwise as seen from outside
    uv: np.ndarray  # (N, 2) float32 in 0 to 1, u to the right, v up: texel column u (S - 1), row (1 - v) (S - 1)
    landmark_vertices: np.ndarray  # (68,) int32, the vertex nearest to each landmark
    canonical: np.ndarray  # (N, 3) float64, the mean face looking at the viewer: x right, y up, z to the viewer,
    # about its centroid, in pixels of a 256 pixel crop
    shapes: FaceShapes | None  # the network's face model, where it has one
    moments: np.ndarray  # (4, S x S) float64: its product with a position map is, over the face, the sums of canonical
    # x, y, z times the map's points, over the sum of the canonical points' squares, and the mean of the map's points
    filter_width: float = 0.0  # texels, of the Gaussian that smooths the surface; 0 leaves it as the network says

    @property
    def size(self) -> int:
        return self.mask.shape[0]

    @cached_property
    def contour(self) -> SmoothRim:
        """Of what vertices have (N, ...) it makes that of a mesh with a smooth rim."""
        return smooth_rim(self.mask)

    @cached_property
    def closed(self) -> "ClosedGrid":
        """The same grid with its holes, eyes and mouth, closed."""
        filled = without_holes(self.mask)
        rim = smooth_rim(filled)
        return ClosedGrid(
            mask=filled,
            triangles=grid_triangles(filled),
            close=closed_holes(self.mask),
            rim=rim,
            uv=rim(_grid_uv(filled)).astype(np.float32),
            of_hole=~self.mask[filled],
        )


@dataclass(frozen=True)
class ClosedGrid:
    """A face's grid with its holes closed, M texels in row-major order."""

    mask: np.ndarray  # (S, S) bool
    triangles: np.ndarray  # (T, 3) int32
    close: ClosedHoles  # of what the face's vertices have (N, ...): those in holes lie on a membrane over the rim
    rim: SmoothRim  # of the closed face
    uv: np.ndarray  # (M, 2) float32, as `FaceGrid.uv`, of the smooth rim
    of_hole: np.ndarray  # (M,) bool, vertices that the face itself does not have

    def contour(self, values: np.ndarray) -> np.ndarray:
        """Of what the face's vertices have (N, ...) that of the closed face with a smooth rim, (M, ...)."""
        return self.rim(self.close(values))

    def in_files(self, values: np.ndarray) -> np.ndarray:
        """The same in the order of mesh files."""
        return self.contour(values)[self.face_first]

    @property
    def face_first(self) -> np.ndarray:
        """(M,) the vertices in the order of mesh files: the face's own, then those of holes."""
        return np.argsort(self.of_hole, kind="stable")


def _grid_uv(mask: np.ndarray) -> np.ndarray:
    row, column = np.nonzero(mask)
    return np.column_stack([column, len(mask) - 1 - row]).astype(np.float32) / (len(mask) - 1)


def face_grid(layout: UVLayout, size: int, shapes: FaceShapes | None = None, filter_width: float = 0.0) -> FaceGrid:
    """The mesh that a layout's face texels form on a grid of side `size`. shapes : the network's face model.
    filter_width : as of `FaceGrid`."""
    mask = face_mask(layout, size)
    row, column = np.nonzero(mask)
    place = resample_map(layout.canonical_map, size)[mask].astype(np.float64) * FLIP_Y
    wanted = landmark_texels(layout, size)
    distance = (wanted[:, :1] - column) ** 2 + (wanted[:, 1:] - row) ** 2
    canonical = place - place.mean(axis=0)
    moments = np.zeros((4, mask.size))
    moments[:3, mask.ravel()] = canonical.T / np.sum(canonical**2)
    moments[3, mask.ravel()] = 1 / len(canonical)
    return FaceGrid(
        layout=layout,
        mask=mask,
        triangles=grid_triangles(mask),
        uv=_grid_uv(mask),
        landmark_vertices=distance.argmin(axis=1).astype(np.int32),
        canonical=canonical,
        shapes=shapes,
        moments=moments,
        filter_width=filter_width,
    )


@dataclass(frozen=True)
class Pose:
    """How a face is turned and where it is, in 300W-LP's convention (`prnet.geometry.pose`)."""

    pitch: float  # degrees
    yaw: float  # degrees, at most 90 each way
    roll: float  # degrees
    scale: float  # pixels of the photo per unit of the canonical face
    matrix: np.ndarray  # (3, 4) float64: canonical face (`FaceGrid.canonical`) to pixels of the photo, y down


@dataclass(frozen=True, repr=False, eq=False)
class Face:
    """A face in the pixels of its photo: x right, y down, 0-based; z in pixels too, larger nearer to the camera.

    >>> face = prnet.reconstruct("photo.jpg")[0]
    >>> face  # doctest: +ELLIPSIS
    Face(pitch ...°, yaw ...°, roll ...°, ... vertices in a box of ... x ... pixels at (..., ...))
    >>> face.landmarks.shape, face.vertices.shape == (face.grid.mask.sum(), 3)
    ((68, 3), True)
    >>> list(face.to_dict())
    ['pose', 'bounding_box', 'crop', 'landmarks', 'expressions', 'scores', 'identity']
    """

    grid: FaceGrid
    box: Box  # where the landmarks were expected; the crop is the square of side 1.5 x box.side about it
    to_crop: np.ndarray  # (2, 3) float64, pixels of the photo to pixels of the S x S crop
    position_map: np.ndarray  # (S, S, 3) float32, the network's map in pixels of the photo
    landmarks: np.ndarray  # (68, 3) float32, iBUG order
    pose: Pose
    parameters: FaceParameters | None = field(default=None, kw_only=True)  # as the network says, in the photo's axes

    @cached_property
    def expressions(self) -> dict[str, float] | None:
        """How much of each expression the face shows, by name: ARKit's between 0 and 1, others in the face model's
        unit. None where the network does not say."""
        if self.parameters is None:
            return None
        values = dict(zip(self.parameters.names, self.parameters.expressions.tolist(), strict=True))
        return {name: min(max(value, 0.0), 1.0) if name in BOUNDED else value for name, value in values.items()}

    @cached_property
    def scores(self) -> dict[str, float] | None:
        """What the mesh does not show but the network saw (gaze), 0 to 1 by ARKit's names; None where it does not say.

        `prnet.arkit_expressions(face.expressions | face.scores)` has them in their places.
        """
        if self.parameters is None or not self.parameters.score_names:
            return None
        return dict(zip(self.parameters.score_names, self.parameters.scores.tolist(), strict=True))

    @property
    def identity(self) -> np.ndarray | None:
        """Who the face is, (I,) float32, in standard deviations of the network's training set; None where the network
        does not say."""
        return None if self.parameters is None else self.parameters.identity

    @cached_property
    def surface_map(self) -> np.ndarray:
        """The position map, (S, S, 3) float32, smoothed where the network leaves its surface rough: the mesh.

        Landmarks and pose are those of the map itself. docs/reconstruction.md, "Surface filter".
        """
        if not self.grid.filter_width:
            return self.position_map
        return smooth_map(self.position_map, self.grid.mask, self.grid.filter_width)

    @cached_property
    def vertices(self) -> np.ndarray:
        """The mesh's vertices, (N, 3) float32: the surface map at the texels of the face."""
        return self.surface_map[self.grid.mask]

    @property
    def triangles(self) -> np.ndarray:
        """(T, 3) int32 indices of vertices."""
        return self.grid.triangles

    @cached_property
    def normals(self) -> np.ndarray:
        """Unit normals of the vertices, (N, 3) float32, outwards, in the photo's axes (y down)."""
        return -vertex_normals(self.vertices, self.triangles)  # in a left-handed frame the cross product is inward

    @property
    def tracked_box(self) -> Box:
        """The box around the landmarks that were found."""
        return landmark_box(self.landmarks)

    @cached_property
    def frontal_vertices(self) -> np.ndarray:
        """The vertices turned to the viewer, (N, 3) float32, in the canonical face's axes and unit (y up)."""
        return self.to_frontal(self.vertices)

    def to_frontal(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 3) of the photo turned with the face to the viewer: (n, 3) float32, y up."""
        return apply_transform(self.to_frontal_transform, points).astype(np.float32)

    @property
    def to_frontal_transform(self) -> np.ndarray:
        """(3, 4) float64, pixels of the photo to the canonical face's axes and unit: the pose's inverse."""
        linear = np.linalg.inv(self.pose.matrix[:, :3])
        return np.column_stack([linear, -linear @ self.pose.matrix[:, 3]])

    @cached_property
    def misfit(self) -> float:
        """Root mean squared distance of the map's texels from the posed canonical face, as a share of its size."""
        distance = self.position_map[self.grid.mask] - apply_transform(self.pose.matrix, self.grid.canonical)
        size = self.pose.scale * np.sqrt(np.mean(np.sum(self.grid.canonical**2, axis=1)))
        return float(np.sqrt(np.mean(np.sum(distance**2, axis=1))) / size)

    @property
    def bounding_box(self) -> tuple[float, float, float, float]:
        """Left, top, width and height of the mesh in the photo, in pixels."""
        low, high = self.vertices[:, :2].min(axis=0), self.vertices[:, :2].max(axis=0)
        return (*low.tolist(), *(high - low).tolist())

    def to_dict(self) -> dict:
        """All but the mesh as plain lists and numbers; lengths in pixels of the photo, angles in degrees.

        `expressions`, `scores` and `identity` are None where the network does not say.
        """
        pose = {name: getattr(self.pose, name) for name in ("pitch", "yaw", "roll", "scale")}
        crop = {"centre": _rounded(self.box.centre), "side": float(self.box.side), "transform": self.to_crop.tolist()}
        return {
            "pose": {**pose, "matrix": self.pose.matrix.tolist()},
            "bounding_box": _rounded(self.bounding_box),
            "crop": crop,
            "landmarks": _rounded(self.landmarks),
            **self.described_parameters(),
        }

    def described_parameters(self) -> dict:
        """`expressions` and `scores`, a number by name, and `identity`, a list, rounded; None where not known. `light`
        too of a network that learned from photos."""
        numbers = {
            key: None if values is None else {name: round(value, 3) for name, value in values.items()}
            for key, values in (("expressions", self.expressions), ("scores", self.scores))
        }
        appearance = None if self.parameters is None else self.parameters.appearance
        light = {} if appearance is None else {"light": _rounded(appearance.light)}
        return {**numbers, "identity": None if self.identity is None else _rounded(self.identity), **light}

    def __repr__(self) -> str:
        pose, (left, top, width, height) = self.pose, self.bounding_box
        return (
            f"Face(pitch {pose.pitch:.0f}°, yaw {pose.yaw:.0f}°, roll {pose.roll:.0f}°, {len(self.vertices):,} "
            f"vertices in a box of {width:.0f} x {height:.0f} pixels at ({left:.0f}, {top:.0f}))"
        )


def _rounded(values) -> list:
    return np.round(np.asarray(values, dtype=np.float64), 3).tolist()


def prepare_crop(image: np.ndarray, box: Box, size: int) -> tuple[np.ndarray, np.ndarray]:
    """What a network sees of a photo. image : (H, W, 3) RGB, uint8 or float32 in 0 to 1.

    Returns the crop (size, size, 3) float32 in 0 to 1 and the transform (2, 3) that takes the photo to it.
    """
    to_crop = crop_transform(box, size)
    crop = crop_image(image, to_crop, size)
    return np.divide(crop, 255 if crop.dtype == np.uint8 else 1, dtype=np.float32), to_crop


def restore_face(
    crop_map: np.ndarray, box: Box, to_crop: np.ndarray, grid: FaceGrid, parameters: FaceParameters | None = None
) -> Face:
    """A face in its photo from the position map of its crop, (S, S, 3) float32 crop pixels, and its parameters there,
    of which the crop's transform turns the rotation."""
    to_photo = lift_transform(invert_transform(to_crop))
    if parameters is not None:
        parameters = parameters.turned(FLIP_Y[:, None] * to_photo[:, :3] * FLIP_Y / to_photo[2, 2])
    position_map = cv2.transform(np.asarray(crop_map, dtype=np.float32), to_photo)
    return place_face(position_map, box, to_crop, grid, parameters)


def place_face(
    position_map: np.ndarray, box: Box, to_crop: np.ndarray, grid: FaceGrid, parameters: FaceParameters | None = None
) -> Face:
    """A face from a position map in pixels of its photo, (S, S, 3) float32, and its parameters there."""
    return Face(
        grid=grid,
        box=box,
        to_crop=to_crop,
        position_map=position_map,
        landmarks=sample_landmarks(position_map, grid.layout),
        pose=estimate_pose(position_map, grid),
        parameters=parameters,
    )


def estimate_pose(position_map: np.ndarray, grid: FaceGrid) -> Pose:
    """Pose by the similarity that takes the canonical face to the face of a position map in pixels of a photo.

    A morphable network's own rotation (`FaceParameters.rotation`) is not used: it is in the axes of its face model,
    ICT-FaceKit's face being tilted by 2 degrees against Basel's, which 300W-LP's angles are counted in.
    """
    *covariance, mean = grid.moments @ position_map.reshape(-1, 3)
    linear = align_directions(FLIP_Y[:, None] * np.transpose(covariance))
    matrix = np.column_stack([FLIP_Y[:, None] * linear, mean])
    fit = pixels_to_fit(matrix, MAP_SIZE)
    pitch, yaw, roll = np.degrees(fit[:3]).tolist()
    return Pose(pitch, yaw, roll, scale=float(fit[6]), matrix=matrix)
