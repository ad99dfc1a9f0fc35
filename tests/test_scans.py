"""Meshes against scans of known deformation, and what files and people may get wrong."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from prnet.commands.evaluate_scans import main
from prnet.common.errors import UserError
from prnet.evaluating.scan_protocols import (
    SCAN_PROTOCOLS,
    SEVEN_OF_68,
    PredictedMesh,
    Scan,
    nose_tip,
    now_region,
)
from prnet.evaluating.scan_references import reference_rows
from prnet.evaluating.scans import ScanResult, summarise_scans
from prnet.formats.scan_files import read_mesh, read_seven_landmarks
from prnet.geometry.face_model import at_landmarks
from prnet.geometry.mesh import vertex_normals
from prnet.geometry.surface import Surface
from prnet.geometry.transforms import apply_transform
from tests.helpers.surfaces import transform_of

IN_METRES = "\n".join(
    f'<point x="{x / 1000}" y="{y / 1000}" z="0.1"/>'
    for x, y in [(-45, 0), (-15, 0), (15, 0), (45, 0), (0, -50), (-20, -80), (20, -80)]
)
NOW, NON_RIGID = SCAN_PROTOCOLS["now"].distances, SCAN_PROTOCOLS["non-rigid"].distances


@pytest.fixture(scope="module")
def head(sample_model):
    """The sample model's mean face in mm: vertices, triangles, seven landmarks, normals."""
    vertices = sample_model.mean.astype(np.float64) / 1000
    marks = at_landmarks(sample_model, vertices)[list(SEVEN_OF_68)]
    return PredictedMesh(vertices, sample_model.triangles, marks)


@pytest.fixture(scope="module")
def scan(head):
    return Scan(head.vertices, head.landmarks)


def moved(head, transform):
    return replace(
        head, vertices=apply_transform(transform, head.vertices), landmarks=apply_transform(transform, head.landmarks)
    )


def test_a_surface_moved_by_1_mm_along_its_normals_lies_1_mm_away(head):
    points = head.vertices + vertex_normals(head.vertices, head.triangles)
    distances = np.linalg.norm(Surface(head.vertices, head.triangles).nearest(points) - points, axis=1)
    assert np.median(distances) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("name", ["now", "micc"])
def test_ripples_of_1_mm_score_what_they_are(head, scan, name):
    """Ripples along the normals are more than an alignment takes away."""
    ripple = np.sin(head.vertices[:, 0] / 1.9) * np.cos(head.vertices[:, 1] / 29)
    rippled = replace(scan, vertices=head.vertices + ripple[:, None] * vertex_normals(head.vertices, head.triangles))
    size = np.sqrt(np.mean(ripple**2))
    distances = SCAN_PROTOCOLS[name].distances(head, rippled, False)
    assert np.sqrt(np.mean(distances**2)) == pytest.approx(size, rel=0.25)


@pytest.mark.parametrize("name", SCAN_PROTOCOLS)
def test_size_turn_and_place_of_a_prediction_do_not_count(head, scan, name):
    elsewhere = moved(head, transform_of((20, -50, 10), (5, 300, -70), 0.037))
    assert SCAN_PROTOCOLS[name].distances(elsewhere, scan, False).max() < 0.05


@pytest.mark.large
def test_the_metric_variant_counts_size_and_not_turn(head, scan):
    turned = moved(head, transform_of((20, -50, 10), (5, 300, -70)))
    assert NOW(turned, scan, True).max() < 0.05
    larger = moved(head, transform_of((0, 0, 0), (0, 0, 0), 1.1))
    assert NOW(larger, scan, False).max() < 0.05
    assert NOW(larger, scan, True).mean() > 0.5


def test_wrong_landmarks_are_mended_by_the_refinement_if_they_are_near(head, scan):
    off = np.random.default_rng(0).normal(0, 3, (7, 3))
    assert np.median(NOW(replace(head, landmarks=head.landmarks + off), scan, False)) < 0.1


@pytest.mark.large
def test_landmarks_in_another_order_do_not_go_unnoticed(head, scan):
    swapped = replace(head, landmarks=head.landmarks[[3, 2, 1, 0, 4, 6, 5]])
    assert np.median(NOW(swapped, scan, False)) > 2


def test_noise_holes_and_hair_of_a_scan(head, scan):
    random = np.random.default_rng(1)
    noisy = replace(scan, vertices=scan.vertices + random.normal(0, 0.3, scan.vertices.shape))
    assert np.median(NOW(head, noisy, False)) == pytest.approx(0.3 * 0.6745, abs=0.06)
    hole = np.linalg.norm(scan.vertices - scan.landmarks[5], axis=1) > 15
    assert np.median(NOW(head, replace(scan, vertices=scan.vertices[hole]), False)) < 0.01
    hair = scan.vertices[scan.vertices[:, 1] > 60] + (0, 0, 25)
    far_from_face = replace(scan, vertices=np.concatenate([scan.vertices, hair + (0, 60, 0)]))
    np.testing.assert_allclose(NOW(head, far_from_face, False).max(), 0, atol=0.01)


