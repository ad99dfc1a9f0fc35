"""Silent failures hunted: each small error planted in the geometry, crop, map, pose, NME and batch code must make some
quick test fail. A mutation that survives names a hole in the tests. How a pattern fits: `tests/helpers/mutations.py`.
"""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.mutations import plant

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = [
    "common",
    "configure",
    "geometry",
    "formats",
    "generating",
    "evaluating",
    "model",
    "reconstructing",
    "prnet",
]
MUTATIONS = [
    # pose: signs, axes, order, origin, units
    ("geometry/pose.py", "matrix(one, zero, zero, zero, cos_x, sin_x, zero, -sin_x, cos_x)", "matrix(one, zero, zero, zero, cos_x, -sin_x, zero, sin_x, cos_x)"),
    ("geometry/pose.py", "matrix(cos_y, zero, -sin_y, zero, one, zero, sin_y, zero, cos_y)", "matrix(cos_y, zero, sin_y, zero, one, zero, -sin_y, zero, cos_y)"),
    ("geometry/pose.py", "matrix(cos_z, sin_z, zero, -sin_z, cos_z, zero, zero, zero, one)", "matrix(cos_z, -sin_z, zero, sin_z, cos_z, zero, zero, zero, one)"),
    ("geometry/pose.py", "around_x @ around_y @ around_z", "around_z @ around_y @ around_x"),
    ("geometry/pose.py", "np.cos(angles)", "np.cos(np.deg2rad(angles))"),
    ("geometry/pose.py", "np.clip(-rotation[..., 0, 2], -1.0, 1.0)", "np.clip(rotation[..., 0, 2], -1.0, 1.0)"),
    ("geometry/pose.py", "rotation[..., 1, 2]", "rotation[..., 2, 1]"),
    ("geometry/pose.py", "np.arctan2(rotation[..., 0, 1], rotation[..., 0, 0])", "np.arctan2(rotation[..., 1, 0], rotation[..., 0, 0])"),
    ("geometry/pose.py", "transform[..., 0, 3] -= 1.0", "pass"),
    ("geometry/pose.py", "transform[..., 1, 3] += image_height", "transform[..., 1, 3] += image_height - 1"),
    ("geometry/pose.py", "pose[..., 6, None, None] * rotation_from_angles(pose[..., :3])", "rotation_from_angles(pose[..., :3])"),
    ("geometry/pose.py", "np.array([1.0, 1.0, 0.0], dtype=points.dtype)", "np.array([1.0, 1.0, 1.0], dtype=points.dtype)"),
    ("geometry/pose.py", "np.array([1.0, 1.0, 0.0], dtype=points.dtype)", "np.array([0.0, 1.0, 0.0], dtype=points.dtype)"),
    # crop: normaliser, origin, direction of rotation, mirror, depth
    ("geometry/crop.py", "(high - low).mean()", "(high - low).max()"),
    ("geometry/crop.py", "(size - 1) / (margin * box.side)", "size / (margin * box.side)"),
    ("geometry/crop.py", "np.array([[cosine, -sine], [sine, cosine]])", "np.array([[cosine, sine], [-sine, cosine]])"),
    ("geometry/crop.py", "linear[:, 0] *= -1.0", "linear[0] *= -1.0"),
    ("geometry/crop.py", "(size - 1) / 2 + np.asarray(shift)", "size / 2 + np.asarray(shift)"),
    ("geometry/crop.py", "(size - 1) / 2 + np.asarray(shift)", "(size - 1) / 2 - np.asarray(shift)"),
    ("geometry/crop.py", "math.sqrt(abs(a * d - b * c))", "abs(a * d - b * c)"),
    ("geometry/crop.py", "points[..., :2] @ transform[:, :2].T", "points[..., :2] @ transform[:, :2]"),
    ("geometry/crop.py", "points[..., 2:] * transform_scale(transform)", "points[..., 2:]"),
    ("geometry/crop.py", "lifted[2, 2] = transform_scale(transform)", "lifted[2, 2] = -transform_scale(transform)"),
    ("geometry/crop.py", "np.column_stack([np.diag(ratio), (ratio - 1) / 2])", "np.column_stack([np.diag(ratio), ratio / 2])"),
    # UV layout: flips, half texels, mirror
    ("geometry/uv_layout.py", "1.0 - uv[..., 1]", "uv[..., 1]"),
    ("geometry/uv_layout.py", "uv[..., 0] * (size - 1)", "uv[..., 0] * size"),
    ("geometry/uv_layout.py", "np.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], axis=-1)", "np.stack([(1 - x) * (1 - y), (1 - x) * y, x * (1 - y), x * y], axis=-1)"),
    ("geometry/uv_layout.py", "corner + size + 1", "corner + size"),
    ("geometry/uv_layout.py", "column, row = landmark_texels(layout, size).T", "row, column = landmark_texels(layout, size).T"),
    ("geometry/uv_layout.py", "size - 1 - mirrored[..., 0]", "size - mirrored[..., 0]"),
    ("geometry/uv_layout.py", "maps[..., ::-1, :]", "maps"),
    ("geometry/uv_layout.py", "np.concatenate([np.stack([upper_left, lower_left, upper_right], axis=-1), np.stack([upper_right, lower_left, lower_right], axis=-1)])", "np.concatenate([np.stack([upper_left, upper_right, lower_left], axis=-1), np.stack([upper_right, lower_left, lower_right], axis=-1)])"),
    # position map: origin of z, mixture
    ("geometry/position_map.py", "shape_map[..., 2].min()", "shape_map[..., 2].mean()"),
    ("geometry/position_map.py", "np.ones((len(coefficients), len(basis.rows)), dtype=np.float32)", "np.zeros((len(coefficients), len(basis.rows)), dtype=np.float32)"),
    ("geometry/position_map.py", "np.diag([1.0, -1.0, 1.0, 1.0])", "np.diag([1.0, 1.0, 1.0, 1.0])"),
    # rasteriser: facing, depth order, corner weights
    ("geometry/rasterise.py", "area != 0 if two_sided else area < 0", "area != 0 if two_sided else area > 0"),
    ("geometry/rasterise.py", "np.maximum.at(depth, pixel, near)", "np.minimum.at(depth, pixel, near)"),
    ("geometry/rasterise.py", "np.stack([first, weight_1, weight_2], axis=-1)", "np.stack([first, weight_2, weight_1], axis=-1)"),
    # face model: coefficients swapped
    ("geometry/face_model.py", "identity, expression = (coefficients[:count], coefficients[count:])", "expression, identity = (coefficients[:-count], coefficients[-count:])"),
    # batches: forgotten crop, mirror, scale
    ("generating/batches.py", "target[:] = target[:, ::-1].copy()", "pass"),
    ("generating/batches.py", "size * TARGET_SCALE", "size"),
    ("generating/batches.py", "np.random.default_rng([seed, epoch, index, repeat])", "np.random.default_rng([seed, epoch])"),
    ("generating/augmentation.py", "np.deg2rad(random.uniform(-augmentation.rotation, augmentation.rotation))", "random.uniform(-augmentation.rotation, augmentation.rotation)"),
    # alignment: mirror images, centres, scale
    ("geometry/alignment.py", "np.sign(np.linalg.det(left) * np.linalg.det(right))", "1.0"),
    ("geometry/alignment.py", "return np.column_stack([linear, target_mean - linear @ source_mean])", "return np.column_stack([linear, target_mean + linear @ source_mean])"),
    ("geometry/alignment.py", "strength @ signs if scale else 1.0", "strength.sum() if scale else 1.0"),
    ("geometry/transforms.py", "points @ transform[:, :3].T", "points @ transform[:, :3]"),
    # NME: mean, wrong boxes, dimensions, z origin, alignment
    ("evaluating/nme.py", "distances(residuals).mean(axis=-1)", "np.median(distances(residuals), axis=-1)"),
    ("evaluating/nme.py", "np.sqrt(np.prod(_box_sides(points), axis=-1))", "_box_sides(points).mean(axis=-1)"),
    ("evaluating/nme.py", "np.linalg.norm(_box_sides(points), axis=-1)", "np.sqrt(np.prod(_box_sides(points), axis=-1))"),
    ("evaluating/nme.py", "points[..., :2]", "points[..., -2:]"),
    ("evaluating/nme.py", "landmarks[..., pair[0], :] - landmarks[..., pair[1], :]", "landmarks[..., pair[0], :2] - landmarks[..., pair[1], :2]"),
    ("evaluating/nme.py", "(_depth_origin(predicted, origin) - _depth_origin(truth, origin))[..., None]", "0 * (_depth_origin(predicted, origin) - _depth_origin(truth, origin))[..., None]"),
    ("evaluating/nme.py", "residuals[..., 2] -= (_depth_origin(predicted, origin) - _depth_origin(truth, origin))[..., None]", "residuals[..., 2] += (_depth_origin(predicted, origin) - _depth_origin(truth, origin))[..., None]"),
    ("evaluating/nme.py", "depth.min(axis=-1)", "depth.max(axis=-1)"),
    ("evaluating/nme.py", "alignment == 'similarity'", "alignment == 'rigid'"),
    ("evaluating/nme.py", "truth[found.nearest]", "truth"),
    # protocols: bins swapped or without sign, failures, corners one off
    ("evaluating/protocols.py", "np.searchsorted(YAW_BIN_EDGES, np.abs(yaw), side='left')", "np.searchsorted(YAW_BIN_EDGES, yaw, side='left')"),
    ("evaluating/protocols.py", "np.searchsorted(YAW_BIN_EDGES, np.abs(yaw), side='left')", "np.searchsorted(YAW_BIN_EDGES, np.abs(yaw), side='right')"),
    ("evaluating/protocols.py", "has_result & (bins == number)", "has_result & (bins == 2 - number)"),
    ("evaluating/protocols.py", "mean_of_bins=_mean(means)", "mean_of_bins=_mean(means[:2])"),
    ("evaluating/protocols.py", "errors > FAILURE_LIMIT", "errors[np.isfinite(errors)] > FAILURE_LIMIT"),
    ("evaluating/protocols.py", "errors / FAILURE_LIMIT", "errors[np.isfinite(errors)] / FAILURE_LIMIT"),
    ("evaluating/protocols.py", "100.0 * np.arange(1, len(ascending) + 1) / max(len(errors), 1)", "100.0 * np.arange(1, len(ascending) + 1) / max(len(ascending), 1)"),
    ("evaluating/protocols.py", "Protocol('standard', 'landmark box', OUTER_EYE_CORNERS)", "Protocol('standard', 'mesh diagonal', OUTER_EYE_CORNERS)"),
    ("evaluating/protocols.py", "Protocol('prnet-keras', 'mesh diagonal', (37, 46))", "Protocol('prnet-keras', 'mesh diagonal', (36, 45))"),
    # scores: normaliser of the wrong box, dimensions, origin
    ("evaluating/types.py", "2 if self.name.endswith('2D') else 3", "3 if self.name.endswith('2D') else 2"),
    ("evaluating/scoring.py", "return _normaliser(true_vertices, truth, protocol)", "return _normaliser(truth.landmarks, truth, protocol)"),
    ("evaluating/scoring.py", "_normaliser(truth.landmarks, truth, protocol)", "_normaliser(truth.mesh, truth, protocol)"),
    ("evaluating/scoring.py", "return (prediction.vertices, truth.mesh[face], truth.mesh_landmarks)", "return (prediction.vertices, truth.mesh[face], truth.landmarks)"),
    ("evaluating/scoring.py", "truth.grid_landmarks[:, :coordinates]", "truth.landmarks"),
    # results and subjects: failures as zeros, radians, 1-based pixels, swapped rows
    ("evaluating/results.py", "self.errors[index] = np.inf", "self.errors[index] = 0.0"),
    ("evaluating/subjects.py", "np.degrees([fit.pose[1] for fit in self._fits])", "np.asarray([fit.pose[1] for fit in self._fits])"),
    ("evaluating/subjects.py", "np.argsort(np.argsort(subjects.names, kind='stable'))", "np.argsort(subjects.names)[::-1]"),
    ("evaluating/methods.py", "transform_points(to_photo, sample_landmarks(position_map, self.layout))", "sample_landmarks(position_map, self.layout)"),
    ("evaluating/methods.py", "image.astype(np.float32) / 255", "image.astype(np.float32)"),
    # the face in its photo: degrees, handedness, crop and back, facing
    ("reconstructing/face.py", "np.degrees(fit[:3])", "np.asarray(fit[:3])"),
    ("reconstructing/face.py", "pitch, yaw, roll = np.degrees(fit[:3]).tolist()", "yaw, pitch, roll = np.degrees(fit[:3]).tolist()"),
    ("reconstructing/face.py", "FLIP_Y[:, None] * np.transpose(covariance)", "np.transpose(covariance)"),
    ("reconstructing/face.py", "np.transpose(covariance)", "np.array(covariance)"),
    ("reconstructing/face.py", "FLIP_Y[:, None] * linear", "linear"),
    ("reconstructing/face.py", "moments[3, mask.ravel()] = 1 / len(canonical)", "moments[3, mask.ravel()] = 1 / mask.size"),
    ("reconstructing/face.py", "to_photo = lift_transform(invert_transform(to_crop))", "to_photo = lift_transform(to_crop)"),
    ("reconstructing/face.py", "255 if crop.dtype == np.uint8 else 1", "255"),
    ("reconstructing/face.py", "len(mask) - 1 - row", "row"),
    ("reconstructing/face.py", "return -vertex_normals(self.vertices, self.triangles)", "return vertex_normals(self.vertices, self.triangles)"),
    ("reconstructing/face.py", "np.column_stack([linear, -linear @ self.pose.matrix[:, 3]])", "np.column_stack([linear, linear @ self.pose.matrix[:, 3]])"),
    ("geometry/contour.py", "np.rint(2 * width**2)", "np.rint(width)"),
    ("geometry/contour.py", "np.add.at(equations, (at[within], np.searchsorted(hole, beside[within])), -0.25)", "np.add.at(equations, (at[within], np.searchsorted(hole, beside[within])), -0.2)"),
    ("geometry/spreading.py", "known + _scaled(beyond, 1 - weights)", "known + beyond"),
    ("reconstructing/texture.py", "np.maximum(of_mirrored - own, 0)", "of_mirrored * 0"),
    ("reconstructing/texture.py", "np.where(np.arange(side)[:, None] < side / 2, half, -half)", "np.where(np.arange(side)[:, None] < side / 2, half, half)"),
    ("reconstructing/morphs.py", "named.pop(f'{name}Left') + named.pop(f'{name}Right')", "named.pop(f'{name}Left')"),
    ("reconstructing/morphs.py", "(shape - shape.mean(axis=0)) @ parameters.rotation.T * FLIP_Y", "(shape - shape.mean(axis=0)) @ parameters.rotation * FLIP_Y"),
    ("reconstructing/mesh_files.py", "-linear @ vertices.mean(axis=0)", "-linear @ vertices[0]"),
    ("reconstructing/animation.py", "np.array(track.centres) - origin", "origin - np.array(track.centres)"),
    ("reconstructing/look_ahead.py", "np.linalg.pinv(design * np.sqrt(weights)[:, None])[0] * np.sqrt(weights)", "weights / weights.sum()"),
    ("reconstructing/face.py", "(wanted[:, :1] - column) ** 2 + (wanted[:, 1:] - row) ** 2", "(wanted[:, :1] - row) ** 2 + (wanted[:, 1:] - column) ** 2"),
]  # fmt: skip
GEOMETRY = [
    "pose",
    "crop",
    "uv_layout",
    "position_map",
    "rasterise",
    "mesh",
    "augmentation",
    "sequence",
    "alignment",
    "nme",
]
TESTS = {
    "geometry/alignment.py": ["alignment", "nme"],
    "geometry/transforms.py": ["alignment", "nme"],
    "evaluating": ["nme", "protocols", "evaluate_model"],
    "geometry/contour.py": ["contour"],
    "geometry/spreading.py": ["texture"],
    "reconstructing": ["reconstruct_face", "mesh_files", "video", "texture", "morphs"],
}
"""Test files that must notice an error in a file or package; for any other `GEOMETRY`."""


