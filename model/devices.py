"""One run on several devices of a machine, by the backend's own engine: `tf.distribute`, or `keras.distribution`."""

import os
from contextlib import contextmanager, nullcontext, suppress

import keras

from prnet.common.errors import UserError


@contextmanager
def data_parallel(devices: int):
    """Within it, a network that was built and compiled under the yielded `scope()` trains on several devices.

    Each device takes an equal share of every batch. Without a GPU the processor is split into virtual devices, to try
    a distributed run out. Raises `UserError` where there are fewer devices.
    """
    backend = keras.backend.backend()
    if "TF_CONFIG" in os.environ:
        raise UserError(
            "TF_CONFIG is set, but Keras 3 does not train on several machines with TensorFlow "
            "(keras-team/keras issue 20585); unset it"
        )
    if devices == 1:
        yield nullcontext
    elif backend == "tensorflow":
        yield _tensorflow_strategy(devices).scope
    elif backend == "jax":
        present = _jax_devices(devices)
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=_enough(present, devices)))
        try:
            yield nullcontext
        finally:
            keras.distribution.set_distribution(None)
    else:
        raise UserError(f"`devices` {devices}: with {backend} one device trains; give `devices` 1")


def uses_xla(choice: str) -> bool | str:
    """What the setting `jit` means here for Keras' `jit_compile`; "auto" is on where there is a GPU.

    On processors XLA's convolutions take 1.6 to 3.5 times as long as TensorFlow's own. JAX is always compiled.
    """
    if keras.backend.backend() != "tensorflow":
        return "auto"
    if choice == "auto":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    return choice == "on"


def _tensorflow_strategy(devices: int):
    import tensorflow as tf

    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    if kind == "CPU":
        processor = tf.config.list_physical_devices("CPU")[0]
        with suppress(RuntimeError):  # TensorFlow has started: the devices that it has are counted below.
            tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * devices)
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    return tf.distribute.MirroredStrategy(_enough(names, devices))


def _jax_devices(devices: int) -> list:
    import jax

    with suppress(RuntimeError):  # JAX has started, likewise.
        jax.config.update("jax_num_cpu_devices", devices)
    return keras.distribution.list_devices()


def _enough(present: list, devices: int) -> list:
    if len(present) < devices:
        raise UserError(f"`devices` {devices}: this machine has {len(present)}; give `devices` {len(present)}")
    return present[:devices]
