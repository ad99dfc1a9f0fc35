"""Faces in videos: tracking, losing and finding again, smoothing, files."""

import re
import subprocess

import cv2
import numpy as np
import pytest

from prnet.commands.reconstruct_face import main
from prnet.common.errors import UserError
from prnet.formats.encoding import encode_png
from prnet.geometry.crop import Box, crop_transform, transform_points
from prnet.reconstructing.face import restore_face
from prnet.reconstructing.look_ahead import line_weights, smoothed_ahead
from prnet.reconstructing.smoothing import OneEuroFilter, Smoothing
from prnet.reconstructing.video import CHECK_EVERY, FaceTracker, is_lost, jitter
from prnet.reconstructing.video_files import VideoFile, open_video
from tests.helpers.perfect_network import mean_face_map, save_mean_face_network

SIZE = 128


class Spots:
    """Stands in for a `FaceReconstructor`: every bright pixel of a black frame is the centre of a face of side 40."""

    def __init__(self, grid, noise: float = 0.0):
        self.detections = 0
        self._grid, self._noise, self._random = grid, noise, np.random.default_rng(0)

    def detect(self, image):
        self.detections += 1
        return [Box(np.array([x, y], float), 44.0) for x, y in self._spots(image)]

    def reconstruct(self, image, boxes):
        return [self._face(image, box) for box in boxes]

    def _spots(self, image):
        return np.argwhere(image[..., 0] > 128)[:, ::-1]

    def _face(self, image, box):
        """The face at the spot within the crop; without one, what a network makes of nothing: a heap of points."""
        to_crop = crop_transform(box, SIZE)
        near = [spot for spot in self._spots(image) if np.abs(spot - box.centre).max() < 0.75 * box.side]
        if not near:
            heap = self._random.uniform(0, SIZE, (SIZE, SIZE, 3)).astype(np.float32)
            return restore_face(heap, box, to_crop, self._grid)
        true_box = Box(np.asarray(near[0], float), 40.0)
        mean_face = mean_face_map(self._grid.layout, SIZE)
        in_photo = restore_face(mean_face, true_box, crop_transform(true_box, SIZE), self._grid).position_map
        tremble = np.float32(self._noise * self._random.normal(size=3))
        return restore_face(transform_points(to_crop, in_photo) + tremble, box, to_crop, self._grid)


def frame_with(*spots):
    frame = np.zeros((120, 200, 3), np.uint8)
    for x, y in spots:
        frame[y, x] = 255
    return frame


def test_a_moving_face_is_followed_without_detecting_again(grid):
    spots = Spots(grid)
    track = FaceTracker(spots)
    for step in range(CHECK_EVERY):
        x = 40 + 5 * step
        ((number, face),) = track(frame_with((x, 60)))
        assert number == 0
        np.testing.assert_allclose(face.tracked_box.centre, (x, 60), atol=1)
    assert spots.detections == 1


def test_a_face_that_jumps_is_found_again(grid):
    spots = Spots(grid)
    track = FaceTracker(spots)
    track(frame_with((40, 60)))
    ((number, face),) = track(frame_with((150, 60)))
    assert spots.detections == 2
    assert number == 1
    np.testing.assert_allclose(face.tracked_box.centre, (150, 60), atol=1)


def test_a_face_that_leaves_is_lost_and_frames_without_one_are_searched(grid):
    spots = Spots(grid)
    track = FaceTracker(spots)
    track(frame_with((40, 60)))
    assert [track(frame_with()) for _ in range(3)] == [[], [], []]
    assert spots.detections == 4
    assert len(track(frame_with((100, 60)))) == 1


def test_several_faces_keep_their_numbers_and_a_new_one_is_found_in_time(grid):
    track = FaceTracker(Spots(grid))
    numbers = [[number for number, _ in track(frame_with((40, 60), (150, 60)))] for _ in range(3)]
    assert numbers == [[0, 1]] * 3
    after_one_left = [[number for number, _ in track(frame_with((150, 60)))] for _ in range(3)]
    assert after_one_left == [[1]] * 3
    with_a_new_one = [len(track(frame_with((150, 60), (60, 60)))) for _ in range(CHECK_EVERY)]
    assert with_a_new_one[-1] == 2


def test_what_counts_as_lost(grid):
    spots = Spots(grid)

    def face_at(spot, centre, side=40.0):
        return spots.reconstruct(frame_with(spot), [Box(np.array(centre, float), side)])[0]

    assert not is_lost(face_at((60, 60), (62, 60)), 120, 200)
    assert is_lost(face_at((60, 60), (80, 60)), 120, 200)  # moved by half its side
    assert is_lost(face_at((60, 60), (60, 60), side=60), 120, 200)  # shrank by a third
    assert is_lost(face_at((60, 60), (60, 60)), 120, 59)  # outside the frame
    assert is_lost(face_at((60, 60), (140, 60)), 120, 200)  # no face in the crop


