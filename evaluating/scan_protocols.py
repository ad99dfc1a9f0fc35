"""A predicted mesh against a scan in millimetres, under named protocols.

Convention: seven landmarks in NoW's order: outer corner of the right eye, its inner corner, inner corner of the left
eye, its outer corner, bottom of the nose, right and left corner of the mouth (of the 68: 36, 39, 42, 45, 33, 48, 54).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csc_matrix, diags
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from prnet.geometry.alignment import align
from prnet.geometry.crop import compose
from prnet.geometry.surface import Surface
from prnet.geometry.transforms import apply_transform

SEVEN_OF_68 = (36, 39, 42, 45, 33, 48, 54)
"""NoW's landmarks among the 68."""

REFINED_POINTS, REFINE_STEPS, REFINE_TOLERANCE = 2000, 40, 1e-4
"""Refinement: scan vertices that it works on (all are measured), the most steps, the relative gain that ends it."""

MICC_RADIUS = 95.0
"""Millimetres around the tip of the nose (MICC Florence, as Genova et al., CVPR 2018, and Deng et al. crop it)."""

STIFFNESS = (100.0, 30.0, 10.0, 3.0, 1.0)
"""Weights of smoothness against distance of the non-rigid alignment, one after the other."""
NON_RIGID_STEPS, BEND_MARGIN, BEND_REACH = 4, 1.3, 10.0
"""Steps at each stiffness; the scan within so many radii of NoW's region draws the mesh; millimetres beyond which it
does not."""
SMALLEST_CROP = 100


@dataclass(frozen=True, eq=False)
class Scan:
    """Ground truth of a head."""

    vertices: np.ndarray  # (N, 3) float64 mm
    landmarks: np.ndarray  # (7, 3) mm


@dataclass(frozen=True, eq=False)
class PredictedMesh:
    """A face as a method reconstructs it, in a unit and axes of its own; in mm where it is measured with `metric`."""

    vertices: np.ndarray  # (V, 3)
    triangles: np.ndarray  # (T, 3) int
    landmarks: np.ndarray  # (7, 3)


def now_distances(mesh: PredictedMesh, scan: Scan, metric: bool = False) -> np.ndarray:
    """Unsigned distances (n,) in mm of the scan's vertices around the face to the predicted surface (Sanyal et al.,
    CVPR 2019): similarity by the seven landmarks, crop of the scan, refinement on scan-to-surface distances.

    metric : rigid, without scale. Raises ValueError for landmarks that do not span a face or a scan without vertices
    there.
    """
    region, moved = aligned_to_scan(mesh, scan, metric)
    return _distances(region, Surface(moved, mesh.triangles))


def micc_distances(mesh: PredictedMesh, scan: Scan, metric: bool = False) -> np.ndarray:
    """Distances (n,) in mm from the predicted vertices within 95 mm of the scan's nose tip to the planes of the scan's
    nearest vertices; their root mean square is MICC's error. Aligned as `now_distances`, but on that crop."""
    centre = nose_tip(scan)
    region = _within(scan.vertices, centre, MICC_RADIUS)
    moved = apply_transform(refined(mesh, region, _start(mesh, scan, metric), metric), mesh.vertices)
    compared = _within(moved, centre, MICC_RADIUS)
    nearest = cKDTree(region).query(compared)[1]
    return np.abs(np.sum((compared - region[nearest]) * plane_normals(region)[nearest], axis=1))


def non_rigid_distances(mesh: PredictedMesh, scan: Scan, metric: bool = False) -> np.ndarray:
    """Distances (n,) in mm between predicted vertices and the places of the scan that they mean.

    The mesh, aligned as in `now_distances`, is bent onto the scan: in each step every vertex is drawn to the plane at
    the nearest scan vertex, and the displacement is smooth over the mesh's edges, ever less so (`STIFFNESS`). Where the
    bent vertices end are the correspondences; the unbent mesh is then aligned to them and compared (Amberg et al.,
    CVPR 2007; why: arXiv 2505.18025, rigid distances hide a surface that slid along itself). What counts are vertices
    that end within NoW's region and 10 mm of the scan.
    """
    centre, radius = now_region(scan.landmarks)
    moved = aligned_to_scan(mesh, scan, metric)[1]
    target = _within(scan.vertices, centre, BEND_MARGIN * radius)
    bent = bend(moved, mesh.triangles, target)
    counted = cKDTree(target).query(bent)[0] <= BEND_REACH
    counted &= np.linalg.norm(bent - centre, axis=1) <= radius
    if counted.sum() < SMALLEST_CROP:
        raise ValueError("the bent mesh meets hardly any of the scan")
    transform = align(moved[counted], bent[counted], scale=not metric)
    return np.linalg.norm(apply_transform(transform, moved[counted]) - bent[counted], axis=1)


