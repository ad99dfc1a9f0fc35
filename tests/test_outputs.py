"""Names of results: none collides, every file name works, results are not taken for photos, and none is left over."""

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest

from prnet.commands import reconstruct_face
from prnet.commands.terminal import run_script
from prnet.common.errors import UserError
from prnet.common.files import read_file
from prnet.geometry.crop import Box
from prnet.geometry.position_map import layout_of_model
from prnet.reconstructing.outputs import find_inputs, output_stems, reconstruct_inputs, save_face
from prnet.reconstructing.reconstructor import FaceReconstructor
from prnet.reconstructing.settings import OVERLAYS, OutputSettings
from prnet.reconstructing.video_files import VideoFile
from tests.helpers.faults import run
from tests.helpers.perfect_network import save_mean_face_network
from tests.helpers.small_faces import small_photo

ROOT = Path(__file__).resolve().parents[1]
SIDE = 64
BOXES = [Box(np.array([x, 32.0]), 20.0) for x in (20.0, 40.0, 30.0)]


@pytest.fixture(scope="module")
def model_path(sample_model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    return save_mean_face_network(layout_of_model(sample_model), folder / "mean.keras", 128)


@pytest.fixture(scope="module")
def reconstructor(model_path):
    return FaceReconstructor(model_path, detector="none")


def put_photos(folder: Path, *names: str | bytes) -> Path:
    folder.mkdir(exist_ok=True)
    for seed, name in enumerate(names):
        suffix = ".png" if os.fsdecode(name).endswith(".png") else ".jpg"
        Path(os.fsdecode(os.path.join(os.fsencode(folder), os.fsencode(name)))).write_bytes(
            small_photo(seed, SIDE, suffix)
        )
    return folder


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["a.jpg", "b.png"], ["a", "b"]),
        (["a.jpg", "a.png"], ["a_jpg", "a_png"]),
        (["a.jpg", "a.png", "a_jpg.bmp"], ["a_jpg", "a_png", "a_jpg_bmp"]),
        (["a.jpg", "a.png", "a_jpg.bmp", "a_jpg_bmp.gif"], ["a_jpg", "a_png", "a_jpg_bmp", "a_jpg_bmp_gif"]),
        (["a.JPG", "a.jpg", "a_jpg_2.png"], ["a_jpg", "a_jpg_3", "a_jpg_2"]),
        (["b\n.jpg", "b\udcff.jpg", "c d.jpg"], ["b__jpg", "b__jpg_2", "c d"]),
        (["\xe9.jpg", "e\u0301.png"], ["\xe9_jpg", "e\u0301_png"]),
    ],
)
def test_no_two_inputs_share_their_results(names, stems):
    assert output_stems([Path(name) for name in names]) == stems
    assert output_stems([Path(name) for name in reversed(names)]) == stems[::-1]


@pytest.mark.parametrize("rounds", [500, pytest.param(20_000, marks=pytest.mark.large)])
def test_no_names_whatever_share_their_results(rounds):
    pieces = ["a", "A", "_", "jpg", "png", "2", ".", "\n", "\udcff", "\xe9", "e\u0301", "face0", " "]
    suffixes = [".jpg", ".JPG", ".png", ".jpeg"]
    for seed in range(rounds):
        random = np.random.default_rng(seed)
        names = {"".join(random.choice(pieces, 3)).strip(".") + random.choice(suffixes) for _ in range(12)}
        paths = [Path("x" + name) for name in random.permutation(sorted(names))]
        stems = output_stems(paths)
        assert len({unicodedata.normalize("NFC", stem).casefold() for stem in stems}) == len(stems), paths
        assert all(stem.isprintable() for stem in stems)
        by_name = dict(zip(paths, stems, strict=True))
        assert by_name == dict(zip(paths[::-1], output_stems(paths[::-1]), strict=True))


