"""A seeded stream of damaged files of every kind: `python -m tests.helpers.damaged_files SEED COUNT KIND ...`.

Run in a process of its own, with 1 GB of memory above what it starts with, so that a crash or a claim of memory
shows. Each file must be read or refused by a `UserError` of one line that names it, within 2 seconds.
"""

import io
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from prnet.common.errors import UserError
from prnet.evaluating.methods import PredictionFile, write_predictions
from prnet.evaluating.protocols import PROTOCOLS
from prnet.evaluating.results import Origin, Results, load_results
from prnet.evaluating.subjects import Subject
from prnet.formats.face_model_file import load_face_model, save_face_model
from prnet.formats.fit_files import read_fit
from prnet.formats.image_files import check_image, decode_image
from prnet.formats.pairs import find_pairs
from prnet.generating.dataset import open_dataset
from prnet.geometry.position_map import layout_of_model
from prnet.serving.limits import Limits
from prnet.serving.problems import Problem
from prnet.serving.uploads import read_mat, read_photo
from tests.helpers.small_faces import fit_fields, make_small_model, mat_bytes, small_files, small_photo, write_zip
from tests.helpers.stored_samples import make_samples, write_samples

SECONDS, MEMORY = 2.0, 1 << 30
WORDS = [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000000, 0x00000100, 0x0000FFFF]


def damage(content: bytes, random: np.random.Generator) -> bytes:
    """Flip bits, overwrite words, cut, or move a piece."""
    damaged, kind = bytearray(content), random.integers(4)
    for _ in range(random.choice([1, 1, 2, 5, 20])):
        at = int(random.integers(max(len(damaged) - 4, 1)))
        if random.random() < 0.5:
            at = min(at, int(random.integers(1, 600)))
        if kind == 0 and damaged:
            damaged[at] ^= 1 << int(random.integers(8))
        elif kind == 1:
            damaged[at : at + 4] = int(random.choice(WORDS)).to_bytes(4, "little" if random.random() < 0.8 else "big")
        elif kind == 2:
            del damaged[at:]
        else:
            source = int(random.integers(max(len(damaged), 1)))
            damaged[at : at + 16] = damaged[source : source + 16]
    return bytes(damaged)


def fit_sources(_) -> list[bytes]:
    fields = fit_fields(landmarks=True)
    with_objects = fields | {"cells": np.array([1, "two"], dtype=object), "record": {"deep": [1.0, 2.0]}}
    return [mat_bytes(fields), mat_bytes(with_objects, do_compression=True), mat_bytes(fields, format="4")]


def mesh_sources(_) -> list[bytes]:
    fields = {"vertices": np.random.default_rng(3).normal(size=(100, 3)), "kptIdxs": np.arange(68)}
    return [mat_bytes(fields), mat_bytes(fields, do_compression=True), mat_bytes(fields, format="4")]


def try_mesh(path: Path) -> None:
    for array in read_mat(path.read_bytes(), ("vertices", "kptIdxs", "Pose_Para"), str(path), Limits()).values():
        assert np.isfinite(array).all()


def try_fit(path: Path) -> None:
    read_fit(path)