def test_non_rigid_alignment_sees_what_slid_along_the_surface(head, scan):
    """A wider mouth and closer eyes: in-plane, so the rigid distances see little of it."""
    x, y = head.vertices[:, 0], head.vertices[:, 1]
    wider = head.vertices.copy()
    wider[:, 0] += 5 * np.sin(x / 25) * np.exp(-(((y - head.landmarks[5, 1]) / 25) ** 2))
    changed = replace(head, vertices=wider)
    assert NON_RIGID(changed, scan, False).mean() > 1.1 * NOW(changed, scan, False).mean()


def test_the_region_is_nows():
    centre, radius = now_region(
        np.array([[-45, 0, 0], [-15, 0, 0], [15, 0, 0], [45, 0, 0], [0, -50, 0], *[[0, 0, 0]] * 2])
    )
    np.testing.assert_allclose(centre, [0, -35, 0])
    assert radius == pytest.approx(1.4 * (90 + 50) / 2)


def test_the_nose_tip_stands_out(head, scan):
    tip = nose_tip(scan)
    assert abs(tip[0]) < 2
    assert tip[2] == pytest.approx(head.vertices[:, 2].max(), abs=1)


def test_figures_are_over_all_vertices_and_missing_images_count():
    results = [
        ScanResult(None, np.array([1.0, 1, 1, 1])),
        ScanResult(None, np.array([4.0])),
        ScanResult(None, None, "lost"),
    ]
    found = summarise_scans(results)
    assert (found.images, found.missing, found.median) == (3, 1, 1)
    assert found.mean == pytest.approx(8 / 5)
    assert found.root_mean_square == pytest.approx(2.5)
    assert np.isnan(summarise_scans(results[2:]).median)


def write_obj(path, vertices, triangles):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["v {} {} {}".format(*vertex) for vertex in vertices] + ["f {} {} {}".format(*t) for t in triangles + 1]
    path.write_text("\n".join(lines))


@pytest.fixture
def folders(head, tmp_path):
    """One person in NoW's layout with two images, the second without a prediction."""
    scans, meshes = tmp_path / "now", tmp_path / "meshes"
    write_obj(scans / "scans/ANNA/m.000100.obj", head.vertices, head.triangles)
    picked = scans / "scans_lmks_onlypp/ANNA/picked_points.pp"
    picked.parent.mkdir(parents=True)
    points = [f'<point y="{y}" name="{n}" x="{x}" z="{z}" active="1"/>' for n, (x, y, z) in enumerate(head.landmarks)]
    picked.write_text("<PickedPoints>" + "\n".join(points) + "</PickedPoints>")
    (scans / "imagepathsvalidation.txt").write_text("ANNA/selfie/IMG_1.jpg\nANNA/multiview_neutral/IMG_2.jpg\n")
    write_obj(meshes / "ANNA/selfie/IMG_1.obj", head.vertices / 1000, head.triangles)
    np.savetxt(meshes / "ANNA/selfie/IMG_1.txt", head.landmarks / 1000)
    return scans, meshes


def run(folders, output, *more):
    return main(["--scans", str(folders[0]), "--predictions", str(folders[1]), "--output-dir", str(output), *more])


def test_nows_layout_is_read_and_what_is_missing_is_counted(folders, tmp_path, capsys):
    assert run(folders, tmp_path / "out") == 1
    table = (tmp_path / "out/scans.md").read_text()
    assert "| all | 2 | 1 | 0.00 | 0.00 | 0.00 | 0.00 ± 0.00 |" in table
    assert "| multiview_neutral | 1 | 1 |  |  |  |  |" in table
    assert "IMG_2: has no predicted mesh" in table
    rows = list(csv.DictReader((tmp_path / "out/scan_images.csv").read_text().splitlines()))
    assert [row["problem"] == "" for row in rows] == [True, False]
    assert (tmp_path / "out/scan_curve.png").stat().st_size > 5000
    assert capsys.readouterr().out.endswith(f"open: {tmp_path}/out/scans.md\n")


