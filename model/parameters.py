"""The named parameters of a network whose surface is a face: identity, expressions by name, rotation."""

import json
from dataclasses import dataclass, field, replace

import numpy as np

from prnet.common.sides import other_side
from prnet.configure.config import TARGET_SCALE
from prnet.geometry.five_points import DEEP3D_SIDE
from prnet.geometry.harmonics import AMBIENT, COUNT

DEEP3D_FOCAL, DEEP3D_DISTANCE = 1015.0, 10.0
"""Of Deep3DFaceReconstruction's camera: pixels of a crop of 224, and units from the face's own place."""

MIRROR = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class ParameterNames:
    """What the coefficients of a morphable network mean, identity first: `expression = mean + deviation x coefficient`.

    It travels with the network, as its attribute `parameter_names` and in its file.
    """

    identity_count: int
    names: tuple[str, ...]  # (E,) of the expressions, in ARKit's spelling where the face model has it
    mean: np.ndarray  # (E,) float32
    deviation: np.ndarray  # (E,) float32
    scores: tuple[str, ...] = ()  # (M,) what the mesh does not show, behind the coefficients, 0 to 1 as they are

    @property
    def count(self) -> int:
        """Coefficients in all."""
        return self.identity_count + len(self.names) + len(self.scores)

    def to_json(self) -> str:
        expressions = {
            name: {"mean": mean, "deviation": deviation}
            for name, mean, deviation in zip(self.names, self.mean.tolist(), self.deviation.tolist(), strict=True)
        }
        content = {"identity_count": self.identity_count, "expressions": expressions, "scores": self.scores}
        return json.dumps(content, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> "ParameterNames":
        """What `to_json` wrote. Raises exceptions of many kinds for anything else."""
        content = json.loads(text)
        count, expressions = int(content["identity_count"]), content["expressions"]
        mean, deviation = (
            np.array([expression[key] for expression in expressions.values()], dtype=np.float32)
            for key in ("mean", "deviation")
        )
        if count < 0 or not (np.isfinite(mean).all() and np.isfinite(deviation).all()):
            raise ValueError("parameters that are not numbers")
        scores = content.get("scores", [])
        if not all(isinstance(name, str) for name in scores):
            raise ValueError("scores that are not names")
        return cls(count, tuple(expressions), mean, deviation, tuple(scores))


@dataclass(frozen=True, eq=False)
class Appearance:
    """What the network of a `photonet` says of colours: of one face (arrays without B) or of a batch of them."""

    albedo: np.ndarray  # (B, S, S, 3) float32, sRGB about 0 to 1, on the texels of the position map
    light: np.ndarray  # (B, 9, 3) float32, `prnet.geometry.harmonics`, in the crop's axes with y up
    codes: dict[str, np.ndarray]  # (B, .) each, under the names and in the order of Deep3DFaceReconstruction's files:
    # id, exp and tex in standard deviations, angle in radians, gamma about even light, trans (`camera_place`)

    def __getitem__(self, number) -> "Appearance":
        codes = {name: values[number] for name, values in self.codes.items()}
        return Appearance(self.albedo[number], self.light[number], codes)


@dataclass(frozen=True, eq=False)
class FaceParameters:
    """Named parameters of one face (arrays without B) or of a batch of them."""

    names: tuple[str, ...]  # (E,) of the expressions
    identity: np.ndarray  # (B, I) float32, in standard deviations of the training set
    expressions: np.ndarray  # (B, E) float32, in the face model's unit: with ARKit's names 0 at rest, 1 fully shown
    rotation: np.ndarray  # (B, 3, 3) float64, R of `prnet.geometry.pose`: x right, y up, z to the viewer = R x face
    score_names: tuple[str, ...] = ()  # (M,)
    scores: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))  # (B, M), 0 to 1
    appearance: Appearance | None = None  # of networks that learned from photos

    def __getitem__(self, number) -> "FaceParameters":
        parts = {name: getattr(self, name)[number] for name in ("identity", "expressions", "rotation")}
        appearance = None if self.appearance is None else self.appearance[number]
        scores = self.scores[number] if len(self.scores) else self.scores
        return replace(self, **parts, scores=scores, appearance=appearance)

    def turned(self, rotation: np.ndarray) -> "FaceParameters":
        """After a further rotation (3, 3), in the same axes."""
        return replace(self, rotation=rotation @ self.rotation)

    def mean_with_mirrored(self, mirrored: "FaceParameters") -> "FaceParameters":
        """Rotation, expressions and scores are the mean with those of the mirrored images, left and right swapped;
        identity, whose components need not be symmetric, stays."""
        twin, score_twin = (
            [names.index(other_side(name, names)) for name in names] for names in (self.names, self.score_names)
        )
        rotation = MIRROR[:, None] * mirrored.rotation * MIRROR
        return replace(
            self,
            expressions=(self.expressions + mirrored.expressions[..., twin]) / 2,
            scores=(self.scores + mirrored.scores[..., score_twin]) / 2,
            rotation=nearest_rotation(self.rotation + rotation),
        )

    @property
    def numbers(self) -> np.ndarray:
        """Of one face, identity, expressions, scores and rotation as one vector."""
        return np.concatenate([self.identity, self.expressions, self.scores, self.rotation.ravel()])

    def smoothed(self, smooth) -> "FaceParameters":
        """With the numbers of one face filtered. smooth : takes a vector and returns one of its length."""
        numbers = smooth(self.numbers)
        lengths = [len(part) for part in (self.identity, self.expressions, self.scores)]
        identity, expressions, scores, rotation = np.split(numbers, np.cumsum(lengths))
        rotation = nearest_rotation(rotation.reshape(3, 3))
        return replace(self, identity=identity, expressions=expressions, scores=scores, rotation=rotation)


