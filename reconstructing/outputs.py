"""What is written for photos and videos: every file of every face, under names that do not collide."""

import io
import json
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count, product
from pathlib import Path

import numpy as np

from prnet.common.errors import UserError, in_one_line, printable
from prnet.common.files import atomic_write, plain_name, read_file
from prnet.formats.encoding import encode_png
from prnet.formats.photo_arrays import Photo, as_photo
from prnet.formats.photos import IMAGE_SUFFIXES, read_image
from prnet.geometry.crop import Box
from prnet.reconstructing.appearance import appearance_files
from prnet.reconstructing.drawing import depth_map, draw_overlays, draw_sheet
from prnet.reconstructing.face import HARDLY_A_FACE, Face
from prnet.reconstructing.mesh_files import face_mesh, mat_bytes, write_mesh, write_together
from prnet.reconstructing.photo_face import PhotoFace
from prnet.reconstructing.places import require_near
from prnet.reconstructing.reconstructor import FaceReconstructor
from prnet.reconstructing.settings import MAX_TEXTURE, MESH_FORMATS, OVERLAYS, UNITS, OutputSettings
from prnet.reconstructing.tables import landmark_table, vertex_table
from prnet.reconstructing.texture import Texture, complete_texture, texture_side, visibility_mask, visible_landmarks
from prnet.reconstructing.video_files import VIDEO_SUFFIXES
from prnet.reconstructing.video_outputs import write_video

logger = logging.getLogger(__name__)

MAX_JSON = 1 << 28

_PICTURE = re.compile(r"(?P<face>(?P<stem>.+)_face[0-9]+)_[a-z_]+\.png")
_OVERLAY = re.compile(rf"(?P<stem>.+)_(?:{'|'.join(OVERLAYS)})\.png")
_VIDEO = re.compile(rf"(?P<stem>.+)_(?:{'|'.join(OVERLAYS)})\.mp4")


def find_inputs(path) -> list[Path]:
    """The photos and videos of a folder in the order of their names, or the one file. Raises `UserError` for none.

    What this program wrote there before is not taken; the log says so.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder")
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES)
    inputs = [file for file in found if not _is_result(file)]
    if len(inputs) < len(found):
        taken_out = f"{len(found) - len(inputs)} files are results of an earlier run and are not taken"
        logger.info(printable(f"{path}: {taken_out}"))
    if not inputs:
        raise UserError(f"{path}: holds no photo and no video ({', '.join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))})")
    return inputs


def _is_result(path: Path) -> bool:
    """Whether this program wrote a picture or video: then the numbers that it wrote before lie beside it."""
    if match := _PICTURE.fullmatch(path.name):
        return path.with_name(f"{match['face']}_landmarks.txt").is_file()
    if match := _OVERLAY.fullmatch(path.name):
        return path.with_name(f"{match['stem']}.json").is_file()
    if match := _VIDEO.fullmatch(path.name):
        return path.with_name(f"{match['stem']}_tracks.npz").is_file()
    return False


def output_stems(paths: Sequence[Path]) -> list[str]:
    """How the outputs of each input begin, so that no two share a file, also where case does not tell names apart.

    An input's stem where no other is called so, else `a_jpg` and `a_png`; what is still the same gets a number, in
    the order of the files' names.
    """
    stems = [plain_name(path.stem) for path in paths]
    while twice := _more_than_once(stems):
        longer = [
            f"{plain_name(path.stem)}_{path.suffix[1:].lower()}" if _key(stem) in twice else stem
            for path, stem in zip(paths, stems, strict=True)
        ]
        if longer == stems:
            break
        stems = longer
    taken, named = {_key(stem) for stem in stems}, set()
    for place in sorted(range(len(paths)), key=lambda place: paths[place].name):
        if _key(stems[place]) in named:
            numbered = (f"{stems[place]}_{number}" for number in count(2))
            stems[place] = next(stem for stem in numbered if _key(stem) not in taken)
            taken.add(_key(stems[place]))
        named.add(_key(stems[place]))
    return stems


def _more_than_once(stems: Sequence[str]) -> set[str]:
    return {key for key, times in Counter(map(_key, stems)).items() if times > 1}


def _key(stem: str) -> str:
    """The same for names that some file system takes for one."""
    return unicodedata.normalize("NFC", stem).casefold()


def reconstruct_inputs(
    reconstructor: FaceReconstructor,
    inputs: Sequence[Path],
    output_folder,
    settings: OutputSettings,
    *,
    boxes: Sequence[Box] | None = None,
) -> list[Path]:
    """Reconstruct every photo and video and write what the settings ask for. Returns the inputs that failed.

    boxes : of the faces, where they are known. The log has a line for each input, an error for one that fails; the
    others continue.
    """
    failed, folder = [], Path(output_folder)
    for path, stem in zip(inputs, output_stems(inputs), strict=True):
        write = write_video if path.suffix.lower() in VIDEO_SUFFIXES else write_photo
        try:
            _require_no_loss(path, stem, folder, inputs)
            found = write(reconstructor, path, folder, stem, settings, boxes)
        except (UserError, OSError) as error:
            failed.append(path)
            logger.error(in_one_line(error))
        else:
            logger.info(printable(found))
    return failed


def _require_no_loss(path: Path, stem: str, folder: Path, inputs: Sequence[Path]) -> None:
    """Raise `UserError` where another input has the name of one of this input's results."""
    results = (_VIDEO,) if path.suffix.lower() in VIDEO_SUFFIXES else (_PICTURE, _OVERLAY)
    for other, result in product(inputs, results):
        match = result.fullmatch(other.name)
        if match and match["stem"] == stem and other.parent.resolve() == folder.resolve():
            raise UserError(f"{path}: a result would be written over {other.name}; choose another `output_folder`")


