"""300W-LP or AFLW2000-3D, zip or folder -> one data set file: every pair read, verified, converted and written once.

So are photos of which only the landmarks are known.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from prnet.common.errors import InputLost, UserError
from prnet.common.files import remove_left_behind
from prnet.common.locks import exclusive_lock
from prnet.common.ordered import in_order
from prnet.configure.config import CROP_MARGIN, MAP_SIZE, VALIDATION_SHARE
from prnet.formats.encoding import encode_png
from prnet.formats.fit_files import read_fit, require_model
from prnet.formats.image_files import check_image, decode_image
from prnet.formats.pairs import Pair, find_pairs
from prnet.formats.score_files import ScoreFile
from prnet.generating.dataset import DATA_MODES, LANDMARKS_ALONE
from prnet.generating.dataset_writer import Sample, dataset_writer
from prnet.generating.skin import SkinModel, load_skin_model
from prnet.generating.split import is_mirrored, split_by_group
from prnet.geometry.crop import Box, compose, crop_image, crop_transform, lift_transform, transform_points
from prnet.geometry.face_model import FaceModel, at_landmarks
from prnet.geometry.five_points import crop_box
from prnet.geometry.pose import fit_to_pixels
from prnet.geometry.position_map import MapBasis, layout_of_model, map_basis, position_maps


class PhotoLandmarks(Protocol):
    """Landmarks of photos by their paths without suffix."""

    def __call__(self, stem: str) -> np.ndarray | None: ...

    def require_distinct(self, stems: Iterable[str]) -> None: ...


BUFFER_BYTES, UNIT_BYTES = 1 << 28, 1 << 25
"""The buffer is written when it holds this much, if it is not full before; a unit of work is cut off likewise."""

MAPS_AT_ONCE = 16
"""Maps made by one matrix product: enough to read the basis seldom, few enough to stay small."""

_SOURCE_NAMES = {"train": ("300W-LP", "300W_LP"), "val": ("AFLW2000-3D", "AFLW2000")}
_EXTENSION_NAMES = ("AFLW2000_augment",)


@dataclass(frozen=True)
class BuildReport:
    """What a build wrote, and a line for each file that it left out."""

    path: Path
    size: int  # bytes
    counts: dict[str, int]  # samples by source folder
    validation_count: int
    flips_left_out: int
    left_out: list[str]


def find_sources(folder: str | Path, mode: str, *, archives: bool, extended: bool = False) -> list[Path]:
    """The zip archives, or the folders, that hold the data of a build mode ("train" or "val").

    folder : where to look, upper and lower case alike; an archive, or the very folder with the photos, is taken as it
    is. extended : add the archive or folder `AFLW2000_augment` beside it, where there is one.
    Raises UserError, which says what was looked for, where nothing is found.
    """
    folder = Path(folder)
    if archives and folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = _find(folder, _SOURCE_NAMES[mode], archives)
    if not found and not archives and not _find(folder, _SOURCE_NAMES["val" if mode == "train" else "train"], archives):
        found = folder
    if not found:
        looked_for = " or ".join(f"{name}.zip" if archives else f"{name}{os.sep}" for name in _SOURCE_NAMES[mode])
        raise UserError(f"{folder}: holds no {looked_for}; give the folder that it lies in")
    extension = _find(folder, _EXTENSION_NAMES, archives) if extended else None
    return [found, extension] if extension else [found]


def _find(folder: Path, names: Iterable[str], archives: bool) -> Path | None:
    wanted = {(f"{name}.zip" if archives else name).lower() for name in names}
    matches = (
        path
        for path in sorted(folder.iterdir())
        if path.name.lower() in wanted and (path.is_file() if archives else path.is_dir())
    )
    return next(matches, None)


def build_dataset(
    sources: Iterable[str | Path],
    output: str | Path,
    model: FaceModel,
    *,
    data_mode: int = 5,
    validation_share: float = VALIDATION_SHARE,
    flips: bool = True,
    skin: bool = False,
    batch: int = 200,
    buffer: int = 1000,
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
    scores: ScoreFile | None = None,
    landmarks: PhotoLandmarks | None = None,
    crop: str = "box",
) -> BuildReport:
    """Build one data set file from folders or zip archives of photos with fits.

    data_mode : 0 to 5, see `prnet.generating.dataset`. validation_share : of the groups, held out to select a model.
    flips : take the mirrored photos in folders `*_Flip` too. skin : store how surely each pixel is skin
    (`prnet.generating.skin`), which photo networks learn from, beside the photos of data modes 4 and 5.
    scores : of the photos, stored beside them. landmarks : from a photo's path without suffix to its landmarks
    (68, 2 or 3) in 0-based pixels, or None, no two photos to the same ones; with it fits are neither needed nor read,
    and the file is of data mode 6.
    crop : of `configure.config.CROPS`, what the boxes are of that crops are made from.
    batch : pairs read and verified as one unit of work. buffer : samples held before a write. workers : threads, by
    default one for each core.
    A pair that cannot be used is left out and listed in the report. Raises UserError, and leaves what is at `output`
    as it is, where no pair can be used or the file cannot be written.
    """
    output = Path(output)
    if landmarks is not None:
        data_mode = LANDMARKS_ALONE
    if skin and DATA_MODES[data_mode].image:
        raise UserError(f"`data_mode` {data_mode}: `skin` belongs to photos as they are; give `data_mode` 4 or 5")
    if data_mode == LANDMARKS_ALONE and landmarks is None:
        raise UserError(f"`data_mode` {data_mode}: is of photos with landmarks alone; give `landmarks`")
    _require_free(output, overwrite)
    with ExitStack() as stack:
        opened = [stack.enter_context(find_pairs(source)) for source in sources]
        left_out = [line for source in opened for line in source.left_out] if landmarks is None else []
        pairs = [pair for source in opened for pair in (source if landmarks is None else source.all_photos())]
        kept = [pair for pair in pairs if flips or not is_mirrored(pair.folder)]
        if not kept:
            looked_in = " and ".join(str(source.path) for source in opened)
            wanted = "no .jpg with a .mat of the same name beside it" if landmarks is None else "no photos"
            raise UserError(f"{looked_in}: {wanted}")
        if landmarks is not None:
            landmarks.require_distinct([pair.stem for pair in kept])
        lock = output.with_name(f".{output.name}.lock")
        if stack.enter_context(
            exclusive_lock(lock, f"{output}: is being built by another run; wait until it has ended")
        ):
            remove_left_behind(output)  # by builds that were killed
        _require_free(output, overwrite)
        make = SampleMaker(model, data_mode, load_skin_model() if skin else None, landmarks, crop)
        writer = stack.enter_context(
            dataset_writer(
                output,
                data_mode=data_mode,
                model_identity=model.identity,
                layout_identity=layout_of_model(model).identity,
            )
        )
        held = []
        with _progress_bar(len(kept), output.name, progress) as bar:
            for samples, complaints in _made(make, _units(kept, batch, make.stored_bytes), workers):
                held += samples
                left_out += complaints
                if len(held) >= buffer or sum(sample.byte_count for sample in held) > BUFFER_BYTES:
                    writer.append(held)
                    held = []
                bar.update(len(samples) + len(complaints))
        if held:
            writer.append(held)
        if not writer.names:
            raise UserError(f"{left_out[-1]} (nor can any other of the {len(kept)} pairs be used)")
        groups, validation = split_by_group(writer.names, validation_share)
        known = None if scores is None else scores.of(writer.names)
        writer.finish(groups, validation, known, () if scores is None else scores.names)
        counts = dict(sorted(Counter(writer.folders).items()))
    return BuildReport(
        path=output,
        size=output.stat().st_size,
        counts=counts,
        validation_count=int(validation.sum()),
        flips_left_out=len(pairs) - len(kept),
        left_out=left_out,
    )


def _require_free(output: Path, overwrite: bool) -> None:
    if output.exists() and not overwrite:
        raise UserError(f"{output}: is there already; `overwrite` replaces it")


def _progress_bar(total: int, name: str, shown: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, desc=name, unit="pair", disable=not shown)


def _units(pairs: list[Pair], batch: int, stored_bytes: int) -> Iterator[list[Pair]]:
    """Pairs in units of work, `batch` of them or as many as make up a share of the buffer."""
    unit, size = [], 0
    for pair in pairs:
        unit.append(pair)
        size += stored_bytes + pair.image_size()
        if len(unit) == batch or size > UNIT_BYTES:
            yield unit
            unit, size = [], 0
    if unit:
        yield unit


def _made(
    make: "SampleMaker", units: Iterable[list[Pair]], workers: int | None
) -> Iterator[tuple[list[Sample], list[str]]]:
    """What becomes of each unit, in order, made a few ahead in threads."""
    workers = workers or os.cpu_count() or 1
    cv2.setNumThreads(1)
    with ThreadPoolExecutor(workers) as pool:
        yield from in_order(pool, make, units, ahead=workers)


class SampleMaker:
    """Turns pairs into samples of one data mode; threads share it.

    stored_bytes : of one sample, its encoded image not counted.
    """

    def __init__(
        self,
        model: FaceModel,
        data_mode: int,
        skin_model: SkinModel | None = None,
        landmarks: PhotoLandmarks | None = None,
        crop: str = "box",
    ):
        self.model, self.skin_model, self.landmarks_of, self.crop = model, skin_model, landmarks, crop
        self.storage = DATA_MODES[data_mode]
        self.basis: MapBasis | None = map_basis(model, MAP_SIZE) if self.storage.label else None
        bases = at_landmarks(model, np.concatenate([model.shape_basis, model.expression_basis], axis=2))
        self.landmark_basis = np.ascontiguousarray(bases.reshape(-1, model.coefficient_count))
        self.landmark_mean = at_landmarks(model, model.mean).ravel()
        kinds = [np.dtype(kind) for kind in (self.storage.image, self.storage.label) if kind]
        self.stored_bytes = sum(3 * MAP_SIZE * MAP_SIZE * kind.itemsize for kind in kinds)

    def __call__(self, pairs: list[Pair]) -> tuple[list[Sample], list[str]]:
        """Samples of the pairs that can be used, and a line for each that cannot."""
        samples, transforms, complaints = [], [], []
        for pair in pairs:
            try:
                sample, transform = self._prepare(pair) if self.landmarks_of is None else self._unlabelled(pair)
                samples.append(sample)
                transforms.append(transform)
            except InputLost:
                raise
            except UserError as error:
                complaints.append(str(error))
        if self.basis is not None:
            samples = [
                labelled
                for start in range(0, len(samples), MAPS_AT_ONCE)
                for labelled in self._with_maps(
                    self.basis, samples[start : start + MAPS_AT_ONCE], transforms[start : start + MAPS_AT_ONCE]
                )
            ]
        return samples, complaints

    def _prepare(self, pair: Pair) -> tuple[Sample, np.ndarray]:
        """A sample with its coefficients for a label, and the (3, 4) transform from model to stored image."""
        fit = read_fit(pair.fit_bytes(), pair.fit_file)
        require_model(fit, self.model, pair.fit_file)
        content = pair.image_bytes()
        height, width = check_image(content, pair.image_file)
        image: bytes | np.ndarray = content
        coefficients, landmarks = fit.coefficients, fit.landmarks
        to_pixels = fit_to_pixels(fit.pose, height)
        model_landmarks = (self.landmark_basis @ coefficients + self.landmark_mean).reshape(-1, 3)
        box = crop_box(model_landmarks @ to_pixels[:2, :3].T + to_pixels[:2, 3], self.crop)
        if not _holds_face(box, height, width):
            raise UserError(f"{pair.fit_file}: puts the face outside the photo")
        if self.storage.image:
            crop = crop_transform(box, MAP_SIZE)
            picture = crop_image(decode_image(content, pair.image_file), crop, MAP_SIZE)
            image = picture if self.storage.image == "uint8" else (picture / 255).astype(self.storage.image)
            height = width = MAP_SIZE
            to_pixels = compose(lift_transform(crop), to_pixels)
            landmarks = None if landmarks is None else transform_points(crop, landmarks)
            box = Box(transform_points(crop, box.centre), (MAP_SIZE - 1) / CROP_MARGIN)
        sample = Sample(
            name=pair.name,
            folder=pair.folder,
            yaw=float(np.degrees(fit.pose[1])),
            box=(*box.centre, box.side),
            image_height=height,
            image_width=width,
            landmarks=landmarks,
            image=image,
            label=coefficients,
            pose=fit.pose,
            skin=self._skin(content, pair.image_file),
        )
        return sample, to_pixels

    def _unlabelled(self, photo: Pair) -> tuple[Sample, np.ndarray]:
        """A sample of a photo of which only the landmarks are known; of its pose nothing is."""
        assert self.landmarks_of is not None
        landmarks = self.landmarks_of(photo.stem)
        if landmarks is None or not np.isfinite(landmarks[:, :2]).all():
            raise UserError(f"{photo.image_file}: has no landmarks")
        content = photo.image_bytes()
        height, width = check_image(content, photo.image_file)
        box = crop_box(landmarks, self.crop)
        if not _holds_face(box, height, width):
            raise UserError(f"{photo.image_file}: its landmarks lie outside it")
        depth = landmarks[:, 2:] if landmarks.shape[1] == 3 else np.full((len(landmarks), 1), np.nan)
        sample = Sample(
            name=photo.name,
            folder=photo.folder,
            yaw=np.nan,
            box=(*box.centre, box.side),
            image_height=height,
            image_width=width,
            landmarks=np.column_stack([landmarks[:, :2], depth]).astype(np.float32),
            image=content,
            label=np.empty(0, np.float32),
            pose=np.empty(0),
            skin=self._skin(content, photo.image_file),
        )
        return sample, np.empty(0)

    def _skin(self, content: bytes, name: str) -> bytes | None:
        if self.skin_model is None:
            return None
        return encode_png(self.skin_model.mask(decode_image(content, name)))

    def _with_maps(self, basis: MapBasis, samples: list[Sample], transforms: list[np.ndarray]) -> list[Sample]:
        """The samples with position maps in place of their coefficients."""
        maps = position_maps(basis, np.stack([sample.label for sample in samples]), np.stack(transforms))
        maps = maps.astype(self.storage.label)
        return [replace(sample, label=label) for sample, label in zip(samples, maps, strict=True)]


def _holds_face(box: Box, height: int, width: int) -> bool:
    x, y = box.centre
    return bool(0 <= x < width and 0 <= y < height and 2 < box.side < 2 * max(height, width))


def describe(report: BuildReport) -> str:
    """Counts by source folder, and where the file is, for a person to read."""
    width = max(map(len, report.counts))
    lines = [f"{folder:<{width}}  {count:>7,}" for folder, count in report.counts.items()]
    if report.flips_left_out:
        lines.append(f"{report.flips_left_out:,} mirrored photos not taken (`flips`)")
    total = sum(report.counts.values())
    held_out = f" ({report.validation_count:,} for validation)" if report.validation_count else ""
    lines.append(
        f"{report.path}: {total:,} samples{held_out}, {report.size / 1e6:,.1f} MB; "
        f"{len(report.left_out):,} files left out"
    )
    return "\n".join(lines)