@dataclass(frozen=True, eq=False)
class FaceShapes:
    """Faces as neutral + identity @ people + expressions @ shapes, on the S x S texels of a position map.

    x right, y up, z to the viewer, in a unit of the network's own, which the pose turns into pixels. Identity and
    expressions are those of `prnet.model.parameters.FaceParameters`.
    """

    names: tuple[str, ...]  # (E,) of the expressions
    neutral: np.ndarray  # (S, S, 3) float32, the mean face with all expressions 0
    people: np.ndarray  # (I, S, S, 3) float32, for each component of identity
    shapes: np.ndarray  # (E, S, S, 3) float32, what an expression of value 1 adds

    def face(self, identity: np.ndarray, expressions: np.ndarray) -> np.ndarray:
        """The face (S, S, 3) of an identity (I,) and expressions (E,), not posed."""
        return self.neutral + np.tensordot(identity, self.people, 1) + np.tensordot(expressions, self.shapes, 1)


def face_shapes(names: ParameterNames, mean: np.ndarray, changes: np.ndarray) -> FaceShapes:
    """Shapes from what a decoder returns. mean : (S, S, 3) of no coefficients. changes : (K, S, S, 3), what one of each
    adds to it, scores left out; all with y up."""
    people, changes = np.split(changes, [names.identity_count])
    shapes = changes / names.deviation[:, None, None, None]
    return FaceShapes(names.names, mean - np.tensordot(names.mean, shapes, 1), people, shapes)


def read_parameters(names: ParameterNames, coefficients: np.ndarray, pose: np.ndarray) -> FaceParameters:
    """Parameters from what a morphable network's layers return.

    coefficients : (B, K) in standard deviations, and behind them the scores. pose : (B, 4, 3), target = x @ pose[:3]
    + pose[3] with y up, so its first three rows are the transposed rotation times the scale.
    """
    identity, expression, scores = np.split(coefficients, np.cumsum([names.identity_count, len(names.names)]), axis=1)
    rows = pose[:, :3].astype(np.float64)
    rotation = np.swapaxes(rows / np.linalg.norm(rows, axis=-1, keepdims=True), 1, 2)
    expressions = names.mean + names.deviation * expression
    return FaceParameters(names.names, identity, expressions, rotation, names.scores, scores)


def read_appearance(
    parameters: FaceParameters, coefficients: np.ndarray, pose: np.ndarray, albedo_coefficients, albedo, light
) -> Appearance:
    """What a photo network's layers of these names return, with codes in Deep3DFaceReconstruction's conventions."""
    from scipy.spatial.transform import Rotation

    identity, expression = np.split(coefficients, [parameters.identity.shape[1]], axis=1)
    even = np.zeros((COUNT, 1), dtype=np.float32)
    even[0] = AMBIENT
    codes = {
        "id": identity,
        "exp": expression,
        "tex": albedo_coefficients,
        "angle": Rotation.from_matrix(parameters.rotation).as_euler("xyz").astype(np.float32),
        "gamma": np.swapaxes(light - even, 1, 2).reshape(-1, 3 * COUNT),
        "trans": camera_place(pose),
    }
    return Appearance(albedo, light, codes)


def camera_place(pose: np.ndarray) -> np.ndarray:
    """Where the face's centre is before Deep3DFaceReconstruction's camera, whose focal length is 1015 pixels in a crop
    of 224 and which stands at (0, 0, 10): (B, 3), x right, y up, z to the camera.

    pose : (B, 4, 3), as `POSE` of `prnet.model.morphnet`. Lengths in units of the mean face's largest coordinate, about
    a decimetre, as there.
    """
    scale = np.linalg.norm(pose[:, 0], axis=-1) * TARGET_SCALE * DEEP3D_SIDE  # pixels a unit
    distance = DEEP3D_FOCAL / scale
    pixels = pose[:, 3, :2] * (1, -1) * TARGET_SCALE * DEEP3D_SIDE - (DEEP3D_SIDE - 1) / 2
    across = pixels * (1, -1) / scale[:, None]
    return np.column_stack([across, DEEP3D_DISTANCE - distance]).astype(np.float32)


def nearest_rotation(matrices: np.ndarray) -> np.ndarray:
    """The rotations (..., 3, 3) nearest to matrices of positive determinant, such as the mean of two rotations."""
    left, _, right = np.linalg.svd(matrices)
    return left @ right
