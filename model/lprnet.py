"""A light network for CPUs: depthwise-separable encoder (Howard et al. 2017), a few convolutions back."""

import keras
from keras import layers

from prnet.model.blocks import light_encoder, network_name, normalise, upconvolve

DECODER = ((512, 1), (256, 2), (128, 2), (64, 2), (32, 2))
"""Channels and stride of each convolution."""


def build_lprnet(
    image_size: int, head: str = "linear", synchronised: bool = False, decoder: str = "transposed"
) -> keras.Model:
    """Kernel 3 throughout, 4.5 million parameters, meant for crops of 128 x 128. Arguments as `build_prnet`'s."""
    inputs = keras.Input((image_size, image_size, 3), name="image")
    x = light_encoder(inputs, synchronised)
    for number, (channels, stride) in enumerate(DECODER):
        name = f"decoder{number}"
        x = upconvolve(x, channels, 3, stride, name, decoder, use_bias=False)
        x = normalise(x, name, synchronised)
    x = layers.Conv2DTranspose(3, 3, 1, padding="same", name="head_conv")(x)
    outputs = layers.Activation(head, dtype="float32", name="position_map")(x)
    return keras.Model(inputs, outputs, name=network_name("lprnet", decoder))
