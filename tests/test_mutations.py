"""Silent failures hunted: each small error planted in the geometry, crop, map, pose, NME and batch code must make some
quick test fail. A mutation that survives names a hole in the tests.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    ("geometry/pose.py", "sin_x, zero, -sin_x, cos_x)", "-sin_x, zero, sin_x, cos_x)"),
    ("geometry/pose.py", "matrix(cos_y, zero, -sin_y, zero, one, zero, sin_y", "matrix(cos_y, zero, sin_y, zero, one, zero, -sin_y"),
    ("geometry/pose.py", "matrix(cos_z, sin_z, zero, -sin_z", "matrix(cos_z, -sin_z, zero, sin_z"),
    ("geometry/pose.py", "around_x @ around_y @ around_z", "around_z @ around_y @ around_x"),
    ("geometry/pose.py", "angles = np.asarray(angles, dtype=np.float64)", "angles = np.deg2rad(angles)"),
    ("geometry/pose.py", "np.clip(-rotation[..., 0, 2]", "np.clip(rotation[..., 0, 2]"),
    ("geometry/pose.py", "rotation[..., 1, 2], rotation[..., 2, 2]", "rotation[..., 2, 1], rotation[..., 2, 2]"),
    ("geometry/pose.py", "rotation[..., 0, 1], rotation[..., 0, 0]", "rotation[..., 1, 0], rotation[..., 0, 0]"),
    ("geometry/pose.py", "transform[..., 0, 3] -= 1.0", "pass"),
    ("geometry/pose.py", "transform[..., 1, 3] += image_height", "transform[..., 1, 3] += image_height - 1"),
    ("geometry/pose.py", "= pose[..., 6, None, None] * rotation", "= rotation"),
    ("geometry/pose.py", "points - np.array([1.0, 1.0, 0.0]", "points - np.array([1.0, 1.0, 1.0]"),
    ("geometry/pose.py", "points - np.array([1.0, 1.0, 0.0]", "points - np.array([0.0, 1.0, 0.0]"),
    # crop: normaliser, origin, direction of rotation, mirror, depth
    ("geometry/crop.py", "(high - low).mean()", "(high - low).max()"),
    ("geometry/crop.py", "zoom = (size - 1) /", "zoom = size /"),
    ("geometry/crop.py", "[[cosine, -sine], [sine, cosine]]", "[[cosine, sine], [-sine, cosine]]"),
    ("geometry/crop.py", "linear[:, 0] *= -1.0", "linear[0] *= -1.0"),
    ("geometry/crop.py", "offset = (size - 1) / 2", "offset = size / 2"),
    ("geometry/crop.py", "+ np.asarray(shift) -", "- np.asarray(shift) -"),
    ("geometry/crop.py", "math.sqrt(abs(a * d - b * c))", "abs(a * d - b * c)"),
    ("geometry/crop.py", "points[..., :2] @ transform[:, :2].T", "points[..., :2] @ transform[:, :2]"),
    ("geometry/crop.py", "points[..., 2:] * transform_scale(transform)", "points[..., 2:]"),
    ("geometry/crop.py", "lifted[2, 2] = transform_scale(transform)", "lifted[2, 2] = -transform_scale(transform)"),
    ("geometry/crop.py", "(ratio - 1) / 2", "ratio / 2"),
    # UV layout: flips, half texels, mirror
    ("geometry/uv_layout.py", "(1.0 - uv[..., 1]) * (size - 1)], axis=-1)", "uv[..., 1] * (size - 1)], axis=-1)"),
    ("geometry/uv_layout.py", "np.stack([uv[..., 0] * (size - 1)", "np.stack([uv[..., 0] * size"),
    ("geometry/uv_layout.py", "(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y", "(1 - x) * (1 - y), (1 - x) * y, x * (1 - y), x * y"),
    ("geometry/uv_layout.py", "corner + size, corner + size + 1], axis", "corner + size, corner + size], axis"),
    ("geometry/uv_layout.py", "column, row = landmark_texels(layout, size).T", "row, column = landmark_texels(layout, size).T"),
    ("geometry/uv_layout.py", "(size - 1) - mirrored[..., 0]", "size - mirrored[..., 0]"),
    ("geometry/uv_layout.py", "maps[..., ::-1, :].copy()", "maps.copy()"),
    ("geometry/uv_layout.py", "[upper_left, lower_left, upper_right]", "[upper_left, upper_right, lower_left]"),
    # position map: origin of z, mixture
    ("geometry/position_map.py", "shape_map[..., 2] -= shape_map[..., 2].min()", "shape_map[..., 2] -= shape_map[..., 2].mean()"),
    ("geometry/position_map.py", "mixture = np.ones(", "mixture = np.zeros("),
    ("geometry/position_map.py", "upright = np.diag([1.0, -1.0, 1.0, 1.0])[:3]", "upright = np.diag([1.0, 1.0, 1.0, 1.0])[:3]"),
    # rasteriser: facing, depth order, corner weights
    ("geometry/rasterise.py", "if two_sided else area < 0", "if two_sided else area > 0"),
    ("geometry/rasterise.py", "np.maximum.at(depth, pixel, near)", "np.minimum.at(depth, pixel, near)"),
    ("geometry/rasterise.py", "[first, weight_1, weight_2]", "[first, weight_2, weight_1]"),
    # face model: coefficients swapped
    ("geometry/face_model.py", "identity, expression = coefficients[:count], coefficients[count:]", "expression, identity = coefficients[:-count], coefficients[-count:]"),
    # batches: forgotten crop, mirror, scale
    ("generating/batches.py", "target[:] = target[:, ::-1].copy()", "pass"),
    ("generating/batches.py", "/ (size * TARGET_SCALE)", "/ size"),
    ("generating/batches.py", "np.random.default_rng([seed, epoch, index])", "np.random.default_rng([seed, epoch])"),
    ("generating/augmentation.py", "angle=np.deg2rad(random.uniform", "angle=(random.uniform"),
    # alignment: mirror images, centres, scale
    ("geometry/alignment.py", "np.sign(np.linalg.det(left) * np.linalg.det(right))", "1.0"),
    ("geometry/alignment.py", "target_mean - linear @ source_mean])\n\n\ndef align_directions", "target_mean + linear @ source_mean])\n\n\ndef align_directions"),
    ("geometry/alignment.py", "strength @ signs if scale", "strength.sum() if scale"),
    ("geometry/alignment.py", "points @ transform[:, :3].T + transform[:, 3]", "points @ transform[:, :3] + transform[:, 3]"),
    # NME: mean, wrong boxes, dimensions, z origin, alignment
    ("evaluating/nme.py", "distances(residuals).mean(axis=-1) / normaliser", "np.median(distances(residuals), axis=-1) / normaliser"),
    ("evaluating/nme.py", "np.sqrt(np.prod(_box_sides(points), axis=-1))", "_box_sides(points).mean(axis=-1)"),
    ("evaluating/nme.py", "np.linalg.norm(_box_sides(points), axis=-1)", "np.sqrt(np.prod(_box_sides(points), axis=-1))"),
    ("evaluating/nme.py", "np.ptp(points[..., :2], axis=-2)", "np.ptp(points[..., -2:], axis=-2)"),
    ("evaluating/nme.py", "landmarks[..., pair[0], :] - landmarks[..., pair[1], :]", "landmarks[..., pair[0], :2] - landmarks[..., pair[1], :2]"),
    ("evaluating/nme.py", "residuals[..., 2] -= (", "residuals[..., 2] -= 0 * ("),
    ("evaluating/nme.py", "residuals[..., 2] -= (", "residuals[..., 2] += ("),
    ("evaluating/nme.py", '{"min": np.min,', '{"min": np.max,'),
    ("evaluating/nme.py", 'scale=alignment == "similarity"', 'scale=alignment == "rigid"'),
    ("evaluating/nme.py", "truth[found.nearest]", "truth"),
    # protocols: bins swapped or without sign, failures, corners one off
    ("evaluating/protocols.py", "np.abs(yaw), side=", "yaw, side="),
    ("evaluating/protocols.py", 'np.abs(yaw), side="left"', 'np.abs(yaw), side="right"'),
    ("evaluating/protocols.py", "errors[has_result & (bins == number)]", "errors[has_result & (bins == 2 - number)]"),
    ("evaluating/protocols.py", "mean_of_bins=_mean(means)", "mean_of_bins=_mean(errors[has_result])"),
    ("evaluating/protocols.py", "100.0 * (errors > FAILURE_LIMIT)", "100.0 * (errors[has_result] > FAILURE_LIMIT)"),
    ("evaluating/protocols.py", "np.clip(1 - errors / FAILURE_LIMIT, 0, 1)", "np.clip(1 - errors[has_result] / FAILURE_LIMIT, 0, 1)"),
    ("evaluating/protocols.py", "/ max(len(errors), 1)", "/ max(len(ascending), 1)"),
    ("evaluating/protocols.py", '"standard", "landmark box", OUTER_EYE_CORNERS', '"standard", "mesh diagonal", OUTER_EYE_CORNERS'),
    ("evaluating/protocols.py", "(37, 46)", "(36, 45)"),
    # scores: normaliser of the wrong box, dimensions, origin
    ("evaluating/scoring.py", "return 2 if self.index % 2 == 0 else 3", "return 3 if self.index % 2 == 0 else 2"),
    ("evaluating/scoring.py", "float(root_box_area(true_vertices)", "float(root_box_area(truth.landmarks)"),
    ("evaluating/scoring.py", "float(root_box_area(truth.landmarks)", "float(root_box_area(truth.mesh)"),
    ("evaluating/scoring.py", "landmark_distance(truth.mesh_landmarks", "landmark_distance(truth.landmarks"),
    ("evaluating/scoring.py", "truth.grid_landmarks[:, :coordinates], truth.landmarks", "truth.landmarks, truth.landmarks"),
    # results and subjects: failures as zeros, radians, 1-based pixels, swapped rows
    ("evaluating/results.py", "self.errors[index] = np.inf", "self.errors[index] = 0.0"),
    ("evaluating/subjects.py", "self.yaw = np.degrees([", "self.yaw = np.asarray(["),
    ("evaluating/subjects.py", "row = np.argsort(np.argsort(subjects.names))", "row = np.argsort(subjects.names)[::-1]"),
    ("evaluating/methods.py", "self._restore(of_map, invert_transform(crop))", "self._restore(of_map, crop)"),
    ("evaluating/methods.py", "image.astype(np.float32) / 255 if", "image.astype(np.float32) if"),
    # the face in its photo: degrees, handedness, crop and back, facing
    ("reconstructing/face.py", "np.degrees([pitch, yaw, roll])", "np.asarray([pitch, yaw, roll])"),
    ("reconstructing/face.py", "pitch, yaw, roll, _, _, _, scale =", "yaw, pitch, roll, _, _, _, scale ="),
    ("reconstructing/face.py", "FLIP_Y[:, None] * np.transpose(covariance)", "np.transpose(covariance)"),
    ("reconstructing/face.py", "FLIP_Y[:, None] * np.transpose(covariance)", "FLIP_Y[:, None] * np.array(covariance)"),
    ("reconstructing/face.py", "[FLIP_Y[:, None] * linear, mean]", "[linear, mean]"),
    ("reconstructing/face.py", "1 / len(canonical)", "1 / mask.size"),
    ("reconstructing/face.py", "lift_transform(invert_transform(to_crop))", "lift_transform(to_crop)"),
    ("reconstructing/face.py", "255 if crop.dtype == np.uint8 else 1", "255"),
    ("reconstructing/face.py", "1 - row / (size - 1)", "row / (size - 1)"),
    ("reconstructing/face.py", "return -vertex_normals", "return vertex_normals"),
    ("reconstructing/face.py", "(self.vertices - offset) @ np.linalg.inv(linear).T", "(self.vertices - offset) @ np.linalg.inv(linear)"),
    ("reconstructing/face.py", "(wanted[:, :1] - column) ** 2 + (wanted[:, 1:] - row)", "(wanted[:, :1] - row) ** 2 + (wanted[:, 1:] - column)"),
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
    "evaluating": ["nme", "protocols", "evaluate_model"],
    "reconstructing": ["reconstruct_face", "mesh_files", "video"],
}
"""Test files that must notice an error in a file or package; for any other `GEOMETRY`."""


def test_every_mutation_fits_the_code():
    for path, original, planted in MUTATIONS:
        assert (ROOT / path).read_text(encoding="utf-8").count(original) == 1, (path, original)
        assert original != planted


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
    (checkout / path).write_text(source.replace(original, planted), encoding="utf-8")
    names = TESTS.get(path) or TESTS.get(path.partition("/")[0], GEOMETRY)
    tests = [str(checkout / f"tests/test_{name}.py") for name in names]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    result = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=600)
    assert result.returncode == 1, f"survived:\n{result.stdout[-2000:]}"
