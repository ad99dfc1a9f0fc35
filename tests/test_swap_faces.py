"""Features of one face on another: what changes, what must not, and that results say what they are."""

from contextlib import contextmanager
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from prnet.commands.swap_faces import main
from prnet.common.errors import UserError
from prnet.formats.encoding import encode_png
from prnet.reconstructing.settings import PARTS
from prnet.reconstructing.swapping import Swap, layer_swap, morph_swap, read_layer, swap_input, texture_swap
from prnet.reconstructing.synthetic import NOTICE, SOURCE_TYPE, labelled, synthetic_bytes
from prnet.reconstructing.texture import complete_texture
from prnet.reconstructing.transfer import (
    blend_texture,
    draw_layer,
    morph,
    mouth_hole,
    part_mask,
    transfer_expressions,
)
from prnet.reconstructing.video_files import VideoFile, open_video


@pytest.fixture(scope="module")
def face(astronaut_face):
    return astronaut_face


@pytest.fixture(scope="module")
def pensive(face):
    """The same face with its mouth shut, as another person's expression: the parameters alone are changed."""
    from prnet.reconstructing.morphs import with_expressions

    return with_expressions(face, {"mouthSmileLeft": 0.0, "mouthSmileRight": 0.0, "jawOpen": 0.0})


def difference(one, other):
    return np.abs(one.astype(int) - other).max(axis=-1)


def hull(face, members):
    mask = np.zeros(face.photo.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(face.landmarks[list(members), :2]).astype(np.int32)), 1)
    return mask > 0


@pytest.mark.parametrize("part", PARTS)
def test_a_faces_own_texture_changes_next_to_nothing(face, part):
    texture = complete_texture(face, face.photo, 1024)
    again = blend_texture(face, face.photo, texture, part)
    assert np.median(difference(again, face.photo)[hull(face, range(36, 48))]) <= 6
    assert difference(again, face.photo).mean() < 0.3


@pytest.mark.parametrize(("part", "inside", "outside"), [
    ("eyes", range(36, 48), range(48, 60)),
    ("mouth", range(48, 60), range(36, 48)),
])  # fmt: skip
def test_only_the_part_changes(face, part, inside, outside):
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[::16] = stripes[1::16] = 255
    changed = difference(blend_texture(face, face.photo, stripes, part), face.photo)
    assert changed[hull(face, inside)].mean() > 20
    assert changed[hull(face, outside)].mean() < 1
    assert not changed[300:].any()


def test_parts_lie_within_the_face(face):
    for part in PARTS:
        mask = part_mask(face.grid.layout, part, 128)
        assert mask.any()
        assert (face.grid.closed.mask[mask > 0]).mean() > 0.99
    hole = mouth_hole(face.grid, 128)
    assert 0.9 < hole.max() <= 1
    assert hole[: 128 // 2].max() == 0


def test_expressions_are_transferred(face, pensive):
    from prnet.reconstructing.photo_face import in_photo

    result = transfer_expressions(pensive, face.photo, face, face.photo)
    changed = difference(result, face.photo)
    assert changed[hull(face, range(48, 60))].mean() > 10
    assert changed[hull(face, range(36, 48))].mean() < 10
    same = transfer_expressions(face, face.photo, face, face.photo)
    assert difference(same, face.photo).mean() < 0.3
    bare = in_photo(face, face.photo)
    object.__setattr__(bare, "parameters", None)
    with pytest.raises(UserError, match="no named expressions"):
        transfer_expressions(bare, face.photo, face, face.photo)
    with pytest.raises(UserError, match="no face model"):
        morph(bare, face.photo, face, face.photo, 0.5)


def test_a_morph_begins_at_the_photo(face, pensive):
    unchanged = morph(pensive, face.photo, face, face.photo, 0.0)
    assert difference(unchanged, face.photo).mean() < 0.3
    lips = hull(face, range(48, 60))
    assert difference(morph(pensive, face.photo, face, face.photo, 0.5), unchanged)[lips].mean() > 5  # shapes move
    flat = np.full_like(face.photo, 128)
    amounts = [difference(morph(face, flat, face, face.photo, amount), unchanged)[lips] for amount in (0.3, 0.6, 1.0)]
    assert 5 < amounts[0].mean() < amounts[1].mean() < amounts[2].mean()  # and colours fade
    with pytest.raises(UserError, match="from 0 to 1"):
        morph_swap(face, "a.png", 1.5)


def test_a_layer_is_drawn_where_it_is_not_transparent(face):
    layer = np.zeros((256, 256, 4), np.uint8)
    layer[:, :128] = (0, 255, 0, 255)
    result = draw_layer(face, face.photo, layer)
    changed = difference(result, face.photo)
    columns = face.landmarks[[36, 45], 0]
    right_cheek, left_cheek = (hull(face, members) for members in ((4, 31, 48), (12, 35, 54)))
    assert columns[0] < columns[1]  # the layer's left half is the picture's left
    assert (result[right_cheek][:, 1] > result[right_cheek][:, 0]).mean() > 0.95
    assert changed[left_cheek].mean() < 1
    assert not draw_layer(face, face.photo, np.zeros_like(layer))[..., 0].astype(int).__sub__(face.photo[..., 0]).any()


@pytest.mark.parametrize(("suffix", "form"), [(".png", "PNG"), (".jpg", "JPEG")])
def test_results_say_in_their_metadata_that_they_are_synthetic(tmp_path, suffix, form):
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    (tmp_path / f"a{suffix}").write_bytes(synthetic_bytes(picture, suffix))
    with Image.open(tmp_path / f"a{suffix}", formats=[form]) as image:
        packet = image.info.get("XML:com.adobe.xmp") or image.info["xmp"].decode()
        assert SOURCE_TYPE in packet
        assert NOTICE in packet
        if form == "PNG":
            np.testing.assert_array_equal(np.asarray(image), picture)
    assert difference(labelled(np.zeros((200, 300, 3), np.uint8)), np.zeros((200, 300, 3), np.uint8))[180:].any()


def photo_file(path, face, x=0):
    path.write_bytes(encode_png(np.roll(face.photo[:300, 60:360], x, axis=1)))
    return path


def test_the_program_writes_the_result_and_a_sheet(face, tmp_path, terminal):
    source, target = photo_file(tmp_path / "a.png", face), photo_file(tmp_path / "b.png", face, 20)
    main(["--from", str(source), "--to", str(target), "--part", "eyes", "--output-dir", str(tmp_path / "out")])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"b_swapped.png", "b_swapped_sheet.png"}
    assert "b_swapped_sheet.png" in terminal.readouterr().out.splitlines()[-1]
    with Image.open(tmp_path / "out" / "b_swapped_sheet.png", formats=["PNG"]) as image:
        assert image.width > 2 * image.height


