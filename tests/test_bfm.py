"""Basel Face Model files: face3d's layout, the raw layout with 3DDFA's files, PRNet's masks, and damaged files."""

import pickle
from dataclasses import fields

import cv2
import numpy as np
import pytest
import scipy.io

from prnet.commands import build_face_model
from prnet.common.errors import UserError
from prnet.formats.bfm import read_face3d_model, read_raw_model, read_region_weights
from prnet.formats.face_model_file import load_face_model
from prnet.geometry.face_model import FaceModel
from prnet.geometry.mesh import vertex_normals
from prnet.geometry.uv_layout import grid_triangles, texel_coordinates

SIDE = 16


@pytest.fixture(scope="module")
def arrays():
    """A dome of 16 x 16 vertices with a hole, 0-based, counter-clockwise, in BFM's axes and units."""
    random = np.random.default_rng(0)
    mask = np.ones((SIDE, SIDE), dtype=bool)
    mask[11, 6:10] = False
    row, column = np.nonzero(mask)
    x, y = (column / (SIDE - 1) - 0.5) * 1.6e5, (0.5 - row / (SIDE - 1)) * 2e5
    dome = np.column_stack([x, y, 1.2e5 - (x / 400) ** 2 - (y / 500) ** 2]).astype(np.float32)
    count = len(dome)
    exp_mean = random.normal(0, 500, (count, 3)).astype(np.float32)
    apex = np.hypot(x, y).argmin()
    landmarks = random.permutation(np.setdiff1d(np.arange(count), apex))[:68]
    landmarks[30] = apex
    landmarks[[36, 45]] = [count // 3, count // 3 + 8]
    return {
        "shape_mean": dome - exp_mean,
        "exp_mean": exp_mean,
        "shape_basis": random.normal(0, 1e-3, (count, 3, 5)).astype(np.float32),
        "exp_basis": random.normal(0, 1e3, (count, 3, 4)).astype(np.float32),
        "shape_deviation": random.uniform(1e3, 1e5, 5).astype(np.float32),
        "exp_deviation": random.uniform(0.1, 1, 4).astype(np.float32),
        "texture": random.uniform(0, 255, (count, 3)).astype(np.float32),
        "triangles": grid_triangles(mask),
        "landmarks": landmarks,
        "uv": np.column_stack([column, SIDE - 1 - row]) / (SIDE - 1),
    }


def flat(values):
    """MATLAB's order: x, y, z of one vertex after another in one column for each component."""
    return values.reshape(3 * len(values), -1)


def face3d_fields(arrays):
    return {
        "shapeMU": flat(arrays["shape_mean"]),
        "shapePC": flat(arrays["shape_basis"]),
        "shapeEV": arrays["shape_deviation"][:, None],
        "expMU": flat(arrays["exp_mean"]),
        "expPC": flat(arrays["exp_basis"]),
        "expEV": arrays["exp_deviation"][:, None],
        "texMU": flat(arrays["texture"]),
        "tri": arrays["triangles"][:, [0, 2, 1]].T + 1,
        "tri_mouth": np.array([[1], [2], [3]]),
        "kpt_ind": arrays["landmarks"][None].astype(float) + 1,
    }


def write_face3d(path, arrays, **changes):
    changed = face3d_fields(arrays) | changes
    scipy.io.savemat(path, {"model": {name: value for name, value in changed.items() if value is not None}})
    return path


def write_raw(folder, arrays, *, own_triangles):
    """The same model as raw files: 20 more vertices, shuffled in between, are trimmed away again."""
    random = np.random.default_rng(1)
    count = len(arrays["shape_mean"])
    kept = random.permutation(count + 20)[:count]

    def padded(values):
        raw = random.normal(0, 1, (count + 20, *values.shape[1:])).astype(values.dtype)
        raw[kept] = values
        return raw

    spare = np.setdiff1d(np.arange(count + 20), kept)
    raw_triangles = np.concatenate([kept[arrays["triangles"]], np.column_stack([spare, spare - 1, kept[:20]])])
    scipy.io.savemat(
        folder / "01_MorphableModel.mat",
        {
            "shapeMU": flat(padded(arrays["shape_mean"])),
            "shapePC": flat(padded(arrays["shape_basis"])),
            "shapeEV": arrays["shape_deviation"][:, None],
            "texMU": flat(padded(arrays["texture"])),
            "texPC": np.zeros((3 * (count + 20), 1), dtype=np.float32),
            "texEV": np.ones((1, 1)),
            "tl": raw_triangles[:, [0, 2, 1]].astype(float) % (count + 20) + 1,
            "segbin": np.zeros((count + 20, 4)),
        },
    )
    scipy.io.savemat(
        folder / "Model_Exp.mat",
        {
            "mu_exp": flat(arrays["exp_mean"]),
            "w_exp": flat(arrays["exp_basis"]),
            "sigma_exp": arrays["exp_deviation"][:, None],
        },
    )
    info = {"trimIndex": kept[:, None] + 1.0, "keypoints": arrays["landmarks"][None] + 1.0}
    if own_triangles:
        info["tri"] = arrays["triangles"][:, [0, 2, 1]].T + 1
        scipy.io.savemat(folder / "model_info.mat", info)
    else:
        info["kpt_ind"] = info.pop("keypoints")
        scipy.io.savemat(folder / "model_info.mat", {"model_info": info})
    return folder / "01_MorphableModel.mat", folder / "Model_Exp.mat", folder / "model_info.mat"


def assert_same_model(left: FaceModel, right: FaceModel):
    for field in fields(FaceModel):
        if field.name != "source":
            np.testing.assert_array_equal(getattr(left, field.name), getattr(right, field.name), err_msg=field.name)


def test_face3d_model_is_read_with_its_axes_units_and_indices(arrays, tmp_path):
    scipy.io.savemat(tmp_path / "BFM_UV.mat", {"UV": arrays["uv"]})
    model = read_face3d_model(write_face3d(tmp_path / "BFM.mat", arrays), uv_path=tmp_path / "BFM_UV.mat")
    np.testing.assert_allclose(model.mean, arrays["shape_mean"] + arrays["exp_mean"], rtol=1e-6)
    np.testing.assert_array_equal(model.shape_basis, arrays["shape_basis"])
    np.testing.assert_array_equal(model.expression_basis, arrays["exp_basis"])
    np.testing.assert_array_equal(model.shape_deviation, arrays["shape_deviation"])
    np.testing.assert_array_equal(model.expression_deviation, arrays["exp_deviation"])
    np.testing.assert_array_equal(model.landmark_vertices[:, 0], arrays["landmarks"])
    np.testing.assert_allclose(model.mean_texture, arrays["texture"] / 255, rtol=1e-6)
    np.testing.assert_array_equal(model.uv, arrays["uv"].astype(np.float32))
    assert (vertex_normals(model.mean, model.triangles)[:, 2] > 0).all()
    assert sorted(map(sorted, model.triangles.tolist())) == sorted(map(sorted, arrays["triangles"].tolist()))


def test_triangles_that_already_face_outwards_stay_so(arrays, tmp_path):
    path = write_face3d(tmp_path / "BFM.mat", arrays, tri=arrays["triangles"].T + 1)
    np.testing.assert_array_equal(read_face3d_model(path).triangles, arrays["triangles"])


@pytest.mark.parametrize("own_triangles", [True, False])
def test_raw_files_give_the_same_model_as_face3d(arrays, tmp_path, own_triangles):
    raw = read_raw_model(*write_raw(tmp_path, arrays, own_triangles=own_triangles))
    assert_same_model(raw, read_face3d_model(write_face3d(tmp_path / "BFM.mat", arrays)))


def test_stand_in_model_is_the_one_that_is_documented(stand_in_model):
    model = stand_in_model
    assert model.mean.shape == (53215, 3)
    assert model.triangles.shape == (105840, 3)
    assert model.shape_basis.shape[2] == 199
    assert model.expression_basis.shape[2] == 29
    left_eye, right_eye, nose, chin = model.mean[model.landmark_vertices[:, 0][[36, 45, 30, 8]]]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_eye[1] > nose[1] > chin[1]
    assert nose[2] > left_eye[2]
    assert vertex_normals(model.mean, model.triangles)[:, 2].mean() > 0.3
    red, green, blue = model.mean_texture.mean(axis=0)
    assert 0.3 < blue < green < red < 0.7


def test_script_writes_what_it_read(arrays, tmp_path, capsys):
    write_face3d(tmp_path / "BFM.mat", arrays)
    build_face_model.main(["--bfm", str(tmp_path / "BFM.mat"), "--output", str(tmp_path / "made" / "model.hdf5")])
    printed = capsys.readouterr().out
    assert "252 vertices" in printed
    assert "5 identity and 4 expression" in printed
    made = load_face_model(tmp_path / "made" / "model.hdf5")
    assert_same_model(made, read_face3d_model(tmp_path / "BFM.mat"))
    assert made.identity in printed


def test_script_reads_raw_files(arrays, tmp_path):
    bfm, expression, info = map(str, write_raw(tmp_path, arrays, own_triangles=True))
    output = tmp_path / "model.hdf5"
    build_face_model.main(["--bfm", bfm, "--expression", expression, "--info", info, "--output", str(output)])
    assert "Model_Exp.mat" in load_face_model(output).source


def test_script_writes_the_sample_model(sample_model, tmp_path):
    build_face_model.main(["--sample", "--output", str(tmp_path / "model.hdf5")])
    assert load_face_model(tmp_path / "model.hdf5").identity == sample_model.identity


@pytest.mark.parametrize(
    "flags", [["--bfm", "a.mat", "--info", "b.mat"], ["--sample", "--uv", "c.mat"], ["--sample", "--uv-data", "d"]]
)
def test_script_refuses_flags_that_do_not_go_together(flags, tmp_path):
    with pytest.raises(UserError, match="--"):
        build_face_model.main([*flags, "--output", str(tmp_path / "model.hdf5")])


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("shapeMU", None, "no array shapeMU"),
        ("shapeMU", np.zeros((10, 1)), "shapeMU has shape (10, 1) and not (3 n, 1)"),
        ("expEV", None, "no array expEV"),
        ("expMU", np.zeros((9, 1)), "expMU has shape"),
        ("shapePC", np.zeros((9, 5)), "shapePC has shape"),
        ("expPC", "text", "no array expPC"),
        ("shapeEV", np.ones((4, 1)), "shape_deviation has shape"),
        ("texMU", np.full((756, 1), np.nan), "texMU holds NaN"),
        ("tri", np.array([[0], [1], [2]]), "tri is not made of vertex numbers from 1 to 252"),
        ("tri", np.array([[253], [1], [2]]), "tri is not made of vertex numbers from 1 to 252"),
        ("tri", np.array([[1], [2], [3]]).repeat(2, axis=0), "tri has shape"),
        ("tri", np.array([[1], [2], [3]]), "cannot be flattened"),
        ("expPC", np.zeros((2, 2, 2)), "expPC has shape"),
        ("kpt_ind", np.ones((1, 68)), "landmarks lie on top of each other"),
        ("kpt_ind", np.ones((1, 67)), "kpt_ind has shape"),
        ("kpt_ind", np.full((1, 68), 1.5), "kpt_ind is not made of vertex numbers"),
    ],
)
def test_a_wrong_field_is_named_with_its_file(arrays, tmp_path, field, value, complaint):
    path = write_face3d(tmp_path / "BFM.mat", arrays, **{field: value})
    with pytest.raises(UserError) as caught:
        read_face3d_model(path)
    assert str(caught.value).startswith(str(path))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_raw_file_of_another_size_is_named(arrays, tmp_path):
    bfm, expression, info = write_raw(tmp_path, arrays, own_triangles=True)
    scipy.io.savemat(info, {"trimIndex": np.array([[1.0], [999.0]]), "keypoints": np.ones((1, 68))})
    with pytest.raises(UserError, match=r"model_info\.mat: trimIndex is not made of vertex numbers from 1 to 272"):
        read_raw_model(bfm, expression, info)


