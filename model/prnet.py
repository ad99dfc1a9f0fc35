"""The position map regression network (Feng et al. 2018, section 3.2), layer for layer as its published weights."""

import keras
from keras import layers

from prnet.model.blocks import network_name, upconvolve

WEIGHT_DECAY = 2e-4
"""Of half the sum of squares of each kernel (TF-slim's form)."""

ENCODER = ((32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1))
DECODER = (
    *((512, 1), (256, 2), (256, 1), (256, 1), (128, 2), (128, 1), (128, 1)),
    *((64, 2), (64, 1), (64, 1), (32, 2), (32, 1), (16, 2), (16, 1)),
)
"""Channels and stride of each residual block and of each convolution back."""


def build_prnet(
    image_size: int, head: str = "linear", synchronised: bool = False, decoder: str = "transposed"
) -> keras.Model:
    """An encoder of ten residual blocks and a decoder of seventeen transposed convolutions, 13.35 million parameters.

    head : "sigmoid" as published, batch normalisation before it; "linear" ends in a plain convolution, so that
    targets outside 0 to 1 are within reach and the output does not depend on batch statistics. synchronised : batch
    statistics over all devices. decoder : of `DECODERS`; "transposed" as published.
    """

    def convolve(x, channels, kernel, stride, name):
        return layers.Conv2D(
            channels, kernel, stride, padding="same", use_bias=False, kernel_regularizer=_decay(), name=name
        )(x)

    def normalise(x, name):
        return layers.BatchNormalization(momentum=0.999, epsilon=1e-3, synchronized=synchronised, name=name)(x)

    def residual_block(x, channels, stride, name):
        shortcut = x
        if stride > 1 or x.shape[-1] != channels:
            shortcut = convolve(x, channels, 1, stride, f"{name}_shortcut")
        x = layers.ReLU(name=f"{name}_relu1")(
            normalise(convolve(x, channels // 2, 1, 1, f"{name}_conv1"), f"{name}_norm1")
        )
        x = layers.ReLU(name=f"{name}_relu2")(
            normalise(convolve(x, channels // 2, 4, stride, f"{name}_conv2"), f"{name}_norm2")
        )
        x = convolve(x, channels, 1, 1, f"{name}_conv3")
        x = normalise(layers.Add(name=f"{name}_sum")([x, shortcut]), f"{name}_norm")
        return layers.ReLU(name=f"{name}_relu")(x)

    def decode(x, channels, stride, name, use_bias=False):
        return upconvolve(x, channels, 4, stride, name, decoder, use_bias=use_bias, kernel_regularizer=_decay())

    inputs = keras.Input((image_size, image_size, 3), name="image")
    x = layers.ReLU(name="stem_relu")(normalise(convolve(inputs, 16, 4, 1, "stem_conv"), "stem_norm"))
    for number, (channels, stride) in enumerate(ENCODER):
        x = residual_block(x, channels, stride, f"encoder{number}")
    for number, (channels, stride) in enumerate((*DECODER, (3, 1), (3, 1))):
        name = f"decoder{number}"
        x = layers.ReLU(name=f"{name}_relu")(normalise(decode(x, channels, stride, name), f"{name}_norm"))
    name = f"decoder{len(DECODER) + 2}"
    x = decode(x, 3, 1, name, use_bias=head == "linear")
    if head == "sigmoid":
        x = normalise(x, f"{name}_norm")
    outputs = layers.Activation(head, dtype="float32", name="position_map")(x)
    return keras.Model(inputs, outputs, name=network_name("prnet", decoder))


def _decay():
    return keras.regularizers.L2(WEIGHT_DECAY / 2)
