"""Published results on AFLW2000-3D, each with the protocol it was published under, in per cent."""

import re
from dataclasses import dataclass

from prnet.evaluating.protocols import Protocol
from prnet.evaluating.results import Results
from prnet.evaluating.types import EvaluationType

IMAGE_COUNT = 2000
"""Images of AFLW2000-3D. Published means are over all of them."""


@dataclass(frozen=True)
class Reference:
    """One published row: a type's numbers under a protocol of `prnet.evaluating.protocols.PROTOCOLS`."""

    method: str
    source: str
    protocol: str
    type: EvaluationType
    mean: float | None = None  # over images
    bins: tuple[float, float, float] | None = None
    mean_of_bins: float | None = None


SPARSE_2D, SPARSE_3D, DENSE_2D, DENSE_3D, RECONSTRUCTION_2D, RECONSTRUCTION_3D = EvaluationType

_PRNET = "Feng et al., ECCV 2018"
_MEASURED = "its published weights, measured by others"
_KERAS = "PRNet-keras, its evaluator"

REFERENCES = (
    Reference("PRNet", _PRNET, "standard", SPARSE_2D, bins=(2.75, 3.51, 4.61), mean_of_bins=3.62),
    Reference("3DDFA_V2", "Guo et al., ECCV 2020", "standard", SPARSE_2D, bins=(2.63, 3.42, 4.48), mean_of_bins=3.51),
    Reference("SADRNet", "Ruan et al., TIP 2021", "standard", SPARSE_2D, bins=(2.66, 3.30, 4.42), mean_of_bins=3.46),
    Reference("SynergyNet", "Wu et al., 3DV 2021", "standard", SPARSE_2D, bins=(2.65, 3.30, 4.27), mean_of_bins=3.41),
    Reference(
        "Deep3D", "Deng et al., CVPRW 2019, its repository", "standard", SPARSE_2D, None, (2.56, 3.11, 4.45), 3.37
    ),
    Reference("FAN", "Bulat et al., ICCV 2017, by others", "standard", SPARSE_2D, None, (2.47, 3.01, 4.31), 3.26),
    Reference("PRNet", f"{_PRNET}, figure", "standard", SPARSE_2D, mean=3.26),
    Reference("PRNet", _MEASURED, "standard", SPARSE_2D, mean=3.25),
    Reference("PRNet", _PRNET, "standard", SPARSE_3D, mean=4.70),
    Reference("PRNet", _MEASURED, "standard", SPARSE_3D, mean=4.8),
    Reference("PRNet", _PRNET, "standard", DENSE_2D, mean=3.17),
    Reference("PRNet", _MEASURED, "standard", DENSE_2D, mean=3.8),
    Reference("PRNet", _PRNET, "standard", DENSE_3D, mean=4.40),
    Reference("PRNet", _MEASURED, "standard", DENSE_3D, mean=5.2),
    Reference("SADRNet", "Ruan et al., TIP 2021", "standard", DENSE_3D, mean=4.02),
    Reference("DSFNet", "Li et al., CVPR 2023", "standard", DENSE_3D, mean=3.80),
    Reference("PRNet", _PRNET, "standard", RECONSTRUCTION_3D, mean=3.96),
    Reference("SADRNet", "Ruan et al., TIP 2021", "standard", RECONSTRUCTION_3D, mean=3.25),
    Reference("PRNet-keras", _KERAS, "prnet-keras", SPARSE_2D, mean=2.77),
    Reference("PRNet-keras", _KERAS, "prnet-keras", SPARSE_3D, mean=4.98),
    Reference("PRNet-keras", _KERAS, "prnet-keras", DENSE_2D, mean=3.18),
    Reference("PRNet-keras", _KERAS, "prnet-keras", DENSE_3D, mean=5.32),
    Reference("PRNet-keras", _KERAS, "prnet-keras", RECONSTRUCTION_2D, mean=3.84),
    Reference("PRNet-keras", _KERAS, "prnet-keras", RECONSTRUCTION_3D, mean=4.95),
)


def references_for(results: Results) -> list[Reference]:
    """Published rows that may stand beside these results: the same protocol, and all of AFLW2000-3D."""
    protocol, names = results.origin.protocol, results.names
    same_images = len(names) == IMAGE_COUNT and all(re.fullmatch(r"image\d{5}", name) for name in names)
    if not same_images or protocol.landmarks != Protocol.landmarks:
        return []
    return [
        reference
        for reference in REFERENCES
        if reference.protocol == protocol.name
        and (reference.bins is None or protocol.yaw == Protocol.yaw)
        and (reference.type.dimensions == 2 or protocol.depth_origin == Protocol.depth_origin)
    ]
