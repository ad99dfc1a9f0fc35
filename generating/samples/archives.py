"""Small look-alikes of 300W-LP and AFLW2000-3D, rendered from invented people, in the real archives' layout and fields.

A picture depends on the seed and its number alone, not on how many are made or by how many processes.
"""

import multiprocessing
import zipfile
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache, partial
from itertools import chain
from pathlib import Path

import numpy as np

from prnet.common.files import atomic_write
from prnet.configure.config import YAW_BIN_EDGES
from prnet.formats.encoding import encode_jpeg, encode_png
from prnet.formats.face_model_file import save_face_model
from prnet.formats.image_files import decode_image
from prnet.formats.mat_files import mat_file_bytes
from prnet.generating.samples.faces import Truth, View, contact_sheet, draw_view, render_with_truth
from prnet.generating.samples.model import SampleHead, make_sample_head
from prnet.generating.samples.people import Person, draw_person
from prnet.geometry.harmonics import mirrored_light
from prnet.geometry.pose import fitted_landmarks

TRAINING_NAME, TEST_NAME, MODEL_NAME = "300W-LP.zip", "AFLW2000-3D.zip", "face_model.hdf5"
VIEWS_PER_PERSON = 4
JPEG_QUALITY = 92

_FOLDERS = (
    ("AFW", "AFW_{}_1"),
    ("HELEN", "HELEN_{}_1"),
    ("IBUG", "IBUG_image_{}_1"),
    ("LFPW", "LFPW_image_train_{}"),
)
_TEST_SHARES = (0.65, 0.20, 0.15)
"""Share of the test pictures in each yaw bin, as in AFLW2000-3D."""

_TRAINING_STREAM, _TEST_STREAM = 0, 1
_EPOCH = (2016, 6, 1, 0, 0, 0)
_AFLW_LANDMARKS = (17, 19, 21, 22, 24, 26, 36, -1, 39, 42, -1, 45, 1, 31, 30, 35, 15, 48, -1, 54, 8)
"""The 68-point landmark nearest to each of AFLW's 21; -1 where there is none."""


@dataclass(frozen=True)
class Studio:
    """How pictures are taken, and whether what they were made of is written beside them."""

    harmonic: bool = False  # lit by nine spherical harmonics a colour instead of key, fill and sky
    truth: bool = False