def photo_sources(folder: Path) -> list[bytes]:
    colour = decode_image(small_photo(side=200), "photo")
    Image.fromarray(colour).convert("CMYK").save(folder / "cmyk.jpg")
    progressive = cv2.imencode(".jpg", colour, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    deep = cv2.imencode(".png", colour.astype(np.uint16) * 257)[1].tobytes()
    return [small_photo(), progressive, small_photo(suffix=".png"), deep, (folder / "cmyk.jpg").read_bytes()]


def try_photo(path: Path) -> None:
    content = path.read_bytes()
    check_image(content, str(path))
    decode_image(content, str(path))


def upload_sources(folder: Path) -> list[bytes]:
    return [
        *photo_sources(folder),
        *(encoded(kind, mode) for kind in ("WEBP", "PNG", "TIFF") for mode in ("RGB", "RGBA", "L")),
        *(encoded("TIFF", "RGB", compression=way) for way in ("jpeg", "tiff_lzw", "tiff_adobe_deflate")),
        *(encoded("BMP", mode) for mode in ("1", "P", "RGB")),
    ]


def encoded(kind: str, mode: str, **options) -> bytes:
    with io.BytesIO() as file:
        Image.fromarray(decode_image(small_photo(side=60), "photo")).convert(mode).save(file, kind, **options)
        return file.getvalue()


def try_upload(path: Path) -> None:
    assert read_photo(path.read_bytes(), str(path), Limits()).shape[2] == 3


def archive_sources(folder: Path) -> list[bytes]:
    files = small_files(["300W_LP/AFW/a_0", "300W_LP/AFW_Flip/a_0"]) | {"300W_LP/Code/a.mat": b"", "ä.jpg": b"photo"}
    return [write_zip(folder / "data.zip", files).read_bytes()]


def try_archive(path: Path) -> None:
    with find_pairs(path) as source:
        assert all(line.isprintable() for line in source.left_out)
        for pair in source:
            read_fit(pair.fit_bytes(), pair.fit_file)
            check_image(pair.image_bytes(), pair.image_file)


def dataset_sources(folder: Path) -> list[bytes]:
    return [write_samples(folder / "train.hdf5", 5, make_samples(5)).read_bytes()]


def try_dataset(path: Path) -> None:
    with open_dataset(path) as dataset:
        np.asarray(dataset.coefficients)
        assert dataset.landmarks.shape == (len(dataset), 68, 3)
        for index in range(len(dataset)):
            dataset.image(index)


def face_model_sources(folder: Path) -> list[bytes]:
    save_face_model(make_small_model(), folder / "face_model.hdf5")
    return [(folder / "face_model.hdf5").read_bytes()]


def prediction_sources(folder: Path) -> list[bytes]:
    names, landmarks = [f"image{number}" for number in range(3)], np.ones((3, 68, 3), np.float32)
    np.save(folder / "vertices.npy", np.ones((3, 9, 3), np.float32))
    write_predictions(folder / "ours.npz", names, landmarks, folder / "vertices.npy")
    np.savez_compressed(folder / "packed.npz", names=names, landmarks=landmarks, vertices=np.ones((3, 9, 3)))
    return [(folder / "ours.npz").read_bytes(), (folder / "packed.npz").read_bytes()]


def try_predictions(path: Path) -> None:
    with PredictionFile(path) as predictions:
        predictions.predict([Subject(name) for name in predictions.names])


def result_sources(folder: Path) -> list[bytes]:
    origin = Origin("method", "1", "2", PROTOCOLS["standard"], (0, 3), "a file")
    Results(origin, ["a", "b"], np.zeros(2)).save(folder / "results.npz")
    return [(folder / "results.npz").read_bytes()]


def network_sources(folder: Path) -> list[bytes]:
    from prnet.model.saved_network import save_network
    from tests.helpers.perfect_network import constant_network

    path, network = folder / "network.keras", constant_network(np.ones((8, 8, 3), np.float32))
    layout = layout_of_model(make_small_model())
    save_network(network, layout, path)
    whole = path.read_bytes()
    save_network(network, layout, path, half=True)
    return [whole, path.read_bytes()]


def try_network(path: Path) -> None:
    from prnet.model.saved_network import load_network

    load_network(path)


KINDS = {
    "fits": (fit_sources, try_fit, ".mat"),
    "meshes": (mesh_sources, try_mesh, ".mat"),
    "photos": (photo_sources, try_photo, ".jpg"),
    "uploads": (upload_sources, try_upload, ".jpg"),
    "archives": (archive_sources, try_archive, ".zip"),
    "datasets": (dataset_sources, try_dataset, ".hdf5"),
    "face models": (face_model_sources, load_face_model, ".hdf5"),
    "predictions": (prediction_sources, try_predictions, ".npz"),
    "results": (result_sources, load_results, ".npz"),
    "networks": (network_sources, try_network, ".keras"),
}


def examine(read, path: Path) -> str | None:
    """What is wrong with the way that a file is read, or None. Time is the processor's: the machine may be busy."""
    start = time.process_time()
    try:
        read(path)
    except (UserError, Problem) as error:
        message = str(error)
        if not message.startswith(str(path)) or not message.isprintable():
            return f"unhelpful message {message!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    took = time.process_time() - start
    return f"took {took:.1f} s" if took > SECONDS else None


def main(seed: int, count: int, kinds: list[str]) -> int:
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)  # Keras 3.15 on NumPy 2
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = {kind: KINDS[kind][0](folder) for kind in kinds}
        pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 1 << 22
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
        for kind in kinds:
            _, read, suffix = KINDS[kind]
            for number in range(count):
                print(kind, seed, number, end=" ", flush=True)
                random = np.random.default_rng([seed, number])
                path = folder / f"{number}{suffix}"
                path.write_bytes(damage(sources[kind][random.integers(len(sources[kind]))], random))
                problem = examine(read, path)
                print(problem or "")
                failures += problem is not None
                path.unlink()
    print(f"{count} damaged files of {len(kinds)} kinds, {failures} failures")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
