"""One run on several devices, by the backend's own engine: `tf.distribute`, or `keras.distribution` with JAX.

Several machines, TensorFlow: start the same command on each with `TF_CONFIG` set as TensorFlow describes.
"""

import os
from contextlib import contextmanager

import keras

from common.errors import UserError


@contextmanager
def data_parallel(devices: int):
    """Within it, a network built and compiled trains on `devices` devices, each with a share of every batch.

    Without a GPU the processor is split into virtual devices, to try a distributed run out. Raises `UserError` where
    there are fewer devices.
    """
    machines = "TF_CONFIG" in os.environ
    if devices == 1 and not machines:
        yield
    elif keras.backend.backend() == "tensorflow":
        with _tensorflow_strategy(devices, machines).scope():
            yield
    elif keras.backend.backend() == "jax":
        _make_virtual_jax_devices(devices)
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(devices=_enough(keras.distribution.list_devices(), devices))
        )
        try:
            yield
        finally:
            keras.distribution.set_distribution(None)
    else:
        raise UserError(f"--devices {devices}: with {keras.backend.backend()} one device trains; give --devices 1")


def is_chief() -> bool:
    """Whether this process writes the results of the run: the first, or only, machine."""
    if "TF_CONFIG" not in os.environ:
        return True
    import tensorflow as tf

    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    return resolver.task_type in (None, "chief") or (
        "chief" not in resolver.cluster_spec().jobs and resolver.task_id == 0
    )


def _tensorflow_strategy(devices: int, machines: bool):
    import tensorflow as tf

    if machines:
        return tf.distribute.MultiWorkerMirroredStrategy()
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    if kind == "CPU":
        processor = tf.config.list_physical_devices("CPU")[0]
        try:
            tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * devices)
        except RuntimeError:
            pass  # TensorFlow has started: what it has, it has, and is counted below.
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    return tf.distribute.MirroredStrategy(_enough(names, devices))


def _make_virtual_jax_devices(devices: int) -> None:
    import jax

    if "gpu" not in jax.config.jax_platforms and not os.environ.get("XLA_FLAGS"):
        jax.config.update("jax_num_cpu_devices", devices)


def _enough(present: list, devices: int) -> list:
    if len(present) < devices:
        raise UserError(f"--devices {devices}: this machine has {len(present)}; give --devices {len(present)}")
    return present[:devices]