def write_photo(reconstructor, path: Path, folder: Path, stem: str, settings: OutputSettings, boxes=None) -> str:
    """Write all that is asked for of each face of a photo. Returns a line that says what was found.

    What an earlier run wrote of its faces, as its JSON file says, and this one does not is removed.
    """
    image = read_image(path)
    for box in boxes or ():
        require_near(box, image.shape[0], image.shape[1], str(path))
    source = str(path.resolve())
    earlier = _files_of_faces(folder / f"{stem}.json", stem, None if settings.overwrite else source)
    faces = reconstructor.reconstruct(image, boxes)
    if not faces:
        raise UserError(f"{path}: no face found; give its place with `box`, or `detector` none for the whole photo")
    for number, face in enumerate(faces):
        if face.misfit > HARDLY_A_FACE:
            logger.warning(
                f"{printable(str(path))}: face {number} hardly is one: its mesh differs from a mean face by "
                f"{face.misfit:.1f} of its size; is there a face, and is the network trained?"
            )
    entries = [write_face(face, image, folder, f"{stem}_face{number}", settings) for number, face in enumerate(faces)]
    files = write_photo_files(faces, image, folder, stem, settings)
    size = {"width": image.shape[1], "height": image.shape[0]}
    summary = {"image": path.name, "source": source, **size, "faces": entries, "files": files}
    _write_bytes(folder / f"{stem}.json", json.dumps(summary, indent=1).encode())
    for name in earlier.difference(files.values(), *(entry["files"].values() for entry in entries)):
        (folder / name).unlink(missing_ok=True)
    return f"{path}: {len(faces)} face{'s' if len(faces) > 1 else ''}, {folder / stem}*"


def _files_of_faces(path: Path, stem: str, source: str | None) -> set[str]:
    """Names of the files that a photo's JSON file names; none where it is absent.

    source : where the photo is. Raises `UserError` for a file that this program did not write, or, unless the source is
    None, that is of a photo elsewhere.
    """
    if not path.exists():
        return set()
    content = read_file(path, MAX_JSON)
    try:
        summary = json.loads(content)
        other = summary.get("source", source)
        names = {name for part in [summary, *summary["faces"]] for name in part.get("files", {}).values()}
        ours = re.compile(
            rf"{re.escape(stem)}_(?:face[0-9]+[._][a-z._]+|faces\.(?:glb|ply)|(?:{'|'.join(OVERLAYS)})\.png)"
        )
        files = {name for name in names if ours.fullmatch(name)}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path}: was not written by this program; choose another `output_folder`") from None
    if source and other != source:
        raise UserError(f"{source}: {path} is of {other}; choose another `output_folder`, or `overwrite`")
    return files


def write_photo_files(
    faces: Sequence[Face], image: np.ndarray, folder: Path, stem: str, settings: OutputSettings
) -> dict[str, str]:
    """Write the files that hold all faces of a photo. Returns their names."""
    files = {}
    for overlay in settings.pictures:
        files[overlay] = f"{stem}_{overlay}.png"
        _write_bytes(folder / files[overlay], encode_png(draw_overlays(image, faces, overlay)))
    if settings.together:
        meshes = [face_mesh(face, image, texture_size=settings.texture_size, with_morphs=True) for face in faces]
        for suffix in ("glb", "ply"):
            files[suffix] = f"{stem}_faces.{suffix}"
            write_together(meshes, folder / files[suffix], units=settings.units)
    return files


def write_face(face: Face, image: np.ndarray, folder: Path, stem: str, settings: OutputSettings) -> dict:
    """Write the files of one face of a photo (H, W, 3) uint8 RGB. Returns its entry of the JSON file."""
    with ThreadPoolExecutor(1) as other_core:  # NumPy and OpenCV let both threads run
        texture = other_core.submit(_texture, face, image, settings)
        meshes = other_core.submit(_write_meshes, face, image, texture, folder, stem, settings)
        levels, depth_range = _depth_levels(depth_map(face, *image.shape[:2]))
        files = {}
        for name, (ending, content) in _contents(face, image, texture, levels, settings).items():
            _write_bytes(folder / f"{stem}{ending}", content)
            files[name] = f"{stem}{ending}"
        files |= meshes.result()
    seen = visible_landmarks(face).tolist()
    return {**face.to_dict(), "landmarks_visible": seen, "depth_range": depth_range, "files": files}


