"""Faces as files to download: meshes, texture and sheet, one by one or all of a photo in one archive."""

import tempfile
import unicodedata
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import numpy as np

from prnet.formats.encoding import encode_png
from prnet.reconstructing.drawing import draw_sheet
from prnet.reconstructing.face import Face
from prnet.reconstructing.mesh_files import face_mesh, mat_bytes, write_mesh
from prnet.reconstructing.texture import Texture, complete_texture, texture_side

MEDIA_TYPES = {
    "json": "application/json",
    "glb": "model/gltf-binary",
    "obj": "application/zip",
    "ply": "application/x-ply",
    "mat": "application/x-matlab-data",
    "texture": "image/png",
    "sheet": "image/png",
}
"""By form. An OBJ comes with its material and texture, zipped."""

PICTURES = ("texture", "sheet")

MESHES = ("glb", "obj", "ply")
"""The forms that the archive of a photo holds, beside its sheets; the texture comes with the OBJ."""

STEM_LENGTH = 80
"""In bytes, of which file systems take some 255 in all."""


def stem_of(name: str | None) -> str:
    """What the files of a photo of this name are called after: its name without folders and suffix, printable, in
    characters that file systems take."""
    base = PurePosixPath(unicodedata.normalize("NFC", name or "").replace("\\", "/")).name
    stem = base.rpartition(".")[0] or base
    kept = "".join(c if c.isprintable() and c not in '<>:"/|?*' else "_" for c in stem).strip(". ")
    return kept.encode("utf-8", "replace")[:STEM_LENGTH].decode("utf-8", "ignore").strip(". ") or "photo"


def face_stem(stem: str, number: int) -> str:
    """Of the face with this number, counted from 0; people count from 1."""
    return f"{stem}_face{number + 1}"


def attachment(name: str) -> dict[str, str]:
    """The header that gives a download its name, in RFC 6266's two spellings where it is not ASCII."""
    plain = "".join(c if c.isascii() else "_" for c in name)
    other = "" if plain == name else f"; filename*=UTF-8''{quote(name)}"
    return {"Content-Disposition": f'attachment; filename="{plain}"{other}'}


def face_file(face: Face, image: np.ndarray, form: str, stem: str) -> tuple[bytes, str]:
    """The content and the name of a face's file. form : of `MEDIA_TYPES`, but json. image : (H, W, 3) uint8 RGB."""
    if form == "mat":
        return mat_bytes(face, image), f"{stem}.mat"
    if form in PICTURES:
        content = encode_png(draw_sheet(face, image)) if form == "sheet" else _texture(face, image).png
        return content, f"{stem}_{form}.png"
    files = _mesh_files(face, image, form, stem, _texture(face, image))
    if len(files) == 1:
        return next(iter(files.values())), f"{stem}.{form}"
    return zipped(files), f"{stem}.zip"


def _texture(face: Face, image: np.ndarray) -> Texture:
    return Texture(complete_texture(face, image, texture_side(face)))


def _mesh_files(face: Face, image: np.ndarray, form: str, stem: str, texture: Texture) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory(prefix="prnet-") as folder:
        mesh = face_mesh(face, image, texture=texture, with_morphs=form == "glb")
        paths = write_mesh(mesh, Path(folder) / f"{stem}.{form}")
        return {path.name: path.read_bytes() for path in paths}


def every_file(face: Face, image: np.ndarray, stem: str) -> dict[str, bytes]:
    """The files of a face by name: its meshes and its sheet."""
    texture, files = _texture(face, image), {}
    for form in MESHES:
        files.update(_mesh_files(face, image, form, stem, texture))
    sheet, name = face_file(face, image, "sheet", stem)
    return {**files, name: sheet}


def zipped(files: Mapping[str, bytes]) -> bytes:
    with BytesIO() as file:
        add_to_archive(file, files)
        return file.getvalue()


def add_to_archive(file: BytesIO, files: Mapping[str, bytes]) -> None:
    """Add to a ZIP archive, which an empty file becomes."""
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
