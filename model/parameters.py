"""The named parameters of a network whose surface is a face: identity, expressions by name, rotation."""

import json
from dataclasses import dataclass, replace

import numpy as np

MIRROR = np.array([-1.0, 1.0, 1.0])
SIDES = {"Left": "Right", "Right": "Left"}


@dataclass(frozen=True, eq=False)
class ParameterNames:
    """What the coefficients of a morphable network mean, identity first: `expression = mean + deviation x coefficient`.

    It travels with the network, as its attribute `parameter_names` and in its file.
    """

    identity_count: int
    names: tuple[str, ...]  # (E,) of the expressions, in ARKit's spelling where the face model has it
    mean: np.ndarray  # (E,) float32
    deviation: np.ndarray  # (E,) float32

    @property
    def count(self) -> int:
        """Coefficients in all."""
        return self.identity_count + len(self.names)

    def to_json(self) -> str:
        expressions = {
            name: {"mean": mean, "deviation": deviation}
            for name, mean, deviation in zip(self.names, self.mean.tolist(), self.deviation.tolist(), strict=True)
        }
        return json.dumps({"identity_count": self.identity_count, "expressions": expressions}, indent=1)

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
        return cls(count, tuple(expressions), mean, deviation)


@dataclass(frozen=True, eq=False)
class FaceParameters:
    """Named parameters of one face (arrays without B) or of a batch of them."""

    names: tuple[str, ...]  # (E,) of the expressions
    identity: np.ndarray  # (B, I) float32, in standard deviations of the training set
    expressions: np.ndarray  # (B, E) float32, in the face model's unit: with ARKit's names 0 at rest, 1 fully shown
    rotation: np.ndarray  # (B, 3, 3) float64, R of `prnet.geometry.pose`: x right, y up, z to the viewer = R x face

    def __getitem__(self, number) -> "FaceParameters":
        return FaceParameters(self.names, self.identity[number], self.expressions[number], self.rotation[number])

    def turned(self, rotation: np.ndarray) -> "FaceParameters":
        """After a further rotation (3, 3), in the same axes."""
        return replace(self, rotation=rotation @ self.rotation)

    def mean_with_mirrored(self, mirrored: "FaceParameters") -> "FaceParameters":
        """Rotation and expressions are the mean with those of the mirrored images, left and right swapped; identity,
        whose components need not be symmetric, stays."""
        twin = [self.names.index(_other_side(name, self.names)) for name in self.names]
        rotation = MIRROR[:, None] * mirrored.rotation * MIRROR
        return replace(
            self,
            expressions=(self.expressions + mirrored.expressions[..., twin]) / 2,
            rotation=nearest_rotation(self.rotation + rotation),
        )

    @property
    def numbers(self) -> np.ndarray:
        """Of one face, identity, expressions and rotation as one vector."""
        return np.concatenate([self.identity, self.expressions, self.rotation.ravel()])

    def smoothed(self, smooth) -> "FaceParameters":
        """With the numbers of one face filtered. smooth : takes a vector and returns one of its length."""
        numbers = smooth(self.numbers)
        identity, expressions, rotation = np.split(numbers, np.cumsum([len(self.identity), len(self.expressions)]))
        return replace(
            self, identity=identity, expressions=expressions, rotation=nearest_rotation(rotation.reshape(3, 3))
        )


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


def read_parameters(names: ParameterNames, coefficients: np.ndarray, pose: np.ndarray) -> FaceParameters:
    """Parameters from what a morphable network's layers return.

    coefficients : (B, K) in standard deviations. pose : (B, 4, 3), target = x @ pose[:3] + pose[3] with y up, so its
    first three rows are the transposed rotation times the scale.
    """
    identity, expression = np.split(coefficients, [names.identity_count], axis=1)
    rows = pose[:, :3].astype(np.float64)
    rotation = np.swapaxes(rows / np.linalg.norm(rows, axis=-1, keepdims=True), 1, 2)
    return FaceParameters(names.names, identity, names.mean + names.deviation * expression, rotation)


def nearest_rotation(matrices: np.ndarray) -> np.ndarray:
    """The rotations (..., 3, 3) nearest to matrices of positive determinant, such as the mean of two rotations."""
    left, _, right = np.linalg.svd(matrices)
    return left @ right


def _other_side(name: str, names: tuple[str, ...]) -> str:
    """`mouthLeft` of `mouthRight` and so on; the name itself where there is no such pair."""
    for side, other in SIDES.items():
        if name.endswith(side) and name.removesuffix(side) + other in names:
            return name.removesuffix(side) + other
    return name
