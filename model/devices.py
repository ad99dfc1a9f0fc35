"""One run on several devices of a machine, or in several processes on one machine or many, by the backend's own engine:
`tf.distribute`, or `keras.distribution` on JAX."""

import os
import re
from contextlib import contextmanager, nullcontext, suppress

import keras
import numpy as np

from prnet.common.errors import LostProcess, UserError
from prnet.configure.config import Run

LOST = re.compile("JaxRuntimeError|XlaRuntimeError|Gloo")
"""In the type or text of exceptions of many kinds: JAX says that a process does not answer, among other things."""


@contextmanager
def data_parallel(run: Run):
    """Within it, a network that was built and compiled under the yielded `scope()` trains on all devices of a run.

    Each device takes an equal share of every batch. Without a GPU the processor is split into virtual devices, to try
    a distributed run out. What is built outside of `scope()` is this process's own. Raises `UserError` where there are
    fewer devices, or where the processes do not find each other.
    """
    backend = keras.backend.backend()
    if "TF_CONFIG" in os.environ or (run.processes > 1 and backend != "jax"):
        told = "TF_CONFIG is set" if "TF_CONFIG" in os.environ else f"`processes` {run.processes}"
        raise UserError(
            f"{told}, but Keras 3 does not train on several machines with TensorFlow (keras-team/keras issue 20585); "
            "set KERAS_BACKEND=jax and give `machines`, `processes` and `process`"
        )
    if run.devices == run.processes == 1:
        yield nullcontext
    elif backend == "tensorflow":
        yield _tensorflow_strategy(run.devices).scope
    elif backend == "jax":
        yield from _on_jax(run)
    else:
        raise UserError(f"`devices` {run.devices}: with {backend} one device trains; give `devices` 1")


def equal_shares(run: Run) -> int:
    """Into how many equal shares every batch has to divide: TensorFlow's devices take unequal ones too."""
    return run.processes * run.devices if keras.backend.backend() == "jax" else 1


def share_of_replicas(loss):
    """A mean over one replica's share of a batch, as it counts in the sum over all of them, which TensorFlow takes;
    Keras does so for losses that it is given at `compile`."""
    if keras.backend.backend() != "tensorflow":
        return loss
    import tensorflow

    return loss / tensorflow.distribute.get_strategy().num_replicas_in_sync


def from_first(content: bytes, run: Run) -> bytes:
    """What the first process of a run holds, in all of them; the others' own content does not count."""
    if run.processes == 1:
        return content
    from jax.experimental.multihost_utils import broadcast_one_to_all

    length = int(broadcast_one_to_all(np.int32(len(content))))
    held = np.frombuffer(content, np.uint8) if run.process == 0 else np.zeros(length, np.uint8)
    return np.asarray(broadcast_one_to_all(held)).tobytes()


@contextmanager
def telling_of_lost_processes(run: Run):
    """Within it, a failure of the backend of several processes is a `UserError`: most often one of them has ended."""
    try:
        yield
    except Exception as error:
        if run.processes == 1 or not LOST.search(f"{type(error).__name__}: {error}"):
            raise
        reason = str(error).strip().partition("\n")[0]
        raise LostProcess(
            f"process {run.process} of {run.processes} lost the others ({reason}); the same command in all of them "
            "resumes after the last finished epoch"
        ) from None


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


def _on_jax(run: Run):
    import jax

    with suppress(RuntimeError):  # JAX has started, likewise.
        jax.config.update("jax_num_cpu_devices", run.devices)
    if run.processes > 1:
        try:
            keras.distribution.initialize(run.machines, run.processes, run.process)
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise UserError(
                f"{run.machines}: process {run.process} of {run.processes} did not find the others ({reason}); "
                "start all of them with the same `machines` and `processes`, each with a `process` of its own"
            ) from None
    present = keras.distribution.list_devices()
    if run.processes == 1:
        present = _enough(present, run.devices)
    elif len(present) != run.processes * run.devices:
        each = len(present) // run.processes
        raise UserError(f"`devices` {run.devices}: each process has {each}; give `devices` {each}")
    distribution = keras.distribution.DataParallel(devices=present, auto_shard_dataset=False)

    def scope():
        keras.distribution.set_distribution(distribution)  # until the run has ended: fitting reads it too
        return nullcontext()

    try:
        yield scope
    finally:
        keras.distribution.set_distribution(None)
    if run.processes > 1:
        jax.distributed.shutdown()  # after all have come here: the first process holds the others together


def _enough(present: list, devices: int) -> list:
    if len(present) < devices:
        raise UserError(f"`devices` {devices}: this machine has {len(present)}; give `devices` {len(present)}")
    return present[:devices]
