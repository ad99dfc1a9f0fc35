"""Silent failures hunted: each small error planted in the geometry, crop, map, pose, metric and batch code must make
some quick test fail. A mutation that survives names a hole in the tests.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["common", "configure", "geometry", "generating", "evaluating", "model"]
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
    ("geometry/pose.py", "transform[:2, 3] += (-1.0, image_height)", "transform[:2, 3] += (0.0, image_height)"),
    ("geometry/pose.py", "transform[:2, 3] += (-1.0, image_height)", "transform[:2, 3] += (-1.0, image_height - 1)"),
    ("geometry/pose.py", "transform[:, :3] = pose[6] * rotation", "transform[:, :3] = rotation"),
    ("geometry/pose.py", "points - np.array([1.0, 1.0, 0.0]", "points - np.array([1.0, 1.0, 1.0]"),
    ("geometry/pose.py", "points - np.array([1.0, 1.0, 0.0]", "points - np.array([0.0, 1.0, 0.0]"),
    # crop: normaliser, origin, direction of rotation, mirror, depth
    ("geometry/crop.py", "(high - low).mean()", "(high - low).max()"),
    ("geometry/crop.py", "zoom = (size - 1) /", "zoom = size /"),
    ("geometry/crop.py", "[[cosine, -sine], [sine, cosine]]", "[[cosine, sine], [-sine, cosine]]"),
    ("geometry/crop.py", "linear[:, 0] *= -1.0", "linear[0] *= -1.0"),
    ("geometry/crop.py", "offset = (size - 1) / 2", "offset = size / 2"),
    ("geometry/crop.py", "+ np.asarray(shift) -", "- np.asarray(shift) -"),
    ("geometry/crop.py", "np.sqrt(abs(np.linalg.det(transform[:, :2])))", "abs(np.linalg.det(transform[:, :2]))"),
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
    ("geometry/position_map.py", "shapes += basis.mean", "shapes += 0"),
    ("geometry/position_map.py", "upright = np.diag([1.0, -1.0, 1.0, 1.0])[:3]", "upright = np.diag([1.0, 1.0, 1.0, 1.0])[:3]"),
    # rasteriser: facing, depth order, corner weights
    ("geometry/rasterise.py", "if two_sided else area < 0", "if two_sided else area > 0"),
    ("geometry/rasterise.py", "np.maximum.at(depth, pixel, near)", "np.minimum.at(depth, pixel, near)"),
    ("geometry/rasterise.py", "[first, weight_1, weight_2]", "[first, weight_2, weight_1]"),
    # face model: coefficients swapped
    ("geometry/face_model.py", "identity, expression = coefficients[:count], coefficients[count:]", "expression, identity = coefficients[:-count], coefficients[-count:]"),
    # batches: forgotten crop, mirror, scale
    ("generating/batches.py", "target[:] = target[:, ::-1].copy()", "pass"),
    ("generating/batches.py", "1 / (size * TARGET_SCALE)", "1 / size"),
    ("generating/batches.py", "np.random.default_rng([seed, epoch, index])", "np.random.default_rng([seed, epoch])"),
    ("generating/augmentation.py", "angle=np.deg2rad(random.uniform", "angle=(random.uniform"),
]  # fmt: skip


@pytest.mark.large
@pytest.mark.parametrize(("path", "original", "planted"), MUTATIONS, ids=range(len(MUTATIONS)))
def test_a_planted_error_is_caught(path, original, planted, tmp_path):
    checkout = tmp_path / "checkout"
    for package in [*PACKAGES, "tests"]:
        shutil.copytree(ROOT / package, checkout / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", checkout)
    if (ROOT.parent / "shared").is_dir():
        (tmp_path / "shared").symlink_to(ROOT.parent / "shared")
    source = (checkout / path).read_text(encoding="utf-8")
    assert source.count(original) == 1, "the mutation no longer fits the code"
    (checkout / path).write_text(source.replace(original, planted), encoding="utf-8")
    names = [
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
    tests = [str(path) for path in (checkout / f"tests/test_{name}.py" for name in names) if path.exists()]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    result = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=600)
    assert result.returncode == 1, f"survived:\n{result.stdout[-2000:]}"