@pytest.mark.parametrize(
    ("uv", "complaint"),
    [
        (np.zeros((251, 2)), r"UV has shape \(251, 2\) and not \(252, 2\)"),
        (np.full((252, 2), 1.5), "UV leaves 0 to 1"),
    ],
)
def test_wrong_texture_coordinates_are_named(arrays, tmp_path, uv, complaint):
    scipy.io.savemat(tmp_path / "BFM_UV.mat", {"UV": uv})
    with pytest.raises(UserError, match=r"BFM_UV\.mat: " + complaint):
        read_face3d_model(write_face3d(tmp_path / "BFM.mat", arrays), uv_path=tmp_path / "BFM_UV.mat")


def damaged_files(folder, arrays):
    """Files that are not a readable BFM.mat, by what is wrong with them."""
    whole = write_face3d(folder / "whole.mat", arrays).read_bytes()
    (folder / "whole.mat").unlink()
    for share in (0, 4, 100, 127, 140, 1000, len(whole) // 2, len(whole) - 1):
        yield f"cut at {share}", whole[:share]
    yield "MATLAB 7.3", b"MATLAB 7.3 MAT-file".ljust(124, b" ") + b"\x00\x02IM" + whole[128:]
    yield "a pickle", pickle.dumps({"model": 1})
    yield "text", b"not a .mat file at all\n" * 40
    yield "zeros", bytes(5000)
    random = np.random.default_rng(0)
    yield "noise", random.bytes(5000)
    yield "noise in the header of the struct", whole[:136] + random.bytes(400) + whole[536:]


def test_files_that_are_damaged_or_of_another_kind_are_named(arrays, tmp_path):
    for number, (kind, content) in enumerate(damaged_files(tmp_path, arrays)):
        path = tmp_path / f"damaged_{number}.mat"
        path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            read_face3d_model(path)
        assert str(path) in str(caught.value), kind
        assert "\n" not in str(caught.value), kind


def test_any_damage_is_read_or_refused_in_one_line(arrays, tmp_path):
    random = np.random.default_rng(0)
    whole = write_face3d(tmp_path / "BFM.mat", arrays).read_bytes()
    refused = 0
    for number in range(80):
        damaged = bytearray(whole)
        damaged[random.integers(124, 900)] = random.integers(256)
        if number % 2:
            del damaged[random.integers(len(damaged)) :]
        (tmp_path / "BFM.mat").write_bytes(damaged)
        try:
            read_face3d_model(tmp_path / "BFM.mat")
        except UserError as error:
            refused += 1
            assert str(error).startswith(str(tmp_path / "BFM.mat"))  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
    assert refused > 40


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.mat: No such file"):
        read_face3d_model(tmp_path / "absent.mat")


def test_a_struct_of_objects_is_refused(tmp_path):
    scipy.io.savemat(tmp_path / "BFM.mat", {"model": {"shapeMU": np.array([{"a": 1}, "b"], dtype=object)}})
    with pytest.raises(UserError, match="no array shapeMU"):
        read_face3d_model(tmp_path / "BFM.mat")


def test_prnets_own_masks_take_the_place_of_the_derived_ones(shared_data, stand_in_model):
    landmark_uv = stand_in_model.uv[stand_in_model.landmark_vertices[:, 0]]
    weights = read_region_weights(shared_data / "uv", landmark_uv)
    face = cv2.imread(str(shared_data / "uv" / "uv_face_mask.png"), cv2.IMREAD_GRAYSCALE) > 0
    np.testing.assert_array_equal(weights > 0, face)
    assert np.count_nonzero(face) == 43867
    assert set(np.unique(weights)) == {0, 3, 4}
    column, row = np.rint(texel_coordinates(landmark_uv, 256)).astype(int).T
    np.testing.assert_array_equal(weights[row[17:], column[17:]], 4)
    assert np.all(weights[row[[0, 1, 2, 8, 14, 15, 16]], column[[0, 1, 2, 8, 14, 15, 16]]] == 3)


def test_prnets_masks_are_refused_for_other_coordinates(shared_data, stand_in_model):
    landmark_uv = stand_in_model.uv[stand_in_model.landmark_vertices[:, 0]]
    with pytest.raises(UserError, match=r"uv_kpt_ind\.txt: its landmarks lie"):
        read_region_weights(shared_data / "uv", landmark_uv * (1, 0.95))


def test_masks_that_are_no_masks_are_named(tmp_path, arrays):
    landmark_uv = arrays["uv"][arrays["landmarks"]]
    with pytest.raises(UserError, match=r"neither uv_face_mask\.png nor"):
        read_region_weights(tmp_path, landmark_uv)
    for content in (b"\x89PNG broken", b""):
        (tmp_path / "uv_face_mask.png").write_bytes(content)
        with pytest.raises(UserError, match=r"uv_face_mask\.png: cannot be decoded"):
            read_region_weights(tmp_path, landmark_uv)
    cv2.imwrite(str(tmp_path / "uv_face_mask.png"), np.zeros((128, 128), np.uint8))
    with pytest.raises(UserError, match=r"uv_face_mask\.png: has shape \(128, 128\)"):
        read_region_weights(tmp_path, landmark_uv)
    cv2.imwrite(str(tmp_path / "uv_face_mask.png"), np.full((256, 256), 255, np.uint8))
    (tmp_path / "uv_kpt_ind.txt").write_text("1 2\n3 four\n")
    with pytest.raises(UserError, match=r"uv_kpt_ind\.txt: not a table"):
        read_region_weights(tmp_path, landmark_uv)
