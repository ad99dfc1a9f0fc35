"""Several photos of one person: their identities become one, which is put back into each photo's face.

After the aggregation of Deep3DFaceReconstruction (Deng et al., CVPRW 2019, section 4), which weights each photo's
identity by a learned confidence. Here the caller gives the confidence; by default it is how far the face looks ahead.
"""

from functools import lru_cache

import keras
import numpy as np

from prnet.common.errors import UserError
from prnet.configure.config import TARGET_SCALE
from prnet.model.morphnet import COEFFICIENTS, POSE
from prnet.model.networks import network_image_size
from prnet.model.parameters import FaceParameters, read_parameters


def predict_person(
    network: keras.Model, images: np.ndarray, confidence: np.ndarray | None = None
) -> tuple[np.ndarray, FaceParameters]:
    """Position maps (B, S, S, 3) in crop pixels and parameters of B crops of one person, all with the same identity.

    images : (B, S, S, 3) float32 RGB in 0 to 1. confidence : (B,), how much each photo's identity counts; by default
    the cosine of the angle between the face and the camera, at least 0.05. Raises UserError for a network that knows
    no identity.
    """
    names = getattr(network, "parameter_names", None)
    if names is None:
        raise UserError(f"{network.name}: knows no identity that photos could share; give a photonet or a morphnet")
    encoder, decoder = _parts(network)
    coefficients, pose = encoder.predict_on_batch(images)
    weights = ahead(pose) if confidence is None else np.asarray(confidence, dtype=np.float64)
    count = names.identity_count
    coefficients[:, :count] = weights @ coefficients[:, :count] / weights.sum()
    maps = decoder.predict_on_batch([coefficients, pose]) * np.float32(network_image_size(network) * TARGET_SCALE)
    return maps, read_parameters(names, coefficients, pose)


def ahead(pose: np.ndarray) -> np.ndarray:
    """How far faces look at the camera, (B,): the cosine of the angle, at least 0.05. pose : (B, 4, 3), `POSE`."""
    forward = pose[:, 2] / np.linalg.norm(pose[:, 2], axis=-1, keepdims=True)  # the face's z axis
    return np.maximum(forward[:, 2], 0.05)


@lru_cache(maxsize=2)
def _parts(network: keras.Model) -> tuple[keras.Model, keras.Model]:
    """The same layers as one model from crops to coefficients and pose, and another from these to maps."""
    codes = [network.get_layer(name).output for name in (COEFFICIENTS, POSE)]
    inputs = [keras.Input(code.shape[1:]) for code in codes]
    position_map = network.get_layer("position_map").output
    decoder = keras.Model(codes, position_map)
    return keras.Model(network.input, codes), keras.Model(inputs, decoder(inputs))
