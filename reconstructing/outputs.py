"""What is written for photos and videos: every file of every face, under names that do not collide."""

import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from prnet.common.errors import UserError
from prnet.common.files import atomic_write
from prnet.formats.encoding import encode_png
from prnet.formats.photo_arrays import Photo, as_photo
from prnet.formats.photos import IMAGE_SUFFIXES, read_image
from prnet.geometry.crop import Box
from prnet.reconstructing.drawing import depth_map, draw_overlay, draw_sheet
from prnet.reconstructing.face import Face
from prnet.reconstructing.mesh_files import face_mesh, mat_bytes, write_mesh
from prnet.reconstructing.photo_face import PhotoFace
from prnet.reconstructing.reconstructor import FaceReconstructor
from prnet.reconstructing.settings import MESH_FORMATS, OutputSettings
from prnet.reconstructing.texture import uv_texture, visibility_mask
from prnet.reconstructing.video import VIDEO_SUFFIXES, FaceTracker, VideoFile, open_video


def find_inputs(path) -> list[Path]:
    """The photos and videos of a folder in the order of their names, or the one file. Raises `UserError` for none."""
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder")
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES)
    if not found:
        raise UserError(f"{path}: holds no photo and no video ({', '.join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))})")
    return found


def output_stems(paths: Sequence[Path]) -> list[str]:
    """How the outputs of each input begin: its stem, or `a_jpg` and `a_png` where a stem is not the only one."""
    stems = [path.stem for path in paths]
    taken = Counter(stem.lower() for stem in stems)
    return [path.stem if taken[path.stem.lower()] == 1 else f"{path.stem}_{path.suffix[1:].lower()}" for path in paths]


def reconstruct_inputs(
    reconstructor: FaceReconstructor,
    inputs: Sequence[Path],
    output_folder,
    settings: OutputSettings,
    *,
    boxes: Sequence[Box] | None = None,
    report=print,
    complain=print,
) -> int:
    """Reconstruct every photo and video and write what the settings ask for. Returns how many inputs failed.

    boxes : of the faces, where they are known. report : called with a line for each input, complain : with one for
    each that fails; the others continue.
    """
    failures = 0
    for path, stem in zip(inputs, output_stems(inputs), strict=True):
        write = write_video if path.suffix.lower() in VIDEO_SUFFIXES else write_photo
        try:
            report(write(reconstructor, path, Path(output_folder), stem, settings, boxes))
        except UserError as error:
            failures += 1
            complain(f"error: {error}")
    return failures


def write_photo(reconstructor, path: Path, folder: Path, stem: str, settings: OutputSettings, boxes=None) -> str:
    """Write all that is asked for of each face of a photo. Returns a line that says what was found."""
    image = read_image(path)
    faces = reconstructor.reconstruct(image, boxes)
    if not faces:
        raise UserError(f"{path}: no face found; give its place with --bbox, or --detector none for the whole photo")
    entries = [write_face(face, image, folder, f"{stem}_face{number}", settings) for number, face in enumerate(faces)]
    summary = {"image": path.name, "width": image.shape[1], "height": image.shape[0], "faces": entries}
    _write_bytes(folder / f"{stem}.json", json.dumps(summary, indent=1).encode())
    return f"{path}: {len(faces)} face{'s' if len(faces) > 1 else ''}, {folder / stem}*"


def write_face(face: Face, image: np.ndarray, folder: Path, stem: str, settings: OutputSettings) -> dict:
    """Write the files of one face of a photo (H, W, 3) uint8 RGB. Returns its entry of the JSON file."""
    depth = depth_map(face, *image.shape[:2])
    levels, depth_range = _depth_levels(depth)
    size = settings.texture_size
    contents = {
        "landmarks": ("_landmarks.txt", landmark_text(face)),
        "sheet": ("_sheet.png", encode_png(draw_sheet(face, image))),
        "depth": ("_depth.png", encode_png(levels)),
        "position_map": ("_uv_map.npy", _npy_bytes(face.position_map)),
        "texture": ("_texture.png", encode_png(uv_texture(face, image, size))),
        "visible": ("_texture_visible.png", encode_png(np.uint8(visibility_mask(face, size)) * 255)),
    }
    if settings.mat:
        contents["mat"] = (".mat", mat_bytes(face, image))
    files = {}
    for name, (ending, content) in contents.items():
        _write_bytes(folder / f"{stem}{ending}", content)
        files[name] = f"{stem}{ending}"
    for frontal in (False, True) if settings.frontal else (False,):
        mesh = face_mesh(face, image, frontal=frontal, texture_size=size)
        for suffix in settings.meshes:
            ending = f"{'_frontal' if frontal else ''}.{suffix}"
            write_mesh(mesh, folder / f"{stem}{ending}")
            files[ending[1:].replace(".", "_")] = f"{stem}{ending}"
    return {**face.to_dict(), "depth_range": depth_range, "files": files}