def _texture(face: Face, image: np.ndarray, settings: OutputSettings) -> Texture:
    return Texture(complete_texture(face, image, settings.texture_size or texture_side(face)))


def _contents(
    face: Face, image: np.ndarray, texture: Future[Texture], depth_levels: np.ndarray, settings: OutputSettings
) -> dict[str, tuple[str, bytes]]:
    """Ending and content of the files of a face, by name, but for its meshes and their texture."""
    sheet = draw_sheet(face, image, lambda: texture.result().pixels)
    pixels = texture.result().pixels
    visible = visibility_mask(face, len(pixels)).astype(np.uint8) * 255
    contents = {
        "landmarks": ("_landmarks.txt", landmark_text(face)),
        "sheet": ("_sheet.png", encode_png(sheet)),
        "depth": ("_depth.png", encode_png(depth_levels)),
        "position_map": ("_uv_map.npy", _npy_bytes(face.position_map)),
        "visible": ("_texture_visible.png", encode_png(visible)),
    }
    if settings.masked:
        contents["masked"] = ("_texture_masked.png", encode_png(np.dstack([pixels, visible])))
    contents |= appearance_files(face, image)
    if settings.mat:
        contents["mat"] = (".mat", mat_bytes(face, image))
    if settings.csv:
        contents["landmark_table"] = ("_landmarks.csv", landmark_table(face))
        contents["vertex_table"] = ("_vertices.csv", vertex_table(face, image))
    return contents


def _write_meshes(
    face: Face, image: np.ndarray, texture: Future[Texture], folder: Path, stem: str, settings: OutputSettings
) -> dict[str, str]:
    """Write the meshes and the texture of a face. Returns their names."""
    files = {}
    if "obj" not in settings.meshes:  # which brings its texture along
        files["texture"] = f"{stem}_texture.png"
        _write_bytes(folder / files["texture"], texture.result().png)
    for frontal in (False, True) if settings.frontal else (False,):
        mesh = face_mesh(face, image, frontal=frontal, texture=texture.result(), with_morphs="glb" in settings.meshes)
        for suffix in settings.meshes:
            ending = f"{'_frontal' if frontal else ''}.{suffix}"
            for written in write_mesh(mesh, folder / f"{stem}{ending}", units=settings.units):
                files[written.name.removeprefix(stem)[1:].removesuffix(".png").replace(".", "_")] = written.name
    return files


def save_face(
    face: Face,
    path,
    image: Photo | None = None,
    *,
    frontal: bool = False,
    texture_size: int | None = None,
    units: str = "metres",
) -> None:
    """Write a face in the form that the path's suffix names.

    .obj (with .mtl and .png), .ply, .glb : the mesh, turned to the front if `frontal`. .mat : the mesh for MATLAB.
    .txt, .csv : landmarks. .json : landmarks, pose, boxes. .npy : the position map. .png : a sheet of pictures.
    texture_size : side of the UV texture in pixels, a power of two; by default 1024, of large faces 2048. units : of
    .glb, "metres", in which the face is upright and centred, or "pixels".
    image : the photo, where the face does not hold it itself. Raises `UserError` for another suffix.

    >>> face = prnet.reconstruct("photo.jpg")[0]
    >>> prnet.save_face(face, "face.glb")
    """
    path = Path(path)
    if image is not None:
        photo = as_photo(image)
    elif isinstance(face, PhotoFace):
        photo = face.photo
    else:
        raise UserError(f"{path}: the face does not hold its photo; give that too: save_face(face, path, image)")
    if path.suffix[1:] in MESH_FORMATS:
        require_texture_size(texture_size)
        if units not in UNITS:
            raise UserError(f"unknown `units` {units!r}; choose from {', '.join(UNITS)}")
        mesh = face_mesh(face, photo, frontal=frontal, texture_size=texture_size, with_morphs=path.suffix == ".glb")
        write_mesh(mesh, path, units=units)
        return
    forms = {
        ".mat": lambda: mat_bytes(face, photo),
        ".txt": lambda: landmark_text(face),
        ".csv": lambda: landmark_table(face),
        ".json": lambda: json.dumps(face.to_dict(), indent=1).encode(),
        ".npy": lambda: _npy_bytes(face.position_map),
        ".png": lambda: encode_png(draw_sheet(face, photo)),
    }
    if path.suffix not in forms:
        known = ", ".join([f".{form}" for form in MESH_FORMATS] + list(forms))
        raise UserError(f"{path}: unknown form {path.suffix!r}; choose from {known}")
    _write_bytes(path, forms[path.suffix]())


def require_texture_size(size: int | None) -> None:
    """Raise `UserError` for a side of a texture that is no power of two."""
    if size is not None and (not 16 <= size <= MAX_TEXTURE or size & (size - 1)):
        raise UserError(f"`texture_size` {size}: give a power of two from 16 to {MAX_TEXTURE}")


def landmark_text(face: Face) -> bytes:
    """68 lines of x, y and z in pixels of the photo."""
    text = io.StringIO()
    np.savetxt(text, face.landmarks, fmt="%.3f")
    return text.getvalue().encode()


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
