"""A video's faces as one animated glTF file: nodes that turn and move, their expressions as morph targets."""

from dataclasses import dataclass, field

import numpy as np

from prnet.configure.config import OUTER_EYE_CORNERS
from prnet.geometry.mesh import vertex_normals
from prnet.geometry.transforms import FLIP_Y
from prnet.geometry.uv_layout import sample_landmarks
from prnet.reconstructing.face import Face
from prnet.reconstructing.gltf import Motion, Part, glb_bytes
from prnet.reconstructing.mesh_files import METRES_BETWEEN, closed_triangles, file_notes, texture_uv
from prnet.reconstructing.morphs import named_morphs, pixels_of_unit, shown_weights
from prnet.reconstructing.texture import Texture, complete_texture, texture_side, visible_vertices

BETTER = 1.05
"""A frame is kept for the texture instead of an earlier one where this many times as much of the face is seen."""


@dataclass
class TrackRecord:
    """What an animation needs of one face over time."""

    seconds: list[float] = field(default_factory=list)
    identities: list[np.ndarray] = field(default_factory=list)
    rotations: list[np.ndarray] = field(default_factory=list)
    expressions: list[dict[str, float]] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)  # pixels per unit of the network's face model
    centres: list[np.ndarray] = field(default_factory=list)  # of the vertices, in pixels of the video
    best: tuple[float, Face, np.ndarray] | None = None  # how much is seen, and the frame where it is most

    def add(self, seconds: float, face: Face, frame: np.ndarray) -> None:
        """Take a frame's face in. It must have parameters and a face model."""
        parameters, expressions = face.parameters, face.expressions
        assert parameters is not None
        assert expressions is not None
        self.seconds.append(seconds)
        self.identities.append(parameters.identity)
        self.rotations.append(parameters.rotation)
        self.expressions.append(expressions)
        self.sizes.append(pixels_of_unit(face))
        self.centres.append(face.vertices.mean(axis=0))
        seen = float(visible_vertices(face).mean()) * face.tracked_box.side
        if self.best is None or seen > BETTER * self.best[0]:
            self.best = (seen, face, frame.copy())


def animation_bytes(tracks: dict[int, TrackRecord]) -> bytes:
    """A glTF file of all tracks, nodes face0, face1, ..., in metres about the first face's first place.

    A face's shape is that of the mean of its identities, its texture that of the frame which shows most of it. Its
    distance from the camera, which a video does not say, stays the same.
    """
    origin = next(iter(tracks.values())).centres[0]
    return glb_bytes([_part(track, f"face{n}", origin) for n, track in tracks.items()], file_notes("metres"))


def _part(track: TrackRecord, name: str, origin: np.ndarray) -> Part:
    assert track.best is not None
    _, face, frame = track.best
    shapes, closed = face.grid.shapes, face.grid.closed
    assert shapes is not None
    neutral_map = shapes.face(np.mean(track.identities, axis=0), np.zeros(len(shapes.names)))
    eyes = sample_landmarks(neutral_map, face.grid.layout)[list(OUTER_EYE_CORNERS)]
    metre = METRES_BETWEEN / float(np.linalg.norm(eyes[0] - eyes[1]))  # metres per unit of the face model
    neutral = neutral_map[face.grid.mask]
    centre = neutral.mean(axis=0)
    changes = shapes.shapes[:, face.grid.mask] * np.float32(metre)
    morphs = named_morphs(shapes.names, changes, track.expressions[0]).mixed(closed.in_files)
    weights = np.array([shown_weights(morphs.names, expressions) for expressions in track.expressions])
    vertices = closed.in_files((neutral - centre) * metre).astype(np.float32)
    texture = Texture(complete_texture(face, frame, texture_side(face)))
    return Part(
        name=name,
        vertices=(vertices + np.tensordot(morphs.weights, morphs.changes, 1)).astype(np.float32),
        triangles=closed_triangles(face.grid),
        normals=vertex_normals(vertices, closed_triangles(face.grid)),
        uv=texture_uv(face.grid, len(texture.pixels)),
        texture=texture,
        morphs=morphs,
        motion=_motion(track, origin, metre, weights),
    )


def _motion(track: TrackRecord, origin: np.ndarray, metre: float, weights: np.ndarray) -> Motion:
    from scipy.spatial.transform import Rotation

    metres = (np.array(track.centres) - origin) * FLIP_Y * (metre / np.mean(track.sizes))
    metres[:, 2] = 0
    return Motion(
        seconds=np.array(track.seconds, dtype=np.float32),
        rotations=_continuous(Rotation.from_matrix(track.rotations).as_quat()).astype(np.float32),
        translations=metres.astype(np.float32),
        weights=weights.astype(np.float32),
    )


def _continuous(quaternions: np.ndarray) -> np.ndarray:
    """Quaternions (F, 4) of the same rotations, each on the side of the one before, so that none turns the long way."""
    flips = np.sign(np.sum(quaternions[1:] * quaternions[:-1], axis=1))
    signs = np.concatenate([[1.0], np.cumprod(np.where(flips < 0, -1.0, 1.0))])
    return quaternions * signs[:, None]
