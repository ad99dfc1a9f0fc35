"""What networks are made of: depthwise-separable blocks, the encoder that the light ones share, upsampling layers."""

from keras import layers

STEM_CHANNELS = 32
ENCODER = ((64, 1), (64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1), (512, 1))
"""Channels and stride of each separable block."""

ENCODER_LAYERS = ("stem", "encoder")
"""How the names of the encoder's layers begin."""


def light_encoder(images, synchronised: bool = False):
    """Images (B, S, S, 3) to features (B, S / 16, S / 16, 512) (Howard et al. 2017, arXiv 1704.04861).

    synchronised : batch statistics over all devices of a distributed run.
    """
    x = layers.Conv2D(STEM_CHANNELS, 3, 2, padding="same", use_bias=False, name="stem_conv")(images)
    x = normalise(x, "stem", synchronised)
    for number, (channels, stride) in enumerate(ENCODER):
        x = separable_block(x, channels, stride, f"encoder{number}", synchronised)
    return x


def separable_block(x, channels: int, stride: int, name: str, synchronised: bool = False):
    """A 3 x 3 convolution of each channel, then a 1 x 1 convolution across them, both normalised."""
    x = layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = normalise(x, f"{name}_depthwise", synchronised)
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_pointwise")(x)
    return normalise(x, f"{name}_pointwise", synchronised)


def upconvolve(x, channels: int, kernel: int, stride: int, name: str, decoder: str, **options):
    """Features (B, s, s, .) to (B, s x stride, s x stride, channels), before normalisation.

    decoder : of `DECODERS`. "transposed": a transposed convolution, whose texels take their values from different parts
    of the kernel, in a pattern of period `stride`. "resize": bilinear enlargement and a convolution, the same for all
    texels (Odena et al. 2016, Deconvolution and Checkerboard Artifacts); without a stride there is no difference.
    options : of Keras' convolution.
    """
    if decoder == "transposed" or stride == 1:
        return layers.Conv2DTranspose(channels, kernel, stride, padding="same", name=f"{name}_conv", **options)(x)
    x = layers.UpSampling2D(stride, interpolation="bilinear", name=f"{name}_resize")(x)
    return layers.Conv2D(channels, kernel, padding="same", name=f"{name}_conv", **options)(x)


def network_name(network: str, decoder: str) -> str:
    """What a built network is called: its decoder is part of its kind."""
    return network if decoder == "transposed" else f"{network}_{decoder}"


def normalise(x, name: str, synchronised: bool = False):
    """Batch normalisation and ReLU."""
    x = layers.BatchNormalization(momentum=0.95, epsilon=1e-3, synchronized=synchronised, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
