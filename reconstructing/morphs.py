"""Expressions as changes of a face's surface: what a network's face model adds for each, in the pixels of the photo."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from prnet.common.errors import UserError
from prnet.geometry.transforms import FLIP_Y
from prnet.reconstructing.expressions import ARKIT_NAMES, HALVED, arkit_expressions
from prnet.reconstructing.face import Face, place_face


@dataclass(frozen=True, eq=False)
class Morphs:
    """Named expressions as changes of N vertices, and how much of each the face shows: its rest is the vertices less
    weights @ changes."""

    names: tuple[str, ...]
    changes: np.ndarray  # (E, N, 3) float32, for a weight of 1
    weights: np.ndarray  # (E,) float32

    def rest(self, vertices: np.ndarray) -> np.ndarray:
        """The vertices (N, 3) of the same face at rest."""
        return vertices - np.tensordot(self.weights, self.changes, 1)

    def mixed(self, mixture: Callable[[np.ndarray], np.ndarray]) -> "Morphs":
        """Of other vertices: mixture makes what they have (M, ...) of what these have (N, ...), and is linear."""
        return replace(self, changes=np.moveaxis(mixture(np.moveaxis(self.changes, 0, 1)), 1, 0).astype(np.float32))

    def mapped(self, linear: np.ndarray) -> "Morphs":
        """In the axes and unit that `linear` (3, 3) leads to."""
        return replace(self, changes=(self.changes @ linear.T).astype(np.float32))


def face_morphs(face: Face) -> Morphs | None:
    """The expressions of a face as changes of its vertices, in pixels of the photo (y down); None where its network
    has no face model.

    By ARKit's names where the network uses them: `browInnerUp` and `cheekPuff` are the sums of their halves, and
    `tongueOut`, which the mesh cannot show, is left out. The weights are those of `Face.expressions`.
    """
    changes = expression_changes(face)
    if changes is None or face.parameters is None or face.expressions is None:
        return None
    return named_morphs(face.parameters.names, changes[:, face.grid.mask], face.expressions)


def named_morphs(names: Sequence[str], changes: np.ndarray, expressions: Mapping[str, float]) -> Morphs:
    """Morphs under ARKit's names, where the network uses them, from its own (E,) and their changes (E, N, 3)."""
    parts = morph_parts(names)
    merged = np.stack([changes[of].sum(axis=0) for of in parts.values()])
    return Morphs(tuple(parts), merged, shown_weights(tuple(parts), expressions))


def morph_parts(names: Sequence[str]) -> dict[str, list[int]]:
    """The names of morph targets, and for each which of a network's expressions it is the sum of."""
    parts = {name: [number] for number, name in enumerate(names)}
    if arkit_expressions(dict.fromkeys(names, 0.0)):
        for name in HALVED:
            if f"{name}Left" in parts:
                parts[name] = parts.pop(f"{name}Left") + parts.pop(f"{name}Right")
        parts = {name: parts[name] for name in ARKIT_NAMES if name in parts}
    return parts


def shown_weights(names: Sequence[str], expressions: Mapping[str, float]) -> np.ndarray:
    """How much a face shows of each named expression, (E,) float32. expressions : `Face.expressions`."""
    values = arkit_expressions(expressions) or expressions
    return np.array([values[name] for name in names], dtype=np.float32)


def expression_changes(face: Face) -> np.ndarray | None:
    """What each expression of value 1 adds to the position map of a face, (E, S, S, 3) float32 pixels of the photo."""
    if face.grid.shapes is None or face.parameters is None:
        return None
    return face.grid.shapes.shapes @ (pixels_of_unit(face) * face.parameters.rotation.T * FLIP_Y).astype(np.float32)


def with_expressions(face: Face, expressions: Mapping[str, float]) -> Face:
    """The same face with other values of the named expressions; those not named stay as they are.

    ARKit's whole names set both halves. Raises `UserError` for a network without a face model or a name it lacks.
    """
    changes = expression_changes(face)
    if changes is None or face.parameters is None:
        raise UserError("the network has no named expressions; use a morphnet that names its parameters")
    values = face.parameters.expressions.copy()
    for name, value in expressions.items():
        halves = [f"{name}Left", f"{name}Right"] if name in HALVED and name not in face.parameters.names else [name]
        for half in halves:
            if half not in face.parameters.names:
                raise UserError(f"the network has no expression {half!r}; it has {', '.join(face.parameters.names)}")
            values[face.parameters.names.index(half)] = value
    moved = face.position_map + np.tensordot(values - face.parameters.expressions, changes, 1)
    parameters = replace(face.parameters, expressions=values)
    return place_face(moved.astype(np.float32), face.box, face.to_crop, face.grid, parameters)


def pixels_of_unit(face: Face) -> float:
    """Pixels of the photo per unit of the network's face model: by least squares between the face and its map."""
    shapes, parameters = face.grid.shapes, face.parameters
    assert shapes is not None
    assert parameters is not None
    shape = shapes.face(parameters.identity, parameters.expressions)[face.grid.mask]
    turned = (shape - shape.mean(axis=0)) @ parameters.rotation.T * FLIP_Y
    return float(np.sum(turned * (face.vertices - face.vertices.mean(axis=0))) / np.sum(turned**2))
