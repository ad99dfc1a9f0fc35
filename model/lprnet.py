"""A light network for CPUs: depthwise-separable encoder (Howard et al. 2017), transposed convolutions back."""

import keras
from keras import layers

STEM_CHANNELS = 32
ENCODER = ((64, 1), (64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1), (512, 1))
DECODER = ((512, 1), (256, 2), (128, 2), (64, 2), (32, 2))
"""Channels and stride of each separable block and of each transposed convolution."""


def build_lprnet(image_size: int, head: str = "linear", synchronised: bool = False) -> keras.Model:
    """Kernel 3 throughout, 4.5 million parameters, meant for crops of 128 x 128. Arguments as `build_prnet`'s."""

    def normalise(x, name):
        x = layers.BatchNormalization(momentum=0.95, epsilon=1e-3, synchronized=synchronised, name=f"{name}_norm")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    def separable_block(x, channels, stride, name):
        x = layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
        x = normalise(x, f"{name}_depthwise")
        x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_pointwise")(x)
        return normalise(x, f"{name}_pointwise")

    inputs = keras.Input((image_size, image_size, 3), name="image")
    x = layers.Conv2D(STEM_CHANNELS, 3, 2, padding="same", use_bias=False, name="stem_conv")(inputs)
    x = normalise(x, "stem")
    for number, (channels, stride) in enumerate(ENCODER):
        x = separable_block(x, channels, stride, f"encoder{number}")
    for number, (channels, stride) in enumerate(DECODER):
        name = f"decoder{number}"
        x = layers.Conv2DTranspose(channels, 3, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
        x = normalise(x, name)
    x = layers.Conv2DTranspose(3, 3, 1, padding="same", name="head_conv")(x)
    outputs = layers.Activation(head, dtype="float32", name="position_map")(x)
    return keras.Model(inputs, outputs, name="lprnet")