def test_the_filter_follows_the_papers_equations():
    """Golden values worked out by hand: cutoff 1 Hz at 10 Hz is a weight of 1 / (1 + 10 / 2 pi) = 0.38587."""
    smooth = OneEuroFilter(Smoothing(least_cutoff=1.0, speed_factor=0.0, speed_cutoff=1.0))
    values = [float(smooth(np.array([value]), 0.1)[0]) for value in (0.0, 1.0, 1.0)]
    np.testing.assert_allclose(values, [0, 0.3858695, 0.6228437], rtol=1e-5)

    follow = OneEuroFilter(Smoothing(least_cutoff=1.0, speed_factor=1.0, speed_cutoff=1.0))
    follow(np.array([0.0]), 0.1)
    # speed 10, filtered 3.858695, cutoff 4.858695, weight 1 / (1 + 10 / (2 pi 4.858695)) = 0.753258
    np.testing.assert_allclose(follow(np.array([1.0]), 0.1), [0.753258], rtol=1e-5)


def test_the_filter_does_not_depend_on_the_photos_size():
    signal = np.random.default_rng(0).normal(size=(20, 5))
    small, large = OneEuroFilter(), OneEuroFilter()
    for value in signal:
        np.testing.assert_allclose(10 * small(value, 0.04, 1.0), large(10 * value, 0.04, 10.0), rtol=1e-5)


def test_a_still_face_trembles_less_when_smoothed_and_a_moving_one_is_followed(grid):
    def landmarks(smooth, spots):
        track = FaceTracker(Spots(grid, noise=0.5), smooth=smooth, rate=25.0)
        return np.array([track(frame_with(spot))[0][1].landmarks for spot in spots])

    still = [(100, 60)] * 40
    before, after = (jitter(landmarks(smooth, still)) for smooth in (False, True))
    assert 0.6 < before < 1.8  # expected: 0.5 crop pixels, of a face of 85, in two axes and two frames: 1.18 %
    assert after < 0.4 * before

    moving = [(40 + 3 * step, 60) for step in range(40)]
    lag = landmarks(False, moving)[20:, 30, 0] - landmarks(True, moving)[20:, 30, 0]
    assert abs(lag.mean()) < 3  # a frame


def test_looking_ahead_smooths_without_lag(grid):
    def landmarks(ahead, spots, noise):
        track = FaceTracker(Spots(grid, noise=noise), rate=25.0)
        found = ((frame, track(frame)) for frame in map(frame_with, spots))
        return np.array([faces[0][1].landmarks for _, faces in (smoothed_ahead(found, 25.0) if ahead else found)])

    still = [(100, 60)] * 40
    assert jitter(landmarks(True, still, 0.5)) < 0.25 * jitter(landmarks(False, still, 0.5))
    moving = [(40 + 3 * step, 60) for step in range(40)]  # to the ends of the track
    np.testing.assert_allclose(landmarks(True, moving, 0.0), landmarks(False, moving, 0.0), atol=0.02)


def test_looking_ahead_hands_on_every_frame_in_order(grid):
    track = FaceTracker(Spots(grid), rate=25.0)
    frames = [frame_with((40, 60)) if number % 7 < 5 else frame_with() for number in range(23)]
    kept = list(smoothed_ahead(((frame, track(frame)) for frame in frames), 25.0))
    assert all(kept_frame is frame for (kept_frame, _), frame in zip(kept, frames, strict=True))
    assert [len(faces) for _, faces in kept] == [int(number % 7 < 5) for number in range(23)]
    assert [len(list(smoothed_ahead(iter([(frames[0], [])] * count), 25.0))) for count in (0, 1, 4, 11)] == [
        0,
        1,
        4,
        11,
    ]


def test_the_weights_of_a_line_reproduce_lines():
    seconds = np.array([-0.12, -0.04, 0.0, 0.08, 0.2])
    weights = line_weights(seconds)
    assert weights.sum() == pytest.approx(1)
    assert weights @ (3 * seconds + 7) == pytest.approx(7)
    np.testing.assert_allclose(line_weights(np.array([0.0])), [1])


def write_clip(path, count=8, size=(160, 160)):
    from skimage.data import astronaut

    portrait = astronaut()[20:276, 100:356]
    with VideoFile(path, 25.0) as video:
        for shift in range(count):
            turned = cv2.warpAffine(portrait, np.array([[1.0, 0, 2 * shift], [0, 1.0, 0]]), (256, 256))
            video.write(cv2.resize(turned, size, interpolation=cv2.INTER_AREA))
    return path


