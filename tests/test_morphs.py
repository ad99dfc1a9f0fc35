"""Expressions as changes of a face's surface, and what glTF files hold of them."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from prnet.common.errors import UserError
from prnet.geometry.crop import lift_transform
from prnet.model.networks import read_shapes
from prnet.reconstructing.animation import TrackRecord, animation_bytes
from prnet.reconstructing.expressions import ARKIT_NAMES, HALVED, arkit_expressions
from prnet.reconstructing.face import place_face
from prnet.reconstructing.gltf import Motion, glb_bytes
from prnet.reconstructing.mesh_files import face_mesh, mesh_part, write_mesh, write_together
from prnet.reconstructing.morphs import expression_changes, face_morphs, with_expressions
from prnet.serving.face_files import face_file
from tests.helpers.gltf_files import binary_of, opened_by_three, stored, tree_of, validated


@pytest.fixture(scope="module")
def face(astronaut_face):
    return astronaut_face


@pytest.fixture(scope="module")
def mesh(face):
    return face_mesh(face, face.photo, texture_size=64, with_morphs=True)


def test_the_shapes_read_off_a_network_are_those_it_decodes(face, shipped):
    shapes, parameters = shipped.grid.shapes, face.parameters
    shape = shapes.face(parameters.identity, parameters.expressions)[face.grid.mask]
    turned = (shape @ parameters.rotation.T) * (1, -1, 1)
    turned -= turned.mean(axis=0)
    seen = face.vertices - face.vertices.mean(axis=0)
    scale = np.sum(turned * seen) / np.sum(turned**2)
    np.testing.assert_allclose(scale * turned, seen, atol=1e-3)


def test_networks_without_names_have_no_shapes(face):
    assert read_shapes(object()) is None
    bare = type("Bare", (), {"grid": face.grid, "parameters": None})
    assert face_morphs(bare) is None


def test_weights_times_morphs_and_rest_make_the_face(face):
    morphs = face_morphs(face)
    assert morphs.names == tuple(name for name in ARKIT_NAMES if name != "tongueOut")
    expected = arkit_expressions(face.expressions)
    np.testing.assert_allclose(morphs.weights, [expected[name] for name in morphs.names], rtol=1e-6)
    rest = morphs.rest(face.vertices)
    assert np.abs(rest - face.vertices).max() > 1
    np.testing.assert_allclose(rest + np.tensordot(morphs.weights, morphs.changes, 1), face.vertices, atol=1e-3)


def test_arkits_whole_names_are_the_sums_of_their_halves(face):
    morphs, changes = face_morphs(face), expression_changes(face)[:, face.grid.mask]
    own = dict(zip(face.parameters.names, changes, strict=True))
    for name in HALVED:
        expected = own[f"{name}Left"] + own[f"{name}Right"]
        np.testing.assert_allclose(morphs.changes[morphs.names.index(name)], expected, atol=1e-5)


def test_expressions_move_what_they_name(face):
    morphs = face_morphs(face)
    by_name = dict(zip(morphs.names, morphs.changes, strict=True))
    chin, upper_lid, corner, other = face.grid.landmark_vertices[[8, 37, 48, 54]]
    assert by_name["jawOpen"][chin, 1] > 10  # y points down; the face is 120 pixels high
    assert by_name["eyeBlinkRight"][upper_lid, 1] > 1
    assert np.abs(by_name["eyeBlinkLeft"][upper_lid]).max() < 0.3
    assert by_name["mouthSmileRight"][corner, 1] < -1
    assert np.linalg.norm(by_name["mouthSmileRight"][corner]) > 3 * np.linalg.norm(by_name["mouthSmileRight"][other])


def test_a_face_with_other_expressions(face):
    opened = with_expressions(face, {"jawOpen": 1.0, "browInnerUp": 0.7})
    assert opened.expressions["jawOpen"] == 1
    assert opened.expressions["browInnerUpLeft"] == opened.expressions["browInnerUpRight"] == pytest.approx(0.7)
    assert opened.landmarks[8, 1] > face.landmarks[8, 1] + 5
    again = with_expressions(opened, dict(zip(face.parameters.names, face.parameters.expressions, strict=True)))
    np.testing.assert_allclose(again.position_map, face.position_map, atol=1e-2)
    with pytest.raises(UserError, match="no expression 'wink'"):
        with_expressions(face, {"wink": 1.0})


def test_morph_targets_in_a_file(mesh, tmp_path):
    write_mesh(mesh, tmp_path / "face.glb")
    content = (tmp_path / "face.glb").read_bytes()
    tree, metres = tree_of(content), mesh.in_metres()
    assert tree["extensionsUsed"] == ["KHR_materials_unlit"]
    assert tree["materials"][0]["extensions"] == {"KHR_materials_unlit": {}}
    assert "face" in [node.get("name") for node in tree["nodes"]]
    written = tree["meshes"][0]
    assert written["extras"]["targetNames"] == list(mesh.morphs.names)
    np.testing.assert_allclose(written["weights"], mesh.morphs.weights, rtol=1e-5)
    primitive = written["primitives"][0]
    assert {"POSITION", "NORMAL", "TEXCOORD_0"} <= primitive["attributes"].keys()

    binary = binary_of(content)
    place = stored(tree, binary, primitive["attributes"]["POSITION"])
    for weight, target in zip(written["weights"], primitive["targets"], strict=True):
        place = place + weight * stored(tree, binary, target["POSITION"])
    np.testing.assert_allclose(place, metres.vertices, atol=5e-5)
    normals = stored(tree, binary, primitive["attributes"]["NORMAL"])
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-3)


def test_the_servers_glb_has_morph_targets(face, mesh):
    content, name = face_file(face, face.photo, "glb", "someone")
    assert name == "someone.glb"
    assert tree_of(content)["meshes"][0]["extras"]["targetNames"] == list(mesh.morphs.names)


def moving(mesh):
    """A part that turns, wanders and talks for three frames."""
    angle = np.radians([0, 10, 20]) / 2
    turn = np.column_stack([np.zeros(3), np.sin(angle), np.zeros(3), np.cos(angle)]).astype(np.float32)
    weights = np.random.default_rng(0).uniform(size=(3, len(mesh.morphs.names))).astype(np.float32)
    seconds = np.float32([0, 0.04, 0.08])
    part = mesh_part(mesh.in_metres(), "face0")
    return type(part)(**{**vars(part), "motion": Motion(seconds, turn, np.zeros((3, 3), np.float32), weights)})


def test_an_animation_is_the_faces_of_the_frames(face, shipped):
    """Node and morph targets put the vertices where they are in each frame, but for the distance."""
    spoken = with_expressions(face, {"jawOpen": 0.8, "eyeBlinkLeft": 1.0})
    moved = restored(spoken, np.column_stack([1.2 * np.eye(2), (30, -12)]))
    record = TrackRecord()
    for seconds, shown in ((0.0, face), (0.04, moved)):
        record.add(seconds, shown, face.photo)
    content = animation_bytes({7: record})
    tree = tree_of(content)
    binary = binary_of(content)
    (node,) = [node for node in tree["nodes"] if node.get("name") == "face7"]
    mesh, animation = tree["meshes"][node["mesh"]], tree["animations"][0]
    values = {}
    for channel in animation["channels"]:
        sampler = animation["samplers"][channel["sampler"]]
        values[channel["target"]["path"]] = stored(tree, binary, sampler["output"])
        np.testing.assert_allclose(stored(tree, binary, sampler["input"])[:, 0], [0, 0.04], atol=1e-6)
    rest = stored(tree, binary, mesh["primitives"][0]["attributes"]["POSITION"])
    targets = [stored(tree, binary, target["POSITION"]) for target in mesh["primitives"][0]["targets"]]
    mean_scale = None
    for number, shown in enumerate((face, moved)):
        weights = values["weights"].reshape(2, -1)[number]
        place = (rest + np.tensordot(weights, targets, 1)) @ Rotation.from_quat(
            values["rotation"][number]
        ).as_matrix().T
        closed = shown.grid.closed
        seen = closed.in_files(shown.vertices) * (1, -1, 1)
        scale = np.ptp(place, axis=0).max() / np.ptp(seen, axis=0).max()
        apart = (place - place.mean(axis=0)) - scale * (seen - seen.mean(axis=0))
        assert np.abs(apart).max() < 0.002  # metres; expressions below 0 are clipped
        mean_scale = mean_scale or scale
    shift = values["translation"][1] - values["translation"][0]
    apart = (moved.vertices.mean(axis=0) - face.vertices.mean(axis=0)) * (1, -1, 0)
    np.testing.assert_allclose(shift, apart * mean_scale * 2 / 2.2, atol=0.003)


def restored(face, to_photo):
    """The face after a similarity (2, 3) of its photo."""
    lifted = lift_transform(to_photo)
    position_map = (face.position_map @ lifted[:, :3].T + lifted[:, 3]).astype(np.float32)
    return place_face(position_map, face.box, face.to_crop, face.grid, face.parameters)


def test_khronos_validator_finds_nothing(face, mesh, tmp_path):
    files = [tmp_path / f"{name}.glb" for name in ("metres", "pixels", "frontal", "together", "moving")]
    write_mesh(mesh, files[0])
    write_mesh(mesh, files[1], units="pixels")
    write_mesh(face_mesh(face, face.photo, frontal=True), files[2])
    write_together([mesh, mesh], files[3])
    files[4].write_bytes(glb_bytes([moving(mesh)]))
    record = TrackRecord()
    for seconds in (0.0, 0.04):
        record.add(seconds, face, face.photo)
    files.append(tmp_path / "video.glb")
    files[-1].write_bytes(animation_bytes({0: record, 2: record}))
    for issues in validated(files):
        assert issues["messages"] == []


def test_three_opens_a_face(mesh, tmp_path):
    write_mesh(mesh, tmp_path / "face.glb")
    (opened,) = opened_by_three(tmp_path / "face.glb", tmp_path / "three")
    assert (opened["name"], opened["unlit"], opened["texture"]) == ("face", True, 64)
    assert opened["normals"] == opened["vertices"] == len(mesh.vertices)
    assert list(opened["expressions"]) == list(mesh.morphs.names)
    np.testing.assert_allclose(opened["weights"], mesh.morphs.weights, rtol=1e-5)
    assert 0.15 < opened["size"][1] < 0.3  # metres


def test_the_validator_does_find_faults(mesh, tmp_path):
    content = bytearray(glb_bytes([mesh_part(mesh.in_metres(), "face")]))
    at = content.index(b'"VEC3"')
    content[at : at + 6] = b'"VEC2"'
    (tmp_path / "broken.glb").write_bytes(content)
    assert validated([tmp_path / "broken.glb"])[0]["numErrors"] > 0