def test_a_folder_can_take_its_own_results(model_path, tmp_path, capsys):
    folder = put_photos(tmp_path / "photos", "a.jpg", "a.png", "a_jpg.bmp", "b.jpg")
    (folder / "a_jpg.bmp").rename(folder / "a_jpg.jpeg")
    command = ["--model", model_path, "--image", folder, "--outputdir", folder, "--detector", "none", "--frontal"]
    assert run(capsys, reconstruct_face.main, command) == (0, [])
    first = names_in(folder)
    assert {name for name in first if name.endswith(".json")} == {
        f"{s}.json" for s in ("a_jpg", "a_png", "a_jpg_jpeg", "b")
    }
    assert "b_face0.glb" in first
    for _ in range(2):
        with pytest.raises(SystemExit) as caught:
            run_script(lambda: reconstruct_face.main([str(argument) for argument in command]))
        assert caught.value.code == 0
        said = capsys.readouterr().out.splitlines()
        assert said[0] == f"{folder}: 20 files are results of an earlier run and are not taken"
        assert len(said) == 6
        assert said[-1].startswith("open: ")
        assert names_in(folder) == first
    assert find_inputs(folder / "b_face0_sheet.png") == [folder / "b_face0_sheet.png"]  # asked for by its name


def test_a_video_that_was_drawn_over_is_no_input(reconstructor, tmp_path):
    frame = np.zeros((SIDE, SIDE, 3), np.uint8)
    with VideoFile(tmp_path / "clip.mp4", 25) as video:
        for _ in range(3):
            video.write(frame)
    assert reconstruct_inputs(reconstructor, find_inputs(tmp_path), tmp_path, OutputSettings()) == []
    assert names_in(tmp_path) == {"clip.mp4", "clip_landmarks.mp4", "clip_tracks.csv", "clip_tracks.npz"}
    assert find_inputs(tmp_path) == [tmp_path / "clip.mp4"]


def test_faces_that_an_earlier_run_found_are_removed(reconstructor, tmp_path):
    folder, output = put_photos(tmp_path / "photos", "a.jpg"), tmp_path / "out"
    write = lambda boxes, **more: reconstruct_inputs(  # noqa: E731
        reconstructor, [folder / "a.jpg"], output, OutputSettings(**more), boxes=boxes
    )
    assert write(BOXES[:1]) == []
    one = names_in(output)
    assert write(BOXES, mat=True, frontal=True) == []
    assert len(names_in(output)) > 3 * len(one)
    kept = {"a_face1_notes.txt": "of a person", "a_face9.obj": "likewise", "b_face1.obj": "of another photo"}
    for name, text in kept.items():
        (output / name).write_text(text)
    assert write(BOXES[:1]) == []
    assert names_in(output) == one | set(kept)
    named = {name for face in json.loads((output / "a.json").read_text())["faces"] for name in face["files"].values()}
    assert named | {"a.json"} == one


@pytest.mark.parametrize(
    "named", ["../a_face1.obj", "/a_face1.obj", "a_face1.obj/../../x", "b_face1.obj", "a.jpg", "a_face1"]
)
def test_a_json_file_of_a_stranger_removes_nothing_else(reconstructor, tmp_path, named):
    folder = put_photos(tmp_path / "photos", "a.jpg", "b_face1.obj")
    (tmp_path / "a_face1.obj").touch()
    (folder / "a_face1").touch()
    (folder / "a.json").write_text(json.dumps({"faces": [{"files": {"obj": named}}]}))
    before = names_in(folder)
    assert reconstruct_inputs(reconstructor, [folder / "a.jpg"], folder, OutputSettings(), boxes=BOXES[:1]) == []
    assert before <= names_in(folder)
    assert (tmp_path / "a_face1.obj").exists()


@pytest.mark.parametrize(
    "text", ["{}", "[]", "not JSON", '{"faces": [{"files": {"obj": 3}}]}', '{"faces": 1}', "[" * 9999]
)
def test_a_json_file_of_somebody_else_is_not_written_over(reconstructor, terminal, tmp_path, text):
    folder = put_photos(tmp_path / "photos", "a.jpg", "b.jpg")
    (folder / "a.json").write_text(text)
    inputs = find_inputs(folder)
    assert len(reconstruct_inputs(reconstructor, inputs, folder, OutputSettings())) == 1
    lines = terminal.readouterr().err.splitlines()
    assert lines == [f"error: {folder / 'a.json'}: was not written by this program; choose another --output-dir"]
    assert (folder / "a.json").read_text() == text
    assert (folder / "b.json").exists()


