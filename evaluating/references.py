"""Published results on AFLW2000-3D, each with the protocol it was published under, in per cent."""

from dataclasses import dataclass

IMAGES = 2000
"""Images of AFLW2000-3D. Published means are over all of them."""


@dataclass(frozen=True)
class Reference:
    """One published row: a type's numbers under a protocol of `prnet.evaluating.protocols.PROTOCOLS`."""

    method: str
    source: str
    protocol: str
    index: int  # into `prnet.evaluating.protocols.TYPES`
    mean: float | None = None  # over images
    bins: tuple[float, float, float] | None = None
    mean_of_bins: float | None = None


_PRNET = "Feng et al., ECCV 2018"
_MEASURED = "its published weights, measured by others"
_KERAS = "PRNet-keras, its evaluator"

REFERENCES = (
    Reference("PRNet", _PRNET, "standard", 0, bins=(2.75, 3.51, 4.61), mean_of_bins=3.62),
    Reference("3DDFA_V2", "Guo et al., ECCV 2020", "standard", 0, bins=(2.63, 3.42, 4.48), mean_of_bins=3.51),
    Reference("SADRNet", "Ruan et al., TIP 2021", "standard", 0, bins=(2.66, 3.30, 4.42), mean_of_bins=3.46),
    Reference("SynergyNet", "Wu et al., 3DV 2021", "standard", 0, bins=(2.65, 3.30, 4.27), mean_of_bins=3.41),
    Reference("PRNet", f"{_PRNET}, figure", "standard", 0, mean=3.26),
    Reference("PRNet", _MEASURED, "standard", 0, mean=3.25),
    Reference("PRNet", _PRNET, "standard", 1, mean=4.70),
    Reference("PRNet", _MEASURED, "standard", 1, mean=4.8),
    Reference("PRNet", _PRNET, "standard", 2, mean=3.17),
    Reference("PRNet", _MEASURED, "standard", 2, mean=3.8),
    Reference("PRNet", _PRNET, "standard", 3, mean=4.40),
    Reference("PRNet", _MEASURED, "standard", 3, mean=5.2),
    Reference("SADRNet", "Ruan et al., TIP 2021", "standard", 3, mean=4.02),
    Reference("DSFNet", "Li et al., CVPR 2023", "standard", 3, mean=3.80),
    Reference("PRNet", _PRNET, "standard", 5, mean=3.96),
    Reference("SADRNet", "Ruan et al., TIP 2021", "standard", 5, mean=3.25),
    Reference("PRNet-keras", _KERAS, "prnet-keras", 0, mean=2.77),
    Reference("PRNet-keras", _KERAS, "prnet-keras", 1, mean=4.98),
    Reference("PRNet-keras", _KERAS, "prnet-keras", 2, mean=3.18),
    Reference("PRNet-keras", _KERAS, "prnet-keras", 3, mean=5.32),
    Reference("PRNet-keras", _KERAS, "prnet-keras", 4, mean=3.84),
    Reference("PRNet-keras", _KERAS, "prnet-keras", 5, mean=4.95),
)