def make_sample_data(
    folder: str | Path,
    train: int,
    val: int,
    seed: int = 0,
    workers: int = 1,
    studio: Studio = Studio(),
    progress: Callable[[Iterable, str, int], Iterable] = lambda made, *_: made,
) -> list[Path]:
    """Write the face model, `train` training pictures (half of them mirrored) and `val` test pictures.

    progress : wraps each iterator of pictures, called as progress(iterator, archive name, total). Returns the
    paths written.
    """
    folder = Path(folder)
    archives = (
        (TRAINING_NAME, training_files, -(-train // 2), train, _training_extras()),
        (TEST_NAME, held_out_files, val, val, _test_extras()),
    )
    save_face_model(_head().model, folder / MODEL_NAME)
    with _ordered_map(workers) as ordered_map:
        for name, files_of, pictures, count, extras in archives:
            made = ordered_map(partial(files_of, seed, count, studio=studio), range(pictures))
            with atomic_write(folder / name) as path, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
                for files in chain(progress(made, name, pictures), [extras]):
                    for entry, content in files:
                        _add(archive, entry, content)
    return [folder / name for name in (MODEL_NAME, TRAINING_NAME, TEST_NAME)]


def training_files(seed: int, count: int, number: int, studio: Studio = Studio()) -> list[tuple[str, bytes]]:
    """The files of training picture `number` and, unless that would exceed `count` in all, of its mirror image."""
    person, view_number = divmod(number, VIEWS_PER_PERSON)
    generator = np.random.default_rng([seed, _TRAINING_STREAM, person, 1 + view_number])
    width = 90 / VIEWS_PER_PERSON
    yaw = generator.choice([-1, 1]) * width * (view_number + generator.random())
    who = _person(seed, _TRAINING_STREAM, person)
    view = draw_view(_head(), who, yaw, generator)
    picture, truth = render_with_truth(_head(), who, view, harmonic=studio.harmonic)
    folder, pattern = _FOLDERS[person % len(_FOLDERS)]
    name = f"{pattern.format(f'{person:04d}')}_{view_number}"
    files = _training_pair(f"{folder}/{name}", picture, view)
    if studio.truth:
        files.append((f"300W_LP/truth/{folder}/{name}_truth.mat", _mat(_truth_fields(truth))))
    if 2 * number + 1 < count:
        mirror = mirrored_view(view, _head())
        files += _training_pair(f"{folder}_Flip/{name}", np.ascontiguousarray(picture[:, ::-1]), mirror)
        if studio.truth:
            fields = _truth_fields(_mirrored_truth(truth, _head()))
            files.append((f"300W_LP/truth/{folder}_Flip/{name}_truth.mat", _mat(fields)))
    return files


def held_out_files(seed: int, count: int, number: int, studio: Studio = Studio()) -> list[tuple[str, bytes]]:
    """The files of test picture `number`: everyone a new person."""
    generator = np.random.default_rng([seed, _TEST_STREAM, number, 1])
    edges = (0.0, *YAW_BIN_EDGES, 90.0)
    which = generator.choice(len(_TEST_SHARES), p=_TEST_SHARES)
    yaw = generator.choice([-1, 1]) * generator.uniform(edges[which], edges[which + 1])
    who = _person(seed, _TEST_STREAM, number)
    view = draw_view(_head(), who, yaw, generator)
    landmarks = landmark_pixels(view, _head()) + (1, 1, 0)
    coarse = np.array([landmarks[index, :2] if index >= 0 else (-1, -1) for index in _AFLW_LANDMARKS])
    fields = _fit_fields(view) | {"pt2d": coarse.T, "pt3d_68": landmarks.T.astype(np.float32)}
    name = f"image{number + 1:05d}"
    picture, truth = render_with_truth(_head(), who, view, harmonic=studio.harmonic)
    files = [(f"AFLW2000/{name}.jpg", _jpeg(picture)), (f"AFLW2000/{name}.mat", _mat(fields))]
    if studio.truth:
        files.append((f"AFLW2000/truth/{name}_truth.mat", _mat(_truth_fields(truth))))
    return files


def _truth_fields(truth: Truth) -> dict[str, np.ndarray]:
    """`albedo` (V, 3) uint8 sRGB; `light` (9, 3), or the studio's `direction`, `key`, `fill_direction`, `fill`, `sky`
    and `ground`."""
    albedo = np.rint(truth.albedo * 255).astype(np.uint8)
    light = {"light": truth.light} if isinstance(truth.light, np.ndarray) else asdict(truth.light)
    return {"albedo": albedo, **{name: np.atleast_2d(values) for name, values in light.items()}}


def _mirrored_truth(truth: Truth, head: SampleHead) -> Truth:
    light = truth.light
    if isinstance(light, np.ndarray):
        return Truth(truth.albedo[head.mirror], mirrored_light(light))
    flipped = {name: getattr(light, name) * (-1, 1, 1) for name in ("direction", "fill_direction")}
    return Truth(truth.albedo[head.mirror], replace(light, **flipped))


def mirrored_view(view: View, head: SampleHead) -> View:
    """The fit of the mirrored picture."""
    pose = view.pose.copy()
    pose[[1, 2]] *= -1
    pose[3] = np.float32(view.size + 1) - pose[3]
    coefficients = (view.coefficients * head.mirror_signs).astype(np.float32)
    return View(view.size, coefficients, pose, (-view.gaze[0], view.gaze[1]), view.seed)


def landmark_pixels(view: View, head: SampleHead) -> np.ndarray:
    """The 68 landmarks (68, 3) in 0-based pixels of the picture."""
    return fitted_landmarks(head.model, view.coefficients, view.pose, view.size)


@cache
def _head() -> SampleHead:
    return make_sample_head()


@lru_cache(maxsize=4)
def _person(seed: int, stream: int, number: int) -> Person:
    return draw_person(_head(), np.random.default_rng([seed, stream, number]))


@contextmanager
def _ordered_map(workers: int):
    """A `map` that keeps the order, in this process or over several."""
    if workers <= 1:
        yield map
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield partial(pool.imap, chunksize=VIEWS_PER_PERSON)


def _training_pair(stem: str, picture: np.ndarray, view: View) -> list[tuple[str, bytes]]:
    landmarks = landmark_pixels(view, _head())[:, :2] + 1
    fields = {"pt2d": landmarks.T} | _fit_fields(view)
    folder, _, name = stem.rpartition("/")
    points = {"pts_2d": landmarks, "pts_3d": landmarks}
    return [
        (f"300W_LP/{stem}.jpg", _jpeg(picture)),
        (f"300W_LP/{stem}.mat", _mat(fields)),
        (f"300W_LP/landmarks/{folder}/{name}_pts.mat", _mat(points)),
    ]


def _fit_fields(view: View) -> dict[str, np.ndarray]:
    """The fields of a real fit; light and colour are those of 300W-LP's renderer and mean nothing here."""
    identity_count = _head().model.shape_basis.shape[2]
    return {
        "roi": np.array([[1, 1, view.size, view.size]], dtype=np.int16),
        "Illum_Para": np.array([[0.9, 0.9, 0.9, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 20.0]]),
        "Color_Para": np.array([[1, 1, 1, 0, 0, 0, 1]], dtype=np.float32),
        "Tex_Para": np.zeros((identity_count, 1)),
        "Shape_Para": view.coefficients[:identity_count, None].astype(np.float64),
        "Exp_Para": view.coefficients[identity_count:, None].astype(np.float64),
        "Pose_Para": view.pose[None],
    }


def _training_extras() -> list[tuple[str, bytes]]:
    return [
        ("300W_LP/Code/Readme.txt", _NOTICE),
        ("300W_LP/Code/Model_Example.mat", _mat({"mu": np.zeros((3, 1)), "w": np.eye(3)})),
    ]


def _test_extras() -> list[tuple[str, bytes]]:
    return [
        ("AFLW2000/Code/Readme.txt", _NOTICE),
        ("AFLW2000/Code/Model_Example.mat", _mat({"mu": np.zeros((3, 1)), "w": np.eye(3)})),
    ]


_NOTICE = b"Synthetic faces in the layout of 300W-LP and AFLW2000-3D. No person is shown.\n"


def _jpeg(picture: np.ndarray) -> bytes:
    return encode_jpeg(picture, JPEG_QUALITY)


def _mat(fields: dict[str, np.ndarray]) -> bytes:
    return mat_file_bytes(fields, "MATLAB 5.0 MAT-file, sample face")


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, date_time=_EPOCH)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)


def archive_pictures(path: str | Path, count: int) -> list[np.ndarray]:
    """The first `count` pictures (H, W, 3) uint8 RGB of an archive that are not mirror images, in order of name."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg") and "_Flip/" not in name)
        return [decode_image(archive.read(name), f"{path}/{name}") for name in names[:count]]


def write_contact_sheet(folder: str | Path, path: str | Path, columns: int = 8, rows: int = 4) -> Path:
    """A PNG of the first test pictures, or of training pictures where there are none, in a grid."""
    pictures = archive_pictures(Path(folder) / TEST_NAME, columns * rows)
    pictures = pictures or archive_pictures(Path(folder) / TRAINING_NAME, columns * rows)
    with atomic_write(path) as partial_path:
        partial_path.write_bytes(encode_png(contact_sheet(pictures, columns)))
    return Path(path)