def test_a_photo_with_the_name_of_a_result_is_not_written_over(reconstructor, terminal, tmp_path):
    folder = put_photos(tmp_path / "photos", "a.jpg", "a_face0_sheet.png", "b.jpg")
    (folder / "b_landmarks.mp4").write_bytes(b"no video, and no result of a photo")
    before = (folder / "a_face0_sheet.png").read_bytes()
    inputs = find_inputs(folder)
    assert len(reconstruct_inputs(reconstructor, inputs, folder, OutputSettings())) == 2
    lines = terminal.readouterr().err.splitlines()
    assert (
        lines[0]
        == f"error: {folder / 'a.jpg'}: a result would be written over a_face0_sheet.png; choose another --output-dir"
    )
    assert "b_landmarks.mp4: not a video" in lines[1]
    assert (folder / "b.json").exists()
    assert (folder / "a_face0_sheet.png").read_bytes() == before
    assert "a_face0_sheet.json" in names_in(folder)


def test_one_input_that_cannot_be_opened_leaves_the_others(reconstructor, terminal, tmp_path, monkeypatch):
    folder = put_photos(tmp_path / "photos", "a.jpg", "b.jpg")

    def refuse(path, limit):
        if path.name == "a.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return read_file(path, limit)

    monkeypatch.setattr("prnet.formats.photos.read_file", refuse)
    output = tmp_path / "out"
    assert len(reconstruct_inputs(reconstructor, find_inputs(folder), output, OutputSettings())) == 1
    lines = terminal.readouterr().err.splitlines()
    assert lines == [f"error: {folder / 'a.jpg'}: Permission denied"]
    assert (output / "b.json").exists()


ODD_NAMES = [
    b"bad\xff.jpg",
    "\xe9.jpg".encode(),
    b"new\nline.jpg",
    b"\x1b[31mred.jpg",
    "e\u0301.jpg".encode(),
    b"plain.jpg",
]
LOCALES = [
    {"LC_ALL": "C.UTF-8"},
    {"LC_ALL": "C"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "ascii"},
]


def reconstruct_in(environment: dict, *arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, ROOT / "reconstruct_face.py", *arguments, "--detector", "none"],
        env=os.environ | environment,
        capture_output=True,
        timeout=300,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take no such names")
@pytest.mark.parametrize(
    "environment", [LOCALES[2], *(pytest.param(some, marks=pytest.mark.large) for some in LOCALES)]
)
def test_every_file_name_works_in_every_locale(model_path, tmp_path, environment):
    folder, output = (
        put_photos(tmp_path / b"pho\xffto\ns".decode(errors="surrogateescape"), *ODD_NAMES),
        tmp_path / "out",
    )
    (folder / "video\udcff.mp4").write_bytes(b"no video")
    done = reconstruct_in(environment, "--model", model_path, "--image", folder, "--outputdir", output)
    assert done.returncode == 1
    assert done.stdout.count(b"\n") - 1 == done.stdout.count(b": 1 face") == len(ODD_NAMES)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith(b"error: ")]
    assert line.endswith(b".mp4: the name is not UTF-8, which videos need; rename it")
    written = {path.name for path in output.iterdir()}
    assert len({name for name in written if name.endswith(".json")}) == len(ODD_NAMES)
    assert all(name.isprintable() for name in written) or environment is LOCALES[2]
    for path in output.glob("*.obj"):
        library, _, *vertices = path.read_text("utf-8").splitlines()
        assert library.removeprefix("mtllib ") in written
        assert vertices[0].startswith("v ")
        (texture,) = [
            line for line in path.with_suffix(".mtl").read_text("utf-8").splitlines() if line.startswith("map_Kd ")
        ]
        assert texture.removeprefix("map_Kd ") in written


def test_a_mesh_that_a_person_names_oddly_can_be_opened(reconstructor, tmp_path):
    photo = np.zeros((SIDE, SIDE, 3), np.uint8)
    (face,) = reconstructor.reconstruct(photo, BOXES[:1])
    save_face(face, tmp_path / "a\nb\udcff.obj", photo)
    assert (tmp_path / "a\nb\udcff.obj").read_text("utf-8").splitlines()[0] == "mtllib a_b_.mtl"
    assert names_in(tmp_path) == {"a\nb\udcff.obj", "a_b_.mtl", "a_b__texture.png"}


