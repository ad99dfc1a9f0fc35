"""How good maps of held-out samples are: errors by yaw, normals, roughness, mouths and eyes."""

from pathlib import Path

import numpy as np

from benchmarks.model_card import YAW_BINS
from prnet.configure.config import NO_AUGMENTATION, TARGET_SCALE

BATCH = 50
"""Samples predicted at once."""


def held_out(dataset, basis, chosen: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reference crops (N, S, S, 3), true maps in pixels of the crop, and |yaw| in degrees of the samples that a data
    set holds out, or of chosen ones."""
    from prnet.generating.sequence import FaceSequence

    chosen = np.flatnonzero(dataset.validation) if chosen is None else chosen
    size = basis.size
    sequence = FaceSequence(
        dataset, chosen, basis=basis, image_size=size, batch_size=len(chosen), augmentation=NO_AUGMENTATION
    )
    images, targets = sequence[0]
    return images, np.asarray(targets) * (size * TARGET_SCALE), np.abs(dataset.yaw[chosen])


def predicted(network, images: np.ndarray) -> np.ndarray:
    """Maps in pixels of the crop."""
    from prnet.model.networks import predict_maps

    return np.concatenate([predict_maps(network, images[at : at + BATCH]) for at in range(0, len(images), BATCH)])


COLUMNS = (
    *(f"NME, yaw {low} to {high}" for low, high in YAW_BINS),
    "NME",
    "normals",
    "roughness",
    "mouth, slope / correlation / error",
    "eyes",
)


def measures(maps: np.ndarray, truth: np.ndarray, yaw: np.ndarray, layout) -> list[str]:
    """The cells of `COLUMNS`: 2D NME in per cent of the root of the true box, degrees, per cent of the predicted box.

    maps, truth : (N, S, S, 3) pixels of the crop.
    """
    from prnet.evaluating.nme import nme, root_box_area
    from prnet.evaluating.openings import landmark_agreements
    from prnet.geometry.uv_layout import face_mask, sample_landmarks

    points, true_points = sample_landmarks(maps, layout), sample_landmarks(truth, layout)
    errors = nme((points - true_points)[..., :2], root_box_area(true_points))
    bins = [errors[(yaw >= low) & (yaw < high)] for low, high in YAW_BINS]
    mask = face_mask(layout, maps.shape[1])
    rough = np.median(roughness(maps, mask) / root_box_area(points))
    opened = landmark_agreements(points, true_points)
    numbers = [f"{chosen.mean():.2f}" if len(chosen) else "" for chosen in (*bins, errors)]
    angle = np.median(normal_angles(maps, truth, mask))
    return [*numbers, f"{angle:.1f}", f"{100 * rough:.3f}", opened["mouth"].text, opened["eyes"].text]


def roughness(maps: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean distance (N,) of a texel from the mean of its four neighbours, where all five are on the face."""
    inner = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    around = (maps[:, :-2, 1:-1] + maps[:, 2:, 1:-1] + maps[:, 1:-1, :-2] + maps[:, 1:-1, 2:]) / 4
    return np.linalg.norm(maps[:, 1:-1, 1:-1] - around, axis=-1)[:, inner].mean(axis=1)


def normal_angles(maps: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean angle (N,) in degrees between predicted and true normals, two texels inside the face."""
    import keras
    from scipy.ndimage import binary_erosion

    from prnet.model.surface import map_normals

    inner = binary_erosion(mask, iterations=2)
    pairs = (keras.ops.convert_to_numpy(map_normals(each))[:, inner] for each in (maps, truth))
    cosine = np.einsum("nkc,nkc->nk", *pairs)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean(axis=1)


def table(rows: dict[str, list[str]], heads: tuple[str, ...]) -> str:
    """A Markdown table of named rows."""
    lines = [("", *heads), ("---", *["---:"] * len(heads)), *((name, *cells) for name, cells in rows.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report(folder: Path, rows: dict[str, list[str]], heads: tuple[str, ...]) -> None:
    """Print the table and keep it in the folder."""
    text = table(rows, heads)
    print(text, flush=True)
    (folder / "table.md").write_text(text + "\n", encoding="utf-8")