def test_a_video_is_written_and_read_back(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", 5)
    with open_video(path) as video:
        frames = list(video.frames)
    assert (video.rate, video.frame_count, len(frames)) == (25.0, 5, 5)
    assert frames[0].shape == (160, 160, 3)
    assert frames[0][60:100, 60:100, 0].mean() > frames[0][60:100, 60:100, 2].mean()  # skin is red: RGB order


@pytest.mark.parametrize("overlay", ["landmarks", "mesh", "depth", "dense", "pncc", "points"])
def test_the_script_draws_over_a_video(layout, tmp_path, overlay):
    clip = write_clip(tmp_path / "clip.mp4", 4)
    model = save_mean_face_network(layout, tmp_path / "mean.keras", SIZE)
    arguments = ["--model", str(model), "--image", str(clip), "--outputdir", str(tmp_path / "out")]
    assert main([*arguments, "--overlay", overlay, "--smooth"]) == 0
    with open_video(tmp_path / "out" / f"clip_{overlay}.mp4") as drawn, open_video(clip) as original:
        changes = [np.abs(a.astype(int) - b).mean() for a, b in zip(drawn.frames, original.frames, strict=True)]
    assert len(changes) == 4
    assert min(changes) > 1
    with np.load(tmp_path / "out" / "clip_tracks.npz") as tracks:
        np.testing.assert_array_equal(tracks["frame"], range(4))
        assert tracks["landmarks"].shape == (4, 68, 3)
        assert tracks["angles"].shape == (4, 3)
        assert tracks["rate"] == 25


def test_a_video_of_the_same_name_elsewhere_loses_nothing(layout, tmp_path, terminal):
    (tmp_path / "other").mkdir()
    here, there = (write_clip(folder / "clip.mp4", 4) for folder in (tmp_path, tmp_path / "other"))
    model = save_mean_face_network(layout, tmp_path / "mean.keras", SIZE)
    arguments = ["--model", str(model), "--outputdir", str(tmp_path / "out")]
    assert [main([*arguments, str(here)]) for _ in range(2)] == [0, 0]
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert main([*arguments, str(there)]) == 1
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == written
    assert f"clip_tracks.npz is of {here}; choose another --output-dir" in terminal.readouterr().err
    assert main([*arguments, str(there), "--overwrite"]) == 0
    with np.load(tmp_path / "out" / "clip_tracks.npz") as tracks:
        assert tracks["source"] == str(there)
    (tmp_path / "out" / "clip_tracks.npz").write_bytes(b"notes of mine")
    assert main([*arguments, str(here), "--overwrite"]) == 1
    assert (tmp_path / "out" / "clip_tracks.npz").read_bytes() == b"notes of mine"


def test_flags_of_photos_do_nothing_for_a_video_and_the_other_way_round(layout, tmp_path, terminal):
    clip, photo = write_clip(tmp_path / "clip.mp4", 4), tmp_path / "photo.png"
    photo.write_bytes(encode_png(np.full((80, 80, 3), 128, np.uint8)))
    model = save_mean_face_network(layout, tmp_path / "mean.keras", SIZE)
    arguments = ["--model", str(model), "--detector", "none", "--outputdir", str(tmp_path / "out")]
    flags = ["--csv", "--pictures", "mesh", "--overlay", "depth", "--end", "1"]
    for inputs, said in [
        ([photo], ["warning: --overlay, --end: no input is a video; nothing comes of it"]),
        ([clip], ["warning: --csv, --pictures: no input is a photo; nothing comes of it"]),
        ([photo, clip], []),
    ]:
        assert main([*arguments, *flags, *map(str, inputs)]) == 0
        assert [line for line in terminal.readouterr().err.splitlines() if line.startswith("warning")] == said


@pytest.fixture
def ffmpeg():
    return pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg, of the extra `video`").get_ffmpeg_exe()


def streams(ffmpeg, path):
    """What FFmpeg says of a file, and of its pictures and sound."""
    said = subprocess.run([ffmpeg, "-hide_banner", "-i", path], capture_output=True, text=True, check=False).stderr
    return {
        kind: next((line for line in said.splitlines() if kind in line), None) for kind in ("Video", "Audio", "Dur")
    }


def with_tone(ffmpeg, clip, path, seconds):
    tone = ["-f", "lavfi", "-i", f"sine=440:duration={seconds}"]
    subprocess.run([ffmpeg, "-v", "error", "-i", clip, *tone, "-c:v", "copy", "-c:a", "aac", path], check=True)
    return path


def test_h264_with_the_sound_of_the_part_that_is_asked_for(layout, tmp_path, ffmpeg):
    clip = with_tone(ffmpeg, write_clip(tmp_path / "silent.mp4", 40, (161, 159)), tmp_path / "clip.mp4", 1.6)
    model = save_mean_face_network(layout, tmp_path / "mean.keras", SIZE)
    arguments = [str(clip), "--model", str(model), "--output-dir", str(tmp_path / "out")]
    assert main([*arguments, "--start", "0.5", "--end", "1.1"]) == 0
    found = streams(ffmpeg, tmp_path / "out" / "clip_landmarks.mp4")
    assert "h264" in found["Video"]
    assert "yuv420p" in found["Video"]
    assert "aac" in found["Audio"]
    assert re.search(r"00:00:00\.6\d", found["Dur"])
    with np.load(tmp_path / "out" / "clip_tracks.npz") as tracks:
        np.testing.assert_array_equal(tracks["frame"], range(13, 28))
    rows = (tmp_path / "out" / "clip_tracks.csv").read_text().splitlines()
    assert rows[0].startswith("frame,seconds,track,pitch,yaw,roll,x0,y0,z0,x1,")
    assert rows[1].startswith("13,0.5200,0,")
    assert len(rows) == 16


def test_a_video_whose_sound_cannot_be_read_is_written_without(tmp_path, ffmpeg):
    (tmp_path / "noise.mp4").write_bytes(b"no video")
    with VideoFile(tmp_path / "out.mp4", 25.0, sound=tmp_path / "noise.mp4") as video:
        video.write(np.zeros((64, 64, 3), np.uint8))
    found = streams(ffmpeg, tmp_path / "out.mp4")
    assert "h264" in found["Video"]
    assert found["Audio"] is None


def test_an_encoder_that_fails_says_why(tmp_path, ffmpeg):
    def write():
        with VideoFile(tmp_path / "no such folder" / "out.mp4", 25.0) as video:
            for _ in range(400):
                video.write(np.zeros((64, 64, 3), np.uint8))

    with pytest.raises(UserError, match="out.mp4: cannot be encoded: .*No such file"):
        write()


def test_without_ffmpeg_a_video_is_still_written(tmp_path, monkeypatch, terminal):
    monkeypatch.setattr("prnet.reconstructing.video_files.find_ffmpeg", lambda: None)
    path = write_clip(tmp_path / "clip.mp4", 3)
    with open_video(path) as video:
        assert len(list(video.frames)) == 3
    (line,) = terminal.readouterr().out.splitlines()
    assert "clip.mp4: written without sound" in line
    assert "pip install 'prnet[video]'" in line


@pytest.mark.parametrize(
    ("start", "end"), [("-1", "2"), ("2", "1"), ("1", "1"), ("nan", "2"), ("0", "inf"), ("inf", "nan")]
)
def test_a_part_that_is_none_is_refused(layout, tmp_path, terminal, start, end):
    model, clip = save_mean_face_network(layout, tmp_path / "mean.keras", SIZE), write_clip(tmp_path / "clip.mp4", 3)
    arguments = [str(clip), "--model", str(model), "--output-dir", str(tmp_path / "out")]
    assert main([*arguments, f"--start={start}", f"--end={end}"]) == 1
    assert "clip.mp4: --start" in terminal.readouterr().err


def test_videos_that_cannot_be_done_are_one_line_each(layout, tmp_path, terminal):
    model = save_mean_face_network(layout, tmp_path / "mean.keras", SIZE)
    folder = tmp_path / "in"
    folder.mkdir()
    whole = write_clip(folder / "whole.mp4", 3).read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with VideoFile(folder / "dark.mp4", 25.0) as video:
        video.write(np.zeros((64, 64, 3), np.uint8))
    assert main(["--model", str(model), "--image", str(folder), "--outputdir", str(tmp_path / "out")]) == 1
    captured = terminal.readouterr()
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert re.search("cut.mp4: (not a video that can be read, or cut short|holds no frame that can be read)", errors[0])
    assert "dark.mp4: no face found in 1 frames" in errors[1]
    assert "whole.mp4: 1 face" in captured.out
    with pytest.raises(UserError, match="no such video file"), open_video(tmp_path / "nowhere.mp4"):
        pass


def test_a_video_that_ends_early_says_so(layout, tmp_path, terminal, monkeypatch):
    """An AVI file keeps its frame count in front, so that a shorter rest still opens."""
    model = save_mean_face_network(layout, tmp_path / "mean.keras", SIZE)
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (160, 160))
    with open_video(write_clip(tmp_path / "clip.mp4", 6)) as video:
        for frame in video.frames:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert main(["--model", str(model), "--image", str(path), "--outputdir", str(tmp_path / "out")]) == 1
    assert "clip.avi: cut short, " in terminal.readouterr().err
    assert (tmp_path / "out" / "clip_landmarks.mp4").is_file()