def test_the_unit_of_the_metric_variant(folders, tmp_path):
    run(folders, tmp_path / "out", "--metric", "--unit", "m")
    assert "| selfie | 1 | 0 | 0.00 |" in (tmp_path / "out/scans.md").read_text()
    with pytest.raises(UserError, match="--unit mm, cm or m"):
        run(folders, tmp_path / "out", "--metric")
    with pytest.raises(UserError, match="none of 2 images"):
        run(folders, tmp_path / "out", "--metric", "--unit", "mm")


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("meshes/ANNA/selfie/IMG_1.obj", "v 1 2 nonsense", "IMG_1.obj: is no readable mesh|has no"),
        ("meshes/ANNA/selfie/IMG_1.obj", "", "IMG_1.obj: "),
        ("meshes/ANNA/selfie/IMG_1.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\n", "IMG_1.obj: "),
        ("meshes/ANNA/selfie/IMG_1.txt", "1 2 3\n4 5 6\n", "IMG_1.txt: must hold 7 landmarks"),
        ("meshes/ANNA/selfie/IMG_1.txt", "1 2 3\n" * 7, "IMG_1.txt: its landmarks lie on one line"),
        ("meshes/ANNA/selfie/IMG_1.txt", "1 2 nan\n" * 7, "not a finite number"),
        ("meshes/ANNA/selfie/IMG_1.txt", "1 2\n3\n", "three numbers each"),
        ("now/scans/ANNA/m.000100.obj", "v 0 0 0\n" * 200, "lie in one place"),
        ("now/scans_lmks_onlypp/ANNA/picked_points.pp", IN_METRES, "scans have to be in millimetres"),
        ("now/scans/ANNA/other.obj", "v 0 0 0\n", "has 2 files of a scan"),
        ("now/scans_lmks_onlypp/ANNA/picked_points.pp", '<point x="1" y="2"/>', "three numbers each"),
        ("now/scans_lmks_onlypp/ANNA/picked_points.pp", '<point x="' + "1" * 100_000, "of shape|three numbers each"),
        ("now/imagepathsvalidation.txt", "../etc/passwd/x.jpg\n", "not SUBJECT/CHALLENGE/IMAGE"),
        ("now/imagepathsvalidation.txt", "A/b/c.jpg\nA/b/c.jpg\n", "names an image twice"),
        ("now/imagepathstest.txt", "A/b/c.jpg\n", "has 2 imagepaths"),
    ],
)
def test_bad_files_are_named(folders, tmp_path, file, content, complaint):
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=complaint) as caught:
        run(folders, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_landmarks_that_are_not_of_their_mesh_are_refused(head, folders, tmp_path):
    """Pixels of a photo count y downwards, meshes upwards."""
    np.savetxt(tmp_path / "meshes/ANNA/selfie/IMG_1.txt", head.landmarks * (1, -1, 1) / 1000 + (0, 0.5, 0))
    with pytest.raises(
        UserError, match=r"IMG_1.txt: its landmarks lie off the mesh beside it; give both in the same axes"
    ):
        run(folders, tmp_path / "out")


@pytest.mark.parametrize("corner", [9_999_999, -7])
def test_a_triangle_that_points_nowhere_is_no_mesh(head, folders, tmp_path, corner):
    (tmp_path / "meshes/ANNA/selfie/IMG_1.obj").unlink()
    points = "".join(f"{x} {y} {z}\n" for x, y, z in head.vertices[:300] / 1000)
    header = "".join(f"property float {axis}\n" for axis in "xyz")
    (tmp_path / "meshes/ANNA/selfie/IMG_1.ply").write_text(
        f"ply\nformat ascii 1.0\nelement vertex 300\n{header}element face 2\n"
        f"property list uchar int vertex_indices\nend_header\n{points}3 0 1 2\n3 0 1 {corner}\n"
    )
    with pytest.raises(UserError, match=r"IMG_1.ply: is no readable mesh: a triangle points outside the 300 vertices"):
        run(folders, tmp_path / "out")


def test_a_mesh_without_landmarks_is_missing_with_the_reason(folders, tmp_path):
    (tmp_path / "meshes/ANNA/selfie/IMG_1.txt").unlink()
    with pytest.raises(UserError, match=r"IMG_1.obj: has no landmarks beside it"):
        run(folders, tmp_path / "out")


def test_files_of_all_kinds(head, tmp_path):
    import trimesh

    for suffix in (".ply", ".obj", ".stl"):
        trimesh.Trimesh(head.vertices, head.triangles, process=False).export(tmp_path / f"head{suffix}")
        vertices, triangles = read_mesh(tmp_path / f"head{suffix}")
        np.testing.assert_allclose(vertices[triangles], head.vertices[head.triangles], atol=1e-4)
    sixty_eight = np.random.default_rng(0).normal(size=(68, 3))
    np.save(tmp_path / "all.npy", sixty_eight)
    np.testing.assert_allclose(read_seven_landmarks(tmp_path / "all.npy", SEVEN_OF_68), sixty_eight[list(SEVEN_OF_68)])


def test_published_rows_stand_under_their_own_protocol():
    assert any("| Deep3D (PyTorch) | 1.11 | 1.41 | 1.21 |" in line for line in reference_rows("now", False))
    assert any("1.53" in line for line in reference_rows("micc", False))
    assert reference_rows("now", True) == reference_rows("non-rigid", False) == []