def save_face(face: Face, path, image: Photo | None = None, *, frontal: bool = False, texture_size: int = 256) -> None:
    """Write a face in the form that the path's suffix names.

    .obj (with .mtl and .png), .ply, .glb : the mesh, turned to the front if `frontal`. .mat : the mesh for MATLAB.
    .txt : landmarks. .json : landmarks, pose, boxes. .npy : the position map. .png : a sheet of pictures.
    image : the photo, where the face does not hold it itself. Raises `UserError` for another suffix.

    >>> face = prnet.reconstruct("photo.jpg")[0]
    >>> prnet.save_face(face, "face.glb")
    """
    path = Path(path)
    if image is None and not isinstance(face, PhotoFace):
        raise UserError(f"{path}: the face does not hold its photo; give that too: save_face(face, path, image)")
    image = face.photo if image is None else as_photo(image)
    if path.suffix[1:] in MESH_FORMATS:
        write_mesh(face_mesh(face, image, frontal=frontal, texture_size=texture_size), path)
        return
    forms = {
        ".mat": lambda: mat_bytes(face, image),
        ".txt": lambda: landmark_text(face),
        ".json": lambda: json.dumps(face.to_dict(), indent=1).encode(),
        ".npy": lambda: _npy_bytes(face.position_map),
        ".png": lambda: encode_png(draw_sheet(face, image)),
    }
    if path.suffix not in forms:
        known = ", ".join([f".{form}" for form in MESH_FORMATS] + list(forms))
        raise UserError(f"{path}: unknown form {path.suffix!r}; choose from {known}")
    _write_bytes(path, forms[path.suffix]())


def landmark_text(face: Face) -> bytes:
    """68 lines of x, y and z in pixels of the photo."""
    text = io.StringIO()
    np.savetxt(text, face.landmarks, fmt="%.3f")
    return text.getvalue().encode()


def write_video(reconstructor, path: Path, folder: Path, stem: str, settings: OutputSettings, boxes=None) -> str:
    """Write a video with its faces drawn over it, and their landmarks and poses. Returns a line of what was found."""
    if boxes is not None:
        raise UserError(f"{path}: boxes, landmarks and fits are for photos; a video's faces are detected and tracked")
    numbers, frames, landmarks, angles = [], [], [], []
    read = 0
    with open_video(path) as video, atomic_write(folder / f"{stem}_{settings.overlay}.mp4") as temporary:
        track = FaceTracker(reconstructor, smooth=settings.smooth, rate=video.rate)
        with VideoFile(temporary, video.rate) as result:
            for read, frame in enumerate(video.frames, start=1):
                for number, face in track(frame):
                    frame = draw_overlay(frame, face, settings.overlay)
                    numbers.append(number)
                    frames.append(read - 1)
                    landmarks.append(face.landmarks)
                    angles.append((face.pose.pitch, face.pose.yaw, face.pose.roll))
                result.write(frame)
        if read == 0:
            raise UserError(f"{path}: holds no frame that can be read; convert it to MP4")
    tracks = io.BytesIO()
    np.savez_compressed(
        tracks,
        frame=np.int32(frames),
        track=np.int32(numbers),
        landmarks=np.float32(landmarks).reshape(-1, 68, 3),
        angles=np.float32(angles).reshape(-1, 3),
        rate=video.rate,
    )
    _write_bytes(folder / f"{stem}_tracks.npz", tracks.getvalue())
    if not numbers:
        raise UserError(f"{path}: no face found in {read} frames")
    if read < video.frame_count:
        raise UserError(f"{path}: cut short, {read} of {video.frame_count} frames; these are in {folder / stem}*")
    return f"{path}: {len(set(numbers))} face(s) in {len(set(frames))} of {read} frames, {folder / stem}*"


def _depth_levels(depth: np.ndarray) -> tuple[np.ndarray, list[float] | None]:
    """A depth map as (H, W) uint16, 0 off the face, and the depths that 1 and 65535 stand for."""
    seen = np.isfinite(depth)
    levels = np.zeros(depth.shape, dtype=np.uint16)
    if not seen.any():
        return levels, None
    far, near = float(depth[seen].min()), float(depth[seen].max())
    levels[seen] = 1 + np.rint((depth[seen] - far) / max(near - far, 1e-6) * 65534)
    return levels, [far, near]


def _npy_bytes(array: np.ndarray) -> bytes:
    with io.BytesIO() as file:
        np.save(file, array)
        return file.getvalue()


def _write_bytes(path: Path, content: bytes) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