@pytest.mark.parametrize(("path", "original", "planted"), MUTATIONS, ids=range(len(MUTATIONS)))
def test_every_mutation_fits_the_code(path, original, planted):
    source = (ROOT / path).read_text(encoding="utf-8")
    assert plant(source, original, planted) != ast.unparse(ast.parse(source))


def test_an_error_is_planted_whatever_the_names_and_the_layout():
    source = "def offset(width):\n    return self.a + (\n        width - 1  # texels\n    ) / 2\n"
    planted = plant(source, "(size - 1) / 2", "size / 2")
    assert planted == "def offset(width):\n    return self.a + width / 2"
    assert plant(source, "self.start + (size - 1) / 2", "self.start").endswith("return self.a")
    assert plant("f(size=a, start=b)", "start=first", "start=-first") == "f(size=a, start=-b)"


@pytest.mark.parametrize("pattern", ["(size - 2) / 2", "(size - size) / 2", "size.start", "a + b"])
def test_a_pattern_that_fits_nowhere_or_twice_is_refused(pattern):
    with pytest.raises(ValueError, match="fits [02] times"):
        plant("(size - 1) / 2, first + second, second + first", pattern, "0")


@pytest.mark.large
@pytest.mark.parametrize(("path", "original", "planted"), MUTATIONS, ids=range(len(MUTATIONS)))
def test_a_planted_error_is_caught(path, original, planted, tmp_path):
    checkout = tmp_path / "checkout"
    for package in [*PACKAGES, "tests"]:
        shutil.copytree(ROOT / package, checkout / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in [ROOT / "pyproject.toml", *ROOT.glob("*.py")]:
        shutil.copy(file, checkout)
    if (ROOT.parent / "shared").is_dir():
        (tmp_path / "shared").symlink_to(ROOT.parent / "shared")
    source = (checkout / path).read_text(encoding="utf-8")
    (checkout / path).write_text(plant(source, original, planted), encoding="utf-8")
    names = TESTS.get(path) or TESTS.get(path.partition("/")[0], GEOMETRY)
    tests = [str(checkout / f"tests/test_{name}.py") for name in names]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    result = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=600)
    assert result.returncode == 1, f"survived:\n{result.stdout[-2000:]}"