@pytest.mark.parametrize("bad", ["a\udcff.mp4", "\udcff/a.mp4"])
def test_a_video_whose_name_crashes_its_reader_is_one_line(reconstructor, terminal, tmp_path, bad):
    path = tmp_path / bad
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    assert reconstruct_inputs(reconstructor, [path], tmp_path / "out", OutputSettings()) == [path]
    (line,) = terminal.readouterr().err.splitlines()
    assert "the name is not UTF-8, which videos need; rename it" in line
    with pytest.raises(UserError, match="not UTF-8"):
        VideoFile(path, 25)


def test_tables_pictures_masked_textures_and_all_faces_in_one_file(reconstructor, tmp_path):
    folder, output = put_photos(tmp_path / "photos", "a.jpg"), tmp_path / "out"
    wanted = OutputSettings(csv=True, pictures=OVERLAYS, masked=True, together=True, texture_size=64)
    assert reconstruct_inputs(reconstructor, [folder / "a.jpg"], output, wanted, boxes=BOXES) == []
    summary = json.loads((output / "a.json").read_text())
    assert summary["files"] == {
        **{kind: f"a_{kind}.png" for kind in OVERLAYS},
        "glb": "a_faces.glb",
        "ply": "a_faces.ply",
    }
    count = int(reconstructor.grid.mask.sum())
    for number, face in enumerate(summary["faces"]):
        assert len(face["landmarks_visible"]) == 68
        assert all((output / name).is_file() for name in face["files"].values())
        landmarks = np.loadtxt(output / f"a_face{number}_landmarks.csv", delimiter=",", skiprows=1)
        np.testing.assert_allclose(landmarks[:, 1:4], face["landmarks"], atol=1e-3)
        np.testing.assert_array_equal(landmarks[:, 4], face["landmarks_visible"])
        vertices = np.loadtxt(output / f"a_face{number}_vertices.csv", delimiter=",", skiprows=1)
        assert vertices.shape == (count, 8)
        masked = cv2.imread(str(output / f"a_face{number}_texture_masked.png"), cv2.IMREAD_UNCHANGED)
        texture = cv2.imread(str(output / f"a_face{number}_texture.png"))
        visible = cv2.imread(str(output / f"a_face{number}_texture_visible.png"), cv2.IMREAD_GRAYSCALE)
        assert masked.shape == (64, 64, 4)
        np.testing.assert_array_equal(masked[..., :3], texture)
        np.testing.assert_array_equal(masked[..., 3], visible)
        assert set(np.unique(visible)) == {0, 255}
    pncc = cv2.imread(str(output / "a_pncc.png"))
    assert 0 < pncc.any(axis=-1).mean() < 1
    assert find_inputs(folder) == [folder / "a.jpg"]
    names = names_in(output)
    assert reconstruct_inputs(reconstructor, [folder / "a.jpg"], output, OutputSettings(), boxes=BOXES[:1]) == []
    assert not [name for name in names_in(output) if name in {*summary["files"].values()}]
    assert len(names_in(output)) < len(names)


@pytest.mark.parametrize("side", ["0", "100", "16384", "-256"])
def test_sides_of_textures_are_powers_of_two(side, terminal):
    with pytest.raises(SystemExit) as caught:
        run_script(lambda: reconstruct_face.main(["a.jpg", f"--texture={side}"]))
    assert caught.value.code == 2
    assert f"--texture {side}: give a power of two" in terminal.readouterr().err


def test_pictures_beside_their_photos_are_no_inputs(reconstructor, tmp_path):
    folder = put_photos(tmp_path / "photos", "a.jpg", "b_mesh.png")
    settings = OutputSettings(pictures=("mesh", "pncc"))
    assert reconstruct_inputs(reconstructor, [folder / "a.jpg"], folder, settings, boxes=BOXES) == []
    assert find_inputs(folder) == [folder / "a.jpg", folder / "b_mesh.png"]