def write_clip(path, face):
    """Three frames of a face that moves to the right."""
    with VideoFile(path, 25.0) as video:
        for shift in range(3):
            video.write(np.ascontiguousarray(np.roll(face.photo[:300, 60:360], 2 * shift, axis=1)))
    return path


def test_a_video_is_changed_in_every_frame_and_marked(face, shipped, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", face)
    paint = Swap(lambda face, image: np.full_like(image, 200), face.photo, "paint")
    written = swap_input(shipped, paint, clip, tmp_path / "out")
    with open_video(written) as video:
        frames = list(video.frames)
    assert len(frames) == 3
    for frame in frames:
        assert abs(int(frame[20, 20, 0]) - 200) < 8
        assert frame[270:, :120].min() < 120  # the word in the corner


@pytest.mark.parametrize(
    ("shape", "problem"),
    [((64, 64, 3), "not an RGBA picture"), ((64, 32, 4), "a UV layer is square"), (None, "no such")],
)
def test_layers_that_are_none(tmp_path, shape, problem):
    if shape:
        (tmp_path / "layer.png").write_bytes(encode_png(np.zeros(shape, np.uint8)))
    with pytest.raises(UserError, match=problem):
        layer_swap(tmp_path / "layer.png")


@pytest.mark.parametrize("flags", [("--part", "face"), ("--expressions",), ("--morph", "0.5")])
def test_flags_that_a_layer_has_no_use_for_are_refused(tmp_path, flags):
    with pytest.raises(UserError, match=f"{flags[0]}: is of another face, --from; leave it out beside --layer"):
        main(["--layer", "layer.png", "--to", "b.jpg", "--output-dir", str(tmp_path), *flags])


def test_a_video_that_breaks_off_says_so(face, shipped, tmp_path, monkeypatch):
    """Its frames are fewer than the file says."""
    from prnet.reconstructing import swapping

    opened = swapping.open_video

    @contextmanager
    def longer(*arguments):
        with opened(*arguments) as video:
            yield replace(video, frame_count=video.frame_count + 3)

    monkeypatch.setattr(swapping, "open_video", longer)
    clip = write_clip(tmp_path / "clip.mp4", face)
    with pytest.raises(UserError, match=r"clip\.mp4: cut short, \d+ of \d+ frames; these are in .*clip_swapped\.mp4"):
        swap_input(shipped, texture_swap(face, "a.png", "face"), clip, tmp_path)
    assert (tmp_path / "clip_swapped.mp4").is_file()


def test_a_layer_is_read_as_it_was_drawn(tmp_path):
    layer = np.random.default_rng(0).integers(0, 256, (16, 16, 4), dtype=np.uint8)
    (tmp_path / "layer.png").write_bytes(encode_png(layer))
    np.testing.assert_array_equal(read_layer(tmp_path / "layer.png"), layer)


def test_what_cannot_be_done_is_one_line(face, shipped, tmp_path):
    (tmp_path / "empty.png").write_bytes(encode_png(np.full((80, 80, 3), 90, np.uint8)))
    with pytest.raises(UserError, match="empty.png: no face found"):
        swap_input(shipped, texture_swap(face, "a.png", "face"), tmp_path / "empty.png", tmp_path)
    with pytest.raises(UserError, match="unknown part 'nose'"):
        texture_swap(face, "a.png", "nose")