def aligned_to_scan(mesh: PredictedMesh, scan: Scan, metric: bool) -> tuple[np.ndarray, np.ndarray]:
    """The scan's vertices (n, 3) around the face, and the predicted vertices (V, 3) moved to them, in mm."""
    centre, radius = now_region(scan.landmarks)
    region = _within(scan.vertices, centre, radius)
    return region, apply_transform(refined(mesh, region, _start(mesh, scan, metric), metric), mesh.vertices)


def now_region(landmarks: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre (3,) and radius of the part of a scan that NoW compares. landmarks : (7, 3)."""
    nose, between_eyes = landmarks[4], landmarks[1:3].mean(axis=0)
    outer_eyes = np.linalg.norm(landmarks[0] - landmarks[3])
    radius = 1.4 * (outer_eyes + np.linalg.norm(between_eyes - nose)) / 2
    return nose + 0.3 * (between_eyes - nose), float(radius)


def nose_tip(scan: Scan) -> np.ndarray:
    """The scan's vertex (3,) that stands out farthest from the plane of eyes and mouth, within 30 mm of the nose's
    bottom; NoW's landmarks do not hold it."""
    corners = scan.landmarks[[0, 3, 5, 6]]
    normal = np.linalg.svd(corners - corners.mean(axis=0))[2][2]
    normal *= np.sign((scan.landmarks[4] - corners.mean(axis=0)) @ normal)
    near = _within(scan.vertices, scan.landmarks[4], 30.0)
    return near[(near @ normal).argmax()]


def _start(mesh: PredictedMesh, scan: Scan, metric: bool) -> np.ndarray:
    return align(mesh.landmarks, scan.landmarks, scale=not metric)


def _within(points: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    found = points[np.linalg.norm(points - centre, axis=1) <= radius]
    if len(found) < SMALLEST_CROP:
        raise ValueError(f"only {len(found)} vertices lie in the region around the face")
    if np.ptp(found, axis=0).max() < radius / 2:
        raise ValueError("the vertices in the region around the face lie in one place")
    return found


def _distances(points: np.ndarray, surface: Surface) -> np.ndarray:
    return np.linalg.norm(surface.nearest(points) - points, axis=1)


def refined(mesh: PredictedMesh, region: np.ndarray, transform: np.ndarray, metric: bool) -> np.ndarray:
    """The transform (3, 4) of the mesh with the least squared distances from scan vertices (n, 3) to its surface.

    Gauss-Newton on the distances themselves, from a start; a step that does not lessen them is halved.
    """
    points = region[np.linspace(0, len(region) - 1, min(REFINED_POINTS, len(region))).astype(int)]
    foot = _feet(mesh, transform, points)
    cost = np.sum((points - foot) ** 2)
    for _ in range(REFINE_STEPS):
        motion = _motion(points, foot, metric)
        for share in (1.0, 0.5, 0.25, 0.1):
            tried = compose(_as_transform(share * motion, points.mean(axis=0)), transform)
            tried_foot = _feet(mesh, tried, points)
            tried_cost = np.sum((points - tried_foot) ** 2)
            if tried_cost < cost:
                break
        else:
            return transform
        gain, transform, foot, cost = 1 - tried_cost / cost, tried, tried_foot, tried_cost
        if gain < REFINE_TOLERANCE:
            break
    return transform


def _feet(mesh: PredictedMesh, transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    return Surface(apply_transform(transform, mesh.vertices), mesh.triangles).nearly_nearest(points)


def _motion(points: np.ndarray, foot: np.ndarray, metric: bool) -> np.ndarray:
    """The small motion (7,) of the mesh, turn, shift and log scale, that brings feet (n, 3) nearest to points along
    the lines that join them."""
    gap = points - foot
    distance = np.linalg.norm(gap, axis=1)
    far = distance > 1e-9
    direction = gap[far] / distance[far, None]
    arm = foot[far] - points.mean(axis=0)
    columns = [np.cross(arm, direction), direction]
    if not metric:
        columns.append(np.sum(arm * direction, axis=1)[:, None])
    solved = np.linalg.lstsq(np.concatenate(columns, axis=1), distance[far])[0]
    return np.append(solved, 0.0) if metric else solved


def _as_transform(motion: np.ndarray, centre: np.ndarray) -> np.ndarray:
    linear = np.exp(motion[6]) * Rotation.from_rotvec(motion[:3]).as_matrix()
    return np.column_stack([linear, centre + motion[3:6] - linear @ centre])


def bend(vertices: np.ndarray, triangles: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Vertices (V, 3) of a mesh bent onto the planes at points (n, 3) of a scan, smoothly over its edges."""
    laplacian = _laplacian(triangles, len(vertices))
    tree, normals, moved = cKDTree(target), plane_normals(target), vertices.copy()
    for stiffness in STIFFNESS:
        for _ in range(NON_RIGID_STEPS):
            apart, nearest = tree.query(moved)
            gap = np.sum((target[nearest] - moved) * normals[nearest], axis=1, keepdims=True) * normals[nearest]
            drawn = (apart <= BEND_REACH).astype(float)
            solver = splu(csc_matrix(diags(drawn + 1e-6) + stiffness * laplacian))
            moved = vertices + solver.solve((moved + gap - vertices) * drawn[:, None])
    return moved


def plane_normals(points: np.ndarray, neighbours: int = 12) -> np.ndarray:
    """Unit normals (n, 3), of either sign, of the planes through each point's nearest neighbours."""
    around = points[cKDTree(points).query(points, k=neighbours)[1]]
    around = around - around.mean(axis=1, keepdims=True)
    return np.linalg.eigh(np.einsum("nki,nkj->nij", around, around))[1][:, :, 0]


def _laplacian(triangles: np.ndarray, count: int) -> csc_matrix:
    """The graph Laplacian (V, V) of a mesh: d^T L d is the sum over edges of (d_i - d_j)^2."""
    ends = np.unique(
        np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1), axis=0
    )
    ones = np.ones(len(ends))
    adjacent = csc_matrix((ones, ends.T), shape=(count, count))
    adjacent = adjacent + adjacent.T
    return csc_matrix(diags(np.asarray(adjacent.sum(axis=1)).ravel()) - adjacent)


@dataclass(frozen=True)
class ScanProtocol:
    """How a mesh is compared with a scan."""

    name: str
    distances: Callable[[PredictedMesh, Scan, bool], np.ndarray]
    statement: str


_METRIC = "Scale is part of every alignment; in the metric variant it is not, and predictions are in real units."
SCAN_PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        ScanProtocol(
            "now",
            now_distances,
            "NoW (Sanyal et al., CVPR 2019): similarity Procrustes by seven landmarks (no mirror image; the original "
            "permits one); the scan's vertices within 1.4 x (outer eye distance + nose length) / 2 of the point 0.3 of "
            "the way from the nose's bottom to the middle of the inner eye corners; refinement by least squares of the "
            "distances from scan vertices to the surface; unsigned distance of every such vertex. Median, mean and "
            f"deviation over all vertices of all images. {_METRIC}",
        ),
        ScanProtocol(
            "micc",
            micc_distances,
            "MICC (as Genova et al., CVPR 2018): the part within 95 mm of the nose's tip; aligned as NoW's on it; "
            "distance of each predicted vertex to the plane at the nearest scan vertex (12 neighbours); the figure is "
            f"the root mean square, mean over images. {_METRIC}",
        ),
        ScanProtocol(
            "non-rigid",
            non_rigid_distances,
            "Non-rigid: aligned as NoW's, then bent onto the scan by nearest points, smooth over edges, stiffness "
            f"{', '.join(f'{each:g}' for each in STIFFNESS)}; distance of each unbent vertex to where it was bent, "
            f"after Procrustes by these correspondences. {_METRIC}",
        ),
    )
}
