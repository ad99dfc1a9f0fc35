"""Which pixels of a photo are skin: two mixtures of Gaussians over colours in YCbCr, one of skin, one of the rest.

As Deep3DFaceReconstruction computes its mask (Deng et al., CVPRW 2019, section 3.1.1, after Jones and Rehg, IJCV 2002):
the probability of skin by Bayes' rule, with a prior of 0.8 that a pixel of a face is skin. The parameters were
estimated for this project (docs/weak.md) by `fit_mixture`.
"""

from dataclasses import dataclass
from functools import cache
from itertools import islice

import cv2
import numpy as np

from prnet.configure.config import RESOURCES

PRIOR = 0.8
COMPONENTS = 5
SKIN_FILE = RESOURCES / "skin.npz"

_LEAST_VARIANCE = 4.0
"""Of a component along any axis, in squared grey levels: a colour that many pixels share is not infinitely likely."""


@dataclass(frozen=True)
class Mixture:
    """A density over colours as a sum of K Gaussians."""

    weights: np.ndarray  # (K,), sum to 1
    means: np.ndarray  # (K, 3), Y, Cr and Cb of 0 to 255
    covariances: np.ndarray  # (K, 3, 3)

    def density(self, colours: np.ndarray) -> np.ndarray:
        """(N,) of colours (N, 3)."""
        return np.exp(self._logarithms(colours)).sum(axis=1)

    def _logarithms(self, colours: np.ndarray) -> np.ndarray:
        """(N, K): of each component's share of the density."""
        result = np.empty((len(colours), len(self.weights)))
        for number, (weight, mean, covariance) in enumerate(
            zip(self.weights, self.means, self.covariances, strict=True)
        ):
            whiten = np.linalg.inv(np.linalg.cholesky(covariance))
            squared = np.square((colours - mean) @ whiten.T).sum(axis=1)
            result[:, number] = np.log(weight * np.linalg.det(whiten) / (2 * np.pi) ** 1.5) - squared / 2
        return result

    def shares(self, colours: np.ndarray) -> np.ndarray:
        """(N, K): how much of each colour each component explains; rows sum to 1."""
        logarithms = self._logarithms(colours)
        shares = np.exp(logarithms - logarithms.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)


def fit_mixture(colours: np.ndarray, components: int = COMPONENTS, rounds: int = 60, seed: int = 0) -> Mixture:
    """The mixture that makes colours (N, 3) likely, by expectation maximisation."""
    random = np.random.default_rng(seed)
    spread = np.cov(colours, rowvar=False) + _LEAST_VARIANCE * np.eye(3)
    mixture = Mixture(
        np.full(components, 1 / components),
        colours[random.choice(len(colours), components, replace=False)].astype(np.float64),
        np.tile(spread / components, (components, 1, 1)),
    )
    for _ in range(rounds):
        mixture = _maximise(colours, mixture.shares(colours))
    return mixture


def _maximise(colours: np.ndarray, shares: np.ndarray) -> Mixture:
    counts = shares.sum(axis=0) + 1e-9
    means = shares.T @ colours / counts[:, None]
    covariances = [
        (share[:, None] * (colours - mean)).T @ (colours - mean) / count + _LEAST_VARIANCE * np.eye(3)
        for share, mean, count in zip(shares.T, means, counts, strict=True)
    ]
    return Mixture(counts / counts.sum(), means, np.stack(covariances))


@dataclass(frozen=True)
class SkinModel:
    """The two mixtures."""

    skin: Mixture
    other: Mixture

    def probability(self, image: np.ndarray) -> np.ndarray:
        """How surely each pixel is skin, (H, W) in 0 to 1. image : (H, W, 3) uint8 RGB."""
        codes = ycrcb(image).reshape(-1, 3).astype(np.int32) @ (1 << 16, 1 << 8, 1)
        found, place = np.unique(codes, return_inverse=True)
        colours = found[:, None] >> (16, 8, 0) & 255
        skin, other = (
            share * mixture.density(colours.astype(np.float64))
            for share, mixture in ((PRIOR, self.skin), (1 - PRIOR, self.other))
        )
        return (skin / np.maximum(skin + other, 1e-300))[place.ravel()].reshape(image.shape[:2])

    def mask(self, image: np.ndarray) -> np.ndarray:
        """`probability` as (H, W) uint8, 255 for certain."""
        return np.rint(self.probability(image) * 255).astype(np.uint8)


def ycrcb(image: np.ndarray) -> np.ndarray:
    """Y, Cr and Cb (..., 3) uint8 of RGB uint8, in OpenCV's order."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)


SHEET_SIDE, SHEET_PHOTOS = 160, 12
"""Of a sheet: side in pixels of a picture in it, and columns at most."""


def skin_sheet(photos) -> np.ndarray:
    """Photos, how surely each pixel is skin, and what of the photo counts, one below the other: (H, W, 3) uint8.

    photos : of pairs of an image (H, W, 3) uint8 RGB and its `SkinModel.mask`; the first `SHEET_PHOTOS` are shown.
    """
    columns = []
    for image, mask in islice(photos, SHEET_PHOTOS):
        grey = np.repeat(mask[..., None], 3, axis=2)
        counted = np.rint(image * (grey / 255)).astype(np.uint8)
        zoom = SHEET_SIDE / max(image.shape[:2])
        size = [max(round(zoom * side), 1) for side in image.shape[1::-1]]
        column = np.full((3, SHEET_SIDE, SHEET_SIDE, 3), 255, np.uint8)
        for cell, picture in zip(column, (image, grey, counted), strict=True):
            cell[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        columns.append(column.reshape(-1, SHEET_SIDE, 3))
    return np.concatenate(columns, axis=1)


def save_skin_model(model: SkinModel, path=SKIN_FILE) -> None:
    parts = {f"{name}_{field}": getattr(mixture, field) for name, mixture in _parts(model) for field in _FIELDS}
    np.savez_compressed(path, **parts)


@cache
def load_skin_model(path=SKIN_FILE) -> SkinModel:
    with np.load(path) as arrays:
        return SkinModel(*(Mixture(*(arrays[f"{name}_{field}"] for field in _FIELDS)) for name in ("skin", "other")))


_FIELDS = ("weights", "means", "covariances")


def _parts(model: SkinModel):
    return (("skin", model.skin), ("other", model.other))


def estimate_skin(photos, seed: int = 0, per_photo: int = 400, components: int = COMPONENTS) -> SkinModel:
    """The model of photos (image (H, W, 3) uint8 RGB, face (H, W) bool) whose face region is known: skin from its
    pixels, the rest from those that lie more than a tenth of the image away from it."""
    random = np.random.default_rng(seed)
    skin: list[np.ndarray] = []
    other: list[np.ndarray] = []
    for image, face in photos:
        colours = ycrcb(image).astype(np.float64)
        reach = max(round(0.1 * len(face)), 1)
        away = cv2.dilate(face.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) == 0
        for region, pixels in ((face, skin), (away, other)):
            found = colours[region]
            pixels.append(found[random.integers(0, len(found), per_photo)] if len(found) else found)
    return SkinModel(*(fit_mixture(np.concatenate(pixels), components, seed=seed) for pixels in (skin, other)))
